/**
 * Goal: tidy finds what it says it finds, and is content with a tidy tree.
 *
 * Method: small source trees in a temporary folder, each with one fault.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { arrows } from './tidy-rules.ts'
import { tidy } from './tidy.ts'

/** What tidy says about these files, one line each. */
function said(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'skep-tidy-'))
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), text)
    }
    return tidy(root).map((one) => `${one.path}:${one.line}: ${one.message}`).join('\n')
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

test('a tidy tree has no problems', () => {
  assert.equal(said({
    'src/gateway/main.ts': "/** A gateway. */\nimport type { Id } from '#contract/ids.ts'\nimport { pick } from '#activator/pick.ts'\n",
    'src/contract/ids.ts': '/** Ids. */\nexport type Id = string\n',
    'src/activator/pick.ts': '/** Picks. */\nexport const pick = 1\n',
    'README.md': '[gateway](src/gateway/main.ts) [there](https://example.com) `[not](a-link)`\n',
  }), '')
})

test('an arrow against the path of an invocation is found, in a dynamic import too', () => {
  assert.match(said({ 'src/worker/main.ts': "/** W. */\nimport { x } from '#gateway/x.ts'\n", 'src/gateway/x.ts': '/** X. */\n' }), /^src\/worker\/main\.ts:2: src\/worker may not import src\/gateway/)
  assert.match(said({ 'src/base/main.ts': "/** B. */\nconst x = await import('../store/x.ts')\n", 'src/store/x.ts': '/** X. */\n' }), /^src\/base\/main\.ts:2: src\/base may not import src\/store/)
  assert.match(said({ 'src/novel/main.ts': "/** N. */\nimport '#contract/a.ts'\n", 'src/contract/a.ts': '/** A. */\n' }), /src\/novel is not in the table/)
})

test('a cycle of files is found and told whole; one of types only is none', () => {
  const files = (a: string): Record<string, string> => ({ 'src/worker/a.ts': `/** A. */\nimport ${a}{ b } from './b.ts'\n`, 'src/worker/b.ts': "/** B. */\nimport { a } from './a.ts'\n" })
  assert.match(said(files('')), /a\.ts:2: imports itself: src\/worker\/a\.ts → src\/worker\/b\.ts → src\/worker\/a\.ts/)
  assert.equal(said(files('type ')), '')
})

test('the table of arrows itself has no cycle, so the folders have an order', () => {
  const visit = (folder: string, path: readonly string[]): void => {
    assert(!path.includes(folder), [...path, folder].join(' → '))
    for (const next of arrows[folder] ?? []) visit(next, [...path, folder])
  }
  for (const folder of Object.keys(arrows)) visit(folder, [])
})

test('a long file, a missing header, a dead file and a dead link are found', () => {
  assert.match(said({ 'src/base/main.ts': `/** L. */\n${'\n'.repeat(600)}` }), /at most 500/)
  assert.match(said({ 'src/base/main.ts': 'export const a = 1\n' }), /no header comment/)
  assert.match(said({ 'src/base/alone.ts': '/** Alone. */\n' }), /nothing uses this file/)
  assert.match(said({ 'docs/a.md': 'see\n[b](./b.md#part)\n' }), /^docs\/a\.md:2: the link to \.\/b\.md#part leads nowhere/)
})

test('words of other platforms, plans in comments, and traces of a machine are found', () => {
  assert.match(said({ 'docs/a.md': 'The invoker runs it.\n' }), /"invoker" is called worker/)
  assert.match(said({ 'docs/glossary.md': '**worker** one.\n\n**Worker** two.\n' }), /^docs\/glossary\.md:3: "Worker" is explained twice/)
  assert.match(said({ 'docs/a.md': `\n${'TO' + 'DO'}: later\n` }), /^docs\/a\.md:2: /)
  assert.match(said({ 'docs/a.md': `open /home/${'someone'}/code\n` }), /a path of one machine/)
  assert.match(said({ 'package-lock.json': `{ "resolved": "https://${'registry'}.example.org/x" }` }), /must not pin a registry/)
})
