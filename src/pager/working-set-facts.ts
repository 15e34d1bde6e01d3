/**
 * What is to be known about recorded pages, for people and plots: how contiguous they are (thesis, Figure 4.3), how small beside the
 * memory (Figure 4.4), and how alike from one invocation to the next (Figure 4.5). Pure, on the pages of traces.
 */
import { PageSet, pagesOfRuns } from './page-runs.ts'
import { PAGE_BYTES, pagesIn } from './snapshot.ts'
import type { PageRuns } from './snapshot.ts'

export interface Contiguity {
  readonly pages: number
  readonly runs: number
  /** Figure 4.3: 2 to 3 pages for the thesis's functions, up to 5 for lr_training. Zero when there are no pages. */
  readonly meanRunPages: number
  readonly longestRunPages: number
  /** Count of runs of 1, 2, 3 to 4, 5 to 8, … pages: entry n counts those of more than 2^(n-1) and at most 2^n. */
  readonly runsByPowerOfTwo: readonly number[]
}

/** @param runs Ascending, with a page between two runs, as in a trace. */
export function contiguity(runs: PageRuns): Contiguity {
  const counts: number[] = []
  let longest = 0
  for (let index = 1; index < runs.length; index += 2) {
    const bucket = Math.ceil(Math.log2(runs[index]!))
    while (counts.length <= bucket) counts.push(0)
    counts[bucket]!++
    longest = Math.max(longest, runs[index]!)
  }
  const pages = pagesIn(runs)
  const runCount = runs.length / 2
  return { pages, runs: runCount, meanRunPages: runCount === 0 ? 0 : pages / runCount, longestRunPages: longest, runsByPowerOfTwo: counts }
}

export interface Reuse {
  /** Pages of both. */
  readonly same: number
  /** Only in the first: when it was the recorded one, these are prefetched for nothing. */
  readonly uniqueToFirst: number
  /** Only in the second: these are missing. Figure 4.5's "unique". */
  readonly uniqueToSecond: number
  /** Of the second's pages, 0 to 1: above 0.97 for seven of the thesis's ten functions, above 0.76 for all. 1 when it has none. */
  readonly sameShare: number
}

/** Compares two recordings of one image. */
export function reuse(first: PageRuns, second: PageRuns): Reuse {
  const ends = [first, second].map((runs) => (runs.length === 0 ? 0 : runs.at(-2)! + runs.at(-1)!))
  const recorded = PageSet.of(first, Math.max(...ends))
  const pages = pagesOfRuns(second)
  let same = 0
  for (const page of pages) if (recorded.has(page)) same++
  return { same, uniqueToFirst: recorded.size - same, uniqueToSecond: pages.length - same, sameShare: pages.length === 0 ? 1 : same / pages.length }
}

export interface Footprint {
  /** Of the whole memory. */
  readonly imageBytes: number
  /** Of the pages that are not zero: Figure 4.4's booted instance, as far as it lasts. */
  readonly storedBytes: number
  /** Of the pages that an invocation touched: Figure 4.4's instance after a restore. */
  readonly touchedBytes: number
  /** Of these, zero ones, which are not read. */
  readonly touchedZeroBytes: number
  /** `touchedBytes` by `storedBytes` and the touched zero pages: 3 to 39 % in the thesis, 9 % on average. */
  readonly touchedShare: number
}

export function footprint(imageBytes: number, pagesStored: PageRuns, touched: PageRuns): Footprint {
  const stored = PageSet.of(pagesStored, imageBytes / PAGE_BYTES)
  const pages = pagesOfRuns(touched)
  let zero = 0
  for (const page of pages) if (!stored.has(page)) zero++
  const whole = stored.size + zero
  return {
    imageBytes,
    storedBytes: stored.size * PAGE_BYTES,
    touchedBytes: pages.length * PAGE_BYTES,
    touchedZeroBytes: zero * PAGE_BYTES,
    touchedShare: whole === 0 ? 0 : pages.length / whole,
  }
}
