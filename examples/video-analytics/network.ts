/**
 * A small convolutional network: four layers of 3 x 3 kernels with stride 2, the mean over the picture, and a linear layer to the classes.
 *
 *   3 x 54 x 96 ─conv─▶ 16 x 27 x 48 ─conv─▶ 24 x 14 x 24 ─conv─▶ 40 x 7 x 12 ─conv─▶ 64 x 4 x 6 ─mean─▶ 64 ─linear─▶ 6
 *
 * 36 thousand weights, 3 million multiplications a picture. It takes the place of SqueezeNet 1.1 in the thesis's workload, which has thirty times the
 * weights and a hundred times the multiplications. `train.ts` made `weights.bin`.
 */
export const INPUT = { channels: 3, height: 54, width: 96 } as const

export interface Layer {
  readonly inChannels: number
  readonly outChannels: number
  readonly inHeight: number
  readonly inWidth: number
  readonly outHeight: number
  readonly outWidth: number
  /** Where its weights begin: outChannels x inChannels x 9 of kernels, then outChannels of bias. */
  readonly at: number
}

export const layers: readonly Layer[] = layersOf([16, 24, 40, 64])
const last = layers.at(-1)!
export const FEATURES = last.outChannels
export const LINEAR_AT = last.at + last.outChannels * (last.inChannels * 9 + 1)

export function weightCount(classes: number): number {
  return LINEAR_AT + classes * (FEATURES + 1)
}

function layersOf(channels: readonly number[]): Layer[] {
  const made: Layer[] = []
  let { channels: inChannels, height: inHeight, width: inWidth } = INPUT as { channels: number; height: number; width: number }
  let at = 0
  for (const outChannels of channels) {
    const layer = { inChannels, outChannels, inHeight, inWidth, outHeight: Math.ceil(inHeight / 2), outWidth: Math.ceil(inWidth / 2), at }
    made.push(layer)
    at += outChannels * (inChannels * 9 + 1)
    ;({ outChannels: inChannels, outHeight: inHeight, outWidth: inWidth } = layer)
  }
  return made
}

/** Convolution with ReLU. Kernel position (0, 0) lies on the even points of the input. */
export function convolve(layer: Layer, weights: Float32Array, input: Float32Array): Float32Array {
  const { inChannels, outChannels, inHeight, inWidth, outHeight, outWidth, at } = layer
  const output = new Float32Array(outChannels * outHeight * outWidth)
  const biasAt = at + outChannels * inChannels * 9
  for (let to = 0; to < outChannels; to++) {
    const plane = output.subarray(to * outHeight * outWidth, (to + 1) * outHeight * outWidth).fill(weights[biasAt + to]!)
    for (let from = 0; from < inChannels; from++) {
      const kernelAt = at + (to * inChannels + from) * 9
      for (let tap = 0; tap < 9; tap++) {
        const weight = weights[kernelAt + tap]!
        const { rows, columns, offset } = reach(tap, layer)
        const base = from * inHeight * inWidth + offset
        for (let row = rows.from; row < rows.to; row++) {
          const inAt = base + 2 * row * inWidth
          const outAt = row * outWidth
          for (let column = columns.from; column < columns.to; column++) plane[outAt + column]! += weight * input[inAt + 2 * column]!
        }
      }
    }
    for (let index = 0; index < plane.length; index++) if (plane[index]! < 0) plane[index] = 0
  }
  return output
}

/** The output points for which a tap of the kernel lies within the input. */
export function reach(tap: number, { inHeight, inWidth, outHeight, outWidth }: Layer): { rows: { from: number; to: number }; columns: { from: number; to: number }; offset: number } {
  const dy = Math.floor(tap / 3) - 1
  const dx = (tap % 3) - 1
  const range = (shift: number, inSize: number, outSize: number): { from: number; to: number } => ({ from: shift < 0 ? 1 : 0, to: Math.min(outSize, Math.floor((inSize - 1 - shift) / 2) + 1) })
  return { rows: range(dy, inHeight, outHeight), columns: range(dx, inWidth, outWidth), offset: dy * inWidth + dx }
}

/** Means over the picture of the last layer's channels. */
export function pool(activations: Float32Array): Float32Array {
  const size = activations.length / FEATURES
  const means = new Float32Array(FEATURES)
  for (let channel = 0; channel < FEATURES; channel++) {
    let sum = 0
    for (let at = channel * size; at < (channel + 1) * size; at++) sum += activations[at]!
    means[channel] = sum / size
  }
  return means
}

export function classify(weights: Float32Array, features: Float32Array, classes: number): Float32Array {
  const scores = new Float32Array(classes)
  for (let one = 0; one < classes; one++) {
    let score = weights[LINEAR_AT + classes * FEATURES + one]!
    for (let at = 0; at < FEATURES; at++) score += weights[LINEAR_AT + one * FEATURES + at]! * features[at]!
    scores[one] = score
  }
  return scores
}

/** One score per class. */
export function infer(weights: Float32Array, picture: Float32Array, classes: number): Float32Array {
  let activations = picture
  for (const layer of layers) activations = convolve(layer, weights, activations)
  return classify(weights, pool(activations), classes)
}

/** A frame in YUV 4:2:0 as the network wants it: means over boxes, -1 to 1. @throws RangeError when the size is no multiple of the network's. */
export function pictureOf(frame: Uint8Array, { width, height }: { readonly width: number; readonly height: number }): Float32Array {
  if (width % (2 * INPUT.width) !== 0 || height % (2 * INPUT.height) !== 0 || frame.length !== (width * height * 3) / 2) {
    throw new RangeError(`A frame of ${width} x ${height} (${frame.length} bytes) cannot be recognised: its size must be a multiple of ${2 * INPUT.width} x ${2 * INPUT.height}.`)
  }
  const picture = new Float32Array(INPUT.channels * INPUT.height * INPUT.width)
  shrink(frame, 0, width, height, picture, 0)
  shrink(frame, width * height, width / 2, height / 2, picture, 1)
  shrink(frame, (width * height * 5) / 4, width / 2, height / 2, picture, 2)
  return picture
}

function shrink(frame: Uint8Array, at: number, width: number, height: number, picture: Float32Array, channel: number): void {
  const [boxWidth, boxHeight] = [width / INPUT.width, height / INPUT.height]
  const sums = new Int32Array(INPUT.width)
  for (let row = 0; row < INPUT.height; row++) {
    sums.fill(0)
    for (let y = row * boxHeight; y < (row + 1) * boxHeight; y++) {
      let from = at + y * width
      for (let column = 0; column < INPUT.width; column++) {
        let sum = 0
        for (const end = from + boxWidth; from < end; from++) sum += frame[from]!
        sums[column]! += sum
      }
    }
    const out = (channel * INPUT.height + row) * INPUT.width
    for (let column = 0; column < INPUT.width; column++) picture[out + column] = sums[column]! / (boxWidth * boxHeight * 128) - 1
  }
}
