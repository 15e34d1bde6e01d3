/**
 * Sends the spans of sampled invocations to an OpenTelemetry collector: OTLP over HTTP, in JSON, in batches.
 *
 * Own code: the SDK needs 148 ms to be imported, and what is needed of it is a POST. Off unless the usual variables name
 * an endpoint. It never slows an invocation: `add` is a test and a push.
 *
 * Invariants:
 *   X1. At most `queueMax` records wait; more are dropped and counted.
 *   X2. One request at a time. What may help is tried again with growing waits (429, 502, 503, 504, no connection;
 *       Retry-After is obeyed); after `attemptsMax`, or any other refusal, the batch is dropped and counted.
 *   X3. `close` sends what waits once, within `timeoutMs`.
 *
 * Source: OpenTelemetry, OTLP specification (OTLP/HTTP: failures, retryable codes) and environment variables of exporters.
 */
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Clock, Timer } from '#base/clock.ts'
import { silentLog } from '#base/log.ts'
import type { Log } from '#base/log.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { otlpTraces, spansOf } from './otlp.ts'

export interface TraceExporterConfig {
  /** Where to POST, in full. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly resource: Readonly<Record<string, string>>
  /** Longest wait for an answer, ms. */
  readonly timeoutMs: number
  /** Longest wait of a record for company, ms. */
  readonly batchMs: number
  /** Most invocations in one request. */
  readonly batchMax: number
  readonly queueMax: number
  readonly attemptsMax: number
  /** Wait before the second attempt, ms; doubles each time. */
  readonly backoffMs: number
}

export const traceExporterDefaults = { timeoutMs: 10_000, batchMs: 1000, batchMax: 256, queueMax: 4096, attemptsMax: 5, backoffMs: 500 }

/**
 * What OTEL_* variables ask for.
 *
 * @returns undefined when tracing is off: no endpoint, or OTEL_SDK_DISABLED. A variable that can't be used is left out
 * and told to the log, because a wrong variable must not keep a platform from starting.
 */
export function traceConfigFromEnvironment(environment: NodeJS.ProcessEnv, log: Log = silentLog): TraceExporterConfig | undefined {
  if (environment['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return undefined
  const own = environment['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']
  const base = environment['OTEL_EXPORTER_OTLP_ENDPOINT']
  const wanted = own || (base ? `${base.replace(/\/+$/, '')}/v1/traces` : '')
  if (wanted === '') return undefined
  const url = URL.canParse(wanted) ? new URL(wanted) : undefined
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    log.warn('traces are off: the OTLP endpoint is no http or https URL', { endpoint: wanted })
    return undefined
  }
  const protocol = environment['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] ?? environment['OTEL_EXPORTER_OTLP_PROTOCOL'] ?? 'http/json'
  if (protocol !== 'http/json') log.warn('traces are sent as http/json, the only protocol here; the usual collectors take it on port 4318', { protocol })
  const timeoutMs = Number(environment['OTEL_EXPORTER_OTLP_TRACES_TIMEOUT'] ?? environment['OTEL_EXPORTER_OTLP_TIMEOUT'])
  return {
    ...traceExporterDefaults,
    url: url.href,
    headers: parsePairs(environment['OTEL_EXPORTER_OTLP_TRACES_HEADERS'] ?? environment['OTEL_EXPORTER_OTLP_HEADERS'] ?? '', log),
    resource: { ...parsePairs(environment['OTEL_RESOURCE_ATTRIBUTES'] ?? '', log), ...(environment['OTEL_SERVICE_NAME'] ? { 'service.name': environment['OTEL_SERVICE_NAME'] } : {}) },
    ...(timeoutMs > 0 && { timeoutMs }),
  }
}

/** `a=1,b=2` with values percent-encoded, as the specification writes lists. */
export function parsePairs(text: string, log: Log = silentLog): Record<string, string> {
  const pairs: [string, string][] = []
  for (const part of text.split(',')) {
    if (part.trim() === '') continue
    const at = part.indexOf('=')
    const name = part.slice(0, Math.max(0, at)).trim()
    try {
      const value = decodeURIComponent(part.slice(at + 1).trim())
      if (name === '' || /[\r\n]/.test(value)) throw new Error('no name, or a line feed')
      pairs.push([name, value])
    } catch {
      // Not the value: it may be a secret.
      log.warn('an entry of an OTEL_ variable is no name=value and was left out', { name })
    }
  }
  return Object.fromEntries(pairs)
}

export type SendResult = { readonly kind: 'sent' } | { readonly kind: 'again'; readonly afterMs: number; readonly why: string } | { readonly kind: 'refused'; readonly why: string }

export class TraceExporter {
  readonly #config: TraceExporterConfig
  readonly #clock: Clock
  readonly #log: Log
  readonly #random: () => number
  #queue: InvocationRecord[] = []
  #timer: Timer | undefined
  #sending: Promise<void> | undefined
  #closed = false
  #attempt = 0
  #batch: InvocationRecord[] = []
  sent = 0
  dropped = 0

  constructor(options: { readonly config: TraceExporterConfig; readonly clock: Clock; readonly random: () => number; readonly log?: Log }) {
    this.#config = options.config
    this.#clock = options.clock
    this.#random = options.random
    this.#log = options.log ?? silentLog
  }

  /** Takes in the record of an invocation that ended; those that are not sampled are left alone. */
  add(record: InvocationRecord): void {
    if (this.#closed || !isSampledFlag(record.traceparent.charCodeAt(record.traceparent.length - 1))) return
    if (this.#queue.length >= this.#config.queueMax) {
      this.dropped++
      return
    }
    this.#queue.push(record)
    if (this.#queue.length >= this.#config.batchMax && this.#batch.length === 0) this.#begin()
    else if (this.#batch.length === 0) this.#arm(this.#config.batchMs)
  }

  /** Whether a request is under way. */
  get sending(): boolean {
    return this.#sending !== undefined
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    await this.#sending
    const rest = [...this.#batch, ...this.#queue]
    this.#batch = []
    this.#queue = []
    if (rest.length === 0) return
    const result = await this.#post(rest)
    if (result.kind === 'sent') this.sent += rest.length
    else this.#drop(rest.length, result.why)
  }

  #arm(delayMs: number): void {
    this.#timer ??= this.#clock.after(delayMs, () => {
      this.#timer = undefined
      this.#begin()
    })
  }

  #begin(): void {
    if (this.#sending !== undefined || this.#closed) return
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#batch.length === 0) this.#batch = this.#queue.splice(0, this.#config.batchMax)
    if (this.#batch.length === 0) return
    this.#sending = this.#post(this.#batch).then((result) => {
      this.#sending = undefined
      this.#settle(result)
    })
  }

  #settle(result: SendResult): void {
    if (result.kind === 'again' && ++this.#attempt < this.#config.attemptsMax) {
      // Between half and the whole of the doubled wait: many platforms must not come back at the same moment.
      const backoffMs = this.#config.backoffMs * 2 ** (this.#attempt - 1) * (0.5 + this.#random() / 2)
      if (!this.#closed) this.#arm(Math.max(result.afterMs, backoffMs))
      return
    }
    if (result.kind === 'sent') this.sent += this.#batch.length
    else this.#drop(this.#batch.length, result.why)
    this.#batch = []
    this.#attempt = 0
    if (this.#queue.length > 0 && !this.#closed) this.#arm(this.#queue.length >= this.#config.batchMax ? 0 : this.#config.batchMs)
  }

  #drop(count: number, why: string): void {
    this.dropped += count
    this.#log.warn('traces were dropped: the collector did not take them', { invocations: count, why, url: this.#config.url })
  }

  #post(records: readonly InvocationRecord[]): Promise<SendResult> {
    const resource = { 'service.name': 'skep', ...this.#config.resource }
    const body = Buffer.from(JSON.stringify(otlpTraces(resource, records.flatMap(spansOf))))
    return postJson(this.#config, body, this.#clock.epochMs())
  }
}

function isSampledFlag(digit: number): boolean {
  // '0'..'9' are 48.., 'a'..'f' are 97..: a is even as a digit and odd as a code.
  return digit >= 97 ? (digit & 1) === 0 : (digit & 1) === 1
}

const retryable = new Set([429, 502, 503, 504])

function postJson(config: TraceExporterConfig, body: Buffer, nowMs: number): Promise<SendResult> {
  return new Promise((resolve) => {
    const send = config.url.startsWith('https:') ? requestHttps : requestHttp
    const headers = { 'user-agent': 'skep', ...config.headers, 'content-type': 'application/json', 'content-length': body.length }
    try {
      const request = send(config.url, { method: 'POST', headers, signal: AbortSignal.timeout(config.timeoutMs) }, (response) => {
        response.resume()
        // The answer's body may break off; its status has said all that matters.
        response.on('error', () => {})
        const status = response.statusCode ?? 0
        if (status >= 200 && status < 300) resolve({ kind: 'sent' })
        else if (retryable.has(status)) resolve({ kind: 'again', afterMs: retryAfterMs(response.headers['retry-after'], nowMs), why: `status ${status}` })
        else resolve({ kind: 'refused', why: `status ${status}` })
      })
      request.on('error', (error) => resolve({ kind: 'again', afterMs: 0, why: error.message }))
      request.end(body)
    } catch (thrown) {
      resolve({ kind: 'refused', why: (thrown as Error).message })
    }
  })
}

/** Seconds or a date; at most a minute is waited. */
export function retryAfterMs(header: string | undefined, nowMs: number): number {
  if (header === undefined) return 0
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - nowMs
  return Number.isFinite(ms) ? Math.min(60_000, Math.max(0, ms)) : 0
}
