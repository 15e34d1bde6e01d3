/**
 * SVG as text: elements, numbers in their shortest form, and one style for all figures. No library: what is needed of one is below,
 * and the same input has to give the same bytes for years, so that a figure under version control changes only with its data.
 *
 * A figure brings its own paper and is readable on a light and a dark page (prefers-color-scheme). Colours go by class: `f0` fills
 * and `s0` strokes with the first colour of the series, and so on; they keep their order, so that a design has one colour everywhere.
 */

export type Attributes = Readonly<Record<string, string | number | undefined>>

/** By the thesis's designs and ours; see `seriesOf` in figures.ts. */
const light = ['#c2570c', '#7c4fd0', '#0f7f8a', '#2563c9', '#1a7f37', '#b3246f', '#8a6a00', '#59636e']
const dark = ['#f0964a', '#b394f5', '#4cc3cf', '#6ea8fe', '#57c46e', '#f078b4', '#d9b44a', '#9198a1']
export const SERIES_COUNT = light.length

const WIDTH_BY_EM = 0.56
export const FONT_PX = 12

function rules(colours: readonly string[], [paper, ink, muted, axis, grid]: readonly [string, string, string, string, string]): string {
  const series = colours.map((colour, index) => `.f${index}{fill:${colour}}.s${index}{stroke:${colour}}`).join('')
  return `.paper{fill:${paper}}.halo{stroke:${paper}}.ink{fill:${ink}}.muted{fill:${muted}}.mark{stroke:${ink}}.axis{stroke:${axis}}.grid{stroke:${grid}}${series}`
}

export const svgStyle = [
  `text{font:${FONT_PX}px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}.title{font-size:15px;font-weight:600}.heading{font-weight:600}.small{font-size:11px}`,
  'line,path,polyline{fill:none}.dash{stroke-dasharray:5 4}.hollow{fill-opacity:.18;stroke-width:1.5}',
  rules(light, ['#ffffff', '#1f2328', '#59636e', '#8c959f', '#e3e7eb']),
  `@media(prefers-color-scheme:dark){${rules(dark, ['#0d1117', '#f0f3f6', '#9ea7b3', '#6e7681', '#262c34'])}}`,
].join('')

export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const all = Object.entries(attributes).flatMap(([key, value]) => (value === undefined ? [] : [` ${key}="${escape(typeof value === 'number' ? short(value) : value)}"`]))
  return children.length === 0 ? `<${name}${all.join('')}/>` : `<${name}${all.join('')}>${children.join('')}</${name}>`
}

/** @param attributes `x`, `y` of the baseline's start; `text-anchor` for the middle or end. */
export function text(content: string, attributes: Attributes): string {
  return element('text', { class: 'ink', ...attributes }, escape(content))
}

export function line(x1: number, y1: number, x2: number, y2: number, kind: string, more: Attributes = {}): string {
  return element('line', { x1, y1, x2, y2, class: kind, ...more })
}

export function rect(x: number, y: number, width: number, height: number, kind: string, more: Attributes = {}): string {
  return element('rect', { x, y, width: Math.max(0, width), height: Math.max(0, height), class: kind, ...more })
}

/** A whole file. @param description For those who hear it. */
export function document(options: { readonly width: number; readonly height: number; readonly title: string; readonly description: string; readonly content: readonly string[] }): string {
  const { width, height, title, description, content } = options
  const named = [element('title', {}, escape(title)), element('desc', {}, escape(description)), `<style>${svgStyle}</style>`, rect(0, 0, width, height, 'paper')]
  const attributes = { xmlns: 'http://www.w3.org/2000/svg', width, height, viewBox: `0 0 ${short(width)} ${short(height)}`, role: 'img' }
  return `${element('svg', attributes, ...named.map((one) => `\n${one}`), ...content.map((one) => `\n${one}`), '\n')}\n`
}

/** About how wide a text is, px: there is no font to ask. */
export function widthOf(content: string, fontPx = FONT_PX): number {
  return content.length * fontPx * WIDTH_BY_EM
}

/** Hundredths of a pixel, without trailing zeros. A number that is none is a bug of the caller. */
function short(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`${value} is no coordinate`)
  return String(Math.round(value * 100) / 100)
}

function escape(content: string): string {
  // Control characters may not stand in XML, not even escaped.
  return content.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd').replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd')
    .replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
