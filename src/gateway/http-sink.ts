/**
 * Writes an invocation's answer to an HTTP response: the last step of the path.
 *
 * Invariants:
 *   H1. A body that breaks off closes the connection instead of ending the response: a client can always tell.
 *   H2. A chunk is reported consumed when it has left this process, so a slow client slows the function down, not the memory up.
 *   H3. The length that a client is told is the length that it gets, whatever the function states: otherwise the rest of
 *       one answer would be read as the next one on the connection, perhaps by somebody else behind a proxy.
 *   H4. A held body is let go when it has left, or the client has gone.
 */
import type { ServerResponse } from 'node:http'
import { pipeline } from 'node:stream'
import { PlatformError } from '#contract/errors.ts'
import { HeldBody } from '#contract/held-body.ts'
import type { AnswerSink, Invocation } from '#contract/invocation.ts'
import { sendError } from './api/answer.ts'

/** Headers that belong to one connection (RFC 9110, 7.6.1) and are never passed on. */
const hopByHop = new Set(['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'])

export function isHopByHop(name: string): boolean {
  return hopByHop.has(name)
}

/** What is passed on of a function's headers, in lower case, and the length that they state. */
interface PassedHeaders {
  readonly sent: readonly string[]
  readonly passed: readonly string[]
  /** Empty: none. */
  readonly length: string
}

/** The last few. Answers that begin alike come with one and the same array (queue-proxy.ts keeps it): looked at once. */
const known: PassedHeaders[] = []
const KNOWN_MAX = 8
let nextKnown = 0

function passedHeaders(sent: readonly string[]): PassedHeaders {
  for (const one of known) if (one.sent === sent) return one
  const passed: string[] = []
  let length = ''
  for (let index = 0; index < sent.length; index += 2) {
    const name = sent[index]!.toLowerCase()
    if (name === 'content-length') length = sent[index + 1]!
    else if (!hopByHop.has(name)) passed.push(name, sent[index + 1]!)
  }
  const made: PassedHeaders = { sent, passed, length }
  known[nextKnown] = made
  nextKnown = (nextKnown + 1) % KNOWN_MAX
  return made
}

const SMALL_BODY_BYTES = 4096
const LENGTH = /^\d{1,15}$/

export class HttpSink implements AnswerSink {
  readonly #response: ServerResponse
  invocation: Invocation | undefined
  /** What is left of the length that the function has stated for a stream (H3). */
  #bytesLeft: number | undefined

  constructor(response: ServerResponse) {
    this.#response = response
  }

  head(status: number, headers: readonly string[], body: Buffer | HeldBody | undefined, last: boolean): void {
    const response = this.#response
    const invocation = this.invocation!
    const { passed, length: stated } = passedHeaders(headers)
    const raw: string[] = ['x-skep-invocation-id', invocation.id, 'x-skep-start', invocation.start, ...passed]
    if (body instanceof HeldBody) return this.#sendHeld(status, raw, body)
    const bytes = body === undefined ? 0 : body.length
    const mayState = !last || status === 304 || response.req.method === 'HEAD'
    if (mayState && LENGTH.test(stated)) {
      raw.push('content-length', stated)
      if (response.req.method !== 'HEAD') this.#bytesLeft = Number(stated) - bytes
    } else if (last && status !== 204 && status !== 304) {
      raw.push('content-length', String(bytes))
    }
    if (!last && this.#bytesLeft !== undefined && this.#bytesLeft < 0) return this.#breakOff()
    response.writeHead(status, raw)
    if (last) {
      // As a string, a small body leaves in one buffer with the head; latin1 keeps every byte what it is.
      if (body !== undefined && body.length <= SMALL_BODY_BYTES) response.end(body.toString('latin1'), 'latin1')
      else response.end(body)
    } else if (body !== undefined) response.write(body)
    // Server-sent events and other slow streams: the head must not wait for the first byte.
    else response.flushHeaders()
  }

  data(chunk: Buffer, last: boolean, consumed: () => void): void {
    if (this.#response.destroyed) return
    if (this.#bytesLeft !== undefined) {
      this.#bytesLeft -= chunk.length
      if (this.#bytesLeft < 0 || (last && this.#bytesLeft > 0)) return this.#breakOff()
    }
    if (last) this.#response.end(chunk, consumed)
    else this.#response.write(chunk, consumed)
  }

  /** The client has closed the connection; nothing to do when its answer was complete. */
  clientGone(): void {
    const { invocation } = this
    if (invocation !== undefined && invocation.state !== 'ended') {
      invocation.cancel(new PlatformError('CANCELLED', 'The client closed the connection before the answer was complete.'))
    }
  }

  fail(error: PlatformError): void {
    const response = this.#response
    if (response.headersSent) response.destroy(error)
    else sendError(response, error, { 'x-skep-invocation-id': this.invocation?.id ?? '' })
  }

  /** The invocation has ended by now: a client that goes away only stops this (H4). */
  #sendHeld(status: number, raw: string[], body: HeldBody): void {
    const response = this.#response
    if (status !== 204 && status !== 304) raw.push('content-length', String(body.bytes))
    response.writeHead(status, raw)
    if (response.req.method !== 'HEAD' && status !== 204 && status !== 304) return void pipeline(body.stream(), response, () => {})
    body.release()
    response.end()
  }

  /** H3. */
  #breakOff(): void {
    this.invocation?.cancel(new PlatformError('ANSWER_INVALID', 'The answer has another length than its content-length header says; leave that header away, or state the length in bytes.'))
    this.#response.destroy()
  }
}
