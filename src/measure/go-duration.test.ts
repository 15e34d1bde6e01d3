/**
 * Goal: a duration is what Go's time.ParseDuration takes it for.
 *
 * Method: examples from Go's documentation and tests; durations put together of known parts; any text.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseGoDuration } from './go-duration.ts'

test('durations of the experiments and of Go\'s own tests have their length', () => {
  for (const [text, ms] of [
    ['0ms', 0], ['0s', 0], ['1s', 1000], ['1.5ms', 1.5], ['5ms', 5], ['1000ms', 1000], ['0', 0], ['+0', 0], ['-0', 0], ['-5s', -5000], ['+5s', 5000], ['5.s', 5000], ['.5s', 500], ['1.004s', 1004],
    ['100.00100s', 100_001], ['10ns', 1e-5], ['11us', 0.011], ['12\u00b5s', 0.012], ['12\u03bcs', 0.012], ['3h30m', 12_600_000], ['10.5s4m', 250_500], ['1h2m3s4ms5us6ns', 3_723_004.005006],
    ['39h9m14.425s', 140_954_425], ['0.3333333333333333333h', 1_200_000 - 1e-6], ['0.9ns', 0],
  ] as const) assert.equal(parseGoDuration(text), ms, text)
})

test('what Go refuses is refused', () => {
  for (const text of ['', '3', '-', 's', '.', '-.', '.s', '+.s', '1 s', '1S', '1d', '1s ', ' 1s', '--1s', '1e3s', '1,5s', '9223372036854775810ns', '3000000h', '\u0085']) assert.equal(parseGoDuration(text), undefined, JSON.stringify(text))
})

test('parts add up (fuzz)', () => {
  const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
  const part = fc.record({ amount: fc.nat(999), unit: fc.constantFrom('ms', 's', 'm', 'h') })
  fc.assert(fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), (parts) => {
    const ms = parts.reduce((sum, { amount, unit }) => sum + amount * units[unit], 0)
    assert.equal(parseGoDuration(parts.map(({ amount, unit }) => `${amount}${unit}`).join('')), ms)
  }))
})

test('any text is a finite length or none (fuzz)', () => {
  const text = fc.oneof(fc.string(), fc.array(fc.constantFrom('1', '99', '.', '-', '+', 'm', 's', 'h', 'n', 'µ', '0'), { maxLength: 10 }).map((parts) => parts.join('')))
  fc.assert(fc.property(text, (given) => {
    const ms = parseGoDuration(given)
    assert(ms === undefined || Number.isFinite(ms))
  }), { numRuns: 1000 })
})
