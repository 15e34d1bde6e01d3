/** Percentiles and ratios of samples, as the scenarios report them. */

/** The p-th percentile, 0..100, of samples in any order: the smallest that at least p % are not above. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? Number.NaN
}

export function median(samples: readonly number[]): number {
  return percentile(samples, 50)
}

/** p99 over p50 (thesis 3.4: the tail-to-median ratio). */
export function tmr(samples: readonly number[]): number {
  return round(percentile(samples, 99) / percentile(samples, 50))
}

export function round(value: number, digits = 2): number {
  return Number(value.toFixed(digits))
}
