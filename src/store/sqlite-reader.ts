/**
 * The store's reading connection, on the main thread: small indexed reads that take microseconds, because readers of a
 * write-ahead log never wait for the writer. Whatever may be long is read in pages.
 *
 * It is opened by the first read. No statement is left half read: an open one would keep the log from being cut back.
 */
import { DatabaseSync } from 'node:sqlite'
import type { SQLInputValue } from 'node:sqlite'
import { PlatformError } from '#contract/errors.ts'
import { BATCH_SPAN_MS } from './journal-buffer.ts'
import type { BatchCodec } from './journal-batch.ts'
import type { BatchHead, StoredBatches } from './journal-reader.ts'
import { describeSqliteError } from './sqlite-errors.ts'
import { claimedItem } from './sqlite-queue-writes.ts'
import { SqliteNames, SqliteStatements } from './sqlite-statements.ts'
import type { ClaimedItem, DeadItem, JournalQuery } from './store.ts'

const HEADS_PER_PAGE = 64

export interface StoredText {
  readonly key: string
  readonly revision: number
  /** The value as JSON. */
  readonly text: string
}

interface Connection {
  readonly database: DatabaseSync
  readonly statements: SqliteStatements
  readonly names: SqliteNames
}

type ReaderState = { readonly kind: 'unopened' } | { readonly kind: 'open'; readonly connection: Connection } | { readonly kind: 'closed' }

type Row = Record<string, unknown>

export class SqliteReader {
  readonly #path: string
  #state: ReaderState = { kind: 'unopened' }

  constructor(path: string) {
    this.#path = path
  }

  entity(collection: string, key: string): StoredText | undefined {
    const row = this.#all('SELECT key, revision, value FROM entities WHERE collection = ? AND key = ?', [collection, key])[0]
    return row === undefined ? undefined : storedText(row)
  }

  entities(collection: string, options: { readonly prefix: string; readonly after: string; readonly limit: number }): StoredText[] {
    const { prefix, after, limit } = options
    // One lower bound for the index: of two, SQLite would take the prefix and pass over all pages before this one again.
    return this.#all('SELECT key, revision, value FROM entities WHERE collection = ? AND key >= max(?, ?) AND key < ? AND key > ? ORDER BY key LIMIT ?', [
      collection,
      prefix,
      after,
      endOf(prefix),
      after,
      limit,
    ]).map(storedText)
  }

  isDue(queue: string, nowMs: number): boolean {
    const number = this.#number(queue)
    if (number === undefined) return false
    return this.#all('SELECT 1 FROM queue_items WHERE queue = ? AND ready_ms <= ? LIMIT 1', [number, nowMs]).length > 0
  }

  item(queue: string, id: string): ClaimedItem | undefined {
    const number = this.#number(queue)
    if (number === undefined) return undefined
    const row = this.#all('SELECT id, payload, due_ms, enqueued_ms, attempt FROM queue_items WHERE queue = ? AND id = ?', [number, id])[0]
    return row === undefined ? undefined : claimedItem(row)
  }

  dead(queue: string, options: { readonly prefix: string; readonly limit: number }): DeadItem[] {
    const number = this.#number(queue)
    if (number === undefined) return []
    return this.#all(
      `SELECT id, payload, due_ms, enqueued_ms, attempt, reason, buried_ms FROM queue_dead
       WHERE queue = ? AND id >= ? AND id < ? ORDER BY id LIMIT ?`,
      [number, options.prefix, endOf(options.prefix), options.limit],
    ).map((row) => ({ ...claimedItem(row), reason: String(row['reason']), buriedAtMs: Number(row['buried_ms']) }))
  }

  journal(name: string, query: JournalQuery): StoredBatches {
    const number = this.#number(name)
    // A batch that overlaps the range has its edge at most one span outside of it: that bounds the index range.
    const fromMs = query.fromMs ?? -Number.MAX_VALUE
    const untilMs = query.untilMs ?? Number.MAX_VALUE
    const newestFirst = query.order === 'newest-first'
    const start: BatchHead = newestFirst
      ? { sequence: Number.MAX_SAFE_INTEGER, firstMs: 0, lastMs: untilMs + BATCH_SPAN_MS }
      : { sequence: 0, firstMs: fromMs - BATCH_SPAN_MS, lastMs: 0 }
    const sql = newestFirst
      ? `SELECT sequence, first_ms, last_ms FROM journal_batches INDEXED BY journal_batches_by_last
         WHERE journal = ? AND last_ms >= ? AND first_ms < ? AND (last_ms < ? OR (last_ms = ? AND sequence < ?))
         AND last_ms <= ? ORDER BY last_ms DESC, sequence DESC LIMIT ${HEADS_PER_PAGE}`
      : `SELECT sequence, first_ms, last_ms FROM journal_batches INDEXED BY journal_batches_by_first
         WHERE journal = ? AND last_ms >= ? AND first_ms < ? AND (first_ms > ? OR (first_ms = ? AND sequence > ?))
         AND first_ms >= ? ORDER BY first_ms, sequence LIMIT ${HEADS_PER_PAGE}`
    return {
      page: (after = start) => {
        if (number === undefined) return []
        const edge = newestFirst ? after.lastMs : after.firstMs
        return this.#all(sql, [number, fromMs, untilMs, edge, edge, after.sequence, edge]).map((row) => ({
          sequence: Number(row['sequence']),
          firstMs: Number(row['first_ms']),
          lastMs: Number(row['last_ms']),
        }))
      },
      load: (sequence) => {
        const row = this.#all('SELECT count, codec, payload FROM journal_batches WHERE sequence = ?', [sequence])[0]
        if (row === undefined) return undefined
        return { count: Number(row['count']), codec: Number(row['codec']) as BatchCodec, payload: row['payload'] as Uint8Array }
      },
    }
  }

  close(): void {
    if (this.#state.kind === 'open') this.#state.connection.database.close()
    this.#state = { kind: 'closed' }
  }

  #number(name: string): number | undefined {
    return this.#guard(() => this.#connection().names.find(name))
  }

  #all(sql: string, values: readonly SQLInputValue[]): Row[] {
    return this.#guard(() => this.#connection().statements.of(sql).all(...values))
  }

  #guard<Value>(read: () => Value): Value {
    try {
      return read()
    } catch (thrown) {
      if (thrown instanceof PlatformError) throw thrown
      throw Object.assign(PlatformError.fromBody(describeSqliteError(this.#path, thrown)), { cause: thrown })
    }
  }

  #connection(): Connection {
    if (this.#state.kind === 'open') return this.#state.connection
    if (this.#state.kind === 'closed') {
      throw new PlatformError('STOPPING', `The store ${this.#path} is closed. Start the platform again to read from it.`)
    }
    const database = new DatabaseSync(this.#path, { readOnly: true, timeout: 1000 })
    database.exec('PRAGMA cache_size = -1024')
    const statements = new SqliteStatements(database)
    const connection = { database, statements, names: new SqliteNames(statements) }
    this.#state = { kind: 'open', connection }
    return connection
  }
}

function storedText(row: Row): StoredText {
  return { key: String(row['key']), revision: Number(row['revision']), text: String(row['value']) }
}

/** Just after every key with the prefix: SQLite compares the bytes of UTF-8, of which U+10FFFF has the highest. */
function endOf(prefix: string): string {
  return `${prefix}\u{10FFFF}`
}
