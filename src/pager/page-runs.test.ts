/**
 * Goal: tables of runs say the same pages as the lists they were made from, and merging adds only what lies in small gaps.
 * Method: examples, then random sets of pages.
 */
import { strict as assert } from 'node:assert'
import test from 'node:test'
import fc from 'fast-check'
import { mergedRuns, PageSet, pagesOfRuns, runsOfPages } from './page-runs.ts'
import { pagesIn } from './snapshot.ts'

const anyPages = fc.uniqueArray(fc.nat(2000)).map((pages) => Uint32Array.from(pages).sort())

test('makes runs of pages, and over gaps of at most so many pages', () => {
  const pages = Uint32Array.of(0, 1, 2, 5, 9, 10, 20)
  assert.deepEqual([...runsOfPages(pages)], [0, 3, 5, 1, 9, 2, 20, 1])
  assert.deepEqual([...mergedRuns(pages, 2)], [0, 6, 9, 2, 20, 1])
  assert.deepEqual([...mergedRuns(pages, 3)], [0, 11, 20, 1])
  assert.deepEqual([...mergedRuns(pages, 1000)], [0, 21])
  assert.deepEqual([...mergedRuns(new Uint32Array(0), 4)], [])
})

test('runs and pages are the same thing twice', () => {
  fc.assert(fc.property(anyPages, (pages) => assert.deepEqual(pagesOfRuns(runsOfPages(pages)), pages)))
})

test('merged runs have every page, no page twice, and gaps larger than the bound between them', () => {
  fc.assert(
    fc.property(anyPages, fc.nat(20), (pages, gap) => {
      const runs = mergedRuns(pages, gap)
      const set = PageSet.of(runs, 2001)
      assert.equal(set.size, pagesIn(runs))
      assert.ok(pages.every((page) => set.has(page)))
      for (let index = 2; index < runs.length; index += 2) assert.ok(runs[index]! - runs[index - 2]! - runs[index - 1]! > gap)
    }),
  )
})
