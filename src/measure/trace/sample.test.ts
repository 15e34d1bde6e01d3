/**
 * Goal: a sample has the functions asked for, is nearer to the whole trace than most random ones, and lies within every larger one.
 *
 * Method: the distance against its definition by sorted pairs and against known cases; properties over any small trace; the best
 * of many trials against fewer and against single ones; the real sample where it is.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { NO_SAMPLE, plainFunction, realSample } from './example-trace.ts'
import { loadTrace, MINUTE_US } from './load.ts'
import type { Trace } from './load.ts'
import { distancesOf, distributionOf, sampleTrace, wasserstein } from './sample.ts'
import { PlatformError } from '#contract/errors.ts'

function traceOf(counts: readonly (readonly number[])[]): Trace {
  return { unitUs: MINUTE_US, unitCount: counts[0]?.length ?? 0, functions: counts.map((one, index) => plainFunction(`f${index}`, one)) }
}

const anyTrace = fc.integer({ min: 1, max: 4 }).chain((units) => fc.array(fc.array(fc.oneof(fc.constant(0), fc.nat(1000)), { minLength: units, maxLength: units }), { minLength: 2, maxLength: 20 })).map(traceOf)

describe('the Wasserstein distance', () => {
  test('is the mean distance of sorted pairs, for samples of one size', () => {
    const pairs = fc.array(fc.tuple(fc.nat(100), fc.nat(100)), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(pairs, (both) => {
        const a = both.map(([one]) => one).sort((x, y) => x - y)
        const b = both.map(([, other]) => other).sort((x, y) => x - y)
        const expected = a.reduce((sum, one, index) => sum + Math.abs(one - b[index]!), 0) / a.length
        assert(Math.abs(wasserstein(distributionOf(a), distributionOf(b)) - expected) < 1e-9)
      }),
    )
  })

  test('is known for these, and the same in both directions', () => {
    for (const [a, b, expected] of [[[0, 1, 3], [5, 6, 8], 5], [[0], [0, 10], 5], [[1, 1, 1], [1], 0], [[0, 2], [1], 1]] as const) {
      assert(Math.abs(wasserstein(distributionOf(a), distributionOf(b)) - expected) < 1e-9)
      assert(Math.abs(wasserstein(distributionOf(b), distributionOf(a)) - expected) < 1e-9)
    }
  })
})

describe('samples', () => {
  test('have their size, contain the smaller ones, and are the same for the same seed (W1, W2)', () => {
    fc.assert(
      fc.property(anyTrace, fc.nat(), fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 4 }), (trace, seed, shares) => {
        const sizes = shares.map((share) => 1 + Math.floor(share * (trace.functions.length - 1)))
        const samples = sampleTrace(trace, { sizes, trials: 3, seed })
        assert.deepEqual(samples.map((one) => one.trace.functions.length), [...new Set(sizes)].sort((a, b) => a - b))
        for (const [index, { trace: { functions } }] of samples.entries()) {
          const names = new Set(functions.map(({ name }) => name))
          assert.equal(names.size, functions.length)
          assert(functions.every((one) => trace.functions.includes(one)))
          assert(index === 0 || samples[index - 1]!.trace.functions.every(({ name }) => names.has(name)))
        }
        assert.deepEqual(sampleTrace(trace, { sizes, trials: 3, seed }), samples)
      }),
      { numRuns: 50 },
    )
  })

  test('of everything are at distance 0, and a sample says the distance it has', () => {
    fc.assert(
      fc.property(anyTrace, fc.nat(), (trace, seed) => {
        const [half, all] = sampleTrace(trace, { sizes: [trace.functions.length, trace.functions.length - 1], trials: 2, seed })
        assert.deepEqual(all?.distance, { invocations: 0, resources: 0, mean: 0 })
        const indices = half!.trace.functions.map((one) => trace.functions.indexOf(one))
        assert.deepEqual(half?.distance, distancesOf(trace, [indices])[0])
      }),
      { numRuns: 50 },
    )
  })

  test('come no further away with more trials, and nearer with many (W2)', () => {
    // With one seed the first trials are the same ones, so the nearest of more can only be nearer.
    const trace = traceOf(Array.from({ length: 60 }, (_, rank) => [Math.floor(2000 / (1 + rank)), rank % 5]))
    const best = [1, 2, 5, 20, 100].map((trials) => sampleTrace(trace, { sizes: [10], trials, seed: 1 })[0]!.distance.mean)
    assert(best.every((mean, index) => index === 0 || mean <= best[index - 1]!), best.join(', '))
    const single = Array.from({ length: 100 }, (_, seed) => sampleTrace(trace, { sizes: [10], trials: 1, seed })[0]!.distance.mean).sort((a, b) => a - b)
    assert(best.at(-1)! < single[25]!, `${best.at(-1)} against a quarter of single ones up to ${single[25]}`)
  })

  test('that grow are judged by what they grow to', () => {
    // The one-function sample nearest to the whole is the middle value; to it fits what is furthest from the middle, not another middle.
    const trace = traceOf([[0], [0], [0], [100], [100], [100], [100]])
    for (let seed = 0; seed < 20; seed++) {
      const counts = sampleTrace(trace, { sizes: [1, 2], trials: 40, seed }).map((one) => one.trace.functions.map((each) => each.counts[0]!))
      assert.deepEqual(counts, [[100], [0, 100]])
    }
  })

  test('of a size that cannot be are refused with the limit', () => {
    for (const [sizes, trials] of [[[0], 1], [[4], 1], [[1.5], 1], [[1], 0]] as const) {
      assert.throws(() => sampleTrace(traceOf([[1], [2], [3]]), { sizes, trials, seed: 1 }), (error) => error instanceof PlatformError && error.code === 'INPUT_INVALID')
    }
  })

  test('of Azure 2019 come nearer with size', async (t) => {
    const directory = realSample()
    if (directory === undefined) return t.skip(NO_SAMPLE)
    const trace = await loadTrace(directory, { take: 60 })
    const samples = sampleTrace(trace, { sizes: [10, 25, 50, 100], trials: 30, seed: 42 })
    for (const { trace: { functions }, distance } of samples) t.diagnostic(`${functions.length} functions: ${JSON.stringify(distance)}`)
    assert(samples[2]!.distance.mean < samples[0]!.distance.mean && samples[3]!.distance.mean === 0)
  })
})
