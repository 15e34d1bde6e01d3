/**
 * Goal: an invocation ends exactly once, whoever ends it first, and its sink hears the end before anyone else.
 *
 * Method: invocations with a sink that throws when V1 is broken; random orders of ends.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from './errors.ts'
import type { Invocation } from './invocation.ts'
import { testInvocation, testRevision } from './invocation.fake.ts'

const clock = new ManualClock()
const timeout = new PlatformError('FUNCTION_TIMEOUT', 'too late')

describe('an invocation', () => {
  test('that fails tells its sink first, then whoever counts it, and keeps why (V2)', () => {
    const order: string[] = []
    const { invocation, sink } = testInvocation(clock, { ended: (ended) => order.push(`ended ${ended.state} ${sink.error?.code}`) })
    invocation.fail(timeout, 7)
    assert.deepEqual(order, ['ended ended FUNCTION_TIMEOUT'])
    assert.deepEqual([invocation.error, invocation.status, invocation.endedUs], [timeout, 504, 7])
  })

  test('that completes has no error, and the status of its answer', () => {
    const { invocation, sink, ends } = testInvocation(clock)
    sink.head(201, [], undefined, true)
    invocation.status = 201
    invocation.complete(9)
    assert.deepEqual([invocation.error, invocation.status, invocation.endedUs, ends()], [undefined, 201, 9, 1])
  })

  test('ends once, in whatever order and however often it is ended (V1, V2)', () => {
    fc.assert(fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 6 }), (ends) => {
      const one = testInvocation(clock)
      ends.forEach((completes, index) => (completes ? one.invocation.complete(index) : one.invocation.fail(timeout, index)))
      assert.equal(one.ends(), 1)
      assert.equal(one.invocation.endedUs, 0, 'the first end is the one that counts')
      assert.equal(one.invocation.error, ends[0] === true ? undefined : timeout)
      assert.equal(one.sink.error, one.invocation.error)
    }))
  })

  test('ends also when its sink throws, which its ender hears of (V2)', () => {
    const { invocation, sink, ends } = testInvocation(clock)
    const broken = new Error('the connection is in a state that nobody thought of')
    sink.fail = () => {
      throw broken
    }
    assert.throws(() => invocation.fail(timeout, 3), broken)
    assert.deepEqual([ends(), invocation.state, invocation.endedUs, invocation.error], [1, 'ended', 3, timeout])
    invocation.fail(timeout, 4)
    assert.equal(ends(), 1)
  })

  test('ends once also when its end makes someone end it again (V2)', () => {
    const again = testInvocation(clock, { ended: (ended) => ended.fail(timeout, 2) })
    again.invocation.complete(1)
    assert.deepEqual([again.ends(), again.sink.error, again.invocation.error], [1, undefined, undefined])
  })

  test('is cancelled by whoever holds it; without a holder nothing happens', () => {
    const cancelled: [Invocation, PlatformError][] = []
    const { invocation, ends } = testInvocation(clock)
    invocation.cancel(timeout)
    assert.equal(ends(), 0)
    invocation.holder = { cancelInvocation: (one, reason) => cancelled.push([one, reason]) }
    invocation.cancel(timeout)
    assert.deepEqual(cancelled, [[invocation, timeout]])
    assert.equal(ends(), 0, 'the holder ends it, not the wish')
  })

  test('knows how deep it was called and what came in, and is not late before it is handed over', () => {
    const parent = testInvocation(clock).invocation
    const child = testInvocation(clock, { parent, deadlineMs: 123, attempt: 2, request: { body: Buffer.from('abc') }, revision: testRevision({ memoryMb: 64 }) }).invocation
    assert.deepEqual([parent.depth, parent.attempt, parent.deadlineMs, parent.bytesIn], [0, 1, Infinity, 0])
    assert.deepEqual([child.depth, child.attempt, child.deadlineMs, child.bytesIn], [1, 2, 123, 3])
    assert.equal(testInvocation(clock, { request: { body: Readable.from(['abc']) } }).invocation.bytesIn, 0, 'a stream is counted as it passes')
    assert.deepEqual([child.state, child.start, child.instance, child.slot], ['queued', 'none', '', -1])
  })
})
