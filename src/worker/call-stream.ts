/**
 * One call that the code of an instance makes to another function, on the platform's side of the channel.
 *
 * It is the mirror of a carried invocation: the request comes in as frames, and it is itself the sink of the answer,
 * which it sends back as frames within the runtime's credit. The call never leaves the process: no HTTP, no second parse.
 *
 * Invariants:
 *   C1. Answer bytes wait here only until the runtime has given credit, and their producer is told `consumed` only when
 *       they have been sent: so at most CREDIT_BYTES wait (frames F2).
 *   C2. Request bytes wait here until their reader takes them, which gives the runtime credit for more; a runtime that
 *       sends beyond its credit, or after its end, has broken the protocol. So a function cannot fill this process.
 */
import { PassThrough } from 'node:stream'
import { PlatformError } from '#contract/errors.ts'
import type { PlatformErrorBody } from '#contract/errors.ts'
import { CREDIT_BYTES, encodeFrame, encodeHeadFrame, FrameFlag, FrameType, INLINE_BYTES_MAX, parseJson } from '#contract/frames.ts'
import type { OpenHead } from '#contract/frames.ts'
import type { AnswerSink, Invocation } from '#contract/invocation.ts'
import type { FunctionCall, QueueProxyOwner } from './queue-proxy-owner.ts'

interface WaitingChunk {
  readonly chunk: Buffer
  readonly last: boolean
  readonly consumed: () => void
}

export class CallStream implements AnswerSink {
  readonly #id: number
  readonly #send: (frame: Buffer) => void
  readonly #closed: () => void
  #credit = CREDIT_BYTES
  #waiting: WaitingChunk[] = []
  #body: PassThrough | undefined
  /** Of the request body, received and not yet read (C2). */
  #unreadBytes = 0
  #call: FunctionCall | undefined

  constructor(options: { readonly id: number; readonly send: (frame: Buffer) => void; readonly closed: () => void }) {
    this.#id = options.id
    this.#send = options.send
    this.#closed = options.closed
  }

  /** Passes the call on. @param ended The request body is complete. */
  begin(owner: QueueProxyOwner, parent: Invocation, head: OpenHead, body: Buffer, ended: boolean): void {
    if (!ended) {
      // It takes nothing ahead of its reader: a write is done when it was read.
      this.#body = new PassThrough({ readableHighWaterMark: 0, writableHighWaterMark: CREDIT_BYTES })
      // The invocation that reads it hears of an error itself; before there is one, nobody does.
      this.#body.on('error', () => {})
      if (body.length > 0) this.#body.write(body)
    }
    this.#call = {
      parent,
      target: head.f ?? '',
      async: head.a === true,
      request: {
        kind: head.k,
        method: head.m ?? 'POST',
        path: head.u ?? '/',
        headers: head.h ?? [],
        body: this.#body ?? (body.length === 0 ? undefined : body),
      },
      sink: this,
      onCancel: () => {},
    }
    owner.called(this.#call)
  }

  /** A further frame of the runtime on this stream. */
  receive(type: number, flags: number, payload: Buffer): void {
    switch (type) {
      case FrameType.data: {
        const body = this.#body
        if (body === undefined || body.destroyed) return
        if (body.writableEnded) throw new PlatformError('PROTOCOL_BROKEN', 'The runtime sent more of a request body after its end.')
        if (payload.length > 0) {
          this.#unreadBytes += payload.length
          if (this.#unreadBytes > CREDIT_BYTES) throw new PlatformError('PROTOCOL_BROKEN', `The runtime sent ${this.#unreadBytes} bytes of a call with a credit of ${CREDIT_BYTES}.`)
          body.write(payload, (error) => {
            this.#unreadBytes -= payload.length
            if (error == null) this.#sendCredit(payload.length)
          })
        }
        if ((flags & FrameFlag.end) !== 0) body.end()
        return
      }
      case FrameType.credit:
        this.#credit += payload.length >= 4 ? payload.readUInt32LE(0) : 0
        return this.#drain()
      case FrameType.reset: {
        const reason =
          payload.length === 0
            ? new PlatformError('CANCELLED', 'The calling function no longer waits for the answer.')
            : PlatformError.fromBody(parseJson<PlatformErrorBody>(payload.toString()))
        this.cancel(reason)
        return this.#closed()
      }
      default:
        throw new PlatformError('PROTOCOL_BROKEN', `The runtime sent a frame of type ${type} on its own stream ${this.#id}.`)
    }
  }

  /** The caller has let go, or is gone. */
  cancel(reason: PlatformError): void {
    this.#body?.destroy()
    this.#waiting = []
    this.#call?.onCancel(reason)
  }

  head(status: number, headers: readonly string[], body: Buffer | undefined, last: boolean): void {
    this.#send(encodeHeadFrame(FrameType.head, last ? FrameFlag.end : 0, this.#id, JSON.stringify({ s: status, h: headers }), body))
    if (last) this.#closed()
  }

  data(chunk: Buffer, last: boolean, consumed: () => void): void {
    this.#waiting.push({ chunk, last, consumed })
    this.#drain()
  }

  fail(error: PlatformError): void {
    this.#waiting = []
    this.#send(encodeFrame(FrameType.reset, 0, this.#id, JSON.stringify(error.toBody())))
    this.#closed()
  }

  /** Sends what there is credit for, cut to it (F2). */
  #drain(): void {
    while (this.#waiting.length > 0) {
      const first = this.#waiting[0]!
      const { chunk, last, consumed } = first
      let offset = 0
      while (offset < chunk.length && this.#credit > 0) {
        const end = Math.min(chunk.length, offset + INLINE_BYTES_MAX, offset + this.#credit)
        this.#send(encodeFrame(FrameType.data, last && end === chunk.length ? FrameFlag.end : 0, this.#id, chunk.subarray(offset, end)))
        this.#credit -= end - offset
        offset = end
      }
      if (offset < chunk.length) {
        this.#waiting[0] = { chunk: chunk.subarray(offset), last, consumed }
        return
      }
      if (chunk.length === 0 && last) this.#send(encodeFrame(FrameType.data, FrameFlag.end, this.#id))
      this.#waiting.shift()
      consumed()
      if (last) this.#closed()
    }
  }

  #sendCredit(bytes: number): void {
    const payload = Buffer.allocUnsafe(4)
    payload.writeUInt32LE(bytes, 0)
    this.#send(encodeFrame(FrameType.credit, 0, this.#id, payload))
  }
}
