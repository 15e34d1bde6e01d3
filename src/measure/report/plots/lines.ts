/** Lines over one axis each, linear or logarithmic, with error marks and their names at their ends; and the steps of a distribution. */
import { errorMark } from './bars.ts'
import type { Box } from './bars.ts'
import { fineLogScale, linearScale, logScale, say } from './scale.ts'
import type { Scale } from './scale.ts'
import { element, line, text, widthOf } from './svg.ts'

export interface Point {
  readonly x: number
  readonly y: number
  readonly low?: number
  readonly high?: number
}

export interface Series {
  readonly name: string
  /** Colour. */
  readonly series: number
  /** Dashed: not measured here. */
  readonly isReference?: boolean
  readonly points: readonly Point[]
  /** Points of interest on a distribution: its percentiles. */
  readonly marks?: readonly Point[]
}

/** `fine` is logarithmic, and begins and ends at 1, 2 or 5 times a power of ten. */
export type AxisKind = 'linear' | 'log' | 'log2' | 'fine'

export interface LinePanel {
  readonly xLabel: string
  readonly yLabel: string
  readonly x: AxisKind
  readonly y: AxisKind
  /** Without marks at the points, and upright between two of them: for distributions. */
  readonly steps?: boolean
  readonly series: readonly Series[]
  /** Without the names of the series at their ends: a legend has them. */
  readonly isUnnamed?: boolean
  /** A value of x as people read it below its tick. Default: the number. */
  readonly sayX?: (value: number) => string
}

const LEFT = 56
const BOTTOM = 40
const LABEL_GAP = 14

export function linePanel(box: Box, panel: LinePanel): string[] {
  const { xLabel, yLabel, series, steps = false, isUnnamed = false, sayX = say } = panel
  const nameWidth = isUnnamed ? 4 : Math.max(0, ...series.map((one) => widthOf(one.name, 11))) + 12
  const plot = { left: box.x + LEFT, right: box.x + box.width - nameWidth, top: box.y + 22, bottom: box.y + box.height - BOTTOM }
  const points = series.flatMap((one) => one.points)
  const x = scaleOf(panel.x, points.map((point) => point.x), [plot.left, plot.right])
  const y = scaleOf(panel.y, points.flatMap((point) => [point.y, point.low ?? point.y, point.high ?? point.y]), [plot.bottom, plot.top])
  const drawn = [
    text(yLabel, { x: plot.left - 6, y: box.y + 8, class: 'muted small', 'text-anchor': 'start' }),
    text(xLabel, { x: (plot.left + plot.right) / 2, y: plot.bottom + 34, class: 'muted small', 'text-anchor': 'middle' }),
    ...y.ticks.flatMap((tick) => [line(plot.left, y.at(tick), plot.right, y.at(tick), tick === y.domain[0] ? 'axis' : 'grid'), text(say(tick), { x: plot.left - 6, y: y.at(tick) + 4, class: 'muted small', 'text-anchor': 'end' })]),
    ...xTicks(x, sayX, plot.bottom),
  ]
  const shown = series.map((one) => ({ ...one, points: one.points.filter((point) => isShown(x, point.x) && isShown(y, point.y)) })).filter((one) => one.points.length > 0)
  for (const one of shown) drawn.push(...drawSeries(one, { x, y, steps }))
  if (isUnnamed) return drawn
  const ends = shown.map((one) => ({ one, at: y.at(one.points.at(-1)!.y) })).sort((a, b) => a.at - b.at)
  for (const { one, at } of spread(ends, plot.top, plot.bottom)) drawn.push(text(one.name, { x: plot.right + 8, y: at + 4, class: `f${one.series} small` }))
  return drawn
}

/** Each with its mark; a label that would touch the one before it is left out. */
function xTicks(x: Scale, sayX: (value: number) => string, bottom: number): string[] {
  let end = -Infinity
  return x.ticks.flatMap((tick) => {
    const [at, label] = [x.at(tick), sayX(tick)]
    const half = widthOf(label, 11) / 2
    const mark = line(at, bottom, at, bottom + 4, 'axis')
    if (at - half < end + 2) return [mark]
    end = at + half
    return [mark, text(label, { x: at, y: bottom + 17, class: 'muted small', 'text-anchor': 'middle' })]
  })
}

/** The share of samples that are at most x, as points for a panel with `steps`. */
export function distribution(samples: readonly number[]): Point[] {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted.flatMap((value, index) => (index + 1 < sorted.length && sorted[index + 1] === value ? [] : [{ x: value, y: (index + 1) / sorted.length }]))
}

/**
 * The same of many samples with at most so many points: as many of them beyond p99 as before, since the tail is what is looked at.
 * @param sorted Ascending.
 */
export function distributionOfMany(sorted: ArrayLike<number>, pointsMax = 400): Point[] {
  const count = sorted.length
  const ranks = new Set<number>()
  for (let step = 1; step <= pointsMax / 2; step++) {
    const share = step / (pointsMax / 2)
    ranks.add(Math.ceil(share * count)).add(Math.ceil((0.99 + 0.01 * share) * count))
  }
  if (count > 0) ranks.add(1)
  const points = [...ranks].filter((rank) => rank >= 1).sort((a, b) => a - b).map((rank) => ({ x: sorted[rank - 1]!, y: rank / count }))
  return points.filter((point, index) => points[index + 1]?.x !== point.x)
}

function drawSeries({ series, isReference, points, marks = [] }: Series, { x, y, steps }: { readonly x: Scale; readonly y: Scale; readonly steps: boolean }): string[] {
  const colour = `s${series}${isReference === true ? ' dash' : ''}`
  const path = points.map((point, index) => {
    const [px, py] = [round(x.at(point.x)), round(y.at(point.y))]
    if (index === 0) return `M${px} ${py}`
    return steps ? `H${px}V${py}` : `L${px} ${py}`
  })
  const drawn = [element('path', { d: path.join(''), class: colour, 'stroke-width': isReference === true ? 1.5 : 2, 'stroke-linejoin': 'round' })]
  for (const mark of marks) drawn.push(element('circle', { cx: x.at(mark.x), cy: y.at(mark.y), r: 4, class: `f${series} halo`, 'stroke-width': 1 }))
  if (steps) return drawn
  for (const point of points) {
    if (point.low !== undefined && point.high !== undefined && isShown(y, point.low)) drawn.push(...errorMark(x.at(point.x), y.at(point.low), y.at(point.high)))
    const kind = isReference === true ? `paper s${series}` : `f${series} halo`
    drawn.push(element('circle', { cx: x.at(point.x), cy: y.at(point.y), r: isReference === true ? 3 : 4, class: kind, 'stroke-width': isReference === true ? 1.5 : 1 }))
  }
  return drawn
}

/** Names that would lie on each other go apart, downwards first. */
function spread<One extends { readonly at: number }>(ends: readonly One[], top: number, bottom: number): One[] {
  const placed: One[] = []
  for (const end of ends) placed.push({ ...end, at: Math.max(end.at, top, (placed.at(-1)?.at ?? -Infinity) + LABEL_GAP) })
  for (let index = placed.length - 1, most = bottom; index >= 0; index--) {
    placed[index] = { ...placed[index]!, at: Math.min(placed[index]!.at, most) }
    most = placed[index]!.at - LABEL_GAP
  }
  return placed
}

function scaleOf(kind: AxisKind, values: readonly number[], range: readonly [number, number]): Scale {
  if (kind === 'fine') return fineLogScale({ values, range })
  return kind === 'linear' ? linearScale({ values, range }) : logScale({ values, range, base: kind === 'log2' ? 2 : 10 })
}

/** On a logarithmic axis there is no zero. */
function isShown(scale: Scale, value: number): boolean {
  return Number.isFinite(value) && (scale.kind === 'linear' || value > 0)
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
