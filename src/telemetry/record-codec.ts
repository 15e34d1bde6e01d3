/**
 * How invocation records lie in a journal: blocks of up to {@link BLOCK_RECORDS_MAX} records, each block one row.
 *
 *   [{"v":1,"n":17,"c":2,"e":1, …},          the head: what is inside, so that a search can skip the block unread
 *   ["0190…","resize",3,"http", …],          a record: its values in the order of `columns`, the namespace left out
 *   ["0190…","resize",3,"http", …]]          (it is in the journal's name)
 *
 * The row is JSON as a whole, and each record is a line. A row per record with its field names would be three times as
 * long and cost the store twenty times as many rows.
 *
 * Invariants:
 *   R1. decodeBlock(encode…) gives the same records, except that long error texts are cut ({@link ERROR_TEXT_MAX}).
 *   R2. A head never claims less than its block holds: a block skipped by {@link BlockHead} has no match.
 */
import type { InvocationRecord, StartKind } from '#contract/invocation-record.ts'
import type { PlatformErrorBody } from '#contract/errors.ts'
import { formatTraceparent, spanIdOf } from './trace-context.ts'

/** With about 250 bytes per record a block stays under 64 KB, the most that a message of the bus or a stream may have. */
export const BLOCK_RECORDS_MAX = 128
/** Characters that are kept of an error's message, and twice as many of its stack. */
export const ERROR_TEXT_MAX = 4096

const columns = [
  'id', 'function', 'revision', 'origin', 'parent', 'traceparent', 'attempt', 'startedAtMs', 'outcome', 'status', 'error', 'start', 'instance',
  'totalUs', 'queueUs', 'placementUs', 'sandboxUs', 'initUs', 'runUs', 'cpuUs', 'memoryPeakMb', 'memoryLimitMb', 'gbMs', 'cost',
  'bytesIn', 'bytesOut', 'logLines',
] as const satisfies readonly (keyof InvocationRecord)[]

/** A field that is added to the record and forgotten here is a type error. */
type Forgotten = Exclude<keyof InvocationRecord, (typeof columns)[number] | 'namespace'>
const nothingForgotten: [Forgotten] extends [never] ? true : Forgotten = true
void nothingForgotten

export interface BlockHead {
  readonly v: 1
  /** Number of the block: grows with each block that one process writes, and orders blocks of the same ms. */
  readonly n: number
  /** Records, and how many of them are errors. */
  readonly c: number
  readonly e: number
  /** Start kinds that occur. */
  readonly s: readonly StartKind[]
  /** Longest totalUs. */
  readonly x: number
  /** When the first and last of them ended, epoch ms. */
  readonly lo: number
  readonly hi: number
  /** Highest attempt. */
  readonly a: number
  /** In a namespace's index: the functions whose journals have the records (under the same number). */
  readonly f?: readonly string[]
}

/** When the invocation ended, epoch ms: the time by which records are listed. */
export function endedAtMs(record: InvocationRecord): number {
  return record.startedAtMs + record.totalUs / 1000
}

/** One line of a block. Written by hand: ids and closed sets need no escaping, and this runs for every invocation. */
export function encodeRecord(record: InvocationRecord): string {
  const { parent, error } = record
  const names = `["${record.id}",${JSON.stringify(record.function)},${record.revision},"${record.origin}",${parent === undefined ? 'null' : `"${parent}"`}`
  const start = `${isOwnTrace(record) ? 'null' : `"${record.traceparent}"`},${record.attempt},${record.startedAtMs},"${record.outcome}",${record.status}`
  const end = `${error === undefined ? 'null' : JSON.stringify(bounded(error))},"${record.start}",${JSON.stringify(record.instance)}`
  const phases = `${record.totalUs},${record.queueUs},${record.placementUs},${record.sandboxUs},${record.initUs},${record.runUs}`
  const used = `${record.cpuUs},${record.memoryPeakMb},${record.memoryLimitMb},${record.gbMs},${record.cost}`
  return `${names},${start},${end},${phases},${used},${record.bytesIn},${record.bytesOut},${record.logLines}]`
}

/** A trace that began here, unsampled, follows from the invocation's id: the common case, and a fifth of the line. */
function isOwnTrace({ id, traceparent }: InvocationRecord): boolean {
  return traceparent.endsWith('-00') && traceparent === ownTrace(id)
}

function ownTrace(id: string): string {
  return formatTraceparent({ traceId: id, spanId: spanIdOf(id, 1), sampled: false })
}

/** Collects records of one journal until they are a row. */
export class BlockWriter {
  #lines: string[] = []
  #errors = 0
  #starts: StartKind[] = []
  #longestUs = 0
  #firstMs = Infinity
  #lastMs = 0
  #attempt = 0

  add(record: InvocationRecord, line: string): void {
    this.#lines.push(line)
    if (record.outcome === 'error') this.#errors++
    if (!this.#starts.includes(record.start)) this.#starts.push(record.start)
    const atMs = endedAtMs(record)
    if (record.totalUs > this.#longestUs) this.#longestUs = record.totalUs
    if (atMs < this.#firstMs) this.#firstMs = atMs
    if (atMs > this.#lastMs) this.#lastMs = atMs
    if (record.attempt > this.#attempt) this.#attempt = record.attempt
  }

  get count(): number {
    return this.#lines.length
  }

  head(number: number): BlockHead {
    return {
      v: 1, n: number, c: this.#lines.length, e: this.#errors, s: this.#starts, x: this.#longestUs, lo: this.#firstMs, hi: this.#lastMs, a: this.#attempt,
    }
  }

  /** The row; afterwards the writer is empty again. */
  finish(number: number): string {
    const row = `[${JSON.stringify(this.head(number))},\n${this.#lines.join(',\n')}]`
    this.clear()
    return row
  }

  clear(): void {
    this.#lines = []
    this.#errors = 0
    this.#starts = []
    this.#longestUs = 0
    this.#firstMs = Infinity
    this.#lastMs = 0
    this.#attempt = 0
  }
}

/** The row of a namespace's index for these blocks of its functions. */
export function indexRow(blocks: readonly { readonly function: string; readonly head: BlockHead }[]): string {
  const heads = blocks.map((block) => block.head)
  const sum: BlockHead = {
    v: 1,
    n: heads[0]!.n,
    c: heads.reduce((count, head) => count + head.c, 0),
    e: heads.reduce((count, head) => count + head.e, 0),
    s: [...new Set(heads.flatMap((head) => head.s))],
    x: Math.max(...heads.map((head) => head.x)),
    lo: Math.min(...heads.map((head) => head.lo)),
    hi: Math.max(...heads.map((head) => head.hi)),
    a: Math.max(...heads.map((head) => head.a)),
    f: blocks.map((block) => block.function),
  }
  return `[${JSON.stringify(sum)},\n]`
}

/** @returns undefined when the row is not a block of this version. */
export function decodeHead(row: string): BlockHead | undefined {
  const end = row.indexOf('\n')
  if (!row.startsWith('[{"v":1,') || end < 0) return undefined
  try {
    return JSON.parse(row.slice(1, end - 1)) as BlockHead
  } catch {
    return undefined
  }
}

/** The records of a block, oldest first; none when the row is damaged. */
export function decodeBlock(row: string, namespace: string): InvocationRecord[] {
  try {
    const [, ...lines] = JSON.parse(row) as [BlockHead, ...unknown[][]]
    return lines.map((values) => decodeRecord(values, namespace))
  } catch {
    return []
  }
}

/** The records whose line contains the text, oldest first, without decoding the others. */
export function decodeMatching(row: string, namespace: string, text: string): InvocationRecord[] {
  const found: InvocationRecord[] = []
  for (let at = row.indexOf(text); at >= 0; ) {
    const from = row.lastIndexOf('\n', at) + 1
    const newline = row.indexOf('\n', at)
    const end = newline < 0 ? row.length : newline
    // Each line ends with the comma, or the bracket, that belongs to the block.
    if (from > 0) found.push(...decodeBlock(`[0,${row.slice(from, end - 1)}]`, namespace))
    at = row.indexOf(text, end)
  }
  return found
}

function decodeRecord(values: readonly unknown[], namespace: string): InvocationRecord {
  const record: Record<string, unknown> = { id: values[0], namespace }
  for (let column = 1; column < columns.length; column++) {
    const value = values[column]
    if (value !== null && value !== undefined) record[columns[column]!] = value
  }
  record['traceparent'] ??= ownTrace(String(values[0]))
  return record as unknown as InvocationRecord
}

/** An error thrown by a function may carry anything; what a person reads of it is its beginning. */
function bounded(error: PlatformErrorBody): PlatformErrorBody {
  const detailsFit = error.details !== undefined && JSON.stringify(error.details).length <= ERROR_TEXT_MAX
  return {
    code: error.code,
    message: cut(error.message, ERROR_TEXT_MAX),
    ...(error.stack !== undefined && { stack: cut(error.stack, 2 * ERROR_TEXT_MAX) }),
    ...(detailsFit && { details: error.details }),
  }
}

function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max)}… (${text.length - max} characters more)`
}
