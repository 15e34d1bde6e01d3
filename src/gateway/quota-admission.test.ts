/**
 * Goal: a refused caller learns which limit it met and when to come again; what was admitted is released, whatever happens
 * to its namespace meanwhile.
 *
 * Method: real quotas with a clock that the test moves. The limits themselves are quota.test.ts's matter.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import { QuotaAdmission } from './quota-admission.ts'
import { Quotas } from './quota.ts'
import type { QuotaLimits } from './quota.ts'

function ground(limits: QuotaLimits = { invocationsPerMinute: 60, concurrentInvocations: 2 }) {
  const namespaces = new Map<string, QuotaLimits>([['n', limits], ['m', limits]])
  const quotas = new Quotas({
    limitsOf(namespace) {
      const known = namespaces.get(namespace)
      if (known === undefined) throw new PlatformError('NAMESPACE_NOT_FOUND', `no ${namespace}`)
      return known
    },
  })
  let nowMs = 0
  const admission = new QuotaAdmission({ quotas, nowMs: () => nowMs })
  return {
    namespaces, quotas, admission,
    pass: (ms: number) => (nowMs += ms),
    refusal(namespace = 'n'): PlatformError | undefined {
      try {
        admission.admit(namespace)
        return undefined
      } catch (error) {
        assert(error instanceof PlatformError)
        return error
      }
    },
  }
}

describe('QuotaAdmission', () => {
  test('refuses more at once than the namespace may have, and admits again when one has ended', () => {
    const { admission, refusal } = ground()
    admission.admit('n')
    admission.admit('n')
    const error = refusal()!
    assert.deepEqual([error.code, error.details], ['CONCURRENCY_EXCEEDED', { limit: 2, retryAfterMs: 1000 }])
    assert.equal(refusal('m'), undefined, 'each namespace has its own')
    admission.release('n')
    assert.equal(refusal(), undefined)
  })

  test('refuses more a minute than the namespace may have, and says exactly when it admits again', () => {
    const { admission, refusal, pass } = ground({ invocationsPerMinute: 60, concurrentInvocations: 1 })
    for (let count = 0; count < 60; count++) {
      admission.admit('n')
      admission.release('n')
    }
    const error = refusal()!
    assert.deepEqual([error.code, error.details], ['RATE_EXCEEDED', { limit: 60, retryAfterMs: 1000 }])
    assert.match(error.message, /60 invocations a minute.*1000 ms/)
    pass(999)
    assert.equal(refusal()?.code, 'RATE_EXCEEDED')
    pass(1)
    assert.equal(refusal(), undefined)
  })

  test('releases what it admitted of a namespace that is deleted meanwhile', () => {
    const { admission, quotas, namespaces } = ground()
    admission.admit('n')
    namespaces.delete('n')
    quotas.changed('n', undefined)
    admission.release('n')
  })

  test('counts what still runs of a deleted namespace against the next of its name, by that one\'s limits', () => {
    const { admission, quotas, namespaces, refusal } = ground()
    admission.admit('n')
    admission.admit('n')
    namespaces.delete('n')
    quotas.changed('n', undefined)
    const limits = { invocationsPerMinute: 60, concurrentInvocations: 3 }
    namespaces.set('n', limits)
    quotas.changed('n', limits)
    admission.admit('n')
    assert.equal(refusal()?.code, 'CONCURRENCY_EXCEEDED')
    for (let count = 0; count < 3; count++) admission.release('n')
    assert.equal(quotas.of('n').running, 0)
  })
})
