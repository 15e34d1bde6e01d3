/**
 * Goal: an object is retrieved exactly as often as it was put for, however retrievals break and overlap, and never after its end of life; whoever comes
 * too late is told why.
 *
 * Method: the table alone, over real bodies, with a clock that moves when told; what remains open is counted by descriptors.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { KeptBody } from './kept-body.ts'
import { Ledger } from './ledger.ts'
import { parseObjectId } from './object-id.ts'
import { ObjectTable } from './object-table.ts'
import type { Lease } from './peers.ts'
import { Room } from './room.ts'
import { content, readAll, settle, testGround, withCode } from './transfer.fake.ts'

const BYTES = 20_000

interface TableGround {
  readonly table: ObjectTable
  readonly clock: ManualClock
  readonly ledger: Ledger
  put(retrievals: number, ttlMs?: number): string
  /** In a buffer. */
  keep(bytes: Buffer, retrievals: number): string
  descriptors(): number
}

function tableGround(context: TestContext): TableGround {
  const { clock, memory, files, body, descriptors } = testGround(context)
  const ledger = new Ledger({ memoryBytesMax: 1e9, fileBytesMax: 0, bodiesMax: 1e6, descriptorsMax: 1e6, namespaceBytesMax: () => 1e9 })
  const room = new Room({ ledger, clock, waitMs: 1000, spill: () => assert.fail('there is room') })
  const account = ledger.namespaceAccount('n')
  const table = new ObjectTable({ clock, life: '0123456789abcdef' })
  return {
    table,
    clock,
    ledger,
    put: (retrievals, ttlMs = 1000) => table.add(new KeptBody(body(content(BYTES)), ledger.charge(account, 'memory', BYTES, 1), room, { memory, files }), retrievals, clock.epochMs() + ttlMs),
    keep: (bytes, retrievals) => table.add(new KeptBody(bytes, ledger.charge(account, 'memory', bytes.length, 0), room, { memory, files }), retrievals, clock.epochMs() + 1000),
    descriptors,
  }
}

/** A lease that there is at once. */
function lease(table: ObjectTable, id: string): Lease {
  const given = table.acquire(id)
  assert(!(given instanceof Promise), 'it waits')
  return given
}

describe('ObjectTable', () => {
  test('gives an object as often as it was put for, then lets it go and says OBJECT_USED_UP (T1)', (context) => {
    const { table, put, ledger, descriptors } = tableGround(context)
    const id = put(2)
    for (let time = 0; time < 2; time++) {
      const one = lease(table, id)
      assert.deepEqual(readAll(one.body), content(BYTES))
      one.done()
    }
    assert.throws(() => table.acquire(id), withCode('OBJECT_USED_UP'))
    assert.deepEqual([table.size, table.leases, ledger.memoryBytes, descriptors()], [0, 0, 0, 0])
  })

  test('gives back what breaks: it does not count (T2)', (context) => {
    const { table, put } = tableGround(context)
    const id = put(1)
    for (let time = 0; time < 5; time++) lease(table, id).failed()
    lease(table, id).done()
    assert.throws(() => table.acquire(id), withCode('OBJECT_USED_UP'))
  })

  test('settles a lease once: what is said later has no meaning', (context) => {
    const { table, put, descriptors } = tableGround(context)
    const id = put(2)
    const one = lease(table, id)
    one.failed()
    one.done()
    one.failed()
    const [two, three] = [lease(table, id), lease(table, id)]
    two.done()
    two.failed()
    three.done()
    assert.equal(table.size, 0)
    assert.equal(descriptors(), 0)
  })

  test('lets a consumer wait while all that remain are leased; the longest waiting one gets what is given back (T2)', async (context) => {
    const { table, put } = tableGround(context)
    const id = put(1)
    const first = lease(table, id)
    const order: string[] = []
    const waiting = ['second', 'third'].map(async (name) => {
      const one = await table.acquire(id)
      order.push(name)
      return one
    })
    await settle()
    assert.deepEqual(order, [])
    first.failed()
    const second = await waiting[0]!
    await settle()
    assert.deepEqual(order, ['second'])
    second.done()
    await assert.rejects(waiting[1]!, withCode('OBJECT_USED_UP'))
  })

  test('a consumer that gives up waiting takes no turn', async (context) => {
    const { table, put } = tableGround(context)
    const id = put(1)
    const first = lease(table, id)
    const abort = new AbortController()
    const second = Promise.resolve(table.acquire(id, abort.signal))
    const third = table.acquire(id)
    abort.abort()
    await assert.rejects(second, withCode('CANCELLED'))
    first.failed()
    const got = await third
    got.done()
    assert.equal(table.size, 0)
  })

  test('gives few bytes in a buffer at once: as a retrieval that counts, when one is left that nobody leases, and not after their time (T1, T3)', (context) => {
    const { table, put, keep, clock, ledger } = tableGround(context)
    const id = keep(content(10), 3)
    assert.deepEqual(table.takeNow(id), content(10))
    const one = lease(table, id)
    assert.deepEqual(table.takeNow(id), content(10))
    assert.equal(table.takeNow(id), undefined, 'the last one is leased')
    one.failed()
    assert.deepEqual(table.takeNow(id), content(10))
    assert.equal(table.takeNow(id), undefined)
    assert.throws(() => table.acquire(id), withCode('OBJECT_USED_UP'))
    assert.deepEqual([table.size, table.leases, ledger.memoryBytes], [0, 0, 0])
    const late = keep(content(10), 1)
    const inMemory = put(1)
    assert.equal(table.takeNow(inMemory), undefined)
    clock.advance(1000)
    for (const none of [late, inMemory, id, '', id.replace(/^0/, '1')]) assert.equal(table.takeNow(none), undefined)
  })

  test('expires to the millisecond, whether or not the timer has run (T3)', (context) => {
    const { table, put, clock, ledger, descriptors } = tableGround(context)
    const id = put(1, 1000)
    clock.advance(999)
    lease(table, id).failed()
    clock.advance(1)
    assert.equal(table.size, 0)
    assert.throws(() => table.acquire(id), withCode('OBJECT_EXPIRED'))
    assert.deepEqual([ledger.memoryBytes, descriptors()], [0, 0])
  })

  test('lets a retrieval that is under way go on past the end of life, and accounts for it until then', async (context) => {
    const { table, put, clock, ledger, descriptors } = tableGround(context)
    const id = put(1, 1000)
    const one = lease(table, id)
    const waiting = table.acquire(id)
    clock.advance(1000)
    await assert.rejects(Promise.resolve(waiting), withCode('OBJECT_EXPIRED'))
    assert.deepEqual([table.size, ledger.memoryBytes], [0, BYTES])
    assert.deepEqual(readAll(one.body), content(BYTES))
    one.failed()
    assert.deepEqual([ledger.memoryBytes, descriptors(), table.leases], [0, 0, 0])
  })

  test('expires each in its time with one timer, in whatever order they were put (T4)', (context) => {
    const { table, put, clock } = tableGround(context)
    for (const ttlMs of [500, 100, 300, 100, 400]) put(1, ttlMs)
    const sizes = [100, 200, 300, 400, 500].map((atMs) => {
      clock.advance(100)
      return [atMs, table.size]
    })
    assert.deepEqual(sizes, [[100, 3], [200, 3], [300, 2], [400, 1], [500, 0]])
  })

  test('lets thousands that expire at once go in several turns', (context) => {
    const { table, put, clock } = tableGround(context)
    for (let count = 0; count < 2500; count++) put(1, 1000)
    clock.advance(1000)
    assert.equal(table.size, 0)
  })

  test("a slot's next object does not answer to the former's id (T4)", (context) => {
    const { table, put } = tableGround(context)
    const former = put(1)
    lease(table, former).done()
    const next = put(1)
    assert.equal(parseObjectId(next)!.slot, parseObjectId(former)!.slot)
    assert.throws(() => table.acquire(former), withCode('OBJECT_USED_UP'))
    lease(table, next).done()
  })

  test('of another life of the worker an object is lost; or expired, when its time is over anyway', (context) => {
    const { table, put, clock } = tableGround(context)
    const foreign = put(1).replace('0123456789abcdef', 'f'.repeat(16))
    assert.throws(() => table.acquire(foreign), withCode('OBJECT_LOST'))
    assert.throws(() => table.acquire('whatever'), withCode('OBJECT_LOST'))
    clock.advance(1000)
    assert.throws(() => table.acquire(foreign), withCode('OBJECT_EXPIRED'))
  })

  test('lets everything go when it is closed; whoever waits is told', async (context) => {
    const { table, put, descriptors } = tableGround(context)
    const id = put(1)
    put(3)
    const one = lease(table, id)
    const waiting = Promise.resolve(table.acquire(id))
    table.close(new PlatformError('STOPPING', 'It stops.'))
    await assert.rejects(waiting, withCode('STOPPING'))
    assert.equal(descriptors(), 1)
    one.done()
    assert.equal(descriptors(), 0)
  })
})
