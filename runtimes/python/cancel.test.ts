/**
 * Goal: an invocation that nobody wants any more is let go as soon as its code can be, and the platform is told when (F4).
 *
 * Method: invocations in every state (collecting, queued, computing, waiting in the runtime, async) are reset by the platform.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { encodeFrame, FrameType } from '#contract/frames.ts'
import { needsPython, startFunction } from './start-python.ts'

const event = (value: unknown) => ({ head: { k: 'event' } as const, body: JSON.stringify(value) })

describe('a reset', needsPython, () => {
  test('is seen by a handler that looks, and confirmed when it has returned', async () => {
    await using peer = await startFunction('behaves.py')
    const stream = peer.open(event({ what: 'wait-cancelled' }))
    while (peer.logs.length === 0) await new Promise((resolve) => setImmediate(resolve))
    stream.reset()
    await stream.letGo
    assert.deepEqual(peer.logs.map((log) => log.text), ['started', 'saw it'])
    assert.deepEqual((await peer.event({ fine: 1 })).json, { fine: 1 })
  })

  test('is not confirmed while the handler still runs', async () => {
    await using peer = await startFunction('behaves.py')
    const stream = peer.open(event({ what: 'sleep', seconds: 0.15 }))
    await stream.until(() => stream.waitingCount === 1)
    let isLetGo = false
    void stream.letGo.then(() => { isLetGo = true })
    stream.reset()
    await peer.event({ fine: 1 })
    assert.equal(isLetGo, false)
    await stream.letGo
  })

  test('cancels an async handler', async () => {
    await using peer = await startFunction('async_main.py')
    const stream = peer.open(event({ what: 'stubborn' }))
    await stream.until(() => stream.waitingCount === 1)
    stream.reset()
    await stream.letGo
    assert.deepEqual(peer.logs.map((log) => log.text), ['cleaned up'])
    const swallowing = peer.open(event({ what: 'swallow' }))
    await swallowing.until(() => swallowing.waitingCount === 1)
    swallowing.reset()
    await swallowing.letGo
  })

  test('is confirmed at once for one that has not begun', async () => {
    await using peer = await startFunction('behaves.py', { concurrency: 1 })
    const collecting = peer.open({ ...event({}), ended: false })
    collecting.reset()
    await collecting.letGo
    const running = peer.open(event({ what: 'sleep', seconds: 0.2 }))
    const queued = peer.open(event({ what: 'print', id: 'never', count: 1 }))
    await running.until(() => running.waitingCount === 1)
    queued.reset()
    await queued.letGo
    await running.answer
    assert.deepEqual(peer.logs, [])
  })

  test('of a stream that has ended in the meantime is confirmed', async () => {
    await using peer = await startFunction('behaves.py')
    const stream = peer.open(event({ a: 1 }))
    await stream.answer
    peer.send(encodeFrame(FrameType.reset, 0, stream.id))
    await stream.letGo
  })

  test('lets a handler go that waits for a body', async () => {
    await using peer = await startFunction('streams.py')
    const stream = peer.open({ head: { k: 'http', m: 'POST', u: '/', h: [] }, body: 'part', ended: false })
    await stream.until(() => stream.waitingCount === 1)
    stream.reset()
    await stream.letGo
  })
})
