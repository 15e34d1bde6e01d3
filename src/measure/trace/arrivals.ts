/**
 * From counts per minute to the moments of single invocations, each with the runtime and memory it asks for.
 *
 * As In-Vitro does it (Ustiugov et al., WORDS 2023; pkg/generator/specification.go): for a minute with n invocations n gaps are
 * drawn, exponential, uniform or equal, and scaled to sum to the minute. The first invocation is at the minute's start, so all
 * functions herd there; with `shift` the minute is a ring that is cut at a random point. Runtime and memory are independent
 * quantiles, then a whole number between the two percentiles around it (the upper one excluded), within its limits.
 *
 * Where we differ: the gaps are not kept. They are drawn twice from the same seed, first to sum them, then to walk them, so a
 * function holds no more than a few numbers however high its rate. A minute's seed is made of the run's seed, the function's name
 * and the minute: a function arrives at the same times in a small sample and in a large one, in a short run and in a long one.
 *
 * Invariants:
 *   A1. A unit with n invocations has n arrivals, in order, none outside of it.
 *   A2. The gaps of a unit, with the one from the last arrival around to the first, sum to the unit.
 *   A3. The same seed gives the same arrivals; another function's or minute's do not depend on them.
 */
import { seededRandom } from '#base/seeded-random.ts'
import type { Percentiles, Trace, TracedFunction } from './load.ts'

export type Distribution = 'exponential' | 'uniform' | 'equidistant'

export interface ArrivalOptions {
  readonly seed: number
  /** Default exponential: independent users. */
  readonly distribution?: Distribution
  /** Whether a minute's first arrival is moved away from its start. Default false, as the original. */
  readonly shift?: boolean
  /** How many times faster than recorded invocations arrive; runtimes stay. Default 1. */
  readonly speedUp?: number
}

export interface Arrival {
  /** Whole microseconds since the replay began, sped up. */
  readonly atUs: number
  /** The unit of the trace, from 0. */
  readonly unit: number
  /** The invocation's number within its unit, from 0. */
  readonly index: number
  /** Whole milliseconds, or as recorded. */
  readonly runtimeMs: number
  readonly memoryMb: number
}

const RUNTIME_MS = { min: 1, max: 60_000 }
const MEMORY_MB = { min: 1, max: 10_240 }

/** In order of time. */
export function* arrivalsOf(one: TracedFunction, trace: Pick<Trace, 'unitUs'>, options: ArrivalOptions): Generator<Arrival> {
  const { unitUs } = trace
  const { seed, distribution = 'exponential', shift = false, speedUp = 1 } = options
  const { counts, demand } = one
  if (demand.kind === 'recorded') {
    let unit = -1
    let index = 0
    for (const [number, startUs] of demand.startUs.entries()) {
      const itsUnit = Math.floor(startUs / unitUs)
      index = itsUnit === unit ? index + 1 : 0
      unit = itsUnit
      yield { atUs: Math.floor(startUs / speedUp), unit, index, runtimeMs: clamp(demand.durationMs[number]!, RUNTIME_MS), memoryMb: clamp(demand.memoryMb, MEMORY_MB) }
    }
    return
  }
  for (let unit = 0; unit < counts.length; unit++) {
    const count = counts[unit]!
    if (count === 0) continue
    const demandRandom = seededRandom(seedOf(seed, one.name, unit, 'demand'))
    let index = 0
    for (const offsetUs of offsetsInUnit(count, unitUs, distribution, shift, seedOf(seed, one.name, unit, 'time'))) {
      const quantile = { runtime: demandRandom(), memory: demandRandom() }
      yield {
        atUs: Math.floor((unit * unitUs + offsetUs) / speedUp),
        unit,
        index: index++,
        runtimeMs: clamp(drawBetween(demand.durationMs, quantile.runtime, demandRandom), RUNTIME_MS),
        memoryMb: clamp(drawBetween(demand.memoryMb, quantile.memory, demandRandom), MEMORY_MB),
      }
    }
  }
}

/** The offsets of `count` arrivals from their unit's start, ascending, in [0, unitUs). */
export function* offsetsInUnit(count: number, unitUs: number, distribution: Distribution, shift: boolean, seed: number): Generator<number> {
  let random = seededRandom(seed)
  let sum = 0
  for (let drawn = 0; drawn < count; drawn++) sum += gapOf(distribution, random)
  // The number after the gaps; without shift the ring is cut where the first arrival is.
  const cut = shift ? random() * sum : 0
  const scale = unitUs / (sum === 0 ? 1 : sum)
  // Rounding must not move the last arrival into the next unit, nor when the unit's start is added to it.
  const below = unitUs - 2 ** -10
  // Arrivals at or after the cut come first, then those before it: one walk of the gaps each.
  for (const wrapped of shift ? [false, true] : [false]) {
    random = seededRandom(seed)
    let position = 0
    for (let drawn = 0; drawn < count; drawn++) {
      if (wrapped && position >= cut) break
      if (wrapped || position >= cut) yield Math.min(below, (wrapped ? position + (sum - cut) : position - cut) * scale)
      position += gapOf(distribution, random)
    }
  }
}

/** Not scaled yet. Equal gaps draw nothing. */
function gapOf(distribution: Distribution, random: () => number): number {
  if (distribution === 'equidistant') return 1
  return distribution === 'uniform' ? 1 - random() : -Math.log(1 - random())
}

/** A whole number between the percentiles around the quantile, the upper one excluded as in the original. */
export function drawBetween({ ranks, values }: Percentiles, quantile: number, random: () => number): number {
  const upper = ranks.findIndex((rank) => quantile <= rank)
  if (upper <= 0) return Math.trunc(values[0]!)
  const [low, high] = [Math.trunc(values[upper - 1]!), Math.trunc(values[upper]!)]
  return low + Math.floor(random() * (high - low))
}

function clamp(value: number, { min, max }: { readonly min: number; readonly max: number }): number {
  return Math.min(max, Math.max(min, value))
}

/** FNV-1a over what tells one stream of random numbers from another. */
function seedOf(seed: number, name: string, unit: number, stream: 'time' | 'demand'): number {
  let hash = 0x811c9dc5
  const text = `${seed}/${name}/${unit}/${stream}`
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
