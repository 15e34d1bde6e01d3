/**
 * `skep measure replay`: a trace of a cloud, replayed on a provider or on one function.
 *
 * Standard output gets the result, or with --dry-run the schedule itself, line by line as it is made: it may be longer than memory.
 */
import { basename, resolve } from 'node:path'
import { once } from 'node:events'
import { PlatformError } from '#contract/errors.ts'
import { anyFunction } from '#measure/replay-result.ts'
import { replayTrace, SLOWDOWNS_FILE } from '#measure/replay.ts'
import type { ReplaySummary } from '#measure/replay.ts'
import { createRunDirectory } from '#measure/run-files.ts'
import type { Distribution } from '#measure/trace/arrivals.ts'
import { loadTrace } from '#measure/trace/load.ts'
import type { Trace } from '#measure/trace/load.ts'
import { sampleTrace } from '#measure/trace/sample.ts'
import { dryRun } from '#measure/trace/schedule.ts'
import type { ScheduleOptions } from '#measure/trace/schedule.ts'
import type { FunctionView } from '../api-types.ts'
import type { CommandOptions, Context } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { parseWhole, table } from '../format.ts'
import { measureEvents } from '../measure-events.ts'
import { checkProvider, openProvider, providerNames } from '../measure-provider.ts'
import { stopSignal } from '../start-here.ts'

const distributions = ['exponential', 'uniform', 'equidistant'] as const satisfies readonly Distribution[]
const granularities = ['minute', 'second'] as const
/** In-Vitro's sampler tries so many, too. */
const SAMPLE_TRIALS = 20
const SHOWN_FUNCTIONS = 10

export async function measureReplay(context: Context, path: string): Promise<number> {
  const { options } = context
  const scheduled = scheduleOptions(options)
  const [provider, ...others] = providerNames(String(options['provider']))!
  if (others.length > 0) throw new PlatformError('INPUT_INVALID', `--provider names ${others.length + 1} providers, and a replay has one: run it once for each`)
  checkProvider(provider!)
  const trace = await readTrace(path, options, scheduled.seed)
  if (options['dryRun'] === true) {
    await print(dryRun(trace, scheduled))
    return exitCodes.ok
  }
  const inFlightMax = parseWhole('--in-flight', String(options['inFlight']), 1, 1_000_000)
  const interrupted = new AbortController()
  void stopSignal().then((signal) => {
    context.note(`${signal}: ending what is under way; once more ends at once`)
    interrupted.abort(new PlatformError('CANCELLED', 'The replay was interrupted.'))
  })
  const events = measureEvents(context)
  const common = { ...scheduled, trace, name: basename(resolve(path)), inFlightMax, nowMs: Date.now, signal: interrupted.signal, events }
  const named = options['function'] as string | undefined
  const makeDirectory = (): Promise<string> => createRunDirectory(String(options['output']), Date.now())
  let directory: string
  let summary: ReplaySummary
  try {
    if (named === undefined) {
      await using opened = await openProvider(provider!, options)
      directory = await makeDirectory()
      summary = await replayTrace({ ...common, directory, target: { kind: 'provider', provider: opened, runtime: String(options['runtime']) } })
    } else {
      const endpoint = await functionNamed(context, named)
      directory = await makeDirectory()
      summary = await replayTrace({ ...common, directory, target: { kind: 'function', endpoint } })
    }
  } finally {
    events.done()
  }
  context.result({ directory, ...summary }, () => text(directory, summary))
  if (summary.bottleneck !== undefined) context.warn(summary.bottleneck)
  return summary.outcome === 'interrupted' ? exitCodes.interrupted : summary.slowdown.failed > 0 || summary.lateness.notSent > 0 ? exitCodes.functionFailed : exitCodes.ok
}

function scheduleOptions(options: CommandOptions): ScheduleOptions {
  const speedUp = Number(options['speedUp'])
  if (!(speedUp > 0 && Number.isFinite(speedUp))) {
    throw new PlatformError('INPUT_INVALID', `--speed-up is ${JSON.stringify(options['speedUp'])}: it must be a number above 0, 1 replays as recorded.`)
  }
  return {
    seed: parseWhole('--seed', String(options['seed']), 0, 2 ** 32 - 1),
    distribution: oneOf('--distribution', String(options['distribution']), distributions),
    shift: options['shift'] === true,
    speedUp,
    warmupUnits: parseWhole('--warm-up', String(options['warmUp']), 0, 1_000_000),
  }
}

async function readTrace(path: string, options: CommandOptions, seed: number): Promise<Trace> {
  const minutes = options['minutes'] === undefined ? undefined : parseWhole('--minutes', String(options['minutes']), 1, 1_000_000)
  const whole = await loadTrace(path, {
    granularity: oneOf('--granularity', String(options['granularity']), granularities),
    skip: parseWhole('--skip', String(options['skip']), 0, 1_000_000),
    ...(minutes !== undefined && { take: minutes }),
  })
  if (options['functions'] === undefined) return whole
  const size = parseWhole('--functions', String(options['functions']), 1, whole.functions.length)
  return sampleTrace(whole, { sizes: [size], trials: SAMPLE_TRIALS, seed })[0]!.trace
}

/** Of this platform by its name, or any by its address. */
async function functionNamed(context: Context, name: string): Promise<ReturnType<typeof anyFunction>> {
  if (/^https?:\/\//.test(name)) {
    if (!URL.canParse(name)) {
      throw new PlatformError('INPUT_INVALID', `--function ${JSON.stringify(name)} is not the URL of a function. Give one like http://127.0.0.1:8080/path, or a name.`)
    }
    return anyFunction(name, {})
  }
  const client = await context.client()
  const { url } = await client.json<FunctionView>('GET', `/v1/functions/${encodeURIComponent(name)}`)
  return anyFunction(new URL(url, client.connection.url).href, { authorization: `Bearer ${client.connection.key}` })
}

/** A reader that is slow, or has seen enough, must not fill memory. */
async function print(lines: Iterable<string>): Promise<void> {
  let text = ''
  for (const line of lines) {
    text += `${line}\n`
    if (text.length < 64 * 1024) continue
    if (!process.stdout.write(text)) await once(process.stdout, 'drain')
    text = ''
  }
  process.stdout.write(text)
}

function text(directory: string, { slowdown, lateness, sent, failures, results, outcome, totals }: ReplaySummary): string {
  const figure = (value: number): string => (Number.isFinite(value) ? value.toFixed(2) : '-')
  return [
    `${outcome === 'done' ? 'Replayed' : 'Interrupted after'} ${sent} of ${totals.invocations} invocations of ${totals.functionsInvoked} functions.`,
    '',
    table(['', 'P50', 'P99', 'MAX'], [
      ['slowdown per function', figure(slowdown.p50), figure(slowdown.p99), figure(slowdown.max)],
      ['driver late, ms', figure(lateness.p50), figure(lateness.p99), figure(lateness.max)],
    ]),
    '',
    `${slowdown.succeeded} measured, ${slowdown.failed} failed, ${lateness.notSent} not sent.`,
    ...failures.slice(0, SHOWN_FUNCTIONS).map(({ code, count, message }) => `${count} × ${code}: ${message}`),
    `${directory}/${results}`,
    `${directory}/${SLOWDOWNS_FILE}`,
  ].join('\n')
}

function oneOf<Word extends string>(option: string, word: string, known: readonly Word[]): Word {
  if ((known as readonly string[]).includes(word)) return word as Word
  throw new PlatformError('INPUT_INVALID', `${option} is ${JSON.stringify(word)}: it must be one of ${known.join(', ')}.`)
}
