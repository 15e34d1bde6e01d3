/**
 * Goal: instances start where their data is, and never so many there that the worker is overloaded while others are not.
 *
 * Method: simulated workers that placements fill; hints told by hand for what is promised, random ones for the bound. The rules that hold for every
 * policy are placement.test.ts's matter.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { colorOf } from '#contract/color.ts'
import { locality, localityDefaults } from './locality.ts'
import type { LocalityHints, PlacementRequest, WorkerView } from './placement.ts'
import { pack, spread } from './policies.ts'

type SimulatedWorker = { -readonly [Key in keyof WorkerView]: WorkerView[Key] }

const MB = 1024 ** 2
const policy = locality(spread())

function cluster(count: number, over: Partial<WorkerView> = {}): SimulatedWorker[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `w${index}`, isAccepting: true, cores: 4, memoryMb: 65_536, cpuPromised: 0, memoryPromisedMb: 0, instanceCount: 0, instancesMax: 1000, stemCells: {}, ...over,
  }))
}

const asked = (hints?: LocalityHints): PlacementRequest => ({ kind: 'node', cpu: 0.1, memoryMb: 128, ...(hints !== undefined && { hints }) })
const holds = (...held: [string, number][]): LocalityHints => ({ bytesByWorker: new Map(held) })
const red: LocalityHints = { color: colorOf('default', 'red') }

function place(workers: SimulatedWorker[], hints?: LocalityHints, by = policy): SimulatedWorker {
  const result = by.place(workers, asked(hints))
  assert(result.kind === 'placed', 'there is room')
  const worker = workers.find(({ id }) => id === result.workerId)!
  worker.instanceCount++
  return worker
}

describe('references', () => {
  test('lead to the worker that holds most of the bytes', () => {
    assert.equal(place(cluster(8), holds(['w3', 2 * MB], ['w5', 3 * MB], ['gone', 9 * MB])).id, 'w5')
  })

  test('lead to the next one when that one is overloaded, and to the fallback\'s when all who hold any are (L1, L2)', () => {
    const workers = cluster(8)
    workers[5]!.instanceCount = 4
    assert.equal(place(workers, holds(['w3', 2 * MB], ['w5', 3 * MB])).id, 'w3')
    workers[3]!.instanceCount = 4
    workers[0]!.instanceCount = 1
    assert.equal(place(workers, holds(['w3', 2 * MB], ['w5', 3 * MB])).id, 'w1', 'as spread would')
  })

  test('of no more than travels with an invocation anyway change nothing (L1)', () => {
    const workers = cluster(8)
    workers[5]!.instanceCount = 1
    assert.equal(place(workers, holds(['w5', localityDefaults.bytesMin - 1])).id, 'w0')
    assert.equal(place(workers, holds(['w5', localityDefaults.bytesMin])).id, 'w5')
  })

  test('held equally by several leave the choice among them to the fallback', () => {
    const workers = cluster(8)
    workers[2]!.instanceCount = 1
    workers[2]!.memoryPromisedMb = 128
    const held = holds(['w2', MB], ['w6', MB])
    assert.equal(policy.place(workers, asked(held)).kind, 'placed')
    assert.equal(place(workers, held).id, 'w6')
    workers[6]!.instanceCount = 0
    assert.equal(place(workers, held, locality(pack())).id, 'w2')
  })
})

describe('colours', () => {
  test('have their worker, whatever the order and load of the workers, and lie evenly over all', () => {
    const counts = new Map<string, number>()
    for (let index = 0; index < 1_600; index++) {
      const hints = { color: colorOf('default', `user-${index}`) }
      const workers = cluster(8)
      const { id } = place(workers, hints)
      counts.set(id, (counts.get(id) ?? 0) + 1)
      assert.equal(place(workers.toReversed(), hints).id, id)
    }
    for (const count of counts.values()) assert(count > 150 && count < 250, `${count} of 200`)
    assert.equal(counts.size, 8)
  })

  test('overflow to one next worker, not to all, and come back when there is room (L3)', () => {
    const workers = cluster(8)
    const home = place(workers, red)
    while (home.instanceCount < 4) assert.equal(place(workers, red), home)
    const next = place(workers, red)
    while (next.instanceCount < 4) assert.equal(place(workers, red), next)
    home.instanceCount--
    assert.equal(place(workers, red), home)
  })

  test('keep their worker when another goes, and have another when theirs drains (L3)', () => {
    const home = place(cluster(8), red).id
    for (const { id } of cluster(8)) {
      const workers = cluster(8)
      workers.find((worker) => worker.id === id)!.isAccepting = false
      assert.equal(place(workers, red).id === home, id !== home)
    }
  })

  test('come after references, and decide among workers that hold equally many bytes', () => {
    const home = place(cluster(8), red).id
    const other = home === 'w1' ? 'w2' : 'w1'
    assert.equal(place(cluster(8), { ...red, ...holds([other, MB]) }).id, other)
    assert.equal(place(cluster(8), { ...red, ...holds([other, MB], [home, MB]) }).id, home)
    assert.equal(place(cluster(8), { ...red, ...holds([other, 10]) }).id, home)
  })
})

describe('the bound (L2)', () => {
  test('holds for any hints, on unequal workers, at any time', () => {
    const someHints = fc.record({ color: fc.integer({ min: 1, max: 3 }), bytesByWorker: fc.constantFrom(new Map([['w0', MB]]), new Map([['w1', MB], ['w0', 2 * MB]])) }, { requiredKeys: [] })
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 2, maxLength: 6 }), fc.array(someHints, { minLength: 1, maxLength: 120 }), (cores, hints) => {
        const workers = cores.map((count, index) => ({ ...cluster(1)[0]!, id: `w${index}`, cores: count }))
        const coresOfAll = cores.reduce((sum, count) => sum + count, 0)
        for (const [index, one] of hints.entries()) {
          const without = spread().place(workers, asked())
          const chosen = place(workers, one)
          const max = Math.max(chosen.cores, Math.ceil((1.25 * (index + 1) * chosen.cores) / coresOfAll))
          // What the fallback chooses is its own business.
          if (without.kind === 'placed' && without.workerId !== chosen.id) assert(chosen.instanceCount <= max, `${chosen.instanceCount} of ${max}`)
        }
      }),
    )
  })

  test('makes a thousand instances that want one worker leave it at a quarter above the mean', () => {
    const workers = cluster(10)
    for (let placed = 0; placed < 1_000; placed++) place(workers, red)
    const counts = workers.map(({ instanceCount }) => instanceCount)
    assert.equal(Math.max(...counts), 125)
    assert(Math.min(...counts) >= 0 && counts.reduce((sum, count) => sum + count) === 1_000)
  })
})
