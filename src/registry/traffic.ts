/**
 * Which revision an invocation gets: a weighted choice, computed once per change and cheap per invocation.
 *
 * Source: Knative Serving's traffic targets: whole per cents that add up to 100, per revision.
 *
 * Invariants:
 *   W1. The choice is a pure function of (route, random number): nothing here draws one.
 *   W2. Over the numbers of [0, 1), a revision gets exactly its weight; one of weight 0 is never chosen.
 */
import { PlatformError } from '#contract/errors.ts'
import type { Revision, TrafficShare } from '#contract/function-config.ts'

export type Route =
  /** Nearly every function: no choice to make. */
  | { readonly kind: 'one'; readonly revision: Revision }
  /** Upper bounds of the revisions' slices of [0, 1), ascending; the last is 1. */
  | { readonly kind: 'split'; readonly revisions: readonly Revision[]; readonly bounds: readonly number[] }

/** @param shares Checked by {@link checkTraffic}; `revisionOf` knows each of them. */
export function makeRoute(shares: readonly TrafficShare[], revisionOf: (number: number) => Revision): Route {
  const used = shares.filter((share) => share.weight > 0)
  if (used.length === 1) return { kind: 'one', revision: revisionOf(used[0]!.revision) }
  let sum = 0
  // A sum of whole per cents is exact, so the last bound is exactly 1.
  const bounds = used.map((share) => (sum += share.weight) / 100)
  return { kind: 'split', revisions: used.map((share) => revisionOf(share.revision)), bounds }
}

/** @param random01 A number of [0, 1). */
export function pickRevision(route: Route, random01: number): Revision {
  if (route.kind === 'one') return route.revision
  const bounds = route.bounds
  let index = 0
  while (index < bounds.length - 1 && random01 >= bounds[index]!) index++
  return route.revisions[index]!
}

export function routedRevisions(route: Route): readonly Revision[] {
  return route.kind === 'one' ? [route.revision] : route.revisions
}

/** @throws INPUT_INVALID when weights are no whole per cents that add up to 100, or a revision stands there twice. */
export function checkTraffic(shares: readonly TrafficShare[]): void {
  const seen = new Set<number>()
  let sum = 0
  for (const { revision, weight } of shares) {
    if (!Number.isInteger(weight) || weight < 0 || weight > 100) {
      throw new PlatformError('INPUT_INVALID', `The weight of revision ${revision} is ${weight}; give a whole number from 0 to 100.`)
    }
    if (seen.has(revision)) {
      throw new PlatformError('INPUT_INVALID', `Revision ${revision} stands twice in the traffic; give it one share.`)
    }
    seen.add(revision)
    sum += weight
  }
  if (sum !== 100) {
    throw new PlatformError('INPUT_INVALID', `The weights add up to ${sum}; make them add up to 100.`, { details: { sum } })
  }
}
