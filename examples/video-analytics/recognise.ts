/** What a frame shows, by the network with the weights that `train.ts` has written. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { infer, pictureOf } from './network.ts'
import { labels } from './scene.ts'
import type { Label } from './scene.ts'

export interface Recognition {
  readonly label: Label
  /** Probability, 0 to 1. */
  readonly score: number
}

const weights = new Float32Array(new Uint8Array(readFileSync(join(import.meta.dirname, 'weights.bin'))).buffer)

export function recognise(frame: Uint8Array, size: { readonly width: number; readonly height: number }): Recognition {
  const scores = infer(weights, pictureOf(frame, size), labels.length)
  const highest = Math.max(...scores)
  const sum = scores.reduce((total, score) => total + Math.exp(score - highest), 0)
  return { label: labels[scores.indexOf(highest)]!, score: 1 / sum }
}
