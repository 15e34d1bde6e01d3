/** Goal: a value is where the axis says it is, and ticks are round numbers that hold all values. Method: generated values, and known ones. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fineLogScale, linearScale, logScale, say } from './scale.ts'

const amounts = fc.array(fc.double({ min: 1e-9, max: 1e12, noNaN: true }), { minLength: 1, maxLength: 10 })

test('a linear axis begins at zero, ends at a tick, and keeps proportions', () => {
  fc.assert(fc.property(amounts, (values) => {
    const { at, ticks, domain } = linearScale({ values, range: [100, 300] })
    assert.deepEqual([domain[0], ticks[0], ticks.at(-1)], [0, 0, domain[1]])
    assert(domain[1] >= Math.max(...values) * (1 - 1e-9) && ticks.length >= 2 && ticks.length <= 12, String(ticks))
    for (const value of values) assert(Math.abs(at(value) - (100 + (200 * value) / domain[1])) < 1e-6)
  }))
  assert.deepEqual(linearScale({ values: [232], range: [0, 1] }).ticks, [0, 50, 100, 150, 200, 250])
  assert.deepEqual(linearScale({ values: [], range: [0, 1] }).domain[0], 0)
})

test('a logarithmic axis goes from power to power, and equal ratios are equal lengths', () => {
  fc.assert(fc.property(amounts, fc.constantFrom(2 as const, 10 as const), (values, base) => {
    const { at, ticks, domain } = logScale({ values, range: [0, 1000], base })
    for (const value of values) assert(at(value) >= -1e-6 && at(value) <= 1000 + 1e-6, `${value} in ${domain.join()}`)
    const steps = ticks.slice(1).map((tick, index) => at(tick) - at(ticks[index]!))
    for (const step of steps) assert(Math.abs(step - steps[0]!) < 1e-6)
  }))
  assert.deepEqual(logScale({ values: [60, 6435], range: [0, 1] }).ticks, [10, 100, 1000, 10_000])
  assert.deepEqual(logScale({ values: [1, 64], range: [0, 1], base: 2 }).ticks, [1, 2, 4, 8, 16, 32, 64])
})

test('numbers are said with three digits', () => {
  assert.deepEqual([0, 0.004217, 0.5, 9.504, 12.34, 232, 8057.2, 1e6].map(say), ['0', '0.0042', '0.5', '9.5', '12.3', '232', '8\u202f057', '1\u202f000\u202f000'])
})

test('a fine logarithmic axis begins and ends at 1, 2 or 5 times a power, close to the values', () => {
  fc.assert(fc.property(amounts, (values) => {
    const { at, ticks, domain } = fineLogScale({ values, range: [0, 1000] })
    for (const value of values) assert(at(value) >= -1e-6 && at(value) <= 1000 + 1e-6, `${value} in ${domain.join()}`)
    assert(ticks.length >= 2 && ticks[0] === domain[0] && ticks.at(-1) === domain[1], ticks.join())
    for (const [index, tick] of ticks.entries()) assert(index === 0 || tick > ticks[index - 1]!, ticks.join())
    if (ticks.length <= 9 && Math.max(...values) / Math.min(...values) < 100) assert(domain[0] >= Math.min(...values) / 2.51 && domain[1] <= Math.max(...values) * 2.51 * 2, domain.join())
  }))
  assert.deepEqual(fineLogScale({ values: [1.3, 62], range: [0, 1] }).ticks, [1, 2, 5, 10, 20, 50, 100])
  assert.deepEqual(fineLogScale({ values: [], range: [0, 1] }).ticks, [1, 2, 5, 10])
  assert.deepEqual(fineLogScale({ values: [5], range: [0, 1] }).ticks, [5, 10])
  assert.deepEqual(fineLogScale({ values: [1, 1e6], range: [0, 1] }).ticks, [1, 10, 100, 1000, 10_000, 100_000, 1_000_000])
})
