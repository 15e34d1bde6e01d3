/**
 * Goal: what prefetched starts miss is added when it is worth a new file, and only then (G1, G2).
 * Method: sequences of starts folded by the decision; for the bounds, many at random.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { afterPrefetch, isSettled, learningDefaults, nothingLearned } from './learning.ts'
import type { Learning } from './learning.ts'

const pages = (first: number, count: number): number[] => Array.from({ length: count }, (_, at) => first + at)

function told(starts: readonly (readonly number[])[], prefetched = 1000): (readonly number[] | undefined)[] {
  let state: Learning = nothingLearned
  return starts.map((missing) => {
    const next = afterPrefetch(state, { prefetched, missing }, learningDefaults)
    assert.equal(isSettled(state, learningDefaults), state.starts === 8)
    state = next.state
    return next.add
  })
}

test('the union of three starts, then of five more, then nothing', () => {
  const all = told([pages(0, 10), pages(5, 10), pages(100, 1), pages(200, 9), [], [], [], pages(200, 10), pages(300, 50)])
  assert.deepEqual(all.map((add) => add?.length), [undefined, undefined, 16, undefined, undefined, undefined, undefined, 10, undefined])
  assert.deepEqual([...all[2]!].sort((a, b) => a - b), [...pages(0, 15), 100])
})

test('too few pages wait for the next time, and may become enough', () => {
  assert.deepEqual(told([pages(0, 2), pages(2, 2), pages(4, 2), pages(6, 2), [], [], [], []]).map((add) => add?.length), [...Array.from({ length: 7 }, () => undefined), 8])
})

test('a working set of something else is not patched', () => {
  assert.deepEqual(told([pages(0, 100), pages(100, 100), pages(200, 100)], 1000), [undefined, undefined, undefined])
})

test('G1 and G2 hold for any starts', () => {
  fc.assert(fc.property(fc.array(fc.array(fc.nat(5000), { maxLength: 300 }), { maxLength: 20 }), fc.nat(3000), (starts, prefetched) => {
    const all = told(starts, prefetched).filter((add) => add !== undefined)
    assert.ok(all.length <= 2)
    for (const add of all) {
      assert.ok(add.length >= learningDefaults.pagesMin && add.length <= prefetched * learningDefaults.shareMax)
      assert.equal(new Set(add).size, add.length)
    }
  }))
})
