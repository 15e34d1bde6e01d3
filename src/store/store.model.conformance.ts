/**
 * Goal: no sequence of calls makes a store differ from what the interface says.
 *
 * Method: fast-check draws histories of queue and entity commands; each runs against the store and against a model of two
 * maps. A failure prints the shortest history it found and the seed that repeats it. Every history has a queue and a
 * collection of its own in one store, which is reopened now and then.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { claimSome, until, withHarness } from './store.harness.ts'
import type { StoreConformance } from './store.harness.ts'
import type { Store } from './store.ts'

interface ModelItem {
  state: 'waiting' | 'claimed' | 'dead' | 'done'
  /** When it may be claimed. */
  readyMs: number
  attempt: number
  readonly payload: string
}

interface World {
  store: Store
  readonly reopen: () => Promise<Store>
  readonly scope: string
  nowMs: number
  readonly items: Map<string, ModelItem>
  readonly entities: Map<string, { readonly value: unknown; readonly revision: number }>
  highestRevision: number
}

type Command = (world: World) => Promise<void>

const LEASE_MS = 100
const id = fc.constantFrom('a', 'b', 'c', 'd', 'e')
const key = fc.constantFrom('f/1', 'f/2', 'g/1', 'g/2', 'h')

/** A command prints as what it does. */
function command(name: string, act: Command): Command {
  return Object.assign(act, { toString: () => name, [fc.toStringMethod]: () => name })
}

const queueCommands: fc.Arbitrary<Command>[] = [
  fc.tuple(fc.array(id, { minLength: 1, maxLength: 4 }), fc.nat(150)).map(([ids, delayMs]) =>
    command(`enqueue ${ids} in ${delayMs}`, async (world) => {
      const dueAtMs = world.nowMs + delayMs
      const items = ids.map((one, index) => ({ id: one, payload: `{"of":"${one}","n":${index}}`, dueAtMs }))
      await world.store.enqueue(world.scope, items)
      for (const one of items) {
        if (world.items.has(one.id)) continue
        world.items.set(one.id, { state: 'waiting', readyMs: dueAtMs, attempt: 0, payload: one.payload })
      }
    }),
  ),
  fc.integer({ min: 1, max: 3 }).map((limit) =>
    command(`claim ${limit}`, async (world) => {
      const able = [...world.items].filter(([, one]) => isOpen(one) && one.readyMs <= world.nowMs)
      const options = { leaseMs: LEASE_MS, nowMs: world.nowMs }
      const claimed = await claimSome(world.store, world.scope, Math.min(limit, able.length), options)
      if (able.length === 0) assert.deepEqual(await world.store.claim(world.scope, { ...options, limit }), [])
      for (const one of claimed) {
        const model = able.find(([other]) => other === one.id)?.[1]
        assert(model !== undefined, `${one.id} was not to be claimed`)
        model.attempt += 1
        model.state = 'claimed'
        model.readyMs = world.nowMs + LEASE_MS
        assert.deepEqual([one.attempt, one.payload], [model.attempt, model.payload])
      }
    }),
  ),
  fc.array(id, { minLength: 1, maxLength: 3 }).map((ids) =>
    command(`complete ${ids}`, async (world) => {
      await world.store.complete(world.scope, ids)
      for (const one of ids) change(world, one, { state: 'done' })
    }),
  ),
  id.map((one) =>
    command(`renew ${one}`, async (world) => {
      // What becomes of a lease that is over and not claimed again is left open.
      const model = world.items.get(one)
      if (model?.state === 'claimed' && model.readyMs <= world.nowMs) return
      await world.store.renew(world.scope, [one], { leaseMs: LEASE_MS, nowMs: world.nowMs })
      if (model?.state === 'claimed') model.readyMs = world.nowMs + LEASE_MS
    }),
  ),
  fc.tuple(id, fc.nat(100)).map(([one, delayMs]) =>
    command(`retry ${one} in ${delayMs}`, async (world) => {
      await world.store.retry(world.scope, one, world.nowMs + delayMs)
      change(world, one, { state: 'waiting', readyMs: world.nowMs + delayMs })
    }),
  ),
  id.map((one) =>
    command(`bury ${one}`, async (world) => {
      await world.store.bury(world.scope, one, `reason ${one}`)
      change(world, one, { state: 'dead' })
    }),
  ),
  fc.uniqueArray(id, { minLength: 1, maxLength: 3 }).map((ids) =>
    command(`redrive ${ids}`, async (world) => {
      const dead = ids.filter((one) => world.items.get(one)?.state === 'dead')
      assert.equal(await world.store.redrive(world.scope, ids, world.nowMs), dead.length)
      for (const one of dead) Object.assign(world.items.get(one)!, { state: 'waiting', readyMs: world.nowMs, attempt: 0 })
    }),
  ),
  fc.integer({ min: 1, max: 120 }).map((byMs) =>
    command(`pass ${byMs} ms`, async (world) => {
      world.nowMs += byMs
    }),
  ),
]

const entityCommands: fc.Arbitrary<Command>[] = [
  fc.tuple(key, fc.jsonValue(), fc.constantFrom('any', 'absent', 'current', 'stale')).map(([one, value, expected]) =>
    command(`put ${one} ${JSON.stringify(value)} if ${expected}`, async (world) => {
      const current = world.entities.get(one)?.revision ?? 0
      const write = world.store.put(world.scope, one, value, ifRevision(expected, current))
      if (expected === 'stale' || (expected === 'absent' && current !== 0)) return assert.rejects(write, { code: 'CONFLICT' })
      const revision = await write
      assert(revision > world.highestRevision)
      world.highestRevision = revision
      world.entities.set(one, { value: JSON.parse(JSON.stringify(value)), revision })
    }),
  ),
  fc.tuple(key, fc.constantFrom('any', 'current', 'stale')).map(([one, expected]) =>
    command(`delete ${one} if ${expected}`, async (world) => {
      const current = world.entities.get(one)?.revision ?? 0
      const deletion = world.store.delete(world.scope, one, ifRevision(expected, current))
      if (expected === 'stale' && current !== 0) return assert.rejects(deletion, { code: 'CONFLICT' })
      await deletion
      world.entities.delete(one)
    }),
  ),
  fc.tuple(fc.constantFrom('', 'f/', 'g/', 'h', 'z'), key, fc.integer({ min: 1, max: 4 })).map(([prefix, after, limit]) =>
    command(`list ${prefix} after ${after}, ${limit}`, async (world) => {
      const expected = [...world.entities.keys()].sort().filter((one) => one.startsWith(prefix) && one > after)
      const listed = await world.store.list(world.scope, { prefix, after, limit })
      assert.deepEqual(listed.map((one) => one.key), expected.slice(0, limit))
    }),
  ),
]

const reopening = fc.constant(
  command('reopen', async (world) => {
    world.store = await world.reopen()
  }),
)

export function runStoreModelConformance(conformance: StoreConformance): void {
  describe(`${conformance.name} behaves as the model of Store`, () => {
    test('over random histories (T1, T2, T3)', withHarness(conformance)(async (harness) => {
      let store = harness.store
      let run = 0
      const often = [...queueCommands, ...entityCommands].map((arbitrary) => ({ arbitrary, weight: 10 }))
      const history = fc.array(fc.oneof(...often, { arbitrary: reopening, weight: 1 }), { minLength: 1, maxLength: 60 })
      await fc.assert(
        fc.asyncProperty(history, async (commands) => {
          const world: World = {
            store,
            reopen: async () => {
              store = await harness.reopen()
              return store
            },
            scope: `run-${run++}`,
            nowMs: 1000,
            items: new Map(),
            entities: new Map(),
            highestRevision: 0,
          }
          for (const one of commands) await one(world)
          await compare(world)
        }),
        { numRuns: 60 },
      )
    }))
  })
}

/** After the history, everything that can be asked is as the model has it. */
async function compare({ store, scope, items, entities }: World): Promise<void> {
  const count = (state: ModelItem['state']): number => [...items.values()].filter((one) => one.state === state).length
  const expected = { waiting: count('waiting'), claimed: count('claimed'), dead: count('dead') }
  await until(async () => JSON.stringify(await store.depth(scope)) === JSON.stringify(expected))
  for (const [one, model] of items) {
    const found = await store.find(scope, one)
    if (!isOpen(model)) assert.equal(found, undefined)
    else assert.deepEqual([found?.attempt, found?.payload], [model.attempt, model.payload])
  }
  const dead = await store.dead(scope, { limit: 100 })
  const deadExpected = [...items].filter(([, model]) => model.state === 'dead').map(([one, model]) => [one, model.attempt, `reason ${one}`])
  assert.deepEqual(dead.map((one) => [one.id, one.attempt, one.reason]).sort(), deadExpected.sort())

  const listed = await store.list(scope)
  const listedExpected = [...entities].map(([one, { value, revision }]) => ({ key: one, value, revision }))
  assert.deepEqual(listed, listedExpected.sort((a, b) => (a.key < b.key ? -1 : 1)))
  for (const one of listedExpected) assert.deepEqual(await store.get(scope, one.key), one)
}

function isOpen(model: ModelItem): boolean {
  return model.state === 'waiting' || model.state === 'claimed'
}

/** Only items that wait or are claimed can change so. */
function change(world: World, one: string, to: Partial<ModelItem>): void {
  const model = world.items.get(one)
  if (model !== undefined && isOpen(model)) Object.assign(model, to)
}

function ifRevision(expected: string, current: number): { readonly ifRevision?: number } {
  if (expected === 'any') return {}
  if (expected === 'absent') return { ifRevision: 0 }
  return { ifRevision: expected === 'current' ? current : current + 1_000_000 }
}
