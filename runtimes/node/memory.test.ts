/**
 * Goal: large bodies come and go as memory where the platform gives a socket for it, as frames where it does not or where memory would be too dear,
 * and small ones as they always did, without loading anything.
 *
 * Method: the real runtime; the test is the platform, with real memory.
 */
import assert from 'node:assert/strict'
import { closeSync, fstatSync, readFileSync, readSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { CREDIT_BYTES, encodeHeadFrame, FrameFlag, FrameType, splitHead, type AnswerHead, type OpenHead, type PassedMemory } from '../../src/contract/frames.ts'
import { sharedMemory } from '../../src/transfer/shared-memory.ts'
import { startNodeFunction, type RuntimePeer } from '../../test/kit/runtime-peer.ts'

const native = sharedMemory()
const skip = native === undefined ? 'the addon is not built: node scripts/build-native.ts' : false
const MB = 1024 * 1024
const LARGE = Buffer.alloc(3 * MB, 'large')

const SOURCE = `
  import { allocate, get, invoke, put } from 'skep'
  export default {
    async fetch(request) {
      const path = new URL(request.url).pathname
      const bytes = Number(request.headers.get('bytes') ?? 0)
      const made = () => Buffer.alloc(bytes, 'x')
      switch (path) {
        case '/echo': return new Response(await request.bytes(), { headers: { type: request.headers.get('content-type') ?? '' } })
        case '/forward': return Response.json({ reference: await put(await get('r')) })
        case '/change': { const object = await get('r'); object[object.length - 1]++; return Response.json({ reference: await put(object) }) }
        case '/length': return new Response(String((await request.bytes()).length))
        case '/keep': globalThis.kept = await request.bytes(); return new Response()
        case '/kept': return new Response(Buffer.from(globalThis.kept.subarray(0, 4)).toString())
        case '/mapped': return new Response(String((await import('node:fs')).readFileSync('/proc/self/maps', 'utf8').split('\\n').filter((line) => line.includes('memfd:skep')).length))
        case '/write': { const body = await request.bytes(); body.fill(1); return Response.json({ whole: body.byteLength === body.buffer.byteLength }) }
        case '/chunks': { let most = 0, all = 0; for await (const chunk of request.body) { most = Math.max(most, chunk.length); all += chunk.length } return Response.json({ most, all }) }
        case '/make': return new Response(made())
        case '/text': return new Response('x'.repeat(bytes))
        case '/json': return Response.json('x'.repeat(bytes - 2))
        case '/allocated': return new Response(allocate(bytes).fill('x'))
        case '/put': { const object = allocate(bytes).fill('x'); const reference = await put(object, { retrievals: 2, ttlMs: 5 }); object.fill('y'); return Response.json({ reference, again: await put(object) }) }
        case '/get': { const object = await get('r'); object[0] = 0; return Response.json({ bytes: object.length }) }
        case '/invoke': return new Response(await invoke('other', new Uint8Array(made())))
        case '/maps': return Response.json((await import('node:fs')).readFileSync('/proc/self/maps', 'utf8').includes('.node'))
      }
    },
  }`

async function start(context: TestContext, memoryMb = 256, memory = native): Promise<RuntimePeer> {
  const peer = await startNodeFunction('f.mjs', SOURCE, { memoryMb }, memory)
  context.after(() => peer[Symbol.asyncDispose]())
  return peer
}

/** Takes what the runtime has passed, in the order of its frames. */
function receive(peer: RuntimePeer, { n, b }: PassedMemory): Buffer {
  const { number, fd } = native!.receive(peer.memorySocket!)!
  assert.deepEqual([number, native!.check(fd)], [n, { bytes: b }])
  const content = Buffer.alloc(b)
  readSync(fd, content, 0, b, 0)
  closeSync(fd)
  return content
}

function pass(peer: RuntimePeer, number: number, content: Uint8Array): PassedMemory {
  const fd = native!.copy(content)
  assert.ok(native!.pass(peer.memorySocket!, number, fd))
  closeSync(fd)
  return { n: number, b: content.length }
}

const ask = (peer: RuntimePeer, path: string, more: Partial<OpenHead> = {}): number => peer.open({ k: 'http', m: 'POST', u: path, h: [], ...more })

async function headOf(peer: RuntimePeer, stream: number): Promise<AnswerHead> {
  const { payload, flags } = await peer.take((frame) => frame.stream === stream && frame.type === FrameType.head)
  return splitHead<AnswerHead>((flags & FrameFlag.usage) !== 0 ? payload.subarray(8) : payload).head
}

async function openOf(peer: RuntimePeer): Promise<{ head: OpenHead; stream: number; body: Buffer; ended: boolean }> {
  const { payload, stream, flags } = await peer.take((frame) => frame.type === FrameType.open)
  return { ...splitHead<OpenHead>(payload), stream, ended: (flags & FrameFlag.end) !== 0 }
}

describe('the Node runtime with a socket for memory', { skip }, () => {
  test('says so, and loads nothing for what is small', async (context) => {
    const { RuntimePeer, nodeRuntime } = await import('../../test/kit/runtime-peer.ts')
    for (const memory of [native, undefined]) {
      const peer = new RuntimePeer({ args: [nodeRuntime], files: {}, memory })
      context.after(() => peer[Symbol.asyncDispose]())
      assert.equal((await peer.hello()).memory, memory === undefined ? undefined : true)
    }
    const peer = await start(context)
    assert.equal((await peer.http('POST', '/echo', { body: 'small' })).text, 'small')
    assert.equal((await peer.http('GET', '/maps')).text, 'false')
    assert.equal(readFileSync(`/proc/${peer.child.pid}/environ`, 'latin1').includes('SKEP_NATIVE'), true)
  })

  test('answers with memory from 64 KB on, of whatever kind the body is', async (context) => {
    const peer = await start(context)
    for (const path of ['/make', '/text', '/json', '/allocated']) {
      const inline = await peer.answer(ask(peer, path, { h: ['bytes', String(64 * 1024)] }))
      assert.equal(inline.body.length, 64 * 1024)
      const bytes = 64 * 1024 + 1
      const head = await headOf(peer, ask(peer, path, { h: ['bytes', String(bytes)] }))
      assert.equal(head.h[head.h.indexOf('content-length') + 1], String(bytes))
      assert.equal(receive(peer, head.p!).toString(), path === '/json' ? JSON.stringify('x'.repeat(bytes - 2)) : 'x'.repeat(bytes))
    }
  })

  test('streams what is more than a quarter of the function\'s memory, unless the function has allocated it', async (context) => {
    const peer = await start(context, 64)
    const bytes = 16 * MB + 1
    const streamed = await peer.answer(ask(peer, '/make', { h: ['bytes', String(bytes)] }))
    assert.equal(streamed.body.length, bytes)
    const allocated = await headOf(peer, ask(peer, '/allocated', { h: ['bytes', String(bytes)] }))
    assert.equal(receive(peer, allocated.p!).length, bytes)
  })

  test('copies no more while others hold what it has copied, and again when they have let go (M2)', async (context) => {
    const peer = await start(context, 64)
    const bytes = 6 * MB
    const make = (): number => ask(peer, '/make', { h: ['bytes', String(bytes)] })
    const held = [make(), make()]
    for (const stream of held) receive(peer, (await headOf(peer, stream)).p!)
    assert.equal((await peer.answer(make())).body.length, bytes)
    peer.giveCredit(held[0]!, bytes)
    receive(peer, (await headOf(peer, make())).p!)
    assert.equal((await peer.answer(make())).body.length, bytes)
  })

  test('maps a request: its bytes are not copied, are the function\'s own to write, and stream in slices', async (context) => {
    const peer = await start(context)
    const echoed = await headOf(peer, ask(peer, '/echo', { p: pass(peer, 1, LARGE) }))
    assert.ok(receive(peer, echoed.p!).equals(LARGE))
    // What lies before the one that is named was given up.
    pass(peer, 2, LARGE)
    const written = await peer.answer(ask(peer, '/write', { p: pass(peer, 3, LARGE) }))
    assert.deepEqual(JSON.parse(written.text), { whole: true })
    const { most, all } = JSON.parse((await peer.answer(ask(peer, '/chunks', { p: pass(peer, 4, LARGE) }))).text)
    assert.ok(most <= CREDIT_BYTES && all === LARGE.length)
    assert.equal((await peer.answer(ask(peer, '/echo', { p: pass(peer, 5, Buffer.alloc(0)) }))).body.length, 0)
  })

  test('passes on what it got as it is, whatever its size, unless the function has changed it', async (context) => {
    // Of which a quarter is less than the body: a copy is streamed.
    const peer = await start(context, 8)
    for (const [number, path, isSame] of [[1, '/forward', true], [2, '/change', false]] as const) {
      const fd = native!.copy(LARGE)
      const { ino } = fstatSync(fd)
      assert.ok(native!.pass(peer.memorySocket!, number, fd))
      closeSync(fd)
      ask(peer, path)
      const got = await openOf(peer)
      peer.channel.write(encodeHeadFrame(FrameType.head, FrameFlag.end, got.stream, JSON.stringify({ s: 200, h: ['content-length', String(LARGE.length)], p: { n: number, b: LARGE.length } }), undefined))
      const put = await openOf(peer)
      if (!isSame) {
        assert.deepEqual([put.head.k, put.head.p], ['put', undefined])
        continue
      }
      const received = native!.receive(peer.memorySocket!)!
      assert.deepEqual([put.head.p, fstatSync(received.fd).ino], [{ n: received.number, b: LARGE.length }, ino])
      closeSync(received.fd)
    }
  })

  test('gives back large memory that the function has let go, when it is idle (M3)', async (context) => {
    const peer = await start(context)
    const mapped = async (): Promise<number> => Number((await peer.answer(ask(peer, '/mapped'))).text)
    const fd = native!.copy(Buffer.alloc(20 * MB, 'much'))
    for (let number = 1; number <= 3; number++) {
      assert.ok(native!.pass(peer.memorySocket!, number, fd))
      await peer.answer(ask(peer, '/length', { p: { n: number, b: 20 * MB } }))
    }
    closeSync(fd)
    // Asking makes it busy for a moment.
    while (await mapped() > 0) await new Promise((resolve) => { setTimeout(resolve, 10) })
    await peer.answer(ask(peer, '/keep', { p: pass(peer, 4, Buffer.alloc(40 * MB, 'kept')) }))
    for (let time = 0; time < 3; time++) {
      await new Promise((resolve) => { setTimeout(resolve, 10) })
      assert.equal(await mapped(), 1)
    }
    assert.equal((await peer.answer(ask(peer, '/kept'))).text, 'kept')
  })

  test('ends when memory is named that was not passed', async (context) => {
    const peer = await start(context)
    ask(peer, '/echo', { p: { n: 9, b: 10 } })
    assert.equal(await peer.exited, 76)
  })

  test('puts allocated memory as it is; later writes are seen by nobody, and put anew as a copy', async (context) => {
    const peer = await start(context)
    const stream = ask(peer, '/put', { h: ['bytes', String(LARGE.length)] })
    for (const [letter, o] of [['x', { n: 2, t: 5 }], ['y', {}]] as const) {
      const { head, stream: call, ended } = await openOf(peer)
      assert.deepEqual({ ...head, p: undefined }, { k: 'put', c: stream, o, p: undefined })
      assert.ok(ended)
      assert.equal(receive(peer, head.p!).toString(), letter.repeat(LARGE.length))
      peer.channel.write(encodeHeadFrame(FrameType.head, FrameFlag.end, call, '{"s":201,"h":["content-type","application/json"]}', `{"reference":"${letter}"}`))
    }
    assert.deepEqual(JSON.parse((await peer.answer(stream)).text), { reference: 'x', again: 'y' })
  })

  test('gets what is passed, and what is streamed', async (context) => {
    const peer = await start(context)
    for (const how of ['memory', 'frames']) {
      const stream = ask(peer, '/get')
      const { head, stream: call } = await openOf(peer)
      assert.deepEqual(head, { k: 'get', c: stream, r: 'r' })
      const answer = { s: 200, h: ['content-length', String(LARGE.length)] }
      if (how === 'memory') peer.channel.write(encodeHeadFrame(FrameType.head, FrameFlag.end, call, JSON.stringify({ ...answer, p: pass(peer, 1, LARGE) }), undefined))
      else {
        peer.channel.write(encodeHeadFrame(FrameType.head, 0, call, JSON.stringify(answer), undefined))
        for (let at = 0; at < LARGE.length; at += MB) peer.send(FrameType.data, at + MB === LARGE.length ? FrameFlag.end : 0, call, LARGE.subarray(at, at + MB).subarray(0, 80_000))
      }
      if (how === 'memory') assert.deepEqual(JSON.parse((await peer.answer(stream)).text), { bytes: LARGE.length })
      else assert.deepEqual(JSON.parse((await peer.answer(stream)).text), { bytes: 240_000 })
    }
  })

  test('calls with bytes are binary events, passed as memory when they are large', async (context) => {
    const peer = await start(context)
    const stream = ask(peer, '/invoke', { h: ['bytes', String(LARGE.length)] })
    const { head, stream: call } = await openOf(peer)
    assert.deepEqual({ ...head, p: undefined }, { k: 'event', f: 'other', c: stream, b: true, p: undefined })
    assert.equal(receive(peer, head.p!).length, LARGE.length)
    peer.channel.write(encodeHeadFrame(FrameType.head, FrameFlag.end, call, '{"s":200,"h":["content-type","application/octet-stream"]}', 'bytes'))
    assert.equal((await peer.answer(stream)).text, 'bytes')
  })

  test('gets a binary event as a request with that body', async (context) => {
    const peer = await start(context)
    const answer = await peer.answer(peer.open({ k: 'event', m: 'POST', u: '/echo', h: [], b: true }, 'raw'))
    assert.deepEqual([answer.text, answer.headers['type']], ['raw', 'application/octet-stream'])
  })
})
