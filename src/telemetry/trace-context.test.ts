/**
 * Goal: a valid traceparent is understood and kept, anything else is as good as none (W1, W2).
 *
 * Method: the examples of the specification, and a fuzz of near misses.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { acceptTraceparent, formatTraceparent, isSampled, ownTraceparent, parseTraceparent, spanIdOf } from './trace-context.ts'

const good = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
const id = '018bcfe568000123456789abcdef0123'

describe('traceparent', () => {
  test('reads the example of the specification', () => {
    assert.deepEqual(parseTraceparent(good), { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7', sampled: true })
  })

  test('reads what a later version says more, and other flags', () => {
    assert.equal(parseTraceparent(good.replace('00-', '01-') + '-what-else')?.sampled, true)
    assert.equal(parseTraceparent(good.slice(0, -2) + '02')?.sampled, false)
    assert.equal(parseTraceparent(good.slice(0, -2) + '03')?.sampled, true)
  })

  test('refuses what breaks the rules', () => {
    const bad = [
      undefined, '', good + '-x', good + ' ', good.toUpperCase(), good.replace('00-', 'ff-'), good.slice(0, -1), good.replace('4bf9', '4bg9'),
      good.replace(/4bf\w+/, '0'.repeat(32)), good.replace('00f067aa0ba902b7', '0'.repeat(16)), good.replaceAll('-', '_'), good.replace('00-', '01-') + 'x',
    ]
    for (const header of bad) assert.equal(parseTraceparent(header), undefined, header ?? 'none')
  })

  test('whatever parses formats to a valid header with the same meaning (W1)', () => {
    const near = fc.tuple(fc.nat(54), fc.string({ maxLength: 2 })).map(([at, text]) => good.slice(0, at) + text + good.slice(at + text.length))
    fc.assert(
      fc.property(fc.oneof(fc.string(), near), (header) => {
        const context = parseTraceparent(header)
        if (context === undefined) return
        assert.match(formatTraceparent(context), /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/)
        assert.deepEqual(parseTraceparent(formatTraceparent(context)), context)
      }),
      { numRuns: 1000 },
    )
  })
})

describe('the spans of an invocation', () => {
  test('keeps the caller\'s trace and its decision, and puts itself below (W2)', () => {
    const record = acceptTraceparent(good, id, 0)
    assert.equal(record, good)
    assert.equal(ownTraceparent(record, id, 1), `00-4bf92f3577b34da6a3ce929d0e0e4736-${id.slice(16)}-01`)
  })

  test('begins a trace with its own id where there is none', () => {
    assert.equal(acceptTraceparent('nonsense', id, 1), `00-${id}-${id.slice(16)}-01`)
    assert.equal(acceptTraceparent(undefined, id, 0), `00-${id}-${id.slice(16)}-00`)
  })

  test('another attempt is another span', () => {
    const spans = new Set([1, 2, 3, 100].map((attempt) => spanIdOf(id, attempt)))
    assert.equal(spans.size, 4)
    for (const span of spans) assert.match(span, /^[0-9a-f]{16}$/)
    assert.notEqual(spanIdOf('0'.repeat(32), 1), '0'.repeat(16))
  })

  test('samples the share that was asked for', () => {
    assert.equal(isSampled('f'.repeat(32), 1), true)
    assert.equal(isSampled('0'.repeat(32), 0), false)
    const hits = Array.from({ length: 1000 }, (_, index) => (Math.imul(index, 0x9e3779b1) >>> 0).toString(16).padStart(32, '0')).filter((one) => isSampled(one, 0.25))
    assert(hits.length > 200 && hits.length < 300)
  })
})
