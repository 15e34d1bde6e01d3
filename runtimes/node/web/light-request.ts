/**
 * `Request`, made from a frame at no cost: URL, headers and body come into being when they are asked for.
 *
 * Text, JSON and bytes of a request whose body is here are given without a stream; everything rarely used is answered by
 * Node's own Request, made at that moment. The class also stands in for the global `Request`, so that code can make,
 * copy and fetch requests of either kind.
 *
 * Invariants:
 *   LQ1. Once `#real` exists it has the body; before, `#bodyUsed` tells whether it was taken from here.
 */
import { inspect } from 'node:util'
import { INLINE_BYTES_MAX } from '../../../src/contract/frames.ts'
import type { Invocation } from '../invocation.ts'
import { ownBytes } from '../memory.ts'
import { LightHeaders } from './light-headers.ts'
import { isInstance, realRequest } from './real.ts'

/** Only {@link LightRequest.fromInvocation} makes requests without a URL. */
const fromFrame = Symbol('from frame')
const NO_HEADERS: readonly string[] = []
const EVENT_HEADERS: readonly string[] = ['content-type', 'application/json']
const BINARY_HEADERS: readonly string[] = ['content-type', 'application/octet-stream']

export class LightRequest {
  #invocation: Invocation | undefined
  #url: string | undefined
  #headers: LightHeaders | undefined
  #real: Request | undefined
  #bodyUsed = false

  constructor(input: RequestInfo | URL | typeof fromFrame, init?: RequestInit) {
    if (input === fromFrame) return
    this.#real = arguments.length === 0 ? new (realRequest() as unknown as new () => Request)() : new (realRequest())(LightRequest.realOf(input) as RequestInfo, init)
  }

  static fromInvocation(invocation: Invocation): LightRequest {
    const request = new LightRequest(fromFrame)
    request.#invocation = invocation
    return request
  }

  /** Node's own object for a light request; any other value as it is. */
  static realOf(value: unknown): unknown {
    return typeof value === 'object' && value !== null && #bodyUsed in value ? value.#toReal() : value
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, LightRequest, value, 'Request')
  }

  get method(): string {
    return this.#real?.method ?? methodOf(this.#invocation!)
  }

  get url(): string {
    return this.#real?.url ?? (this.#url ??= urlOf(this.#invocation!))
  }

  get headers(): Headers {
    if (this.#headers === undefined) {
      if (this.#invocation === undefined) return this.#real!.headers
      const { h, k, b } = this.#invocation.head
      // A call has no headers of its own, and says what its body is.
      this.#headers = LightHeaders.fromRaw(b === true && headerOf(h, 'content-type') === undefined ? [...(h ?? []), ...BINARY_HEADERS] : (h ?? (k === 'event' ? EVENT_HEADERS : NO_HEADERS)))
    }
    return this.#headers as unknown as Headers
  }

  get signal(): AbortSignal {
    return this.#invocation?.signal ?? this.#real!.signal
  }

  get body(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    if (this.#real === undefined && !hasBody(this.#invocation!)) return null
    return this.#toReal().body
  }

  get bodyUsed(): boolean {
    return this.#bodyUsed || (this.#real?.bodyUsed ?? false)
  }

  async text(): Promise<string> {
    if (this.#real !== undefined) return this.#real.text()
    // As the standard decodes: a byte order mark is dropped.
    const text = (await this.#take()).toString()
    return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
  }

  async json(): Promise<unknown> {
    return this.#real === undefined ? JSON.parse(await this.text()) : this.#real.json()
  }

  async bytes(): Promise<Uint8Array> {
    return this.#real === undefined ? ownBytes(await this.#take()) : this.#real.bytes()
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return this.#real === undefined ? ownBytes(await this.#take()).buffer : this.#real.arrayBuffer()
  }

  async blob(): Promise<Blob> {
    return this.#toReal().blob()
  }

  async formData(): Promise<FormData> {
    return this.#toReal().formData()
  }

  textStream(): ReadableStream<string> {
    return (this.#toReal() as unknown as { textStream(): ReadableStream<string> }).textStream()
  }

  attribute(...args: unknown[]): unknown {
    return (this.#toReal() as unknown as { attribute(...args: unknown[]): unknown }).attribute(...args)
  }

  clone(): Request {
    const copy = new LightRequest(fromFrame)
    copy.#real = this.#toReal().clone()
    return copy as unknown as Request
  }

  get cache(): RequestCache {
    return this.#toReal().cache
  }

  get credentials(): RequestCredentials {
    return this.#toReal().credentials
  }

  get destination(): RequestDestination {
    return this.#toReal().destination
  }

  get integrity(): string {
    return this.#toReal().integrity
  }

  get keepalive(): boolean {
    return this.#toReal().keepalive
  }

  get mode(): RequestMode {
    return this.#toReal().mode
  }

  get redirect(): RequestRedirect {
    return this.#toReal().redirect
  }

  get referrer(): string {
    return this.#toReal().referrer
  }

  get referrerPolicy(): ReferrerPolicy {
    return this.#toReal().referrerPolicy
  }

  get isReloadNavigation(): boolean {
    return (this.#toReal() as unknown as { isReloadNavigation: boolean }).isReloadNavigation
  }

  get isHistoryNavigation(): boolean {
    return (this.#toReal() as unknown as { isHistoryNavigation: boolean }).isHistoryNavigation
  }

  get duplex(): string {
    return 'half'
  }

  get [Symbol.toStringTag](): string {
    return 'Request'
  }

  [inspect.custom](_depth: number, options: object): string {
    const { method, url, headers, bodyUsed } = this
    return `Request ${inspect({ method, url, headers, bodyUsed }, options)}`
  }

  async #take(): Promise<Buffer> {
    if (this.#bodyUsed) throw new TypeError('Body is unusable: Body has already been read')
    const { body } = this.#invocation!
    if (!hasBody(this.#invocation!)) return body.takeAll()
    this.#bodyUsed = true
    return body.isComplete ? body.takeAll() : body.readAll()
  }

  #toReal(): Request {
    if (this.#real !== undefined) return this.#real
    const invocation = this.#invocation!
    const { method, url, headers } = this
    const init: RequestInit & { duplex?: 'half' } = { method, headers, signal: invocation.signal }
    if (hasBody(invocation) && method !== 'GET' && method !== 'HEAD' && !this.#bodyUsed) {
      init.body = invocation.body.isComplete && invocation.body.bytesHeld <= INLINE_BYTES_MAX ? new Uint8Array(invocation.body.takeAll()) : invocation.body.stream()
      init.duplex = 'half'
    }
    const Real = realRequest()
    const real = new Real(url, init)
    // A real one whose body is gone, for whoever clones it or asks for its body: it must refuse, as the standard's does.
    if (this.#bodyUsed && method !== 'GET' && method !== 'HEAD') {
      const used = new Real(url, { ...init, body: '' })
      void used.text()
      return (this.#real = used)
    }
    return (this.#real = real)
  }
}

for (const name of Object.getOwnPropertyNames(LightRequest.prototype)) {
  if (name !== 'constructor') Object.defineProperty(LightRequest.prototype, name, { enumerable: true })
}
Object.defineProperty(LightRequest, 'name', { value: 'Request' })
Object.defineProperty(LightRequest, 'length', { value: 1 })

export function methodOf(invocation: Invocation): string {
  return invocation.head.m ?? (invocation.head.k === 'event' ? 'POST' : 'GET')
}

/** The absolute URL: scheme and host as the client saw them, path and query from the function's own root. */
export function urlOf(invocation: Invocation): string {
  const { h, u } = invocation.head
  const host = headerOf(h, 'x-forwarded-host') ?? headerOf(h, 'host') ?? 'localhost'
  const scheme = headerOf(h, 'x-forwarded-proto') === 'https' ? 'https' : 'http'
  // Joined as text: resolved against a base, a path that begins with "//" would become another host.
  const path = u === undefined ? '/' : u.startsWith('/') ? u : `/${u}`
  try {
    return new URL(`${scheme}://${host}${path}`).href
  } catch {
    return new URL(`http://localhost${path}`).href
  }
}

export function headerOf(headers: readonly string[] | undefined, name: string): string | undefined {
  if (headers !== undefined) for (let at = 0; at < headers.length; at += 2) if (headers[at] === name) return headers[at + 1]
  return undefined
}

/** A request without content has a null body; one with a body of no bytes cannot be told apart, and has none either. */
function hasBody(invocation: Invocation): boolean {
  const { body } = invocation
  return !body.isComplete || body.hasBytes || body.wasRead
}
