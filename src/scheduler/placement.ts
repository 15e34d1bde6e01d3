/**
 * Decides on which worker the next instance starts.
 *
 * A policy orders the workers that have room; the rules of room are the same for all (thesis 2.3 and 3.2.2: the cluster's
 * scheduler places what the autoscaler asks for). Memory is promised: the limits of all instances on a worker never add up
 * to more than it has. CPU may be promised several times over, because most instances wait most of the time.
 *
 * Invariants:
 *   P1. No placement takes a worker above its memory, its instance limit, or its cores times the overcommit.
 *   P2. A placement is a pure function of (policy, workers, request): ties are broken by what the policy says, at last by id.
 *   P3. When none fits, the answer counts for each reason the workers that it kept out; a worker counts for its first one.
 */
import assert from 'node:assert/strict'

/** What the scheduler knows of a worker now, including what was placed on it and is still starting. */
export interface WorkerView {
  readonly id: string
  /** Draining or lost workers take nothing new. */
  readonly isAccepting: boolean
  readonly cores: number
  readonly memoryMb: number
  /** Sum of the cpu limits of its instances, cores. */
  readonly cpuPromised: number
  /** Sum of the memory limits of its instances, MB. */
  readonly memoryPromisedMb: number
  readonly instanceCount: number
  readonly instancesMax: number
  /** Stem cells ready, by kind. */
  readonly stemCells: Readonly<Record<string, number>>
}

export interface PlacementRequest {
  /** Runtime kind: `node`, `python`, … */
  readonly kind: string
  /** The instance's limit, cores. */
  readonly cpu: number
  /** The instance's limit, MB. */
  readonly memoryMb: number
  readonly hints?: LocalityHints
}

/** Where the instance's data is. `spread` and `pack` ignore it; a locality policy prefers such workers. */
export interface LocalityHints {
  /** Bytes that the invocation will pull, by the worker that holds them (hints.ts). */
  readonly bytesByWorker?: ReadonlyMap<string, number>
  /** The caller's word for which invocations share data; a number, as contract/color.ts makes it. */
  readonly color?: number
}

export const unfitReasons = ['not-accepting', 'memory', 'cpu', 'instances'] as const
export type UnfitReason = (typeof unfitReasons)[number]

export type PlacementResult =
  | { readonly kind: 'placed'; readonly workerId: string }
  | { readonly kind: 'none-fits'; readonly reasons: Readonly<Record<UnfitReason, number>>; readonly message: string }

/** A policy. */
export interface Placement {
  readonly name: string
  place(workers: readonly WorkerView[], request: PlacementRequest): PlacementResult
}

export interface PlacementConfig {
  /** CPU limits may add up to this many times a worker's cores. Higher: more instances per worker, slower when all compute. */
  readonly cpuOvercommit: number
}

export const placementDefaults: PlacementConfig = { cpuOvercommit: 16 }

/** Why the worker can't take it, or undefined when it can. */
export function unfitReason(worker: WorkerView, request: PlacementRequest, config: PlacementConfig): UnfitReason | undefined {
  if (!worker.isAccepting) return 'not-accepting'
  if (worker.instanceCount >= worker.instancesMax) return 'instances'
  if (worker.memoryPromisedMb + request.memoryMb > worker.memoryMb) return 'memory'
  // A limit above what the worker has in all is a limit that it can't give.
  if (request.cpu > worker.cores || worker.cpuPromised + request.cpu > worker.cores * config.cpuOvercommit) return 'cpu'
  return undefined
}

/**
 * A policy from an order: the first of the workers that fit, by `compare`, then by id.
 * One pass over the workers; nothing is sorted.
 */
export function placementBy(
  name: string,
  compare: (one: WorkerView, other: WorkerView, request: PlacementRequest) => number,
  config: PlacementConfig = placementDefaults,
): Placement {
  assert(config.cpuOvercommit > 0)
  return {
    name,
    place(workers, request) {
      assert(request.memoryMb > 0 && request.cpu > 0)
      let best: WorkerView | undefined
      for (const worker of workers) {
        if (unfitReason(worker, request, config) !== undefined) continue
        if (best === undefined || isBefore(worker, best, compare(worker, best, request))) best = worker
      }
      return best === undefined ? noneFits(workers, request, config) : { kind: 'placed', workerId: best.id }
    },
  }
}

function isBefore(worker: WorkerView, best: WorkerView, order: number): boolean {
  return order !== 0 ? order < 0 : worker.id < best.id
}

function noneFits(workers: readonly WorkerView[], request: PlacementRequest, config: PlacementConfig): PlacementResult {
  const reasons: Record<UnfitReason, number> = { 'not-accepting': 0, memory: 0, cpu: 0, instances: 0 }
  let freeMb = 0
  for (const worker of workers) {
    const reason = unfitReason(worker, request, config)
    if (reason !== undefined) reasons[reason]++
    if (worker.isAccepting) freeMb = Math.max(freeMb, worker.memoryMb - worker.memoryPromisedMb)
  }
  return { kind: 'none-fits', reasons, message: messageOf(workers.length, request, reasons, freeMb) }
}

function messageOf(
  workerCount: number,
  request: PlacementRequest,
  reasons: Readonly<Record<UnfitReason, number>>,
  freeMb: number,
): string {
  const what = `No worker has room for a ${request.kind} instance of ${request.memoryMb} MB and ${request.cpu} cores`
  if (workerCount === 0) return `${what}: there is no worker. Start one with ./skep up.`
  const counts = unfitReasons.filter((reason) => reasons[reason] > 0).map((reason) => `${reason} ${reasons[reason]}`)
  return `${what}: of ${workerCount} workers, kept out by ${counts.join(', ')} (most free memory: ${freeMb} MB). ` +
    'Lower the memory, cpu or concurrency of functions, or add a worker.'
}
