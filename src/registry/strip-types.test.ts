/** Goal: TypeScript becomes JavaScript at deploy, with its lines where they were. Method: real files through the real parser. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripTypes } from './strip-types.ts'

test('types become spaces, and the name says JavaScript', async () => {
  const source = { filename: 'hello.ts', text: 'export const main = (params: { n: number }): number => params.n\n' }
  const stripped = await stripTypes(source)
  assert.equal(stripped.filename, 'hello.js')
  assert.ok(stripped.text.startsWith('export const main = (params'), stripped.text)
  assert.match(stripped.text, /sourceURL=file:\/\/\/app\/hello\.ts/)
  assert.doesNotMatch(stripped.text, /number/)
})

test('what is more than types is refused with the way to deploy it', async () => {
  await assert.rejects(stripTypes({ filename: 'colour.mts', text: 'enum Colour { Red }\nexport const main = () => Colour.Red\n' }), {
    code: 'CODE_INVALID',
    message: /^colour\.mts:1:1 is more than JavaScript with types: .*skep deploy/s,
  })
})

test('code that does not parse is refused with its name', async () => {
  await assert.rejects(stripTypes({ filename: 'broken.ts', text: 'export const = 1' }), { code: 'CODE_INVALID', message: /^broken\.ts:1:14 does not parse: / })
})

test('JavaScript and Python stay what they are', async () => {
  for (const filename of ['hello.js', 'hello.mjs', 'hello.py', 'hello.sh']) {
    const source = { filename, text: 'x: y' }
    assert.equal(await stripTypes(source), source)
  }
})
