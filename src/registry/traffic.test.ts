/**
 * Goal: a split gives each revision exactly its share, and a bad split never gets in.
 *
 * Method: the whole of [0, 1) in steps of a thousandth, counted per revision.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Revision } from '#contract/function-config.ts'
import { config, withCode } from './registry.fake.ts'
import { checkTraffic, makeRoute, pickRevision, routedRevisions } from './traffic.ts'

const revisionOf = (number: number): Revision => ({ namespace: 'n', function: 'f', number, code: '', codeBytes: 0, config: config(), createdAtMs: 0 })

describe('traffic', () => {
  test('gives each revision exactly its weight, and one of weight 0 nothing (W2)', () => {
    const route = makeRoute([{ revision: 1, weight: 33 }, { revision: 2, weight: 0 }, { revision: 3, weight: 66 }, { revision: 4, weight: 1 }], revisionOf)
    const counts = new Map<number, number>()
    for (let step = 0; step < 1000; step++) {
      const { number } = pickRevision(route, (step + 0.5) / 1000)
      counts.set(number, (counts.get(number) ?? 0) + 1)
    }
    assert.deepEqual([...counts], [[1, 330], [3, 660], [4, 10]])
    assert.deepEqual(routedRevisions(route).map((revision) => revision.number), [1, 3, 4])
  })

  test('needs no choice for a single revision, and stays inside at the edges (W1)', () => {
    const one = makeRoute([{ revision: 7, weight: 100 }, { revision: 8, weight: 0 }], revisionOf)
    assert.equal(one.kind, 'one')
    assert.equal(pickRevision(one, 0.999_999_999).number, 7)
    const two = makeRoute([{ revision: 1, weight: 50 }, { revision: 2, weight: 50 }], revisionOf)
    assert.deepEqual([0, 0.499_999, 0.5, 1 - Number.EPSILON].map((random) => pickRevision(two, random).number), [1, 1, 2, 2])
  })

  test('refuses weights that do not add up, are no whole numbers, or come twice', () => {
    for (const shares of [
      [],
      [{ revision: 1, weight: 99 }],
      [{ revision: 1, weight: 50 }, { revision: 1, weight: 50 }],
      [{ revision: 1, weight: 50.5 }, { revision: 2, weight: 49.5 }],
      [{ revision: 1, weight: -1 }, { revision: 2, weight: 101 }],
    ]) {
      assert.throws(() => checkTraffic(shares), withCode('INPUT_INVALID'))
    }
    checkTraffic([{ revision: 1, weight: 1 }, { revision: 2, weight: 99 }])
  })
})
