/**
 * Request: of an invocation, made at no cost until something is asked of it, or made by user code.
 *
 * Source: Fetch standard, section 5.4. It stands in for runtimes/node/web/light-request.ts too, whose helpers the shared files import.
 */
import type { LightHeaders as Headers } from '../../../node/web/light-headers.ts'
import { LightHeaders } from '../../../node/web/light-headers.ts'
import { AbortController, AbortSignal } from './abort.ts'
import { Body, contentOf, type Content } from './body.ts'
import type { Invocation } from './invocation.ts'
import { URL } from './url.ts'

const NO_HEADERS: readonly string[] = []
const EVENT_HEADERS: readonly string[] = ['content-type', 'application/json']
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

interface Init {
  method?: unknown
  headers?: HeadersInit
  body?: unknown
  signal?: AbortSignal | null
  redirect?: RequestRedirect
  cache?: RequestCache
  credentials?: RequestCredentials
  integrity?: string
  keepalive?: boolean
  mode?: RequestMode
  referrer?: string
  referrerPolicy?: ReferrerPolicy
  duplex?: string
  timeoutMs?: number
}

/** What only some requests set. */
interface Rare {
  readonly redirect: RequestRedirect
  readonly cache: RequestCache
  readonly credentials: RequestCredentials
  readonly integrity: string
  readonly keepalive: boolean
  readonly mode: RequestMode
  readonly referrer: string
  readonly referrerPolicy: ReferrerPolicy
}

const ORDINARY: Rare = { redirect: 'follow', cache: 'default', credentials: 'same-origin', integrity: '', keepalive: false, mode: 'cors', referrer: 'about:client', referrerPolicy: '' }
const CHOICES: { readonly [Name in keyof Rare]?: readonly string[] } = {
  redirect: ['follow', 'error', 'manual'],
  cache: ['default', 'no-store', 'reload', 'no-cache', 'force-cache', 'only-if-cached'],
  credentials: ['omit', 'same-origin', 'include'],
  mode: ['same-origin', 'cors', 'no-cors'],
  referrerPolicy: ['', 'no-referrer', 'no-referrer-when-downgrade', 'same-origin', 'origin', 'strict-origin', 'origin-when-cross-origin', 'strict-origin-when-cross-origin', 'unsafe-url'],
}

let next: Invocation | undefined

export class Request extends Body {
  #invocation: Invocation | undefined
  #method: string | undefined
  #url: string | undefined
  #headers: Headers | undefined
  #signal: AbortSignal | undefined
  #rare = ORDINARY

  constructor(input: unknown, init?: Init) {
    const invocation = next
    if (invocation !== undefined) {
      next = undefined
      super(invocation.body)
      this.#invocation = invocation
      return
    }
    const made = make(input, init ?? {}, (request) => (request instanceof Request ? { request, content: request.isNull ? null : undefined, rare: request.#rare } : undefined))
    super(made.content === undefined ? (input as Request).release() : made.content)
    this.#method = made.method
    this.#url = made.url
    this.#headers = made.headers
    this.#signal = made.signal
    this.#rare = made.rare
  }

  static fromInvocation(invocation: Invocation): Request {
    next = invocation
    return new Request(undefined)
  }

  get method(): string {
    return (this.#method ??= methodOf(this.#invocation!))
  }

  get url(): string {
    return (this.#url ??= urlOf(this.#invocation!))
  }

  override get headers(): Headers {
    if (this.#headers === undefined) {
      const { isEvent, head } = this.#invocation!
      this.#headers = LightHeaders.fromRaw(head.h ?? (isEvent ? EVENT_HEADERS : NO_HEADERS))
    }
    return this.#headers
  }

  get signal(): AbortSignal {
    return (this.#signal ??= this.#invocation?.signal ?? new AbortController().signal)
  }

  clone(): Request {
    const copy = new Request(this.url, { method: this.method, headers: new LightHeaders(this.headers as unknown as HeadersInit) as unknown as HeadersInit, signal: this.signal })
    return Request.#withContent(copy, this.share(), this.#rare)
  }

  static #withContent(like: Request, content: Content, rare: Rare): Request {
    const request = new Request(like.url, { method: 'POST', body: content, duplex: 'half' })
    request.#method = like.method
    request.#headers = like.headers
    request.#signal = like.signal
    request.#rare = rare
    return request
  }

  get redirect(): RequestRedirect {
    return this.#rare.redirect
  }

  get cache(): RequestCache {
    return this.#rare.cache
  }

  get credentials(): RequestCredentials {
    return this.#rare.credentials
  }

  get integrity(): string {
    return this.#rare.integrity
  }

  get keepalive(): boolean {
    return this.#rare.keepalive
  }

  get mode(): RequestMode {
    return this.#rare.mode
  }

  get referrer(): string {
    return this.#rare.referrer
  }

  get referrerPolicy(): ReferrerPolicy {
    return this.#rare.referrerPolicy
  }

  get destination(): string {
    return ''
  }

  get duplex(): string {
    return 'half'
  }

  get [Symbol.toStringTag](): string {
    return 'Request'
  }

  /** The body for a fetch, which takes it. */
  static bodyOf(request: Request): Content {
    return request.release()
  }
}

interface Made {
  readonly method: string
  readonly url: string
  readonly headers: Headers
  readonly signal: AbortSignal | undefined
  readonly rare: Rare
  /** Undefined: the body of the request that it is made from. */
  readonly content: Content | undefined
}

function make(input: unknown, init: Init, asRequest: (value: unknown) => { readonly request: Request; readonly content: null | undefined; readonly rare: Rare } | undefined): Made {
  if (typeof init !== 'object' && typeof init !== 'function') throw new TypeError('Request constructor: the init is not an object')
  const from = asRequest(input)
  const url = from?.request.url ?? urlText(input)
  const method = init.method === undefined ? (from?.request.method ?? 'GET') : methodText(init.method)
  const headers = new LightHeaders((init.headers ?? from?.request.headers) as HeadersInit | undefined)
  const given = init.body === undefined || init.body === null ? undefined : contentOf(init.body)
  const hasBody = given !== undefined || (from !== undefined && from.content === undefined && init.body === undefined)
  if (hasBody && (method === 'GET' || method === 'HEAD')) throw new TypeError('Request with GET/HEAD method cannot have body.')
  if (given?.type !== undefined && !headers.has('content-type')) headers.append('content-type', given.type)
  if (given !== undefined && typeof given.content === 'object' && 'getReader' in given.content! && init.duplex === undefined) throw new TypeError('RequestInit: duplex option is required when sending a body.')
  const { signal } = init
  if (signal !== undefined && signal !== null && !(signal instanceof AbortSignal)) throw new TypeError('Request constructor: the signal is not an AbortSignal')
  return { method, url, headers, signal: signal === undefined ? from?.request.signal : (signal ?? undefined), rare: rareOf(init, from?.rare ?? ORDINARY), content: given?.content ?? (init.body === null ? null : from?.content === undefined && from !== undefined ? undefined : null) }
}

function rareOf(init: Init, before: Rare): Rare {
  let rare = before
  for (const name of Object.keys(ORDINARY) as (keyof Rare)[]) {
    const value = init[name]
    if (value === undefined) continue
    const choices = CHOICES[name]
    if (choices !== undefined && !choices.includes(String(value))) throw new TypeError(`Request constructor: ${String(value)} is not an accepted ${name}`)
    rare = { ...rare, [name]: value }
  }
  return rare
}

function urlText(input: unknown): string {
  let url: URL
  try {
    url = new URL(String(input))
  } catch (cause) {
    throw new TypeError(`Failed to parse URL from ${String(input)}`, { cause })
  }
  if (url.username !== '' || url.password !== '') throw new TypeError(`Request cannot be constructed from a URL that includes credentials: ${String(input)}`)
  return url.href
}

function methodText(value: unknown): string {
  const method = String(value)
  const upper = method.toUpperCase()
  if (!TOKEN.test(method) || upper === 'CONNECT' || upper === 'TRACE' || upper === 'TRACK') throw new TypeError(`'${method}' is not a valid HTTP method.`)
  return ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT'].includes(upper) ? upper : method
}

export function methodOf({ head, isEvent }: Invocation): string {
  return head.m ?? (isEvent ? 'POST' : 'GET')
}

/** The absolute URL: scheme and host as the client saw them, path and query from the function's own root. */
export function urlOf({ head: { h, u } }: Invocation): string {
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

export { Request as LightRequest }
