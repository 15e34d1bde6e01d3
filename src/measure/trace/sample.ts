/**
 * Makes a trace small enough for a few machines, and still like the whole one.
 *
 * Of many random samples the one is taken whose distribution over functions is nearest to the whole trace's, by Wasserstein
 * distance, minute by minute: of invocations, and of resources (invocations × average duration × average memory). Larger
 * samples contain the smaller ones, so a series of them shows the effect of load, not of another choice.
 * Source: Ustiugov et al., "Enabling In-Vitro Serverless Systems Research" (WORDS 2023), sampler/sample.py, roll-up. Where we
 * differ: what is added to a sample is judged by the union it makes; the original judges the addition by itself.
 *
 * Invariants:
 *   W1. A sample has exactly its size, no function twice, and all functions of every smaller one.
 *   W2. It is the nearest of its trials; the same seed gives the same samples.
 *   W3. Memory is one minute of the trace and the trials' indices, not the trace once more.
 */
import type { Trace } from './load.ts'
import { seededRandom } from '#base/seeded-random.ts'
import { PlatformError } from '#contract/errors.ts'

export interface SampleOptions {
  /** Numbers of functions, in any order. */
  readonly sizes: readonly number[]
  /** Random samples tried for each size. */
  readonly trials: number
  readonly seed: number
}

export interface Sample {
  readonly trace: Trace
  readonly distance: Distance
}

/** Averages over the minutes: invocations, resources in units of RESOURCE_UNIT, and the mean of the two, by which samples are judged. */
export interface Distance {
  readonly invocations: number
  readonly resources: number
  readonly mean: number
}

/** In-Vitro's for Azure 2019, chosen so that both distances weigh about the same: 1000 ms × 10 invocations × 100 MB. */
const RESOURCE_UNIT = 1000 * 10 * 100

/** One sample per size, from the smallest. */
export function sampleTrace(trace: Trace, { sizes, trials, seed }: SampleOptions): Sample[] {
  const total = trace.functions.length
  const wrong = sizes.find((size) => !Number.isInteger(size) || size < 1 || size > total)
  if (wrong !== undefined) throw new PlatformError('INPUT_INVALID', `a sample of ${wrong} functions cannot be taken: the trace has ${total}, name a whole number from 1 to that`)
  if (!Number.isInteger(trials) || trials < 1) throw new PlatformError('INPUT_INVALID', `${trials} trials: name a whole number from 1`)
  const random = seededRandom(seed)
  let chosen: readonly number[] = []
  return [...new Set(sizes)].sort((a, b) => a - b).map((size) => {
    const candidates = Array.from({ length: trials }, () => addRandom(chosen, size, total, random))
    const distances = distancesOf(trace, candidates)
    const best = distances.reduce((least, one, index) => (one.mean < distances[least]!.mean ? index : least), 0)
    chosen = candidates[best]!
    const functions = [...chosen].sort((a, b) => a - b).map((index) => trace.functions[index]!)
    return { trace: { ...trace, functions }, distance: distances[best]! }
  })
}

/** How far the functions at each list of indices are from all of them. */
export function distancesOf(trace: Trace, candidates: readonly (readonly number[])[]): Distance[] {
  const invocations = new Float64Array(candidates.length)
  const resources = new Float64Array(candidates.length)
  for (let unit = 0; unit < trace.unitCount; unit++) {
    const counts = trace.functions.map((one) => one.counts[unit]!)
    const used = trace.functions.map((one, index) => (counts[index]! * one.averageMs * one.averageMb) / RESOURCE_UNIT)
    for (const [values, sums] of [[counts, invocations], [used, resources]] as const) {
      const whole = distributionOf(values)
      for (const [index, candidate] of candidates.entries()) sums[index]! += wasserstein(whole, distributionOf(candidate.map((one) => values[one]!)))
    }
  }
  const units = Math.max(1, trace.unitCount)
  return candidates.map((_, index) => {
    const [ofInvocations, ofResources] = [invocations[index]! / units, resources[index]! / units]
    return { invocations: ofInvocations, resources: ofResources, mean: (ofInvocations + ofResources) / 2 }
  })
}

/** An empirical distribution: distinct values, ascending, with the share of all that is at most the value. Most functions are idle in most minutes. */
export interface EmpiricalDistribution {
  readonly values: readonly number[]
  readonly shares: readonly number[]
}

export function distributionOf(sample: readonly number[]): EmpiricalDistribution {
  const sorted = Float64Array.from(sample).sort()
  const values: number[] = []
  const shares: number[] = []
  for (let index = 0; index < sorted.length; index++) {
    if (sorted[index] === sorted[index + 1]) continue
    values.push(sorted[index]!)
    shares.push((index + 1) / sorted.length)
  }
  return { values, shares }
}

/** The area between the two distribution functions: how much has to be moved how far to make one from the other. */
export function wasserstein(a: EmpiricalDistribution, b: EmpiricalDistribution): number {
  let [atA, atB] = [0, 0]
  let [shareA, shareB] = [0, 0]
  let previous = 0
  let area = 0
  while (atA < a.values.length || atB < b.values.length) {
    const value = Math.min(a.values[atA] ?? Infinity, b.values[atB] ?? Infinity)
    // Before the first value both shares are 0, and so is the area.
    area += Math.abs(shareA - shareB) * (value - previous)
    if (a.values[atA] === value) shareA = a.shares[atA++]!
    if (b.values[atB] === value) shareB = b.shares[atB++]!
    previous = value
  }
  return area
}

/** `chosen` and as many others, each with the same chance, as make `size`: a Fisher-Yates shuffle that stops early. */
function addRandom(chosen: readonly number[], size: number, total: number, random: () => number): number[] {
  const taken = new Set(chosen)
  const others = Array.from({ length: total }, (_, index) => index).filter((index) => !taken.has(index))
  for (let place = 0; place < size - chosen.length; place++) {
    const from = place + Math.floor(random() * (others.length - place))
    const drawn = others[from]!
    others[from] = others[place]!
    others[place] = drawn
  }
  return [...chosen, ...others.slice(0, size - chosen.length)]
}

