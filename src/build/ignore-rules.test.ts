/**
 * Goal: the rules people know from .gitignore do here what they do there.
 *
 * Method: a table of rule, path, and whether it is ignored; directories end with "/".
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ignoreFrom } from './ignore-rules.ts'

const table: readonly (readonly [rules: string, path: string, ignored: boolean])[] = [
  ['*.log', 'a.log', true],
  ['*.log', 'deep/down/a.log', true],
  ['*.log', 'a.log.txt', false],
  ['/a.txt', 'a.txt', true],
  ['/a.txt', 'deep/a.txt', false],
  ['build/', 'build/', true],
  ['build/', 'deep/build/', true],
  ['build/', 'build', false],
  ['docs/*.md', 'docs/a.md', true],
  ['docs/*.md', 'docs/deep/a.md', false],
  ['docs/**/a.md', 'docs/a.md', true],
  ['docs/**/a.md', 'docs/x/y/a.md', true],
  ['**/tmp', 'x/tmp', true],
  ['?.js', 'a.js', true],
  ['?.js', 'ab.js', false],
  ['*.env|!keep.env', 'keep.env', false],
  ['!keep.env|*.env', 'keep.env', true],
  ['# a.txt', 'a.txt', false],
  ['a+b(1).txt', 'a+b(1).txt', true],
]

for (const [rules, path, ignored] of table) {
  test(`${rules} ${ignored ? 'ignores' : 'keeps'} ${path}`, () => {
    assert.equal(ignoreFrom(rules.split('|'))(path.replace(/\/$/, ''), path.endsWith('/')), ignored)
  })
}
