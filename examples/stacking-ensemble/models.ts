/**
 * Four algorithms that learn a number from features, written plainly, and one that learns from what those four say.
 *
 *   linear-svr  support vector regression, epsilon-insensitive, by dual coordinate descent (Ho and Lin, JMLR 2012), over the products of all pairs of
 *               samples, as these are fewer than their features
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

/** Learns from some of the samples of a dataset. What can be worked out for all of them once, is: cross-validation asks six times. */
export interface Learner {
  learn(members: Members): Model
  /** As {@link predict}, for samples of the dataset. */
  predict(model: Model, members: Members): Float64Array
}

export function learnerOf(training: Training, data: Dataset): Learner {
  const learner = (fit: (members: Members) => Float64Array): Learner => ({ learn: (members) => ({ training, arrays: [fit(members)] }), predict: (model, members) => predict(model, data, members) })
  switch (training.kind) {
    case 'linear-svr': {
      const products = productsOf(data)
      return learner((members) => fitSvr(data, products, members, training.cost))
    }
    case 'lasso': {
      const columns = columnsOf(data)
      return learner((members) => fitLasso(data, columns, members, training.alpha))
    }
    case 'knn': {
      const products = productsOf(data)
      const norms = Float64Array.from({ length: data.samples }, (_, sample) => products[sample * (data.samples + 1)]!)
      return {
        learn: (members) => ({ training, arrays: [data.x, data.y, Float64Array.from(members)] }),
        predict: ({ arrays }, members) => {
          const counted = Int32Array.from(arrays[2]!)
          return Float64Array.from(members, (sample) => nearest(data.y, norms, counted, chosenFrom(products, sample * data.samples, counted), training.neighbours))
        },
      }
    }
    case 'forest': {
      const binned = binsOf(data)
      return learner((members) => fitForest(data, binned, members, training))
    }
    case 'logistic':
      return learner((members) => fitLogistic(data, members))
  }
}

/** A model of all samples. */
export function fit({ learn }: Learner, data: Dataset): Model {
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
      return each((x) => nearest(labels, norms, counted, timesVector(first, counted, x), training.neighbours))
    }
  }
}

/** Predictions for each sample by a model that has not seen it: every `folds`-th sample is left out in turn. */
export function crossPredict(learner: Learner, data: Dataset, folds = 5): Float64Array {
  const predicted = new Float64Array(data.samples)
  for (let fold = 0; fold < folds; fold++) {
    const out = membersOf(data, (sample) => sample % folds === fold)
    const answers = learner.predict(learner.learn(membersOf(data, (sample) => sample % folds !== fold)), out)
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

/** Of each two samples, the sum of the products of their features: two by two, so that each feature is read half as often. */
function productsOf({ samples, features, x }: Dataset): Float64Array {
  const products = new Float64Array(samples * samples)
  const keep = (a: number, b: number, product: number): void => {
    products[a * samples + b] = product
    products[b * samples + a] = product
  }
  let a = 0
  for (; a + 1 < samples; a += 2) {
    const a0 = a * features
    const a1 = a0 + features
    let b = a
    for (; b + 1 < samples; b += 2) {
      const b0 = b * features
      const b1 = b0 + features
      let [s00, s01, s10, s11] = [0, 0, 0, 0]
      for (let at = 0; at < features; at++) {
        const p0 = x[a0 + at]!
        const p1 = x[a1 + at]!
        const q0 = x[b0 + at]!
        const q1 = x[b1 + at]!
        s00 += p0 * q0
        s01 += p0 * q1
        s10 += p1 * q0
        s11 += p1 * q1
      }
      keep(a, b, s00)
      keep(a, b + 1, s01)
      keep(a + 1, b, s10)
      keep(a + 1, b + 1, s11)
    }
    if (b < samples) {
      keep(a, b, dot(x, a0, x, b * features, features))
      keep(a + 1, b, dot(x, a1, x, b * features, features))
    }
  }
  if (a < samples) keep(a, a, dot(x, a * features, x, a * features, features))
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

/** @param products Of each two samples. The model is the sum of the samples, each times its dual, so that only their products are needed until the end. */
function fitSvr({ samples, features, x, y }: Dataset, products: Float64Array, members: Members, cost: number): Float64Array {
  const duals = new Float64Array(samples)
  const predicted = new Float64Array(samples)
  const random = seededRandom(42)
  const order = members.slice()
  for (let epoch = 0; epoch < SVR_EPOCHS; epoch++) {
    for (let at = order.length - 1; at > 0; at--) {
      const other = Math.floor(random() * (at + 1))
      ;[order[at], order[other]] = [order[other]!, order[at]!]
    }
    let largest = 0
    for (const one of order) {
      const row = one * samples
      const norm = products[row + one]!
      const before = duals[one]!
      // The bias is a feature that is 1 in all samples.
      const after = Math.min(cost, Math.max(-cost, before - (predicted[one]! - y[one]!) / (norm + 1)))
      const change = after - before
      if (change === 0) continue
      largest = Math.max(largest, Math.abs(change) * norm)
      duals[one] = after
      for (let other = 0; other < samples; other++) predicted[other]! += change * (products[row + other]! + 1)
    }
    if (largest < SVR_TOLERANCE) break
  }
  const weights = new Float64Array(features + 1)
  for (const one of members) {
    const dual = duals[one]!
    for (let at = 0; at < features; at++) weights[at]! += dual * x[one * features + at]!
    weights[features]! += dual
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
  for (let at = 0; at < features; at++) {
    let norm = 0
    for (let index = 0; index < members.length; index++) norm += columns[at * samples + members[index]!]! ** 2
    norms[at] = norm
  }
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

function chosenFrom(values: Float64Array, from: number, chosen: Members): Float64Array {
  const found = new Float64Array(chosen.length)
  for (let at = 0; at < found.length; at++) found[at] = values[from + chosen[at]!]!
  return found
}

/** @param products Of the point with each that counts. */
function nearest(y: Float64Array, norms: Float64Array, counted: Members, products: Float64Array, neighbours: number): number {
  // |x - p|² without |p|², which is the same for all.
  const distances = chosenFrom(norms, 0, counted)
  for (let one = 0; one < distances.length; one++) distances[one]! -= 2 * products[one]!
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

function fitLogistic({ features, x, y }: Dataset, members: Members): Float64Array {
  const weights = new Float64Array(features + 1)
  for (let step = 0; step < LOGISTIC_STEPS; step++) {
    const slope = new Float64Array(features + 1)
    for (let index = 0; index < members.length; index++) {
      const sample = members[index]!
      const row = sample * features
      const error = sigmoid(dot(weights, 0, x, row, features) + weights[features]!) - y[sample]!
      for (let at = 0; at < features; at++) slope[at]! += error * x[row + at]!
      slope[features]! += error
    }
    for (let at = 0; at <= features; at++) weights[at]! -= 2 * (slope[at]! / members.length + 0.001 * weights[at]!)
  }
  return weights
}
