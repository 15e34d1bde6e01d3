/**
 * A request body on its way to the code as data frames, as fast as the runtime gives credit.
 *
 * Invariants:
 *   B1. No more bytes are sent than the runtime gave credit for (frames F2), and at most one chunk of the source waits.
 */
import type { Readable } from 'node:stream'
import { CREDIT_BYTES, encodeFrame, FrameFlag, FrameType, INLINE_BYTES_MAX } from '#contract/frames.ts'

export interface RequestBodyOptions {
  readonly stream: number
  readonly source: Readable
  /** Nobody else has to do with the source: it is destroyed when it is not needed any more. */
  readonly owned: boolean
  readonly send: (frame: Buffer) => void
  readonly counted: (bytes: number) => void
  /** The source broke off. */
  readonly failed: (cause: unknown) => void
}

export class RequestBody {
  readonly #options: RequestBodyOptions
  #credit = CREDIT_BYTES
  /** What of the last chunk has no credit yet; the source is paused meanwhile. */
  #unsent: Buffer | undefined
  #state: 'open' | 'source ended' | 'closed' = 'open'

  constructor(options: RequestBodyOptions) {
    this.#options = options
    const { source } = options
    source.on('data', (chunk: Buffer) => {
      if (this.#state === 'closed') return
      options.counted(chunk.length)
      this.#sendChunk(chunk)
      if (this.#unsent !== undefined) source.pause()
    })
    source.once('end', () => {
      if (this.#state === 'closed') return
      this.#state = 'source ended'
      if (this.#unsent === undefined) this.#end()
    })
    source.once('error', (cause) => {
      if (this.#state !== 'closed') options.failed(cause)
    })
  }

  addCredit(bytes: number): void {
    this.#credit += bytes
    if (this.#state === 'closed' || this.#unsent === undefined) return
    this.#sendChunk(this.#unsent)
    if (this.#unsent !== undefined) return
    if (this.#state === 'source ended') this.#end()
    else this.#options.source.resume()
  }

  /** The code wants no more of it. */
  drop(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#unsent = undefined
    const { source, owned } = this.#options
    if (owned) return void source.destroy()
    // What is left of a request nobody reads must not stall the connection that brings it.
    source.removeAllListeners('data')
    source.resume()
  }

  /** Sends as much of the chunk as there is credit for, and keeps the rest. */
  #sendChunk(chunk: Buffer): void {
    const { stream, send } = this.#options
    let offset = 0
    while (offset < chunk.length && this.#credit > 0) {
      const end = Math.min(chunk.length, offset + INLINE_BYTES_MAX, offset + this.#credit)
      send(encodeFrame(FrameType.data, 0, stream, chunk.subarray(offset, end)))
      this.#credit -= end - offset
      offset = end
    }
    this.#unsent = offset < chunk.length ? chunk.subarray(offset) : undefined
  }

  #end(): void {
    this.#state = 'closed'
    this.#options.send(encodeFrame(FrameType.data, FrameFlag.end, this.#options.stream))
  }
}
