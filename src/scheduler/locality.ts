/**
 * Placement where the data is, as long as that worker is not overloaded.
 *
 * Two things may be known of an instance's data, and both are hints:
 *   references  the bytes that the invocation will pull, by worker. It gets the worker that holds most of them: fewest are moved.
 *   colour      the caller's word that invocations share data (Palette, EuroSys 2023). Every colour has its own order of the workers (rendezvous
 *               hashing); it gets the first that has room. So what has no input yet starts where the others of its colour will put theirs.
 * References come first, because they are known and not guessed: a new instance has no state of its own that a colour could stand for. (Among instances
 * that run it is the other way round: activator/balancer.ts.) In simulation that moves a third fewer bytes than the opposite order.
 *
 * Overload is bounded as in consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA 2018): with n workers and m instances,
 * this one included, no worker is preferred beyond ⌈c·m/n⌉. We differ in two points: a worker's share counts its cores, because workers differ; and one with
 * fewer instances than cores is never overloaded, or a chain of functions on an idle cluster would leave its data at every step.
 *
 * Invariants:
 *   L1. Without hints, and when no preferred worker is below the bound, the answer is the fallback's.
 *   L2. A preferred worker has, with this instance, at most max(cores, ⌈c × its share of all instances by cores⌉) instances.
 *   L3. Without bytes that say otherwise, a colour's worker changes only when that one has no room, or one comes that the colour prefers.
 */
import assert from 'node:assert/strict'
import { hash32, weightOf } from '#contract/rendezvous.ts'
import { INLINE_BYTES_MAX } from '#contract/frames.ts'
import { placementDefaults, unfitReason } from './placement.ts'
import type { Placement, PlacementConfig, PlacementRequest, WorkerView } from './placement.ts'
import { spread } from './policies.ts'

export interface LocalityConfig extends PlacementConfig {
  /** The c of the bound, from 1: how many times its fair share a preferred worker may have. Higher: fewer bytes moved, less even load. */
  readonly loadFactor: number
  /** Fewer bytes than this at a worker are no reason to prefer it. */
  readonly bytesMin: number
}

export const localityDefaults: LocalityConfig = { ...placementDefaults, loadFactor: 1.25, bytesMin: INLINE_BYTES_MAX }

/** @param fallback Decides when no hint does, and without a colour among workers that hold equally many bytes. */
export function locality(fallback: Placement = spread(), config: LocalityConfig = localityDefaults): Placement {
  assert(config.loadFactor >= 1 && config.bytesMin >= 1)
  return {
    name: `locality-${fallback.name}`,
    place(workers, request) {
      const { color, bytesByWorker } = request.hints ?? {}
      if (color === undefined && bytesByWorker === undefined) return fallback.place(workers, request)
      const roomy = belowBound(workers, request, config)
      const holders = bytesByWorker === undefined ? [] : mostBytes(roomy, bytesByWorker, config.bytesMin)
      const chosen = color === undefined ? undefined : preferredBy(color, holders.length > 0 ? holders : roomy)
      if (chosen !== undefined) return { kind: 'placed', workerId: chosen.id }
      return fallback.place(holders.length > 0 ? holders : workers, request)
    },
  }
}

/** The workers that may be preferred (L2). */
function belowBound(workers: readonly WorkerView[], request: PlacementRequest, config: LocalityConfig): WorkerView[] {
  let instances = 1
  let cores = 0
  for (const worker of workers) {
    if (!worker.isAccepting) continue
    instances += worker.instanceCount
    cores += worker.cores
  }
  return workers.filter((worker) => {
    if (unfitReason(worker, request, config) !== undefined) return false
    return worker.instanceCount < Math.max(worker.cores, Math.ceil((config.loadFactor * instances * worker.cores) / cores))
  })
}

/** The first in the colour's order (L3). */
function preferredBy(color: number, workers: readonly WorkerView[]): WorkerView | undefined {
  let best: WorkerView | undefined
  let bestWeight = -Infinity
  for (const worker of workers) {
    const weight = weightOf(color, hash32(worker.id))
    if (weight < bestWeight || (weight === bestWeight && worker.id > best!.id)) continue
    best = worker
    bestWeight = weight
  }
  return best
}

/** Those that hold as many bytes as any; none when that is hardly anything. */
function mostBytes(workers: readonly WorkerView[], bytesByWorker: ReadonlyMap<string, number>, bytesMin: number): WorkerView[] {
  let most = bytesMin
  for (const { id } of workers) most = Math.max(most, bytesByWorker.get(id) ?? 0)
  return workers.filter(({ id }) => (bytesByWorker.get(id) ?? 0) >= most)
}
