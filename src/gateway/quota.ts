/**
 * How many invocations a namespace may have: accepted per minute, and under way at once.
 *
 * The rate is GCRA, the "virtual scheduling" form of the leaky bucket: one number per namespace, the theoretical arrival
 * time of the next invocation. Each accepted one moves it on by the interval 1 min / rate, and one that comes more than a
 * minute ahead of it is refused. So a namespace that was quiet may spend the whole minute at once, and then gets one per
 * interval: no window in which a counter starts anew.
 *
 * Source: ITU-T I.371, annex A (GCRA).
 *
 * Invariants:
 *   Q1. A decision is a pure function of (state, time handed in). In any time t, at most rate · (1 + t / 1 min) are accepted.
 *   Q2. An accepted one allocates nothing and must be released once; a refused one has changed nothing.
 *   Q3. `retryAfterMs` of a rate refusal is exact: the same namespace, left alone, accepts then and not before.
 */
import assert from 'node:assert/strict'

export interface QuotaLimits {
  readonly invocationsPerMinute: number
  readonly concurrentInvocations: number
}

export type Admission =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'rate'; readonly retryAfterMs: number; readonly limit: number }
  /** When one ends can't be known: a hint. */
  | { readonly kind: 'concurrency'; readonly retryAfterMs: number; readonly limit: number }

const MINUTE_MS = 60_000
const CONCURRENCY_RETRY_MS = 1000
const ACCEPTED: Admission = { kind: 'accepted' }

/** The quota of one namespace. */
export class NamespaceQuota {
  #ratePerMinute = 1
  #concurrencyMax = 1
  #intervalMs = MINUTE_MS
  /** Theoretical arrival time. */
  #arrivalMs = -Infinity
  #running = 0

  constructor(limits: QuotaLimits) {
    this.limit(limits)
  }

  get running(): number {
    return this.#running
  }

  /** New limits, from the next invocation on. */
  limit(limits: QuotaLimits): void {
    assert(limits.invocationsPerMinute > 0 && limits.concurrentInvocations > 0)
    this.#ratePerMinute = limits.invocationsPerMinute
    this.#concurrencyMax = limits.concurrentInvocations
    this.#intervalMs = MINUTE_MS / limits.invocationsPerMinute
  }

  /** @param nowMs Of any clock that does not go back. After `accepted`, {@link release} must follow. */
  admit(nowMs: number): Admission {
    if (this.#running >= this.#concurrencyMax) return { kind: 'concurrency', retryAfterMs: CONCURRENCY_RETRY_MS, limit: this.#concurrencyMax }
    const arrivalMs = Math.max(this.#arrivalMs, nowMs) + this.#intervalMs
    // The tolerance is what the interval has run up by rounding, far below any time that can be measured.
    const earlyMs = arrivalMs - nowMs - MINUTE_MS
    if (earlyMs > 1e-6) return { kind: 'rate', retryAfterMs: earlyMs, limit: this.#ratePerMinute }
    this.#arrivalMs = arrivalMs
    this.#running++
    return ACCEPTED
  }

  release(): void {
    assert(this.#running > 0, 'released more often than accepted')
    this.#running--
  }
}

/** The quotas of all namespaces, each made when first asked for. */
export class Quotas {
  readonly #limitsOf: (namespace: string) => QuotaLimits
  readonly #quotas = new Map<string, NamespaceQuota>()

  constructor(options: { readonly limitsOf: (namespace: string) => QuotaLimits }) {
    this.#limitsOf = options.limitsOf
  }

  /** @param namespace One that exists: this is what bounds the map. */
  of(namespace: string): NamespaceQuota {
    const known = this.#quotas.get(namespace)
    if (known !== undefined) return known
    const quota = new NamespaceQuota(this.#limitsOf(namespace))
    this.#quotas.set(namespace, quota)
    return quota
  }

  /** One that was accepted has ended; its namespace may be gone by now. */
  release(namespace: string): void {
    this.#quotas.get(namespace)?.release()
  }

  /**
   * The limits of a namespace have changed, or (undefined) it is gone. What still runs of one that is gone stays counted,
   * also against the next of its name.
   */
  changed(namespace: string, limits: QuotaLimits | undefined): void {
    const quota = this.#quotas.get(namespace)
    if (limits !== undefined) quota?.limit(limits)
    else if (quota?.running === 0) this.#quotas.delete(namespace)
  }
}
