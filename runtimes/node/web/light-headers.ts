/**
 * `Headers`, without loading Node's fetch classes, and made from raw names and values at no cost.
 *
 * Behaves as Node's own (fetch standard, section Headers class, guard "none"), which light.test.ts compares by random
 * operations: names are checked and lower-cased, values trimmed, iteration is sorted with `set-cookie` kept apart.
 *
 * Invariants:
 *   LH1. `#list` holds names in lower case and trimmed values, both valid; a name may repeat.
 */
import { inspect } from 'node:util'
import { isInstance } from './real.ts'

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// oxlint-disable-next-line no-control-regex
const VALUE = /^[^\0\r\n]*$/
// oxlint-disable-next-line no-control-regex
const WIDE = /[^\x00-\xff]/

export class LightHeaders {
  /** name, value, name, value, … */
  #list: string[] = []
  #sorted: [string, string][] | undefined

  constructor(init?: HeadersInit | undefined) {
    if (init === undefined) return
    if (typeof init !== 'object' && typeof init !== 'function') throw invalid('constructor', 'the init is neither an object nor a sequence')
    if (init === null) throw invalid('constructor', 'the init is null')
    const iterate = (init as Iterable<unknown>)[Symbol.iterator]
    if (iterate === undefined || iterate === null) {
      for (const name of Reflect.ownKeys(init)) {
        if (Object.getOwnPropertyDescriptor(init, name)?.enumerable !== true) continue
        if (typeof name === 'symbol') throw invalid('constructor', 'a name is a symbol')
        this.append(name, (init as Record<string, string>)[name]!)
      }
      return
    }
    if (typeof iterate !== 'function') throw invalid('constructor', 'the init is not iterable')
    for (const pair of init as Iterable<unknown>) {
      if (typeof pair !== 'object' || pair === null || typeof (pair as unknown[])[Symbol.iterator] !== 'function') throw invalid('constructor', 'an element is not a pair')
      const [name, value, ...more] = pair as string[]
      if (value === undefined && (pair as string[]).length < 2) throw invalid('constructor', 'an element is not a pair')
      if (more.length > 0) throw invalid('constructor', 'an element has more than a name and a value')
      this.append(name!, value!)
    }
  }

  /** Trusted raw headers: names in lower case, values trimmed. Keeps the array. */
  static fromRaw(list: readonly string[]): LightHeaders {
    const headers = new LightHeaders()
    headers.#list = list as string[]
    return headers
  }

  /** The raw names and values of light headers; undefined for any other object. */
  static rawOf(value: unknown): readonly string[] | undefined {
    return typeof value === 'object' && value !== null && #list in value ? value.#list : undefined
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, LightHeaders, value, 'Headers')
  }

  append(name: string, value: string): void {
    if (arguments.length < 2) throw missing('append', 2, arguments.length)
    const [key, text] = checked('append', name, value)
    this.#own()
    this.#list.push(key, text)
  }

  set(name: string, value: string): void {
    if (arguments.length < 2) throw missing('set', 2, arguments.length)
    const [key, text] = checked('set', name, value)
    this.#own()
    const at = this.#find(key)
    if (at === -1) {
      this.#list.push(key, text)
      return
    }
    this.#list[at + 1] = text
    this.#removeFrom(key, at + 2)
  }

  delete(name: string): void {
    if (arguments.length < 1) throw missing('delete', 1, arguments.length)
    const key = checkedName('delete', name)
    if (this.#find(key) === -1) return
    this.#own()
    this.#removeFrom(key, 0)
  }

  get(name: string): string | null {
    if (arguments.length < 1) throw missing('get', 1, arguments.length)
    const key = checkedName('get', name)
    const first = this.#find(key)
    if (first === -1) return null
    let joined = this.#list[first + 1]!
    for (let at = first + 2; at < this.#list.length; at += 2) {
      if (this.#list[at] === key) joined += (key === 'cookie' ? '; ' : ', ') + this.#list[at + 1]!
    }
    return joined
  }

  has(name: string): boolean {
    if (arguments.length < 1) throw missing('has', 1, arguments.length)
    return this.#find(checkedName('has', name)) !== -1
  }

  getSetCookie(): string[] {
    const cookies: string[] = []
    for (let at = 0; at < this.#list.length; at += 2) if (this.#list[at] === 'set-cookie') cookies.push(this.#list[at + 1]!)
    return cookies
  }

  forEach(callback: (value: string, name: string, headers: Headers) => void, thisArg?: unknown): void {
    if (typeof callback !== 'function') throw invalid('forEach', 'the callback is not a function')
    for (const [name, value] of this) callback.call(thisArg, value, name, this as unknown as Headers)
  }

  *entries(): HeadersIterator<[string, string]> {
    for (let at = 0; at < this.#pairs().length; at++) {
      const [name, value] = this.#pairs()[at]!
      yield [name, value]
    }
  }

  *keys(): HeadersIterator<string> {
    for (const [name] of this) yield name
  }

  *values(): HeadersIterator<string> {
    for (const [, value] of this) yield value
  }

  [Symbol.iterator](): HeadersIterator<[string, string]> {
    return this.entries()
  }

  get [Symbol.toStringTag](): string {
    return 'Headers'
  }

  [inspect.custom](_depth: number, options: object): string {
    return `Headers ${inspect(Object.fromEntries(this), options)}`
  }

  /** Sorted by name, repeated ones joined, except set-cookie. */
  #pairs(): readonly [string, string][] {
    if (this.#sorted !== undefined) return this.#sorted
    const pairs: [string, string][] = []
    for (const name of new Set(this.#list.filter((_, at) => at % 2 === 0))) {
      if (name === 'set-cookie') for (const cookie of this.getSetCookie()) pairs.push([name, cookie])
      else pairs.push([name, this.get(name)!])
    }
    return (this.#sorted = pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
  }

  /** Before a change: the array may be the request's own. */
  #own(): void {
    this.#list = this.#list.slice()
    this.#sorted = undefined
  }

  #find(key: string): number {
    for (let at = 0; at < this.#list.length; at += 2) if (this.#list[at] === key) return at
    return -1
  }

  #removeFrom(key: string, from: number): void {
    this.#list = this.#list.filter((_, at) => at < from || this.#list[at - (at % 2)] !== key)
  }
}

for (const name of ['append', 'delete', 'get', 'has', 'set', 'getSetCookie', 'keys', 'values', 'entries', 'forEach'] as const) {
  Object.defineProperty(LightHeaders.prototype, name, { enumerable: true })
}
Object.defineProperty(LightHeaders, 'name', { value: 'Headers' })
Object.defineProperty(LightHeaders, 'length', { value: 0 })

function checked(verb: string, name: unknown, value: unknown): [string, string] {
  if (typeof value === 'symbol') throw invalid(verb, 'the value is a symbol')
  const key = checkedName(verb, name)
  let text = typeof value === 'string' ? value : String(value)
  if (WIDE.test(text)) throw invalid(verb, `the value of "${key}" has a character above 255`)
  text = text.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, '')
  if (!VALUE.test(text)) throw invalid(verb, `the value of "${key}" has a line break or a null character`)
  return [key, text]
}

function checkedName(verb: string, name: unknown): string {
  if (typeof name === 'symbol') throw invalid(verb, 'the name is a symbol')
  const key = typeof name === 'string' ? name : String(name)
  if (!NAME.test(key)) throw invalid(verb, `${JSON.stringify(key.slice(0, 100))} is not a header name`)
  return key.toLowerCase()
}

function invalid(verb: string, what: string): TypeError {
  return new TypeError(`Headers.${verb}: ${what}.`)
}

function missing(verb: string, needed: number, given: number): TypeError {
  return invalid(verb, `${needed} arguments are needed, ${given} given`)
}
