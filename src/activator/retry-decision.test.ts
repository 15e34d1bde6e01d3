/**
 * Goal: a failed invocation is tried again as often as its function says, ever later, and never all at once.
 *
 * Method: the pure decision, at its edges and for random histories.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { afterFailure } from './retry-decision.ts'

const HOUR_MS = 3_600_000
const config = { retriesMax: 3, retryBackoffMs: 1000 }

function waitMs(attempt: number, random: number, backoffMs = 1000): number {
  const next = afterFailure({ attempt, nowMs: 5_000, random }, { retriesMax: 1000, retryBackoffMs: backoffMs })
  assert(next.kind === 'retry')
  return next.dueAtMs - 5_000
}

describe('afterFailure', () => {
  test('retries as often as the function says, then buries', () => {
    assert.deepEqual([1, 2, 3, 4, 5].map((attempt) => afterFailure({ attempt, nowMs: 0, random: 0 }, config).kind), ['retry', 'retry', 'retry', 'bury', 'bury'])
    assert.equal(afterFailure({ attempt: 1, nowMs: 0, random: 0 }, { ...config, retriesMax: 0 }).kind, 'bury')
  })

  test('waits between half and all of a backoff that doubles', () => {
    assert.deepEqual([1, 2, 3, 4].map((attempt) => waitMs(attempt, 0)), [500, 1000, 2000, 4000])
    assert.deepEqual([1, 2, 3].map((attempt) => waitMs(attempt, 0.5)), [750, 1500, 3000])
  })

  test('waits never longer than an hour, however often and however long the backoff', () => {
    assert.equal(waitMs(500, 0.999_999) <= HOUR_MS, true)
    assert.equal(waitMs(1, 0, HOUR_MS), HOUR_MS / 2)
    assert.equal(waitMs(1000, 0), HOUR_MS / 2)
  })

  test('for any history is later than now, within its bounds, and spread by chance', () => {
    const random = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
    fc.assert(fc.property(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: HOUR_MS }), random, random, (attempt, backoffMs, one, other) => {
      const [first, second] = [waitMs(attempt, one, backoffMs), waitMs(attempt, other, backoffMs)]
      const full = Math.min(HOUR_MS, backoffMs * 2 ** (attempt - 1))
      assert(first >= full / 2 && first < full + 1e-6)
      assert(one <= other ? first <= second : first >= second)
      assert(waitMs(attempt + 1, one, backoffMs) >= first)
    }))
  })
})
