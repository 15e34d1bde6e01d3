/**
 * Which tasks get a second copy (MapReduce section 3.6, backup tasks; Occupy the Cloud section 3.3). Pure.
 *
 * Near the end of a map, a task that has run for more than twice the median of those that are done is likely on a bad instance, not on bad
 * input. A copy is cheap then, for there is room; the first answer wins.
 *
 * Invariants:
 *   S1. No copy before `share` of the tasks are done, and none while the median says that the task may just be slow to come.
 *   S2. A task gets one copy.
 */
export interface Running {
  readonly startedMs: number
  readonly copied: boolean
}

export interface StragglerRule {
  /** Of the tasks that must be done. */
  readonly share: number
  /** Times the median. */
  readonly factor: number
  /** Copies of what takes less are not worth their cost, ms. */
  readonly leastMs: number
}

export const stragglerRule: StragglerRule = { share: 0.95, factor: 2, leastMs: 20 }

export interface Stragglers {
  /** Positions in `running`. */
  readonly copy: readonly number[]
  /** When to ask again, if nothing else happens. */
  readonly nextMs?: number
}

/** @param doneMs How long each finished task took. */
export function findStragglers(running: readonly Running[], doneMs: readonly number[], total: number, nowMs: number, rule: StragglerRule = stragglerRule): Stragglers {
  if (doneMs.length === 0 || doneMs.length < rule.share * total) return { copy: [] }
  const sorted = doneMs.toSorted((a, b) => a - b)
  const limitMs = Math.max(rule.leastMs, rule.factor * sorted[Math.floor((sorted.length - 1) / 2)]!)
  const copy: number[] = []
  let nextMs = Infinity
  running.forEach((task, at) => {
    if (task.copied) return
    if (nowMs - task.startedMs > limitMs) copy.push(at)
    else nextMs = Math.min(nextMs, task.startedMs + limitMs + 1)
  })
  return nextMs === Infinity ? { copy } : { copy, nextMs }
}
