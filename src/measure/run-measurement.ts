/**
 * One sub-experiment of a run, from its endpoints to its result.
 *
 *   not begun ─▶ preparing ─▶ driving ─▶ releasing ─▶ a result
 *                   │ fails: not-run       │ fails: a warning, the result stays
 *
 *   M1. `measure` does not throw: what goes wrong is the outcome, and what was measured before stays.
 *   M2. What was prepared is released, however the driving ended.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import { dataTransferLine, dataTransfersHeader, latenciesHeader, latencyLine, statisticsCsv } from './csv.ts'
import { driveSubExperiment } from './driver/drive.ts'
import type { MeasuredSample } from './driver/drive.ts'
import type { SubExperiment } from './experiment.ts'
import type { Endpoint, Limitation, Provider } from './provider.ts'
import { LineFile, writeWhole } from './run-files.ts'
import { burstsNeeded, RecentMedian } from './run-progress.ts'
import type { Standing } from './run-progress.ts'
import { Tally } from './run-result.ts'
import type { Lateness, Outcome, SubExperimentResult } from './run-summary.ts'

export interface MeasurementOptions {
  readonly provider: Provider
  /** Of the run. */
  readonly directory: string
  /** Of this sub-experiment, in that of the run. */
  readonly subdirectory: string
  readonly random: () => number
  readonly nowMs: () => number
  readonly signal: AbortSignal
  readonly say: (line: string) => void
  readonly warn: (line: string) => void
  readonly progress: (line: string) => void
}

const NOT_LATE: Lateness = { p50: 0, p99: 0, max: 0, notSent: 0 }
/** Growth of the bursts between two estimates of what the stop rule needs: sorting what there is takes longer and longer. */
const NEED_GROWTH = 1.2

export class Measurement {
  readonly settings: SubExperiment
  readonly limitations: readonly Limitation[]
  readonly #options: MeasurementOptions
  readonly #tally = new Tally()
  readonly #burstMs = new RecentMedian()
  readonly #latencyMs = new RecentMedian()
  #burstsDone = 0
  /** Of the burst that was counted last. */
  #longestMs = 0
  #askNeedAt = 50
  #needed: number | undefined

  constructor(settings: SubExperiment, options: MeasurementOptions) {
    this.settings = settings
    this.#options = options
    this.limitations = options.provider.cannot(settings)
  }

  get standing(): Standing {
    return { settings: this.settings, burstsDone: this.#burstsDone, burstMs: this.#burstMs.value, burstsNeeded: this.#needed }
  }

  /** Of the last requests. */
  get medianMs(): number | undefined {
    return this.#latencyMs.value
  }

  /** The result while there is no better one. */
  get notMeasured(): SubExperimentResult {
    const { settings, limitations } = this
    return {
      index: settings.index, title: settings.Title, settings, directory: undefined,
      outcome: { kind: 'interrupted' }, limitations, startedAt: new Date(this.#options.nowMs()).toISOString(), wallMs: 0,
      latencies: undefined, transfer: undefined, starts: { cold: 0, warm: 0, unknown: 0 }, phases: undefined,
      lateness: NOT_LATE, failures: [], latencyOf: 'first-byte',
    }
  }

  async measure(): Promise<SubExperimentResult> {
    const { settings } = this
    const { provider, signal, say, nowMs, progress } = this.#options
    const startedMs = nowMs()
    const ended = (outcome: Outcome, measured: Partial<SubExperimentResult> = {}): SubExperimentResult => {
      say(`${titleOf(settings)}: ${told(outcome)}`)
      return { ...this.notMeasured, startedAt: new Date(startedMs).toISOString(), wallMs: nowMs() - startedMs, outcome, ...measured }
    }
    const prevented = this.limitations.find(({ prevents }) => prevents === true)
    if (prevented !== undefined) return ended({ kind: 'not-run', reason: `${prevented.field}: ${prevented.message}` })
    let endpoints: readonly Endpoint[]
    try {
      say(`${titleOf(settings)}: preparing ${settings.Parallelism} endpoints`)
      endpoints = await provider.prepare(settings, { progress: (line) => progress(`${titleOf(settings)}: ${line}`), signal })
    } catch (thrown) {
      return ended(signal.aborted ? { kind: 'interrupted' } : { kind: 'not-run', reason: messageOf(thrown) })
    }
    try {
      say(`${titleOf(settings)}: measuring`)
      const { outcome, ...measured } = await this.#drive(endpoints)
      return ended(outcome, measured)
    } catch (thrown) {
      const measured = this.#tally.result()
      return ended({ kind: 'given-up', reason: messageOf(thrown) }, { ...measured, directory: measured.latencies && this.#options.subdirectory })
    } finally {
      await provider.release(settings).catch((thrown: unknown) => this.#options.warn(`${titleOf(settings)}: was not removed: ${messageOf(thrown)}`))
    }
  }

  async #drive(endpoints: readonly Endpoint[]): Promise<Partial<SubExperimentResult> & Pick<SubExperimentResult, 'outcome'>> {
    const { settings } = this
    const { directory, subdirectory, random, signal, warn } = this.#options
    const path = join(directory, subdirectory)
    await mkdir(path, { recursive: true })
    const unwritable = new AbortController()
    const failed = (error: PlatformError): void => unwritable.abort(error)
    const chainLength = settings.DataTransferChainLength
    await using files = new AsyncDisposableStack()
    const latencies = files.use(await LineFile.create(join(path, 'latencies.csv'), latenciesHeader, failed))
    const transfers = chainLength > 1 ? files.use(await LineFile.create(join(path, 'data-transfers.csv'), dataTransfersHeader(chainLength), failed)) : undefined
    const driven = await driveSubExperiment({
      settings, endpoints, random,
      signal: AbortSignal.any([signal, unwritable.signal]),
      onSample: (sample) => {
        latencies.write(latencyLine(sample, settings.strict))
        transfers?.write(dataTransferLine(sample, sample.timestamps, chainLength))
        this.#tally.add(sample)
        this.#count(sample)
      },
    })
    await files.disposeAsync()
    const { outcome, lateness, failures, latencyOf, bottleneck } = driven
    if (bottleneck !== undefined) warn(`${titleOf(settings)}: ${bottleneck}`)
    if (!unwritable.signal.aborted) await this.#askPhases()
    const measured = this.#tally.result()
    if (measured.latencies !== undefined) await writeWhole(join(path, 'statistics.csv'), statisticsCsv(measured.latencies.summary))
    const result = { ...measured, directory: subdirectory, lateness, failures, latencyOf }
    if (unwritable.signal.aborted) return { ...result, outcome: { kind: 'given-up', reason: messageOf(unwritable.signal.reason) } }
    return { ...result, outcome }
  }

  async #askPhases(): Promise<void> {
    const { provider, signal, warn } = this.#options
    const { requestIds } = this.#tally
    if (provider.phasesOf === undefined || requestIds.length === 0) return
    try {
      for (const phases of await provider.phasesOf(requestIds, signal)) this.#tally.addPhases(phases)
    } catch (thrown) {
      if (!signal.aborted) warn(`${titleOf(this.settings)}: phases are not known: ${messageOf(thrown)}`)
    }
  }

  #count({ burstId, wholeMs, latencyMs }: MeasuredSample): void {
    this.#latencyMs.add(latencyMs)
    // In an open loop an earlier burst may still be answered: it was counted when a later one was.
    if (burstId >= this.#burstsDone) {
      if (this.#burstsDone > 0) this.#burstMs.add(this.#longestMs)
      this.#burstsDone = burstId + 1
      this.#longestMs = 0
      if (this.settings.stopRule !== undefined && this.#burstsDone >= this.#askNeedAt) {
        this.#needed = burstsNeeded(this.settings, this.#tally.latenciesMs, this.#burstsDone)
        this.#askNeedAt = Math.ceil(this.#burstsDone * NEED_GROWTH)
      }
    }
    this.#longestMs = Math.max(this.#longestMs, wholeMs)
  }
}

function told(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'done': return 'done'
    case 'stopped': return `done, by the stop rule, after ${outcome.afterSamples} samples`
    case 'interrupted': return 'interrupted'
    case 'given-up': return `given up: ${outcome.reason}`
    case 'not-run': return `not run: ${outcome.reason}`
  }
}

function messageOf(thrown: unknown): string {
  const { code, message } = PlatformError.from(thrown)
  return code === 'INTERNAL' ? message : `${code}: ${message}`
}

export function titleOf({ index, Title }: SubExperiment): string {
  return `SubExperiments[${index}]${Title === '' ? '' : ` (${Title})`}`
}
