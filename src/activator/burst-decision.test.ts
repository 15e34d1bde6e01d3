/**
 * Goal: queue or start is decided by what is predicted, within every limit.
 *
 * Method: moments told by hand, with numbers that make the prediction easy to check in one's head (defaults: budget 2 ms,
 * prior 100 µs, start 10 ms from a stem cell, and a wait is worth a start at twice that). Random moments look for a broken
 * limit. Whole bursts, with time passing, are in test/simulation/burst.test.ts.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { activeCount, burstSettings, chooseInstance, FunctionHistory, handOverDepth, predictedStartUs, startCount, WAIT } from './burst-decision.ts'
import type { BurstLoad, BurstSettings } from './burst-decision.ts'
import type { InstanceLoad } from '#contract/instance-load.ts'

const NOW_US = 10_000_000
const MS = 1_000

function settings(over: Partial<Parameters<typeof burstSettings>[0]> = {}): BurstSettings {
  return burstSettings({ policy: { policy: 'predict' }, concurrency: 100, instancesMax: 1000, waitingReported: true, random: () => 0, ...over })
}

function known({ computeUs, runUs = computeUs }: { readonly computeUs: number; readonly runUs?: number }): FunctionHistory {
  const history = new FunctionHistory()
  history.observeCompute(computeUs)
  history.observeRun(runUs)
  return history
}

function instance(over: Partial<InstanceLoad> = {}): InstanceLoad {
  return { inFlight: 0, computing: 0, computingSinceUs: NOW_US, lastUsedUs: NOW_US, ...over }
}

/** One that has been computing one invocation for `ageUs`. */
function computing(ageUs: number): InstanceLoad {
  return instance({ inFlight: 1, computing: 1, computingSinceUs: NOW_US - ageUs, lastUsedUs: NOW_US - ageUs })
}

function load(over: Partial<BurstLoad>): BurstLoad {
  return { nowUs: NOW_US, queueLength: 1, startingCount: 0, cores: 2, stemCells: 1, ...over }
}

describe('the depth of hand-over', () => {
  test('is one while nothing is known, then as many as amount to the budget, within 1 and the concurrency', () => {
    assert.equal(handOverDepth(settings(), new FunctionHistory()), 1)
    assert.equal(handOverDepth(settings(), known({ computeUs: 50 })), 40)
    assert.equal(handOverDepth(settings({ concurrency: 16 }), known({ computeUs: 50 })), 16)
    assert.equal(handOverDepth(settings(), known({ computeUs: 100 * MS })), 1)
  })

  test('forgets a slow first call within a few', () => {
    const history = known({ computeUs: 3 * MS })
    for (let call = 0; call < 12; call++) history.observeCompute(50)
    assert(handOverDepth(settings(), history) >= 10)
  })

  test('hands over a trivial function deeply, and a long computation one by one', () => {
    const busy = [computing(100)]
    assert.equal(chooseInstance(settings(), known({ computeUs: 50 }), busy, NOW_US, 2), 0)
    assert.equal(chooseInstance(settings(), known({ computeUs: 100 * MS }), busy, NOW_US, 2), WAIT)
    assert.equal(chooseInstance(settings(), new FunctionHistory(), busy, NOW_US, 2), WAIT)
  })

  test('binds nothing more to an instance that takes unexpectedly long', () => {
    assert.equal(chooseInstance(settings(), known({ computeUs: 50 }), [computing(3 * MS)], NOW_US, 2), WAIT)
  })

  test('does not count those that wait', () => {
    const waiting = instance({ inFlight: 99 })
    assert.equal(chooseInstance(settings(), new FunctionHistory(), [waiting], NOW_US, 2), 0)
    waiting.inFlight = 100
    assert.equal(chooseInstance(settings(), new FunctionHistory(), [waiting], NOW_US, 2), WAIT)
  })
})

describe('predict', () => {
  test('starts the first instance for the first invocation, and no second while that is starting (Q3)', () => {
    assert.equal(startCount(settings(), new FunctionHistory(), [], load({})), 1)
    assert.equal(startCount(settings(), new FunctionHistory(), [], load({ startingCount: 1 })), 0)
  })

  test('waits for an instance that will be free sooner than a new one is ready', () => {
    const history = known({ computeUs: 100 * MS })
    assert.equal(startCount(settings(), history, [computing(90 * MS)], load({})), 0)
    assert.equal(startCount(settings(), history, [computing(10 * MS)], load({})), 1)
  })

  test('raises an unknown compute time by the age of what computes', () => {
    assert.equal(startCount(settings(), new FunctionHistory(), [computing(1 * MS)], load({ queueLength: 10 })), 0)
    assert.equal(startCount(settings(), new FunctionHistory(), [computing(5 * MS)], load({ queueLength: 10 })), 1)
  })

  test('without a stem cell a start takes longer, and queueing is worth more', () => {
    const history = known({ computeUs: 100 * MS })
    assert.equal(startCount(settings(), history, [computing(50 * MS)], load({ stemCells: 1 })), 1)
    assert.equal(startCount(settings(), history, [computing(50 * MS)], load({ stemCells: 0 })), 0)
    history.observeStart(5 * MS, false)
    assert.equal(predictedStartUs(settings(), history, 0), 5 * MS)
    assert.equal(startCount(settings(), history, [computing(50 * MS)], load({ stemCells: 0 })), 1)
  })

  test('does not start more computing instances than cores', () => {
    const history = known({ computeUs: 100 * MS })
    const moment = load({ queueLength: 98 })
    assert.equal(startCount(settings(), history, [computing(0), computing(0)], moment), 0)
    assert.equal(startCount(settings(), history, [computing(0)], { ...moment, startingCount: 1 }), 0)
    assert.equal(startCount(settings(), history, [computing(0), computing(0)], { ...moment, cores: 5 }), 3)
  })

  test('does, when those that occupy instances are seen to leave the CPU idle', () => {
    const history = new FunctionHistory()
    const blocked = [computing(200 * MS), computing(200 * MS)]
    const active = activeCount(settings(), blocked, 0)
    history.observeCpu(NOW_US - 50 * MS, 2, 1, active, settings())
    assert.equal(startCount(settings(), history, blocked, load({ queueLength: 98 })), 0, 'one look says nothing about what was before')
    history.observeCpu(NOW_US, 2, 0.98, active, settings())
    assert.equal(startCount(settings(), history, blocked, load({ queueLength: 98 })), 6, 'four times as many in all')
    history.observeCpu(NOW_US, 2, 0.05, active, settings())
    assert.equal(startCount(settings(), history, blocked, load({ queueLength: 98 })), 0)
    history.observeCpu(NOW_US, 2, 0.98, active, settings())
    const later = NOW_US + 300 * MS
    assert.equal(startCount(settings(), history, blocked, load({ queueLength: 98, nowUs: later })), 0, 'an old look does not count')
  })

  test('when all slots are taken by those that wait, compares the rest of their run with a start', () => {
    const history = known({ computeUs: 100, runUs: 1_000 * MS })
    const full = (ageUs: number): InstanceLoad => instance({ inFlight: 100, lastUsedUs: NOW_US - ageUs })
    assert.equal(startCount(settings(), history, [full(500 * MS)], load({ queueLength: 1 })), 1)
    assert.equal(startCount(settings(), history, [full(995 * MS)], load({ queueLength: 1 })), 0)
    assert.equal(startCount(settings(), history, [full(500 * MS)], load({ queueLength: 150 })), 2)
    assert.equal(startCount(settings(), history, [full(500 * MS)], load({ queueLength: 150, startingCount: 2 })), 0)
  })

  test('a trivial function that was measured at 0 µs still gets its first instance, and few for a burst at concurrency 1', () => {
    const one = settings({ concurrency: 1 })
    assert.equal(startCount(one, known({ computeUs: 0 }), [], load({})), 1)
    assert.equal(startCount(one, known({ computeUs: 10 }), [], load({ queueLength: 500, startingCount: 1, cores: 64 })), 0)
  })

  test('one invocation that hangs does not make others wait for ever', () => {
    const history = known({ computeUs: 50 })
    assert.equal(startCount(settings(), history, [computing(15 * MS)], load({})), 0)
    assert.equal(startCount(settings(), history, [computing(25 * MS)], load({})), 1)
  })

  test('one hung instance among others that flow asks for no further one', () => {
    const flowing = instance({ inFlight: 40, computing: 40, computingSinceUs: NOW_US - 20 })
    assert.equal(startCount(settings(), known({ computeUs: 50 }), [computing(500 * MS), flowing], load({ queueLength: 20, cores: 8 })), 0)
  })

  test('a runtime that never reports waiting gets more into one instance once the CPU is seen idle', () => {
    const quiet = settings({ waitingReported: false })
    const history = new FunctionHistory()
    const one = computing(100 * MS)
    assert.equal(chooseInstance(quiet, history, [one], NOW_US, 2), WAIT)
    history.observeCpu(NOW_US - 50 * MS, 2, 1, 1, quiet)
    history.observeCpu(NOW_US, 2, 1, 1, quiet)
    assert.equal(chooseInstance(quiet, history, [one], NOW_US, 2), 0)
    one.computing = one.inFlight = 4
    assert.equal(chooseInstance(quiet, history, [one], NOW_US, 2), WAIT)
  })
})

describe('the classical extremes', () => {
  test('never-queue gives each invocation an instance of its own', () => {
    const never = settings({ policy: { policy: 'never-queue' }, instancesMax: 50 })
    const history = known({ computeUs: 50 })
    assert.equal(chooseInstance(never, history, [computing(0)], NOW_US, 2), WAIT)
    assert.equal(chooseInstance(never, history, [computing(0), instance()], NOW_US, 2), 1)
    assert.equal(startCount(never, history, [computing(0)], load({ queueLength: 30, startingCount: 10 })), 20)
    assert.equal(startCount(never, history, [computing(0)], load({ queueLength: 100, startingCount: 10 })), 39)
  })

  test('queue-up-to starts one more for each so many, and hands over that many', () => {
    const queue = settings({ policy: { policy: 'queue-up-to', depth: 10 } })
    const history = new FunctionHistory()
    assert.equal(startCount(queue, history, [], load({ queueLength: 25 })), 3)
    const full = instance({ inFlight: 10, computing: 10 })
    assert.equal(chooseInstance(queue, history, [full], NOW_US, 2), WAIT)
    assert.equal(startCount(queue, history, [full], load({ queueLength: 5 })), 1)
    assert.equal(startCount(queue, history, [full], load({ queueLength: 5, startingCount: 1 })), 0)
    full.inFlight = full.computing = 9
    assert.equal(chooseInstance(queue, history, [full], NOW_US, 2), 0)
  })
})

test('at any moment every limit holds (Q2, Q3, Q4)', () => {
  const amount = fc.integer({ min: 0, max: 50 })
  const instances = fc.array(
    fc.record({ inFlight: amount, share: fc.double({ min: 0, max: 1, noNaN: true }), ageUs: fc.integer({ min: 0, max: 10_000_000 }), usedUs: fc.integer({ min: 0, max: 10_000_000 }) }),
    { maxLength: 12 },
  )
  const policy = fc.oneof(
    fc.constant({ policy: 'predict' as const }),
    fc.constant({ policy: 'never-queue' as const }),
    fc.integer({ min: 1, max: 100 }).map((depth) => ({ policy: 'queue-up-to' as const, depth })),
  )
  const past = fc.record({ computeUs: fc.integer({ min: -1, max: 10_000_000 }), runUs: fc.integer({ min: -1, max: 100_000_000 }), stemStartUs: fc.integer({ min: 0, max: 1_000_000 }), bootStartUs: fc.integer({ min: 0, max: 1_000_000 }) })
  const limits = fc.record({ concurrency: fc.integer({ min: 1, max: 50 }), instancesMax: fc.integer({ min: 1, max: 30 }), waitingReported: fc.boolean() })
  const moments = fc.record({ queueLength: fc.integer({ min: 0, max: 1_000 }), startingCount: fc.integer({ min: 0, max: 20 }), cores: fc.integer({ min: 1, max: 64 }), stemCells: fc.integer({ min: 0, max: 2 }) })
  fc.assert(
    fc.property(instances, policy, past, limits, moments, (drawn, chosenPolicy, before, limit, moment) => {
      const list = drawn.map(({ inFlight, share, ageUs, usedUs }) =>
        instance({ inFlight, computing: Math.floor(inFlight * share), computingSinceUs: NOW_US - ageUs, lastUsedUs: NOW_US - usedUs }),
      )
      const chosen = settings({ ...limit, policy: chosenPolicy })
      const history = Object.assign(new FunctionHistory(), before)
      const count = startCount(chosen, history, list, load(moment))
      const existing = list.length + moment.startingCount
      assert(Number.isInteger(count) && count >= 0)
      assert(count === 0 || existing + count <= chosen.instancesMax, 'Q2')
      if (moment.queueLength > 0 && existing === 0) assert(count >= 1, 'Q3')
      if (chosenPolicy.policy === 'predict') assert(count <= Math.max(0, moment.queueLength - moment.startingCount), 'Q4')
      const index = chooseInstance(chosen, history, list, NOW_US, moment.cores)
      assert(index === WAIT || list[index]!.inFlight < chosen.concurrency)
    }),
    { numRuns: 2_000 },
  )
})

test('chooseInstance allocates nothing (Q5)', () => {
  const one = settings()
  const history = known({ computeUs: 50 })
  const list = [instance(), instance(), instance()]
  const run = (count: number): number => {
    let sum = 0
    for (let call = 0; call < count; call++) sum += chooseInstance(one, history, list, NOW_US + call, 2)
    return sum
  }
  run(200_000)
  const before = process.memoryUsage().heapUsed
  run(200_000)
  assert(process.memoryUsage().heapUsed - before < 1_500_000)
})
