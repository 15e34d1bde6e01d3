/**
 * Goal: a body behind a descriptor goes through a queue proxy as it is where the runtime takes memory, as a stream where it does not, and is let go
 * in every case: answered, refused, cancelled, or the instance dead.
 *
 * Method: a runtime played by the test over real frames and a real memory socket. A body that all have let go says so.
 */
import assert from 'node:assert/strict'
import { closeSync, fstatSync, readSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { buffer } from 'node:stream/consumers'
import { PlatformError } from '#contract/errors.ts'
import { CREDIT_BYTES, encodeHeadFrame, FrameFlag, FrameType, splitHead } from '#contract/frames.ts'
import type { AnswerHead, OpenHead, PassedMemory } from '#contract/frames.ts'
import { HeldBody } from '#contract/held-body.ts'
import { testRevision, turns } from '#contract/invocation.fake.ts'
import { sharedMemory } from '#transfer/shared-memory.ts'
import { until } from '#transfer/transfer.fake.ts'
import { MemoryChannel } from './memory-channel.ts'
import { proxyGround } from './queue-proxy.fake.ts'

const native = sharedMemory()
const skip = native === undefined ? 'the addon is not built: node scripts/build-native.ts' : false
const LARGE = Buffer.alloc(700_000, 'large')

async function ground(context: TestContext, takes: boolean) {
  const memory = native!
  const { ours, theirs } = memory.socketPair()
  const channel = new MemoryChannel(memory, ours)
  context.after(() => {
    channel.close()
    closeSync(theirs)
  })
  const all = proxyGround(context, channel)
  if (takes) all.runtime.hello({ memory: true })
  else all.runtime.hello()
  await all.proxy.hello.promise
  let number = 0
  const counted = { released: 0 }
  return {
    ...all,
    counted,
    body: (content = LARGE) => new HeldBody(memory.copy(content), content.length, () => counted.released++),
    /** As the runtime does before its frame. */
    give(content = LARGE, over: Partial<PassedMemory> = {}): PassedMemory {
      const fd = memory.copy(content)
      assert.ok(memory.pass(theirs, number, fd))
      closeSync(fd)
      return { n: number++, b: content.length, ...over }
    },
    received(): Buffer {
      const { fd } = memory.receive(theirs)!
      const content = Buffer.alloc(fstatSync(fd).size)
      readSync(fd, content, 0, content.length, 0)
      closeSync(fd)
      return content
    },
    nothingReceived: () => assert.equal(memory.receive(theirs), undefined),
    answer(stream: number, p: PassedMemory, body?: string, flags: number = FrameFlag.end) {
      all.runtime.raw(encodeHeadFrame(FrameType.head, flags, stream, JSON.stringify({ s: 200, h: ['a', 'b'], p }), body))
    },
    call(stream: number, head: Partial<OpenHead>, body?: string) {
      all.runtime.call(stream, head, body, true)
    },
  }
}

describe('a held request', { skip }, () => {
  test('is passed as memory, is counted, and is let go with its invocation', async (context) => {
    const { open, body, received, runtime, counted } = await ground(context, true)
    const request = body()
    const { opened, invocation } = await open({ request: { body: request } })
    request.release()
    assert.deepEqual([opened.head.p, opened.ended, opened.body.length], [{ n: 0, b: LARGE.length }, true, 0])
    assert.ok(received().equals(LARGE))
    assert.deepEqual([invocation.bytesIn, counted.released], [LARGE.length, 0])
    runtime.head(opened.stream, 200, 'ok', true)
    await turns()
    assert.deepEqual([invocation.state, counted.released, invocation.transfer?.bytesShared], ['ended', 1, LARGE.length])
  })

  test('is streamed within the credit to a runtime that takes no memory', async (context) => {
    const { open, body, nothingReceived, runtime, counted } = await ground(context, false)
    const request = body()
    const { opened, invocation } = await open({ request: { body: request } })
    request.release()
    assert.deepEqual([opened.head.p, opened.ended], [undefined, false])
    nothingReceived()
    let all = Buffer.alloc(0)
    for (let ended = false; !ended; ) {
      const data = runtime.takeData(opened.stream)
      all = Buffer.concat([all, data.bytes])
      ended = data.ended
      assert.ok(all.length <= CREDIT_BYTES || data.bytes.length <= CREDIT_BYTES)
      if (data.bytes.length > 0) runtime.credit(opened.stream, data.bytes.length)
      await turns()
    }
    assert.ok(all.equals(LARGE))
    assert.equal(invocation.bytesIn, LARGE.length)
    runtime.head(opened.stream, 200, 'ok', true)
    await turns()
    assert.equal(counted.released, 1)
  })

  test('of an invocation that is cancelled, or whose instance dies, is let go', async (context) => {
    for (const takes of [true, false]) {
      const { open, body, proxy, counted } = await ground(context, takes)
      const [first, second] = [body(), body()]
      const { invocation } = await open({ request: { body: first } })
      await open({ request: { body: second } })
      first.release()
      second.release()
      invocation.cancel(new PlatformError('CANCELLED', 'gone'))
      proxy.abandon(() => new PlatformError('INSTANCE_LOST', 'dead'))
      await until(() => counted.released === 2)
      assert.equal(counted.released, 2)
    }
  })

  test('can be sent again: each attempt has it whole', async (context) => {
    const { open, body, received, proxy, counted } = await ground(context, true)
    const request = body()
    for (let attempt = 1; attempt <= 2; attempt++) {
      await open({ request: { body: request }, attempt })
      assert.ok(received().equals(LARGE))
    }
    proxy.abandon(() => new PlatformError('INSTANCE_LOST', 'dead'))
    assert.equal(counted.released, 0)
    request.release()
    assert.equal(counted.released, 1)
  })
})

describe('an answer in memory', { skip }, () => {
  test('goes to the sink as it is, counted and accounted for', async (context) => {
    const { open, give, answer, sinkHeld, owner, runtime } = await heldSink(context)
    const { opened, invocation } = await open()
    answer(opened.stream, give())
    await turns()
    const held = sinkHeld()
    assert.deepEqual([held.bytes, invocation.bytesOut, invocation.state], [LARGE.length, LARGE.length, 'ended'])
    assert.equal(runtime.frames.some(({ type }) => type === FrameType.credit), false)
    assert.ok((await buffer(held.stream())).equals(LARGE))
    assert.equal(owner.releases, 1)
    assert.equal((await runtime.take(FrameType.credit, opened.stream)).payload.readUInt32LE(0), LARGE.length)
  })

  test('that is too long, not wanted any more, or refused is closed', async (context) => {
    const { open, give, answer, owner, runtime } = await ground(context, true)
    const short = await open({ revision: testRevision({ answerBytesMax: 1000 }) })
    answer(short.opened.stream, give())
    await turns()
    assert.equal(short.invocation.error?.code, 'ANSWER_TOO_LARGE')
    const cancelled = await open()
    cancelled.invocation.cancel(new PlatformError('CANCELLED', 'gone'))
    answer(cancelled.opened.stream, give())
    owner.refusal = new PlatformError('OBJECT_QUOTA_EXCEEDED', 'full')
    const refused = await open()
    answer(refused.opened.stream, give())
    await turns()
    assert.equal(refused.invocation.error?.code, 'OBJECT_QUOTA_EXCEEDED')
    for (const { opened } of [short, cancelled, refused]) await runtime.take(FrameType.credit, opened.stream)
    assert.deepEqual(owner.losses, [])
  })

  test('that was not passed, has another length, or comes beside bytes breaks the protocol', async (context) => {
    const cases: ((one: Awaited<ReturnType<typeof ground>>, stream: number) => void)[] = [
      (one, stream) => one.answer(stream, { n: 9, b: 1 }),
      (one, stream) => one.answer(stream, one.give(LARGE, { b: 1 })),
      (one, stream) => one.answer(stream, one.give(), 'and bytes'),
      (one, stream) => one.answer(stream, one.give(), undefined, 0),
      (one, stream) => one.answer(stream, 'x' as unknown as PassedMemory),
    ]
    for (const breaks of cases) {
      const one = await ground(context, true)
      const { opened } = await one.open()
      breaks(one, opened.stream)
      await turns()
      assert.equal(one.owner.losses[0]?.code, 'PROTOCOL_BROKEN')
    }
    const without = proxyGround(context)
    const { opened } = await without.open()
    without.runtime.raw(encodeHeadFrame(FrameType.head, FrameFlag.end, opened.stream, '{"s":200,"h":[],"p":{"n":0,"b":1}}', undefined))
    await turns()
    assert.equal(without.owner.losses[0]?.code, 'PROTOCOL_BROKEN')
  })
})

describe('a call with a body in memory', { skip }, () => {
  test('is passed on as it is, and the body is let go with the answer', async (context) => {
    const { open, give, call, owner, runtime } = await ground(context, true)
    const { opened } = await open()
    call(1, { f: 'other', c: opened.stream, b: true, p: give() })
    await turns()
    const { request, sink } = owner.calls[0]!
    assert.deepEqual([request.binary, (request.body as HeldBody).bytes, owner.releases, owner.calls[0]!.parent.transfer?.bytesShared], [true, LARGE.length, 0, LARGE.length])
    sink.head(200, [], Buffer.from('ok'), true)
    assert.equal(owner.releases, 1)
    await runtime.take(FrameType.credit, 1)
    assert.equal(splitHead((await runtime.take(FrameType.head, 1)).payload).body.toString(), 'ok')
  })

  test('that is refused, fails or is let go holds nothing', async (context) => {
    const { open, give, call, owner, runtime, proxy } = await ground(context, true)
    call(1, { f: 'other', c: 88, p: give() })
    assert.equal(JSON.parse((await runtime.take(FrameType.reset, 1)).payload.toString()).code, 'CANCELLED')
    const { opened } = await open()
    owner.refusal = new PlatformError('OBJECT_QUOTA_EXCEEDED', 'full')
    call(3, { f: 'other', c: opened.stream, p: give() })
    assert.equal(JSON.parse((await runtime.take(FrameType.reset, 3)).payload.toString()).code, 'OBJECT_QUOTA_EXCEEDED')
    owner.refusal = undefined
    call(5, { f: 'other', c: opened.stream, p: give() })
    await turns()
    owner.calls[0]!.sink.fail(new PlatformError('QUEUE_FULL', 'full'))
    assert.equal(owner.releases, 1)
    call(7, { f: 'other', c: opened.stream, p: give() })
    await turns()
    const last = owner.calls[1]!
    last.onCancel = (reason) => last.sink.fail(reason)
    proxy.abandon(() => new PlatformError('INSTANCE_LOST', 'dead'))
    assert.equal(owner.releases, 2)
  })

  test('is answered in memory, or as a stream where memory is not taken', async (context) => {
    for (const takes of [true, false]) {
      const { open, call, owner, body, counted, received, runtime } = await ground(context, takes)
      const { opened } = await open()
      call(1, { f: 'other', c: opened.stream })
      await turns()
      owner.calls[0]!.sink.head(200, ['x', 'y'], body(), true)
      const { head } = splitHead<AnswerHead>((await runtime.take(FrameType.head, 1)).payload)
      if (takes) {
        assert.deepEqual(head, { s: 200, h: ['x', 'y'], p: { n: 0, b: LARGE.length } })
        assert.ok(received().equals(LARGE))
      } else {
        assert.deepEqual(head, { s: 200, h: ['x', 'y'] })
        let bytes = 0
        for (let ended = false; !ended; await turns()) {
          const data = runtime.takeData(1)
          bytes += data.bytes.length
          ended = data.ended
          if (data.bytes.length > 0) runtime.credit(1, data.bytes.length)
        }
        assert.equal(bytes, LARGE.length)
      }
      await until(() => counted.released === 1)
      assert.equal(counted.released, 1)
    }
  })

  test('whose caller stops reading the streamed answer lets it go', async (context) => {
    const { open, call, owner, body, counted, runtime } = await ground(context, false)
    const { opened } = await open()
    call(1, { f: 'other', c: opened.stream })
    await turns()
    owner.calls[0]!.sink.head(200, [], body(), true)
    await runtime.take(FrameType.head, 1)
    runtime.reset(1)
    await until(() => counted.released === 1)
    assert.equal(counted.released, 1)
  })
})

test('putting and getting are calls of no function', { skip }, async (context) => {
  const { open, give, call, owner } = await ground(context, true)
  const { opened } = await open()
  call(1, { k: 'put', c: opened.stream, o: { n: 3, t: 1000 }, p: give() })
  call(3, { k: 'put', c: opened.stream }, 'small')
  call(5, { k: 'get', c: opened.stream, r: 'reference', s: true })
  await turns()
  const [put, small, get] = owner.transfers.map(({ what }) => what)
  assert.ok(put?.kind === 'put' && put.body instanceof HeldBody && small?.kind === 'put')
  assert.deepEqual([put.terms, put.body.bytes, String(small.body), small.terms], [{ n: 3, t: 1000 }, LARGE.length, 'small', {}])
  assert.deepEqual(get, { kind: 'get', reference: 'reference', asStream: true, takesMemory: true })
  put.body.release()
})

/** A ground whose sinks keep the held body that they get. */
async function heldSink(context: TestContext) {
  const one = await ground(context, true)
  let held: HeldBody | undefined
  return {
    ...one,
    sinkHeld: () => held!,
    async open() {
      const opened = await one.open()
      opened.sink.head = (_status, _headers, body) => void (held = body as unknown as HeldBody)
      return opened
    },
  }
}
