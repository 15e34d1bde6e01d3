/**
 * What a measured function is, apart from the platform it runs on: fields in, a reply out, and links to what the platform has.
 *
 * Fields are those of STeLLAR's query and of its messages between functions of a chain (thesis 3.4; src/benchmarking/networking at 6e25342): texts,
 * lists as `[a b]`. The same fields come as a query, as a JSON body or as an event, so an adapter (on-*.ts) only has to find them and the links.
 *
 *   W1. No function writes down anything but its reply; nothing here is imported from outside of this folder, as it is deployed as it is.
 *   W2. Timestamps are milliseconds since 1970 with a fraction, of the clock that all processes of a machine share.
 */

/** By the names of STeLLAR, where there is one. */
export interface Fields {
  readonly [name: string]: unknown
}

export interface Reply {
  readonly RequestID: string
  readonly TimestampChain: readonly string[]
  /** Of trace-work, In-Vitro's names: what it took and touched. */
  readonly durationInMicroSec?: number
  readonly memoryUsageInKb?: number
}

/** What the platform gives: absent when it has no such thing. */
export interface Links {
  readonly requestId: string
  now(): number | Promise<number>
  invoke?(id: string, fields: Fields): Promise<Reply>
  put?(bucket: string, key: string, bytes: Uint8Array): Promise<unknown>
  get?(bucket: string, key: string): Promise<Uint8Array>
  /** Memory to fill that goes by reference without a copy. */
  allocate?(bytes: number): Uint8Array
  putReference?(bytes: Uint8Array): Promise<string>
  getReference?(reference: string): Promise<Uint8Array>
}

export type Work = (fields: Fields, links: Links) => Reply | Promise<Reply>

/** @throws RangeError for what is no number from 0. */
export function numberOf(fields: Fields, name: string): number {
  const value = fields[name] ?? 0
  const number = Number(value)
  if (!(number >= 0 && number < Infinity)) throw new RangeError(`${name}: ${JSON.stringify(value)} is no number from 0; leave it out or correct it`)
  return number
}

/** `[a b]` as Go prints a list; names have no spaces. */
export function listOf(value: unknown): string[] {
  return String(value ?? '').replace(/^\[|\]$/g, '').split(' ').filter((item) => item !== '')
}

/** Fields of a query and, over them, of a JSON body. */
export function fieldsOf(query: Iterable<readonly [string, string]>, body: string): Fields {
  const parsed = body === '' ? {} : (JSON.parse(body) as unknown)
  return { ...Object.fromEntries(query), ...(parsed as object) }
}

let offset: number | undefined

/**
 * W2. Date.now() has whole milliseconds, and the time since a process began has another beginning in each, which moves apart from it when the clock is
 * slewed. So the two are tied to each other at an edge of the first one, once, in less than a millisecond, and again whenever they contradict
 * each other: after a restore from a snapshot, too.
 */
export function preciseNow(): number {
  offset ??= atEdge()
  const [whole, precise] = [Date.now(), offset + performance.now()]
  if (precise >= whole - SLACK_MS && precise < whole + 1 + SLACK_MS) return precise
  offset = Math.abs(precise - whole) > 2 ? atEdge() : offset + (precise < whole ? whole - precise : whole + 1 - precise)
  return offset + performance.now()
}

/** The two clocks are read one after the other. */
const SLACK_MS = 0.01

/** Where Date.now() goes on: the offset, as exact as the two looks beside the edge are near each other. One at which this thread lost its core is not taken. */
function atEdge(): number {
  let best = { offset: 0, widthMs: Infinity }
  for (let attempt = 0; attempt < EDGES_MAX && best.widthMs > SLACK_MS; attempt++) {
    const before = Date.now()
    let lastMs = performance.now()
    for (;;) {
      const now = Date.now()
      const ms = performance.now()
      const widthMs = ms - lastMs
      if (now !== before) {
        if (widthMs < best.widthMs) best = { offset: now - (lastMs + ms) / 2, widthMs }
        break
      }
      lastMs = ms
    }
  }
  return best.offset
}

const EDGES_MAX = 8
