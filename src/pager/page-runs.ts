/**
 * Arithmetic on tables of page runs (snapshot.ts, R1 to R3): from pages to runs, and from many short runs to fewer long ones.
 *
 * Merging is a bargain: a run costs a system call or an entry of a scattered read, a page that was not needed costs its 4 KB
 * of a stream. The thesis's functions touch runs of 2 to 3 pages (Figure 4.3), so that reading over small gaps makes a
 * fraction of the runs with more data. The gap is a parameter, because the bargain depends on the disk
 * (working-set-file.ts says what was measured).
 */
import type { PageRuns } from './snapshot.ts'

/** @param pages Ascending, each once. */
export function runsOfPages(pages: Uint32Array): PageRuns {
  return mergedRuns(pages, 0)
}

/** Runs of these pages and of those between two that are at most `gapPages` pages apart. @param pages Ascending, each once. */
export function mergedRuns(pages: Uint32Array, gapPages: number): PageRuns {
  const runs: number[] = []
  let first = -1
  let last = -1
  for (const page of pages) {
    if (first >= 0 && page - last - 1 <= gapPages) {
      last = page
      continue
    }
    if (first >= 0) runs.push(first, last - first + 1)
    first = last = page
  }
  if (first >= 0) runs.push(first, last - first + 1)
  return Uint32Array.from(runs)
}

/** The pages of a table, one by one, in its order. */
export function pagesOfRuns(runs: PageRuns): Uint32Array {
  let count = 0
  for (let index = 1; index < runs.length; index += 2) count += runs[index]!
  const pages = new Uint32Array(count)
  let at = 0
  for (let index = 0; index < runs.length; index += 2) {
    const first = runs[index]!
    for (let page = first, end = first + runs[index + 1]!; page < end; page++) pages[at++] = page
  }
  return pages
}

/** Which pages are in a table, as one bit per page: a memory of 1 GB takes 32 KB. */
export class PageSet {
  readonly #bits: Uint8Array
  #size = 0

  /** @param pages Of the whole memory: all that is added has to be below. */
  constructor(pages: number) {
    this.#bits = new Uint8Array(Math.ceil(pages / 8))
  }

  static of(runs: PageRuns, pages: number): PageSet {
    const set = new PageSet(pages)
    for (let index = 0; index < runs.length; index += 2) {
      for (let page = runs[index]!, end = page + runs[index + 1]!; page < end; page++) set.add(page)
    }
    return set
  }

  get size(): number {
    return this.#size
  }

  has(page: number): boolean {
    return (this.#bits[page >>> 3]! & (1 << (page & 7))) !== 0
  }

  /** @returns Whether it was not in the set before. */
  add(page: number): boolean {
    const byte = this.#bits[page >>> 3]!
    const bit = 1 << (page & 7)
    if ((byte & bit) !== 0) return false
    this.#bits[page >>> 3] = byte | bit
    this.#size++
    return true
  }
}
