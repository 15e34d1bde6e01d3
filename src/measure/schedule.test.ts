/**
 * Goal: bursts go where and when the original sends them; strict schedules do what the settings say; open arrivals have their rate and distribution.
 *
 * Method: schedules are listed and compared. Chance is seeded, and distributions are compared with their means, within five deviations.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { seededRandom, seedFromEnvironment } from '#base/seeded-random.ts'
import { samplesMax } from './experiment.ts'
import type { OpenLoop } from './experiment.ts'
import { originalGapMs, planArrivals, planRounds, strictGapMs } from './schedule.ts'

const times = (...texts: readonly string[]): { text: string; ms: number }[] => texts.map((text) => ({ text, ms: Number.parseFloat(text) }))
const settings = { Bursts: 7, BurstSizes: [1, 5], DesiredServiceTimes: times('0ms', '1ms', '2ms'), IATSeconds: 3, IATType: 'deterministic' as const, warmUp: 0, strict: false }
const never = (): number => {
  throw new Error('a schedule without chance asks for none')
}
const seed = seedFromEnvironment()

function meanOf(n: number, draw: () => number): { readonly mean: number; readonly smallest: number } {
  const values = Array.from({ length: n }, draw)
  return { mean: values.reduce((sum, value) => sum + value, 0) / n, smallest: values.reduce((least, value) => Math.min(least, value), Infinity) }
}

describe('rounds', () => {
  test('send one burst to each endpoint in turn; sizes cycle by round, the last service time repeats (P1)', () => {
    const rounds = [...planRounds(settings, 2, never)]
    const told = rounds.map(({ gapMs, bursts }) => [gapMs, bursts.map(({ id, endpoint, size, serviceTime }) => `${id}>${endpoint} x${size} ${serviceTime.text}`)])
    assert.deepEqual(told, [[3000, ['0>0 x1 0ms', '1>1 x1 0ms']], [3000, ['2>0 x5 1ms', '3>1 x5 1ms']], [3000, ['4>0 x1 2ms', '5>1 x1 2ms']], [3000, ['6>0 x5 2ms']]])
  })

  test('have the ids 0 to Bursts - 1 and as many requests as the experiment says, however many endpoints there are (P2)', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 70 }), fc.integer({ min: 0, max: 3 }), fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }), (Bursts, endpoints, warmUp, BurstSizes) => {
      const all = [...planRounds({ ...settings, Bursts, warmUp, BurstSizes }, endpoints, never)]
      const counted = all.filter(({ number }) => number >= 0).flatMap(({ bursts }) => bursts)
      assert.deepEqual(counted.map(({ id }) => id), Array.from({ length: Bursts }, (_, id) => id))
      assert.equal(counted.reduce((sum, { size }) => sum + size, 0), samplesMax({ Bursts, BurstSizes, Parallelism: endpoints }))
      assert(all.every(({ number, bursts }) => bursts.every((burst, index) => burst.endpoint === index && burst.round === number)))
    }), { numRuns: 100 })
  })

  test('of the warm-up come first, reach every endpoint, and are like round 0 (P2)', () => {
    const rounds = [...planRounds({ ...settings, warmUp: 2, Bursts: 1 }, 3, never)]
    assert.deepEqual(rounds.map(({ number, bursts }) => [number, bursts.map(({ id }) => id)]), [[-2, [-6, -5, -4]], [-1, [-3, -2, -1]], [0, [0]]])
    assert(rounds.flatMap(({ bursts }) => bursts).every(({ size, serviceTime }) => size === 1 && serviceTime.text === '0ms'))
  })

  test('wait from the last answer, and in a strict schedule from the last start', () => {
    const from = (strict: boolean): string => planRounds({ ...settings, strict }, 1, never).next().value!.gapFrom
    assert.deepEqual([from(false), from(true)], ['last-answer', 'last-start'])
  })

  test('are the same for the same random numbers, and are made one at a time (P3)', () => {
    const stochastic = { ...settings, IATType: 'stochastic' as const, IATSeconds: 600 }
    assert.deepEqual([...planRounds(stochastic, 2, seededRandom(5))], [...planRounds(stochastic, 2, seededRandom(5))])
    assert.equal(planRounds({ ...stochastic, Bursts: 1e9 }, 1, seededRandom(5)).next().value?.number, 0)
  })
})

describe('gaps of the original', () => {
  test('are T + Exp(1) ln T, cut to milliseconds', () => {
    const random = seededRandom(seed)
    const { mean, smallest } = meanOf(20_000, () => originalGapMs('stochastic', 600, 0, random))
    assert(Math.abs(mean - 606_397) < (5 * 6397) / Math.sqrt(20_000), `SEED=${seed}: ${mean}`)
    assert(smallest >= 600_000)
    assert.equal(originalGapMs('stochastic', 600, 0, () => 1 - Math.exp(-1)), Math.trunc((600 + Math.log(600)) * 1000))
  })

  test('of 1 s are exactly that, of 0 s nothing, and of 0.5 s mostly shorter: 144 ms on average', () => {
    const random = seededRandom(seed)
    assert.deepEqual([0, 0.5, 0.999].map((drawn) => originalGapMs('stochastic', 1, 0, () => drawn)), [1000, 1000, 1000])
    assert.deepEqual([0, 0.5, 0.999].map((drawn) => originalGapMs('stochastic', 0, 0, () => drawn)), [0, 0, 0])
    const { mean, smallest } = meanOf(20_000, () => originalGapMs('stochastic', 0.5, 0, random))
    assert(Math.abs(mean - 143.5) < 7, `SEED=${seed}: ${mean}`)
    assert.equal(smallest, 0)
  })

  test('are whole seconds when deterministic, and never step', () => {
    assert.deepEqual([0.5, 1.9, 10].map((seconds) => originalGapMs('deterministic', seconds, 0, never)), [0, 1000, 10_000])
    assert.deepEqual([0, 1, 9].map((round) => originalGapMs('step', 5, round, never)), [5000, 5000, 5000])
  })
})

describe('strict gaps', () => {
  test('are never shorter than asked for, at any length, and like the original\'s where that is right', () => {
    const random = seededRandom(seed)
    for (const seconds of [0.001, 0.5, 1, 600]) {
      const { mean, smallest } = meanOf(20_000, () => strictGapMs('stochastic', seconds, 0, random))
      const scale = Math.log1p(seconds) * 1000
      assert(smallest >= seconds * 1000 && Math.abs(mean - seconds * 1000 - scale) < (5 * scale) / Math.sqrt(20_000), `SEED=${seed}: ${mean} for ${seconds}`)
    }
    const same = (): number => 0.7
    assert(Math.abs(strictGapMs('stochastic', 600, 0, same) - originalGapMs('stochastic', 600, 0, same)) < 4)
  })

  test('keep fractions, and step second by second up to their length', () => {
    assert.equal(strictGapMs('deterministic', 0.25, 0, never), 250)
    assert.deepEqual([0, 1, 2, 3, 9].map((round) => strictGapMs('step', 3.5, round, never)), [1000, 2000, 3000, 3500, 3500])
  })
})

describe('open arrivals', () => {
  const openLoop = { arrivalsPerSecond: 3, distribution: 'equidistant', inFlightMax: 10 } satisfies OpenLoop

  test('that are equidistant do not drift', () => {
    const arrivals = [...planArrivals({ ...settings, Bursts: 30_001 }, openLoop, 4, never)]
    assert.deepEqual([arrivals[0]!.dueMs, arrivals[3]!.dueMs, arrivals[30_000]!.dueMs], [0, 1000, 10_000_000])
  })

  test('that are Poisson have the rate, and gaps that deviate as much as they are long', () => {
    const n = 20_000
    const due = [...planArrivals({ ...settings, Bursts: n }, { ...openLoop, distribution: 'poisson' }, 1, seededRandom(seed))].map(({ dueMs }) => dueMs)
    const gaps = due.map((ms, index) => ms - (due[index - 1] ?? 0))
    const mean = due.at(-1)! / n
    const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / n)
    assert(gaps.every((gap) => gap >= 0))
    assert(Math.abs(mean - 1000 / 3) < (5 * 334) / Math.sqrt(n), `SEED=${seed}: ${mean}`)
    assert(Math.abs(deviation / mean - 1) < 0.06, `SEED=${seed}: ${deviation / mean}`)
  })

  test('go to the endpoints as rounds do, the warm-up first (P1, P2)', () => {
    const plain = { ...settings, warmUp: 1 }
    const fromRounds = [...planRounds(plain, 2, never)].flatMap(({ bursts }) => bursts)
    assert.deepEqual([...planArrivals(plain, openLoop, 2, never)].map(({ dueMs: _, ...burst }) => burst), fromRounds)
  })
})
