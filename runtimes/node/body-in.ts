/**
 * The bytes of a request or an answer that come in over the channel: some with the head, the rest as data frames.
 *
 * Readers pull; what has been read is given back to the sender as credit, a quarter of the window at a time, so that a
 * small read does not cost a frame of its own.
 *
 * Invariants:
 *   B1. At most {@link CREDIT_BYTES} of data frames are held (F2); a sender that exceeds it breaks the protocol.
 *   B2. A body ends once: with its last bytes, or with an error that every later read repeats.
 */
import { CREDIT_BYTES } from '../../src/contract/frames.ts'
import { PlatformError } from '../../src/contract/errors.ts'

const CREDIT_STEP_BYTES = CREDIT_BYTES / 4
const NO_BYTES = Buffer.alloc(0)

export class IncomingBody {
  readonly #giveCredit: (bytes: number) => void
  #chunks: Buffer[] = []
  #heldBytes = 0
  /** Bytes at the front of the queue that came with the head, and are free. */
  #freeBytes: number
  #readBytes = 0
  #state: 'open' | 'ended' | 'failed' = 'open'
  #error: Error | undefined
  #waiting: { resolve: (chunk: Buffer | undefined) => void; reject: (error: Error) => void } | undefined
  #discards = false
  #wasRead = false
  #onEnd: (() => void) | undefined

  /** @param first The bytes that came with the head, copied by the caller when they are a view; or all of them, when they were passed as memory. */
  constructor(first: Buffer | undefined, ended: boolean, giveCredit: (bytes: number) => void) {
    this.#giveCredit = giveCredit
    this.#freeBytes = first?.length ?? 0
    if (this.#freeBytes > 0) this.#chunks.push(first!)
    if (ended) this.#state = 'ended'
  }

  /** All bytes are here: they can be taken without waiting. */
  get isComplete(): boolean {
    return this.#state === 'ended'
  }

  /** Some bytes are here, unread. */
  get hasBytes(): boolean {
    return this.#chunks.length > 0
  }

  /** Bytes that are here, unread; all of them when complete. */
  get bytesHeld(): number {
    return this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  }

  /** Somebody has read of it. */
  get wasRead(): boolean {
    return this.#wasRead
  }

  /** Takes all bytes that are here. Only meaningful when complete. */
  takeAll(): Buffer {
    const chunks = this.#chunks
    this.#chunks = []
    this.#wasRead ||= chunks.length > 0
    this.#heldBytes = 0
    return chunks.length === 0 ? NO_BYTES : chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
  }

  push(chunk: Buffer, isLast: boolean): void {
    if (this.#state !== 'open') return
    if (chunk.length > 0) {
      this.#heldBytes += chunk.length
      if (this.#heldBytes > CREDIT_BYTES) {
        throw new PlatformError('PROTOCOL_BROKEN', `The frame protocol was broken: ${this.#heldBytes} bytes were sent with a credit of ${CREDIT_BYTES}.`)
      }
      if (this.#discards) this.#consume(chunk.length)
      else this.#chunks.push(Buffer.from(chunk))
    }
    if (isLast) {
      this.#state = 'ended'
      this.#onEnd?.()
    }
    if (this.#waiting !== undefined && (isLast || this.#chunks.length > 0)) {
      const { resolve } = this.#waiting
      this.#waiting = undefined
      resolve(this.#take())
    }
  }

  /** Bytes that came with a head: they cost no credit. Only before any data. */
  pushFree(chunk: Buffer): void {
    if (chunk.length === 0 || this.#state !== 'open') return
    this.#freeBytes += chunk.length
    this.#chunks.push(Buffer.from(chunk))
  }

  /** Calls back when the last bytes have come in. */
  onEnd(callback: () => void): void {
    this.#onEnd = callback
  }

  fail(error: Error): void {
    if (this.#state !== 'open') return
    this.#state = 'failed'
    this.#error = error
    this.#chunks = []
    this.#waiting?.reject(error)
    this.#waiting = undefined
  }

  /** The next bytes, at most so many of those that are here; `undefined` after the last ones. One reader at a time. */
  async read(bytesMax = Infinity): Promise<Buffer | undefined> {
    if (this.#chunks.length > 0) return this.#take(bytesMax)
    if (this.#state === 'ended') return undefined
    if (this.#state === 'failed') throw this.#error!
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
  }

  /** @param into As long as it will be, where that is known: then it is never in memory twice. */
  async readAll(into: Buffer = NO_BYTES): Promise<Buffer> {
    if (this.#state === 'ended') return this.takeAll()
    const chunks: Buffer[] = []
    let filled = 0
    for (let chunk = await this.read(); chunk !== undefined; chunk = await this.read()) {
      if (chunks.length === 0 && filled + chunk.length <= into.length) filled += chunk.copy(into, filled)
      else chunks.push(chunk)
    }
    return chunks.length === 0 && filled === into.length ? into : Buffer.concat([into.subarray(0, filled), ...chunks])
  }

  /** Nobody will read the rest: what comes is dropped, and credit goes back so that the sender can end. */
  discard(): void {
    this.#discards = true
    while (this.#chunks.length > 0) this.#take()
  }

  stream(): ReadableStream<Uint8Array> {
    return new ReadableStream(
      {
        type: 'bytes',
        pull: async (controller) => {
          const chunk = await this.read(CREDIT_BYTES)
          if (chunk === undefined) {
            controller.close()
            controller.byobRequest?.respond(0)
          } else controller.enqueue(new Uint8Array(chunk))
        },
        cancel: () => this.discard(),
      },
      { highWaterMark: 0 },
    )
  }

  #take(bytesMax = Infinity): Buffer | undefined {
    let chunk = this.#chunks.shift()
    if (chunk !== undefined) {
      if (chunk.length > bytesMax) {
        this.#chunks.unshift(chunk.subarray(bytesMax))
        chunk = chunk.subarray(0, bytesMax)
      }
      this.#wasRead = true
      this.#consume(chunk.length)
    }
    return chunk
  }

  #consume(bytes: number): void {
    const free = Math.min(bytes, this.#freeBytes)
    this.#freeBytes -= free
    this.#heldBytes -= bytes - free
    this.#readBytes += bytes - free
    if (this.#readBytes >= CREDIT_STEP_BYTES && this.#state === 'open') {
      this.#giveCredit(this.#readBytes)
      this.#readBytes = 0
    }
  }
}
