/**
 * JSON with the place of every value, so that a message about a file can say in which line.
 *
 * Own code because JSON.parse gives a reviver the text of a value but not its place, and says of most syntax errors neither line nor column.
 * Texts and numbers are still read by JSON.parse; only the nesting is read here.
 *
 *   T1. Accepts what JSON.parse accepts, and nothing else, but for nesting deeper than DEPTH_MAX.
 *   T2. Of a name that an object has twice, the last value counts, and the loss of the first is told to whoever asks.
 */
import { PlatformError } from '#contract/errors.ts'

/** `at` is the offset of a value's first character. */
export type JsonNode =
  | { readonly kind: 'scalar'; readonly at: number; readonly value: string | number | boolean | null }
  | { readonly kind: 'array'; readonly at: number; readonly items: readonly JsonNode[] }
  | { readonly kind: 'object'; readonly at: number; readonly members: ReadonlyMap<string, JsonMember> }

export interface JsonMember {
  /** The offset of the name. */
  readonly at: number
  readonly node: JsonNode
}

export const DEPTH_MAX = 64

const space = /[ \t\n\r]*/y
const scalar = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y

/**
 * @param file How messages call the text.
 * @param onRepeated Called with the offset of each name that its object already had. Throws JSON_INVALID with line and column.
 */
export function readJson(text: string, file: string, onRepeated: (at: number, name: string) => void = () => {}): JsonNode {
  const reader = new Reader(text, file, onRepeated)
  const node = reader.value(0)
  reader.end()
  return node
}

/** Line and column, both from 1. */
export function placeOf(text: string, at: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, at)
  return { line: before.split('\n').length, column: at - before.lastIndexOf('\n') }
}

/** The plain value, without members that are null: to Go's decoder they are as good as absent. */
export function plainValue(node: JsonNode): unknown {
  switch (node.kind) {
    case 'scalar': return node.value
    case 'array': return node.items.map(plainValue)
    case 'object': {
      const named = [...node.members].filter(([, { node: inner }]) => inner.kind !== 'scalar' || inner.value !== null)
      return Object.fromEntries(named.map(([name, { node: inner }]) => [name, plainValue(inner)]))
    }
  }
}

/** Where a path leads, or as far as it does: the offset of the last member's name, or of the last item. */
export function locate(root: JsonNode, path: readonly PropertyKey[]): number {
  let [node, at] = [root, root.at]
  for (const step of path) {
    if (node.kind === 'object') {
      const member = node.members.get(String(step))
      if (member === undefined) return at
      ;[node, at] = [member.node, member.at]
    } else {
      const item = node.kind === 'array' ? node.items[Number(step)] : undefined
      if (item === undefined) return at
      ;[node, at] = [item, item.at]
    }
  }
  return at
}

class Reader {
  readonly #text: string
  readonly #file: string
  readonly #onRepeated: (at: number, name: string) => void
  #at = 0

  constructor(text: string, file: string, onRepeated: (at: number, name: string) => void) {
    this.#text = text
    this.#file = file
    this.#onRepeated = onRepeated
  }

  value(depth: number): JsonNode {
    this.#skipSpace()
    const at = this.#at
    if (depth > DEPTH_MAX) throw this.#error(`nested deeper than ${DEPTH_MAX} levels`)
    switch (this.#text[at]) {
      case '{': return { kind: 'object', at, members: this.#members(depth) }
      case '[': return { kind: 'array', at, items: this.#items(depth) }
      default: return { kind: 'scalar', at, value: this.#scalar('a value') }
    }
  }

  end(): void {
    this.#skipSpace()
    if (this.#at < this.#text.length) throw this.#error('expected the end of the file')
  }

  #members(depth: number): Map<string, JsonMember> {
    const members = new Map<string, JsonMember>()
    this.#at++
    if (this.#take('}')) return members
    do {
      this.#skipSpace()
      const at = this.#at
      if (this.#text[at] !== '"') throw this.#error('expected a name in quotes')
      const name = String(this.#scalar('a name'))
      if (!this.#take(':')) throw this.#error(`expected ":" after ${JSON.stringify(name)}`)
      if (members.has(name)) this.#onRepeated(at, name)
      members.set(name, { at, node: this.value(depth + 1) })
    } while (this.#take(','))
    if (!this.#take('}')) throw this.#error('expected "," or "}"')
    return members
  }

  #items(depth: number): JsonNode[] {
    const items: JsonNode[] = []
    this.#at++
    if (this.#take(']')) return items
    do items.push(this.value(depth + 1))
    while (this.#take(','))
    if (!this.#take(']')) throw this.#error('expected "," or "]"')
    return items
  }

  #scalar(expected: string): string | number | boolean | null {
    scalar.lastIndex = this.#at
    const token = scalar.exec(this.#text)?.[0]
    if (token === undefined) throw this.#error(`expected ${expected}`)
    this.#at += token.length
    return JSON.parse(token) as string | number | boolean | null
  }

  #take(mark: string): boolean {
    this.#skipSpace()
    if (this.#text[this.#at] !== mark) return false
    this.#at++
    return true
  }

  #skipSpace(): void {
    space.lastIndex = this.#at
    this.#at += space.exec(this.#text)![0].length
  }

  #error(what: string): PlatformError {
    const at = this.#at
    const { line, column } = placeOf(this.#text, at)
    const found = at < this.#text.length ? `, found ${JSON.stringify(this.#text.slice(at, at + 20))}` : ', found the end of the file'
    return new PlatformError('JSON_INVALID', `${this.#file}:${line}:${column}: ${what.slice(0, 200)}${found}`, { details: { file: this.#file, line, column } })
  }
}
