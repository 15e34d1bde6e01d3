/**
 * Goal: what kind js does not have is refused at deploy, by name, and nothing else is.
 * Method: small bundles; and any text at all, which must be judged or refused, never break the check.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '../../../src/contract/errors.ts'
import { bundleProblems, checkBundle } from './check-bundle.ts'

const names = (source: string): string[] => bundleProblems(source).map(({ what, name, line }) => `${what} ${name} ${line}`)

test('imports of modules and names of Node are found', () => {
  assert.deepEqual(names('import fs from "node:fs"\nexport * from "path"\nimport { invoke } from "skep"\nimport "left-pad"'), ['module node:fs 1', 'module path 2', 'module left-pad 4'])
  assert.deepEqual(names('export const a = Buffer.from("x")\nconst d = __dirname'), ['name Buffer 1', 'name __dirname 2'])
})

test('code that asks, declares, or only speaks of them is fine', () => {
  for (const source of [
    'const B = typeof Buffer === "undefined" ? undefined : Buffer',
    'class Buffer {}\nnew Buffer()',
    'const Buffer = 1; export { Buffer }',
    'function f(Buffer) { return Buffer }',
    'a.Buffer; ({ Buffer: 1 }); "Buffer" // Buffer',
    'try { await import("node:fs") } catch {}',
    'import { invoke } from "skep"',
  ]) assert.deepEqual(names(source), [], source)
})

test('the error names everything and the next step', () => {
  assert.throws(() => checkBundle('import "node:fs"; import "x"; Buffer.alloc(1)', 'a.js'), {
    code: 'CODE_INVALID',
    message: '"a.js" cannot run as kind js: it imports node:fs, and kind js has none of Node\'s modules; it imports x, which is not in the bundle; it uses Buffer (use Uint8Array, TextEncoder and TextDecoder). Change that, or deploy it with kind node.',
  })
  assert.throws(() => checkBundle('let = ='), { code: 'CODE_INVALID' })
  checkBundle('export default { fetch: () => new Response("x") }')
})

test('any text is judged or refused', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.array(fc.constantFrom('import', ' ', '"fs"', 'Buffer', '(', ')', '{', '}', ';', 'typeof', '=', 'export', 'from', '\n', '`${')).map((parts) => parts.join(''))), (text) => {
      try {
        bundleProblems(text)
      } catch (error) {
        assert.ok(error instanceof PlatformError && error.code === 'CODE_INVALID', String(error))
      }
    }),
    { numRuns: 300 },
  )
})
