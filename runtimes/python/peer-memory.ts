/**
 * The platform's end of descriptor 5, for tests of this runtime: passes memory, and takes what frames name.
 *
 * Nothing that is not sealed, or is not as long as the frame says, is ever accepted: so every test that takes memory tests that too.
 */
import assert from 'node:assert/strict'
import { closeSync, readSync } from 'node:fs'
import { constants } from 'node:os'
import type { PassedMemory } from '#contract/frames.ts'
import { sharedMemory } from '#transfer/shared-memory.ts'
import type { SharedMemory } from '#transfer/shared-memory.ts'

export const memoryHere = sharedMemory()
/** For `describe(name, needsMemory, …)`. */
export const needsMemory = { skip: memoryHere === undefined ? 'memory cannot be passed here: no memfd, or the native addon is not built' : false }

export class PeerMemory {
  /** The socket, at the runtime's end, until it was given to it. */
  readonly theirs: number
  /** How many memories the runtime has passed. */
  taken = 0
  readonly #memory: SharedMemory
  readonly #ours: number
  readonly #early = new Map<number, number>()
  #next = 1

  constructor(memory: SharedMemory) {
    this.#memory = memory
    const { ours, theirs } = memory.socketPair()
    this.#ours = ours
    this.theirs = theirs
  }

  /** What a frame is to say about these bytes, or about this descriptor, which stays the caller's. */
  pass(body: Uint8Array | number): PassedMemory {
    const n = this.#next++
    const fd = typeof body === 'number' ? body : this.#memory.copy(body)
    const checked = this.#memory.check(fd)
    assert.ok('bytes' in checked)
    this.passAs(n, fd)
    if (typeof body !== 'number') closeSync(fd)
    return { n, b: checked.bytes }
  }

  /** Any number, and any descriptor. A runtime that has ended takes nothing. */
  passAs(n: number, fd: number): void {
    try {
      assert.ok(this.#memory.pass(this.#ours, n, fd), 'the runtime takes what it is passed')
    } catch (error) {
      const { errno } = error as NodeJS.ErrnoException
      if (errno !== constants.errno.EPIPE && errno !== constants.errno.ECONNRESET) throw error
    }
  }

  /** How many have come ahead of their frames. */
  get ahead(): number {
    for (let received = this.#memory.receive(this.#ours); received !== undefined; received = this.#memory.receive(this.#ours)) this.#early.set(received.number, received.fd)
    return this.#early.size
  }

  /** The descriptor of what the runtime's frame names: the caller's. */
  take({ n, b }: PassedMemory): number {
    while (!this.#early.has(n)) {
      const received = this.#memory.receive(this.#ours)
      assert.ok(received !== undefined, `the runtime named memory ${n} before it passed it`)
      assert.ok(!this.#early.has(received.number))
      this.#early.set(received.number, received.fd)
    }
    const fd = this.#early.get(n)!
    this.#early.delete(n)
    this.taken++
    assert.deepEqual(this.#memory.check(fd), { bytes: b })
    return fd
  }

  /** The bytes behind a descriptor, which is closed. */
  read(fd: number, bytes: number): Buffer {
    const buffer = this.peek(fd, bytes)
    closeSync(fd)
    return buffer
  }

  peek(fd: number, bytes: number): Buffer {
    const buffer = Buffer.allocUnsafe(bytes)
    for (let offset = 0; offset < bytes;) offset += readSync(fd, buffer, offset, bytes - offset, offset)
    return buffer
  }

  close(): void {
    for (const fd of this.#early.values()) closeSync(fd)
    this.#early.clear()
    closeSync(this.#ours)
  }
}
