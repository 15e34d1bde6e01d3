/**
 * Decides how many instances a function should have.
 *
 * The autoscaler observes concurrency over two windows. The stable window (60 s) says what the load is; the panic
 * window (6 s) says whether it has just changed. When the panic window alone would ask for twice the instances that are
 * ready, the decider panics: it follows the short window, and holds the highest count it reached until one whole stable
 * window has passed without cause for panic.
 *
 * This is the slow loop: it keeps the count that a load of minutes needs, some utilisation below what instances could
 * carry. The first instance and the answer to a burst do not wait for its tick: activator/burst-decision.ts starts those
 * per request. Feed it what instances hold; what still queues is the burst decision's matter.
 *
 * Source: thesis 2.3; Knative Serving, pkg/autoscaler/scaling/autoscaler.go, read for its behaviour. Where we differ: no
 * scale-down delay, because keep-alive (keep-alive.ts) already holds idle instances; utilisation is part of the decision.
 *
 * Invariants:
 *   D1. A decision is a pure function of (state, observation, config). Time arrives in the observation; nothing here
 *       reads a clock.
 *   D2. While panicking, the desired count never decreases.
 *   D3. Except to hold a panic's peak and to keep D4, one decision moves the count, from the ready count, at most by the
 *       scale-up and scale-down rates.
 *   D4. instancesMin ≤ desired count ≤ instancesMax.
 *   D5. The desired count is zero only if instancesMin is, and the whole stable window was empty.
 *   D6. While the CPU is busy, the desired count rises neither above the ready count nor above a panic's peak (but to one,
 *       and to instancesMin): instances that compute are full for want of a core, and more of them would be full as well.
 */
import assert from 'node:assert/strict'

/** What the autoscaler saw in one tick, over both windows (concurrency-window.ts). */
export interface Observation {
  /** Any clock that never runs backwards. */
  readonly atMs: number
  readonly readyCount: number
  readonly stableConcurrency: number
  readonly panicConcurrency: number
  /** Of the workers' CPU since the last tick, 0..1; absent where it is not measured, which counts as idle. */
  readonly cpuIdleShare?: number
}

/** Carried from one decision to the next. Start with {@link calm}. */
export type DeciderState =
  | { readonly mode: 'calm' }
  | { readonly mode: 'panic'; readonly lastCauseMs: number; readonly peakCount: number }

export interface Decision {
  readonly desiredCount: number
  readonly state: DeciderState
}

export interface DeciderConfig {
  /** Invocations that one instance can hold at once. */
  readonly concurrency: number
  /** Share of `concurrency` that an instance should carry on average, above 0 to 1. Lower: more room for what comes next, more instances. */
  readonly targetUtilisation: number
  /** The panic window's desired count over the ready count, at or above which we panic. */
  readonly panicThreshold: number
  /** What the load is, is averaged over this long; and for so long it must stay unremarkable before a panic ends. */
  readonly stableWindowMs: number
  /** Whether the load has just changed is averaged over this long. */
  readonly panicWindowMs: number
  /** The most one decision may multiply the ready count by. */
  readonly scaleUpRateMax: number
  /** The most one decision may divide the ready count by. */
  readonly scaleDownRateMax: number
  /** Below this idle share the CPU counts as busy (D6). */
  readonly cpuIdleShareMin: number
  readonly instancesMin: number
  readonly instancesMax: number
}

export const deciderDefaults: DeciderConfig = {
  concurrency: 100,
  targetUtilisation: 0.7,
  panicThreshold: 2,
  stableWindowMs: 60_000,
  panicWindowMs: 6_000,
  scaleUpRateMax: 1000,
  scaleDownRateMax: 2,
  cpuIdleShareMin: 0.1,
  instancesMin: 0,
  instancesMax: 1000,
}

export const calm: DeciderState = { mode: 'calm' }

/**
 * The decider's configuration for a function's own limits. A function that asks for a shorter keep-alive than the stable
 * window gets a shorter stable window (never below the panic window): otherwise D5 would hold its instances against its will.
 */
export function deciderConfigFor(
  limits: { readonly concurrency: number; readonly instancesMin: number; readonly instancesMax: number; readonly keepAliveMs: number },
  defaults: DeciderConfig = deciderDefaults,
): DeciderConfig {
  const { concurrency, instancesMin, instancesMax, keepAliveMs } = limits
  const stableWindowMs = Math.max(defaults.panicWindowMs, Math.min(defaults.stableWindowMs, keepAliveMs))
  return { ...defaults, concurrency, instancesMin, instancesMax: Math.max(instancesMin, instancesMax), stableWindowMs }
}

export function decide(state: DeciderState, observation: Observation, config: DeciderConfig): Decision {
  assert(config.concurrency > 0 && config.targetUtilisation > 0 && config.targetUtilisation <= 1)
  assert(config.scaleUpRateMax > 1 && config.scaleDownRateMax > 1)
  assert(config.instancesMin <= config.instancesMax)
  assert(observation.readyCount >= 0)

  // A function with no instances still has one to multiply: otherwise it could never leave zero.
  const baseCount = Math.max(1, observation.readyCount)
  const cpuCountMax = (observation.cpuIdleShare ?? 1) < config.cpuIdleShareMin ? baseCount : Infinity
  const stableCount = Math.min(boundedCount(observation.stableConcurrency, baseCount, config), cpuCountMax)
  const panicCount = Math.min(boundedCount(observation.panicConcurrency, baseCount, config), cpuCountMax)

  const panicRatio = countFor(observation.panicConcurrency, config) / baseCount
  if (panicRatio >= config.panicThreshold) {
    const peakCount = withinLimits(Math.max(peakOf(state), panicCount, stableCount), config)
    return { desiredCount: peakCount, state: { mode: 'panic', lastCauseMs: observation.atMs, peakCount } }
  }

  if (state.mode === 'panic' && observation.atMs - state.lastCauseMs < config.stableWindowMs) {
    const peakCount = withinLimits(Math.max(state.peakCount, panicCount, stableCount), config)
    return { desiredCount: peakCount, state: { ...state, peakCount } }
  }

  // A scale-down rate above the ready count would divide the last instance away under a load that is small, but there.
  const countMin = observation.stableConcurrency > 0 ? 1 : 0
  return { desiredCount: withinLimits(Math.max(stableCount, countMin), config), state: calm }
}

function countFor(concurrency: number, config: DeciderConfig): number {
  return Math.ceil(concurrency / (config.concurrency * config.targetUtilisation))
}

/** {@link countFor}, kept within the rates (D3). */
function boundedCount(concurrency: number, baseCount: number, config: DeciderConfig): number {
  const countMax = Math.ceil(baseCount * config.scaleUpRateMax)
  const countMin = Math.floor(baseCount / config.scaleDownRateMax)
  return Math.min(Math.max(countFor(concurrency, config), countMin), countMax)
}

/** D4. Limits may change from one decision to the next, so a peak that was held is bounded anew. */
function withinLimits(count: number, config: DeciderConfig): number {
  return Math.max(config.instancesMin, Math.min(count, config.instancesMax))
}

function peakOf(state: DeciderState): number {
  return state.mode === 'panic' ? state.peakCount : 0
}
