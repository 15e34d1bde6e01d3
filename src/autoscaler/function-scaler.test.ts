/**
 * Goal: told of each invocation, the scaler wants as many instances as the function's load needs, and lets the idle go.
 *
 * Method: days in the life of a function, told by hand on a clock of numbers. The parts have tests of their own:
 * concurrency-window, scale-decision, keep-alive, hybrid-histogram.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { functionConfig } from '#contract/function-config.ts'
import type { FunctionConfigInput } from '#contract/function-config.ts'
import { FunctionScaler } from './function-scaler.ts'
import type { KeepAlive } from './keep-alive.ts'

const START_MS = 1_000_000
const MINUTE_MS = 60_000

function scaler(config: Partial<FunctionConfigInput> = {}, keepAlive?: KeepAlive): FunctionScaler {
  return new FunctionScaler({ config: functionConfig.parse({ kind: 'node', entry: 'i.js', ...config }), nowMs: START_MS, ...(keepAlive && { keepAlive }) })
}

describe('the desired count', () => {
  test('is none for a function that nobody calls, or its minimum', () => {
    assert.equal(scaler().desiredCount(START_MS + MINUTE_MS, 0, 1), 0)
    assert.equal(scaler({ instancesMin: 2 }).desiredCount(START_MS, 0, undefined), 2)
  })

  test('follows a load that lasts, some utilisation below what instances hold, and goes to zero a window after it', () => {
    const one = scaler({ concurrency: 10 })
    for (let count = 0; count < 70; count++) one.handedOver(START_MS)
    assert.equal(one.desiredCount(START_MS + 2 * MINUTE_MS, 10, 1), 10)
    for (let count = 0; count < 70; count++) one.ended(START_MS + 2 * MINUTE_MS)
    let ready = 10
    for (let nowMs = START_MS + 2 * MINUTE_MS; nowMs <= START_MS + 5 * MINUTE_MS; nowMs += 2000) ready = one.desiredCount(nowMs, ready, 1)
    assert.equal(ready, 0)
  })

  test('counts an invocation that lasts as long as it runs, however short others are', () => {
    const one = scaler({ concurrency: 1 })
    one.handedOver(START_MS)
    for (let at = 0; at < 1000; at++) {
      one.handedOver(START_MS + at * 60)
      one.ended(START_MS + at * 60 + 1)
    }
    assert.equal(one.desiredCount(START_MS + MINUTE_MS, 2, 1), 2, 'one that runs, at a utilisation of 0.7')
  })

  test('panics for a burst, and does not while the CPU is busy', () => {
    for (const [idleShare, desired] of [[1, 15], [undefined, 15], [0, 1]] as const) {
      const one = scaler({ concurrency: 10, instancesMax: 100 })
      one.desiredCount(START_MS + MINUTE_MS, 1, idleShare)
      for (let count = 0; count < 100; count++) one.handedOver(START_MS + MINUTE_MS)
      assert.equal(one.desiredCount(START_MS + MINUTE_MS + 6000, 1, idleShare), desired)
    }
  })

  test('uses the default concurrency of the kind', () => {
    for (const [kind, desired] of [['node', 2], ['python', 9], ['command', 18]] as const) {
      const one = scaler({ kind })
      for (let count = 0; count < 100; count++) one.handedOver(START_MS)
      assert.equal(one.desiredCount(START_MS + MINUTE_MS, 1, 1), desired)
    }
  })

  test('is within the limits for any load', () => {
    const step = fc.record({ passMs: fc.integer({ min: 0, max: 30_000 }), change: fc.integer({ min: -40, max: 40 }), ready: fc.nat(20) })
    fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const one = scaler({ concurrency: 5, instancesMin: 1, instancesMax: 8 })
      let running = 0
      let nowMs = START_MS
      for (const { passMs, change, ready } of steps) {
        nowMs += passMs
        for (let count = 0; count < Math.abs(change); count++) {
          if (change > 0) one.handedOver(nowMs)
          else if (running > 0) one.ended(nowMs)
          running = change > 0 ? running + 1 : Math.max(0, running - 1)
        }
        const desired = one.desiredCount(nowMs, ready, 1)
        assert(Number.isInteger(desired) && desired >= 1 && desired <= 8)
      }
    }))
  })
})

describe('keep-alive', () => {
  test('lets the longest idle beyond the desired count go, when their time has passed', () => {
    const one = scaler({ keepAliveMs: 1000 })
    const instances = [
      { name: 'busy', inFlight: 1, idleSinceMs: START_MS },
      { name: 'young', inFlight: 0, idleSinceMs: START_MS + 4500 },
      { name: 'old', inFlight: 0, idleSinceMs: START_MS + 2000 },
      { name: 'oldest', inFlight: 0, idleSinceMs: START_MS + 1000 },
    ]
    assert.deepEqual(one.toStop(instances, 0, START_MS + 5000).map(({ name }) => name), ['oldest', 'old'])
    assert.deepEqual(one.toStop(instances, 3, START_MS + 5000).map(({ name }) => name), ['oldest'])
    assert.deepEqual(one.toStop(instances, 4, START_MS + 5000), [])
  })

  test('is told when the function as a whole becomes busy and idle, and asked when to start ahead', () => {
    const told: string[] = []
    const policy: KeepAlive = {
      busy: (atMs) => told.push(`busy ${atMs}`),
      idle: (atMs) => told.push(`idle ${atMs}`),
      decide: (nowMs) => ({ keepUntilMs: nowMs, prewarmAtMs: nowMs + 77 }),
    }
    const one = scaler({}, policy)
    one.handedOver(START_MS + 1)
    one.handedOver(START_MS + 2)
    one.ended(START_MS + 3)
    one.ended(START_MS + 4)
    one.handedOver(START_MS + 5)
    assert.deepEqual(told, [`busy ${START_MS + 1}`, `idle ${START_MS + 4}`, `busy ${START_MS + 5}`])
    assert.equal(one.prewarmAtMs(START_MS), START_MS + 77)
    assert.equal(scaler().prewarmAtMs(START_MS), undefined)
  })
})
