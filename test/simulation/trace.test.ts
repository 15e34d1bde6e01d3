/**
 * Goal: on a mix of functions as users have them, no invocation is lost, everything returns to zero, and predicting is no
 * worse than the better of the two classical extremes, at the price of few instances.
 *
 * Method: a trace is replayed on one simulated worker under each burst policy: a synthetic one, and the sample of the Azure
 * Functions 2019 trace where it is there (in data/azure2019-sample, or in the directory that SKEP_TRACE_DIR names).
 * Overhead is latency less the invocation's own compute and wait. That nothing is lost must hold for any trace: its seed
 * is new each time (SEED=… repeats a failure). Which policy is better is a claim about the usual trace, not about each, and
 * is tested on fixed seeds. Seeds 100 to 180 were tried too: with two of them predict was beyond the tolerance, at 1.46
 * times the better extreme's p99 (seed 123, concurrency 100) and at 1.31 times, on an overloaded worker (seed 162, concurrency 1).
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { replay } from './replay.ts'
import type { ReplayResult } from './replay.ts'
import { azureTrace, syntheticTrace } from './trace.ts'
import type { TracedFunction } from './trace.ts'
import type { BurstPolicy } from '#contract/function-config.ts'
import { seededRandom, seedFromEnvironment } from '#base/seeded-random.ts'

const policies: readonly BurstPolicy[] = [{ policy: 'predict' }, { policy: 'never-queue' }, { policy: 'queue-up-to', depth: 100 }]

/** Prints and returns one result per policy, in their order. */
function compare(t: TestContext, trace: readonly TracedFunction[], seed: number, cores: number, concurrency: number): ReplayResult[] {
  return policies.map((policy) => {
    const result = replay(trace, policy, { cores, random: seededRandom(seed), options: { concurrency } })
    t.diagnostic(`SEED=${seed} cores=${cores} concurrency=${concurrency} ${policy.policy}: ${JSON.stringify(result, (_, value) => (typeof value === 'number' ? Number(value.toFixed(2)) : value))}`)
    return result
  })
}

describe('a mix of functions', () => {
  test('any synthetic trace: under each policy nothing is lost and all returns to zero', (t) => {
    const seed = seedFromEnvironment()
    t.diagnostic(`SEED=${seed}`)
    compare(t, syntheticTrace(20, 10, seededRandom(seed)), seed, 4, seed % 2 === 0 ? 1 : 100)
  })

  for (const concurrency of [1, 100]) {
    test(`synthetic traces, concurrency ${concurrency}: predict is about as good as the better extreme, with fewer instances than never-queue`, (t) => {
      for (const seed of [1, 2, 3]) isNoWorse(compare(t, syntheticTrace(20, 20, seededRandom(seed)), seed, 4, concurrency), seed)
    })
  }

  test('Azure Functions 2019 sample: nothing is lost, all returns to zero, predict is about as good as the better extreme', (t) => {
    const directory = process.env['SKEP_TRACE_DIR'] ?? join(import.meta.dirname, '../../data/azure2019-sample')
    const seed = 1
    const trace = azureTrace(directory, 30, seededRandom(seed))
    if (trace === undefined) return t.skip('no Azure Functions 2019 sample here; name its directory in SKEP_TRACE_DIR')
    isNoWorse(compare(t, trace, seed, 16, 100), seed)
  })
})

/** Predict against never-queue and queue-up-to: p99 within a quarter and 10 ms of the better, in no more instance time. */
function isNoWorse([predict, never, queue]: readonly ReplayResult[], seed: number): void {
  assert(predict !== undefined && never !== undefined && queue !== undefined)
  const best = Math.min(never.overheadMsP99, queue.overheadMsP99)
  assert(predict.overheadMsP99 <= 1.25 * best + 10, `p99 ${predict.overheadMsP99} ms against ${best} ms: SEED=${seed}`)
  assert(predict.instanceHours <= 1.1 * never.instanceHours, `${predict.instanceHours} instance hours against ${never.instanceHours}: SEED=${seed}`)
}
