/**
 * Goal: a histogram says of latencies what the sorted latencies say, to three digits, also after its text was stored and read.
 *
 * Method: properties against sorting; bytes written by hand after the encoding's definition; damaged and random texts to the decoder.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { decodeHistogram, encodeHistogram, Histogram, VALUE_US_MAX } from './histogram.ts'
import { percentile, sortSamples } from './statistics.ts'

const latencies = fc.array(fc.oneof(fc.nat(3000), fc.integer({ min: 0, max: VALUE_US_MAX })), { minLength: 1, maxLength: 300 })

function of(values: Iterable<number>): Histogram {
  const histogram = new Histogram()
  for (const value of values) histogram.record(value)
  return histogram
}

/** The text of a payload, with right lengths and checksum. */
function textOf(payload: Buffer): string {
  const deflated = deflateSync(payload)
  const head = Buffer.alloc(8)
  head.writeInt32BE(0x1c849314, 0)
  head.writeInt32BE(deflated.length, 4)
  return Buffer.concat([head, deflated]).toString('base64')
}

const counts = (histogram: Histogram): unknown => [...histogram.buckets()]

describe('Histogram', () => {
  test('a percentile is the exact one or at most a thousandth above (H1)', () => {
    fc.assert(fc.property(latencies, fc.constantFrom(0, 0.25, 0.5, 0.9, 0.99, 0.999, 1), (values, p) => {
      const exact = percentile(sortSamples(values), p)
      const found = of(values).percentile(p)
      assert(found >= exact && found <= exact * 1.001, `${found} for ${exact}`)
    }))
  })

  test('values up to 2048 µs are exact, and so is the largest', () => {
    const histogram = of([0, 1, 2047, 2048, 123_456_789])
    assert.deepEqual([0.2, 0.4, 0.6, 0.8, 1].map((p) => histogram.percentile(p)), [0, 1, 2047, 2049, 123_456_789])
  })

  test('what is no sensible value counts as the nearest that is', () => {
    const histogram = of([-1, Number.NaN, 0.9, VALUE_US_MAX + 5, Infinity])
    assert.deepEqual(counts(histogram), [[0, 3], [VALUE_US_MAX, 2]])
    assert.equal(new Histogram().percentile(0.5), NaN)
  })

  test('merging is recording all in one (H3)', () => {
    fc.assert(fc.property(latencies, latencies, (one, other) => {
      const merged = of(one)
      merged.merge(of(other))
      assert.deepEqual([merged.count, merged.maxUs, counts(merged)], [one.length + other.length, of([...one, ...other]).maxUs, counts(of([...one, ...other]))])
    }))
  })
})

describe('the text', () => {
  test('gives the same counts and percentiles back (H4)', () => {
    fc.assert(fc.property(fc.oneof(latencies, fc.constant([])), (values) => {
      const histogram = of(values)
      const decoded = decodeHistogram(encodeHistogram(histogram))
      assert.equal(decoded.count, histogram.count)
      const lasts = [counts(decoded), counts(histogram)].map((all) => (all as [number, number][]).map(([, count]) => count))
      assert.deepEqual(lasts[0], lasts[1])
      assert(values.length === 0 || Math.abs(decoded.percentile(0.99) / histogram.percentile(0.99) - 1) <= 0.001 || histogram.percentile(0.99) === 0)
    }))
  })

  test('is short: 100,000 latencies take less than 8 KB', () => {
    const histogram = of(Array.from({ length: 100_000 }, (_, index) => 500 * (1 - Math.log1p(-index / 100_000))))
    const text = encodeHistogram(histogram)
    assert(text.length < 8192, `${text.length} characters`)
    assert(text.startsWith('HISTFAAA'), 'as the texts of every program with this encoding')
  })

  test('has the bytes of the V2 encoding, written by hand after its definition (H4)', () => {
    // Cookie, 4 bytes of counts, offset 0, 3 digits, lowest 1, highest 3,600,000,000, factor 1.0; then 7 zeros, 2 of 7 µs, 1016 zeros.
    const payload = Buffer.from(`1c849313${'00000004'}${'00000000'}${'00000003'}${'0000000000000001'}${'00000000d693a400'}${'3ff0000000000000'}${'0d04'}${'ef0f'}`, 'hex')
    assert.deepEqual(counts(decodeHistogram(textOf(payload))), [[7, 2]])
  })

  test('of anything else is refused, and never hangs (H4; fuzz)', () => {
    const good = encodeHistogram(of([1, 50, 50, 3000, 70_000]))
    const damaged = fc.tuple(fc.nat(good.length - 1), fc.constantFrom(...'AZaz09+/=!')).map(([at, character]) => good.slice(0, at) + character + good.slice(at + 1))
    const cut = fc.nat(good.length - 1).map((length) => good.slice(0, length))
    const bytes = fc.uint8Array({ maxLength: 200 }).map((random) => Buffer.from(random).toString('base64'))
    fc.assert(fc.property(fc.oneof(damaged, cut, bytes, fc.string(), fc.constant('')), (text) => {
      try {
        // Adler-32 of the deflated text finds changes; what passes is the text itself, or differs in bits that base64 does not use.
        assert.deepEqual(counts(decodeHistogram(text)), counts(decodeHistogram(good)))
      } catch (error) {
        assert(error instanceof PlatformError && error.code === 'INPUT_INVALID', String(error))
      }
    }), { numRuns: 2000 })
  })

  test('of counts under a right checksum is checked too (H4; fuzz)', () => {
    const header = Buffer.from('1c8493130000000000000000000000030000000000000001000000007fffffff3ff0000000000000', 'hex')
    assert.equal(decodeHistogram(textOf(header)).count, 0)
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), fc.option(fc.tuple(fc.nat(39), fc.nat(255))), (body, change) => {
      const payload = Buffer.concat([header, body])
      payload.writeInt32BE(body.length, 4)
      if (change !== null) payload[change[0]] = change[1]
      try {
        const decoded = decodeHistogram(textOf(payload))
        assert.equal([...decoded.buckets()].reduce((sum, [, count]) => sum + count, 0), decoded.count)
      } catch (error) {
        assert(error instanceof PlatformError && error.code === 'INPUT_INVALID', String(error))
      }
    }), { numRuns: 2000 })
  })
})
