/**
 * Latencies in little room: counts in log-linear buckets of microseconds, three significant digits, and a text that others can read.
 *
 * Buckets and text are those of HdrHistogram (Tene; Java's HdrHistogram 2.1, "V2" encoding, deflated, as base64: HISTFAAA…), so its plotters
 * read ours. Up to 2048 µs a value is counted exactly; above, a bucket is at most a thousandth of its values wide. Why not base/log-linear.ts: an eighth is too
 * wide to compare two platforms with. Why no library: perf_hooks has this histogram and gives out no counts; hdr-histogram-js brings
 * WebAssembly and a second zlib for these two functions.
 *
 *   value < 2048:  index = value                                                 ┌ 1024 buckets per further power of two
 *   else:          index = 1024 · e + (value >> e),  e = floor(log2 value) - 10 ─┘
 *
 *   H1. A percentile is not below the exact one of the recorded values, and at most a thousandth above.
 *   H2. `record` allocates nothing.
 *   H3. Merging histograms is recording all of their values in one.
 *   H4. Decoding what was encoded gives the same counts; any other text is INPUT_INVALID, and costs no more memory than one histogram.
 */
import { deflateSync, inflateSync } from 'node:zlib'
import { PlatformError } from '#contract/errors.ts'

const HALF_BITS = 10
const HALF = 1 << HALF_BITS
/** 71 minutes; what is longer counts as that. */
export const VALUE_US_MAX = 2 ** 32 - 1
const BUCKETS = indexOf(VALUE_US_MAX) + 1

/** Each has the encoding's "word size" in its second lowest digit, as the Java writers set it. */
const COOKIE = 0x1c849303 | 0x10
const COOKIE_DEFLATED = 0x1c849304 | 0x10
const HEADER_BYTES = 40
const SIGNIFICANT_DIGITS = 3
/** A count takes at most nine bytes. */
const PAYLOAD_BYTES_MAX = HEADER_BYTES + BUCKETS * 9

export class Histogram {
  readonly #counts = new Uint32Array(BUCKETS)
  count = 0
  /** Exact, unless decoded: then the upper end of its bucket. µs. */
  maxUs = 0

  /** Fractions are cut off; what is negative or no number counts as 0. */
  record(us: number): void {
    const value = us > 0 ? Math.min(Math.trunc(us), VALUE_US_MAX) : 0
    this.#counts[indexOf(value)]!++
    this.count++
    if (value > this.maxUs) this.maxUs = value
  }

  merge(other: Histogram): void {
    for (let index = 0, end = indexOf(other.maxUs); index <= end; index++) this.#counts[index]! += other.#counts[index]!
    this.count += other.count
    this.maxUs = Math.max(this.maxUs, other.maxUs)
  }

  /** @param p 0..1. The upper end of the bucket that holds the smallest value which the share p of all does not exceed, µs; NaN without values. */
  percentile(p: number): number {
    if (this.count === 0) return Number.NaN
    // The tolerance takes back what the product of a decimal fraction has too much.
    let left = Math.max(1, Math.ceil(p * this.count * (1 - 1e-12)))
    let index = 0
    while (left > this.#counts[index]!) left -= this.#counts[index++]!
    return Math.min(this.maxUs, highestOf(index))
  }

  /** Buckets that have counted something, in order: upper end in µs, and how many. For drawing a distribution. */
  *buckets(): Generator<readonly [us: number, count: number]> {
    for (let index = 0, end = indexOf(this.maxUs); index <= end; index++) {
      if (this.#counts[index]! > 0) yield [Math.min(this.maxUs, highestOf(index)), this.#counts[index]!]
    }
  }

  /** Adds to one bucket, for the decoder. */
  addToBucket(index: number, count: number): void {
    this.#counts[index]! += count
    this.count += count
    this.maxUs = Math.max(this.maxUs, highestOf(index))
  }

  countAt(index: number): number {
    return this.#counts[index]!
  }
}

export function encodeHistogram(histogram: Histogram): string {
  const end = histogram.count === 0 ? 0 : indexOf(histogram.maxUs) + 1
  const payload = Buffer.alloc(HEADER_BYTES + end * 9)
  let at = HEADER_BYTES
  for (let index = 0; index < end; index++) {
    let zeros = 0
    while (index + zeros < end && histogram.countAt(index + zeros) === 0) zeros++
    // A run of zeros is one negative number.
    at = writeZigZag(payload, at, zeros > 0 ? -zeros : histogram.countAt(index))
    if (zeros > 0) index += zeros - 1
  }
  payload.writeInt32BE(COOKIE, 0)
  payload.writeInt32BE(at - HEADER_BYTES, 4)
  payload.writeInt32BE(0, 8)
  payload.writeInt32BE(SIGNIFICANT_DIGITS, 12)
  payload.writeBigInt64BE(1n, 16)
  payload.writeBigInt64BE(BigInt(VALUE_US_MAX), 24)
  payload.writeDoubleBE(1, 32)
  const deflated = deflateSync(payload.subarray(0, at), { level: 9 })
  const head = Buffer.alloc(8)
  head.writeInt32BE(COOKIE_DEFLATED, 0)
  head.writeInt32BE(deflated.length, 4)
  return Buffer.concat([head, deflated]).toString('base64')
}

/** @throws INPUT_INVALID for what `encodeHistogram` has not written, or another program with other digits. */
export function decodeHistogram(text: string): Histogram {
  const payload = inflate(text)
  if (payload.length < HEADER_BYTES || payload.readInt32BE(0) !== COOKIE) throw invalid('has no header of the V2 encoding')
  if (payload.readInt32BE(4) !== payload.length - HEADER_BYTES) throw invalid(`says ${payload.readInt32BE(4)} bytes of counts and has ${payload.length - HEADER_BYTES}`)
  const [offset, digits, lowest, ratio] = [payload.readInt32BE(8), payload.readInt32BE(12), payload.readBigInt64BE(16), payload.readDoubleBE(32)]
  if (offset !== 0 || digits !== SIGNIFICANT_DIGITS || lowest !== 1n || ratio !== 1) {
    throw invalid(`has ${digits} significant digits from ${lowest}, offset ${offset} and factor ${ratio}; only 3 digits from 1, offset 0 and factor 1 are read`)
  }
  const histogram = new Histogram()
  let index = 0
  for (let at = HEADER_BYTES; at < payload.length;) {
    const { value, next } = readZigZag(payload, at)
    at = next
    if (value === 0) throw invalid('has a run of no zeros')
    if (value > 0) {
      if (index >= BUCKETS || value > 0xffff_ffff) throw invalid(`counts ${value} in bucket ${index}; buckets go up to ${BUCKETS - 1} and counts to ${0xffff_ffff}`)
      histogram.addToBucket(index, value)
    }
    index += value > 0 ? 1 : -value
  }
  return histogram
}

function inflate(text: string): Buffer {
  // Buffer.from skips what is no base64, so a damaged text would be read as another one.
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) throw invalid('is not base64')
  const bytes = Buffer.from(text, 'base64')
  if (bytes.length < 8 || bytes.readInt32BE(0) !== COOKIE_DEFLATED) throw invalid('does not begin as HISTFAAA')
  if (bytes.readInt32BE(4) !== bytes.length - 8) throw invalid(`says ${bytes.readInt32BE(4)} bytes and has ${bytes.length - 8}`)
  try {
    return inflateSync(bytes.subarray(8), { maxOutputLength: PAYLOAD_BYTES_MAX })
  } catch (cause) {
    throw invalid(`can't be inflated: ${(cause as Error).message}`, cause)
  }
}

function invalid(what: string, cause?: unknown): PlatformError {
  return new PlatformError('INPUT_INVALID', `the histogram ${what}; it must be as it was written, see measure/histogram.ts`, { cause })
}

/** @param value A whole number, 0 … VALUE_US_MAX. */
function indexOf(value: number): number {
  if (value < 2 * HALF) return value
  const exponent = 31 - HALF_BITS - Math.clz32(value)
  return (exponent << HALF_BITS) + (value >>> exponent)
}

/** The largest value of the bucket. */
function highestOf(index: number): number {
  if (index < 2 * HALF) return index
  const exponent = (index >> HALF_BITS) - 1
  return (HALF + (index & (HALF - 1)) + 1) * 2 ** exponent - 1
}

/** LEB128 of the zig-zag value: small numbers of either sign are short. */
function writeZigZag(bytes: Buffer, at: number, value: number): number {
  let rest = value < 0 ? -2 * value - 1 : 2 * value
  while (rest >= 128) {
    bytes[at++] = (rest % 128) + 128
    rest = Math.floor(rest / 128)
  }
  bytes[at++] = rest
  return at
}

function readZigZag(bytes: Buffer, from: number): { readonly value: number; readonly next: number } {
  let rest = 0
  for (let at = from, factor = 1; at < bytes.length && factor < 2 ** 49; at++, factor *= 128) {
    const byte = bytes[at]!
    rest += (byte % 128) * factor
    if (byte < 128) return { value: rest % 2 === 0 ? rest / 2 : -(rest + 1) / 2, next: at + 1 }
  }
  throw invalid(`has a count at byte ${from} that is cut off or too large`)
}
