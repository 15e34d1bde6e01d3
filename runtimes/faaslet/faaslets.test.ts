/**
 * Goal: a restored faaslet is the one that was captured, in memory, globals and tables, and what cannot be brought to that is
 * said when it is captured (K1).
 * Method: modules put together by hand, run by V8, with the plainest Enter; and how long restoring takes is printed.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PlatformError } from '../../src/contract/errors.ts'
import { boot, capture, newMemory, restore, type Capture } from './faaslets.ts'
import type { Faaslet, Running } from './guest.ts'
import { givenFiles } from './wasi/app-files.ts'
import { makeWasiGuest, type WasiGuest } from './wasi/guest.ts'
import { buildModule, fullModule, i32 } from './wasm/build-module.fixture.ts'
import { decodeState, encodeState } from './wasm/state-codec.ts'

function guestOf(bytes: Uint8Array): Promise<WasiGuest> {
  const running: Running = { faaslet: undefined }
  return makeWasiGuest({
    bytes,
    frame: { namespace: 'test', function: 'f', revision: 1, entry: 'main.wasm', environment: {} },
    memoryBytesMax: 2 ** 20,
    files: givenFiles({}),
    running,
    enter: (faaslet, run) => {
      running.faaslet = faaslet
      return run()
    },
    log: () => {},
  })
}

function snapshot(captured: Capture): Extract<Capture, { kind: 'snapshot' }> {
  assert.equal(captured.kind, 'snapshot', captured.kind === 'problem' ? captured.reason : '')
  return captured as Extract<Capture, { kind: 'snapshot' }>
}

/** Another one, as from a snapshot file: memory copied, state encoded and decoded. */
function clone(guest: WasiGuest, captured: Extract<Capture, { kind: 'snapshot' }>): Faaslet {
  const memory = newMemory(guest)
  const pages = captured.memory.buffer.byteLength / 65_536
  memory.grow(pages - memory.buffer.byteLength / 65_536)
  new Uint8Array(memory.buffer).set(new Uint8Array(captured.memory.buffer))
  return restore(guest, memory, decodeState(encodeState(captured.state)))
}

const call = (faaslet: Faaslet, name: string): unknown => (faaslet.exports[name] as () => unknown)()

test('memory, globals and a swapped table come back', async () => {
  const guest = await guestOf(fullModule())
  const booted = await boot(guest)
  const captured = snapshot(capture(guest, booted))
  assert.deepEqual(captured.state.globals, [20, -1n, NaN])
  assert.deepEqual(captured.state.tables, [{ table: 0, length: 4, entries: [{ at: 0, from: { table: 0, at: 1 } }, { at: 1, from: { table: 0, at: 0 } }] }])
  const other = clone(guest, captured)
  // 3 + 7 + 20 + two() * 100 + 50
  assert.equal(call(other, 'handle'), 280)
  assert.deepEqual(guest.module.globals.map((name) => (other.exports[name] as WebAssembly.Global).value), [20, -1n, NaN])
  // What one does, no other sees.
  ;(other.exports[guest.module.globals[0]!] as WebAssembly.Global).value = 1
  new Uint8Array(other.memory.buffer)[0] = 9
  assert.equal(call(clone(guest, captured), 'handle'), 280)
})

test('a memory and a table that have grown are as large again', async () => {
  const bytes = fullModule()
  const guest = await guestOf(bytes)
  const booted = await boot(guest)
  call(booted, 'grow')
  const captured = snapshot(capture(guest, booted))
  const other = clone(guest, captured)
  assert.deepEqual([other.memory.buffer.byteLength, (other.exports[guest.module.tables[0]!] as WebAssembly.Table).length], [131_072, 7])
})

test('a function that no table held before is a problem, said when captured', async () => {
  // skep_init: table[0] = ref.func 1, which is declared only.
  const bytes = buildModule({
    types: [[[], []]],
    functions: [0, 0],
    tables: [[0x70, 0, 2]],
    exports: [['skep_init', 0, 0], ['handle', 0, 1]],
    elements: [[3, 0, 1, 1]],
    code: [[0x41, 0, 0xd2, 1, 0x26, 0], []],
  })
  const guest = await guestOf(bytes)
  assert.deepEqual(capture(guest, await boot(guest)), { kind: 'problem', reason: 'entry 0 of table 0 is a function that no table held before it was initialised' })
})

test('a start function or initialiser that traps is INIT_FAILED', async () => {
  for (const parts of [{ start: 0 }, { exports: [['skep_init', 0, 0], ['handle', 0, 0]] as const }]) {
    const guest = await guestOf(buildModule({ types: [[[], []]], functions: [0], exports: [['handle', 0, 0]], code: [[0x00]], ...parts }))
    await assert.rejects(boot(guest), (error: PlatformError) => error.code === 'INIT_FAILED' && /While it was initialised, "main\.wasm" stopped: RuntimeError: unreachable/.test(error.message))
  }
})

test('a module that V8 refuses is CODE_INVALID', async () => {
  const bytes = buildModule({ types: [[[], [i32]]], functions: [0], exports: [['handle', 0, 0]], code: [[]] })
  await assert.rejects(guestOf(bytes), (error: PlatformError) => error.code === 'CODE_INVALID' && /V8 says: /.test(error.message))
})

test('restoring a small program takes microseconds', async (context) => {
  const guest = await guestOf(readFileSync(join(import.meta.dirname, '../../test/functions/wasm/reactor.wasm')))
  const { state } = snapshot(capture(guest, await boot(guest)))
  const memory = newMemory(guest)
  const tookUs: number[] = []
  for (let at = 0; at < 3000; at++) {
    const startNs = process.hrtime.bigint()
    restore(guest, memory, state)
    tookUs.push(Number(process.hrtime.bigint() - startNs) / 1000)
  }
  tookUs.sort((a, b) => a - b)
  context.diagnostic(`restore without mapping: p50 ${tookUs[1500]!.toFixed(1)} µs, p99 ${tookUs[2970]!.toFixed(1)} µs`)
  assert.ok(tookUs[1500]! < 1000)
})
