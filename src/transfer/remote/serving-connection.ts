/**
 * One connection of a peer that gets objects of this worker.
 *
 *   request ─▶ ObjectServer.serve ─▶ answer ─┐      streams that have credit take turns, one data frame each:
 *                                            └─▶ ring ─▶ read a chunk behind its header ─▶ one write ─▶ and the next when the kernel has taken it
 *
 * Answers and the like wait in front of the next chunk and go with it: a small object is one write, answer and all. There is one buffer per
 * connection, so that what it takes does not grow with its streams. Of a large object in memory, only the beginning of a chunk is read into it, behind the header,
 * and the rest is sent from where it lies: it is copied once less.
 *
 * Invariants:
 *   V1. At most one write is under way, and no data is sent without credit.
 *   V2. When the connection ends, for whatever reason, each lease it still has is given back.
 */
import { read, readSync } from 'node:fs'
import type { TLSSocket } from 'node:tls'
import { PlatformError } from '#contract/errors.ts'
import type { Lease, ObjectServer } from '../peers.ts'
import type { SharedMemory } from '../shared-memory.ts'
import type { RemoteConfig } from './config.ts'
import { OutboundStream } from './outbound-stream.ts'
import { answerFrame, broken, CONTROL_BYTES_MAX, errorFrame, frame, FrameParser, HEADER_BYTES, kinds, writeHeader } from './protocol.ts'
import type { ControlKind, FrameSink } from './protocol.ts'
import { readEvents } from './read-frames.ts'

type ServingConfig = Pick<RemoteConfig, 'chunkBytes' | 'requestsPerConnectionMax' | 'stallMs'>

/** Frames that may wait to go with a chunk; the longest of them has to fit. */
const PENDING_BYTES_MAX = 2 * (HEADER_BYTES + CONTROL_BYTES_MAX)
/** A chunk from here on is sent from where it lies. */
const MAPPED_BYTES_MIN = 64 * 1024
/** Of these, so many go with its header: one record of TLS, and no segment of a few bytes. */
const HEAD_BYTES = 16 * 1024 - HEADER_BYTES
/** After so many bytes in a row that the kernel took at once, others of this event loop have their turn. */
const TURN_BYTES = 2 * 1024 * 1024

export class ServingConnection implements FrameSink {
  readonly #socket: TLSSocket
  readonly #objects: ObjectServer
  readonly #config: ServingConfig
  readonly #memory: Pick<SharedMemory, 'mapPart'> | undefined
  readonly #streams = new Map<number, OutboundStream>()
  /** Streams that can send, in turn. */
  readonly #ring: OutboundStream[] = []
  #pending: Buffer[] = []
  #lastRequest = 0
  #state: 'idle' | 'writing' | 'ended' = 'idle'
  #turnBytes = 0
  #buffer: Buffer | undefined

  /** @param ended Called once, when the connection has. @param memory Where memory can be mapped. */
  constructor(socket: TLSSocket, options: { readonly objects: ObjectServer; readonly config: ServingConfig; readonly memory?: Pick<SharedMemory, 'mapPart'> | undefined; readonly ended: (connection: ServingConnection) => void }) {
    this.#socket = socket
    this.#objects = options.objects
    this.#config = options.config
    this.#memory = options.memory
    readEvents(socket, new FrameParser(this), () => socket.destroy())
    // A peer whose host is gone: nothing else would end a write to it for a quarter of an hour.
    socket.setTimeout(options.config.stallMs, () => {
      if (this.#state === 'writing') socket.destroy()
    })
    socket.on('error', () => {
      // What it was does not matter here: 'close' follows, and the peer knows its own side.
    })
    socket.on('end', () => socket.destroy())
    socket.on('close', () => {
      this.#end()
      options.ended(this)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  control(kind: ControlKind, request: number, payload: Buffer): void {
    if (kind === kinds.pull) return this.#serve(request, payload.toString('utf8', 4), payload.readUInt32LE(0), true)
    if (kind === kinds.lease) return this.#serve(request, payload.toString('utf8', 4), 0, false)
    if (request > this.#lastRequest) throw broken(`a frame is for request ${request}, which was not made`)
    const stream = this.#streams.get(request)
    if (kind === kinds.credit) this.#credit(stream, payload.readUInt32LE(0))
    else if (kind === kinds.cancel) this.#cancel(request, stream)
    else if (kind === kinds.done) this.#settle(stream, 'done')
    else if (kind === kinds.failed) this.#settle(stream, 'failed')
    else throw broken(`a consumer's worker sends a frame of kind ${kind}`)
  }

  dataBegins(): void {
    throw broken('a consumer\'s worker sends data')
  }

  dataPlace(): Buffer {
    throw broken('a consumer\'s worker sends data')
  }

  dataCame(): void {
    throw broken('a consumer\'s worker sends data')
  }

  #serve(request: number, objectId: string, window: number, withBody: boolean): void {
    if (request <= this.#lastRequest) throw broken(`request ${request} is made after ${this.#lastRequest}`)
    this.#lastRequest = request
    const { requestsPerConnectionMax } = this.#config
    if (this.#streams.size >= requestsPerConnectionMax) return this.#send(errorFrame(request, new PlatformError('QUEUE_FULL', `The connection has ${requestsPerConnectionMax} transfers going on, which is its limit. Try again when some have ended.`)))
    const stream = new OutboundStream(request, window)
    this.#streams.set(request, stream)
    this.#objects.serve(objectId, { signal: stream.signal }).then(
      (lease) => this.#leased(stream, lease, withBody),
      (thrown: unknown) => this.#refused(stream, thrown),
    )
  }

  #leased(stream: OutboundStream, lease: Lease, withBody: boolean): void {
    if (this.#state === 'ended' || stream.isAborted) return lease.failed()
    stream.leased(lease, withBody)
    if (stream.readyBytes > 0) this.#ring.push(stream)
    this.#send(answerFrame(stream.request, lease.bytes))
  }

  #refused(stream: OutboundStream, thrown: unknown): void {
    if (this.#state === 'ended' || !this.#streams.delete(stream.request)) return
    this.#send(errorFrame(stream.request, PlatformError.from(thrown)))
  }

  #credit(stream: OutboundStream | undefined, bytes: number): void {
    // It is over, and the credit has crossed its end.
    if (stream === undefined) return
    const wasReady = stream.readyBytes > 0
    stream.credit(bytes)
    if (wasReady || stream.readyBytes === 0) return
    this.#ring.push(stream)
    this.#pump()
  }

  #cancel(request: number, stream: OutboundStream | undefined): void {
    stream?.cancel()
    this.#forgetIfOver(stream)
    this.#send(frame(kinds.ended, request))
  }

  #settle(stream: OutboundStream | undefined, outcome: 'done' | 'failed'): void {
    stream?.settle(outcome)
    this.#forgetIfOver(stream)
  }

  #forgetIfOver(stream: OutboundStream | undefined): void {
    if (stream?.isOver === true) this.#streams.delete(stream.request)
  }

  #send(bytes: Buffer): void {
    this.#pending.push(bytes)
    // It asks and asks, and does not read what it is told.
    if (this.#pending.length > 2 * this.#config.requestsPerConnectionMax) return void this.#socket.destroy()
    this.#pump()
  }

  /** Writes what there is to write, if no write is under way. */
  #pump(): void {
    if (this.#state !== 'idle') return
    const stream = this.#nextStream()
    if (stream === undefined && this.#pending.length === 0) return
    this.#state = 'writing'
    const buffer = (this.#buffer ??= Buffer.allocUnsafeSlow(PENDING_BYTES_MAX + HEADER_BYTES + this.#config.chunkBytes))
    const start = this.#takePending(buffer)
    if (stream === undefined) return this.#write(buffer.subarray(0, start))
    const { fd, sentBytes } = stream
    const length = Math.min(stream.readyBytes, this.#config.chunkBytes)
    stream.readBegins()
    const chunk = stream.isInMemory && this.#memory !== undefined && length >= MAPPED_BYTES_MIN ? stream.mapped(this.#memory, length) : undefined
    if (chunk !== undefined) return this.#sendMapped(stream, start, chunk)
    // Memory is read at once. A file may have to come from a disk: others do not wait for that.
    if (stream.isInMemory) return this.#chunkRead(stream, start, undefined, readSync(fd, buffer, start + HEADER_BYTES, length, sentBytes))
    read(fd, buffer, start + HEADER_BYTES, length, sentBytes, (error, count) => this.#chunkRead(stream, start, error ?? undefined, count))
  }

  #nextStream(): OutboundStream | undefined {
    for (;;) {
      const stream = this.#ring.shift()
      // One that was cancelled is still in the ring.
      if (stream === undefined || stream.readyBytes > 0) return stream
    }
  }

  /** @returns How many bytes of waiting frames are now at the start of the buffer. */
  #takePending(buffer: Buffer): number {
    let start = 0
    let taken = 0
    for (const one of this.#pending) {
      if (start + one.length > PENDING_BYTES_MAX) break
      start += one.copy(buffer, start)
      taken++
    }
    this.#pending = this.#pending.slice(taken)
    return start
  }

  #sendMapped(stream: OutboundStream, start: number, chunk: Buffer): void {
    const buffer = this.#buffer!
    writeHeader(buffer, start, kinds.data, stream.request, chunk.length)
    const headEnd = start + HEADER_BYTES + chunk.copy(buffer, start + HEADER_BYTES, 0, HEAD_BYTES)
    this.#socket.write(buffer.subarray(0, headEnd))
    this.#socket.write(chunk.subarray(HEAD_BYTES), () => {
      stream.readEnds(chunk.length)
      this.#forgetIfOver(stream)
      if (this.#state === 'ended') return
      if (stream.readyBytes > 0) this.#ring.push(stream)
      this.#written(headEnd - HEAD_BYTES + chunk.length)
    })
  }

  #chunkRead(stream: OutboundStream, start: number, error: Error | undefined, count: number): void {
    const isWanted = stream.readEnds(error === undefined ? count : 0)
    this.#forgetIfOver(stream)
    if (this.#state === 'ended') return
    const buffer = this.#buffer!
    if (isWanted && (error !== undefined || count === 0)) {
      const why = error?.message ?? `it ended after ${stream.sentBytes} bytes`
      this.#streams.delete(stream.request)
      stream.settle('failed')
      stream.cancel()
      this.#pending.push(errorFrame(stream.request, new PlatformError('TRANSFER_BROKEN', `The object could not be read where it is held: ${why}. The retrieval was given back; get the object again.`, { cause: error })))
    }
    if (!isWanted || error !== undefined || count === 0) return this.#write(buffer.subarray(0, start))
    if (stream.readyBytes > 0) this.#ring.push(stream)
    writeHeader(buffer, start, kinds.data, stream.request, count)
    this.#write(buffer.subarray(0, start + HEADER_BYTES + count))
  }

  #write(bytes: Buffer): void {
    if (bytes.length === 0) return this.#written(0)
    this.#socket.write(bytes, () => this.#written(bytes.length))
  }

  #written(bytes: number): void {
    if (this.#state === 'ended') return
    this.#turnBytes += bytes
    this.#state = 'idle'
    if (this.#turnBytes < TURN_BYTES) return this.#pump()
    this.#turnBytes = 0
    this.#state = 'writing'
    setImmediate(() => this.#written(0))
  }

  #end(): void {
    this.#state = 'ended'
    for (const stream of this.#streams.values()) {
      stream.cancel()
      stream.settle('failed')
    }
    this.#streams.clear()
    this.#ring.length = 0
  }
}
