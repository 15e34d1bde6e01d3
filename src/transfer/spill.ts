/**
 * Where the bytes of a body are written: new memory, or a new file in the platform's data directory that has no name.
 *
 * A file's name is taken away before anything is in it: whatever kills the platform, nothing is left behind; and it is handed on through a second
 * descriptor that can only read. Code that runs as this user could still make such a file writable again (fchmod, /proc): pass only memory to code.
 *
 * Invariants:
 *   F1. A body is complete when `finish` gives it; `discard` leaves nothing.
 *   F2. A full disk is STORE_FULL, and any other failure STORE_FAILED.
 *   F3. Copying takes one chunk of memory, however long the body is.
 *   F4. Memory is written to at once, which is a copy; a thread of the pool would cost several times that. A file may have to wait for its disk, and others do not wait with it.
 */
import assert from 'node:assert/strict'
import { closeSync, mkdirSync, openSync, read, readdirSync, unlinkSync, write, writeSync } from 'node:fs'
import { join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import { HeldBody } from '#contract/held-body.ts'
import type { Place } from './peers.ts'

/** Makes bodies in one place. */
export interface BodyMaker {
  readonly place: Place
  create(): NewBody
}

/** A body that is being written, by one writer, from the beginning. */
export interface NewBody {
  readonly place: Place
  readonly bytes: number
  /** Memory is written to before this returns (F4): whoever writes much lets others have their turn in between. */
  write(chunk: Uint8Array): Promise<void>
  /** For little, where waiting would cost more than writing. */
  writeNow(chunk: Uint8Array): void
  /** No more comes. */
  finish(): HeldBody
  discard(): void
}

/** Of SharedMemory (shared-memory.ts), what is needed here. */
export interface SealableMemory {
  create(): number
  sealFd(fd: number): void
}

/** 1 MB: a disk is not faster with more, and several bodies may be moved at once. */
const COPY_BYTES = 1024 * 1024
const SUFFIX = '.object'

export function memoryBodies(memory: SealableMemory): BodyMaker {
  return {
    place: 'memory',
    create() {
      const fd = memory.create()
      return new OpenBody('memory', fd, {
        finish: (bytes) => {
          memory.sealFd(fd)
          return new HeldBody(fd, bytes)
        },
        discard: () => closeSync(fd),
      })
    },
  }
}

/** @param directory Of this platform alone. It is made, and cleared of what a killed platform may have left between two system calls. */
export function fileBodies(directory: string): BodyMaker {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(directory)) if (name.endsWith(SUFFIX)) unlinkSync(join(directory, name))
  let sequence = 0
  return {
    place: 'file',
    create() {
      const path = join(directory, `${process.pid}-${sequence++}${SUFFIX}`)
      const [fd, readFd] = openNameless(path)
      return new OpenBody('file', fd, {
        finish: (bytes) => {
          closeSync(fd)
          return new HeldBody(readFd, bytes)
        },
        discard: () => {
          closeSync(fd)
          closeSync(readFd)
        },
      })
    },
  }
}

/**
 * The same bytes in another place, and more may be written behind them. The original stays, and may go, whatever becomes of this.
 * @throws STORE_FULL, STORE_FAILED: then nothing is left.
 */
export async function copyBody(body: HeldBody, maker: BodyMaker): Promise<NewBody> {
  body.retain()
  let copy: NewBody | undefined
  try {
    copy = maker.create()
    const buffer = Buffer.allocUnsafeSlow(Math.min(COPY_BYTES, body.bytes))
    while (copy.bytes < body.bytes) {
      const count = await readAt(body.fd, buffer, Math.min(buffer.length, body.bytes - copy.bytes), copy.bytes)
      if (count === 0) throw new PlatformError('STORE_FAILED', `A body of ${body.bytes} bytes ended at ${copy.bytes}. It cannot be moved; put it again.`)
      await copy.write(buffer.subarray(0, count))
    }
    return copy
  } catch (error) {
    copy?.discard()
    throw error
  } finally {
    body.release()
  }
}

class OpenBody implements NewBody {
  readonly place: Place
  readonly #fd: number
  readonly #end: { readonly finish: (bytes: number) => HeldBody; readonly discard: () => void }
  #bytes = 0
  #state: 'open' | 'writing' | 'ended' = 'open'

  constructor(place: Place, fd: number, end: { readonly finish: (bytes: number) => HeldBody; readonly discard: () => void }) {
    this.place = place
    this.#fd = fd
    this.#end = end
  }

  get bytes(): number {
    return this.#bytes
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.place === 'memory') return this.writeNow(chunk)
    assert(this.#state === 'open', `a body that is ${this.#state} is written to`)
    this.#state = 'writing'
    try {
      for (let offset = 0; offset < chunk.length; ) {
        const count = await writeAt(this.#fd, chunk, offset, this.#bytes)
        offset += count
        this.#bytes += count
      }
    } finally {
      this.#state = 'open'
    }
  }

  writeNow(chunk: Uint8Array): void {
    assert(this.#state === 'open', `a body that is ${this.#state} is written to`)
    try {
      for (let offset = 0; offset < chunk.length; ) {
        const count = writeSync(this.#fd, chunk, offset, chunk.length - offset, this.#bytes)
        offset += count
        this.#bytes += count
      }
    } catch (error) {
      throw failed(error)
    }
  }

  finish(): HeldBody {
    assert(this.#state === 'open', `a body that is ${this.#state} is finished`)
    const body = this.#end.finish(this.#bytes)
    this.#state = 'ended'
    return body
  }

  discard(): void {
    assert(this.#state === 'open', `a body that is ${this.#state} is discarded`)
    this.#state = 'ended'
    this.#end.discard()
  }
}

function openNameless(path: string): [number, number] {
  let fd: number | undefined
  try {
    fd = openSync(path, 'wx', 0o400)
    const readFd = openSync(path, 'r')
    unlinkSync(path)
    return [fd, readFd]
  } catch (error) {
    if (fd !== undefined) {
      closeSync(fd)
      unlinkSync(path)
    }
    throw failed(error)
  }
}

function readAt(fd: number, buffer: Buffer, length: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => read(fd, buffer, 0, length, position, (error, count) => (error === null ? resolve(count) : reject(failed(error)))))
}

function writeAt(fd: number, chunk: Uint8Array, offset: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => write(fd, chunk, offset, chunk.length - offset, position, (error, count) => (error === null ? resolve(count) : reject(failed(error)))))
}

function failed(cause: unknown): PlatformError {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new PlatformError('STORE_FULL', 'The disk of the data directory is full: no object can be moved there. Free space on it, or get the objects that wait.', { cause })
  }
  return new PlatformError('STORE_FAILED', `An object could not be written (${message}). Check the disk of the data directory, then put it again.`, { cause })
}
