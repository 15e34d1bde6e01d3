/**
 * Decides how long an idle instance stays, and when to start one ahead of the next invocation.
 *
 * Two questions, one policy per function: an instance that fell idle is kept until `keepUntilMs`; if the policy expects
 * the next invocation later than that, it names a time to start one again (`prewarmAtMs`). The policy learns from when
 * the function as a whole is busy and idle, and is asked per instance.
 *
 * The fixed policy keeps each idle instance for the same time. A second one, hybrid-histogram.ts, learns the
 * times between invocations (Shahrad et al., "Serverless in the Wild", USENIX ATC 2020, section 4).
 *
 * Invariants:
 *   K1. Time arrives in the calls; nothing here reads a clock.
 *   K2. `prewarmAtMs`, where present, is not before `keepUntilMs`.
 *   K3. `busy` and `idle` allocate nothing: they run for every invocation of a function that has one at a time.
 */
import assert from 'node:assert/strict'

export interface KeepAliveDecision {
  /** The instance may be stopped from then on. In the past: now. */
  readonly keepUntilMs: number
  /** Start one instance at this time if the function has none by then. */
  readonly prewarmAtMs?: number
}

/** One per function. */
export interface KeepAlive {
  /** The function, which had nothing in flight or queued, got an invocation. */
  busy(atMs: number): void
  /** The function's last invocation in flight ended. */
  idle(atMs: number): void
  /**
   * For one idle instance.
   * @param nowMs The present.
   * @param idleSinceMs When the instance answered its last invocation, or became ready if it never had one.
   */
  decide(nowMs: number, idleSinceMs: number): KeepAliveDecision
}

/** Keeps every idle instance for `keepAliveMs` (0 or more; Infinity for ever). Never pre-warms. */
export function fixedKeepAlive(keepAliveMs: number): KeepAlive {
  assert(keepAliveMs >= 0)
  return {
    busy() {},
    idle() {},
    decide: (_nowMs, idleSinceMs) => ({ keepUntilMs: idleSinceMs + keepAliveMs }),
  }
}

/** What {@link idleToStop} must know of an instance. */
export interface IdleInstance {
  /** Handed over and not answered. */
  readonly inFlight: number
  /** When it answered its last invocation or became ready. Same clock as `nowMs`. */
  readonly idleSinceMs: number
}

/**
 * The instances that may go now: idle, beyond the desired count, and past their keep-alive; the longest idle first.
 * The desired count (scale-decision.ts) is 0 only after an empty stable window, and never below instancesMin.
 *
 * @param instances The ready ones. Those that are starting count neither here nor in `desiredCount`'s use: they are wanted.
 */
export function idleToStop<T extends IdleInstance>(
  instances: readonly T[],
  desiredCount: number,
  keepAlive: KeepAlive,
  nowMs: number,
): readonly T[] {
  const surplus = instances.length - desiredCount
  if (surplus <= 0) return []
  return instances
    .filter((one) => one.inFlight === 0 && keepAlive.decide(nowMs, one.idleSinceMs).keepUntilMs <= nowMs)
    .sort((a, b) => a.idleSinceMs - b.idleSinceMs)
    .slice(0, surplus)
}
