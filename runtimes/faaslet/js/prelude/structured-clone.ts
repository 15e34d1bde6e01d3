/**
 * structuredClone.
 *
 * Source: HTML standard, section 2.7. Blob, File and streams are left out: they throw, as anything that cannot be cloned.
 */
const viewTypes = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array, BigInt64Array, BigUint64Array, DataView]
const errorTypes: Readonly<Record<string, ErrorConstructor>> = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError } as unknown as Record<string, ErrorConstructor>

export function structuredClone(value: unknown, options: { readonly transfer?: readonly ArrayBuffer[] } = {}): unknown {
  if (arguments.length === 0) throw new TypeError('The "value" argument must be specified')
  const seen = new Map<object, unknown>()
  const transferred = new Set<object>()
  for (const buffer of options.transfer ?? []) {
    if (!(buffer instanceof ArrayBuffer) || transferred.has(buffer)) throw refusal('Value not transferable')
    transferred.add(buffer)
  }
  const result = clone(value, seen, transferred)
  for (const buffer of transferred) if (!seen.has(buffer)) (buffer as ArrayBuffer).transfer()
  return result
}

function clone(value: unknown, seen: Map<object, unknown>, transferred: ReadonlySet<object>): unknown {
  if (typeof value === 'symbol' || typeof value === 'function') throw refusal(`${String(value)} could not be cloned.`)
  if (typeof value !== 'object' || value === null) return value
  const known = seen.get(value)
  if (known !== undefined) return known
  const keep = <Copy extends object>(copy: Copy): Copy => {
    seen.set(value, copy)
    return copy
  }
  if (value instanceof Date) return keep(new Date(value.getTime()))
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags))
  if (value instanceof Boolean || value instanceof Number || value instanceof String || value instanceof BigInt) return keep(Object(value.valueOf()) as object)
  if (value instanceof ArrayBuffer) return keep(transferred.has(value) ? value.transfer() : value.slice(0))
  const View = viewTypes.find((type) => value instanceof type) as Uint8ArrayConstructor | undefined
  if (View !== undefined) {
    const view = value as Uint8Array
    const { byteOffset } = view
    const length = view instanceof DataView ? view.byteLength : view.length
    return keep(new View(clone(view.buffer, seen, transferred) as ArrayBuffer, byteOffset, length))
  }
  if (value instanceof Map) {
    const copy = keep(new Map())
    for (const [key, content] of [...value]) copy.set(clone(key, seen, transferred), clone(content, seen, transferred))
    return copy
  }
  if (value instanceof Set) {
    const copy = keep(new Set())
    for (const content of [...value]) copy.add(clone(content, seen, transferred))
    return copy
  }
  if (value instanceof Error) return errorCopy(value, keep, seen, transferred)
  if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef) throw refusal(`${Object.prototype.toString.call(value).replace('[object ', '#<').replace(']', '>')} could not be cloned.`)
  const copy = keep(Array.isArray(value) ? new Array<unknown>(value.length) : {}) as Record<string, unknown>
  for (const key of Object.keys(value)) copy[key] = clone((value as Record<string, unknown>)[key], seen, transferred)
  return copy
}

function errorCopy(error: Error, keep: <Copy extends object>(copy: Copy) => Copy, seen: Map<object, unknown>, transferred: ReadonlySet<object>): Error {
  const copy = keep(Object.create((errorTypes[error.name] ?? Error).prototype as object) as Error)
  const define = (name: string, value: unknown): void => {
    Object.defineProperty(copy, name, { value, writable: true, configurable: true, enumerable: false })
  }
  if (Object.hasOwn(error, 'message')) define('message', String(error.message))
  define('stack', String(error.stack))
  if (Object.hasOwn(error, 'cause')) define('cause', clone(error.cause, seen, transferred))
  return copy
}

function refusal(message: string): DOMException {
  return new DOMException(message, 'DataCloneError')
}
