/**
 * Applies write operations to the database: a group of them in one transaction.
 *
 * Invariants:
 *   W1. When a group fails as a whole (disk full), each operation is tried again by itself, so that one caller's large
 *       batch does not fail its neighbours. An operation that failed has had no effect.
 *   W2. A revision is never given twice, also after deletions and restarts: the counter is stored with the write.
 *   W3. An operation that the interface calls durable (T1) shares the transaction's fsync. A group of only claims and
 *       renewals needs none: one that a power loss forgets is a lease that ends early, and T3 covers that.
 */
import type { DatabaseSync } from 'node:sqlite'
import { packBatch } from './journal-batch.ts'
import { WriterRefusal, describeSqliteError } from './sqlite-errors.ts'
import type { WriteOperation, WriteResult, WriteValues, WriterSettings } from './sqlite-protocol.ts'
import { SqliteQueueWrites } from './sqlite-queue-writes.ts'
import { SqliteNames, SqliteStatements } from './sqlite-statements.ts'

export class SqliteWrites {
  readonly #database: DatabaseSync
  readonly #path: string
  readonly #sql: SqliteStatements
  readonly #names: SqliteNames
  readonly #queues: SqliteQueueWrites
  #revision: number
  #revisionStored: number
  #synchronous: 'FULL' | 'NORMAL' = 'FULL'

  /** @param database Open, migrated, with synchronous = FULL. */
  constructor(database: DatabaseSync, settings: Pick<WriterSettings, 'path' | 'rememberMs' | 'rememberMax'>) {
    this.#database = database
    this.#path = settings.path
    this.#sql = new SqliteStatements(database)
    this.#names = new SqliteNames(this.#sql)
    this.#queues = new SqliteQueueWrites({ statements: this.#sql, names: this.#names, memory: settings })
    this.#revisionStored = Number(this.#sql.of("SELECT value FROM meta WHERE key = 'revision'").get()?.['value'] ?? 0)
    this.#revision = this.#revisionStored
  }

  /** The highest sequence number of a journal batch; 0 without any. */
  journalSequence(): number {
    return Number(this.#sql.of('SELECT MAX(sequence) AS sequence FROM journal_batches').get()?.['sequence'] ?? 0)
  }

  /** @returns A result for each operation, in order. Never throws. */
  commit(operations: readonly WriteOperation[]): WriteResult[] {
    try {
      return this.#transaction(operations)
    } catch (thrown) {
      const error = describeSqliteError(this.#path, thrown)
      if (operations.length === 1 && error.code !== 'STORE_FULL') return [{ kind: 'failed', error }]
      // The log before the database may hold room that a checkpoint gives back.
      if (error.code === 'STORE_FULL') this.#checkpoint()
      return operations.map((operation) => this.#alone(operation))
    }
  }

  #alone(operation: WriteOperation): WriteResult {
    try {
      return this.#transaction([operation])[0]!
    } catch (thrown) {
      return { kind: 'failed', error: describeSqliteError(this.#path, thrown) }
    }
  }

  #transaction(operations: readonly WriteOperation[]): WriteResult[] {
    this.#setSynchronous(operations.some(needsFsync) ? 'FULL' : 'NORMAL')
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      const results = operations.map((operation) => this.#result(operation))
      if (this.#revision !== this.#revisionStored) {
        this.#sql.of("INSERT OR REPLACE INTO meta (key, value) VALUES ('revision', ?)").run(this.#revision)
      }
      this.#database.exec('COMMIT')
      this.#revisionStored = this.#revision
      return results
    } catch (thrown) {
      this.#rollback()
      throw thrown
    }
  }

  #rollback(): void {
    try {
      this.#database.exec('ROLLBACK')
    } catch {
      // SQLite has rolled back by itself, as it does when the disk is full.
    }
    this.#revision = this.#revisionStored
    this.#names.forget()
    this.#queues.forget()
  }

  /** A refusal is this operation's own result: it was thrown before anything was written. */
  #result(operation: WriteOperation): WriteResult {
    try {
      return { kind: 'done', value: this.#apply(operation) }
    } catch (thrown) {
      if (thrown instanceof WriterRefusal) return { kind: 'failed', error: thrown.body }
      throw thrown
    }
  }

  #apply(operation: WriteOperation): WriteValues[keyof WriteValues] {
    switch (operation.kind) {
      case 'put':
        return this.#put(operation)
      case 'delete':
        return this.#delete(operation)
      case 'enqueue':
        return this.#queues.enqueue(operation.queue, operation.items, operation.nowMs) as undefined
      case 'claim':
        return this.#queues.claim(operation.queue, operation)
      case 'renew':
        return this.#queues.renew(operation.queue, operation.ids, operation) as undefined
      case 'complete':
        return this.#queues.complete(operation.queue, operation.ids, operation.nowMs) as undefined
      case 'retry':
        return this.#queues.retry(operation.queue, operation.id, operation.dueAtMs) as undefined
      case 'bury':
        return this.#queues.bury(operation.queue, operation.id, operation.reason, operation.nowMs) as undefined
      case 'redrive':
        return this.#queues.redrive(operation.queue, operation.ids, operation.dueAtMs)
      case 'depth':
        return this.#queues.depth(operation.queue)
      case 'append':
        return this.#append(operation)
      case 'trim':
        return this.#trim(operation)
    }
  }

  #put(operation: Extract<WriteOperation, { kind: 'put' }>): number {
    this.#expectRevision(operation)
    this.#revision += 1
    this.#sql
      .of('INSERT INTO entities (collection, key, revision, value) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET revision = excluded.revision, value = excluded.value')
      .run(operation.collection, operation.key, this.#revision, operation.text)
    return this.#revision
  }

  #delete(operation: Extract<WriteOperation, { kind: 'delete' }>): boolean {
    const current = this.#currentRevision(operation)
    if (current === 0) return false
    this.#expectRevision(operation)
    this.#revision += 1
    this.#sql.of('DELETE FROM entities WHERE collection = ? AND key = ?').run(operation.collection, operation.key)
    return true
  }

  #currentRevision({ collection, key }: { readonly collection: string; readonly key: string }): number {
    return Number(this.#sql.of('SELECT revision FROM entities WHERE collection = ? AND key = ?').get(collection, key)?.['revision'] ?? 0)
  }

  /** @throws WriterRefusal with CONFLICT. */
  #expectRevision(operation: { readonly collection: string; readonly key: string; readonly ifRevision: number | undefined }): void {
    if (operation.ifRevision === undefined) return
    const current = this.#currentRevision(operation)
    if (current === operation.ifRevision) return
    const found = current === 0 ? 'does not exist' : `has revision ${current}`
    const expected = operation.ifRevision === 0 ? 'was expected not to exist' : `was expected to have revision ${operation.ifRevision}`
    throw new WriterRefusal({
      code: 'CONFLICT',
      message: `${operation.collection}/${operation.key} ${found}, and ${expected}. Read it again, then repeat the change.`,
      details: { revision: current, ifRevision: operation.ifRevision },
    })
  }

  #append(operation: Extract<WriteOperation, { kind: 'append' }>): undefined {
    const { codec, payload } = packBatch(operation.parts)
    this.#sql
      .of('INSERT INTO journal_batches (sequence, journal, first_ms, last_ms, count, codec, payload) VALUES (?, ?, ?, ?, ?, ?, ?)')
      .run(
        operation.sequence,
        this.#names.findOrAdd(operation.journal),
        operation.firstMs,
        operation.lastMs,
        operation.parts.times.length,
        codec,
        payload,
      )
    return undefined
  }

  #trim(operation: Extract<WriteOperation, { kind: 'trim' }>): WriteValues['trim'] {
    const number = this.#names.find(operation.journal)
    if (number === undefined) return { batches: 0, rows: 0 }
    const batches = this.#sql
      .of('SELECT sequence, count FROM journal_batches WHERE journal = ? AND last_ms < ? ORDER BY last_ms LIMIT ?')
      .all(number, operation.beforeMs, operation.batchesMax)
    const remove = this.#sql.of('DELETE FROM journal_batches WHERE sequence = ?')
    let rows = 0
    for (const batch of batches) {
      remove.run(batch['sequence']!)
      rows += Number(batch['count'])
    }
    return { batches: batches.length, rows }
  }

  #setSynchronous(wanted: 'FULL' | 'NORMAL'): void {
    if (this.#synchronous === wanted) return
    this.#database.exec(`PRAGMA synchronous = ${wanted}`)
    this.#synchronous = wanted
  }

  #checkpoint(): void {
    try {
      this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch {
      // No room for that either.
    }
  }
}

/** W3. */
function needsFsync({ kind }: WriteOperation): boolean {
  return kind !== 'claim' && kind !== 'renew' && kind !== 'depth'
}
