/**
 * Goal: whatever user code does wrong is a typed error that says where, and never harms another invocation.
 * Method: the real runtime as a child process with ill-behaved fixtures.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { FrameFlag, FrameType } from '../../src/contract/frames.ts'
import type { PlatformError } from '../../src/contract/errors.ts'
import { nodeFixtures, nodeRuntime, RuntimePeer, startNodeFixture, startNodeFunction } from '../../test/kit/runtime-peer.ts'

const failure = async (promise: Promise<unknown>): Promise<PlatformError> => promise.then(() => assert.fail('it did not fail'), (error: PlatformError) => error)

test('code that does not parse is CODE_INVALID with file, line and column', async () => {
  const enumSource = readFileSync(join(nodeFixtures, 'bad-enum.txt'), 'utf8')
  const cases: [string, string | Record<string, string>, RegExp][] = [
    ['bad.mjs', readFileSync(join(nodeFixtures, 'bad-syntax.mjs'), 'utf8'), /^bad\.mjs:3:20: Unexpected token '='/],
    ['bad.ts', enumSource, /^bad\.ts:2:1: TypeScript enum is not supported/],
    ['bad.cjs', '\nmodule.exports = { a: 1; }', /^bad\.cjs:2:24: Unexpected token/],
    ['index.mjs', { 'index.mjs': 'import "./lib/inner.mjs"', 'lib/inner.mjs': 'let = = 1' }, /^lib\/inner\.mjs:1:\d+: /],
    ['index.mjs', 'import { nope } from "node:fs"', /^index\.mjs:1:10: .*nope/],
  ]
  for (const [entry, source, message] of cases) {
    const error = await failure(startNodeFunction(entry, source))
    assert.equal(error.code, 'CODE_INVALID', error.message)
    assert.match(error.message, message)
  }
})

test('code that throws while loading is INIT_FAILED with a stack of its own frames', async () => {
  const error = await failure(startNodeFixture('bad-throws.ts'))
  assert.equal(error.code, 'INIT_FAILED')
  assert.match(error.message, /no database/)
  assert.equal(error.functionStack, 'Error: no database\n    at prepare (bad-throws.ts:3:9)\n    at Object.<anonymous> (bad-throws.ts:6:1)')
})

test('a module without handler names what it exports; a missing entry says so', async () => {
  const error = await failure(startNodeFixture('bad-no-handler.ts'))
  assert.equal(error.code, 'HANDLER_NOT_FOUND')
  assert.match(error.message, /it exports mian, version/)
  assert.match((await failure(startNodeFixture('bad-no-handler.ts', { handler: 'nope' }))).message, /No function "nope"/)
  assert.equal((await failure(startNodeFunction('a.ts', { 'b.ts': '' }))).code, 'CODE_INVALID')
})

test('code that exits while loading ends the process with its code', async () => {
  await using peer = new RuntimePeer({ args: [nodeRuntime], files: { 'index.ts': 'console.log("bye"); process.exit(3)' } })
  await peer.hello()
  await assert.rejects(peer.init({ entry: 'index.ts' }), /ended before/)
  assert.equal(await peer.exited, 3)
  assert.deepEqual(peer.logs(0), ['info bye'])
})

test('a thrown error is FUNCTION_THREW with its stack, and others go on', async () => {
  await using peer = await startNodeFixture('bad.ts')
  const error = await failure(peer.http('GET', '/throws'))
  assert.deepEqual([error.code, error.message], ['FUNCTION_THREW', 'TypeError: thrown on purpose'])
  assert.match(error.functionStack!, /^TypeError: thrown on purpose\n {4}at deeper \(bad\.ts:\d+:9\)\n {4}at Object\.fetch \(bad\.ts:\d+:\d+\)$/)
  assert.match((await failure(peer.http('GET', '/throws-text'))).message, /"just text", which is not an Error/)
  assert.equal((await peer.http('GET', '/')).text, 'fine')
})

test('errors that nobody catches fail the invocation they belong to, and only that', async () => {
  await using peer = await startNodeFixture('bad.ts')
  const other = peer.http('GET', '/aborts')
  for (const [path, message] of [['/rejects-late', 'Error: nobody awaits this'], ['/throws-late', 'Error: thrown in a timer']] as const) {
    const stream = peer.open({ k: 'http', m: 'GET', u: path })
    const error = await failure(peer.answer(stream))
    assert.deepEqual([error.code, error.message], ['FUNCTION_THREW', message])
    assert.match(peer.logs(stream).join(), /^error Un.*: Error: /)
  }
  assert.equal((await peer.http('GET', '/')).text, 'fine')
  other.catch(() => {})
})

test('what is no answer is ANSWER_INVALID with the reason', async () => {
  await using peer = await startNodeFixture('bad.ts')
  const reasons = { symbol: /returned Symbol\(garbage\)/, nothing: /returned nothing/, object: /an object \(Object\)/, used: /has been read already/, 'status-error': /status is 0/ }
  for (const [path, reason] of Object.entries(reasons)) {
    const error = await failure(peer.http('GET', `/${path}`))
    assert.equal(error.code, 'ANSWER_INVALID')
    assert.match(error.message, reason)
  }
  await using main = await startNodeFixture('bad-results.ts')
  for (const give of ['symbol', 'circle', 'big', 'status-99', 'status-text', 'header-name', 'header-value', 'header-object', 'headers-huge']) {
    assert.equal((await failure(main.http('GET', `/?give=${give}`))).code, 'ANSWER_INVALID', give)
  }
  for (const give of ['symbol', 'circle', 'big']) assert.equal((await failure(main.event({ give }))).code, 'ANSWER_INVALID', give)
})

test('a handler that exits ends the process', async () => {
  await using peer = await startNodeFixture('bad.ts')
  await assert.rejects(peer.http('GET', '/exit'), /ended before/)
  assert.equal(await peer.exited, 7)
})

test('cancelling aborts the signal and is confirmed at once, whether the code listens or not (F4)', async () => {
  await using peer = await startNodeFixture('bad.ts')
  for (const path of ['/aborts', '/ignores-abort']) {
    const stream = peer.open({ k: 'http', m: 'GET', u: path })
    await peer.take((frame) => frame.stream === stream && frame.type === FrameType.waiting)
    peer.send(FrameType.reset, 0, stream)
    const confirmation = await peer.take((frame) => frame.stream === stream && frame.type === FrameType.reset)
    assert.equal(confirmation.payload.length, 0)
    if (path === '/aborts') assert.match((await peer.take((frame) => frame.type === FrameType.log)).payload.toString(), /aborted: AbortError/)
  }
  peer.send(FrameType.reset, 0, 4000)
  await peer.take((frame) => frame.stream === 4000 && frame.type === FrameType.reset)
  assert.equal((await peer.http('GET', '/')).text, 'fine')
})

test('waiting is said by code that waits and not by code that computes', async () => {
  await using peer = await startNodeFixture('fetch.ts')
  assert.equal((await peer.http('GET', '/wait?ms=20')).waited, true)
  assert.equal((await peer.http('GET', '/hello')).waited, false)
  await using busy = await startNodeFixture('bad.ts')
  const spun = await busy.http('GET', '/spins')
  assert.equal(spun.waited, false)
  assert.ok(spun.usage!.cpuUs > 30_000, `${spun.usage!.cpuUs}`)
})

test('output is logged with its invocation and level', async () => {
  await using peer = await startNodeFixture('fetch.ts')
  const stream = peer.open({ k: 'http', m: 'GET', u: '/log' })
  await Promise.all([peer.answer(stream), peer.http('GET', '/hello')])
  assert.deepEqual(peer.logs(stream), ['info one { two: 2 }', 'error three', 'debug four', 'stdout five', 'stdout six', 'warn seven'])
})

test('output without end does not grow the runtime: lines are dropped and counted (P2)', async () => {
  await using peer = await startNodeFixture('bad.ts')
  peer.channel.pause()
  const stream = peer.open({ k: 'http', m: 'GET', u: '/prints' })
  const paused = peer.child.exitCode
  assert.equal(paused, null)
  setImmediate(() => peer.channel.resume())
  const answer = await peer.answer(stream)
  assert.equal(answer.text, 'printed')
  assert.ok(answer.usage!.memoryKb < 300_000, `${answer.usage!.memoryKb} KB`)
  const dropped = await peer.take((frame) => frame.type === FrameType.log && frame.payload.includes(' lines dropped'))
  const kept = peer.logs(stream).length
  assert.equal(kept + Number.parseInt(dropped.payload.toString('utf8', 1)), 200_000)
})

test('stop lets open invocations and late work end, then the process ends with 0 (H3)', async () => {
  await using peer = await startNodeFixture('fetch.ts')
  const late = await peer.http('GET', '/late')
  assert.equal(late.text, 'early')
  const waiting = peer.http('GET', '/wait?ms=30')
  peer.send(FrameType.stop, 0, 0)
  assert.equal((await waiting).text, 'waited')
  assert.equal(await peer.exited, 0)
  assert.deepEqual(peer.logs(), ['info late'])
})

test('the end of the channel ends the process', async () => {
  await using peer = await startNodeFixture('fetch.ts')
  peer.channel.end()
  assert.equal(await peer.exited, 0)
})

test('a protocol error ends the process cleanly', async () => {
  await using peer = await startNodeFixture('fetch.ts')
  peer.send(FrameType.hello, FrameFlag.end, 0, '')
  assert.equal(await peer.exited, 76)
})
