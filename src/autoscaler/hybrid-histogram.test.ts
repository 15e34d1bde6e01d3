/**
 * Goal: a function with a rhythm has an instance when its invocation comes and none in between; one without a rhythm is
 * treated as by the fixed policy.
 *
 * Method: functions told by their idle times. A small replay at the end compares cold starts and time kept with the fixed
 * policy on the same seeded idle times (SEED=… repeats it).
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { hybridHistogram, hybridHistogramDefaults } from './hybrid-histogram.ts'
import { fixedKeepAlive } from './keep-alive.ts'
import type { KeepAlive } from './keep-alive.ts'
import { seededRandom, seedFromEnvironment } from '#base/seeded-random.ts'

const MINUTE_MS = 60_000
const { fallbackMs } = hybridHistogramDefaults

/** Lets the function be idle for these minutes one after the other, and then fall idle. Returns that moment. */
function live(policy: KeepAlive, idleMinutes: readonly number[]): number {
  let atMs = 0
  policy.busy(atMs)
  for (const minutes of idleMinutes) {
    policy.idle(atMs)
    atMs += minutes * MINUTE_MS
    policy.busy(atMs)
  }
  policy.idle(atMs)
  return atMs
}

describe('hybridHistogram', () => {
  test('keeps the fixed time until it has seen enough (H1)', () => {
    const policy = hybridHistogram()
    const nowMs = live(policy, Array.from({ length: 9 }, () => 30.5))
    assert.deepEqual(policy.decide(nowMs, nowMs), { keepUntilMs: nowMs + fallbackMs })
  })

  test('lets go at once and pre-warms shortly before a rhythm of 30 minutes, then keeps until shortly after', () => {
    const policy = hybridHistogram()
    const nowMs = live(policy, Array.from({ length: 20 }, () => 30.5))
    assert.deepEqual(policy.decide(nowMs, nowMs), { keepUntilMs: nowMs, prewarmAtMs: nowMs + 27 * MINUTE_MS })
    const prewarmedMs = nowMs + 27 * MINUTE_MS
    assert.deepEqual(policy.decide(prewarmedMs, prewarmedMs), { keepUntilMs: nowMs + 31 * MINUTE_MS * 1.1 })
  })

  test('keeps an instance for about two minutes when invocations come within one', () => {
    const policy = hybridHistogram()
    const nowMs = live(policy, Array.from({ length: 200 }, (_, index) => (index % 50 === 0 ? 1.5 : 0.3)))
    assert.deepEqual(policy.decide(nowMs, nowMs), { keepUntilMs: nowMs + 2 * MINUTE_MS * 1.1 })
  })

  test('keeps the fixed time when the histogram is flat, or most idle times are beyond it (H1)', () => {
    const flat = hybridHistogram()
    const flatMs = live(flat, Array.from({ length: 480 }, (_, index) => index % 240))
    assert.equal(flat.decide(flatMs, flatMs).keepUntilMs, flatMs + fallbackMs)

    const beyond = hybridHistogram()
    const beyondMs = live(beyond, Array.from({ length: 30 }, (_, index) => (index % 3 === 0 ? 5 : 500)))
    assert.equal(beyond.decide(beyondMs, beyondMs).keepUntilMs, beyondMs + fallbackMs)
  })

  test('gives an instance that is idle while the function is busy the fixed time (H2)', () => {
    const policy = hybridHistogram()
    const nowMs = live(policy, Array.from({ length: 20 }, () => 30.5))
    policy.busy(nowMs + 1)
    assert.deepEqual(policy.decide(nowMs + 1, nowMs), { keepUntilMs: nowMs + fallbackMs })
  })

  test('for invocations every 20 to 25 minutes: a tenth of the cold starts of the fixed 10 minutes, in less time kept', () => {
    const seed = seedFromEnvironment()
    const run = (policy: KeepAlive): { cold: number; keptMs: number } => {
      const random = seededRandom(seed)
      let [cold, keptMs, atMs] = [0, 0, 0]
      for (let invocation = 0; invocation < 500; invocation++) {
        policy.busy(atMs)
        policy.idle(atMs)
        const nextMs = atMs + (20 + random() * 5) * MINUTE_MS
        const first = policy.decide(atMs, atMs)
        keptMs += Math.min(nextMs, first.keepUntilMs) - atMs
        let isWarm = first.keepUntilMs >= nextMs
        if (first.prewarmAtMs !== undefined && first.prewarmAtMs < nextMs) {
          assert(first.prewarmAtMs >= first.keepUntilMs, 'K2')
          const { keepUntilMs } = policy.decide(first.prewarmAtMs, first.prewarmAtMs)
          keptMs += Math.min(nextMs, keepUntilMs) - first.prewarmAtMs
          isWarm = keepUntilMs >= nextMs
        }
        if (!isWarm) cold++
        atMs = nextMs
      }
      return { cold, keptMs }
    }
    const hybrid = run(hybridHistogram())
    const fixed = run(fixedKeepAlive(fallbackMs))
    assert.equal(fixed.cold, 500)
    assert(hybrid.cold <= 50, `${hybrid.cold} cold starts: SEED=${seed}`)
    assert(hybrid.keptMs < fixed.keptMs, `SEED=${seed}`)
  })
})
