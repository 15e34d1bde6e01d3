/**
 * How invocation records lie in a journal: blocks of up to {@link BLOCK_RECORDS_MAX} records, each block one row of four lines.
 *
 *   {"v":2,"n":17,"c":2,"e":1, …}            the head (record-head.ts): what is inside
 *   ["resize","p7-3",{"code":…}]             texts: the function, then what records refer to by place, as JSON
 *   0190a3… 0190a4…                          ids, as they are: a search for one looks here first
 *   ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒                         numbers (record-numbers.ts), {@link BlockWriter.add} says in which order
 *
 * The namespace is in the journal's name. A record takes some 80 bytes and no text is built for it: this runs for every
 * invocation, and JSON that is written by hand took three times as long, and twice as many bytes to hand to the store.
 * All of it is ASCII but for what functions wrote into their errors, so a row costs a byte per character wherever it goes.
 *
 * Invariants:
 *   R1. decodeBlock of what a BlockWriter wrote gives the same records, except that long error texts are cut ({@link ERROR_TEXT_MAX}).
 *   R3. Decoding never throws: a row that was cut, or does not add up, gives no records rather than some of them.
 */
import type { PlatformErrorBody } from '#contract/errors.ts'
import type { InvocationOrigin, InvocationRecord, StartKind, TransferFigures } from '#contract/invocation-record.ts'
import { decodeBlockV1 } from './record-codec-v1.ts'
import { decodeHead } from './record-head.ts'
import type { BlockHead } from './record-head.ts'
import { NumberReader, NumberWriter } from './record-numbers.ts'
import { addSnapshot, nextSnapshot, SNAPSHOT_NUMBERS_MAX } from './record-snapshot.ts'
import { formatTraceparent, spanIdOf } from './trace-context.ts'

/** Enough that what a block costs as a whole does not count any more. */
export const BLOCK_RECORDS_MAX = 256
/** A block that has grown to this is full: a message of the bus or a stream has at most 64 KB. Long errors get it there, nothing else does. */
export const BLOCK_CHARS_MAX = 48 * 1024
/** Characters that are kept of an error's message, and twice as many of its stack. */
export const ERROR_TEXT_MAX = 4096

/** In the order of their codes; a kind that is forgotten here is a type error in {@link BlockWriter.add}. */
const starts = ['cold', 'snapshot', 'warm', 'none'] as const satisfies readonly StartKind[]
const startCodes: Readonly<Record<StartKind, number>> = { cold: 0, snapshot: 1, warm: 2, none: 3 }
const origins = ['http', 'api', 'call', 'async'] as const satisfies readonly InvocationOrigin[]
const originCodes: Readonly<Record<InvocationOrigin, number>> = { http: 0, api: 1, call: 2, async: 3 }

/** The first number of a record: start in the two lowest bits, origin in the next two, then these. */
const Has = { error: 16, failed: 32, parent: 64, foreignTrace: 128, snapshot: 256, transfer: 512 } as const

/** In the order in which they are written. */
const transferNames = ['objectsPut', 'bytesPut', 'bytesGot', 'bytesShared'] as const satisfies readonly (keyof TransferFigures)[]

/** How many numbers a record has at most: the fixed ones, the places of its texts, and those of its snapshot. */
const NUMBERS_MAX = 28 + SNAPSHOT_NUMBERS_MAX
/** Texts that repeat (the instance, mostly) are looked for among this many last ones. */
const TEXTS_COMPARED = 8

/** When the invocation ended, epoch ms: the time by which records are listed. */
export function endedAtMs(record: InvocationRecord): number {
  return record.startedAtMs + record.totalUs / 1000
}

/** Collects records of one function until they are a row. */
export class BlockWriter {
  readonly #function: string
  readonly #numbers = new NumberWriter()
  #ids: string[] = []
  #texts: (string | PlatformErrorBody)[]
  #textChars = 0
  #errors = 0
  #starts: StartKind[] = []
  #longestUs = 0
  #firstMs = Infinity
  #lastMs = 0
  #attempt = 0

  constructor(name: string) {
    this.#function = name
    this.#texts = [name]
  }

  /** About a quarter of a µs. @param record Of this writer's function. */
  add(record: InvocationRecord): void {
    const { id, start, origin, parent, error, totalUs, snapshot, transfer } = record
    const isForeign = !isOwnTrace(record)
    const failed = record.outcome === 'error'
    const numbers = this.#numbers
    numbers.reserve(NUMBERS_MAX)
    numbers.add(
      startCodes[start] | (originCodes[origin] << 2) | (error === undefined ? 0 : Has.error) | (failed ? Has.failed : 0) |
        (parent === undefined ? 0 : Has.parent) | (isForeign ? Has.foreignTrace : 0) | (snapshot === undefined ? 0 : Has.snapshot) | (transfer === undefined ? 0 : Has.transfer),
    )
    numbers.add(record.revision)
    numbers.add(record.attempt)
    numbers.add(record.startedAtMs)
    numbers.add(record.status)
    numbers.add(this.#placeOf(record.instance))
    numbers.add(totalUs)
    numbers.add(record.queueUs)
    numbers.add(record.placementUs)
    numbers.add(record.sandboxUs)
    numbers.add(record.initUs)
    numbers.add(record.runUs)
    numbers.add(record.cpuUs)
    numbers.addThousandths(record.memoryPeakMb)
    numbers.add(record.memoryLimitMb)
    numbers.addThousandths(record.gbMs)
    numbers.add(record.cost)
    numbers.add(record.bytesIn)
    numbers.add(record.bytesOut)
    numbers.add(record.logLines)
    if (error !== undefined) numbers.add(this.#placeOfError(error))
    if (parent !== undefined) numbers.add(this.#placeOf(parent))
    if (isForeign) numbers.add(this.#placeOf(record.traceparent))
    if (snapshot !== undefined) addSnapshot(numbers, snapshot)
    if (transfer !== undefined) for (const name of transferNames) numbers.add(transfer[name])
    this.#ids.push(id)

    if (failed) this.#errors++
    if (!this.#starts.includes(start)) this.#starts.push(start)
    const atMs = endedAtMs(record)
    if (totalUs > this.#longestUs) this.#longestUs = totalUs
    if (atMs < this.#firstMs) this.#firstMs = atMs
    if (atMs > this.#lastMs) this.#lastMs = atMs
    if (record.attempt > this.#attempt) this.#attempt = record.attempt
  }

  get count(): number {
    return this.#ids.length
  }

  /** Whether it is long enough to be written ({@link BLOCK_CHARS_MAX}). */
  get isFull(): boolean {
    return this.#numbers.length + this.#textChars >= BLOCK_CHARS_MAX
  }

  head(number: number): BlockHead {
    return {
      v: 2, n: number, c: this.#ids.length, e: this.#errors, s: this.#starts, x: this.#longestUs, lo: this.#firstMs, hi: this.#lastMs, a: this.#attempt,
    }
  }

  /** The row; afterwards the writer is empty again. */
  finish(number: number): string {
    const row = `${JSON.stringify(this.head(number))}\n${JSON.stringify(this.#texts)}\n${this.#ids.join(' ')}\n${this.#numbers.text()}`
    this.clear()
    return row
  }

  clear(): void {
    this.#numbers.clear()
    this.#ids = []
    this.#texts = [this.#function]
    this.#textChars = 0
    this.#errors = 0
    this.#starts = []
    this.#longestUs = 0
    this.#firstMs = Infinity
    this.#lastMs = 0
    this.#attempt = 0
  }

  #placeOf(text: string): number {
    const texts = this.#texts
    const last = texts.length - 1
    for (let place = last; place >= 0 && place > last - TEXTS_COMPARED; place--) if (texts[place] === text) return place
    this.#textChars += text.length
    texts.push(text)
    return last + 1
  }

  #placeOfError(error: PlatformErrorBody): number {
    const kept = bounded(error)
    this.#textChars += kept.message.length + (kept.stack?.length ?? 0)
    this.#texts.push(kept)
    return this.#texts.length - 1
  }
}

/** The records of a block, oldest first; none when the row is damaged (R3). */
export function decodeBlock(row: string, namespace: string): InvocationRecord[] {
  try {
    const head = decodeHead(row)
    if (head === undefined) return []
    return head.v === 1 ? decodeBlockV1(row, namespace) : decode(row, head, namespace)
  } catch {
    return []
  }
}

/** The records whose id this is, oldest first, without decoding a block that has none. */
export function decodeMatching(row: string, namespace: string, id: string): InvocationRecord[] {
  return row.includes(id) ? decodeBlock(row, namespace).filter((record) => record.id === id) : []
}

function decode(row: string, head: BlockHead, namespace: string): InvocationRecord[] {
  const textsAt = row.indexOf('\n') + 1
  const idsAt = row.indexOf('\n', textsAt) + 1
  const numbersAt = row.indexOf('\n', idsAt) + 1
  if (idsAt === 0 || numbersAt === 0) return []
  const texts = JSON.parse(row.slice(textsAt, idsAt - 1)) as (string | PlatformErrorBody)[]
  const ids = row.slice(idsAt, numbersAt - 1).split(' ')
  const numbers = new NumberReader(row, numbersAt)
  const records = ids.map((id) => decodeRecord(id, namespace, texts, numbers))
  if (numbers.left !== 0 || ids.length !== head.c) throw new RangeError('the numbers of a block are not those of its records')
  return records
}

function decodeRecord(id: string, namespace: string, texts: readonly (string | PlatformErrorBody)[], numbers: NumberReader): InvocationRecord {
  const kinds = numbers.next()
  const revision = numbers.next()
  const attempt = numbers.next()
  const startedAtMs = numbers.next()
  const status = numbers.next()
  const instance = textAt(texts, numbers.next())
  const used = {
    totalUs: numbers.next(),
    queueUs: numbers.next(),
    placementUs: numbers.next(),
    sandboxUs: numbers.next(),
    initUs: numbers.next(),
    runUs: numbers.next(),
    cpuUs: numbers.next(),
    memoryPeakMb: numbers.nextThousandths(),
    memoryLimitMb: numbers.next(),
    gbMs: numbers.nextThousandths(),
    cost: numbers.next(),
    bytesIn: numbers.next(),
    bytesOut: numbers.next(),
    logLines: numbers.next(),
  }
  const error = (kinds & Has.error) === 0 ? undefined : errorAt(texts, numbers.next())
  const parent = (kinds & Has.parent) === 0 ? undefined : textAt(texts, numbers.next())
  const traceparent = (kinds & Has.foreignTrace) === 0 ? ownTrace(id) : textAt(texts, numbers.next())
  const snapshot = (kinds & Has.snapshot) === 0 ? undefined : nextSnapshot(numbers)
  const transfer = (kinds & Has.transfer) === 0 ? undefined : (Object.fromEntries(transferNames.map((name) => [name, numbers.next()])) as unknown as TransferFigures)
  if (numbers.left < 0) throw new RangeError('a block ends within a record')
  return {
    id,
    namespace,
    function: textAt(texts, 0),
    revision,
    origin: origins[(kinds >> 2) & 3]!,
    ...(parent !== undefined && { parent }),
    traceparent,
    attempt,
    startedAtMs,
    outcome: (kinds & Has.failed) === 0 ? 'ok' : 'error',
    status,
    ...(error !== undefined && { error }),
    start: starts[kinds & 3]!,
    ...(snapshot !== undefined && { snapshot }),
    instance,
    ...used,
    ...(transfer !== undefined && { transfer }),
  }
}

function textAt(texts: readonly (string | PlatformErrorBody)[], place: number): string {
  const text = texts[place]
  if (typeof text !== 'string') throw new RangeError(`a block has no text ${place}`)
  return text
}

function errorAt(texts: readonly (string | PlatformErrorBody)[], place: number): PlatformErrorBody {
  const error = texts[place]
  if (typeof error !== 'object' || error === null || typeof error.code !== 'string' || typeof error.message !== 'string') throw new RangeError(`a block has no error ${place}`)
  return error
}

/**
 * A trace that began here, unsampled, follows from the invocation's id: the common case, and not written. Compared by
 * character, because making the one to compare with takes longer than all the numbers of a record.
 */
function isOwnTrace({ id, traceparent }: InvocationRecord): boolean {
  if (id.length !== 32 || traceparent.length !== 55) return false
  for (let index = 0; index < 32; index++) if (traceparent.charCodeAt(index + 3) !== id.charCodeAt(index)) return false
  for (let index = 16; index < 32; index++) if (traceparent.charCodeAt(index + 20) !== id.charCodeAt(index)) return false
  return traceparent.startsWith('00-') && traceparent.startsWith('-', 35) && traceparent.endsWith('-00') && !id.endsWith(ZERO_SPAN)
}

/** Is no span: then the trace is written. */
const ZERO_SPAN = '0'.repeat(16)

function ownTrace(id: string): string {
  return formatTraceparent({ traceId: id, spanId: spanIdOf(id, 1), sampled: false })
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
