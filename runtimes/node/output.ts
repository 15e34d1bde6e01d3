/**
 * What the function prints, as log frames of the invocation that printed it.
 *
 * `process.stdout` and `process.stderr` are replaced by writers that send frames; the global console writes to them, so
 * groups, tables and timers keep working, and a wrapper around its methods only notes the level. The invocation is known
 * from the asynchronous context.
 *
 * Invariants:
 *   P1. One frame carries whole lines: text without a line break waits until the line, the turn's last partial text or
 *       the process ends, in at most {@link PARTIAL_BYTES_MAX}.
 *   P2. While the platform does not read, at most {@link BUFFERED_BYTES_MAX} are queued; lines beyond are dropped and counted,
 *       and the count is said when there is room again.
 */
import { Writable } from 'node:stream'
import { FrameType, LogLevel, type LogLevelName } from '../../src/contract/frames.ts'
import type { Channel } from './channel.ts'

const PARTIAL_BYTES_MAX = 8 * 1024
const BUFFERED_BYTES_MAX = 1024 * 1024
const ENTRY_BYTES_MAX = 64 * 1024
const consoleLevels = { debug: 'debug', log: 'info', info: 'info', dir: 'info', dirxml: 'info', table: 'info', warn: 'warn', error: 'error', trace: 'error', assert: 'warn' } as const

export class Output {
  readonly #channel: Channel
  readonly #currentStream: () => number
  /** Level of the console method that is running. */
  #consoleLevel: LogLevelName | undefined
  /** Text without its line break yet, by stream and level. */
  readonly #partial = new Map<string, { readonly stream: number; readonly level: LogLevelName; text: string }>()
  #flushIsScheduled = false
  readonly #dropped = new Map<number, number>()

  constructor(channel: Channel, currentStream: () => number) {
    this.#channel = channel
    this.#currentStream = currentStream
  }

  /** Takes over stdout, stderr and the console. Before anything has printed. */
  install(): void {
    this.#replace('stdout', 1)
    this.#replace('stderr', 2)
    for (const [method, level] of Object.entries(consoleLevels)) {
      const target = console as unknown as Record<string, (...args: unknown[]) => void>
      const original = target[method]!
      target[method] = (...args) => {
        const before = this.#consoleLevel
        this.#consoleLevel = level
        try {
          original.apply(console, args)
        } finally {
          this.#consoleLevel = before
        }
      }
    }
  }

  /** One entry, of whole lines. */
  entry(level: LogLevelName, text: string, stream = this.#currentStream()): void {
    if (this.#channel.bufferedBytes > BUFFERED_BYTES_MAX) {
      this.#dropped.set(stream, (this.#dropped.get(stream) ?? 0) + text.split('\n').length)
      return
    }
    if (this.#dropped.size > 0) this.sayDropped()
    const bytes = Buffer.from(text)
    for (let offset = 0; offset < bytes.length || offset === 0; offset += ENTRY_BYTES_MAX) {
      const part = bytes.subarray(offset, offset + ENTRY_BYTES_MAX)
      const payload = Buffer.allocUnsafe(1 + part.length)
      payload[0] = LogLevel[level]
      payload.set(part, 1)
      this.#channel.send(FrameType.log, 0, stream, payload)
    }
  }

  /** Sends what waits for its line break. */
  flushPartial(): void {
    for (const { stream, level, text } of this.#partial.values()) this.entry(level, text, stream)
    this.#partial.clear()
  }

  /** Says how many lines were dropped, once there is room again. */
  sayDropped(): void {
    if (this.#channel.bufferedBytes > BUFFERED_BYTES_MAX / 2) return
    const dropped = [...this.#dropped]
    this.#dropped.clear()
    for (const [stream, lines] of dropped) this.entry('warn', `${lines} lines dropped: they were printed faster than they could be taken.`, stream)
  }

  #write(level: LogLevelName, text: string): void {
    if (this.#consoleLevel !== undefined) {
      this.entry(this.#consoleLevel, text.endsWith('\n') ? text.slice(0, -1) : text)
      return
    }
    const stream = this.#currentStream()
    const key = `${stream} ${level}`
    const held = this.#partial.get(key)
    const joined = held === undefined ? text : held.text + text
    const end = joined.lastIndexOf('\n')
    if (end !== -1) this.entry(level, joined.slice(0, end), stream)
    const rest = joined.slice(end + 1)
    if (rest.length > PARTIAL_BYTES_MAX) {
      this.entry(level, rest, stream)
      this.#partial.delete(key)
    } else if (rest === '') this.#partial.delete(key)
    else {
      this.#partial.set(key, { stream, level, text: rest })
      if (!this.#flushIsScheduled) {
        this.#flushIsScheduled = true
        setTimeout(() => {
          this.#flushIsScheduled = false
          this.flushPartial()
        }, 20).unref()
      }
    }
  }

  #replace(name: 'stdout' | 'stderr', fd: number): void {
    const writable = new Writable({
      decodeStrings: false,
      write: (chunk: string | Buffer, _encoding, done) => {
        this.#write(name, typeof chunk === 'string' ? chunk : chunk.toString())
        done()
      },
    })
    Object.assign(writable, { fd, isTTY: false, _type: 'pipe' })
    Object.defineProperty(process, name, { value: writable, configurable: true, writable: true, enumerable: true })
  }
}
