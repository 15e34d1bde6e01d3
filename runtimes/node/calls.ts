/**
 * Calls of other functions that this function makes: odd streams, opened here, answered by the platform.
 *
 * They never leave as HTTP: deadline and trace are the platform's to inherit from the calling stream (`c`).
 *
 * Invariants:
 *   L1. A call is in the host's table from `open` until both directions have ended, or either side has reset it.
 *   L2. It settles once: with the answer's head, or with an error; after that an error goes to the answer's body.
 */
import { FrameFlag, FrameType, INLINE_BYTES_MAX, type AnswerHead, type OpenHead } from '../../src/contract/frames.ts'
import { PlatformError } from '../../src/contract/errors.ts'
import { IncomingBody } from './body-in.ts'
import { OutgoingBody } from './body-out.ts'
import type { Host } from './host.ts'
import { errorPayload, u32 } from './invocation.ts'

export interface CallOptions {
  readonly head: OpenHead
  readonly body: string | Uint8Array | AsyncIterator<unknown> | undefined
  readonly signal?: AbortSignal | undefined
  /** The longest time until the answer has ended, ms. */
  readonly timeoutMs?: number | undefined
}

export interface CallAnswer {
  readonly status: number
  readonly headers: readonly string[]
  readonly body: IncomingBody
}

let nextStream = 1

export class Call {
  readonly stream: number
  /** The stream of the invocation that called; undefined outside of one. */
  readonly caller: number | undefined
  readonly body: IncomingBody
  readonly answer: Promise<CallAnswer>
  readonly #host: Host
  readonly #outgoing: OutgoingBody
  readonly #signal: AbortSignal | undefined
  #settle!: { resolve: (answer: CallAnswer) => void; reject: (error: Error) => void }
  #timer: NodeJS.Timeout | undefined
  #ended = false
  readonly #onAbort = (): void => this.#abort(this.#signal!.reason as Error)

  constructor(host: Host, options: CallOptions) {
    this.#host = host
    this.stream = nextStream
    nextStream += 2
    this.caller = options.head.c
    this.#signal = options.signal
    this.answer = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    this.body = new IncomingBody(undefined, false, (bytes) => host.channel.send(FrameType.credit, 0, this.stream, u32(bytes)))
    this.#outgoing = new OutgoingBody(host.channel, this.stream)
    if (options.signal?.aborted === true) {
      this.#ended = true
      this.#settle.reject(options.signal.reason as Error)
      return
    }
    host.calls.set(this.stream, this)
    options.signal?.addEventListener('abort', this.#onAbort)
    if (options.timeoutMs !== undefined) {
      const { timeoutMs } = options
      this.#timer = setTimeout(() => this.#abort(new PlatformError('FUNCTION_TIMEOUT', `The call of "${options.head.f}" did not end within ${timeoutMs} ms.`)), timeoutMs)
    }
    this.#send(options)
  }

  addCredit(bytes: number): void {
    this.#outgoing.addCredit(bytes)
  }

  /** The answer's head has come. @param first The bytes that came with it: no view. */
  begin(head: AnswerHead, first: Buffer, isLast: boolean): void {
    const body = isLast ? new IncomingBody(first.length > 0 ? first : undefined, true, () => {}) : this.body
    if (!isLast) this.body.pushFree(first)
    this.#settle.resolve({ status: head.s, headers: head.h, body })
    if (isLast) this.#end()
    else this.body.onEnd(() => this.#end())
  }

  /** The platform says that the call failed. */
  fail(error: Error): void {
    if (this.#ended) return
    this.#end()
    this.#settle.reject(error)
    this.body.fail(error)
  }

  /** The calling invocation is no longer wanted, so neither is this. */
  cancel(): void {
    this.#abort(new DOMException('The calling invocation was cancelled.', 'AbortError'))
  }

  #abort(reason: Error): void {
    if (this.#ended) return
    this.#host.channel.send(FrameType.reset, 0, this.stream, errorPayload(new PlatformError('CANCELLED', 'The caller let go of the call.')))
    this.fail(reason)
  }

  #send({ head, body }: CallOptions): void {
    const json = JSON.stringify(head)
    const bytes = body === undefined ? 0 : typeof body === 'string' ? Buffer.byteLength(body) : body instanceof Uint8Array ? body.byteLength : Infinity
    if (bytes <= INLINE_BYTES_MAX) {
      this.#host.channel.sendHead(FrameType.open, FrameFlag.end, this.stream, json, body as string | Uint8Array | undefined)
      return
    }
    const passed = typeof body === 'string' || body instanceof Uint8Array ? this.#host.memory?.pass(body, this.stream) : undefined
    if (passed !== undefined) {
      this.#host.channel.sendHead(FrameType.open, FrameFlag.end, this.stream, JSON.stringify({ ...head, p: passed }), undefined)
      return
    }
    // Whoever needs all of it is told how much that is.
    const stated = bytes < Infinity && head.h === undefined ? JSON.stringify({ ...head, h: ['content-length', String(bytes)] }) : json
    this.#host.channel.sendHead(FrameType.open, 0, this.stream, stated, undefined)
    const source = typeof body === 'string' || body instanceof Uint8Array ? [body][Symbol.iterator]() : body
    this.#outgoing.pump(source as AsyncIterator<unknown>).catch((error: Error) => this.#abort(error))
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#host.calls.delete(this.stream)
    this.#outgoing.close()
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }
}
