/**
 * WritableStream.
 *
 * Source: Streams standard, sections 5.2 to 5.5. Writes run one after the other; `ready` waits while more is queued than the high-water mark.
 *
 * Invariants:
 *   W1. The sink has at most one `write` or `close` running.
 *   W2. After an error every queued and later write rejects with it.
 */
import { AbortController, type AbortSignal } from './abort.ts'
import type { Strategy } from './readable-core.ts'

export interface Sink<Chunk> {
  start?(controller: WritableStreamDefaultController): unknown
  write?(chunk: Chunk, controller: WritableStreamDefaultController): unknown
  close?(): unknown
  abort?(reason: unknown): unknown
}

interface Deferred {
  readonly promise: Promise<undefined>
  readonly resolve: (value?: undefined) => void
  readonly reject: (error: unknown) => void
}

class WritableCore<Chunk> {
  state: 'writable' | 'closing' | 'closed' | 'errored' = 'writable'
  error: unknown
  writer: WritableStreamDefaultWriter<Chunk> | undefined
  readonly controller: WritableStreamDefaultController
  readonly signals = new AbortController()
  readonly closed = deferred()
  ready = deferred()
  readonly #sink: Sink<Chunk>
  readonly #highWaterMark: number
  readonly #size: ((chunk: Chunk) => number) | undefined
  #queuedSize = 0
  #last: Promise<unknown>

  constructor(sink: Sink<Chunk>, { highWaterMark = 1, size }: Strategy<Chunk>) {
    this.#sink = sink
    this.#highWaterMark = highWaterMark
    this.#size = size
    this.controller = new WritableStreamDefaultController(this as WritableCore<unknown>)
    if (highWaterMark > 0) this.ready.resolve()
    this.#last = Promise.resolve(sink.start?.(this.controller))
    this.#last.catch((error: unknown) => this.fail(error))
  }

  get desiredSize(): number | null {
    return this.state === 'errored' ? null : this.state === 'closed' ? 0 : this.#highWaterMark - this.#queuedSize
  }

  write(chunk: Chunk): Promise<undefined> {
    if (this.state === 'errored') return Promise.reject(this.error)
    if (this.state !== 'writable') return Promise.reject(new TypeError('Invalid state: the WritableStream is closed'))
    const size = this.#size?.(chunk) ?? 1
    if (this.desiredSize! > 0 && this.desiredSize! <= size) this.ready = deferred()
    this.#queuedSize += size
    return this.#then(async () => {
      await this.#sink.write?.(chunk, this.controller)
      this.#queuedSize -= size
      if (this.desiredSize! > 0) this.ready.resolve()
    })
  }

  close(): Promise<undefined> {
    if (this.state === 'errored') return Promise.reject(this.error)
    if (this.state !== 'writable') return Promise.reject(new TypeError('Invalid state: the WritableStream is closed'))
    this.state = 'closing'
    return this.#then(async () => {
      await this.#sink.close?.()
      this.state = 'closed'
      this.ready.resolve()
      this.closed.resolve()
    })
  }

  async abort(reason: unknown): Promise<undefined> {
    if (this.state === 'errored' || this.state === 'closed') return
    this.signals.abort(reason)
    this.fail(reason)
    await this.#last.catch(() => {})
    await this.#sink.abort?.(reason)
  }

  fail(error: unknown): void {
    if (this.state === 'errored' || this.state === 'closed') return
    this.state = 'errored'
    this.error = error
    // Whoever waits for room waits no more; whoever asks later is told too.
    this.ready.reject(error)
    this.ready = deferred()
    this.ready.reject(error)
    this.closed.reject(error)
  }

  #then(run: () => Promise<void>): Promise<undefined> {
    const done = this.#last.then(async () => {
      if (this.state === 'errored') throw this.error
      try {
        await run()
      } catch (error) {
        this.fail(error)
        throw error
      }
      return undefined
    })
    done.catch(() => {})
    this.#last = done
    return done
  }
}

export class WritableStreamDefaultController {
  readonly #core: WritableCore<unknown>

  constructor(core: WritableCore<unknown>) {
    this.#core = core
  }

  get signal(): AbortSignal {
    return this.#core.signals.signal
  }

  error(error: unknown): void {
    this.#core.fail(error)
  }
}

let coreOf: <Chunk>(stream: WritableStream<Chunk>) => WritableCore<Chunk>

export class WritableStream<Chunk = unknown> {
  readonly #core: WritableCore<Chunk>

  static {
    coreOf = (stream) => stream.#core
  }

  constructor(sink: Sink<Chunk> = {}, strategy: Strategy<Chunk> = {}) {
    this.#core = new WritableCore(sink, strategy)
  }

  /** Breaks it from outside: for the other half of a TransformStream. */
  static fail(stream: WritableStream<never>, error: unknown): void {
    stream.#core.fail(error)
  }

  get locked(): boolean {
    return this.#core.writer !== undefined
  }

  getWriter(): WritableStreamDefaultWriter<Chunk> {
    return new WritableStreamDefaultWriter(this)
  }

  close(): Promise<undefined> {
    return this.locked ? Promise.reject(locked()) : this.#core.close()
  }

  abort(reason?: unknown): Promise<undefined> {
    return this.locked ? Promise.reject(locked()) : this.#core.abort(reason)
  }

  get [Symbol.toStringTag](): string {
    return 'WritableStream'
  }
}

export class WritableStreamDefaultWriter<Chunk> {
  #core: WritableCore<Chunk> | undefined

  constructor(stream: WritableStream<Chunk>) {
    const core = coreOf(stream)
    if (core.writer !== undefined) throw locked()
    this.#core = core
    core.writer = this
  }

  get closed(): Promise<undefined> {
    return this.#core?.closed.promise ?? Promise.reject(released())
  }

  get ready(): Promise<undefined> {
    return this.#core?.ready.promise ?? Promise.reject(released())
  }

  get desiredSize(): number | null {
    if (this.#core === undefined) throw released()
    return this.#core.desiredSize
  }

  write(chunk: Chunk): Promise<undefined> {
    return this.#core?.write(chunk) ?? Promise.reject(released())
  }

  close(): Promise<undefined> {
    return this.#core?.close() ?? Promise.reject(released())
  }

  abort(reason?: unknown): Promise<undefined> {
    return this.#core?.abort(reason) ?? Promise.reject(released())
  }

  releaseLock(): void {
    if (this.#core !== undefined) this.#core.writer = undefined
    this.#core = undefined
  }
}

function deferred(): Deferred {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>()
  promise.catch(() => {})
  return { promise, resolve: resolve as Deferred['resolve'], reject }
}

function locked(): TypeError {
  return new TypeError('Invalid state: WritableStream is locked')
}

function released(): TypeError {
  return new TypeError('Invalid state: the writer was released')
}
