/**
 * Bodies that come in: the request's, a called function's answer's, a fetched response's. As runtimes/node/body-in.ts looks to its users.
 *
 * Invariants:
 *   B1. At most one `read` is asked of the host at a time (J2).
 *   B2. A body ends once: with its last bytes, or with an error that every later read repeats.
 */
import { HostOp } from '../ops.ts'
import { Bytes, concat } from './bytes.ts'
import { host } from './host.ts'
import { ReadableStream } from './readable.ts'

const open: (IncomingBody | undefined)[] = []

interface Waiting {
  readonly resolve: (bytes: Bytes | undefined) => void
  readonly reject: (error: Error) => void
}

export class IncomingBody {
  readonly #id: number
  #bytes: Uint8Array | undefined
  #state: 'open' | 'ended' | 'failed'
  #error: Error | undefined
  #waiting: Waiting | undefined
  #wasRead = false

  /** @param first All bytes, when it is complete. */
  constructor(id: number, first: Uint8Array | undefined, isComplete: boolean) {
    this.#id = id
    this.#bytes = first
    this.#state = isComplete ? 'ended' : 'open'
    if (!isComplete) open[id] = this
  }

  static of(id: number): IncomingBody | undefined {
    return open[id]
  }

  get isComplete(): boolean {
    return this.#state === 'ended'
  }

  get hasBytes(): boolean {
    return this.#bytes !== undefined
  }

  get wasRead(): boolean {
    return this.#wasRead
  }

  takeAll(): Bytes {
    const bytes = this.#bytes
    this.#bytes = undefined
    this.#wasRead ||= bytes !== undefined
    return bytes === undefined ? Bytes.over(new Uint8Array(0)) : Bytes.over(bytes)
  }

  read(): Promise<Bytes | undefined> {
    if (this.#bytes !== undefined) return Promise.resolve(this.takeAll())
    if (this.#state === 'ended') return Promise.resolve(undefined)
    if (this.#state === 'failed') return Promise.reject(this.#error!)
    this.#wasRead = true
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      host(HostOp.read, this.#id)
    })
  }

  async readAll(): Promise<Bytes> {
    if (this.#state === 'ended') return this.takeAll()
    const chunks: Uint8Array[] = []
    for (let chunk = await this.read(); chunk !== undefined; chunk = await this.read()) chunks.push(chunk)
    return Bytes.over(concat(chunks))
  }

  discard(): void {
    this.#bytes = undefined
    if (this.#state === 'open') host(HostOp.discard, this.#id)
  }

  stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        type: 'bytes',
        pull: async (controller) => {
          const chunk = await this.read()
          if (chunk === undefined) controller.close()
          else controller.enqueue(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))
        },
        cancel: () => this.discard(),
      },
      { highWaterMark: 0 },
    )
  }

  /** From the host. */
  chunk(bytes: Uint8Array): void {
    this.#settle()?.resolve(Bytes.over(bytes))
  }

  end(): void {
    this.#state = 'ended'
    open[this.#id] = undefined
    this.#settle()?.resolve(undefined)
  }

  fail(error: Error): void {
    if (this.#state !== 'open') return
    this.#state = 'failed'
    this.#error = error
    open[this.#id] = undefined
    this.#settle()?.reject(error)
  }

  #settle(): Waiting | undefined {
    const waiting = this.#waiting
    this.#waiting = undefined
    return waiting
  }
}
