/**
 * The thesis's figures 4.2 to 4.5 and 5.2 to 5.4, drawn from our results with the thesis's values beside them. Each function gives
 * the text of an SVG file, or undefined when the results have nothing for it.
 *
 * What was measured here is solid, what the thesis has is hollow, dashed or a diamond. Its machine, sandboxes and functions are others,
 * so the two never share an axis of milliseconds, except for the logarithmic one of Figure 5.4, where slopes are compared.
 */
import type { RestoreMode } from '#contract/start-figures.ts'
import { barPanel, barPanelWidth } from '#measure/report/plots/bars.ts'
import type { Bar, BarGroup } from '#measure/report/plots/bars.ts'
import { figure, HEAD, legend, MARGIN, WIDTH } from '#measure/report/plots/figure.ts'
import { distribution, linePanel } from '#measure/report/plots/lines.ts'
import type { Series } from '#measure/report/plots/lines.ts'
import { diamond, dotPanel, dotPanelHeight, sharePanel, sharePanelHeight } from '#measure/report/plots/rows.ts'
import type { ShareBar } from '#measure/report/plots/rows.ts'
import { say, times } from '#measure/report/plots/scale.ts'
import { element, line, SERIES_COUNT } from '#measure/report/plots/svg.ts'
import type { Breakdown, FunctionResult, PlotResults } from './results.ts'
import { thesisClaims, thesisConcurrency, thesisDesigns, thesisFunction } from './thesis-values.ts'

const MB = 1_000_000

/** Of the restore modes: one colour each, in every figure. */
const seriesOf: Readonly<Record<RestoreMode, number>> = { lazy: 0, 'parallel-faults': 1, 'working-set': 2, reap: 3, direct: 4, pipelined: 5, concurrent: 6, copy: 7, zstd: 7 }
const nameOf: Readonly<Record<RestoreMode, string>> = { lazy: 'vanilla', 'parallel-faults': 'parallel PFs', 'working-set': 'WS file', reap: 'REAP', direct: 'direct', pipelined: 'pipelined', concurrent: 'concurrent', copy: 'copy', zstd: 'zstd' }
/** Of a cold invocation: load, connect, process. */
const phaseSeries = { load: 3, connect: 1, process: 2 } as const

/** Figure 5.2: what each step from vanilla snapshots to REAP, and from REAP on, does to the cold start of one function. */
export function designsFigure(results: PlotResults): string | undefined {
  const { designs } = results
  if (designs === undefined) return undefined
  const ours = groups(designs.values.map(({ design, ms, bandwidthMbPerS, lowMs, highMs }) => ({ design, ms, bandwidthMbPerS, spread: spreadOf(lowMs, highMs) })), false)
  const theirs = groups(thesisDesigns.map(({ design, ms, bandwidthMbPerS }) => ({ design, ms, bandwidthMbPerS, spread: {} })), true)
  // As wide as they have bars, but the thesis's wide enough for its heading, and ours for its labels.
  const width = WIDTH - 3 * MARGIN
  const theirWidth = Math.max(220, (width * theirs.length) / (ours.length + theirs.length))
  const ourWidth = Math.max(width - theirWidth, barPanelWidth(ours))
  const height = 280
  const content = [
    ...barPanel({ x: MARGIN, y: HEAD, width: ourWidth, height }, { heading: `Here, ${designs.function}`, unit: 'ms', groups: ours }),
    ...barPanel({ x: 2 * MARGIN + ourWidth, y: HEAD, width: theirWidth, height }, { heading: 'Thesis, helloworld', unit: 'ms', groups: theirs }),
  ]
  const title = 'Cold start by restore design (thesis, Figure 5.2)'
  return figure({ title, note: 'Over a bar: ms, times faster than vanilla, and the bandwidth it reached, MB/s. Two machines: compare the shapes.', results, height: HEAD + height, width: ourWidth + theirWidth + 3 * MARGIN, content })
}

/** Figures 4.2 and 5.3: where the time of a cold invocation goes, restored lazily and with REAP, per function. */
export function tenFunctionsFigure(results: PlotResults): string | undefined {
  const measured = (results.functions ?? []).filter((one) => one.lazy !== undefined && one.reap !== undefined)
  if (measured.length === 0) return undefined
  const rows = measured.map((one) => {
    const thesis = thesisFunction(one.name)
    const wholeMs = totalOf(one.lazy!) || 1
    const bars: ShareBar[] = [
      { ...phaseBar(one.lazy!, wholeMs), ...(one.warmMs !== undefined && { mark: one.warmMs / wholeMs }) },
      { ...phaseBar(one.reap!, wholeMs), ...(thesis !== undefined && { reference: thesis.reapMs / thesis.lazyMs }) },
    ]
    const columns = [say(totalOf(one.lazy!)), say(totalOf(one.reap!)), times(totalOf(one.lazy!) / totalOf(one.reap!)), ...(thesis === undefined ? ['', ''] : [`${say(thesis.lazyMs)} → ${say(thesis.reapMs)}`, times(thesis.lazyMs / thesis.reapMs)])]
    return { label: one.name, bars, columns }
  })
  const height = sharePanelHeight(rows)
  const speedUps = measured.map((one) => totalOf(one.lazy!) / totalOf(one.reap!)).filter((ratio) => Number.isFinite(ratio) && ratio > 0)
  const mean = Math.exp(speedUps.reduce((sum, ratio) => sum + Math.log(ratio), 0) / Math.max(1, speedUps.length))
  const hasConnect = measured.some((one) => one.lazy!.connectMs + one.reap!.connectMs > 0)
  const phases = (['load', 'connect', 'process'] as const).flatMap((phase) => (phase !== 'connect' || hasConnect ? [[phase, phaseSeries[phase]] as const] : []))
  const content = [
    ...legend(phases, HEAD - 10, [
      [(x, y) => diamond(x + 6, y), 'REAP in the thesis'],
      ...(measured.some((one) => one.warmMs !== undefined) ? [[(x: number, y: number) => line(x + 6, y - 6, x + 6, y + 6, 'mark', { 'stroke-width': 2 }), 'warm'] as const] : []),
    ]),
    ...sharePanel({ x: MARGIN, y: HEAD + 16, width: WIDTH - 2 * MARGIN, height }, { columns: ['vanilla ms', 'REAP ms', '', 'thesis ms', ''], axis: 'of the time with vanilla snapshots', rows }),
  ]
  const note = `Upper bar vanilla snapshots, lower bar REAP. Mean speed-up (geometric): ${times(mean)} here, ${times(thesisClaims.meanSpeedUp)} in the thesis.`
  return figure({ title: 'Cold invocation by function and phase (thesis, Figures 4.2 and 5.3)', note, results, height: HEAD + 16 + height, content })
}

/** Figure 5.4: the mean cold start when many instances of independent functions start at once. */
export function concurrencyFigure(results: PlotResults): string | undefined {
  const { concurrency } = results
  if (concurrency === undefined || concurrency.length === 0) return undefined
  const ours = concurrency.map(({ design, points }): Series => ({
    name: nameOf[design],
    series: seriesOf[design],
    points: points.map(({ instances, ms, lowMs, highMs }) => ({ x: instances, y: ms, ...spreadOf(lowMs, highMs) })),
  }))
  const theirs = thesisConcurrency.map(({ design, points }): Series => ({
    name: `${nameOf[design]}, thesis`,
    series: seriesOf[design],
    isReference: true,
    points: points.map(({ instances, ms }) => ({ x: instances, y: ms })),
  }))
  const height = 340
  const panel = linePanel({ x: MARGIN, y: HEAD, width: WIDTH - 2 * MARGIN, height }, { xLabel: 'instances that start at once', yLabel: 'ms per instance', x: 'log2', y: 'log', series: [...theirs, ...ours] })
  return figure({ title: 'Cold starts at once (thesis, Figure 5.4)', note: 'Mean time of an instance. The thesis has 48 logical cores: compare the slopes.', results, height: HEAD + height, content: panel })
}

/** Figure 4.3: how long the contiguous pieces of memory are that an invocation touches. */
export function contiguityFigure(results: PlotResults): string | undefined {
  return pairedBars(results, {
    title: 'Contiguity of touched memory (thesis, Figure 4.3)', note: 'Mean length of runs of touched pages (4096 bytes). Solid: here. Hollow: the thesis.', unit: 'pages',
    ours: (one) => one.meanRunPages, theirs: (name) => thesisFunction(name)?.meanRunPages,
  })
}

/** Figure 4.4: how much memory a booted instance has, and how little of it an invocation touches after a restore. */
export function footprintFigure(results: PlotResults): string | undefined {
  const measured = (results.functions ?? []).filter((one) => (one.storedBytes ?? 0) > 0 && (one.touchedBytes ?? 0) > 0)
  if (measured.length === 0) return undefined
  const share = (touched: number, booted: number): string => `${((100 * touched) / booted).toFixed(1)} %`
  const rows = measured.map((one) => {
    const thesis = thesisFunction(one.name)
    const own = [{ value: one.storedBytes! / MB, series: 3 }, { value: one.touchedBytes! / MB, series: 0 }]
    const theirs = thesis === undefined ? [] : [[{ value: thesis.bootedMb, series: 3, isReference: true }, { value: thesis.workingSetMb, series: 0, isReference: true }]]
    const columns = [say(own[0]!.value), say(own[1]!.value), share(own[1]!.value, own[0]!.value), ...(thesis === undefined ? ['', ''] : [`${say(thesis.bootedMb)} · ${say(thesis.workingSetMb)}`, share(thesis.workingSetMb, thesis.bootedMb)])]
    return { label: one.name, pairs: [own, ...theirs], columns }
  })
  const height = dotPanelHeight(rows)
  const content = [
    ...legend([['booted', 3], ['touched after a restore', 0]], HEAD - 10, [[(x, y) => element('circle', { cx: x + 6, cy: y, r: 3.5, class: 'paper mark', 'stroke-width': 1.5 }), 'hollow: thesis']]),
    ...dotPanel({ x: MARGIN, y: HEAD + 16, width: WIDTH - 2 * MARGIN, height }, { columns: ['booted', 'touched MB', 'share', 'thesis MB', 'share'], axis: 'MB, logarithmic', rows }),
  ]
  return figure({ title: 'Memory footprint (thesis, Figure 4.4)', note: 'Booted: memory that is not zero. The thesis counts a whole micro-VM of 256 MB.', results, height: HEAD + 16 + height, content })
}

/** Figure 4.5: how alike the pages are that invocations with different inputs touch. */
export function reuseFigure(results: PlotResults): string | undefined {
  const measured = (results.functions ?? []).filter((one) => (one.samePages ?? 0) + (one.uniquePages ?? 0) > 0)
  if (measured.length === 0) return undefined
  const percent = (same: number, unique: number): string => `${((100 * same) / (same + unique)).toFixed(1)} %`
  const rows = measured.map((one) => {
    const [same, unique] = [one.samePages ?? 0, one.uniquePages ?? 0]
    const thesis = thesisFunction(one.name)
    const bar: ShareBar = {
      parts: [{ share: same / (same + unique), series: 3 }, { share: unique / (same + unique), series: 0 }],
      ...(thesis !== undefined && { reference: thesis.samePages / (thesis.samePages + thesis.uniquePages) }),
    }
    const columns = [say(same), say(unique), percent(same, unique), ...(thesis === undefined ? ['', ''] : [`${say(thesis.samePages)} / ${say(thesis.uniquePages)}`, percent(thesis.samePages, thesis.uniquePages)])]
    return { label: one.name, bars: [bar], columns }
  })
  const height = sharePanelHeight(rows)
  const content = [
    ...legend([['same', 3], ['unique', 0]], HEAD - 10, [[(x, y) => diamond(x + 6, y), 'same, in the thesis']]),
    ...sharePanel({ x: MARGIN, y: HEAD + 16, width: WIDTH - 2 * MARGIN, height }, { columns: ['same', 'unique', 'same', 'thesis', 'same'], axis: 'of the pages that an invocation touches', rows }),
  ]
  return figure({ title: 'Reuse of pages between two inputs (thesis, Figure 4.5)', note: 'Pages that both invocations touch, and pages that only one of them does.', results, height: HEAD + 16 + height, content })
}

/** A distribution of samples, ms, on a logarithmic axis: for latencies with a tail. */
export function distributionFigure(options: { readonly title: string; readonly note: string; readonly machine?: string; readonly series: readonly { readonly name: string; readonly samplesMs: readonly number[] }[] }): string {
  const series = options.series.map(({ name, samplesMs }, index): Series => ({ name, series: (index + seriesOf.reap) % SERIES_COUNT, points: distribution(samplesMs) }))
  const height = 320
  const panel = linePanel({ x: MARGIN, y: HEAD, width: WIDTH - 2 * MARGIN, height }, { xLabel: 'ms', yLabel: 'share of invocations', x: 'log', y: 'linear', steps: true, series })
  return figure({ title: options.title, note: options.note, results: options, height: HEAD + height, content: panel })
}

/** All figures that these results have something for, by file name. */
export function allFigures(results: PlotResults): Map<string, string> {
  const makers = { 'figure-5-2-designs': designsFigure, 'figure-5-3-functions': tenFunctionsFigure, 'figure-5-4-concurrency': concurrencyFigure, 'figure-4-3-contiguity': contiguityFigure, 'figure-4-4-footprint': footprintFigure, 'figure-4-5-reuse': reuseFigure }
  return new Map(Object.entries(makers).flatMap(([name, make]) => {
    const drawn = make(results)
    return drawn === undefined ? [] : [[`${name}.svg`, drawn] as const]
  }))
}

function pairedBars(
  results: PlotResults,
  options: { readonly title: string; readonly note: string; readonly unit: string; readonly ours: (one: FunctionResult) => number | undefined; readonly theirs: (name: string) => number | undefined },
): string | undefined {
  const measured = (results.functions ?? []).filter((one) => options.ours(one) !== undefined)
  if (measured.length === 0) return undefined
  const groups = measured.map((one): BarGroup => {
    const theirs = options.theirs(one.name)
    const bars: Bar[] = [{ value: options.ours(one)!, series: seriesOf.reap }]
    if (theirs !== undefined) bars.push({ value: theirs, series: seriesOf.reap, isReference: true })
    return { label: one.name, bars }
  })
  const height = 280
  const content = barPanel({ x: MARGIN, y: HEAD - 20, width: WIDTH - 2 * MARGIN, height }, { heading: '', unit: options.unit, groups })
  return figure({ title: options.title, note: options.note, results, height: HEAD - 20 + height, content })
}

function groups(values: readonly { readonly design: RestoreMode; readonly ms: number; readonly bandwidthMbPerS: number | undefined; readonly spread: { readonly low?: number; readonly high?: number } }[], isReference: boolean): BarGroup[] {
  const vanilla = values.find((value) => value.design === 'lazy')?.ms
  return values.map(({ design, ms, bandwidthMbPerS, spread }) => {
    const says = [say(ms), ...(vanilla === undefined ? [] : [times(vanilla / ms)]), ...(bandwidthMbPerS === undefined ? [] : [say(bandwidthMbPerS)])]
    return { label: nameOf[design], bars: [{ value: ms, series: seriesOf[design], isReference, says, ...spread }] }
  })
}

function phaseBar(of: Breakdown, wholeMs: number): ShareBar {
  const parts = [{ share: of.loadMs / wholeMs, series: phaseSeries.load }, { share: of.connectMs / wholeMs, series: phaseSeries.connect }, { share: of.processMs / wholeMs, series: phaseSeries.process }]
  return { parts, ...(of.lowMs !== undefined && of.highMs !== undefined && { low: of.lowMs / wholeMs, high: of.highMs / wholeMs }) }
}

function totalOf({ loadMs, connectMs, processMs }: Breakdown): number {
  return loadMs + connectMs + processMs
}

function spreadOf(lowMs: number | undefined, highMs: number | undefined): { readonly low?: number; readonly high?: number } {
  return lowMs === undefined || highMs === undefined ? {} : { low: lowMs, high: highMs }
}
