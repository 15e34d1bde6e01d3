/**
 * Goal: whatever a faaslet host says about a start, what is kept of it are figures. Method: generated values, and a few known ones.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bandwidthMbPerS, readStartFigures, snapshotFigureNames } from './start-figures.ts'

test('keeps the figures that are some, and leaves out the rest', () => {
  const sent = { start: 'snapshot', mode: 'reap', restoreUs: 15_000, pagesPrefetched: 1965, pagesFaulted: 2, bytesRead: 8_056_832, readUs: 14_000.5 }
  assert.deepEqual(readStartFigures(sent), sent)
  assert.deepEqual(readStartFigures({ ...sent, mode: 'magic', restoreUs: '1', pagesFaulted: -1, bytesRead: NaN, pagesUnused: {}, more: 'x'.repeat(1000) }), { start: 'snapshot', restoreUs: 0, pagesPrefetched: 1965, readUs: 14_000.5 })
})

test('does not take for a start what is none', () => {
  for (const sent of [null, undefined, 1, 'snapshot', [], {}, { start: 'tepid', restoreUs: 1 }]) assert.equal(readStartFigures(sent), undefined)
})

test('gives numbers that a record can keep, or nothing, for any JSON', () => {
  const figure = fc.oneof(fc.double(), fc.jsonValue(), fc.nat())
  const start = fc.oneof(fc.constantFrom('cold', 'snapshot', 'warm'), fc.jsonValue())
  const sent = fc.record({ start, mode: figure, restoreUs: figure, ...Object.fromEntries(snapshotFigureNames.map((name) => [name, figure])) }, { requiredKeys: [] })
  fc.assert(fc.property(fc.oneof(sent, fc.jsonValue()), (value) => {
    const figures = readStartFigures(value)
    if (figures === undefined) return
    for (const [name, kept] of Object.entries(figures)) {
      if (name === 'start' || name === 'mode') assert.equal(typeof kept, 'string')
      else assert(Number.isFinite(kept) && (kept as number) >= 0, name)
    }
  }))
})

test('the bandwidth is that of the prefetched content', () => {
  assert.equal(bandwidthMbPerS({ pagesPrefetched: 1000, readUs: 4096 }), 1000)
  assert.equal(bandwidthMbPerS({ pagesPrefetched: 1000 }), undefined)
  assert.equal(bandwidthMbPerS({ readUs: 10 }), undefined)
})
