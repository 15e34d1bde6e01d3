/**
 * What an invocation costs: memory limit × time actually run, and a little per request, as the large clouds bill; but by
 * the µs that the handler ran, never rounded up, and nothing for an invocation that got no instance.
 */
import type { StartKind } from '#contract/invocation-record.ts'

export interface Prices {
  /** For one GB (1024 MB) of memory limit during one second of run time. */
  readonly perGbSecond: number
  /** For a million invocations. */
  readonly perMillionInvocations: number
  /** Name of the unit that the two are in. */
  readonly currency: string
}

/** The usual list price of the large clouds, in US dollars. */
export const priceDefaults: Prices = { perGbSecond: 0.0000166667, perMillionInvocations: 0.2, currency: 'USD' }

/** @param runUs Run time, µs. @param memoryLimitMb Memory limit of the instance, MB. @returns GB·ms: what is billed. */
export function gbMsOf(runUs: number, memoryLimitMb: number): number {
  return (runUs * memoryLimitMb) / (1024 * 1000)
}

/** @param start How it started; `none`: it never reached an instance, and costs nothing. @returns in the prices' currency. */
export function costOf(gbMs: number, start: StartKind, prices: Prices): number {
  if (start === 'none') return 0
  return (gbMs / 1000) * prices.perGbSecond + prices.perMillionInvocations / 1_000_000
}
