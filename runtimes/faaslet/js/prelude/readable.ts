/**
 * ReadableStream and its readers, as far as functions use them.
 *
 * Source: Streams standard, sections 4.2 to 4.4. Own code, because the libraries for it are as large as the rest of the prelude and follow the
 * standard's bookkeeping step by step, which an interpreter pays for.
 * Where we differ: a byte stream is an ordinary one that takes only bytes; its controller has no `byobRequest`, and a BYOB reader copies.
 */
import type { AbortSignal } from './abort.ts'
import { ReadableCore, type Source, type Strategy } from './readable-core.ts'
import type { WritableStream } from './writable.ts'

export interface PipeOptions {
  readonly preventClose?: boolean
  readonly preventAbort?: boolean
  readonly preventCancel?: boolean
  readonly signal?: AbortSignal | undefined
}

/** What both kinds of reader do. */
class Reader<Chunk> {
  core: ReadableCore<Chunk> | undefined
  #closed!: Promise<undefined>
  #settle!: { readonly resolve: (value: undefined) => void; readonly reject: (error: unknown) => void }

  constructor(stream: ReadableStream<Chunk>) {
    const core = coreOf(stream)
    if (core.reader !== undefined) throw new TypeError('Invalid state: ReadableStream is locked')
    this.core = core
    core.reader = this
    this.#begin()
    if (core.state === 'closed') this.#settle.resolve(undefined)
    if (core.state === 'errored') this.#settle.reject(core.error)
  }

  get closed(): Promise<undefined> {
    return this.#closed
  }

  cancel(reason?: unknown): Promise<void> {
    return this.core?.cancel(reason) ?? Promise.reject(released())
  }

  releaseLock(): void {
    const { core } = this
    if (core === undefined) return
    const error = released()
    for (const request of core.requests.splice(0)) request.reject(error)
    core.reader = undefined
    this.core = undefined
    this.#begin()
    this.#settle.reject(error)
  }

  settleClosed(...error: unknown[]): void {
    if (error.length === 0) this.#settle.resolve(undefined)
    else this.#settle.reject(error[0])
  }

  #begin(): void {
    this.#closed = new Promise((resolve, reject) => (this.#settle = { resolve, reject }))
    this.#closed.catch(() => {})
  }
}

export class ReadableStreamDefaultReader<Chunk> extends Reader<Chunk> {
  read(): Promise<{ done: boolean; value: Chunk | undefined }> {
    return this.core?.read() ?? Promise.reject(released())
  }
}

export class ReadableStreamBYOBReader extends Reader<Uint8Array> {
  /** Fills the view as far as the next chunk goes. */
  async read(view: ArrayBufferView): Promise<{ done: boolean; value: Uint8Array | undefined }> {
    const { core } = this
    if (core === undefined) throw released()
    const { byteOffset, byteLength } = view
    const into = new Uint8Array((view.buffer as ArrayBuffer).transfer(), byteOffset, byteLength)
    if (byteLength === 0) throw new TypeError('The view has no bytes.')
    const { done, value } = await core.read()
    if (done) return { done, value: into.subarray(0, 0) }
    const bytes = value!
    const count = Math.min(bytes.length, into.length)
    into.set(bytes.subarray(0, count))
    if (count < bytes.length) core.unread(bytes.subarray(count), bytes.length - count)
    return { done, value: into.subarray(0, count) }
  }
}

let coreOf: <Chunk>(stream: ReadableStream<Chunk>) => ReadableCore<Chunk>

export class ReadableStream<Chunk = unknown> {
  readonly #core: ReadableCore<Chunk>

  static {
    coreOf = (stream) => stream.#core
  }

  constructor(source: Source<Chunk> | null = {}, strategy: Strategy<Chunk> = {}) {
    if (source === null) throw new TypeError('The source of a ReadableStream is null.')
    this.#core = new ReadableCore(source, strategy)
  }

  static from<Chunk>(iterable: Iterable<Chunk> | AsyncIterable<Chunk>): ReadableStream<Chunk> {
    const make = (iterable as AsyncIterable<Chunk>)[Symbol.asyncIterator] ?? (iterable as Iterable<Chunk>)[Symbol.iterator]
    if (typeof make !== 'function') throw new TypeError('ReadableStream.from needs something iterable.')
    const iterator = make.call(iterable) as AsyncIterator<Chunk>
    return new ReadableStream<Chunk>(
      {
        async pull(controller) {
          const next = await iterator.next()
          if (next.done === true) controller.close()
          else controller.enqueue(await next.value)
        },
        async cancel(reason) {
          await iterator.return?.(reason)
        },
      },
      { highWaterMark: 0 },
    )
  }

  /** Whether something of it was read, also by a reader that is gone. */
  static isDisturbed(stream: ReadableStream<never>): boolean {
    return stream.#core.isDisturbed
  }

  /** Whether a reader waits for a chunk. */
  static isWaitedFor(stream: ReadableStream<never>): boolean {
    return stream.#core.requests.length > 0
  }

  get locked(): boolean {
    return this.#core.reader !== undefined
  }

  cancel(reason?: unknown): Promise<void> {
    return this.locked ? Promise.reject(new TypeError('Invalid state: ReadableStream is locked')) : this.#core.cancel(reason)
  }

  getReader(options?: { readonly mode?: 'byob' | undefined }): ReadableStreamDefaultReader<Chunk> {
    return options?.mode === 'byob' ? (new ReadableStreamBYOBReader(this as unknown as ReadableStream<Uint8Array>) as unknown as ReadableStreamDefaultReader<Chunk>) : new ReadableStreamDefaultReader(this)
  }

  pipeThrough<Out>(pair: { readonly readable: ReadableStream<Out>; readonly writable: WritableStream<Chunk> }, options: PipeOptions = {}): ReadableStream<Out> {
    if (this.locked || pair.writable.locked) throw new TypeError('Invalid state: the stream is locked')
    this.pipeTo(pair.writable, options).catch(() => {})
    return pair.readable
  }

  async pipeTo(into: WritableStream<Chunk>, { preventClose = false, preventAbort = false, preventCancel = false, signal }: PipeOptions = {}): Promise<void> {
    const reader = this.getReader()
    const writer = into.getWriter()
    let onAbort: (() => void) | undefined
    const aborted = new Promise<never>((_, reject) => {
      if (signal === undefined) return
      onAbort = () => reject(signal.reason)
      if (signal.aborted) onAbort()
      else signal.addEventListener('abort', onAbort)
    })
    aborted.catch(() => {})
    let isReading = true
    const destination = writer.closed.then(
      () => ({ done: true, value: undefined }),
      (error: unknown) => {
        isReading = false
        throw error
      },
    )
    destination.catch(() => {})
    try {
      for (;;) {
        isReading = false
        await Promise.race([writer.ready, aborted])
        isReading = true
        const { done, value } = await Promise.race([reader.read(), aborted, destination])
        if (done) break
        isReading = false
        writer.write(value!).catch(() => {})
      }
      isReading = false
      await (preventClose ? writer.ready : writer.close())
    } catch (error) {
      const isAborted = signal?.aborted === true
      if ((isReading || isAborted) && !preventAbort) await writer.abort(error).catch(() => {})
      if ((!isReading || isAborted) && !preventCancel) await reader.cancel(error).catch(() => {})
      throw error
    } finally {
      if (onAbort !== undefined) signal!.removeEventListener('abort', onAbort)
      reader.releaseLock()
      writer.releaseLock()
    }
  }

  tee(): [ReadableStream<Chunk>, ReadableStream<Chunk>] {
    const reader = this.getReader()
    const branches: ReadableStream<Chunk>[] = []
    const cancelled: unknown[] = []
    let isReading = false
    const pull = async (): Promise<void> => {
      if (isReading) return
      isReading = true
      try {
        const { done, value } = await reader.read()
        isReading = false
        for (const branch of branches) {
          const core = branch.#core
          if (core.state !== 'readable' || core.closeRequested) continue
          if (done) core.close()
          else core.enqueue(value!)
        }
      } catch (error) {
        for (const branch of branches) branch.#core.fail(error)
      }
    }
    const cancel = (reason: unknown): unknown => (cancelled.push(reason) === 2 ? reader.cancel(cancelled) : undefined)
    branches.push(new ReadableStream<Chunk>({ pull, cancel }, { highWaterMark: 0 }), new ReadableStream<Chunk>({ pull, cancel }, { highWaterMark: 0 }))
    return branches as [ReadableStream<Chunk>, ReadableStream<Chunk>]
  }

  async *values({ preventCancel = false } = {}): AsyncGenerator<Chunk, undefined> {
    const reader = this.getReader()
    let hasEnded = false
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) {
          hasEnded = true
          return undefined
        }
        yield value!
      }
    } catch (error) {
      hasEnded = true
      throw error
    } finally {
      if (!hasEnded && !preventCancel) await reader.cancel()
      reader.releaseLock()
    }
  }

  [Symbol.asyncIterator](options?: { readonly preventCancel?: boolean }): AsyncGenerator<Chunk, undefined> {
    return this.values(options)
  }

  get [Symbol.toStringTag](): string {
    return 'ReadableStream'
  }
}

function released(): TypeError {
  return new TypeError('Invalid state: the reader was released')
}
