/**
 * Goal: resamples are what they would be if they were written out, and intervals hold the true value also where requests of a burst are alike.
 *
 * Method: each draw is compared with the percentile of the samples it stands for; coverage is counted over generated runs of a known truth. SEED=… repeats a run.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { seededRandom, seedFromEnvironment } from '#base/seeded-random.ts'
import { bootstrapInterval, percentile, sortSamples } from '../statistics.ts'
import { drawResamples, middleOf, sampleSet } from './samples.ts'

describe('a set of samples', () => {
  test('keeps with each sample its burst (B1)', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(50), fc.integer({ min: -3, max: 6 })), { minLength: 1, maxLength: 60 }), (pairs) => {
      const set = sampleSet(pairs.map(([value]) => value), pairs.map(([, burst]) => burst), 1)
      assert.deepEqual([...set.sorted], pairs.map(([value]) => value).sort((a, b) => a - b))
      const ids = [...new Set(pairs.map(([, burst]) => burst))]
      assert.equal(set.burstCount, ids.length)
      assert.equal(set.bursts === undefined, ids.length === pairs.length)
      if (set.bursts === undefined) return
      const kept = [...set.sorted].map((value, index) => `${value} ${ids[set.bursts![index]!]}`).sort()
      assert.deepEqual(kept, pairs.map(([value, burst]) => `${value} ${burst}`).sort())
    }))
  })
})

describe('a resample', () => {
  test('has the percentiles and the mean of the bursts that were drawn, written out', () => {
    // One burst of two at least: otherwise each sample is a burst of its own, in the order of their values.
    const lengths = (minLength: number) => fc.array(fc.nat(100), { minLength, maxLength: 5 })
    fc.assert(fc.property(fc.tuple(lengths(2), fc.array(lengths(1), { maxLength: 8 })).map(([first, rest]) => [first, ...rest]), fc.nat(), (bursts, seed) => {
      const set = sampleSet(bursts.flat(), bursts.flatMap((burst, id) => burst.map(() => id)), 1)
      const draws = drawResamples(set, seededRandom(seed))
      const random = seededRandom(seed)
      for (let place = 0; place < 3; place++) {
        const drawn = sortSamples(bursts.flatMap(() => bursts[Math.floor(random() * bursts.length)]!))
        assert.deepEqual([draws.p50[place], draws.p99[place], draws.p999[place]], [0.5, 0.99, 0.999].map((p) => percentile(drawn, p)))
        assert(Math.abs(draws.mean[place]! - drawn.reduce((sum, value) => sum + value, 0) / drawn.length) < 1e-9)
      }
    }), { numRuns: 60 })
  })

  test('of single requests gives the interval of the ordinary bootstrap', () => {
    const random = seededRandom(7)
    const values = Array.from({ length: 500 }, () => 10 + 5 * random() ** 2)
    const draws = drawResamples(sampleSet(values, undefined, 0.001), seededRandom(8))
    const ours = middleOf(draws.p50.length, (place) => draws.p50[place]!)!
    const theirs = bootstrapInterval([sortSamples(values)], (drawn) => percentile(drawn!, 0.5), { random: seededRandom(9) })!
    assert(Math.abs(ours.lower - theirs.lower) < 0.05 && Math.abs(ours.upper - theirs.upper) < 0.05, JSON.stringify({ ours, theirs }))
  })

  test('of bursts holds the true median where single draws miss it', () => {
    const seed = seedFromEnvironment()
    const random = seededRandom(seed)
    let [byBurst, bySingle] = [0, 0]
    const runs = 60
    for (let run = 0; run < runs; run++) {
      const values: number[] = []
      const ids: number[] = []
      // 20 bursts of 20; what they have in common is as large as what they have not. The true median is 0.
      for (let burst = 0; burst < 20; burst++) {
        const shared = 2 * random() - 1
        for (let request = 0; request < 20; request++) {
          values.push(shared + 2 * random() - 1)
          ids.push(burst)
        }
      }
      const holds = (burstIds: readonly number[] | undefined): number => {
        const { p50 } = drawResamples(sampleSet(values, burstIds, 0.001), random)
        const { lower, upper } = middleOf(200, (place) => p50[place]!)!
        return lower <= 0 && 0 <= upper ? 1 : 0
      }
      byBurst += holds(ids)
      bySingle += holds(undefined)
    }
    assert(byBurst >= 0.8 * runs, `${byBurst} of ${runs} hold it; SEED=${seed}`)
    assert(bySingle < byBurst - 0.1 * runs, `${bySingle} of ${runs} by single draws; SEED=${seed}`)
  })

  test('has no interval where a value is no number', () => {
    assert.equal(middleOf(3, (place) => (place === 1 ? Number.NaN : 1)), undefined)
    assert.equal(middleOf(0, () => 1), undefined)
    assert.equal(drawResamples(sampleSet([], undefined, 1), () => 0).p50.length, 0)
  })
})
