/**
 * Decides when pages that prefetched starts have missed are added to the working set.
 *
 * The thesis records one invocation (5.2.1), and finds that 3 to 24 % of a function's pages differ between two inputs (Figure 4.5): each page of the other
 * input is then a fault, and a read by itself, some forty times as dear as a page in the stream of the prefetch. But which ones a start has
 * missed is known for nothing, since each was served; so the first starts after a recording tell what the recorded input did not need. Later ones are left
 * alone: what they miss is seldom missed again. That a working set is of something else altogether is another decision (rerecord-decision.ts).
 *
 *   recorded ──▶ the starts 1 to 3 ──told, if it is worth it──▶ 4 to 8 ──told──▶ settled
 *
 * Invariants:
 *   G1. A state is told at most twice, so that the file is written at most twice more.
 *   G2. More than `shareMax` of what is prefetched is never added.
 */
import { strict as assert } from 'node:assert'

export interface Learning {
  /** Prefetched starts since the recording. */
  readonly starts: number
  /** Pages that they have missed, and that were not told yet. */
  readonly missed: ReadonlySet<number>
}

export const nothingLearned: Learning = { starts: 0, missed: new Set() }

export interface LearningConfig {
  /** After which starts it is told what was missed, ascending. */
  readonly tellAfter: readonly number[]
  /** Fewer pages are not worth a new file. */
  readonly pagesMin: number
  /** Of the pages that are prefetched now. Figure 4.5's worst pair of inputs differs by less. */
  readonly shareMax: number
}

export const learningDefaults: LearningConfig = { tellAfter: [3, 8], pagesMin: 8, shareMax: 0.25 }

/** Nothing more is learned: what a start has missed need not be asked for. */
export function isSettled({ starts }: Learning, { tellAfter }: LearningConfig): boolean {
  const last = tellAfter.at(-1)
  assert(last !== undefined, 'tellAfter has at least one start')
  return starts >= last
}

/** A prefetched start is over. @param missing Pages that had to be fetched one by one. @returns `add` when these are to be added now. */
export function afterPrefetch(state: Learning, { prefetched, missing }: { readonly prefetched: number; readonly missing: Iterable<number> }, config: LearningConfig): { readonly state: Learning; readonly add: readonly number[] | undefined } {
  if (isSettled(state, config)) return { state, add: undefined }
  const starts = state.starts + 1
  const missed = new Set([...state.missed, ...missing])
  if (!config.tellAfter.includes(starts)) return { state: { starts, missed }, add: undefined }
  const isWorthIt = missed.size >= config.pagesMin && missed.size <= prefetched * config.shareMax
  return isWorthIt ? { state: { starts, missed: new Set() }, add: [...missed] } : { state: { starts, missed }, add: undefined }
}
