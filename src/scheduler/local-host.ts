/**
 * The one worker of an embedded platform as the activator's source of instances.
 *
 * With one worker there is nothing to place; what is left of the scheduler's duty is to know when the host is full. A
 * memory limit is a ceiling and most functions stay far below theirs, so the limits may add up to more than the host
 * has; what counts is the memory that is really available, and idle instances give theirs back first.
 */
import { availableParallelism, freemem } from 'node:os'
import { readFileSync } from 'node:fs'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import type { Instance, InstanceOwner } from '#worker/instance.ts'
import type { Worker } from '#worker/worker.ts'

/** Below this much available memory, idle instances are ended before another is started. */
const LOW_MEMORY_MB = 512
/** Below this, none is started at all: the host itself needs it. */
const NO_MEMORY_MB = 128

export interface LocalHostOptions {
  readonly worker: Worker
  /** Idle share of all cores lately, 0..1; undefined while unknown. */
  readonly usage: { readonly cpuIdleShare: number | undefined }
  /** Ends idle instances until told that it is enough. */
  readonly evictIdle: (enough: () => boolean) => void
}

export class LocalHost {
  readonly #options: LocalHostOptions
  readonly cores = availableParallelism()

  constructor(options: LocalHostOptions) {
    this.#options = options
  }

  /** @throws START_FAILED when the host has no memory left, and what {@link Worker.start} throws. */
  async start(revision: Revision, owner: InstanceOwner): Promise<Instance> {
    if (availableMemoryMb() < LOW_MEMORY_MB) {
      this.#options.evictIdle(() => availableMemoryMb() >= LOW_MEMORY_MB)
      const availableMb = availableMemoryMb()
      if (availableMb < NO_MEMORY_MB) {
        throw new PlatformError('START_FAILED', `This machine has ${availableMb} MB of memory left, too little to start another instance (${NO_MEMORY_MB} MB); end something else, or send the request again later.`)
      }
    }
    return this.#options.worker.start(revision, owner)
  }

  stemCellCount(revision: Revision): number {
    return this.#options.worker.stemCellCount(revision)
  }

  cpuIdleShare(): number | undefined {
    return this.#options.usage.cpuIdleShare
  }
}

function availableMemoryMb(): number {
  try {
    const kb = /^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1]
    if (kb !== undefined) return Math.floor(Number(kb) / 1024)
  } catch {
    // Not Linux; what the system calls free will do.
  }
  return Math.floor(freemem() / 1024 ** 2)
}
