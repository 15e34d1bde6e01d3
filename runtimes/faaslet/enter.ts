/**
 * Enters faaslets: says whose code runs, stops it at its deadline, and counts the time as its own.
 *
 * Everything a faaslet computes happens inside (guest.ts G2), on this one thread: so the time between entering and leaving is its
 * cpu time, exactly, as long as the host has a core; a share of the process's time, as other runtimes report, would charge it
 * for its neighbours.
 */
import { performance } from 'node:perf_hooks'
import { PlatformError } from '../../src/contract/errors.ts'
import { Guard } from '../../src/pager/native-guard.ts'
import { loadNative } from '../../src/pager/native.ts'
import type { Enter, Faaslet, Running } from './guest.ts'

/** Runs the queue of microtasks, where there is no addon to do it. */
const runMicrotasks = (process as unknown as { _tickCallback(): void })._tickCallback

export interface Entries {
  readonly enter: Enter
  readonly running: Running
  /** What the faaslet that runs at this moment has computed since it was entered, µs. */
  sinceEnteredUs(): number
}

/** @throws nothing. Without the addon there is no watchdog: code that spins then holds the host up until the platform kills it. */
export function makeEntries(): Entries {
  const native = loadNative()
  const guard = native === undefined ? undefined : new Guard(native)
  const running: Running = { faaslet: undefined, ...(guard !== undefined && { hold: () => guard.hold(), release: () => guard.release() }) }
  let enteredMs = 0

  const entries: Entries = { enter, running, sinceEnteredUs: () => (running.faaslet === undefined ? 0 : (performance.now() - enteredMs) * 1000) }
  return entries

  function enter<Result>(faaslet: Faaslet, run: () => Result): Result {
    if (running.faaslet !== undefined) throw new Error('a faaslet was entered within another')
    const { invocation } = faaslet
    enteredMs = performance.now()
    const deadlineMs = invocation === undefined ? (faaslet.bootDeadlineMs ?? Infinity) : enteredMs + invocation.remainingMs()
    running.faaslet = faaslet
    try {
      if (guard === undefined) {
        const result = run()
        runMicrotasks()
        return result
      }
      const guarded = guard.run(run, deadlineMs)
      if (guarded.ended === 'done') return guarded.value
      throw guarded.ended === 'deadline' ? late(invocation === undefined) : new PlatformError('SNAPSHOT_DAMAGED', 'A page of the snapshot could not be read while the function ran; it is rebuilt. Send the request again.')
    } finally {
      running.faaslet = undefined
      if (invocation !== undefined) invocation.cpuMark += (performance.now() - enteredMs) * 1000
    }
  }
}

function late(boots: boolean): PlatformError {
  return boots
    ? new PlatformError('INIT_TIMEOUT', 'The function\'s code did not finish its initialisation in time and was stopped; raise initTimeoutMs or do less at import.')
    : new PlatformError('FUNCTION_TIMEOUT', 'The function computed until its time limit and was stopped; raise its timeout (--timeout) or make it faster.')
}
