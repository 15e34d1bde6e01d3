/**
 * Goal: the window's average is the true time-weighted one, and an empty window is exactly 0.
 *
 * Method: short histories with averages known by hand; then random histories against the integral computed from the
 * whole list of changes.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ConcurrencyWindow } from './concurrency-window.ts'

describe('ConcurrencyWindow', () => {
  test('weighs by time: 10 at once for one second of six', () => {
    const window = new ConcurrencyWindow(0)
    window.record(60_000, 10)
    window.record(61_000, 0)
    assert.equal(window.average(64_000, 6_000), 10 / 6)
    assert.equal(window.average(64_000, 60_000), 10 / 60)
  })

  test('sees an invocation of 2 ms that no sampling would', () => {
    const window = new ConcurrencyWindow(0)
    window.record(100_000, 1)
    window.record(100_002, 0)
    assert.equal(window.average(101_000, 60_000), 2 / 60_000)
  })

  test('averages a new function over its life, not over a window that has not passed', () => {
    const window = new ConcurrencyWindow(5_300)
    window.record(5_300, 8)
    assert.equal(window.average(5_800, 60_000), 4, 'over one bucket at least')
    assert.equal(window.average(7_300, 60_000), 8)
  })

  test('is exactly 0 once the window has passed since the last end, and not before (W2)', () => {
    const window = new ConcurrencyWindow(0)
    window.record(10_100, 3)
    window.record(10_900, 0)
    assert(window.average(70_899, 60_000) > 0)
    assert.equal(window.average(71_000, 60_000), 0)
  })

  test('after a silence longer than the ring, remembers what was running all along', () => {
    const window = new ConcurrencyWindow(0)
    window.record(500, 2)
    assert.equal(window.average(1_000_250, 60_000), 2)
    window.record(1_000_250, 0)
    assert.equal(window.average(5_000_000, 60_000), 0)
  })

  test('agrees with the integral over the list of changes, within one bucket (W3)', () => {
    const history = fc.array(fc.record({ gapMs: fc.integer({ min: 0, max: 3_000 }), concurrency: fc.integer({ min: 0, max: 50 }) }), { maxLength: 60 })
    fc.assert(
      fc.property(history, fc.integer({ min: 0, max: 70_000 }), fc.constantFrom(1_000, 6_000, 20_000), (changes, tailMs, windowMs) => {
        const window = new ConcurrencyWindow(0, { windowMsMax: 20_000, bucketMs: 500 })
        const points: { atMs: number; concurrency: number }[] = [{ atMs: 0, concurrency: 0 }]
        let atMs = 0
        for (const { gapMs, concurrency } of changes) {
          atMs += gapMs
          window.record(atMs, concurrency)
          points.push({ atMs, concurrency })
        }
        const nowMs = atMs + tailMs
        const integral = (fromMs: number): number =>
          points.reduce((sum, { atMs: beganMs, concurrency }, index) => {
            const endedMs = points[index + 1]?.atMs ?? nowMs
            return sum + concurrency * Math.max(0, endedMs - Math.max(beganMs, fromMs))
          }, 0)
        const lengthMs = Math.min(windowMs, Math.max(nowMs, 500))
        const average = window.average(nowMs, windowMs)
        const inside = integral(nowMs - windowMs)
        // The bucket on the far edge counts in proportion: at most what it holds may be off.
        const edgeMs = Math.floor((nowMs - windowMs) / 500) * 500
        const edge = integral(edgeMs) - integral(edgeMs + 500)
        assert(Math.abs(average * lengthMs - inside) <= edge + 1e-6)
        if (integral(nowMs - windowMs - 500) === 0) assert.equal(average, 0)
        if (inside > 0) assert(average > 0)
      }),
    )
  })

  test('a change costs no memory (W1)', () => {
    const window = new ConcurrencyWindow(0)
    const change = (count: number, fromMs: number): void => {
      for (let index = 0; index < count; index++) window.record(fromMs + index * 0.37, index & 7)
    }
    change(200_000, 0)
    const before = process.memoryUsage().heapUsed
    change(200_000, 100_000)
    // 200,000 boxed numbers would be 2.4 MB and more.
    assert(process.memoryUsage().heapUsed - before < 1_500_000)
  })
})
