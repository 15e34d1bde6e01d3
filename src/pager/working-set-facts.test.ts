/**
 * Goal: the figures are the thesis's: mean run length, same and unique pages, footprint.
 * Method: small examples counted by hand, and the thesis's own numbers for one function.
 */
import { strict as assert } from 'node:assert'
import test from 'node:test'
import { PAGE_BYTES } from './snapshot.ts'
import { contiguity, footprint, reuse } from './working-set-facts.ts'

test('counts runs and how long they are (Figure 4.3)', () => {
  assert.deepEqual(contiguity(Uint32Array.of(0, 1, 5, 2, 10, 3, 20, 4, 30, 5)), { pages: 15, runs: 5, meanRunPages: 3, longestRunPages: 5, runsByPowerOfTwo: [1, 1, 2, 1] })
  assert.deepEqual(contiguity(new Uint32Array(0)), { pages: 0, runs: 0, meanRunPages: 0, longestRunPages: 0, runsByPowerOfTwo: [] })
})

test('compares two recordings (Figure 4.5)', () => {
  assert.deepEqual(reuse(Uint32Array.of(0, 4, 10, 2), Uint32Array.of(2, 3, 11, 1, 500, 1)), { same: 3, uniqueToFirst: 3, uniqueToSecond: 2, sameShare: 0.6 })
  assert.deepEqual(reuse(new Uint32Array(0), Uint32Array.of(3, 1)), { same: 0, uniqueToFirst: 0, uniqueToSecond: 1, sameShare: 0 })
  assert.equal(reuse(Uint32Array.of(3, 1), new Uint32Array(0)).sameShare, 1)
  // hello world in the thesis: 1965 pages the same, 2 unique.
  assert.ok(reuse(Uint32Array.of(0, 1965), Uint32Array.of(0, 1967)).sameShare > 0.998)
})

test('relates what an invocation touches to what there is (Figure 4.4)', () => {
  assert.deepEqual(footprint(100 * PAGE_BYTES, Uint32Array.of(0, 38), Uint32Array.of(36, 4)), {
    imageBytes: 100 * PAGE_BYTES,
    storedBytes: 38 * PAGE_BYTES,
    touchedBytes: 4 * PAGE_BYTES,
    touchedZeroBytes: 2 * PAGE_BYTES,
    touchedShare: 0.1,
  })
})
