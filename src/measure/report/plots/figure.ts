/** A whole figure: title, note, legend, and the panels that it is given, on paper of one width; wider only where labels need it. */
import { document, rect, text, widthOf } from './svg.ts'

export const WIDTH = 760
export const MARGIN = 20
export const HEAD = 68

export type Sign = readonly [draw: (x: number, y: number) => string, name: string]

export interface FigureOptions {
  readonly title: string
  readonly note: string
  /** Said at the foot: what measured. */
  readonly results: { readonly machine?: string | undefined }
  /** Without the foot. */
  readonly height: number
  /** Default: {@link WIDTH}. */
  readonly width?: number
  readonly content: readonly string[]
}

export function figure(options: FigureOptions): string {
  const { title, note, results, content, width = WIDTH } = options
  const { machine } = results
  const height = options.height + (machine === undefined ? 12 : 26)
  const words = [text(title, { x: MARGIN, y: 24, class: 'ink title' }), text(note, { x: MARGIN, y: 42, class: 'muted small' })]
  if (machine !== undefined) words.push(text(`Here: ${machine}`, { x: MARGIN, y: height - 10, class: 'muted small' }))
  return document({ width, height, title, description: note, content: [...words, ...content] })
}

/** In one row from the left margin: colours of series, and other signs. */
export function legend(colours: readonly (readonly [string, number])[], y: number, signs: readonly Sign[]): string[] {
  const all: Sign[] = [...colours.map(([name, series]): Sign => [(x, at) => rect(x, at - 5, 12, 10, `f${series}`), name]), ...signs]
  let x = MARGIN
  return all.flatMap(([draw, name]) => {
    const drawn = [draw(x, y), text(name, { x: x + 18, y: y + 4, class: 'ink small' })]
    x += 18 + widthOf(name, 11) + 18
    return drawn
  })
}
