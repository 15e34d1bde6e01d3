/**
 * One row per function, lying: stacked shares of a whole (Figures 4.2, 4.5, 5.3), or dots on a logarithmic axis (Figure 4.4). Numbers
 * stand in columns at the right, so that rows of very different size share an axis and no value is lost.
 */
import { line, rect, text, widthOf, element } from './svg.ts'
import { logScale, say } from './scale.ts'
import type { Box } from './bars.ts'

export interface SharePart {
  /** Of the row's whole, 0 to 1 and above. */
  readonly share: number
  readonly series: number
}

export interface ShareBar {
  readonly parts: readonly SharePart[]
  /** An error mark at the bar's end, as shares. */
  readonly low?: number
  readonly high?: number
  /** Where the reference's bar ends: a hollow diamond. */
  readonly reference?: number
  /** Another point of interest: a short line across. */
  readonly mark?: number
}

export interface ShareRow {
  readonly label: string
  readonly bars: readonly ShareBar[]
  readonly columns: readonly string[]
}

export interface SharePanel {
  /** Over the columns. */
  readonly columns: readonly string[]
  readonly axis: string
  readonly rows: readonly ShareRow[]
}

const BAR = 9
const ROW_GAP = 12
const HEAD = 24
const FOOT = 34

export function sharePanelHeight(rows: readonly ShareRow[]): number {
  return HEAD + FOOT + rows.reduce((sum, row) => sum + row.bars.length * (BAR + 2) + ROW_GAP, 0)
}

/** Shares from 0 to 100 %, or as far as the longest bar, but at most 150 %. */
export function sharePanel(box: Box, { columns, axis, rows }: SharePanel): string[] {
  const { left, right, columnEnds } = layout(box, columns, rows)
  const most = Math.max(1, ...rows.flatMap((row) => row.bars.map((bar) => Math.max(sum(bar), bar.high ?? 0, bar.reference ?? 0))))
  const end = Math.min(1.5, Math.ceil(most * 10 - 1e-9) / 10)
  const at = (share: number): number => left + ((right - left) * Math.min(share, end)) / end
  const bottom = box.y + box.height - FOOT
  const drawn = headings(box, columns, columnEnds)
  for (let share = 0; share <= end + 1e-9; share += 0.25) {
    drawn.push(line(at(share), box.y + HEAD - 6, at(share), bottom, share === 0 ? 'axis' : 'grid'), text(`${share * 100} %`, { x: at(share), y: bottom + 14, class: 'muted small', 'text-anchor': 'middle' }))
  }
  drawn.push(text(axis, { x: (left + right) / 2, y: bottom + 29, class: 'muted small', 'text-anchor': 'middle' }))
  let y = box.y + HEAD
  for (const row of rows) {
    const middle = y + (row.bars.length * (BAR + 2)) / 2
    drawn.push(...rowTexts(row, middle, left, columnEnds))
    for (const bar of row.bars) {
      let from = 0
      for (const part of bar.parts) {
        // A line of paper between two parts; a part that is thinner than it is not drawn at all.
        drawn.push(rect(at(from), y, at(from + part.share) - at(from) - (at(from + part.share) - at(from) > 2 ? 1 : 0), BAR, `f${part.series}`))
        from += part.share
      }
      const centre = y + BAR / 2
      if (bar.low !== undefined && bar.high !== undefined) drawn.push(line(at(bar.low), centre, at(bar.high), centre, 'mark'), line(at(bar.low), centre - 3, at(bar.low), centre + 3, 'mark'), line(at(bar.high), centre - 3, at(bar.high), centre + 3, 'mark'))
      if (bar.mark !== undefined) drawn.push(line(at(bar.mark), y - 2, at(bar.mark), y + BAR + 2, 'mark', { 'stroke-width': 2 }))
      if (bar.reference !== undefined) drawn.push(diamond(at(bar.reference), centre))
      y += BAR + 2
    }
    y += ROW_GAP
  }
  return drawn
}

export interface Dot {
  readonly value: number
  readonly series: number
  /** Hollow: not measured here. */
  readonly isReference?: boolean
}

export interface DotRow {
  readonly label: string
  /** Each pair joined by a line: ours, and below it the reference's. */
  readonly pairs: readonly (readonly Dot[])[]
  readonly columns: readonly string[]
}

export function dotPanelHeight(rows: readonly DotRow[]): number {
  return HEAD + FOOT + rows.length * 30
}

export function dotPanel(box: Box, { columns, axis, rows }: { readonly columns: readonly string[]; readonly axis: string; readonly rows: readonly DotRow[] }): string[] {
  const { left, right, columnEnds } = layout(box, columns, rows)
  const bottom = box.y + box.height - FOOT
  const scale = logScale({ values: rows.flatMap((row) => row.pairs.flatMap((pair) => pair.map((dot) => dot.value))), range: [left, right] })
  const drawn = headings(box, columns, columnEnds)
  for (const tick of scale.ticks) {
    drawn.push(line(scale.at(tick), box.y + HEAD - 6, scale.at(tick), bottom, 'grid'), text(say(tick), { x: scale.at(tick), y: bottom + 14, class: 'muted small', 'text-anchor': 'middle' }))
  }
  drawn.push(text(axis, { x: (left + right) / 2, y: bottom + 29, class: 'muted small', 'text-anchor': 'middle' }))
  for (const [index, row] of rows.entries()) {
    const middle = box.y + HEAD + index * 30 + 10
    drawn.push(...rowTexts(row, middle, left, columnEnds))
    for (const [place, pair] of row.pairs.entries()) {
      const y = middle + (place - (row.pairs.length - 1) / 2) * 11
      const dots = pair.filter((dot) => dot.value > 0)
      if (dots.length > 1) drawn.push(line(Math.min(...dots.map((dot) => scale.at(dot.value))), y, Math.max(...dots.map((dot) => scale.at(dot.value))), y, 'axis'))
      for (const dot of dots) drawn.push(element('circle', { cx: scale.at(dot.value), cy: y, r: dot.isReference === true ? 3.5 : 4.5, class: dot.isReference === true ? `paper s${dot.series}` : `f${dot.series}`, 'stroke-width': dot.isReference === true ? 1.5 : undefined }))
    }
  }
  return drawn
}

interface Rowed {
  readonly label: string
  readonly columns: readonly string[]
}

/** Names at the left, columns at the right, the plot in what is between. */
function layout(box: Box, columns: readonly string[], rows: readonly Rowed[]): { readonly left: number; readonly right: number; readonly columnEnds: readonly number[] } {
  const widths = columns.map((heading, column) => Math.max(widthOf(heading, 11), ...rows.map((row) => widthOf(row.columns[column] ?? '', 11))) + 14)
  const columnEnds: number[] = []
  let end = box.x + box.width
  for (const width of [...widths].reverse()) {
    columnEnds.unshift(end)
    end -= width
  }
  return { left: box.x + Math.max(0, ...rows.map((row) => widthOf(row.label, 11))) + 12, right: end - 16, columnEnds }
}

function headings(box: Box, columns: readonly string[], ends: readonly number[]): string[] {
  return columns.map((heading, column) => text(heading, { x: ends[column]!, y: box.y + 8, class: 'muted small', 'text-anchor': 'end' }))
}

function rowTexts(row: Rowed, middle: number, left: number, ends: readonly number[]): string[] {
  const y = middle + 4
  return [text(row.label, { x: left - 8, y, class: 'ink small', 'text-anchor': 'end' }), ...row.columns.map((content, column) => text(content, { x: ends[column]!, y, class: 'ink small', 'text-anchor': 'end' }))]
}

export function diamond(x: number, y: number): string {
  const half = 5
  return element('path', { d: `M${round(x - half)} ${round(y)}L${round(x)} ${round(y - half)}L${round(x + half)} ${round(y)}L${round(x)} ${round(y + half)}Z`, class: 'mark', 'stroke-width': 1.5 })
}

function sum(bar: ShareBar): number {
  return bar.parts.reduce((all, part) => all + part.share, 0)
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
