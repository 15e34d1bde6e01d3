/**
 * The one worker of an embedded platform as the activator's source of instances.
 *
 * With one worker there is nothing to place; what is left of the scheduler's duty is to know when the host is full. A
 * memory limit is a ceiling and most functions stay far below theirs, so the limits may add up to more than the host
 * has; what counts is the memory that is really available, and idle instances give theirs back first.
 *
 * An instance that was told to end still has its memory for a while. What will come back is therefore counted from what
 * the ending instances use: looking at the available memory after each would end every idle instance of the platform.
 *
 * Invariants:
 *   H1. No more is asked back than is missing once the instances that end already are gone.
 *   H2. With less memory than the host itself needs, a start waits until the ending instances are gone, and fails if that
 *       was not enough.
 */
import { availableParallelism } from 'node:os'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import type { Instance, InstanceOwner } from '#worker/instance.ts'
import type { Worker } from '#worker/worker.ts'
import { availableMemoryMb, MB, memoryOf } from './host-memory.ts'

/** Below this much available memory, idle instances are ended before another is started. */
const LOW_MEMORY_MB = 512
/** Below this, none is started at all: the host itself needs it. */
const NO_MEMORY_MB = 128

export interface LocalHostOptions {
  readonly worker: Worker
  /** Idle share of all cores lately, 0..1; undefined while unknown. */
  readonly usage: { readonly cpuIdleShare: number | undefined }
  /** Ends idle instances that use at least so many bytes together, or all there are. */
  readonly evictIdle: (bytes: number) => void
}

export class LocalHost {
  readonly #options: LocalHostOptions
  readonly cores = availableParallelism()

  constructor(options: LocalHostOptions) {
    this.#options = options
  }

  /** @throws START_FAILED when the host has no memory left, and what {@link Worker.start} throws. */
  async start(revision: Revision, owner: InstanceOwner): Promise<Instance> {
    const availableMb = availableMemoryMb()
    if (availableMb < LOW_MEMORY_MB) await this.#makeRoom(availableMb)
    return this.#options.worker.start(revision, owner)
  }

  stemCellCount(revision: Revision): number {
    return this.#options.worker.stemCellCount(revision)
  }

  cpuIdleShare(): number | undefined {
    return this.#options.usage.cpuIdleShare
  }

  async #makeRoom(availableMb: number): Promise<void> {
    const comingBack = this.#ending().reduce((bytes, instance) => bytes + memoryOf(instance), 0)
    const missing = (LOW_MEMORY_MB - availableMb) * MB - comingBack
    if (missing > 0) this.#options.evictIdle(missing)
    if (availableMb >= NO_MEMORY_MB) return
    // They have a few seconds, and are killed then (instance.ts): so this ends.
    await Promise.all(this.#ending().map((instance) => instance.sandbox.exited))
    const leftMb = availableMemoryMb()
    if (leftMb >= NO_MEMORY_MB) return
    throw new PlatformError('START_FAILED', `This machine has ${leftMb} MB of memory left, too little to start another instance (${NO_MEMORY_MB} MB); end something else, or send the request again later.`)
  }

  /** Those whose memory comes back soon. One that still runs invocations may take as long as its function's time limit. */
  #ending(): Instance[] {
    return [...this.#options.worker.instances()].filter(({ state, proxy }) => state.phase === 'stopping' && proxy.load.inFlight === 0)
  }
}
