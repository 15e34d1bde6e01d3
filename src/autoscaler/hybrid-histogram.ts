/**
 * Keep-alive that learns: how long a function is idle between invocations says when to let go and when to start again.
 *
 * A histogram of idle times, one bin per minute. Below its head (5th percentile) hardly ever an invocation comes: no
 * instance is needed. Beyond its tail (99th percentile) hardly ever one still comes: it may go.
 *
 *   idle ├──────── no instance ────────┤pre-warm├──────────── kept ─────────────┤ gone
 *        0                           head - 10 %                          tail + 10 %
 *
 * With a head in the first bin the instance is simply kept until the tail. The histogram decides only where it says
 * something: enough samples, few of them beyond its range, and bins that differ (coefficient of variation of their counts
 * of 2 or more: a flat histogram predicts nothing). Otherwise the fixed time holds.
 *
 * Source: Shahrad et al., "Serverless in the Wild", USENIX ATC 2020, section 4.2. Where we differ: functions that are idle
 * for longer than the range get the fixed time, instead of an ARIMA forecast; nothing is kept across restarts.
 *
 * Invariants: K1 to K3 of keep-alive.ts, and
 *   H1. Until the histogram has something to say, decisions are those of the fixed policy.
 *   H2. An instance that is idle while the function is not is surplus, and gets the fixed time.
 */
import assert from 'node:assert/strict'
import type { KeepAlive, KeepAliveDecision } from './keep-alive.ts'

export interface HybridHistogramConfig {
  /** For a function that the histogram says nothing about, and for surplus instances. */
  readonly fallbackMs: number
  readonly binMs: number
  /** The range is so many bins; longer idle times are out of bounds. */
  readonly binCount: number
  /** Of the idle times, 0..1: hardly any is shorter. Higher: later pre-warming, fewer idle instances, more cold starts. */
  readonly headShare: number
  /** Of the idle times, 0..1: hardly any is longer. Higher: longer keep-alive, fewer cold starts. */
  readonly tailShare: number
  /** How much earlier than the head and later than the tail, as a share of either. */
  readonly margin: number
  /** Idle times to have seen before the histogram decides. */
  readonly samplesMin: number
  /** Coefficient of variation of the bins' counts, at or above which it decides. */
  readonly variationMin: number
  /** Share of idle times out of bounds, above which it does not decide. */
  readonly outOfBoundsShareMax: number
}

export const hybridHistogramDefaults: HybridHistogramConfig = {
  fallbackMs: 600_000,
  binMs: 60_000,
  binCount: 240,
  headShare: 0.05,
  tailShare: 0.99,
  margin: 0.1,
  samplesMin: 10,
  variationMin: 2,
  outOfBoundsShareMax: 0.5,
}

/** One per function. */
export function hybridHistogram(config: HybridHistogramConfig = hybridHistogramDefaults): KeepAlive {
  return new HybridHistogram(config)
}

class HybridHistogram implements KeepAlive {
  readonly #config: HybridHistogramConfig
  readonly #bins: Uint32Array
  #sampleCount = 0
  #outOfBoundsCount = 0
  /** Of the counts, kept up to date so that their variation needs no pass. */
  #squareSum = 0
  /** When the function became idle; NaN while it is not, or never was. */
  #idleSinceMs = NaN

  constructor(config: HybridHistogramConfig) {
    assert(config.binMs > 0 && config.binCount >= 1 && config.fallbackMs >= 0)
    assert(config.headShare >= 0 && config.headShare <= config.tailShare && config.tailShare <= 1)
    assert(config.margin >= 0 && config.margin < 1)
    this.#config = config
    this.#bins = new Uint32Array(config.binCount)
  }

  busy(atMs: number): void {
    const idleMs = atMs - this.#idleSinceMs
    this.#idleSinceMs = NaN
    if (!(idleMs >= 0)) return
    const bin = Math.floor(idleMs / this.#config.binMs)
    if (bin >= this.#bins.length) {
      this.#outOfBoundsCount++
      return
    }
    this.#squareSum += 2 * this.#bins[bin]! + 1
    this.#bins[bin]!++
    this.#sampleCount++
  }

  idle(atMs: number): void {
    this.#idleSinceMs = atMs
  }

  decide(nowMs: number, idleSinceMs: number): KeepAliveDecision {
    const { fallbackMs, binMs, headShare, tailShare, margin } = this.#config
    const isFunctionIdle = !Number.isNaN(this.#idleSinceMs)
    if (!isFunctionIdle || !this.#isRepresentative()) return { keepUntilMs: idleSinceMs + fallbackMs }

    const headMs = this.#binAt(headShare) * binMs * (1 - margin)
    const keepUntilMs = this.#idleSinceMs + (this.#binAt(tailShare) + 1) * binMs * (1 + margin)
    const prewarmAtMs = this.#idleSinceMs + headMs
    if (headMs === 0 || nowMs >= prewarmAtMs) return { keepUntilMs }
    return { keepUntilMs: this.#idleSinceMs, prewarmAtMs }
  }

  #isRepresentative(): boolean {
    const { samplesMin, variationMin, outOfBoundsShareMax } = this.#config
    const count = this.#sampleCount
    if (count < samplesMin) return false
    if (this.#outOfBoundsCount > outOfBoundsShareMax * (count + this.#outOfBoundsCount)) return false
    const mean = count / this.#bins.length
    const variance = this.#squareSum / this.#bins.length - mean * mean
    return Math.sqrt(Math.max(0, variance)) >= variationMin * mean
  }

  /** The bin in which the share of all samples is reached. */
  #binAt(share: number): number {
    const target = Math.max(1, Math.ceil(share * this.#sampleCount))
    let sum = 0
    for (let bin = 0; bin < this.#bins.length; bin++) {
      sum += this.#bins[bin]!
      if (sum >= target) return bin
    }
    return this.#bins.length - 1
  }
}
