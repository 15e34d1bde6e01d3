/**
 * Goal: the SDK's calls leave as odd streams with their caller, and answers and errors come back as values.
 * Method: the real runtime with fixture calls.ts; the test plays the called function.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeHeadFrame, FrameFlag, FrameType, splitHead, type OpenHead } from '../../src/contract/frames.ts'
import { invoke } from './sdk/index.js'
import { startNodeFixture, startNodeFunction, type RuntimePeer } from '../../test/kit/runtime-peer.ts'

async function called(peer: RuntimePeer): Promise<{ stream: number; head: OpenHead; body: string }> {
  const { stream, payload } = await peer.take((frame) => frame.type === FrameType.open)
  const { head, body } = splitHead<OpenHead>(payload)
  return { stream, head, body: body.toString() }
}

function reply(peer: RuntimePeer, stream: number, status: number, headers: string[], body: string): void {
  peer.channel.write(encodeHeadFrame(FrameType.head, FrameFlag.end, stream, JSON.stringify({ s: status, h: headers }), body))
}

const start = async (event: object): Promise<{ peer: RuntimePeer; result: Promise<unknown>; stream: number }> => {
  const peer = await startNodeFixture('calls.ts')
  const stream = peer.open({ k: 'event', d: Date.now() + 10_000, t: '00-trace', n: 2 }, JSON.stringify(event))
  return { peer, stream, result: peer.answer(stream).then(({ text }) => JSON.parse(text) as unknown) }
}

test('invoke sends an event with its caller and gives the JSON result', async () => {
  const { peer, result, stream } = await start({ call: 'invoke', name: 'ns/other', payload: { a: 1 } })
  await using _ = peer
  const call = await called(peer)
  assert.deepEqual([call.head, call.body, call.stream % 2], [{ k: 'event', f: 'ns/other', c: stream }, '{"a":1}', 1])
  reply(peer, call.stream, 200, ['content-type', 'application/json'], '{"b":2}')
  assert.deepEqual(await result, { result: { b: 2 } })
  assert.deepEqual(peer.logs(stream), ['info calling {"name":"ns/other"}'])
})

test('an error of the platform is a SkepError with its code; a status that is not 2xx is one too', async () => {
  const first = await start({ call: 'invoke' })
  await using _ = first.peer
  first.peer.send(FrameType.reset, 0, (await called(first.peer)).stream, JSON.stringify({ code: 'FUNCTION_NOT_FOUND', message: 'no such function' }))
  assert.deepEqual(await first.result, { isSkepError: true, code: 'FUNCTION_NOT_FOUND', message: 'no such function' })
  const second = first.peer.event({ call: 'invoke' })
  reply(first.peer, (await called(first.peer)).stream, 404, ['content-type', 'text/plain'], 'gone')
  assert.equal(JSON.parse((await second).text).code, 'FUNCTION_THREW')
})

test('a call that takes too long is let go', async () => {
  const { peer, result } = await start({ call: 'invoke', timeoutMs: 5 })
  await using _ = peer
  const call = await called(peer)
  await peer.take((frame) => frame.type === FrameType.reset && frame.stream === call.stream)
  assert.equal(((await result) as { code: string }).code, 'FUNCTION_TIMEOUT')
})

test('cancelling an invocation cancels its calls', async () => {
  const { peer, stream, result } = await start({ call: 'invoke' })
  await using _ = peer
  const call = await called(peer)
  peer.send(FrameType.reset, 0, stream)
  await peer.take((frame) => frame.type === FrameType.reset && frame.stream === call.stream)
  await assert.rejects(result, { code: 'CANCELLED' })
})

test('invokeAsync asks for acceptance only', async () => {
  const { peer, result } = await start({ call: 'async', payload: 1 })
  await using _ = peer
  const call = await called(peer)
  assert.equal(call.head.a, true)
  reply(peer, call.stream, 202, ['content-type', 'application/json'], '{"id":"queued-1"}')
  assert.deepEqual(await result, { id: 'queued-1' })
})

test('fetchFunction sends a request and gives a Response whose body streams', async () => {
  const { peer, result } = await start({ call: 'fetch' })
  await using _ = peer
  const call = await called(peer)
  assert.deepEqual([call.head.k, call.head.m, call.head.u, call.head.h], ['http', 'POST', '/path?q=1', ['content-type', 'text/plain;charset=UTF-8', 'x-a', '1']])
  assert.equal(call.body, 'request body')
  peer.channel.write(encodeHeadFrame(FrameType.head, 0, call.stream, JSON.stringify({ s: 201, h: ['content-type', 'text/x'] }), 'one '))
  peer.send(FrameType.data, 0, call.stream, 'two ')
  peer.send(FrameType.data, FrameFlag.end, call.stream, 'three')
  assert.deepEqual(await result, { status: 201, type: 'text/x', text: 'one two three', isResponse: true })
})

test('context tells about the running invocation', async () => {
  const { peer, result, stream } = await start({ call: 'context' })
  await using _ = peer
  const { deadlineMs, remainingMs, ...rest } = (await result) as Record<string, number>
  assert.deepEqual(rest, { invocationId: `inv-${stream}`, namespace: 'test', function: 'fixture', revision: 1, instance: 'i1', traceparent: '00-trace', attempt: 2, aborted: false })
  assert.ok(deadlineMs! > 0 && remainingMs! > 0)
})

test('a large payload is streamed', async () => {
  await using peer = await startNodeFunction('index.ts', 'import { invoke } from "skep"; export const main = async () => ({ got: await invoke("x", "y".repeat(500_000)) })')
  const result = peer.event()
  const call = await called(peer)
  let bytes = 0
  for (let last = false; !last; ) {
    const frame = await peer.take((one) => one.stream === call.stream && one.type === FrameType.data)
    bytes += frame.payload.length
    last = (frame.flags & FrameFlag.end) !== 0
    if (frame.payload.length > 0) peer.giveCredit(call.stream, frame.payload.length)
  }
  reply(peer, call.stream, 200, [], String(bytes))
  assert.deepEqual(JSON.parse((await result).text), { got: 500_002 })
})

test('the SDK outside of Skep says so', async () => {
  await assert.rejects(invoke('x'), { code: 'RUNTIME_MISSING', message: /only inside a function/ })
})
