/**
 * Goal: every implementation of Blobs keeps B1 to B4.
 *
 * Method: the suite uses the interface alone. What only the outside can do to an implementation (damage stored bytes, be
 * killed in the middle of an upload and opened again) is asked of the harness; an implementation that cannot be made to
 * do it gives the reason in `skip`.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { BlobInfo, Blobs } from './blobs.ts'

export interface BlobsHarness {
  readonly blobs: Blobs
  /** The same data, opened again as after a crash. */
  reopen(): Promise<Blobs>
  /** Changes one stored byte behind the implementation's back. */
  damage(digest: string): Promise<void>
  /** How many things are stored besides whole blobs. */
  leftovers(): Promise<number>
  destroy(): Promise<void>
}

export interface BlobsConformance {
  readonly name: string
  readonly open: () => Promise<BlobsHarness>
  /** Reason by capability. */
  readonly skip?: { readonly damage?: string; readonly leftovers?: string }
}

const MB = 1024 * 1024

export function runBlobsConformance({ name, open, skip = {} }: BlobsConformance): void {
  const withBlobs = (body: (harness: BlobsHarness) => Promise<void>) => async (): Promise<void> => {
    const harness = await open()
    try {
      await body(harness)
    } finally {
      await harness.destroy()
    }
  }

  describe(`${name} keeps the promises of Blobs`, () => {
    test('gives back the bytes that were put, in pieces of any size, under their SHA-256 (B1)', withBlobs(async ({ blobs }) => {
      const pieces = fc.array(fc.uint8Array({ maxLength: 5000 }), { maxLength: 20 })
      await fc.assert(
        fc.asyncProperty(pieces, async (parts) => {
          const whole = Buffer.concat(parts)
          const info = await blobs.put(streamOf(...parts), { bytesMax: MB })
          assert.deepEqual(info, { digest: digestOf(whole), bytes: whole.length })
          assert.deepEqual(await buffer(await blobs.get(info.digest)), whole)
        }),
        { numRuns: 20 },
      )
    }))

    test('keeps a blob of many megabytes across a reopening (B1)', withBlobs(async ({ blobs, reopen }) => {
      const bytes = randomBytes(3 * MB + 17)
      const { digest } = await blobs.put(streamOf(bytes.subarray(0, 100), bytes.subarray(100)), { bytesMax: 4 * MB })
      const again = await reopen()
      assert.deepEqual(await again.stat(digest), { digest, bytes: bytes.length })
      assert((await buffer(await again.get(digest))).equals(bytes))
    }))

    test('takes the same bytes twice, also at the same time, as one blob (B2)', withBlobs(async ({ blobs }) => {
      const bytes = randomBytes(100_000)
      const infos = await Promise.all([1, 2, 3, 4].map(() => blobs.put(streamOf(bytes), { bytesMax: MB })))
      for (const info of infos) assert.deepEqual(info, infos[0])
      assert.deepEqual(await all(blobs), [infos[0]])
    }))

    test('takes exactly bytesMax, and refuses one byte more with BODY_TOO_LARGE, keeping nothing', withBlobs(async ({ blobs }) => {
      const { digest } = await blobs.put(streamOf(Buffer.alloc(10), Buffer.alloc(10)), { bytesMax: 20 })
      await assert.rejects(blobs.put(streamOf(Buffer.alloc(10), Buffer.alloc(11)), { bytesMax: 20 }), { code: 'BODY_TOO_LARGE' })
      assert.deepEqual((await all(blobs)).map((info) => info.digest), [digest])
    }))

    test('gives any range of a blob, alone (B3)', withBlobs(async ({ blobs }) => {
      const bytes = randomBytes(MB + 5)
      const { digest } = await blobs.put(streamOf(bytes), { bytesMax: 2 * MB })
      const edges = [0, 1, 256 * 1024, 256 * 1024 + 1, MB, MB + 4, MB + 5]
      for (const from of edges) for (const until of edges) {
        if (from < until) assert((await buffer(await blobs.get(digest, { from, until }))).equals(bytes.subarray(from, until)), `${from} until ${until}`)
      }
    }))

    test('asks for a claim when all bytes have come and nobody finds them yet; a claim that fails keeps nothing (B4)', { skip: skip.leftovers ?? false }, withBlobs(async (harness) => {
      const bytes = randomBytes(50_000)
      const claimed: BlobInfo[] = []
      const claim = async (info: BlobInfo): Promise<void> => {
        assert.equal(await harness.blobs.stat(info.digest), undefined)
        claimed.push(info)
      }
      const info = await harness.blobs.put(streamOf(bytes), { bytesMax: MB, claim })
      assert.deepEqual(claimed, [info])
      const refused = new Error('not wanted')
      await assert.rejects(harness.blobs.put(streamOf(randomBytes(10)), { bytesMax: MB, claim: () => Promise.reject(refused) }), refused)
      assert.deepEqual(await all(harness.blobs), [info])
      assert.equal(await harness.leftovers(), 0)
    }))

    test('leaves nothing of an upload that breaks off, and passes its error on (B1)', { skip: skip.leftovers ?? false }, withBlobs(async (harness) => {
      const gone = new Error('the client has gone')
      async function* breaking(): AsyncGenerator<Uint8Array> {
        yield randomBytes(70_000)
        throw gone
      }
      await assert.rejects(harness.blobs.put(breaking(), { bytesMax: MB }), gone)
      assert.deepEqual(await all(harness.blobs), [])
      assert.equal(await harness.leftovers(), 0)
    }))

    test('forgets an upload that was under way when its process ended (B1)', { skip: skip.leftovers ?? false }, withBlobs(async (harness) => {
      const begun = Promise.withResolvers<void>()
      const end = Promise.withResolvers<void>()
      async function* hanging(): AsyncGenerator<Uint8Array> {
        yield randomBytes(70_000)
        begun.resolve()
        await end.promise
        throw new Error('over')
      }
      const upload = harness.blobs.put(hanging(), { bytesMax: MB })
      await begun.promise
      const again = await harness.reopen()
      assert.equal(await harness.leftovers(), 0)
      assert.deepEqual(await all(again), [])
      end.resolve()
      await assert.rejects(upload)
    }))

    for (const bytes of [1, 1000, 2 * MB]) {
      test(`never ends a damaged blob of ${bytes} bytes as if it were whole (B3)`, { skip: skip.damage ?? false }, withBlobs(async (harness) => {
        const { digest } = await harness.blobs.put(streamOf(randomBytes(bytes)), { bytesMax: 4 * MB })
        await harness.damage(digest)
        let received = 0
        await assert.rejects(
          async () => {
            for await (const piece of await harness.blobs.get(digest)) received += (piece as Uint8Array).length
          },
          { code: 'STORE_FAILED' },
        )
        assert(received < bytes, `${received} of ${bytes} bytes were handed on`)
      }))
    }

    test('heals a damaged blob when the same bytes are put again (B3)', { skip: skip.damage ?? false }, withBlobs(async (harness) => {
      const bytes = randomBytes(5000)
      const { digest } = await harness.blobs.put(streamOf(bytes), { bytesMax: MB })
      await harness.damage(digest)
      await harness.blobs.put(streamOf(bytes), { bytesMax: MB })
      assert((await buffer(await harness.blobs.get(digest))).equals(bytes))
    }))

    test('knows nothing of blobs that are deleted or never were', withBlobs(async ({ blobs }) => {
      const { digest } = await blobs.put(streamOf(Buffer.from('to go')), { bytesMax: MB })
      await blobs.delete(digest)
      await blobs.delete(digest)
      for (const unknown of [digest, 'f'.repeat(64), '../../etc/passwd', '']) {
        assert.equal(await blobs.stat(unknown), undefined)
        await assert.rejects(blobs.get(unknown), { code: 'ENTITY_NOT_FOUND' })
      }
    }))

    test('lets a reader go on that gives up halfway', withBlobs(async ({ blobs }) => {
      const { digest } = await blobs.put(streamOf(randomBytes(2 * MB)), { bytesMax: 4 * MB })
      for await (const piece of await blobs.get(digest)) {
        assert((piece as Uint8Array).length > 0)
        break
      }
      assert.equal((await buffer(await blobs.get(digest))).length, 2 * MB)
    }))
  })
}

async function* streamOf(...pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces
}

async function all(blobs: Blobs): Promise<BlobInfo[]> {
  return Array.fromAsync(blobs.list())
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
