/**
 * Paints what the recogniser is to recognise: one of six objects that drifts, and turns, over a background with grain.
 *
 * The same painter makes the fragment in full size and the small pictures that the network was trained on. All coordinates go from 0 to 1 along the
 * height of the picture, so that both show the same thing.
 */
import { seededRandom } from '../transports/seeded-random.ts'

export const labels = ['circle', 'square', 'triangle', 'star', 'cross', 'ring'] as const
export type Label = (typeof labels)[number]

export interface Placed {
  readonly label: Label
  readonly x: number
  readonly y: number
  readonly radius: number
  /** Radians. */
  readonly turn: number
  readonly yuv: readonly [number, number, number]
}

export interface Scene {
  readonly width: number
  readonly height: number
  readonly seed: number
}

/** An object somewhere in the picture, in a colour of its own. */
export function placeRandomly(random: () => number, label: Label, aspect: number): Placed {
  const radius = 0.18 + 0.17 * random()
  const x = radius + (aspect - 2 * radius) * random()
  const y = radius + (1 - 2 * radius) * random()
  // Brighter or darker than any background.
  const luma = random() < 0.5 ? 20 + 30 * random() : 200 + 40 * random()
  return { label, x, y, radius, turn: 2 * Math.PI * random(), yuv: [luma, 60 + 136 * random(), 60 + 136 * random()] }
}

/** Whether a point, relative to the middle, turned and in units of the radius, belongs to the object. */
const inside: Readonly<Record<Label, (x: number, y: number) => boolean>> = {
  circle: (x, y) => x * x + y * y < 0.7,
  square: (x, y) => Math.abs(x) < 0.68 && Math.abs(y) < 0.68,
  triangle: (x, y) => y > -0.5 && y < 1 - Math.sqrt(3) * Math.abs(x),
  star: (x, y) => x * x + y * y < (0.3 + 0.7 * Math.abs((((Math.atan2(y, x) / (2 * Math.PI)) * 5 + 10) % 1) - 0.5) * 2) ** 2,
  cross: (x, y) => (Math.abs(x) < 0.26 && Math.abs(y) < 0.95) || (Math.abs(y) < 0.26 && Math.abs(x) < 0.95),
  ring: (x, y) => x * x + y * y < 0.9 && x * x + y * y > 0.4,
}

/** YUV 4:2:0: slopes of brightness and colour, and grain. */
export function paintBackground({ width, height, seed }: Scene): Uint8Array {
  const random = seededRandom(seed)
  const frame = new Uint8Array((width * height * 3) / 2)
  const [base, across, down, u, v] = [100 + 30 * random(), 50 * (random() - 0.5), 50 * (random() - 0.5), 110 + 36 * random(), 110 + 36 * random()] as const
  let state = seed | 1
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      frame[y * width + x] = base + (across * x) / width + (down * y) / height + (state & 15) - 8
    }
  }
  frame.fill(u, width * height, (width * height * 5) / 4)
  frame.fill(v, (width * height * 5) / 4)
  return frame
}

/** Paints over the frame; the parts of an object are shaded, so that it changes as it moves. */
export function paintObject(frame: Uint8Array, { width, height }: { readonly width: number; readonly height: number }, { label, x, y, radius, turn, yuv }: Placed): void {
  const isInside = inside[label]
  const [sine, cosine] = [Math.sin(turn) / radius, Math.cos(turn) / radius]
  const plane = (at: number, columns: number, rows: number, value: number, shade: number): void => {
    const scale = 1 / rows
    const [left, right] = [Math.max(0, Math.floor((x - radius) * rows)), Math.min(columns, Math.ceil((x + radius) * rows))]
    const [top, bottom] = [Math.max(0, Math.floor((y - radius) * rows)), Math.min(rows, Math.ceil((y + radius) * rows))]
    for (let row = top; row < bottom; row++) {
      const dy = (row + 0.5) * scale - y
      for (let column = left; column < right; column++) {
        const dx = (column + 0.5) * scale - x
        const [turnedX, turnedY] = [dx * cosine + dy * sine, dy * cosine - dx * sine]
        if (isInside(turnedX, turnedY)) frame[at + row * columns + column] = value + shade * turnedX
      }
    }
  }
  plane(0, width, height, yuv[0], 12)
  plane(width * height, width / 2, height / 2, yuv[1], 0)
  plane((width * height * 5) / 4, width / 2, height / 2, yuv[2], 0)
}

export interface FilmSettings extends Scene {
  readonly frames: number
  /** Frames until the next object comes. */
  readonly framesPerObject: number
}

/** What each frame shows. */
export function filmLabels({ frames, framesPerObject, seed }: FilmSettings): Label[] {
  const random = seededRandom(seed + 1)
  const sequence = Array.from({ length: Math.ceil(frames / framesPerObject) }, () => labels[Math.floor(labels.length * random())]!)
  return Array.from({ length: frames }, (_, index) => sequence[Math.floor(index / framesPerObject)]!)
}

/** The frames, one after the other, in the same memory. */
export function* paintFilm(settings: FilmSettings): Generator<Uint8Array> {
  const { width, height, frames, framesPerObject, seed } = settings
  const shown = filmLabels(settings)
  const random = seededRandom(seed + 2)
  const background = paintBackground(settings)
  const frame = new Uint8Array(background.length)
  let placed: Placed | undefined
  for (let index = 0; index < frames; index++) {
    if (placed === undefined || index % framesPerObject === 0) placed = placeRandomly(random, shown[index]!, width / height)
    frame.set(background)
    paintObject(frame, settings, placed)
    yield frame
    const { radius } = placed
    const within = (value: number, end: number): number => Math.min(end - radius, Math.max(radius, value))
    placed = { ...placed, x: within(placed.x + 0.004, width / height), y: within(placed.y + 0.002, 1), turn: placed.turn + 0.03 }
  }
}
