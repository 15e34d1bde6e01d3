/**
 * Goal: a consumer on another worker gets all of an object or an error, every lease is settled, and nobody is stopped by somebody else (E1 to E3, I1 to I3, V1, V2, K1, T1, T2).
 * Method: two or three workers' ends in one process, over loopback, with TLS and real bodies. Faults are made by closing sockets, gating leases, and
 * bodies that cannot be read. Peers that break the protocol are in hostile-peers.test.ts, other processes and hosts in network.test.ts.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { systemClock } from '#base/clock.ts'
import type { Place } from '../peers.ts'
import { sharedMemory } from '../shared-memory.ts'
import { makeCredentials } from './certificates.ts'
import { remoteDefaults } from './config.ts'
import { collect, GROUP_KEY, someBytes, startEnds } from './remote.fake.ts'
import type { End } from './remote.fake.ts'
import { TransferClient } from './transfer-client.ts'

const KB = 1024
const places: readonly Place[] = sharedMemory() === undefined ? ['file'] : ['memory', 'file']
const SMALL = { windowBytes: 64 * KB, windowBytesMin: 64 * KB, chunkBytes: 64 * KB }

describe('transfers between workers', () => {
  it('bring every length whole, and count as one retrieval each (I1, E1)', async () => {
    const [producer, consumer] = await startTwo()
    await using _ = both(producer, consumer)
    const lengths = [0, 1, 64 * KB - 1, 64 * KB, 64 * KB + 1, 128 * KB, 128 * KB + 1, 1024 * KB, 1024 * KB + 1, 9_999_999]
    for (const [length, place] of lengths.flatMap((length) => places.map((place) => [length, place] as const))) {
      const bytes = someBytes(length)
      producer.objects.put('o', bytes, place)
      const pull = await consumer.client.pull('producer', 'o')
      assert.equal(pull.bytes, length)
      assert.ok((await collect(pull.stream)).equals(bytes), `${length} bytes of ${place} are others`)
      pull.done()
      pull.failed()
    }
    await producer.objects.until(() => producer.objects.done === lengths.length * places.length)
    assert.equal(producer.objects.failed, 0)
    assert.equal(consumer.client.bufferBytes, 0)
    assert.equal(consumer.client.connections, 1)
  })

  it('map memory only while it is sent, and not longer when nobody wants the rest (O2)', { skip: places.length === 1 && 'no shared memory here' }, async () => {
    const [producer, consumer] = await startTwo()
    await using _ = both(producer, consumer)
    const bytes = someBytes(9_999_999)
    producer.objects.put('o', bytes)
    const whole = await consumer.client.pull('producer', 'o')
    const iterator = whole.stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    const first = (await iterator.next()).value as Buffer
    assert.ok(mappedMemories() > 0, 'the rest is being sent')
    const rest = await collect({ [Symbol.asyncIterator]: () => iterator })
    assert.ok(Buffer.concat([first, rest]).equals(bytes))
    whole.done()
    const broken = await consumer.client.pull('producer', 'o')
    for await (const _piece of broken.stream) break
    broken.failed()
    await producer.objects.until(() => producer.objects.done + producer.objects.failed === 2)
    // The frame that ends the second one has crossed what was under way.
    const last = await consumer.client.pull('producer', 'o')
    await collect(last.stream)
    last.done()
    await producer.objects.until(() => producer.objects.done === 2)
    assert.equal(mappedMemories(), 0)
  })

  it('do so with windows and chunks of any size, for many at once over two connections (I2, T2)', async () => {
    for (const sizes of [{ windowBytes: 1000, windowBytesMin: 1000, chunkBytes: 77 }, { windowBytes: 100 * KB, windowBytesMin: 7, chunkBytes: 64 * KB }, { windowBytes: 4096 * KB, chunkBytes: 300 * KB }]) {
      const [producer, consumer] = await startTwo(sizes)
      await using _ = both(producer, consumer)
      const objects = Array.from({ length: 16 }, (_, index) => someBytes(index * 20 * sizes.chunkBytes % 300_007))
      objects.forEach((bytes, index) => producer.objects.put(`o${index}`, bytes))
      await Promise.all(objects.map(async (bytes, index) => {
        const pull = await consumer.client.pull('producer', `o${index}`)
        assert.ok((await collect(pull.stream)).equals(bytes))
        pull.done()
      }))
      assert.equal(consumer.client.connections, 2)
      await producer.objects.until(() => producer.objects.done === objects.length)
      assert.equal(consumer.client.bufferBytes, 0)
    }
  })

  it('give the first bytes when the last have not been sent (cut-through)', async () => {
    const [producer, consumer] = await startTwo(SMALL)
    await using _ = both(producer, consumer)
    const bytes = someBytes(2_000_000)
    producer.objects.put('o', bytes)
    const pull = await consumer.client.pull('producer', 'o')
    const iterator = pull.stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    const first = (await iterator.next()).value as Buffer
    // The window bounds what can have been sent by now.
    assert.ok(first.length > 0 && first.equals(bytes.subarray(0, first.length)))
    assert.equal(producer.objects.open, 1)
    const rest = await collect({ [Symbol.asyncIterator]: () => iterator })
    assert.ok(Buffer.concat([first, rest]).equals(bytes))
    pull.done()
  })

  it('stop for a consumer that does not read, and nobody else stops with them', async () => {
    const [producer, consumer] = await startTwo({ ...SMALL, connectionsPerPeer: 1 })
    await using _ = both(producer, consumer)
    const bytes = someBytes(1_000_000)
    producer.objects.put('o', bytes)
    const stalled = await Promise.all(Array.from({ length: 20 }, () => consumer.client.pull('producer', 'o')))
    for (let round = 0; round < 5; round++) {
      const pull = await consumer.client.pull('producer', 'o')
      assert.ok((await collect(pull.stream)).equals(bytes))
      pull.done()
    }
    assert.equal(consumer.client.connections, 1)
    assert.ok(stalled.every(({ stream }) => stream.readableLength <= 64 * KB))
    assert.equal(consumer.client.bufferBytes, 20 * 64 * KB)
    // They have lost nothing by waiting.
    for (const { stream, done } of stalled) {
      assert.ok((await collect(stream)).equals(bytes))
      done()
    }
    await producer.objects.until(() => producer.objects.done === 25)
  })

  it('do not wait for each other in a circle, with all buffers of both full', async () => {
    const full = 4
    const [a, b] = await startTwo({ ...SMALL, buffersBytesMax: full * 64 * KB, namespaceBuffersBytesMax: full * 64 * KB, connectionsPerPeer: 1 })
    await using _ = both(a, b)
    const bytes = someBytes(600_000)
    a.objects.put('o', bytes)
    b.objects.put('o', bytes)
    const toA = await Promise.all(Array.from({ length: full }, () => a.client.pull(b.name, 'o')))
    const toB = await Promise.all(Array.from({ length: full }, () => b.client.pull(a.name, 'o')))
    // These wait for buffers, on both sides.
    const late = [a.client.pull(b.name, 'o'), b.client.pull(a.name, 'o')]
    assert.deepEqual([a.client.bufferBytes, b.client.bufferBytes], [full * 64 * KB, full * 64 * KB])
    // Each stream to A is read a piece ahead of one to B, so that each worker's progress hangs on the other's.
    for (let index = 0; index < full; index++) assert.ok(await inLockstep(toA[index]!.stream, toB[index]!.stream, bytes))
    for (const pull of await Promise.all(late)) assert.ok((await collect(pull.stream)).equals(bytes))
    assert.deepEqual([a.client.bufferBytes, b.client.bufferBytes], [0, 0])
  })

  it('end with TRANSFER_BROKEN when the connection breaks in the middle, and the lease is given back (E1, K1, V2)', async () => {
    const [producer, consumer] = await startTwo(SMALL)
    await using _ = both(producer, consumer)
    producer.objects.put('o', someBytes(5_000_000))
    const pull = await consumer.client.pull('producer', 'o')
    const other = await consumer.client.pull('producer', 'o')
    await once(pull.stream, 'readable')
    const broken = assert.rejects(collect(pull.stream), { code: 'TRANSFER_BROKEN' })
    await producer.server.close()
    await broken
    await assert.rejects(collect(other.stream), { code: 'TRANSFER_BROKEN' })
    pull.done()
    await producer.objects.until(() => producer.objects.failed === 2)
    assert.equal(producer.objects.done, 0)
    assert.equal(consumer.client.bufferBytes, 0)
    assert.equal(consumer.client.connections, 0)
    await assert.rejects(consumer.client.pull('producer', 'o'), (error: Error & { code: string }) => error.code === 'TRANSFER_BROKEN' && /ECONNREFUSED/.test(error.message))
  })

  it('that are whole when the connection breaks are whole for the consumer, too', async () => {
    const [producer, consumer] = await startTwo({ connectionsPerPeer: 1 })
    await using _ = both(producer, consumer)
    const bytes = someBytes(500_000)
    producer.objects.put('o', bytes)
    const pull = await consumer.client.pull('producer', 'o')
    // Streams take turns, so that when the second has come, the first has, too: within its window, unread.
    const second = await consumer.client.pull('producer', 'o')
    assert.ok((await collect(second.stream)).equals(bytes))
    second.done()
    await producer.objects.until(() => producer.objects.done === 1)
    await producer.server.close()
    await producer.objects.until(() => producer.objects.failed === 1)
    await until(() => consumer.client.connections === 0)
    assert.ok((await collect(pull.stream)).equals(bytes))
    pull.done()
    assert.equal(consumer.client.bufferBytes, 0)
  })

  it('that a consumer closes stop, and the lease is the consumer\'s to settle (E3)', async () => {
    const [producer, consumer] = await startTwo(SMALL)
    await using _ = both(producer, consumer)
    producer.objects.put('o', someBytes(5_000_000))
    const pull = await consumer.client.pull('producer', 'o')
    await once(pull.stream, 'readable')
    pull.stream.destroy()
    await once(pull.stream, 'close')
    assert.equal(consumer.client.bufferBytes, 0)
    // A whole other transfer goes by, over the same connection: had the lease been settled by the closing, it would be by now.
    producer.objects.put('p', someBytes(200_000))
    const other = await consumer.client.pull('producer', 'p')
    await collect(other.stream)
    other.done()
    await producer.objects.until(() => producer.objects.done === 1)
    assert.equal(producer.objects.open, 1)
    pull.failed()
    await producer.objects.until(() => producer.objects.failed === 1)
  })

  it('that are given up before the answer leave no lease (T1)', async () => {
    const [producer, consumer] = await startTwo()
    await using _ = both(producer, consumer)
    producer.objects.put('o', someBytes(10))
    const open = Promise.withResolvers<void>()
    producer.objects.gate = open.promise
    const abort = new AbortController()
    const pulls = [consumer.client.pull('producer', 'o', { signal: abort.signal }), consumer.client.lease('producer', 'o', { signal: abort.signal })]
    const patient = consumer.client.pull('producer', 'o')
    const rejected = pulls.map((pull) => assert.rejects(pull, { code: 'CANCELLED' }))
    await until(() => producer.objects.asked === 3)
    abort.abort()
    await Promise.all(rejected)
    open.resolve()
    const pull = await patient
    await collect(pull.stream)
    pull.done()
    await producer.objects.until(() => producer.objects.done === 1 && producer.objects.failed === 2)
    await assert.rejects(consumer.client.pull('producer', 'o', { signal: abort.signal }), { code: 'CANCELLED' })
    assert.equal(consumer.client.bufferBytes, 0)
  })

  it('lease without bytes for consumers that share them', async () => {
    const [producer, consumer] = await startTwo()
    await using _ = both(producer, consumer)
    producer.objects.put('o', someBytes(1000))
    const [one, other] = await Promise.all([consumer.client.lease('producer', 'o'), consumer.client.lease('producer', 'o')])
    assert.deepEqual([one.bytes, other.bytes], [1000, 1000])
    one.done()
    other.failed()
    await producer.objects.until(() => producer.objects.done === 1 && producer.objects.failed === 1)
  })

  it('hand on the error that the producer\'s worker has, and those that there is no worker', async () => {
    const [producer, consumer] = await startTwo()
    await using _ = both(producer, consumer)
    await assert.rejects(consumer.client.pull('producer', 'unknown'), { code: 'OBJECT_LOST', message: 'there is no unknown' })
    await assert.rejects(consumer.client.lease('producer', 'unknown'), { code: 'OBJECT_LOST' })
    await assert.rejects(consumer.client.pull('nobody', 'o'), { code: 'OBJECT_LOST' })
    assert.equal(consumer.client.bufferBytes, 0)
  })

  it('of a body that cannot be read end with an error, and others go on', async () => {
    const [producer, consumer] = await startTwo({ connectionsPerPeer: 1 })
    await using _ = both(producer, consumer)
    const bytes = someBytes(3_000_000)
    producer.objects.put('good', bytes)
    producer.objects.putUnreadable('bad', 100_000)
    const good = await consumer.client.pull('producer', 'good')
    const bad = await consumer.client.pull('producer', 'bad')
    await assert.rejects(collect(bad.stream), { code: 'TRANSFER_BROKEN' })
    bad.done()
    assert.ok((await collect(good.stream)).equals(bytes))
    good.done()
    await producer.objects.until(() => producer.objects.failed === 1 && producer.objects.done === 1)
  })

  it('have a bound on what one connection may ask for at a time', async () => {
    const [producer, consumer] = await startTwo({ requestsPerConnectionMax: 3, connectionsPerPeer: 1 })
    await using _ = both(producer, consumer)
    producer.objects.put('o', someBytes(10))
    const held = await Promise.all([1, 2, 3].map(() => consumer.client.lease('producer', 'o')))
    await assert.rejects(consumer.client.lease('producer', 'o'), { code: 'QUEUE_FULL' })
    for (const lease of held) lease.done()
    ;(await consumer.client.lease('producer', 'o')).done()
  })

  it('take new connections when the old ones are worn out, and close those that are idle', async () => {
    const [producer, consumer] = await startTwo({ connectionBytesMax: 50_000, idleMs: 20 })
    await using _ = both(producer, consumer)
    producer.objects.put('o', someBytes(100_000))
    for (let round = 0; round < 3; round++) {
      const pull = await consumer.client.pull('producer', 'o')
      await collect(pull.stream)
      pull.done()
      await until(() => consumer.client.connections === 0)
    }
    await producer.objects.until(() => producer.objects.done === 3)
  })

  it('go where the worker is now', async () => {
    const [former, later] = (await startEnds(['w', 'w'])) as [End, End]
    await using _ = both(former, later)
    former.objects.put('o', someBytes(1))
    later.objects.put('o', someBytes(2))
    let address = former.server.address
    const client = new TransferClient({ config: remoteDefaults, clock: systemClock, credentials: makeCredentials('c', [GROUP_KEY]), directory: { find: () => address } })
    assert.equal((await client.lease('w', 'o')).bytes, 1)
    address = later.server.address
    assert.equal((await client.lease('w', 'o')).bytes, 2)
    client.close()
    await former.objects.until(() => former.objects.failed === 1)
    await later.objects.until(() => later.objects.failed === 1)
  })

  it('leave no lease when the connection breaks while it is being given', async () => {
    const [producer, consumer] = await startTwo()
    await using _ = both(producer, consumer)
    producer.objects.put('o', someBytes(10))
    const open = Promise.withResolvers<void>()
    producer.objects.gate = open.promise
    const pull = assert.rejects(consumer.client.pull('producer', 'o'), { code: 'TRANSFER_BROKEN' })
    await until(() => producer.objects.asked === 1)
    await producer.server.close()
    await pull
    open.resolve()
    await producer.objects.until(() => producer.objects.failed === 1)
    assert.equal(producer.objects.open, 0)
    assert.equal(consumer.client.bufferBytes, 0)
  })

  it('do not wait for ever for a worker that accepts and says nothing', async () => {
    const mute = createServer().listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const { port } = mute.address() as AddressInfo
    const client = new TransferClient({ config: { ...remoteDefaults, connectMs: 50 }, clock: systemClock, credentials: makeCredentials('c', [GROUP_KEY]), directory: { find: () => ({ host: '127.0.0.1', port }) } })
    try {
      await assert.rejects(client.pull('w', 'o'), (error: Error & { code: string }) => error.code === 'TRANSFER_BROKEN' && /longer than 50 ms/.test(error.message))
      const waiting = client.pull('w', 'o', { signal: AbortSignal.timeout(10) })
      await assert.rejects(waiting, { code: 'CANCELLED' })
      assert.equal(client.bufferBytes, 0)
    } finally {
      client.close()
      mute.close()
    }
  })

  it('end with STOPPING on a worker that stops', async () => {
    const [producer, consumer] = await startTwo(SMALL)
    await using _ = both(producer, consumer)
    producer.objects.put('o', someBytes(1_000_000))
    const pull = await consumer.client.pull('producer', 'o')
    consumer.client.close()
    await assert.rejects(collect(pull.stream), { code: 'STOPPING' })
    await assert.rejects(consumer.client.pull('producer', 'o'), { code: 'STOPPING' })
    await producer.objects.until(() => producer.objects.failed === 1)
  })
})

async function startTwo(overrides: Parameters<typeof startEnds>[1] = {}): Promise<[End, End]> {
  return (await startEnds(['producer', 'consumer'], overrides)) as [End, End]
}

/** Of this process: pieces of objects' memory that are mapped. A page or two may be of somebody who tried whether there is such memory. */
function mappedMemories(): number {
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n').filter((line) => line.includes('/memfd:'))
  return maps.map((line) => line.split(' ', 1)[0]!.split('-').map((address) => parseInt(address, 16))).filter(([from, until]) => until! - from! >= 64 * KB).length
}

function both(...ends: readonly End[]): AsyncDisposable {
  return { async [Symbol.asyncDispose]() { for (const end of ends) await end[Symbol.asyncDispose]() } }
}

/** Turns of the event loop until it is so. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

async function inLockstep(one: AsyncIterable<Buffer>, other: AsyncIterable<Buffer>, bytes: Buffer): Promise<boolean> {
  const [left, right] = [one[Symbol.asyncIterator](), other[Symbol.asyncIterator]()]
  const pieces: [Buffer[], Buffer[]] = [[], []]
  for (;;) {
    const a = await left.next()
    if (a.done !== true) pieces[0].push(a.value)
    const b = await right.next()
    if (b.done !== true) pieces[1].push(b.value)
    if (a.done === true && b.done === true) return pieces.every((some) => Buffer.concat(some).equals(bytes))
  }
}
