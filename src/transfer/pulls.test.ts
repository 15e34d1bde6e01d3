/**
 * Goal: consumers on one host share the bytes of a remote object and nothing else: each counts, leaves and fails for itself, and gets all of it or an error.
 *
 * Method: two workers' Transfers, joined without a wire; streams are broken and consumers leave at every point; what crosses is counted.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import type { TransferConfig } from './config.ts'
import { collect, content, producer, readAll, settle, testGround, until, wireBetween, withCode } from './transfer.fake.ts'
import type { Transfers } from './transfers.ts'

const BYTES = 700_000

function twoWorkers(context: TestContext, config: Partial<TransferConfig> = {}) {
  const ground = testGround(context)
  const workers = new Map<string, Transfers>()
  const wire = wireBetween(workers)
  const there = ground.transfers()
  const here = ground.transfers(config, { worker: 'w2', peers: wire.peers })
  workers.set('w1', there)
  return {
    ...ground,
    ...wire,
    there,
    here,
    put: (retrievals: number, bytes = BYTES) => there.put(producer(), ground.body(content(bytes)), { n: retrievals, ordinal: 0 }),
    assertNothingLeft() {
      for (const transfers of [here, there]) {
        const { objects, leases, memoryBytes, fileBytes, descriptors, waiting, flights } = transfers.usage()
        assert.deepEqual([objects, leases, memoryBytes, fileBytes, descriptors, waiting, flights], [0, 0, 0, 0, 0, 0, 0])
      }
      assert.equal(ground.descriptors(), 0)
    },
  }
}

describe('an object of another worker', () => {
  for (const bytes of [0, 10, BYTES]) {
    test(`of ${bytes} bytes comes as a body or as a stream, and counts once each`, async (context) => {
      const { here, put, assertNothingLeft } = twoWorkers(context)
      const reference = await put(2, bytes)
      const one = await here.get('n', reference)
      assert.deepEqual([readAll(one.body), one.bytes], [content(bytes), bytes])
      one.done()
      const two = await here.get('n', reference, { asStream: true })
      assert.deepEqual([await collect(two.body), two.bytes], [content(bytes), bytes])
      two.done()
      await assert.rejects(here.get('n', reference), withCode('OBJECT_USED_UP'))
      await settle()
      assertNothingLeft()
    })
  }

  test('crosses once for consumers that come together, and each counts as a retrieval', async (context) => {
    const { here, put, crossed, assertNothingLeft } = twoWorkers(context)
    const reference = await put(4)
    const got = await Promise.all([1, 2, 3].map(() => here.get('n', reference)))
    const late = await here.get('n', reference, { asStream: true })
    assert.deepEqual(crossed, { pulls: 1, leases: 3 })
    assert.equal(here.usage().memoryBytes, BYTES)
    for (const one of got) {
      assert.deepEqual(readAll(one.body), content(BYTES))
      one.done()
    }
    assert.deepEqual(await collect(late.body), content(BYTES))
    late.done()
    await settle()
    assertNothingLeft()
  })

  test('one more consumer than retrievals waits for how the others end, and is told', async (context) => {
    const { here, put, assertNothingLeft } = twoWorkers(context)
    const reference = await put(1)
    const first = await here.get('n', reference)
    const second = here.get('n', reference)
    const third = here.get('n', reference)
    await settle()
    first.failed()
    const got = await second
    assert.deepEqual(readAll(got.body), content(BYTES))
    got.done()
    await assert.rejects(third, withCode('OBJECT_USED_UP'))
    await settle()
    assertNothingLeft()
  })

  test('the first consumer may leave in the middle: the others get everything (G2)', async (context) => {
    const { here, there, put, crossed, streams, assertNothingLeft } = twoWorkers(context)
    const reference = await put(2)
    const abort = new AbortController()
    const first = here.get('n', reference, { signal: abort.signal })
    const second = here.get('n', reference)
    await until(() => streams.length === 1)
    abort.abort()
    await assert.rejects(first, withCode('CANCELLED'))
    const got = await second
    assert.deepEqual(readAll(got.body), content(BYTES))
    got.done()
    assert.deepEqual(crossed, { pulls: 1, leases: 1 })
    assert.equal(there.usage().objects, 1)
    const again = await here.get('n', reference)
    again.done()
    await settle()
    assertNothingLeft()
  })

  test('when all leave in the middle, the pull is given up and nothing has counted (G1)', async (context) => {
    const { here, put, streams, assertNothingLeft } = twoWorkers(context)
    const reference = await put(1)
    for (const turns of [0, 1, 3, 10]) {
      const abort = new AbortController()
      const all = Promise.allSettled([here.get('n', reference, { signal: abort.signal }), here.get('n', reference, { signal: abort.signal })])
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
      abort.abort()
      for (const one of await all) {
        if (one.status === 'fulfilled') one.value.failed()
        else assert.equal(one.reason.code, 'CANCELLED')
      }
      await until(() => streams.every((stream) => stream.destroyed))
    }
    const got = await here.get('n', reference)
    assert.deepEqual(readAll(got.body), content(BYTES))
    got.done()
    await settle()
    assertNothingLeft()
  })

  test('when its stream breaks, nobody gets a part of it and nothing has counted (G3)', async (context) => {
    const { here, put, streams, assertNothingLeft } = twoWorkers(context)
    const reference = await put(3)
    for (const error of [new PlatformError('TRANSFER_BROKEN', 'It broke.'), new Error('ECONNRESET')]) {
      const waiting = Promise.allSettled([1, 2, 3].map(() => here.get('n', reference)))
      const count = streams.length
      await until(() => streams.length > count)
      streams.at(-1)!.destroy(error)
      for (const one of await waiting) assert.equal(one.status === 'rejected' && one.reason.code, 'TRANSFER_BROKEN')
    }
    // A stream that only ends too early.
    const count = streams.length
    const short = here.get('n', reference)
    await until(() => streams.length > count)
    streams.at(-1)!.push(null)
    await assert.rejects(short, withCode('TRANSFER_BROKEN'))
    for (let time = 0; time < 3; time++) {
      const got = await here.get('n', reference)
      assert.deepEqual(readAll(got.body), content(BYTES))
      got.done()
    }
    await settle()
    assertNothingLeft()
  })

  test('a stream straight through takes no room here; given up, it does not count', async (context) => {
    const { here, put, assertNothingLeft } = twoWorkers(context, { memoryBytesMax: 0, fileBytesMax: 0 })
    const reference = await put(1)
    const first = await here.get('n', reference, { asStream: true })
    for await (const chunk of first.body) {
      assert(chunk.length > 0)
      break
    }
    first.failed()
    const second = await here.get('n', reference, { asStream: true })
    assert.deepEqual(await collect(second.body), content(BYTES))
    second.done()
    await settle()
    assertNothingLeft()
  })

  test('is refused when there is no room for it here, and has not counted', async (context) => {
    const { here, put, there, descriptors } = twoWorkers(context, { memoryBytesMax: BYTES - 1, fileBytesMax: BYTES - 1 })
    const reference = await put(1)
    await assert.rejects(here.get('n', reference), withCode('OBJECT_QUOTA_EXCEEDED'))
    await settle()
    assert.deepEqual([there.usage().objects, there.usage().leases, here.usage().memoryBytes, descriptors()], [1, 0, 0, 1])
  })

  test('is lost with its worker, and the error says what to run again', async (context) => {
    const { here, there, put, keys } = twoWorkers(context)
    const reference = await put(1)
    there.close()
    await assert.rejects(here.get('n', reference), withCode('STOPPING'))
    const alone = testGround(context).transfers({}, { worker: 'w3', keys })
    await assert.rejects(alone.get('n', reference), (error: PlatformError) => {
      assert.deepEqual([error.code, error.details], ['OBJECT_LOST', { function: 'f', invocation: '0'.repeat(32) }])
      return true
    })
  })

  test('whoever waits for it is told when this worker stops', async (context) => {
    const { here, put } = twoWorkers(context)
    const reference = await put(1)
    const waiting = here.get('n', reference)
    here.close()
    await assert.rejects(waiting, withCode('STOPPING'))
    await settle()
    assert.equal(here.usage().memoryBytes, 0)
  })
})
