/** A call that a function makes, as the platform sees it: for tests of this runtime (runtime-peer.ts). */
import { closeSync } from 'node:fs'
import type { PlatformError } from '#contract/errors.ts'
import { encodeFrame, encodeHeadFrame, FrameFlag, FrameType } from '#contract/frames.ts'
import type { OpenHead, PassedMemory } from '#contract/frames.ts'
import type { RuntimePeer } from './runtime-peer.ts'

export class PeerCall {
  readonly id: number
  readonly head: OpenHead
  /** The whole payload. */
  readonly payload: Promise<Buffer>
  /** The payload's descriptor, when it came as memory. Closed with the peer. */
  fd: number | undefined
  wasReset = false
  /** Set while the call is begun: it then gets credit by {@link giveCredit} alone. */
  holdsCredit = false
  /** Data bytes that have come. */
  dataBytes = 0
  /** Bytes the runtime has given credit for. */
  creditBytes = 0
  readonly #peer: RuntimePeer
  readonly #payload = Promise.withResolvers<Buffer>()
  #chunks: Buffer[] = []

  constructor(peer: RuntimePeer, id: number, head: OpenHead) {
    this.#peer = peer
    this.id = id
    this.head = head
    this.payload = this.#payload.promise
  }

  take(body: Buffer | number, ended: boolean): void {
    if (typeof body === 'number') {
      this.fd = body
      return this.#payload.resolve(this.#peer.memory!.peek(body, this.head.p!.b))
    }
    this.#chunks.push(body)
    this.dataBytes += body.length
    if (ended) this.#payload.resolve(Buffer.concat(this.#chunks))
  }

  /** Answers with JSON; a large body goes in data frames. */
  reply(value: unknown, status = 200): void {
    this.replyBytes(Buffer.from(JSON.stringify(value)), 'application/json', status)
  }

  replyBytes(body: Buffer, contentType: string, status = 200): void {
    const head = JSON.stringify({ s: status, h: ['content-type', contentType] })
    if (body.length <= 65536) return this.#peer.send(encodeHeadFrame(FrameType.head, FrameFlag.end, this.id, head, body))
    this.#peer.send(encodeHeadFrame(FrameType.head, 0, this.id, head, undefined))
    for (let offset = 0; offset < body.length; offset += 65536) {
      const last = offset + 65536 >= body.length
      this.#peer.send(encodeFrame(FrameType.data, last ? FrameFlag.end : 0, this.id, body.subarray(offset, offset + 65536)))
    }
  }

  /** Answers with memory: a copy of these bytes, or what is behind this descriptor. */
  replyMemory(body: Buffer | number, contentType = 'application/octet-stream', status = 200): void {
    this.replyPassed(this.#peer.memory!.pass(body), contentType, status)
  }

  replyPassed(passed: PassedMemory, contentType = 'application/octet-stream', status = 200): void {
    this.#peer.send(encodeHeadFrame(FrameType.head, FrameFlag.end, this.id, JSON.stringify({ s: status, h: ['content-type', contentType], p: passed }), undefined))
  }

  /** Begins an answer of bytes that goes on by {@link data}. */
  begin(status = 200): void {
    this.#peer.send(encodeHeadFrame(FrameType.head, 0, this.id, JSON.stringify({ s: status, h: ['content-type', 'application/octet-stream'] }), undefined))
  }

  data(bytes: Buffer, ended = false): void {
    this.#peer.send(encodeFrame(FrameType.data, ended ? FrameFlag.end : 0, this.id, bytes))
  }

  giveCredit(bytes: number): void {
    this.#peer.send(creditFrame(this.id, bytes))
  }

  close(): void {
    if (this.fd !== undefined) closeSync(this.fd)
    this.fd = undefined
  }

  fail(error: PlatformError): void {
    this.#peer.send(encodeFrame(FrameType.reset, 0, this.id, JSON.stringify(error.toBody())))
  }
}

export function creditFrame(stream: number, bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(4)
  payload.writeUInt32LE(bytes, 0)
  return encodeFrame(FrameType.credit, 0, stream, payload)
}
