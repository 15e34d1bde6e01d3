/**
 * Unfinished uploads end by themselves: whoever began one and went away would hold disk and quota for ever (Amazon S3 has the rule
 * AbortIncompleteMultipartUpload for it, which people set to 7 days; here it is always on).
 *
 * The age of an upload is counted from its beginning, whatever parts came since, as S3's is. The entities say it, so a restart forgets
 * nothing. An old upload ends by the same abort that a client may ask for: a part on its way is refused at its end and leaves nothing (U1), a
 * completion under way is waited for, and then there is nothing to abort (U2).
 *
 * Invariants:
 *   E1. An upload older than `UPLOAD_KEPT_MS` is gone after the next sweep, with its parts; a younger one is not touched.
 *   E2. An upload that can't be aborted does not stand in the way of the others: the next sweep tries it again.
 */
import { setImmediate } from 'node:timers/promises'
import type { Clock, Timer } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Store } from '#store/store.ts'
import { UPLOADS } from './objects.ts'
import type { Address, UploadEntity } from './objects.ts'
import type { Uploads } from './uploads.ts'

export const UPLOAD_KEPT_MS = 7 * 24 * 3600 * 1000
const SWEEP_MS = 3600 * 1000
const SWEEP_PAGE = 200

export interface UploadExpiryOptions {
  readonly store: Pick<Store, 'list'>
  readonly uploads: Pick<Uploads, 'abort'>
  readonly clock: Clock
  readonly warn: (message: string, error: unknown) => void
}

export class UploadExpiry {
  readonly #options: UploadExpiryOptions
  #timer: Timer | undefined
  #state: 'open' | 'closed' = 'open'
  #running: Promise<void> = Promise.resolve()

  constructor(options: UploadExpiryOptions) {
    this.#options = options
  }

  /** Begins to sweep: now, and every hour. */
  start(): void {
    this.#running = this.sweep()
      .catch((error: unknown) => this.#options.warn('unfinished uploads could not be looked through', error))
      .then(() => {
        if (this.#state === 'open') this.#timer = this.#options.clock.after(SWEEP_MS, () => this.start())
      })
  }

  /** Before the store is closed: an abort that has begun is waited for. */
  async close(): Promise<void> {
    this.#state = 'closed'
    this.#timer?.cancel()
    await this.#running
  }

  /** Aborts what is too old (E1). @returns how many. */
  async sweep(): Promise<number> {
    const { store, clock } = this.#options
    let aborted = 0
    for (let after = ''; this.#state === 'open'; await setImmediate()) {
      const page = await store.list<UploadEntity>(UPLOADS, { after, limit: SWEEP_PAGE })
      const untilMs = clock.epochMs() - UPLOAD_KEPT_MS
      for (const { key, value } of page) if (value.startedAtMs <= untilMs && this.#state === 'open' && (await this.#abort(addressOf(key, value.id), value.id))) aborted++
      if (page.length < SWEEP_PAGE) break
      after = page.at(-1)!.key
    }
    return aborted
  }

  async #abort(address: Address, id: string): Promise<boolean> {
    const { uploads, warn } = this.#options
    try {
      await uploads.abort(address, id)
      return true
    } catch (thrown) {
      // Completed or aborted since it was listed.
      if (!(thrown instanceof PlatformError && thrown.code === 'ENTITY_NOT_FOUND')) warn(`the unfinished upload ${id} is too old and could not be aborted`, thrown)
      return false
    }
  }
}

/** @param stored `<namespace>/<bucket>/<key>/<upload id>`, where only the key may have slashes. */
function addressOf(stored: string, id: string): Address {
  const first = stored.indexOf('/')
  const second = stored.indexOf('/', first + 1)
  return { namespace: stored.slice(0, first), bucket: stored.slice(first + 1, second), key: stored.slice(second + 1, -id.length - 1) }
}
