/**
 * What a ReadableStream is inside: its queue, who waits for chunks, and when the source is asked for more.
 *
 * Source: Streams standard, sections 4.5 and 4.6. One core serves stream, controller and reader.
 *
 * Invariants:
 *   S1. Chunks are queued only while nobody waits for one: `requests` and the queue are never both filled.
 *   S2. `pull` of the source is not called again before its promise has settled.
 */
import { plain } from './host.ts'

export interface Source<Chunk> {
  readonly type?: string | undefined
  start?(controller: ReadableStreamDefaultController<Chunk>): unknown
  pull?(controller: ReadableStreamDefaultController<Chunk>): unknown
  cancel?(reason: unknown): unknown
}

export interface Strategy<Chunk> {
  readonly highWaterMark?: number | undefined
  readonly size?: ((chunk: Chunk) => number) | undefined
}

export interface Request<Chunk> {
  readonly resolve: (result: { done: boolean; value: Chunk | undefined }) => void
  readonly reject: (error: unknown) => void
}

export class ReadableCore<Chunk> {
  state: 'readable' | 'closed' | 'errored' = 'readable'
  error: unknown
  readonly requests: Request<Chunk>[] = []
  reader: { settleClosed(...error: unknown[]): void } | undefined
  isDisturbed = false
  #queue: { chunk: Chunk; readonly size: number }[] = []
  #queuedSize = 0
  readonly #highWaterMark: number
  readonly #size: ((chunk: Chunk) => number) | undefined
  readonly #isBytes: boolean
  #source: Source<Chunk> | undefined
  #hasStarted = false
  #isPulling = false
  #pullAgain = false
  closeRequested = false
  readonly controller: ReadableStreamDefaultController<Chunk>

  constructor(source: Source<Chunk>, strategy: Strategy<Chunk>) {
    if (source.type !== undefined && source.type !== 'bytes') throw new TypeError(`The type of a source is "bytes" or undefined, not ${String(source.type)}.`)
    this.#isBytes = source.type === 'bytes'
    const { highWaterMark = this.#isBytes ? 0 : 1 } = strategy
    if (typeof highWaterMark !== 'number' || Number.isNaN(highWaterMark) || highWaterMark < 0) throw new RangeError(`The highWaterMark ${String(highWaterMark)} is not a number from 0.`)
    this.#highWaterMark = highWaterMark
    this.#size = strategy.size
    this.#source = source
    this.controller = new ReadableStreamDefaultController(this)
    const started = source.start?.(this.controller)
    Promise.resolve(started).then(
      () => {
        this.#hasStarted = true
        this.pullIfNeeded()
      },
      (error: unknown) => this.fail(error),
    )
  }

  get desiredSize(): number | null {
    return this.state === 'errored' ? null : this.state === 'closed' ? 0 : this.#highWaterMark - this.#queuedSize
  }

  enqueue(chunk: Chunk): void {
    if (this.closeRequested || this.state !== 'readable') throw new TypeError('Invalid state: Controller is already closed')
    if (this.#isBytes && !ArrayBuffer.isView(chunk)) throw new TypeError('A byte stream takes views of an ArrayBuffer only.')
    const bytes = this.#isBytes ? (plain(chunk as ArrayBufferView) as unknown as Chunk) : chunk
    const request = this.requests.shift()
    if (request !== undefined) request.resolve({ done: false, value: bytes })
    else {
      let size: number
      try {
        size = this.#isBytes ? (bytes as unknown as Uint8Array).length : Number(this.#size?.(chunk) ?? 1)
        if (!(size >= 0) || size === Infinity) throw new RangeError(`The size ${size} of a chunk is not a number from 0.`)
      } catch (error) {
        this.fail(error)
        throw error
      }
      this.#queue.push({ chunk: bytes, size })
      this.#queuedSize += size
    }
    this.pullIfNeeded()
  }

  close(): void {
    if (this.closeRequested || this.state !== 'readable') throw new TypeError('Invalid state: Controller is already closed')
    this.closeRequested = true
    if (this.#queue.length === 0) this.#finish()
  }

  fail(error: unknown): void {
    if (this.state !== 'readable') return
    this.state = 'errored'
    this.error = error
    this.#queue = []
    this.#source = undefined
    for (const request of this.requests.splice(0)) request.reject(error)
    this.reader?.settleClosed(error)
  }

  read(): Promise<{ done: boolean; value: Chunk | undefined }> {
    this.isDisturbed = true
    if (this.state === 'errored') return Promise.reject(this.error)
    const next = this.#queue.shift()
    if (next !== undefined) {
      this.#queuedSize -= next.size
      if (this.closeRequested && this.#queue.length === 0) this.#finish()
      else this.pullIfNeeded()
      return Promise.resolve({ done: false, value: next.chunk })
    }
    if (this.state === 'closed') return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => {
      this.requests.push({ resolve, reject })
      this.pullIfNeeded()
    })
  }

  /** Puts what was read too much back to the front. */
  unread(chunk: Chunk, size: number): void {
    this.#queue.unshift({ chunk, size })
    this.#queuedSize += size
  }

  cancel(reason: unknown): Promise<void> {
    this.isDisturbed = true
    if (this.state === 'closed') return Promise.resolve()
    if (this.state === 'errored') return Promise.reject(this.error)
    const source = this.#source
    this.#queue = []
    this.#finish()
    return new Promise((resolve) => resolve(source?.cancel?.(reason) as undefined)).then(() => undefined)
  }

  pullIfNeeded(): void {
    if (!this.#hasStarted || this.state !== 'readable' || this.closeRequested || this.#source?.pull === undefined) return
    if (this.requests.length === 0 && this.desiredSize! <= 0) return
    if (this.#isPulling) {
      this.#pullAgain = true
      return
    }
    this.#isPulling = true
    new Promise((resolve) => resolve(this.#source!.pull!(this.controller))).then(
      () => {
        this.#isPulling = false
        if (!this.#pullAgain) return
        this.#pullAgain = false
        this.pullIfNeeded()
      },
      (error: unknown) => this.fail(error),
    )
  }

  #finish(): void {
    this.state = 'closed'
    this.#source = undefined
    for (const request of this.requests.splice(0)) request.resolve({ done: true, value: undefined })
    this.reader?.settleClosed()
  }
}

export class ReadableStreamDefaultController<Chunk> {
  readonly #core: ReadableCore<Chunk>

  constructor(core: ReadableCore<Chunk>) {
    this.#core = core
  }

  get desiredSize(): number | null {
    return this.#core.desiredSize
  }

  get byobRequest(): null {
    return null
  }

  enqueue(chunk: Chunk): void {
    this.#core.enqueue(chunk)
  }

  close(): void {
    this.#core.close()
  }

  error(error: unknown): void {
    this.#core.fail(error)
  }
}
