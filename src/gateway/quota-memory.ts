/**
 * How much memory the instances of a namespace may have: the sum of their limits, held before each is started.
 *
 * It stands between the pools and the host they start instances on, so that neither knows of quotas: a start that the
 * quota has no room for ends idle instances of the namespace's other revisions first, the longest idle first, as a host
 * does that is full. If that is not enough, the start fails; what waits then goes on waiting where the revision has
 * instances, and gets the error where it has none.
 *
 * Source: the memory part of AWS Lambda's account concurrency and OpenWhisk's per-namespace limits, counted in MB instead
 * of instances, because instances differ in size.
 *
 * Invariants:
 *   M1. The limits of a namespace's instances, from the moment their start is asked for until they are gone, add up to at
 *       most its quota. One that was ended for its memory counts no more: it has nothing to do and is gone in a moment.
 *   M2. Each start is counted once and given back once, however it ends.
 */
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import type { InstanceHost } from '#activator/revision-pool.ts'

type InstanceOwner = Parameters<InstanceHost['start']>[1]
type Instance = Awaited<ReturnType<InstanceHost['start']>>

/** What is asked of a revision's pool: a RevisionPool. */
export interface EvictablePool {
  readonly revision: Revision
  readonly instances: readonly Instance[]
  stop(instance: Instance, reason: string): void
}

export interface MemoryQuotaOptions {
  readonly host: InstanceHost
  /** The quota of a namespace, MB. @throws NAMESPACE_NOT_FOUND. */
  readonly limitMbOf: (namespace: string) => number
  readonly pools: () => Iterable<EvictablePool>
}

/** When memory comes free can't be known: a hint. */
const RETRY_MS = 1000

export class MemoryQuotaHost implements InstanceHost {
  readonly #options: MemoryQuotaOptions
  readonly #heldMb = new Map<string, number>()
  readonly #holds = new WeakMap<Instance, Hold>()

  constructor(options: MemoryQuotaOptions) {
    this.#options = options
  }

  /** @throws MEMORY_EXCEEDED, and what the host throws. */
  async start(revision: Revision, owner: InstanceOwner): Promise<Instance> {
    const { namespace, config } = revision
    const limitMb = this.#options.limitMbOf(namespace)
    const hasRoom = (): boolean => this.heldMb(namespace) + config.memoryMb <= limitMb
    if (!hasRoom()) this.#endIdle(revision, hasRoom)
    if (!hasRoom()) throw exceeded(revision, limitMb, this.heldMb(namespace))
    this.#hold(namespace, config.memoryMb)
    const hold = new Hold(owner, () => this.#hold(namespace, -config.memoryMb))
    try {
      const instance = await this.#options.host.start(revision, hold)
      this.#holds.set(instance, hold)
      return instance
    } catch (thrown) {
      hold.release()
      throw thrown
    }
  }

  /** What the instances of a namespace may have now, MB. */
  heldMb(namespace: string): number {
    return this.#heldMb.get(namespace) ?? 0
  }

  stemCellCount(revision: Revision): number {
    return this.#options.host.stemCellCount(revision)
  }

  get cores(): number {
    return this.#options.host.cores
  }

  cpuIdleShare(): number | undefined {
    return this.#options.host.cpuIdleShare()
  }

  #hold(namespace: string, mb: number): void {
    const heldMb = this.heldMb(namespace) + mb
    if (heldMb === 0) this.#heldMb.delete(namespace)
    else this.#heldMb.set(namespace, heldMb)
  }

  /** A revision's own idle instances stay, and so does what a revision keeps at least: ending them would only move the lack. */
  #endIdle(revision: Revision, enough: () => boolean): void {
    const idle: { readonly pool: EvictablePool; readonly instance: Instance }[] = []
    for (const pool of this.#options.pools()) {
      if (pool.revision.namespace !== revision.namespace || pool.revision === revision) continue
      const idleHere = pool.instances.filter((instance) => instance.proxy.load.inFlight === 0).sort((a, b) => a.idleSinceUs - b.idleSinceUs)
      const sparedCount = Math.max(0, pool.instances.length - pool.revision.config.instancesMin)
      for (const instance of idleHere.slice(0, sparedCount)) idle.push({ pool, instance })
    }
    idle.sort((a, b) => a.instance.idleSinceUs - b.instance.idleSinceUs)
    for (const { pool, instance } of idle) {
      if (enough()) return
      pool.stop(instance, 'its memory is needed by another function of its namespace')
      this.#holds.get(instance)?.release()
    }
  }
}

/** One start's share of the quota: tells its owner everything, and gives the share back when the instance is gone (M2). */
class Hold implements InstanceOwner {
  readonly #owner: InstanceOwner
  #giveBack: (() => void) | undefined

  constructor(owner: InstanceOwner, giveBack: () => void) {
    this.#owner = owner
    this.#giveBack = giveBack
  }

  release(): void {
    const giveBack = this.#giveBack
    this.#giveBack = undefined
    giveBack?.()
  }

  changed(instance: Instance): void {
    this.#owner.changed(instance)
  }

  gone(instance: Instance): void {
    // First: the owner may start another at once.
    this.release()
    this.#owner.gone(instance)
  }

  called(instance: Instance, call: Parameters<InstanceOwner['called']>[1]): void {
    this.#owner.called(instance, call)
  }

  logged(instance: Instance, ...[invocation, level, text]: LogEntry): void {
    this.#owner.logged(instance, invocation, level, text)
  }
}

type LogEntry = Parameters<InstanceOwner['logged']> extends [Instance, ...infer Entry] ? Entry : never

function exceeded({ namespace, function: name, config }: Revision, limitMb: number, heldMb: number): PlatformError {
  const message = `Namespace ${namespace} may use ${limitMb} MB, its instances have ${heldMb} MB of that and are busy, and one more of ${name} needs ${config.memoryMb} MB; send it again when some have ended, or have its quota raised.`
  return new PlatformError('MEMORY_EXCEEDED', message, { details: { limit: limitMb, heldMb, neededMb: config.memoryMb, retryAfterMs: RETRY_MS } })
}
