/**
 * Which reducer gets what of a mapper's result. Pure.
 *
 * With one reducer, all. With more, the result is a Map or a plain object, and each of its keys goes to one reducer, the same from every mapper.
 */
import { PlatformError } from '../../src/contract/errors.ts'

/** One value per partition, of the same kind as `value`. @throws INPUT_INVALID when it has no keys to go by. */
export function partitionOf(value: unknown, partitions: number): unknown[] {
  if (partitions === 1) return [value]
  if (value instanceof Map) {
    const parts = Array.from({ length: partitions }, () => new Map<unknown, unknown>())
    for (const [key, held] of value) parts[placeOf(key, partitions)]!.set(key, held)
    return parts
  }
  if (typeof value !== 'object' || value === null || ![Object.prototype, null].includes(Object.getPrototypeOf(value) as null)) {
    const what = typeof value === 'object' && value !== null ? `an instance of ${value.constructor?.name}` : String(value)
    const must = 'what is mapped must be a Map or a plain object, whose keys are shared out'
    throw new PlatformError('INPUT_INVALID', `With ${partitions} reducers, ${must}; this is ${what}. Use one reducer, or return a Map.`)
  }
  const parts = Array.from({ length: partitions }, (): Record<string, unknown> => Object.create(null) as Record<string, unknown>)
  for (const [key, held] of Object.entries(value)) parts[placeOf(key, partitions)]![key] = held
  return parts.map((part) => ({ ...part }))
}

/** FNV-1a (Fowler, Noll, Vo) of the key as text, with its type: 1 and '1' are different keys of a Map. */
function placeOf(key: unknown, partitions: number): number {
  const text = `${typeof key}:${typeof key === 'object' ? JSON.stringify(key) : String(key)}`
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return (hash >>> 0) % partitions
}
