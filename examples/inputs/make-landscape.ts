/**
 * Paints landscape.png: mountains in the morning, layer behind layer, above a lake that mirrors them. Own work.
 *
 * A ridge is fractal noise of one dimension, the haze between ridges a blend towards the sky, the water a mirrored sky
 * with ripples. Four samples a pixel smooth the edges.
 */
import { seededRandom } from '#base/seeded-random.ts'
import type { Picture } from '../thumbnail/png.ts'

type Colour = readonly [number, number, number]

export const landscapeSize = { width: 640, height: 480 }

const SHORE = 0.69
const SUN = { x: 0.67, y: 0.33, radius: 0.036 }
const zenith: Colour = [38, 70, 128]
const horizon: Colour = [255, 196, 136]
const glow: Colour = [255, 226, 170]
const ridges = [
  { level: 0.44, relief: 0.1, detail: 3.1, haze: 0.72, colour: [74, 84, 124] },
  { level: 0.5, relief: 0.13, detail: 2.3, haze: 0.48, colour: [58, 70, 104] },
  { level: 0.57, relief: 0.12, detail: 3.7, haze: 0.26, colour: [40, 58, 78] },
  { level: 0.645, relief: 0.07, detail: 6.3, haze: 0.08, colour: [22, 40, 42] },
] as const

export function paintLandscape(): Picture {
  const { width, height } = landscapeSize
  const noises = ridges.map((_, index) => noiseFrom(index + 1))
  const ripple = noiseFrom(9)
  const pixels = new Uint8Array(width * height * 3)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const sum = [0, 0, 0]
      for (const [dx, dy] of [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]] as const) {
        const colour = sceneAt((x + dx) / width, (y + dy) / height, noises, ripple)
        for (let channel = 0; channel < 3; channel++) sum[channel]! += colour[channel]! / 4
      }
      for (let channel = 0; channel < 3; channel++) pixels[(y * width + x) * 3 + channel] = Math.round(Math.min(255, sum[channel]!))
    }
  }
  return { width, height, channels: 3, pixels }
}

type Noise = (position: number) => number

function sceneAt(x: number, y: number, noises: readonly Noise[], ripple: Noise): Colour {
  if (y < SHORE) return landAt(x, y, noises)
  // Nearer water has longer ripples, and shows more of itself than of the sky.
  const depth = (y - SHORE) / (1 - SHORE)
  const wave = (ripple(40 / (depth + 0.12) + x * 1.5) - 0.5) * 0.03 * (0.3 + depth)
  const mirrored = landAt(x + wave, SHORE - (y - SHORE) * 0.95 + wave * 0.6, noises)
  return blend(mirrored, [18, 38, 60], 0.22 + 0.35 * depth)
}

function landAt(x: number, y: number, noises: readonly Noise[]): Colour {
  let nearest: (typeof ridges)[number] | undefined
  let below = 0
  for (const [index, ridge] of ridges.entries()) {
    const crest = ridge.level - ridge.relief * (fractal(noises[index]!, x * ridge.detail) - 0.45) * 2
    if (y >= crest) [nearest, below] = [ridge, y - crest]
  }
  const sky = skyAt(x, y)
  if (nearest === undefined) return sky
  // Mist gathers at the foot of each ridge.
  return blend(nearest.colour, skyAt(x, 0.55), Math.min(0.9, nearest.haze + below * 1.6 * nearest.haze))
}

function skyAt(x: number, y: number): Colour {
  const height = Math.min(1, Math.max(0, y / 0.6))
  const plain = blend(zenith, horizon, height * height * (3 - 2 * height))
  const distance = Math.hypot((x - SUN.x) * (4 / 3), y - SUN.y)
  if (distance < SUN.radius) return [255, 246, 222]
  return blend(plain, glow, 0.85 * Math.exp(-(distance - SUN.radius) * 7))
}

function blend(a: Colour, b: Colour, share: number): Colour {
  return [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share]
}

function fractal(noise: Noise, position: number): number {
  let sum = 0
  let size = 0.5
  let at = position
  for (let octave = 0; octave < 7; octave++, size *= 0.48, at = at * 2.03 + 17) sum += noise(at) * size
  return sum
}

/** Smooth random values in [0, 1), one per whole position, repeated after 256. */
function noiseFrom(seed: number): Noise {
  const random = seededRandom(seed)
  const values = Float64Array.from({ length: 256 }, random)
  return (position) => {
    const cell = Math.floor(position)
    const inside = position - cell
    const [left, right] = [values[cell & 255]!, values[(cell + 1) & 255]!]
    return left + (right - left) * inside * inside * (3 - 2 * inside)
  }
}
