/**
 * The platform's end of the socket over which one sandbox and the platform pass each other memory (transfer/README.md).
 *
 * Each message is a number and a descriptor; a frame on the channel says the number (contract/frames.ts PassedMemory). The sender passes
 * first, so whoever reads the frame finds the memory: nobody ever waits on this socket, and nothing listens on it.
 *
 * Invariants:
 *   M1. Only memory that nobody can change any more comes in or goes out. A file is not passed: code could open it again, to write.
 *   M2. What was passed, and whose frame has not come, is at most PASSED_AHEAD_MAX; all of it is closed with the channel.
 *   M3. After `close`, which may come while frames are still read, the descriptor's number is never used again.
 */
import { closeSync } from 'node:fs'
import { PlatformError } from '#contract/errors.ts'
import { PASSED_AHEAD_MAX } from '#contract/frames.ts'
import type { PassedMemory } from '#contract/frames.ts'
import type { HeldBody } from '#contract/held-body.ts'
import type { SharedMemory } from '#transfer/shared-memory.ts'

const NUMBER_MAX = 2 ** 32 - 1

export class MemoryChannel {
  readonly #memory: SharedMemory
  readonly #socket: number
  /** Descriptors whose frame has not come yet, by number. */
  readonly #early = new Map<number, number>()
  #nextNumber = 0
  #state: 'open' | 'closed' = 'open'

  /** @param socket Closed by `close`. */
  constructor(memory: SharedMemory, socket: number) {
    this.#memory = memory
    this.#socket = socket
  }

  /** Passes a body to the code, whose frame must follow. The caller still holds it. @returns undefined when it has to be sent as a stream. */
  pass(body: HeldBody): PassedMemory | undefined {
    if (this.#state === 'closed' || 'reason' in this.#memory.check(body.fd)) return undefined
    const n = this.#pass(body.fd)
    return n === undefined ? undefined : { n, b: body.bytes }
  }

  /**
   * A channel for one part of the code, whose end the code gets as it gets memory, under this number. The frames of several parts come in any order,
   * so with one channel for all, what one has passed ahead would be held against another (M2).
   * @returns undefined when there is none to be had: bodies to and from that part are then streamed.
   */
  divide(): { readonly channel: MemoryChannel; readonly n: number } | undefined {
    if (this.#state === 'closed') return undefined
    let pair: ReturnType<SharedMemory['socketPair']>
    try {
      pair = this.#memory.socketPair()
    } catch {
      return undefined
    }
    const n = this.#pass(pair.theirs)
    closeSync(pair.theirs)
    if (n !== undefined) return { channel: new MemoryChannel(this.#memory, pair.ours), n }
    closeSync(pair.ours)
    return undefined
  }

  /** What a frame says that the code has passed; the descriptor is the caller's. @throws PROTOCOL_BROKEN when it has not, and when the memory can still change or has another length. */
  take(passed: PassedMemory): { readonly fd: number; readonly bytes: number } {
    const n: unknown = passed?.n
    const bytes: unknown = passed?.b
    if (!isCount(n, NUMBER_MAX) || !isCount(bytes, Number.MAX_SAFE_INTEGER)) throw broken(`named memory by ${clip(passed)}, which is no number and length`)
    const fd = this.#find(n)
    const checked = this.#memory.check(fd)
    if (!('reason' in checked) && checked.bytes === bytes) return { fd, bytes }
    closeSync(fd)
    throw broken('reason' in checked ? `passed memory that cannot be accepted: ${checked.reason}` : `passed ${checked.bytes} bytes of memory as ${bytes}`)
  }

  close(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    for (const fd of this.#early.values()) closeSync(fd)
    this.#early.clear()
    closeSync(this.#socket)
  }

  #pass(fd: number): number | undefined {
    const n = this.#nextNumber
    try {
      if (!this.#memory.pass(this.#socket, n, fd)) return undefined
    } catch {
      // Its other end is closed, or the kernel has too many descriptors on their way: the stream tells which.
      return undefined
    }
    this.#nextNumber = n === NUMBER_MAX ? 0 : n + 1
    return n
  }

  #find(n: number): number {
    const early = this.#early.get(n)
    if (early !== undefined) {
      this.#early.delete(n)
      return early
    }
    for (;;) {
      const received = this.#state === 'open' ? this.#receive() : undefined
      if (received === undefined) throw broken(`named memory ${n}, which it has not passed`)
      if (received.number === n) return received.fd
      if (this.#early.size < PASSED_AHEAD_MAX && !this.#early.has(received.number)) this.#early.set(received.number, received.fd)
      else {
        closeSync(received.fd)
        throw broken(`passed memory ${received.number} twice, or more than ${PASSED_AHEAD_MAX} before their frames`)
      }
    }
  }

  #receive(): ReturnType<SharedMemory['receive']> {
    try {
      return this.#memory.receive(this.#socket)
    } catch (cause) {
      throw broken(`passed something that is no memory (${(cause as Error).message})`, cause)
    }
  }
}

function isCount(value: unknown, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max
}

function clip(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 80)
}

function broken(what: string, cause?: unknown): PlatformError {
  return new PlatformError('PROTOCOL_BROKEN', `The frame protocol was broken: the runtime ${what}.`, { cause })
}
