/**
 * Goal: a result is what statistics.ts and histogram.ts make of the samples, and says nothing that they don't.
 *
 * Method: samples of a known distribution go in one by one; percentiles are compared with those of the sorted values.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { decodeHistogram } from './histogram.ts'
import { latenciesOf, Tally } from './run-result.ts'
import { percentile, sortSamples } from './statistics.ts'

const answer = { requestId: '', timestamps: [], start: 'unknown', phases: undefined } as const

describe('a tally', () => {
  test('has every latency, however many, and their percentiles exactly', () => {
    const tally = new Tally()
    const values = Array.from({ length: 10_000 }, (_, index) => ((index * 7919) % 10_000) / 7)
    for (const latencyMs of values) tally.add({ latencyMs, ...answer })
    const { latencies } = tally.result()
    const sorted = sortSamples(values)
    assert.deepEqual([latencies!.summary.count, latencies!.summary.p50, latencies!.summary.p99, latencies!.summary.p999], [10_000, ...[0.5, 0.99, 0.999].map((p) => percentile(sorted, p))])
    assert.deepEqual(tally.latenciesMs, Float64Array.from(values))
    const histogram = decodeHistogram(latencies!.histogram)
    assert.equal(histogram.count, 10_000)
    assert(Math.abs(histogram.percentile(0.99) / 1000 / percentile(sorted, 0.99) - 1) <= 0.001)
  })

  test('counts starts, and of phases and transfers only what was told', () => {
    const tally = new Tally()
    assert.deepEqual(tally.result(), { latencies: undefined, transfer: undefined, starts: { cold: 0, warm: 0, unknown: 0 }, phases: undefined })
    tally.add({ latencyMs: 1, ...answer, start: 'cold', timestamps: ['1000.5', '1001', '1003'], phases: { queue: 2, run: 5 } })
    tally.add({ latencyMs: 2, ...answer, start: 'warm', timestamps: ['1000'], phases: { queue: 4 } })
    const { starts, transfer, phases } = tally.result()
    assert.deepEqual(starts, { cold: 1, warm: 1, unknown: 0 })
    assert.deepEqual([transfer!.summary.count, transfer!.summary.p50], [1, 2.5])
    assert.deepEqual(phases, { queue: { p50: 2, p99: 4 }, run: { p50: 5, p99: 5 } })
  })
})

test('intervals are there when there are samples enough, and absent before', () => {
  const intervalsOf = (count: number): string[] => Object.keys(latenciesOf(Float64Array.from({ length: count }, (_, index) => index))!.intervals)
  assert.deepEqual([1, 367, 368, 3687, 3688].map(intervalsOf), [[], ['p50'], ['p50', 'p99'], ['p50', 'p99'], ['p50', 'p99', 'p999']])
})
