/**
 * Goal: a reactor is initialised once, before the snapshot, and has the platform by the functions of module `skep`.
 * Method: a C program (test/functions/wasm/reactor.c) in a real host process; the test is the platform that it calls.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { encodeHeadFrame, FrameFlag, FrameType, splitHead, type OpenHead } from '../../../src/contract/frames.ts'
import { PlatformError } from '../../../src/contract/errors.ts'
import type { RuntimePeer } from '../../../test/kit/runtime-peer.ts'
import { SkepError } from './abi.ts'
import { startWasi, wasmFixture } from './wasi-peer.fixture.ts'

const reactor = wasmFixture('reactor')
const failure = async (promise: Promise<unknown>): Promise<PlatformError> => promise.then(() => assert.fail('it did not fail'), (error: PlatformError) => error)

async function takeCall(peer: RuntimePeer): Promise<{ stream: number; head: OpenHead; body: string }> {
  const { stream, payload } = await peer.take((one) => one.type === FrameType.open)
  const { head, body } = splitHead<OpenHead>(payload)
  return { stream, head, body: body.toString() }
}

function answerCall(peer: RuntimePeer, stream: number, status: number, body: string): void {
  peer.channel.write(encodeHeadFrame(FrameType.head, FrameFlag.end, stream, JSON.stringify({ s: status, h: ['content-type', 'text/plain'] }), body))
}

test('what initialisation left in memory is there in every invocation, and no invocation sees another', async () => {
  await using peer = await startWasi(reactor, { init: { environment: { SQUARE: '1' } } })
  for (let at = 0; at < 3; at++) assert.equal((await peer.http('GET', '/state')).text, '2997 49 101')
})

test('a reusable instance keeps its memory', async () => {
  await using peer = await startWasi(reactor, { environment: { TEST_REUSE: '1' } })
  for (let at = 1; at <= 3; at++) assert.equal((await peer.http('GET', '/state')).text, `2997 14 ${100 + at}`)
  assert.equal((await failure(peer.http('GET', '/fail'))).code, 'FUNCTION_THREW')
  assert.equal((await peer.http('GET', '/state')).text, '2997 14 101')
})

test('status, headers and body are the answer; a result other than 0 is FUNCTION_THREW', async () => {
  await using peer = await startWasi(reactor)
  const answer = await peer.http('GET', '/status')
  assert.deepEqual([answer.status, answer.text, answer.headers['x-made-by'], answer.headers['content-type']], [201, '{}', 'C', 'application/json'])
  const error = await failure(peer.http('GET', '/fail'))
  assert.equal(error.message, '"main.wasm" failed: handle returned 7.')
})

test('it reads the request: body, size, head, id, deadline', async () => {
  await using peer = await startWasi(reactor)
  assert.equal((await peer.http('POST', '/echo', { body: 'some body' })).text, '9:some body')
  const slow = peer.open({ k: 'http', m: 'POST', u: '/echo' }, 'a', false)
  peer.send(FrameType.data, FrameFlag.end, slow, 'b')
  assert.match((await peer.answer(slow)).text, /^(-1|2):ab$/)
  const head = JSON.parse((await peer.http('PATCH', '/head', { headers: ['x-a', 'ü'] })).text) as { method: string; url: string; headers: string[][] }
  assert.deepEqual([head.method, head.url, head.headers], ['PATCH', '/head', [['host', 'test.local'], ['x-a', 'ü']]])
  assert.match((await peer.answer(peer.open({ k: 'http', m: 'GET', u: '/misc', d: Date.now() + 5000 }))).text, /^1 inv-\d+$/)
})

test('it calls other functions, several at once, and HTTP functions', async () => {
  await using peer = await startWasi(reactor)
  const stream = peer.open({ k: 'http', m: 'GET', u: '/two-calls' })
  const [first, second] = [await takeCall(peer), await takeCall(peer)]
  assert.deepEqual([first.head.f, first.head.k, first.body, first.head.c], ['other', 'event', '1', stream])
  assert.deepEqual([second.head.f, second.head.a, second.body], ['space/other', true, '2'])
  answerCall(peer, second.stream, 202, '{"id":"x"}')
  answerCall(peer, first.stream, 200, 'one')
  assert.equal((await peer.answer(stream)).text, '200 one\n202 {"id":"x"}')
  const http = peer.open({ k: 'http', m: 'GET', u: '/call-http' })
  const call = await takeCall(peer)
  assert.deepEqual([call.head.k, call.head.m, call.head.u, call.head.h, call.body], ['http', 'PUT', '/x?y=1', ['x-a', 'b'], 'body'])
  peer.send(FrameType.reset, 0, call.stream, JSON.stringify(new PlatformError('FUNCTION_NOT_FOUND', 'no such').toBody()))
  assert.equal((await peer.answer(http)).text, `${SkepError.failed} {"code":"FUNCTION_NOT_FOUND","message":"no such"}`)
})

test('calls that are open at the end are let go of, and there are at most 64 (RS1)', async () => {
  await using peer = await startWasi(reactor)
  assert.equal((await peer.http('GET', '/many')).text, String(SkepError.tooMany))
  for (let at = 0; at < 64; at++) await takeCall(peer)
  for (let at = 0; at < 64; at++) await peer.take((one) => one.type === FrameType.reset && one.stream % 2 === 1)
})

test('cancelling an invocation that waits lets go of what it waits for', async () => {
  await using peer = await startWasi(reactor)
  const stream = peer.open({ k: 'http', m: 'GET', u: '/two-calls' })
  const first = await takeCall(peer)
  peer.send(FrameType.reset, 0, stream)
  assert.equal((await failure(peer.answer(stream))).code, 'CANCELLED')
  await peer.take((one) => one.type === FrameType.reset && one.stream === first.stream)
  assert.equal((await peer.http('GET', '/state')).text, '2997 14 101')
})

test('the network is refused with an error number, and reached when it is allowed', async () => {
  const server = createServer((request, response) => response.writeHead(203, { 'x-b': 'c' }).end(`${request.method} ${request.headers['x-a']}`)).listen(0, '127.0.0.1')
  try {
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const body = JSON.stringify({ url, method: 'delete', headers: [['x-a', 'value']] })
    {
      await using peer = await startWasi(reactor)
      const { text } = await peer.http('POST', '/fetch', { body })
      assert.match(text, new RegExp(`^error ${SkepError.noNetwork} \\{"code":"FORBIDDEN"`))
    }
    await using peer = await startWasi(reactor, { environment: { TEST_NETWORK: '1' } })
    assert.equal((await peer.http('POST', '/fetch', { body })).text, '203 DELETE value')
    assert.match((await peer.http('POST', '/fetch', { body: '{"url":"http://127.0.0.1:1/"}' })).text, new RegExp(`^${SkepError.failed} \\{"code":"SERVER_UNREACHABLE"`))
    for (const bad of ['{}', 'x', '{"url":"file:///etc/passwd"}', '{"url":"http://a","headers":[1]}']) assert.match((await peer.http('POST', '/fetch', { body: bad })).text, new RegExp(`^error ${SkepError.invalid}`))
  } finally {
    server.close()
    server.closeAllConnections()
  }
})

test('entries of the log have a level; addresses outside of memory are an error number', async () => {
  await using peer = await startWasi(reactor)
  const stream = peer.open({ k: 'http', m: 'GET', u: '/log' })
  assert.equal((await peer.answer(stream)).text, String(SkepError.invalid))
  assert.deepEqual(peer.logs(stream), ['warn careful'])
  assert.equal((await peer.http('GET', '/fault')).text, `${SkepError.fault}${SkepError.fault}${SkepError.badHandle}`)
})
