/**
 * Goal: the decider follows load up at once, and down only when it is sure.
 *
 * Method: each test is a short day in the life of one function, told as observations in time order. No clock runs.
 * A seeded random walk at the end looks for a walk that breaks an invariant; to see one again, run with
 * SEED=<the seed in the failure message>.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { calm, decide, deciderConfigFor, deciderDefaults } from './scale-decision.ts'
import type { DeciderConfig, DeciderState, Observation } from './scale-decision.ts'
import { seedFromEnvironment, seededRandom } from '#base/seeded-random.ts'

const config: DeciderConfig = { ...deciderDefaults, concurrency: 20, targetUtilisation: 0.5 }

function observe(over: Partial<Observation>): Observation {
  return { atMs: 0, readyCount: 1, stableConcurrency: 0, panicConcurrency: 0, cpuIdleShare: 1, ...over }
}

describe('decide', () => {
  test('gives a function at zero its first instance as soon as one invocation waits', () => {
    const seen = observe({ readyCount: 0, stableConcurrency: 0.1, panicConcurrency: 1 })
    assert.equal(decide(calm, seen, config).desiredCount, 1)
  })

  test('aims below what an instance can hold, by the utilisation', () => {
    const seen = observe({ readyCount: 4, stableConcurrency: 40, panicConcurrency: 40 })
    assert.equal(decide(calm, seen, config).desiredCount, 4)
    assert.equal(decide(calm, seen, { ...config, targetUtilisation: 1 }).desiredCount, 2)
  })

  test('panics when the short window alone asks for twice the ready instances', () => {
    const seen = observe({ readyCount: 2, stableConcurrency: 12, panicConcurrency: 40 })
    const decision = decide(calm, seen, config)
    assert.equal(decision.desiredCount, 4)
    assert.equal(decision.state.mode, 'panic')
  })

  test('holds the peak for one stable window after the last cause, then lets go', () => {
    const burst = observe({ atMs: 0, readyCount: 2, panicConcurrency: 40 })
    const panicking = decide(calm, burst, config).state

    const justBefore = observe({ atMs: 59_999, readyCount: 4 })
    assert.equal(decide(panicking, justBefore, config).desiredCount, 4)

    const after = observe({ atMs: 60_000, readyCount: 4 })
    assert.deepEqual(decide(panicking, after, config), { desiredCount: 2, state: calm })
  })

  test('goes to zero only when the stable window was empty (D5)', () => {
    assert.equal(decide(calm, observe({ stableConcurrency: 1e-9 }), config).desiredCount, 1)
    assert.equal(decide(calm, observe({ stableConcurrency: 0 }), config).desiredCount, 0)
    assert.equal(decide(calm, observe({ stableConcurrency: 0 }), { ...config, instancesMin: 2 }).desiredCount, 2)
  })

  test('adds nothing while the CPU is busy, but the first instance and instancesMin (D6)', () => {
    const busy = { stableConcurrency: 90, panicConcurrency: 90, cpuIdleShare: 0.02 }
    assert.equal(decide(calm, observe({ ...busy, readyCount: 3 }), config).desiredCount, 3)
    assert.equal(decide(calm, observe({ ...busy, readyCount: 0 }), config).desiredCount, 1)
    assert.equal(decide(calm, observe({ ...busy, readyCount: 1 }), { ...config, instancesMin: 4 }).desiredCount, 4)
    assert.equal(decide(calm, observe({ ...busy, readyCount: 3, cpuIdleShare: 0.5 }), config).desiredCount, 9)
  })

  test('a short keep-alive shortens the stable window, down to the panic window', () => {
    const limits = { concurrency: 1, instancesMin: 0, instancesMax: 5 }
    assert.equal(deciderConfigFor({ ...limits, keepAliveMs: 600_000 }).stableWindowMs, 60_000)
    assert.equal(deciderConfigFor({ ...limits, keepAliveMs: 20_000 }).stableWindowMs, 20_000)
    assert.equal(deciderConfigFor({ ...limits, keepAliveMs: 0 }).stableWindowMs, 6_000)
  })

  test('on any walk: never shrinks in a panic (D2), keeps the rates (D3), the limits (D4) and the last instance (D5)', () => {
    const seed = seedFromEnvironment()
    const random = seededRandom(seed)
    for (let walk = 0; walk < 20; walk++) {
      const instancesMin = Math.floor(random() * 3)
      const limits = { ...config, instancesMin, instancesMax: instancesMin + 1 + Math.floor(random() * 100), scaleUpRateMax: 1.1 + random() * 20 }
      let state: DeciderState = calm
      let desiredBefore = 0
      for (let tick = 0; tick < 500; tick++) {
        const where = `SEED=${seed} walk=${walk} tick=${tick}`
        const isQuiet = random() < 0.3
        const seen = observe({
          atMs: tick * 2_000,
          readyCount: desiredBefore,
          stableConcurrency: isQuiet ? 0 : random() * 200,
          panicConcurrency: random() ** 3 * 1_000,
          cpuIdleShare: random(),
        })
        const decision = decide(state, seen, limits)
        const { desiredCount } = decision
        if (state.mode === 'panic' && decision.state.mode === 'panic') assert(desiredCount >= desiredBefore, `D2: ${where}`)
        const rateMax = Math.ceil(Math.max(1, seen.readyCount) * limits.scaleUpRateMax)
        const peak = state.mode === 'panic' ? state.peakCount : 0
        assert(desiredCount <= Math.max(rateMax, peak, instancesMin), `D3: ${where}`)
        const rateMin = Math.floor(Math.max(1, seen.readyCount) / limits.scaleDownRateMax)
        assert(desiredCount >= Math.min(rateMin, limits.instancesMax), `D3: ${where}`)
        assert(desiredCount >= instancesMin && desiredCount <= limits.instancesMax, `D4: ${where}`)
        assert(desiredCount > 0 || (instancesMin === 0 && seen.stableConcurrency === 0), `D5: ${where}`)
        state = decision.state
        desiredBefore = desiredCount
      }
    }
  })
})
