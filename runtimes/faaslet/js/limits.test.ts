/**
 * Goal: endless recursion and memory beyond the limit are errors of the function, for the code to catch where it can, and never harm the host.
 * Method: code that overflows in many ways, in guests of 16 MB; for catching, a process with the stack that hosts have.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import type { PlatformError } from '../../../src/contract/errors.ts'
import { HOST_STACK_KB } from './guest.ts'
import { GuestKit } from './guest-kit.ts'

const deep = '(() => { let a = []; for (let i = 0; i < 30000; i++) a = [a]; return a })()'
const recursions = [
  '(function f() { return f() + 1 })()',
  '(() => { const o = { get x() { return this.x } }; return o.x })()',
  '(function f() { return [1].map(f) })()',
  '(function f() { return "a".replace(/a/, f) })()',
  '(() => { class A { constructor() { new A() } } new A() })()',
  '(async function f() { await f() })()',
  `${deep}.flat(Infinity)`,
  `structuredClone(${deep})`,
]
/** The parser recurses on the host's stack only: the faaslet ends, as the function's fault. */
const parserRecursion = 'eval("[".repeat(30000))'
const memories = [
  '(() => { const a = []; for (;;) a.push(new Array(1000).fill(1)) })()',
  '(() => { const a = []; for (;;) a.push(new Uint8Array(1e6)) })()',
  '(() => { const m = new Map(); for (let i = 0; ; i++) m.set(i, {}) })()',
  '(async () => { const a = []; for (;;) { a.push(new Array(10000).fill(1)); await 0 } })()',
]

async function error(expression: string): Promise<PlatformError> {
  const kit = await GuestKit.boot({ source: `export default { async fetch() { return Response.json((await ${expression}) ?? 0) } }`, frame: { memoryMb: 16 } })
  const failed = await kit.http('GET', '/').then(
    (answer) => assert.fail(`${expression} answered ${answer.text}`),
    (thrown: PlatformError) => thrown,
  )
  assert.equal((await GuestKit.boot('export default () => new Response("fine")').then((other) => other.http('GET', '/'))).text, 'fine')
  return failed
}

test('endless recursion is FUNCTION_THREW', async () => {
  for (const expression of [...recursions, parserRecursion]) {
    const { code, message } = await error(expression)
    assert.deepEqual([code, message], ['FUNCTION_THREW', 'RangeError: Maximum call stack size exceeded'], expression)
  }
})

test('memory beyond the limit is FUNCTION_OUT_OF_MEMORY, which says how much there was', async () => {
  for (const expression of memories) {
    const { code, message } = await error(expression)
    assert.equal(code, 'FUNCTION_OUT_OF_MEMORY', `${expression}: ${message}`)
    assert.match(message, /more than its 16 MB/)
  }
})

test('with the stack that hosts have, code can catch its recursion, and memory errors too', () => {
  const script = `
    const { GuestKit } = await import(${JSON.stringify(join(import.meta.dirname, 'guest-kit.ts'))})
    const all = ${JSON.stringify([...recursions, memories[0]])}
    const kit = await GuestKit.boot({ source: 'export default { async fetch() { let caught = 0; ' + all.map((e) => 'try { await ' + e + ' } catch { caught++ }').join(';') + '; return Response.json(caught) } }', frame: { memoryMb: 32 } })
    console.log((await kit.http('GET', '/')).text)`
  const output = execFileSync(process.execPath, [`--stack-size=${HOST_STACK_KB}`, '--input-type=module', '-e', script], { encoding: 'utf8', timeout: 50_000 })
  assert.equal(output.trim(), String(recursions.length + 1))
})
