/**
 * What a run leaves beside the CSV files: `summary.json`, from which reports and comparisons are made.
 *
 * It has every setting as it was used, so that a number can be understood years later, and every latency as a histogram with a known error
 * (histogram.ts); the exact ones are in latencies.csv. Times are milliseconds, and dates ISO 8601 in UTC.
 *
 *   R1. A file that ends early is a file of the run so far: it is replaced as a whole after each sub-experiment, never written into.
 *   R2. What was asked for and not done is in `limitations` or in the outcome, never absent.
 */
import type { SubExperiment } from './experiment.ts'
import type { Capabilities, Limitation } from './provider.ts'
import type { Interval, Summary } from './statistics.ts'

export const SUMMARY_FORMAT = 'skep-measure/1'
export const SUMMARY_FILE = 'summary.json'

/** How late the driver itself sent, over all requests, ms: a late client measures itself. */
export interface Lateness {
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Open loop: due while `inFlightMax` were under way, and so not sent. */
  readonly notSent: number
}

export type Outcome =
  | { readonly kind: 'done' }
  /** By the stop rule: the percentile was known well enough. */
  | { readonly kind: 'stopped'; readonly afterSamples: number }
  /** More requests failed than `failuresMax`. What was measured until then is there. */
  | { readonly kind: 'given-up'; readonly reason: string }
  /** Ended by a signal; `resume` goes on with it. */
  | { readonly kind: 'interrupted' }
  /** The provider can't do it at all, or could not be prepared. */
  | { readonly kind: 'not-run'; readonly reason: string }

export interface Failure {
  /** Status or error code, and the first message with it. */
  readonly code: string
  readonly message: string
  readonly count: number
}

/** Latencies of some requests. */
export interface Latencies {
  readonly summary: Summary
  /** Of p50, p99 and p99.9 at 95 %, by the names of `Summary`; one that needs more samples is absent. */
  readonly intervals: Readonly<Partial<Record<'p50' | 'p99' | 'p999', Interval>>>
  /** `encodeHistogram`, microseconds. */
  readonly histogram: string
}

export interface SubExperimentResult {
  readonly index: number
  readonly title: string
  readonly settings: SubExperiment
  /** Of the CSV files, relative to that of the summary; undefined when there are none. */
  readonly directory: string | undefined
  readonly outcome: Outcome
  readonly limitations: readonly Limitation[]
  readonly startedAt: string
  readonly wallMs: number
  /** Undefined without a sample. */
  readonly latencies: Latencies | undefined
  /** By who started the instance, where the provider tells. */
  readonly starts: Readonly<Record<'cold' | 'warm' | 'unknown', number>>
  /** Of chains: the time between the first and the last function's own timestamps. */
  readonly transfer: Latencies | undefined
  /** Medians and p99 by phase, where the provider tells phases. */
  readonly phases: Readonly<Record<string, { readonly p50: number; readonly p99: number }>> | undefined
  readonly lateness: Lateness
  readonly failures: readonly Failure[]
  /** From `call` transports there is no first byte: latency is that of the whole answer. */
  readonly latencyOf: 'first-byte' | 'whole-answer'
}

export interface RunSummary {
  readonly format: typeof SUMMARY_FORMAT
  /** The experiment file's name, without its directory. */
  readonly experiment: string
  readonly provider: { readonly name: string; readonly capabilities: Capabilities; readonly about: Readonly<Record<string, string>> }
  readonly client: { readonly skep: string; readonly node: string; readonly cpu: string; readonly cpus: number }
  readonly startedAt: string
  readonly wallMs: number
  readonly warnings: readonly string[]
  readonly results: readonly SubExperimentResult[]
}
