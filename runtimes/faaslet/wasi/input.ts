/**
 * The request's body as standard input: bytes that are there are given at once, others are waited for.
 *
 * Invariants:
 *   IN1. One read of the body is under way at most; a wait that was given up (a poll that timed out) leaves it for the next.
 */
import type { IncomingBody } from '../../node/body-in.ts'

const NO_BYTES = Buffer.alloc(0)

export class Input {
  /** Of the whole body, when it was there at the beginning. */
  readonly bytes: number | undefined
  readonly #body: IncomingBody | undefined
  #chunk: Buffer = NO_BYTES
  #state: 'open' | 'ended' | 'failed' = 'open'
  #pending: Promise<void> | undefined

  /** @param body Undefined while the instance is initialised: standard input is then empty. */
  constructor(body: IncomingBody | undefined) {
    this.#body = body
    this.bytes = body === undefined ? 0 : body.isComplete ? body.bytesHeld : undefined
    if (body === undefined) this.#state = 'ended'
  }

  /** Whether `take` has something to say: bytes, or the end. */
  get isReady(): boolean {
    if (this.#chunk.length > 0 || this.#state !== 'open') return true
    const body = this.#body!
    // A read that is under way gets the bytes.
    if (!body.isComplete || this.#pending !== undefined) return false
    this.#chunk = body.takeAll()
    this.#state = 'ended'
    return true
  }

  /** It broke off: the client is gone, or the body was too large. */
  get hasFailed(): boolean {
    return this.#state === 'failed'
  }

  /** Bytes that can be read without waiting. */
  get bytesReady(): number {
    return this.isReady ? this.#chunk.length : 0
  }

  /** At most `bytes`, of those that are there; none at the end. Only when `isReady`. */
  take(bytes: number): Buffer {
    const taken = this.#chunk.subarray(0, bytes)
    this.#chunk = this.#chunk.subarray(taken.length)
    return taken
  }

  /** All of it, where it is here and nothing was taken; undefined when it has to be read. */
  takeWhole(): Buffer | undefined {
    if (this.#state !== 'open' || this.#pending !== undefined || this.#chunk.length > 0 || !this.#body!.isComplete || this.#body!.wasRead) return undefined
    this.#state = 'ended'
    return this.#body!.takeAll()
  }

  /** Nothing more is read of it. @param release Gets what was here. */
  close(release: (body: Buffer) => void): void {
    if (this.#chunk.length > 0) release(this.#chunk)
    if (this.#body?.isComplete === true && this.#body.hasBytes) release(this.#body.takeAll())
    this.#chunk = NO_BYTES
    this.#state = 'ended'
  }

  /** Resolves when `isReady`. */
  wait(): Promise<void> {
    return (this.#pending ??= this.#fill())
  }

  async #fill(): Promise<void> {
    try {
      const chunk = await this.#body!.read()
      if (chunk === undefined) this.#state = 'ended'
      else this.#chunk = chunk
    } catch {
      this.#state = 'failed'
    } finally {
      this.#pending = undefined
    }
  }
}
