/**
 * Goal: a zip from anyone is unpacked whole, or refused whole (Z1 to Z4); nothing else.
 *
 * Method: zips made by yazl, then bent where yazl refuses to make a bad one; and random damage by fast-check.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ZipFile } from 'yazl'
import { PlatformError } from '#contract/errors.ts'
import { readZip } from './zip-files.ts'

async function zipOf(files: Record<string, string | Buffer>, mode = 0o100644): Promise<Buffer> {
  const zip = new ZipFile()
  for (const [path, text] of Object.entries(files)) zip.addBuffer(Buffer.from(text), path, { mode })
  zip.end()
  const chunks: Buffer[] = []
  for await (const chunk of zip.outputStream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** Replaces a path by another of the same length, in both places where a zip keeps it. */
function renamed(zip: Buffer, from: string, to: string): Buffer {
  assert.equal(from.length, to.length)
  return Buffer.from(zip.toString('latin1').replaceAll(from, to), 'latin1')
}

const refused = (reason: RegExp) => (error: unknown): boolean => error instanceof PlatformError && error.code === 'CODE_INVALID' && reason.test(error.message)

describe('readZip', () => {
  test('gives files with their bytes and executable bit, without a folder around them all', async () => {
    const files = await readZip(await zipOf({ 'app/run': '#!/bin/sh', 'app/lib/a.txt': 'a' }, 0o100755))
    assert.deepEqual([...files.keys()], ['lib/a.txt', 'run'])
    assert.equal(files.get('run')?.executable, true)
  })

  test('refuses every path that leaves the root (Z1)', async () => {
    for (const bad of ['../../etc/a', '/etc/passwd', 'a/../../bbb', 'C:/windows1', 'a\\..\\..\\bb', './././a/b1']) {
      const zip = renamed(await zipOf({ ['x'.repeat(bad.length)]: 'bytes' }), 'x'.repeat(bad.length), bad)
      await assert.rejects(readZip(zip), refused(/./), bad)
    }
  })

  test('refuses a symbolic link (Z2)', async () => {
    await assert.rejects(readZip(await zipOf({ link: '/etc/passwd' }, 0o120777)), refused(/link or a device/))
  })

  test('stops a bomb at the bound, whatever its header says (Z3)', async () => {
    const bomb = await zipOf({ zeros: Buffer.alloc(8 * 1024 * 1024) })
    assert(bomb.length < 64 * 1024)
    await assert.rejects(readZip(bomb, { filesMax: 10, bytesMax: 1024 * 1024 }), { code: 'BODY_TOO_LARGE' })
    await assert.rejects(readZip(await zipOf({ a: '', b: '', c: '' }), { filesMax: 2, bytesMax: 1024 }), { code: 'BODY_TOO_LARGE' })
  })

  test('refuses one path twice (Z4)', async () => {
    const zip = renamed(await zipOf({ 'one.js': '1', 'two.js': '2' }), 'two.js', 'one.js')
    await assert.rejects(readZip(zip), refused(/twice/))
  })

  test('answers damage with an error of the table, never anything else', async () => {
    const whole = await zipOf({ 'index.js': 'export const main = () => 1', 'data.csv': 'a,b\n'.repeat(100) })
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }), fc.nat(whole.length), async (changes, length) => {
        const damaged = Buffer.from(whole.subarray(0, length % 3 === 0 ? length : whole.length))
        for (const [at, value] of changes) if (at < damaged.length) damaged[at] = value
        await readZip(damaged).then((files) => { for (const path of files.keys()) assert(!path.startsWith('/') && !path.split('/').includes('..')) }, (error: unknown) => assert(error instanceof PlatformError))
      }),
      { numRuns: 300 },
    )
  })
})
