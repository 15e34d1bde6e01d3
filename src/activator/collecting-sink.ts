/** Collects an answer that nobody waits for: small ones in memory, larger ones into the blobs as they stream. */
import { PassThrough, Readable } from 'node:stream'
import type { PlatformError } from '#contract/errors.ts'
import { HeldBody } from '#contract/held-body.ts'
import type { AnswerSink } from '#contract/invocation.ts'
import type { OwnBlobs } from './own-blobs.ts'

export interface CollectedAnswer {
  readonly status: number
  readonly headers: readonly string[]
  readonly body?: Buffer
  readonly blob?: string
}

export class CollectingSink implements AnswerSink {
  readonly #inlineBytesMax: number
  readonly #blobs: OwnBlobs
  readonly #owner: string
  #status = 0
  #headers: readonly string[] = []
  #body: Buffer | undefined
  #stream: PassThrough | undefined
  #stored: Promise<string> | undefined

  /** @param options.owner Whose a stored answer is; see own-blobs.ts. */
  constructor(options: { readonly inlineBytesMax: number; readonly blobs: OwnBlobs; readonly owner: string }) {
    this.#inlineBytesMax = options.inlineBytesMax
    this.#blobs = options.blobs
    this.#owner = options.owner
  }

  head(status: number, headers: readonly string[], body: Buffer | HeldBody | undefined, last: boolean): void {
    this.#status = status
    this.#headers = headers
    if (body instanceof HeldBody) {
      const held = body.stream()
      this.#store(held)
      // One that cannot be stored has perhaps not been read at all.
      return void this.#stored?.catch(() => held.destroy())
    }
    if (last && (body === undefined || body.length <= this.#inlineBytesMax)) {
      this.#body = body
      return
    }
    if (last) {
      this.#store(Readable.from([body!]))
      return
    }
    this.#stream = new PassThrough()
    // Whoever stores it hears of an error itself; until that one has begun to read, nobody does.
    this.#stream.on('error', () => {})
    this.#store(this.#stream)
    if (body !== undefined) this.#stream.write(body)
  }

  data(chunk: Buffer, last: boolean, consumed: () => void): void {
    this.#stream?.write(chunk, () => consumed())
    if (last) this.#stream?.end()
  }

  fail(error: PlatformError): void {
    this.#status = error.kind.status
    this.#stream?.destroy(error)
  }

  /** To be asked after the invocation's end. */
  async answer(): Promise<CollectedAnswer> {
    const stored = await this.#stored
    return {
      status: this.#status,
      headers: this.#headers,
      ...(this.#body !== undefined && { body: this.#body }),
      ...(stored !== undefined && { blob: stored }),
    }
  }

  #store(source: AsyncIterable<Uint8Array>): void {
    this.#stored = this.#blobs.put(this.#owner, source)
    // What cannot be stored is let run out: a function must not wait for credit that nobody gives.
    this.#stored.catch(() => this.#stream?.resume())
  }
}
