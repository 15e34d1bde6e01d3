/**
 * Goal: percentiles are STeLLAR's, ratios are the thesis's, and an interval holds the true value as often as it says.
 *
 * Method: figures from the thesis and from tables of order statistics; intervals are tried on samples of known distributions.
 * Chance is seeded: SEED=… repeats a run.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { seededRandom, seedFromEnvironment } from '#base/seeded-random.ts'
import { bandwidth, bootstrapInterval, intervalRanks, percentile, percentileInterval, ratiosToBase, samplesNeeded, sortSamples, stopDecision, summarize } from './statistics.ts'

const upTo = (n: number): Float64Array => sortSamples(Array.from({ length: n }, (_, index) => n - index))

/** gonum's stat.Quantile with stat.Empirical: counts until the share is reached. */
function gonumQuantile(p: number, sorted: Float64Array): number {
  let cumulated = 0
  for (const value of sorted) if (++cumulated >= p * sorted.length) return value
  throw new Error('unreachable')
}

describe('a percentile', () => {
  test('is the sample that the original finds, for each of its columns', () => {
    fc.assert(fc.property(fc.array(fc.nat(10_000), { minLength: 1, maxLength: 500 }), fc.constantFrom(0, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1), (values, p) => {
      const sorted = sortSamples(values)
      assert.equal(percentile(sorted, p), gonumQuantile(p, sorted))
    }))
  })

  test('of 3000 samples and of few', () => {
    const of3000 = summarize(upTo(3000))
    assert.deepEqual([of3000.min, of3000.p25, of3000.p50, of3000.p75, of3000.p95, of3000.p99, of3000.p999, of3000.max], [1, 750, 1500, 2250, 2850, 2970, 2997, 3000])
    assert.equal(percentile(upTo(100), 0.07), 7)
    assert.deepEqual([percentile(upTo(1), 0.99), percentile(upTo(2), 0.5), percentile(upTo(3), 0.5)], [1, 1, 2])
    assert.equal(percentile(upTo(0), 0.5), NaN)
  })

  test('sorts by size, not by text', () => {
    assert.deepEqual([...sortSamples([100, 9, 20])], [9, 20, 100])
  })
})

describe('a summary', () => {
  test('has mean, deviation of the sample, and TMR', () => {
    const { count, mean, standardDeviation, tmr } = summarize(sortSamples([2, 4, 4, 4, 5, 5, 7, 9]))
    assert.deepEqual([count, mean, tmr], [8, 5, 9 / 4])
    assert(Math.abs(standardDeviation - Math.sqrt(32 / 7)) < 1e-12)
    assert.equal(summarize(sortSamples([7])).standardDeviation, NaN)
  })

  test('gives Table 3.1 from the thesis\'s own medians and tails', () => {
    // Base medians with the way there and back: 18 + 26, 17 + 14, 25 + 32 ms.
    const rounded = (p50: number, p99: number, base: number, subtractMs?: number): number[] => Object.values(ratiosToBase({ p50, p99 }, base, subtractMs)).map(Math.round)
    assert.deepEqual(rounded(448, 448 * 1.5, 44), [10, 15])
    assert.deepEqual(rounded(870, 870 * 1.8, 31), [28, 51])
    assert.deepEqual(rounded(1401, 1401 * 2.6, 57), [25, 64])
    // Functions of 1 s: their own run is taken off (footnote 7).
    assert.equal(rounded(2978, 4595, 31, 1000)[0], 64)
    assert.equal(rounded(18637, 38545, 57, 1000)[0], 309)
    assert.equal(Math.round((bandwidth(1_000_000, 111) * 8) / 1e6), 72)
  })
})

describe('an interval of a percentile', () => {
  test('has the ranks of the published tables (S1)', () => {
    // Conover, Practical Nonparametric Statistics, and Le Boudec, Performance Evaluation, table A: median at 95 %.
    for (const [n, lower, upper] of [[6, 1, 6], [10, 2, 9], [20, 6, 15], [50, 18, 33], [70, 27, 44]] as const) assert.deepEqual(intervalRanks(n, 0.5, 0.95), { lower, upper }, String(n))
  })

  test('needs as many samples as make the largest exceed the percentile (S2)', () => {
    assert.deepEqual([0.5, 0.9, 0.99, 0.999].map((p) => samplesNeeded(p)), [6, 36, 368, 3688])
    assert.equal(samplesNeeded(0.01), samplesNeeded(0.99))
    for (const [p, confidence] of [[0.5, 0.95], [0.75, 0.9], [0.95, 0.99], [0.99, 0.95], [0.01, 0.95], [0.999, 0.95]] as const) {
      const needed = samplesNeeded(p, confidence)
      assert.equal(intervalRanks(needed - 1, p, confidence), undefined)
      const ranks = intervalRanks(needed, p, confidence)
      assert(ranks !== undefined && ranks.lower >= 1 && ranks.upper <= needed, `${p} ${confidence}`)
    }
  })

  test('stays quick and near the normal approximation for a million samples', () => {
    const { lower, upper } = intervalRanks(1_000_000, 0.99, 0.95)!
    const half = 1.959964 * Math.sqrt(1_000_000 * 0.99 * 0.01)
    assert(Math.abs(lower - (990_000 - half)) < 3 && Math.abs(upper - (990_000 + half)) < 3, `${lower} ${upper}`)
  })

  test('holds the true percentile at least as often as it says, of skewed samples too (S1)', () => {
    const seed = seedFromEnvironment()
    const random = seededRandom(seed)
    for (const [n, p] of [[30, 0.5], [200, 0.95], [500, 0.99]] as const) {
      const runs = 600
      let held = 0
      for (let run = 0; run < runs; run++) {
        // Pareto, so heavy a tail that it has no mean; its quantile function is known.
        const interval = percentileInterval(sortSamples(Array.from({ length: n }, () => 1 / (1 - random()))), p)!
        const truth = 1 / (1 - p)
        if (interval.lower <= truth && truth <= interval.upper) held++
      }
      // Four deviations below 95 %: once in 30,000 runs by chance.
      assert(held / runs > 0.95 - 4 * Math.sqrt((0.95 * 0.05) / runs), `SEED=${seed}: ${held} of ${runs} for n ${n}, p ${p}`)
    }
  })
})

describe('a bootstrap interval', () => {
  test('of a ratio holds the ratio, and repeats with its seed', () => {
    const random = seededRandom(7)
    const [base, slow] = [20, 60].map((ms) => sortSamples(Array.from({ length: 400 }, () => ms * (1 + random()))))
    const medians = (a: Float64Array, b: Float64Array): number => percentile(a, 0.5) / percentile(b, 0.5)
    const ask = (): ReturnType<typeof bootstrapInterval> => bootstrapInterval([slow!, base!], medians as (...sets: readonly Float64Array[]) => number, { random: seededRandom(1), resamples: 300 })
    const interval = ask()!
    assert(interval.lower < 3 && interval.upper > 3 && interval.upper - interval.lower < 0.5, JSON.stringify(interval))
    assert.deepEqual(ask(), interval)
  })

  test('draws as many samples as there are, sorted, all of them from the set', () => {
    const set = sortSamples([5, 1, 3])
    bootstrapInterval([set], (drawn) => {
      assert.equal(drawn!.length, 3)
      assert([...drawn!].every((value, index) => set.includes(value) && (index === 0 || value >= drawn![index - 1]!)))
      return 0
    }, { random: seededRandom(3), resamples: 50 })
    assert.equal(bootstrapInterval([new Float64Array(0)], () => 0, { random: Math.random }), undefined)
  })
})

describe('the stop rule', () => {
  const rule = { percentile: 0.5, confidence: 0.95, relativeError: 0.1 }

  test('goes on with too few samples, and with an interval that is too wide', () => {
    assert.deepEqual(stopDecision(upTo(5), rule), { kind: 'too-few', samplesNeeded: 6 })
    assert.deepEqual(stopDecision(upTo(10), rule), { kind: 'too-wide', interval: { lower: 2, upper: 9 }, relativeError: 0.7 })
  })

  test('stops when half the interval is small against the percentile, and when all samples are the same, zero even', () => {
    const close = stopDecision(sortSamples(Array.from({ length: 10 }, (_, index) => 100 + index)), rule)
    assert.deepEqual(close, { kind: 'stop', interval: { lower: 101, upper: 108 }, relativeError: 3.5 / 104 })
    assert.equal(stopDecision(new Float64Array(10), rule).kind, 'stop')
  })
})
