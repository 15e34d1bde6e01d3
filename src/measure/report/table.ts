/**
 * Table 3.1 of the thesis for the platform that was measured: what each factor does to median and tail, in medians of single warm invocations, beside
 * the thesis's three clouds.
 *
 *   T1. Every row of the thesis's table is there. One that was not measured says why: not asked for, not run, a limitation, too few samples, no base.
 *   T2. A row is made of the sub-experiment that is nearest to the thesis's: images of 100 MB, transfers of 1 MB, bursts of 100; `of` says which.
 *   T3. "Bursty long" is less the function's own run (footnote 7).
 */
import { isProblematic, ratioCell } from './cells.ts'
import type { Cell, DrawsOf } from './cells.ts'
import { burstOf, voiding } from './classify.ts'
import type { LoadedRun, LoadedSubExperiment } from './load-run.ts'
import { say } from './plots/scale.ts'
import { tableAt, thesisTable } from './thesis-clouds.ts'
import type { Cloud, TableFactor } from './thesis-clouds.ts'

export interface TableRow {
  readonly factor: TableFactor
  readonly name: string
  /** Of the thesis. */
  readonly section: string
  /** Both "none" with the same reason when it was not measured. */
  readonly mr: Cell
  readonly tr: Cell
  /** What was measured, and what to keep in mind. */
  readonly of: string
  readonly thesis: Readonly<Partial<Record<Cloud, readonly [mr: number, tr: number]>>>
}

export interface Table {
  readonly provider: string
  readonly rows: readonly TableRow[]
}

export function makeTable(run: LoadedRun, drawsOf: DrawsOf): Table {
  const base = chosen(run, 'warm')
  return { provider: run.name, rows: thesisTable.map(({ factor, name, section, ratios }) => ({ factor, name, section, thesis: ratios, ...rowOf(run, factor, base, drawsOf) })) }
}

function rowOf(run: LoadedRun, factor: TableFactor, base: LoadedSubExperiment | undefined, drawsOf: DrawsOf): Pick<TableRow, 'mr' | 'tr' | 'of'> {
  const one = chosen(run, factor)
  const missing = (reason: string): Pick<TableRow, 'mr' | 'tr' | 'of'> => ({ mr: { kind: 'none', reason }, tr: { kind: 'none', reason }, of: reason })
  if (one === undefined) return missing('not in this run')
  const limits = voiding(one)
  if (limits.length > 0) return missing(`limitation: ${limits.map(({ message }) => message).join('; ')}`)
  const set = samplesFor(one, factor)
  if (set === undefined) return missing(reasonOf(one))
  if (base?.latencies === undefined) return missing('no single warm invocations in this run to relate it to')
  const own = factor === 'bursty-long' ? one.settings.DesiredServiceTimes.at(-1)!.ms : 0
  return {
    mr: ratioCell(set, 'p50', base.latencies, drawsOf, own),
    tr: ratioCell(set, 'p99', base.latencies, drawsOf, own),
    of: [describe(one, factor), ...(own > 0 ? [`less ${say(own)} ms of its own run`] : []), ...remarks(one, factor)].join(', '),
  }
}

/** Nearest to what the thesis's row stands for; of equals the one with the most samples. */
function chosen(run: LoadedRun, factor: TableFactor): LoadedSubExperiment | undefined {
  const isBursty = factor.startsWith('bursty')
  const fitting = run.subExperiments.filter((one) => one.factor === factor && (burstOf(one.settings) > 1) === isBursty)
  const distance = ({ settings }: LoadedSubExperiment): number => {
    if (factor === 'image-size') return farness(settings.FunctionImageSizeMB, tableAt.imageMB)
    if (factor === 'inline' || factor === 'storage') return farness(settings.PayloadLengthBytes, tableAt.payloadBytes)
    return isBursty ? farness(burstOf(settings), tableAt.burst) : 0
  }
  const count = (one: LoadedSubExperiment): number => samplesFor(one, factor)?.sorted.length ?? 0
  // One with samples is preferred to a nearer one without.
  return fitting.sort((a, b) => Number(count(b) > 0) - Number(count(a) > 0) || distance(a) - distance(b) || count(b) - count(a))[0]
}

function samplesFor(one: LoadedSubExperiment, factor: TableFactor): LoadedSubExperiment['latencies'] {
  return factor === 'inline' || factor === 'storage' ? one.transfer : one.latencies
}

function describe({ settings }: LoadedSubExperiment, factor: TableFactor): string {
  switch (factor) {
    case 'warm': case 'cold': return 'single invocations'
    case 'image-size': return `${say(settings.FunctionImageSizeMB)} MB`
    case 'inline': case 'storage': return sayBytes(settings.PayloadLengthBytes)
    case 'bursty-warm': case 'bursty-cold': case 'bursty-long': return `bursts of ${burstOf(settings)}`
  }
}

function remarks(one: LoadedSubExperiment, factor: TableFactor): string[] {
  const starts = one.result?.starts
  const told: string[] = []
  if (starts !== undefined && factor !== 'inline' && factor !== 'storage') {
    const known = starts.cold + starts.warm
    const wantsCold = factor === 'cold' || factor === 'image-size' || factor === 'bursty-cold' || factor === 'bursty-long'
    const share = known === 0 ? undefined : starts.cold / known
    if (share !== undefined && wantsCold && share < 0.5) told.push(`only ${sayShare(share)} were cold starts`)
    if (share !== undefined && factor === 'warm' && share > 0.01) told.push(`${sayShare(share)} were cold starts`)
  }
  if (one.result !== undefined && one.result.outcome.kind !== 'done' && one.result.outcome.kind !== 'stopped') told.push(reasonOf(one))
  return told
}

/** Why there is less than was asked for. */
export function reasonOf({ result }: LoadedSubExperiment): string {
  switch (result?.outcome.kind) {
    case undefined: return 'no samples'
    case 'done': case 'stopped': return result!.failures.length === 0 ? 'no samples' : `no samples: ${result!.failures[0]!.code}, ${result!.failures[0]!.message}`
    case 'given-up': return `given up: ${(result!.outcome as { reason: string }).reason}`
    case 'interrupted': return 'interrupted'
    case 'not-run': return `not run: ${(result!.outcome as { reason: string }).reason}`
  }
}

/** 10, 100 and 1,000 are equally far from each other. */
function farness(value: number, wanted: number): number {
  return Math.abs(Math.log((value + 1e-9) / wanted))
}

/** What is a power of 1024 is said as one: the original's sizes are. */
export function sayBytes(bytes: number): string {
  if (bytes > 0 && bytes % 2 ** 30 === 0) return `${say(bytes / 2 ** 30)} GiB`
  if (bytes > 0 && bytes % 2 ** 20 === 0) return `${say(bytes / 2 ** 20)} MiB`
  if (bytes > 0 && bytes % 1024 === 0) return `${say(bytes / 1024)} KiB`
  if (bytes >= 1e9) return `${say(bytes / 1e9)} GB`
  if (bytes >= 1e6) return `${say(bytes / 1e6)} MB`
  return bytes >= 1000 ? `${say(bytes / 1000)} KB` : `${say(bytes)} B`
}

export function sayShare(share: number): string {
  return `${say(share * 100)} %`
}

/** MR or TR above 10 (thesis 3.6.1). */
export function problems(table: Table): TableRow[] {
  return table.rows.filter((row) => isProblematic(row.mr) || isProblematic(row.tr))
}
