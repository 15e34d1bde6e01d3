/**
 * Goal: a function calls others through the SDK; results, errors, time limits and cancellation arrive where they belong.
 *
 * Method: the test answers the calls as the platform would.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import { needsPython, startFunction } from './start-python.ts'
import type { PeerCall } from './peer-call.ts'

const calls: PeerCall[] = []

async function onCall(call: PeerCall): Promise<void> {
  calls.push(call)
  const payload = await call.payload
  switch (call.head.f) {
    case 'double': return call.reply(Number(payload.toString()) * 2)
    case 'later': return call.reply({ id: 'a'.repeat(32) }, 202)
    case 'size': return call.reply(JSON.parse(payload.toString()))
    case 'reverse': return call.replyBytes(Buffer.from(payload.toReversed()), 'application/octet-stream')
    case 'refuses': return call.reply({ error: 'not today' }, 500)
    case 'held':
    case 'never': return
    default: return call.fail(new PlatformError('FUNCTION_NOT_FOUND', `There is no function ${call.head.f}.`))
  }
}

const start = (entry: string) => startFunction(entry, { onCall: (call) => void onCall(call) })

describe('skep.invoke', needsPython, () => {
  test('gives the result, and says which invocation calls, with its trace and deadline', async () => {
    await using peer = await start('calls.py')
    calls.length = 0
    const deadlineMs = Date.now() + 10_000
    const traceparent = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`
    const stream = peer.open({ head: { k: 'event', d: deadlineMs, t: traceparent }, body: JSON.stringify({ what: 'chain', number: 3 }) })
    assert.equal((await stream.answer).json, 12)
    assert.deepEqual(calls.map((call) => [call.id % 2, call.head.c, call.head.d, call.head.t]), [[1, stream.id, deadlineMs, traceparent], [1, stream.id, deadlineMs, traceparent]])
  })

  test('raises SkepError with the code of the platform or the status of the function', async () => {
    await using peer = await start('calls.py')
    assert.deepEqual((await peer.event({ name: 'nobody' })).json, { code: 'FUNCTION_NOT_FOUND', message: 'There is no function nobody.', status: 0 })
    assert.deepEqual((await peer.event({ name: 'refuses' })).json, { code: 'FUNCTION_THREW', message: 'refuses answered with status 500: not today', status: 500 })
    assert.match(JSON.stringify((await peer.event({ what: 'payload' })).json), /INPUT_INVALID.*payload.*\$\.x is of type set/)
  })

  test('gives up at its timeout, and tells the platform', async () => {
    await using peer = await start('calls.py')
    calls.length = 0
    assert.equal(((await peer.event({ what: 'timeout' })).json as { code: string }).code, 'FUNCTION_TIMEOUT')
    assert.equal(calls[0]!.wasReset, true)
  })

  test('carries large payloads and results, and bytes as they are', async () => {
    await using peer = await start('calls.py')
    assert.equal((await peer.event({ what: 'large', size: 900_000 })).json, 900_000)
    assert.deepEqual([...(await peer.event({ what: 'bytes' })).body], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
  })

  test('from a thread of the function\'s own belongs to the only open invocation', async () => {
    await using peer = await start('calls.py')
    assert.equal((await peer.event({ what: 'thread' })).json, 8)
  })

  test('runs at full concurrency without getting stuck', async () => {
    await using peer = await start('calls.py')
    const results = await Promise.all(Array.from({ length: 64 }, (_, number) => peer.event({ what: 'chain', number })))
    assert.deepEqual(results.map((answer) => answer.json), Array.from({ length: 64 }, (_, number) => number * 4))
  })

  test('does not keep other invocations from running while it waits for the answer', async () => {
    await using peer = await start('calls.py')
    calls.length = 0
    const waiting = peer.event({ name: 'held' })
    while (calls.length === 0) await new Promise((resolve) => setImmediate(resolve))
    assert.equal((await peer.event({ what: 'chain', number: 1 })).json, 4)
    calls[0]!.reply('at last')
    assert.equal((await waiting).json, 'at last')
  })

  test('is let go when its caller is cancelled, and the callee is told', async () => {
    await using peer = await start('calls.py')
    calls.length = 0
    const stream = peer.open({ head: { k: 'event' }, body: JSON.stringify({ name: 'never' }) })
    while (calls.length === 0) await new Promise((resolve) => setImmediate(resolve))
    stream.reset()
    await stream.letGo
    assert.equal(calls[0]!.wasReset, true)
  })
})

describe('skep.context', needsPython, () => {
  test('says how long the invocation may still take: infinitely without a deadline, and never less than nothing', async () => {
    await using peer = await start('calls.py')
    const left = async (deadlineMs?: number) => (await peer.event({ what: 'context' }, deadlineMs === undefined ? {} : { d: deadlineMs })).json as { leftMs: number | null; lambdaMs: number }
    const some = await left(Date.now() + 5_000)
    assert.ok(some.leftMs! > 1_000 && some.leftMs! <= 5_000, `${some.leftMs} ms`)
    assert.ok(some.lambdaMs > 1_000 && some.lambdaMs <= some.leftMs!)
    assert.deepEqual(await left(), { id: 'f'.repeat(32), leftMs: null, lambdaMs: 2 ** 31 - 1 })
    assert.equal((await left(Date.now() - 1_000)).leftMs, 0)
  })
})

describe('skep.invoke_async', needsPython, () => {
  test('returns the id of the accepted invocation', async () => {
    await using peer = await start('calls.py')
    calls.length = 0
    assert.equal((await peer.event({ what: 'async' })).json, 'a'.repeat(32))
    assert.equal(calls[0]!.head.a, true)
  })
})

describe('skep.ainvoke', needsPython, () => {
  test('calls many at once from one async handler', async () => {
    await using peer = await start('async_main.py')
    assert.deepEqual((await peer.event({ what: 'call', numbers: [1, 2, 3] })).json, [2, 4, 6])
    await assert.rejects(peer.event({ what: 'call-slowly' }), /FUNCTION_TIMEOUT/)
  })
})
