/**
 * The connections to one origin: kept open between exchanges, opened when all of them are busy.
 *
 * They are used in turn, so that none grows old while there is work. A request that finds none idle has one opened, and takes whichever
 * comes first, this or one that becomes idle meanwhile. Opening takes some 70 µs of this thread, so that it is done a few per turn of the event loop: what is due then is not late. A request on a connection that the server has closed in
 * the meantime is sent once more on a new one when that can do no harm (RFC 9110, 9.2.2: GET and PUT) and nothing of an answer has come; its time goes on.
 * Go's client, with which STeLLAR measures, does all of that. Where we differ: it keeps two idle connections per host, and for 90 s, so its bursts
 * and its cold starts contain handshakes. Ours are kept as long as the server keeps them, and a sample says how long connecting took.
 */
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { RequestMessage } from '../provider.ts'
import type { Exchange, SendFailure } from './exchange.ts'
import { HttpConnection } from './http-connection.ts'
import type { ConnectionOwner, ConnectionTarget } from './http-connection.ts'
import { requestBytes } from './request-bytes.ts'
import type { ParserLimits } from './response-parser.ts'

const OPENED_PER_TURN_MAX = 2

export interface HttpOriginOptions<Tag> {
  /** As `http://127.0.0.1:8080`. */
  readonly origin: string
  readonly ca: string | undefined
  readonly clock: Clock
  readonly limits: ParserLimits
  readonly ended: (exchange: Exchange<Tag>) => void
}

export class HttpOrigin<Tag> implements ConnectionOwner<Tag>, Disposable {
  readonly #options: HttpOriginOptions<Tag>
  readonly #target: ConnectionTarget
  readonly #host: string
  /** The last used is the last to be used again. One that was closed stays until its turn. */
  readonly #idle: HttpConnection<Tag>[] = []
  /** Every open one, and some that are closed by now; swept with the timeouts. */
  #all: HttpConnection<Tag>[] = []
  #connecting = 0
  #isOpening = false
  #isDisposed = false
  readonly #openSome = (): void => {
    this.#isOpening = false
    for (let left = OPENED_PER_TURN_MAX; left > 0 && this.#waiting.length > this.#connecting; left--) this.#connect()
    this.#openSoon()
  }
  /** For a connection, in the order of sending; as many are being opened, or will be in the next turns. */
  #waiting: Exchange<Tag>[] = []
  #lastMessage: RequestMessage | undefined
  #lastBytes: Buffer = Buffer.alloc(0)
  connectionsOpened = 0

  /** @throws INPUT_INVALID for what is no origin of http or https. */
  constructor(options: HttpOriginOptions<Tag>) {
    const url = URL.parse(options.origin)
    if (url === null || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || url.search !== '') {
      throw new PlatformError('INPUT_INVALID', `${JSON.stringify(options.origin)} is no address of a server; write http://host:port or https://host, without a path`)
    }
    this.#options = options
    this.#host = url.host
    const secure = url.protocol === 'https:'
    this.#target = { secure, hostname: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? (secure ? 443 : 80) : Number(url.port), ca: options.ca }
  }

  /** @throws INPUT_INVALID for a message that cannot be sent. */
  send(exchange: Exchange<Tag>): void {
    const bytes = this.#bytesOf(exchange.message)
    const connection = this.#takeIdle(exchange.sentMs)
    // A connection that was open has taken no time.
    exchange.connectedMs = exchange.sentMs
    if (connection === undefined) this.#wait(exchange)
    else connection.start(exchange, bytes)
  }

  /** Has so many connections, busy ones included, or is opening them. */
  open(count: number): void {
    this.#all = this.#all.filter((connection) => connection.isOpen)
    while (this.#all.length < count) this.#connect()
  }

  opened(connection: HttpConnection<Tag>): void {
    this.#connecting--
    connection.idleSinceMs = this.#nowMs()
    this.#idles(connection)
  }

  notOpened(_connection: HttpConnection<Tag>, failure: SendFailure): void {
    this.#connecting--
    // One that was served by another connection does not miss this one.
    if (this.#waiting.length > this.#connecting) this.#fail(this.#waiting.shift()!, failure)
  }

  ended(connection: HttpConnection<Tag>, exchange: Exchange<Tag>): void {
    if (connection.isOpen) this.#idles(connection)
    this.#options.ended(exchange)
  }

  lost(connection: HttpConnection<Tag>, exchange: Exchange<Tag>, failure: SendFailure): void {
    if (connection.answered === 0 || exchange.retried || exchange.message.method === 'POST') return this.#fail(exchange, failure)
    exchange.retried = true
    this.#wait(exchange)
  }

  /** Gives up what was sent before. */
  giveUpSentBefore(sentMs: number, failure: SendFailure): void {
    this.#all = this.#all.filter((connection) => connection.isOpen)
    for (const connection of this.#all) if (connection.exchange !== undefined && connection.exchange.sentMs < sentMs) connection.giveUp(failure)
    while (this.#waiting.length > 0 && this.#waiting[0]!.sentMs < sentMs) this.#fail(this.#waiting.shift()!, failure)
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true
    for (const connection of this.#all) connection[Symbol.dispose]()
    this.#all = []
    this.#idle.length = this.#waiting.length = 0
  }

  #idles(connection: HttpConnection<Tag>): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#idle.push(connection)
    else {
      next.connectedMs = this.#nowMs()
      connection.start(next, this.#bytesOf(next.message))
    }
  }

  #takeIdle(nowMs: number): HttpConnection<Tag> | undefined {
    for (;;) {
      const connection = this.#idle.shift()
      if (connection === undefined) return undefined
      if (!connection.isOpen) continue
      if (nowMs - connection.idleSinceMs < connection.idleMaxMs) return connection
      connection[Symbol.dispose]()
    }
  }

  #wait(exchange: Exchange<Tag>): void {
    this.#waiting.push(exchange)
    this.#openSoon()
  }

  #openSoon(): void {
    if (this.#isOpening || this.#isDisposed || this.#waiting.length <= this.#connecting) return
    this.#isOpening = true
    setImmediate(this.#openSome)
  }

  #connect(): void {
    this.#connecting++
    this.connectionsOpened++
    this.#all.push(new HttpConnection<Tag>(this.#target, this, this.#options.clock, this.#options.limits))
  }

  #fail(exchange: Exchange<Tag>, failure: SendFailure): void {
    exchange.failure = failure
    exchange.endMs = this.#nowMs()
    this.#options.ended(exchange)
  }

  #bytesOf(message: RequestMessage): Buffer {
    if (message !== this.#lastMessage) {
      this.#lastBytes = requestBytes(message, this.#host)
      this.#lastMessage = message
    }
    return this.#lastBytes
  }

  #nowMs(): number {
    return this.#options.clock.monotonicUs() / 1000
  }
}
