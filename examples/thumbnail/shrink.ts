/**
 * Makes a picture smaller by area averaging: each new pixel is the mean of the old ones that lie below it, each by the
 * share of it that does. Nothing flickers or vanishes, whatever the two sizes are, and the picture keeps its mean colour.
 *
 * An old pixel is taken as `newWidth` units wide and a new one as `oldWidth`: so all shares are whole numbers, sums are
 * exact, and every machine makes the same bytes. Colours count by their alpha: what is transparent has none to give.
 */
import type { Picture } from './png.ts'

/** @param width Of the result, from 1 to the picture's own; the height follows. */
export function shrink(picture: Picture, width: number): Picture {
  const { channels } = picture
  const height = Math.max(1, Math.round((picture.height * width) / picture.width))
  const hasAlpha = channels === 2 || channels === 4
  const colours = hasAlpha ? channels - 1 : channels
  const columns = sharesOf(picture.width, width)
  const rows = sharesOf(picture.height, height)
  const sums = new Float64Array(width * height * channels)
  const line = new Float64Array(width * channels)
  for (let y = 0; y < picture.height; y++) {
    line.fill(0)
    for (let x = 0; x < picture.width; x++) {
      const from = (y * picture.width + x) * channels
      const to = columns.first[x]! * channels
      const [share, rest] = [columns.share[x]!, width - columns.share[x]!]
      const alpha = hasAlpha ? picture.pixels[from + colours]! : 1
      for (let channel = 0; channel < channels; channel++) {
        const value = picture.pixels[from + channel]! * (channel < colours ? alpha : 1)
        line[to + channel]! += value * share
        if (rest > 0) line[to + channels + channel]! += value * rest
      }
    }
    addRow(sums, line, rows.first[y]! * line.length, rows.share[y]!)
    if (rows.share[y]! < height) addRow(sums, line, (rows.first[y]! + 1) * line.length, height - rows.share[y]!)
  }
  return { width, height, channels, pixels: meansOf(sums, channels, colours, picture.width * picture.height) }
}

/** For each old position: the first new one it lies over, and how many of its `after` units do; the rest lie over the next. */
function sharesOf(before: number, after: number): { readonly first: Int32Array; readonly share: Int32Array } {
  const first = new Int32Array(before)
  const share = new Int32Array(before)
  for (let at = 0; at < before; at++) {
    first[at] = Math.floor((at * after) / before)
    share[at] = Math.min(after, (first[at]! + 1) * before - at * after)
  }
  return { first, share }
}

function addRow(sums: Float64Array, line: Float64Array, at: number, share: number): void {
  for (let index = 0; index < line.length; index++) sums[at + index]! += line[index]! * share
}

/** @param area Units that each new pixel has. */
function meansOf(sums: Float64Array, channels: number, colours: number, area: number): Uint8Array {
  const pixels = new Uint8Array(sums.length)
  for (let at = 0; at < sums.length; at += channels) {
    const weight = colours < channels ? sums[at + colours]! : area
    for (let channel = 0; channel < colours; channel++) pixels[at + channel] = weight === 0 ? 0 : Math.round(sums[at + channel]! / weight)
    if (colours < channels) pixels[at + colours] = Math.round(weight / area)
  }
  return pixels
}
