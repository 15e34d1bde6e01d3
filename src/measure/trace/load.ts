/**
 * A trace of a cloud: which function is invoked how often in which minute, how long it runs, and how much memory it takes.
 *
 * Two public formats. In-Vitro's (Ustiugov et al., WORDS 2023; pkg/trace) is a directory: invocations.csv counts per minute
 * (or second), durations.csv and memory.csv give percentiles. The Azure Functions trace of 2021 (Zhang et al., SOSP 2021) is
 * one file with a row per invocation: its times are exact, so nothing has to be drawn, and memory is In-Vitro's fixed 200 MB.
 *
 *   invocations.csv  HashOwner,HashApp,HashFunction,Trigger,480,481,…        one column per minute, any first number
 *   durations.csv    HashFunction,Average,percentile_Average_0,_1,_25,_50,_75,_99,_100                       ms
 *   memory.csv       HashFunction,AverageAllocatedMb,AverageAllocatedMb_pct1,_pct5,_pct25,_pct50,_pct75,_pct95,_pct99,_pct100   MB
 *   Azure 2021       app,func,end_timestamp,duration                                                          s
 *
 * Invariants:
 *   L1. Every function has a count for each unit, and percentiles that do not fall.
 *   L2. Only the window asked for is kept, however long the file.
 *   L3. A function stands in a file once; one without duration or memory is an error, not a guess.
 */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { csvRows, invalid, quote } from './csv.ts'
import type { CsvRow, TextSource } from './csv.ts'
import { PlatformError } from '#contract/errors.ts'

export interface Trace {
  /** How long a count counts: a minute, or a second. */
  readonly unitUs: number
  readonly unitCount: number
  readonly functions: readonly TracedFunction[]
}

export interface TracedFunction {
  readonly name: string
  readonly trigger: string
  /** Invocations per unit. */
  readonly counts: Uint32Array
  readonly averageMs: number
  readonly averageMb: number
  readonly demand: Demand
}

/** What is known about single invocations: a distribution, or everything. */
export type Demand =
  | { readonly kind: 'percentiles'; readonly durationMs: Percentiles; readonly memoryMb: Percentiles }
  /** In order of start, relative to the start of the window. */
  | { readonly kind: 'recorded'; readonly startUs: Float64Array; readonly durationMs: Float64Array; readonly memoryMb: number }

/** The value at each rank, from 0 to 1; both ascend. */
export interface Percentiles {
  readonly ranks: readonly number[]
  readonly values: readonly number[]
}

export interface LoadOptions {
  /** What a column of invocations.csv counts. Default minute. */
  readonly granularity?: 'minute' | 'second'
  /** Units left out at the start. Default 0. */
  readonly skip?: number
  /** Units kept at most. Default all. */
  readonly take?: number
}

export const MINUTE_US = 60_000_000
/** In-Vitro's, for a trace that does not record memory. */
const MEMORY_MB_UNRECORDED = 200
const DURATION_RANKS = [0, 1, 25, 50, 75, 99, 100]
const MEMORY_RANKS = [1, 5, 25, 50, 75, 95, 99, 100]

interface Statistics {
  readonly average: number
  readonly percentiles: Percentiles
}

/** @param path A directory in In-Vitro's format, or a file of the Azure trace of 2021. */
export async function loadTrace(path: string, options: LoadOptions = {}): Promise<Trace> {
  const kind = await stat(path).catch((error: unknown) => {
    throw unreadable(path, error)
  })
  if (!kind.isDirectory()) return loadAzure2021(textFile(path), options)
  return loadInVitro({ invocations: textFile(join(path, 'invocations.csv')), durations: textFile(join(path, 'durations.csv')), memory: textFile(join(path, 'memory.csv')) }, options)
}

export async function loadInVitro(files: { readonly invocations: TextSource; readonly durations: TextSource; readonly memory: TextSource }, options: LoadOptions = {}): Promise<Trace> {
  checkOptions(options)
  const durations = await readStatistics(files.durations, 'Average', DURATION_RANKS.map((rank) => [rank, `percentile_Average_${rank}`]), 'milliseconds')
  const memory = await readStatistics(files.memory, 'AverageAllocatedMb', MEMORY_RANKS.map((rank) => [rank, `AverageAllocatedMb_pct${rank}`]), 'megabytes')
  const functions: TracedFunction[] = []
  const names = new Set<string>()
  let window: readonly string[] = []
  for await (const row of csvRows(files.invocations, ['HashFunction'])) {
    if (functions.length === 0) window = windowOf(row, options)
    const name = uniqueName(row, names)
    const counts = new Uint32Array(window.length)
    for (const [index, column] of window.entries()) {
      const count = row.number(column, 'invocations')
      if (!Number.isInteger(count) || count >= 2 ** 32) throw row.error(column, `${count} is not a whole number of invocations below 2^32: correct it`)
      counts[index] = count
    }
    const duration = durations.get(name)
    const allocated = memory.get(name)
    if (duration === undefined || allocated === undefined) {
      throw row.error('HashFunction', `${quote(name)} has no row in ${(duration === undefined ? files.durations : files.memory).name}: add one, or leave the function out`)
    }
    const demand = { kind: 'percentiles', durationMs: duration.percentiles, memoryMb: allocated.percentiles } as const
    functions.push({ name, trigger: row.optionalText('Trigger'), counts, averageMs: duration.average, averageMb: allocated.average, demand })
  }
  return { unitUs: unitOf(options), unitCount: window.length, functions: someFunctions(files.invocations.name, functions) }
}

/** A row says when an invocation ended and how long it took; time starts with the first start in the file. */
export async function loadAzure2021(file: TextSource, options: LoadOptions = {}): Promise<Trace> {
  checkOptions(options)
  const rows = new Map<string, { readonly starts: number[]; readonly seconds: number[] }>()
  let first = Infinity
  let last = -Infinity
  for await (const row of csvRows(file, ['app', 'func', 'end_timestamp', 'duration'])) {
    const name = `${row.text('app')}-${row.text('func')}`
    const seconds = row.number('duration', 'seconds')
    const start = row.number('end_timestamp', 'seconds') - seconds
    if (Math.abs(start) > TIMESTAMP_MAX_S) throw row.error('end_timestamp', `with this duration starts at ${start} s, beyond a year: the unit is seconds since the trace began`)
    let one = rows.get(name)
    if (one === undefined) rows.set(name, (one = { starts: [], seconds: [] }))
    one.starts.push(start)
    one.seconds.push(seconds)
    first = Math.min(first, start)
    last = Math.max(last, start)
  }
  someFunctions(file.name, [...rows])
  const unitUs = unitOf(options)
  const skip = options.skip ?? 0
  const found = Math.floor(Math.round((last - first) * 1e6) / unitUs) + 1
  const unitCount = Math.min(found - skip, options.take ?? Infinity)
  checkWindow(file.name, found, unitCount)
  if (unitCount * rows.size > COUNTS_MAX) throw invalid(file.name, 1, `${rows.size} functions over ${unitCount} minutes or seconds are more than ${COUNTS_MAX} counts: take fewer`)
  const functions = [...rows].map(([name, { starts, seconds }]) => {
    const order = starts.map((_, index) => index).sort((a, b) => starts[a]! - starts[b]!)
    const startUs = (index: number): number => Math.round((starts[index]! - first) * 1e6) - skip * unitUs
    const kept = order.filter((index) => startUs(index) >= 0 && startUs(index) < unitCount * unitUs)
    const counts = new Uint32Array(unitCount)
    for (const index of kept) counts[Math.floor(startUs(index) / unitUs)]!++
    const durationMs = Float64Array.from(kept, (index) => seconds[index]! * 1000)
    const averageMs = durationMs.length === 0 ? 0 : durationMs.reduce((sum, one) => sum + one, 0) / durationMs.length
    const demand = { kind: 'recorded', startUs: Float64Array.from(kept, startUs), durationMs, memoryMb: MEMORY_MB_UNRECORDED } as const
    return { name, trigger: '', counts, averageMs, averageMb: MEMORY_MB_UNRECORDED, demand }
  })
  return { unitUs, unitCount, functions }
}

/** The trace lasts two weeks; what is far beyond is another unit, and would need as many counts. */
const TIMESTAMP_MAX_S = 366 * 86_400
/** 512 MiB of counts; the real trace by the minute has 8.5 million. */
const COUNTS_MAX = 2 ** 27

async function readStatistics(file: TextSource, averageColumn: string, rankColumns: readonly (readonly [number, string])[], unit: string): Promise<Map<string, Statistics>> {
  const found = new Map<string, Statistics>()
  const names = new Set<string>()
  const ranks = rankColumns.map(([rank]) => rank / 100)
  for await (const row of csvRows(file, ['HashFunction', averageColumn, ...rankColumns.map(([, column]) => column)])) {
    const name = uniqueName(row, names)
    const values = rankColumns.map(([, column]) => row.number(column, unit))
    const fall = values.findIndex((value, index) => index > 0 && value < values[index - 1]!)
    if (fall > 0) throw row.error(rankColumns[fall]![1], `${values[fall]} is less than the percentile before it, ${values[fall - 1]}: percentiles must not fall`)
    found.set(name, { average: row.number(averageColumn, unit), percentiles: { ranks, values } })
  }
  return found
}

/** The columns of invocations.csv that are counts and inside the window; they follow each other by one. */
function windowOf(row: CsvRow, { skip = 0, take = Infinity }: LoadOptions): string[] {
  const columns = [...row.columns.keys()].filter((name) => /^\d+$/.test(name))
  const gap = columns.findIndex((name, index) => index > 0 && Number(name) !== Number(columns[index - 1]) + 1)
  if (gap > 0) throw invalid(row.file, 1, `column ${quote(columns[gap]!)} does not follow ${columns[gap - 1]}: one column per minute or second, in order`)
  if (columns.length === 0) throw invalid(row.file, 1, 'no column is a number: counts stand in columns named by their minute or second')
  const window = columns.slice(skip, skip + take)
  checkWindow(row.file, columns.length, window.length)
  return window
}

function checkWindow(file: string, found: number, kept: number): void {
  if (kept < 1) throw invalid(file, 1, `no minute is left: the file has ${found}; skip fewer, take at least 1`)
}

function checkOptions({ skip = 0, take = Infinity }: LoadOptions): void {
  for (const [name, value] of [['skip', skip], ['take', take]] as const) {
    if (value >= 0 && (Number.isInteger(value) || value === Infinity)) continue
    throw new PlatformError('INPUT_INVALID', `${name} is ${value}, and must be a whole number of the trace's minutes or seconds from 0`)
  }
}

function uniqueName(row: CsvRow, names: Set<string>): string {
  const name = row.text('HashFunction')
  if (names.has(name)) throw row.error('HashFunction', `${quote(name)} is there twice: add the two up, or rename one`)
  names.add(name)
  return name
}

function someFunctions<T>(file: string, functions: readonly T[]): readonly T[] {
  if (functions.length === 0) throw invalid(file, 2, 'no function: the header needs a row below it')
  return functions
}

function unitOf({ granularity = 'minute' }: LoadOptions): number {
  return granularity === 'minute' ? MINUTE_US : 1_000_000
}

function textFile(path: string): TextSource {
  return { name: path, chunks: readText(path) }
}

async function* readText(path: string): AsyncGenerator<string> {
  try {
    for await (const chunk of createReadStream(path, 'utf8')) yield chunk as string
  } catch (error) {
    throw unreadable(path, error)
  }
}

function unreadable(path: string, cause: unknown): PlatformError {
  const next = 'name a directory with invocations.csv, durations.csv and memory.csv, or a file of the Azure trace of 2021'
  return new PlatformError('INPUT_INVALID', `${path} cannot be read: ${next}`, { cause })
}
