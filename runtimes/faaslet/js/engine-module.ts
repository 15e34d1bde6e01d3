/**
 * The module of kind js: quickjs.wasm of the package `quickjs-wasi`, without the exports that nobody uses.
 *
 * Every export of an instance is a function object that V8 makes while it instantiates: of the package's 452, the engine uses some 40.
 * Without the others, a faaslet is instantiated four times as fast.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { ByteWriter } from '../wasm/binary.ts'
import { readModule, Section } from '../wasm/module.ts'
import { ENGINE_EXPORTS } from './engine-exports.ts'

/** The bytes of the module. */
export function quickJsBytes(): Uint8Array<ArrayBuffer> {
  return withExports(readFileSync(createRequire(import.meta.url).resolve('quickjs-wasi/quickjs.wasm')), new Set(ENGINE_EXPORTS))
}

/** @throws PlatformError CODE_INVALID when it is no module. */
function withExports(bytes: Uint8Array, names: ReadonlySet<string>): Uint8Array<ArrayBuffer> {
  const module = readModule(bytes)
  const kept = module.exports.filter(({ name }) => names.has(name))
  const list = new ByteWriter().u32(kept.length)
  for (const { start, end } of kept) list.bytes(bytes.subarray(start, end))
  const writer = new ByteWriter().bytes(bytes.subarray(0, 8))
  for (const { id, start, end } of module.sections) {
    if (id === Section.export) writer.section(id, list)
    else writer.bytes(bytes.subarray(start, end))
  }
  return writer.toBytes()
}
