/**
 * Replays a trace on a provider: every invocation when it was recorded, with the runtime and the memory that the trace has for it.
 *
 * As In-Vitro does it (Ustiugov et al., WORDS 2023; pkg/driver), with one difference that matters: there, a driver per function makes all of its invocations before it
 * begins; here one open loop follows one schedule that is made as it is needed (trace/schedule.ts), and says how late it was itself.
 *
 *   schedule ─▶ open loop ─▶ <prefix>_duration_<minutes>.csv, a line per answer; slowdowns.csv; replay.json
 *
 *   Y1. Nothing grows with the number of invocations but the slowdowns, eight bytes each.
 *   Y2. What was due and not sent is counted and told: neither a failure of the platform nor left out of sight.
 *   Y3. What was deployed is removed, however the replay ended, and lines that came are in the file.
 */
import { join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import { csvLine } from './csv.ts'
import { Failures } from './driver/failures.ts'
import { bottleneckOf, latenessOf } from './driver/lateness.ts'
import { driveArrivals } from './driver/open-loop.ts'
import { parseExperiment } from './experiment.ts'
import type { SubExperiment } from './experiment.ts'
import type { Endpoint, Provider } from './provider.ts'
import { failureOf, messageOf, resultOf } from './replay-result.ts'
import type { ReplayArrival } from './replay-result.ts'
import { LineFile, RunLog, writeWhole } from './run-files.ts'
import { progressLine } from './run-progress.ts'
import type { Failure, Lateness } from './run-summary.ts'
import type { RunEvents } from './run.ts'
import type { Trace, TracedFunction } from './trace/load.ts'
import { RESULT_HEADER, resultLine, resultsFileName, Slowdowns } from './trace/results.ts'
import type { SlowdownSummary } from './trace/results.ts'
import { schedule, totalsOf } from './trace/schedule.ts'
import type { ScheduleOptions, Totals } from './trace/schedule.ts'

export const REPLAY_FORMAT = 'skep-replay/1'
export const REPLAY_FILE = 'replay.json'
const FILE_PREFIX = 'experiment'

/** What an instance takes beside what its invocations ask for, MB: a runtime. */
const RUNTIME_MB = 128
/** Functions being deployed at once. */
const PREPARED_AT_ONCE = 8
const PROGRESS_MS = 500
/** They are mostly the same for all functions. */
const LIMITATIONS_MAX = 20

export interface ReplayOptions extends ScheduleOptions {
  readonly trace: Trace
  /** As it was named. */
  readonly name: string
  /** Deploys a function for each of the trace's; or this one answers for all. */
  readonly target: { readonly kind: 'provider'; readonly provider: Provider; readonly runtime: string } | { readonly kind: 'function'; readonly endpoint: Endpoint }
  /** Exists. */
  readonly directory: string
  readonly inFlightMax: number
  readonly nowMs: () => number
  readonly signal: AbortSignal
  readonly events: RunEvents
}

export interface ReplaySummary {
  readonly format: typeof REPLAY_FORMAT
  readonly trace: string
  readonly target: { readonly name: string; readonly about: Readonly<Record<string, string>> }
  readonly options: ScheduleOptions & { readonly inFlightMax: number }
  readonly totals: Totals
  readonly outcome: 'done' | 'interrupted'
  readonly startedAt: string
  readonly wallMs: number
  readonly sent: number
  readonly slowdown: SlowdownSummary
  readonly lateness: Lateness
  /** A sentence, when the driver was. */
  readonly bottleneck: string | undefined
  readonly failures: readonly Failure[]
  /** What the provider does otherwise than the trace says. */
  readonly limitations: readonly string[]
  /** Where the lines are. */
  readonly results: string
}

export async function replayTrace(options: ReplayOptions): Promise<ReplaySummary> {
  const { trace, target, directory, signal, nowMs, events, inFlightMax, name } = options
  const log = new RunLog(directory, nowMs)
  const say = (line: string): void => {
    log.write(line)
    events.say(line)
  }
  const totals = totalsOf(trace, options)
  const rate = `${totals.invocations} invocations in ${Math.round(totals.durationUs / 1e6)} s, ${totals.averagePerSecond.toFixed(1)}/s on average`
  say(`${name}: ${totals.functionsInvoked} of ${totals.functions} functions, ${rate}, into ${directory}`)
  const startedMs = nowMs()
  await using functions = await prepareFunctions(options, say)
  const slowdowns = new Slowdowns()
  const failures = new Failures()
  const results = resultsFileName(FILE_PREFIX, Math.max(1, Math.round(totals.durationUs / 60e6)))
  const ended = new AbortController()
  let written = 0
  let drivingSinceMs = nowMs()
  const ticking = setInterval(() => {
    const leftMs = totals.durationUs / 1000 - (nowMs() - drivingSinceMs)
    events.progress(progressLine({ number: 1, of: 1, title: name, unit: 'invocation', done: written, all: totals.invocations, medianMs: undefined, leftMs: Math.max(0, leftMs) }))
  }, PROGRESS_MS)
  try {
    let writeError: PlatformError | undefined
    await using file = await LineFile.create(join(directory, results), `${RESULT_HEADER}\n`, (error) => {
      writeError = error
      ended.abort(error)
    })
    const epochOffsetMs = Date.now() - performance.now()
    drivingSinceMs = nowMs()
    const driven = await driveArrivals<ReplayArrival>({
      arrivals: arrivalsOf(trace, options),
      endpointOf: ({ functionIndex }) => functions.endpoints[functionIndex]!,
      messageOf: (arrival) => messageOf(functions.endpoints[arrival.functionIndex]!, arrival),
      onAnswer(arrival, exchange) {
        const result = resultOf(arrival, exchange, trace, { host: functions.endpoints[arrival.functionIndex]!.host, epochOffsetMs })
        file.write(`${resultLine(result)}\n`)
        slowdowns.add(arrival.functionName, result)
        const failure = failureOf(exchange)
        if (failure !== undefined) failures.add(failure)
        written++
        return 'go-on'
      },
      counts: ({ phase }) => phase === 2,
      inFlightMax,
      signal: AbortSignal.any([signal, ended.signal]),
    })
    if (writeError !== undefined) throw writeError
    const summary: ReplaySummary = {
      format: REPLAY_FORMAT,
      trace: name,
      target: target.kind === 'provider' ? { name: target.provider.name, about: target.provider.about } : { name: target.endpoint.host, about: {} },
      options: scheduleOptionsOf(options),
      totals,
      outcome: driven.end === 'interrupted' ? 'interrupted' : 'done',
      startedAt: new Date(startedMs).toISOString(),
      wallMs: driven.wallMs,
      sent: driven.sent,
      slowdown: slowdowns.summary(),
      lateness: latenessOf(driven),
      bottleneck: bottleneckOf(driven, { openLoop: true }),
      failures: failures.list(),
      limitations: functions.limitations,
      results,
    }
    await writeWhole(join(directory, SLOWDOWNS_FILE), slowdownsCsv(slowdowns))
    await writeWhole(join(directory, REPLAY_FILE), `${JSON.stringify(summary, undefined, 1)}\n`)
    say(summary.outcome === 'done' ? 'the replay is over' : 'the replay was interrupted')
    return summary
  } finally {
    clearInterval(ticking)
    await log.flushed()
  }
}

export const SLOWDOWNS_FILE = 'slowdowns.csv'

export function slowdownsCsv(slowdowns: Slowdowns): string {
  const head = csvLine(['function', 'succeeded', 'failed', 'geometricMean', 'p50', 'p99'])
  const figure = (value: number): string => (Number.isNaN(value) ? '' : value.toFixed(4))
  return head + slowdowns.perFunction().map((one) => csvLine([one.functionName, String(one.succeeded), String(one.failed), figure(one.geometricMean), figure(one.p50), figure(one.p99)])).join('')
}

function* arrivalsOf(trace: Trace, options: ScheduleOptions): Generator<ReplayArrival> {
  for (const one of schedule(trace, options)) yield { ...one, dueMs: one.atUs / 1000 }
}

function scheduleOptionsOf({ seed, distribution = 'exponential', shift = false, speedUp = 1, warmupUnits = 0, inFlightMax }: ReplayOptions): ReplaySummary['options'] {
  return { seed, distribution, shift, speedUp, warmupUnits, inFlightMax }
}

interface PreparedFunctions extends AsyncDisposable {
  /** By place in the trace. Functions that are never invoked have no endpoint. */
  readonly endpoints: readonly (Endpoint | undefined)[]
  readonly limitations: readonly string[]
}

async function prepareFunctions({ trace, target, signal, events }: ReplayOptions, say: (line: string) => void): Promise<PreparedFunctions> {
  if (target.kind === 'function') return { endpoints: trace.functions.map(() => target.endpoint), limitations: [], async [Symbol.asyncDispose]() {} }
  const { provider, runtime } = target
  const wanted = trace.functions.flatMap((one, index) => (one.counts.some((count) => count > 0) ? [functionSettings(one, index, runtime)] : []))
  const limitations = [...new Set(wanted.flatMap((one) => provider.cannot(one).map(({ field, message }) => `${field}: ${message}`)))].slice(0, LIMITATIONS_MAX)
  for (const line of limitations) events.warn(line)
  const endpoints: (Endpoint | undefined)[] = trace.functions.map(() => undefined)
  const prepared: SubExperiment[] = []
  const release = async (): Promise<void> => {
    await atOnce(prepared, (one) => provider.release(one).catch((error: unknown) => events.warn(`${one.Title} was not removed: ${PlatformError.from(error).message}`)))
  }
  try {
    await atOnce(wanted, async (one) => {
      signal.throwIfAborted()
      prepared.push(one)
      const [endpoint] = await provider.prepare(one, { progress: () => {}, signal })
      endpoints[one.index] = endpoint
      events.progress(`deployed ${prepared.length} of ${wanted.length} functions`)
    })
  } catch (error) {
    await release()
    if (signal.aborted) throw new PlatformError('CANCELLED', 'The replay was interrupted before it began; what had been deployed is removed.', { cause: error })
    throw error
  }
  say(`${wanted.length} functions are deployed on ${provider.name}`)
  return { endpoints, limitations, [Symbol.asyncDispose]: release }
}

/** One that works as the trace says, with memory for the largest of its invocations. */
function functionSettings(one: TracedFunction, index: number, runtime: string): SubExperiment {
  const template = { Bursts: 1, BurstSizes: [1], DesiredServiceTimes: ['0ms'], Function: 'trace-work', Runtime: runtime }
  const [settings] = parseExperiment(JSON.stringify({ SubExperiments: [template] }), 'trace-work').SubExperiments
  const largestMb = one.demand.kind === 'recorded' ? one.demand.memoryMb : one.demand.memoryMb.values.at(-1)!
  return { ...settings!, index, Title: one.name, FunctionMemoryMB: Math.ceil(Math.min(10_240, largestMb)) + RUNTIME_MB }
}

async function atOnce<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const waiting = items.values()
  const worker = async (): Promise<void> => {
    for (const item of waiting) await work(item)
  }
  const ended = await Promise.allSettled(Array.from({ length: PREPARED_AT_ONCE }, worker))
  for (const one of ended) if (one.status === 'rejected') throw one.reason
}
