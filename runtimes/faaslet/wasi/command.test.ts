/**
 * Goal: a WASI command compiled by an ordinary compiler runs per invocation, standard input to standard output, and whatever
 * it does wrong is a typed error.
 * Method: a C program (test/functions/wasm/command.c) in a real host process, spoken to in frames.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrameFlag, FrameType } from '../../../src/contract/frames.ts'
import type { PlatformError } from '../../../src/contract/errors.ts'
import type { RuntimePeer } from '../../../test/kit/runtime-peer.ts'
import { startWasi, wasmFixture } from './wasi-peer.fixture.ts'

const command = wasmFixture('command')
const failure = async (promise: Promise<unknown>): Promise<PlatformError> => promise.then(() => assert.fail('it did not fail'), (error: PlatformError) => error)
const lines = async (peer: RuntimePeer, url: string, headers: readonly string[] = []): Promise<string[]> => (await peer.http('GET', url, { headers })).text.split('\n')

test('standard input is the body, standard output the answer', async () => {
  await using peer = await startWasi(command)
  const answer = await peer.http('POST', '/', { body: 'friend' })
  assert.deepEqual([answer.status, answer.text, answer.headers['content-type']], [200, 'hello from C, friend', 'text/plain; charset=utf-8'])
  assert.equal((await peer.event({ a: 1 })).text, 'hello from C, {"a":1}')
  assert.equal((await peer.http('GET', '/binary')).headers['content-type'], 'application/octet-stream')
  assert.equal((await peer.http('HEAD', '/large')).body.length, 0)
})

test('it sees its arguments, its variables, and the request as CGI variables', async () => {
  await using peer = await startWasi(command, { init: { args: ['one', 'two words'], environment: { GREETING: 'hi' } } })
  const all = await lines(peer, '/env?a=1&b=2', ['x-custom', 'yes', 'content-type', 'text/x', 'proxy', 'http://evil'])
  assert.deepEqual(all.slice(0, 3), ['main.wasm', 'one', 'two words'])
  for (const one of ['GREETING=hi', 'REQUEST_METHOD=GET', 'PATH_INFO=/env', 'QUERY_STRING=a=1&b=2', 'HTTP_X_CUSTOM=yes', 'CONTENT_TYPE=text/x', 'CONTENT_LENGTH=0', 'SKEP_FUNCTION=fixture', 'HTTP_HOST=test.local']) {
    assert.ok(all.includes(one), `${one} in ${all.join('\n')}`)
  }
  assert.ok(!all.some((one) => one.startsWith('HTTP_PROXY')))
})

test('a body that comes in pieces is waited for without holding the thread', async () => {
  await using peer = await startWasi(command)
  const slow = peer.open({ k: 'http', m: 'POST', u: '/echo' }, 'first ', false)
  // Both wait at once in one thread; the second is answered while the first has not all of its body.
  assert.equal((await peer.http('POST', '/echo', { body: 'quick' })).text, 'quick')
  peer.send(FrameType.data, 0, slow, 'second ')
  peer.send(FrameType.data, FrameFlag.end, slow, 'third')
  assert.equal((await peer.answer(slow)).text, 'first second third')
})

test('a large answer streams, and waits for a slow receiver (AN1)', async () => {
  await using peer = await startWasi(command)
  assert.equal((await peer.http('GET', '/large')).body.length, 64 * 64 * 1024)
  const stream = peer.open({ k: 'http', m: 'GET', u: '/large' })
  let bytes = 0
  for (let at = 0; at < 4; at++) bytes += (await peer.take((one) => one.stream === stream && one.type === FrameType.data)).payload.length
  // Without credit nothing more comes, and others are served.
  assert.equal((await peer.http('POST', '/', { body: '' })).text, 'hello from C')
  assert.equal(bytes, 256 * 1024)
  assert.equal(peer.frames.filter((one) => one.stream === stream && one.type === FrameType.data).length, 0)
  peer.send(FrameType.reset, 0, stream)
  assert.equal((await failure(peer.answer(stream))).code, 'CANCELLED')
})

test('sleeping waits as long as it says, many at once', async () => {
  await using peer = await startWasi(command)
  const startMs = performance.now()
  const all = await Promise.all(Array.from({ length: 20 }, () => peer.http('GET', '/sleep?50')))
  assert.ok(performance.now() - startMs < 900, 'they slept one after the other')
  for (const { text } of all) assert.ok(Number(text) >= 49, text)
  // What was written before a pause leaves during it.
  const stream = peer.open({ k: 'http', m: 'GET', u: '/sleep?900', h: ['x-say', '1'] })
  const data = await peer.take((one) => one.stream === stream && one.type === FrameType.data)
  assert.equal(data.payload.toString(), 'before ')
  peer.send(FrameType.reset, 0, stream)
  assert.equal((await failure(peer.answer(stream))).code, 'CANCELLED')
})

test('an exit code is FUNCTION_THREW with the last lines of standard error, and nothing of its output', async () => {
  await using peer = await startWasi(command)
  const stream = peer.open({ k: 'http', m: 'GET', u: '/exit?42' })
  const error = await failure(peer.answer(stream))
  assert.equal(error.code, 'FUNCTION_THREW')
  assert.equal(error.message, '"main.wasm" ended with exit code 42. Its last lines: first line\nlast words')
  assert.deepEqual(error.details, { exitCode: 42, stderr: ['first line', 'last words'] })
  assert.deepEqual(peer.logs(stream), ['stderr first line', 'stderr last words'])
  assert.equal((await peer.http('GET', '/exit?0')).status, 200)
  assert.equal((await failure(peer.http('GET', '/late-exit'))).code, 'FUNCTION_THREW')
})

test('a trap is FUNCTION_THREW with a stack of the function, positions as in its file', async () => {
  await using peer = await startWasi(command)
  const error = await failure(peer.http('GET', '/trap'))
  assert.equal(error.code, 'FUNCTION_THREW')
  assert.match(error.message, /"main\.wasm" stopped: RuntimeError: unreachable/)
  assert.match(error.functionStack!, /^RuntimeError: unreachable\n {4}at \w*main\w* \(wasm-function\[\d+\]:0x[0-9a-f]+\)\n/)
  const at = Number.parseInt(/:0x([0-9a-f]+)/.exec(error.functionStack!)![1]!, 16)
  assert.equal(command[at], 0, 'the instruction at that byte of the file is `unreachable`')
  assert.match((await failure(peer.http('GET', '/deep'))).message, /RangeError: Maximum call stack size exceeded|out of bounds/)
  assert.equal((await peer.http('GET', '/')).status, 200)
})

test('running out of memory is recognised', async () => {
  await using peer = await startWasi(command)
  const error = await failure(peer.http('GET', '/oom'))
  assert.equal(error.code, 'FUNCTION_OUT_OF_MEMORY')
  assert.match(error.message, /of at most 16 MB/)
})

test('its files are read-only, /tmp is its own, bounded, and gone with it (FS1)', async () => {
  await using peer = await startWasi(command, { files: { 'data.txt': 'from the bundle' } })
  const expected = 'from the bundle\nwriting it: 1\nread: file\nsize: 10\nentries: two\n'
  for (let at = 0; at < 2; at++) assert.equal((await peer.http('GET', '/files')).text, expected)
  const bytes = /^(\d+) bytes, then ENOSPC$/.exec((await peer.http('GET', '/fill')).text)![1]!
  assert.ok(Number(bytes) > 12 * 2 ** 20 && Number(bytes) < 16 * 2 ** 20, bytes)
  assert.equal((await peer.http('GET', '/fill')).text, `${bytes} bytes, then ENOSPC`)
})

test('clones of one snapshot have randomness and clocks of their own', async () => {
  await using peer = await startWasi(command)
  const random = await Promise.all(Array.from({ length: 100 }, async () => (await peer.http('GET', '/random')).text))
  assert.equal(new Set(random).size, 100)
  assert.ok(Math.abs(Number((await peer.http('GET', '/time')).text) - Date.now()) < 10_000)
})
