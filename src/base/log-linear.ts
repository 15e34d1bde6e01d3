/**
 * Counts of values in fixed log-linear buckets: eight per power of two, so a quantile is at most 1/8 off, and exact
 * where it counts most: up to 8 units.
 *
 * The buckets are the same for every histogram, so two can be added up, across minutes or workers. A value is a number of
 * the smallest unit that matters (µs, bytes). Idea: HDR histograms (Tene); where we differ: the array grows with the
 * largest value seen, because most functions never see more than a second and there are thousands of them.
 *
 * Invariants:
 *   L1. Bucket i holds the values in (lower(i), upper(i)]: powers of two are inclusive upper bounds, as Prometheus' `le` asks.
 *   L2. `observe` allocates only when a value is larger than every one before it, and at most ten times in all.
 */

const SUB_BITS = 3
const SUB_COUNT = 1 << SUB_BITS
/** 2^46 µs are two years. What is more is counted as that. */
const VALUE_MAX = 2 ** 46

export class LogLinear {
  #counts: Uint32Array | Float64Array
  count = 0
  sum = 0
  max = 0

  /** @param wide Whether a bucket may count beyond 2^32: for those that live as long as the process. */
  constructor(options: { readonly wide: boolean }) {
    this.#counts = options.wide ? new Float64Array(64) : new Uint32Array(64)
  }

  /** Negative values and NaN count as 0. */
  observe(value: number): void {
    const known = value > 0 ? value : 0
    const index = bucketOf(known)
    if (index >= this.#counts.length) this.#grow(index)
    this.#counts[index] = this.#counts[index]! + 1
    this.count++
    this.sum += known
    if (known > this.max) this.max = known
  }

  /** Adds what the other has counted. */
  merge(other: LogLinear): void {
    const counts = other.#counts
    if (counts.length > this.#counts.length) this.#grow(counts.length - 1)
    for (let index = 0; index < counts.length; index++) this.#counts[index]! += counts[index]!
    this.count += other.count
    this.sum += other.sum
    this.max = Math.max(this.max, other.max)
  }

  /** @param share 0..1. @returns The value that this share of the values does not exceed; 0 when there are none. */
  quantile(share: number): number {
    if (this.count === 0) return 0
    const wanted = Math.max(1, Math.ceil(share * this.count))
    let seen = 0
    for (let index = 0; index < this.#counts.length; index++) {
      const inBucket = this.#counts[index]!
      if (seen + inBucket < wanted) {
        seen += inBucket
        continue
      }
      // Within a bucket the values are taken to lie evenly.
      const low = lowerBound(index)
      return Math.min(this.max, low + ((upperBound(index) - low) * (wanted - seen)) / inBucket)
    }
    return this.max
  }

  /** How many values were at most 2^exponent, for each of these ascending exponents. */
  countsUpTo(exponents: readonly number[]): number[] {
    let index = 0
    let seen = 0
    return exponents.map((exponent) => {
      const end = Math.min(this.#counts.length, bucketOf(2 ** exponent) + 1)
      while (index < end) seen += this.#counts[index++]!
      return seen
    })
  }

  #grow(index: number): void {
    let length = this.#counts.length
    while (length <= index) length *= 2
    const grown = this.#counts instanceof Float64Array ? new Float64Array(length) : new Uint32Array(length)
    grown.set(this.#counts)
    this.#counts = grown
  }
}

/** The bucket of a value that is not negative. */
export function bucketOf(value: number): number {
  // One less, so that a power of two is the last value of its bucket and not the first of the next (L1).
  const whole = value > 1 ? Math.ceil(Math.min(value, VALUE_MAX)) - 1 : 0
  return whole < 0x8000_0000 ? bucketOfInt(whole) : bucketOfInt(Math.floor(whole / 65_536)) + 16 * SUB_COUNT
}

function bucketOfInt(whole: number): number {
  if (whole < SUB_COUNT) return whole
  const shift = 31 - SUB_BITS - Math.clz32(whole)
  return ((shift + 1) << SUB_BITS) + ((whole >>> shift) & (SUB_COUNT - 1))
}

/** Exclusive. */
export function lowerBound(index: number): number {
  if (index < SUB_COUNT) return index
  return (SUB_COUNT + (index & (SUB_COUNT - 1))) * 2 ** ((index >> SUB_BITS) - 1)
}

/** Inclusive. */
export function upperBound(index: number): number {
  return lowerBound(index + 1)
}
