/**
 * Goal: put and get keep their promises as the worker sees them: all of it or an error, exact counts, exact accounts, and nothing left over.
 *
 * Method: one worker over real bodies, small bounds, and a clock that moves when told. Objects of other workers are in pulls.test.ts, chance is in
 * transfers.simulation.test.ts.
 */
import assert from 'node:assert/strict'
import { openSync } from 'node:fs'
import { Readable } from 'node:stream'
import { describe, test } from 'node:test'
import { HeldBody } from '#contract/held-body.ts'
import { PlatformError } from '#contract/errors.ts'
import { mountSmallDisk } from '#store/small-disk.ts'
import { RERUNS_MAX } from './lost-producers.ts'
import { openReference } from './reference.ts'
import { fileBodies } from './spill.ts'
import type { NewBody } from './spill.ts'
import { collect, content, producer, readAll, settle, testGround, until, withCode } from './transfer.fake.ts'
import type { Transfers } from './transfers.ts'

const BYTES = 100_000

function sums(transfers: Transfers): number[] {
  const { objects, leases, memoryBytes, fileBytes, waiting } = transfers.usage()
  return [objects, leases, memoryBytes, fileBytes, waiting]
}

describe('Transfers', () => {
  for (const bytes of [0, 1, 16 * 1024, BYTES]) {
    test(`gives ${bytes} bytes back as they were put, as a body and as a stream, and then nothing is left (X2, X3)`, async (context) => {
      const { transfers: make, body, descriptors } = testGround(context)
      const transfers = make()
      const references = [
        await transfers.put(producer(), body(content(bytes)), { n: 2, ordinal: 0 }),
        await transfers.putStream(producer(), Readable.from(bytes === 0 ? [] : [content(bytes)]), { n: 2, ordinal: 1 }),
      ]
      for (const reference of references) {
        const whole = await transfers.get('n', reference)
        assert.deepEqual([whole.as, readAll(whole.body), whole.bytes], ['body', content(bytes), bytes])
        whole.done()
        const stream = await transfers.get('n', reference, { asStream: true })
        assert.deepEqual([stream.as, await collect(stream.body), stream.bytes], ['stream', content(bytes), bytes])
        stream.done()
        await assert.rejects(transfers.get('n', reference), withCode('OBJECT_USED_UP'))
      }
      assert.deepEqual(sums(transfers), [0, 0, 0, 0, 0])
      assert.equal(descriptors(), 0)
    })
  }

  test('puts few bytes and gets them at once, as a copy of what was given; what needs more takes its time (X1, X3)', async (context) => {
    const { transfers: make, body } = testGround(context)
    const transfers = make({ memoryBytesMax: BYTES, fileBytesMax: 0 })
    for (const bytes of [0, 1, 16 * 1024]) {
      const given = content(bytes)
      const reference = transfers.putNow(producer(), given, { ordinal: 0 })!
      given.fill(0xee)
      assert.throws(() => transfers.getNow('m', reference), withCode('REFERENCE_INVALID'))
      assert.deepEqual(transfers.getNow('n', reference), content(bytes))
      assert.equal(transfers.getNow('n', reference), undefined)
      await assert.rejects(transfers.get('n', reference), withCode('OBJECT_USED_UP'))
    }
    assert.deepEqual(sums(transfers), [0, 0, 0, 0, 0])
    assert.throws(() => transfers.putNow(producer(), content(1), { n: 0, ordinal: 0 }), withCode('INPUT_INVALID'))
    assert.equal(transfers.putNow(producer(), content(16 * 1024 + 1), { ordinal: 0 }), undefined)
    const large = await transfers.put(producer(), body(content(BYTES)), { ordinal: 0 })
    assert.deepEqual([transfers.putNow(producer(), content(1), { ordinal: 1 }), transfers.getNow('n', large)], [undefined, undefined])
    transfers.close()
    assert.throws(() => transfers.putNow(producer(), content(1), { ordinal: 2 }), withCode('STOPPING'))
    assert.throws(() => transfers.getNow('n', large), withCode('STOPPING'))
  })

  test('keeps an object once for each put, for as long as it said, ten minutes otherwise', async (context) => {
    const { transfers: make, body, clock } = testGround(context)
    const transfers = make()
    const short = await transfers.put(producer(), body(content(10)), { t: 1000, ordinal: 0 })
    const usual = await transfers.put(producer(), body(content(10)), { ordinal: 1 })
    clock.advance(1000)
    await assert.rejects(transfers.get('n', short), withCode('OBJECT_EXPIRED'))
    clock.advance(599_000 - 1)
    ;(await transfers.get('n', usual)).failed()
    clock.advance(1)
    await assert.rejects(transfers.get('n', usual), withCode('OBJECT_EXPIRED'))
    assert.deepEqual(sums(transfers), [0, 0, 0, 0, 0])
  })

  test('refuses terms out of range with their range, and lets the body go', async (context) => {
    const { transfers: make, body, descriptors } = testGround(context)
    const transfers = make()
    for (const terms of [{ n: 0 }, { n: 1.5 }, { n: 1_000_001 }, { t: 0 }, { t: 86_400_001 }, { n: Number.NaN }]) {
      await assert.rejects(transfers.put(producer(), body(content(BYTES)), { ...terms, ordinal: 0 }), withCode('INPUT_INVALID'))
      await assert.rejects(transfers.putStream(producer(), Readable.from([]), { ...terms, ordinal: 0 }), withCode('INPUT_INVALID'))
    }
    assert.equal(descriptors(), 0)
  })

  test('a reference says who put it and which put it was, to the platform alone', async (context) => {
    const { transfers: make, body, keys } = testGround(context)
    const reference = await make().put(producer({ function: 'resize', invocation: 'a'.repeat(32) }), body(content(1)), { ordinal: 7 })
    const { object, ...rest } = openReference(keys, 'n', reference)
    assert.deepEqual(rest, { worker: 'w1', invocation: 'a'.repeat(32), function: 'resize', ordinal: 7 })
    await assert.rejects(make().get('other', reference), withCode('REFERENCE_INVALID'))
  })

  test('moves the oldest object to a file when memory is full; it is got from there', async (context) => {
    const { transfers: make, body } = testGround(context)
    const transfers = make({ memoryBytesMax: 2 * BYTES })
    const references: string[] = []
    for (let ordinal = 0; ordinal < 3; ordinal++) references.push(await transfers.put(producer(), body(content(BYTES, ordinal)), { ordinal }))
    assert.deepEqual(sums(transfers), [3, 0, 2 * BYTES, BYTES, 0])
    const places: string[] = []
    for (const [seed, reference] of references.entries()) {
      const got = await transfers.get('n', reference)
      places.push(got.place)
      assert.deepEqual(readAll(got.body), content(BYTES, seed))
      got.done()
    }
    assert.deepEqual(places, ['file', 'memory', 'memory'])
    assert.deepEqual(sums(transfers), [0, 0, 0, 0, 0])
  })

  test("objects take their share of an instance's memory and no more; what it leaves behind is its namespace's", async (context) => {
    const { transfers: make, body } = testGround(context)
    const transfers = make()
    const small = producer({ memoryMb: 0.2, instance: 'small' })
    const first = await transfers.put(small, body(content(BYTES)), { ordinal: 0 })
    await transfers.put(small, body(content(BYTES)), { ordinal: 1 })
    assert.deepEqual(sums(transfers), [2, 0, BYTES, BYTES, 0])
    transfers.instanceEnded('small')
    await transfers.put(small, body(content(BYTES)), { ordinal: 2 })
    assert.deepEqual(sums(transfers), [3, 0, 2 * BYTES, BYTES, 0])
    assert.deepEqual(transfers.usage().namespaces, [{ namespace: 'n', memoryBytes: 2 * BYTES, fileBytes: BYTES }])
    const got = await transfers.get('n', first)
    assert.deepEqual(readAll(got.body), content(BYTES))
    got.done()
  })

  test('a producer waits for room, and goes on when an object is let go', async (context) => {
    const { transfers: make, body } = testGround(context)
    const transfers = make({ namespaceBytesMax: BYTES })
    const first = await transfers.put(producer(), body(content(BYTES)), { ordinal: 0 })
    const second = transfers.put(producer({ instance: 'i2' }), body(content(BYTES, 2)), { ordinal: 0 })
    await settle()
    assert.equal(transfers.usage().waiting, 1)
    ;(await transfers.get('n', first)).done()
    const got = await transfers.get('n', await second)
    assert.deepEqual(readAll(got.body), content(BYTES, 2))
    got.done()
    assert.deepEqual(sums(transfers), [0, 0, 0, 0, 0])
  })

  test('a producer that waits too long, or gives up, leaves nothing (X1)', async (context) => {
    const { transfers: make, body, clock, descriptors } = testGround(context)
    const transfers = make({ namespaceBytesMax: BYTES, roomWaitMs: 1000 })
    const first = await transfers.put(producer(), body(content(BYTES)), { ordinal: 0 })
    const abort = new AbortController()
    const waiting = [
      transfers.put(producer(), body(content(BYTES)), { ordinal: 1 }),
      transfers.putStream(producer(), Readable.from([content(BYTES)]), { ordinal: 2 }),
      transfers.put(producer(), body(content(BYTES)), { ordinal: 3 }, { signal: abort.signal }),
    ]
    await until(() => transfers.usage().waiting === 3)
    abort.abort()
    await assert.rejects(waiting[2]!, withCode('CANCELLED'))
    clock.advance(1000)
    for (const one of waiting.slice(0, 2)) await assert.rejects(one, withCode('OBJECT_QUOTA_EXCEEDED'))
    await assert.rejects(transfers.put(producer(), body(content(BYTES + 1)), { ordinal: 4 }), withCode('OBJECT_QUOTA_EXCEEDED'))
    ;(await transfers.get('n', first)).done()
    assert.deepEqual([...sums(transfers), descriptors()], [0, 0, 0, 0, 0, 0])
  })

  test('when the disk is full, objects stay in memory and whole, and a producer is told STORE_FULL in the end', async (context) => {
    const disk = mountSmallDisk(64 * 1024)
    if (disk === undefined) return context.skip('this user may not mount a tmpfs')
    try {
      const { transfers: make, body, clock, memory } = testGround(context)
      const files = fileBodies(disk.path)
      let refused = 0
      const watched = (body: NewBody): NewBody => ({
        place: 'file',
        get bytes() {
          return body.bytes
        },
        write: (chunk) => body.write(chunk).catch((error: unknown) => (refused++, Promise.reject(error))),
        writeNow: (chunk) => body.writeNow(chunk),
        finish: () => body.finish(),
        discard: () => body.discard(),
      })
      const transfers = make({ memoryBytesMax: BYTES, roomWaitMs: 500 }, { places: { memory, files: { place: 'file', create: () => watched(files.create()) } } })
      const first = await transfers.put(producer(), body(content(BYTES)), { ordinal: 0 })
      const second = transfers.put(producer({ instance: 'i2' }), body(content(BYTES, 2)), { ordinal: 0 })
      const larger = transfers.put(producer({ instance: 'i3' }), body(content(BYTES + 1)), { ordinal: 0 })
      const settled = Promise.allSettled([second, larger])
      await until(() => refused === 1 && transfers.usage().waiting === 2)
      clock.advance(500)
      for (const one of await settled) assert.equal(one.status === 'rejected' && one.reason.code, 'STORE_FULL')
      const got = await transfers.get('n', first)
      assert.deepEqual([got.place, readAll(got.body)], ['memory', content(BYTES)])
      got.done()
      assert.deepEqual(sums(transfers), [0, 0, 0, 0, 0])
    } finally {
      disk.unmount()
    }
  })

  test('a hundred thousand objects are no more descriptors than one', async (context) => {
    const { transfers: make, body, descriptors } = testGround(context)
    const transfers = make()
    for (let ordinal = 0; ordinal < 2000; ordinal++) await transfers.put(producer(), body(content(10)), { ordinal })
    assert.deepEqual([transfers.usage().objects, descriptors()], [2000, 0])
  })

  test('accounts for what travels by value until its last holder lets it go', (context) => {
    const { transfers: make, body, descriptors } = testGround(context)
    const transfers = make({ namespaceBytesMax: BYTES })
    const sealed = body(content(BYTES))
    const held = transfers.hold(producer(), sealed.fd, BYTES)
    held.retain()
    assert.equal(transfers.usage().memoryBytes, BYTES)
    assert.throws(() => transfers.hold(producer(), sealed.fd, 1), withCode('OBJECT_QUOTA_EXCEEDED'))
    held.release()
    assert.equal(transfers.usage().memoryBytes, BYTES)
    held.release()
    assert.deepEqual([transfers.usage().memoryBytes, descriptors()], [0, 0])
  })

  test('an I/O error of a body is an error for its producer, and leaves nothing', async (context) => {
    const { transfers: make } = testGround(context)
    const transfers = make({ memoryBytesMax: BYTES / 2 })
    // It says it is longer than it is.
    await assert.rejects(transfers.put(producer(), new HeldBody(openSync('/dev/null', 'r'), BYTES), { ordinal: 0 }), withCode('STORE_FAILED'))
    await assert.rejects(transfers.put(producer(), new HeldBody(openSync('/dev/null', 'r'), 10), { ordinal: 0 }))
    assert.deepEqual(sums(transfers), [0, 0, 0, 0, 0])
  })

  test('when it is closed everything goes, also what was under way', async (context) => {
    const { transfers: make, body, descriptors } = testGround(context)
    const transfers = make({ namespaceBytesMax: 2 * BYTES })
    const reference = await transfers.put(producer(), body(content(BYTES)), { n: 1, ordinal: 0 })
    const held = await transfers.get('n', reference)
    const waiting = [
      transfers.get('n', reference),
      transfers.put(producer(), body(content(2 * BYTES)), { ordinal: 1 }),
      transfers.putStream(producer(), Readable.from([content(20_000)]), { ordinal: 2 }),
    ]
    await until(() => transfers.usage().waiting === 2)
    transfers.close()
    for (const one of await Promise.allSettled(waiting)) assert.equal(one.status === 'rejected' && one.reason.code, 'STOPPING')
    held.done()
    for (const one of [transfers.get('n', reference), transfers.put(producer(), body(content(1)), { ordinal: 3 }), transfers.serve('x')]) await assert.rejects(one, withCode('STOPPING'))
    assert.deepEqual([...sums(transfers), descriptors()], [0, 0, 0, 0, 0, 0])
  })
})

describe('a lost object', () => {
  test('is made again when its function allows it: one run for all who want it', async (context) => {
    const ground = testGround(context)
    let runs = 0
    const reference = await ground.transfers().put(producer(), ground.body(content(BYTES)), { n: 3, ordinal: 5 })
    const restarted = ground.transfers({}, {
      async rerun(namespace, contents) {
        runs++
        assert.deepEqual([namespace, contents.function, contents.ordinal], ['n', 'f', 5])
        await settle()
        return restarted.put(producer(), ground.body(content(BYTES)), { n: 3, ordinal: 5 })
      },
    })
    const got = [...(await Promise.all([restarted.get('n', reference), restarted.get('n', reference)])), await restarted.get('n', reference)]
    for (const one of got) {
      assert.deepEqual(readAll(one.body), content(BYTES))
      one.done()
    }
    await assert.rejects(restarted.get('n', reference), withCode('OBJECT_USED_UP'))
    assert.equal(runs, 1)
  })

  test(`is given up after ${RERUNS_MAX} runs whose objects are lost again`, async (context) => {
    const ground = testGround(context)
    let runs = 0
    const elsewhere = (): Promise<string> => ground.transfers().put(producer(), ground.body(content(10)), { ordinal: 0 })
    const restarted = ground.transfers({}, { rerun: () => (runs++, elsewhere()) })
    await assert.rejects(restarted.get('n', await elsewhere()), withCode('OBJECT_LOST'))
    assert.equal(runs, RERUNS_MAX)
  })

  test('stays lost when its function does not allow it, or fails; then the next consumer tries again', async (context) => {
    const ground = testGround(context)
    let runs = 0
    const reference = await ground.transfers().put(producer(), ground.body(content(10)), { ordinal: 0 })
    for (const rerun of [async () => (runs++, undefined), async () => (runs++, Promise.reject(new PlatformError('FUNCTION_THREW', 'no')))]) {
      const restarted = ground.transfers({}, { rerun })
      for (let time = 0; time < 2; time++) {
        await assert.rejects(restarted.get('n', reference), (error: PlatformError) => {
          assert.deepEqual([error.code, error.details], ['OBJECT_LOST', { function: 'f', invocation: '0'.repeat(32) }])
          return true
        })
      }
    }
    assert.equal(runs, 4)
  })

  test('a consumer may give up waiting for the run, which goes on for others', async (context) => {
    const ground = testGround(context)
    const reference = await ground.transfers().put(producer(), ground.body(content(10)), { n: 2, ordinal: 0 })
    const { promise, resolve } = Promise.withResolvers<void>()
    const restarted = ground.transfers({}, { rerun: async () => (await promise, restarted.put(producer(), ground.body(content(10)), { ordinal: 0 })) })
    const abort = new AbortController()
    const [first, second] = [restarted.get('n', reference, { signal: abort.signal }), restarted.get('n', reference)]
    abort.abort()
    await assert.rejects(first, withCode('CANCELLED'))
    resolve()
    ;(await second).done()
  })
})
