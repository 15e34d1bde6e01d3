/**
 * Goal: what can be seen of a faaslet's code without running it is refused when it is deployed, with its reason; and nothing else is, whatever
 * a file does to the parsers.
 *
 * Method: the real check in its own process, on the compiled fixtures and on files that break parsers.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import { checkFaasletCode } from './code-check.ts'
import type { CheckedConfig } from './code-check.ts'

const reactor = readFileSync(join(import.meta.dirname, '../../test/functions/wasm/reactor.wasm'))

function check(config: Partial<CheckedConfig>, ...chunks: (string | Uint8Array)[]): Promise<void> {
  async function* entry(): AsyncGenerator<Uint8Array> {
    for (const chunk of chunks) yield Buffer.from(chunk)
  }
  return checkFaasletCode({ kind: 'js', entry: 'index.js', memoryMb: 64, handler: undefined, ...config }, entry())
}

const refusedWith = (code: string, ...words: string[]) => (error: PlatformError): boolean => {
  assert.equal(error.code, code)
  for (const word of words) assert.ok(error.message.includes(word), error.message)
  return true
}

describe('the check of a deployment', () => {
  test('passes code that has nothing wrong', async () => {
    await Promise.all([
      check({}, 'export default { fetch() {', ' return new Response("hello") } }'),
      check({ kind: 'wasm', entry: 'main.wasm' }, reactor.subarray(0, 1000), reactor.subarray(1000)),
    ])
  })

  test('names what JavaScript asks for that is not there', async () => {
    await Promise.all([
      assert.rejects(check({}, 'import { readFile } from "node:fs"\nBuffer.from(readFile)'), refusedWith('CODE_INVALID', '"index.js"', 'node:fs', 'Buffer')),
      assert.rejects(check({}, 'export default {'), refusedWith('CODE_INVALID', 'index.js')),
    ])
  })

  test('names what a module lacks: magic, memory, imports, a handler', async () => {
    const module = { kind: 'wasm', entry: 'main.wasm' } as const
    await Promise.all([
      assert.rejects(check(module, 'no module'), refusedWith('CODE_INVALID', 'does not begin')),
      assert.rejects(check(module, reactor.subarray(0, reactor.length / 2)), refusedWith('CODE_INVALID')),
      assert.rejects(check({ ...module, memoryMb: 0.0625 }, reactor), refusedWith('CODE_INVALID', 'larger memory')),
      assert.rejects(check({ ...module, handler: 'nobody' }, reactor), refusedWith('HANDLER_NOT_FOUND', '"nobody"')),
      assert.rejects(check(module, readFileSync(join(import.meta.dirname, '../../node_modules/quickjs-wasi/quickjs.wasm'))), refusedWith('CODE_INVALID', 'env.')),
    ])
  })

  test('refuses nothing when a parser breaks on it: the start will tell (Q1)', async () => {
    await Promise.all([
      // More than the walk's stack, and more than the parser's: its process dies.
      check({}, `export default ${'['.repeat(10_000)}${']'.repeat(10_000)}`),
      check({}, `export default ${'['.repeat(200_000)}${']'.repeat(200_000)}`),
    ])
  })

  test('passes on what the source of the bytes throws', async () => {
    const lost = new PlatformError('STORE_FAILED', 'the blob is gone')
    async function* entry(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('export')
      throw lost
    }
    await assert.rejects(checkFaasletCode({ kind: 'js', entry: 'index.js', memoryMb: 64 }, entry()), lost)
  })
})
