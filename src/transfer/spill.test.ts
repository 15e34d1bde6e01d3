/**
 * Goal: bodies are written whole or leave nothing: not when the disk is full, and not when the platform is killed.
 *
 * Method: real files; a process that is really killed; a tmpfs of a few hundred KB where this user may mount one.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fstatSync, mkdirSync, readdirSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { mountSmallDisk } from '#store/small-disk.ts'
import { copyBody, fileBodies } from './spill.ts'
import { content, readAll, testGround, withCode } from './transfer.fake.ts'

describe('fileBodies', () => {
  test('gives a whole body that cannot be written to, and has no name', async (context) => {
    const { files, directory } = testGround(context)
    const body = files.create()
    for (const part of [content(100_000, 1), content(50_000, 2)]) await body.write(part)
    assert.deepEqual(readdirSync(join(directory, 'objects')), [])
    const held = body.finish()
    assert.deepEqual(readAll(held), Buffer.concat([content(100_000, 1), content(50_000, 2)]))
    assert.equal(fstatSync(held.fd).nlink, 0)
    assert.throws(() => writeSync(held.fd, 'x', 0), { code: 'EBADF' })
    held.release()
  })

  test('leaves nothing of what was discarded (F1)', async (context) => {
    const { files, descriptors } = testGround(context)
    const body = files.create()
    await body.write(content(100_000))
    body.discard()
    assert.equal(descriptors(), 0)
  })

  test('leaves nothing when the platform is killed in the middle of a body', async (context) => {
    const { directory } = testGround(context)
    const at = join(directory, 'killed')
    const program = `
      const { fileBodies } = await import(${JSON.stringify(new URL('./spill.ts', import.meta.url).href)})
      const body = fileBodies(${JSON.stringify(at)}).create()
      await body.write(Buffer.alloc(1e6))
      process.stdout.write('written')
      setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await once(child, 'exit')
    assert.deepEqual(readdirSync(at), [])
  })

  test('clears away what was left between the two system calls of a former start, and nothing else', (context) => {
    const { directory } = testGround(context)
    const at = join(directory, 'former')
    mkdirSync(at)
    for (const name of ['1-0.object', 'other']) writeFileSync(join(at, name), '')
    fileBodies(at)
    assert.deepEqual(readdirSync(at), ['other'])
  })

  test('a directory that is gone is STORE_FAILED (F2)', (context) => {
    const { directory } = testGround(context)
    const maker = fileBodies(join(directory, 'gone'))
    mkdirSync(join(directory, 'elsewhere'))
    writeFileSync(join(directory, 'gone', `${process.pid}-0.object`), '')
    assert.throws(() => maker.create(), withCode('STORE_FAILED'))
  })
})

describe('copyBody', () => {
  for (const bytes of [0, 1, 1024 * 1024, 3 * 1024 * 1024 + 17]) {
    test(`copies ${bytes} bytes, and the original stays`, async (context) => {
      const { body, files, descriptors } = testGround(context)
      const original = body(content(bytes))
      const copy = (await copyBody(original, files)).finish()
      assert.deepEqual(readAll(copy), content(bytes))
      assert.deepEqual(readAll(original), content(bytes))
      original.release()
      copy.release()
      assert.equal(descriptors(), 0)
    })
  }

  test('reads on when the original is let go in the middle', async (context) => {
    const { body, files, descriptors } = testGround(context)
    const original = body(content(3_000_000))
    const copying = copyBody(original, files)
    original.release()
    const copy = (await copying).finish()
    assert.deepEqual(readAll(copy), content(3_000_000))
    copy.release()
    assert.equal(descriptors(), 0)
  })

  test('takes one chunk of memory, however long the body is (F3)', async (context) => {
    const { body, files } = testGround(context)
    const original = body(Buffer.alloc(64 * 1024 * 1024))
    const before = process.memoryUsage().arrayBuffers
    let most = 0
    const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().arrayBuffers)), 0)
    const copy = (await copyBody(original, files)).finish()
    clearInterval(watch)
    assert(most > 0 && most - before < 4 * 1024 * 1024, `${most - before} bytes`)
    original.release()
    copy.release()
  })

  test('is STORE_FULL on a full disk, leaves nothing there, and the original is whole (F2)', async (context) => {
    const { body } = testGround(context)
    const disk = mountSmallDisk(256 * 1024)
    if (disk === undefined) return context.skip('this user may not mount a tmpfs')
    try {
      const files = fileBodies(join(disk.path, 'objects'))
      const original = body(content(1_000_000))
      await assert.rejects(copyBody(original, files), withCode('STORE_FULL'))
      assert.deepEqual(readAll(original), content(1_000_000))
      original.release()
      // All of the room is there again.
      const small = body(content(200_000))
      const copy = (await copyBody(small, files)).finish()
      assert.deepEqual(readAll(copy), content(200_000))
      small.release()
      copy.release()
    } finally {
      disk.unmount()
    }
  })
})
