/**
 * The bytes of an answer or a call that leave over the channel, as fast as the receiver gives credit.
 *
 * Invariants:
 *   O1. No more data bytes are sent than the receiver gave credit for (F2); a writer waits in between.
 *   O2. After `close` nothing is sent, a waiting writer is let go, and the source is told (its `return` or `cancel`).
 */
import { CREDIT_BYTES, FrameFlag, FrameType } from '../../src/contract/frames.ts'
import type { Channel } from './channel.ts'

/** Bytes in one data frame: one pipe buffer of the kernel. */
const CHUNK_BYTES = 64 * 1024

export class OutgoingBody {
  readonly #channel: Channel
  readonly #stream: number
  #credit = CREDIT_BYTES
  #closed = false
  #wake: (() => void) | undefined
  /** Stops the source, when it is being pumped. */
  #stopSource: (() => void) | undefined

  constructor(channel: Channel, stream: number) {
    this.#channel = channel
    this.#stream = stream
  }

  get isClosed(): boolean {
    return this.#closed
  }

  addCredit(bytes: number): void {
    this.#credit += bytes
    this.#letGo()
  }

  /** Sends a chunk, waiting for credit. Resolves to false when the stream was closed meanwhile. */
  async write(chunk: Uint8Array): Promise<boolean> {
    for (let offset = 0; offset < chunk.length; ) {
      if (this.#closed) return false
      if (this.#credit <= 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        continue
      }
      const end = Math.min(chunk.length, offset + Math.min(this.#credit, CHUNK_BYTES))
      this.#credit -= end - offset
      this.#channel.send(FrameType.data, 0, this.#stream, chunk.subarray(offset, end))
      offset = end
    }
    return !this.#closed
  }

  /** Sends everything of a source of chunks (strings are UTF-8), then `beforeEnd`, then the end. @throws what the source throws. */
  async pump(source: AsyncIterator<unknown>, beforeEnd?: () => void): Promise<void> {
    this.#stopSource = () => void Promise.resolve(source.return?.()).catch(() => {})
    for (;;) {
      const next = await source.next()
      if (this.#closed) return
      if (next.done === true) break
      if (!(await this.write(chunkBytes(next.value)))) return
    }
    this.#stopSource = undefined
    beforeEnd?.()
    this.#channel.send(FrameType.data, FrameFlag.end, this.#stream)
    this.#closed = true
  }

  /** Nothing more will be sent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    const stop = this.#stopSource
    this.#stopSource = undefined
    this.#letGo()
    stop?.()
  }

  #letGo(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}

/** @throws TypeError when a source yields something that is neither bytes nor text. */
function chunkBytes(chunk: unknown): Uint8Array {
  if (typeof chunk === 'string') return Buffer.from(chunk)
  if (chunk instanceof Uint8Array) return chunk
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk)
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  throw new TypeError(`A streamed body yields text or bytes, not ${chunk === null ? 'null' : typeof chunk}.`)
}
