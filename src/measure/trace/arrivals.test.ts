/**
 * Goal: the arrivals of a function are exactly as many per minute as counted, spread as asked for, and each asks for what the
 * percentiles allow; all of it a function of the seed.
 *
 * Method: properties over any counts, distribution and seed; the shape of the gaps by their coefficient of variation, which tells
 * the three distributions apart (1, 0.58, 0); the shift against the same ring uncut; draws against the share each percentile promises.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { arrivalsOf, drawBetween, offsetsInUnit } from './arrivals.ts'
import type { Distribution } from './arrivals.ts'
import { exampleSources, plainFunction, textSource } from './example-trace.ts'
import { loadAzure2021, loadInVitro, MINUTE_US } from './load.ts'
import { seededRandom } from '#base/seeded-random.ts'

const distributions: readonly Distribution[] = ['exponential', 'uniform', 'equidistant']
const anyDistribution = fc.constantFrom(...distributions)
const anySeed = fc.nat(2 ** 32 - 1)

/** The gaps from each arrival to the next, the last one around the unit's end to the first. */
function ringGaps(offsets: readonly number[], unitUs: number): number[] {
  return offsets.map((offset, index) => (index + 1 < offsets.length ? offsets[index + 1]! : offsets[0]! + unitUs) - offset)
}

describe('in a unit', () => {
  test('are as many arrivals as counted, in order, inside of it, with gaps that sum to it (A1, A2)', () => {
    fc.assert(
      fc.property(fc.nat(400), fc.constantFrom(MINUTE_US, 1_000_000), anyDistribution, fc.boolean(), anySeed, (count, unitUs, distribution, shift, seed) => {
        const offsets = [...offsetsInUnit(count, unitUs, distribution, shift, seed)]
        assert.equal(offsets.length, count)
        assert(offsets.every((offset, index) => offset >= (offsets[index - 1] ?? 0) && offset < unitUs))
        if (count === 0) return
        if (!shift) assert.equal(offsets[0], 0, 'the herd at the start of the minute')
        const gaps = ringGaps(offsets, unitUs)
        assert(gaps.every((gap) => gap >= 0))
        assert(Math.abs(gaps.reduce((sum, gap) => sum + gap, 0) - unitUs) < 0.01)
      }),
    )
  })

  test('a shift cuts the ring and leaves its gaps, in their order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), anyDistribution, anySeed, (count, distribution, seed) => {
        const plain = ringGaps([...offsetsInUnit(count, MINUTE_US, distribution, false, seed)], MINUTE_US)
        const cut = ringGaps([...offsetsInUnit(count, MINUTE_US, distribution, true, seed)], MINUTE_US)
        const turned = (by: number): boolean => cut.every((gap, index) => Math.abs(gap - plain[(index + by) % count]!) < 0.01)
        assert(plain.some((_, by) => turned(by)))
      }),
    )
  })

  test('a shifted minute begins anywhere in it', () => {
    const first = Array.from({ length: 4000 }, (_, seed) => offsetsInUnit(1, 1, 'exponential', true, Math.imul(seed, 0x9e3779b1) >>> 0).next().value as number)
    for (const share of [0.1, 0.5, 0.9]) assert(Math.abs(first.filter((offset) => offset < share).length / 4000 - share) < 0.04)
  })

  for (const [distribution, variation] of [['exponential', 1], ['uniform', 1 / Math.sqrt(3)], ['equidistant', 0]] as const) {
    test(`gaps are ${distribution}`, () => {
      const gaps = ringGaps([...offsetsInUnit(20_000, MINUTE_US, distribution, false, 7)], MINUTE_US)
      const mean = MINUTE_US / gaps.length
      const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length)
      assert(Math.abs(deviation / mean - variation) < 0.03, `coefficient of variation ${deviation / mean}`)
    })
  }
})

describe('a function', () => {
  const anyCounts = fc.array(fc.oneof(fc.constant(0), fc.nat(50)), { maxLength: 8 })

  test('arrives as often in each minute as counted, sped up or not, at whole microseconds (A1)', () => {
    fc.assert(
      fc.property(anyCounts, anyDistribution, fc.boolean(), anySeed, fc.constantFrom(1, 2, 3.7, 60, 0.5), (counts, distribution, shift, seed, speedUp) => {
        const arrivals = [...arrivalsOf(plainFunction('f', counts), { unitUs: MINUTE_US }, { seed, distribution, shift, speedUp })]
        assert.deepEqual(counts.map((_, unit) => arrivals.filter((one) => one.unit === unit).length), counts)
        for (const [number, { atUs, unit, index }] of arrivals.entries()) {
          assert(Number.isInteger(atUs) && atUs >= (arrivals[number - 1]?.atUs ?? 0))
          assert(atUs >= Math.floor((unit * MINUTE_US) / speedUp) && atUs < ((unit + 1) * MINUTE_US) / speedUp)
          assert.equal(index, arrivals[number - 1]?.unit === unit ? arrivals[number - 1]!.index + 1 : 0)
        }
      }),
    )
  })

  test('is the same for the same seed, and in another minute or under another name another (A3)', async () => {
    const { functions } = await loadInVitro(exampleSources())
    const trace = { unitUs: MINUTE_US }
    const steady = functions[0]!
    const all = [...arrivalsOf(steady, trace, { seed: 1 })]
    assert.deepEqual([...arrivalsOf(steady, trace, { seed: 1 })], all)
    const within = (unit: number): number[] => all.filter((one) => one.unit === unit).map((one) => one.atUs - unit * MINUTE_US)
    assert.notDeepEqual(within(0), within(1))
    for (const other of [arrivalsOf({ ...steady, name: 'other' }, trace, { seed: 1 }), arrivalsOf(steady, trace, { seed: 2 })]) assert.notDeepEqual([...other], all)
    // A minute less at the end, or other counts before it, change nothing else.
    assert.deepEqual([...arrivalsOf({ ...steady, counts: Uint32Array.of(0, 60, 60) }, trace, { seed: 1 })], all.filter(({ unit }) => unit === 1 || unit === 2))
  })

  test('asks for runtime and memory within its percentiles and the limits', async () => {
    const { functions } = await loadInVitro(exampleSources())
    const of = (name: string): { runtimeMs: number; memoryMb: number }[] => [...arrivalsOf({ ...functions.find((one) => one.name === name)!, counts: Uint32Array.of(20_000) }, { unitUs: MINUTE_US }, { seed: 3 })]
    const within = (name: string, runtime: [number, number], memory: [number, number]): void => {
      for (const { runtimeMs, memoryMb } of of(name)) assert(Number.isInteger(runtimeMs) && runtimeMs >= runtime[0] && runtimeMs <= runtime[1] && memoryMb >= memory[0] && memoryMb <= memory[1], `${name} ${runtimeMs} ${memoryMb}`)
    }
    within('steady', [5, 89], [32, 127])
    // 600 s are cut at 60 s, 0.2 MB are 1 MiB, 20,000 MB are 10,240 MiB.
    within('slow', [100, 60_000], [100, 699])
    within('idle', [10, 10], [1, 1])
    within('burst', [40, 999], [40, 10_240])
    assert(of('slow').some(({ runtimeMs }) => runtimeMs === 60_000) && of('burst').some(({ memoryMb }) => memoryMb === 10_240))
  })

  test('is drawn between two percentiles as often as they say', () => {
    const random = seededRandom(5)
    const percentiles = { ranks: [0, 0.01, 0.25, 0.5, 0.75, 0.99, 1], values: [0, 100, 200, 300, 400, 500, 600] }
    const drawn = Array.from({ length: 50_000 }, () => drawBetween(percentiles, random(), random))
    for (const [index, rank] of percentiles.ranks.entries()) {
      const share = drawn.filter((value) => value < percentiles.values[index]!).length / drawn.length
      assert(Math.abs(share - rank) < 0.01, `${share} below the percentile of ${rank}`)
    }
    assert.equal(drawBetween({ ranks: [0.01, 1], values: [32.9, 40] }, 0.005, random), 32, 'below the lowest rank is its value')
    assert.equal(drawBetween({ ranks: [0, 1], values: [5.2, 5.9] }, 0.5, random), 5)
  })

  test('that was recorded arrives as recorded', async () => {
    const trace = await loadAzure2021(textSource('azure.csv', 'app,func,end_timestamp,duration\na,f,100,90\na,f,12,2\na,f,75.5,0.0001\n'))
    assert.deepEqual([...arrivalsOf(trace.functions[0]!, trace, { seed: 1, speedUp: 2 })], [
      { atUs: 0, unit: 0, index: 0, runtimeMs: 60_000, memoryMb: 200 },
      { atUs: 0, unit: 0, index: 1, runtimeMs: 2000, memoryMb: 200 },
      { atUs: 32_749_950, unit: 1, index: 0, runtimeMs: 1, memoryMb: 200 },
    ])
  })
})
