/**
 * Response.
 *
 * Source: Fetch standard, section 5.5. One made of a text and nothing else is known as such, and leaves without its headers being built.
 *
 * Invariants:
 *   Z1. `#headers` is undefined while nobody has asked for or given headers; `#type` then says what they would be.
 */
import { LightHeaders } from '../../../node/web/light-headers.ts'
import { Body, contentOf, TEXT_TYPE, type Content } from './body.ts'
import type { ReadableStream } from './readable.ts'
import { URL } from './url.ts'

interface Init {
  status?: unknown
  statusText?: unknown
  headers?: HeadersInit | LightHeaders | undefined
}

export interface ResponseParts {
  readonly status: number
  readonly headers: readonly string[]
  readonly body: string | Uint8Array | ReadableStream<Uint8Array> | null
}

export class Response extends Body {
  #status = 200
  #statusText = ''
  #type: string | undefined
  #headers: LightHeaders | undefined
  /** Of a fetched one. */
  #from: { readonly url: string; readonly redirected: boolean } | undefined
  #kind: ResponseType = 'default'

  constructor(body?: unknown, init?: Init) {
    if (typeof body === 'string') {
      super(body)
      this.#type = TEXT_TYPE
    } else {
      const { content, type } = contentOf(body)
      super(content)
      this.#type = type
    }
    if (init !== undefined) this.#init(init, body !== null && body !== undefined)
  }

  static json(data: unknown, init: Init = {}): Response {
    const text = JSON.stringify(data) as string | undefined
    if (text === undefined) throw new TypeError('Value is not JSON serializable')
    const { headers } = init
    const response = new Response(text, { ...init, headers: undefined })
    response.#type = 'application/json'
    if (headers === undefined) return response
    response.#headers = new LightHeaders(headers as HeadersInit)
    response.#addType()
    return response
  }

  static redirect(url: unknown, status = 302): Response {
    let location: string
    try {
      location = new URL(String(url)).href
    } catch (cause) {
      throw new TypeError(`Failed to parse URL from ${String(url)}`, { cause })
    }
    if (![301, 302, 303, 307, 308].includes(status)) throw new RangeError(`Invalid status code ${status}`)
    return new Response(null, { status, headers: [['location', location]] })
  }

  static error(): Response {
    const response = new Response()
    response.#status = 0
    response.#kind = 'error'
    return response
  }

  /** Of a fetch or a call: nothing of it is checked. */
  static received(status: number, statusText: string, headers: LightHeaders, content: Content, from: { readonly url: string; readonly redirected: boolean } | undefined): Response {
    const received = new Response(content)
    received.#status = status
    received.#statusText = statusText
    received.#headers = headers
    received.#from = from
    if (from !== undefined) received.#kind = 'basic'
    return received
  }

  /** The text of a response that is nothing but a text with status 200; undefined for any other. */
  static plainTextOf(value: unknown): string | undefined {
    if (typeof value !== 'object' || value === null || !(#status in value)) return undefined
    if (value.#type !== TEXT_TYPE || value.#headers !== undefined || value.#status !== 200) return undefined
    const body = value.sendable
    return typeof body === 'string' ? body : undefined
  }

  /** Undefined when it is no response. @throws Error when its body has been used. */
  static partsOf(value: unknown): ResponseParts | undefined {
    if (typeof value !== 'object' || value === null || !(#status in value)) return undefined
    const body = value.sendable
    if (body === undefined) throw new Error('the body of its Response has been read already')
    const headers = value.#headers === undefined ? (value.#type === undefined ? [] : ['content-type', value.#type]) : LightHeaders.rawOf(value.#headers)!
    return { status: value.#status, headers, body }
  }

  get status(): number {
    return this.#status
  }

  get ok(): boolean {
    return this.#status >= 200 && this.#status <= 299
  }

  get statusText(): string {
    return this.#statusText
  }

  override get headers(): LightHeaders {
    if (this.#headers === undefined) this.#headers = LightHeaders.fromRaw(this.#type === undefined ? [] : ['content-type', this.#type])
    return this.#headers
  }

  get type(): ResponseType {
    return this.#kind
  }

  get url(): string {
    return this.#from?.url ?? ''
  }

  get redirected(): boolean {
    return this.#from?.redirected ?? false
  }

  clone(): Response {
    const headers = this.#headers === undefined ? undefined : new LightHeaders(this.#headers as unknown as HeadersInit)
    const copy = new Response(this.share())
    copy.#status = this.#status
    copy.#statusText = this.#statusText
    copy.#type = this.#type
    copy.#headers = headers
    copy.#from = this.#from
    copy.#kind = this.#kind
    return copy
  }

  get [Symbol.toStringTag](): string {
    return 'Response'
  }

  #init(init: Init, hasBody: boolean): void {
    if (init === null || (typeof init !== 'object' && typeof init !== 'function')) {
      if (init === null) return
      throw new TypeError('Response constructor: the init is not an object')
    }
    const { status = 200, statusText = '', headers } = init
    const code = Number(status) & 0xffff
    if (!(code >= 200 && code <= 599)) throw new RangeError('init["status"] must be in the range of 200 to 599, inclusive.')
    const text = String(statusText)
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(text)) throw new TypeError('Invalid statusText')
    if (headers !== undefined) this.#headers = new LightHeaders(headers as HeadersInit)
    if (hasBody && (code === 204 || code === 205 || code === 304)) throw new TypeError(`Response constructor: Invalid response status code ${code}`)
    this.#status = code
    this.#statusText = text
    if (this.#headers !== undefined) this.#addType()
  }

  #addType(): void {
    if (this.#type !== undefined && !this.#headers!.has('content-type')) this.#headers!.append('content-type', this.#type)
  }
}

export { Response as LightResponse }
