/**
 * Reads one HTTP/1.1 answer from bytes as they come, in whatever pieces (RFC 9112, sections 4 to 8).
 *
 * What an answer costs here is what the client is late by, so only what frames it is looked at: status, content-length, transfer-encoding,
 * connection and keep-alive. The head is kept as one string and taken apart when somebody asks (`headersOf`). An answer that comes whole in one piece,
 * as most do, is one search, one string and one copy.
 *
 *   head ─▶ fixed ──────────────────────────────────────▶ done
 *    ▲ │ ─▶ until-close ──────────── (connection's end) ─▶ done
 *    └─┤ ─▶ chunk-size ⇄ chunk-data, then trailers ──────▶ done        any of them ─▶ failed
 *   1xx└─▶ (204, 304, length 0) ─────────────────────────▶ done
 *
 *   P1. How bytes are cut into pieces changes nothing.
 *   P2. What is no answer, or one in which two readers could see different ends, fails at once with a code; it is not guessed at.
 *   P3. No more than HEAD_BYTES_MAX of a head and `bodyKeptMax` of a body are held. What is more of a body is counted.
 */
import { GrowingBytes } from './growing-bytes.ts'
import type { SendFailure } from './exchange.ts'

export const HEAD_BYTES_MAX = 64 * 1024
/** With its extensions, which nobody uses. */
const CHUNK_LINE_BYTES_MAX = 4096

export interface ParserLimits {
  /** Held for whoever reads the answer, bytes. */
  readonly bodyKeptMax: number
  /** Above this an answer fails, bytes. */
  readonly bodyMax: number
}

type State = 'head' | 'fixed' | 'until-close' | 'chunk-size' | 'chunk-data' | 'chunk-end' | 'trailers' | 'done' | 'failed'

export class ResponseParser {
  readonly #limits: ParserLimits
  #state: State = 'head'
  /** A head, a chunk's line or a trailer line that is not there as a whole. */
  readonly #pending = new GrowingBytes()
  readonly #body = new GrowingBytes()
  /** Of the body or of the chunk. */
  #left = 0
  #trailerBytes = 0

  status = 0
  /** Lines of the head behind the status line, without the empty one. */
  head = ''
  bodyBytes = 0
  /** Whether the connection can carry another exchange. */
  reusable = false
  /** How long the server keeps an idle connection, s, if it says so. */
  keepAliveSeconds: number | undefined
  failure: SendFailure | undefined
  /** Whether any byte has come since `reset`. */
  started = false

  constructor(limits: ParserLimits) {
    this.#limits = limits
  }

  reset(): void {
    this.#state = 'head'
    this.#pending.clear()
    this.#body.clear()
    this.#left = this.#trailerBytes = this.status = this.bodyBytes = 0
    this.head = ''
    this.reusable = this.started = false
    this.keepAliveSeconds = undefined
    this.failure = undefined
  }

  /** What was kept of the body. */
  get body(): Uint8Array {
    return this.#body.view()
  }

  /** Whether no byte of the final answer has come yet; those of informational answers before it are not its. */
  get awaitsFirstByte(): boolean {
    return this.#state === 'head' && this.#pending.length === 0
  }

  /** @param bytes May be overwritten afterwards. @returns Whether the answer has ended, well or with `failure`. */
  push(bytes: Buffer, length: number): 'more' | 'done' | 'failed' {
    let at = 0
    if (length > 0) this.started = true
    while (at < length || this.#state === 'done') {
      switch (this.#state) {
        case 'head': at = this.#pushHead(bytes, at, length); break
        case 'fixed':
        case 'until-close':
        case 'chunk-data': at = this.#pushBody(bytes, at, length); break
        case 'chunk-size':
        case 'chunk-end':
        case 'trailers': at = this.#pushLine(bytes, at, length); break
        case 'done':
          // Nobody has asked for more: what it belongs to is not known, and the connection is not used again.
          if (at < length) this.reusable = false
          return 'done'
        case 'failed': return 'failed'
      }
    }
    return this.#state === 'failed' ? 'failed' : 'more'
  }

  /** The connection has ended. */
  end(): 'done' | 'failed' {
    this.reusable = false
    if (this.#state === 'until-close') this.#state = 'done'
    else if (this.#state !== 'done' && this.#state !== 'failed') this.#fail('ECONNRESET', `the connection was closed in the middle of an answer (${this.#state}, ${this.bodyBytes} bytes of its body)`)
    return this.#state === 'done' ? 'done' : 'failed'
  }

  #fail(code: string, message: string): void {
    this.#state = 'failed'
    this.reusable = false
    this.failure = { code, message }
  }

  #pushHead(bytes: Buffer, from: number, to: number): number {
    const before = this.#pending.length
    // The usual case: a head that comes in one piece is not copied.
    if (before === 0) {
      const end = bytes.indexOf('\r\n\r\n', from, 'latin1')
      // A read buffer is larger than what was read.
      if (end >= 0 && end + 4 <= to && end + 4 - from <= HEAD_BYTES_MAX) return this.#headEnds(bytes.toString('latin1', from, end), end + 4)
    }
    this.#pending.append(bytes, from, to, HEAD_BYTES_MAX)
    const pending = this.#pending.view()
    if (!'HTTP/1.'.startsWith(pending.toString('latin1', 0, Math.min(7, pending.length)))) {
      this.#fail('PROTOCOL_BROKEN', `answered ${JSON.stringify(pending.toString('latin1', 0, 40))}, which is not HTTP/1.1: check the address and its port`)
      return to
    }
    const end = pending.indexOf('\r\n\r\n', Math.max(0, before - 3), 'latin1')
    if (end >= 0) return this.#headEnds(pending.toString('latin1', 0, end), from + end + 4 - before)
    if (pending.length === HEAD_BYTES_MAX) this.#fail('ANSWER_TOO_LARGE', `the answer's head has more than ${HEAD_BYTES_MAX} bytes: send fewer or shorter headers`)
    return to
  }

  /** @returns `next`, so that the caller goes on behind the head. */
  #headEnds(text: string, next: number): number {
    this.#pending.clear()
    const lineEnd = text.indexOf('\r\n')
    const statusLine = lineEnd < 0 ? text : text.slice(0, lineEnd)
    if (!/^HTTP\/1\.\d \d\d\d(?: [^\r\n\0]*)?$/.test(statusLine)) {
      this.#fail('PROTOCOL_BROKEN', `the answer begins with ${JSON.stringify(statusLine.slice(0, 80))}, which is no status line of HTTP/1.1`)
      return next
    }
    this.status = Number(statusLine.slice(9, 12))
    this.head = lineEnd < 0 ? '' : text.slice(lineEnd + 2)
    const framing = framingOf(this.head, statusLine.charCodeAt(7) !== 48)
    if (typeof framing === 'string') {
      this.#fail('PROTOCOL_BROKEN', `the answer's head ${framing}`)
      return next
    }
    if (this.status < 200) {
      if (this.status < 100 || this.status === 101) this.#fail('PROTOCOL_BROKEN', `the answer has status ${this.status}, which was not asked for`)
      return next
    }
    this.reusable = framing.reusable
    this.keepAliveSeconds = framing.keepAliveSeconds
    const { length } = framing
    if (this.status === 204 || this.status === 304 || length === 0) this.#state = 'done'
    else if (length === 'chunked') this.#state = 'chunk-size'
    else if (length === 'until-close') this.#state = 'until-close'
    else {
      this.#state = 'fixed'
      this.#left = length
      if (length > this.#limits.bodyMax) this.#tooLarge(length)
    }
    if (this.#state === 'until-close') this.reusable = false
    return next
  }

  #pushBody(bytes: Buffer, from: number, to: number): number {
    const end = this.#state === 'until-close' ? to : Math.min(to, from + this.#left)
    this.bodyBytes += end - from
    this.#left -= end - from
    this.#body.append(bytes, from, end, this.#limits.bodyKeptMax)
    if (this.bodyBytes > this.#limits.bodyMax) this.#tooLarge(this.bodyBytes)
    else if (this.#left === 0 && this.#state === 'fixed') this.#state = 'done'
    else if (this.#left === 0 && this.#state === 'chunk-data') this.#state = 'chunk-end'
    return end
  }

  #tooLarge(bytes: number): void {
    this.#fail('ANSWER_TOO_LARGE', `the answer's body has ${bytes} bytes or more, at most ${this.#limits.bodyMax} are read: let the function answer less`)
  }

  /** A line that ends with CR LF: a chunk's size, the end of its data, a trailer. */
  #pushLine(bytes: Buffer, from: number, to: number): number {
    const before = this.#pending.length
    let end = bytes.indexOf(10, from)
    if (end >= to) end = -1
    this.#pending.append(bytes, from, end < 0 ? to : end + 1, CHUNK_LINE_BYTES_MAX)
    const line = this.#pending.view()
    const taken = line.length - before
    if (line.length === 0 || line[line.length - 1] !== 10) {
      if (line.length === CHUNK_LINE_BYTES_MAX) this.#fail('PROTOCOL_BROKEN', `a line of the chunked body has more than ${CHUNK_LINE_BYTES_MAX} bytes`)
      return from + taken
    }
    const text = line.toString('latin1', 0, line.length - 1)
    this.#pending.clear()
    if (!text.endsWith('\r')) this.#fail('PROTOCOL_BROKEN', `a line of the chunked body ends without CR: ${JSON.stringify(text.slice(0, 40))}`)
    else this.#lineEnds(text.slice(0, -1))
    return from + taken
  }

  #lineEnds(line: string): void {
    if (this.#state === 'chunk-end') {
      if (line === '') this.#state = 'chunk-size'
      else this.#fail('PROTOCOL_BROKEN', `a chunk is followed by ${JSON.stringify(line.slice(0, 40))} instead of a line's end`)
    } else if (this.#state === 'chunk-size') {
      const size = /^[0-9a-f]{1,13}(?=[ \t]*(?:;|$))/i.exec(line)
      if (size === null) return this.#fail('PROTOCOL_BROKEN', `a chunk has the size ${JSON.stringify(line.slice(0, 40))}, which is no hexadecimal number below 2^52`)
      this.#left = Number.parseInt(size[0], 16)
      this.#state = this.#left === 0 ? 'trailers' : 'chunk-data'
    } else if (line === '') this.#state = 'done'
    else {
      this.#trailerBytes += line.length
      if (this.#trailerBytes > HEAD_BYTES_MAX) this.#fail('ANSWER_TOO_LARGE', `the answer's trailers have more than ${HEAD_BYTES_MAX} bytes`)
    }
  }
}

interface Framing {
  readonly length: number | 'chunked' | 'until-close'
  readonly reusable: boolean
  readonly keepAliveSeconds: number | undefined
}

/** What ends the answer, or what is wrong with its head. */
function framingOf(head: string, persistent: boolean): Framing | string {
  let length: number | undefined
  let chunked = false
  let reusable = persistent
  let keepAliveSeconds: number | undefined
  for (let at = 0; at < head.length;) {
    let end = head.indexOf('\r\n', at)
    if (end < 0) end = head.length
    const colon = head.indexOf(':', at)
    if (colon <= at || colon >= end || head.charCodeAt(at) <= 32 || head.charCodeAt(colon - 1) <= 32) return `has the line ${JSON.stringify(head.slice(at, Math.min(end, at + 80)))}, which is no header`
    // Only four names matter; they are told by their lengths before anything is made of them.
    const name = colon - at
    if (name === 14 || name === 17 || name === 10) {
      const key = head.slice(at, colon).toLowerCase()
      const value = head.slice(colon + 1, end).trim()
      if (key === 'content-length') {
        if (!/^\d{1,15}$/.test(value) || (length !== undefined && length !== Number(value))) return `has the content-length ${JSON.stringify(value.slice(0, 40))}${length === undefined ? '' : ` after ${length}`}`
        length = Number(value)
      } else if (key === 'transfer-encoding') {
        if (chunked || value.toLowerCase() !== 'chunked') return `has the transfer-encoding ${JSON.stringify(value.slice(0, 40))}; only chunked is read, once`
        chunked = true
      } else if (key === 'connection') {
        const options = value.toLowerCase()
        if (/(?:^|,)\s*close\s*(?:,|$)/.test(options)) reusable = false
        else if (/(?:^|,)\s*keep-alive\s*(?:,|$)/.test(options)) reusable = true
      } else if (key === 'keep-alive') {
        const seconds = /(?:^|,)\s*timeout=(\d{1,6})/i.exec(value)?.[1]
        if (seconds !== undefined) keepAliveSeconds = Number(seconds)
      }
    }
    at = end + 2
  }
  // Both: one of them is wrong, and what follows on the connection cannot be trusted (RFC 9112, 6.3).
  if (chunked) return { length: 'chunked', reusable: reusable && length === undefined, keepAliveSeconds }
  return { length: length ?? 'until-close', reusable, keepAliveSeconds }
}

/** Names in lower case; values of the same name are joined, as `fetch` does. */
export function headersOf(head: string): Record<string, string> {
  const headers: Record<string, string> = Object.create(null) as Record<string, string>
  for (const line of head === '' ? [] : head.split('\r\n')) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  }
  return headers
}
