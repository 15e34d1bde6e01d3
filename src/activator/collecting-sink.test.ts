/**
 * Goal: an answer is kept whole, in memory when it is small and in the blobs otherwise, or it is known not to be whole.
 *
 * Method: real blobs in a directory; the calls that a queue proxy makes.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { testBody } from '#contract/held-body.fake.ts'
import { turns } from '#contract/invocation.fake.ts'
import { openFileBlobs } from '#store/file-blobs.ts'
import type { Blobs } from '#store/blobs.ts'
import { CollectingSink } from './collecting-sink.ts'
import { OwnBlobs } from './own-blobs.ts'

interface Ground {
  readonly sink: CollectingSink
  readonly bodyOf: (digest: string) => Promise<Buffer>
  readonly kept: () => Promise<number>
}

async function ground(context: Pick<TestContext, 'after'>, blobs?: Blobs): Promise<Ground> {
  const directory = mkdtempSync(join(tmpdir(), 'skep-sink-'))
  context.after(() => rmSync(directory, { recursive: true, force: true }))
  const files = blobs ?? (await openFileBlobs({ directory }))
  const own = new OwnBlobs(files)
  return {
    sink: new CollectingSink({ inlineBytesMax: 10, blobs: own, owner: 'result of x' }),
    bodyOf: async (digest) => buffer((await own.get(digest)).body),
    async kept() {
      let count = 0
      for await (const _ of files.list()) count++
      return count
    },
  }
}

const nothing = (): void => {}

describe('CollectingSink', () => {
  test('keeps a small answer in memory, and none at all', async (context) => {
    const small = await ground(context)
    small.sink.head(201, ['a', 'b'], Buffer.from('0123456789'), true)
    assert.deepEqual(await small.sink.answer(), { status: 201, headers: ['a', 'b'], body: Buffer.from('0123456789') })
    const none = await ground(context)
    none.sink.head(204, [], undefined, true)
    assert.deepEqual(await none.sink.answer(), { status: 204, headers: [] })
    assert.equal(await none.kept(), 0)
  })

  test('puts a held one into the blobs, and lets it go, also when there is no room', async (context) => {
    const content = Buffer.alloc(600_000, 'held')
    const whole = await ground(context)
    const { body, released } = testBody(content)
    whole.sink.head(200, [], body, true)
    assert.ok((await whole.bodyOf((await whole.sink.answer()).blob!)).equals(content))
    await released
    const full = await ground(context, { put: () => Promise.reject(new PlatformError('STORE_FULL', 'full')) } as unknown as Blobs)
    const other = testBody(content)
    full.sink.head(200, [], other.body, true)
    await assert.rejects(full.sink.answer(), { code: 'STORE_FULL' })
    await other.released
  })

  test('puts a larger one, and one that streams, into the blobs', async (context) => {
    const large = await ground(context)
    large.sink.head(200, [], Buffer.from('0123456789a'), true)
    assert.equal((await large.bodyOf((await large.sink.answer()).blob!)).toString(), '0123456789a')
    const streamed = await ground(context)
    streamed.sink.head(200, [], Buffer.from('one'), false)
    streamed.sink.data(Buffer.from('two'), false, nothing)
    streamed.sink.data(Buffer.alloc(0), true, nothing)
    assert.equal((await streamed.bodyOf((await streamed.sink.answer()).blob!)).toString(), 'onetwo')
  })

  test('gives credit for each chunk once, as it is taken, and keeps all bytes for any chunks', async (context) => {
    await fc.assert(fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 50_000, size: 'max' }), { minLength: 1, maxLength: 6 }), async (chunks) => {
      const cleanUps: (() => void)[] = []
      const { sink, bodyOf } = await ground({ after: (cleanUp) => void cleanUps.push(cleanUp as () => void) })
      const consumed = chunks.map(() => 0)
      sink.head(200, [], undefined, false)
      for (const [index, chunk] of chunks.entries()) sink.data(Buffer.from(chunk), index === chunks.length - 1, () => consumed[index]!++)
      const { blob } = await sink.answer()
      assert((await bodyOf(blob!)).equals(Buffer.concat(chunks)))
      assert.deepEqual(consumed, chunks.map(() => 1))
      for (const cleanUp of cleanUps) cleanUp()
    }), { numRuns: 15 })
    context.diagnostic('chunks of up to 50 KB')
  })

  test('of one that failed has its status, and nothing is kept', async (context) => {
    const { sink, kept } = await ground(context)
    sink.fail(new PlatformError('FUNCTION_TIMEOUT', 'too late'))
    assert.deepEqual(await sink.answer(), { status: 504, headers: [] })
    assert.equal(await kept(), 0)
  })

  test('of one that broke off right after its head, or later, is refused and harms nobody', async (context) => {
    const reset = new PlatformError('FUNCTION_THREW', 'half-way')
    for (const later of [false, true]) {
      const { sink, kept } = await ground(context)
      sink.head(200, [], undefined, false)
      sink.data(Buffer.from('half'), false, nothing)
      if (later) await turns()
      sink.fail(reset)
      await assert.rejects(sink.answer(), reset)
      await turns()
      assert.equal(await kept(), 0)
    }
  })

  test('that cannot be stored says so, and its producer is not left waiting for credit', async (context) => {
    const full = new PlatformError('STORE_FULL', 'no room')
    const blobs: Blobs = {
      async put(source) {
        for await (const _ of source) throw full
        throw full
      },
      stat: async () => undefined,
      get: async () => assert.fail(),
      delete: async () => {},
      async *list() {},
    }
    const { sink } = await ground(context, blobs)
    let consumed = 0
    sink.head(200, [], undefined, false)
    for (let count = 0; count < 8; count++) sink.data(Buffer.alloc(65_536), count === 7, () => consumed++)
    await assert.rejects(sink.answer(), full)
    await turns()
    assert.equal(consumed, 8)
  })
})
