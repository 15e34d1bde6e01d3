/**
 * One call that the code of an instance makes, of another function or for an object, on the platform's side of the channel.
 *
 * It is the mirror of a carried invocation: the request comes in as frames, and it is itself the sink of the answer,
 * which it sends back as frames within the runtime's credit. The call never leaves the process: no HTTP, no second parse.
 *
 * Invariants:
 *   C1. Answer bytes wait here only until the runtime has given credit, and their producer is told `consumed` only when
 *       they have been sent: so at most CREDIT_BYTES wait (frames F2).
 *   C2. Request bytes wait here until their reader takes them, which gives the runtime credit for more; a runtime that
 *       sends beyond its credit, or after its end, has broken the protocol. So a function cannot fill this process.
 *   C3. A body in memory is let go when the call has been answered, or has failed.
 */
import { closeSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import type { Readable } from 'node:stream'
import { parseColor } from '#contract/color.ts'
import { PlatformError } from '#contract/errors.ts'
import type { PlatformErrorBody } from '#contract/errors.ts'
import { CREDIT_BYTES, encodeFrame, encodeHeadFrame, FrameFlag, FrameType, INLINE_BYTES_MAX, parseJson } from '#contract/frames.ts'
import type { AnswerHead, OpenHead } from '#contract/frames.ts'
import { HeldBody } from '#contract/held-body.ts'
import type { AnswerSink, Invocation } from '#contract/invocation.ts'
import { sendStream } from './answer-stream.ts'
import { creditFrame, takeWhole } from './invocation-frames.ts'
import type { MemoryChannel } from './memory-channel.ts'
import type { QueueProxyOwner } from './queue-proxy-owner.ts'

interface WaitingChunk {
  readonly chunk: Buffer
  readonly last: boolean
  readonly consumed: () => void
}

export interface CallStreamOptions {
  readonly id: number
  readonly send: (frame: Buffer) => void
  readonly closed: () => void
  /** Where the code passes memory, if it can. */
  readonly memory: MemoryChannel | undefined
  /** It also takes memory. */
  readonly takesMemory: boolean
}

const NO_BYTES = Buffer.alloc(0)

export class CallStream implements AnswerSink {
  readonly #options: CallStreamOptions
  #credit = CREDIT_BYTES
  #waiting: WaitingChunk[] = []
  #body: PassThrough | undefined
  #held: HeldBody | undefined
  /** Of the request body, received and not yet read (C2). */
  #unreadBytes = 0
  #parent: Invocation | undefined
  #call: { onCancel: (reason: PlatformError) => void } | undefined
  /** The answer, when it has to become a stream here. */
  #streamed: Readable | undefined

  constructor(options: CallStreamOptions) {
    this.#options = options
  }

  /** Passes the call on. @param ended The request body is complete. @throws PROTOCOL_BROKEN. */
  begin(owner: QueueProxyOwner, parent: Invocation | undefined, head: OpenHead, body: Buffer, ended: boolean): void {
    const { memory, takesMemory } = this.#options
    const passed = head.p === undefined ? undefined : takeWhole(memory, head.p, ended && body.length === 0)
    const isTransfer = head.k === 'put' || head.k === 'get'
    if (parent?.state !== 'running' || (head.f === undefined && !isTransfer)) {
      if (passed !== undefined) this.#refuse(passed)
      return this.fail(new PlatformError('CANCELLED', 'A call between functions needs a running invocation that makes it.'))
    }
    this.#parent = parent
    if (passed !== undefined) {
      try {
        // What is put is accounted for as an object, and not on its way there.
        this.#held = head.k === 'put' ? new HeldBody(passed.fd, passed.bytes) : owner.held(parent, passed.fd, passed.bytes)
        this.#held.onReleased(() => this.#sendCredit(passed.bytes))
        parent.moved().bytesShared += passed.bytes
      } catch (thrown) {
        this.#refuse(passed)
        return this.fail(PlatformError.from(thrown))
      }
    }
    if (!ended) {
      // It takes nothing ahead of its reader: a write is done when it was read.
      this.#body = new PassThrough({ readableHighWaterMark: 0, writableHighWaterMark: CREDIT_BYTES })
      // The invocation that reads it hears of an error itself; before there is one, nobody does.
      this.#body.on('error', () => {})
      if (body.length > 0) this.#body.write(body)
    }
    const whole = this.#held ?? this.#body ?? (body.length === 0 ? undefined : body)
    if (head.k === 'put') {
      this.#held = undefined
      const what = { kind: 'put', body: whole ?? NO_BYTES, terms: head.o ?? {} } as const
      const transfer = { parent, what, sink: this, onCancel: () => {} }
      this.#call = transfer
      return owner.transferred(transfer)
    }
    if (head.k === 'get') {
      const what = { kind: 'get', reference: String(head.r ?? ''), asStream: head.s === true, takesMemory: memory !== undefined && takesMemory } as const
      const transfer = { parent, what, sink: this, onCancel: () => {} }
      this.#call = transfer
      return owner.transferred(transfer)
    }
    let color: string | undefined
    try {
      color = parseColor(head.l)
    } catch (thrown) {
      return this.fail(PlatformError.from(thrown))
    }
    const call = {
      parent,
      target: head.f ?? '',
      async: head.a === true,
      request: {
        kind: head.k,
        ...(head.b === true && { binary: true as const }),
        method: head.m ?? 'POST',
        path: head.u ?? '/',
        headers: head.h ?? [],
        body: whole,
        ...(color !== undefined && { color }),
      },
      sink: this,
      onCancel: () => {},
    }
    this.#call = call
    owner.called(call)
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
        return this.#options.closed()
      }
      default:
        throw new PlatformError('PROTOCOL_BROKEN', `The runtime sent a frame of type ${type} on its own stream ${this.#options.id}.`)
    }
  }

  /** The caller has let go, or is gone. */
  cancel(reason: PlatformError): void {
    this.#body?.destroy()
    this.#streamed?.destroy()
    this.#waiting = []
    this.#call?.onCancel(reason)
  }

  head(status: number, headers: readonly string[], body: Buffer | HeldBody | undefined, last: boolean): void {
    if (last) this.#letGo()
    if (body instanceof HeldBody) return this.#sendHeld(status, headers, body)
    this.#sendHead({ s: status, h: headers }, body, last)
    if (last) this.#options.closed()
  }

  data(chunk: Buffer, last: boolean, consumed: () => void): void {
    if (last) this.#letGo()
    this.#waiting.push({ chunk, last, consumed })
    this.#drain()
  }

  fail(error: PlatformError): void {
    this.#letGo()
    this.#waiting = []
    this.#options.send(encodeFrame(FrameType.reset, 0, this.#options.id, JSON.stringify(error.toBody())))
    this.#options.closed()
  }

  /** As memory where the code takes it, as a stream otherwise. */
  #sendHeld(status: number, headers: readonly string[], body: HeldBody): void {
    const passed = this.#options.takesMemory ? this.#options.memory?.pass(body) : undefined
    if (passed !== undefined) {
      body.release()
      if (this.#parent !== undefined) this.#parent.moved().bytesShared += passed.b
      this.#sendHead({ s: status, h: headers, p: passed }, undefined, true)
      return this.#options.closed()
    }
    this.#sendHead({ s: status, h: headers }, undefined, false)
    this.#streamed = body.stream()
    sendStream(this.#streamed, this, () => {})
  }

  #sendHead(head: AnswerHead, body: Buffer | undefined, last: boolean): void {
    this.#options.send(encodeHeadFrame(FrameType.head, last ? FrameFlag.end : 0, this.#options.id, JSON.stringify(head), body))
  }

  /** C3. */
  #letGo(): void {
    const held = this.#held
    this.#held = undefined
    held?.release()
  }

  /** Sends what there is credit for, cut to it (F2). */
  #drain(): void {
    const { id, send, closed } = this.#options
    while (this.#waiting.length > 0) {
      const first = this.#waiting[0]!
      const { chunk, last, consumed } = first
      let offset = 0
      while (offset < chunk.length && this.#credit > 0) {
        const end = Math.min(chunk.length, offset + INLINE_BYTES_MAX, offset + this.#credit)
        send(encodeFrame(FrameType.data, last && end === chunk.length ? FrameFlag.end : 0, id, chunk.subarray(offset, end)))
        this.#credit -= end - offset
        offset = end
      }
      if (offset < chunk.length) {
        this.#waiting[0] = { chunk: chunk.subarray(offset), last, consumed }
        return
      }
      if (chunk.length === 0 && last) send(encodeFrame(FrameType.data, FrameFlag.end, id))
      this.#waiting.shift()
      consumed()
      if (last) closed()
    }
  }

  #refuse(passed: { readonly fd: number; readonly bytes: number }): void {
    closeSync(passed.fd)
    this.#sendCredit(passed.bytes)
  }

  #sendCredit(bytes: number): void {
    this.#options.send(creditFrame(this.#options.id, bytes))
  }
}
