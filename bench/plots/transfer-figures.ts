/**
 * The thesis's figures 6.3 to 6.9, drawn from our results with what the thesis's text says beside them. Each function gives the text of an SVG file, or undefined when
 * the results have nothing for it.
 *
 * What was measured here is solid, what the thesis says is hollow or dashed. Its machine and its storage, on other machines, are others: compare slopes and
 * factors, never milliseconds. One way of transferring has one colour everywhere.
 */
import { barPanel } from '#measure/report/plots/bars.ts'
import type { BarGroup } from '#measure/report/plots/bars.ts'
import { figure, HEAD, legend, MARGIN, WIDTH } from '#measure/report/plots/figure.ts'
import type { Sign } from '#measure/report/plots/figure.ts'
import { distribution, linePanel } from '#measure/report/plots/lines.ts'
import type { Series } from '#measure/report/plots/lines.ts'
import { diamond, sharePanel, sharePanelHeight } from '#measure/report/plots/rows.ts'
import type { ShareRow } from '#measure/report/plots/rows.ts'
import { say, times } from '#measure/report/plots/scale.ts'
import { element, text } from '#measure/report/plots/svg.ts'
import { bytesOf, patternNames, workloadNames } from './from-transfers.ts'
import type { PatternName, PatternResult, SizeName, Sweep, TransferResults, WorkloadRun } from './from-transfers.ts'
import { thesisAt100Mb, thesisDepths, thesisLatency, thesisPatterns, thesisWorkloads } from './thesis-transfers.ts'
import type { Range } from './thesis-transfers.ts'

const HALF = (WIDTH - 3 * MARGIN) / 2
const RIGHT = 2 * MARGIN + HALF
const PANEL = 270
const sizeNames: Readonly<Record<SizeName, string>> = { kb10: '10 KB', kb100: '100 KB', mb1: '1 MB', mb10: '10 MB', mb100: '100 MB' }

/** Ways on one host and between two, with their names and colours. */
const ways = [
  ['allocated', 'XDT, in place', 4], ['plain', 'XDT, one copy', 3], ['inline', 'inline', 5], ['redis', 'Redis', 6], ['s3', 'S3 of Skep', 0],
  ['other host cut-through', 'other host, CT', 2], ['other host store-and-forward', 'other host, SF', 1],
] as const
const colourOf: Readonly<Record<string, number>> = { xdt: 3, 'xdt summed': 4, s3: 0, redis: 6, nats: 7, plain: 3, allocated: 4 }
const thesisSign: Sign = [(x, y) => element('circle', { cx: x + 6, cy: y, r: 3.5, class: 'paper mark', 'stroke-width': 1.5 }), 'hollow or dashed: thesis']

/** Figure 6.3: latency and effective bandwidth by the size of an object. */
export function sizesFigure(results: TransferResults): string | undefined {
  const shown = ways.filter(([way]) => results.bySize.has(way))
  if (shown.length === 0) return undefined
  const ours = shown.map(([way, name, series]): Series => ({ name, series, points: results.bySize.get(way)!.p50 }))
  const at100Mb = [['CT', 2, thesisAt100Mb.cutThroughMs], ['SF', 1, thesisAt100Mb.storeAndForwardMs], ['S3', 0, thesisAt100Mb.s3Ms]] as const
  const theirs = at100Mb.map(([name, series, ms]): Series => ({ name, series, isReference: true, points: [{ x: bytesOf.mb100, y: ms }] }))
  const latency = [...ours, ...theirs]
  const bandwidth = latency.map((one) => ({ ...one, points: one.points.map(({ x, y }) => ({ x, y: x / 1000 / y })) }))
  const content = [
    ...legends(shown.map(([, name, series]) => [name, series]), [thesisSign]),
    ...pair([latency, 'ms', 'log'], [bandwidth, 'MB/s', 'log'], { xLabel: 'bytes', x: 'log', sayX: sayBytes }),
  ]
  return figure({ title: 'Latency and bandwidth by size (thesis, Figure 6.3)', note: 'Median of put and get. Storages by loopback here, on other machines in the thesis, whose three points are at 100 MB: CT, SF, S3.', results, height: HEAD + 30 + PANEL, content })
}

/** Figure 6.4: the same transfer with buffers of different depths. */
export function depthsFigure(results: TransferResults): string | undefined {
  const colours = { kb10: 5, kb100: 6, mb1: 3, mb10: 2, mb100: 4 } as const
  const ours = (Object.entries(results.byDepth) as [SizeName, Sweep][]).map(([size, points]): Series => ({ name: sizeNames[size], series: colours[size], points }))
  if (ours.length === 0) return undefined
  const theirs = (['mb1', 'mb100'] as const).map((size): Series => ({ name: `${sizeNames[size]}, thesis`, series: colours[size], isReference: true, points: thesisDepths[size].map(({ kb, ms }) => ({ x: kb, y: ms })) }))
  const panel = linePanel({ x: MARGIN, y: HEAD, width: WIDTH - 2 * MARGIN, height: 300 }, { xLabel: 'KB that may be on their way', yLabel: 'ms', x: 'log2', y: 'log', series: [...theirs, ...ours] })
  return figure({ title: 'Latency by the depth of buffers, between hosts (thesis, Figure 6.4)', note: 'Median of put and get, cut-through. In the thesis the depth of a queue proxy\'s buffer, here the credit of a stream.', results, height: HEAD + 300, content: panel })
}

/** Figure 6.5: the distribution of latencies, their median and tail, and how much lower they are than a storage's. */
export function tailsFigure(results: TransferResults): string | undefined {
  const { distributions, bySize } = results
  const direct = bySize.get('plain')
  const storage = bySize.get('s3')
  if (Object.keys(distributions).length === 0 || direct === undefined || storage === undefined) return undefined
  const names: Readonly<Record<string, string>> = { plain: 'XDT', s3: 'S3 of Skep', redis: 'Redis', nats: 'NATS objects' }
  const steps = Object.entries(distributions).filter(([way]) => way in names).map(([way, ms]): Series => ({ name: names[way]!, series: colourOf[way]!, points: distribution(ms) }))
  const lines: Series[] = [
    { name: 'XDT, median', series: 3, points: direct.p50 }, { name: 'XDT, p99', series: 2, points: direct.p99 },
    { name: 'S3, median', series: 0, points: storage.p50 }, { name: 'S3, p99', series: 1, points: storage.p99 },
  ]
  const sizes = Object.keys(bytesOf) as SizeName[]
  const groups = sizes.flatMap((size): BarGroup[] => {
    const ratio = (of: 'p50' | 'p99'): number => valueAt(storage[of], bytesOf[size]) / valueAt(direct[of], bytesOf[size])
    if (!Number.isFinite(ratio('p50')) || !Number.isFinite(ratio('p99'))) return []
    const group = (label: string, values: readonly number[], isReference: boolean): BarGroup => ({ label, bars: values.map((value, index) => ({ value, series: [3, 2][index]!, isReference, says: [value < 10 ? value.toFixed(1) : value.toFixed(0)] })) })
    return [group(sizeNames[size], [ratio('p50'), ratio('p99')], false), ...(size === 'mb1' ? [group('thesis 1 MB', [thesisLatency.mb1.p50, thesisLatency.mb1.p99], true)] : [])]
  })
  const { p50, p99 } = thesisLatency.allSizes
  const below = HEAD + 250
  const content = [
    ...linePanel({ x: MARGIN, y: HEAD, width: WIDTH - 2 * MARGIN, height: 235 }, { xLabel: 'ms, 1 MB', yLabel: 'share of transfers', x: 'log', y: 'linear', steps: true, series: steps }),
    ...linePanel({ x: MARGIN, y: below + 20, width: HALF - 10, height: PANEL }, { xLabel: 'bytes', yLabel: 'ms', x: 'log', y: 'log', series: lines, sayX: sayBytes }),
    ...barPanel({ x: RIGHT - 10, y: below - 8, width: HALF + 10, height: PANEL }, { heading: 'Times lower than S3: median, p99', unit: '×', groups }),
    text(`Thesis, all sizes: median ${p50.join('–')}×, p99 ${p99.join('–')}×`, { x: RIGHT + 38, y: below + PANEL + 6, class: 'muted small' }),
  ]
  return figure({ title: 'Distribution, median and tail (thesis, Figure 6.5)', note: 'Put and get on one host; the object lies in an ordinary buffer.', results, height: below + 20 + PANEL, content })
}

/** Figures 6.6 to 6.8: gather, scatter, broadcast. */
export function patternFigure(results: TransferResults, pattern: PatternName): string | undefined {
  const result = results.patterns[pattern]
  if (result === undefined) return undefined
  const number = { gather: '6.6', scatter: '6.7', broadcast: '6.8' }[pattern]
  const latency = ({ ms }: PatternResult): Series[] => (['xdt', 'xdt summed', 's3', 'redis'] as const).map((way) => ({ name: way, series: colourOf[way]!, points: ms[way] }))
  const quicker = ({ timesQuicker }: PatternResult, thesis: readonly Range[]): Series[] => [
    { name: 'S3, thesis, least', series: 0, isReference: true, points: thesis.map(({ degree, low }) => ({ x: degree, y: low })) },
    { name: 'S3, thesis, greatest', series: 0, isReference: true, points: thesis.map(({ degree, high }) => ({ x: degree, y: high })) },
    ...(['s3', 'redis'] as const).map((way) => ({ name: way, series: colourOf[way]!, points: timesQuicker[way] })),
  ]
  const thesis = thesisPatterns[pattern]
  const options = { xLabel: 'degree', x: 'log2' } as const
  const second = HEAD + 66 + PANEL
  const content = [
    ...legends([['XDT', 3], ['XDT, all bytes read', 4], ['S3 of Skep', 0], ['Redis', 6]], [thesisSign]),
    ...pair([latency(result.kb10), 'ms, 10 KB', 'log'], [latency(result.mb10), 'ms, 10 MB', 'log'], options),
    text(`Dashed: the thesis's least and greatest factor over S3; there ${thesis.says}.`, { x: MARGIN, y: second - 14, class: 'muted small' }),
    ...pair([quicker(result.kb10, thesis.kb10), 'times quicker than the storage, 10 KB', 'log'], [quicker(result.mb10, thesis.mb10), 'times quicker than the storage, 10 MB', 'log'], options, second),
  ]
  return figure({ title: `${pattern[0]!.toUpperCase()}${pattern.slice(1)} (thesis, Figure ${number})`, note: 'From the first put or invocation until the last consumer has read: the first and last byte, or all of them.', results, height: second + PANEL, content })
}

const kinds = [['compute', 2], ['put', 0], ['get', 6], ['read', 7], ['write', 7], ['invoke', 1]] as const

/** Figure 6.9: where the time of the workloads goes, on their critical paths. */
export function workloadsFigure(results: TransferResults): string | undefined {
  const rows = workloadNames.flatMap((workload): ShareRow[] => {
    const { s3, redis, xdt } = results.workloads[workload] ?? {}
    if (s3 === undefined || xdt === undefined) return []
    const thesis = thesisWorkloads[workload]
    const partsOf = ({ phasesMs }: WorkloadRun) => kinds.map(([kind, series]) => ({ series, share: Object.entries(phasesMs).reduce((sum, [phase, ms]) => sum + (phase.endsWith(` ${kind}`) ? ms : 0), 0) / s3.totalMs }))
    const bars = [{ parts: partsOf(s3) }, ...(redis === undefined ? [] : [{ parts: partsOf(redis) }]), { parts: partsOf(xdt), reference: 1 / thesis.speedUp }]
    return [{ label: thesis.name, bars, columns: [say(s3.totalMs), redis === undefined ? '' : say(redis.totalMs), say(xdt.totalMs), times(s3.totalMs / xdt.totalMs), `${thesis.speedUp.toFixed(2)}×`] }]
  })
  if (rows.length === 0) return undefined
  const height = sharePanelHeight(rows)
  const content = [
    ...legend([['compute', 2], ['put', 0], ['get', 6], ['input and output', 7], ['invocation', 1]], HEAD - 10, [[(x, y) => diamond(x + 6, y), 'XDT in the thesis']]),
    ...sharePanel({ x: MARGIN, y: HEAD + 16, width: WIDTH - 2 * MARGIN, height }, { columns: ['S3 ms', 'Redis', 'XDT', '', 'thesis'], axis: 'of the time by S3', rows }),
  ]
  return figure({ title: 'Workloads by phase of their critical path (thesis, Figure 6.9)', note: 'Bars from above: S3 of Skep, Redis, XDT. An invocation has the waiting for an instance or a core, too.', results, height: HEAD + 16 + height, content })
}

/** All figures that these results have something for, by file name. */
export function transferFigures(results: TransferResults): Map<string, string> {
  const drawn: [string, string | undefined][] = [
    ['figure-6-3-sizes', sizesFigure(results)], ['figure-6-4-depths', depthsFigure(results)], ['figure-6-5-tails', tailsFigure(results)],
    ...patternNames.map((pattern, index): [string, string | undefined] => [`figure-6-${6 + index}-${pattern}`, patternFigure(results, pattern)]),
    ['figure-6-9-workloads', workloadsFigure(results)],
  ]
  return new Map(drawn.flatMap(([name, svg]) => (svg === undefined ? [] : [[`${name}.svg`, svg] as const])))
}

type Panel = readonly [series: readonly Series[], yLabel: string, y: 'linear' | 'log']

/** Two panels side by side, whose series a legend names. */
function pair(left: Panel, right: Panel, options: { readonly xLabel: string; readonly x: 'log' | 'log2'; readonly sayX?: (value: number) => string }, y = HEAD + 30): string[] {
  return [left, right].flatMap(([series, yLabel, axis], index) => linePanel({ x: index === 0 ? MARGIN : RIGHT, y, width: HALF, height: PANEL }, { ...options, yLabel, y: axis, series, isUnnamed: true }))
}

/** In one row above the panels. */
function legends(names: readonly (readonly [string, number])[], signs: readonly Sign[]): string[] {
  return names.length <= 5 ? legend(names, HEAD - 6, signs) : [...legend(names.slice(0, 5), HEAD - 10, []), ...legend(names.slice(5), HEAD + 8, signs)]
}

function valueAt(sweep: Sweep, x: number): number {
  return sweep.find((point) => point.x === x)?.y ?? Number.NaN
}

function sayBytes(bytes: number): string {
  if (bytes >= 1e6) return `${say(bytes / 1e6)} MB`
  return bytes >= 1000 ? `${say(bytes / 1000)} KB` : `${say(bytes)} B`
}
