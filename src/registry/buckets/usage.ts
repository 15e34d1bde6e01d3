/**
 * How many bytes the buckets of each namespace hold, and whether there is room for more.
 *
 * The sums are in memory. A namespace is counted when it is first asked for, by reading its objects once; whoever changes
 * something waits for that, so that nothing changes meanwhile. An upload counts from its beginning, an object that is replaced
 * until it is gone: a namespace never holds more than its quota. Every object counts in full, also where two share a blob.
 *
 * Invariant: what is reserved and not kept is given back.
 */
import { PlatformError } from '#contract/errors.ts'

export interface UsageOptions {
  /** Bytes that are stored in a namespace now. */
  readonly count: (namespace: string) => Promise<number>
  readonly bytesMaxOf: (namespace: string) => number
}

export interface Reservation extends Disposable {
  /** The bytes are stored: they go on counting. */
  keep(): void
}

export class Usage {
  readonly #options: UsageOptions
  readonly #sums = new Map<string, Promise<{ bytes: number }>>()

  constructor(options: UsageOptions) {
    this.#options = options
  }

  bytesMax(namespace: string): number {
    return this.#options.bytesMaxOf(namespace)
  }

  async bytes(namespace: string): Promise<number> {
    return (await this.#sum(namespace)).bytes
  }

  /** @throws STORAGE_EXCEEDED. */
  async reserve(namespace: string, bytes: number): Promise<Reservation> {
    const sum = await this.#sum(namespace)
    const bytesMax = this.#options.bytesMaxOf(namespace)
    if (sum.bytes + bytes > bytesMax) {
      throw new PlatformError(
        'STORAGE_EXCEEDED',
        `The buckets of namespace ${namespace} hold ${sum.bytes} bytes, ${bytes} more were sent, and ${bytesMax} are the most. Delete objects, or have an admin raise storageBytes.`,
        { details: { namespace, bytes: sum.bytes, wanted: bytes, bytesMax } },
      )
    }
    sum.bytes += bytes
    let isKept = false
    return {
      keep: () => void (isKept = true),
      [Symbol.dispose]: () => {
        if (!isKept) sum.bytes -= bytes
      },
    }
  }

  /** Bytes that are stored no more. */
  async free(namespace: string, bytes: number): Promise<void> {
    const sum = await this.#sum(namespace)
    sum.bytes -= bytes
  }

  forget(namespace: string): void {
    this.#sums.delete(namespace)
  }

  #sum(namespace: string): Promise<{ bytes: number }> {
    let sum = this.#sums.get(namespace)
    if (sum === undefined) {
      sum = this.#options.count(namespace).then((bytes) => ({ bytes }))
      this.#sums.set(namespace, sum)
      // One that failed is counted again by whoever asks next.
      sum.catch(() => this.#sums.delete(namespace))
    }
    return sum
  }
}
