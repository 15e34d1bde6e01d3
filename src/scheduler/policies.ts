/**
 * The two classical orders of workers.
 *
 * Spread: fewest instances first, so that a burst meets as many cores as there are, and the loss of a worker costs least.
 * Pack: fullest first, so that whole workers stay empty and can be switched off or given to large instances.
 * Both prefer, among equals, a worker with a stem cell of the kind: the start is shorter by a boot.
 */
import { placementBy, placementDefaults } from './placement.ts'
import type { Placement, PlacementConfig, PlacementRequest, WorkerView } from './placement.ts'

/** Fewest instances per worker first; then a stem cell of the kind; then most free memory. */
export function spread(config: PlacementConfig = placementDefaults): Placement {
  return placementBy(
    'spread',
    (one, other, request) =>
      one.instanceCount - other.instanceCount || byStemCell(one, other, request) || freeMb(other) - freeMb(one),
    config,
  )
}

/** Least free memory first; then a stem cell of the kind. */
export function pack(config: PlacementConfig = placementDefaults): Placement {
  return placementBy('pack', (one, other, request) => freeMb(one) - freeMb(other) || byStemCell(one, other, request), config)
}

function freeMb(worker: WorkerView): number {
  return worker.memoryMb - worker.memoryPromisedMb
}

function byStemCell(one: WorkerView, other: WorkerView, { kind }: PlacementRequest): number {
  return Number((other.stemCells[kind] ?? 0) > 0) - Number((one.stemCells[kind] ?? 0) > 0)
}
