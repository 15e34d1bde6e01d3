/**
 * Goal: the balancer picks the instance on which the invocation disturbs and waits least, and never a full one.
 *
 * Method: small tables of loads told by hand; then random tables against a slow, obvious model (sort, take the first).
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { NONE, SCAN_MAX, pick, pickColored, pickLeastLoaded, pickOfTwo } from './balancer.ts'
import type { InstanceLoad } from '#contract/instance-load.ts'
import { hash32 } from '#contract/rendezvous.ts'
import { seededRandom } from '#base/seeded-random.ts'
import { colorOf, NO_COLOR } from '#contract/color.ts'

function load(over: Partial<InstanceLoad>): InstanceLoad {
  return { inFlight: 0, computing: 0, computingSinceUs: 0, lastUsedUs: 0, ...over }
}

function hasRoom(one: InstanceLoad, inFlightMax: number, computingMax: number, stuckBeforeUs: number): boolean {
  return one.inFlight < inFlightMax && one.computing < computingMax && (one.computing === 0 || one.computingSinceUs >= stuckBeforeUs)
}

const loads = fc.array(
  fc.record({
    inFlight: fc.integer({ min: 0, max: 6 }),
    computing: fc.integer({ min: 0, max: 3 }),
    computingSinceUs: fc.integer({ min: 0, max: 10 }),
    lastUsedUs: fc.integer({ min: 0, max: 5 }),
  }),
  { maxLength: 12 },
)

describe('pickLeastLoaded', () => {
  test('answers NONE when there is no instance, or none with room', () => {
    assert.equal(pickLeastLoaded([], 1, 1, -Infinity), NONE)
    assert.equal(pickLeastLoaded([load({ inFlight: 1 })], 1, 1, -Infinity), NONE)
    assert.equal(pickLeastLoaded([load({ inFlight: 1, computing: 1 })], 100, 1, -Infinity), NONE)
  })

  test('prefers the one that computes least, even when it holds more that wait', () => {
    const list = [load({ inFlight: 1, computing: 1 }), load({ inFlight: 50, computing: 0 })]
    assert.equal(pickLeastLoaded(list, 100, 4, -Infinity), 1)
  })

  test('prefers, on a tie, the most recently used, so that the others become idle', () => {
    const list = [load({ lastUsedUs: 5 }), load({ lastUsedUs: 9 }), load({ lastUsedUs: 7 })]
    assert.equal(pickLeastLoaded(list, 1, 1, -Infinity), 1)
  })

  test('binds nothing to an instance that computes without progress', () => {
    const list = [load({ inFlight: 1, computing: 1, computingSinceUs: 10 }), load({ inFlight: 2, computing: 2, computingSinceUs: 90 })]
    assert.equal(pickLeastLoaded(list, 100, 20, 50), 1)
    assert.equal(pickLeastLoaded(list, 100, 20, 100), NONE)
  })

  test('agrees with sorting by computing, in flight, and last use (B1)', () => {
    fc.assert(
      fc.property(loads, fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 10 }), (list, inFlightMax, computingMax, stuck) => {
        const expected = list
          .filter((one) => hasRoom(one, inFlightMax, computingMax, stuck))
          .sort((a, b) => a.computing - b.computing || a.inFlight - b.inFlight || b.lastUsedUs - a.lastUsedUs)[0]
        const index = pickLeastLoaded(list, inFlightMax, computingMax, stuck)
        assert.equal(index, expected === undefined ? NONE : list.indexOf(expected))
      }),
    )
  })
})

describe('pickOfTwo', () => {
  test('never picks one without room (B1)', () => {
    fc.assert(
      fc.property(loads, fc.integer(), (list, seed) => {
        const index = pickOfTwo(list, 4, 2, 5, seededRandom(seed))
        assert(index === NONE || hasRoom(list[index]!, 4, 2, 5))
      }),
    )
  })

  test('spreads 10,000 invocations over 500 instances with far less than chance would put on the fullest', () => {
    const list = Array.from({ length: 500 }, () => load({}))
    const random = seededRandom(7)
    for (let count = 0; count < 10_000; count++) {
      const index = pickOfTwo(list, 1_000, 1_000, -Infinity, random)
      list[index]!.inFlight++
      list[index]!.computing++
    }
    // 20 each on average; one random choice leaves the fullest at about 35.
    assert(Math.max(...list.map((one) => one.inFlight)) <= 24)
  })
})

const seedsOf = (list: readonly unknown[]): number[] => list.map((_, index) => hash32(`instance-${index}`))

describe('pickColored', () => {
  test('picks one with room exactly when there is one (B1, B3)', () => {
    fc.assert(
      fc.property(loads, fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 10 }), fc.string(), (list, inFlightMax, computingMax, stuck, text) => {
        const index = pickColored(list, inFlightMax, computingMax, stuck, colorOf('default', text), seedsOf(list))
        if (index === NONE) assert.equal(pickLeastLoaded(list, inFlightMax, computingMax, stuck), NONE)
        else assert(hasRoom(list[index]!, inFlightMax, computingMax, stuck))
      }),
    )
  })

  test('keeps a colour on its instance whatever the loads, and all of a colour on the same next one while that is full', () => {
    const color = colorOf('default', 'user-7')
    const list = Array.from({ length: 8 }, () => load({}))
    const seeds = seedsOf(list)
    const home = pickColored(list, 4, 4, -Infinity, color, seeds)
    list[home]!.inFlight = 3
    list[home]!.computing = 3
    assert.equal(pickColored(list, 4, 4, -Infinity, color, seeds), home, 'the others are idle')
    list[home]!.inFlight = 4
    const next = pickColored(list, 4, 4, -Infinity, color, seeds)
    list[next]!.inFlight = 3
    assert.equal(pickColored(list, 4, 4, -Infinity, color, seeds), next)
    list[home]!.inFlight = 3
    list[home]!.computing = 0
    assert.equal(pickColored(list, 4, 4, -Infinity, color, seeds), home)
  })

  test('moves only the colours of an instance that goes, and spreads colours over all', () => {
    const list = Array.from({ length: 8 }, () => load({}))
    const seeds = seedsOf(list)
    const colors = Array.from({ length: 2_000 }, (_, index) => colorOf('default', `user-${index}`))
    const before = colors.map((color) => pickColored(list, 1, 1, -Infinity, color, seeds))
    for (let index = 0; index < 8; index++) {
      const count = before.filter((one) => one === index).length
      assert(count > 190 && count < 310, `${count} of 250`)
    }
    const after = colors.map((color) => pickColored(list.toSpliced(2, 1), 1, 1, -Infinity, color, seeds.toSpliced(2, 1)))
    for (const [index, one] of before.entries()) if (one !== 2) assert.equal(after[index], one > 2 ? one - 1 : one)
  })
})

describe('pick', () => {
  test('finds the only instance with room among a thousand', () => {
    const list = Array.from({ length: 1_000 }, () => load({ inFlight: 1 }))
    list[613]!.inFlight = 0
    assert(list.length > SCAN_MAX)
    assert.equal(pick(list, 1, 1, -Infinity, seededRandom(1), NO_COLOR, []), 613)
    assert.equal(pick(list, 1, 1, -Infinity, seededRandom(1), colorOf('default', 'red'), seedsOf(list)), 613)
  })
})
