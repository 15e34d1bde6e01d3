/**
 * Goal: whatever comes in as a colour is one, is none, or is refused with the limit named; as a number it is never "none", and its namespace's own.
 *
 * Method: a fuzz test of the parser with any JSON value, a table of the rest.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { COLOR_LENGTH_MAX, colorOf, NO_COLOR, parseColor } from './color.ts'
import { PlatformError } from './errors.ts'

describe('a colour', () => {
  test('is a short text, or none, or INPUT_INVALID, whatever comes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.string({ maxLength: 300 }), fc.constant(undefined)), (value) => {
        const isText = typeof value === 'string' && value.length <= COLOR_LENGTH_MAX
        if (value === undefined || isText) return assert.equal(parseColor(value), value === '' ? undefined : value)
        assert.throws(() => parseColor(value), (error) => error instanceof PlatformError && error.code === 'INPUT_INVALID' && /128/.test(error.message))
      }),
    )
  })

  test('is a signed 32-bit number that is not none, and another one in another namespace', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const color = colorOf('default', text)
        assert(color !== NO_COLOR && color === (color | 0))
        assert.equal(colorOf('default', text), color)
      }),
    )
    assert.notEqual(colorOf('a', 'user-7'), colorOf('b', 'user-7'))
    assert.notEqual(colorOf('a', 'b'), colorOf('ab', ''))
  })
})
