/**
 * Bodies that are passed as memory, on the runtime's side: descriptor 5, and the addon that makes, seals and maps memory.
 *
 * Thesis 6.3: a large body stays where it was made, and its consumer maps it. What leaves is sealed: from then on the code that made it writes
 * into a copy of its own. What comes in is mapped copy-on-write. The addon is loaded when the first body is too large for a frame, and not before.
 *
 * Invariants:
 *   M1. Memory leaves in the order of its frames, and comes in the same way: whatever lies before the one that a frame names was given up.
 *   M2. At most a quarter of the function's memory is in copies that were passed and that somebody still holds, a slow client for example; more
 *       is streamed, in which nothing is held. What the code allocated itself, or got and has not changed, is passed whatever its size: it counts already.
 *   M3. Memory that the code has let go is given back soon after the instance has become idle, when it may be 32 MB: V8 alone would not begin for the sake of it.
 */
import { closeSync, fstatSync } from 'node:fs'
import { PlatformError } from '../../src/contract/errors.ts'
import { INLINE_BYTES_MAX, MEMORY_FD, type PassedMemory } from '../../src/contract/frames.ts'
import type { SharedMemory } from '../../src/transfer/shared-memory.ts'
import type { IncomingBody } from './body-in.ts'

const MB = 1024 * 1024
const NUMBER_MAX = 2 ** 32 - 1
const NO_BYTES = Buffer.alloc(0)
/** From here on a collection is noticed beside what else is done with a body. */
const LARGE_BYTES = 4 * MB
/** So much that the code may have let go is worth a collection, when nobody is kept waiting by it: after so long without an invocation. */
const LET_GO_BYTES = 32 * MB
const IDLE_MS = 2

export class Memory {
  readonly #addon: string
  readonly #socket: number
  #native: SharedMemory | undefined
  #nextNumber = 0
  /** Bytes of the copies that somebody holds, by the stream that they were passed for; and their sum. */
  readonly #copied = new Map<number, number>()
  #copiedBytes = 0
  /** Mapped for the code since the last collection. */
  #mappedBytes = 0
  #idle: NodeJS.Timeout | undefined
  #collect: ((options: { readonly type: 'minor' }) => void) | undefined
  /** Of the function, bytes. */
  limitBytes = Infinity

  constructor(addon: string, socket: number) {
    this.#addon = addon
    this.#socket = socket
  }

  /** Undefined where the platform has given no socket or no addon: bodies are then streamed. Asked before the function has its own environment. */
  static find(): Memory | undefined {
    const addon = process.env['SKEP_NATIVE']
    if (addon === undefined) return undefined
    try {
      return fstatSync(MEMORY_FD).isSocket() ? new Memory(addon, MEMORY_FD) : undefined
    } catch {
      return undefined
    }
  }

  /** Memory to be filled and then passed without a copy; ordinary memory where the kernel gives no more of the other. @param bytes From 1. */
  allocate(bytes: number): Buffer {
    try {
      return Buffer.from(this.#withoutCollecting(bytes, () => this.#loaded().allocate(bytes)))
    } catch {
      return Buffer.alloc(bytes)
    }
  }

  /** Passes the body of a stream, whose frame follows. @returns undefined when it has to be streamed (M2). */
  pass(body: Uint8Array | string, stream: number): PassedMemory | undefined {
    const bytes = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
    let fd: number | undefined
    let isCopied = false
    try {
      fd = this.#withoutCopy(body)
      if (fd === undefined) {
        if (this.#copiedBytes + bytes > this.limitBytes / 4) return undefined
        isCopied = true
        fd = this.#copy(body, bytes)
      }
      if (!this.#loaded().pass(this.#socket, this.#nextNumber, fd)) return undefined
    } catch {
      // No descriptor is left, or too many are on their way: nothing is lost by sending frames.
      return undefined
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
    if (isCopied) {
      this.#copied.set(stream, bytes)
      this.#copiedBytes += bytes
    }
    const n = this.#nextNumber
    this.#nextNumber = n === NUMBER_MAX ? 0 : n + 1
    return { n, b: bytes }
  }

  /** The last invocation has ended. The buffers of its bodies are young, and go with the cheapest of collections, which takes a third of a millisecond. */
  becomesIdle(): void {
    if (this.#mappedBytes < LET_GO_BYTES) return
    this.#idle ??= setTimeout(() => {
      this.#idle = undefined
      this.#mappedBytes = 0
      this.#collect ??= minorCollection()
      this.#collect({ type: 'minor' })
    }, IDLE_MS).unref()
  }

  becomesBusy(): void {
    if (this.#idle === undefined) return
    clearTimeout(this.#idle)
    this.#idle = undefined
  }

  /** Nobody holds what was passed for this stream any more. */
  released(stream: number): void {
    this.#copiedBytes -= this.#copied.get(stream) ?? 0
    this.#copied.delete(stream)
  }

  /** What a frame says that the platform has passed: a copy-on-write view. @throws PROTOCOL_BROKEN when it has not. */
  take({ n, b }: PassedMemory): Buffer {
    const native = this.#loaded()
    for (;;) {
      const received = native.receive(this.#socket)
      if (received === undefined) throw new PlatformError('PROTOCOL_BROKEN', `The frame protocol was broken: memory ${n} was named and not passed.`)
      try {
        if (received.number === n) return b === 0 ? NO_BYTES : Buffer.from(this.#withoutCollecting(b, () => native.map(received.fd, b, true)))
      } finally {
        // The view keeps what it shows.
        closeSync(received.fd)
      }
    }
  }

  /** A descriptor of memory that has been allocated for this, or that came in and is as it was. Before the addon was loaded, there is no such memory. */
  #withoutCopy(body: Uint8Array | string): number | undefined {
    if (this.#native === undefined || typeof body === 'string' || !isWhole(body)) return undefined
    return this.#native.isAllocated(body.buffer) ? this.#native.seal(body.buffer, true) : this.#native.shown(body.buffer)
  }

  #copy(body: Uint8Array | string, bytes: number): number {
    const native = this.#loaded()
    if (typeof body !== 'string') return native.copy(body)
    const memory = native.allocate(bytes)
    Buffer.from(memory).write(body)
    return native.seal(memory)
  }

  /**
   * A buffer of which V8 hears, without beginning at once to collect everything, for 5 ms, because 64 MB more are held: mapped bytes say
   * little about garbage. The next ordinary buffer begins it, somewhere else than between a producer and its consumer.
   */
  #withoutCollecting(bytes: number, make: () => ArrayBuffer): ArrayBuffer {
    this.#mappedBytes += bytes
    if (bytes < LARGE_BYTES) return make()
    const { setFlagsFromString } = process.getBuiltinModule('node:v8')
    setFlagsFromString('--external-memory-accounted-in-global-limit')
    try {
      return make()
    } finally {
      setFlagsFromString('--no-external-memory-accounted-in-global-limit')
    }
  }

  #loaded(): SharedMemory {
    if (this.#native !== undefined) return this.#native
    const module: { exports: { readonly sharedMemory?: SharedMemory } } = { exports: {} }
    try {
      process.dlopen(module, this.#addon)
    } catch (cause) {
      throw new PlatformError('NATIVE_MISSING', `The native addon cannot be loaded in the sandbox (${(cause as Error).message}); start the platform again.`, { cause })
    }
    return (this.#native = module.exports.sharedMemory!)
  }
}

/** V8 shows it to the contexts that are made while a flag is set: none of the code's. */
function minorCollection(): (options: { readonly type: 'minor' }) => void {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8')
  setFlagsFromString('--expose-gc')
  try {
    return process.getBuiltinModule('node:vm').runInNewContext('gc') as ReturnType<typeof minorCollection>
  } finally {
    setFlagsFromString('--no-expose-gc')
  }
}

/** Memory for the code to fill: to be passed, where that is possible. @throws INPUT_INVALID */
export function allocate(memory: Memory | undefined, bytes: number, memoryMb: number): Buffer {
  const bytesMax = Math.floor((memoryMb * MB) / 2)
  if (!Number.isInteger(bytes) || bytes < 0 || bytes > bytesMax) {
    throw new PlatformError('INPUT_INVALID', `allocate(${String(bytes)}): a number of bytes from 0 to ${bytesMax}, half of the function's ${memoryMb} MB, can be allocated; deploy the function with a larger --memory, or put a stream.`, {
      details: { bytes: Number(bytes), bytesMax, memoryMb },
    })
  }
  return memory === undefined || bytes === 0 ? Buffer.alloc(bytes) : memory.allocate(bytes)
}

/** All of a body. One whose sender states its length is never here twice, and can be passed on without a copy. */
export function readWhole(body: IncomingBody, headers: readonly string[] | undefined, memory: Memory | undefined): Promise<Buffer> {
  const at = body.isComplete ? -1 : (headers?.indexOf('content-length') ?? -1)
  const bytes = at === -1 ? 0 : Number(headers![at + 1])
  if (!(bytes > INLINE_BYTES_MAX)) return body.readAll()
  return body.readAll(memory === undefined || bytes > memory.limitBytes / 2 ? Buffer.allocUnsafeSlow(bytes) : memory.allocate(bytes))
}

/** These bytes in an ArrayBuffer that holds nothing else: without a copy where they are in one. */
export function ownBytes(bytes: Buffer): Uint8Array<ArrayBuffer> {
  return bytes.length > 0 && isWhole(bytes) ? new Uint8Array(bytes.buffer) : new Uint8Array(bytes)
}

function isWhole(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength
}
