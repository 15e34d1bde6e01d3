/**
 * Four algorithms that learn a number from features, written plainly, and one that learns from what those four say.
 *
 *   linear-svr  support vector regression, epsilon-insensitive, by dual coordinate descent (Ho and Lin, JMLR 2012)
 *   lasso       least squares with an L1 penalty, by coordinate descent (Friedman, Hastie, Tibshirani 2010)
 *   knn         the mean of the k nearest samples, and of those as near as the last of them: its model is the dataset
 *   forest      regression trees on bootstrap samples (Breiman 2001), with histograms of 16 bins instead of sorted values
 *   logistic    logistic regression by gradient descent: the second level
 *
 * All are deterministic: the same data and parameters give the same bytes.
 */
import { seededRandom } from '../transports/seeded-random.ts'
import { bytesOf, decodeMessage, encodeMessage, float64s } from '../transports/message.ts'
import { binsOf, fitForest, predictForest } from './forest.ts'
import type { Dataset } from './dataset.ts'

export type Training =
  | { readonly kind: 'linear-svr'; readonly cost: number }
  | { readonly kind: 'lasso'; readonly alpha: number }
  | { readonly kind: 'knn'; readonly neighbours: number }
  | { readonly kind: 'forest'; readonly trees: number; readonly depth: number }
  | { readonly kind: 'logistic' }

export interface Model {
  readonly training: Training
  /** Weights with the bias last; or of knn, samples, their labels, and which of them count; or of a forest, its nodes. */
  readonly arrays: readonly Float64Array[]
}

/** Numbers of samples, ascending. */
export type Members = Int32Array

/** Learns from some of the samples. What can be worked out for all of them once, is: cross-validation asks six times. */
export type Learner = (members: Members) => Model

export function learnerOf(training: Training, data: Dataset): Learner {
  const one = (fitted: Float64Array): Model => ({ training, arrays: [fitted] })
  switch (training.kind) {
    case 'linear-svr': {
      const norms = normsOf(data.x, data.features)
      return (members) => one(fitSvr(data, norms, members, training.cost))
    }
    case 'lasso': {
      const columns = columnsOf(data)
      return (members) => one(fitLasso(data, columns, members, training.alpha))
    }
    case 'knn':
      return (members) => ({ training, arrays: [data.x, data.y, Float64Array.from(members)] })
    case 'forest': {
      const binned = binsOf(data)
      return (members) => one(fitForest(data, binned, members, training))
    }
    case 'logistic':
      return (members) => one(fitLogistic(data, members))
  }
}

/** A model of all samples. */
export function fit(learn: Learner, data: Dataset): Model {
  return learn(membersOf(data, () => true))
}

/** One number per member, or sample. */
export function predict({ training, arrays }: Model, data: Dataset, members: Members = membersOf(data, () => true)): Float64Array {
  const first = arrays[0]!
  const each = (answer: (x: Float64Array) => number): Float64Array => Float64Array.from(members, (sample) => answer(rowOf(data, sample)))
  switch (training.kind) {
    case 'linear-svr':
    case 'lasso':
      return each((x) => linear(first, x))
    case 'logistic':
      return each((x) => sigmoid(linear(first, x)))
    case 'forest':
      return each((x) => predictForest(first, x))
    case 'knn': {
      const [, labels, counting] = arrays as readonly [Float64Array, Float64Array, Float64Array]
      // As integers: places in memory are reckoned from them.
      const counted = Int32Array.from(counting)
      const norms = normsOf(first, data.features)
      return each((x) => nearest(first, labels, norms, counted, x, training.neighbours))
    }
  }
}

/** Predictions for each sample by a model that has not seen it: every `folds`-th sample is left out in turn. */
export function crossPredict(learn: Learner, data: Dataset, folds = 5): Float64Array {
  const predicted = new Float64Array(data.samples)
  for (let fold = 0; fold < folds; fold++) {
    const out = membersOf(data, (sample) => sample % folds === fold)
    const answers = predict(learn(membersOf(data, (sample) => sample % folds !== fold)), data, out)
    out.forEach((sample, index) => (predicted[sample] = answers[index]!))
  }
  return predicted
}

function membersOf({ samples }: Dataset, isIn: (sample: number) => boolean): Members {
  return Int32Array.from({ length: samples }, (_, sample) => sample).filter(isIn)
}

/** @param allocate As of encodeMessage. */
export function packModel({ training, arrays }: Model, allocate?: (bytes: number) => Buffer): Buffer {
  return encodeMessage({ fields: training, objects: arrays.map(bytesOf) }, allocate)
}

export function unpackModel(bytes: Uint8Array): Model {
  const { fields, objects } = decodeMessage<Training>(bytes)
  return { training: fields, arrays: objects.map((one) => float64s(one as Uint8Array)) }
}

/** Area under the ROC curve: the chance that a positive sample is above a negative one (Mann and Whitney). */
export function areaUnderCurve(labels: Float64Array, scores: Float64Array): number {
  let above = 0
  let pairs = 0
  for (let a = 0; a < labels.length; a++) {
    for (let b = 0; b < labels.length; b++) {
      if (labels[a] !== 1 || labels[b] !== 0) continue
      pairs++
      above += scores[a]! > scores[b]! ? 1 : scores[a] === scores[b] ? 0.5 : 0
    }
  }
  return above / pairs
}

function rowOf({ features, x }: Dataset, sample: number): Float64Array {
  return x.subarray(sample * features, (sample + 1) * features)
}

function dot(a: Float64Array, aAt: number, b: Float64Array, bAt: number, length: number): number {
  // Four sums that do not wait for each other.
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  let at = 0
  for (; at + 3 < length; at += 4) {
    s0 += a[aAt + at]! * b[bAt + at]!
    s1 += a[aAt + at + 1]! * b[bAt + at + 1]!
    s2 += a[aAt + at + 2]! * b[bAt + at + 2]!
    s3 += a[aAt + at + 3]! * b[bAt + at + 3]!
  }
  for (; at < length; at++) s0 += a[aAt + at]! * b[bAt + at]!
  return s0 + s1 + (s2 + s3)
}

/** The product of each chosen row with a vector: four rows at a time, so that the vector is read a quarter as often. */
function timesVector(rows: Float64Array, chosen: Members, vector: Float64Array): Float64Array {
  const length = vector.length
  const products = new Float64Array(chosen.length)
  let one = 0
  for (; one + 3 < products.length; one += 4) {
    let [s0, s1, s2, s3] = [0, 0, 0, 0]
    const a0 = chosen[one]! * length
    const a1 = chosen[one + 1]! * length
    const a2 = chosen[one + 2]! * length
    const a3 = chosen[one + 3]! * length
    for (let at = 0; at < length; at++) {
      const value = vector[at]!
      s0 += rows[a0 + at]! * value
      s1 += rows[a1 + at]! * value
      s2 += rows[a2 + at]! * value
      s3 += rows[a3 + at]! * value
    }
    products.set([s0, s1, s2, s3], one)
  }
  for (; one < products.length; one++) products[one] = dot(rows, chosen[one]! * length, vector, 0, length)
  return products
}

/** Of each row, the sum of its squares. */
function normsOf(rows: Float64Array, length: number): Float64Array {
  return Float64Array.from({ length: rows.length / length }, (_, row) => dot(rows, row * length, rows, row * length, length))
}

function linear(weights: Float64Array, x: Float64Array): number {
  return dot(weights, 0, x, 0, x.length) + weights[x.length]!
}

function sigmoid(value: number): number {
  return 1 / (1 + Math.exp(-value))
}

const SVR_EPOCHS = 40
/** Of a prediction; labels are 0 and 1. */
const SVR_TOLERANCE = 1e-3

function fitSvr({ samples, features, x, y }: Dataset, norms: Float64Array, members: Members, cost: number): Float64Array {
  const weights = new Float64Array(features + 1)
  const duals = new Float64Array(samples)
  const random = seededRandom(42)
  const order = members.slice()
  for (let epoch = 0; epoch < SVR_EPOCHS; epoch++) {
    for (let at = order.length - 1; at > 0; at--) {
      const other = Math.floor(random() * (at + 1))
      ;[order[at], order[other]] = [order[other]!, order[at]!]
    }
    let largest = 0
    for (const one of order) {
      const gradient = dot(weights, 0, x, one * features, features) + weights[features]! - y[one]!
      const before = duals[one]!
      const after = Math.min(cost, Math.max(-cost, before - gradient / (norms[one]! + 1)))
      const change = after - before
      if (change === 0) continue
      largest = Math.max(largest, Math.abs(change) * norms[one]!)
      duals[one] = after
      for (let at = 0; at < features; at++) weights[at]! += change * x[one * features + at]!
      weights[features]! += change
    }
    if (largest < SVR_TOLERANCE) break
  }
  return weights
}

const LASSO_SWEEPS = 100
const LASSO_TOLERANCE = 1e-4

/** Feature after feature, so that the values of a coordinate lie together. */
function columnsOf({ samples, features, x }: Dataset): Float64Array {
  const columns = new Float64Array(x.length)
  for (let sample = 0; sample < samples; sample++) for (let at = 0; at < features; at++) columns[at * samples + sample] = x[sample * features + at]!
  return columns
}

/** Samples that are no members have no residual, and so no say. */
function fitLasso({ samples, features, y }: Dataset, columns: Float64Array, members: Members, alpha: number): Float64Array {
  const norms = new Float64Array(features)
  for (let at = 0; at < features; at++) for (const sample of members) norms[at]! += columns[at * samples + sample]! ** 2
  const weights = new Float64Array(features + 1)
  const residual = new Float64Array(samples)
  for (const sample of members) residual[sample] = y[sample]!
  // Once the others are at nothing, only the weights that are not are gone through, until they rest; then all again, to see that it was right.
  let scope: 'all' | 'active' = 'all'
  for (let sweep = 0; sweep < LASSO_SWEEPS; sweep++) {
    let largest = 0
    const shift = residual.reduce((a, b) => a + b) / members.length
    weights[features]! += shift
    for (const sample of members) residual[sample]! -= shift
    for (let at = 0; at < features; at++) {
      const before = weights[at]!
      if (scope === 'active' && before === 0) continue
      const along = dot(columns, at * samples, residual, 0, samples) + before * norms[at]!
      const after = (Math.sign(along) * Math.max(0, Math.abs(along) - alpha * members.length)) / norms[at]!
      if (after === before) continue
      largest = Math.max(largest, Math.abs(after - before))
      weights[at] = after
      for (const sample of members) residual[sample]! += (before - after) * columns[at * samples + sample]!
    }
    if (largest >= LASSO_TOLERANCE) scope = 'active'
    else if (scope === 'all') break
    else scope = 'all'
  }
  return weights
}

function nearest(x: Float64Array, y: Float64Array, norms: Float64Array, counted: Members, point: Float64Array, neighbours: number): number {
  // |x - p|² without |p|², which is the same for all.
  const products = timesVector(x, counted, point)
  const distances = products.map((product, one) => norms[counted[one]!]! - 2 * product)
  const farthest = distances.toSorted()[Math.min(neighbours, counted.length) - 1]!
  let sum = 0
  let count = 0
  for (let one = 0; one < counted.length; one++) {
    if (distances[one]! > farthest) continue
    sum += y[counted[one]!]!
    count++
  }
  return sum / count
}

const LOGISTIC_STEPS = 200

function fitLogistic(data: Dataset, members: Members): Float64Array {
  const { features, y } = data
  const weights = new Float64Array(features + 1)
  for (let step = 0; step < LOGISTIC_STEPS; step++) {
    const slope = new Float64Array(features + 1)
    for (const sample of members) {
      const row = rowOf(data, sample)
      const error = sigmoid(linear(weights, row)) - y[sample]!
      for (let at = 0; at < features; at++) slope[at]! += error * row[at]!
      slope[features]! += error
    }
    for (let at = 0; at <= features; at++) weights[at]! -= 2 * (slope[at]! / members.length + 0.001 * weights[at]!)
  }
  return weights
}
