/**
 * What goes between the program and its function: one value each way, by V8's structured clone.
 *
 * So Map, Set, Date, BigInt, typed arrays and cycles arrive as they are, and bytes without base64. Both ends are made from the same
 * checkout at the same time (the function's name has the code's hash), so the format needs no versions.
 *
 *   order  { run, items | parts, keep? }          ─▶  report { outcomes } or { references }
 *   order  { run, reduce: references }            ─▶  report { outcomes: [one] } or { lost: which references }
 */
import { deserialize, serialize } from 'node:v8'
import { PlatformError } from '../../src/contract/errors.ts'
import type { ErrorFacts } from './remote-error.ts'

export interface PartOrder {
  readonly reference: string
  /** What the function is told about it. */
  readonly about: { readonly bucket: string; readonly key: string; readonly from: number; readonly to: number } | { readonly reference: string }
}

export interface Keep {
  /** Into how many partitions the results go. */
  readonly partitions: number
  /** Only this one is wanted: the others were retrieved already. */
  readonly only?: number
}

export interface Order {
  /** Name of the exported function. */
  readonly run: string
  readonly work:
    | { readonly kind: 'items'; readonly items: readonly unknown[] }
    | { readonly kind: 'parts'; readonly parts: readonly PartOrder[]; readonly stream: boolean }
    | { readonly kind: 'reduce'; readonly references: readonly string[] }
  /** Results are kept as objects, and the report has their references. */
  readonly keep?: Keep
}

export type Outcome = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: ErrorFacts }

export type Report =
  | { readonly kind: 'outcomes'; readonly outcomes: readonly Outcome[] }
  | { readonly kind: 'kept'; readonly references: readonly string[] }
  /** Positions of references whose objects are gone. */
  | { readonly kind: 'lost'; readonly which: readonly number[] }

export const encode = (value: unknown): Buffer => serialize(value)

export function decodeOrder(bytes: Uint8Array): Order {
  const value = decode(bytes) as Partial<Order> | null
  const work = value?.work as { kind?: unknown; items?: unknown; parts?: unknown; references?: unknown } | undefined
  const list = { items: work?.items, parts: work?.parts, reduce: work?.references }[String(work?.kind)]
  if (typeof value?.run !== 'string' || !Array.isArray(list)) throw broken('an order')
  return value as Order
}

export function decodeReport(bytes: Uint8Array): Report {
  const value = decode(bytes) as { kind?: unknown; outcomes?: unknown; references?: unknown; which?: unknown } | null
  const list = { outcomes: value?.outcomes, kept: value?.references, lost: value?.which }[String(value?.kind)]
  if (!Array.isArray(list)) throw broken('a report')
  return value as Report
}

function decode(bytes: Uint8Array): unknown {
  try {
    return deserialize(bytes)
  } catch (cause) {
    throw broken('a serialised value', cause)
  }
}

function broken(what: string, cause?: unknown): PlatformError {
  return new PlatformError('PROTOCOL_BROKEN', `This is not ${what} of a map: something other than the map client called, or another function answered. Run the program again.`, { cause })
}
