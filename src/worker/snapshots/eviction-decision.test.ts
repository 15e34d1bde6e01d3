/**
 * Goal: there is room afterwards or nothing goes; what goes is the least recently used, and never in use.
 * Method: examples, then random sets against the invariants.
 */
import { strict as assert } from 'node:assert'
import test from 'node:test'
import fc from 'fast-check'
import { chooseEvictions } from './eviction-decision.ts'

const one = (lastUsedMs: number, bytes: number, inUse = false) => ({ lastUsedMs, bytes, inUse })

test('takes the least recently used ones, and no more than needed', () => {
  const [old, older, fresh] = [one(2, 10), one(1, 10), one(3, 10)]
  assert.deepEqual(chooseEvictions([old, older, fresh], { usedBytes: 30, neededBytes: 0, bytesMax: 30 }), [])
  assert.deepEqual(chooseEvictions([old, older, fresh], { usedBytes: 30, neededBytes: 1, bytesMax: 30 }), [older])
  assert.deepEqual(chooseEvictions([old, older, fresh], { usedBytes: 30, neededBytes: 15, bytesMax: 30 }), [older, old])
})

test('takes nothing that is in use (E1), and nothing at all when that is not enough (E2)', () => {
  assert.deepEqual(chooseEvictions([one(1, 10, true), one(2, 10)], { usedBytes: 20, neededBytes: 10, bytesMax: 20 }), [one(2, 10)])
  assert.equal(chooseEvictions([one(1, 10, true), one(2, 10)], { usedBytes: 20, neededBytes: 11, bytesMax: 20 }), undefined)
  assert.equal(chooseEvictions([], { usedBytes: 0, neededBytes: 11, bytesMax: 10 }), undefined)
})

test('keeps its invariants for any set', () => {
  const snapshots = fc.array(fc.record({ lastUsedMs: fc.nat(100), bytes: fc.nat(50), inUse: fc.boolean() }))
  fc.assert(
    fc.property(snapshots, fc.nat(200), fc.nat(1000), (all, neededBytes, bytesMax) => {
      const usedBytes = all.reduce((sum, each) => sum + each.bytes, 0)
      const evicted = chooseEvictions(all, { usedBytes, neededBytes, bytesMax })
      const free = all.filter((each) => !each.inUse)
      if (evicted === undefined) return assert.ok(usedBytes + neededBytes - free.reduce((sum, each) => sum + each.bytes, 0) > bytesMax)
      const freed = evicted.reduce((sum, each) => sum + each.bytes, 0)
      assert.ok(usedBytes + neededBytes - freed <= bytesMax)
      assert.ok(evicted.every((each) => !each.inUse))
      const youngest = Math.max(-1, ...evicted.map((each) => each.lastUsedMs))
      assert.ok(free.every((each) => evicted.includes(each) || each.lastUsedMs >= youngest))
      if (evicted.length > 0) assert.ok(usedBytes + neededBytes - freed + evicted.at(-1)!.bytes > bytesMax)
    }),
  )
})
