/**
 * The records of all invocations that ended: taken in for next to nothing, written in blocks, found again.
 *
 * `add` encodes the record into a block of at most 256 of its function, which is appended to `records/<namespace>/<function>`
 * when it is full or 50 ms old. `records/<namespace>` is an index: for each round of blocks one row that says what is inside
 * and which functions have it (record-blocks.ts reads the two together). So listing one quiet function never reads the
 * records of a busy one, and every record is written once.
 *
 * Records are listed by the time at which they were written, newest first: that is the order in which invocations ended,
 * up to the few ms of a batch. It is the only order that is stable while long invocations still end.
 *
 * In-flight invocations are not here: who holds them knows them.
 *
 * Invariants:
 *   G1. A record that was added is found by `get` and `list` at once, durable within the batch time plus the store's flush time.
 *   G2. At most one block per namespace waits here; what the store refuses is dropped and counted (`dropped`).
 *   G3. A page that ends before the journal does has a cursor. Following cursors gives each record that was there at the
 *       first page exactly once, whatever is added meanwhile.
 *   G4. One call scans at most `scanBlocksMax` blocks, and lets other work run after every few.
 */
import type { Clock, Timer } from '#base/clock.ts'
import { silentLog } from '#base/log.ts'
import type { Log } from '#base/log.ts'
import { acceptedAtMs } from '#contract/ids.ts'
import type { InvocationRecord, StartKind } from '#contract/invocation-record.ts'
import { JournalRetention } from './journal-retention.ts'
import type { JournalStore, RetentionConfig } from './journal-retention.ts'
import { functionJournal, namespaceJournal, RecordBlocks } from './record-blocks.ts'
import { BLOCK_RECORDS_MAX, BlockWriter, endedAtMs } from './record-codec.ts'
import { formatCursor, parseCursor } from './record-cursor.ts'
import type { RecordCursor } from './record-cursor.ts'
import { indexRow } from './record-head.ts'
import type { BlockHead } from './record-head.ts'

export interface RecordLogConfig extends RetentionConfig {
  /** Longest wait of a record before it is written, ms. Raising it makes blocks larger and a crash costlier. */
  readonly batchMs: number
  /** Most blocks that one call reads (G4). Raising it makes a hopeless search slower and its pages fewer. */
  readonly scanBlocksMax: number
}

export const recordLogDefaults: RecordLogConfig = {
  batchMs: 50, scanBlocksMax: 2000, daysMax: 14, bytesMax: 4 * 1024 ** 3,
}

export interface RecordQuery {
  readonly namespace: string
  readonly function?: string
  readonly outcome?: 'ok' | 'error'
  readonly start?: StartKind
  /** Only those that took at least this long in all, µs. */
  readonly minUs?: number
  /** Only errors whose code, message or stack contains this, in whatever case. */
  readonly search?: string
  /** Only those that ended then or later, epoch ms. */
  readonly sinceMs?: number
  /** Only those that ended before, epoch ms. */
  readonly untilMs?: number
  /** Most records of a page, 1 to 1000. */
  readonly limit: number
  /** Of the page before. */
  readonly cursor?: string
}

export interface RecordPage {
  /** Newest first. */
  readonly records: readonly InvocationRecord[]
  /** Absent when there is nothing more. A page can be short, or empty, and have one: the scan was cut (G4). */
  readonly cursor?: string
}

/** A block may lie this much later in its journal than its records ended: a stalled event loop, a clock set back a little. */
const LATE_MS = 2000
/** Blocks between two pauses of a scan: about a ms. */
const BLOCKS_PER_TURN = 16

export class RecordLog {
  readonly #store: JournalStore
  readonly #clock: Clock
  readonly #config: RecordLogConfig
  readonly #log: Log
  readonly #retention: JournalRetention
  /** Blocks that are not full yet, by namespace. Entries stay: see contract/stream-table.ts for what Maps that churn cost. */
  readonly #open = new Map<string, OpenBlocks>()
  #timer: Timer | undefined
  #blockNumber = 0
  #dropped = 0

  constructor(options: { readonly store: JournalStore; readonly clock: Clock; readonly config?: Partial<RecordLogConfig>; readonly log?: Log }) {
    this.#store = options.store
    this.#clock = options.clock
    this.#config = { ...recordLogDefaults, ...options.config }
    this.#log = options.log ?? silentLog
    this.#retention = new JournalRetention({ store: this.#store, clock: this.#clock, kind: 'records', config: this.#config, log: this.#log })
  }

  /** Begins to trim what is too old or too much. */
  async start(): Promise<void> {
    await this.#retention.start()
  }

  /**
   * Takes in the record of an invocation that ended. It is encoded at once (a quarter of a µs): tens of thousands of record objects that
   * wait for a batch outlive the young generation, and cost the garbage collector more than the encoding takes.
   */
  add(record: InvocationRecord): void {
    let open = this.#open.get(record.namespace)
    if (open === undefined) this.#open.set(record.namespace, (open = { count: 0, functions: new Map() }))
    let own = open.functions.get(record.function)
    if (own === undefined) open.functions.set(record.function, (own = new BlockWriter(record.function)))
    own.add(record)
    if (++open.count >= BLOCK_RECORDS_MAX || own.isFull) this.#write(record.namespace, open)
    else if (this.#timer === undefined) {
      this.#timer = this.#clock.after(this.#config.batchMs, () => {
        this.#timer = undefined
        this.#writeAll()
      })
    }
  }

  /** Appends what waits, so that the store's next flush makes it durable. */
  writeWaiting(): void {
    this.#writeAll()
  }

  /** Records lost since the start because the store refused them. */
  get dropped(): number {
    return this.#dropped
  }

  /** The last attempt of this invocation that ended. @param id 32 hex digits. */
  async get(namespace: string, id: string): Promise<InvocationRecord | undefined> {
    this.#writeAll()
    const sinceMs = acceptedAtMs(id) - LATE_MS
    const blocks = new RecordBlocks({ store: this.#store, namespace, order: 'oldest-first', fromMs: sinceMs })
    let found: InvocationRecord | undefined
    let scanned = 0
    // It ended after it was accepted, mostly within a few blocks. A clock set back may hide it a little before.
    for await (const { head, atMs } of blocks.heads()) {
      if (++scanned > this.#config.scanBlocksMax) break
      if (scanned % BLOCKS_PER_TURN === 0) await nextTurn()
      if (head.hi < sinceMs) continue
      for (const record of await blocks.matching(head, atMs, id)) {
        // A dead one that was sent again begins with attempt 1 anew: the later start decides, not the number.
        if (record.id === id && record.startedAtMs >= (found?.startedAtMs ?? 0)) found = record
      }
      if (found !== undefined && (found.outcome === 'ok' || found.origin !== 'async')) break
    }
    return found
  }

  /** A page of records, newest first. @throws INPUT_INVALID when the cursor is none. */
  async list(query: RecordQuery): Promise<RecordPage> {
    const cursor = query.cursor === undefined ? undefined : parseCursor(query.cursor)
    this.#writeAll()
    const { namespace } = query
    const blocks = new RecordBlocks({ store: this.#store, namespace, ...(query.function !== undefined && { function: query.function }), order: 'newest-first', ...window(query, cursor) })
    const limit = Math.min(1000, Math.max(1, query.limit))
    const wanted = matcher(query)
    const records: InvocationRecord[] = []
    let scanned = 0
    for await (const { head, atMs } of blocks.heads()) {
      const place = cursor === undefined ? 'after' : compare(cursor, atMs, head.n)
      if (place === 'before') continue
      if (++scanned > this.#config.scanBlocksMax) return { records, cursor: formatCursor({ atMs, number: head.n, seen: place === 'at' ? cursor!.seen : 0 }) }
      if (scanned % BLOCKS_PER_TURN === 0) await nextTurn()
      if (!mayMatch(head, query)) continue
      const block = await blocks.records(head, atMs)
      for (let seen = place === 'at' ? cursor!.seen : 0; seen < block.length; seen++) {
        const record = block[block.length - 1 - seen]!
        if (!wanted(record)) continue
        if (records.length === limit) return { records, cursor: formatCursor({ atMs, number: head.n, seen }) }
        records.push(record)
      }
    }
    return { records }
  }

  /** Writes what waits and stops. */
  async close(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#writeAll()
    await this.#retention.stop()
  }

  /** Trims now; see {@link JournalRetention.round}. */
  trim(): Promise<number> {
    return this.#retention.round()
  }

  #writeAll(): void {
    for (const [namespace, open] of this.#open) if (open.count > 0) this.#write(namespace, open)
  }

  /** Appends what is open of a namespace: the blocks of its functions, then the row of the index. */
  #write(namespace: string, open: OpenBlocks): void {
    const atMs = this.#clock.epochMs()
    const number = ++this.#blockNumber
    const { count } = open
    open.count = 0
    const written: { function: string; head: BlockHead }[] = []
    try {
      for (const [name, own] of open.functions) {
        if (own.count === 0) continue
        written.push({ function: name, head: own.head(number) })
        this.#append(functionJournal(namespace, name), atMs, own.finish(number))
      }
      this.#append(namespaceJournal(namespace), atMs, indexRow(written))
    } catch (error) {
      this.#dropped += count
      for (const own of open.functions.values()) own.clear()
      this.#log.error('records were lost: the store refused them', { namespace, records: count, error })
    }
  }

  #append(journal: string, atMs: number, row: string): void {
    this.#store.append(journal, [{ atMs, row }])
    this.#retention.note(journal, row.length)
  }
}

interface OpenBlocks {
  count: number
  readonly functions: Map<string, BlockWriter>
}

function window(query: RecordQuery, cursor: RecordCursor | undefined): { readonly fromMs?: number; readonly untilMs?: number } {
  const untilMs = Math.min(query.untilMs === undefined ? Infinity : query.untilMs + LATE_MS, cursor === undefined ? Infinity : cursor.atMs + 1)
  return { ...(query.sinceMs !== undefined && { fromMs: query.sinceMs - LATE_MS }), ...(untilMs !== Infinity && { untilMs }) }
}

/** Where a block lies for a caller who has got to the cursor, in the order newest first. */
function compare(cursor: RecordCursor, atMs: number, number: number): 'before' | 'at' | 'after' {
  const ahead = atMs - cursor.atMs || number - cursor.number
  return ahead > 0 ? 'before' : ahead === 0 ? 'at' : 'after'
}

function mayMatch(head: BlockHead, query: RecordQuery): boolean {
  if (head.e === 0 && (query.outcome === 'error' || query.search !== undefined)) return false
  if (head.e === head.c && query.outcome === 'ok') return false
  if (query.start !== undefined && !head.s.includes(query.start)) return false
  if (query.minUs !== undefined && head.x < query.minUs) return false
  return (query.sinceMs === undefined || head.hi >= query.sinceMs) && (query.untilMs === undefined || head.lo < query.untilMs)
}

function matcher(query: RecordQuery): (record: InvocationRecord) => boolean {
  const search = query.search?.toLowerCase()
  return (record) =>
    (query.outcome === undefined || record.outcome === query.outcome) &&
    (query.start === undefined || record.start === query.start) &&
    (query.minUs === undefined || record.totalUs >= query.minUs) &&
    (query.sinceMs === undefined || endedAtMs(record) >= query.sinceMs) &&
    (query.untilMs === undefined || endedAtMs(record) < query.untilMs) &&
    (search === undefined || (record.error !== undefined && `${record.error.code} ${record.error.message} ${record.error.stack ?? ''}`.toLowerCase().includes(search)))
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
