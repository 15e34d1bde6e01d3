/**
 * One request of a peer, as the producer's side sees it: the lease, and how much of the body has been sent.
 *
 *   leasing ──serve──▶ leased: sends while it has credit ──last byte, or cancel──▶ sent        and, whenever it comes: settled by done or failed
 *
 * Invariants:
 *   O1. A lease that was given is settled exactly once: by the peer, or as failed when its connection ends (E1).
 *   O2. The body has a holder of its own, and what is mapped of it stays mapped, until nobody reads it any more.
 */
import type { HeldBody } from '#contract/held-body.ts'
import type { Lease } from '../peers.ts'
import type { SharedMemory } from '../shared-memory.ts'

/** Of an object's memory, so much is mapped at a time: 2 ms of sending, and not the whole object in the eyes of V8, which would collect garbage for it. */
const WINDOW_BYTES = 4 * 1024 * 1024

export class OutboundStream {
  readonly request: number
  readonly #aborted = new AbortController()
  #lease: Lease | undefined
  #body: HeldBody | undefined
  #creditBytes: number
  #sentBytes = 0
  #isReading = false
  #isInMemory = false
  #window: { readonly offset: number; readonly view: Buffer<ArrayBuffer> } | undefined

  constructor(request: number, creditBytes: number) {
    this.request = request
    this.#creditBytes = creditBytes
  }

  /** While it is being leased: aborts when that is not wanted any more. */
  get signal(): AbortSignal {
    return this.#aborted.signal
  }

  get isAborted(): boolean {
    return this.#aborted.signal.aborted
  }

  /** Neither a lease to settle, nor bytes to send. */
  get isOver(): boolean {
    return this.#lease === undefined && this.#body === undefined
  }

  /** Bytes that it may send now. */
  get readyBytes(): number {
    return this.#body === undefined ? 0 : Math.min(this.#creditBytes, this.#body.bytes - this.#sentBytes)
  }

  get isInMemory(): boolean {
    return this.#isInMemory
  }

  get sentBytes(): number {
    return this.#sentBytes
  }

  get fd(): number {
    return this.#body!.fd
  }

  /** @param withBody Whether bytes are to be sent. */
  leased(lease: Lease, withBody: boolean): void {
    this.#lease = lease
    this.#isInMemory = lease.place === 'memory'
    if (withBody && lease.bytes > 0) this.#body = lease.body.retain()
  }

  credit(bytes: number): void {
    this.#creditBytes += bytes
  }

  /**
   * What is to be sent next, without a copy, at most so many bytes: for sealed memory only, as a file that is cut short would be a fault. To be used
   * until `readEnds`. Undefined when the system has no memory for it.
   */
  mapped({ mapPart }: Pick<SharedMemory, 'mapPart'>, bytesMax: number): Buffer | undefined {
    const { fd, bytes } = this.#body!
    const offset = this.#sentBytes - (this.#sentBytes % WINDOW_BYTES)
    if (this.#window?.offset !== offset) {
      this.#unmap()
      try {
        this.#window = { offset, view: Buffer.from(mapPart(fd, offset, Math.min(WINDOW_BYTES, bytes - offset))) }
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).errno === undefined) throw thrown
        return undefined
      }
    }
    return this.#window.view.subarray(this.#sentBytes - offset, this.#sentBytes - offset + bytesMax)
  }

  readBegins(): void {
    this.#isReading = true
  }

  /** @returns Whether what was read is to be sent. */
  readEnds(bytes: number): boolean {
    this.#isReading = false
    if (this.isAborted) {
      this.#letGo()
      return false
    }
    this.#sentBytes += bytes
    this.#creditBytes -= bytes
    if (this.#sentBytes === this.#body!.bytes) this.#letGo()
    return true
  }

  /** No more is sent. */
  cancel(): void {
    this.#aborted.abort()
    // A descriptor that is closed under a read may be another file's by the time it is read.
    if (!this.#isReading) this.#letGo()
  }

  settle(outcome: 'done' | 'failed'): void {
    const lease = this.#lease
    this.#lease = undefined
    if (lease === undefined) this.#aborted.abort()
    else lease[outcome]()
  }

  #unmap(): void {
    // Not when it is collected some time: it is memory that no account knows of.
    this.#window?.view.buffer.transfer(0)
    this.#window = undefined
  }

  #letGo(): void {
    this.#unmap()
    this.#body?.release()
    this.#body = undefined
  }
}
