/**
 * Goal: the burst decision gives short waits with few instances, for functions it has never seen.
 *
 * Method: stories. A burst of invocations arrives at a simulated platform of 2 cores with no instance of the function; a
 * start takes 10 ms, 8 of them on a core. No real time passes. The bounds are the product's promises for such bursts.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Engine } from './engine.ts'
import { functionDefaults, percentile, SimulatedFunction } from './platform.ts'
import type { FunctionOptions, FunctionResult } from './platform.ts'
import { seededRandom } from '#base/seeded-random.ts'

interface Story {
  readonly count: number
  readonly computeUs: number
  readonly waitUs?: number
  readonly cores?: number
  /** Bursts of the same, so many µs apart. */
  readonly atUs?: readonly number[]
  readonly options?: Partial<FunctionOptions>
}

interface Outcome extends FunctionResult {
  readonly p50Ms: number
  readonly p99Ms: number
}

function tell({ count, computeUs, waitUs = 0, cores = 2, atUs = [0], options = {} }: Story): Outcome {
  const engine = new Engine(cores)
  const simulated = new SimulatedFunction(engine, { ...functionDefaults, ...options }, seededRandom(1))
  for (const time of atUs) {
    for (let index = 0; index < count; index++) engine.at(time, () => simulated.invoke({ atUs: time, computeUs, waitUs }))
  }
  engine.run()
  const { result } = simulated
  assert.equal(result.latenciesUs.length, count * atUs.length, 'no invocation is lost')
  assert.equal(simulated.instances.length + simulated.starting, 0, 'all instances return to zero')
  const outcome = { ...result, p50Ms: percentile(result.latenciesUs, 0.5) / 1000, p99Ms: percentile(result.latenciesUs, 0.99) / 1000 }
  return outcome
}

describe('a burst at a function with no instance', () => {
  test('500 that return at once: the slowest takes less than twice the median, on no more instances than cores', () => {
    const { p50Ms, p99Ms, startedCount } = tell({ count: 500, computeUs: 30 })
    assert(p99Ms / p50Ms < 2, `p99 ${p99Ms} ms, p50 ${p50Ms} ms`)
    assert(startedCount <= 2, `${startedCount} starts`)
  })

  test('100 that wait 1 s, 100 of them in one instance: all of them share a few', () => {
    const { p99Ms, startedCount } = tell({ count: 100, computeUs: 100, waitUs: 1e6 })
    assert(p99Ms < 1_100, `p99 ${p99Ms} ms`)
    assert(startedCount <= 3, `${startedCount} starts`)
  })

  test('100 that wait 1 s, one at a time in an instance: p99 under 2.5 s, never many starts at once', () => {
    const { p99Ms, startingPeak } = tell({ count: 100, computeUs: 100, waitUs: 1e6, options: { concurrency: 1 } })
    assert(p99Ms < 2_500, `p99 ${p99Ms} ms`)
    assert(startingPeak <= 8, `${startingPeak} starts at once`)
  })

  test('100 that block 1 s without saying so: the idle CPU tells, and p99 stays under 2.5 s', () => {
    const { p99Ms, startingPeak } = tell({ count: 100, computeUs: 100, waitUs: 1e6, options: { waitingReported: false, concurrency: 1 } })
    assert(p99Ms < 2_500, `p99 ${p99Ms} ms`)
    assert(startingPeak <= 8, `${startingPeak} starts at once`)
  })

  for (const concurrency of [1, 16, 100]) {
    test(`100 that compute 100 ms on 2 cores, concurrency ${concurrency}: two instances, and within 1.1 of what the cores can do`, () => {
      const { latenciesUs, startedCount } = tell({ count: 100, computeUs: 100_000, options: { concurrency } })
      const longestMs = Math.max(...latenciesUs) / 1000
      assert(longestMs < 1.1 * 5_000, `${longestMs} ms`)
      assert(startedCount <= 3, `${startedCount} starts`)
    })
  }

  test('the same on 8 cores uses the eight', () => {
    const { latenciesUs, startedCount } = tell({ count: 100, computeUs: 100_000, cores: 8 })
    const longestMs = Math.max(...latenciesUs) / 1000
    assert(longestMs < 1.2 * 1_300, `${longestMs} ms`)
    assert(startedCount <= 9, `${startedCount} starts`)
  })

  test('two at once that compute 100 ms: the second does not queue behind the first', () => {
    const { latenciesUs, startedCount } = tell({ count: 2, computeUs: 100_000 })
    assert(Math.max(...latenciesUs) < 150_000)
    assert.equal(startedCount, 2)
  })

  test('a second burst finds the instances of the first', () => {
    const { startedCount, p99Ms } = tell({ count: 100, computeUs: 100, waitUs: 1e6, atUs: [0, 5e6, 10e6] })
    assert(startedCount <= 3, `${startedCount} starts`)
    assert(p99Ms < 1_100)
  })
})

describe('the classical extremes', () => {
  test('never-queue starts an instance for each of 100 that compute 100 ms, and is slower for it', () => {
    const never = tell({ count: 100, computeUs: 100_000, options: { policy: { policy: 'never-queue' } } })
    const predict = tell({ count: 100, computeUs: 100_000 })
    assert.equal(never.startedCount, 100)
    assert(predict.p50Ms < never.p50Ms)
  })

  test('queue-up-to 100 keeps 100 that compute 100 ms on one of two cores', () => {
    const queue = tell({ count: 100, computeUs: 100_000, options: { policy: { policy: 'queue-up-to', depth: 100 } } })
    const predict = tell({ count: 100, computeUs: 100_000 })
    assert(queue.startedCount <= 2)
    assert(predict.p99Ms < 0.6 * queue.p99Ms)
  })
})
