/**
 * Trains the network on painted pictures and writes `weights.bin`: `node examples/video-analytics/train.ts`, some minutes on one core.
 *
 * Plain backpropagation with Adam (Kingma and Ba, 2015), pictures one by one, the same seeds each time. The pictures are painted at twice the network's size
 * and shrunk as frames are.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededNormal, seededRandom } from '../transports/seeded-random.ts'
import { FEATURES, INPUT, LINEAR_AT, classify, convolve, infer, layers, pictureOf, pool, reach, weightCount } from './network.ts'
import { labels, paintBackground, paintObject, placeRandomly } from './scene.ts'

const PICTURES = 4000
const EPOCHS = Number(process.argv[2] ?? 14)
const BATCH = 16
const size = { width: 4 * INPUT.width, height: 4 * INPUT.height }

interface Sample {
  readonly picture: Float32Array
  readonly label: number
}

function paintSamples(count: number, seed: number): Sample[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, (_, index) => {
    const label = index % labels.length
    const frame = paintBackground({ ...size, seed: seed + index })
    paintObject(frame, size, placeRandomly(random, labels[label]!, size.width / size.height))
    return { picture: pictureOf(frame, size), label }
  })
}

/** Adds the gradient of the cross-entropy at one sample. @returns the loss. */
function backpropagate(weights: Float32Array, gradient: Float32Array, { picture, label }: Sample): number {
  const activations = [picture]
  for (const layer of layers) activations.push(convolve(layer, weights, activations.at(-1)!))
  const means = pool(activations.at(-1)!)
  const scores = classify(weights, means, labels.length)
  const highest = Math.max(...scores)
  const exponentials = scores.map((score) => Math.exp(score - highest))
  const sum = exponentials.reduce((a, b) => a + b)
  const ofMeans = new Float32Array(FEATURES)
  for (let one = 0; one < labels.length; one++) {
    const error = exponentials[one]! / sum - (one === label ? 1 : 0)
    gradient[LINEAR_AT + labels.length * FEATURES + one]! += error
    for (let at = 0; at < FEATURES; at++) {
      gradient[LINEAR_AT + one * FEATURES + at]! += error * means[at]!
      ofMeans[at]! += error * weights[LINEAR_AT + one * FEATURES + at]!
    }
  }
  const area = activations.at(-1)!.length / FEATURES
  let ofOutput = Float32Array.from(activations.at(-1)!, (_value, index) => ofMeans[Math.floor(index / area)]! / area)
  for (let depth = layers.length - 1; depth >= 0; depth--) {
    const layer = layers[depth]!
    const { inChannels, outChannels, inHeight, inWidth, outHeight, outWidth, at } = layer
    const [input, output] = [activations[depth]!, activations[depth + 1]!]
    for (let index = 0; index < output.length; index++) if (output[index]! <= 0) ofOutput[index] = 0
    const ofInput = new Float32Array(input.length)
    for (let to = 0; to < outChannels; to++) {
      const errors = ofOutput.subarray(to * outHeight * outWidth, (to + 1) * outHeight * outWidth)
      gradient[at + outChannels * inChannels * 9 + to]! += errors.reduce((a, b) => a + b)
      for (let from = 0; from < inChannels; from++) {
        for (let tap = 0; tap < 9; tap++) {
          const weightAt = at + (to * inChannels + from) * 9 + tap
          const weight = weights[weightAt]!
          const { rows, columns, offset } = reach(tap, layer)
          const base = from * inHeight * inWidth + offset
          let total = 0
          for (let row = rows.from; row < rows.to; row++) {
            const inAt = base + 2 * row * inWidth
            for (let column = columns.from; column < columns.to; column++) {
              const error = errors[row * outWidth + column]!
              total += error * input[inAt + 2 * column]!
              ofInput[inAt + 2 * column]! += error * weight
            }
          }
          gradient[weightAt]! += total
        }
      }
    }
    ofOutput = ofInput
  }
  return Math.log(sum) + highest - scores[label]!
}

const samples = paintSamples(PICTURES, 1)
const unseen = paintSamples(600, 1_000_000)
const normal = seededNormal(7)
const weights = new Float32Array(weightCount(labels.length))
for (const { at, inChannels, outChannels } of layers) for (let index = 0; index < outChannels * inChannels * 9; index++) weights[at + index] = normal() * Math.sqrt(2 / (inChannels * 9))
for (let index = 0; index < labels.length * FEATURES; index++) weights[LINEAR_AT + index] = normal() * Math.sqrt(1 / FEATURES)

const gradient = new Float32Array(weights.length)
const mean = new Float32Array(weights.length)
const square = new Float32Array(weights.length)
const random = seededRandom(99)
let step = 0
for (let epoch = 0; epoch < EPOCHS; epoch++) {
  const rate = 0.003 * (1 - epoch / EPOCHS)
  let loss = 0
  const order = samples.map((sample) => ({ sample, key: random() })).sort((a, b) => a.key - b.key)
  for (let from = 0; from < order.length; from += BATCH) {
    gradient.fill(0)
    for (const { sample } of order.slice(from, from + BATCH)) loss += backpropagate(weights, gradient, sample)
    step++
    for (let at = 0; at < weights.length; at++) {
      const slope = gradient[at]! / BATCH
      mean[at] = 0.9 * mean[at]! + 0.1 * slope
      square[at] = 0.999 * square[at]! + 0.001 * slope * slope
      weights[at]! -= (rate * (mean[at]! / (1 - 0.9 ** step))) / (Math.sqrt(square[at]! / (1 - 0.999 ** step)) + 1e-8)
    }
  }
  const right = unseen.filter(({ picture, label }) => {
    const scores = infer(weights, picture, labels.length)
    return scores.indexOf(Math.max(...scores)) === label
  }).length
  console.log(`epoch ${epoch + 1}: loss ${(loss / samples.length).toFixed(3)}, ${((100 * right) / unseen.length).toFixed(1)} % of pictures never seen are right`)
}
writeFileSync(join(import.meta.dirname, 'weights.bin'), Buffer.from(weights.buffer))
