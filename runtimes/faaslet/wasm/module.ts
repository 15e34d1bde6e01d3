/**
 * What a WebAssembly module says about itself: its sections, imports, exports, memories, tables, globals and segments.
 *
 * Only what a module must be rewritten for (rewrite.ts) and judged by (check.ts) is read. Function bodies and element
 * segments are not looked into: V8 validates the whole module when it compiles it.
 *
 *   │ \0asm │ version 1 │ section: id u8, length u32, content │ …   in the order of {@link SECTION_ORDER}; custom ones anywhere
 *
 * Source: WebAssembly Core Specification 2.0, 5.5 (modules); exception handling proposal for tags.
 */
import { ByteReader, invalid } from './binary.ts'

export const Section = { custom: 0, type: 1, import: 2, function: 3, table: 4, memory: 5, global: 6, export: 7, start: 8, element: 9, code: 10, data: 11, dataCount: 12, tag: 13 } as const

/** In which order non-custom sections stand in a module. */
export const SECTION_ORDER: readonly number[] = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11]

const valueTypes = { 0x7f: 'i32', 0x7e: 'i64', 0x7d: 'f32', 0x7c: 'f64', 0x7b: 'v128', 0x70: 'funcref', 0x6f: 'externref', 0x69: 'exnref' } as const
const kinds = ['function', 'table', 'memory', 'global', 'tag'] as const
const MODULE_BYTES = Uint8Array.of(0x00, 0x61, 0x73, 0x6d)

export type ValueType = (typeof valueTypes)[keyof typeof valueTypes]
export type ExternalKind = (typeof kinds)[number]

export interface FunctionType {
  readonly params: readonly ValueType[]
  readonly results: readonly ValueType[]
}

export interface Limits {
  readonly min: number
  readonly max: number | undefined
}

export interface GlobalType {
  readonly type: ValueType
  readonly isMutable: boolean
  readonly isImported: boolean
}

export interface TableType extends Limits {
  readonly type: ValueType
  readonly isImported: boolean
  readonly start: number
  readonly end: number
  /** The bytes of its limits, within. */
  readonly limits: Span
}

/** Bytes of the module, from `start` to before `end`. */
export interface Span {
  readonly start: number
  readonly end: number
}

export interface ModuleSection extends Span {
  readonly id: number
  /** Of a custom section. */
  readonly name: string | undefined
  /** Where the content begins; `start` is that of the id. */
  readonly content: number
}

export interface ModuleImport extends Span {
  readonly module: string
  readonly name: string
  readonly kind: ExternalKind
  /** Of a function. */
  readonly type: FunctionType | undefined
}

export interface ModuleExport extends Span {
  readonly name: string
  readonly kind: ExternalKind
  readonly index: number
}

export interface DataSegment extends Span {
  readonly isActive: boolean
}

export interface WasmModule {
  readonly bytes: Uint8Array
  readonly sections: readonly ModuleSection[]
  readonly types: readonly FunctionType[]
  readonly imports: readonly ModuleImport[]
  readonly exports: readonly ModuleExport[]
  /** Type index of each function, imported ones first; likewise below. */
  readonly functions: readonly number[]
  readonly tables: readonly TableType[]
  readonly memories: readonly Limits[]
  readonly globals: readonly GlobalType[]
  /** Index of the start function. */
  readonly start: number | undefined
  readonly data: readonly DataSegment[]
}

interface Building {
  readonly types: FunctionType[]
  readonly imports: ModuleImport[]
  readonly exports: ModuleExport[]
  readonly functions: number[]
  readonly tables: TableType[]
  readonly memories: Limits[]
  readonly globals: GlobalType[]
  start: number | undefined
  readonly data: DataSegment[]
  tags: number
}

/** @throws CODE_INVALID naming what is wrong or not supported: memory64, shared memory, several memories, GC types. */
export function readModule(bytes: Uint8Array): WasmModule {
  const reader = new ByteReader(bytes)
  readPreamble(reader)
  const sections: ModuleSection[] = []
  const module: Building = { types: [], imports: [], exports: [], functions: [], tables: [], memories: [], globals: [], start: undefined, data: [], tags: 0 }
  let last = -1
  while (!reader.isAtEnd) {
    const start = reader.at
    const id = reader.u8()
    const part = reader.part(reader.u32())
    const content = part.at
    if (id !== Section.custom) {
      const order = SECTION_ORDER.indexOf(id)
      if (order === -1) throw invalid(`it has a section of the unknown kind ${id}`, start)
      if (order <= last) throw invalid(`its section ${id} is doubled or out of order`, start)
      last = order
    }
    sections.push({ id, name: id === Section.custom ? part.name() : undefined, start, content, end: part.end })
    if (readSection(id, part, module) && !part.isAtEnd) throw invalid(`its section ${id} has ${part.left} bytes too many`, part.at)
  }
  checkIndices(module)
  return { bytes, sections, ...module }
}

/** The type of a function by its index. */
export function typeOf(module: WasmModule, index: number): FunctionType {
  return module.types[module.functions[index]!]!
}

/** `(i32, i64) -> i32` */
export function typeText({ params, results }: FunctionType): string {
  return `(${params.join(', ')}) -> ${results.length === 1 ? results[0] : `(${results.join(', ')})`}`
}

function readPreamble(reader: ByteReader): void {
  if (reader.left < 8 || MODULE_BYTES.some((byte, at) => reader.bytes[at] !== byte)) throw invalid('it does not begin as a WebAssembly binary does, with "\\0asm" and a version. Deploy the .wasm file, not its text form')
  const version = reader.bytes.subarray(4, 8)
  if (version[0] === 0x0d && version[2] === 1) throw invalid('it is a component (component model). Build a core module for WASI preview 1 (wasm32-wasip1)')
  if (version[0] !== 1 || version[1] !== 0 || version[2] !== 0 || version[3] !== 0) throw invalid(`its version is ${[...version].join('.')}, and only 1 is known`)
  reader.skip(8)
}

/** Whether the section was read to its end. */
function readSection(id: number, part: ByteReader, module: Building): boolean {
  switch (id) {
    case Section.type:
      return each(part, 3, () => module.types.push(readType(part)))
    case Section.import:
      return each(part, 4, () => readImport(part, module))
    case Section.function:
      return each(part, 1, () => module.functions.push(part.u32()))
    case Section.table:
      return each(part, 3, () => module.tables.push(readTable(part, false)))
    case Section.memory:
      return each(part, 2, () => module.memories.push(readLimits(part, 'memory')))
    case Section.tag:
      return each(part, 2, () => readTag(part, module))
    case Section.global:
      return each(part, 4, () => {
        module.globals.push(readGlobal(part, false))
        skipExpression(part)
      })
    case Section.export:
      return each(part, 3, () => readExport(part, module))
    case Section.start:
      module.start = part.u32()
      return true
    case Section.data:
      return each(part, 2, () => module.data.push(readData(part)))
    default:
      return false
  }
}

function each(part: ByteReader, bytesMin: number, read: () => unknown): true {
  for (let left = part.count(bytesMin); left > 0; left--) read()
  return true
}

function readType(part: ByteReader): FunctionType {
  const form = part.u8()
  if (form === 0x4e || form === 0x4f || form === 0x50 || form === 0x5e || form === 0x5f) throw part.invalid('it uses the types of WebAssembly GC, whose heap a snapshot cannot hold. Build it for linear memory')
  if (form !== 0x60) throw part.invalid(`a type has the unknown form ${form}`)
  const types = (): ValueType[] => {
    const list: ValueType[] = []
    each(part, 1, () => list.push(readValueType(part)))
    return list
  }
  return { params: types(), results: types() }
}

function readValueType(part: ByteReader): ValueType {
  const byte = part.u8()
  if (byte === 0x63 || byte === 0x64) throw part.invalid('it uses typed references, which are not supported. Build it without the proposals gc and function-references')
  const type = valueTypes[byte as keyof typeof valueTypes] as ValueType | undefined
  if (type === undefined) throw part.invalid(`a value has the unknown type ${byte}`)
  return type
}

function readImport(part: ByteReader, module: Building): void {
  const start = part.at
  const names = { module: part.name(), name: part.name() }
  const kind = readKind(part)
  let type: FunctionType | undefined
  if (kind === 'function') {
    const index = part.u32()
    type = module.types[index]
    if (type === undefined) throw part.invalid(`an import has type ${index} of ${module.types.length}`)
    module.functions.push(index)
  } else if (kind === 'table') module.tables.push(readTable(part, true))
  else if (kind === 'memory') module.memories.push(readLimits(part, 'memory'))
  else if (kind === 'global') module.globals.push(readGlobal(part, true))
  else readTag(part, module)
  module.imports.push({ ...names, kind, type, start, end: part.at })
}

function readExport(part: ByteReader, module: Building): void {
  const start = part.at
  const name = part.name()
  const kind = readKind(part)
  module.exports.push({ name, kind, index: part.u32(), start, end: part.at })
}

function readKind(part: ByteReader): ExternalKind {
  const byte = part.u8()
  const kind = kinds[byte]
  if (kind === undefined) throw part.invalid(`an import or export has the unknown kind ${byte}`)
  return kind
}

function readTag(part: ByteReader, module: Building): void {
  if (part.u8() !== 0) throw part.invalid('a tag is not an exception')
  const type = part.u32()
  if (type >= module.types.length) throw part.invalid(`a tag has type ${type} of ${module.types.length}`)
  module.tags++
}

function readTable(part: ByteReader, isImported: boolean): TableType {
  const start = part.at
  const hasInitial = !isImported && part.bytes[part.at] === 0x40
  if (hasInitial) {
    part.u8()
    if (part.u8() !== 0) throw part.invalid('a table is of an unknown form')
  }
  const type = readValueType(part)
  const limitsStart = part.at
  const limits = readLimits(part, 'table')
  const limitsEnd = part.at
  if (hasInitial) skipExpression(part)
  return { type, ...limits, isImported, start, end: part.at, limits: { start: limitsStart, end: limitsEnd } }
}

function readLimits(part: ByteReader, what: 'memory' | 'table'): Limits {
  const flags = part.u8()
  if ((flags & 4) !== 0) throw part.invalid(`its ${what} is addressed with 64 bits (memory64), which is not supported. Build it for wasm32`)
  if ((flags & 2) !== 0) throw part.invalid(`its ${what} is shared (threads), which is not supported: an instance has one thread. Build it without threads`)
  if ((flags & 8) !== 0) throw part.invalid(`its ${what} has pages of its own size, which is not supported`)
  if (flags > 1) throw part.invalid(`its ${what} has unknown flags ${flags}`)
  const min = part.u32()
  const max = flags === 1 ? part.u32() : undefined
  if (what === 'memory' && Math.max(min, max ?? 0) > 65_536) throw part.invalid(`its memory has ${Math.max(min, max ?? 0)} pages, at most 65536 are possible`)
  if (max !== undefined && max < min) throw part.invalid(`its ${what} begins with ${min} and may have at most ${max}`)
  return { min, max }
}

function readGlobal(part: ByteReader, isImported: boolean): GlobalType {
  const type = readValueType(part)
  const mutability = part.u8()
  if (mutability > 1) throw part.invalid(`a global has the unknown flags ${mutability}`)
  return { type, isMutable: mutability === 1, isImported }
}

function readData(part: ByteReader): DataSegment {
  const start = part.at
  const mode = part.u32()
  if (mode > 2) throw part.invalid(`a data segment is of the unknown kind ${mode}`)
  if (mode === 2 && part.u32() !== 0) throw part.invalid('a data segment is for another memory than the first; several memories are not supported')
  if (mode !== 1) skipExpression(part)
  part.skip(part.u32())
  return { isActive: mode !== 1, start, end: part.at }
}

/** A constant expression, with the extended ones (addition, subtraction, multiplication). */
function skipExpression(part: ByteReader): void {
  for (;;) {
    const code = part.u8()
    if (code === 0x0b) return
    if (code === 0x41) part.skipSigned(32)
    else if (code === 0x42) part.skipSigned(64)
    else if (code === 0x43) part.skip(4)
    else if (code === 0x44) part.skip(8)
    else if (code === 0x23 || code === 0xd2) part.u32()
    else if (code === 0xd0) part.skipSigned(33)
    else if (code === 0xfd && part.u32() === 12) part.skip(16)
    else if (!(code >= 0x6a && code <= 0x6c) && !(code >= 0x7c && code <= 0x7e)) throw part.invalid(`a constant expression has the instruction ${code}`)
  }
}

function checkIndices(module: Building): void {
  if (module.memories.length > 1) throw invalid(`it has ${module.memories.length} memories; several memories are not supported. Build it without multi-memory`)
  for (const index of module.functions) if (index >= module.types.length) throw invalid(`a function has type ${index} of ${module.types.length}`)
  const counts = { function: module.functions.length, table: module.tables.length, memory: module.memories.length, global: module.globals.length, tag: module.tags }
  const names = new Set<string>()
  for (const { name, kind, index } of module.exports) {
    if (index >= counts[kind]) throw invalid(`its export "${name}" is ${kind} ${index} of ${counts[kind]}`)
    if (names.has(name)) throw invalid(`it exports "${name}" twice`)
    names.add(name)
  }
  if (module.start !== undefined && module.start >= counts.function) throw invalid(`its start function is ${module.start} of ${counts.function}`)
}
