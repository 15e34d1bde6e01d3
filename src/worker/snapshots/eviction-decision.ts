/**
 * Decides which snapshots go when the disk budget has no room for another one.
 *
 * The least recently used ones go, as many as are needed and no more. A snapshot that is lost costs its function one cold start, and
 * most functions are called less than once a minute and some less than once a week (thesis 5.4.2), so that the one that has
 * waited longest is the one that will be missed last.
 *
 * Invariants:
 *   E1. Nothing that is in use goes.
 *   E2. Either there is room afterwards, or nothing goes: nobody loses a snapshot for one that does not fit anyway.
 */
export interface Evictable {
  readonly bytes: number
  readonly lastUsedMs: number
  readonly inUse: boolean
}

export interface Budget {
  /** What is on the disk, in bytes, with all that is in use or being written. */
  readonly usedBytes: number
  /** What is to be added. */
  readonly neededBytes: number
  readonly bytesMax: number
}

/** @returns What has to go, the least recently used first; undefined when there is no room even so. */
export function chooseEvictions<One extends Evictable>(snapshots: Iterable<One>, { usedBytes, neededBytes, bytesMax }: Budget): One[] | undefined {
  let excess = usedBytes + neededBytes - bytesMax
  if (excess <= 0) return []
  const evicted: One[] = []
  const candidates = [...snapshots].filter((one) => !one.inUse).sort((a, b) => a.lastUsedMs - b.lastUsedMs)
  for (const one of candidates) {
    if (excess <= 0) break
    evicted.push(one)
    excess -= one.bytes
  }
  return excess <= 0 ? evicted : undefined
}
