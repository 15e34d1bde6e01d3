/** Goal: a result that the client made says so, and only such a one. Method: histograms at the limits. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Histogram } from '../histogram.ts'
import { bottleneckOf, latenessOf } from './lateness.ts'
import type { DriverLoad } from './lateness.ts'

/** @param late How many of 1000 requests were 1.5 ms late; the others 10 µs. */
function load(late: number, busy?: number): DriverLoad {
  const lateness = new Histogram()
  for (let index = 0; index < 1000; index++) lateness.record(index < late ? 1500 : 10)
  return { lateness, notSent: 3, busy }
}

describe('the driver', () => {
  test('tells its lateness in milliseconds, and zeros when it has sent nothing', () => {
    assert.deepEqual(latenessOf(load(11)), { p50: 0.01, p99: 1.5, max: 1.5, notSent: 3 })
    assert.deepEqual(latenessOf({ lateness: new Histogram(), notSent: 0, busy: 0 }), { p50: 0, p99: 0, max: 0, notSent: 0 })
  })

  test('was the bottleneck when more than one in a hundred left a millisecond late', () => {
    assert.equal(bottleneckOf(load(10), { openLoop: true }), undefined)
    assert.match(bottleneckOf(load(11), { openLoop: true })!, /driver was the bottleneck: one request in a hundred left 1\.5 ms .* lower the rate/)
    assert.match(bottleneckOf(load(11), { openLoop: false })!, /smaller bursts/)
  })

  test('was the bottleneck when its thread had no time', () => {
    assert.equal(bottleneckOf(load(0, 0.9), { openLoop: false }), undefined)
    assert.match(bottleneckOf(load(0, 0.95), { openLoop: false })!, /driver was the bottleneck: its thread computed 95 % of the time/)
  })
})
