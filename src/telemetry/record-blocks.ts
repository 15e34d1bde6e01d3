/**
 * Reads a namespace's blocks of records in order: the index says which functions have them, their journals give them.
 *
 *   records/ns        │ n=17 f=[a,b] │ n=18 f=[a] │ n=19 f=[b] │      one small row per round
 *   records/ns/a      │ n=17 ▤▤▤     │ n=18 ▤▤    │            │      the records
 *   records/ns/b      │ n=17 ▤       │            │ n=19 ▤▤▤▤  │
 *
 * All journals are read in the same direction, each only as far as the index asks for it, so that a page of a namespace
 * costs its own blocks and no search.
 *
 * Invariants:
 *   K1. The records of a block come in the order in which they ended, the same at each reading: cursors count them.
 */
import type { InvocationRecord } from '#contract/invocation-record.ts'
import type { JournalRow } from '#store/store.ts'
import type { JournalStore } from './journal-retention.ts'
import { decodeBlock, decodeMatching, endedAtMs } from './record-codec.ts'
import { decodeHead } from './record-head.ts'
import type { BlockHead } from './record-head.ts'

export function namespaceJournal(namespace: string): string {
  return `records/${namespace}`
}

export function functionJournal(namespace: string, name: string): string {
  return `records/${namespace}/${name}`
}

export interface RecordBlocksOptions {
  readonly store: JournalStore
  readonly namespace: string
  /** Only its records: then its journal is read alone. */
  readonly function?: string
  readonly order: 'newest-first' | 'oldest-first'
  readonly fromMs?: number
  readonly untilMs?: number
}

interface FunctionReader {
  readonly rows: AsyncIterator<JournalRow>
  /** Read and not yet asked for. */
  next: { readonly atMs: number; readonly number: number; readonly row: string } | undefined
}

export class RecordBlocks {
  readonly #options: RecordBlocksOptions
  readonly #readers = new Map<string, FunctionReader>()
  /** Of the one function that is read alone: the row whose head was given last. */
  #present = ''

  constructor(options: RecordBlocksOptions) {
    this.#options = options
  }

  async *heads(): AsyncIterableIterator<{ readonly head: BlockHead; readonly atMs: number }> {
    const { store, namespace, function: name } = this.#options
    const journal = name === undefined ? namespaceJournal(namespace) : functionJournal(namespace, name)
    for await (const { atMs, row } of store.read(journal, this.#query())) {
      const head = decodeHead(row)
      if (head === undefined) continue
      this.#present = row
      yield { head, atMs }
    }
  }

  /** The records of the block whose head {@link heads} gave last, oldest first; none of what is damaged or trimmed. */
  async records(head: BlockHead, atMs: number): Promise<InvocationRecord[]> {
    const { namespace } = this.#options
    const rows = await this.#rows(head, atMs)
    if (rows.length === 1) return decodeBlock(rows[0]!, namespace)
    return rows.flatMap((row) => decodeBlock(row, namespace)).sort((a, b) => endedAtMs(a) - endedAtMs(b) || (a.id < b.id ? -1 : 1))
  }

  /** Those of them that have this id. */
  async matching(head: BlockHead, atMs: number, id: string): Promise<InvocationRecord[]> {
    return (await this.#rows(head, atMs)).flatMap((row) => decodeMatching(row, this.#options.namespace, id))
  }

  async #rows(head: BlockHead, atMs: number): Promise<string[]> {
    if (head.f === undefined) return [this.#present]
    const rows: string[] = []
    for (const name of head.f) {
      const row = await this.#rowOf(name, atMs, head.n)
      if (row !== undefined) rows.push(row)
    }
    return rows
  }

  async #rowOf(name: string, atMs: number, number: number): Promise<string | undefined> {
    let reader = this.#readers.get(name)
    if (reader === undefined) {
      const rows = this.#options.store.read(functionJournal(this.#options.namespace, name), this.#query(atMs))[Symbol.asyncIterator]()
      this.#readers.set(name, (reader = { rows, next: undefined }))
    }
    const forward = this.#options.order === 'oldest-first' ? 1 : -1
    for (;;) {
      reader.next ??= await nextBlock(reader.rows)
      if (reader.next === undefined) return undefined
      const ahead = (reader.next.atMs - atMs || reader.next.number - number) * forward
      if (ahead > 0) return undefined
      const { row } = reader.next
      reader.next = undefined
      if (ahead === 0) return row
    }
  }

  /** @param atMs Where a reader begins that is needed for the first time now. */
  #query(atMs?: number): { readonly order: 'newest-first' | 'oldest-first'; readonly fromMs?: number; readonly untilMs?: number } {
    const { order, fromMs, untilMs } = this.#options
    const from = atMs !== undefined && order === 'oldest-first' ? atMs : fromMs
    const until = atMs !== undefined && order === 'newest-first' ? atMs + 1 : untilMs
    return { order, ...(from !== undefined && { fromMs: from }), ...(until !== undefined && { untilMs: until }) }
  }
}

async function nextBlock(rows: AsyncIterator<JournalRow>): Promise<FunctionReader['next']> {
  for (;;) {
    const { done, value } = await rows.next()
    if (done === true) return undefined
    const head = decodeHead(value.row)
    if (head !== undefined) return { atMs: value.atMs, number: head.n, row: value.row }
  }
}
