/**
 * Values as Node's console shows them, for the log.
 *
 * Source: Node's lib/internal/util/inspect.js, by its output: nesting to depth 2, lines of up to 76 characters, arrays and sets to 100 entries.
 * Where we differ: no colours, no grouping of long arrays into columns, no inspection of proxies and promises' states.
 */
const CUSTOM = Symbol.for('nodejs.util.inspect.custom')
const DEPTH_MAX = 2
const LINE_MAX = 72
const ENTRIES_MAX = 100
const NAME = /^[A-Za-z_$][\w$]*$/

export interface InspectOptions {
  readonly depth?: number | null
}

export const inspect = Object.assign((value: unknown, options: InspectOptions = {}): string => show(value, 0, options.depth === null ? Infinity : (options.depth ?? DEPTH_MAX), []), { custom: CUSTOM })

/** As console.log joins and formats its arguments. */
export function format(args: readonly unknown[]): string {
  const [first, ...rest] = args
  if (typeof first !== 'string') return args.map((value) => text(value)).join(' ')
  let at = 0
  const begun = first.replace(/%([sdifjoOc%])/g, (whole, kind: string) => {
    if (kind === '%') return at < rest.length || args.length > 1 ? '%' : whole
    if (at >= rest.length) return whole
    const value = rest[at++]
    switch (kind) {
      case 's':
        return typeof value === 'bigint' ? `${value}n` : typeof value === 'object' && value !== null ? (Object.hasOwn(value, 'toString') || value instanceof Error || value instanceof Date ? String(value) : show(value, 0, 0, [])) : typeof value === 'number' && Object.is(value, -0) ? '-0' : String(value)
      case 'd':
        return typeof value === 'bigint' ? `${value}n` : typeof value === 'symbol' ? 'NaN' : String(Number(value))
      case 'i':
        return typeof value === 'bigint' ? `${value}n` : typeof value === 'symbol' ? 'NaN' : String(parseInt(value as string))
      case 'f':
        return typeof value === 'symbol' ? 'NaN' : String(parseFloat(value as string))
      case 'j':
        try {
          return JSON.stringify(value) ?? 'undefined'
        } catch {
          return '[Circular]'
        }
      case 'c':
        return ''
      default:
        return show(value, 0, kind === 'o' ? 4 : DEPTH_MAX, [])
    }
  })
  return [begun, ...rest.slice(at).map((value) => text(value))].join(' ')
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : inspect(value)
}

function show(value: unknown, level: number, depthMax: number, parents: readonly object[]): string {
  switch (typeof value) {
    case 'string':
      return quote(value)
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value)
    case 'bigint':
      return `${value}n`
    case 'symbol':
      return String(value)
    case 'function':
      return withProperties(functionName(value), value, level, depthMax, parents)
    case 'object':
      return value === null ? 'null' : showObject(value, level, depthMax, parents)
    default:
      return String(value)
  }
}

function showObject(value: object, level: number, depthMax: number, parents: readonly object[]): string {
  if (parents.includes(value)) return '[Circular *1]'
  const custom = (value as Record<symbol, unknown>)[CUSTOM]
  if (typeof custom === 'function') {
    const shown: unknown = custom.call(value, depthMax - level, { depth: depthMax - level }, inspect)
    return typeof shown === 'string' ? shown : show(shown, level, depthMax, parents)
  }
  if (value instanceof Error) return showError(value, level, depthMax, parents)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
  if (value instanceof RegExp) return String(value)
  const name = className(value)
  if (value instanceof Number || value instanceof String || value instanceof Boolean) return `[${name}: ${show(value.valueOf(), level, depthMax, parents)}]`
  if (level > depthMax) return Array.isArray(value) ? '[Array]' : `[${name === '' ? 'Object: null prototype' : name}]`
  const inner = [...parents, value]
  const next = (content: unknown): string => show(content, level + 1, depthMax, inner)
  if (Array.isArray(value)) return fence(name === 'Array' ? '' : `${name}(${value.length}) `, '[', ']', [...entriesOf(value, next), ...propertiesOf(value, next, true)], level)
  if (value instanceof ArrayBuffer) return fence('ArrayBuffer ', '{', '}', [`[Uint8Contents]: <${hex(new Uint8Array(value))}>`, `byteLength: ${value.byteLength}`], level)
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    const view = value as Uint8Array
    return fence(`${name}(${view.length}) `, '[', ']', entriesOf(view as unknown as unknown[], next), level)
  }
  if (value instanceof Map) {
    return fence(`${name}(${value.size}) `, '{', '}', [...limited([...value].map(([key, content]) => `${next(key)} => ${next(content)}`), value.size), ...propertiesOf(value, next, false)], level)
  }
  if (value instanceof Set) return fence(`${name}(${value.size}) `, '{', '}', [...limited([...value].map(next), value.size), ...propertiesOf(value, next, false)], level)
  if (value instanceof Promise) return 'Promise { <pending> }'
  if (value instanceof WeakMap || value instanceof WeakSet) return `${name} { <items unknown> }`
  const tag = (value as Record<symbol, unknown>)[Symbol.toStringTag]
  const label = name === '' ? '[Object: null prototype] ' : name === 'Object' ? '' : `${name} `
  const tagged = typeof tag === 'string' && tag !== '' && tag !== name ? `${name === '' ? label : `${name} `}[${tag}] ` : label
  return fence(tagged, '{', '}', propertiesOf(value, next, false), level)
}

function showError(error: Error, level: number, depthMax: number, parents: readonly object[]): string {
  const head = String(error)
  const stack = typeof error.stack === 'string' && error.stack !== '' ? error.stack.trimEnd() : ''
  const whole = stack === '' ? `[${head}]` : stack.startsWith(head) ? stack : `${head}\n${stack}`
  const inner = [...parents, error]
  const next = (content: unknown): string => show(content, level + 1, depthMax, inner)
  const properties = propertiesOf(error, next, false)
  if (Object.hasOwn(error, 'cause') && !Object.keys(error).includes('cause')) properties.push(`[cause]: ${next(error.cause)}`)
  if (properties.length === 0) return indent(whole, level)
  return `${indent(whole, level)} {\n${properties.map((one) => `${'  '.repeat(level + 1)}${one}`).join(',\n')}\n${'  '.repeat(level)}}`
}

function withProperties(label: string, value: object, level: number, depthMax: number, parents: readonly object[]): string {
  const properties = propertiesOf(value, (content) => show(content, level + 1, depthMax, [...parents, value]), false)
  return properties.length === 0 ? label : fence(`${label} `, '{', '}', properties, level)
}

function entriesOf(list: readonly unknown[], next: (content: unknown) => string): string[] {
  const shown: string[] = []
  for (let at = 0; at < Math.min(list.length, ENTRIES_MAX); at++) {
    if (at in list) {
      shown.push(next(list[at]))
      continue
    }
    let holes = 1
    while (at + 1 < list.length && !(at + 1 in list)) {
      holes++
      at++
    }
    shown.push(`<${holes} empty item${holes === 1 ? '' : 's'}>`)
  }
  return limited(shown, list.length)
}

function limited(shown: string[], count: number): string[] {
  const more = count - ENTRIES_MAX
  return more <= 0 ? shown : [...shown.slice(0, ENTRIES_MAX), `... ${more} more item${more === 1 ? '' : 's'}`]
}

function propertiesOf(value: object, next: (content: unknown) => string, skipsIndices: boolean): string[] {
  const shown: string[] = []
  for (const key of Reflect.ownKeys(value)) {
    const property = Object.getOwnPropertyDescriptor(value, key)
    if (property?.enumerable !== true || (skipsIndices && typeof key === 'string' && /^\d+$/.test(key))) continue
    const label = typeof key === 'symbol' ? `[${String(key)}]` : NAME.test(key) ? key : quote(key)
    const content = property.get !== undefined ? (property.set !== undefined ? '[Getter/Setter]' : '[Getter]') : property.set !== undefined ? '[Setter]' : next(property.value)
    shown.push(`${label}: ${content}`)
  }
  return shown
}

/** On one line while it is short and simple, else one entry per line. */
function fence(label: string, open: string, close: string, entries: readonly string[], level: number): string {
  if (entries.length === 0) return `${label}${open}${close}`
  const length = entries.reduce((sum, one) => sum + one.length + 2, label.length + level * 2)
  const isShort = length <= LINE_MAX + 4 && (open === '{' || entries.length <= 6 || length <= LINE_MAX) && !entries.some((one) => one.includes('\n'))
  if (isShort) return `${label}${open} ${entries.join(', ')} ${close}`
  const space = '  '.repeat(level + 1)
  return `${label}${open}\n${entries.map((one) => space + one).join(',\n')}\n${'  '.repeat(level)}${close}`
}

function className(value: object): string {
  for (let proto: object | null = value; proto !== null; proto = Object.getPrototypeOf(proto) as object | null) {
    const made = Object.getOwnPropertyDescriptor(proto, 'constructor')?.value as { name?: unknown } | undefined
    if (typeof made === 'function' && typeof made.name === 'string' && made.name !== '') return made.name
  }
  return ''
}

function functionName(value: Function): string {
  const source = Function.prototype.toString.call(value)
  const base = /^class\b/.test(source) ? `class ${value.name === '' ? '(anonymous)' : value.name}` : undefined
  if (base !== undefined) {
    const parent = Object.getPrototypeOf(value) as { name?: string } | null
    return `[${base}${parent?.name ? ` extends ${parent.name}` : ''}]`
  }
  const kind = /^async\s*\*|^async\s+function\s*\*/.test(source) ? 'AsyncGeneratorFunction' : /^async\b/.test(source) ? 'AsyncFunction' : /^function\s*\*/.test(source) ? 'GeneratorFunction' : 'Function'
  return value.name === '' ? `[${kind} (anonymous)]` : `[${kind}: ${value.name}]`
}

function quote(value: string): string {
  const mark = !value.includes("'") ? "'" : !value.includes('"') ? '"' : !value.includes('`') ? '`' : "'"
  // oxlint-disable-next-line no-control-regex
  const escaped = value.replace(/[\x00-\x1f\x7f\\]/g, (one) => ({ '\n': '\\n', '\t': '\\t', '\r': '\\r', '\b': '\\b', '\f': '\\f', '\v': '\\v', '\\': '\\\\' })[one] ?? `\\x${one.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
  return `${mark}${mark === "'" ? escaped.replaceAll("'", "\\'") : escaped}${mark}`
}

function hex(bytes: Uint8Array): string {
  const shown = [...bytes.subarray(0, 50)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
  return bytes.length > 50 ? `${shown} ... ${bytes.length - 50} more byte${bytes.length === 51 ? '' : 's'}` : shown
}

function indent(text: string, level: number): string {
  return level === 0 ? text : text.replaceAll('\n', `\n${'  '.repeat(level)}`)
}
