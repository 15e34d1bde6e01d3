/**
 * Goal: the two modules that are made of one behave as it does, except for what is meant; what is not supported is refused
 * by name; and no bytes whatever do more than raise CODE_INVALID.
 * Method: modules put together by hand and the C fixtures, compiled and run by V8; fuzzing by cutting and changing bytes.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '../../../src/contract/errors.ts'
import { buildModule, fullModule, i32 } from './build-module.fixture.ts'
import { checkModule } from './check.ts'
import { readModule } from './module.ts'
import { MEMORY_IMPORT, rewriteModule, START_EXPORT } from './rewrite.ts'

const limits = { memoryPagesMax: 256 }
const fixture = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../../../test/functions/wasm', `${name}.wasm`))

function instantiate(bytes: Uint8Array<ArrayBuffer>, memory: WebAssembly.Memory): WebAssembly.Instance {
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), { [MEMORY_IMPORT.module]: { [MEMORY_IMPORT.name]: memory }, skep: { status: () => 0 } })
}

function refusal(bytes: Uint8Array, options = limits): PlatformError {
  try {
    rewriteModule(bytes, options)
  } catch (error) {
    assert.ok(error instanceof PlatformError, String(error))
    return error
  }
  return assert.fail('it was taken')
}

test('boot keeps data and start function, and runs nothing by itself; no index changes (R1)', () => {
  const rewritten = rewriteModule(fullModule(), limits)
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 4 })
  const { exports } = instantiate(rewritten.boot, memory)
  const bytes = new Uint8Array(memory.buffer)
  assert.deepEqual([bytes[0], bytes[100]], [3, 0])
  ;(exports[START_EXPORT] as () => void)()
  assert.equal(bytes[100], 7)
  // 3 + 7 + 10 + one() * 100 + 50
  assert.equal((exports['handle'] as () => number)(), 170)
  assert.equal(exports['memory'], memory)
  assert.deepEqual(rewritten.globals.map((name) => (exports[name] as WebAssembly.Global).value), [10, 11n, 0])
  assert.deepEqual([rewritten.memoryPagesMin, rewritten.memoryPagesMax, rewritten.hasStart], [1, 4, true])
})

test('restore writes no data and has no start function; passive segments stay', () => {
  const rewritten = rewriteModule(fullModule(), limits)
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 4 })
  const { exports } = instantiate(rewritten.restore, memory)
  assert.deepEqual(new Uint8Array(memory.buffer).findIndex((byte) => byte !== 0), -1)
  assert.equal(exports[START_EXPORT], undefined)
  assert.equal((exports['handle'] as () => number)(), 160)
})

test('a module without memory, imports, exports or sections is given what it needs', () => {
  for (const bytes of [buildModule({}), buildModule({ types: [[[], []]], functions: [0], code: [[]] }), buildModule({ memories: [[1, 1, 4]] })]) {
    const { boot, restore } = rewriteModule(bytes, limits)
    instantiate(boot, new WebAssembly.Memory({ initial: 1, maximum: 4 }))
    instantiate(restore, new WebAssembly.Memory({ initial: 1, maximum: 4 }))
  }
  const imported = rewriteModule(buildModule({ imports: [['env', 'memory', 2, 1, 2, 3]] }), limits)
  assert.deepEqual([imported.memoryPagesMin, imported.memoryPagesMax], [2, 3])
  instantiate(imported.boot, new WebAssembly.Memory({ initial: 2, maximum: 3 }))
})

test('a compiled program is rewritten to valid modules, without its debug information', () => {
  for (const name of ['command', 'reactor']) {
    const { boot, restore, memoryPagesMax } = rewriteModule(fixture(name), limits)
    assert.ok(WebAssembly.validate(boot) && WebAssembly.validate(restore))
    assert.equal(memoryPagesMax, 256)
  }
  const names = WebAssembly.Module.customSections(new WebAssembly.Module(rewriteModule(fullModule(), limits).boot), '.debug_info')
  assert.equal(names.length, 0)
})

test('what is not supported is refused by name', () => {
  const cases: [Uint8Array, RegExp][] = [
    [Buffer.from('(module)'), /does not begin as a WebAssembly binary/],
    [Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0), /component/],
    [Uint8Array.of(0, 0x61, 0x73, 0x6d, 2, 0, 0, 0), /version is 2\.0\.0\.0/],
    [buildModule({ memories: [[4, 1]] }), /memory64/],
    [buildModule({ memories: [[3, 1, 2]] }), /threads/],
    [buildModule({ memories: [[0, 1], [0, 1]] }), /several memories/],
    [buildModule({ imports: [['env', 'memory', 2, 0, 1]], memories: [[0, 1]] }), /several memories/],
    [buildModule({ memories: [[1, 3, 2]] }), /begins with 3/],
    [buildModule({ imports: [['env', 'sp', 3, i32, 1]] }), /imports the global "env"\."sp"/],
    [buildModule({ imports: [['env', 'table', 1, 0x70, 0, 1]] }), /imports the table/],
    [buildModule({ memories: [[0, 1]], exports: [['skep:x', 2, 0]] }), /reserved/],
    [buildModule({ memories: [[0, 1]], exports: [['a', 2, 1]] }), /memory 1 of 1/],
    [buildModule({ memories: [[0, 1]], exports: [['a', 2, 0], ['a', 2, 0]] }), /twice/],
    [buildModule({ types: [[[], []]], functions: [3] }), /type 3 of 1/],
  ]
  for (const [bytes, message] of cases) {
    const error = refusal(bytes)
    assert.equal(error.code, 'CODE_INVALID')
    assert.match(error.message, message)
  }
  const large = refusal(buildModule({ memories: [[0, 32]] }), { memoryPagesMax: 16 })
  assert.match(large.message, /begins with 2 MB of memory, and the function may have 1 MB\. Deploy it with a larger memory/)
})

test('state that cannot be read from outside is said', () => {
  const zeros = Array.from({ length: 16 }, () => 0)
  const vector = buildModule({ globals: [[0x7b, 1, 0xfd, 12, ...zeros, 0x0b]] })
  assert.match(rewriteModule(vector, limits).snapshotProblem!, /global 0 is mutable and of type v128/)
  assert.equal(rewriteModule(fullModule(), limits).snapshotProblem, undefined)
})

test('any bytes are read, or refused as CODE_INVALID, and what is taken is found in them (fuzz)', () => {
  const sources = [fullModule(), new Uint8Array(fixture('reactor'))]
  const change = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(fc.constantFrom(...sources), change, fc.option(fc.nat()), (source, changes, cut) => {
      const bytes = Uint8Array.from(cut === null ? source : source.subarray(0, cut % source.length))
      // Mostly in what is read: the head of the file.
      for (const [at, value] of changes) if (bytes.length > 8) bytes[8 + (at % Math.min(bytes.length - 8, 400))] = value
      const report = checkModule(bytes, limits)
      for (const error of report.errors) assert.ok(error.code === 'CODE_INVALID' || error.code === 'HANDLER_NOT_FOUND', error.message)
      if (report.errors.length > 0) return
      // V8 may still refuse the bodies; but what it takes, it takes rewritten.
      const { boot, restore } = rewriteModule(bytes, limits)
      if (WebAssembly.validate(bytes)) assert.ok(WebAssembly.validate(boot) && WebAssembly.validate(restore))
    }),
    { numRuns: 2000 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (tail) => {
      const bytes = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...tail])
      try {
        assert.ok(readModule(bytes).sections.every(({ start, end }) => start < end && end <= bytes.length))
      } catch (error) {
        assert.equal((error as PlatformError).code, 'CODE_INVALID')
      }
    }),
    { numRuns: 2000 },
  )
})
