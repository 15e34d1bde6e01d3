/**
 * The figures of the thesis's chapter 3, of the sub-experiments that there are: a plot, and a table of median, p99, p99.9 and TMR.
 *
 * Latencies are on logarithmic axes, as in the thesis; a distribution has marks at its median and its p99. Figure 3.10 (run times in a trace) is no measurement.
 *
 *   G1. A sub-experiment that has samples is in exactly one of the figures, or among the others.
 *   G2. The same run and random numbers give the same bytes.
 */
import { percentile, samplesNeeded } from '../statistics.ts'
import { bandwidthCell, percentileCell, tailToMedianCell } from './cells.ts'
import type { Cell, CellPercentile, DrawsOf } from './cells.ts'
import { burstOf, transferOf } from './classify.ts'
import type { Factor } from './classify.ts'
import type { LoadedRun, LoadedSubExperiment } from './load-run.ts'
import { figure, HEAD, legend, MARGIN, WIDTH } from './plots/figure.ts'
import { distributionOfMany, linePanel } from './plots/lines.ts'
import type { Point, Series } from './plots/lines.ts'
import { say } from './plots/scale.ts'
import { SERIES_COUNT, widthOf } from './plots/svg.ts'
import type { SampleSet } from './samples.ts'
import { sayBytes } from './table.ts'
import { thesisOf } from './thesis-clouds.ts'
import type { ThesisFigure, ThesisValue } from './thesis-clouds.ts'

export interface FigureRow {
  readonly label: string
  readonly count: number
  readonly resolutionMs: number
  readonly p50: Cell
  readonly p99: Cell
  readonly p999: Cell
  readonly tmr: Cell
  /** Of transfers, megabits per second. */
  readonly bandwidth: Cell | undefined
}

export interface ReportFigure {
  readonly number: ThesisFigure | 'others'
  readonly title: string
  /** What latency it is, and how to read the plot. */
  readonly note: string
  readonly isTransfer: boolean
  readonly rows: readonly FigureRow[]
  readonly thesis: readonly ThesisValue[]
  /** By the name of a file, without its ending. */
  readonly plots: readonly { readonly name: string; readonly svg: string }[]
}

interface Sampled {
  readonly one: LoadedSubExperiment
  readonly set: SampleSet
  readonly label: string
  /** What is varied, for the axis of a plot; undefined when there is none. */
  readonly x: number | undefined
}

interface Plan {
  readonly number: ReportFigure['number']
  readonly title: string
  readonly factors: readonly Factor[]
  readonly isTransfer?: boolean
  readonly xLabel?: string
  readonly sayX?: (x: number) => string
  readonly label: (one: LoadedSubExperiment) => string
  readonly x?: (one: LoadedSubExperiment) => number
}

const imageLabel = ({ settings }: LoadedSubExperiment): string => `${say(settings.FunctionImageSizeMB)} MB${burstOf(settings) > 1 ? `, burst ${burstOf(settings)}` : ''}`
const transferLabel = ({ settings }: LoadedSubExperiment): string => {
  const chain = settings.DataTransferChainLength > 2 ? `, chain of ${settings.DataTransferChainLength}` : ''
  return `${sayBytes(settings.PayloadLengthBytes)}${transferOf(settings) === 'reference' ? ', reference' : ''}${chain}`
}
const iatLabel = (factor: Factor): string => (factor === 'bursty-warm' ? 'short IAT' : 'long IAT')

const plans: readonly Plan[] = [
  { number: '3.3', title: 'Warm and cold invocations', factors: ['warm', 'cold'], label: ({ factor }) => factor },
  { number: '3.4', title: 'Cold starts by image size', factors: ['image-size'], xLabel: 'MB of image', label: imageLabel, x: ({ settings }) => settings.FunctionImageSizeMB },
  { number: '3.5', title: 'Cold starts by runtime and deployment', factors: ['runtime'], label: ({ settings }) => [settings.Runtime, settings.PackageType].filter(Boolean).join(', ') || settings.Title },
  { number: '3.6', title: 'Inline transfers', factors: ['inline'], isTransfer: true, xLabel: 'bytes', sayX: sayBytes, label: transferLabel, x: ({ settings }) => settings.PayloadLengthBytes },
  { number: '3.7', title: 'Transfers through storage, and by reference', factors: ['storage', 'reference'], isTransfer: true, xLabel: 'bytes', sayX: sayBytes, label: transferLabel, x: ({ settings }) => settings.PayloadLengthBytes },
  { number: '3.8', title: 'Bursts', factors: ['bursty-warm', 'bursty-cold'], xLabel: 'requests in a burst', label: ({ factor, settings }) => `${iatLabel(factor)}, burst ${burstOf(settings)}`, x: ({ settings }) => burstOf(settings) },
  { number: '3.9', title: 'Bursts of a function that runs for long: scheduling', factors: ['bursty-long'], label: ({ settings }) => `${settings.DesiredServiceTimes.at(-1)!.text}, burst ${burstOf(settings)}` },
  { number: 'others', title: 'Others', factors: ['other'], label: ({ settings }) => settings.Title },
]

export function makeFigures(run: LoadedRun, drawsOf: DrawsOf): ReportFigure[] {
  return plans.flatMap((plan) => {
    const found = run.subExperiments.flatMap((one) => {
      // What is no transfer of a figure about transfers is the latency of the whole chain.
      const set = plan.isTransfer === true ? one.transfer : one.latencies
      return plan.factors.includes(one.factor) && set !== undefined ? [{ one, set, label: plan.label(one), x: plan.x?.(one) }] : []
    })
    if (found.length === 0) return []
    const order = (one: Sampled): number => plan.factors.indexOf(one.one.factor) * 1e15 + (one.x ?? 0)
    const sampled = unlike(found.sort((a, b) => order(a) - order(b)))
    const rows = sampled.map(({ one, set, label }) => rowOf(one, set, label, plan.isTransfer === true, drawsOf))
    return [{ number: plan.number, title: plan.title, note: noteOf(plan, sampled), isTransfer: plan.isTransfer === true, rows, thesis: plan.number === 'others' ? [] : thesisOf(plan.number), plots: plotsOf(run, plan, sampled, drawsOf) }]
  })
}

function plotsOf(run: LoadedRun, plan: Plan, sampled: readonly Sampled[], drawsOf: DrawsOf): ReportFigure['plots'] {
  const name = plan.number === 'others' ? 'others' : `figure-${plan.number.replace('.', '-')}`
  const plots = [{ name: `${name}-cdf`, svg: distributionFigure(run, plan, sampled) }]
  if (new Set(sampled.map(({ x }) => x)).size > 1) plots.push({ name: `${name}-percentiles`, svg: percentileFigure(run, plan, sampled, drawsOf) })
  return plots
}

/** One panel; of bursts one for each IAT, side by side as in the thesis: they differ by too much for one axis. */
function distributionFigure(run: LoadedRun, plan: Plan, sampled: readonly Sampled[]): string {
  const groups = plan.number === '3.8' ? plan.factors.map((factor) => sampled.filter(({ one }) => one.factor === factor)).filter((group) => group.length > 0) : [sampled]
  const gap = 2 * MARGIN
  const width = (WIDTH - 2 * MARGIN - gap * (groups.length - 1)) / groups.length
  const legends: string[] = []
  let rowsMax = 0
  const panels: { readonly x: number; readonly series: readonly Series[] }[] = groups.map((group, index) => {
    const shown = spreadOver(group, SERIES_COUNT)
    const x = MARGIN + index * (width + gap)
    const names = shown.map(({ label }, place) => [label, (place + 3) % SERIES_COUNT] as const)
    const rows = brokenRows(names, width)
    rowsMax = Math.max(rowsMax, rows.length)
    rows.forEach((row, place) => legends.push(...shifted(legend(row, HEAD - 8 + place * 18, []), x - MARGIN)))
    return { x, series: shown.map(({ set, label }, place) => seriesOf(set, label, (place + 3) % SERIES_COUNT)) }
  })
  const top = HEAD + rowsMax * 18 - 4
  const height = 300
  const xLabel = plan.isTransfer === true ? 'ms of the transfer' : 'ms'
  const content = [
    ...legends,
    ...panels.flatMap(({ x, series }) => linePanel({ x, y: top, width, height }, { xLabel, yLabel: 'share of samples', x: 'fine', y: 'linear', steps: true, isUnnamed: true, series })),
  ]
  const left = sampled.length - panels.reduce((sum, panel) => sum + panel.series.length, 0)
  const note = `Distribution, with marks at the median and at p99.${left > 0 ? ` ${left} of ${sampled.length} are left out here and are in the table.` : ''}`
  return figure({ title: titleOf(plan), note, results: { machine: hereOf(run) }, height: top + height, content })
}

/** A line of a plot by what is varied: all else is the same. */
interface Sweep {
  readonly name: string
  readonly of: readonly Sampled[]
}

/** Two colours each. */
const SWEEPS_MAX = SERIES_COUNT / 2

/** Of several with the same settings but for their titles, the one with the most samples. Longest sweep first. */
function sweepsOf(plan: Plan, sampled: readonly Sampled[]): Sweep[] {
  const groups = new Map<string, Map<number, Sampled>>()
  const varies = (of: (one: LoadedSubExperiment) => unknown): boolean => new Set(sampled.map(({ one }) => of(one))).size > 1
  const parts: ((one: LoadedSubExperiment) => string)[] = []
  if (varies(({ factor }) => factor)) parts.push(({ factor }) => (plan.number === '3.8' ? iatLabel(factor) : factor))
  if (varies(({ settings }) => settings.DataTransferChainLength)) parts.push(({ settings }) => `chain of ${settings.DataTransferChainLength}`)
  if (plan.number !== '3.8' && varies(({ settings }) => burstOf(settings))) parts.push(({ settings }) => `burst ${burstOf(settings)}`)
  if (plan.number !== '3.4' && varies(({ settings }) => settings.FunctionImageSizeMB)) parts.push(({ settings }) => `${say(settings.FunctionImageSizeMB)} MB image`)
  if (varies(({ settings }) => settings.FunctionMemoryMB)) parts.push(({ settings }) => `${say(settings.FunctionMemoryMB)} MB memory`)
  for (const each of sampled) {
    if (each.x === undefined) continue
    const name = parts.map((part) => part(each.one)).join(', ')
    const group = groups.get(name) ?? new Map<number, Sampled>()
    groups.set(name, group)
    const known = group.get(each.x)
    if (known === undefined || known.set.sorted.length < each.set.sorted.length) group.set(each.x, each)
  }
  return [...groups].map(([name, group]) => ({ name, of: [...group.values()].sort((a, b) => a.x! - b.x!) })).sort((a, b) => b.of.length - a.of.length)
}

/** Median and p99 by what is varied; of transfers the bandwidth, too. */
function percentileFigure(run: LoadedRun, plan: Plan, sampled: readonly Sampled[], drawsOf: DrawsOf): string {
  const all = sweepsOf(plan, sampled)
  const sweeps = all.slice(0, SWEEPS_MAX)
  const colours = [[3, 0], [4, 1], [5, 2], [6, 7]] as const
  const lines = sweeps.flatMap(({ name, of }, index): Series[] => {
    const suffix = name === '' ? '' : `, ${name}`
    const tails = of.filter(({ set }) => set.sorted.length >= samplesNeeded(0.99))
    return [
      { name: `median${suffix}`, series: colours[index]![0], points: of.map((each) => pointOf(each, 0.5, drawsOf)) },
      { name: `p99${suffix}`, series: colours[index]![1], points: tails.map((each) => pointOf(each, 0.99, drawsOf)) },
    ].filter(({ points }) => points.length > 0)
  })
  const hasZero = sampled.some(({ x }) => x === 0)
  const xAxis = hasZero ? 'linear' : plan.number === '3.4' || plan.number === '3.8' ? 'fine' : 'log'
  const rows = brokenRows(lines.map(({ name, series }) => [name, series] as const), WIDTH - 2 * MARGIN)
  const legends = rows.flatMap((row, place) => legend(row, HEAD - 8 + place * 18, []))
  const top = HEAD + rows.length * 18 - 4
  const height = 300
  const common = { xLabel: plan.xLabel ?? '', x: xAxis, isUnnamed: true, ...(plan.sayX !== undefined && { sayX: plan.sayX }) } as const
  const half = (WIDTH - 4 * MARGIN) / 2
  const content = plan.isTransfer !== true
    ? linePanel({ x: MARGIN, y: top, width: WIDTH - 2 * MARGIN, height }, { ...common, yLabel: 'ms', y: 'fine', series: lines })
    : [
        ...linePanel({ x: MARGIN, y: top, width: half, height }, { ...common, yLabel: 'ms', y: 'fine', series: lines }),
        ...linePanel({ x: 3 * MARGIN + half, y: top, width: half, height }, { ...common, yLabel: 'Mb/s, size over median', y: 'fine', series: sweeps.map(({ name, of }, index) => bandwidths(name, of, colours[index]![0], drawsOf)) }),
      ]
  const left = sampled.length - sweeps.reduce((sum, { of }) => sum + of.length, 0)
  const note = `With 95 % intervals. A p99 of fewer than 368 samples is not drawn.${left > 0 ? ` ${left} of ${sampled.length} are in the table only.` : ''}`
  return figure({ title: `${titleOf(plan)}: median and p99`, note, results: { machine: hereOf(run) }, height: top + height, content: [...legends, ...content] })
}

function bandwidths(name: string, of: readonly Sampled[], series: number, drawsOf: DrawsOf): Series {
  const points = of.flatMap(({ one, set, x }): Point[] => {
    const cell = bandwidthCell(set, one.settings.PayloadLengthBytes, drawsOf)
    return cell.kind === 'value' && cell.value > 0 ? [{ x: x!, y: cell.value, ...(cell.interval !== undefined && { low: cell.interval.lower, high: cell.interval.upper }) }] : []
  })
  return { name, series, points }
}

function pointOf({ set, x }: Sampled, p: CellPercentile, drawsOf: DrawsOf): Point {
  const cell = percentileCell(set, p, drawsOf)
  const bounds = cell.kind === 'value' && cell.interval !== undefined ? { low: drawable(cell.interval.lower, set), high: drawable(cell.interval.upper, set) } : {}
  return { x: x!, y: drawable(percentile(set.sorted, p), set), ...bounds }
}

function seriesOf(set: SampleSet, name: string, series: number): Series {
  const marks = [0.5, 0.99].filter((p) => set.sorted.length >= samplesNeeded(p)).map((p) => ({ x: drawable(percentile(set.sorted, p), set), y: p }))
  return { name, series, points: distributionOfMany(set.sorted).map(({ x, y }) => ({ x: drawable(x, set), y })), marks }
}

/** On a logarithmic axis there is no zero: what was cut off to it is drawn at half of what it was cut off to. */
function drawable(ms: number, { resolutionMs }: SampleSet): number {
  return Math.max(ms, resolutionMs / 2)
}

function rowOf(one: LoadedSubExperiment, set: SampleSet, label: string, isTransfer: boolean, drawsOf: DrawsOf): FigureRow {
  return {
    label, count: set.sorted.length, resolutionMs: set.resolutionMs,
    p50: percentileCell(set, 0.5, drawsOf), p99: percentileCell(set, 0.99, drawsOf), p999: percentileCell(set, 0.999, drawsOf), tmr: tailToMedianCell(set, drawsOf),
    bandwidth: isTransfer ? bandwidthCell(set, one.settings.PayloadLengthBytes, drawsOf) : undefined,
  }
}

/** Labels that are the same get what tells them apart, and numbers when nothing does. */
function unlike(sampled: readonly Sampled[]): Sampled[] {
  const told: readonly ((one: LoadedSubExperiment) => string)[] = [
    ({ settings }) => `${say(settings.FunctionMemoryMB)} MB memory`, ({ settings }) => `${say(settings.FunctionImageSizeMB)} MB image`, ({ settings }) => `IAT ${say(settings.IATSeconds)} s`,
    ({ settings }) => settings.Title.slice(0, 30),
  ]
  const seen = new Map<string, number>()
  return sampled.map((each) => {
    const same = sampled.filter(({ label }) => label === each.label)
    const more = told.find((tell) => new Set(same.map(({ one }) => tell(one))).size > 1)
    const label = same.length === 1 || more === undefined ? each.label : `${each.label}, ${more(each.one)}`
    const times = (seen.get(label) ?? 0) + 1
    seen.set(label, times)
    return { ...each, label: times === 1 ? label : `${label} #${times}` }
  })
}

/** First, last, and those evenly between. */
function spreadOver<T>(all: readonly T[], most: number): T[] {
  if (all.length <= most) return [...all]
  return Array.from({ length: most }, (_, index) => all[Math.round((index * (all.length - 1)) / (most - 1))]!)
}

/** As many names in a row of the legend as there is room. */
function brokenRows(names: readonly (readonly [string, number])[], width: number): (readonly [string, number])[][] {
  const rows: (readonly [string, number])[][] = []
  let room = 0
  for (const [name, series] of names) {
    const short = name.length > 60 ? `${name.slice(0, 59)}…` : name
    const needed = 18 + widthOf(short, 11) + 18
    if (rows.length === 0 || needed > room) {
      rows.push([])
      room = width
    }
    rows.at(-1)!.push([short, series])
    room -= needed
  }
  return rows
}

function shifted(elements: readonly string[], by: number): string[] {
  return by === 0 ? [...elements] : [`<g transform="translate(${by} 0)">${elements.join('')}</g>`]
}

function titleOf({ number, title }: Plan): string {
  return number === 'others' ? title : `${title} (thesis, Figure ${number})`
}

function noteOf({ isTransfer }: Plan, sampled: readonly Sampled[]): string {
  const coarse = sampled.filter(({ set }) => set.resolutionMs >= 1).length
  const cut = coarse === 0 ? '' : ` ${coarse === sampled.length ? 'In' : `Of ${coarse} in`} whole milliseconds, cut off.`
  if (isTransfer === true) return `From the first function's timestamp to the last one's.${cut}`
  const whole = sampled.filter(({ one }) => one.result?.latencyOf === 'whole-answer').length
  if (whole === 0) return `Until the first byte of the answer.${cut}`
  return (whole === sampled.length ? 'Until the whole answer: the transport does not tell its first byte.' : `Until the first byte of the answer; of ${whole}, until the whole answer.`) + cut
}

/** Which platform on which machine. */
export function hereOf({ name, summary }: LoadedRun): string {
  return summary === undefined ? `${name.slice(0, 60)}, read from CSV files` : `${summary.provider.name.slice(0, 40)}, driven from ${summary.client.cpus} × ${summary.client.cpu.slice(0, 60)}, ${summary.startedAt.slice(0, 10)}`
}
