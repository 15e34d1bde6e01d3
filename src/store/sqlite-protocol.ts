/**
 * What the store's main side and its writer thread say to each other.
 *
 *   main side                                writer thread (owns the only writing connection)
 *      │ ── start: WriterSettings ──────────────▶ │ lock, open, migrate
 *      │ ◀───────────── ready or failed ───────── │
 *      │ ── commit: operations ─────────────────▶ │ one transaction, one fsync
 *      │ ◀─────────── committed: results ──────── │ a result for each operation, in order
 *      │ ── close ──────────────────────────────▶ │
 *      │ ◀───────────────────────── closed ────── │
 *
 * At most one commit is under way: what arrives meanwhile is the next one (group commit).
 */
import type { PlatformErrorBody } from '#contract/errors.ts'
import type { ClaimedItem, QueueItem } from './store.ts'

export interface WriterSettings {
  /** The database file. Its directory exists. */
  readonly path: string
  /** How long the ids of completed items are remembered, ms. */
  readonly rememberMs: number
  /** How many of them, over all queues. */
  readonly rememberMax: number
  /** The most bytes the database file may have; undefined: as many as the disk holds. */
  readonly sizeMaxBytes: number | undefined
}

/** A journal batch as the main side hands it over: everything still to be packed (journal-batch.ts). */
export interface JournalBatchParts {
  readonly times: Float64Array
  /** UTF-16 lengths of the rows. */
  readonly lengths: Uint32Array
  /** The rows, joined by line feeds. */
  readonly text: string
}

export type WriteOperation =
  | { readonly kind: 'put'; readonly collection: string; readonly key: string; readonly text: string; readonly ifRevision: number | undefined }
  | { readonly kind: 'delete'; readonly collection: string; readonly key: string; readonly ifRevision: number | undefined }
  | { readonly kind: 'enqueue'; readonly queue: string; readonly items: readonly QueueItem[]; readonly nowMs: number }
  | { readonly kind: 'claim'; readonly queue: string; readonly limit: number; readonly leaseMs: number; readonly nowMs: number }
  | { readonly kind: 'renew'; readonly queue: string; readonly ids: readonly string[]; readonly leaseMs: number; readonly nowMs: number }
  | { readonly kind: 'complete'; readonly queue: string; readonly ids: readonly string[]; readonly nowMs: number }
  | { readonly kind: 'retry'; readonly queue: string; readonly id: string; readonly dueAtMs: number }
  | { readonly kind: 'bury'; readonly queue: string; readonly id: string; readonly reason: string; readonly nowMs: number }
  | { readonly kind: 'redrive'; readonly queue: string; readonly ids: readonly string[]; readonly dueAtMs: number }
  | { readonly kind: 'depth'; readonly queue: string }
  | {
      readonly kind: 'append'
      readonly journal: string
      readonly sequence: number
      readonly firstMs: number
      readonly lastMs: number
      readonly parts: JournalBatchParts
    }
  | { readonly kind: 'trim'; readonly journal: string; readonly beforeMs: number; readonly batchesMax: number }

export interface QueueDepth {
  readonly waiting: number
  readonly claimed: number
  readonly dead: number
}

/** What each kind of operation results in. */
export interface WriteValues {
  /** The new revision. */
  put: number
  /** Whether there was something to delete. */
  delete: boolean
  enqueue: undefined
  claim: ClaimedItem[]
  renew: undefined
  complete: undefined
  retry: undefined
  bury: undefined
  redrive: number
  depth: QueueDepth
  append: undefined
  trim: { readonly batches: number; readonly rows: number }
}

export type WriteResult =
  | { readonly kind: 'done'; readonly value: WriteValues[keyof WriteValues] }
  | { readonly kind: 'failed'; readonly error: PlatformErrorBody }

export type ToWriter = { readonly kind: 'commit'; readonly operations: readonly WriteOperation[] } | { readonly kind: 'close' }

export type FromWriter =
  | { readonly kind: 'ready'; readonly journalSequence: number }
  | { readonly kind: 'failed'; readonly error: PlatformErrorBody }
  | { readonly kind: 'committed'; readonly results: readonly WriteResult[] }
  | { readonly kind: 'closed' }
