/**
 * Makes faaslets: boots a fresh one, takes what a snapshot holds of it, and makes another from that.
 *
 * Restoring is on the path of every cold start, so nothing is made there that can be made once: the imports object of a
 * guest is kept, and only its slot for the memory is set before each instantiation (V8 reads it during that call).
 *
 * Source: thesis 4.2 (what a snapshot saves); Faasm's Proto-Faaslets, which also hold memory, globals and table.
 *
 * Invariants:
 *   K1. A restored faaslet equals the captured one in memory, mutable globals and tables; what cannot be brought to that is
 *       a `problem` when it is captured, never a wrong instance later.
 *   K2. Nothing of the function runs in `restore`: instantiating has no start function.
 */
import type { Faaslet, Guest } from './guest.ts'
import type { GlobalValue, SnapshotState, TablePatch } from './wasm/state-codec.ts'
import { MEMORY_IMPORT } from './wasm/rewrite.ts'

/** What a snapshot is made of, or why none can be made: the function is then booted for every faaslet. */
export type Capture = { readonly kind: 'snapshot'; readonly state: SnapshotState; readonly memory: WebAssembly.Memory } | { readonly kind: 'problem'; readonly reason: string }

interface Prepared {
  readonly imports: WebAssembly.Imports
  readonly memorySlot: Record<string, WebAssembly.Memory>
}

const prepared = new WeakMap<Guest, Prepared>()
/** What the tables of a faaslet that may be captured held before any of its code ran. */
const freshTables = new WeakMap<Faaslet, readonly (readonly unknown[])[]>()

/**
 * A fresh faaslet, initialised.
 * @param memory Zeroed, of at least `memoryPagesMin` pages and the module's maximum. A new one when it is not given.
 * @param bootDeadlineMs When it is stopped (guest.ts Faaslet).
 * @throws PlatformError of the function's fault.
 */
export async function boot(guest: Guest, memory: WebAssembly.Memory = newMemory(guest), bootDeadlineMs = Infinity): Promise<Faaslet> {
  const faaslet: Faaslet = { ...instantiate(guest, guest.module.boot, memory), bootDeadlineMs }
  freshTables.set(faaslet, entriesOf(guest, faaslet))
  await guest.boot(faaslet)
  return faaslet
}

/** What a snapshot of a faaslet holds that was booted here, or restored `forCapture`. The memory is the faaslet's own: read it before the faaslet goes on. */
export function capture(guest: Guest, faaslet: Faaslet): Capture {
  const problem = guest.snapshotProblem?.(faaslet)
  if (problem !== undefined) return { kind: 'problem', reason: problem }
  const globals: GlobalValue[] = []
  for (const name of guest.module.globals) {
    const { value } = faaslet.exports[name] as WebAssembly.Global
    if (value !== null && typeof value !== 'number' && typeof value !== 'bigint') return { kind: 'problem', reason: 'a mutable global holds a reference' }
    globals.push(value as GlobalValue)
  }
  const tables = tablePatches(guest, faaslet)
  if (typeof tables !== 'string' && faaslet.memory.buffer.byteLength === 0) return { kind: 'problem', reason: 'it has no memory' }
  return typeof tables === 'string' ? { kind: 'problem', reason: tables } : { kind: 'snapshot', state: { globals, tables }, memory: faaslet.memory }
}

/**
 * A faaslet as it was when `state` was captured.
 * @param memory Filled already, of at least the pages that it had then. @param forCapture Whether it may be captured itself later.
 */
export function restore(guest: Guest, memory: WebAssembly.Memory, state: SnapshotState, forCapture = false): Faaslet {
  return restoreInto(guest, instantiateAhead(guest, memory), state, forCapture)
}

/** A faaslet that has never run, of a memory that may still hold anything: what can be done before it is needed. */
export function instantiateAhead(guest: Guest, memory: WebAssembly.Memory): Faaslet {
  return instantiate(guest, guest.module.restore, memory)
}

/** @param faaslet Of {@link instantiateAhead}, once. Its memory has been restored. */
export function restoreInto(guest: Guest, faaslet: Faaslet, state: SnapshotState, forCapture = false): Faaslet {
  if (forCapture) freshTables.set(faaslet, entriesOf(guest, faaslet))
  const { exports } = faaslet
  const { globals, tables } = guest.module
  for (let at = 0; at < globals.length; at++) {
    const value = state.globals[at]!
    // An instance begins with null in globals that may hold null.
    if (value !== null) (exports[globals[at]!] as WebAssembly.Global).value = value
  }
  for (const { table, length, entries } of state.tables) patchTable(exports, tables, table, length, entries)
  return faaslet
}

/** An empty memory of the size that the module begins with. */
export function newMemory({ module }: Guest): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: module.memoryPagesMin, maximum: module.memoryPagesMax ?? 65_536 })
}

function instantiate(guest: Guest, module: WebAssembly.Module, memory: WebAssembly.Memory): Faaslet {
  let made = prepared.get(guest)
  if (made === undefined) {
    const memorySlot: Record<string, WebAssembly.Memory> = {}
    made = { imports: { ...guest.imports, [MEMORY_IMPORT.module]: memorySlot }, memorySlot }
    prepared.set(guest, made)
  }
  made.memorySlot[MEMORY_IMPORT.name] = memory
  const { exports } = new WebAssembly.Instance(module, made.imports)
  return { memory, exports, invocation: undefined, state: undefined }
}

function entriesOf(guest: Guest, faaslet: Faaslet): unknown[][] {
  return guest.module.tables.map((name) => {
    const table = faaslet.exports[name] as WebAssembly.Table
    return Array.from({ length: table.length }, (_, at) => table.get(at) as unknown)
  })
}

/** How the tables differ from fresh ones; a text when an entry is something that a fresh instance's tables do not have. */
function tablePatches(guest: Guest, faaslet: Faaslet): TablePatch[] | string {
  if (guest.module.tables.length === 0) return []
  const fresh = freshTables.get(faaslet)
  if (fresh === undefined) return 'what its tables began with is not known'
  const places = new Map<unknown, { readonly table: number; readonly at: number }>()
  fresh.forEach((entries, table) => entries.forEach((entry, at) => entry !== null && !places.has(entry) && places.set(entry, { table, at })))
  const patches: TablePatch[] = []
  for (const [table, now] of entriesOf(guest, faaslet).entries()) {
    const entries: TablePatch['entries'][number][] = []
    for (const [at, entry] of now.entries()) {
      if (entry === (fresh[table]![at] ?? null)) continue
      const from = entry === null ? null : places.get(entry)
      if (from === undefined) return `entry ${at} of table ${table} is a function that no table held before it was initialised`
      entries.push({ at, from })
    }
    if (entries.length > 0 || now.length !== fresh[table]!.length) patches.push({ table, length: now.length, entries })
  }
  return patches
}

function patchTable(exports: WebAssembly.Exports, names: readonly string[], index: number, length: number, entries: TablePatch['entries']): void {
  const table = exports[names[index]!] as WebAssembly.Table
  if (table.length < length) table.grow(length - table.length)
  // All are read before any is written: entries may have changed places.
  const values = entries.map(({ from }) => (from === null ? null : ((exports[names[from.table]!] as WebAssembly.Table).get(from.at) as unknown)))
  entries.forEach(({ at }, each) => table.set(at, values[each]))
}
