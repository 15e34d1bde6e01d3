/**
 * What a snapshot holds besides memory, and its form in a file: mutable globals and changed table entries.
 *
 * JSON, because it is a handful of values: numbers as their 64 bits in hexadecimal, so that NaN, -0 and i64 come back as they were.
 *
 *   {"globals":["i0000000000010000","f3ff0000000000000",null],"tables":[[0,12,[[3,0,7],[4]]]]}
 *                i: bigint, f: number                                   table, length, [at, from table, from index] or [at] for null
 *
 * It comes from a disk, so decoding trusts nothing.
 */
import { PlatformError } from '../../../src/contract/errors.ts'

/** A number for i32, f32 and f64, a bigint for i64, null for an empty reference. */
export type GlobalValue = number | bigint | null

export interface TablePatch {
  readonly table: number
  readonly length: number
  /** What stands at `at` is what a fresh instance has at `from`. */
  readonly entries: readonly { readonly at: number; readonly from: { readonly table: number; readonly at: number } | null }[]
}

export interface SnapshotState {
  readonly globals: readonly GlobalValue[]
  readonly tables: readonly TablePatch[]
}

const bits = new DataView(new ArrayBuffer(8))

export function encodeState({ globals, tables }: SnapshotState): string {
  return JSON.stringify({
    globals: globals.map(encodeValue),
    tables: tables.map(({ table, length, entries }) => [table, length, entries.map(({ at, from }) => (from === null ? [at] : [at, from.table, from.at]))]),
  })
}

/** @throws SNAPSHOT_DAMAGED when the text is not one that `encodeState` makes. */
export function decodeState(text: string): SnapshotState {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw broken()
  }
  const { globals, tables } = (value ?? {}) as { globals?: unknown; tables?: unknown }
  if (!Array.isArray(globals) || !Array.isArray(tables)) throw broken()
  return { globals: globals.map(decodeValue), tables: tables.map(decodeTable) }
}

/** Whether a state fits a module: as many globals, and tables that it has. */
export function fitsModule(state: SnapshotState, module: { readonly globals: readonly string[]; readonly tables: readonly string[] }): boolean {
  const isTable = (index: number): boolean => index < module.tables.length
  return state.globals.length === module.globals.length && state.tables.every(({ table, entries }) => isTable(table) && entries.every(({ from }) => from === null || isTable(from.table)))
}

function encodeValue(value: GlobalValue): string | null {
  if (value === null) return null
  if (typeof value === 'bigint') bits.setBigInt64(0, value)
  else bits.setFloat64(0, value)
  return `${typeof value === 'bigint' ? 'i' : 'f'}${bits.getBigUint64(0).toString(16).padStart(16, '0')}`
}

function decodeValue(value: unknown): GlobalValue {
  if (value === null) return null
  if (typeof value !== 'string' || !/^[if][0-9a-f]{16}$/.test(value)) throw broken()
  bits.setBigUint64(0, BigInt(`0x${value.slice(1)}`))
  return value[0] === 'i' ? bits.getBigInt64(0) : bits.getFloat64(0)
}

function decodeTable(value: unknown): TablePatch {
  if (!Array.isArray(value) || value.length !== 3 || !isIndex(value[0]) || !isIndex(value[1]) || !Array.isArray(value[2])) throw broken()
  const length = value[1]
  const entries = (value[2] as unknown[]).map((entry) => {
    if (!Array.isArray(entry) || (entry.length !== 1 && entry.length !== 3) || !entry.every(isIndex) || entry[0]! >= length) throw broken()
    const [at, table, from] = entry as [number, number?, number?]
    return { at, from: table === undefined ? null : { table, at: from! } }
  })
  return { table: value[0], length, entries }
}

function isIndex(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff_ffff
}

function broken(): PlatformError {
  return new PlatformError('SNAPSHOT_DAMAGED', 'The state of a snapshot (globals and tables) cannot be read. The snapshot is damaged: drop it, and it is made again.')
}
