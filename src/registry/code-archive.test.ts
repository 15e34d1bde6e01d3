/**
 * Goal: no tar, however made, writes or points outside of its directory, hangs the reader, or leaves half a directory.
 *
 * Method: tars made by tar-stream with one thing wrong each; then fast-check makes random bytes, random entries and
 * damaged tars, unpacks them for real, and looks at what is on the disk: every link must resolve inside.
 */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, sep } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import fc from 'fast-check'
import { pack } from 'tar-stream'
import { PlatformError } from '#contract/errors.ts'
import { checkCode, packFile, passingChecked, readCodeFile, unpackCode } from './code-archive.ts'
import { withCode } from './registry.fake.ts'

interface TestEntry {
  readonly name: string
  readonly type?: 'file' | 'link' | 'symlink' | 'directory' | 'character-device' | 'fifo'
  readonly linkname?: string
  readonly text?: string
  readonly mode?: number
}

async function tarOf(entries: readonly TestEntry[]): Promise<Buffer> {
  const tar = pack()
  for (const { text, ...header } of entries) tar.entry({ mtime: new Date(0), ...header }, text ?? '')
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

async function temporary(context: Pick<TestContext, 'after'>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'skep-archive-'))
  context.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}

const source = (...chunks: Buffer[]) => Readable.from(chunks)

describe('code archive', () => {
  test('unpacks files, directories and links, with execution kept and nothing else of the mode', async (context) => {
    const directory = join(await temporary(context), 'code')
    const tar = await tarOf([
      { name: './', type: 'directory' },
      { name: './index.js', text: 'export const a = 1', mode: 0o4600 },
      { name: 'bin/run', text: '#!/bin/sh', mode: 0o777 },
      { name: 'bin/same', type: 'link', linkname: 'bin/run' },
      { name: 'lib/deep/up', type: 'symlink', linkname: '../../index.js' },
      { name: 'empty', type: 'directory' },
    ])
    assert.deepEqual(await unpackCode(source(tar), directory), { files: 8, bytes: 27 })
    assert.equal(await readFile(join(directory, 'lib/deep/up'), 'utf8'), 'export const a = 1')
    assert.equal((await stat(join(directory, 'index.js'))).mode & 0o7777, 0o644)
    assert.equal((await stat(join(directory, 'bin/same'))).mode & 0o7777, 0o755)
    assert.deepEqual((await readdir(directory)).sort(), ['bin', 'empty', 'index.js', 'lib'])
  })

  test('reads one file of a tar whole, whatever else is there', async () => {
    const tar = await tarOf([{ name: 'a', text: 'x'.repeat(3000) }, { name: './lib/main.wasm', text: 'y'.repeat(200_000) }, { name: 'z', text: 'z' }, { name: 'link', type: 'symlink', linkname: 'a' }])
    const read = async (path: string): Promise<string | false> => {
      let text = ''
      const found = await readCodeFile(source(tar), path, async (content) => {
        for await (const chunk of content) text += Buffer.from(chunk).toString()
      })
      return found && text
    }
    assert.equal(await read('./lib//main.wasm'), 'y'.repeat(200_000))
    assert.equal(await read('a'), 'x'.repeat(3000))
    for (const path of ['link', 'lib', 'other']) assert.equal(await read(path), false, path)
    assert.equal(await readCodeFile(source(tar), 'a', async () => {}), true, 'one that nobody reads')
    const refusal = new PlatformError('HANDLER_NOT_FOUND', 'it has none')
    await assert.rejects(readCodeFile(source(tar), 'a', () => Promise.reject(refusal)), refusal)
  })

  test('is the same for any cut of the stream into chunks', async () => {
    const tar = await tarOf([{ name: 'a', text: 'x'.repeat(3000) }, { name: 'b/c', text: 'y' }])
    for (const size of [1, 7, 512, 513, 5000]) {
      const chunks = Array.from({ length: Math.ceil(tar.length / size) }, (_, index) => tar.subarray(index * size, (index + 1) * size))
      assert.deepEqual(await checkCode(Readable.from(chunks), { entry: 'b/c' }), { files: 3, bytes: 3001 })
    }
  })

  for (const [what, entries] of Object.entries<readonly TestEntry[]>({
    'an absolute path': [{ name: '/etc/passwd' }],
    'a path with ..': [{ name: 'a/../../b' }],
    'a path with .. that stays inside': [{ name: 'a/../b' }],
    'a device': [{ name: 'null', type: 'character-device' }],
    'a pipe': [{ name: 'pipe', type: 'fifo' }],
    'an absolute link': [{ name: 'l', type: 'symlink', linkname: '/etc' }],
    'a link that leads out': [{ name: 'a/l', type: 'symlink', linkname: '../../x' }],
    'a link that goes down and up again': [{ name: 'l', type: 'symlink', linkname: 'a/../../x' }],
    'a link through a link, out': [{ name: 'a/b/p', type: 'symlink', linkname: '../..' }, { name: 'q', type: 'symlink', linkname: 'a/b/p/..' }],
    'a file through a link': [{ name: 'd/l', type: 'symlink', linkname: '..' }, { name: 'd/l/x' }],
    'a file in place of a link': [{ name: 'l', type: 'symlink', linkname: 'x' }, { name: 'l' }],
    'a link in place of a directory': [{ name: 'd/x' }, { name: 'd', type: 'symlink', linkname: 'e' }],
    'a hard link to what is not there': [{ name: 'l', type: 'link', linkname: '../x' }, { name: 'x' }],
    'a hard link to a link': [{ name: 's', type: 'symlink', linkname: 'x' }, { name: 'l', type: 'link', linkname: 's' }],
    'a file below a file': [{ name: 'a' }, { name: 'a/b' }],
    'the same file twice': [{ name: 'a' }, { name: './a' }],
    'a long name': [{ name: 'a'.repeat(300) }],
    'a long path': [{ name: 'abcdefg/'.repeat(200) + 'a' }],
  })) {
    test(`refuses ${what}, naming the entry, and leaves nothing`, async (context) => {
      const directory = await temporary(context)
      const tar = await tarOf([{ name: 'before', text: 'x' }, ...entries])
      const refusal = (error: unknown) => withCode('CODE_INVALID')(error) && typeof (error as PlatformError).details?.['entry'] === 'string'
      await assert.rejects(checkCode(source(tar)), refusal)
      await assert.rejects(unpackCode(source(tar), join(directory, 'code')), refusal)
      assert.deepEqual(await readdir(directory), [])
    })
  }

  test('refuses too many files, also implied ones, and too many bytes, at once', async () => {
    const limits = { filesMax: 5, bytesMax: 100 }
    const many = await tarOf([{ name: 'a/b/c/d/e/f', text: '' }])
    await assert.rejects(checkCode(source(many), { limits }), withCode('CODE_INVALID'))
    const large = await tarOf([{ name: 'a', text: 'x'.repeat(60) }, { name: 'b', text: 'x'.repeat(60) }])
    await assert.rejects(checkCode(source(large), { limits }), withCode('CODE_INVALID'))
    // The size is believed from the header: the rest of the stream is not waited for.
    const endless = async function* () {
      const header = (await tarOf([{ name: 'a', text: 'x' }])).subarray(0, 512)
      header.write('77777777777', 124)
      header.fill(' ', 148, 156)
      header.write(`${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `, 148)
      yield header
      for (;;) yield Buffer.alloc(65_536)
    }
    await assert.rejects(checkCode(endless()), withCode('CODE_INVALID'))
  })

  test('refuses what is no tar, is empty, is cut, or lacks its entry', async () => {
    const tar = await tarOf([{ name: 'dir/a.js', text: 'x'.repeat(600) }])
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(1024), Buffer.from('console.log(1)'), Buffer.alloc(2048, 7), tar.subarray(0, 700)]) {
      await assert.rejects(checkCode(source(bytes)), withCode('CODE_INVALID'))
    }
    for (const entry of ['a.js', 'dir', '/dir/a.js', '../dir/a.js']) await assert.rejects(checkCode(source(tar), { entry }), withCode('CODE_INVALID'))
    await checkCode(source(tar), { entry: './dir/a.js' })
  })

  test('passes a good tar on as it is, and stops what is none: at once where it shows, at the latest at its end (A3)', async () => {
    const tar = await tarOf([{ name: 'a', text: 'x'.repeat(100_000) }])
    const passed: Uint8Array[] = []
    for await (const chunk of passingChecked(source(tar.subarray(0, 700), tar.subarray(700)))) passed.push(chunk)
    assert.ok(Buffer.concat(passed).equals(tar))
    const pass = async (bytes: AsyncIterable<Uint8Array>) => {
      for await (const _ of passingChecked(bytes));
    }
    for (const bytes of [Buffer.alloc(0), Buffer.from('console.log(1)'), gzipSync(tar), tar.subarray(0, 60_000)]) await assert.rejects(pass(source(bytes)), withCode('CODE_INVALID'))
    const endless = async function* () {
      for (;;) yield Buffer.alloc(65_536, 7)
    }
    await assert.rejects(pass(endless()), withCode('CODE_INVALID'))
    const breaking = async function* () {
      yield tar.subarray(0, 50_000)
      throw new PlatformError('STORE_FAILED', 'the blob is damaged')
    }
    await assert.rejects(pass(breaking()), withCode('STORE_FAILED'))
    // Whoever takes the bytes may have had enough.
    for await (const _ of passingChecked(endless())) break
  })

  test('hands on what the source throws as it is (A2)', async () => {
    const tar = await tarOf([{ name: 'a', text: 'x'.repeat(100_000) }])
    const breaking = async function* () {
      yield tar.subarray(0, 50_000)
      throw new PlatformError('STORE_FAILED', 'the blob is damaged')
    }
    await assert.rejects(checkCode(breaking()), withCode('STORE_FAILED'))
  })

  test('lets two unpack the same code at once, with one result (A1)', async (context) => {
    const directory = await temporary(context)
    const tar = await tarOf([{ name: 'a', text: 'x' }, { name: 'b', text: 'y' }])
    await Promise.all([1, 2, 3].map(() => unpackCode(source(tar), join(directory, 'code'))))
    assert.deepEqual(await readdir(directory), ['code'])
    assert.deepEqual((await readdir(join(directory, 'code'))).sort(), ['a', 'b'])
  })

  test('packs a single file to the same bytes each time', async () => {
    const [one, other] = await Promise.all([1, 2].map(() => packFile('f.py', 'print(1)', { executable: false })))
    assert.deepEqual(one, other)
    assert.deepEqual(await checkCode(source(one!), { entry: 'f.py' }), { files: 1, bytes: 8 })
  })

  test('survives any bytes, and any damage to a tar: it answers or refuses (fuzz)', async () => {
    const whole = await tarOf([{ name: 'a/b', text: 'x'.repeat(700) }, { name: 'é'.repeat(60), text: 'long name' }, { name: 'l', type: 'symlink', linkname: 'a/b' }])
    const damaged = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 4 }).map((changes) => {
      const bytes = Buffer.from(whole)
      for (const [at, byte] of changes) bytes[at] = byte
      return bytes
    })
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 3000 }).map((array) => Buffer.from(array)), damaged, fc.nat(whole.length).map((length) => whole.subarray(0, length)))
    await fc.assert(
      fc.asyncProperty(bytes, async (tar) => {
        const refused = await checkCode(source(tar)).then(() => undefined, (error: unknown) => error)
        if (refused !== undefined) assert.equal(PlatformError.from(refused).code, 'CODE_INVALID', String(refused))
      }),
      { numRuns: 300 },
    )
  })

  test('never writes or points outside, whatever the entries are (E1, E2, fuzz)', async (context) => {
    const root = await realpath(await temporary(context))
    await mkdir(join(root, 'inside'))
    await writeFile(join(root, 'outside'), 'untouched')
    const part = fc.constantFrom('a', 'b', 'c', '..', '.', 'outside', '')
    const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
    const entry = fc.record({ name: path.filter((name) => name !== ''), type: fc.constantFrom('file', 'symlink', 'link', 'directory'), linkname: path.filter((name) => name !== '') })
    let accepted = 0
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { minLength: 1, maxLength: 6 }), async (entries) => {
        const directory = await mkdtemp(join(root, 'inside', 'run-'))
        const code = join(directory, 'code')
        const tar = await tarOf(entries.map(({ name, type, linkname }) => ({ name, type, ...(type.endsWith('link') && { linkname }) }) as TestEntry))
        const error = await unpackCode(source(tar), code).then(() => undefined, (thrown: unknown) => thrown)
        if (error !== undefined) assert.equal(PlatformError.from(error).code, 'CODE_INVALID', String(error))
        else accepted++
        assert.deepEqual(await readdir(directory), error === undefined ? ['code'] : [])
        if (error === undefined) {
          for (const found of await readdir(code, { recursive: true })) {
            const real = await realpath(join(code, found)).catch(() => code)
            assert(real === code || real.startsWith(code + sep), `${found} leads to ${real}`)
          }
        }
        await rm(directory, { recursive: true })
      }),
      { numRuns: 300 },
    )
    assert(accepted > 10, `only ${accepted} tars were accepted: the test tries nothing`)
    assert.deepEqual((await readdir(root)).sort(), ['inside', 'outside'])
    assert.equal(await readFile(join(root, 'outside'), 'utf8'), 'untouched')
  })
})
