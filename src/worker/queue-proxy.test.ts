/**
 * Goal: an invocation that was handed over ends exactly once, whatever the runtime does, and the load says how deep it is in.
 *
 * Method: a queue proxy and a runtime that the test plays, with a real stream between them. Flow control is tested in
 * queue-proxy-flow.test.ts, time limits in queue-proxy-deadlines.test.ts, calls in call-stream.test.ts.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { CREDIT_BYTES, encodeFrame, FrameFlag, FrameType, PAYLOAD_BYTES_MAX } from '#contract/frames.ts'
import { testInvocation, testRevision, turns } from '#contract/invocation.fake.ts'
import { proxyGround } from './queue-proxy.fake.ts'

const lost = (): PlatformError => new PlatformError('INSTANCE_LOST', 'gone')

describe('handing over', () => {
  test('sends who, what and until when, and the whole small body with it', async (context) => {
    const { clock, open } = proxyGround(context)
    const { invocation, opened } = await open({
      attempt: 2, revision: testRevision({ timeoutMs: 500 }),
      request: { kind: 'http', method: 'PUT', path: '/a?b', headers: ['x', 'y'], body: Buffer.from('whole') },
    })
    const { t, ...head } = opened.head
    assert.deepEqual(head, { k: 'http', i: invocation.id, m: 'PUT', u: '/a?b', h: ['x', 'y'], d: clock.epochMs() + 500, n: 2 })
    assert.match(t!, /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
    assert.deepEqual([opened.body.toString(), opened.ended, opened.stream], ['whole', true, 2])
    assert.deepEqual([invocation.state, invocation.handedUs, invocation.deadlineMs], ['running', clock.monotonicUs(), clock.epochMs() + 500])
  })

  test('keeps the earlier deadline of a caller', async (context) => {
    const { clock, open } = proxyGround(context)
    const { opened } = await open({ deadlineMs: clock.epochMs() + 40 })
    assert.equal(opened.head.d, clock.epochMs() + 40)
  })

  test('of what does not fit a frame fails that invocation and leaves nothing behind (Q1)', async (context) => {
    const { proxy, clock, open, runtime } = proxyGround(context)
    const { invocation, sink, ends } = testInvocation(clock, { request: { body: Buffer.alloc(PAYLOAD_BYTES_MAX) } })
    proxy.open(invocation)
    assert.deepEqual([sink.error?.code, ends(), proxy.load.inFlight, proxy.load.computing], ['BODY_TOO_LARGE', 1, 0, 0])
    const { opened } = await open()
    runtime.head(opened.stream, 200, 'fine', true)
  })
})

describe('an answer', () => {
  test('of one frame ends its invocation once, with what it used (Q1)', async (context) => {
    const { runtime, open, proxy, owner, clock } = proxyGround(context)
    const { invocation, sink, ends, opened } = await open()
    clock.advance(3)
    runtime.usage(opened.stream, 1234, 5678)
    runtime.head(opened.stream, 201, 'made', true, ['a', 'b'])
    await sink.ended
    assert.deepEqual([sink.status, sink.headers, sink.body.toString(), sink.isComplete], [201, ['a', 'b'], 'made', true])
    assert.deepEqual([invocation.status, invocation.cpuUs, invocation.memoryPeakKb, invocation.bytesOut, invocation.error], [201, 1234, 5678, 4, undefined])
    assert.deepEqual([ends(), invocation.endedUs - invocation.handedUs, proxy.load.inFlight, owner.changes], [1, 3000, 0, 1])
  })

  test('that streams passes on each piece as it comes', async (context) => {
    const { runtime, open } = proxyGround(context)
    const { invocation, sink, ends, opened } = await open()
    runtime.head(opened.stream, 200, undefined, false)
    runtime.data(opened.stream, 'one', false)
    await turns()
    assert.deepEqual([sink.body.toString(), sink.isEnded, ends()], ['one', false, 0])
    runtime.data(opened.stream, 'two', true)
    await sink.ended
    assert.deepEqual([sink.body.toString(), invocation.bytesOut, ends()], ['onetwo', 6, 1])
  })

  test('over the limit of the function breaks off, inline or streamed, and the stream is free again (Q1)', async (context) => {
    const { runtime, open, proxy, clock, owner } = proxyGround(context)
    const revision = testRevision({ answerBytesMax: 10 })
    for (const streamed of [false, true]) {
      const { sink, ends, opened } = await open({ revision })
      if (streamed) runtime.head(opened.stream, 200, '12345', false)
      if (streamed) runtime.data(opened.stream, '678901', true)
      else runtime.head(opened.stream, 200, '12345678901', true)
      await sink.ended
      assert.deepEqual([sink.error?.code, ends()], ['ANSWER_TOO_LARGE', 1])
      // Its END was the runtime's last word: nothing is left to wait for, and nothing may be taken for hung.
      assert.equal(proxy.load.inFlight, 0)
    }
    clock.advance(120_000)
    assert.deepEqual(owner.hungs, [])
  })

  test('that is a failure carries the function\'s own error', async (context) => {
    const { runtime, open, proxy } = proxyGround(context)
    const { sink, ends, opened } = await open()
    runtime.reset(opened.stream, { code: 'FUNCTION_THREW', message: 'Error: no', stack: 'at main' })
    await sink.ended
    assert.deepEqual([sink.error?.code, sink.error?.functionStack, ends(), proxy.load.inFlight], ['FUNCTION_THREW', 'at main', 1, 0])
  })

  test('that comes after the end, or for a stream that never was, is nobody\'s (Q1)', async (context) => {
    const { runtime, open, owner } = proxyGround(context)
    const { sink, ends, opened } = await open()
    runtime.head(opened.stream, 200, undefined, true)
    runtime.data(opened.stream, 'late', true)
    runtime.reset(opened.stream)
    runtime.waiting(opened.stream)
    runtime.head(400, 200, undefined, true)
    await turns()
    assert.deepEqual([sink.isComplete, ends(), owner.losses], [true, 1, []])
  })
})

describe('the load', () => {
  test('counts what was handed over, and of it what neither ended nor waits (Q2)', async (context) => {
    const { runtime, open, proxy, owner, clock } = proxyGround(context)
    const numbers = (): unknown => [proxy.load.inFlight, proxy.load.computing]
    const one = await open()
    const two = await open()
    assert.deepEqual(numbers(), [2, 2])
    clock.advance(5)
    runtime.waiting(one.opened.stream)
    runtime.waiting(one.opened.stream)
    await turns()
    assert.deepEqual(numbers(), [2, 1], 'said twice, counted once')
    assert.deepEqual([owner.changes, proxy.load.computingSinceUs], [1, clock.monotonicUs()])
    runtime.head(one.opened.stream, 200, undefined, true)
    runtime.head(two.opened.stream, 200, undefined, true)
    await turns()
    assert.deepEqual(numbers(), [0, 0])
    assert.equal(owner.changes, 3)
  })

  test('lets the function\'s history learn how long one computes, without the time behind others, and how long one runs', async (context) => {
    const { runtime, open, proxy, clock } = proxyGround(context)
    const seen: string[] = []
    proxy.observer = { observeCompute: (us) => seen.push(`compute ${us}`), observeRun: (us) => seen.push(`run ${us}`) }
    const one = await open()
    const two = await open()
    clock.advance(10)
    runtime.head(one.opened.stream, 200, undefined, true)
    await one.sink.ended
    clock.advance(2)
    runtime.waiting(two.opened.stream)
    await turns()
    clock.advance(30)
    runtime.head(two.opened.stream, 200, undefined, true)
    await two.sink.ended
    assert.deepEqual(seen, ['compute 10000', 'run 10000', 'compute 2000', 'run 42000'])
  })
})

describe('what is printed', () => {
  test('goes to the invocation of its stream, or to none', async (context) => {
    const { runtime, open, owner } = proxyGround(context)
    const { opened } = await open()
    runtime.log(opened.stream, 4, 'hello')
    runtime.log(0, 3, 'loading')
    runtime.log(88, 77, 'unknown')
    runtime.send(FrameType.log, 0, 0)
    await turns()
    assert.deepEqual(owner.logs, ['its stdout hello', 'none error loading', 'none stdout unknown', 'none stdout '])
  })
})

describe('the start', () => {
  test('tells of the runtime, then of the function or of why it cannot be loaded', async (context) => {
    const { runtime, proxy } = proxyGround(context)
    runtime.hello({ version: '26.1' })
    assert.equal((await proxy.hello.promise).version, '26.1')
    const frame = { namespace: 'n', function: 'f', revision: 1, instance: 'i', entry: 'e', environment: {}, concurrency: 1, memoryMb: 64 }
    const inited = proxy.init(frame)
    assert.deepEqual(JSON.parse((await runtime.take(FrameType.init)).payload.toString()), frame)
    runtime.inited({ initUs: 77 })
    assert.equal((await inited).initUs, 77)
    const other = proxyGround(context)
    const failed = other.proxy.init(frame)
    other.runtime.send(FrameType.initFailed, 0, 0, JSON.stringify({ code: 'HANDLER_NOT_FOUND', message: 'no main' }))
    await assert.rejects(failed, { code: 'HANDLER_NOT_FOUND' })
  })
})

describe('the death of an instance', () => {
  test('ends each open invocation once with its own reason, and leaves no load and no timer (Q1)', async (context) => {
    const { open, proxy, runtime, owner, clock } = proxyGround(context)
    const three = [await open(), await open(), await open()]
    runtime.head(three[1]!.opened.stream, 200, 'half', false)
    await turns()
    runtime.close()
    await turns()
    assert.deepEqual([owner.losses, three.map(({ ends }) => ends())], [[undefined], [0, 0, 0]], 'the owner is asked for the reason')
    proxy.abandon((invocation) => new PlatformError('FUNCTION_EXITED', invocation.id))
    proxy.abandon(lost)
    for (const { invocation, sink, ends } of three) {
      assert.deepEqual([sink.error?.code, sink.error?.message, ends()], ['FUNCTION_EXITED', invocation.id, 1])
    }
    assert.deepEqual([proxy.load.inFlight, proxy.load.computing], [0, 0])
    clock.advance(3_600_000)
    assert.deepEqual(owner.hungs, [])
    await assert.rejects(proxy.hello.promise, { code: 'INSTANCE_LOST' })
  })

  test('also ends what is handed over afterwards (Q1)', async (context) => {
    const { proxy, clock } = proxyGround(context)
    proxy.abandon(lost)
    const { invocation, sink, ends } = testInvocation(clock)
    proxy.open(invocation)
    assert.deepEqual([sink.error?.code, ends(), proxy.load.inFlight], ['INSTANCE_LOST', 1, 0])
  })
})

describe('a runtime that breaks the protocol', () => {
  const invalid: readonly (readonly [string, (send: { raw: (bytes: Uint8Array) => void }, stream: number) => void])[] = [
    ['a frame of no known type', ({ raw }) => raw(encodeFrame(99 as FrameType, 0, 0))],
    ['a frame that only the platform sends', ({ raw }, stream) => raw(encodeFrame(FrameType.init, 0, stream))],
    ['a body before its head', ({ raw }, stream) => raw(encodeFrame(FrameType.data, 0, stream, 'x'))],
    ['a head without a length', ({ raw }, stream) => raw(encodeFrame(FrameType.head, 0, stream, 'x'))],
    ['a head that is no JSON', ({ raw }, stream) => raw(encodeFrame(FrameType.head, 0, stream, '\u0001\0\0\0{'))],
    ['an error that is no JSON', ({ raw }, stream) => raw(encodeFrame(FrameType.reset, 0, stream, '{'))],
    ['a frame over the bound', ({ raw }) => raw(Buffer.alloc(12, 0xff))],
  ]
  for (const [what, break_] of invalid) {
    test(`by ${what} loses its channel with PROTOCOL_BROKEN, once`, async (context) => {
      const { runtime, open, owner, proxy } = proxyGround(context)
      const { opened, ends } = await open()
      const raw = (bytes: Uint8Array): void => runtime.raw(bytes)
      break_({ raw }, opened.stream)
      break_({ raw }, opened.stream)
      runtime.head(opened.stream, 200, undefined, true)
      await turns()
      assert.deepEqual([owner.losses.map((error) => error?.code), ends()], [['PROTOCOL_BROKEN'], 0], 'nothing is heard from it any more')
      proxy.abandon(lost)
      assert.equal(ends(), 1)
    })
  }

  test('by answering twice or beyond its credit loses its channel with PROTOCOL_BROKEN (Q3)', async (context) => {
    for (const beyond of [false, true]) {
      const { runtime, open, owner } = proxyGround(context)
      const { opened, sink } = await open()
      sink.holdsChunks = true
      runtime.head(opened.stream, 200, undefined, false)
      if (beyond) for (let sent = 0; sent <= CREDIT_BYTES; sent += 65_536) runtime.data(opened.stream, Buffer.alloc(65_536), false)
      else runtime.head(opened.stream, 200, undefined, true)
      await turns()
      assert.deepEqual(owner.losses.map((error) => error?.code), ['PROTOCOL_BROKEN'])
    }
  })

  test('in any way at all hurts nobody else: every invocation still ends once, and nothing is thrown (Q1, fuzz)', async () => {
    const type = fc.oneof({ weight: 9, arbitrary: fc.constantFrom<number>(...Object.values(FrameType)) }, { weight: 1, arbitrary: fc.nat(255) })
    const payload = fc.oneof(
      fc.constant(Buffer.alloc(0)),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      fc.oneof(fc.json(), fc.constantFrom('{"s":200,"h":[]}', '{"k":"event","f":"g","c":2}', '{"code":"FORBIDDEN","message":1}', 'null')).map((text) => Buffer.from(text)),
      fc.constantFrom('{"s":200,"h":[]}', '{"k":"event","f":"g","c":2}', 'null').map((text) => Buffer.concat([Buffer.from([text.length, 0, 0, 0]), Buffer.from(text), Buffer.from('body')])),
    )
    const frame = fc.record({ type, flags: fc.constantFrom(0, FrameFlag.end), stream: fc.constantFrom(0, 1, 2, 3, 4, 5, 7), payload })
    await fc.assert(fc.asyncProperty(fc.array(frame, { maxLength: 12 }), fc.boolean(), async (frames, asBytes) => {
      const { runtime, open, owner, proxy, clock } = proxyGround()
      const two = [await open(), await open({ request: { kind: 'event', method: 'POST', path: '/', headers: [], body: Buffer.from('x') } })]
      const encoded = frames.map((one) => encodeFrame(one.type as FrameType, one.flags, one.stream, one.payload))
      if (asBytes) runtime.raw(Buffer.concat(encoded).subarray(0, -1))
      else for (const bytes of encoded) runtime.raw(bytes)
      await turns(5)
      assert(owner.losses.length <= 1)
      assert(proxy.load.computing >= 0 && proxy.load.computing <= proxy.load.inFlight && proxy.load.inFlight <= 2, 'Q2')
      clock.advance(120_000)
      proxy.abandon(lost)
      for (const { ends } of two) assert.equal(ends(), 1)
      runtime.close()
    }), { numRuns: 200 })
  })
})
