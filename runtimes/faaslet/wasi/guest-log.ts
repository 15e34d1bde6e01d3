/**
 * What a WebAssembly function says besides its answer: standard error, standard output while it is initialised, `skep.log`.
 *
 * Entries are kept until the faaslet's code has stopped running, and handed on then (run.ts says why).
 *
 * Invariants:
 *   GL1. An entry has whole lines; text without a line break waits for it, for the end, or for {@link LINE_BYTES_MAX}.
 *   GL2. At most {@link HELD_BYTES_MAX} are held; lines beyond are dropped, counted, and the count is said.
 */
import { StringDecoder } from 'node:string_decoder'
import type { LogLevelName } from '../../../src/contract/frames.ts'

const LINE_BYTES_MAX = 16 * 1024
const HELD_BYTES_MAX = 1024 * 1024
/** Last lines of standard error that a failure shows. */
const LAST_LINES = 10

/** Where entries go: `Output.entry` of runtimes/node/output.ts. */
export type LogEntry = (level: LogLevelName, text: string, stream: number) => void

export class GuestLog {
  readonly #onEntry: LogEntry
  readonly #stream: number
  readonly #held: { readonly level: LogLevelName; text: string }[] = []
  #heldBytes = 0
  #droppedLines = 0
  readonly #partial = { stdout: '', stderr: '' }
  #decoders: { readonly stdout: StringDecoder; readonly stderr: StringDecoder } | undefined
  readonly #last: string[] = []

  constructor(onEntry: LogEntry, stream: number) {
    this.#onEntry = onEntry
    this.#stream = stream
  }

  /** The last lines of standard error. */
  get lastLines(): readonly string[] {
    return this.#partial.stderr === '' ? this.#last : [...this.#last, this.#partial.stderr].slice(-LAST_LINES)
  }

  write(level: 'stdout' | 'stderr', bytes: Buffer): void {
    this.#decoders ??= { stdout: new StringDecoder(), stderr: new StringDecoder() }
    const text = this.#partial[level] + this.#decoders[level].write(bytes)
    const end = text.lastIndexOf('\n')
    if (end !== -1) this.#lines(level, text.slice(0, end))
    const rest = text.slice(end + 1)
    if (rest.length > LINE_BYTES_MAX) this.#lines(level, rest)
    this.#partial[level] = rest.length > LINE_BYTES_MAX ? '' : rest
  }

  entry(level: LogLevelName, text: string): void {
    if (this.#heldBytes + text.length > HELD_BYTES_MAX) {
      this.#droppedLines += text.split('\n').length
      return
    }
    this.#heldBytes += text.length
    const before = this.#held.at(-1)
    // Lines of one level become one entry, as long as that stays handy.
    if (before?.level === level && (level === 'stderr' || level === 'stdout') && before.text.length + text.length < LINE_BYTES_MAX) before.text += `\n${text}`
    else this.#held.push({ level, text })
  }

  /** Hands on what is held. */
  flush(): void {
    if (this.#held.length === 0) return
    for (const { level, text } of this.#held) this.#onEntry(level, text, this.#stream)
    if (this.#droppedLines > 0) this.#onEntry('warn', `${this.#droppedLines} lines dropped: they were printed faster than they could be taken.`, this.#stream)
    this.#held.length = 0
    this.#heldBytes = 0
    this.#droppedLines = 0
  }

  /** Nothing more comes: lines without a break are handed on too. */
  end(): void {
    for (const level of ['stdout', 'stderr'] as const) {
      if (this.#partial[level] !== '') this.#lines(level, this.#partial[level])
      this.#partial[level] = ''
    }
    this.flush()
  }

  #lines(level: 'stdout' | 'stderr', text: string): void {
    if (level === 'stderr') {
      this.#last.push(...text.split('\n').slice(-LAST_LINES))
      this.#last.splice(0, this.#last.length - LAST_LINES)
    }
    this.entry(level, text)
  }
}
