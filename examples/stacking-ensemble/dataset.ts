/**
 * A generated dataset for classification: 300 samples of 1,024 features, one label in ten positive, one in ten wrong.
 *
 * Sizes and shares are those of the workload in vSwarm (benchmarks/stacking-training). The classes lie around corners of a cube in a few of the features; the
 * others are noise.
 */
import { bytesOf, decodeMessage, encodeMessage, float64s } from '../transports/message.ts'
import { seededNormal, seededRandom } from '../transports/seeded-random.ts'

export interface Dataset {
  readonly samples: number
  readonly features: number
  /** Sample after sample. */
  readonly x: Float64Array
  /** 0 or 1. */
  readonly y: Float64Array
}

const INFORMATIVE = 8
const POSITIVE = 0.1
const WRONG = 0.1

export function generateDataset(samples: number, features: number, seed: number): Dataset {
  const random = seededRandom(seed)
  const normal = seededNormal(seed + 1)
  const corner = Array.from({ length: Math.min(INFORMATIVE, features) }, () => ({ at: Math.floor(random() * features), side: random() < 0.5 ? -1 : 1 }))
  const x = Float64Array.from({ length: samples * features }, normal)
  const y = new Float64Array(samples)
  for (let sample = 0; sample < samples; sample++) {
    const label = random() < POSITIVE ? 1 : 0
    for (const { at, side } of corner) x[sample * features + at]! += label === 1 ? side * 1.5 : 0
    y[sample] = random() < WRONG ? (random() < 0.5 ? 1 : 0) : label
  }
  return { samples, features, x, y }
}

export function packDataset({ samples, features, x, y }: Dataset): Buffer {
  return encodeMessage({ fields: { samples, features }, objects: [bytesOf(x), bytesOf(y)] })
}

export function unpackDataset(bytes: Uint8Array): Dataset {
  const { fields, objects } = decodeMessage<{ samples: number; features: number }>(bytes)
  const [x, y] = objects.map((one) => float64s(one as Uint8Array)) as [Float64Array, Float64Array]
  return { ...fields, x, y }
}
