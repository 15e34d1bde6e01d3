/**
 * Goal: buckets lie where L1 says and quantiles are within an eighth of the truth.
 *
 * Method: exact checks at the powers of two, where off-by-one errors live, and a property over random values that
 * compares with sorting.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { LogLinear, bucketOf, lowerBound, upperBound } from './log-linear.ts'

describe('log-linear buckets', () => {
  test('a value lies above the lower and at most at the upper bound of its bucket (L1)', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-9, max: 2 ** 46, noNaN: true }), (value) => {
        const index = bucketOf(value)
        assert(lowerBound(index) < value && value <= upperBound(index), `${value} in (${lowerBound(index)}, ${upperBound(index)}]`)
      }),
    )
  })

  test('a power of two is the last value of its bucket, one more is in the next (L1)', () => {
    for (let exponent = 0; exponent <= 45; exponent++) {
      assert.equal(upperBound(bucketOf(2 ** exponent)), 2 ** exponent)
      assert.equal(bucketOf(2 ** exponent + 1), bucketOf(2 ** exponent) + 1)
    }
  })

  test('a bucket is at most an eighth of its values wide', () => {
    for (let index = 8; index < 300; index++) assert((upperBound(index) - lowerBound(index)) / lowerBound(index) <= 1 / 8)
  })
})

describe('LogLinear', () => {
  test('a quantile is within an eighth of the sorted value', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 10_000_000_000 }), { minLength: 1, maxLength: 200 }), fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
        const histogram = new LogLinear({ wide: false })
        for (const value of values) histogram.observe(value)
        const sorted = values.toSorted((a, b) => a - b)
        const exact = sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1]!
        const found = histogram.quantile(share)
        assert(found >= exact * (1 - 1 / 8) - 1 && found <= exact * (1 + 1 / 8) + 1, `${found} for ${exact}`)
      }),
    )
  })

  test('two of them add up', () => {
    const one = new LogLinear({ wide: false })
    const other = new LogLinear({ wide: false })
    one.observe(5)
    other.observe(5_000_000)
    one.merge(other)
    assert.deepEqual([one.count, one.sum, one.max, one.countsUpTo([3, 40])], [2, 5_000_005, 5_000_000, [1, 2]])
  })

  test('counts what is no sensible value as zero and what is too large as the largest', () => {
    const histogram = new LogLinear({ wide: true })
    for (const value of [-1, Number.NaN, 0, Infinity]) histogram.observe(value)
    assert.equal(histogram.count, 4)
    assert.deepEqual(histogram.countsUpTo([0, 1, 46]), [3, 3, 4])
  })

  test('has no quantile other than zero while empty', () => {
    assert.equal(new LogLinear({ wide: false }).quantile(0.99), 0)
  })
})
