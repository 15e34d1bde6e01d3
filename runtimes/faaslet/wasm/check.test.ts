/**
 * Goal: a module is judged without running it: its shape, what it wants, and errors that say what to do.
 * Method: modules put together by hand, and the C fixtures.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { importType, supportedImports } from '../wasi/abi.ts'
import { importsOf } from '../wasi/imports.ts'
import { buildModule, f64, i32 } from './build-module.fixture.ts'
import { checkModule, type ModuleReport } from './check.ts'

const limits = { memoryPagesMax: 256 }
const fixture = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../../../test/functions/wasm', `${name}.wasm`))

/** A module whose exports are functions: by default without parameters and result. */
function exporting(names: readonly string[], type: 0 | 1 | 2 = 0): Uint8Array {
  return buildModule({ types: [[[], []], [[], [i32]], [[i32], []]], functions: names.map(() => type), exports: names.map((name, at) => [name, 0, at]), code: names.map(() => (type === 1 ? [0x41, 0] : [])) })
}

function importing(module: string, name: string, params: readonly number[] = [], results: readonly number[] = []): ModuleReport {
  return checkModule(buildModule({ types: [[[], []], [params, results]], imports: [[module, name, 0, 1]], functions: [0], exports: [['handle', 0, 1]], code: [[]] }), limits)
}

test('shapes are found by what is exported', () => {
  const shape = (names: readonly string[], handler?: string): unknown => checkModule(exporting(names), { ...limits, handler }).shape
  assert.deepEqual(shape(['_start']), { kind: 'command', boot: [], entry: '_start' })
  assert.deepEqual(shape(['_start', 'main']), { kind: 'command', boot: [], entry: '_start' })
  assert.deepEqual(shape(['_start', 'skep_init']), { kind: 'command', boot: ['skep_init'], entry: '_start' })
  assert.deepEqual(shape(['_start', 'wizer.initialize', 'wizer.resume']), { kind: 'command', boot: ['wizer.initialize'], entry: 'wizer.resume' })
  assert.deepEqual(shape(['_initialize', 'skep_init', 'handle']), { kind: 'reactor', boot: ['_initialize', 'skep_init'], entry: 'handle' })
  assert.deepEqual(shape(['main']), { kind: 'reactor', boot: [], entry: 'main' })
  assert.deepEqual(shape(['_start', 'handle']), { kind: 'reactor', boot: ['_start'], entry: 'handle' })
  assert.deepEqual(shape(['_start', 'other'], 'other'), { kind: 'reactor', boot: ['_start'], entry: 'other' })
  assert.equal(checkModule(exporting(['handle'], 1), limits).shape?.entry, 'handle')
})

test('a module without a handler names what it exports', () => {
  const [error] = checkModule(exporting(['handle', 'other'], 2), limits).errors
  assert.equal(error!.code, 'HANDLER_NOT_FOUND')
  assert.match(error!.message, /neither "_start".*It exports handle \(i32\) -> \(\), other/)
  assert.match(checkModule(buildModule({}), limits).errors[0]!.message, /It exports no function/)
  assert.match(checkModule(exporting(['_start']), { ...limits, handler: 'nope' }).errors[0]!.message, /no handler "nope"/)
})

test('imports that are not there are listed, with what helps', () => {
  assert.match(importing('env', 'emscripten_resize_heap').errors[0]!.message, /imports env\.emscripten_resize_heap; there is no such import\. Emscripten builds for browsers/)
  assert.match(importing('wasi_unstable', 'fd_write').errors[0]!.message, /preview 0/)
  assert.match(importing('wbg', '__wbindgen_throw').errors[0]!.message, /wasm-bindgen/)
  assert.match(importing('skep', 'no_such').errors[0]!.message, /Supported are wasi_snapshot_preview1 .*skep \(input_size/)
  assert.match(importing('__proto__', 'toString').errors[0]!.message, /no such import/)
  const wrong = importing('skep', 'status', [f64], [i32])
  assert.match(wrong.errors[0]!.message, /skep\.status \(f64\) -> i32, which is \(i32\) -> i32/)
})

test('what it imports says whether it may wait', () => {
  assert.deepEqual([importing('skep', 'status', [i32], [i32]).waits, importing('skep', 'input_read', [i32, i32], [i32]).waits], [false, true])
  const report = checkModule(fixture('command'), limits)
  assert.deepEqual([report.errors.length, report.waits, report.shape?.kind, report.memoryPagesMax], [0, true, 'command', 256])
  assert.ok(report.imports.includes('wasi_snapshot_preview1.fd_write'))
  assert.deepEqual(checkModule(fixture('reactor'), limits).shape, { kind: 'reactor', boot: ['_initialize', 'skep_init'], entry: 'handle' })
})

test('memory over the limit is an error, and so is what is no module', () => {
  const report = checkModule(buildModule({ memories: [[0, 0xac, 2]] }), limits)
  assert.match(report.errors[0]!.message, /18\.8 MB of memory, and the function may have 16 MB/)
  assert.equal(checkModule(Buffer.from('hello'), limits).errors[0]!.code, 'CODE_INVALID')
})

test('every import of the table has a signature and an implementation, and skep.h declares it', () => {
  const imports = importsOf({ faaslet: undefined })
  const header = readFileSync(join(import.meta.dirname, '../wasi/skep.h'), 'utf8')
  const page = readFileSync(join(import.meta.dirname, '../../../docs/wasm-abi.md'), 'utf8')
  for (const [module, names] of Object.entries(supportedImports)) {
    for (const name of Object.keys(names)) {
      assert.ok(importType(module, name) !== undefined && imports[module]![name] !== undefined, `${module}.${name}`)
      if (module === 'skep') assert.ok(header.includes(`SKEP_IMPORT(${name})`) && page.includes(`\`${name}\``), name)
    }
    assert.deepEqual(Object.keys(imports[module]!).sort(), Object.keys(names).sort())
  }
})
