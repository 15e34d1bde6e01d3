/**
 * Goal: the platform learns which invocations wait, so that it hands over more while they do, and only then; and what each used.
 *
 * Method: handlers that sleep and handlers that compute, on the real threads and clocks; bounds are far from the figures.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { needsPython, startFunction } from './start-python.ts'

function open(peer: Awaited<ReturnType<typeof startFunction>>, value: unknown) {
  return peer.open({ head: { k: 'event' }, body: JSON.stringify(value) })
}

describe('an invocation that waits', needsPython, () => {
  test('says so once, and used little', async () => {
    await using peer = await startFunction('behaves.py')
    const stream = open(peer, { what: 'sleep', seconds: 0.1 })
    const answer = await stream.answer
    assert.equal(stream.waitingCount, 1)
    assert.ok(answer.usage!.cpuUs < 50_000, `${answer.usage!.cpuUs} µs`)
  })

  test('lets others run meanwhile, up to the concurrency', async () => {
    await using peer = await startFunction('behaves.py', { concurrency: 4 })
    const startedMs = performance.now()
    const answers = await Promise.all(Array.from({ length: 8 }, () => peer.event({ what: 'sleep', seconds: 0.15 })))
    const tookMs = performance.now() - startedMs
    assert.equal(answers.length, 8)
    assert.ok(tookMs >= 295, `two rounds of 150 ms took ${tookMs} ms`)
    assert.ok(tookMs < 900, `two rounds of 150 ms took ${tookMs} ms`)
    const threads = (await peer.event({ what: 'threads' })).json as number
    assert.ok(threads <= 7, `4 handlers, a leader and a monitor are ${threads} threads`)
  })

  test('in an async handler says so too, and one that only yields does not', async () => {
    await using peer = await startFunction('async_main.py')
    const stream = open(peer, { what: 'sleep', id: 'a', seconds: 0.05 })
    await stream.answer
    assert.equal(stream.waitingCount, 1)
    const quick = open(peer, { what: 'yield-once' })
    await quick.answer
    assert.equal(quick.waitingCount, 0)
  })
})

describe('an invocation that computes', needsPython, () => {
  test('does not say that it waits, and its CPU time is counted', async () => {
    await using peer = await startFunction('behaves.py')
    const stream = open(peer, { what: 'compute', seconds: 0.15 })
    const answer = await stream.answer
    assert.equal(stream.waitingCount, 0)
    assert.ok(answer.usage!.cpuUs >= 145_000 && answer.usage!.cpuUs < 400_000, `${answer.usage!.cpuUs} µs`)
  })

  test('beside another that computes does not count as waiting for the interpreter', async () => {
    await using peer = await startFunction('behaves.py')
    const streams = Array.from({ length: 4 }, () => open(peer, { what: 'compute', seconds: 0.05 }))
    await Promise.all(streams.map((stream) => stream.answer))
    assert.equal(streams.reduce((sum, stream) => sum + stream.waitingCount, 0), 0)
  })

  test('does not keep the runtime from reading', async () => {
    await using peer = await startFunction('behaves.py')
    const long = open(peer, { what: 'compute', seconds: 0.3 })
    const order: string[] = []
    const quick = peer.event({ quick: true }).then(() => order.push('quick'))
    await Promise.all([long.answer.then(() => order.push('long')), quick])
    assert.deepEqual(order, ['quick', 'long'])
  })
})
