/**
 * The frames between two workers, and the parser that takes them from a connection.
 *
 *   ┌────────┬──────────┬────────────┬────────────┬─────────┐
 *   │ kind 1 │ zero   3 │ request  4 │ length   4 │ payload │      numbers are little-endian
 *   └────────┴──────────┴────────────┴────────────┴─────────┘
 *
 *   to the producer's worker                            to the consumer's worker
 *   pull    window u32, object id   lease and send      answer  bytes u64              leased; for a pull, data follows
 *   lease   zero u32, object id     lease only          data    bytes of the object    never more than was credited
 *   credit  bytes u32               so much more        error   PlatformErrorBody      the request, or its sending, has ended
 *   cancel  –                       send no more        ended   –                      to each `cancel`: no data comes after this
 *   done    –                       it counts
 *   failed  –                       it does not count
 *
 * Requests are numbered by the consumer's side, upwards. The parser does not hold the bytes of objects: it asks for the place where they belong, and
 * the connection is read straight into it.
 *
 * Invariants:
 *   P1. However the bytes arrive in pieces, the frames are the same.
 *   P2. The parser keeps at most {@link CONTROL_BYTES_MAX} bytes of a frame. What is not a frame is PROTOCOL_BROKEN, and the end of the connection.
 */
import { PlatformError } from '#contract/errors.ts'

export const kinds = { pull: 1, lease: 2, credit: 3, cancel: 4, done: 5, failed: 6, answer: 16, data: 17, error: 18, ended: 19 } as const
export type Kind = (typeof kinds)[keyof typeof kinds]
export type ControlKind = Exclude<Kind, typeof kinds.data>

export const HEADER_BYTES = 12
/** Payload of a frame other than data. Object ids are short, and messages of errors are cut. */
export const CONTROL_BYTES_MAX = 8 * 1024
/** Payload of a data frame. */
export const DATA_BYTES_MAX = 4 * 1024 * 1024

/** How long the payload of each kind is: the least and the most. */
const lengths: Readonly<Record<number, readonly [number, number]>> = {
  [kinds.pull]: [5, 4 + 512],
  [kinds.lease]: [5, 4 + 512],
  [kinds.credit]: [4, 4],
  [kinds.cancel]: [0, 0],
  [kinds.done]: [0, 0],
  [kinds.failed]: [0, 0],
  [kinds.answer]: [8, 8],
  [kinds.data]: [1, DATA_BYTES_MAX],
  [kinds.error]: [2, CONTROL_BYTES_MAX],
  [kinds.ended]: [0, 0],
}

/** What a side does with frames. Each method may throw PROTOCOL_BROKEN. */
export interface FrameSink {
  /** @param payload Valid during the call only. */
  control(kind: ControlKind, request: number, payload: Buffer): void
  /** A data frame begins: `length` bytes will come. */
  dataBegins(request: number, length: number): void
  /** Where the next bytes go: at least one byte. `left` is how many the frame still has; the parser gives no more to it. */
  dataPlace(request: number, left: number): Buffer
  /** So many bytes have been written to the start of that place; `left` is what the frame still has. */
  dataCame(request: number, count: number, left: number): void
}

type Expecting =
  | { readonly what: 'header' | 'control' }
  | { readonly what: 'data' }

const HEADER: Expecting = { what: 'header' }
const CONTROL: Expecting = { what: 'control' }
const DATA: Expecting = { what: 'data' }

export class FrameParser {
  readonly #sink: FrameSink
  readonly #control = Buffer.allocUnsafeSlow(CONTROL_BYTES_MAX)
  #expecting: Expecting = HEADER
  #kind: Kind = kinds.ended
  #request = 0
  /** Bytes of the header or payload that are there, and that it has. */
  #filled = 0
  #length = HEADER_BYTES

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** Where the next bytes of the connection go. Never empty. */
  place(): Buffer {
    const left = this.#length - this.#filled
    if (this.#expecting !== DATA) return this.#control.subarray(this.#filled, this.#length)
    const place = this.#sink.dataPlace(this.#request, left)
    return place.length > left ? place.subarray(0, left) : place
  }

  /** So many bytes were written to the start of what {@link place} gave. @throws PROTOCOL_BROKEN. */
  came(count: number): void {
    this.#filled += count
    if (this.#expecting === DATA) this.#sink.dataCame(this.#request, count, this.#length - this.#filled)
    if (this.#filled < this.#length) return
    if (this.#expecting === HEADER) return this.#headerCame()
    if (this.#expecting === CONTROL) this.#sink.control(this.#kind as ControlKind, this.#request, this.#control.subarray(0, this.#length))
    this.#expect(HEADER, HEADER_BYTES)
  }

  #headerCame(): void {
    const head = this.#control
    const kind = head.readUInt8(0)
    const length = head.readUInt32LE(8)
    const bounds = lengths[kind]
    if (bounds === undefined || head.readUIntLE(1, 3) !== 0) throw broken(`a frame begins with ${head.toString('hex', 0, 4)}, which no kind of frame does`)
    if (length < bounds[0] || length > bounds[1]) throw broken(`a frame of kind ${kind} has ${length} bytes, and may have ${bounds[0]} to ${bounds[1]}`)
    this.#kind = kind as Kind
    this.#request = head.readUInt32LE(4)
    if (kind === kinds.data) {
      this.#sink.dataBegins(this.#request, length)
      return this.#expect(DATA, length)
    }
    if (length > 0) return this.#expect(CONTROL, length)
    this.#sink.control(kind as ControlKind, this.#request, head.subarray(0, 0))
    this.#expect(HEADER, HEADER_BYTES)
  }

  #expect(what: Expecting, length: number): void {
    this.#expecting = what
    this.#filled = 0
    this.#length = length
  }
}

export function writeHeader(into: Buffer, offset: number, kind: Kind, request: number, length: number): void {
  into.writeUInt32LE(kind, offset)
  into.writeUInt32LE(request, offset + 4)
  into.writeUInt32LE(length, offset + 8)
}

/** A whole frame without or with a payload. */
export function frame(kind: ControlKind, request: number, payload?: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + (payload?.length ?? 0))
  writeHeader(bytes, 0, kind, request, payload?.length ?? 0)
  if (payload !== undefined) bytes.set(payload, HEADER_BYTES)
  return bytes
}

/** A pull or a lease. @param window 0 for a lease. */
export function requestFrame(kind: typeof kinds.pull | typeof kinds.lease, request: number, window: number, objectId: string): Buffer {
  const payload = Buffer.from(`\0\0\0\0${objectId}`)
  payload.writeUInt32LE(window, 0)
  return frame(kind, request, payload)
}

export function creditFrame(request: number, bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(4)
  payload.writeUInt32LE(bytes, 0)
  return frame(kinds.credit, request, payload)
}

export function answerFrame(request: number, bytes: number): Buffer {
  const payload = Buffer.alloc(8)
  payload.writeBigUInt64LE(BigInt(bytes), 0)
  return frame(kinds.answer, request, payload)
}

/** Details are left out, and the message is cut, when they do not fit: the code is what a program goes by. */
export function errorFrame(request: number, error: PlatformError): Buffer {
  const { code, message } = error
  const whole = Buffer.from(JSON.stringify({ code, message, ...(error.details !== undefined && { details: error.details }) }))
  return frame(kinds.error, request, whole.length <= CONTROL_BYTES_MAX ? whole : Buffer.from(JSON.stringify({ code, message: message.slice(0, 1000) })))
}

export function parseAnswer(payload: Buffer): number {
  const bytes = payload.readBigUInt64LE(0)
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw broken(`an object has ${bytes} bytes, more than a number holds`)
  return Number(bytes)
}

export function parseError(payload: Buffer): PlatformError {
  let body: unknown
  try {
    body = JSON.parse(payload.toString())
  } catch {
    throw broken('an error frame is not JSON')
  }
  if (typeof body !== 'object' || body === null || typeof (body as { code?: unknown }).code !== 'string') throw broken('an error frame has no code')
  const { code, message, details } = body as { code: string; message?: unknown; details?: unknown }
  const isObject = typeof details === 'object' && details !== null
  return PlatformError.fromBody({ code: code as PlatformError['code'], message: String(message), ...(isObject && { details: details as Record<string, unknown> }) })
}

export function broken(what: string): PlatformError {
  return new PlatformError('PROTOCOL_BROKEN', `The transfer between workers breaks its protocol: ${what}. The connection is closed, and its transfers can be asked for again.`)
}
