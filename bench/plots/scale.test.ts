/** Goal: a value is where the axis says it is, and ticks are round numbers that hold all values. Method: generated values, and known ones. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { linearScale, logScale, say } from './scale.ts'
import { thesisClaims, thesisConcurrency, thesisDesigns, thesisFunctions } from './thesis-values.ts'

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

test('the thesis\'s values agree with what its text says of them', () => {
  const ratios = thesisFunctions.map((one) => one.lazyMs / one.reapMs)
  const geometric = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length)
  assert.equal(thesisFunctions.length, 10)
  // "3.7× on average", "1.04-9.7×" (5.3.3).
  assert(Math.abs(geometric - thesisClaims.meanSpeedUp) < 0.1, String(geometric))
  assert(Math.abs(Math.min(...ratios) - 1.04) < 0.01 && Math.abs(Math.max(...ratios) - 9.7) < 0.15)
  // "8-99MB, which is 3-39%" (4.3.3); "around 2-3 pages for all functions except lr_training" (4.3.2); "over 76%" (4.3.4).
  assert.deepEqual([Math.min(...thesisFunctions.map((one) => one.workingSetMb)), Math.max(...thesisFunctions.map((one) => one.workingSetMb))], [8, 99])
  for (const one of thesisFunctions) assert(one.name === 'lr_training' || (one.meanRunPages > 1.5 && one.meanRunPages < 3.5), one.name)
  assert(thesisFunctions.every((one) => one.samePages / (one.samePages + one.uniquePages) > 0.76))
  assert.equal(thesisDesigns.find((one) => one.design === 'reap')!.ms, thesisFunctions[0]!.reapMs)
  assert.deepEqual(thesisConcurrency.map((one) => one.points.map((point) => point.instances).join()), ['1,2,4,8,16,32,64', '1,2,4,8,16,32,64'])
})
