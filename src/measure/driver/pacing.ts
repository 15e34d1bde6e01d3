/**
 * Waiting for a moment: as exactly as the clock, or asleep.
 *
 * A timer of Node has whole milliseconds and comes up to two late, which is more than a function takes. So an open loop sleeps until shortly before, and then
 * turns: `setImmediate` runs once per turn of the event loop, between two looks at the sockets, so answers are read and timed meanwhile. Measured
 * here at 10,000 a second: half of the requests leave within 1 µs of when they were due. The price is a whole core while something is due
 * soon. It also means that an answer finds the thread awake: latencies are then shorter by the 10 to 40 µs that waking up takes, and which a client that
 * sleeps (wrk, and our closed loop) counts as the server's.
 */
import type { Clock, Timer } from '#base/clock.ts'

/** Of setTimeout; a longer one would come at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

export type Wait = { readonly kind: 'now' } | { readonly kind: 'turn' } | { readonly kind: 'sleep'; readonly ms: number }

/** How late a timer may come without anything being wrong, ms; so a driver that must be on time wakes up as much earlier. */
export const TIMER_LATE_MS = 2

/** What to do when something is due in so many milliseconds. */
export function waitFor(leftMs: number): Wait {
  if (leftMs <= 0) return { kind: 'now' }
  const ms = Math.floor(leftMs - TIMER_LATE_MS)
  return ms >= 1 ? { kind: 'sleep', ms: Math.min(ms, TIMER_MS_MAX) } : { kind: 'turn' }
}

/** By timers alone, for a thread that shall sleep: up to TIMER_LATE_MS late. @param dueMs Monotonic. Throws the signal's reason. */
export async function sleepUntil(dueMs: number, clock: Clock, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted()
    const leftMs = dueMs - clock.monotonicUs() / 1000
    if (leftMs <= 0) return
    await sleep(Math.min(Math.ceil(leftMs), TIMER_MS_MAX), clock, signal)
  }
}

function sleep(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wake = (): void => {
      timer.cancel()
      signal.removeEventListener('abort', wake)
      resolve()
    }
    const timer: Timer = clock.after(ms, wake)
    signal.addEventListener('abort', wake)
  })
}

/** Until disposed of, the process does not end because nothing is under way: timers of a `Clock` don't hold it, and between two bursts there may be no socket. */
export function holdProcess(): Disposable {
  const timer = setInterval(() => {}, 2 ** 30)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}
