/**
 * Goal: unpacked code is relied on only while it can be, what nobody needs goes, and its compiled form comes to it once.
 *
 * Method: real directories, with leftovers made by hand; a stub that unpacks and counts. Unpacking itself: code-cache.test.ts.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { testRevision } from '#contract/invocation.fake.ts'
import { CodeCache, codeMaker } from './code-cache.ts'

const A = 'a'.repeat(64)
const B = 'b'.repeat(64)
const a = testRevision({}, { code: A })

interface Ground {
  readonly directory: string
  readonly unpacked: string[]
  readonly open: (madeBy?: string | undefined) => CodeCache
}

function ground(context: TestContext): Ground {
  const directory = mkdtempSync(join(tmpdir(), 'skep-code-'))
  context.after(() => rmSync(directory, { recursive: true, force: true }))
  const unpacked: string[] = []
  return {
    directory,
    unpacked,
    open: (madeBy) =>
      new CodeCache({
        directory,
        madeBy,
        async unpack(digest, target) {
          unpacked.push(digest)
          await new Promise((resolve) => setImmediate(resolve))
          mkdirSync(target)
          writeFileSync(join(target, 'index.js'), digest)
        },
      }),
  }
}

function names(directory: string): string[] {
  return readdirSync(directory).sort()
}

describe('the code on disk', () => {
  test('unpacks once, also for many at once, and not again after a restart (K2)', async (context) => {
    const { directory, unpacked, open } = ground(context)
    const code = open('boot 1')
    await code.prepare(new Set())
    assert.equal(code.known(a), undefined)
    const found = await Promise.all([code.directoryOf(a), code.directoryOf(a), code.directoryOf(a)])
    assert.deepEqual([unpacked, new Set(found), code.known(a)], [[A], new Set([join(directory, A)]), join(directory, A)])
    const again = open('boot 1')
    await again.prepare(new Set([A]))
    assert.equal(readFileSync(join(await again.directoryOf(a), 'index.js'), 'utf8'), A)
    assert.deepEqual(unpacked, [A])
  })

  test('at start removes what was left half done and what nothing routed uses', async (context) => {
    const { directory, open } = ground(context)
    const first = open('boot 1')
    await first.prepare(new Set())
    await first.directoryOf(a)
    await first.directoryOf(testRevision({}, { code: B }))
    for (const leftover of ['.unpacking-abc-1', '.compiled-x', '.gone-1-2']) mkdirSync(join(directory, leftover, 'deep'), { recursive: true })
    const { removal } = await open('boot 1').prepare(new Set([B]))
    assert.ok(!existsSync(join(directory, A)), 'it is out of the way before the removal is done')
    await removal
    assert.deepEqual(names(directory), ['.made-by', B])
  })

  test('trusts nothing of another boot, or of one that is not known (K3)', async (context) => {
    const { directory, unpacked, open } = ground(context)
    for (const madeBy of ['boot 1', 'boot 2', undefined, undefined, 'boot 2']) {
      const code = open(madeBy)
      await (await code.prepare(new Set([A]))).removal
      assert.ok(!existsSync(join(directory, A)), String(madeBy))
      await code.directoryOf(a)
    }
    assert.equal(unpacked.length, 5)
  })

  test('knows this boot and this Node', { skip: process.platform === 'linux' ? false : 'Linux only' }, async () => {
    assert.match((await codeMaker())!, /^[0-9a-f-]{36} v\d+\./)
    assert.equal(await codeMaker(), await codeMaker())
  })

  test('forgets at once, and unpacks again for who asks again (K4)', async (context) => {
    const { directory, unpacked, open } = ground(context)
    const code = open('boot 1')
    await code.prepare(new Set())
    await code.directoryOf(a)
    const forgotten = code.forget(A)
    assert.deepEqual([code.known(a), existsSync(join(directory, A))], [undefined, false])
    assert.equal(await code.directoryOf(a), join(directory, A))
    await forgotten
    assert.ok(existsSync(join(directory, A, 'index.js')))
    await code.forget(B)
    assert.deepEqual([unpacked, names(directory)], [[A, A], ['.made-by', A]])
  })

  test('what is forgotten while it is unpacked is there for who asked', async (context) => {
    const { directory, open } = ground(context)
    const code = open('boot 1')
    await code.prepare(new Set())
    const [found] = await Promise.all([code.directoryOf(a), code.forget(A)])
    assert.ok(existsSync(join(found, 'index.js')))
    assert.equal(code.known(a), join(directory, A))
  })

  test('takes the compiled form of code once, whole, and never over another (K1)', async (context) => {
    const { directory, open } = ground(context)
    const code = open('boot 1')
    await code.prepare(new Set())
    assert.equal(code.claimCompileCache(A), false, 'nothing is unpacked')
    await code.directoryOf(a)
    assert.deepEqual([code.claimCompileCache(A), code.claimCompileCache(A)], [true, false])
    await code.addCompileCache(A, new Map([['tag/one', Buffer.from('1')], ['tag/two', Buffer.from('2')]]))
    assert.deepEqual(names(join(directory, A, '.compile-cache/tag')), ['one', 'two'])
    await assert.rejects(code.addCompileCache(A, new Map([['other', Buffer.from('3')]])))
    assert.deepEqual(names(join(directory, A, '.compile-cache')), ['tag'])
    const again = open('boot 1')
    await again.prepare(new Set([A]))
    await again.directoryOf(a)
    assert.equal(again.claimCompileCache(A), false, 'it has one')
    await again.forget(A)
    await again.addCompileCache(A, new Map([['late', Buffer.from('4')]]))
    await again.directoryOf(a)
    assert.deepEqual([again.claimCompileCache(A), names(join(directory, A)), names(directory)], [true, ['index.js'], ['.made-by', A]])
  })

  test('code of which nothing could be compiled is marked, and not tried again', async (context) => {
    const { directory, open } = ground(context)
    const code = open('boot 1')
    await code.prepare(new Set())
    await code.directoryOf(a)
    assert.equal(code.claimCompileCache(A), true)
    await code.addCompileCache(A, new Map())
    assert.deepEqual(names(join(directory, A, '.compile-cache')), [])
    const again = open('boot 1')
    await again.prepare(new Set([A]))
    await again.directoryOf(a)
    assert.equal(again.claimCompileCache(A), false)
  })
})
