/**
 * Reads a journal in the order of time: stored batches, whose times may overlap, merged with the rows still buffered.
 *
 * Batches come in the order of the edge that is read first (`last_ms` when newest first, `first_ms` when oldest first).
 * A row may be given once no later batch can hold one that belongs before it: batches are opened until the next edge
 * lies beyond the best row. Nearly always one or two are open.
 *
 * Invariants:
 *   R1. Rows come in the order of `atMs`; rows of the same time in the order of appending (newest first: the reverse).
 *   R2. What is read is what was there when the reading began, less what is trimmed meanwhile.
 *   R3. The main thread is never held longer than it takes to unpack one batch.
 */
import { setImmediate } from 'node:timers/promises'
import { sortByTime, unpackRows } from './journal-batch.ts'
import type { BatchCodec } from './journal-batch.ts'
import type { JournalSnapshot } from './journal-buffer.ts'
import type { JournalQuery, JournalRow } from './store.ts'

export interface BatchHead {
  readonly sequence: number
  readonly firstMs: number
  readonly lastMs: number
}

export interface StoredBatch {
  readonly count: number
  readonly codec: BatchCodec
  readonly payload: Uint8Array
}

export interface StoredBatches {
  /** The heads of batches that overlap the query's range, by edge and sequence, after the given one. */
  page(after: BatchHead | undefined): readonly BatchHead[]
  /** Undefined when trimmed meanwhile. */
  load(sequence: number): StoredBatch | undefined
}

/** One opened batch and how far it was read. */
interface Cursor {
  readonly rows: readonly JournalRow[]
  readonly sequence: number
  index: number
}

/** Characters unpacked before other work gets its turn. */
const TURN_CHARS = 128 * 1024

export async function* readJournal(
  query: JournalQuery,
  snapshot: JournalSnapshot,
  stored: StoredBatches,
): AsyncGenerator<JournalRow, void, undefined> {
  const newestFirst = query.order === 'newest-first'
  const fromMs = query.fromMs ?? -Infinity
  const untilMs = query.untilMs ?? Infinity
  const inOrder = (rows: JournalRow[]): JournalRow[] => {
    const inRange = rows.filter((row) => row.atMs >= fromMs && row.atMs < untilMs)
    return newestFirst ? inRange.reverse() : inRange
  }
  /** Whether `a` comes before `b`, by time and then by the order of appending. */
  const before = (a: Cursor, b: Cursor): boolean => {
    const difference = a.rows[a.index]!.atMs - b.rows[b.index]!.atMs || a.sequence - b.sequence
    return newestFirst ? difference > 0 : difference < 0
  }
  const open: Cursor[] = []
  const add = (rows: JournalRow[], sequence: number): void => {
    const ordered = inOrder(rows)
    if (ordered.length > 0) open.push({ rows: ordered, sequence, index: 0 })
  }

  add(sortByTime([...snapshot.rows]), Infinity)
  const heads = headsOf(stored, snapshot)
  let head = heads.next().value
  let charsInTurn = 0
  for (;;) {
    let best = smallest(open, before)
    while (head !== undefined && (best === undefined || mayHoldEarlier(head, best.rows[best.index]!.atMs, newestFirst))) {
      const batch = stored.load(head.sequence)
      if (batch !== undefined) {
        const rows = unpackRows(batch.count, batch.codec, batch.payload)
        charsInTurn += batch.count * 50 + batch.payload.length
        add(rows, head.sequence)
        best = smallest(open, before)
      }
      head = heads.next().value
      if (charsInTurn >= TURN_CHARS) {
        charsInTurn = 0
        await setImmediate()
      }
    }
    if (best === undefined) return
    yield best.rows[best.index]!
    best.index += 1
    if (best.index === best.rows.length) open.splice(open.indexOf(best), 1)
  }
}

function* headsOf(stored: StoredBatches, snapshot: JournalSnapshot): Generator<BatchHead, undefined, undefined> {
  let last: BatchHead | undefined
  for (;;) {
    const page = stored.page(last)
    if (page.length === 0) return undefined
    for (const head of page) {
      if (head.sequence <= snapshot.sequenceMax && !snapshot.unacknowledged.has(head.sequence)) yield head
    }
    last = page.at(-1)
  }
}

/** Equal times count: which row comes first is then a question of sequence numbers. */
function mayHoldEarlier(head: BatchHead, atMs: number, newestFirst: boolean): boolean {
  return newestFirst ? head.lastMs >= atMs : head.firstMs <= atMs
}

function smallest(open: readonly Cursor[], before: (a: Cursor, b: Cursor) => boolean): Cursor | undefined {
  let best: Cursor | undefined
  for (const cursor of open) if (best === undefined || before(cursor, best)) best = cursor
  return best
}
