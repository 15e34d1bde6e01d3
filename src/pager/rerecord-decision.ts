/**
 * Decides after a restore whether the recorded working set still is what invocations touch: keep it, look closer, record again,
 * or give up prefetching.
 *
 * The thesis says what to watch and leaves the bounds open: the share of fetched pages that were not used, 3 to 39 % of them in
 * its functions (5.4.1), and the faults after the working set was installed, compared with its size (5.4.2); the answer is to
 * record again or to fall back to restoring lazily. Missing pages are counted for nothing, as each is a fault. Which pages
 * were not used is known only when an invocation is recorded, which costs up to 1.28 times its time, so that it is sampled.
 *
 *                      missing share over bound, of the median restore
 *   young ──────────▶ settled ─────────────────────────────────────────▶ record ──▶ young
 *   (fewer than         │  ▲ few unused                                    ▲
 *    restoresMin)       ▼  │              many unused                      │
 *                      sample ─────────────────────────────────────────────┘
 *   After recordingsMax recordings that each did not help, a decision `lazy` instead, for lazyRestores restores.
 *
 * Invariants:
 *   R1. A decision is a pure function of (state, config); the state a pure fold over what happened.
 *   R2. One odd invocation records nothing: the median of at least `restoresMin` restores decides.
 *   R3. Recording has an end: between two successes there are at most `recordingsMax` recordings.
 *   R4. The state is bounded: the last `restoresMax` restores, a few numbers.
 */
import { strict as assert } from 'node:assert'

/** What one restore and its invocation showed. */
export interface RestoreCounts {
  /** Pages of the working set that were installed before or while it ran. */
  readonly prefetched: number
  /** Pages that it touched and that had to be faulted in. */
  readonly missing: number
  /** Pages that were installed for nothing; known only of a sampled restore. */
  readonly unused?: number
}

export interface RerecordState {
  /** Since the last recording, oldest first (R4). */
  readonly restores: readonly RestoreCounts[]
  /** Restores since the last one whose unused pages were counted, or since the recording. */
  readonly sinceSample: number
  /** Recordings since one of them was good enough to be kept. */
  readonly recordingsInVain: number
  /** Restores that are still to be lazy. */
  readonly lazyLeft: number
}

/** After the first recording. */
export const recorded: RerecordState = { restores: [], sinceSample: 0, recordingsInVain: 0, lazyLeft: 0 }

export interface RerecordConfig {
  /**
   * Missing pages, as a share of those that were prefetched, from which recording again is worth it. REAP removes 97 % of the
   * faults on average (thesis 5.3.3), and its functions differ by 3 to 24 % between inputs (Figure 4.5); above that, a working
   * set is of something else. A miss is a read of 4 KB alone: 17 µs at 236 MB/s, as much as nine pages of a stream of 2.2 GB/s.
   */
  readonly missingShareMax: number
  /**
   * Unused pages, as a share of those that were prefetched. Up to 39 % is what the thesis calls modest (5.4.1): they cost
   * bandwidth and memory, not correctness and hardly time. Above half, most of the read is for nothing.
   */
  readonly unusedShareMax: number
  /** Restores that decide; fewer say nothing (R2). */
  readonly restoresMin: number
  /** Restores that are remembered. */
  readonly restoresMax: number
  /** After so many restores one is recorded to count its unused pages: at 1.28 times the time, 100 make it 0.3 % on average. */
  readonly sampleEvery: number
  /** Recordings in vain before prefetching is given up for a while (5.4.2). */
  readonly recordingsMax: number
  /** How long it is given up, in restores. */
  readonly lazyRestores: number
}

export const rerecordDefaults: RerecordConfig = {
  missingShareMax: 0.25,
  unusedShareMax: 0.5,
  restoresMin: 5,
  restoresMax: 32,
  sampleEvery: 100,
  recordingsMax: 3,
  lazyRestores: 1000,
}

export type RerecordDecision =
  | { readonly kind: 'keep' }
  /** Record the next restore, only to count its unused pages. */
  | { readonly kind: 'sample' }
  /** Record the next restore, and make its working set the new one. */
  | { readonly kind: 'record'; readonly because: 'missing' | 'unused'; readonly share: number }
  /** Do not prefetch: what invocations touch is not alike. */
  | { readonly kind: 'lazy' }

/** What to do with the next restore. */
export function decide(state: RerecordState, config: RerecordConfig): RerecordDecision {
  assert(config.restoresMin >= 1 && config.restoresMax >= config.restoresMin, 'restoresMin has to be at least 1 and at most restoresMax')
  if (state.lazyLeft > 0) return { kind: 'lazy' }
  if (state.restores.length < config.restoresMin) return { kind: 'keep' }
  const missing = median(state.restores.map((one) => share(one.missing, one.prefetched)))
  if (missing > config.missingShareMax) return { kind: 'record', because: 'missing', share: missing }
  const sampled = state.restores.flatMap((one) => (one.unused === undefined ? [] : [share(one.unused, one.prefetched)]))
  const unused = sampled.length === 0 ? 0 : median(sampled)
  if (unused > config.unusedShareMax) {
    // A second look before recording again: one sample is one invocation (R2).
    return sampled.length > 1 ? { kind: 'record', because: 'unused', share: unused } : { kind: 'sample' }
  }
  return state.sinceSample >= config.sampleEvery ? { kind: 'sample' } : { kind: 'keep' }
}

/** A restore happened. */
export function afterRestore(state: RerecordState, restore: RestoreCounts, config: RerecordConfig): RerecordState {
  if (state.lazyLeft > 0) {
    // A lazy restore says nothing about the working set. After the last one, there is a new attempt.
    const lazyLeft = state.lazyLeft - 1
    return { ...state, lazyLeft, recordingsInVain: lazyLeft === 0 ? 0 : state.recordingsInVain }
  }
  const restores = [...state.restores, restore].slice(-config.restoresMax)
  const next = { ...state, restores, sinceSample: restore.unused === undefined ? state.sinceSample + 1 : 0 }
  // With as many restores as can be remembered and nothing to complain about, the recording was a success (R3).
  return restores.length === config.restoresMax && decide(next, config).kind !== 'record' ? { ...next, recordingsInVain: 0 } : next
}

/** The working set was recorded again, as `decide` asked. */
export function afterRecording(state: RerecordState, config: RerecordConfig): RerecordState {
  const recordingsInVain = state.recordingsInVain + 1
  return { restores: [], sinceSample: 0, recordingsInVain, lazyLeft: recordingsInVain >= config.recordingsMax ? config.lazyRestores : 0 }
}

/** Of a working set without pages every miss is one too many. */
function share(part: number, whole: number): number {
  return whole === 0 ? (part === 0 ? 0 : Infinity) : part / whole
}

/** The lower one of two in the middle, so that it takes more than half of the restores to be over a bound. */
function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)]!
}
