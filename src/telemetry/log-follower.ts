/**
 * One reader of lines as they are printed. It holds what its consumer has not taken yet, up to a bound; what comes while it
 * is full is counted, and one line in its place says so.
 */
import type { LogLine } from '#contract/invocation-record.ts'

export interface FollowedLine extends LogLine {
  readonly function: string
}

export interface FollowerOptions {
  readonly linesMax: number
  readonly wants: (name: string, line: LogLine) => boolean
  readonly nowMs: () => number
  /** Runs once, when nobody will read any more. */
  readonly ended: () => void
}

export class Follower implements AsyncIterableIterator<FollowedLine> {
  readonly #options: FollowerOptions
  #lines: FollowedLine[] = []
  /** How many of `lines` were taken. */
  #taken = 0
  #skipped = 0
  #ended = false
  /** Until the lines from before are here, the present ones wait behind them. */
  #past: Promise<void> | undefined
  #wake: (() => void) | undefined

  constructor(options: FollowerOptions) {
    this.#options = options
  }

  /** The lines to begin with. */
  begin(past: Promise<FollowedLine[]>): void {
    this.#past = past.then(
      (lines) => {
        this.#lines = [...lines, ...this.#lines.slice(this.#taken)]
        this.#taken = 0
        this.#past = undefined
      },
      () => {
        this.#past = undefined
      },
    )
  }

  /** A line was printed. */
  offer(name: string, line: LogLine): void {
    if (this.#ended || !this.#options.wants(name, line)) return
    if (this.#skipped > 0 || this.#lines.length - this.#taken >= this.#options.linesMax) {
      this.#skipped++
      return
    }
    this.#lines.push({ ...line, function: name })
    this.#wake?.()
  }

  /** No more lines: what is held is still given. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#options.ended()
    this.#wake?.()
  }

  async next(): Promise<IteratorResult<FollowedLine>> {
    for (;;) {
      if (this.#past !== undefined) await this.#past
      if (this.#taken < this.#lines.length) return { done: false, value: this.#take() }
      if (this.#skipped > 0) return { done: false, value: this.#sayWhatWasSkipped() }
      if (this.#ended) return { done: true, value: undefined }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }

  /** The consumer left its loop. */
  async return(): Promise<IteratorResult<FollowedLine>> {
    this.#lines = []
    this.#taken = 0
    this.#skipped = 0
    this.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #take(): FollowedLine {
    const line = this.#lines[this.#taken++]!
    if (this.#taken === this.#lines.length) {
      this.#lines = []
      this.#taken = 0
    }
    return line
  }

  #sayWhatWasSkipped(): FollowedLine {
    const text = `[${this.#skipped} lines were skipped here: the reader was too slow. \`skep logs\` without -f has them]`
    this.#skipped = 0
    return { atMs: this.#options.nowMs(), invocation: '', level: 'warn', text, function: '' }
  }
}
