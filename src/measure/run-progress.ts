/**
 * How far a run is, and how long it still takes.
 *
 * The schedule says how long the gaps are on average; how long a burst takes is known when some were answered, and before that it is taken for the
 * service time. A stop rule may end a sub-experiment early: an interval gets narrower with the root of the count, so how many samples are missing can
 * be said before they are there. All of this is an estimate, and is called one.
 */
import type { SubExperiment } from './experiment.ts'
import { percentile, samplesNeeded, sortSamples, stopDecision } from './statistics.ts'

export interface Standing {
  readonly settings: SubExperiment
  readonly burstsDone: number
  /** The median of a burst, from its first request to its last answer; undefined while none is known. */
  readonly burstMs: number | undefined
  /** What the stop rule needs, when it was last asked; undefined without one. */
  readonly burstsNeeded: number | undefined
}

export function timeLeftMs({ settings, burstsDone, burstMs, burstsNeeded }: Standing): number {
  const { Bursts, Parallelism, warmUp, openLoop } = settings
  const bursts = Math.max(0, Math.min(Bursts, burstsNeeded ?? Bursts) - burstsDone) + (burstsDone === 0 ? warmUp * Parallelism : 0)
  if (openLoop !== undefined) return (bursts * 1000) / openLoop.arrivalsPerSecond
  const answeredMs = burstMs ?? settings.DesiredServiceTimes[0]!.ms
  const gapMs = averageGapMs(settings) / Math.min(Parallelism, Bursts)
  // Counted from the start of a round, a gap has the round's own time in it.
  return bursts * (settings.strict ? Math.max(gapMs, answeredMs) : gapMs + answeredMs)
}

/** The mean of the gaps that schedule.ts draws, before a round. */
export function averageGapMs({ IATType, IATSeconds: seconds, strict, Bursts, Parallelism }: SubExperiment): number {
  if (strict) {
    if (IATType === 'stochastic') return (seconds + Math.log1p(seconds)) * 1000
    if (IATType === 'deterministic') return seconds * 1000
    const rounds = Math.ceil(Bursts / Parallelism)
    const steps = Math.min(rounds, Math.floor(seconds))
    return ((steps * (steps + 1)) / 2 + (rounds - steps) * seconds) * 1000 / rounds
  }
  if (IATType !== 'stochastic') return Math.trunc(seconds) * 1000
  if (seconds === 0) return 0
  const spread = Math.log(seconds)
  // Below 1 s the exponential is taken off, and what would be negative is no gap.
  return (spread >= 0 ? seconds + spread : seconds + spread * (1 - Math.exp(seconds / spread))) * 1000
}

/** How many bursts the stop rule will have taken; undefined when that can't be told, or there is no rule. */
export function burstsNeeded({ stopRule, Bursts }: SubExperiment, latencies: Float64Array, burstsDone: number): number | undefined {
  if (stopRule === undefined || burstsDone === 0 || latencies.length === 0) return undefined
  const perBurst = latencies.length / burstsDone
  const decision = stopDecision(sortSamples(latencies), stopRule)
  switch (decision.kind) {
    case 'stop': return burstsDone
    case 'too-few': return Math.min(Bursts, Math.ceil(samplesNeeded(stopRule.percentile, stopRule.confidence) / perBurst))
    case 'too-wide': return Math.min(Bursts, Math.ceil(burstsDone * (decision.relativeError / stopRule.relativeError) ** 2))
  }
}

/** The median of the last values, for what is asked while they come. */
export class RecentMedian {
  readonly #values = new Float64Array(101)
  #count = 0

  add(value: number): void {
    this.#values[this.#count++ % this.#values.length] = value
  }

  get value(): number | undefined {
    if (this.#count === 0) return undefined
    return percentile(sortSamples(this.#values.subarray(0, Math.min(this.#count, this.#values.length))), 0.5)
  }
}

export interface Position {
  /** From 1. */
  readonly number: number
  readonly of: number
  readonly title: string
  /** Of what the counts are. */
  readonly unit: 'burst' | 'invocation'
  readonly done: number
  readonly all: number
  readonly medianMs: number | undefined
  /** Of the whole run. */
  readonly leftMs: number
}

/** As `3/12 cold: burst 120 of 1000, median 31.2 ms; about 4 min 10 s left`. */
export function progressLine({ number, of, title, unit, done, all, medianMs, leftMs }: Position): string {
  const median = medianMs === undefined ? '' : `, median ${medianMs < 100 ? medianMs.toFixed(1) : medianMs.toFixed(0)} ms`
  return `${number}/${of} ${title === '' ? '(no title)' : title}: ${unit} ${done} of ${all}${median}; about ${roughly(leftMs)} left`
}

/** To the precision of a guess. */
export function roughly(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
