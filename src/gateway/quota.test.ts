/**
 * Goal: a namespace gets its rate and its concurrency, no more and no less, and is told truly when to come back.
 *
 * Method: a seeded walk of arrivals and ends against a naive model, a bucket that leaks in whole intervals of exact
 * integers. SEED=… repeats a walk.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { seedFromEnvironment, seededRandom } from '#base/seeded-random.ts'
import { NamespaceQuota, Quotas } from './quota.ts'

describe('NamespaceQuota', () => {
  test('spends a quiet minute at once, then one per interval', () => {
    const quota = new NamespaceQuota({ invocationsPerMinute: 60, concurrentInvocations: 1000 })
    for (let count = 0; count < 60; count++) assert.equal(quota.admit(5000).kind, 'accepted')
    assert.deepEqual(quota.admit(5000), { kind: 'rate', retryAfterMs: 1000, limit: 60 })
    assert.equal(quota.admit(5999).kind, 'rate')
    assert.equal(quota.admit(6000).kind, 'accepted')
    assert.equal(quota.admit(6000).kind, 'rate')
  })

  test('bounds what runs at once, and a refusal costs no rate (Q2)', () => {
    const quota = new NamespaceQuota({ invocationsPerMinute: 3, concurrentInvocations: 2 })
    assert.equal(quota.admit(0).kind, 'accepted')
    assert.equal(quota.admit(0).kind, 'accepted')
    assert.equal(quota.admit(0).kind, 'concurrency')
    quota.release()
    assert.equal(quota.admit(0).kind, 'accepted')
    quota.release()
    assert.equal(quota.admit(0).kind, 'rate')
    quota.release()
    assert.throws(() => quota.release())
  })

  test('follows new limits from the next invocation on', () => {
    const limits = new Map([['n', { invocationsPerMinute: 1, concurrentInvocations: 10 }]])
    const quotas = new Quotas({ limitsOf: (namespace) => limits.get(namespace)! })
    assert.equal(quotas.of('n').admit(0).kind, 'accepted')
    assert.equal(quotas.of('n').admit(0).kind, 'rate')
    quotas.changed('n', { invocationsPerMinute: 60_000, concurrentInvocations: 10 })
    assert.equal(quotas.of('n').admit(2).kind, 'accepted')
    quotas.changed('n', undefined)
    assert.equal(quotas.of('n').running, 2, 'what still runs is still counted')
    quotas.release('n')
    quotas.release('n')
    quotas.changed('n', undefined)
    assert.equal(quotas.of('n').admit(3).kind, 'accepted', 'and then it begins anew')
  })

  test('agrees with a leaking bucket on any walk, and its retryAfterMs is exact (Q1, Q3)', () => {
    const seed = seedFromEnvironment()
    const random = seededRandom(seed)
    for (const rate of [1, 6, 60, 600]) {
      const intervalMs = 60_000 / rate
      const quota = new NamespaceQuota({ invocationsPerMinute: rate, concurrentInvocations: 5 })
      let nowMs = 0
      let levelMs = 0
      let running = 0
      for (let step = 0; step < 5000; step++) {
        const waitMs = Math.floor(random() ** 6 * 5 * intervalMs)
        nowMs += waitMs
        levelMs = Math.max(0, levelMs - waitMs)
        if (running > 0 && random() < 0.6) {
          running--
          quota.release()
        }
        const expected = running === 5 ? 'concurrency' : levelMs + intervalMs > 60_000 ? 'rate' : 'accepted'
        const admission = quota.admit(nowMs)
        const where = `SEED=${seed} rate=${rate} step=${step}`
        assert.equal(admission.kind, expected, where)
        if (admission.kind === 'rate') assert.equal(admission.retryAfterMs, levelMs + intervalMs - 60_000, where)
        if (admission.kind === 'accepted') {
          running++
          levelMs += intervalMs
        }
        assert.equal(quota.running, running, where)
      }
    }
  })
})
