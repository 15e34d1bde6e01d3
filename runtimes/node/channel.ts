/**
 * The runtime's end of a channel: file descriptor 3, or a socket that a faaslet host connects to; frames in, frames out.
 *
 * Frames that are sent in one turn of the event loop leave in one write: `send` collects, a tick flushes. The write is a
 * plain `writeSync` on the non-blocking socket while nothing is queued (no stream machinery, and it also works in code
 * that blocks the loop or exits); only what the kernel does not take goes through the socket's own queue.
 *
 * Invariants:
 *   C1. Frames leave in the order of `send`.
 *   C2. What is collected but not written is at most {@link FLUSH_BYTES} plus one frame: beyond, `send` flushes at once.
 */
import { writeSync } from 'node:fs'
import { connect, Socket } from 'node:net'
import { encodeFrame, encodeHeadFrame, FrameDecoder, type FrameType } from '../../src/contract/frames.ts'

/** Collected bytes that are written without waiting for the end of the turn. */
const FLUSH_BYTES = 64 * 1024
const READ_BUFFER_BYTES = 256 * 1024

export interface ChannelOptions {
  readonly to: { readonly fd: number } | { readonly path: string }
  /** The payload is a view that is valid until this returns. */
  readonly onFrame: (type: number, flags: number, stream: number, payload: Buffer) => void
  /** A chunk of frames has come in: a new turn begins. */
  readonly onTurn: () => void
  /** The other side is gone, or broke the protocol. Called once. */
  readonly onEnd: (error: Error | undefined) => void
  /** Everything queued has been written. */
  readonly onDrain: () => void
}

export class Channel {
  /** -1 until it is connected: everything then goes through the socket's queue. */
  #fd: number
  readonly #socket: Socket
  readonly #onEnd: (error: Error | undefined) => void
  #collected: Buffer[] = []
  #collectedBytes = 0
  #flushIsScheduled = false
  #ended = false
  readonly #flush = (): void => {
    this.#flushIsScheduled = false
    this.flush()
  }

  constructor(options: ChannelOptions) {
    this.#fd = 'fd' in options.to ? options.to.fd : -1
    this.#onEnd = options.onEnd
    const decoder = new FrameDecoder(options.onFrame)
    const buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)
    const onread = {
      buffer,
      callback: (bytes: number): boolean => {
        if (this.#ended) return true
        options.onTurn()
        try {
          decoder.push(buffer.subarray(0, bytes))
        } catch (error) {
          this.#end(error as Error)
        }
        return true
      },
    }
    // `onread` is an option of every socket; @types/node knows it for outgoing connections only.
    this.#socket = 'fd' in options.to ? new Socket({ fd: options.to.fd, onread } as unknown as { fd: number }) : connect({ path: options.to.path, onread } as unknown as { path: string })
    if (!('fd' in options.to)) this.#socket.once('connect', () => (this.#fd = (this.#socket as unknown as { _handle: { fd: number } })._handle.fd))
    this.#socket.on('error', (error) => this.#end(error))
    this.#socket.on('end', () => this.#end(undefined))
    this.#socket.on('close', () => this.#end(undefined))
    this.#socket.on('drain', options.onDrain)
    if ('fd' in options.to) this.#socket.read(0)
  }

  /** Bytes accepted by `send` that the kernel has not taken yet. */
  get bufferedBytes(): number {
    return this.#collectedBytes + this.#socket.writableLength
  }

  send(type: FrameType, flags: number, stream: number, payload: Uint8Array | string = ''): void {
    this.#collect(encodeFrame(type, flags, stream, payload))
  }

  sendHead(
    type: typeof FrameType.open | typeof FrameType.head,
    flags: number,
    stream: number,
    head: string,
    body: Uint8Array | string | undefined,
    usage?: { readonly cpuUs: number; readonly peakKb: number },
  ): void {
    this.#collect(encodeHeadFrame(type, flags, stream, head, body, usage))
  }

  /** Writes what was collected, now. */
  flush(): void {
    if (this.#collectedBytes === 0 || this.#ended) return
    const bytes = this.#collected.length === 1 ? this.#collected[0]! : Buffer.concat(this.#collected, this.#collectedBytes)
    this.#collected = []
    this.#collectedBytes = 0
    let written = 0
    if (this.#fd >= 0 && this.#socket.writableLength === 0) {
      try {
        written = writeSync(this.#fd, bytes)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return this.#end(error as Error)
      }
    }
    if (written < bytes.length) this.#socket.write(written === 0 ? bytes : bytes.subarray(written))
  }

  /** Resolves when everything sent so far has been taken by the kernel. */
  async drained(): Promise<void> {
    this.flush()
    if (this.#socket.writableLength > 0 && !this.#ended) await new Promise<void>((resolve) => this.#socket.write('', () => resolve()))
  }

  /** Everything sent so far leaves; then the connection is closed, and `onEnd` is not called any more. */
  async close(): Promise<void> {
    await this.drained()
    this.#ended = true
    this.#socket.destroy()
  }

  #collect(frame: Buffer): void {
    if (this.#ended) return
    this.#collected.push(frame)
    this.#collectedBytes += frame.length
    if (this.#collectedBytes >= FLUSH_BYTES) this.flush()
    else if (!this.#flushIsScheduled) {
      this.#flushIsScheduled = true
      process.nextTick(this.#flush)
    }
  }

  #end(error: Error | undefined): void {
    if (this.#ended) return
    this.#ended = true
    this.#onEnd(error)
  }
}
