/**
 * The frames that the platform and a runtime inside a sandbox exchange over one byte channel (file descriptor 3).
 *
 * Many invocations share one channel, each as a stream. Both sides open streams: the platform opens even ones (an
 * invocation of the function), the runtime odd ones (a call that the function makes). After `open`, the caller's side
 * sends the request body, the other side answers with `head` and the answer's body, and either may `reset`.
 *
 *   0        4      5       6        8        12
 *   ├────────┼──────┼───────┼────────┼────────┼───────────────┐
 *   │ length │ type │ flags │ 0      │ stream │ payload       │   all numbers little-endian; length is the payload's
 *   └────────┴──────┴───────┴────────┴────────┴───────────────┘
 *   `open` and `head` payloads: │ u32 length of the JSON head │ JSON head │ body bytes, if any │
 *
 * Invariants:
 *   F1. A payload is at most {@link PAYLOAD_BYTES_MAX}; a larger length ends the channel (PROTOCOL_BROKEN).
 *   F2. Body bytes inside `open` and `head` are free; `data` bytes need credit: a side has {@link CREDIT_BYTES} per
 *       stream and direction to start with and gets more by `credit`. So neither side ever holds more than that.
 *   F3. A side ends its direction once: with the END flag on `open`/`head`/`data`, or by `reset`, which ends both.
 *   F4. After `reset`, both sides forget the stream; the runtime answers a `reset` of the platform with its own
 *       `reset`, which tells the platform that the code has let go (a runtime that does not is hung, and killed).
 */
import { PlatformError } from './errors.ts'
import type { RestoreMode } from './start-figures.ts'

/** The version of this protocol; `hello` carries it, and the platform refuses a runtime of another. */
export const FRAMES_VERSION = 1

export const FrameType = {
  /** runtime → platform: the runtime has started and has no function yet. JSON {@link HelloFrame}. */
  hello: 1,
  /** platform → runtime: become an instance of this revision. JSON {@link InitFrame}. */
  init: 2,
  /** runtime → platform: the code is loaded. JSON {@link InitedFrame}. */
  inited: 3,
  /** runtime → platform: it could not be loaded. JSON PlatformErrorBody. The runtime exits. */
  initFailed: 4,
  /** runtime → platform: one log entry of the stream's invocation (0: of none). Payload: u8 level, then text. */
  log: 5,
  /** platform → runtime: no more invocations will come; exit when the open ones have ended. */
  stop: 6,
  /** platform → faaslet host, on its own channel: JSON {@link HostCommand}. */
  command: 7,
  /** faaslet host → platform, on its own channel: JSON {@link HostEvent}. */
  event: 8,
  /** either: begins a stream. JSON {@link OpenHead}, then body bytes. */
  open: 16,
  /** either: the answer begins. JSON {@link AnswerHead}, then body bytes. */
  head: 17,
  /** either: body bytes. With END the last ones (possibly none). */
  data: 18,
  /** either: the stream failed or is no longer wanted. JSON PlatformErrorBody, or empty for a confirmation (F4). */
  reset: 19,
  /**
   * either: the receiver has consumed bytes. Payload: u32 bytes. Platform → runtime also of a body that was passed as memory, once nobody holds it any more,
   * mostly after its stream has ended: what the runtime had copied to pass it is free again.
   */
  credit: 20,
  /** runtime → platform: this invocation waits (for I/O, a timer, a call) and does not compute: more may be handed over. */
  waiting: 21,
  /** runtime → platform, just before its END: what the invocation used. Payload: u32 cpu µs, u32 peak memory KB. */
  usage: 22,
  /** faaslet host → platform, before the answer's head: how this invocation's faaslet was made. JSON StartFigures (start-figures.ts). */
  started: 23,
} as const
export type FrameType = (typeof FrameType)[keyof typeof FrameType]

export const FrameFlag = {
  /** No more body bytes come in this direction. */
  end: 1,
  /** On a `head` with END: its payload begins with what `usage` would say (8 bytes), for one frame less. */
  usage: 2,
} as const

export const HEADER_BYTES = 12
/** Of a `usage` payload. */
export const USAGE_BYTES = 8
/** 1 MB: sixteen times the inline bound, so that a chunk of any stream that Node or Python hands us fits. */
export const PAYLOAD_BYTES_MAX = 1024 * 1024
/** What travels with an invocation at most (design: control and data are split). Larger bodies are streamed. */
export const INLINE_BYTES_MAX = 64 * 1024
/**
 * Where memory is passed (transfer/README.md): a socket of packets, in the runtime. 3 is the channel, 4 the sandbox's own. A faaslet host is passed
 * another such socket over it for each revision.
 */
export const MEMORY_FD = 5
/** Numbers whose frame has not come yet, at most: a sender that is further ahead breaks the protocol. */
export const PASSED_AHEAD_MAX = 64
/** Four chunks of 64 KB: enough to keep a local socket busy while a credit frame travels back. */
export const CREDIT_BYTES = 256 * 1024

/** So many chunks of an incomplete frame become one; a busy channel, with its chunks of 64 KB, never gets there. */
const PARTS_JOINED = 256

export const LogLevel = { debug: 0, info: 1, warn: 2, error: 3, stdout: 4, stderr: 5 } as const
export type LogLevelName = keyof typeof LogLevel

export interface HelloFrame {
  readonly protocol: number
  readonly runtime: 'node' | 'python' | 'command' | 'http' | 'faaslet'
  readonly version: string
  readonly pid: number
  /** A faaslet host that stops code at its deadline by itself, so that one which does not answer may be computing for somebody. */
  readonly stops?: boolean
  /** It takes and gives bodies as passed memory, over descriptor {@link MEMORY_FD}. */
  readonly memory?: boolean
}

export interface InitFrame {
  readonly namespace: string
  readonly function: string
  readonly revision: number
  readonly instance: string
  /** Path below /app of the file to load or run. */
  readonly entry: string
  /** The name of the handler, when the user gave one; otherwise the runtime recognises it by its shape. */
  readonly handler?: string
  /** Arguments for kinds `command` and `http`. */
  readonly args?: readonly string[]
  /** Variables and secrets, already decrypted. */
  readonly environment: Readonly<Record<string, string>>
  readonly concurrency: number
  readonly memoryMb: number
  /** For faaslets only. */
  readonly faaslet?: FaasletInit
}

export interface FaasletInit {
  readonly kind: 'wasm' | 'js'
  /** A new instance for each invocation, or the same ones again. */
  readonly reuse: boolean
  readonly network: 'none' | 'host'
  readonly initTimeoutMs: number
  /** After how many invocations the snapshot is taken anew (faaslet/ripening.ts); absent: never. */
  readonly snapshotAfter?: number
  /** Absent: none has been taken yet; the host boots one and says `booted`. */
  readonly snapshot?: SnapshotUse
}

export interface SnapshotUse {
  /** Below /app, with the files of pager/open-snapshot.ts. */
  readonly directory: string
  /** `auto`: mapped while the page cache holds the image, prefetched from the working set while it does not. */
  readonly mode: RestoreMode | 'auto'
  /** Records the pages that the next invocation touches, and says `recorded`. `auto`: in the cheapest way that its machine has (pager/record.ts). */
  readonly record: 'auto' | 'write-protect' | 'userfaultfd' | 'pagemap' | 'no'
}

/** What the platform asks of a faaslet host. `socket` names a socket below /app that the host is to connect to. */
export type HostCommand =
  /** Serve a revision: frames on that connection, as on the channel of an instance of its own; `memory` is the number under which its socket for memory was passed. */
  | { readonly do: 'attach'; readonly id: string; readonly socket: string; readonly memory?: number }
  /** Write the snapshot image of a booted revision, or of the faaslet that is `ripe`, or the last trace, to that connection (worker/snapshots). */
  | { readonly do: 'capture'; readonly id: string; readonly socket: string; readonly what: CaptureKind; readonly imageId?: string }
  | { readonly do: 'use'; readonly id: string; readonly snapshot: SnapshotUse }

export type CaptureKind = 'image' | 'ripe' | 'trace'

export type HostEvent =
  /** The revision is initialised and its memory can be captured, or why not: then every faaslet boots. */
  | { readonly event: 'booted'; readonly id: string; readonly capturable: boolean; readonly why?: string }
  /** A faaslet has answered `snapshotAfter` invocations and can be captured, or why none will be. */
  | { readonly event: 'ripe'; readonly id: string; readonly why?: string }
  /** An invocation that was made from this image: the snapshot may be another one by now. */
  | { readonly event: 'recorded'; readonly id: string; readonly pages: number; readonly imageId: string; readonly adds?: boolean }
  /** The snapshot's files could not be used. */
  | { readonly event: 'damaged'; readonly id: string; readonly why: string }

export interface InitedFrame {
  /** The handler shape found. */
  readonly shape: 'fetch' | 'main' | 'handler' | 'command' | 'http'
  /** µs from receiving `init` to having the handler. */
  readonly initUs: number
}

/**
 * A body that is in no frame: sealed memory, sent over {@link MEMORY_FD} before the frame that says this (transfer/README.md). Its message there is
 * the number, a little-endian u32, and one descriptor.
 */
export interface PassedMemory {
  /** Chosen by its sender, unique among those it has sent. */
  readonly n: number
  readonly b: number
}

/** How long an object is kept. */
export interface ObjectTerms {
  /** Complete retrievals, after which it is let go. From 1. */
  readonly n?: number
  /** ms to live. */
  readonly t?: number
  /** Where in a bucket it is kept, `s3://<bucket>/<key>`: durably, until it is deleted there. Not together with the others. */
  readonly k?: string
}

export interface OpenHead {
  /**
   * `http`: method, path and headers are a request's. `event`: the body is a JSON value for the handler, or bytes (`b`).
   * Runtime → platform only: `put` keeps the body as an object, `get` asks for one.
   */
  readonly k: 'http' | 'event' | 'put' | 'get'
  /** The body, instead of bytes in this frame or in data frames: with END. */
  readonly p?: PassedMemory
  /** Of an `event`: the body is bytes, and no JSON. */
  readonly b?: true
  /** Of a `put`. */
  readonly o?: ObjectTerms
  /** Of a `get`: the reference, or the place in a bucket. */
  readonly r?: string
  /** Of a `get`: as data frames, beginning before all of it is here. */
  readonly s?: true
  /** Invocation id (platform → runtime). */
  readonly i?: string
  /** Method and path with query, seen from the function's own root. */
  readonly m?: string
  readonly u?: string
  /** Raw headers: name, value, name, value, … Names in lower case. */
  readonly h?: readonly string[]
  /** When it must have ended, epoch ms. */
  readonly d?: number
  /** W3C traceparent. */
  readonly t?: string
  /** Attempt, from 1, of an asynchronous invocation. */
  readonly n?: number
  /** runtime → platform: the function to call (`name` or `namespace/name`), and the stream of the calling invocation. */
  readonly f?: string
  readonly c?: number
  /** runtime → platform: accept and answer at once (202 with the invocation's id), run later. */
  readonly a?: boolean
  /** runtime → platform: the colour of the invocation that is called (color.ts). */
  readonly l?: string
}

export interface AnswerHead {
  /** HTTP status. */
  readonly s: number
  /** Raw headers, names in lower case. */
  readonly h: readonly string[]
  /** The body, instead of bytes in this frame or in data frames: with END. */
  readonly p?: PassedMemory
}

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  /** A view of the received chunk: valid until the handler returns, copy what is kept. */
  readonly payload: Buffer
}

/** One frame with these payload bytes. */
export function encodeFrame(type: FrameType, flags: number, stream: number, payload: Uint8Array | string = ''): Buffer {
  const length = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.byteLength
  const frame = Buffer.allocUnsafe(HEADER_BYTES + length)
  writeHeader(frame, length, type, flags, stream)
  if (typeof payload === 'string') frame.write(payload, HEADER_BYTES)
  else frame.set(payload, HEADER_BYTES)
  return frame
}

/** `open` or `head`: a JSON head and body bytes in one frame. */
export function encodeHeadFrame(
  type: typeof FrameType.open | typeof FrameType.head,
  flags: number,
  stream: number,
  head: string,
  body: Uint8Array | string | undefined,
  usage?: { readonly cpuUs: number; readonly peakKb: number },
): Buffer {
  const headLength = Buffer.byteLength(head)
  const bodyLength = body === undefined ? 0 : typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
  const usageLength = usage === undefined ? 0 : USAGE_BYTES
  const length = usageLength + 4 + headLength + bodyLength
  const frame = Buffer.allocUnsafe(HEADER_BYTES + length)
  writeHeader(frame, length, type, usage === undefined ? flags : flags | FrameFlag.usage, stream)
  if (usage !== undefined) {
    frame.writeUInt32LE(usage.cpuUs, HEADER_BYTES)
    frame.writeUInt32LE(usage.peakKb, HEADER_BYTES + 4)
  }
  const headAt = HEADER_BYTES + usageLength
  frame.writeUInt32LE(headLength, headAt)
  frame.write(head, headAt + 4)
  if (typeof body === 'string') frame.write(body, headAt + 4 + headLength)
  else if (body !== undefined) frame.set(body, headAt + 4 + headLength)
  return frame
}

/** The two parts of an `open` or `head` payload. @throws PROTOCOL_BROKEN when the head does not fit or is not JSON. */
export function splitHead<Head>(payload: Buffer): { readonly head: Head; readonly body: Buffer } {
  if (payload.length < 4) throw broken(`a head frame of ${payload.length} bytes has no length`)
  const headLength = payload.readUInt32LE(0)
  if (headLength > payload.length - 4) throw broken(`a head of ${headLength} bytes in ${payload.length - 4}`)
  return { head: parseJson<Head>(payload.toString('utf8', 4, 4 + headLength)), body: payload.subarray(4 + headLength) }
}

export function parseJson<Value>(text: string): Value {
  try {
    return JSON.parse(text) as Value
  } catch (cause) {
    throw broken('a frame does not carry the JSON it must', cause)
  }
}

/**
 * Cuts a stream of chunks into frames, calling back for each. Keeps at most one incomplete frame.
 * @throws PROTOCOL_BROKEN on a length over the bound (F1); the decoder is then of no further use.
 */
export class FrameDecoder {
  readonly #onFrame: (type: number, flags: number, stream: number, payload: Buffer) => void
  /** Chunks of an incomplete frame, joined only when it is complete: a large frame is copied once, not per chunk. */
  #parts: Buffer[] = []
  /** Parts that came since some were joined: a peer that sends byte by byte must not cost an object per byte. */
  #loose = 0
  #partsBytes = 0
  #neededBytes = HEADER_BYTES

  constructor(onFrame: (type: number, flags: number, stream: number, payload: Buffer) => void) {
    this.#onFrame = onFrame
  }

  /** Whether no part of a frame is held. */
  get isEmpty(): boolean {
    return this.#partsBytes === 0
  }

  push(chunk: Buffer): void {
    if (this.#partsBytes > 0) {
      this.#partsBytes += chunk.length
      if (this.#partsBytes < this.#neededBytes) {
        // A copy: the chunk may be a read buffer that the next read fills again.
        this.#parts.push(Buffer.from(chunk))
        if (++this.#loose === PARTS_JOINED) {
          this.#parts.push(Buffer.concat(this.#parts.splice(-PARTS_JOINED)))
          this.#loose = 0
        }
        return
      }
      this.#parts.push(chunk)
      chunk = Buffer.concat(this.#parts)
      this.#parts = []
      this.#loose = 0
      this.#partsBytes = 0
      this.#neededBytes = HEADER_BYTES
    }
    let offset = 0
    while (chunk.length - offset >= HEADER_BYTES) {
      const length = chunk.readUInt32LE(offset)
      if (length > PAYLOAD_BYTES_MAX) throw broken(`a frame of ${length} bytes, at most ${PAYLOAD_BYTES_MAX} are allowed`)
      const end = offset + HEADER_BYTES + length
      if (end > chunk.length) {
        this.#neededBytes = HEADER_BYTES + length
        break
      }
      this.#onFrame(chunk[offset + 4]!, chunk[offset + 5]!, chunk.readUInt32LE(offset + 8), chunk.subarray(offset + HEADER_BYTES, end))
      offset = end
    }
    if (offset < chunk.length) {
      // A copy: the chunk may be a reused read buffer, and a small rest must not pin a large one.
      const rest = Buffer.from(chunk.subarray(offset))
      this.#parts = [rest]
      this.#partsBytes = rest.length
    }
  }
}

function writeHeader(frame: Buffer, length: number, type: number, flags: number, stream: number): void {
  if (length > PAYLOAD_BYTES_MAX) throw broken(`a frame of ${length} bytes, at most ${PAYLOAD_BYTES_MAX} are allowed`)
  frame.writeUInt32LE(length, 0)
  frame[4] = type
  frame[5] = flags
  frame[6] = 0
  frame[7] = 0
  frame.writeUInt32LE(stream, 8)
}

function broken(what: string, cause?: unknown): PlatformError {
  return new PlatformError('PROTOCOL_BROKEN', `The frame protocol was broken: ${what}.`, { cause })
}
