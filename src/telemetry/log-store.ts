/**
 * What functions print: bounded per invocation, written in batches, read back, and followed live.
 *
 * A line goes to the channel of its function: into an array, and to those who follow. Every few ms the array becomes one
 * row of the journal `logs/<namespace>/<function>`, in the format of log-codec.ts.
 *
 * Invariants:
 *   K1. Of one invocation at most `bytesMax` bytes of text are kept. What is more is dropped, and one last line says how much.
 *   K2. Lines of no invocation (printed while loading, or by a program between requests) have a budget per function and
 *       minute instead, with such a line at its end.
 *   K3. A follower gets every line in order, or a line saying how many it missed: it holds at most `followerLinesMax`, and
 *       never slows whoever prints.
 *   K4. A line that was added is found by `read` at once.
 */
import { Buffer } from 'node:buffer'
import type { Clock, Timer } from '#base/clock.ts'
import { silentLog } from '#base/log.ts'
import type { Log } from '#base/log.ts'
import { acceptedAtMs } from '#contract/ids.ts'
import type { LogLine } from '#contract/invocation-record.ts'
import { JournalRetention } from './journal-retention.ts'
import type { JournalStore, RetentionConfig } from './journal-retention.ts'
import { decodeLines, encodeLines } from './log-codec.ts'
import { Follower } from './log-follower.ts'
import type { FollowedLine } from './log-follower.ts'

export interface LogStoreConfig extends RetentionConfig {
  /** Longest wait of a line before it is written, ms. */
  readonly batchMs: number
  /** Characters of one function that are written at once, without waiting. */
  readonly batchCharsMax: number
  /** Bytes per minute and function of lines that belong to no invocation (K2). */
  readonly unownedBytesPerMinute: number
  /** Lines that a follower may be behind (K3). */
  readonly followerLinesMax: number
  /** Most journal rows that one `read` scans. */
  readonly scanRowsMax: number
}

export const logStoreDefaults: LogStoreConfig = {
  batchMs: 50, batchCharsMax: 48 * 1024, unownedBytesPerMinute: 1024 * 1024, followerLinesMax: 1000, scanRowsMax: 2000,
  daysMax: 14, bytesMax: 4 * 1024 ** 3,
}

export interface LogQuery {
  readonly namespace: string
  readonly function: string
  /** Only lines of this invocation. */
  readonly invocation?: string
  readonly sinceMs?: number
  readonly untilMs?: number
  /** Only lines that contain this, in whatever case. */
  readonly search?: string
  /** Most lines: the newest ones that match. */
  readonly limit: number
}

export interface LogPage {
  /** Oldest first. */
  readonly lines: readonly LogLine[]
  /** Whether older lines were left out, by the limit or because the scan was cut. Ask again with `untilMs` of the oldest. */
  readonly more: boolean
}

export interface FollowOptions {
  readonly namespace: string
  /** Absent: all functions of the namespace. */
  readonly function?: string
  readonly invocation?: string
  /** Newest lines to begin with, from before; needs `function`. Default 0. */
  readonly tail?: number
  /** Ends the following. */
  readonly signal?: AbortSignal
}

/** Where one invocation's lines go. */
export interface InvocationLog {
  add(level: LogLine['level'], text: string, atMs: number): void
  /** Call once when the invocation has ended: says what was dropped (K1). @returns what was kept. */
  end(): { readonly lines: number; readonly bytes: number }
}

export class LogStore {
  readonly #store: JournalStore
  readonly #clock: Clock
  readonly #config: LogStoreConfig
  readonly #log: Log
  readonly #retention: JournalRetention
  readonly #channels = new Map<string, Channel>()
  readonly #followers = new Map<string, Set<Follower>>()
  /** Rows are numbered, so that a follower's past and its present do not overlap. */
  readonly #writer: string
  #rowNumber = 0
  #timer: Timer | undefined
  #dropped = 0

  constructor(options: { readonly store: JournalStore; readonly clock: Clock; readonly config?: Partial<LogStoreConfig>; readonly log?: Log }) {
    this.#store = options.store
    this.#clock = options.clock
    this.#config = { ...logStoreDefaults, ...options.config }
    this.#log = options.log ?? silentLog
    this.#writer = `${process.pid.toString(36)}.${this.#clock.epochMs().toString(36)}`
    this.#retention = new JournalRetention({ store: this.#store, clock: this.#clock, kind: 'logs', config: this.#config, log: this.#log })
  }

  async start(): Promise<void> {
    await this.#retention.start()
  }

  /** A line of no invocation, or one that was bounded elsewhere. */
  add(namespace: string, name: string, line: LogLine): void {
    const channel = this.#channel(namespace, name)
    if (line.invocation !== '') return this.#keep(channel, line)
    const minute = Math.floor(line.atMs / 60_000)
    if (minute !== channel.unowned.minute) {
      const over = channel.unowned.budget.summary(line.atMs)
      if (over !== undefined) this.#keep(channel, over)
      channel.unowned = { minute, budget: new Budget('', this.#config.unownedBytesPerMinute, 'bytes a minute outside of invocations') }
    }
    const kept = channel.unowned.budget.take(line)
    if (kept !== undefined) this.#keep(channel, kept)
  }

  /** @param bytesMax The function's logBytesMax. Cheap enough to be made for each invocation, or at its first line. */
  invocation(options: { readonly namespace: string; readonly function: string; readonly invocation: string; readonly bytesMax: number }): InvocationLog {
    const channel = this.#channel(options.namespace, options.function)
    const budget = new Budget(options.invocation, options.bytesMax, 'bytes of one invocation (logBytesMax)')
    return {
      add: (level, text, atMs) => {
        const kept = budget.take({ atMs, invocation: options.invocation, level, text })
        if (kept !== undefined) this.#keep(channel, kept)
      },
      end: () => {
        const over = budget.summary(this.#clock.epochMs())
        if (over !== undefined) this.#keep(channel, over)
        return { lines: budget.lines, bytes: budget.bytes }
      },
    }
  }

  /** Lines lost since the start because the store refused them. */
  get dropped(): number {
    return this.#dropped
  }

  /** The newest lines that match, oldest first. */
  async read(query: LogQuery): Promise<LogPage> {
    this.#write(this.#channel(query.namespace, query.function))
    return this.#read(query, this.#rowNumber)
  }

  /** Lines as they are printed, until the loop is left or the signal aborts. */
  follow(options: FollowOptions): AsyncIterableIterator<FollowedLine> {
    const follower = new Follower({
      linesMax: this.#config.followerLinesMax,
      wants: (name, line) => (options.function === undefined || name === options.function) && (options.invocation === undefined || line.invocation === options.invocation),
      nowMs: () => this.#clock.epochMs(),
      ended: () => this.#followers.get(options.namespace)?.delete(follower),
    })
    let followers = this.#followers.get(options.namespace)
    if (followers === undefined) this.#followers.set(options.namespace, (followers = new Set()))
    followers.add(follower)
    options.signal?.addEventListener('abort', () => follower.end(), { once: true })
    if (options.signal?.aborted === true) follower.end()
    const { namespace, function: name, tail = 0, invocation } = options
    if (name !== undefined && tail > 0) {
      // What has been added until now is written now, and is the past; the follower gets what comes from now on.
      this.#write(this.#channel(namespace, name))
      const past = this.#read({ namespace, function: name, limit: tail, ...(invocation !== undefined && { invocation }) }, this.#rowNumber)
      follower.begin(past.then(({ lines }) => lines.map((line) => ({ ...line, function: name }))))
    }
    return follower
  }

  /** Writes what waits, ends all followers and stops. */
  async close(): Promise<void> {
    this.#writeAll()
    for (const followers of this.#followers.values()) for (const follower of followers) follower.end()
    await this.#retention.stop()
  }

  trim(): Promise<number> {
    return this.#retention.round()
  }

  #channel(namespace: string, name: string): Channel {
    const journal = `logs/${namespace}/${name}`
    let channel = this.#channels.get(journal)
    if (channel === undefined) {
      let followers = this.#followers.get(namespace)
      if (followers === undefined) this.#followers.set(namespace, (followers = new Set()))
      channel = { journal, name, followers, lines: [], chars: 0, unowned: { minute: -1, budget: new Budget('', 0, '') } }
      this.#channels.set(journal, channel)
    }
    return channel
  }

  #keep(channel: Channel, line: LogLine): void {
    channel.lines.push(line)
    channel.chars += line.text.length + 64
    for (const follower of channel.followers) follower.offer(channel.name, line)
    if (channel.chars >= this.#config.batchCharsMax) this.#write(channel)
    else this.#timer ??= this.#clock.after(this.#config.batchMs, () => this.#writeAll())
  }

  #writeAll(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    for (const channel of this.#channels.values()) if (channel.lines.length > 0) this.#write(channel)
  }

  #write(channel: Channel): void {
    const { lines } = channel
    if (lines.length === 0) return
    channel.lines = []
    channel.chars = 0
    const row = encodeLines({ v: 1, w: this.#writer, n: ++this.#rowNumber }, lines)
    try {
      this.#store.append(channel.journal, [{ atMs: this.#clock.epochMs(), row }])
      this.#retention.note(channel.journal, row.length)
    } catch (error) {
      this.#dropped += lines.length
      this.#log.error('log lines of a function were lost: the store refused them', { journal: channel.journal, lines: lines.length, error })
    }
  }

  /** @param upTo Of the rows of this process, only those numbered up to this. */
  async #read(query: LogQuery, upTo: number): Promise<LogPage> {
    const search = query.search?.toLowerCase()
    const found: LogLine[] = []
    const fromMs = Math.max(query.sinceMs ?? 0, query.invocation === undefined ? 0 : acceptedAtMs(query.invocation) - LATE_MS)
    const window = { fromMs, ...(query.untilMs !== undefined && { untilMs: query.untilMs + LATE_MS }), order: 'newest-first' as const }
    let scanned = 0
    for await (const { row } of this.#store.read(`logs/${query.namespace}/${query.function}`, window)) {
      if (++scanned > this.#config.scanRowsMax) return { lines: found.reverse(), more: true }
      if (scanned % ROWS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve))
      if (query.invocation !== undefined && !row.includes(query.invocation)) continue
      const block = decodeLines(row)
      if (block === undefined || (block.head.w === this.#writer && block.head.n > upTo)) continue
      for (const line of block.lines.reverse()) {
        const matches =
          (query.invocation === undefined || line.invocation === query.invocation) &&
          line.atMs >= (query.sinceMs ?? 0) && line.atMs < (query.untilMs ?? Infinity) &&
          (search === undefined || line.text.toLowerCase().includes(search))
        if (!matches) continue
        if (found.length >= query.limit) return { lines: found.reverse(), more: true }
        found.push(line)
      }
    }
    return { lines: found.reverse(), more: false }
  }
}

/** A row may lie this much later in its journal than its lines were printed. */
const LATE_MS = 2000
const ROWS_PER_TURN = 16

interface Channel {
  readonly journal: string
  readonly name: string
  readonly followers: Set<Follower>
  lines: LogLine[]
  chars: number
  unowned: { readonly minute: number; readonly budget: Budget }
}

/** How much may still be kept (K1). */
class Budget {
  readonly #invocation: string
  readonly #bytesMax: number
  readonly #meaning: string
  lines = 0
  bytes = 0
  #droppedBytes = 0

  constructor(invocation: string, bytesMax: number, meaning: string) {
    this.#invocation = invocation
    this.#bytesMax = bytesMax
    this.#meaning = meaning
  }

  /** @returns the line, its beginning if only that fits, or undefined. */
  take(line: LogLine): LogLine | undefined {
    const bytes = Buffer.byteLength(line.text)
    const left = this.#bytesMax - this.bytes
    if (this.#droppedBytes === 0 && bytes <= left) {
      this.bytes += bytes
      this.lines++
      return line
    }
    // After the first cut nothing more is kept, so that what is kept has no holes.
    const text = this.#droppedBytes === 0 && left > 0 ? beginning(line.text, left) : ''
    const keptBytes = Buffer.byteLength(text)
    this.#droppedBytes += bytes - keptBytes
    if (text === '') return undefined
    this.bytes += keptBytes
    this.lines++
    return { ...line, text }
  }

  /** The last line, if anything was dropped. */
  summary(atMs: number): LogLine | undefined {
    if (this.#droppedBytes === 0) return undefined
    const text = `[${this.#droppedBytes} more bytes were dropped: the limit is ${this.#bytesMax} ${this.#meaning}]`
    return { atMs, invocation: this.#invocation, level: 'warn', text }
  }
}

/** As much of the text as fits, without half a character. */
function beginning(text: string, bytesMax: number): string {
  // A character has at least one byte, so the first bytesMax are enough to look at.
  const { read } = new TextEncoder().encodeInto(text.slice(0, bytesMax), new Uint8Array(bytesMax))
  return text.slice(0, read)
}
