/**
 * Upright bars from zero: groups of them, with error marks, values above, and a hollow bar beside each for a reference.
 *
 * The axis is linear and begins at zero, always: the length of a bar is its message. What spans orders of magnitude is drawn as
 * dots (rows.ts) or lines (lines.ts) on a logarithmic axis.
 */
import { line, rect, text, widthOf } from './svg.ts'
import { linearScale, say } from './scale.ts'

export interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export interface Bar {
  readonly value: number
  /** The spread of what was measured; drawn as a mark over the bar. */
  readonly low?: number
  readonly high?: number
  /** Colour of the series. */
  readonly series: number
  /** Hollow: not measured here. */
  readonly isReference?: boolean
  /** Over the bar, lines from the top. Default: the value. */
  readonly says?: readonly string[]
}

export interface BarGroup {
  /** Below it; several words are broken into lines where there is no room. */
  readonly label: string
  readonly bars: readonly Bar[]
}

export interface BarPanel {
  readonly heading: string
  readonly unit: string
  readonly groups: readonly BarGroup[]
}

const LEFT = 48
const LINE = 14
const LABEL_GAP = 6

/** From here on, no label touches its neighbour. */
export function barPanelWidth(groups: readonly BarGroup[]): number {
  const widest = Math.max(0, ...groups.flatMap(({ label }) => label.split(/[ -]/)).map((word) => widthOf(word, 11)))
  return LEFT + groups.length * (widest + LABEL_GAP)
}

/** Draws a panel into a box, axis and labels inside of it. */
export function barPanel(box: Box, { heading, unit, groups }: BarPanel): string[] {
  const plot = { left: box.x + LEFT, right: box.x + box.width, top: box.y + 26 + LINE, bottom: box.y + box.height - 2 * LINE - 6 }
  const bars = groups.flatMap((group) => group.bars)
  const linesAbove = Math.max(1, ...bars.map((bar) => bar.says?.length ?? 1))
  const scale = linearScale({ values: bars.flatMap((bar) => [bar.value, bar.high ?? 0]), range: [plot.bottom, plot.top + linesAbove * LINE - LINE] })
  const drawn: string[] = [text(heading, { x: box.x, y: box.y + 12, class: 'ink heading' }), text(unit, { x: plot.left - 6, y: plot.top - LINE, class: 'muted small', 'text-anchor': 'end' })]
  for (const tick of scale.ticks) {
    const y = scale.at(tick)
    drawn.push(line(plot.left, y, plot.right, y, tick === 0 ? 'axis' : 'grid'), text(say(tick), { x: plot.left - 6, y: y + 4, class: 'muted small', 'text-anchor': 'end' }))
  }
  const groupWidth = (plot.right - plot.left) / Math.max(1, groups.length)
  const slots = Math.max(1, ...groups.map((group) => group.bars.length))
  const barWidth = Math.min(46, (groupWidth * 0.78) / slots)
  for (const [index, group] of groups.entries()) {
    const middle = plot.left + groupWidth * (index + 0.5)
    for (const [slot, bar] of group.bars.entries()) drawn.push(...drawBar(bar, { x: middle + (slot - group.bars.length / 2) * barWidth, width: barWidth, at: scale.at, bottom: plot.bottom }))
    for (const [row, words] of broken(group.label, groupWidth).entries()) drawn.push(text(words, { x: middle, y: plot.bottom + LINE * (row + 1) + 2, 'text-anchor': 'middle', class: 'ink small' }))
  }
  return drawn
}

function drawBar(bar: Bar, { x, width, at, bottom }: { readonly x: number; readonly width: number; readonly at: (value: number) => number; readonly bottom: number }): string[] {
  const top = at(bar.value)
  const colour = bar.isReference === true ? `f${bar.series} s${bar.series} hollow` : `f${bar.series}`
  const drawn = [rect(x + 1, top, width - 2, bottom - top, colour)]
  const middle = x + width / 2
  let above = top
  if (bar.low !== undefined && bar.high !== undefined) {
    above = Math.min(top, at(bar.high))
    drawn.push(...errorMark(middle, at(bar.low), at(bar.high)))
  }
  const says = bar.says ?? [say(bar.value)]
  for (const [row, words] of says.entries()) {
    drawn.push(text(words, { x: middle, y: above - 4 - LINE * (says.length - 1 - row), 'text-anchor': 'middle', class: row === 0 ? 'ink small' : 'muted small' }))
  }
  return drawn
}

/** Upright, with short ends. */
export function errorMark(x: number, low: number, high: number): string[] {
  const half = 3
  return [line(x, low, x, high, 'mark'), line(x - half, low, x + half, low, 'mark'), line(x - half, high, x + half, high, 'mark')]
}

/** Two lines at most, broken at a blank or hyphen. */
export function broken(label: string, width: number): string[] {
  if (widthOf(label, 11) <= width) return [label]
  const places = [...label.matchAll(/[ -]/g)].map((match) => match.index + 1)
  if (places.length === 0) return [label]
  const best = places.reduce((one, other) => (Math.abs(other - label.length / 2) < Math.abs(one - label.length / 2) ? other : one))
  return [label.slice(0, best).trimEnd(), label.slice(best)]
}
