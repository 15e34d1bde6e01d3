/**
 * Goal: a revision's code is unpacked once, is whole whenever it is there, and appears in a sandbox as it was packed.
 *
 * Method: real directories; an unpacking that the test holds up, lets fail, and counts.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import { testRevision, turns } from '#contract/invocation.fake.ts'
import { CodeCache, linkTree } from './code-cache.ts'

const directories: string[] = []

function directory(): string {
  const made = mkdtempSync(join(tmpdir(), 'skep-code-'))
  directories.push(made)
  return made
}

afterEach(() => {
  for (const made of directories.splice(0)) rmSync(made, { recursive: true, force: true })
})

const revision = testRevision({}, { code: 'a'.repeat(64) })
const other = testRevision({}, { code: 'b'.repeat(64), number: 2 })

/** Unpacks as the platform does: beside the place, and then by a rename. */
function ground(root = directory()): { cache: CodeCache; root: string; unpacked: string[]; hold: PromiseWithResolvers<void>[]; holds: { on: boolean }; fails: { with: PlatformError | undefined } } {
  const unpacked: string[] = []
  const hold: PromiseWithResolvers<void>[] = []
  const holds = { on: false }
  const fails: { with: PlatformError | undefined } = { with: undefined }
  const cache = new CodeCache({
    directory: root,
    async unpack(digest, target) {
      unpacked.push(digest)
      if (fails.with !== undefined) throw fails.with
      await mkdir(`${target}.part`)
      await writeFile(join(`${target}.part`, 'index.js'), digest)
      if (holds.on) {
        hold.push(Promise.withResolvers())
        await hold.at(-1)!.promise
      }
      await rename(`${target}.part`, target)
    },
  })
  return { cache, root, unpacked, hold, holds, fails }
}

describe('CodeCache', () => {
  test('unpacks a revision once for all who ask at the same time (K2)', async () => {
    const { cache, root, unpacked } = ground()
    const asked = await Promise.all([cache.directoryOf(revision), cache.directoryOf(revision), cache.directoryOf(testRevision({}, { code: revision.code, number: 7 }))])
    assert.deepEqual(new Set(asked), new Set([join(root, revision.code)]))
    assert.deepEqual(unpacked, [revision.code])
    await cache.directoryOf(other)
    await cache.directoryOf(revision)
    assert.deepEqual(unpacked, [revision.code, other.code])
  })

  test('knows a directory only when all of it is there (K1)', async () => {
    const { cache, root, hold, holds } = ground()
    holds.on = true
    const asked = cache.directoryOf(revision)
    while (hold.length === 0) await turns(1)
    assert.deepEqual([cache.known(revision), existsSync(join(root, revision.code))], [undefined, false])
    hold[0]!.resolve()
    const place = await asked
    assert.equal(cache.known(revision), place)
    assert.equal(readFileSync(join(place, 'index.js'), 'utf8'), revision.code)
  })

  test('finds what an earlier process has unpacked (K1)', async () => {
    const before = ground()
    await before.cache.directoryOf(revision)
    const after = ground(before.root)
    assert.equal(await after.cache.directoryOf(revision), join(before.root, revision.code))
    assert.deepEqual(after.unpacked, [])
  })

  test('tells all who wait of a failure, and tries again when asked again (K2)', async () => {
    const { cache, unpacked, fails } = ground()
    fails.with = new PlatformError('STORE_FULL', 'no room')
    const asked = await Promise.allSettled([cache.directoryOf(revision), cache.directoryOf(revision)])
    assert.deepEqual(asked.map((one) => one.status === 'rejected' && one.reason), [fails.with, fails.with])
    assert.deepEqual([cache.known(revision), unpacked.length], [undefined, 1])
    fails.with = undefined
    await cache.directoryOf(revision)
    assert.equal(unpacked.length, 2)
  })

  test('forgets code that no revision needs any more, and unpacks it again if one does', async () => {
    const { cache, root, unpacked } = ground()
    await cache.directoryOf(revision)
    await cache.forget(revision.code)
    assert.deepEqual([cache.known(revision), existsSync(join(root, revision.code))], [undefined, false])
    await cache.directoryOf(revision)
    assert.equal(unpacked.length, 2)
    await cache.forget('never there')
  })
})

describe('linkTree', () => {
  test('makes the same files appear: links to the same bytes, with their permissions, directories and symbolic links', () => {
    const [from, to] = [directory(), directory()]
    writeFileSync(join(from, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 })
    writeFileSync(join(from, 'data'), 'text', { mode: 0o644 })
    writeFileSync(join(from, 'ünï cödé'), '')
    mkdirSync(join(from, 'deep/empty'), { recursive: true })
    writeFileSync(join(from, 'deep/file'), 'below')
    symlinkSync('../run.sh', join(from, 'deep/link'))
    symlinkSync('nowhere', join(from, 'dangling'))
    symlinkSync('deep', join(from, 'linked-directory'))
    linkTree(from, to)
    for (const path of ['run.sh', 'data', 'ünï cödé', 'deep/file']) {
      assert.equal(statSync(join(to, path)).ino, statSync(join(from, path)).ino, `${path} is the same file`)
    }
    assert.equal(statSync(join(to, 'run.sh')).mode & 0o777, 0o755)
    assert.equal(statSync(join(to, 'data')).mode & 0o777, 0o644)
    assert.equal(statSync(join(to, 'deep/empty')).isDirectory(), true)
    assert.deepEqual(['deep/link', 'dangling', 'linked-directory'].map((path) => readlinkSync(join(to, path))), ['../run.sh', 'nowhere', 'deep'])
    assert.equal(readFileSync(join(to, 'deep/link'), 'utf8'), '#!/bin/sh\n')
  })

  const elsewhere = otherFileSystem()
  test('copies, with permissions, where it cannot link: to another file system', { skip: elsewhere === undefined && 'no other file system here' }, () => {
    const from = directory()
    const to = mkdtempSync(join(elsewhere!, 'skep-code-'))
    directories.push(to)
    writeFileSync(join(from, 'run.sh'), 'text', { mode: 0o755 })
    linkTree(from, to)
    assert.equal(readFileSync(join(to, 'run.sh'), 'utf8'), 'text')
    assert.equal(statSync(join(to, 'run.sh')).mode & 0o777, 0o755)
  })

  test('leaves the original alone when the copy is removed', () => {
    const [from, to] = [directory(), directory()]
    writeFileSync(join(from, 'a'), 'kept')
    symlinkSync(from, join(from, 'itself'))
    linkTree(from, to)
    rmSync(to, { recursive: true })
    assert.equal(readFileSync(join(from, 'a'), 'utf8'), 'kept')
  })

  test('says so when something is in the way', () => {
    const [from, to] = [directory(), directory()]
    mkdirSync(join(from, 'a'))
    writeFileSync(join(to, 'a'), '')
    assert.throws(() => linkTree(from, to), { code: 'EEXIST' })
    assert.throws(() => linkTree(join(from, 'missing'), to), { code: 'ENOENT' })
  })
})

function otherFileSystem(): string | undefined {
  const shared = '/dev/shm'
  return existsSync(shared) && statSync(shared).dev !== statSync(tmpdir()).dev ? shared : undefined
}
