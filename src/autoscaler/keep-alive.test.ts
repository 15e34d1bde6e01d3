/**
 * Goal: idle instances stay for their keep-alive, and only the surplus goes, longest idle first.
 *
 * Method: tables of instances at a moment; the random ones at the end against the definition.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { fixedKeepAlive, idleToStop } from './keep-alive.ts'

describe('fixedKeepAlive', () => {
  test('keeps an idle instance for its time and never pre-warms', () => {
    assert.deepEqual(fixedKeepAlive(600_000).decide(5_000, 1_000), { keepUntilMs: 601_000 })
  })
})

describe('idleToStop', () => {
  const keepAlive = fixedKeepAlive(1_000)

  test('stops nothing that the load still needs', () => {
    assert.deepEqual(idleToStop([{ inFlight: 0, idleSinceMs: 0 }], 1, keepAlive, 1e9), [])
  })

  test('stops the longest idle first, and no more than the surplus', () => {
    const instances = [{ inFlight: 0, idleSinceMs: 30 }, { inFlight: 0, idleSinceMs: 10 }, { inFlight: 0, idleSinceMs: 20 }]
    assert.deepEqual(idleToStop(instances, 1, keepAlive, 5_000).map((one) => one.idleSinceMs), [10, 20])
  })

  test('only ever stops idle instances past their time, and leaves the desired count', () => {
    const instances = fc.array(fc.record({ inFlight: fc.integer({ min: 0, max: 1 }), idleSinceMs: fc.integer({ min: 0, max: 3_000 }) }), { maxLength: 20 })
    fc.assert(
      fc.property(instances, fc.integer({ min: 0, max: 10 }), fc.integer({ min: 0, max: 4_000 }), (list, desiredCount, nowMs) => {
        const stopped = idleToStop(list, desiredCount, keepAlive, nowMs)
        assert(stopped.every((one) => one.inFlight === 0 && one.idleSinceMs + 1_000 <= nowMs))
        assert(list.length - stopped.length >= Math.min(desiredCount, list.length))
        const couldGo = list.filter((one) => one.inFlight === 0 && one.idleSinceMs + 1_000 <= nowMs).length
        assert.equal(stopped.length, Math.min(couldGo, Math.max(0, list.length - desiredCount)))
      }),
    )
  })
})
