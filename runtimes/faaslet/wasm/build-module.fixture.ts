/**
 * For tests: puts a WebAssembly module together from parts, each the content of one section's entries as bytes.
 */
import { ByteWriter } from './binary.ts'

export interface ModuleParts {
  /** [params, results], by the bytes of their types. */
  readonly types?: readonly (readonly [readonly number[], readonly number[]])[]
  /** [module, name, kind, ...description]. */
  readonly imports?: readonly (readonly [string, string, ...number[]])[]
  readonly functions?: readonly number[]
  readonly tables?: readonly (readonly number[])[]
  readonly memories?: readonly (readonly number[])[]
  readonly globals?: readonly (readonly number[])[]
  /** [name, kind, index]. */
  readonly exports?: readonly (readonly [string, number, number])[]
  readonly start?: number
  readonly elements?: readonly (readonly number[])[]
  readonly dataCount?: number
  /** Bodies without locals; the end is added. */
  readonly code?: readonly (readonly number[])[]
  readonly data?: readonly (readonly number[])[]
  readonly custom?: readonly string[]
}

export const i32 = 0x7f
export const i64 = 0x7e
export const f64 = 0x7c

export function buildModule(parts: ModuleParts): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter().bytes(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0))
  for (const name of parts.custom ?? []) writer.section(0, new ByteWriter().name(name).u8(7))
  list(writer, 1, parts.types, ([params, results], out) => out.u8(0x60).u32(params.length).bytes(Uint8Array.from(params)).u32(results.length).bytes(Uint8Array.from(results)))
  list(writer, 2, parts.imports, ([module, name, ...rest], out) => out.name(module).name(name).bytes(Uint8Array.from(rest)))
  list(writer, 3, parts.functions, (type, out) => out.u32(type))
  list(writer, 4, parts.tables, raw)
  list(writer, 5, parts.memories, raw)
  list(writer, 6, parts.globals, raw)
  list(writer, 7, parts.exports, ([name, kind, index], out) => out.name(name).u8(kind).u32(index))
  if (parts.start !== undefined) writer.section(8, new ByteWriter().u32(parts.start))
  list(writer, 9, parts.elements, raw)
  if (parts.dataCount !== undefined) writer.section(12, new ByteWriter().u32(parts.dataCount))
  list(writer, 10, parts.code, (body, out) => out.u32(body.length + 2).u8(0).bytes(Uint8Array.from(body)).u8(0x0b))
  list(writer, 11, parts.data, raw)
  return writer.toBytes()
}

function raw(bytes: readonly number[], out: ByteWriter): void {
  out.bytes(Uint8Array.from(bytes))
}

function list<Item>(writer: ByteWriter, id: number, items: readonly Item[] | undefined, write: (item: Item, out: ByteWriter) => unknown): void {
  if (items === undefined) return
  const content = new ByteWriter().u32(items.length)
  for (const item of items) write(item, content)
  writer.section(id, content)
}

/** A module with everything that a rewriting must keep: start, two data segments, table, globals of each kind, bulk memory. */
export function fullModule(): Uint8Array<ArrayBuffer> {
  return buildModule({
    custom: ['first', '.debug_info'],
    types: [[[], []], [[], [i32]], [[i32], []], [[i32], [i32]]],
    imports: [['skep', 'status', 0, 3]],
    // 1 start, 2 handle, 3 swap, 4 one, 5 two, 6 grow
    functions: [0, 1, 0, 1, 1, 0],
    tables: [[0x70, 0, 4]],
    memories: [[1, 1, 4]],
    globals: [
      [i32, 0, 0x41, 5, 0x0b],
      [i32, 1, 0x41, 10, 0x0b],
      [i64, 1, 0x42, 11, 0x0b],
      [f64, 1, 0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b],
    ],
    exports: [['memory', 2, 0], ['handle', 0, 2], ['skep_init', 0, 3], ['grow', 0, 6]],
    start: 1,
    // table[0] = one, table[1] = two
    elements: [[0, 0x41, 0, 0x0b, 2, 4, 5]],
    dataCount: 2,
    code: [
      // start: memory[100] = 7
      [0x41, 0xe4, 0, 0x41, 7, 0x3a, 0, 0],
      // handle: memory[0] + memory[100] + global 1 + table[0]() (1 or 2) * 100: through memory.init of segment 1 to 200
      [0x41, 0xc8, 1, 0x41, 0, 0x41, 1, 0xfc, 8, 1, 0, 0x41, 0, 0x2d, 0, 0, 0x41, 0xe4, 0, 0x2d, 0, 0, 0x6a, 0x23, 1, 0x6a, 0x41, 0, 0x11, 1, 0, 0x41, 0xe4, 0, 0x6c, 0x6a, 0x41, 0xc8, 1, 0x2d, 0, 0, 0x6a],
      // skep_init: global 1 = 20, global 2 = -1, swaps table[0] and table[1]
      [0x41, 20, 0x24, 1, 0x42, 0x7f, 0x24, 2, 0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f, 0x24, 3, 0x41, 0, 0x41, 1, 0x25, 0, 0x41, 1, 0x41, 0, 0x25, 0, 0x26, 0, 0x26, 0],
      [0x41, 1],
      [0x41, 2],
      // grow: memory by 1 page, table by 3 nulls
      [0x41, 1, 0x40, 0, 0x1a, 0xd0, 0x70, 0x41, 3, 0xfc, 15, 0, 0x1a],
    ],
    data: [
      [0, 0x41, 0, 0x0b, 1, 3],
      [1, 1, 50],
    ],
  })
}
