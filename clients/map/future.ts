/**
 * A result that is being computed elsewhere (PyWren section 3: futures).
 *
 * Whoever makes a future gets its settler, and nobody else can settle it.
 *
 * Invariants:
 *   F1. A future settles once; what comes later is ignored, so that a second copy of a straggler does no harm.
 *   F2. A failure that nobody asks for is not an unhandled rejection: it is in the future for whoever asks later.
 */
import { PlatformError } from '../../src/contract/errors.ts'

export type FutureState = 'waiting' | 'running' | 'done' | 'failed' | 'cancelled'

export interface Settler<Value> {
  readonly future: Future<Value>
  started(): void
  resolve(value: Value): void
  reject(error: unknown): void
  /** Called once when the future is cancelled before it has settled. */
  onCancel(listener: () => void): void
}

export class Future<Value> {
  #state: FutureState = 'waiting'
  readonly #result: Promise<Value>
  readonly #reject: (error: unknown) => void
  readonly #cancelled: (() => void)[] = []

  /** @internal Use `makeFuture`. */
  constructor(take: (settler: Settler<Value>) => void) {
    const { promise, resolve, reject } = Promise.withResolvers<Value>()
    this.#result = promise
    this.#reject = reject
    promise.catch(() => {})
    take({
      future: this,
      started: () => { if (this.#state === 'waiting') this.#state = 'running' },
      resolve: (value) => this.#settle('done', () => resolve(value)),
      reject: (error) => this.#settle('failed', () => reject(error)),
      onCancel: (listener) => this.#cancelled.push(listener),
    })
  }

  get state(): FutureState {
    return this.#state
  }

  /** Whether it has come to an end, whichever. */
  get settled(): boolean {
    return this.#state !== 'waiting' && this.#state !== 'running'
  }

  /** What the function returned. @throws RemoteError what the function threw; PlatformError what the platform says, CANCELLED after `cancel`. */
  result(): Promise<Value> {
    return this.#result
  }

  /** Lets go of it; what runs for it alone is stopped. Does nothing when it has settled. */
  cancel(): void {
    this.#settle('cancelled', () => this.#reject(new PlatformError('CANCELLED', 'This future was cancelled; start the work again to have its result.')))
    for (const listener of this.#cancelled.splice(0)) if (this.#state === 'cancelled') listener()
  }

  #settle(state: FutureState, act: () => void): void {
    if (this.settled) return
    this.#state = state
    act()
  }
}

export function makeFuture<Value>(): Settler<Value> {
  let made: Settler<Value> | undefined
  new Future<Value>((settler) => { made = settler })
  return made!
}

export type WaitFor = 'any' | 'all' | 'always'

/**
 * Waits until one or all of the futures have settled, or not at all, and tells which have.
 * @param timeoutMs Longest wait; what has not settled by then is pending. Default: none.
 */
export async function wait<Value>(futures: readonly Future<Value>[], until: WaitFor = 'all', timeoutMs?: number): Promise<[done: Future<Value>[], pending: Future<Value>[]]> {
  const ends = futures.map((future) => future.result().then(() => {}, () => {}))
  if (until !== 'always' && ends.length > 0) {
    const passed = Promise.withResolvers<void>()
    const timer = timeoutMs === undefined ? undefined : setTimeout(passed.resolve, timeoutMs)
    await Promise.race([until === 'any' ? Promise.race(ends) : Promise.all(ends), passed.promise])
    clearTimeout(timer)
  }
  return [futures.filter((future) => future.settled), futures.filter((future) => !future.settled)]
}
