/**
 * Busy time: increments as the original spins them, and milliseconds that are really computed.
 *
 * The original times an empty loop of Go on the client and has every runtime spin that many increments, so that 1.5 ms become a second in Python.
 * Here milliseconds are measured where they are spent. Wall time would not do: whoever waits for a core is not busy. So time is counted in short pieces of
 * work, and a piece that took far longer than the fastest so far was interrupted, and counts no more than an ordinary one.
 */
import { numberOf } from './work.ts'
import type { Fields } from './work.ts'

/** Some microseconds, once it is compiled. */
const PIECE_INCREMENTS = 10_000
/** An honest piece is at most so many times the fastest: before it is compiled, or while the core's other thread is busy. */
const SLOWEST = 4
/** So many pieces without a moment passing: the clock of this runtime stands still while it computes (workerd). */
const PIECES_WITHOUT_TIME = 20_000

let sum = 0

export function spinIncrements(limit: number): void {
  let value = sum
  for (let index = 0; index < limit; index++) value = (value + index) | 0
  // Kept, or a compiler may leave the loop away.
  sum = value
}

/** @param now A clock in ms, finer than a piece. */
export function spinMs(ms: number, now: () => number = () => performance.now()): void {
  let fastest = Infinity
  let busyMs = 0
  let before = now()
  for (let pieces = 1; busyMs < ms; pieces++) {
    spinIncrements(PIECE_INCREMENTS)
    const after = now()
    const took = after - before
    before = after
    if (took > 0 && took < fastest) fastest = took
    busyMs += Math.min(took, SLOWEST * fastest)
    if (pieces === PIECES_WITHOUT_TIME && busyMs === 0) throw new Error('ServiceTimeMs: the clock of this runtime stands still while it computes; give IncrementLimit')
  }
}

/** `ServiceTimeMs` when it is there, otherwise increments, in the spelling of the client or of the original's Node function, which never saw it. */
export function spin(fields: Fields): void {
  const ms = numberOf(fields, 'ServiceTimeMs')
  if (ms > 0) spinMs(ms)
  else spinIncrements(numberOf(fields, 'IncrementLimit') || numberOf(fields, 'incrementLimit'))
}
