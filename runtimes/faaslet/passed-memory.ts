/**
 * Bodies that are passed as memory, in a faaslet host: a socket for each revision, which comes over the process's own.
 *
 * Thesis 6.3, as runtimes/node/memory.ts has it for a process of its own. What differs: memory that has come in keeps its descriptor, so
 * that it can be mapped into a faaslet's linear memory instead of being copied there.
 *
 *   platform ── n, socket ──▶ MemorySocket of the process ── `attach` names n ──▶ MemorySocket of a revision
 *   platform ── n, fd ──▶ MemorySocket of a revision ── a frame names n ──▶ take: a view ──▶ read, or mapInto: pages of the guest
 *
 * Invariants:
 *   HM1. What comes over one socket is named in the same order, by one connection: whatever lies before it was given up. Revisions share none,
 *        so that none is held up by what another has passed, or has not taken.
 *   HM2. A descriptor is closed when its body is released, at the latest when nobody has the view any more.
 *   HM3. At most half of the function's memory is copied to be passed, as much as other kinds may allocate; more is streamed.
 */
import { closeSync, fstatSync } from 'node:fs'
import { PlatformError } from '../../src/contract/errors.ts'
import { INLINE_BYTES_MAX, MEMORY_FD, type PassedMemory } from '../../src/contract/frames.ts'
import { PAGE_BYTES } from '../../src/pager/snapshot.ts'
import { sharedMemory, type SharedMemory } from '../../src/transfer/shared-memory.ts'
import { Memory } from '../node/memory.ts'

const NUMBER_MAX = 2 ** 32 - 1
const NO_BYTES = Buffer.alloc(0)

/** This end of a socket, with a row of numbers of its own. */
export class MemorySocket {
  readonly native: SharedMemory
  readonly #socket: number
  #nextNumber = 0
  #state: 'open' | 'closed' = 'open'

  constructor(native: SharedMemory, socket: number) {
    this.native = native
    this.#socket = socket
  }

  /** The process's. Undefined where there is no addon, or no socket: all bodies are then streamed. The addon has to be loaded. */
  static find(): MemorySocket | undefined {
    const native = sharedMemory()
    try {
      return native !== undefined && fstatSync(MEMORY_FD).isSocket() ? new MemorySocket(native, MEMORY_FD) : undefined
    } catch {
      return undefined
    }
  }

  /** @returns its number; undefined when the socket is full, or closed. */
  pass(fd: number): number | undefined {
    const n = this.#nextNumber
    try {
      if (this.#state === 'closed' || !this.native.pass(this.#socket, n, fd)) return undefined
    } catch {
      // Too many descriptors are on their way, or its other end is closed.
      return undefined
    }
    this.#nextNumber = n === NUMBER_MAX ? 0 : n + 1
    return n
  }

  /** The descriptor is the caller's. @throws PROTOCOL_BROKEN when it has not come. */
  receive(n: number): number {
    for (;;) {
      const received = this.#state === 'open' ? this.native.receive(this.#socket) : undefined
      if (received === undefined) throw new PlatformError('PROTOCOL_BROKEN', `The frame protocol was broken: memory ${n} was named and not passed.`)
      if (received.number === n) return received.fd
      closeSync(received.fd)
    }
  }

  /** The socket that was passed under this number. @throws PROTOCOL_BROKEN */
  divide(n: number): MemorySocket {
    return new MemorySocket(this.native, this.receive(n))
  }

  /** Bodies are streamed from now on. */
  close(): void {
    if (this.#state === 'open') closeSync(this.#socket)
    this.#state = 'closed'
  }
}

/** A descriptor that is closed once. */
interface Descriptor {
  fd: number
}

function close(descriptor: Descriptor): void {
  if (descriptor.fd !== -1) closeSync(descriptor.fd)
  descriptor.fd = -1
}

const collected = new FinalizationRegistry<Descriptor>(close)

export class HostMemory extends Memory {
  readonly #socket: MemorySocket
  readonly #native: SharedMemory
  readonly #descriptors = new WeakMap<ArrayBufferLike, Descriptor>()

  constructor(socket: MemorySocket) {
    super('', MEMORY_FD)
    this.#socket = socket
    this.#native = socket.native
  }

  override allocate(bytes: number): Buffer {
    return Buffer.from(this.#native.allocate(bytes))
  }

  /** A copy that leaves without another; undefined when it is too small or too large for that (HM3), or the system has no memory for it. */
  copy(...parts: readonly Uint8Array[]): Buffer | undefined {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    if (bytes <= INLINE_BYTES_MAX || bytes > this.limitBytes / 2) return undefined
    try {
      const copy = this.allocate(bytes)
      let at = 0
      for (const part of parts) {
        copy.set(part, at)
        at += part.length
      }
      return copy
    } catch {
      return undefined
    }
  }

  override pass(body: Uint8Array | string): PassedMemory | undefined {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    const fd = this.#seal(bytes)
    if (fd === undefined) return undefined
    try {
      const n = this.#socket.pass(fd)
      return n === undefined ? undefined : { n, b: bytes.byteLength }
    } finally {
      closeSync(fd)
    }
  }

  override take({ n, b }: PassedMemory): Buffer {
    const descriptor: Descriptor = { fd: this.#socket.receive(n) }
    try {
      const view = b === 0 ? NO_BYTES : Buffer.from(this.#native.map(descriptor.fd, b))
      if (b === 0) close(descriptor)
      else {
        this.#descriptors.set(view.buffer, descriptor)
        collected.register(view.buffer, descriptor, view.buffer)
      }
      return view
    } catch (thrown) {
      close(descriptor)
      throw thrown
    }
  }

  /**
   * Maps a whole body, as `take` gave it, at a page of a guest's memory, copy-on-write; the last page's rest is zero.
   * @returns false when it is no such body, or the system has no mapping left: it is to be copied.
   */
  mapInto(memory: WebAssembly.Memory, at: number, body: Uint8Array): boolean {
    const descriptor = this.#descriptors.get(body.buffer)
    if (descriptor === undefined || descriptor.fd === -1 || body.byteLength !== body.buffer.byteLength || at % PAGE_BYTES !== 0) return false
    try {
      this.#native.mapInto(memory.buffer, at, descriptor.fd, body.byteLength)
      return true
    } catch {
      return false
    }
  }

  /** Nobody reads this body any more: its descriptor and its view go now, and not with a collection. Other bytes are left alone. */
  release(body: Uint8Array): void {
    const { buffer } = body
    const descriptor = this.#descriptors.get(buffer)
    if (descriptor === undefined) return
    this.#descriptors.delete(buffer)
    collected.unregister(buffer)
    close(descriptor)
    ;(buffer as ArrayBuffer).transfer(0)
  }

  #seal(bytes: Uint8Array): number | undefined {
    const { buffer } = bytes
    if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength && this.#native.isAllocated(buffer)) return this.#native.seal(buffer)
    return bytes.byteLength > this.limitBytes / 2 ? undefined : this.#native.copy(bytes)
  }
}
