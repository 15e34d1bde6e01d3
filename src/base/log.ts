/**
 * The platform's own log: one JSON object per line on stderr, or one readable line on a terminal.
 *
 * It is for what an operator has to know; what a function prints goes to telemetry/log-store.ts. Own code and not pino:
 * nothing here is on the path of a warm invocation, and pino would add 11 ms to the start of every process.
 *
 * Invariants:
 *   O1. Lines come out in the order they were written, whole.
 *   O2. `warn` and `error` are on their way to the kernel when the call returns; lesser lines within `delayMs`, or when the process exits.
 *   O3. Writing never throws, whatever the fields are, and never waits more than {@link STALL_MS}: a reader that does not
 *       read costs lines, which are counted and reported.
 */
import { writeSync } from 'node:fs'

export type Severity = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = Readonly<Record<string, unknown>>

export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** Whether lines of this severity are written: to avoid making costly fields for nothing. */
  enabled(severity: Severity): boolean
  /** A log whose lines carry these fields as well. */
  child(fields: LogFields): Log
}

/** Where lines go. */
export interface LogSink {
  /** @param line Ends with a newline. @param urgent Not to be buffered. */
  write(line: string, urgent: boolean): void
}

export interface LogOptions {
  /** The least severity that is written. */
  readonly severity: Severity
  readonly format: 'json' | 'pretty'
  readonly sink: LogSink
  readonly nowMs: () => number
  /** Whether `pretty` uses colours. */
  readonly colours?: boolean
}

const ranks: Readonly<Record<Severity, number>> = { debug: 0, info: 1, warn: 2, error: 3 }
const colourCodes: Readonly<Record<Severity, number>> = { debug: 90, info: 36, warn: 33, error: 31 }

/** A log with these options. */
export function createLog(options: LogOptions): Log {
  return new FieldLog(options, {})
}

/** The log of a process: pretty on a terminal, JSON otherwise; SKEP_LOG names the least severity. */
export function processLog(environment: NodeJS.ProcessEnv = process.env): Log {
  const wanted = environment['SKEP_LOG'] ?? 'info'
  const pretty = process.stderr.isTTY
  return createLog({
    severity: isSeverity(wanted) ? wanted : 'info',
    format: pretty ? 'pretty' : 'json',
    sink: stderrSink(),
    nowMs: Date.now,
    colours: pretty && environment['NO_COLOR'] === undefined,
  })
}

export function isSeverity(text: string): text is Severity {
  return Object.hasOwn(ranks, text)
}

/** For parts that are used without a platform, and for tests. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, enabled: () => false, child: () => silentLog }

class FieldLog implements Log {
  readonly #options: LogOptions
  readonly #fields: LogFields
  readonly #rank: number

  constructor(options: LogOptions, fields: LogFields) {
    this.#options = options
    this.#fields = fields
    this.#rank = ranks[options.severity]
  }

  debug(message: string, fields?: LogFields): void {
    if (this.#rank <= 0) this.#write('debug', message, fields)
  }

  info(message: string, fields?: LogFields): void {
    if (this.#rank <= 1) this.#write('info', message, fields)
  }

  warn(message: string, fields?: LogFields): void {
    if (this.#rank <= 2) this.#write('warn', message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields)
  }

  enabled(severity: Severity): boolean {
    return ranks[severity] >= this.#rank
  }

  child(fields: LogFields): Log {
    return new FieldLog(this.#options, { ...this.#fields, ...fields })
  }

  #write(severity: Severity, message: string, fields: LogFields | undefined): void {
    const { format, nowMs, sink, colours } = this.#options
    const all = { ...this.#fields, ...fields }
    const at = new Date(nowMs()).toISOString()
    const line = format === 'json' ? jsonLine(at, severity, message, all) : prettyLine(at, severity, message, all, colours === true)
    sink.write(line, ranks[severity] >= ranks.warn)
  }
}

function jsonLine(at: string, severity: Severity, message: string, fields: LogFields): string {
  // The fixed names come first and win: a field called `message` must not hide the message.
  return jsonText({ at, severity, message, ...withoutFixed(fields) }) + '\n'
}

function withoutFixed(fields: LogFields): LogFields {
  if (!('at' in fields || 'severity' in fields || 'message' in fields)) return fields
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name === 'at' || name === 'severity' || name === 'message' ? `${name}_` : name, value]))
}

function prettyLine(at: string, severity: Severity, message: string, fields: LogFields, colours: boolean): string {
  let rest = ''
  let stacks = ''
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue
    if (value instanceof Error && value.stack !== undefined) stacks += `\n    ${value.stack.replaceAll('\n', '\n    ')}`
    const text = value instanceof Error ? JSON.stringify(value.message) : typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : jsonText(value)
    rest += ` ${name}=${text}`
  }
  const label = severity.padEnd(5)
  const head = colours ? `\x1b[90m${at.slice(11, 23)}\x1b[0m \x1b[${colourCodes[severity]}m${label}\x1b[0m` : `${at.slice(11, 23)} ${label}`
  return `${head} ${message.replaceAll('\n', ' ')}${rest}${stacks}\n`
}

/** JSON of whatever it is: errors with their chain of causes, big integers as text, cycles and failing getters named (O3). */
function jsonText(value: unknown): string {
  try {
    return JSON.stringify(value, replaceSpecial) ?? 'null'
  } catch (thrown) {
    return JSON.stringify({ unprintable: String((thrown as Error).message), message: String((value as { message?: unknown } | null)?.message ?? '') })
  }
}

function replaceSpecial(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  if (!(value instanceof Error)) return value
  const code = (value as { code?: unknown }).code
  return { name: value.name, ...(code !== undefined && { code }), message: value.message, stack: value.stack, ...(value.cause !== undefined && { cause: value.cause }) }
}

/** Longest time that one write waits for a reader of stderr. */
const STALL_MS = 50

export interface SinkOptions {
  readonly descriptor?: number
  /** How long lines that are not urgent may wait for company. */
  readonly delayMs?: number
  /** How much may wait; then it is written at once. */
  readonly bufferBytesMax?: number
  /** As fs.writeSync: handed in for tests. @returns bytes written. */
  readonly write?: (descriptor: number, bytes: Uint8Array, offset: number) => number
}

/** Lines to a file descriptor, by default stderr: buffered, and written synchronously when it matters (O2, O3). */
export function stderrSink(options: SinkOptions = {}): LogSink & { flush(): void } {
  const { descriptor = 2, delayMs = 20, bufferBytesMax = 16 * 1024, write = writeSync } = options
  let buffered = ''
  let lost = 0
  let timer: NodeJS.Timeout | undefined

  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (buffered === '') return
    const note = lost > 0 ? `{"severity":"warn","message":"${lost} log lines were lost: the reader of this log was too slow"}\n` : ''
    const bytes = Buffer.from(note + buffered)
    const lines = buffered.split('\n').length - 1
    buffered = ''
    lost = writeAll(descriptor, bytes, write) ? 0 : lost + lines
  }
  process.on('exit', flush)
  return {
    flush,
    write(line, urgent) {
      buffered += line
      if (urgent || buffered.length >= bufferBytesMax) flush()
      else timer ??= setTimeout(flush, delayMs).unref()
    },
  }
}

const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** @returns whether all of it was taken. A pipe that is full answers EAGAIN; it is asked again for {@link STALL_MS}. */
function writeAll(descriptor: number, bytes: Uint8Array, write: NonNullable<SinkOptions['write']>): boolean {
  let offset = 0
  let waitedMs = 0
  while (offset < bytes.length) {
    try {
      offset += write(descriptor, bytes, offset)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EAGAIN' || waitedMs >= STALL_MS) return false
      Atomics.wait(sleeper, 0, 0, 1)
      waitedMs++
    }
  }
  return true
}
