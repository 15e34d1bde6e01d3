/** Whether and when a failed asynchronous invocation runs again: exponential backoff with full jitter, then the dead letters. */

export interface FailedAttempt {
  /** From 1. */
  readonly attempt: number
  readonly nowMs: number
  /** In [0, 1). */
  readonly random: number
}

export interface RetryConfig {
  readonly retriesMax: number
  readonly retryBackoffMs: number
}

export type AfterFailure = { readonly kind: 'retry'; readonly dueAtMs: number } | { readonly kind: 'bury' }

/** Longer than an hour between attempts helps nobody: whoever waits looks at the dead letters by then. */
const BACKOFF_MS_MAX = 3_600_000

export function afterFailure(failed: FailedAttempt, config: RetryConfig): AfterFailure {
  if (failed.attempt > config.retriesMax) return { kind: 'bury' }
  const backoffMs = Math.min(BACKOFF_MS_MAX, config.retryBackoffMs * 2 ** (failed.attempt - 1))
  // Half fixed, half random: retries of a burst spread out, and none comes at once.
  return { kind: 'retry', dueAtMs: failed.nowMs + backoffMs * (0.5 + failed.random / 2) }
}
