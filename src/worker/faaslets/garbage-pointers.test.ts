/**
 * Goal: whatever a WebAssembly function gives to its imports, the host lives, answers in time, and gives others no byte of it: addresses
 * and lengths beyond its memory, handles that are not there, flags that mean nothing.
 *
 * Method: modules put together by chance (the seed is in the test's name): each calls many imports with numbers that are likely to hurt,
 * over a memory of random bytes. How each ends is not said here; that it ends with an error of the table is.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { isPlatformErrorCode } from '#contract/errors.ts'
import { importType, supportedImports } from '../../../runtimes/faaslet/wasi/abi.ts'
import { ByteWriter } from '../../../runtimes/faaslet/wasm/binary.ts'
import { buildModule } from '../../../runtimes/faaslet/wasm/build-module.fixture.ts'
import { workerGround, workerSkip } from '../worker.harness.ts'
import { born } from './faaslets.harness.ts'

const MODULES = 60
const CALLS = 40
const SEED = 20_261_121
const runtimes = mkdtempSync(join(tmpdir(), 'skep-runtimes-'))

/** Numbers from 0 to below `below`, the same ones for the same seed (mulberry32). */
function chance(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

const likely = [0, 1, 3, 4, 8, 100, 0xffff, 0x10000, 0x1ffff, 0x20000, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff]

function randomModule(random: (below: number) => number): Uint8Array {
  const names = Object.entries(supportedImports).flatMap(([module, functions]) => Object.keys(functions).map((name) => ({ module, name, type: importType(module, name)! })))
    // Ends the run at once, and is tested elsewhere.
    .filter(({ name }) => name !== 'proc_exit' && name !== 'abort')
  const number = (): number => (random(3) === 0 ? random(0x20000) : likely[random(likely.length)]!)
  const body = new ByteWriter()
  for (let call = 0; call < CALLS; call++) {
    const index = random(names.length)
    const { params, results } = names[index]!.type
    for (const type of params) {
      if (type === 'i64') body.u8(0x42).bytes(signed(BigInt.asIntN(64, (BigInt(number()) << BigInt(random(33))) | BigInt(number()))))
      else if (type === 'f64') body.u8(0x44).bytes(new Uint8Array(Float64Array.of(number()).buffer))
      else body.u8(0x41).bytes(signed(BigInt.asIntN(32, BigInt(number()))))
    }
    body.u8(0x10).u32(index)
    for (let result = 0; result < results.length; result++) body.u8(0x1a)
  }
  const codes = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c } as Readonly<Record<string, number>>
  const bytes = (types: readonly string[]): number[] => types.map((type) => codes[type]!)
  const content = Array.from({ length: 4000 }, () => random(256))
  return buildModule({
    types: [[[], []], ...names.map(({ type }) => [bytes(type.params), bytes(type.results)] as const)],
    imports: names.map(({ module, name }, at) => [module, name, 0, ...new ByteWriter().u32(at + 1).toBytes()] as const),
    functions: [0],
    memories: [[0, 2]],
    exports: [['handle', 0, names.length], ['memory', 2, 0]],
    code: [[...body.toBytes()]],
    data: [[0, 0x41, 0, 0x0b, ...new ByteWriter().u32(content.length).toBytes(), ...content]],
  })
}

/** Signed LEB128. */
function signed(value: bigint): Uint8Array {
  const bytes: number[] = []
  for (;;) {
    const low = Number(value & 0x7fn)
    value >>= 7n
    if ((value === 0n && (low & 0x40) === 0) || (value === -1n && (low & 0x40) !== 0)) return Uint8Array.from([...bytes, low])
    bytes.push(low | 0x80)
  }
}

describe('garbage pointers', { skip: workerSkip, timeout: 60_000 }, () => {
  after(() => rmSync(runtimes, { recursive: true, force: true }))

  test(`${MODULES} modules of seed ${SEED} call ${CALLS} imports each, and the host lives`, async (context) => {
    const ground = workerGround(context, { runtimes })
    const neighbour = await ground.start(ground.revision(born, { kind: 'js' }, { function: 'neighbour' }))
    const random = chance(SEED)
    const outcomes = new Map<string, number>()
    for (let at = 0; at < MODULES; at++) {
      const instance = await ground.start(ground.revision({ 'main.wasm': randomModule(random) }, { kind: 'wasm', timeoutMs: 200 }, { function: `f${at}` }))
      assert.equal(instance.sandbox.pid, neighbour.sandbox.pid)
      const { sink } = await ground.invoke(instance, { kind: 'http', method: 'POST', path: '/', headers: [], body: Buffer.from('a body') })
      const outcome = sink.error?.code ?? 'ok'
      assert.ok(outcome === 'ok' || isPlatformErrorCode(outcome))
      assert.ok(!['INSTANCE_LOST', 'PROTOCOL_BROKEN', 'INTERNAL', 'START_FAILED'].includes(outcome), `module ${at}: ${sink.error?.message}`)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      assert.equal((await ground.invoke(neighbour)).sink.error, undefined)
      instance.kill('test')
    }
    context.diagnostic(JSON.stringify([...outcomes]))
    assert.ok((outcomes.get('ok') ?? 0) > 0, 'some come to their end')
    assert.deepEqual(ground.warnings, [])
  })
})
