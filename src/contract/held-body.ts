/**
 * A body that lies whole behind a file descriptor: sealed memory, or an unlinked file. Nobody can change it any more.
 *
 * Requests, answers and objects that are too large for a frame travel as this inside the platform: what is handed on is the
 * descriptor, and no byte is read unless its receiver has to have a stream (thesis 6.3.1: control and data are split).
 *
 * Invariants:
 *   H1. Each holder releases it once, and the last `release` closes the descriptor; holders beyond the first say `retain`.
 *   H2. Its bytes are there until then, whatever becomes of the process that made them.
 */
import assert from 'node:assert/strict'
import { closeSync, read } from 'node:fs'
import { Readable } from 'node:stream'

/** Read at a time when it has to be a stream: large enough that a system call is nothing, small enough to hold a few. */
const CHUNK_BYTES = 256 * 1024

export class HeldBody {
  readonly fd: number
  readonly bytes: number
  #onLast: (() => void) | undefined
  #holders = 1

  /** @param onLast Called once, when nobody holds it any more: whoever accounts for the bytes wants to know. */
  constructor(fd: number, bytes: number, onLast?: () => void) {
    this.fd = fd
    this.bytes = bytes
    this.#onLast = onLast
  }

  /** Calls back, besides, when nobody holds it any more. */
  onReleased(listener: () => void): void {
    const onLast = this.#onLast
    this.#onLast = () => {
      onLast?.()
      listener()
    }
  }

  retain(): this {
    assert(this.#holders > 0, 'a body that was let go is wanted again')
    this.#holders++
    return this
  }

  release(): void {
    assert(this.#holders > 0, 'a body is let go twice')
    if (--this.#holders > 0) return
    closeSync(this.fd)
    this.#onLast?.()
  }

  /** All of it, for a receiver that cannot map it. Releases it when it has ended, or is destroyed: the stream takes over this holder. */
  stream(): Readable {
    const { fd, bytes } = this
    let offset = 0
    let reading = false
    let destroyed: (() => void) | undefined
    return new Readable({
      highWaterMark: CHUNK_BYTES,
      read(): void {
        if (offset === bytes) return void this.push(null)
        reading = true
        const length = Math.min(CHUNK_BYTES, bytes - offset)
        // Of no pool: a chunk is kept for as long as its receiver is slow.
        read(fd, Buffer.allocUnsafeSlow(length), 0, length, offset, (error, count, chunk) => {
          reading = false
          if (destroyed !== undefined) return destroyed()
          if (error !== null) return void this.destroy(error)
          if (count === 0) return void this.destroy(new Error(`a held body of ${bytes} bytes ended at ${offset}`))
          offset += count
          this.push(chunk.subarray(0, count))
        })
      },
      destroy: (error, done) => {
        // A descriptor that is closed under a read may be another file's by the time it is read.
        const close = (): void => {
          this.release()
          done(error)
        }
        if (reading) destroyed = close
        else close()
      },
    })
  }
}
