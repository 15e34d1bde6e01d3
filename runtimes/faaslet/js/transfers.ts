/**
 * Bodies between guest and host: what the guest reads, what it gives, and errors on their way.
 */
import { PlatformError } from '../../../src/contract/errors.ts'
import { Entry, type WireError } from './ops.ts'

/** A body that comes in: the invocation's, a called function's answer, or a fetched response. */
export interface Incoming {
  /** The next bytes; undefined after the last ones. */
  read(): Promise<Uint8Array | undefined>
  discard(): void
}

/**
 * A body that the guest gives: every `next` asks it for one chunk, so that it is as slow as whoever takes it.
 *
 * Invariants:
 *   T1. It ends once: `onEnd` is called when the guest has given all, it broke off, or nobody wants the rest.
 */
export class GuestSource implements AsyncIterableIterator<Uint8Array> {
  readonly #ask: (entry: number) => void
  readonly #onEnd: (() => void) | undefined
  #waiting: { readonly resolve: (next: IteratorResult<Uint8Array, undefined>) => void; readonly reject: (error: Error) => void } | undefined
  #hasEnded = false

  constructor(ask: (entry: number) => void, onEnd: (() => void) | undefined) {
    this.#ask = ask
    this.#onEnd = onEnd
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (this.#hasEnded) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#ask(Entry.pull)
    })
  }

  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#hasEnded) this.#ask(Entry.stop)
    this.#end()
    return Promise.resolve({ done: true, value: undefined })
  }

  give(bytes: Uint8Array): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve({ done: false, value: bytes })
  }

  giveEnd(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve({ done: true, value: undefined })
    this.#end()
  }

  giveError(error: Error): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.reject(error)
    this.#end()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    // After the last frame of the body, which whoever pumps sends in the next microtasks.
    setImmediate(() => this.#onEnd?.())
  }
}

/** Reads a web stream. */
export function incomingOf(stream: ReadableStream<Uint8Array>): Incoming {
  const reader = stream.getReader()
  return {
    read: async () => (await reader.read()).value,
    discard: () => void reader.cancel().catch(() => {}),
  }
}

/** An error of the host, as the guest is told. */
export function wireError(error: unknown): WireError {
  if (error instanceof PlatformError) {
    const { code, message, details, functionStack: stack } = error
    return { name: 'PlatformError', code, message, ...(details !== undefined && { details }), ...(stack !== undefined && { stack }) }
  }
  const { name, message, cause } = error as Error
  const from = cause as { code?: string; message?: string } | undefined
  return { name: name ?? 'Error', message: message ?? String(error), ...(from?.message !== undefined && { cause: from.message }), ...(from?.code !== undefined && { code: from.code }) }
}
