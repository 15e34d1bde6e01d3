/**
 * Goal: code that is broken or hostile as a faaslet gets the typed error of its own fault, within its time limit, and costs others
 * nothing: the platform goes on, and so do the functions that share its host process.
 *
 * Method: one platform; a table of functions, each asked once; a good function of the same namespace is asked after each, and
 * the host processes are counted at the end. Modules are put together byte by byte where no compiler would make them.
 */
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import type { PlatformErrorCode } from '#contract/errors.ts'
import { buildModule, i32 } from '../../runtimes/faaslet/wasm/build-module.fixture.ts'
import { deployJs, deployWasm, faasletHosts, tryDeployJs, tryDeployWasm, wasmFixture } from '../kit/faaslets.ts'
import { assertError } from '../kit/http.ts'
import { peakResidentMb, startTestPlatform } from '../kit/platform.ts'
import type { DeployConfig, TestPlatform } from '../kit/platform.ts'

const MB = 1024 ** 2
const TIMEOUT_MS = 400

interface Case {
  readonly does: string
  readonly code: PlatformErrorCode
  readonly says?: RegExp
  readonly config?: DeployConfig
}

const handler = { types: [[[], []], [[], [i32]], [[i32], [i32]]], exports: [['handle', 0, 0]] } as const
/** Opcodes: loop { … br 0 }. */
const forever = (...body: number[]): number[] => [0x03, 0x40, ...body, 0x0c, 0, 0x0b]
const memory = [[1, 1, 0x80, 0x80, 0x04]]

const modules: readonly (Case & { readonly module: Uint8Array })[] = [
  { does: 'no WebAssembly', module: Buffer.from('#!/bin/sh\necho no'), code: 'CODE_INVALID', says: /WebAssembly/ },
  { does: 'nothing', module: Buffer.alloc(0), code: 'CODE_INVALID' },
  { does: 'a module that is cut off', module: wasmFixture('command').subarray(0, 9000), code: 'CODE_INVALID' },
  { does: 'a section that claims 4 GB', module: Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]), code: 'CODE_INVALID' },
  { does: 'a component', module: Buffer.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]), code: 'CODE_INVALID' },
  { does: 'unknown imports', module: buildModule({ ...handler, imports: [['env', 'secret_door', 0, 0], ['wasi_snapshot_preview1', 'sock_bind', 0, 0]], functions: [0], exports: [['handle', 0, 2]], code: [[]] }), code: 'CODE_INVALID', says: /env\.secret_door, wasi_snapshot_preview1\.sock_bind/ },
  { does: '100,000 imports that are not there', module: buildModule({ ...handler, imports: Array.from({ length: 100_000 }, (_, at) => ['x', `f${at}`, 0, 0] as const), functions: [0], exports: [['handle', 0, 100_000]], code: [[]] }), code: 'CODE_INVALID', says: /and 99980 more/ },
  { does: '100,001 exports', module: buildModule({ ...handler, functions: [0], exports: Array.from({ length: 100_001 }, (_, at) => [`f${at}`, 0, 0] as const), code: [[]] }), code: 'HANDLER_NOT_FOUND', says: /and 99981 more/ },
  { does: 'no handler', module: buildModule({ ...handler, functions: [0], exports: [['other', 0, 0]], code: [[]] }), code: 'HANDLER_NOT_FOUND', says: /other/ },
  { does: 'a memory over its limit', module: buildModule({ ...handler, functions: [0], memories: [[0, 0x80, 0x80, 0x02]], code: [[]] }), code: 'CODE_INVALID', says: /64 MB|memory/i, config: { memoryMb: 64 } },
  { does: 'a table of 4 billion entries', module: buildModule({ ...handler, functions: [0], tables: [[0x70, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]], code: [[]] }), code: 'CODE_INVALID' },
  { does: 'a body that V8 refuses', module: buildModule({ ...handler, functions: [0], code: [[0x6a]] }), code: 'CODE_INVALID', says: /V8 says/ },
  { does: 'a start function that traps', module: buildModule({ ...handler, functions: [0, 0], start: 1, code: [[], [0x00]] }), code: 'INIT_FAILED', says: /unreachable/ },
  { does: 'a start function that spins', module: buildModule({ ...handler, functions: [0, 0], start: 1, code: [[], forever()] }), code: 'INIT_TIMEOUT', says: /initTimeoutMs/, config: { initTimeoutMs: TIMEOUT_MS } },
  { does: 'an initialiser that spins', module: buildModule({ ...handler, functions: [0, 0], exports: [['handle', 0, 0], ['skep_init', 0, 1]], code: [[], forever()] }), code: 'INIT_TIMEOUT', config: { initTimeoutMs: TIMEOUT_MS } },
  { does: 'spinning', module: buildModule({ ...handler, functions: [0], code: [forever()] }), code: 'FUNCTION_TIMEOUT' },
  { does: 'calling itself without end', module: buildModule({ ...handler, functions: [0], code: [[0x10, 0]] }), code: 'FUNCTION_THREW', says: /stack/i },
  { does: 'growing its memory without end', module: buildModule({ ...handler, functions: [0], memories: memory, code: [forever(0x41, 1, 0x40, 0, 0x1a)] }), code: 'FUNCTION_TIMEOUT', config: { memoryMb: 32 } },
  { does: 'growing its memory until it is refused', module: buildModule({ ...handler, functions: [0], memories: memory, code: [forever(0x41, 1, 0x40, 0, 0x41, 0x7f, 0x46, 0x04, 0x40, 0x00, 0x0b)] }), code: 'FUNCTION_OUT_OF_MEMORY', config: { memoryMb: 32 } },
  { does: 'growing its table without end', module: buildModule({ ...handler, functions: [0], tables: [[0x70, 0, 1]], code: [forever(0xd0, 0x70, 0x41, 0xc0, 0x84, 0x3d, 0xfc, 15, 0, 0x1a)] }), code: 'FUNCTION_TIMEOUT' },
  { does: 'waiting for ever', module: buildModule({ ...handler, imports: [['wasi_snapshot_preview1', 'poll_oneoff', 0, 2]], types: [[[], []], [[], [i32]], [[i32, i32, i32, i32], [i32]]], functions: [0], memories: memory, exports: [['handle', 0, 1], ['memory', 2, 0]],
    // One subscription: clock, monotonic, 2^62 ns.
    code: [[0x41, 24, 0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0xc0, 0, 0x37, 3, 0, 0x41, 0, 0x41, 0xe4, 0, 0x41, 1, 0x41, 0xc8, 1, 0x10, 0, 0x1a]] }), code: 'FUNCTION_TIMEOUT' },
  { does: 'reading beyond its memory', module: buildModule({ ...handler, functions: [0], memories: memory, code: [[0x41, 0x7f, 0x2d, 0, 0, 0x1a]] }), code: 'FUNCTION_THREW', says: /out of bounds/ },
]

const scripts: readonly (Case & { readonly text: string })[] = [
  { does: 'spins while loading', text: 'for (;;) ;\nexport function main() {}', code: 'INIT_TIMEOUT', says: /initTimeoutMs/, config: { initTimeoutMs: TIMEOUT_MS } },
  { does: 'throws while loading', text: 'throw new Error("no database")\nexport function main() {}', code: 'INIT_FAILED', says: /no database/ },
  { does: 'waits while loading for what never comes', text: 'await new Promise(() => {})\nexport function main() {}', code: 'INIT_FAILED', says: /top level/ },
  { does: 'eats memory while loading', text: 'const all = []; for (;;) all.push(new Uint8Array(1 << 20))\nexport function main() {}', code: 'FUNCTION_OUT_OF_MEMORY', config: { memoryMb: 32 } },
  { does: 'spins', text: 'export function main() { for (;;) ; }', code: 'FUNCTION_TIMEOUT' },
  { does: 'spins in promises', text: 'export async function main() { for (;;) await null }', code: 'FUNCTION_TIMEOUT' },
  { does: 'spins in a getter of its answer', text: 'export function main() { return { get a() { for (;;) ; } } }', code: 'FUNCTION_TIMEOUT' },
  { does: 'catches everything and spins on', text: 'export function main() { for (;;) try { for (;;) ; } catch {} }', code: 'FUNCTION_TIMEOUT' },
  { does: 'backtracks in a regular expression', text: 'export function main() { return /^(a+)+$/.test("a".repeat(40) + "!") }', code: 'FUNCTION_TIMEOUT' },
  { does: 'waits for ever', text: 'export function main() { return new Promise(() => {}) }', code: 'FUNCTION_TIMEOUT' },
  { does: 'sets a timer again and again', text: 'export function main() { const again = () => setTimeout(again, 0); again(); return new Promise(() => {}) }', code: 'FUNCTION_TIMEOUT' },
  { does: 'logs without end', text: 'export function main() { for (;;) console.log("x".repeat(1000)) }', code: 'FUNCTION_TIMEOUT' },
  { does: 'calls itself without end', text: 'export function main() { const f = () => f() + 1; return f() }', code: 'FUNCTION_THREW', says: /stack|recursion|RangeError|InternalError/i },
  { does: 'nests JSON without end', text: 'export function main() { return JSON.parse("[".repeat(1e6)) }', code: 'FUNCTION_THREW' },
  { does: 'answers what nests too deeply', text: 'export function main() { let deep = []; for (let n = 0; n < 1e5; n++) deep = [deep]; return deep }', code: 'FUNCTION_THREW', says: /stack|ANSWER|recursion|RangeError|InternalError/i },
  { does: 'makes a giant string', text: 'export function main() { let s = "x"; for (;;) s += s }', code: 'FUNCTION_THREW', says: /too long/, config: { memoryMb: 64 } },
  { does: 'throws a giant message', text: 'export function main() { throw Object.assign(new Error("x".repeat(5e6)), { stack: "y".repeat(5e6), details: "z".repeat(5e6) }) }', code: 'FUNCTION_THREW', says: /characters/ },
  { does: 'answers giant headers', text: 'export default { fetch() { return new Response("", { headers: { a: "x".repeat(5e6) } }) } }', code: 'ANSWER_INVALID', says: /header/ },
  { does: 'calls a function with a giant name', text: 'import { invoke } from "skep"\nexport async function main() { return invoke("x".repeat(5e6), 1) }', code: 'FUNCTION_THREW', says: /frame/ },
  { does: 'rejects without a handler', text: 'export async function main() { Promise.reject(new Error("nobody listens")); await new Promise((resolve) => setTimeout(resolve, 1000)) }', code: 'FUNCTION_THREW', says: /nobody listens/ },
  { does: 'throws null', text: 'export function main() { throw null }', code: 'FUNCTION_THREW' },
  { does: 'throws what throws when it is shown', text: 'export function main() { throw { get message() { throw 1 }, toString() { throw 2 }, get stack() { throw 3 } } }', code: 'FUNCTION_THREW' },
  { does: 'spoils the engine and throws', text: 'export function main() { Error.prototype.toString = null; JSON.stringify = null; Promise.prototype.then = null; Object.prototype.get = 1; throw new Error("spoilt") }', code: 'FUNCTION_THREW' },
  { does: 'answers no Response', text: 'export default { fetch() { return 1 } }', code: 'ANSWER_INVALID', says: /Response/ },
  { does: 'answers a circle', text: 'export function main() { const a = {}; a.a = a; return a }', code: 'ANSWER_INVALID', says: /JSON/ },
  { does: 'asks for what only Node has', text: 'import fs from "node:fs"\nexport function main() { return fs.readdirSync("/") }', code: 'CODE_INVALID', says: /node:fs/ },
  { does: 'fetches without a network', text: 'export async function main() { return (await fetch("http://127.0.0.1:1/")).status }', code: 'FUNCTION_THREW', says: /network/ },
]

/** Short for what is to be stopped; the others only have to end, on a busy machine too. */
function timeoutOf({ code }: Case): number {
  return code === 'FUNCTION_TIMEOUT' ? TIMEOUT_MS : 10_000
}

describe('hostile faaslets', { timeout: 120_000 }, () => {
  let platform: TestPlatform
  let hosts: readonly number[]

  before(async () => {
    platform = await startTestPlatform()
    await deployJs(platform, 'good', 'export function main() { return "good" }')
    await deployWasm(platform, 'well', wasmFixture('command'))
    assert.equal((await platform.fn('well')).text, 'hello from C')
    assert.equal((await platform.fn('good')).text, 'good')
    hosts = faasletHosts(platform.data)
  })
  after(() => platform[Symbol.asyncDispose]())

  afterEach(async () => {
    const startMs = performance.now()
    const [good, well] = await Promise.all([platform.fn('good'), platform.fn('well')])
    assert.deepEqual([good.text, well.text], ['good', 'hello from C'])
    assert.ok(performance.now() - startMs < 1500, 'others had to wait')
    const [before, now] = [hosts, faasletHosts(platform.data)]
    hosts = now
    assert.deepEqual(now.filter((pid) => before.includes(pid)), before, 'a host process was lost')
  })

  async function check(name: string, { code, says }: Case): Promise<void> {
    const startMs = performance.now()
    const answer = await platform.fn(name)
    assertError(answer, code, says)
    assert.ok(performance.now() - startMs < 9000, `it took ${Math.round(performance.now() - startMs)} ms`)
    const record = await platform.record(answer.id)
    assert.deepEqual([record.outcome, record.error?.code], ['error', code])
  }

  for (const [at, one] of modules.entries()) {
    test(`a module: ${one.does}: ${one.code}`, async () => {
      const deployed = await tryDeployWasm(platform, `module-${at}`, one.module, { timeoutMs: timeoutOf(one), ...one.config })
      if (deployed.status === 201) await check(`module-${at}`, one)
      else assertError(deployed, one.code, one.says)
    })
  }

  for (const [at, one] of scripts.entries()) {
    test(`a script: ${one.does}: ${one.code}`, async () => {
      const deployed = await tryDeployJs(platform, `script-${at}`, one.text, { timeoutMs: timeoutOf(one), ...one.config })
      if (deployed.status === 201) await check(`script-${at}`, one)
      else assertError(deployed, one.code, one.says)
    })
  }

  test('what a C function prints without end is bounded, and so is the platform\'s memory', async () => {
    await deployWasm(platform, 'floods', buildModule({
      types: [[[], []], [[i32, i32, i32], [i32]]], imports: [['skep', 'log', 0, 1]], functions: [0], memories: [[0, 2]], exports: [['handle', 0, 1], ['memory', 2, 0]],
      code: [forever(0x41, 1, 0x41, 0, 0x41, 0x80, 0x80, 0x04, 0x10, 0, 0x1a)],
    }), { timeoutMs: 1000, logBytesMax: 100_000 })
    const { beforeMb, peakMb } = await peakResidentMb(platform.pid, async () => {
      const answer = await platform.fn('floods')
      assertError(answer, 'FUNCTION_TIMEOUT')
      assert.ok((await platform.record(answer.id)).logs.reduce((sum, { text }) => sum + text.length, 0) < 110_000)
    })
    assert.ok(peakMb - beforeMb < 100, `the platform grew from ${beforeMb} MB to ${peakMb} MB`)
  })

  test('a script that is stopped in the middle of whatever it asks of the host leaves the host whole', async () => {
    await deployJs(platform, 'noise', `import { invoke } from 'skep'
      export async function main({ n }) {
        const doings = [
          () => console.log('x'.repeat(3000)), () => setTimeout(() => {}, 1000), () => new URL('http://a/b?c'), () => new TextEncoder().encode('abc'),
          () => crypto.getRandomValues(new Uint8Array(100)), () => void invoke('good', {}).catch(() => {}), () => structuredClone({ a: [1] }),
        ]
        for (;;) doings[n % doings.length]()
      }`, { timeoutMs: 30, logBytesMax: 1000 })
    let n = 0
    await Promise.all(Array.from({ length: 4 }, async () => {
      while (n < 140) {
        const answer = await platform.invoke('noise', { n: n++ })
        assertError(answer, 'FUNCTION_TIMEOUT')
      }
    }))
  })

  test('a line of 5 MB, and a payload of 5 MB, are nothing special', async () => {
    await deployJs(platform, 'large', `import { invoke } from 'skep'
      export async function main({ text, call }) {
        if (call) return (await invoke('large', { text: 'x'.repeat(5e6) })).length
        console.log(text)
        return text
      }`)
    const answer = await platform.invoke('large', { call: true })
    assert.deepEqual([answer.status, answer.text], [200, '5000000'])
  })

  for (const [kind, size, deploy] of [
    ['js', 256, () => deployJs(platform, 'giant-js', `export default { fetch() {
      const chunk = new Uint8Array(256 * 1024)
      let left = ${256 * MB / (256 * 1024)}
      return new Response(new ReadableStream({ pull(controller) { if (left-- > 0) controller.enqueue(chunk); else controller.close() } }))
    } }`, { timeoutMs: 60_000 })],
    ['wasm', 1024, () => deployWasm(platform, 'giant-wasm', buildModule({
      // 16,384 times 64 KB by skep.output_write
      types: [[[], []], [[i32, i32], [i32]]], imports: [['skep', 'output_write', 0, 1]], functions: [0], memories: [[0, 2]], globals: [[i32, 1, 0x41, 0x80, 0x80, 0x01, 0x0b]], exports: [['handle', 0, 1], ['memory', 2, 0]],
      code: [[0x03, 0x40, 0x41, 0, 0x41, 0x80, 0x80, 0x04, 0x10, 0, 0x1a, 0x23, 0, 0x41, 1, 0x6b, 0x24, 0, 0x23, 0, 0x0d, 0, 0x0b]],
    }), { timeoutMs: 60_000 })],
  ] as const) {
    test(`${size} MB of answer of kind ${kind} stream through, and no memory grows with it`, async () => {
      await deploy()
      let bytes = 0
      const { beforeMb, peakMb } = await peakResidentMb(platform.pid, async () => {
        const { response } = await platform.open(`giant-${kind}`)
        for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length
      })
      assert.equal(bytes, size * MB)
      assert.ok(peakMb - beforeMb < 160, `the platform grew from ${beforeMb} MB to ${peakMb} MB`)
    })
  }

  test('a client that goes away ends what runs for it', async () => {
    await deployJs(platform, 'endless', 'export default { fetch() { return new Response(new ReadableStream({ async pull(c) { await new Promise((r) => setTimeout(r, 5)); c.enqueue(new Uint8Array(1000)) } })) } }')
    const { response, request, id } = await platform.open('endless')
    await response[Symbol.asyncIterator]().next()
    request.destroy()
    assert.equal((await platform.record(id)).error?.code, 'CANCELLED')
  })
})
