/**
 * Goal: whoever wants room gets it in turn or is told why not, after the wait at the latest; nobody is forgotten, nobody starves.
 *
 * Method: the ledger's own decisions, moves that end when told, and a clock that moves when told.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { AgeNode } from './age-list.ts'
import { Ledger } from './ledger.ts'
import type { Account, Charge, LedgerLimits, Spillable } from './ledger.ts'
import { Room } from './room.ts'
import { settle, withCode } from './transfer.fake.ts'

interface Move {
  readonly bodies: readonly Spillable[]
  end(error?: PlatformError): Promise<void>
}

class RoomGround {
  readonly clock = new ManualClock()
  readonly ledger: Ledger
  readonly room: Room
  readonly moves: Move[] = []
  readonly #nodes = new Map<Spillable, AgeNode<Spillable>>()

  constructor(limits: Partial<LedgerLimits> = {}) {
    this.ledger = new Ledger({ memoryBytesMax: 100, fileBytesMax: 0, bodiesMax: 1000, descriptorsMax: 1000, namespaceBytesMax: () => 1000, ...limits })
    this.room = new Room({
      ledger: this.ledger,
      clock: this.clock,
      waitMs: 1000,
      spill: (bodies) => {
        for (const body of bodies) this.#unlist(body)
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        this.moves.push({ bodies, end: (error) => (error === undefined ? resolve() : reject(error), settle()) })
        return promise
      },
    })
  }

  account(namespace = 'n', memoryBytesMax = Infinity): Account {
    return { ...this.ledger.namespaceAccount(namespace), memoryBytesMax }
  }

  enter(account: Account, bytes: number, signal?: AbortSignal): Promise<Charge> {
    return Promise.resolve().then(() => this.room.enter({ account, bytes, own: undefined, descriptors: 1, preferred: 'memory' }, signal))
  }

  /** Something in memory that can be moved. */
  spillable(account: Account, bytes: number): Charge {
    const body: Spillable = { charge: this.ledger.charge(account, 'memory', bytes, 1), isIdle: true, spill: () => assert.fail('the test moves it') }
    const node = new AgeNode(body)
    this.ledger.spillable.add(node)
    this.#nodes.set(body, node)
    return body.charge
  }

  #unlist(body: Spillable): void {
    this.ledger.spillable.remove(this.#nodes.get(body)!)
  }
}

async function state(promise: Promise<unknown>): Promise<string> {
  let found = 'waits'
  promise.then(
    () => (found = 'has room'),
    (error: PlatformError) => (found = error.code),
  )
  await settle()
  return found
}

describe('Room', () => {
  test('gives room at once to who does not wait, unless there is none or somebody waits for it (Q2)', async () => {
    const ground = new RoomGround()
    const account = ground.account()
    const now = (bytes: number): Charge | undefined => ground.room.enterNow({ account, bytes, own: undefined, descriptors: 1, preferred: 'memory' })
    const held = now(60)!
    assert.deepEqual([held.bytes, now(41), now(1001)], [60, undefined, undefined])
    const waiting = ground.enter(account, 41)
    assert.equal(await state(waiting), 'waits')
    assert.equal(now(1), undefined)
    ground.room.release(held)
    assert.equal((await waiting).bytes, 41)
    assert.equal(now(59)!.bytes, 59)
    ground.room.close(new PlatformError('STOPPING', 'over'))
    assert.equal(now(0), undefined)
  })

  test('gives room in the order of coming; a small one does not overtake a large one (Q2)', async () => {
    const ground = new RoomGround()
    const account = ground.account()
    const held = [await ground.enter(account, 60), await ground.enter(account, 40)]
    const large = ground.enter(account, 80)
    const small = ground.enter(account, 10)
    ground.room.release(held[1]!)
    assert.deepEqual([await state(large), await state(small)], ['waits', 'waits'])
    ground.room.release(held[0]!)
    assert.deepEqual([await state(large), await state(small)], ['has room', 'has room'])
  })

  test('one that waits for its namespace or its instance does not hold up others', async () => {
    const ground = new RoomGround({ namespaceBytesMax: (namespace) => (namespace === 'n' ? 50 : 1000) })
    const full = ground.account('n')
    await ground.enter(full, 50)
    const ofNamespace = ground.enter(full, 10)
    const instance = ground.account('m', 20)
    await ground.enter(instance, 20)
    const ofInstance = ground.enter(instance, 10)
    const other = ground.enter(ground.account('m'), 10)
    assert.deepEqual([await state(ofNamespace), await state(ofInstance), await state(other)], ['waits', 'waits', 'has room'])
  })

  test('nobody waits for longer than the wait, and is told value and bound (Q1)', async () => {
    const ground = new RoomGround()
    const account = ground.account()
    await ground.enter(account, 100)
    const waiting = ground.enter(account, 10)
    await settle()
    ground.clock.advance(999)
    assert.equal(await state(waiting), 'waits')
    ground.clock.advance(1)
    await assert.rejects(waiting, (error: PlatformError) => {
      assert.equal(error.code, 'OBJECT_QUOTA_EXCEEDED')
      assert.match(error.message, /10 bytes within 1000 ms: 100 of at most 100 bytes of objects in memory/)
      return true
    })
    assert.equal(ground.room.waiting, 0)
  })

  test('what can never fit is refused at once', async () => {
    const ground = new RoomGround()
    await assert.rejects(ground.enter(ground.account(), 101), withCode('OBJECT_QUOTA_EXCEEDED'))
  })

  test('whoever gives up leaves the queue, and lets those behind it pass (Q1)', async () => {
    const ground = new RoomGround()
    const account = ground.account()
    await ground.enter(account, 60)
    const abort = new AbortController()
    const large = ground.enter(account, 80, abort.signal)
    const small = ground.enter(account, 10)
    assert.equal(await state(small), 'waits')
    abort.abort()
    assert.deepEqual([await state(large), await state(small)], ['CANCELLED', 'has room'])
    await assert.rejects(ground.enter(account, 1, AbortSignal.abort()), withCode('CANCELLED'))
  })

  test('moves bodies to files for one at a time, then decides again (Q3)', async () => {
    const ground = new RoomGround({ fileBytesMax: 1000 })
    const account = ground.account()
    const [first, second] = [ground.spillable(account, 50), ground.spillable(account, 50)]
    const one = ground.enter(account, 30)
    const two = ground.enter(account, 30)
    await settle()
    assert.deepEqual(ground.moves.map((move) => move.bodies.map((body) => body.charge)), [[first]])
    ground.room.release(first)
    assert.deepEqual([await state(one), await state(two)], ['has room', 'waits'])
    await ground.moves[0]!.end()
    assert.deepEqual(ground.moves[1]!.bodies.map((body) => body.charge), [second])
    ground.room.release(second)
    assert.equal(await state(two), 'has room')
  })

  test('when the disk is full, waits for what is let go; in the end it is STORE_FULL', async () => {
    const ground = new RoomGround({ fileBytesMax: 1000 })
    const account = ground.account()
    const held = ground.spillable(account, 100)
    const [one, two] = [ground.enter(account, 30), ground.enter(account, 80)]
    const settled = Promise.allSettled([one, two])
    await settle()
    await ground.moves[0]!.end(new PlatformError('STORE_FULL', 'full'))
    assert.deepEqual([ground.moves.length, await state(one)], [1, 'waits'])
    // A second later it tries again.
    ground.clock.advance(999)
    assert.equal(ground.moves.length, 1)
    ground.room.diskIsFull()
    ground.clock.advance(1)
    for (const waiting of [one, two]) await assert.rejects(waiting, withCode('STORE_FULL'))
    await settled
    assert.equal(held.bytes, 100)
  })

  test('tries the disk again after a second', async () => {
    const ground = new RoomGround({ fileBytesMax: 1000 })
    ground.room.diskIsFull()
    const waiting = ground.enter(ground.account('n', 20), 30)
    assert.equal(await state(waiting), 'waits')
    ground.clock.advance(999)
    assert.equal(await state(waiting), 'waits')
    ground.clock.advance(1)
    assert.equal(await state(waiting), 'has room')
  })

  test('tells everybody when it is closed, and takes nobody any more', async () => {
    const ground = new RoomGround()
    const account = ground.account()
    await ground.enter(account, 100)
    const waiting = [ground.enter(account, 10), ground.enter(account, 20)]
    await settle()
    ground.room.close(new PlatformError('STOPPING', 'It stops.'))
    for (const one of [...waiting, ground.enter(account, 0)]) await assert.rejects(one, withCode('STOPPING'))
  })
})
