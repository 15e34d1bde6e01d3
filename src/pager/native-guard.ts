/**
 * Calls code that may spin, until its deadline: the watchdog of the addon (native/watchdog.h) stops it, and the isolate lives on.
 *
 * A guarded call includes the jobs that it leaves in the microtask queue: a WebAssembly function that goes on after a wait (JSPI)
 * does so in such a job. So whoever settles a promise that such code waits for does it inside a guarded call.
 *
 * Invariants:
 *   P1. Nothing of a guarded call runs after it: the queue is empty when it returns. After a stop, jobs that were left get 10 ms
 *       more and are then dropped; so the host does not wait for promises that only a guarded call settles.
 *   P2. It is called from the event loop (a message, a timer, process.nextTick), never from a promise's reaction: there, V8 would not
 *       run the queue. It refuses that with a TypeError, and guards inside guards too.
 *      A process that uses async hooks (node:test does) must not stop jobs: V8 then leaves out the hook behind a job, and Node ends
 *      the process because of it. A worker thread has hooks of its own.
 *   P3. Between {@link Guard.hold} and {@link Guard.release} nothing is stopped. Holding is short, as nothing else bounds it.
 */
import type { Native } from './native.ts'

export type Guarded<Result> =
  | { readonly ended: 'done'; readonly value: Result }
  /** Stopped at the deadline. */
  | { readonly ended: 'deadline' }
  /** Stopped because a page of its memory could not be read from the image. */
  | { readonly ended: 'page-lost' }

const words = { hold: 0, ended: 1 } as const
/** States of the word by which code holds; native/watchdog.h draws them. */
const hold = { free: 0, held: 1 } as const

export class Guard {
  readonly #native: Native
  /** From performance.now() to the monotonic clock that the watchdog reads. */
  readonly #offsetMs: number
  #depth = 0

  constructor(native: Native) {
    this.#native = native
    // Its first use loads modules, which takes milliseconds.
    performance.now()
    this.#offsetMs = Number(process.hrtime.bigint()) / 1e6 - performance.now()
  }

  /**
   * @param deadlineMs On the scale of performance.now(); Infinity for none.
   * @throws What `run` throws.
   */
  run<Result>(run: () => Result, deadlineMs: number): Guarded<Result> {
    this.#depth = 0
    const value = this.#native.guard(run, deadlineMs + this.#offsetMs)
    const ended = this.#native.words[words.ended]
    return ended === 0 ? { ended: 'done', value } : { ended: ended === 1 ? 'deadline' : 'page-lost' }
  }

  /** From here on nothing stops the code, until {@link release}: for host functions that change what others see. May be nested. */
  hold(): void {
    if (this.#depth++ > 0) return
    // Not free: it is being stopped this very moment, and is not to begin anything.
    if (Atomics.compareExchange(this.#native.words, words.hold, hold.free, hold.held) !== hold.free) {
      this.#depth = 0
      throw new Error('stopped at its deadline')
    }
  }

  /** Ends what {@link hold} began, and stops the code if its deadline has passed meanwhile. */
  release(): void {
    if (--this.#depth > 0) return
    if (Atomics.compareExchange(this.#native.words, words.hold, hold.held, hold.free) !== hold.held) this.#native.stopNow()
  }
}
