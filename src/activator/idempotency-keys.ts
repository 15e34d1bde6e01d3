/**
 * Which invocation an idempotency key stands for, as long as its result is kept.
 *
 * A key is an entity of the store whose value is the invocation's id; who writes it first has the invocation. The id tells
 * when that was accepted, and so when the key ends: at the same moment as the result. An ended key is as good as none, and
 * takes room until the next sweep. Looking through all of them once an hour costs about 2 µs each, in pages.
 *
 * Invariants:
 *   K1. Of requests with the same key, at once or one after the other, all get one id while its result is kept; exactly
 *       one of them is told that the id is new.
 *   K2. A key never outlives the result of its invocation, nor ends before it.
 */
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Clock, Timer } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { InvocationIds } from '#contract/ids.ts'
import type { Store } from '#store/store.ts'
import { isResultKept } from './async-results.ts'

export const IDEMPOTENCY = 'idempotency'
const SWEEP_MS = 3600 * 1000
/** Keys read at once: about half a millisecond. */
const SWEEP_PAGE = 200

interface KnownKey {
  readonly id: string
}

export interface IdempotencyKeysOptions {
  readonly store: Pick<Store, 'get' | 'put' | 'list' | 'delete'>
  readonly ids: InvocationIds
  readonly clock: Clock
  readonly warn: (message: string, error: unknown) => void
}

export class IdempotencyKeys {
  readonly #options: IdempotencyKeysOptions
  #timer: Timer | undefined
  #state: 'open' | 'closed' = 'open'

  constructor(options: IdempotencyKeysOptions) {
    this.#options = options
  }

  /** Begins to sweep: now, and every hour. */
  start(): void {
    this.sweep()
      .catch((error: unknown) => this.#state === 'open' && this.#options.warn('old idempotency keys could not be removed', error))
      .finally(() => {
        if (this.#state === 'open') this.#timer = this.#options.clock.after(SWEEP_MS, () => this.start())
      })
  }

  close(): void {
    this.#state = 'closed'
    this.#timer?.cancel()
  }

  /** The invocation of this key, known or new (K1). @param of.key The caller's text; each function has its own. @throws STORE_FULL, STORE_FAILED. */
  async idFor(of: { readonly namespace: string; readonly function: string; readonly key: string }): Promise<{ readonly id: string; readonly isKnown: boolean }> {
    const { store, ids, clock } = this.#options
    const digest = createHash('sha256').update(JSON.stringify([of.namespace, of.function, of.key])).digest('hex')
    for (;;) {
      const known = await store.get<KnownKey>(IDEMPOTENCY, digest)
      if (known !== undefined && isResultKept(known.value.id, clock.epochMs())) return { id: known.value.id, isKnown: true }
      const id = ids.next()
      try {
        await store.put(IDEMPOTENCY, digest, { id } satisfies KnownKey, { ifRevision: known?.revision ?? 0 })
        return { id, isKnown: false }
      } catch (thrown) {
        // Another caller with the same key was first, or the sweep: look again.
        if (!isConflict(thrown)) throw thrown
      }
    }
  }

  /** Removes the keys that have ended. @returns how many. */
  async sweep(): Promise<number> {
    const { store, clock } = this.#options
    let removed = 0
    for (let after = ''; this.#state === 'open'; await setImmediate()) {
      const page = await store.list<KnownKey>(IDEMPOTENCY, { after, limit: SWEEP_PAGE })
      const ended = page.filter(({ value }) => !isResultKept(value.id, clock.epochMs()))
      await Promise.all(ended.map(({ key, revision }) => store.delete(IDEMPOTENCY, key, { ifRevision: revision }).catch(ignoreConflict)))
      removed += ended.length
      if (page.length < SWEEP_PAGE) break
      after = page.at(-1)!.key
    }
    return removed
  }
}

/** It stands for a new invocation since. */
function ignoreConflict(thrown: unknown): void {
  if (!isConflict(thrown)) throw thrown
}

function isConflict(thrown: unknown): boolean {
  return thrown instanceof PlatformError && thrown.code === 'CONFLICT'
}
