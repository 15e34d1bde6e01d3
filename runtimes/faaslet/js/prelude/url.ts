/**
 * URL: parsed by the host, with Node's own parser, so that the answers are Node's; and the parts kept here.
 *
 * Asking the host takes 3 µs; a parser in the image would be as large as the rest of the prelude.
 */
import { HostOp, type UrlParts } from '../ops.ts'
import { host } from './host.ts'
import { URLSearchParams, useParams } from './url-search-params.ts'

type Settable = 'href' | 'protocol' | 'username' | 'password' | 'host' | 'hostname' | 'port' | 'pathname' | 'search' | 'hash'

/** The last one that was parsed: handlers ask for the URL of their request. */
let lastText: string | undefined
let lastParts: UrlParts | undefined

export class URL {
  #parts: UrlParts
  #params: URLSearchParams | undefined

  constructor(url: unknown, base?: unknown) {
    if (arguments.length === 0) throw new TypeError('The "url" argument must be specified')
    const text = String(url)
    const parts = parse(text, base === undefined ? undefined : String(base))
    if (parts === undefined) throw Object.assign(new TypeError('Invalid URL'), { code: 'ERR_INVALID_URL', input: text, ...(base !== undefined && { base: String(base) }) })
    this.#parts = parts
  }

  static canParse(url: unknown, base?: unknown): boolean {
    return parse(String(url), base === undefined ? undefined : String(base)) !== undefined
  }

  static parse(url: unknown, base?: unknown): URL | null {
    return URL.canParse(url, base) ? new URL(url, base) : null
  }

  get href(): string {
    return this.#parts.href
  }

  set href(value: string) {
    const parts = parse(String(value), undefined)
    if (parts === undefined) throw Object.assign(new TypeError('Invalid URL'), { code: 'ERR_INVALID_URL', input: String(value) })
    this.#take(parts)
  }

  get origin(): string {
    return this.#parts.origin
  }

  get protocol(): string {
    return this.#parts.protocol
  }

  set protocol(value: string) {
    this.#set('protocol', value)
  }

  get username(): string {
    return this.#parts.username
  }

  set username(value: string) {
    this.#set('username', value)
  }

  get password(): string {
    return this.#parts.password
  }

  set password(value: string) {
    this.#set('password', value)
  }

  get host(): string {
    return this.#parts.host
  }

  set host(value: string) {
    this.#set('host', value)
  }

  get hostname(): string {
    return this.#parts.hostname
  }

  set hostname(value: string) {
    this.#set('hostname', value)
  }

  get port(): string {
    return this.#parts.port
  }

  set port(value: string) {
    this.#set('port', value)
  }

  get pathname(): string {
    return this.#parts.pathname
  }

  set pathname(value: string) {
    this.#set('pathname', value)
  }

  get search(): string {
    return this.#parts.search
  }

  set search(value: string) {
    this.#set('search', value)
  }

  get hash(): string {
    return this.#parts.hash
  }

  set hash(value: string) {
    this.#set('hash', value)
  }

  get searchParams(): URLSearchParams {
    if (this.#params === undefined) {
      this.#params = new URLSearchParams(this.#parts.search)
      useParams(this.#params, (text) => {
        this.#parts = change(this.#parts.href, 'search', text)
      })
    }
    return this.#params
  }

  toString(): string {
    return this.#parts.href
  }

  toJSON(): string {
    return this.#parts.href
  }

  get [Symbol.toStringTag](): string {
    return 'URL'
  }

  #set(name: Settable, value: unknown): void {
    this.#take(change(this.#parts.href, name, String(value)))
  }

  #take(parts: UrlParts): void {
    this.#parts = parts
    if (this.#params !== undefined) useParams(this.#params, undefined, parts.search)
  }
}

function parse(text: string, base: string | undefined): UrlParts | undefined {
  if (base === undefined && text === lastText) return lastParts
  const json = host(HostOp.url, text, base) as string | undefined
  const parts = json === undefined ? undefined : (JSON.parse(json) as UrlParts)
  if (base === undefined && parts !== undefined) {
    lastText = text
    lastParts = parts
  }
  return parts
}

function change(href: string, name: Settable, value: string): UrlParts {
  return JSON.parse(host(HostOp.urlSet, href, name, value) as string) as UrlParts
}

for (const name of ['href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash', 'searchParams', 'toString', 'toJSON'] as const) {
  Object.defineProperty(URL.prototype, name, { enumerable: true })
}
