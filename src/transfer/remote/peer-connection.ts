/**
 * One connection to a peer, from the consumer's side: requests go out, answers and bytes come in. The peer's own requests have connections of their own, so
 * that nothing of one direction ever waits for the other.
 *
 * It is read always, whatever consumers do: nothing comes that credit was not given for, and what has credit has room (inbound-stream.ts). So a
 * consumer that does not read stops its own stream alone.
 *
 * Invariants:
 *   K1. When it breaks, every request that is not whole ends with TRANSFER_BROKEN, at once.
 *   K2. A frame for a request that was never made, or is over, is PROTOCOL_BROKEN.
 */
import { connect } from 'node:tls'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { PlatformError } from '#contract/errors.ts'
import type { RemotePull } from '../peers.ts'
import type { Credentials } from './certificates.ts'
import { InboundStream } from './inbound-stream.ts'
import { broken, FrameParser, kinds, parseAnswer, parseError, requestFrame } from './protocol.ts'
import type { ControlKind, FrameSink } from './protocol.ts'
import { readInto } from './read-frames.ts'
import type { Grant } from './receive-buffers.ts'
import { clientTlsOptions } from './tls-options.ts'

export interface PeerAddress {
  readonly host: string
  readonly port: number
}

export interface ConnectOptions {
  readonly worker: string
  readonly address: PeerAddress
  readonly credentials: Credentials
  /** Requests have ended, or the connection has. */
  readonly changed: (connection: PeerConnection) => void
}

/** How soon a peer whose host is gone is noticed: TCP asks this long after the last byte, and then every second, ten times. */
const KEEP_ALIVE_MS = 5000

export class PeerConnection implements FrameSink {
  readonly #options: ConnectOptions
  readonly #socket: TLSSocket
  readonly #requests = new Map<number, InboundStream>()
  #lastRequest = 0
  #receivedBytes = 0
  #ended: PlatformError | undefined
  /** Settles when the peer has proved who it is; rejects with TRANSFER_BROKEN. */
  readonly ready: Promise<void>

  constructor(options: ConnectOptions) {
    this.#options = options
    const onread = readInto(new FrameParser(this), (error) => this.#break(error))
    // The types know `onread` for node:net only.
    const socket = connect({ ...clientTlsOptions(options.credentials, options.worker), ...options.address, onread, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS } as ConnectionOptions)
    this.#socket = socket
    socket.on('error', (error) => this.#break(error))
    socket.on('end', () => this.#break(undefined))
    socket.on('close', () => this.#break(undefined))
    this.ready = new Promise((resolve, reject) => {
      socket.once('secureConnect', resolve)
      socket.once('close', () => reject(this.#ended))
    })
    this.ready.catch(() => {
      // Whoever waits for it has it from there.
    })
  }

  get requests(): number {
    return this.#requests.size
  }

  get receivedBytes(): number {
    return this.#receivedBytes
  }

  get isEnded(): boolean {
    return this.#ended !== undefined
  }

  /** @param grant Credit for the bytes; undefined for a lease without them. @throws As `Peers.pull`. */
  ask(objectId: string, grant: Grant | undefined, signal: AbortSignal | undefined): Promise<RemotePull> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended)
      if (signal?.aborted === true) return reject(new PlatformError('CANCELLED', 'A transfer was given up before it was asked for.'))
      const request = ++this.#lastRequest
      const over = (): void => signal?.removeEventListener('abort', abort)
      const stream = new InboundStream({
        request,
        owner: this,
        grant,
        answered: (pull) => { over(); resolve(pull) },
        refused: (error) => { over(); reject(error) },
      })
      const abort = (): void => stream.cancelAsked()
      signal?.addEventListener('abort', abort)
      this.#requests.set(request, stream)
      this.send(requestFrame(grant === undefined ? kinds.lease : kinds.pull, request, grant?.bytes ?? 0, objectId))
    })
  }

  /** @param reason What its requests end with. */
  close(reason: PlatformError): void {
    this.#break(reason)
  }

  send(frame: Buffer): void {
    if (this.#ended === undefined) this.#socket.write(frame)
  }

  forget(request: number): void {
    if (this.#requests.delete(request)) this.#options.changed(this)
  }

  control(kind: ControlKind, request: number, payload: Buffer): void {
    const stream = this.#find(request)
    if (kind === kinds.answer) stream.onAnswer(parseAnswer(payload))
    else if (kind === kinds.error) stream.onError(parseError(payload))
    else if (kind === kinds.ended) stream.onEnded()
    else throw broken(`a producer's worker sends a frame of kind ${kind}`)
  }

  dataBegins(request: number, length: number): void {
    this.#find(request).onDataBegins(length)
    this.#receivedBytes += length
  }

  dataPlace(request: number, left: number): Buffer {
    return this.#find(request).place(left)
  }

  dataCame(request: number, count: number, left: number): void {
    this.#find(request).onData(count, left)
  }

  #find(request: number): InboundStream {
    const stream = this.#requests.get(request)
    if (stream === undefined) throw broken(`a frame is for request ${request}, which is not going on`)
    return stream
  }

  #break(cause: Error | undefined): void {
    if (this.#ended !== undefined) return
    const { worker, address } = this.#options
    const why = cause === undefined ? 'its worker closed it' : cause.message
    this.#ended = cause instanceof PlatformError && cause.code === 'STOPPING' ? cause : new PlatformError('TRANSFER_BROKEN', `The connection to worker ${worker} at ${address.host}:${address.port} broke: ${why}. The retrieval was given back; get the object again.`, { cause })
    this.#socket.destroy()
    const requests = [...this.#requests.values()]
    this.#requests.clear()
    for (const request of requests) request.breakOff(this.#ended)
    this.#options.changed(this)
  }
}
