/**
 * Goal: a body is there for as long as somebody holds it, and its descriptor no longer (H1, H2); as a stream it is whole or broken off.
 *
 * Method: files without a name; the kernel says whether a descriptor is open.
 */
import assert from 'node:assert/strict'
import { closeSync, fstatSync } from 'node:fs'
import { describe, test } from 'node:test'
import { buffer } from 'node:stream/consumers'
import fc from 'fast-check'
import { testBody } from './held-body.fake.ts'
import { HeldBody } from './held-body.ts'

const isOpen = (fd: number): boolean => {
  try {
    return fstatSync(fd).isFile()
  } catch {
    return false
  }
}

describe('a held body', () => {
  test('is closed by the last of its holders, who is told of (H1)', () => {
    const { body, isReleased } = testBody(Buffer.from('body'))
    body.retain().retain()
    body.release()
    body.release()
    assert.deepEqual([isOpen(body.fd), isReleased()], [true, false])
    body.release()
    assert.deepEqual([isOpen(body.fd), isReleased()], [false, true])
    assert.throws(() => body.release(), assert.AssertionError)
    assert.throws(() => body.retain(), assert.AssertionError)
  })

  test('streams whole, several times at once, and each stream lets it go', async () => {
    await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: 900_000 }), async (bytes) => {
      const content = Buffer.alloc(bytes, 'some content')
      const { body, released } = testBody(content)
      const streams = [body.stream(), body.retain().stream()]
      for (const all of await Promise.all(streams.map((one) => buffer(one)))) assert.ok(all.equals(content))
      await released
    }), { numRuns: 20 })
  })

  test('is let go by a stream that is destroyed: unread, while a chunk is read, and between two', async () => {
    for (const reads of [0, 1, 2]) {
      const { body, released } = testBody(Buffer.alloc(900_000))
      const stream = body.stream()
      if (reads === 1) stream.read()
      if (reads === 2) await new Promise((resolve) => stream.once('data', resolve))
      stream.destroy()
      await released
    }
  })

  test('breaks off when there is less than it says', async () => {
    const { body } = testBody(Buffer.alloc(1000))
    const longer = new HeldBody(body.fd, 2000)
    await assert.rejects(buffer(longer.stream()), /2000 bytes ended at 1000/)
    assert.equal(isOpen(body.fd), false)
    assert.throws(() => closeSync(body.fd))
  })
})
