/**
 * Remembers how concurrent a function was, as time-weighted averages over a sliding window.
 *
 * A sample taken now and then would miss what happens between samples: an invocation of 2 ms, or a burst. So each change
 * is recorded, and the window holds the integral of concurrency over time in a ring of buckets.
 *
 *   now-window                                        now
 *      ┊ ├──────┼──────┼──────┼──────┼──────┼──────┼───┊   each bucket: ∫ concurrency dt, in invocation-ms
 *       ╰ this one counts in proportion to what of it is inside
 *
 * Time is handed in and never runs backwards (a smaller time than before is taken for the one before).
 *
 * Invariants:
 *   W1. `record` allocates nothing and costs O(1): a bucket is cleared once per passing, so also over many calls.
 *   W2. The average is exactly 0 only if concurrency was 0 during the whole window; it may stay above 0 for up to one
 *       bucket longer.
 *   W3. The average differs from the true one by at most what the bucket on the far edge holds.
 */
import assert from 'node:assert/strict'

export interface WindowOptions {
  /** The longest window that may be asked for, ms. */
  readonly windowMsMax: number
  /** Resolution, ms. Higher: less memory (8 bytes per bucket), coarser edges. */
  readonly bucketMs: number
}

export const windowDefaults: WindowOptions = { windowMsMax: 60_000, bucketMs: 1_000 }

export class ConcurrencyWindow {
  readonly #bucketMs: number
  readonly #buckets: Float64Array
  /** Number, since time 0, of the bucket that `#atMs` lies in. */
  #bucket: number
  readonly #beganMs: number
  #atMs: number
  #concurrency = 0

  /** @param atMs When the function was first seen. */
  constructor(atMs: number, { windowMsMax, bucketMs }: WindowOptions = windowDefaults) {
    assert(bucketMs > 0 && windowMsMax >= bucketMs)
    this.#bucketMs = bucketMs
    // One more than fit the window, for the bucket that is only partly inside.
    this.#buckets = new Float64Array(Math.ceil(windowMsMax / bucketMs) + 1)
    this.#beganMs = atMs
    this.#atMs = atMs
    this.#bucket = Math.floor(atMs / bucketMs)
  }

  /** Concurrency is `concurrency` from `atMs` on. */
  record(atMs: number, concurrency: number): void {
    this.#advance(atMs)
    this.#concurrency = concurrency
  }

  /** Average over the last `windowMs` (at most windowMsMax) before `atMs`; over the function's life while that is shorter. */
  average(atMs: number, windowMs: number): number {
    assert(windowMs <= (this.#buckets.length - 1) * this.#bucketMs)
    this.#advance(atMs)
    const fromMs = this.#atMs - windowMs
    let integral = 0
    // Younger than this bucket are inside as a whole; the present one ends now, so what it holds is inside too.
    const oldest = Math.max(Math.floor(fromMs / this.#bucketMs), this.#bucket - this.#buckets.length + 1)
    for (let bucket = Math.max(0, oldest + 1); bucket <= this.#bucket; bucket++) integral += this.#buckets[this.#slot(bucket)]!
    if (oldest >= 0 && oldest < this.#bucket) {
      const insideShare = Math.min(1, oldest + 1 - fromMs / this.#bucketMs)
      integral += this.#buckets[this.#slot(oldest)]! * insideShare
    } else if (oldest === this.#bucket) {
      integral = this.#buckets[this.#slot(oldest)]!
    }
    // The first moments of a life would be a division by almost nothing.
    const lifeMs = Math.max(this.#atMs - this.#beganMs, Math.min(this.#bucketMs, windowMs))
    return integral / Math.min(windowMs, lifeMs)
  }

  /** What is running now. */
  get concurrency(): number {
    return this.#concurrency
  }

  #advance(atMs: number): void {
    if (atMs <= this.#atMs) return
    const bucket = Math.floor(atMs / this.#bucketMs)
    if (bucket === this.#bucket) {
      this.#buckets[this.#slot(bucket)]! += this.#concurrency * (atMs - this.#atMs)
    } else {
      const beganMs = (this.#bucket + 1) * this.#bucketMs
      this.#buckets[this.#slot(this.#bucket)]! += this.#concurrency * (beganMs - this.#atMs)
      // Buckets passed as a whole; after a long silence only the last ring's worth is still of interest.
      const firstKept = Math.max(this.#bucket + 1, bucket - this.#buckets.length + 1)
      for (let passed = firstKept; passed < bucket; passed++) this.#buckets[this.#slot(passed)] = this.#concurrency * this.#bucketMs
      this.#buckets[this.#slot(bucket)] = this.#concurrency * (atMs - bucket * this.#bucketMs)
      this.#bucket = bucket
    }
    this.#atMs = atMs
  }

  #slot(bucket: number): number {
    return bucket % this.#buckets.length
  }
}
