/**
 * What a snapshot is to those who restore one: open files and tables of pages. The types that the file formats
 * (image-file.ts, working-set-file.ts) hand to the restore side, which knows nothing of how they are stored.
 *
 * A snapshot is one memory at one moment: a WebAssembly linear memory after initialisation, or the memory of another kind of
 * sandbox. Its image file holds page n at `imageOffset + n * PAGE_BYTES`; zero pages are holes of the file. So one private
 * mapping restores the memory, and a page that nobody touches is never read (design, section 4).
 *
 * A working set is the pages that an invocation touched, once more, contiguous, to be read in one piece (thesis 5.2.1).
 *
 * A table of runs is a Uint32Array of pairs: first page, count of pages. Invariants of every table that a parser of this
 * folder returns:
 *   R1. Counts are at least 1, and `first + count <= imageBytes / PAGE_BYTES`.
 *   R2. No page is in two runs of one table, and none is both in `runs` and `zeroRuns`.
 *   R3. `pagesStored` and `zeroRuns` ascend. `runs` of a working set are in the order of the file, which is the order of their
 *       pages in memory or the order of the recorded faults.
 */
export const PAGE_BYTES = 4096

/** A WebAssembly page, of which a linear memory is a whole number. */
export const WASM_PAGE_BYTES = 65_536

/** Pairs of first page and count: R1 to R3. */
export type PageRuns = Uint32Array

/** Open for as long as restores from it happen; who opened it closes the descriptors. */
export interface SnapshotSource {
  /** Opened for reading, through the page cache: what is mapped. */
  readonly imageFd: number
  /** The same file with O_DIRECT, where the file system has it; otherwise the same number as `imageFd`. */
  readonly imageDirectFd: number
  /** Where page 0 lies in the file, a multiple of PAGE_BYTES. */
  readonly imageOffset: number
  /** The memory's size, a multiple of PAGE_BYTES. The file is at least `imageOffset + imageBytes` long: no mapped page is beyond its end. */
  readonly imageBytes: number
  /** Pages that are not zero, ascending. All others are holes. */
  readonly pagesStored: PageRuns
  /** Absent until an invocation has been recorded. */
  readonly workingSet?: WorkingSetSource
}

export interface WorkingSetSource {
  readonly fd: number
  /** The same file with O_DIRECT, or the same number as `fd`. */
  readonly directFd: number
  /** Where the first page lies in the file, a multiple of PAGE_BYTES. The pages of `runs` follow each other without gaps. */
  readonly offset: number
  /** In the order in which their pages lie in the file. */
  readonly runs: PageRuns
  /** Recorded pages that are zero in the image: nothing to read, but worth a page of memory before they are touched. */
  readonly zeroRuns: PageRuns
}

/** How many pages a table of runs names. */
export function pagesIn(runs: PageRuns): number {
  let pages = 0
  for (let index = 1; index < runs.length; index += 2) pages += runs[index]!
  return pages
}
