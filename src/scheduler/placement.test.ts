/**
 * Goal: no policy ever promises what a worker does not have; spread is even, pack is tight, and both are quick on a
 * cluster of thousands.
 *
 * Method: simulated workers (plain views that a placement changes), random requests with and without hints; each placement is
 * checked against the rules, the end state against what the policy promises. What locality promises beyond: locality.test.ts.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { locality } from './locality.ts'
import { placementDefaults, unfitReason } from './placement.ts'
import type { Placement, PlacementRequest, WorkerView } from './placement.ts'
import { pack, spread } from './policies.ts'

type SimulatedWorker = { -readonly [Key in keyof WorkerView]: WorkerView[Key] }

function worker(id: string, over: Partial<WorkerView> = {}): SimulatedWorker {
  return { id, isAccepting: true, cores: 4, memoryMb: 4096, cpuPromised: 0, memoryPromisedMb: 0, instanceCount: 0, instancesMax: 1000, stemCells: {}, ...over }
}

function cluster(count: number, over: Partial<WorkerView> = {}): SimulatedWorker[] {
  return Array.from({ length: count }, (_, index) => worker(`w${String(index).padStart(5, '0')}`, over))
}

const small: PlacementRequest = { kind: 'node', cpu: 0.5, memoryMb: 256 }

/** Places, and takes what was placed. */
function placeOn(placement: Placement, workers: SimulatedWorker[], request: PlacementRequest): SimulatedWorker | undefined {
  const result = placement.place(workers, request)
  if (result.kind === 'none-fits') return undefined
  const chosen = workers.find((one) => one.id === result.workerId)!
  chosen.instanceCount++
  chosen.memoryPromisedMb += request.memoryMb
  chosen.cpuPromised += request.cpu
  return chosen
}

const someWorkers = fc.array(
  fc.record({
    isAccepting: fc.boolean(),
    cores: fc.integer({ min: 1, max: 8 }),
    memoryMb: fc.integer({ min: 64, max: 2048 }),
    instancesMax: fc.integer({ min: 0, max: 20 }),
    stems: fc.integer({ min: 0, max: 2 }),
  }),
  { maxLength: 12 },
).map((list) => list.map(({ stems, ...over }, index) => worker(`w${index}`, { ...over, stemCells: { node: stems } })))

/** Of workers that are there, and of some that are not. */
const someHints = fc.record(
  {
    color: fc.integer(),
    bytesByWorker: fc.array(fc.tuple(fc.integer({ min: 0, max: 15 }).map((index) => `w${index}`), fc.integer({ min: 0, max: 10 ** 6 }))).map((held) => new Map(held)),
  },
  { requiredKeys: [] },
)

const someRequests = fc.array(
  fc.record(
    {
      kind: fc.constantFrom('node', 'python'),
      cpu: fc.double({ min: 0.05, max: 8, noNaN: true }),
      memoryMb: fc.integer({ min: 16, max: 1024 }),
      hints: someHints,
    },
    { requiredKeys: ['kind', 'cpu', 'memoryMb'] },
  ),
  { maxLength: 60 },
)

for (const placement of [spread(), pack(), locality(spread()), locality(pack())]) {
  describe(placement.name, () => {
    test('never promises more than a worker has (P1), and refuses only when none has room', () => {
      fc.assert(
        fc.property(someWorkers, someRequests, (workers, requests) => {
          for (const request of requests) {
            const couldFit = workers.some((one) => unfitReason(one, request, placementDefaults) === undefined)
            const chosen = placeOn(placement, workers, request)
            assert.equal(chosen !== undefined, couldFit)
            if (chosen === undefined) continue
            assert(chosen.isAccepting)
            assert(chosen.memoryPromisedMb <= chosen.memoryMb)
            assert(chosen.instanceCount <= chosen.instancesMax)
            assert(chosen.cpuPromised <= chosen.cores * placementDefaults.cpuOvercommit)
          }
        }),
      )
    })

    test('answers the same whatever the order of the workers (P2)', () => {
      fc.assert(
        fc.property(someWorkers, someRequests, (workers, requests) => {
          for (const request of requests) {
            const backwards = placement.place(workers.toReversed(), request)
            assert.deepEqual(placement.place(workers, request), backwards)
            placeOn(placement, workers, request)
          }
        }),
      )
    })

    test('prefers a worker with a stem cell of the kind, all else equal', () => {
      const workers = [worker('a'), worker('b', { stemCells: { python: 3 } }), worker('c', { stemCells: { node: 1 } })]
      assert.deepEqual(placement.place(workers, small), { kind: 'placed', workerId: 'c' })
    })

    test('says for each reason how many workers it kept out (P3)', () => {
      const workers = [
        worker('a', { isAccepting: false }),
        worker('b', { memoryPromisedMb: 4000 }),
        worker('c', { memoryPromisedMb: 3900 }),
        worker('d', { instancesMax: 0 }),
        worker('e', { cpuPromised: 64 }),
      ]
      const result = placement.place(workers, small)
      assert(result.kind === 'none-fits')
      assert.deepEqual(result.reasons, { 'not-accepting': 1, memory: 2, cpu: 1, instances: 1 })
      assert.match(result.message, /256 MB and 0\.5 cores: of 5 workers, kept out by .*memory 2.*most free memory: 4096 MB/)
    })

    test('without any worker says so, and what to do', () => {
      const result = placement.place([], small)
      assert(result.kind === 'none-fits')
      assert.match(result.message, /there is no worker.*skep up/)
    })
  })
}

describe('spread', () => {
  test('keeps equal workers within one instance of each other, after every placement, on a thousand workers', () => {
    const workers = cluster(1_000)
    for (let placed = 1; placed <= 2_500; placed++) {
      assert(placeOn(spread(), workers, small))
      if (placed % 100 !== 0) continue
      const counts = workers.map((one) => one.instanceCount)
      assert(Math.max(...counts) - Math.min(...counts) <= 1)
    }
  })
})

describe('pack', () => {
  test('opens no second worker before the first is full', () => {
    const workers = cluster(2_000)
    for (let placed = 1; placed <= 500; placed++) {
      assert(placeOn(pack(), workers, small))
      // 16 of 256 MB fill 4096 MB.
      assert.equal(workers.filter((one) => one.instanceCount > 0).length, Math.ceil(placed / 16))
    }
  })
})
