/**
 * Goal: bodies of any size flow both ways within the credit, are cancelled cleanly, and small chunks are not held back.
 * Method: the real runtime as a child process; the test gives credit itself, or withholds it.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CREDIT_BYTES, FrameFlag, FrameType } from '../../src/contract/frames.ts'
import { startNodeFixture, startNodeFunction, type RuntimePeer } from '../../test/kit/runtime-peer.ts'

const CHUNK = Buffer.alloc(64 * 1024, 'x')

/** Sends chunks of 64 KB as fast as credit comes. */
async function upload(peer: RuntimePeer, stream: number, chunks: number): Promise<void> {
  let credit = CREDIT_BYTES
  for (let at = 0; at < chunks; at++) {
    while (credit < CHUNK.length) credit += (await peer.take((frame) => frame.stream === stream && frame.type === FrameType.credit)).payload.readUInt32LE(0)
    credit -= CHUNK.length
    peer.send(FrameType.data, at === chunks - 1 ? FrameFlag.end : 0, stream, CHUNK)
  }
}

test('a request body streams in against credit', async () => {
  await using peer = await startNodeFixture('echo.ts')
  const stream = peer.open({ k: 'http', m: 'POST', u: '/count' }, 'first', false)
  const [answer] = await Promise.all([peer.answer(stream), upload(peer, stream, 100)])
  assert.deepEqual(JSON.parse(answer.text), { bytes: 5 + 100 * CHUNK.length })
})

test('a body is echoed while it comes in', async () => {
  await using peer = await startNodeFixture('echo.ts')
  const stream = peer.open({ k: 'http', m: 'POST', u: '/' }, '', false)
  const [answer] = await Promise.all([peer.answer(stream), upload(peer, stream, 50)])
  assert.equal(answer.body.length, 50 * CHUNK.length)
})

test('a large known answer is streamed with its length', async () => {
  await using peer = await startNodeFixture('fetch.ts')
  const answer = await peer.http('GET', '/large?bytes=3000000')
  assert.deepEqual([answer.body.length, answer.headers['content-length']], [3_000_000, '3000000'])
})

test('an endless answer stops at the credit and is released by cancelling (O1, O2)', async () => {
  await using peer = await startNodeFixture('stream.ts')
  const stream = peer.open({ k: 'http', m: 'GET', u: '/endless' })
  let bytes = 0
  while (bytes < CREDIT_BYTES) bytes += (await peer.take((frame) => frame.stream === stream && frame.type === FrameType.data)).payload.length
  // A whole round trip later there is still nothing more.
  assert.equal((await peer.http('GET', '/cancelled')).text, '{"cancelled":0}')
  assert.equal(bytes, CREDIT_BYTES)
  assert.ok(!peer.frames.some((frame) => frame.stream === stream && frame.type === FrameType.data))
  peer.send(FrameType.reset, 0, stream)
  await peer.take((frame) => frame.stream === stream && frame.type === FrameType.reset)
  assert.equal((await peer.http('GET', '/cancelled')).text, '{"cancelled":1}')
})

test('server-sent events come one by one', async () => {
  await using peer = await startNodeFixture('stream.ts')
  const stream = peer.open({ k: 'http', m: 'GET', u: '/events' })
  for (let at = 0; at < 3; at++) {
    const frame = await peer.take((one) => one.stream === stream && one.type === FrameType.data)
    assert.equal(frame.payload.toString(), `data: ${at}\n\n`)
  }
})

test('a source that breaks resets the answer', async () => {
  await using peer = await startNodeFixture('stream.ts')
  await assert.rejects(peer.http('GET', '/fails'), { code: 'FUNCTION_THREW', message: 'Error: the source broke' })
})

test('a cancelled upload fails the reader', async () => {
  await using peer = await startNodeFunction('index.ts', 'export default { async fetch(r: Request) { try { await r.text() } catch (e) { console.log(e.name) } return new Response("x") } }')
  const stream = peer.open({ k: 'http', m: 'POST', u: '/' }, 'part', false)
  await peer.take((frame) => frame.stream === stream && frame.type === FrameType.waiting)
  peer.send(FrameType.reset, 0, stream)
  await peer.take((frame) => frame.stream === stream && frame.type === FrameType.log && frame.payload.includes('AbortError'))
})
