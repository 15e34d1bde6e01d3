/**
 * Goal: memory for transfers has bounds that hold, and nobody waits who need not (R1 to R3).
 * Method: a manual clock; fast-check takes and gives back in any order.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { decideWindow, ReceiveBuffers } from './receive-buffers.ts'
import type { Grant } from './receive-buffers.ts'

const config = { windowBytes: 1024, windowBytesMin: 64, buffersBytesMax: 8192, namespaceBuffersBytesMax: 4096, buffersWaitMs: 1000 }

describe('buffers for what comes from peers', () => {
  it('are a whole window while there is plenty, less as they become short, and then nothing', () => {
    const windows = [100_000, 8192, 4096, 1024, 600, 500, 64, 63].map((free) => decideWindow(free, config))
    assert.deepEqual(windows, [1024, 1024, 512, 128, 64, 64, 64, 0])
  })

  it('never exceed the bounds of worker and namespace, and all come back (R1, R3)', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.boolean(), fc.nat()), { maxLength: 300 }), async (steps) => {
      const buffers = new ReceiveBuffers(config, new ManualClock())
      const held: { readonly namespace: string; readonly grant: Grant }[] = []
      for (const [namespace, gives, which] of steps) {
        if (gives && held.length > 0) held.splice(which % held.length, 1)[0]!.grant.shrink(0)
        else buffers.take(namespace, undefined).then((grant) => held.push({ namespace, grant }), () => {})
        await Promise.resolve()
        const sumOf = (some: typeof held): number => some.reduce((sum, { grant }) => sum + grant.bytes, 0)
        assert.ok(buffers.outBytes <= config.buffersBytesMax)
        for (const name of ['a', 'b', 'c']) assert.ok(sumOf(held.filter((one) => one.namespace === name)) <= config.namespaceBuffersBytesMax)
      }
      buffers.refuseWaiting(new PlatformError('STOPPING', 'x'))
      await Promise.resolve()
      for (const { grant } of held) grant.shrink(0)
      assert.equal(buffers.outBytes, 0)
    }), { numRuns: 100 })
  })

  it('are given to who waits in the order of coming, past those whose namespace has none left (R2)', async () => {
    const buffers = new ReceiveBuffers({ ...config, windowBytes: 64, buffersBytesMax: 192, namespaceBuffersBytesMax: 128 }, new ManualClock())
    const order: string[] = []
    const first = await buffers.take('a', undefined)
    const second = await buffers.take('a', undefined)
    const third = await buffers.take('b', undefined)
    const waits = ['a1:a', 'b1:b', 'a2:a'].map((name) => buffers.take(name.split(':')[1]!, undefined).then((grant) => { order.push(name); return grant }))
    third.shrink(0)
    await waits[1]
    assert.deepEqual(order, ['b1:b'])
    first.shrink(0)
    second.shrink(0)
    await Promise.all(waits)
    assert.deepEqual(order, ['b1:b', 'a1:a', 'a2:a'])
  })

  it('are waited for so long and no longer, or until it is given up', async () => {
    const clock = new ManualClock()
    const buffers = new ReceiveBuffers({ ...config, windowBytes: 64, buffersBytesMax: 64 }, clock)
    const grant = await buffers.take('a', undefined)
    const late = buffers.take('a', undefined)
    const abort = new AbortController()
    const aborted = buffers.take('a', abort.signal)
    abort.abort()
    await assert.rejects(aborted, { code: 'CANCELLED' })
    await assert.rejects(buffers.take('a', abort.signal), { code: 'CANCELLED' })
    clock.advance(1000)
    await assert.rejects(late, (error: PlatformError) => error.code === 'QUEUE_TIMEOUT' && /64 of this worker's 64 bytes/.test(error.message))
    grant.shrink(0)
    grant.shrink(0)
    assert.equal(buffers.outBytes, 0)
  })
})
