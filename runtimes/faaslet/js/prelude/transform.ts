/**
 * TransformStream, and the two queuing strategies.
 *
 * Source: Streams standard, section 6. The readable side pulls; a write waits until it does.
 */
import type { ReadableStreamDefaultController, Strategy } from './readable-core.ts'
import { ReadableStream } from './readable.ts'
import { WritableStream } from './writable.ts'

export interface TransformController<Out> {
  readonly desiredSize: number | null
  enqueue(chunk: Out): void
  error(error: unknown): void
  terminate(): void
}

export interface Transformer<In, Out> {
  start?(controller: TransformController<Out>): unknown
  transform?(chunk: In, controller: TransformController<Out>): unknown
  flush?(controller: TransformController<Out>): unknown
  cancel?(reason: unknown): unknown
}

export class TransformStream<In = unknown, Out = unknown> {
  readonly readable: ReadableStream<Out>
  readonly writable: WritableStream<In>

  constructor(transformer: Transformer<In, Out> = {}, writableStrategy: Strategy<In> = {}, readableStrategy: Strategy<Out> = {}) {
    let out!: ReadableStreamDefaultController<Out>
    let wanted = Promise.withResolvers<void>()
    const fail = (error: unknown): void => {
      out.error(error)
      WritableStream.fail(this.writable as WritableStream<never>, error)
      wanted.resolve()
    }
    const controller: TransformController<Out> = {
      get desiredSize() {
        return out.desiredSize
      },
      enqueue: (chunk) => out.enqueue(chunk),
      error: fail,
      terminate: () => {
        out.close()
        WritableStream.fail(this.writable as WritableStream<never>, new TypeError('Invalid state: TransformStream has been terminated'))
      },
    }
    this.readable = new ReadableStream<Out>(
      {
        start: (given) => {
          out = given
        },
        pull: () => wanted.resolve(),
        cancel: async (reason) => {
          wanted.resolve()
          await transformer.cancel?.(reason)
          WritableStream.fail(this.writable as WritableStream<never>, reason)
        },
      },
      { highWaterMark: 0, ...readableStrategy },
    )
    this.writable = new WritableStream<In>(
      {
        start: () => transformer.start?.(controller),
        write: async (chunk) => {
          if (out.desiredSize !== null && out.desiredSize <= 0 && !ReadableStream.isWaitedFor(this.readable as unknown as ReadableStream<never>)) {
            wanted = Promise.withResolvers()
            await wanted.promise
          }
          try {
            if (transformer.transform === undefined) out.enqueue(chunk as unknown as Out)
            else await transformer.transform(chunk, controller)
          } catch (error) {
            fail(error)
            throw error
          }
        },
        close: async () => {
          try {
            await transformer.flush?.(controller)
            out.close()
          } catch (error) {
            fail(error)
            throw error
          }
        },
        abort: async (reason) => {
          await transformer.cancel?.(reason)
          out.error(reason)
        },
      },
      writableStrategy,
    )
  }

  get [Symbol.toStringTag](): string {
    return 'TransformStream'
  }
}

export class CountQueuingStrategy {
  readonly highWaterMark: number

  constructor({ highWaterMark }: { readonly highWaterMark: number }) {
    this.highWaterMark = highWaterMark
  }

  size(): number {
    return 1
  }
}

export class ByteLengthQueuingStrategy {
  readonly highWaterMark: number

  constructor({ highWaterMark }: { readonly highWaterMark: number }) {
    this.highWaterMark = highWaterMark
  }

  size(chunk: ArrayBufferView): number {
    return chunk.byteLength
  }
}
