/**
 * URLSearchParams.
 *
 * Source: URL standard, sections 5 (application/x-www-form-urlencoded) and 6.2.
 */
import { decodeUtf8 } from './host.ts'

type Pair = [string, string]

let listOf: (params: URLSearchParams) => Pair[]
let setList: (params: URLSearchParams, list: Pair[]) => void
let setOnChange: (params: URLSearchParams, onChange: (text: string) => void) => void

export class URLSearchParams {
  #list: Pair[] = []
  /** The URL that it belongs to. */
  #onChange: ((text: string) => void) | undefined

  static {
    listOf = (params) => params.#list
    setList = (params, list) => {
      params.#list = list
    }
    setOnChange = (params, onChange) => {
      params.#onChange = onChange
    }
  }

  constructor(init: unknown = '') {
    if (init === null || (typeof init !== 'object' && typeof init !== 'function')) {
      this.#list = parse(String(init))
      return
    }
    const iterate = (init as Iterable<unknown>)[Symbol.iterator]
    if (iterate === undefined || iterate === null) {
      for (const name of Reflect.ownKeys(init)) {
        if (Object.getOwnPropertyDescriptor(init, name)?.enumerable === true) this.#list.push(pairOf(name, (init as Record<PropertyKey, unknown>)[name]))
      }
      return
    }
    if (typeof iterate !== 'function') throw new TypeError('Query pairs must be iterable')
    for (const pair of init as Iterable<unknown>) {
      if (typeof pair !== 'object' || pair === null || typeof (pair as unknown[])[Symbol.iterator] !== 'function') throw new TypeError('Each query pair must be an iterable [name, value] tuple')
      const both = [...(pair as Iterable<unknown>)]
      if (both.length !== 2) throw new TypeError('Each query pair must be an iterable [name, value] tuple')
      this.#list.push(pairOf(both[0], both[1]))
    }
  }

  get size(): number {
    return this.#list.length
  }

  append(name: unknown, value: unknown): void {
    need(arguments.length, 2)
    this.#list.push(pairOf(name, value))
    this.#changed()
  }

  delete(name: unknown, value?: unknown): void {
    need(arguments.length, 1)
    const key = text(name)
    const only = value === undefined ? undefined : text(value)
    this.#list = this.#list.filter(([one, content]) => one !== key || (only !== undefined && content !== only))
    this.#changed()
  }

  get(name: unknown): string | null {
    need(arguments.length, 1)
    const key = text(name)
    return this.#list.find(([one]) => one === key)?.[1] ?? null
  }

  getAll(name: unknown): string[] {
    need(arguments.length, 1)
    const key = text(name)
    return this.#list.filter(([one]) => one === key).map(([, value]) => value)
  }

  has(name: unknown, value?: unknown): boolean {
    need(arguments.length, 1)
    const key = text(name)
    const only = value === undefined ? undefined : text(value)
    return this.#list.some(([one, content]) => one === key && (only === undefined || content === only))
  }

  set(name: unknown, value: unknown): void {
    need(arguments.length, 2)
    const [key, content] = pairOf(name, value)
    const at = this.#list.findIndex(([one]) => one === key)
    if (at === -1) this.#list.push([key, content])
    else {
      this.#list[at]![1] = content
      this.#list = this.#list.filter(([one], index) => one !== key || index === at)
    }
    this.#changed()
  }

  sort(): void {
    this.#list.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    this.#changed()
  }

  forEach(callback: (value: string, name: string, params: URLSearchParams) => void, self?: unknown): void {
    if (typeof callback !== 'function') throw new TypeError('The "callback" argument must be of type function.')
    for (const [name, value] of this) callback.call(self, value, name, this)
  }

  *entries(): Generator<Pair, undefined> {
    for (let at = 0; at < this.#list.length; at++) yield [...this.#list[at]!] as Pair
    return undefined
  }

  *keys(): Generator<string, undefined> {
    for (const [name] of this) yield name
    return undefined
  }

  *values(): Generator<string, undefined> {
    for (const [, value] of this) yield value
    return undefined
  }

  [Symbol.iterator](): Generator<Pair, undefined> {
    return this.entries()
  }

  toString(): string {
    return this.#list.map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&')
  }

  get [Symbol.toStringTag](): string {
    return 'URLSearchParams'
  }

  #changed(): void {
    this.#onChange?.(this.toString())
  }
}

/** Ties it to a URL, or gives it the URL's new query. */
export function useParams(params: URLSearchParams, onChange: ((text: string) => void) | undefined, query?: string): void {
  if (onChange !== undefined) setOnChange(params, onChange)
  if (query !== undefined) setList(params, parse(query))
}

/** The pairs, for bodies. */
export function pairsOf(params: URLSearchParams): readonly (readonly [string, string])[] {
  return listOf(params)
}

function parse(query: string): Pair[] {
  const list: Pair[] = []
  for (const part of (query.startsWith('?') ? query.slice(1) : query).split('&')) {
    if (part === '') continue
    const at = part.indexOf('=')
    list.push(at === -1 ? [decode(part), ''] : [decode(part.slice(0, at)), decode(part.slice(at + 1))])
  }
  return list
}

function decode(part: string): string {
  const spaced = part.includes('+') ? part.replaceAll('+', ' ') : part
  if (!spaced.includes('%')) return spaced.toWellFormed()
  try {
    return decodeURIComponent(spaced)
  } catch {
    // A percent sign that stands for itself, or bytes that are no UTF-8.
    return spaced.replace(/(?:%[0-9A-Fa-f]{2})+/g, (run) => decodeUtf8(new Uint8Array(run.slice(1).split('%').map((digits) => parseInt(digits, 16)))))
  }
}

function encode(value: string): string {
  return encodeURIComponent(value).replace(/%20|[!'()~]/g, (one) => (one === '%20' ? '+' : `%${one.charCodeAt(0).toString(16).toUpperCase()}`))
}

function pairOf(name: unknown, value: unknown): Pair {
  return [text(name), text(value)]
}

function text(value: unknown): string {
  return `${value as string}`.toWellFormed()
}

function need(given: number, needed: number): void {
  if (given < needed) throw new TypeError(needed === 1 ? 'The "name" argument must be specified' : 'The "name" and "value" arguments must be specified')
}
