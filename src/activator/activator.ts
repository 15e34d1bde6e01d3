/**
 * Holds every invocation until an instance is ready for it, and lets the autoscaler keep the right number of instances.
 *
 * One pool per revision with traffic. A tick looks at the pools that have or had something to do, so that a thousand
 * idle functions cost nothing.
 *
 * Invariants:
 *   T1. A pool without instances, starts and waiting invocations is dropped, unless its revision keeps a minimum.
 */
import type { Clock, Timer } from '#base/clock.ts'
import type { Revision } from '#contract/function-config.ts'
import type { Invocation } from '#contract/invocation.ts'
import type { Instance } from '#worker/instance.ts'
import type { QueueProxyOwner } from '#worker/queue-proxy-owner.ts'
import { FunctionScaler } from '#autoscaler/function-scaler.ts'
import { memoryOf } from '#scheduler/host-memory.ts'
import { RevisionPool } from './revision-pool.ts'
import type { InstanceHost, LogReceiver, PoolConfig } from './revision-pool.ts'

export interface ActivatorOptions {
  readonly host: InstanceHost
  readonly clock: Clock
  readonly random: () => number
  readonly config: PoolConfig
  readonly called: QueueProxyOwner['called']
  readonly logged: LogReceiver
  readonly warn: (message: string, error: unknown) => void
}

export const poolDefaults: PoolConfig = { queueLengthMax: 10_000, queueTimeoutMs: 60_000 }

/** Knative's tick: often enough for a panic window of 6 s, rare enough to cost nothing. */
const TICK_MS = 2_000

export class Activator {
  readonly #options: ActivatorOptions
  readonly #pools = new Map<string, RevisionPool>()
  /** The same pools by the very object that the registry hands out: spares the hot path making a key. */
  readonly #byRevision = new WeakMap<Revision, RevisionPool>()
  #timer: Timer | undefined
  #state: 'open' | 'closed' = 'open'

  constructor(options: ActivatorOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer = this.#options.clock.after(TICK_MS, () => {
      this.#tick()
      if (this.#state === 'open') this.start()
    })
  }

  submit(invocation: Invocation): void {
    this.#poolOf(invocation.revision).submit(invocation)
  }

  ended(invocation: Invocation): void {
    this.#byRevision.get(invocation.revision)?.ended(invocation)
  }

  /** A revision that has traffic: keeps its minimum ready. */
  routed(revision: Revision): void {
    if (revision.config.instancesMin > 0) this.#poolOf(revision).startUpTo(revision.config.instancesMin)
  }

  /**
   * An instance of a revision ahead of its first invocation, whether it has traffic or not: a snapshot is taken then, and what does not start is
   * known. It is ended like others when it is idle; without traffic, by {@link dropped}. @throws why none could be started.
   */
  prepare(revision: Revision): Promise<void> {
    return this.#poolOf(revision).prepare()
  }

  /** A revision that has no traffic (any more). */
  dropped(revision: Revision): void {
    const pool = this.#pools.get(keyOf(revision))
    if (pool === undefined) return
    pool.retire('its revision gets no more traffic')
    if (pool.isEmpty) this.#pools.delete(keyOf(revision))
  }

  /** What the instances of these revisions were started with has changed: others take their place. */
  replaceInstances(isConcerned: (revision: Revision) => boolean, reason: string): void {
    for (const pool of this.#pools.values()) if (isConcerned(pool.revision)) pool.replaceInstances(reason)
  }

  /** Whether invocations wait for an instance, or instances are being started. */
  get isBusy(): boolean {
    for (const pool of this.#pools.values()) if (pool.queueLength > 0 || pool.startingCount > 0) return true
    return false
  }

  *instances(): IterableIterator<Instance> {
    for (const pool of this.#pools.values()) yield* pool.instances
  }

  pools(): IterableIterator<RevisionPool> {
    return this.#pools.values()
  }

  /** Ends idle instances, the longest idle first, until those ended use so many bytes together: another function needs their memory. */
  evictIdle(bytes: number): void {
    const idle = [...this.instances()].filter((instance) => instance.proxy.load.inFlight === 0).sort((a, b) => a.idleSinceUs - b.idleSinceUs)
    let missing = bytes
    for (const instance of idle) {
      if (missing <= 0) return
      missing -= memoryOf(instance)
      this.#pools.get(keyOf(instance.revision))?.stop(instance, 'its memory is needed')
    }
  }

  close(): void {
    this.#state = 'closed'
    this.#timer?.cancel()
  }

  #poolOf(revision: Revision): RevisionPool {
    const known = this.#byRevision.get(revision)
    if (known !== undefined && !known.isRetired) return known
    const key = keyOf(revision)
    let pool = this.#pools.get(key)
    if (pool === undefined || pool.isRetired) {
      const { host, clock, random, config, called, logged, warn } = this.#options
      // The same scaler goes on: what a retired pool handed over may still be running, and is counted there when it ends.
      const scaler = (known ?? pool)?.scaler ?? new FunctionScaler({ config: revision.config, nowMs: clock.monotonicUs() / 1000 })
      pool = new RevisionPool({ revision, host, clock, random, config, scaler, called, logged, warn })
      this.#pools.set(key, pool)
    }
    this.#byRevision.set(revision, pool)
    return pool
  }

  #tick(): void {
    const nowMs = this.#options.clock.monotonicUs() / 1000
    for (const [key, pool] of this.#pools) {
      pool.scale(nowMs)
      if (!pool.isEmpty || (pool.revision.config.instancesMin > 0 && !pool.isRetired)) continue
      // Retired first, so that nobody who still has it in hand uses it (P1).
      pool.retire('it was idle')
      this.#pools.delete(key)
    }
  }
}

function keyOf(revision: Revision): string {
  return `${revision.namespace}/${revision.function}/${revision.number}`
}
