/**
 * The samples of one sub-experiment, sorted, with the burst that each came in; and intervals of what is computed from them.
 *
 * The bootstrap of statistics.ts draws single samples. Requests of one burst wait for the same instances and the same image, so they are alike: drawn
 * one by one they give an interval that is too narrow, and a comparison would decide what it cannot know. Here whole bursts are drawn (Davison and
 * Hinkley, Bootstrap Methods, 2.4 and 3.8: resampling of clusters); with bursts of one request it is the same bootstrap.
 *
 *   B1. `bursts[i]` is the burst of `sorted[i]`, from 0 without a gap; undefined when each sample is a burst of its own.
 *   B2. The same random numbers give the same draws.
 */
import { percentile, sortSamples } from '../statistics.ts'
import type { Interval } from '../statistics.ts'

export interface SampleSet {
  readonly sorted: Float64Array
  readonly bursts: Uint32Array | undefined
  /** Bursts; with bursts of one, samples. */
  readonly burstCount: number
  /** Values are cut off to multiples of this, ms. */
  readonly resolutionMs: number
}

/** Percentiles of resamples; the same place in each is the same resample. */
export interface Draws {
  readonly p50: Float64Array
  readonly p99: Float64Array
  readonly p999: Float64Array
  readonly mean: Float64Array
}

const RESAMPLES_MAX = 1000
const RESAMPLES_MIN = 200
/** Samples drawn for one set, at most: below a second. */
const WORK_MAX = 20_000_000

/** @param burstIds Of each value, as the file has them. */
export function sampleSet(values: readonly number[], burstIds: readonly number[] | undefined, resolutionMs: number): SampleSet {
  const order = Uint32Array.from(values.keys()).sort((a, b) => values[a]! - values[b]!)
  const sorted = Float64Array.from(order, (index) => values[index]!)
  const places = new Map<number, number>()
  for (const id of burstIds ?? []) if (!places.has(id)) places.set(id, places.size)
  if (burstIds === undefined || places.size === values.length) return { sorted, bursts: undefined, burstCount: values.length, resolutionMs }
  return { sorted, bursts: Uint32Array.from(order, (index) => places.get(burstIds[index]!)!), burstCount: places.size, resolutionMs }
}

/** @param random 0..1, handed in so that a report can be repeated. Empty draws of an empty set. */
export function drawResamples(set: SampleSet, random: () => number): Draws {
  const { sorted, bursts, burstCount } = set
  const count = sorted.length === 0 ? 0 : Math.max(RESAMPLES_MIN, Math.min(RESAMPLES_MAX, Math.floor(WORK_MAX / sorted.length)))
  const draws = { p50: new Float64Array(count), p99: new Float64Array(count), p999: new Float64Array(count), mean: new Float64Array(count) }
  const times = new Uint32Array(burstCount)
  for (let one = 0; one < count; one++) {
    times.fill(0)
    for (let drawn = 0; drawn < burstCount; drawn++) times[Math.floor(random() * burstCount)]!++
    let total = 0
    let sum = 0
    for (let index = 0; index < sorted.length; index++) {
      const weight = times[bursts === undefined ? index : bursts[index]!]!
      total += weight
      sum += weight * sorted[index]!
    }
    draws.mean[one] = sum / total
    // One walk for all: how many lie at or below the sample reaches half, then 99 of 100, then 999 of 1000.
    let below = 0
    let index = -1
    for (const [name, share] of [['p50', 0.5], ['p99', 0.99], ['p999', 0.999]] as const) {
      const rank = Math.ceil(share * total * (1 - 1e-12))
      while (below < rank) below += times[bursts === undefined ? ++index : bursts[++index]!]!
      draws[name][one] = sorted[Math.max(0, index)]!
    }
  }
  return draws
}

/** The middle share of what is computed of each place; undefined when it is no number anywhere. */
export function middleOf(count: number, statistic: (place: number) => number, confidence = 0.95): Interval | undefined {
  const values = Array.from({ length: count }, (_, place) => statistic(place))
  if (count === 0 || values.some((value) => !Number.isFinite(value))) return undefined
  const sorted = sortSamples(values)
  return { lower: percentile(sorted, (1 - confidence) / 2), upper: percentile(sorted, (1 + confidence) / 2) }
}
