/**
 * Goal: a file means what JSON.parse says, and each of its values and errors has its line.
 *
 * Method: fast-check makes values and broken texts, and JSON.parse is asked about the same text.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { DEPTH_MAX, locate, placeOf, plainValue, readJson } from './json-text.ts'

describe('a JSON text', () => {
  test('is read as JSON.parse reads it, however it is spaced (T1, fuzz)', () => {
    fc.assert(fc.property(fc.jsonValue({ depthSize: 'small' }), fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
      const text = JSON.stringify(value, undefined, indent)
      const withoutNulls = JSON.parse(text, (_, inner) => (inner !== null && typeof inner === 'object' && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner as object).filter(([, member]) => member !== null)) : (inner as unknown)))
      assert.deepEqual(plainValue(readJson(text, 'x')), withoutNulls)
    }), { numRuns: 200 })
  })

  test('is refused where JSON.parse refuses it, with a place inside of the text (T1, fuzz)', () => {
    const pieces = fc.constantFrom('{', '}', '[', ']', ',', ':', '"a"', '"b\\n"', '"\\x"', '"', '1', '-0.5e3', '01', '1.', 'true', 'nul', 'null', ' ', '\n', '\u00a0', '\u0000')
    fc.assert(fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
      const text = parts.join('')
      const parses = ((): boolean => {
        try {
          JSON.parse(text)
          return true
        } catch {
          return false
        }
      })()
      try {
        readJson(text, 'f.json')
        assert(parses, text)
      } catch (error) {
        assert(error instanceof PlatformError && error.code === 'JSON_INVALID', String(error))
        const line = Number(error.details?.['line'])
        assert(line >= 1 && line <= text.split('\n').length)
        assert(!parses, text)
      }
    }), { numRuns: 2000 })
  })

  test('says line and column of what is wrong', () => {
    assert.throws(() => readJson('{\n  "a": 1,\n  "b": }\n', 'f.json'), { code: 'JSON_INVALID', message: 'f.json:3:8: expected a value, found "}\\n"' })
    assert.throws(() => readJson('{\n  "a": 1', 'f.json'), { code: 'JSON_INVALID', message: 'f.json:2:9: expected "," or "}", found the end of the file' })
  })

  test('is refused when it is nested too deep (T1)', () => {
    readJson('['.repeat(DEPTH_MAX) + ']'.repeat(DEPTH_MAX), 'f.json')
    assert.throws(() => readJson('['.repeat(100_000), 'f.json'), { code: 'JSON_INVALID' })
  })

  test('has a place for every path, and for one that leads nowhere that of what is missing it', () => {
    const text = '{\n "a": [\n  {},\n  {"b":\n   5}\n ]\n}'
    const lineOf = (...path: (string | number)[]): number => placeOf(text, locate(readJson(text, 'x'), path)).line
    assert.deepEqual([lineOf(), lineOf('a'), lineOf('a', 0), lineOf('a', 1, 'b'), lineOf('a', 1, 'missing'), lineOf('a', 7), lineOf('a', 1, 'b', 'deeper')], [1, 2, 3, 4, 4, 2, 4])
  })

  test('has the last of two values of a name, and tells where the second stands (T2)', () => {
    const repeated: [number, string][] = []
    const root = readJson('{"a": 1, "b": {"a": 2},\n"a": 3}', 'x', (at, name) => repeated.push([at, name]))
    assert.deepEqual(plainValue(root), { a: 3, b: { a: 2 } })
    assert.deepEqual(repeated, [[24, 'a']])
  })

  test('keeps "__proto__" an ordinary name', () => {
    assert.deepEqual(Object.keys(plainValue(readJson('{"__proto__": 1}', 'x')) as object), ['__proto__'])
  })
})
