/**
 * `skep measure run`: the experiments of files, on one provider or on several in turn, with a directory of results for each.
 *
 * Everything that can be wrong with what was typed is found before anything is deployed: files, names, what a run is to be resumed with. The first Ctrl-C
 * ends a run and keeps what it has; the second ends the process.
 */
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import { seededRandom } from '#base/seeded-random.ts'
import { parseExperiment } from '#measure/experiment.ts'
import type { Experiment } from '#measure/experiment.ts'
import { parseSummary } from '#measure/report/summary-schema.ts'
import { compareDirectories, comparisonText, loadRun, makeReport, terminalSummary, writeComparison, writeReport } from '#measure/report/write-report.ts'
import { isComplete, runExperiment } from '#measure/run.ts'
import type { RunEvents } from '#measure/run.ts'
import { createRunDirectory } from '#measure/run-files.ts'
import { checkResumable } from '#measure/run-resume.ts'
import { SUMMARY_FILE } from '#measure/run-summary.ts'
import type { RunSummary } from '#measure/run-summary.ts'
import type { Context } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { parseWhole } from '../format.ts'
import { checkProvider, openProvider, providerNames } from '../measure-provider.ts'
import { VERSION } from '../program.ts'
import { stopSignal } from '../start-here.ts'
import { measureEvents } from '../measure-events.ts'

interface Task {
  readonly file: string
  readonly experiment: Experiment
  readonly provider: string
}

interface Ran extends Task {
  readonly directory: string
  readonly summary: RunSummary
  readonly files: readonly string[]
  readonly text: string
}

export async function measureRun(context: Context, files: readonly string[]): Promise<number> {
  const { options } = context
  const experiments = files.map((file) => ({ file, experiment: parseExperiment(readText(file), file) }))
  const named = providerNames(options['provider'] as string | undefined)
  const tasks: Task[] = experiments.flatMap(({ file, experiment }) => (named ?? [experiment.Provider]).map((provider) => ({ file, experiment, provider })))
  for (const { provider } of tasks) checkProvider(provider)
  const shortest = Math.min(...experiments.map(({ experiment }) => experiment.SubExperiments.length))
  const only = options['only'] === undefined ? undefined : [parseWhole('--only', String(options['only']), 0, shortest - 1)]
  const resume = options['resume'] as string | undefined
  const resumed = resume === undefined ? undefined : readResumed(resume, tasks)
  const seed = parseWhole('--seed', String(options['seed']), 0, 2 ** 32 - 1)
  const interrupted = new AbortController()
  void stopSignal().then((signal) => {
    context.note(`${signal}: ending what is under way; once more ends at once`)
    interrupted.abort(new PlatformError('CANCELLED', 'The measurement was interrupted.'))
  })
  // One that is not there is said before another one is measured for minutes.
  if (tasks.length > 1) for (const name of new Set(tasks.map(({ provider }) => provider))) await (await openProvider(name, options))[Symbol.asyncDispose]()
  const events = measureEvents(context)
  const ran: Ran[] = []
  let failure: { readonly thrown: unknown } | undefined
  for (const task of tasks) {
    if (interrupted.signal.aborted || failure !== undefined) break
    // What was measured before is a result, whatever becomes of a later one.
    await runTask(context, task, { only, resume, resumed, seed, events, signal: interrupted.signal }).then((one) => ran.push(one), (thrown: unknown) => { failure = { thrown } })
  }
  events.done()
  if (failure !== undefined && ran.length === 0) throw failure.thrown
  const comparisons = options['report'] === true && !interrupted.signal.aborted ? await compareAll(ran) : []
  context.result(
    { runs: ran.map(({ file, directory, summary, files }) => ({ experiment: file, directory, files, summary })), comparisons: comparisons.map(({ files }) => files) },
    () => [...ran, ...comparisons].map(({ text, files }) => text + files.map((path) => `${path}\n`).join('')).join('\n'),
  )
  for (const { file, directory, summary, provider } of ran) {
    if (!isComplete(summary)) context.note(`To go on with what is missing: skep measure run ${file} --provider ${provider} --resume ${directory}`)
  }
  if (failure !== undefined) throw failure.thrown
  if (interrupted.signal.aborted) return exitCodes.interrupted
  return ran.every(({ summary }) => isComplete(summary)) ? exitCodes.ok : exitCodes.functionFailed
}

interface TaskOptions {
  readonly only: readonly number[] | undefined
  readonly resume: string | undefined
  readonly resumed: RunSummary | undefined
  readonly seed: number
  readonly events: RunEvents
  readonly signal: AbortSignal
}

async function runTask(context: Context, task: Task, { only, resume, resumed, seed, events, signal }: TaskOptions): Promise<Ran> {
  const { file, experiment } = task
  await using provider = await openProvider(task.provider, context.options)
  if (resume !== undefined && resumed !== undefined) checkResumable(experiment.SubExperiments, provider.name, resumed, { file, directory: resume })
  const directory = resume ?? await createRunDirectory(String(context.options['output']), Date.now())
  const summary = await runExperiment({
    experiment, name: basename(file), provider, directory, only, resumed,
    random: seededRandom(seed), nowMs: Date.now, signal, version: VERSION, events,
  })
  if (context.options['report'] !== true) return { ...task, directory, summary, files: [], text: terminalSummary(makeReport(await loadRun(directory), seededRandom(seed))) }
  const report = await writeReport(directory, { command: `skep measure run ${basename(file)} --provider ${task.provider} --seed ${seed}` })
  for (const note of report.notes) context.note(note)
  return { ...task, directory, summary, files: report.files, text: report.text }
}

/** Each later run of a file with the first one of it: what was named first is what the others are compared with. */
async function compareAll(ran: readonly Ran[]): Promise<{ readonly text: string; readonly files: readonly string[] }[]> {
  const comparisons = []
  for (const b of ran) {
    const a = ran.find((one) => one.file === b.file)!
    if (a === b) continue
    const comparison = await compareDirectories(a.directory, b.directory)
    comparisons.push({ text: comparisonText(comparison), files: await writeComparison(comparison, b.directory) })
  }
  return comparisons
}

function readResumed(directory: string, tasks: readonly Task[]): RunSummary {
  if (tasks.length !== 1) throw new PlatformError('INPUT_INVALID', `--resume goes on with one run, and ${tasks.length} are asked for: name one file and one provider`)
  const path = join(directory, SUMMARY_FILE)
  return parseSummary(readText(path), path)
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new PlatformError('INPUT_INVALID', `${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? String(cause)}): check its name`, { cause })
  }
}
