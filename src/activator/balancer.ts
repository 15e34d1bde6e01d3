/**
 * Picks which of a function's ready instances gets the next invocation.
 *
 * Load-aware (thesis 2.3): the instance that computes least, then the one that holds least, because a waiting invocation
 * costs memory but no time of others. On a tie the most recently used one: its caches are warm, and the others become
 * idle long enough for keep-alive to end them. Above {@link SCAN_MAX} instances two random ones are compared instead
 * (Mitzenmacher, "The Power of Two Choices", 2001), and only when neither has room all are scanned.
 *
 * An invocation with a colour (contract/color.ts) goes to the first instance with room in its colour's own order: equal colours meet where what they
 * share is in memory, and one that finds no room there goes to the same next one as the others. It waits no longer than without.
 *
 * Invariants:
 *   B1. An instance is picked only if it has room by all three limits; {@link NONE} means that none has.
 *   B2. Pure but for the random source handed in, and allocates nothing: it runs for every invocation.
 *   B3. A colour changes which instance is picked, never whether one is. As long as its instance has room, it is that one.
 */
import { weightOf } from '#contract/rendezvous.ts'
import { NO_COLOR } from '#contract/color.ts'
import type { InstanceLoad } from '#contract/instance-load.ts'

/** No instance has room. */
export const NONE = -1

/** Up to this many instances a full scan is as fast as two random picks, and better. */
export const SCAN_MAX = 64

/**
 * Index of the best instance with room, or {@link NONE}.
 *
 * @param inFlightMax An instance with this many in flight has no room; at least 1.
 * @param computingMax Nor has one with this many computing; at least 1.
 * @param stuckBeforeUs Nor one that computes and has made no progress since before this time: what is bound to it waits
 *   for it, what stays in the queue may go elsewhere. -Infinity switches this off.
 */
export function pickLeastLoaded(
  instances: readonly InstanceLoad[],
  inFlightMax: number,
  computingMax: number,
  stuckBeforeUs: number,
): number {
  let best = NONE
  let bestComputing = 0
  let bestInFlight = 0
  let bestLastUsedUs = 0
  for (let index = 0; index < instances.length; index++) {
    const { inFlight, computing, computingSinceUs, lastUsedUs } = instances[index]!
    if (inFlight >= inFlightMax || computing >= computingMax) continue
    if (computing > 0 && computingSinceUs < stuckBeforeUs) continue
    if (best !== NONE) {
      if (computing > bestComputing) continue
      if (computing === bestComputing) {
        if (inFlight > bestInFlight) continue
        if (inFlight === bestInFlight && lastUsedUs <= bestLastUsedUs) continue
      }
    }
    best = index
    bestComputing = computing
    bestInFlight = inFlight
    bestLastUsedUs = lastUsedUs
  }
  return best
}

/**
 * The better of two random instances, or {@link NONE} when neither has room (which does not mean that none has).
 * Same limits as {@link pickLeastLoaded}.
 *
 * @param random Numbers in [0, 1).
 */
export function pickOfTwo(
  instances: readonly InstanceLoad[],
  inFlightMax: number,
  computingMax: number,
  stuckBeforeUs: number,
  random: () => number,
): number {
  const count = instances.length
  if (count === 0) return NONE
  const first = Math.floor(random() * count)
  // The second is any but the first, unless there is only one.
  const second = count === 1 ? first : (first + 1 + Math.floor(random() * (count - 1))) % count
  const one = instances[first]!
  const other = instances[second]!
  const oneHasRoom = hasRoom(one, inFlightMax, computingMax, stuckBeforeUs)
  const otherHasRoom = hasRoom(other, inFlightMax, computingMax, stuckBeforeUs)
  if (!oneHasRoom) return otherHasRoom ? second : NONE
  return otherHasRoom && isBetter(other, one) ? second : first
}

/**
 * The instance with room that the colour wants most, or {@link NONE}. Same limits as {@link pickLeastLoaded}.
 *
 * @param seeds A hash of each instance's name, at its index: indexes change when instances go.
 */
export function pickColored(
  instances: readonly InstanceLoad[],
  inFlightMax: number,
  computingMax: number,
  stuckBeforeUs: number,
  color: number,
  seeds: readonly number[],
): number {
  let best = NONE
  let bestWeight = 0
  for (let index = 0; index < instances.length; index++) {
    if (!hasRoom(instances[index]!, inFlightMax, computingMax, stuckBeforeUs)) continue
    const weight = weightOf(color, seeds[index]!)
    if (best !== NONE && weight <= bestWeight) continue
    best = index
    bestWeight = weight
  }
  return best
}

/** {@link pickColored} for a colour; otherwise {@link pickLeastLoaded} for small sets, {@link pickOfTwo} for large ones, scanning only when both picks are full. */
export function pick(
  instances: readonly InstanceLoad[],
  inFlightMax: number,
  computingMax: number,
  stuckBeforeUs: number,
  random: () => number,
  color: number,
  seeds: readonly number[],
): number {
  if (color !== NO_COLOR) return pickColored(instances, inFlightMax, computingMax, stuckBeforeUs, color, seeds)
  if (instances.length > SCAN_MAX) {
    const index = pickOfTwo(instances, inFlightMax, computingMax, stuckBeforeUs, random)
    if (index !== NONE) return index
  }
  return pickLeastLoaded(instances, inFlightMax, computingMax, stuckBeforeUs)
}

function hasRoom(load: InstanceLoad, inFlightMax: number, computingMax: number, stuckBeforeUs: number): boolean {
  if (load.inFlight >= inFlightMax || load.computing >= computingMax) return false
  return load.computing === 0 || load.computingSinceUs >= stuckBeforeUs
}

function isBetter(load: InstanceLoad, than: InstanceLoad): boolean {
  if (load.computing !== than.computing) return load.computing < than.computing
  if (load.inFlight !== than.inFlight) return load.inFlight < than.inFlight
  return load.lastUsedUs > than.lastUsedUs
}
