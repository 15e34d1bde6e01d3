/**
 * What asynchronous invocations answered, kept for a day for whoever asks.
 *
 * A result lies in a journal at the time when its invocation was accepted, which its id tells: so it is found without an
 * index. What is too large for a row lies in a blob of its own.
 *
 * Invariants:
 *   E1. A result is not given out any more when it may have been trimmed: it is whole or not at all.
 *   E2. A blob is deleted before the row that names it, so that none is left without one.
 */
import type { Readable } from 'node:stream'
import type { Clock, Timer } from '#base/clock.ts'
import type { PlatformErrorBody } from '#contract/errors.ts'
import { acceptedAtMs } from '#contract/ids.ts'
import type { Store } from '#store/store.ts'
import type { OwnBlobs } from './own-blobs.ts'

export const RESULTS_JOURNAL = 'results'
/** How long a result is kept, counted from when the invocation was accepted. */
export const RESULTS_KEPT_MS = 24 * 3600 * 1000
const TRIM_MS = 3600 * 1000

/** Whether the result of this invocation can still be had, and what stands for it has to be kept. */
export function isResultKept(id: string, nowMs: number): boolean {
  return acceptedAtMs(id) >= nowMs - RESULTS_KEPT_MS
}

/** What an asynchronous invocation answered. */
export interface AsyncResult {
  readonly id: string
  readonly namespace: string
  readonly status: number
  readonly headers: readonly string[]
  /** Base64. */
  readonly body?: string
  /** Digest of a body too large for a row. */
  readonly blob?: string
  /** Instead of an answer. */
  readonly error?: PlatformErrorBody
}

export interface AsyncResultsOptions {
  readonly store: Pick<Store, 'append' | 'read' | 'trim'>
  readonly blobs: OwnBlobs
  readonly clock: Clock
  readonly warn: (message: string, error: unknown) => void
}

export class AsyncResults {
  readonly #options: AsyncResultsOptions
  #timer: Timer | undefined
  #state: 'open' | 'closed' = 'open'

  constructor(options: AsyncResultsOptions) {
    this.#options = options
  }

  /** Begins to trim: now, and every hour. */
  start(): void {
    this.trim()
      .catch((error: unknown) => this.#options.warn('old results of asynchronous invocations could not be removed', error))
      .finally(() => {
        if (this.#state === 'open') this.#timer = this.#options.clock.after(TRIM_MS, () => this.start())
      })
  }

  close(): void {
    this.#state = 'closed'
    this.#timer?.cancel()
  }

  append(result: AsyncResult): void {
    this.#options.store.append(RESULTS_JOURNAL, [{ atMs: acceptedAtMs(result.id), row: JSON.stringify(result) }])
  }

  /** The newest, should it have run more than once. */
  async find(id: string): Promise<AsyncResult | undefined> {
    if (!isResultKept(id, this.#options.clock.epochMs())) return undefined
    const atMs = acceptedAtMs(id)
    for await (const { row } of this.#options.store.read(RESULTS_JOURNAL, { fromMs: atMs, untilMs: atMs + 1, order: 'newest-first' })) {
      const result = JSON.parse(row) as AsyncResult
      if (result.id === id) return result
    }
    return undefined
  }

  /** @throws ENTITY_NOT_FOUND when its blob is gone. */
  async bodyOf(result: AsyncResult): Promise<{ readonly bytes: number; readonly body: Buffer | Readable } | undefined> {
    if (result.blob !== undefined) return this.#options.blobs.get(result.blob)
    if (result.body === undefined) return undefined
    const body = Buffer.from(result.body, 'base64')
    return { bytes: body.length, body }
  }

  /** Removes what is too old. @returns rows removed: whole batches of the journal, so some stay for a while (E1). */
  async trim(): Promise<number> {
    const { store, blobs, clock } = this.#options
    const beforeMs = clock.epochMs() - RESULTS_KEPT_MS
    for await (const { row } of store.read(RESULTS_JOURNAL, { untilMs: beforeMs, order: 'oldest-first' })) {
      if (this.#state === 'closed') return 0
      // Most have none: looking for the word spares parsing them.
      if (!row.includes('"blob":')) continue
      const { blob } = JSON.parse(row) as AsyncResult
      if (blob !== undefined) await blobs.delete(blob)
    }
    return store.trim(RESULTS_JOURNAL, beforeMs)
  }
}
