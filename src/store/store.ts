/**
 * The store: entities, durable queues and journals behind one interface (design: the first of two seams to the outside).
 *
 * Embedded default: node:sqlite (store/sqlite). Later: NATS JetStream: entities map to KV, queues and journals to
 * streams. Every implementation passes store.conformance.ts, so nothing here may promise what only one of them can do.
 *
 * Promises:
 *   T1. What a resolved `put`, `delete`, `enqueue`, `complete`, `retry` or `bury` did survives kill -9 and power loss.
 *       A batch that is rejected (STORE_FULL, STORE_FAILED) has had no effect.
 *   T2. A revision grows with every write to the store; compare-and-set by revision lets exactly one writer win (CONFLICT).
 *   T3. A queue item is claimed by one claimer at a time; an unfinished claim ends with its lease, and the item is
 *       claimed again: at least once, never lost. Items come roughly in the order of their due time.
 *   T4. `append` is buffered: rows are visible to `read` on this store at once and durable within `flushMs`, or when
 *       `flush` resolves. A crash loses at most the last `flushMs`.
 *   T5. Listeners of `watch` run after the write is visible, in the order of writes, for writes through this store or any other of the same data.
 */

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

export interface StoredEntity<Value = unknown> {
  readonly key: string
  readonly value: Value
  readonly revision: number
}

export interface EntityChange {
  readonly key: string
  /** Undefined when deleted. */
  readonly entity: StoredEntity | undefined
}

export interface QueueItem {
  /** Chosen by the producer; enqueuing an id that the queue holds (or has held as long as it remembers) is a no-op. */
  readonly id: string
  /** The caller's JSON text, at most 64 KB. */
  readonly payload: string
  /** Not claimed before, epoch ms. */
  readonly dueAtMs: number
}

export interface ClaimedItem extends QueueItem {
  /** 1 for the first claim. */
  readonly attempt: number
  readonly enqueuedAtMs: number
}

export interface DeadItem extends ClaimedItem {
  readonly reason: string
  readonly buriedAtMs: number
}

export interface JournalRow {
  readonly atMs: number
  /** JSON text. */
  readonly row: string
}

export interface JournalQuery {
  /** Inclusive, epoch ms. */
  readonly fromMs?: number
  /** Exclusive, epoch ms. */
  readonly untilMs?: number
  readonly order: 'newest-first' | 'oldest-first'
}

export interface Store {
  /** @throws nothing when absent: undefined. */
  get<Value>(collection: string, key: string): Promise<StoredEntity<Value> | undefined>
  /**
   * @param ifRevision 0: only if absent. n: only if its revision is n. Absent: whatever it is.
   * @returns The new revision. @throws CONFLICT, STORE_FULL, STORE_FAILED.
   */
  put(collection: string, key: string, value: unknown, options?: { readonly ifRevision?: number }): Promise<number>
  /** Deleting what is not there is a no-op. @throws CONFLICT when ifRevision does not match. */
  delete(collection: string, key: string, options?: { readonly ifRevision?: number }): Promise<void>
  /** Those whose key begins with the prefix, by key, after `after` (exclusive). */
  list<Value>(collection: string, options?: { readonly prefix?: string; readonly after?: string; readonly limit?: number }): Promise<StoredEntity<Value>[]>
  watch(collection: string, prefix: string, listener: (change: EntityChange) => void): () => void

  /** Resolves when every item is durable. Concurrent calls share one commit (group commit). */
  enqueue(queue: string, items: readonly QueueItem[]): Promise<void>
  /** Takes up to `limit` due items for `leaseMs`. */
  claim(queue: string, options: { readonly limit: number; readonly leaseMs: number; readonly nowMs: number }): Promise<ClaimedItem[]>
  /** Prolongs claims that are still held; ids that are not are passed over. */
  renew(queue: string, ids: readonly string[], options: { readonly leaseMs: number; readonly nowMs: number }): Promise<void>
  /** Done: they leave the queue. */
  complete(queue: string, ids: readonly string[]): Promise<void>
  /** Back into the queue, due then. */
  retry(queue: string, id: string, dueAtMs: number): Promise<void>
  /** To the dead letters. */
  bury(queue: string, id: string, reason: string): Promise<void>
  dead(queue: string, options: { readonly prefix?: string; readonly limit: number }): Promise<DeadItem[]>
  /** Dead letters back into the queue, with attempt 0. @returns how many. */
  redrive(queue: string, ids: readonly string[], dueAtMs: number): Promise<number>
  /** A waiting, claimed item; undefined when unknown, completed or dead. */
  find(queue: string, id: string): Promise<ClaimedItem | undefined>
  depth(queue: string): Promise<{ readonly waiting: number; readonly claimed: number; readonly dead: number }>

  /** Buffered rows of a journal, e.g. `records` or `logs/<namespace>/<function>`. Synchronous: it is on the hot path's edge. */
  append(journal: string, rows: readonly JournalRow[]): void
  /** Rows in order; the caller stops early by leaving the loop. */
  read(journal: string, query: JournalQuery): AsyncIterable<JournalRow>
  /** Deletes what is older, in whole batches. @returns rows deleted. */
  trim(journal: string, beforeMs: number): Promise<number>
  flush(): Promise<void>

  close(): Promise<void>
}
