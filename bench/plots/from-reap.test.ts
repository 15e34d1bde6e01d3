/** Goal: a file of scenario `reap` gives all figures, with its values in them. Method: a small file of that shape; odd ones (fast-check). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { allFigures } from './figures.ts'
import { fromReap } from './from-reap.ts'
import { readResults } from './results.ts'

const mode = (ms: number, over: object = {}) => ({ ms, minMs: ms * 0.9, maxMs: ms * 1.2, loadMs: 0.2, processMs: ms - 0.2, connectMs: 3, pagesPrefetched: 0, pagesFaulted: 0, bytesRead: 0, readMs: 0, ...over })
const modes = { lazy: mode(30), 'parallel-faults': mode(15), 'working-set': mode(9), reap: mode(6, { loadMs: 4, pagesPrefetched: 1000, readMs: 4.096 }), pipelined: mode(5), 'lazy-128kb': mode(24), warm: mode(1) }
const row = {
  name: 'hello', standsFor: 'helloworld', imageMb: 16, storedMb: 2.5, workingSetMb: 1, runs: 400, lazyMs: 24, lazyLoadMs: 0.2, lazyConnectMs: 3, lazyProcessMs: 23.8, reapMs: 6, reapLoadMs: 4, reapConnectMs: 3, reapProcessMs: 2,
  pipelinedMs: 5, warmMs: 1, speedup: 4, pagesTouched: 1000, pagesMissing: 20, modes,
}
const saved = {
  machine: { processor: 'a processor', cores: 2, memoryGb: 24, node: 'v26' }, iterations: 5, designs: { lazy: 30, reap: 6 }, functions: [row], record: [],
  concurrency: [{ n: 1, lazyMs: 24, reapMs: 6, pipelinedMs: 5, ms: {} }, { n: 64, lazyMs: 1200, reapMs: 300, ms: {} }],
}

test('a saved run gives all six figures', () => {
  const results = readResults(fromReap(JSON.parse(JSON.stringify(saved))))
  assert.deepEqual(results.functions![0], {
    name: 'hello', warmMs: 1, lazy: { loadMs: 0.2, connectMs: 0, processMs: 23.8, lowMs: 21.6, highMs: 28.799999999999997 }, reap: { loadMs: 4, connectMs: 0, processMs: 2, lowMs: 5.4, highMs: 7.199999999999999 },
    meanRunPages: 2.5, storedBytes: 2.5 * 1024 * 1024, touchedBytes: 1024 * 1024, samePages: 980, uniquePages: 20,
  })
  assert.deepEqual(results.designs!.values.map((one) => [one.design, one.ms, one.bandwidthMbPerS]), [['lazy', 30, undefined], ['parallel-faults', 15, undefined], ['working-set', 9, undefined], ['reap', 6, 1000], ['pipelined', 5, undefined]])
  assert.deepEqual(results.concurrency!.map((one) => [one.design, one.points.length]), [['lazy', 2], ['reap', 2], ['pipelined', 1]])
  assert.equal(results.machine, 'a processor, 2 cores, 24 GB, medians of 5')
  assert.equal(allFigures(results).size, 6)
})

test('what is no such file is not taken for one', () => {
  assert.equal(fromReap({ designs: { function: 'x', values: [] } }), undefined)
  assert.equal(fromReap({ ...saved, functions: [{ ...row, lazyMs: 0 }] }), undefined)
  fc.assert(fc.property(fc.jsonValue(), (value) => assert.equal(fromReap(value), undefined)))
})
