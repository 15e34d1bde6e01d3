/** Goal: nobody wakes up late by his own doing, or turns where sleeping is enough. Method: the pure decision at its borders; waiting on a clock that is moved by hand. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '#base/clock.ts'
import { sleepUntil, TIMER_LATE_MS, waitFor } from './pacing.ts'

const never = new AbortController().signal
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('waitFor', () => {
  test('sends what is due, turns when it is due soon, and sleeps otherwise', () => {
    assert.deepEqual([waitFor(-5), waitFor(0), waitFor(0.001), waitFor(2.9), waitFor(3), waitFor(1000.5)].map(({ kind }) => kind), ['now', 'now', 'turn', 'turn', 'sleep', 'sleep'])
  })

  test('a sleep, with all that a timer is late by, ends before the moment, and is no timer that overflows', () => {
    fc.assert(fc.property(fc.double({ min: 0, max: 1e13, noNaN: true }), (leftMs) => {
      const wait = waitFor(leftMs)
      assert(wait.kind !== 'sleep' || (Number.isInteger(wait.ms) && wait.ms >= 1 && wait.ms + TIMER_LATE_MS <= leftMs && wait.ms < 2 ** 31))
    }))
  })
})

describe('sleepUntil', () => {
  test('ends when the clock has come there, not before', async () => {
    const clock = new ManualClock()
    let ended = false
    const slept = sleepUntil(clock.monotonicUs() / 1000 + 10.5, clock, never).then(() => (ended = true))
    for (const [ms, expected] of [[10, false], [1, true]] as const) {
      clock.advance(ms)
      await turn()
      assert.equal(ended, expected)
    }
    await slept
  })

  test('ends with the signal\'s reason, and at once for one that was given before', async () => {
    const clock = new ManualClock()
    const controller = new AbortController()
    const slept = sleepUntil(Infinity, clock, controller.signal)
    controller.abort(new Error('enough'))
    await assert.rejects(slept, /enough/)
    await assert.rejects(sleepUntil(0, clock, controller.signal), /enough/)
  })
})
