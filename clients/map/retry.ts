/**
 * Whether an attempt that failed is made again, and when. Pure.
 *
 * Three kinds of failure: the platform refused before anything ran (full, over a quota): asked again with patience, not counted. What ran was
 * lost (its instance died, perhaps by a neighbour on it; a connection broke): counted against `retries`. Anything else would fail again.
 * A function may so run more than once, and has to bear that, as with every platform that retries.
 */
import { platformErrors } from '../../src/contract/errors.ts'
import type { PlatformErrorCode } from '../../src/contract/errors.ts'

const refused: ReadonlySet<PlatformErrorCode> = new Set(['RATE_EXCEEDED', 'CONCURRENCY_EXCEEDED', 'MEMORY_EXCEEDED', 'QUEUE_FULL', 'QUEUE_TIMEOUT', 'OBJECT_QUOTA_EXCEEDED'])
/** The table says never: the same input may be at fault. In a map, an instance is shared, and most deaths are somebody else's. */
const died: ReadonlySet<PlatformErrorCode> = new Set(['FUNCTION_EXITED', 'FUNCTION_OUT_OF_MEMORY'])

/** How long to go on asking a platform that refuses. */
const PATIENCE_MS = 3_600_000
const FIRST_MS = 50
const LONGEST_MS = 5_000

export type Verdict = { readonly kind: 'fail' } | { readonly kind: 'again'; readonly delayMs: number; readonly counted: boolean }

export interface Failure {
  readonly code: PlatformErrorCode
  /** Attempts that failed before, of the same kind. */
  readonly before: number
  readonly retries: number
  /** Since the platform has refused this task for the first time. */
  readonly refusedMs: number
  /** Number of [0, 1): spreads those that were refused together. */
  readonly random01: number
}

export function afterFailure({ code, before, retries, refusedMs, random01 }: Failure): Verdict {
  const delayMs = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(before, 16)) * (0.5 + random01 / 2)
  if (refused.has(code)) return refusedMs > PATIENCE_MS ? { kind: 'fail' } : { kind: 'again', delayMs, counted: false }
  const { fault, retry } = platformErrors[code]
  const helps = died.has(code) || code === 'SERVER_UNREACHABLE' || (fault === 'platform' && retry !== 'never')
  return helps && before < retries ? { kind: 'again', delayMs, counted: true } : { kind: 'fail' }
}

export function isRefusal(code: PlatformErrorCode): boolean {
  return refused.has(code)
}
