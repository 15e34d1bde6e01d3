/**
 * Rows of journals between `append` and the disk.
 *
 * Appending pushes onto an array. Every `flushMs`, or when a journal has {@link BATCH_CHARS} of text, its rows are
 * sealed into a batch with a sequence number and sent to the writer. They stay here, readable, until it has acknowledged.
 *
 *   append ─▶ open rows ──seal──▶ sealed batch ──sent──▶ acknowledged: gone from here
 *                                     ▲ └──── failed (disk full): again at the next flush
 *
 * Invariants:
 *   J1. Every row not acknowledged is in exactly one place here: a snapshot with the stored batches, less those whose
 *       sequence number the snapshot holds, is every row once.
 *   J2. Text held here is at most `charsMax`; beyond that, when the disk takes nothing, the oldest batch is dropped and counted.
 *   J3. A batch spans at most {@link BATCH_SPAN_MS}: so a reader knows how far from a time it has to look.
 */
import type { Clock, Timer } from '#base/clock.ts'
import type { JournalRow } from './store.ts'

/** Large enough to compress well and write seldom, small enough to be unpacked without holding up the main thread. */
const BATCH_CHARS = 256 * 1024
const BATCH_ROWS = 4096
export const BATCH_SPAN_MS = 60_000
/** After the disk took nothing: trying means gathering everything again. */
const RETRY_MS = 1000

interface OpenRows {
  rows: JournalRow[]
  chars: number
  firstMs: number
  lastMs: number
}

export interface SealedBatch extends Readonly<OpenRows> {
  readonly journal: string
  readonly sequence: number
}

/** Set while the writer has it. */
interface Outgoing {
  readonly batch: SealedBatch
  sent: Promise<void> | undefined
}

export interface JournalSnapshot {
  readonly rows: JournalRow[]
  /** Batches with these numbers are in `rows`, whether stored by now or not. */
  readonly unacknowledged: ReadonlySet<number>
  /** Batches with higher numbers came after the snapshot. */
  readonly sequenceMax: number
}

export interface JournalBufferParts {
  readonly clock: Clock
  readonly flushMs: number
  readonly charsMax: number
  /** The highest number in use. */
  readonly sequence: number
  /** Resolves when the batch is durable. */
  readonly send: (batch: SealedBatch) => Promise<void>
  readonly onDropped: (journal: string, rows: number) => void
}

export class JournalBuffer {
  readonly #parts: JournalBufferParts
  /** A journal's entry stays when its rows have gone: a Map that is emptied and filled all the time keeps what it held (stream-table.ts). */
  readonly #open = new Map<string, OpenRows | undefined>()
  /** In the order of their sequence numbers. Few. */
  readonly #outgoing: Outgoing[] = []
  #sequence: number
  #chars = 0
  #timer: Timer | undefined

  constructor(parts: JournalBufferParts) {
    this.#parts = parts
    this.#sequence = parts.sequence
  }

  append(journal: string, rows: readonly JournalRow[]): void {
    let open = this.#open.get(journal)
    for (const row of rows) {
      if (open !== undefined && row.atMs - open.firstMs <= BATCH_SPAN_MS && open.lastMs - row.atMs <= BATCH_SPAN_MS) {
        if (row.atMs < open.firstMs) open.firstMs = row.atMs
        else if (row.atMs > open.lastMs) open.lastMs = row.atMs
      } else {
        if (open !== undefined) this.#seal(journal, open)
        open = { rows: [], chars: 0, firstMs: row.atMs, lastMs: row.atMs }
        this.#open.set(journal, open)
      }
      open.rows.push(row)
      open.chars += row.row.length
      this.#chars += row.row.length
      if (open.chars < BATCH_CHARS && open.rows.length < BATCH_ROWS) continue
      const sealed = this.#seal(journal, open)
      open = undefined
      // After a failure the next flush tries: not every row.
      if (this.#chars <= this.#parts.charsMax) this.#dispatch(sealed)
      else this.#dropOldest()
    }
    if (rows.length > 0) this.#timer ??= this.#parts.clock.after(this.#parts.flushMs, () => this.#tick())
  }

  /** Resolves when every row appended so far is durable. @throws STORE_FULL, STORE_FAILED: the rows are kept for the next try. */
  async flush(): Promise<void> {
    this.#sealAll()
    const settled = await Promise.allSettled([...this.#outgoing].map((outgoing) => this.#dispatch(outgoing)))
    for (const one of settled) if (one.status === 'rejected') throw one.reason
  }

  snapshot(journal: string): JournalSnapshot {
    const rows: JournalRow[] = []
    const unacknowledged = new Set<number>()
    for (const { batch } of this.#outgoing) {
      if (batch.journal !== journal) continue
      unacknowledged.add(batch.sequence)
      for (const row of batch.rows) rows.push(row)
    }
    for (const row of this.#open.get(journal)?.rows ?? []) rows.push(row)
    return { rows, unacknowledged, sequenceMax: this.#sequence }
  }

  /** No more ticks. */
  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #tick(): void {
    this.#timer = undefined
    if (this.#chars > this.#parts.charsMax) {
      // The disk is far behind: handing it more would only move the heap to the writer.
      this.#sealAll()
      this.#dropOldest()
      this.#tickAfter(RETRY_MS)
      return
    }
    // Kept, and tried again: the disk may have room by then.
    this.flush().catch(() => this.#tickAfter(RETRY_MS))
  }

  #tickAfter(delayMs: number): void {
    if (this.#outgoing.length > 0) this.#timer ??= this.#parts.clock.after(delayMs, () => this.#tick())
  }

  #sealAll(): void {
    for (const [journal, open] of this.#open) if (open !== undefined) this.#seal(journal, open)
  }

  #seal(journal: string, open: OpenRows): Outgoing {
    this.#open.set(journal, undefined)
    const batch: SealedBatch = { ...open, journal, sequence: ++this.#sequence }
    const outgoing: Outgoing = { batch, sent: undefined }
    this.#outgoing.push(outgoing)
    return outgoing
  }

  #dispatch(outgoing: Outgoing): Promise<void> {
    if (outgoing.sent === undefined) {
      outgoing.sent = this.#parts.send(outgoing.batch).then(
        () => this.#remove(outgoing),
        (error: unknown) => {
          outgoing.sent = undefined
          throw error
        },
      )
      // Whoever called `flush` hears of it; the tick tries again.
      outgoing.sent.catch(() => {})
    }
    return outgoing.sent
  }

  #remove(outgoing: Outgoing): void {
    const index = this.#outgoing.indexOf(outgoing)
    if (index < 0) return
    this.#outgoing.splice(index, 1)
    this.#chars -= outgoing.batch.chars
  }

  /** What the writer has in hand cannot be dropped: it may be stored already. */
  #dropOldest(): void {
    for (const outgoing of [...this.#outgoing]) {
      if (this.#chars <= this.#parts.charsMax) return
      if (outgoing.sent !== undefined) continue
      this.#remove(outgoing)
      this.#parts.onDropped(outgoing.batch.journal, outgoing.batch.rows.length)
    }
  }
}
