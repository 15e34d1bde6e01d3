/**
 * A number of a report: with its interval, or with what it would need. One place decides what may be printed.
 *
 *   C1. A percentile of fewer samples than `samplesNeeded` is no number, nor is what is computed of it.
 *   C2. A ratio whose denominator is not far above its resolution is no number: 3 ms, cut off to whole ones, may be 3.99. That of a numerator widens the interval.
 */
import { PROBLEMATIC_ABOVE, bandwidth, percentile, percentileInterval, samplesNeeded } from '../statistics.ts'
import type { Interval } from '../statistics.ts'
import { say } from './plots/scale.ts'
import { drawResamples, middleOf } from './samples.ts'
import type { Draws, SampleSet } from './samples.ts'

export type Cell =
  | { readonly kind: 'value'; readonly value: number; readonly interval: Interval | undefined }
  | { readonly kind: 'needs'; readonly samples: number }
  | { readonly kind: 'none'; readonly reason: string }

/** Denominators are at least so many times their resolution. */
const COARSE_TIMES = 10

export type DrawsOf = (set: SampleSet) => Draws

/** Each set is resampled once. One stream of random numbers for all: the same one for two sets would make them move together. */
export function drawsBy(random: () => number): DrawsOf {
  const made = new Map<SampleSet, Draws>()
  return (set) => {
    const known = made.get(set) ?? drawResamples(set, random)
    made.set(set, known)
    return known
  }
}

export type CellPercentile = 0.5 | 0.99 | 0.999
const drawNames = { 0.5: 'p50', 0.99: 'p99', 0.999: 'p999' } as const

/** Its interval is exact (order statistics); of bursts it is the bootstrap's, because requests of a burst are alike. */
export function percentileCell(set: SampleSet, p: CellPercentile, drawsOf: DrawsOf): Cell {
  const exact = percentileInterval(set.sorted, p)
  if (exact === undefined) return { kind: 'needs', samples: samplesNeeded(p) }
  const draws = set.bursts === undefined ? undefined : drawsOf(set)[drawNames[p]]
  return { kind: 'value', value: percentile(set.sorted, p), interval: draws === undefined ? exact : middleOf(draws.length, (place) => draws[place]!) }
}

export function tailToMedianCell(set: SampleSet, drawsOf: DrawsOf): Cell {
  const bar = needsOrCoarse(set, 0.99, set)
  if (bar !== undefined) return bar
  const { p50, p99 } = drawsOf(set)
  return { kind: 'value', value: percentile(set.sorted, 0.99) / percentile(set.sorted, 0.5), interval: middleOf(p50.length, (place) => p99[place]! / p50[place]!) }
}

/** MR and TR: a percentile over the median of single warm invocations. @param subtractMs Footnote 7. */
export function ratioCell(set: SampleSet, of: 'p50' | 'p99', base: SampleSet, drawsOf: DrawsOf, subtractMs = 0): Cell {
  const p = of === 'p50' ? 0.5 : 0.99
  const bar = needsOrCoarse(set, p, base)
  if (bar !== undefined) return bar
  const value = (percentile(set.sorted, p) - subtractMs) / percentile(base.sorted, 0.5)
  const below = drawsOf(base).p50
  // A set over its own median moves with it.
  const above = drawsOf(set)[of]
  const drawn = middleOf(Math.min(above.length, below.length), (place) => (above[place]! - subtractMs) / below[place]!)
  // What was cut off, or between two timestamps that were.
  const unsure = set.resolutionMs / percentile(base.sorted, 0.5)
  return { kind: 'value', value, interval: drawn && { lower: drawn.lower - unsure, upper: drawn.upper + unsure } }
}

/** Megabits per second, as the thesis has them: the size over the median. */
export function bandwidthCell(set: SampleSet, payloadBytes: number, drawsOf: DrawsOf): Cell {
  const median = percentileCell(set, 0.5, drawsOf)
  if (median.kind !== 'value') return median
  if (median.value < COARSE_TIMES * set.resolutionMs) return tooCoarse(median.value, set.resolutionMs)
  const megabits = (ms: number): number => (bandwidth(payloadBytes, ms) * 8) / 1e6
  const { lower, upper } = median.interval!
  return { kind: 'value', value: megabits(median.value), interval: lower > 0 ? { lower: megabits(upper), upper: megabits(lower) } : undefined }
}

export function isProblematic(cell: Cell): boolean {
  return cell.kind === 'value' && cell.value > PROBLEMATIC_ABOVE
}

/** "12.3 [11.9, 12.8]", or "needs 368 samples". @param resolutionMs Values below it were cut off to zero. */
export function sayCell(cell: Cell, resolutionMs = 0): string {
  switch (cell.kind) {
    case 'needs': return `needs ${cell.samples} samples`
    case 'none': return cell.reason
    case 'value': {
      const number = (value: number): string => (value < resolutionMs && value >= 0 ? `< ${say(resolutionMs)}` : sayFigure(value))
      return cell.interval === undefined ? number(cell.value) : `${number(cell.value)} [${number(cell.interval.lower)}, ${number(cell.interval.upper)}]`
    }
  }
}

/** With three digits at least, and a sign when it has one. */
export function sayFigure(value: number): string {
  if (!Number.isFinite(value)) return '–'
  return value < 0 ? `−${say(-value)}` : say(value)
}

function needsOrCoarse(set: SampleSet, p: number, base: SampleSet): Cell | undefined {
  if (set.sorted.length < samplesNeeded(p)) return { kind: 'needs', samples: samplesNeeded(p) }
  if (base.sorted.length < samplesNeeded(0.5)) return { kind: 'none', reason: `the base needs ${samplesNeeded(0.5)} samples` }
  const median = percentile(base.sorted, 0.5)
  return median < COARSE_TIMES * base.resolutionMs ? tooCoarse(median, base.resolutionMs) : undefined
}

function tooCoarse(median: number, resolutionMs: number): Cell {
  return { kind: 'none', reason: `a median of ${sayFigure(median)} ms cut off to multiples of ${resolutionMs} ms is too coarse` }
}
