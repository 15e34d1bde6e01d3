/**
 * Goal: a call that the code makes arrives whole at its carrier, and its answer within the runtime's credit (frames F2).
 *
 * Method: the runtime, played by the test, opens odd streams on a real queue proxy; the test also plays the carrier.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { CREDIT_BYTES, FrameFlag, FrameType, splitHead } from '#contract/frames.ts'
import type { AnswerHead } from '#contract/frames.ts'
import { turns } from '#contract/invocation.fake.ts'
import { proxyGround } from './queue-proxy.fake.ts'
import type { ProxyGround } from './queue-proxy.fake.ts'
import type { FunctionCall } from './queue-proxy-owner.ts'

/** An invocation that is running, and one call of it. */
async function calling(ground: ProxyGround, options: { readonly body?: string | Uint8Array; readonly ended?: boolean; readonly async?: boolean; readonly stream?: number } = {}): Promise<FunctionCall> {
  const { runtime, owner, open } = ground
  const { opened } = await open()
  runtime.call(options.stream ?? 1, { f: 'other', c: opened.stream, m: 'PUT', u: '/x', h: ['a', 'b'], ...(options.async === true && { a: true }) }, options.body, options.ended ?? true)
  await turns()
  return owner.calls.at(-1)!
}

describe('a call', () => {
  test('is passed on with its parent, target and small body', async (context) => {
    const ground = proxyGround(context)
    const call = await calling(ground, { body: 'whole' })
    assert.deepEqual(
      { ...call.request, body: String(call.request.body), target: call.target, async: call.async, depth: call.parent.depth },
      { kind: 'event', method: 'PUT', path: '/x', headers: ['a', 'b'], body: 'whole', target: 'other', async: false, depth: 0 },
    )
    assert.equal((await calling(ground, { async: true, stream: 3 })).async, true)
  })

  test('of no invocation that runs is refused', async (context) => {
    const { runtime, owner } = proxyGround(context)
    runtime.call(1, { f: 'other', c: 88 }, undefined, true)
    runtime.call(3, { c: 2 }, undefined, true)
    for (const stream of [1, 3]) assert.equal(JSON.parse((await runtime.take(FrameType.reset, stream)).payload.toString()).code, 'CANCELLED')
    assert.deepEqual(owner.calls, [])
  })

  test('of an invocation that was cancelled is refused', async (context) => {
    const { runtime, owner, open } = proxyGround(context)
    const { invocation, opened } = await open()
    invocation.cancel(new PlatformError('CANCELLED', 'gone'))
    runtime.call(1, { f: 'other', c: opened.stream }, undefined, true)
    assert.equal(JSON.parse((await runtime.take(FrameType.reset, 1)).payload.toString()).code, 'CANCELLED')
    assert.deepEqual(owner.calls, [])
  })

  test('is answered in one frame, or as it streams, or with its error', async (context) => {
    const ground = proxyGround(context)
    const { runtime } = ground
    const inline = await calling(ground, { stream: 1 })
    inline.sink.head(201, ['c', 'd'], Buffer.from('all'), true)
    const { flags, payload } = await runtime.take(FrameType.head, 1)
    const { head, body } = splitHead<AnswerHead>(payload)
    assert.deepEqual([head, body.toString(), flags], [{ s: 201, h: ['c', 'd'] }, 'all', FrameFlag.end])
    const streamed = await calling(ground, { stream: 3 })
    streamed.sink.head(200, [], undefined, false)
    streamed.sink.data(Buffer.from('one'), false, () => {})
    streamed.sink.data(Buffer.alloc(0), true, () => {})
    await turns()
    assert.deepEqual([runtime.takeData(3).bytes.toString(), (await runtime.take(FrameType.head, 3)).flags], ['one', 0])
    const failed = await calling(ground, { stream: 5 })
    failed.sink.fail(new PlatformError('QUEUE_FULL', 'full'))
    assert.equal(JSON.parse((await runtime.take(FrameType.reset, 5)).payload.toString()).code, 'QUEUE_FULL')
  })

  test('streams its answer within the runtime\'s credit, and its producer learns of each chunk when it has left (C1)', async () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 150_000 }), { minLength: 1, maxLength: 8 })
    await fc.assert(fc.asyncProperty(lengths, fc.array(fc.integer({ min: 1, max: CREDIT_BYTES }), { minLength: 1, maxLength: 5 }), async (sizes, credits) => {
      const ground = proxyGround()
      const { runtime } = ground
      const { sink } = await calling(ground)
      sink.head(200, [], undefined, false)
      const whole = sizes.map((length, index) => Buffer.alloc(length, index + 1))
      let consumed = 0
      whole.forEach((chunk, index) => sink.data(chunk, index === whole.length - 1, () => (consumed += chunk.length)))
      let outstanding = 0
      let received = 0
      for (let round = 0; ; round++) {
        await turns(4)
        const { bytes, ended } = runtime.takeData(1)
        assert(bytes.equals(Buffer.concat(whole).subarray(received, received + bytes.length)))
        received += bytes.length
        outstanding += bytes.length
        assert(outstanding <= CREDIT_BYTES && consumed <= received)
        if (ended) break
        // Small portions at first; byte by byte to the end would only take long.
        const portion = round > 20 ? outstanding : Math.min(outstanding, credits[round % credits.length]!)
        outstanding -= portion
        runtime.credit(1, portion)
      }
      assert.deepEqual([received, consumed], [Buffer.concat(whole).length, received])
      runtime.close()
    }), { numRuns: 30 })
  })
})

describe('the request body of a call', () => {
  test('streams to the carrier, with credit for what was read (C2)', async (context) => {
    const ground = proxyGround(context)
    const { runtime } = ground
    const call = await calling(ground, { body: 'begin,', ended: false })
    runtime.data(1, Buffer.alloc(100_000, 'x'), false)
    runtime.data(1, ',end', true)
    const text = (await buffer(call.request.body as Readable)).toString()
    assert.equal(text, `begin,${'x'.repeat(100_000)},end`)
    await turns()
    const given = runtime.frames.filter(({ type, stream }) => type === FrameType.credit && stream === 1).reduce((sum, { payload }) => sum + payload.readUInt32LE(0), 0)
    assert(given >= 100_000)
  })

  test('that nobody reads gets no credit, and more than the credit ends the channel (C2, Q3)', async (context) => {
    const ground = proxyGround(context)
    const { runtime, owner } = ground
    const call = await calling(ground, { ended: false })
    for (let sent = 0; sent < CREDIT_BYTES; sent += 65_536) runtime.data(1, Buffer.alloc(65_536), false)
    await turns()
    assert.deepEqual(runtime.frames.filter(({ type }) => type === FrameType.credit), [])
    assert.equal(owner.losses.length, 0)
    runtime.data(1, 'x', false)
    await turns()
    assert.deepEqual(owner.losses.map((error) => error?.code), ['PROTOCOL_BROKEN'])
    const body = call.request.body as Readable
    assert(body.readableLength <= CREDIT_BYTES)
  })

  test('that goes on after its end harms nobody, also while the call still waits for an instance', async (context) => {
    const ground = proxyGround(context)
    const call = await calling(ground, { ended: false })
    ground.runtime.data(1, 'all', true)
    ground.runtime.data(1, 'more', false)
    ground.runtime.data(1, 'more', true)
    await turns()
    assert.deepEqual(ground.owner.losses.map((error) => error?.code), ['PROTOCOL_BROKEN'])
    assert.notEqual(call.request.body, undefined)
  })
})

test('opening a stream that is open breaks the protocol', async (context) => {
  const ground = proxyGround(context)
  const reasons: string[] = []
  const call = await calling(ground)
  call.onCancel = (reason) => reasons.push(reason.code)
  ground.runtime.call(1, { f: 'other', c: call.parent.stream }, undefined, true)
  await turns()
  assert.deepEqual([ground.owner.losses.map((error) => error?.code), ground.owner.calls.length], [['PROTOCOL_BROKEN'], 1])
  ground.proxy.abandon(() => new PlatformError('INSTANCE_LOST', 'gone'))
  assert.deepEqual(reasons, ['INSTANCE_LOST'])
})

describe('letting go of a call', () => {
  test('tells its carrier, once, with the reason', async (context) => {
    const ground = proxyGround(context)
    const reasons: string[] = []
    const call = await calling(ground, { ended: false })
    call.onCancel = (reason) => reasons.push(reason.code)
    ground.runtime.reset(1)
    ground.runtime.reset(1)
    await turns()
    assert.deepEqual(reasons, ['CANCELLED'])
    assert.equal((call.request.body as Readable).destroyed, true)
    const other = await calling(ground, { stream: 3 })
    other.onCancel = (reason) => reasons.push(reason.message)
    ground.runtime.reset(3, { code: 'FUNCTION_TIMEOUT', message: 'its own limit' })
    await turns()
    assert.deepEqual(reasons, ['CANCELLED', 'its own limit'])
  })

  test('happens for every open call when the instance dies (Q1)', async (context) => {
    const ground = proxyGround(context)
    const reasons: string[] = []
    for (const stream of [1, 3]) {
      const call = await calling(ground, { stream })
      call.onCancel = (reason) => {
        reasons.push(reason.code)
        // As the carrier does: the call fails, and its sink hears of it.
        call.sink.fail(reason)
      }
    }
    const answered = await calling(ground, { stream: 5 })
    answered.onCancel = () => reasons.push('answered')
    answered.sink.head(200, [], undefined, true)
    ground.proxy.abandon(() => new PlatformError('FUNCTION_EXITED', 'it died'))
    assert.deepEqual(reasons, ['INSTANCE_LOST', 'INSTANCE_LOST'])
  })
})
