/**
 * Goal: numbers come back to the last bit (B1), as ASCII, and damaged text ends (B2).
 *
 * Method: fast-check over doubles, whole numbers and the borders between their forms.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { NUMBER_BYTES_MAX, NumberReader, NumberWriter } from './record-numbers.ts'

const borders = [0, 1, 62, 63, 64, 4094, 4095, 4096, 2 ** 30 - 2, 2 ** 30 - 1, 2 ** 30, 2 ** 32, 2 ** 53 - 2, 2 ** 53 - 1, 2 ** 53, -1, 0.1, 1e-7, 5e-324, Infinity, -Infinity, NaN]
const number = fc.oneof(fc.constantFrom(...borders), fc.nat(10_000), fc.maxSafeNat(), fc.double(), fc.nat(1_000_000).map((thousandths) => thousandths / 1000))

describe('numbers', () => {
  test('come back as they were, in at most eleven ASCII bytes each (B1)', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(number, fc.boolean()), { maxLength: 300 }), (values) => {
        const writer = new NumberWriter()
        for (const [value, inThousandths] of values) {
          writer.reserve(1)
          const before = writer.length
          if (inThousandths) writer.addThousandths(value)
          else writer.add(value)
          assert(writer.length - before <= NUMBER_BYTES_MAX)
        }
        const text = writer.text()
        // eslint-disable-next-line no-control-regex
        assert.match(text, /^[\x00-\x7f]*$/)
        const reader = new NumberReader(`before${text}`, 6)
        for (const [value, inThousandths] of values) assert.equal(inThousandths ? reader.nextThousandths() : reader.next(), Object.is(value, -0) ? 0 : value)
        assert.equal(reader.left, 0)
      }),
      { numRuns: 500 },
    )
  })

  test('of up to 62 take a byte, up to 4094 two', () => {
    const writer = new NumberWriter()
    writer.add(62)
    assert.equal(writer.length, 1)
    writer.add(4094)
    assert.equal(writer.length, 3)
    writer.clear()
    assert.deepEqual([writer.length, writer.text()], [0, ''])
  })

  test('of damaged text are some number or an error, and reading ends (B2)', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        const reader = new NumberReader(text, 0)
        try {
          while (reader.left > 0) reader.next()
        } catch (error) {
          assert(error instanceof RangeError)
        }
      }),
    )
    assert.throws(() => new NumberReader('\x7f'.repeat(100), 0).next(), RangeError)
    const past = new NumberReader('', 0)
    past.next()
    assert(past.left < 0)
  })
})
