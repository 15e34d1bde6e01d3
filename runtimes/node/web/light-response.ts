/**
 * `Response`, without streams for bodies that are text or bytes.
 *
 * `new Response('hello')` costs Node 7 µs and loads its fetch classes; here it keeps the text, and the runtime sends it as
 * it is. Whatever is out of the ordinary (a stream, FormData, an unusual init, reading the body back) makes the real one.
 * The idea is @hono/node-server's; the code is ours.
 *
 * Invariants:
 *   LR1. Either `#real` is set, or the body is text, bytes or null and has not been read.
 *   LR2. What the constructor accepts and throws is what Node's own accepts and throws (light.test.ts).
 */
import { inspect } from 'node:util'
import { LightHeaders } from './light-headers.ts'
import { isInstance, isReal, realResponse } from './real.ts'

const TEXT_TYPE = 'text/plain;charset=UTF-8'
const NO_HEADERS: readonly string[] = []
const TEXT_HEADERS: readonly string[] = ['content-type', TEXT_TYPE]
const JSON_HEADERS: readonly string[] = ['content-type', 'application/json']

/** What the runtime sends of a response. */
export interface ResponseParts {
  readonly status: number
  /** name, value, …; names in lower case. */
  readonly headers: readonly string[]
  readonly body: string | Uint8Array | ReadableStream<Uint8Array> | null
}

export class LightResponse {
  #status = 200
  #statusText = ''
  #raw: readonly string[] = NO_HEADERS
  #headers: LightHeaders | undefined
  #body: string | Uint8Array | null = null
  #real: Response | undefined

  constructor(body?: BodyInit | null, init?: ResponseInit) {
    const light = typeof body === 'string' ? body : body === undefined || body === null ? null : body instanceof Uint8Array && !isShared(body) ? body.slice() : undefined
    if (light === undefined || !this.#takeInit(light, init)) {
      this.#real = new (realResponse())(body, init)
    }
  }

  static json(data: unknown, init?: ResponseInit): Response {
    const text = JSON.stringify(data) as string | undefined
    if (text === undefined) {
      return realResponse().json(data, init)
    }
    const response = new LightResponse(null)
    if (init === undefined) {
      response.#body = text
      response.#raw = JSON_HEADERS
    } else {
      const headers = new LightHeaders(init?.headers)
      if (!headers.has('content-type')) headers.set('content-type', 'application/json')
      return new LightResponse(text, { status: init?.status ?? 200, statusText: init?.statusText ?? '', headers: headers as unknown as Headers }) as unknown as Response
    }
    return response as unknown as Response
  }

  static redirect(url: string | URL, status?: number): Response {
    return realResponse().redirect(url, status)
  }

  static error(): Response {
    return realResponse().error()
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, LightResponse, value, 'Response')
  }

  /** The text of a response that is nothing but a text with status 200; undefined for any other. */
  static plainTextOf(value: unknown): string | undefined {
    if (typeof value !== 'object' || value === null || !(#body in value)) return undefined
    const plain = value.#raw === TEXT_HEADERS && value.#real === undefined && value.#headers === undefined && value.#status === 200
    return plain ? (value.#body as string) : undefined
  }

  /** The parts of a light or real response; undefined when it is neither. @throws Error when its body has been used. */
  static partsOf(value: unknown): ResponseParts | undefined {
    if (typeof value !== 'object' || value === null) return undefined
    if (#body in value) {
      if (value.#real === undefined) return { status: value.#status, headers: value.#headers === undefined ? value.#raw : flat(value.#headers), body: value.#body }
      return realParts(value.#real, value.#headers)
    }
    return isReal(value, 'Response') ? realParts(value as Response, undefined) : undefined
  }

  /** Node's own object for this or any other response. */
  static realOf(value: unknown): unknown {
    return typeof value === 'object' && value !== null && #body in value ? value.#toReal() : value
  }

  get status(): number {
    return this.#real?.status ?? this.#status
  }

  get ok(): boolean {
    return this.status >= 200 && this.status <= 299
  }

  get statusText(): string {
    return this.#real?.statusText ?? this.#statusText
  }

  get headers(): Headers {
    if (this.#headers === undefined) {
      if (this.#real !== undefined) return this.#real.headers
      this.#headers = LightHeaders.fromRaw(this.#raw)
    }
    return this.#headers as unknown as Headers
  }

  get type(): ResponseType {
    return this.#real?.type ?? 'default'
  }

  get url(): string {
    return this.#real?.url ?? ''
  }

  get redirected(): boolean {
    return this.#real?.redirected ?? false
  }

  get body(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    return this.#real === undefined && this.#body === null ? null : this.#toReal().body
  }

  get bodyUsed(): boolean {
    return this.#real?.bodyUsed ?? false
  }

  async text(): Promise<string> {
    return this.#toReal().text()
  }

  async json(): Promise<unknown> {
    return this.#toReal().json()
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return this.#toReal().arrayBuffer()
  }

  async bytes(): Promise<Uint8Array> {
    return this.#toReal().bytes()
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

  clone(): Response {
    const copy = new LightResponse(null)
    copy.#status = this.#status
    copy.#statusText = this.#statusText
    copy.#raw = this.#raw
    copy.#body = this.#body
    if (this.#headers !== undefined) copy.#headers = new LightHeaders(this.#headers as unknown as Headers)
    if (this.#real !== undefined) copy.#real = this.#real.clone()
    return copy as unknown as Response
  }

  get [Symbol.toStringTag](): string {
    return 'Response'
  }

  [inspect.custom](_depth: number, options: object): string {
    const { status, statusText, headers, bodyUsed, ok, redirected, type, url } = this
    return `Response ${inspect({ status, statusText, headers, bodyUsed, ok, redirected, type, url }, options)}`
  }

  /** Takes an ordinary init. False: let the real class decide, and throw. */
  #takeInit(body: string | Uint8Array | null, init: ResponseInit | undefined): boolean {
    if (init === undefined) {
      if (typeof body === 'string') this.#raw = TEXT_HEADERS
      this.#body = body
      return true
    }
    if (init === null || typeof init !== 'object') return false
    const { status = 200, statusText = '', headers } = init
    if (typeof status !== 'number' || !(status >= 200 && status <= 599) || !Number.isInteger(status)) return false
    if (typeof statusText !== 'string' || (statusText !== '' && !/^[\t\x20-\x7e\x80-\xff]*$/.test(statusText))) return false
    if (body !== null && (status === 204 || status === 205 || status === 304)) return false
    this.#status = status
    this.#statusText = statusText
    this.#body = body
    if (headers === undefined) {
      if (typeof body === 'string') this.#raw = TEXT_HEADERS
      return true
    }
    const own = new LightHeaders(headers)
    if (typeof body === 'string' && !own.has('content-type')) own.append('content-type', TEXT_TYPE)
    this.#headers = own
    return true
  }

  #toReal(): Response {
    if (this.#real !== undefined) return this.#real
    const headers = (this.#headers ?? LightHeaders.fromRaw(this.#raw)) as unknown as Headers
    return (this.#real = new (realResponse())(this.#body as BodyInit | null, { status: this.#status, statusText: this.#statusText, headers }))
  }
}

for (const name of ['type', 'url', 'redirected', 'status', 'ok', 'statusText', 'headers', 'body', 'bodyUsed', 'clone', 'blob', 'arrayBuffer', 'text', 'json', 'formData', 'bytes', 'textStream'] as const) {
  Object.defineProperty(LightResponse.prototype, name, { enumerable: true })
}
Object.defineProperty(LightResponse, 'name', { value: 'Response' })
Object.defineProperty(LightResponse, 'length', { value: 0 })

function realParts(real: Response, headers: LightHeaders | undefined): ResponseParts {
  if (real.bodyUsed || real.body?.locked === true) throw new Error('the body of its Response has been read already')
  return { status: real.status, headers: flat(headers ?? real.headers), body: real.body }
}

function flat(headers: Iterable<[string, string]>): string[] {
  const raw = LightHeaders.rawOf(headers)
  if (raw !== undefined) return raw as string[]
  const list: string[] = []
  for (const [name, value] of headers) list.push(name, value)
  return list
}

function isShared(bytes: Uint8Array): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && bytes.buffer instanceof SharedArrayBuffer
}
