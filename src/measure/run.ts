/**
 * A whole run: every sub-experiment of a file on one provider, in sequence or at once, and what it leaves in its directory.
 *
 * STeLLAR (src/main.go, src/benchmarking at 6e25342) ends its process at the first thing that goes wrong, and writes at the end. Here one sub-experiment that
 * fails is a result like others: what was measured of it stays, the reason is in the summary, and the next one begins.
 *
 *   prepare ─▶ drive ─▶ release ─▶ statistics.csv ─▶ summary.json        each sub-experiment
 *                │ every sample ─▶ latencies.csv, data-transfers.csv
 *
 *   U1. Every sub-experiment that was asked for is in `summary.json` from the first moment: as interrupted, until it is something better.
 *   U2. Limitations of all are told before the first is deployed.
 *   U3. When the signal is aborted, what is under way is ended, written and released; nothing further begins.
 *   U4. What was prepared is released, however the measurement ended.
 */
import { availableParallelism, cpus } from 'node:os'
import type { Experiment, SubExperiment } from './experiment.ts'
import type { Provider } from './provider.ts'
import { directoryNames, RunLog, writeSummary } from './run-files.ts'
import { Measurement, titleOf } from './run-measurement.ts'
import { progressLine, timeLeftMs } from './run-progress.ts'
import { isMeasured } from './run-resume.ts'
import { SUMMARY_FORMAT } from './run-summary.ts'
import type { RunSummary, SubExperimentResult } from './run-summary.ts'

export interface RunOptions {
  readonly experiment: Experiment
  /** The file's name, without its directory. */
  readonly name: string
  readonly provider: Provider
  /** Exists. */
  readonly directory: string
  /** Places in the file; undefined for all. */
  readonly only: readonly number[] | undefined
  /** What the directory has already; checked (run-resume.ts). */
  readonly resumed: RunSummary | undefined
  /** In [0, 1). */
  readonly random: () => number
  readonly nowMs: () => number
  readonly signal: AbortSignal
  /** Of this tool. */
  readonly version: string
  readonly events: RunEvents
}

export interface RunEvents {
  /** What is in the log, too. */
  say(line: string): void
  warn(line: string): void
  /** How far it is; each line replaces the one before. */
  progress(line: string): void
}

const PROGRESS_MS = 500

/** Never throws for what a provider does; STORE_FULL or STORE_FAILED when the summary cannot be written. */
export async function runExperiment(options: RunOptions): Promise<RunSummary> {
  const log = new RunLog(options.directory, options.nowMs)
  try {
    return await new Run(options, log).all()
  } finally {
    await log.flushed()
  }
}

/** Whether all that was asked for was measured to its end. */
export function isComplete({ results }: RunSummary): boolean {
  return results.every(isMeasured)
}

class Run {
  readonly #options: RunOptions
  readonly #log: RunLog
  readonly #names: readonly string[]
  readonly #startedMs: number
  readonly #results = new Map<number, SubExperimentResult>()
  readonly #underWay = new Set<Measurement>()
  #waiting: readonly SubExperiment[] = []
  #written: Promise<void> = Promise.resolve()

  constructor(options: RunOptions, log: RunLog) {
    this.#options = options
    this.#log = log
    this.#names = directoryNames(options.experiment.SubExperiments)
    this.#startedMs = options.nowMs()
  }

  async all(): Promise<RunSummary> {
    const { experiment, provider, only, resumed, signal, name, directory } = this.#options
    for (const result of resumed?.results ?? []) this.#results.set(result.index, result)
    const asked = experiment.SubExperiments.filter(({ index }) => only === undefined || only.includes(index))
    const todo = asked.filter(({ index }) => !this.#isMeasured(index))
    this.#say(`${name} on ${provider.name}: ${todo.length} of ${asked.length} sub-experiments to measure, into ${directory}`)
    for (const warning of experiment.warnings) this.#warn(warning)
    const told = { say: (line: string) => this.#say(line), warn: (line: string) => this.#warn(line), progress: (line: string) => this.#options.events.progress(line) }
    const measurements = todo.map((one) => new Measurement(one, { ...this.#options, ...told, subdirectory: this.#names[one.index]! }))
    for (const { settings, limitations, notMeasured } of measurements) {
      for (const { field, message } of limitations) this.#warn(`${titleOf(settings)}: ${field}: ${message}`)
      this.#results.set(settings.index, notMeasured)
    }
    await this.#write()
    this.#waiting = todo
    const ticking = setInterval(() => this.#tell(todo.length), PROGRESS_MS)
    try {
      if (experiment.Sequential) for (const one of measurements) await this.#measure(one)
      else await Promise.all(measurements.map((one) => this.#measure(one)))
    } finally {
      clearInterval(ticking)
    }
    this.#say(signal.aborted ? 'the run was interrupted' : 'the run is over')
    return this.#summary()
  }

  async #measure(one: Measurement): Promise<void> {
    if (this.#options.signal.aborted) return
    this.#waiting = this.#waiting.filter(({ index }) => index !== one.settings.index)
    this.#underWay.add(one)
    try {
      this.#results.set(one.settings.index, await one.measure())
    } finally {
      this.#underWay.delete(one)
    }
    await this.#write()
  }

  #isMeasured(index: number): boolean {
    const result = this.#results.get(index)
    return result !== undefined && isMeasured(result)
  }

  #summary(): RunSummary {
    const { name, provider, resumed, nowMs, version, experiment } = this.#options
    return {
      format: SUMMARY_FORMAT,
      experiment: name,
      provider: { name: provider.name, capabilities: provider.capabilities, about: provider.about },
      client: { skep: version, node: process.version, cpu: cpus()[0]?.model ?? 'unknown', cpus: availableParallelism() },
      startedAt: resumed?.startedAt ?? new Date(this.#startedMs).toISOString(),
      wallMs: (resumed?.wallMs ?? 0) + nowMs() - this.#startedMs,
      warnings: experiment.warnings,
      results: [...this.#results.values()].sort((a, b) => a.index - b.index),
    }
  }

  /** One after the other: a slower write of an older state must not win. */
  #write(): Promise<void> {
    this.#written = this.#written.then(() => writeSummary(this.#options.directory, this.#summary()))
    return this.#written
  }

  #tell(of: number): void {
    const current = [...this.#underWay].find((one) => one.standing.burstsDone < one.settings.Bursts)
    if (current === undefined) return
    const { experiment: { Sequential } } = this.#options
    const left = [
      ...[...this.#underWay].map((one) => timeLeftMs(one.standing)),
      ...this.#waiting.map((settings) => timeLeftMs({ settings, burstsDone: 0, burstMs: undefined, burstsNeeded: undefined })),
    ]
    const leftMs = Sequential ? left.reduce((sum, one) => sum + one, 0) : Math.max(...left)
    const number = of - this.#waiting.length - this.#underWay.size + 1
    const { standing: { burstsDone: done }, settings: { Title: title, Bursts: all }, medianMs } = current
    this.#options.events.progress(progressLine({ number, of, title, unit: 'burst', done, all, medianMs, leftMs }))
  }

  #say(line: string): void {
    this.#log.write(line)
    this.#options.events.say(line)
  }

  #warn(line: string): void {
    this.#log.write(`warning: ${line}`)
    this.#options.events.warn(line)
  }
}
