/**
 * One connection to a server, one exchange at a time.
 *
 * Why not node:http or undici: a request through them takes the client some 60 µs of computing here, which at 10,000 a second is more than half
 * of its thread, and the client would be late. Why not pipelining: an answer would wait for the one before it.
 *
 * Reads go into one buffer for all plain connections (`onread`), because a stream allocates one per read; TLS has no such way and emits `data`.
 * The first byte's time is taken when the event loop hands it over. So it includes how long the thread was busy with another answer: that
 * is the client's share, and the lateness of sending is of the same size.
 *
 *   connecting ─▶ idle ⇄ busy ─▶ closed (also from connecting and idle)
 *
 *   C1. An exchange that was given to `start` ends exactly once, by `ended` or by `lost`, unless the connection is disposed of. A connection begins with
 *       exactly one of `opened` and `notOpened`.
 *   C2. A connection on which bytes came that nobody asked for carries no further exchange.
 */
import net from 'node:net'
import tls from 'node:tls'
import type { Clock } from '#base/clock.ts'
import type { Exchange, SendFailure } from './exchange.ts'
import { ResponseParser } from './response-parser.ts'
import type { ParserLimits } from './response-parser.ts'

export interface ConnectionTarget {
  readonly secure: boolean
  readonly hostname: string
  readonly port: number
  /** Certificates to trust, in place of those that come with Node. */
  readonly ca: string | undefined
}

/** Who opened it. */
export interface ConnectionOwner<Tag> {
  /** It can carry an exchange now. */
  opened(connection: HttpConnection<Tag>): void
  /** It could not be opened. */
  notOpened(connection: HttpConnection<Tag>, failure: SendFailure): void
  /** The exchange is over, with an answer or a `failure` in it. */
  ended(connection: HttpConnection<Tag>, exchange: Exchange<Tag>): void
  /** The connection is closed, and nothing of the exchange's answer has come. */
  lost(connection: HttpConnection<Tag>, exchange: Exchange<Tag>, failure: SendFailure): void
}

const sharedReadBuffer = Buffer.allocUnsafeSlow(64 * 1024)

export class HttpConnection<Tag> implements Disposable {
  readonly #owner: ConnectionOwner<Tag>
  readonly #clock: Clock
  readonly #parser: ResponseParser
  readonly #socket: net.Socket
  #state: 'connecting' | 'idle' | 'busy' | 'closed' = 'connecting'
  #exchange: Exchange<Tag> | undefined
  /** Exchanges that were answered on it. */
  answered = 0
  /** Since when there is none on it, monotonic ms. */
  idleSinceMs = 0
  /** How long the server said it keeps it, ms. */
  idleMaxMs = Infinity

  constructor(target: ConnectionTarget, owner: ConnectionOwner<Tag>, clock: Clock, limits: ParserLimits) {
    this.#owner = owner
    this.#clock = clock
    this.#parser = new ResponseParser(limits)
    this.#socket = this.#open(target)
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#close({ code: error.code ?? 'ECONNRESET', message: error.message }))
    this.#socket.on('end', () => this.#ends())
    this.#socket.on('close', () => this.#ends())
  }

  get isOpen(): boolean {
    return this.#state !== 'closed'
  }

  get exchange(): Exchange<Tag> | undefined {
    return this.#exchange
  }

  /** The connection must be idle. */
  start(exchange: Exchange<Tag>, bytes: Buffer): void {
    this.#state = 'busy'
    this.#exchange = exchange
    this.#parser.reset()
    this.#socket.write(bytes)
  }

  /** Ends the exchange that is under way with this failure, and the connection. */
  giveUp(failure: SendFailure): void {
    const exchange = this.#exchange
    this[Symbol.dispose]()
    if (exchange === undefined) return
    exchange.failure = failure
    exchange.endMs = this.#nowMs()
    this.#owner.ended(this, exchange)
  }

  /** Says nothing more of the exchange that is under way. */
  [Symbol.dispose](): void {
    this.#state = 'closed'
    this.#exchange = undefined
    this.#socket.destroy()
  }

  #open({ secure, hostname, port, ca }: ConnectionTarget): net.Socket {
    const opened = (): void => this.#opened()
    if (secure) {
      const servername = net.isIP(hostname) === 0 ? hostname : ''
      const socket = tls.connect({ host: hostname, port, servername, ALPNProtocols: ['http/1.1'], ...(ca !== undefined && { ca }) })
      socket.setNoDelay(true)
      socket.once('secureConnect', opened)
      return socket.on('data', (chunk: Buffer) => this.#read(chunk.length, chunk))
    }
    const callback = (length: number): boolean => this.#read(length, sharedReadBuffer)
    return net.connect({ host: hostname, port, noDelay: true, onread: { buffer: sharedReadBuffer, callback } }, opened)
  }

  #opened(): void {
    if (this.#state !== 'connecting') return
    this.#state = 'idle'
    this.#owner.opened(this)
  }

  #read(length: number, bytes: Buffer): true {
    const exchange = this.#exchange
    if (this.#state !== 'busy' || exchange === undefined) {
      this[Symbol.dispose]()
      return true
    }
    const nowMs = this.#nowMs()
    if (exchange.firstByteMs === 0) exchange.firstByteMs = nowMs
    const progress = this.#parser.push(bytes, length)
    if (progress === 'more') {
      if (this.#parser.awaitsFirstByte) exchange.firstByteMs = 0
    } else this.#finish(exchange, nowMs)
    return true
  }

  #finish(exchange: Exchange<Tag>, nowMs: number): void {
    const parser = this.#parser
    exchange.status = parser.status
    exchange.head = parser.head
    exchange.body = parser.body
    exchange.bodyBytes = parser.bodyBytes
    exchange.failure = parser.failure
    exchange.endMs = nowMs
    this.#exchange = undefined
    this.answered++
    if (parser.reusable) {
      this.#state = 'idle'
      this.idleSinceMs = nowMs
      // Servers close at about the time they say: whoever sends then loses the race. A second earlier is early enough, as undici has it.
      if (parser.keepAliveSeconds !== undefined) this.idleMaxMs = Math.max(parser.keepAliveSeconds - 1, parser.keepAliveSeconds / 2) * 1000
    } else this[Symbol.dispose]()
    this.#owner.ended(this, exchange)
  }

  /** The other side sends nothing more; for an answer without a length that is its end. */
  #ends(): void {
    const exchange = this.#exchange
    if (this.#state === 'busy' && exchange !== undefined && this.#parser.started) {
      this.#parser.end()
      this.#finish(exchange, this.#nowMs())
    } else this.#close({ code: 'ECONNRESET', message: 'the server closed the connection before it answered' })
  }

  #close(failure: SendFailure): void {
    const exchange = this.#exchange
    const connecting = this.#state === 'connecting'
    const started = this.#state === 'busy' && this.#parser.started
    this[Symbol.dispose]()
    if (connecting) return this.#owner.notOpened(this, failure)
    if (exchange === undefined) return
    if (!started) return this.#owner.lost(this, exchange, failure)
    exchange.failure = failure
    exchange.endMs = this.#nowMs()
    this.#owner.ended(this, exchange)
  }

  #nowMs(): number {
    return this.#clock.monotonicUs() / 1000
  }
}
