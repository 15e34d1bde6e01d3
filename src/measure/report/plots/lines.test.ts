/** Goal: a panel of lines is readable, and what it leaves out changes no shape. Method: points and labels of the drawn elements. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { distribution, distributionOfMany, linePanel } from './lines.ts'

test('a distribution of many samples keeps its ends, its tail, and its shape', () => {
  const sorted = Float64Array.from({ length: 100_000 }, (_, index) => index + 1)
  const points = distributionOfMany(sorted, 400)
  assert(points.length <= 401 && points.filter(({ y }) => y > 0.99).length >= 190, String(points.length))
  assert.deepEqual([points[0], points.at(-1)], [{ x: 1, y: 1 / 100_000 }, { x: 100_000, y: 1 }])
  for (const { x, y } of points) assert.equal(y, x / 100_000)
  fc.assert(fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 150 }), (samples) => {
    const few = Float64Array.from(samples).sort()
    assert.deepEqual(distributionOfMany(few, 800), distribution([...few]))
  }))
  assert.deepEqual(distributionOfMany(new Float64Array(0)), [])
})

test('labels below an axis do not touch, and each tick keeps its mark', () => {
  const amounts = fc.array(fc.double({ min: 1e-3, max: 1e7, noNaN: true }), { minLength: 2, maxLength: 5 })
  fc.assert(fc.property(amounts, fc.constantFrom('fine' as const, 'log' as const, 'linear' as const), (values, x) => {
    const drawn = linePanel({ x: 0, y: 0, width: 340, height: 300 }, { xLabel: '', yLabel: '', x, y: 'linear', series: [{ name: '', series: 0, points: values.map((value) => ({ x: value, y: 1 })) }], isUnnamed: true })
    const labels = drawn.flatMap((one) => {
      const match = /^<text class="muted small" x="([\d.]+)" y="277" text-anchor="middle">([^<]+)</.exec(one)
      return match === null ? [] : [{ at: Number(match[1]), half: match[2]!.length * 3.08 }]
    })
    const marks = drawn.filter((one) => one.startsWith('<line') && one.includes('y2="264"')).length
    assert(labels.length >= 2 && marks >= labels.length)
    for (const [index, one] of labels.entries()) assert(index === 0 || one.at - one.half > labels[index - 1]!.at + labels[index - 1]!.half, JSON.stringify(labels))
  }))
})

test('a scale of thousands in half a figure leaves labels out', () => {
  const drawn = linePanel({ x: 0, y: 0, width: 340, height: 300 }, { xLabel: '', yLabel: '', x: 'fine', y: 'linear', series: [{ name: '', series: 0, points: [{ x: 20, y: 1 }, { x: 9000, y: 1 }] }], isUnnamed: true }).join('')
  assert(drawn.includes('>1\u202f000<') && !drawn.includes('>2\u202f000<'))
})
