/**
 * A regression forest. Each tree is a complete binary tree of its depth, as three numbers per node: the feature (-1: a leaf), the threshold, the value.
 *
 *   [trees, depth, node 0 of tree 0: feature, threshold, value, node 1, …]      children of node n: 2n + 1 (below the threshold), 2n + 2
 */
import { seededRandom } from '../transports/seeded-random.ts'
import type { Dataset } from './dataset.ts'

const BINS = 16
const LEAF_SAMPLES_MIN = 2

/** Each value as a step between the least and the greatest of its feature. */
export interface Bins {
  readonly lowest: Float64Array
  readonly widths: Float64Array
  /** Sample after sample. */
  readonly values: Uint8Array
}

export function binsOf({ features, x }: Dataset): Bins {
  const lowest = x.slice(0, features)
  const highest = x.slice(0, features)
  for (let from = 0; from < x.length; from += features) {
    for (let feature = 0; feature < features; feature++) {
      const value = x[from + feature]!
      if (value < lowest[feature]!) lowest[feature] = value
      else if (value > highest[feature]!) highest[feature] = value
    }
  }
  const widths = highest.map((value, feature) => (value - lowest[feature]!) / BINS || 1)
  const values = new Uint8Array(x.length)
  for (let from = 0; from < x.length; from += features) {
    for (let feature = 0; feature < features; feature++) values[from + feature] = Math.min(BINS - 1, (x[from + feature]! - lowest[feature]!) / widths[feature]!)
  }
  return { lowest, widths, values }
}

export function fitForest(data: Dataset, { lowest, widths, values: bins }: Bins, from: Int32Array, { trees, depth }: { readonly trees: number; readonly depth: number }): Float64Array {
  const { features } = data
  const nodesPerTree = 2 ** (depth + 1) - 1
  const forest = new Float64Array(2 + trees * nodesPerTree * 3)
  forest.set([trees, depth])
  const random = seededRandom(42)
  const histogram: Histogram = { counts: new Int32Array(features * BINS), sums: new Float64Array(features * BINS) }
  for (let tree = 0; tree < trees; tree++) {
    const drawn = from.map(() => from[Math.floor(random() * from.length)]!)
    const grow = (node: number, level: number, members: Int32Array): void => {
      const at = 2 + (tree * nodesPerTree + node) * 3
      const sum = members.reduce((total, sample) => total + data.y[sample]!, 0)
      const split = level < depth && sum > 0 && sum < members.length ? bestSplit(data, bins, members, sum, histogram) : undefined
      forest.set([split?.feature ?? -1, split === undefined ? 0 : lowest[split.feature]! + widths[split.feature]! * split.bin, sum / members.length], at)
      if (split === undefined) return
      const isBelow = (sample: number): boolean => bins[sample * features + split.feature]! < split.bin
      grow(2 * node + 1, level + 1, members.filter(isBelow))
      grow(2 * node + 2, level + 1, members.filter((sample) => !isBelow(sample)))
    }
    grow(0, 0, drawn)
  }
  return forest
}

/** Of a node's members, how many each bin of each feature has, and the sum of their labels: one for all nodes, as they are large. */
interface Histogram {
  readonly counts: Int32Array
  readonly sums: Float64Array
}

/** The feature and the first bin above the threshold that leave the least variance; undefined when none leaves enough samples on both sides. */
function bestSplit({ features, y }: Dataset, bins: Uint8Array, members: Int32Array, sum: number, { counts, sums }: Histogram): { readonly feature: number; readonly bin: number } | undefined {
  counts.fill(0)
  sums.fill(0)
  for (const sample of members) {
    const label = y[sample]!
    for (let feature = 0, at = sample * features; feature < features; feature++, at++) {
      const cell = feature * BINS + bins[at]!
      counts[cell]!++
      sums[cell]! += label
    }
  }
  let best: { feature: number; bin: number } | undefined
  let bestGain = -Infinity
  for (let feature = 0; feature < features; feature++) {
    let below = 0
    let sumBelow = 0
    for (let bin = 1; bin < BINS; bin++) {
      below += counts[feature * BINS + bin - 1]!
      sumBelow += sums[feature * BINS + bin - 1]!
      const above = members.length - below
      if (below < LEAF_SAMPLES_MIN || above < LEAF_SAMPLES_MIN) continue
      // The variance within the sides falls as this rises.
      const gain = (sumBelow * sumBelow) / below + ((sum - sumBelow) * (sum - sumBelow)) / above
      if (gain > bestGain) {
        bestGain = gain
        best = { feature, bin }
      }
    }
  }
  return best
}

export function predictForest(forest: Float64Array, x: Float64Array): number {
  const [trees, depth] = forest as unknown as [number, number]
  const nodesPerTree = 2 ** (depth + 1) - 1
  let sum = 0
  for (let tree = 0; tree < trees; tree++) {
    let node = 0
    for (;;) {
      const at = 2 + (tree * nodesPerTree + node) * 3
      const feature = forest[at]!
      if (feature < 0) {
        sum += forest[at + 2]!
        break
      }
      node = 2 * node + (x[feature]! < forest[at + 1]! ? 1 : 2)
    }
  }
  return sum / trees
}
