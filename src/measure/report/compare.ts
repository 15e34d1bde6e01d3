/**
 * Two runs: how much slower or faster the second is, and whether that can be said at all.
 *
 * The ratio is B over A: 2 is twice as slow, of bandwidth twice as fast. Its interval comes from the bootstrap over the samples, whole bursts at once (samples.ts).
 * A verdict needs the whole interval on one side of the smallest difference that matters; "no difference" is a verdict too, and needs the whole interval
 * within it (Schuirmann's two one-sided tests). Everything else is not decided, with the samples that would probably do: an interval narrows with their root.
 *
 *        1/(1+d)   1   1+d
 *   ├──┤    ┊      ┊    ┊          faster
 *           ┊ ├──┤ ┊    ┊          no difference
 *           ┊      ├────┊─┤        not decided
 *           ┊      ┊    ┊  ├──┤    slower
 *
 *   Q1. No verdict without `samplesNeeded` samples and BURSTS_MIN bursts on either side, nor where the driver was what was measured.
 *   Q2. Comparing B with A gives the reciprocal ratio and the opposite verdict, up to the luck of the draw.
 */
import { percentile, samplesNeeded } from '../statistics.ts'
import type { Interval } from '../statistics.ts'
import { drawsBy } from './cells.ts'
import type { DrawsOf } from './cells.ts'
import { voiding } from './classify.ts'
import type { LoadedRun, LoadedSubExperiment } from './load-run.ts'
import { matchRuns, nameOf } from './match.ts'
import { driverBound } from './report.ts'
import { middleOf } from './samples.ts'
import type { SampleSet } from './samples.ts'

export type Verdict =
  | { readonly kind: 'faster' | 'slower' | 'no difference' }
  | { readonly kind: 'not decided'; readonly why: string; readonly samplesNeeded: number | undefined }

export interface Ratio {
  readonly what: 'p50' | 'p99' | 'transfer p50' | 'transfer p99' | 'bandwidth'
  /** In ms; of bandwidth megabits per second over the mean transfer. Undefined where there are too few samples. */
  readonly a: number | undefined
  readonly b: number | undefined
  readonly ratio: number | undefined
  readonly interval: Interval | undefined
  readonly verdict: Verdict
}

export interface ComparedPair {
  readonly name: string
  readonly samples: readonly [a: number, b: number]
  readonly ratios: readonly Ratio[]
  /** Settings that differ, and what makes a side untrustworthy. */
  readonly warnings: readonly string[]
}

export interface Comparison {
  readonly a: string
  readonly b: string
  /** A share: 0.05 is 5 %. */
  readonly smallestDifference: number
  /** About the whole: machines, drivers, versions. */
  readonly warnings: readonly string[]
  readonly pairs: readonly ComparedPair[]
  readonly onlyA: readonly string[]
  readonly onlyB: readonly string[]
}

export interface CompareOptions {
  /** The smallest difference that matters, a share. Default 0.05. */
  readonly smallestDifference?: number
  /** 0..1; the same gives the same comparison. */
  readonly random: () => number
}

/** With fewer, how bursts differ is not known. */
export const BURSTS_MIN = 6
const SAMPLES_SAID_MAX = 10_000_000

export function compareRuns(a: LoadedRun, b: LoadedRun, { smallestDifference = 0.05, random }: CompareOptions): Comparison {
  const drawsOf = drawsBy(random)
  const { pairs, onlyA, onlyB } = matchRuns(a, b)
  const names = a.name === b.name ? [`${a.name} (A)`, `${b.name} (B)`] as const : [a.name, b.name] as const
  return {
    a: names[0], b: names[1], smallestDifference, warnings: warningsOf(a, b),
    onlyA: onlyA.map(nameOf), onlyB: onlyB.map(nameOf),
    pairs: pairs.map(({ a: one, b: other, differences }) => {
      const bound = [elsewise(one, 'A'), elsewise(other, 'B'), untrusted(one, 'A'), untrusted(other, 'B')].filter((why) => why !== undefined)
      return {
        name: nameOf(one), samples: [one.latencies?.sorted.length ?? 0, other.latencies?.sorted.length ?? 0], ratios: ratiosOf(one, other, bound[0], smallestDifference, drawsOf),
        warnings: [...differences.map((difference) => `settings differ: ${difference}`), ...bound, ...unfinished(one, 'A'), ...unfinished(other, 'B'), ...latencyKinds(one, other)],
      }
    }),
  }
}

function ratiosOf(a: LoadedSubExperiment, b: LoadedSubExperiment, bound: string | undefined, least: number, drawsOf: DrawsOf): Ratio[] {
  const ratio = (what: Ratio['what'], setA: SampleSet | undefined, setB: SampleSet | undefined, of: 'p50' | 'p99' | 'mean'): Ratio => {
    if (setA === undefined || setB === undefined) return { what, a: undefined, b: undefined, ratio: undefined, interval: undefined, verdict: { kind: 'not decided', why: `${setA === undefined ? 'A' : 'B'} has no samples`, samplesNeeded: undefined } }
    const isBandwidth = of === 'mean'
    const needed = isBandwidth ? samplesNeeded(0.5) : samplesNeeded(of === 'p50' ? 0.5 : 0.99)
    const fewest = Math.min(setA.sorted.length, setB.sorted.length)
    if (fewest < needed) return { what, a: undefined, b: undefined, ratio: undefined, interval: undefined, verdict: { kind: 'not decided', why: `one has ${fewest} samples`, samplesNeeded: needed } }
    const valueOf = (set: SampleSet): number => (isBandwidth ? megabits(a.settings.PayloadLengthBytes, mean(set)) : percentile(set.sorted, of === 'p50' ? 0.5 : 0.99))
    const [valueA, valueB] = [valueOf(setA), valueOf(setB)]
    const [drawsA, drawsB] = [drawsOf(setA)[of], drawsOf(setB)[of]]
    const interval = middleOf(Math.min(drawsA.length, drawsB.length), (place) => (isBandwidth ? drawsA[place]! / drawsB[place]! : drawsB[place]! / drawsA[place]!))
    const known = { what, a: valueA, b: valueB, ratio: Number.isFinite(valueB / valueA) ? valueB / valueA : undefined, interval }
    const bar = bound ?? coarse(setA, setB, of) ?? fewBursts(setA, setB)
    if (bar !== undefined || known.ratio === undefined || interval === undefined) return { ...known, verdict: { kind: 'not decided', why: bar ?? 'no interval', samplesNeeded: undefined } }
    const verdict = verdictOf(known.ratio, interval, least, fewest)
    // More of bandwidth is faster.
    return { ...known, verdict: isBandwidth && verdict.kind === 'slower' ? { kind: 'faster' } : isBandwidth && verdict.kind === 'faster' ? { kind: 'slower' } : verdict }
  }
  const whole = [ratio('p50', a.latencies, b.latencies, 'p50'), ratio('p99', a.latencies, b.latencies, 'p99')]
  if (a.transfer === undefined && b.transfer === undefined) return whole
  const transfers = [ratio('transfer p50', a.transfer, b.transfer, 'p50'), ratio('transfer p99', a.transfer, b.transfer, 'p99')]
  return a.settings.PayloadLengthBytes === 0 ? [...whole, ...transfers] : [...whole, ...transfers, ratio('bandwidth', a.transfer, b.transfer, 'mean')]
}

/** @param least The smallest difference that matters, a share. @param samples Of the run with fewer. */
export function verdictOf(ratio: number, { lower, upper }: Interval, least: number, samples: number): Verdict {
  const border = 1 + least
  if (lower > border) return { kind: 'slower' }
  if (upper < 1 / border) return { kind: 'faster' }
  if (lower >= 1 / border && upper <= border) return { kind: 'no difference' }
  // The half of the interval has to fit between the ratio and the nearer border.
  const half = Math.max(Math.log(upper / ratio), Math.log(ratio / lower))
  const room = Math.abs(Math.abs(Math.log(ratio)) - Math.log(border))
  const needed = samples * (half / room) ** 2
  const why = 'the interval reaches over the smallest difference that matters'
  return { kind: 'not decided', why, samplesNeeded: needed < SAMPLES_SAID_MAX ? roundUp(needed) : undefined }
}

function warningsOf(a: LoadedRun, b: LoadedRun): string[] {
  const [one, other] = [a.summary, b.summary]
  if (one === undefined || other === undefined) {
    const which = one === undefined && other === undefined ? 'both are' : `${one === undefined ? 'A' : 'B'} is`
    return [`${which} read from STeLLAR's directories: machine, driver and most settings are not known, and its consumers don't read what storage transfers write`]
  }
  const differs = (what: string, x: string | number, y: string | number): string[] => (x === y ? [] : [`${what} differ: ${x} / ${y}`])
  return [
    ...differs('machines', `${one.client.cpus} × ${one.client.cpu}`, `${other.client.cpus} × ${other.client.cpu}`),
    ...differs('drivers', one.client.skep, other.client.skep), ...differs('versions of Node', one.client.node, other.client.node), ...differs('experiments', one.experiment, other.experiment),
  ]
}

/** What was measured is not what the other side did. */
function elsewise(one: LoadedSubExperiment, side: string): string | undefined {
  const [limit] = voiding(one)
  return limit === undefined ? undefined : `${side} did something else: ${limit.field}: ${limit.message}`
}

function untrusted({ result }: LoadedSubExperiment, side: string): string | undefined {
  const why = result === undefined ? undefined : driverBound(result)
  return why === undefined ? undefined : `${side} may have measured its driver: ${why}`
}

function unfinished({ result }: LoadedSubExperiment, side: string): string[] {
  if (result === undefined) return []
  const { outcome, failures, limitations } = result
  const failed = failures.reduce((sum, failure) => sum + failure.count, 0)
  return [
    ...(outcome.kind === 'done' || outcome.kind === 'stopped' ? [] : [`${side}: ${outcome.kind}`]),
    ...(failed === 0 ? [] : [`${side}: ${failed} requests failed, and are in no figure`]),
    ...limitations.map(({ field, message }) => `${side}: ${field}: ${message}`),
  ]
}

function latencyKinds({ result: a }: LoadedSubExperiment, { result: b }: LoadedSubExperiment): string[] {
  return a === undefined || b === undefined || a.latencyOf === b.latencyOf ? [] : [`latency is until the ${a.latencyOf} in A, until the ${b.latencyOf} in B`]
}

/** Cut-off milliseconds as large as the values say nothing of a ratio. */
function coarse(a: SampleSet, b: SampleSet, of: 'p50' | 'p99' | 'mean'): string | undefined {
  const p = of === 'p99' ? 0.99 : 0.5
  const bad = [a, b].find((set) => percentile(set.sorted, p) < 10 * set.resolutionMs)
  return bad === undefined ? undefined : `values are cut off to multiples of ${bad.resolutionMs} ms, too coarse for ${percentile(bad.sorted, p)} ms`
}

function fewBursts(...sets: readonly SampleSet[]): string | undefined {
  const few = sets.find((set) => set.bursts !== undefined && set.burstCount < BURSTS_MIN)
  return few === undefined ? undefined : `${few.burstCount} bursts on one side, at least ${BURSTS_MIN} are needed to know how bursts differ`
}

function mean({ sorted }: SampleSet): number {
  return sorted.reduce((sum, value) => sum + value, 0) / sorted.length
}

function megabits(bytes: number, ms: number): number {
  return (bytes * 8) / (ms * 1000)
}

/** To two digits. */
function roundUp(count: number): number {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(count)) - 1)
  return Math.ceil(count / unit) * unit
}
