/**
 * A run's directory as values: `summary.json` with its CSV files, or what the original STeLLAR wrote, which has CSV files only.
 *
 * Of latencies the CSV has each with its burst, but mostly in whole milliseconds, cut off; the histogram has them to its known error and without bursts. Where
 * both are there and a millisecond would be much, the histogram's values take the place of the CSV's in the same order (L2).
 *
 *   L1. What is named in a summary and cannot be read is a note, and the rest of the run is there. What can be read and is wrong is an error with file and field.
 *   L2. Values of the histogram are taken only when they are as many as the CSV's.
 *   L3. Nothing outside of the run's directory is read.
 */
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import { parseGoDuration } from '../go-duration.ts'
import { decodeHistogram } from '../histogram.ts'
import { SUMMARY_FILE } from '../run-summary.ts'
import type { Latencies, RunSummary, SubExperimentResult } from '../run-summary.ts'
import { percentile } from '../statistics.ts'
import { classify } from './classify.ts'
import type { Factor, KnownSettings } from './classify.ts'
import { readLatencies, readTransfers } from './read-csv.ts'
import type { CsvSamples } from './read-csv.ts'
import { sampleSet } from './samples.ts'
import type { SampleSet } from './samples.ts'
import { parseSummary } from './summary-schema.ts'

export interface LoadedSubExperiment {
  readonly settings: KnownSettings
  readonly factor: Factor
  /** Undefined without a sample. */
  readonly latencies: SampleSet | undefined
  /** Of chains. */
  readonly transfer: SampleSet | undefined
  /** Undefined for results of the original. */
  readonly result: SubExperimentResult | undefined
}

export interface LoadedRun {
  /** As it was named, for titles. */
  readonly name: string
  readonly summary: RunSummary | undefined
  readonly subExperiments: readonly LoadedSubExperiment[]
  /** What could not be read, or only in part. */
  readonly notes: readonly string[]
}

const FILE_BYTES_MAX = 1 << 29
const SAMPLES_MAX = 20_000_000
/** Below this median a cut-off millisecond is more than a hundredth. */
const COARSE_BELOW = 100

export async function loadRun(directory: string): Promise<LoadedRun> {
  const summaryPath = join(directory, SUMMARY_FILE)
  const text = await readIfThere(summaryPath)
  if (text === undefined) return await loadOriginal(directory)
  const summary = parseSummary(text, summaryPath)
  const notes: string[] = []
  const subExperiments: LoadedSubExperiment[] = []
  for (const result of summary.results) {
    const { settings } = result
    const path = result.directory === undefined ? undefined : join(directory, result.directory)
    const [latencies, transfer] = path === undefined ? [] : await readCsvFiles(path, notes)
    subExperiments.push({
      settings, result, factor: classify(settings),
      latencies: merged(latencies?.samples, result.latencies, `${summaryPath}: results[${result.index}].latencies`, notes),
      // Timestamps are in the CSV as the functions wrote them.
      transfer: nonEmpty(transfer?.samples) ?? merged(undefined, result.transfer, `${summaryPath}: results[${result.index}].transfer`, notes),
    })
  }
  return { name: summary.provider.name, summary, subExperiments, notes }
}

/** `<Title>-memory<M>MB-img<I>MB-IAT<T>s-burst<B0>-st<ST0>-payload<KB>KB`, and -2 for a second one of the name. Undefined for what is named otherwise. */
export function settingsOfDirectory(name: string): KnownSettings | undefined {
  const match = /^(.*)-memory(\d{1,9})MB-img(\d{1,9})MB-IAT(\d{1,9}(?:\.\d+)?|\d(?:\.\d+)?e[+-]\d{2})s-burst(\d{1,9})-st([^-]*)-payload(\d{1,12})KB(?:-\d+)?$/s.exec(name)
  if (match === null) return undefined
  const [, Title = '', memory, image, iat, burst, service = '', payload] = match
  return {
    Title, FunctionMemoryMB: Number(memory), FunctionImageSizeMB: Number(image), IATSeconds: Number(iat), BurstSizes: [Number(burst)],
    DesiredServiceTimes: [{ text: service, ms: parseGoDuration(service) ?? 0 }], PayloadLengthBytes: Number(payload) * 1024, DataTransferChainLength: 1,
  }
}

async function loadOriginal(directory: string): Promise<LoadedRun> {
  const notes: string[] = []
  const subExperiments: LoadedSubExperiment[] = []
  for (const path of await originalDirectories(directory)) {
    const settings = settingsOfDirectory(basename(path))!
    const [latencies, transfer] = await readCsvFiles(path, notes)
    if (latencies === undefined) continue
    const complete = { ...settings, DataTransferChainLength: transfer?.chainLength ?? 1 }
    subExperiments.push({ settings: complete, result: undefined, factor: classify(complete), latencies: nonEmpty(latencies.samples), transfer: nonEmpty(transfer?.samples) })
  }
  if (subExperiments.length === 0) throw new PlatformError('INPUT_INVALID', `${directory}: none of its directories has a latencies.csv; name the directory of a run that measured something`)
  return { name: basename(directory), summary: undefined, subExperiments, notes }
}

/** The directory itself, those in it, or those in the only run below it. */
async function originalDirectories(directory: string): Promise<string[]> {
  if (settingsOfDirectory(basename(directory)) !== undefined) return [directory]
  const children = await directoriesIn(directory)
  const named = children.filter((path) => settingsOfDirectory(basename(path)) !== undefined)
  if (named.length > 0) return named
  const runs: string[] = []
  for (const child of children) if ((await directoriesIn(child)).some((path) => settingsOfDirectory(basename(path)) !== undefined) || (await isThere(join(child, SUMMARY_FILE)))) runs.push(child)
  const only = runs[0]
  if (runs.length === 1 && only !== undefined && !(await isThere(join(only, SUMMARY_FILE)))) return await originalDirectories(only)
  const choice = runs.length === 0 ? 'name the directory of a run' : `name one of the runs in it: ${runs.slice(0, 10).map((path) => basename(path)).join(', ')}`
  throw new PlatformError('INPUT_INVALID', `${directory}: has no ${SUMMARY_FILE}, and no directories of results as STeLLAR names them; ${choice}`)
}

async function directoriesIn(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(directory, entry.name)).sort()
  } catch (cause) {
    throw new PlatformError('INPUT_INVALID', `${directory}: cannot be read (${(cause as NodeJS.ErrnoException).code ?? String(cause)}); name the directory of a run`, { cause })
  }
}

async function readCsvFiles(path: string, notes: string[]): Promise<[CsvSamples | undefined, CsvSamples | undefined]> {
  const read = async (name: string, parse: (text: string, file: string) => CsvSamples): Promise<CsvSamples | undefined> => {
    const file = join(path, name)
    const text = await readIfThere(file)
    if (text === undefined) {
      if (name === 'latencies.csv') notes.push(`${file}: is not there`)
      return undefined
    }
    const samples = parse(text, file)
    notes.push(...samples.notes)
    return samples
  }
  return [await read('latencies.csv', readLatencies), await read('data-transfers.csv', readTransfers)]
}

function merged(csv: SampleSet | undefined, latencies: Latencies | undefined, field: string, notes: string[]): SampleSet | undefined {
  const exact = nonEmpty(csv)
  if (latencies === undefined || (exact !== undefined && (exact.resolutionMs < 1 || percentile(exact.sorted, 0.5) >= COARSE_BELOW))) return exact
  const values = valuesOf(latencies.histogram, field)
  if (exact === undefined) return nonEmpty(sampleSet(values, undefined, 0.001))
  if (values.length !== exact.sorted.length) {
    notes.push(`${field}.histogram: has ${values.length} values, the CSV file ${exact.sorted.length}; the file's whole milliseconds are used`)
    return exact
  }
  return { ...exact, sorted: Float64Array.from(values).sort(), resolutionMs: 0.001 }
}

/** Milliseconds of the histogram's microseconds. */
function valuesOf(text: string, field: string): number[] {
  try {
    const histogram = decodeHistogram(text)
    if (histogram.count > SAMPLES_MAX) throw new PlatformError('INPUT_INVALID', `counts ${histogram.count} samples, at most ${SAMPLES_MAX} are read`)
    return [...histogram.buckets()].flatMap(([us, count]) => Array<number>(count).fill(us / 1000))
  } catch (cause) {
    throw new PlatformError('INPUT_INVALID', `${field}.histogram: ${(cause as Error).message}`, { cause })
  }
}

function nonEmpty(set: SampleSet | undefined): SampleSet | undefined {
  return set === undefined || set.sorted.length === 0 ? undefined : set
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    const { size } = await stat(path)
    if (size > FILE_BYTES_MAX) throw new PlatformError('INPUT_INVALID', `${path}: ${size} bytes, at most ${FILE_BYTES_MAX}: split the run`)
    return await readFile(path, 'utf8')
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return undefined
    if (cause instanceof PlatformError) throw cause
    throw new PlatformError('INPUT_INVALID', `${path}: cannot be read (${(cause as NodeJS.ErrnoException).code ?? String(cause)})`, { cause })
  }
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false)
}
