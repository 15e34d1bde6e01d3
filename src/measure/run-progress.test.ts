/**
 * Goal: the time left is what the schedule will really take, as far as that can be known.
 *
 * Method: the gaps' means are compared with many gaps drawn by schedule.ts; a sub-experiment is walked through in imagined time, and at
 * each tenth the estimate is compared with the truth. Chance is seeded: SEED=… repeats a run.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { seededRandom, seedFromEnvironment } from '#base/seeded-random.ts'
import { parseExperiment } from './experiment.ts'
import type { SubExperiment } from './experiment.ts'
import { averageGapMs, burstsNeeded, progressLine, RecentMedian, roughly, timeLeftMs } from './run-progress.ts'
import { planRounds } from './schedule.ts'
import { sortSamples, stopDecision } from './statistics.ts'

function settings(given: object): SubExperiment {
  return parseExperiment(JSON.stringify({ SubExperiments: [{ Bursts: 1000, BurstSizes: [1], DesiredServiceTimes: ['0ms'], ...given }] }), 'x.json').SubExperiments[0]!
}

describe('the mean of gaps', () => {
  const seed = seedFromEnvironment()
  for (const given of [
    { IATSeconds: 600 }, { IATSeconds: 1 }, { IATSeconds: 0.5 }, { IATSeconds: 0.01 }, {}, { IATSeconds: 2.7, IATType: 'deterministic' },
    { IATSeconds: 600, strict: true }, { IATSeconds: 0.5, strict: true }, { IATSeconds: 2.7, IATType: 'deterministic', strict: true },
    { IATSeconds: 30, IATType: 'step', strict: true, Bursts: 100 }, { IATSeconds: 30, IATType: 'step', strict: true, Bursts: 10 },
  ]) {
    test(`is that of the gaps drawn: ${JSON.stringify(given)}`, () => {
      const one = settings({ Bursts: 20_000, ...given })
      const gaps = [...planRounds(one, 1, seededRandom(seed))].map(({ gapMs }) => gapMs)
      const drawn = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length
      assert(Math.abs(averageGapMs(one) - drawn) <= 1 + drawn * 0.05, `${averageGapMs(one)} and ${drawn}, SEED=${seed}`)
    })
  }
})

describe('the time left', () => {
  const standing = { burstsDone: 0, burstMs: undefined, burstsNeeded: undefined }

  test('of a closed loop is the bursts with their gaps, and is right at every tenth of the way', () => {
    for (const given of [{ IATSeconds: 2, IATType: 'deterministic' }, { IATSeconds: 3, IATType: 'deterministic', Parallelism: 10 }, { IATSeconds: 1, IATType: 'deterministic', Parallelism: 10, strict: true }]) {
      const one = settings(given)
      const [burstMs, gapMs] = [40, one.IATSeconds * 1000]
      const roundMs = one.strict ? Math.max(gapMs, burstMs * one.Parallelism) : gapMs + burstMs * one.Parallelism
      for (let burstsDone = 0; burstsDone <= 1000; burstsDone += 100) {
        const truth = ((1000 - burstsDone) / one.Parallelism) * roundMs
        assert(Math.abs(timeLeftMs({ settings: one, burstsDone, burstMs, burstsNeeded: undefined }) - truth) < 1e-6)
      }
    }
  })

  test('has the warm-up while nothing is done, and the service time until a burst is known', () => {
    const one = settings({ Bursts: 10, warmUp: 5, Parallelism: 2, DesiredServiceTimes: ['1s'] })
    assert.equal(timeLeftMs({ settings: one, ...standing }), 20_000)
    assert.equal(timeLeftMs({ settings: one, ...standing, burstsDone: 4, burstMs: 1500 }), 9_000)
  })

  test('of an open loop does not depend on answers', () => {
    const one = settings({ openLoop: { arrivalsPerSecond: 50 } })
    assert.equal(timeLeftMs({ settings: one, ...standing, burstsDone: 500, burstMs: 9999 }), 10_000)
  })

  test('is less with a stop rule: that many samples stop it when they are there', () => {
    const random = seededRandom(7)
    const one = settings({ Bursts: 100_000, stopRule: {} })
    const samples = Float64Array.from({ length: 100_000 }, () => 10 - 5 * Math.log1p(-random()))
    assert.equal(burstsNeeded(one, samples.subarray(0, 100), 100), 368)
    const at = 2000
    const needed = burstsNeeded(one, samples.subarray(0, at), at)!
    assert(needed > at)
    assert.equal(timeLeftMs({ settings: one, burstsDone: at, burstMs: 10, burstsNeeded: needed }), (needed - at) * 10)
    // Within a factor of two of where the rule really stops.
    let stops = at
    while (stopDecision(sortSamples(samples.subarray(0, stops)), one.stopRule!).kind !== 'stop') stops += 100
    assert(needed > stops / 2 && needed < stops * 2, `${needed} estimated, ${stops} really`)
    assert.equal(burstsNeeded(one, samples.subarray(0, stops), stops), stops)
  })

  test('is nothing at the end, and never negative', () => {
    assert.equal(timeLeftMs({ settings: settings({}), burstsDone: 1000, burstMs: 5, burstsNeeded: undefined }), 0)
    assert.equal(timeLeftMs({ settings: settings({}), burstsDone: 900, burstMs: 5, burstsNeeded: 800 }), 0)
  })
})

test('a median of recent values forgets what is long ago', () => {
  const median = new RecentMedian()
  assert.equal(median.value, undefined)
  for (let value = 1; value <= 5; value++) median.add(value)
  assert.equal(median.value, 3)
  for (let count = 0; count < 101; count++) median.add(1000)
  assert.equal(median.value, 1000)
})

test('is said in a line', () => {
  const position = { number: 3, of: 12, title: 'cold', unit: 'burst', done: 120, all: 1000, medianMs: 31.24, leftMs: 250_000 } as const
  assert.equal(progressLine(position), '3/12 cold: burst 120 of 1000, median 31.2 ms; about 4 min 10 s left')
  assert.equal(progressLine({ ...position, title: '', medianMs: undefined }), '3/12 (no title): burst 120 of 1000; about 4 min 10 s left')
  assert.deepEqual([0, 400, 59_000, 60_000, 599_000, 3_600_000, 9_000_000].map(roughly), ['0 s', '1 s', '59 s', '1 min 0 s', '9 min 59 s', '60 min', '2 h 30 min'])
})
