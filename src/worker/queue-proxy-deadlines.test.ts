/**
 * Goal: a time limit is answered when it has passed, whatever the runtime does; a runtime that does not let go is told of.
 *
 * Method: a clock that the test moves, and a runtime that it plays.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { FrameType } from '#contract/frames.ts'
import { testRevision, turns } from '#contract/invocation.fake.ts'
import { proxyGround } from './queue-proxy.fake.ts'

const GRACE_MS = 250
const limited = testRevision({ timeoutMs: 100 })
const cancelled = new PlatformError('CANCELLED', 'the client went away')

describe('a time limit', () => {
  test('fails the invocation the moment it has passed, and asks the runtime to let go (Q1)', async (context) => {
    const { clock, open, runtime } = proxyGround(context)
    const { invocation, sink, ends, opened } = await open({ revision: limited })
    clock.advance(99)
    assert.equal(sink.isEnded, false)
    clock.advance(1)
    assert.deepEqual([sink.error?.code, ends(), invocation.status], ['FUNCTION_TIMEOUT', 1, 504])
    assert.match(sink.error!.message, /100 ms/)
    assert.equal(JSON.parse((await runtime.take(FrameType.reset, opened.stream)).payload.toString()).code, 'FUNCTION_TIMEOUT')
  })

  test('makes the instance hung when the runtime has not let go within the grace: told once (Q4)', async (context) => {
    const { clock, open, owner, proxy } = proxyGround(context)
    const { invocation } = await open({ revision: limited })
    clock.advance(100 + GRACE_MS - 1)
    assert.deepEqual(owner.hungs, [])
    clock.advance(1)
    assert.deepEqual(owner.hungs, [invocation])
    assert.equal(proxy.load.inFlight, 1, 'it still occupies the instance')
    clock.advance(3_600_000)
    assert.equal(owner.hungs.length, 1)
  })

  test('is confirmed by an empty reset, or by an answer that was on its way: then nothing is hung (Q4)', async (context) => {
    for (const confirm of ['reset', 'answer', 'stream'] as const) {
      const { clock, open, owner, runtime, proxy } = proxyGround(context)
      const { ends, sink, opened } = await open({ revision: limited })
      if (confirm === 'stream') runtime.head(opened.stream, 200, 'be', false)
      await turns()
      clock.advance(100)
      if (confirm === 'reset') runtime.reset(opened.stream)
      if (confirm === 'answer') runtime.head(opened.stream, 200, 'too late', true)
      if (confirm === 'stream') runtime.data(opened.stream, 'too', false)
      if (confirm === 'stream') runtime.data(opened.stream, 'late', true)
      await turns()
      assert.deepEqual([proxy.load.inFlight, proxy.load.computing, ends(), sink.error?.code], [0, 0, 1, 'FUNCTION_TIMEOUT'])
      clock.advance(3_600_000)
      assert.deepEqual(owner.hungs, [])
    }
  })

  test('of one does not touch the others, which are watched on', async (context) => {
    const { clock, open, runtime, owner } = proxyGround(context)
    const late = await open({ revision: testRevision({ timeoutMs: 1000 }) })
    const early = await open({ revision: limited })
    clock.advance(100)
    assert.deepEqual([early.sink.error?.code, late.sink.isEnded], ['FUNCTION_TIMEOUT', false])
    runtime.reset(early.opened.stream)
    await turns()
    clock.advance(899)
    assert.equal(late.sink.isEnded, false)
    clock.advance(1)
    assert.equal(late.sink.error?.code, 'FUNCTION_TIMEOUT')
    runtime.reset(late.opened.stream)
    await turns()
    clock.advance(3_600_000)
    assert.deepEqual(owner.hungs, [])
  })

  test('that a caller has used up already fails at once', async (context) => {
    const { clock, open } = proxyGround(context)
    const { sink } = await open({ deadlineMs: clock.epochMs() - 5 })
    clock.advance(0)
    assert.equal(sink.error?.code, 'FUNCTION_TIMEOUT')
  })

  test('holds for any set of limits, to the millisecond (Q1)', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }), async (limits) => {
      const { clock, open, runtime, owner } = proxyGround()
      const startMs = clock.epochMs()
      const all = await Promise.all(limits.map(async (timeoutMs) => ({ timeoutMs, ...(await open({ revision: testRevision({ timeoutMs }) })) })))
      for (let passed = 1; passed <= 40; passed++) {
        clock.advance(1)
        for (const { timeoutMs, sink, opened } of all) {
          assert.equal(sink.isEnded, timeoutMs <= passed)
          if (timeoutMs === passed) runtime.reset(opened.stream)
        }
      }
      for (const { timeoutMs, invocation, ends } of all) assert.deepEqual([ends(), invocation.endedUs / 1000 - startMs], [1, timeoutMs])
      await turns(3)
      clock.advance(1000)
      assert.deepEqual(owner.hungs, [])
      runtime.close()
    }), { numRuns: 25 })
  })
})

describe('a cancelled invocation', () => {
  test('fails at once with the reason, and its instance has until its time limit to let go (Q1, Q4)', async (context) => {
    const { clock, open, owner, runtime, proxy } = proxyGround(context)
    const { invocation, sink, ends, opened } = await open({ revision: limited })
    invocation.cancel(cancelled)
    invocation.cancel(new PlatformError('STOPPING', 'again'))
    assert.deepEqual([sink.error, ends(), proxy.load.inFlight], [cancelled, 1, 1])
    await runtime.take(FrameType.reset, opened.stream)
    await turns()
    assert.equal(runtime.frames.length, 0, 'asked once')
    clock.advance(100 + GRACE_MS - 1)
    assert.deepEqual(owner.hungs, [])
    clock.advance(1)
    assert.deepEqual(owner.hungs, [invocation])
  })

  test('frees its place when the runtime confirms', async (context) => {
    const { open, owner, runtime, proxy } = proxyGround(context)
    const { invocation, opened, ends } = await open()
    invocation.cancel(cancelled)
    runtime.reset(opened.stream)
    await turns()
    assert.deepEqual([proxy.load.inFlight, proxy.load.computing, ends(), owner.changes], [0, 0, 1, 1])
    invocation.cancel(cancelled)
  })
})
