/**
 * Makes a module ready for snapshots: from one module two, `boot` and `restore`, whose instances have their whole state
 * within reach.
 *
 * An instance can be restored if all that changes in it can be read and written from outside. So both modules import
 * their memory (the host maps a snapshot there), and export every mutable global and every table under reserved names.
 * `boot` has the data and is initialised by running code; the start function is exported, not run by instantiating,
 * because code runs only under the watchdog. `restore` has neither: the memory it is given holds all.
 *
 *   original    memory 1 2 · global · export · start 7 · elem · code · data(active)
 *   boot        import skep:memory · global · export + skep:global.0 + skep:start · elem · code · data(active)
 *   restore     import skep:memory · global · export + skep:global.0 · elem · code · data(passive, empty)
 *
 * Source: Faasm's Proto-Faaslets (USENIX ATC 2020) and Wizer take a module's state in the same way; Wizer writes it back
 * into the module as data, which costs copying it at every start.
 *
 * Invariants:
 *   R1. No index changes: an imported memory shifts nothing, globals and functions are never imported anew, and a data
 *       segment that is taken away stays as an empty passive one (as after `data.drop`).
 *   R2. Function bodies are copied byte by byte; a position in one is shifted by `codeShift`.
 */
import { PlatformError } from '../../../src/contract/errors.ts'
import { ByteWriter, invalid } from './binary.ts'
import { readModule, Section, SECTION_ORDER, type ModuleSection, type ValueType, type WasmModule } from './module.ts'

/** Where the memory is imported from. */
export const MEMORY_IMPORT = { module: 'skep:memory', name: 'memory' } as const
/** Name of the exported start function, in `boot`. */
export const START_EXPORT = 'skep:start'
const RESERVED = 'skep:'
export const PAGE_BYTES = 65_536

export interface RewriteOptions {
  /** The function's memory limit in pages of 64 KB. */
  readonly memoryPagesMax: number
}

export interface RewrittenModule {
  readonly boot: Uint8Array<ArrayBuffer>
  readonly restore: Uint8Array<ArrayBuffer>
  readonly memoryPagesMin: number
  readonly memoryPagesMax: number
  /** Names under which the mutable globals are exported, and their types, in order. */
  readonly globals: readonly string[]
  readonly globalTypes: readonly ValueType[]
  readonly tables: readonly string[]
  readonly hasStart: boolean
  /** Why no snapshot can be taken, whatever it does: part of its state is out of reach. */
  readonly snapshotProblem: string | undefined
  /** A byte position that V8 names in a stack of `boot` or `restore`, less this, is one in the original. */
  readonly codeShift: { readonly boot: number; readonly restore: number }
}

/** @throws CODE_INVALID when the module is malformed, not supported, or needs more memory than the limit. */
export function rewriteModule(module: Uint8Array | WasmModule, options: RewriteOptions): RewrittenModule {
  const source = module instanceof Uint8Array ? readModule(module) : module
  checkRewritable(source)
  const memory = memoryLimits(source, options.memoryPagesMax)
  const mutable = [...source.globals.keys()].filter((index) => source.globals[index]!.isMutable)
  const globals = mutable.map((_, at) => `${RESERVED}global.${at}`)
  const globalTypes = mutable.map((index) => source.globals[index]!.type)
  const tables = source.tables.map((_, index) => `${RESERVED}table.${index}`)
  const state: readonly [string, number, number][] = [
    ...tables.map((name, index): [string, number, number] => [name, 1, index]),
    ...mutable.map((index, at): [string, number, number] => [globals[at]!, 3, index]),
  ]
  const start: readonly [string, number, number][] = source.start === undefined ? [] : [[START_EXPORT, 0, source.start]]
  const boot = write(source, memory, [...state, ...start], false)
  const restore = write(source, memory, state, true)
  return {
    boot: boot.bytes,
    restore: restore.bytes,
    memoryPagesMin: memory.min,
    memoryPagesMax: memory.max,
    globals,
    globalTypes,
    tables,
    hasStart: source.start !== undefined,
    snapshotProblem: problemOf(source),
    codeShift: { boot: boot.codeShift, restore: restore.codeShift },
  }
}

/** The memory's limits under the function's. @throws CODE_INVALID */
export function memoryLimits(module: WasmModule, pagesMax: number): { readonly min: number; readonly max: number } {
  const own = module.memories[0] ?? { min: 0, max: undefined }
  if (own.min > pagesMax) {
    throw new PlatformError('CODE_INVALID', `The WebAssembly module begins with ${megabytes(own.min)} MB of memory, and the function may have ${megabytes(pagesMax)} MB. Deploy it with a larger memory, or link it with a smaller one.`, {
      details: { pages: own.min, pagesMax },
    })
  }
  return { min: own.min, max: Math.min(own.max ?? pagesMax, pagesMax) }
}

function megabytes(pages: number): number {
  return Math.round((pages / 16) * 10) / 10
}

function checkRewritable(module: WasmModule): void {
  for (const { module: from, name, kind } of module.imports) {
    if (kind !== 'function' && kind !== 'memory') throw invalid(`it imports the ${kind} "${from}"."${name}"; only functions and the memory can be imported. Link it statically`)
  }
  const entries = module.tables.reduce((sum, { min }) => sum + min, 0)
  if (entries > TABLE_ENTRIES_MAX) throw invalid(`its tables begin with ${entries} entries; together they may have ${TABLE_ENTRIES_MAX}`)
  for (const { name } of module.exports) if (name.startsWith(RESERVED)) throw invalid(`it exports "${name}"; names that begin with "${RESERVED}" are reserved`)
}

/** Of all tables together: 16 MB of the host, beside each instance's memory. */
const TABLE_ENTRIES_MAX = 1_000_000

/** State that JavaScript can neither read nor write. */
function problemOf(module: WasmModule): string | undefined {
  const global = module.globals.findIndex(({ type, isMutable }) => isMutable && (type === 'v128' || type === 'exnref'))
  if (global !== -1) return `its global ${global} is mutable and of type ${module.globals[global]!.type}, which cannot be read from outside`
  const table = module.tables.findIndex(({ type }) => type !== 'funcref' && type !== 'externref')
  return table === -1 ? undefined : `its table ${table} is of type ${module.tables[table]!.type}, which cannot be read from outside`
}

function write(source: WasmModule, memory: { readonly min: number; readonly max: number }, added: readonly [string, number, number][], isRestore: boolean): { bytes: Uint8Array<ArrayBuffer>; codeShift: number } {
  const writer = new ByteWriter().bytes(source.bytes.subarray(0, 8))
  let codeShift = 0
  const has = (id: number): boolean => source.sections.some((section) => section.id === id)
  // Sections that the original lacks, each written before the first that must come after it.
  const missing = [Section.import, Section.export].filter((id) => !has(id) && (id === Section.import || added.length > 0))
  const writeMissing = (before: number): void => {
    while (missing.length > 0 && SECTION_ORDER.indexOf(missing[0]!) < before) {
      const id = missing.shift()!
      writer.section(id, id === Section.import ? importSection(source, memory) : exportSection(source, added))
    }
  }
  for (const section of source.sections) {
    if (section.id !== Section.custom) writeMissing(SECTION_ORDER.indexOf(section.id))
    switch (section.id) {
      case Section.custom:
        // Debug information is large, and V8 does not look at it.
        if (!section.name!.startsWith('.debug_')) copy(writer, source, section)
        break
      case Section.memory:
      case Section.start:
        break
      case Section.table:
        writer.section(section.id, tableSection(source))
        break
      case Section.import:
        writer.section(section.id, importSection(source, memory))
        break
      case Section.export:
        writer.section(section.id, exportSection(source, added))
        break
      case Section.data:
        if (isRestore) writer.section(section.id, restoreData(source))
        else copy(writer, source, section)
        break
      case Section.code:
        codeShift = writer.length - section.start
        copy(writer, source, section)
        break
      default:
        copy(writer, source, section)
    }
  }
  writeMissing(Infinity)
  return { bytes: writer.toBytes(), codeShift }
}

function copy(writer: ByteWriter, source: WasmModule, section: ModuleSection): void {
  writer.bytes(source.bytes.subarray(section.start, section.end))
}

function importSection(source: WasmModule, memory: { readonly min: number; readonly max: number }): ByteWriter {
  const kept = source.imports.filter(({ kind }) => kind !== 'memory')
  const writer = new ByteWriter().u32(kept.length + 1)
  for (const { start, end } of kept) writer.bytes(source.bytes.subarray(start, end))
  return writer.name(MEMORY_IMPORT.module).name(MEMORY_IMPORT.name).u8(2).u8(1).u32(memory.min).u32(memory.max)
}

/** Tables lie outside of the memory, and no limit of V8's is small enough to bound what they take from the host: so theirs is here. */
function tableSection(source: WasmModule): ByteWriter {
  const writer = new ByteWriter().u32(source.tables.length)
  const share = Math.floor(TABLE_ENTRIES_MAX / source.tables.length)
  for (const { start, end, limits, min, max } of source.tables) {
    writer.bytes(source.bytes.subarray(start, limits.start)).u8(1).u32(min).u32(Math.max(min, Math.min(max ?? share, share)))
    writer.bytes(source.bytes.subarray(limits.end, end))
  }
  return writer
}

function exportSection(source: WasmModule, added: readonly [string, number, number][]): ByteWriter {
  // A memory is always there; without one of its own, the module has no index 0 to export, and nothing has to be said.
  const writer = new ByteWriter().u32(source.exports.length + added.length)
  for (const { start, end } of source.exports) writer.bytes(source.bytes.subarray(start, end))
  for (const [name, kind, index] of added) writer.name(name).u8(kind).u32(index)
  return writer
}

function restoreData(source: WasmModule): ByteWriter {
  const writer = new ByteWriter().u32(source.data.length)
  for (const { isActive, start, end } of source.data) {
    if (isActive) writer.u8(1).u32(0)
    else writer.bytes(source.bytes.subarray(start, end))
  }
  return writer
}
