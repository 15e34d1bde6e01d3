/**
 * What a set of latencies says, and how sure that is.
 *
 * Percentiles are STeLLAR's: the empirical quantile, a sample that was seen, never a value between two (gonum's stat.Empirical). To its columns come
 * p99 and p99.9 and the thesis's metrics (3.4, Table 3.1): TMR = p99 / p50; MR and TR = p50 and p99 over the median of single warm invocations.
 *
 * Intervals of percentiles come from order statistics (David and Nagaraja, Order Statistics, 7.1): how many of n samples lie below the true
 * percentile is binomial, whatever the distribution. Intervals of ratios come from the bootstrap. Both take samples for independent, which those
 * of one burst are not: the interval is then too narrow.
 *
 *   S1. An interval of a percentile holds the true one with at least the confidence asked for, or there is none.
 *   S2. `samplesNeeded(p)` is the smallest count for which such an interval exists. For p99 at 95 % it is 368, for p99.9 it is 3688: the thesis's 3000
 *       samples per setting do for the first and not for the second.
 */

/** Ratios above this are "potentially problematic" (thesis 3.4 and 3.6.1). */
export const PROBLEMATIC_ABOVE = 10

export interface Summary {
  readonly count: number
  readonly mean: number
  /** Of the sample (n - 1); NaN for a single one. */
  readonly standardDeviation: number
  readonly min: number
  readonly p25: number
  readonly p50: number
  readonly p75: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
  readonly max: number
  /** Tail to median. */
  readonly tmr: number
}

export interface Interval {
  readonly lower: number
  readonly upper: number
}

export interface StopRule {
  /** A fraction: 0.99 is p99. */
  readonly percentile: number
  readonly confidence: number
  /** Half the width of the interval, as a share of the percentile. */
  readonly relativeError: number
}

export type StopDecision =
  | { readonly kind: 'stop'; readonly interval: Interval; readonly relativeError: number }
  | { readonly kind: 'too-few'; readonly samplesNeeded: number }
  | { readonly kind: 'too-wide'; readonly interval: Interval; readonly relativeError: number }

export function sortSamples(values: Iterable<number>): Float64Array {
  return Float64Array.from(values).sort()
}

/** @param sorted From `sortSamples`. @param p 0..1. The smallest sample that at least the share p of all does not exceed; NaN without samples. */
export function percentile(sorted: Float64Array, p: number): number {
  return sorted[Math.max(1, rankOf(sorted.length, p)) - 1] ?? NaN
}

export function summarize(sorted: Float64Array): Summary {
  const count = sorted.length
  const mean = sorted.reduce((sum, value) => sum + value, 0) / count
  const squares = sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  const [p50, p99] = [percentile(sorted, 0.5), percentile(sorted, 0.99)]
  return {
    count, mean, standardDeviation: Math.sqrt(squares / (count - 1)),
    min: percentile(sorted, 0), p25: percentile(sorted, 0.25), p50, p75: percentile(sorted, 0.75), p95: percentile(sorted, 0.95),
    p99, p999: percentile(sorted, 0.999), max: percentile(sorted, 1), tmr: p99 / p50,
  }
}

/**
 * A row of Table 3.1: what a factor does to median and tail, in medians of single warm invocations on the same platform.
 * @param subtractMs The function's own run, when it has one (footnote 7).
 */
export function ratiosToBase(factor: Pick<Summary, 'p50' | 'p99'>, baseP50: number, subtractMs = 0): { readonly mr: number; readonly tr: number } {
  return { mr: (factor.p50 - subtractMs) / baseP50, tr: (factor.p99 - subtractMs) / baseP50 }
}

/** Bytes per second: the payload's size over the median of its transfer (thesis 3.4). */
export function bandwidth(payloadBytes: number, medianMs: number): number {
  return (payloadBytes * 1000) / medianMs
}

/** Samples without which no interval of that percentile with that confidence exists. @param p Strictly between 0 and 1. */
export function samplesNeeded(p: number, confidence = 0.95): number {
  return Math.ceil(Math.log((1 - confidence) / 2) / Math.log(Math.max(p, 1 - p)) - 1e-9)
}

/** Two samples between which the true percentile lies; undefined when there are too few (S2). */
export function percentileInterval(sorted: Float64Array, p: number, confidence = 0.95): Interval | undefined {
  const ranks = intervalRanks(sorted.length, p, confidence)
  return ranks && { lower: sorted[ranks.lower - 1]!, upper: sorted[ranks.upper - 1]! }
}

/**
 * Ranks, from 1, of the two samples: P(B < lower) and P(B >= upper) are at most half of what the confidence leaves, B being binomial(n, p).
 *
 * The binomial's weights are walked from its middle outwards and divided by their sum, which needs no factorial and stays exact for
 * millions of samples; weights below 1e-20 of the largest are left out.
 */
export function intervalRanks(n: number, p: number, confidence: number): { readonly lower: number; readonly upper: number } | undefined {
  if (n < samplesNeeded(p, confidence)) return undefined
  const odds = p / (1 - p)
  const middle = Math.min(n, Math.floor((n + 1) * p))
  const below: number[] = []
  for (let k = middle, weight = 1; k > 0; k--) {
    weight *= k / ((n - k + 1) * odds)
    if (weight < 1e-20) break
    below.push(weight)
  }
  const weights = [...below.reverse(), 1]
  const first = middle - below.length
  for (let k = middle, weight = 1; k < n; k++) {
    weight *= ((n - k) * odds) / (k + 1)
    if (weight < 1e-20) break
    weights.push(weight)
  }
  const side = (weights.reduce((sum, weight) => sum + weight, 0) * (1 - confidence)) / 2
  let lower = first
  for (let index = 0, sum = 0; index < weights.length && (sum += weights[index]!) <= side; index++) lower = first + index + 1
  let upper = first + weights.length
  for (let index = weights.length - 1, sum = 0; index >= 0 && (sum += weights[index]!) <= side; index--) upper = first + index
  return lower < 1 || upper > n ? undefined : { lower, upper }
}

/** The middle share of the statistic over resamples of each set. @param random 0..1, handed in so that a report can be repeated. */
export function bootstrapInterval(
  sets: readonly Float64Array[], statistic: (...resampled: readonly Float64Array[]) => number,
  options: { readonly random: () => number; readonly confidence?: number; readonly resamples?: number },
): Interval | undefined {
  if (sets.some((set) => set.length === 0)) return undefined
  const { random, confidence = 0.95, resamples = 1000 } = options
  const results = sortSamples(Array.from({ length: resamples }, () => statistic(...sets.map((set) => resample(set, random)))))
  return { lower: percentile(results, (1 - confidence) / 2), upper: percentile(results, (1 + confidence) / 2) }
}

/** Ask after every so many samples, not after each: the more often one looks, the likelier is a stop by luck. */
export function stopDecision(sorted: Float64Array, rule: StopRule): StopDecision {
  const interval = percentileInterval(sorted, rule.percentile, rule.confidence)
  if (interval === undefined) return { kind: 'too-few', samplesNeeded: samplesNeeded(rule.percentile, rule.confidence) }
  const half = (interval.upper - interval.lower) / 2
  const relativeError = half === 0 ? 0 : half / percentile(sorted, rule.percentile)
  return { kind: relativeError <= rule.relativeError ? 'stop' : 'too-wide', interval, relativeError }
}

/** From 1. The tolerance takes back what the product of a decimal fraction has too much: 0.07 × 100 is more than 7. */
function rankOf(n: number, p: number): number {
  return Math.ceil(p * n * (1 - 1e-12))
}

/** As many samples, drawn with replacement, sorted: counting how often each is drawn saves the sorting. */
function resample(sorted: Float64Array, random: () => number): Float64Array {
  const drawn = new Uint32Array(sorted.length)
  for (let count = 0; count < sorted.length; count++) drawn[Math.floor(random() * sorted.length)]!++
  const result = new Float64Array(sorted.length)
  let at = 0
  for (let index = 0; index < sorted.length; index++) {
    const times = drawn[index]!
    result.fill(sorted[index]!, at, at + times)
    at += times
  }
  return result
}
