/** What the suites of the store ask of an implementation, and what they share. */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import type { ClaimedItem, Store } from './store.ts'

export interface StoreHarness {
  /** Fresh and empty. */
  readonly store: Store
  /** The same data, opened again; the store opened before is closed, if it is not yet. */
  reopen(): Promise<Store>
  /** How another process opens the same data: a module with `openForChild(argument): Promise<Store>`. */
  readonly child: { readonly module: string; readonly argument: string }
  destroy(): Promise<void>
}

export interface StoreConformance {
  readonly name: string
  readonly open: () => Promise<StoreHarness>
  /** Reason by capability. */
  readonly skip?: { readonly kill?: string }
}

/** A test body with a harness that is destroyed whatever happens. */
export function withHarness({ open }: StoreConformance): (body: (harness: StoreHarness) => Promise<void>) => () => Promise<void> {
  return (body) => async () => {
    const harness = await open()
    try {
      await body(harness)
    } finally {
      await harness.destroy()
    }
  }
}

/** Looks until it holds, at most five seconds. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const startMs = performance.now()
  for (let look = 0; !(await holds()); look++) {
    assert(performance.now() - startMs < 5000, `did not come true within 5 s: ${holds}`)
    await (look < 10 ? new Promise((resolve) => setImmediate(resolve)) : pause(5))
  }
}

/** Claims until it has as many as expected. */
export async function claimSome(
  store: Store,
  queue: string,
  count: number,
  options: { readonly leaseMs: number; readonly nowMs: number },
): Promise<ClaimedItem[]> {
  const claimed: ClaimedItem[] = []
  if (count === 0) return claimed
  await until(async () => {
    claimed.push(...(await store.claim(queue, { ...options, limit: count - claimed.length })))
    return claimed.length === count
  })
  return claimed
}
