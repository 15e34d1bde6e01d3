/**
 * The embedded store: the interface of store.ts on node:sqlite, in one file.
 *
 *   main thread                                        writer thread (sqlite-writer.ts)
 *   put, enqueue, complete … ── write-pipe.ts ───────▶ sqlite-writes.ts: one transaction and one fsync for all that waited
 *   append ── journal-buffer.ts ── write-pipe.ts ────▶ journal-batch.ts: packed, one database row for many
 *   get, list, find … ── sqlite-reader.ts                        │
 *   read ── journal-reader.ts ── sqlite-reader.ts ◀── the log ───┘
 *
 * WAL with synchronous = FULL: an acknowledged write has been fsynced (T1). Reads see whatever is committed.
 *
 * Another implementation of `watch`: the lock makes this process the only writer, so listeners hear of writes from the
 * pipe. On NATS the same promise (T5) is a KV watch, whose stream is in the order of revisions.
 */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { systemClock } from '#base/clock.ts'
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { gatherRows } from './journal-batch.ts'
import { JournalBuffer } from './journal-buffer.ts'
import { readJournal } from './journal-reader.ts'
import { SqliteReader } from './sqlite-reader.ts'
import type { StoredText } from './sqlite-reader.ts'
import type {
  ClaimedItem, DeadItem, EntityChange, JournalQuery, JournalRow, QueueItem, Store, StoredEntity,
} from './store.ts'
import { WritePipe } from './write-pipe.ts'

export interface SqliteStoreOptions {
  /** The database file; its directory is created. Files beside it: -wal, -shm, .lock, .pid. Let no node:fs call open them in this process. */
  readonly path: string
  /** How long appended rows may wait for the disk. Higher: fewer, larger writes, and more lost in a crash. 1 to 60,000. */
  readonly flushMs?: number
  /** Times of enqueued, completed and buried items, and the flush timer. */
  readonly clock?: Clock
  /** How long completed ids are remembered, so that enqueuing one again is a no-op. */
  readonly rememberMs?: number
  /** How many completed ids are remembered, over all queues: about 120 bytes of disk each. */
  readonly rememberMax?: number
  /** STORE_FULL beyond this size of the database file. Absent: the disk decides. */
  readonly sizeMaxBytes?: number
  /** Characters of journal rows held when the disk takes none; then the oldest go. */
  readonly bufferCharsMax?: number
  /** Rows were given up because the disk has taken none for too long. */
  readonly onRowsDropped?: (journal: string, rows: number) => void
}

export const sqliteStoreDefaults = {
  flushMs: 50,
  rememberMs: 24 * 3600 * 1000,
  rememberMax: 1_000_000,
  bufferCharsMax: 16 * 1024 * 1024,
}

/** Of one item (store.ts). */
const PAYLOAD_BYTES_MAX = 64 * 1024
/** Of one `enqueue`, which is one transaction and crosses to the writer as one message. */
const ENQUEUE_BYTES_MAX = 16 * 1024 * 1024
const LIST_PAGE = 500
const TRIM_BATCHES = 64

/** @throws DATA_LOCKED (its pid in the details), DATA_VERSION_NEWER, STORE_FULL, STORE_FAILED (damaged, not permitted). */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const settings = { clock: systemClock, sizeMaxBytes: undefined, onRowsDropped: () => {}, ...sqliteStoreDefaults, ...options }
  assert(settings.flushMs >= 1 && settings.flushMs <= 60_000, 'flushMs is 1 to 60,000')
  try {
    mkdirSync(dirname(settings.path), { recursive: true, mode: 0o700 })
  } catch (thrown) {
    const text = (thrown as Error).message
    throw new PlatformError('STORE_FAILED', `The directory of ${settings.path} cannot be created: ${text}. Choose another data directory.`, { cause: thrown })
  }
  const { path, rememberMs, rememberMax, sizeMaxBytes } = settings
  const pipe = await WritePipe.open({ path, rememberMs, rememberMax, sizeMaxBytes })
  return new SqliteStore(pipe, settings)
}

interface Watcher {
  readonly prefix: string
  readonly listener: (change: EntityChange) => void
}

class SqliteStore implements Store {
  readonly #pipe: WritePipe
  readonly #reader: SqliteReader
  readonly #journals: JournalBuffer
  readonly #clock: Clock
  readonly #watchers = new Map<string, Set<Watcher>>()
  #closing: Promise<void> | undefined

  constructor(pipe: WritePipe, settings: Required<Omit<SqliteStoreOptions, 'sizeMaxBytes'>>) {
    this.#pipe = pipe
    this.#clock = settings.clock
    this.#reader = new SqliteReader(settings.path)
    this.#journals = new JournalBuffer({
      clock: settings.clock,
      flushMs: settings.flushMs,
      charsMax: settings.bufferCharsMax,
      sequence: pipe.journalSequence,
      onDropped: settings.onRowsDropped,
      send: async ({ journal, sequence, firstMs, lastMs, rows, chars }) => {
        await pipe.submit({ kind: 'append', journal, sequence, firstMs, lastMs, parts: gatherRows(rows) }, chars)
      },
    })
  }

  async get<Value>(collection: string, key: string): Promise<StoredEntity<Value> | undefined> {
    const stored = this.#reader.entity(collection, key)
    return stored === undefined ? undefined : entityOf<Value>(stored)
  }

  async put(collection: string, key: string, value: unknown, options?: { readonly ifRevision?: number }): Promise<number> {
    const text = JSON.stringify(value) as string | undefined
    assert(text !== undefined, `the value of ${collection}/${key} has no JSON form`)
    return this.#pipe.submit({ kind: 'put', collection, key, text, ifRevision: options?.ifRevision }, text.length, (revision) => {
      this.#tell(collection, key, { key, revision, text })
    })
  }

  async delete(collection: string, key: string, options?: { readonly ifRevision?: number }): Promise<void> {
    await this.#pipe.submit({ kind: 'delete', collection, key, ifRevision: options?.ifRevision }, 0, (deleted) => {
      if (deleted) this.#tell(collection, key, undefined)
    })
  }

  async list<Value>(
    collection: string,
    options: { readonly prefix?: string; readonly after?: string; readonly limit?: number } = {},
  ): Promise<StoredEntity<Value>[]> {
    const { prefix = '', limit = Infinity } = options
    let after = options.after ?? ''
    const found: StoredEntity<Value>[] = []
    for (;;) {
      const pageLimit = Math.min(LIST_PAGE, limit - found.length)
      const page = this.#reader.entities(collection, { prefix, after, limit: pageLimit })
      for (const stored of page) found.push(entityOf<Value>(stored))
      if (page.length < pageLimit || found.length >= limit) return found
      after = page.at(-1)!.key
      await setImmediate()
    }
  }

  watch(collection: string, prefix: string, listener: (change: EntityChange) => void): () => void {
    const watcher = { prefix, listener }
    const watchers = this.#watchers.get(collection) ?? new Set()
    this.#watchers.set(collection, watchers.add(watcher))
    return () => {
      watchers.delete(watcher)
    }
  }

  /** Refused with BODY_TOO_LARGE: a payload over 64 KB, or more than 16 MB in one call. */
  async enqueue(queue: string, items: readonly QueueItem[]): Promise<void> {
    if (items.length === 0) return
    let bytes = 0
    for (const { id, payload } of items) bytes += id.length + payloadBytes(queue, id, payload)
    if (bytes > ENQUEUE_BYTES_MAX) {
      throw new PlatformError(
        'BODY_TOO_LARGE',
        `${items.length} items of together ${bytes} bytes for the queue ${queue}; one call takes ${ENQUEUE_BYTES_MAX} bytes. Enqueue them in parts.`,
        { details: { bytes, bytesMax: ENQUEUE_BYTES_MAX } },
      )
    }
    // Copied: exactly these fields cross to the writer, as they are now.
    const copies = items.map(({ id, payload, dueAtMs }) => ({ id, payload, dueAtMs }))
    await this.#pipe.submit({ kind: 'enqueue', queue, items: copies, nowMs: this.#clock.epochMs() }, bytes)
  }

  async claim(queue: string, options: { readonly limit: number; readonly leaseMs: number; readonly nowMs: number }): Promise<ClaimedItem[]> {
    // Polling an empty queue costs one index look-up here, and does not wake the writer.
    if (options.limit <= 0 || !this.#reader.isDue(queue, options.nowMs)) return []
    const { limit, leaseMs, nowMs } = options
    return this.#pipe.submit({ kind: 'claim', queue, limit, leaseMs, nowMs })
  }

  async renew(queue: string, ids: readonly string[], options: { readonly leaseMs: number; readonly nowMs: number }): Promise<void> {
    if (ids.length === 0) return
    await this.#pipe.submit({ kind: 'renew', queue, ids, leaseMs: options.leaseMs, nowMs: options.nowMs }, ids.length * 40)
  }

  async complete(queue: string, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    await this.#pipe.submit({ kind: 'complete', queue, ids, nowMs: this.#clock.epochMs() }, ids.length * 40)
  }

  async retry(queue: string, id: string, dueAtMs: number): Promise<void> {
    await this.#pipe.submit({ kind: 'retry', queue, id, dueAtMs })
  }

  async bury(queue: string, id: string, reason: string): Promise<void> {
    await this.#pipe.submit({ kind: 'bury', queue, id, reason, nowMs: this.#clock.epochMs() }, reason.length)
  }

  /** In the order of their ids. */
  async dead(queue: string, options: { readonly prefix?: string; readonly limit: number }): Promise<DeadItem[]> {
    return this.#reader.dead(queue, { prefix: options.prefix ?? '', limit: options.limit })
  }

  async redrive(queue: string, ids: readonly string[], dueAtMs: number): Promise<number> {
    if (ids.length === 0) return 0
    return this.#pipe.submit({ kind: 'redrive', queue, ids, dueAtMs }, ids.length * 40)
  }

  async find(queue: string, id: string): Promise<ClaimedItem | undefined> {
    return this.#reader.item(queue, id)
  }

  async depth(queue: string): Promise<{ readonly waiting: number; readonly claimed: number; readonly dead: number }> {
    return this.#pipe.submit({ kind: 'depth', queue })
  }

  append(journal: string, rows: readonly JournalRow[]): void {
    this.#journals.append(journal, rows)
  }

  read(journal: string, query: JournalQuery): AsyncIterable<JournalRow> {
    // The snapshot first: a batch that becomes durable in between is then in it, and skipped among the stored ones.
    const snapshot = this.#journals.snapshot(journal)
    return readJournal(query, snapshot, this.#reader.journal(journal, query))
  }

  async trim(journal: string, beforeMs: number): Promise<number> {
    let rows = 0
    for (;;) {
      // A few batches at a time, so that other writes get their turn.
      const trimmed = await this.#pipe.submit({ kind: 'trim', journal, beforeMs, batchesMax: TRIM_BATCHES })
      rows += trimmed.rows
      if (trimmed.batches < TRIM_BATCHES) return rows
    }
  }

  flush(): Promise<void> {
    return this.#journals.flush()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#journals.stop()
    try {
      await this.#journals.flush()
    } finally {
      this.#reader.close()
      await this.#pipe.close()
    }
  }

  #tell(collection: string, key: string, stored: StoredText | undefined): void {
    for (const { prefix, listener } of this.#watchers.get(collection) ?? []) {
      if (!key.startsWith(prefix)) continue
      // Each listener gets a value of its own: one that changes it harms nobody.
      const change = { key, entity: stored === undefined ? undefined : entityOf(stored) }
      try {
        listener(change)
      } catch (thrown) {
        // A bug of the listener's: it must not stop the acknowledgements of others on the way.
        queueMicrotask(() => {
          throw thrown
        })
      }
    }
  }
}

function entityOf<Value>({ key, revision, text }: StoredText): StoredEntity<Value> {
  return { key, revision, value: JSON.parse(text) as Value }
}

function payloadBytes(queue: string, id: string, payload: string): number {
  // No character takes more than three bytes per UTF-16 unit: short texts need not be measured.
  if (payload.length * 3 <= PAYLOAD_BYTES_MAX) return payload.length
  const bytes = Buffer.byteLength(payload)
  if (bytes <= PAYLOAD_BYTES_MAX) return bytes
  throw new PlatformError(
    'BODY_TOO_LARGE',
    `The payload of ${id} for the queue ${queue} has ${bytes} bytes; ${PAYLOAD_BYTES_MAX} are the most. Store it as an object and enqueue its reference.`,
    { details: { bytes, bytesMax: PAYLOAD_BYTES_MAX } },
  )
}
