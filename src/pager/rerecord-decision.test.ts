/**
 * Goal: a working set that fits is kept, one that does not is recorded again, and recording comes to an end.
 * Method: sequences of restores as data.
 */
import { strict as assert } from 'node:assert'
import test from 'node:test'
import fc from 'fast-check'
import { afterRecording, afterRestore, decide, recorded, rerecordDefaults } from './rerecord-decision.ts'
import type { RerecordState, RestoreCounts } from './rerecord-decision.ts'

const config = rerecordDefaults
const fits: RestoreCounts = { prefetched: 2000, missing: 20 }
const misses: RestoreCounts = { prefetched: 2000, missing: 900 }
const after = (restores: readonly RestoreCounts[], state: RerecordState = recorded): RerecordState => restores.reduce((now, one) => afterRestore(now, one, config), state)
const times = (count: number, one: RestoreCounts): RestoreCounts[] => Array<RestoreCounts>(count).fill(one)

test('keeps what fits, and samples now and then to learn what is unused', () => {
  assert.deepEqual(decide(recorded, config), { kind: 'keep' })
  assert.deepEqual(decide(after(times(99, fits)), config), { kind: 'keep' })
  assert.deepEqual(decide(after(times(100, fits)), config), { kind: 'sample' })
  assert.deepEqual(decide(after([...times(100, fits), { ...fits, unused: 100 }]), config), { kind: 'keep' })
})

test('records again when most restores miss much, and not for an odd one (R2)', () => {
  assert.deepEqual(decide(after(times(4, misses)), config), { kind: 'keep' })
  assert.deepEqual(decide(after(times(5, misses)), config), { kind: 'record', because: 'missing', share: 0.45 })
  assert.deepEqual(decide(after([...times(4, misses), ...times(4, fits)]), config), { kind: 'keep' })
  assert.deepEqual(decide(after([...times(5, fits), { prefetched: 2000, missing: 100_000 }]), config), { kind: 'keep' })
})

test('looks twice before it records again for pages that are not used', () => {
  const wasted: RestoreCounts = { ...fits, unused: 1500 }
  const once = after([...times(5, fits), wasted])
  assert.deepEqual(decide(once, config), { kind: 'sample' })
  assert.deepEqual(decide(after([wasted], once), config), { kind: 'record', because: 'unused', share: 0.75 })
  assert.equal(decide(after([fits, { ...fits, unused: 100 }], once), config).kind, 'keep')
})

test('the shares of the thesis are no reason to record again: 39 % unused, 24 % missing', () => {
  assert.equal(decide(after(times(20, { prefetched: 1000, missing: 240, unused: 390 })), config).kind, 'keep')
})

test('a function that touches nothing is kept, one whose empty working set misses is recorded', () => {
  assert.equal(decide(after(times(5, { prefetched: 0, missing: 0 })), config).kind, 'keep')
  assert.equal(decide(after(times(5, { prefetched: 0, missing: 3 })), config).kind, 'record')
})

test('gives up after recordings that did not help, and tries again later (R3)', () => {
  let state: RerecordState = recorded
  for (let recording = 0; recording < config.recordingsMax; recording++) {
    state = after(times(5, misses), state)
    assert.equal(decide(state, config).kind, 'record')
    state = afterRecording(state, config)
  }
  assert.deepEqual(decide(state, config), { kind: 'lazy' })
  state = after(times(config.lazyRestores - 1, misses), state)
  assert.deepEqual(decide(state, config), { kind: 'lazy' })
  state = after(times(6, misses), state)
  assert.equal(decide(state, config).kind, 'record')
})

test('a recording that holds makes up for earlier ones', () => {
  const once = afterRecording(after(times(5, misses)), config)
  assert.equal(once.recordingsInVain, 1)
  assert.equal(after(times(config.restoresMax, fits), once).recordingsInVain, 0)
})

test('remembers a bounded number of restores, and is a fold without memory of its own (R1, R4)', () => {
  const restores = fc.array(fc.record({ prefetched: fc.nat(5000), missing: fc.nat(5000) }), { maxLength: 120 })
  fc.assert(
    fc.property(restores, (all) => {
      const state = after(all)
      assert.ok(state.restores.length <= config.restoresMax)
      assert.deepEqual(after(all), state)
      assert.deepEqual(decide(state, config), decide(state, config))
    }),
  )
})
