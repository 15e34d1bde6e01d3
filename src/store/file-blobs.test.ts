/**
 * Goal: blobs in files keep the promises of Blobs, also on a disk that is full.
 *
 * Method: the conformance suite on a temporary directory; damage is done to the files themselves. The full disk is a small
 * tmpfs, where this user may mount one.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, open, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { runBlobsConformance } from './blobs.conformance.ts'
import { openFileBlobs } from './file-blobs.ts'
import { mountSmallDisk } from './small-disk.ts'

runBlobsConformance({
  name: 'FileBlobs',
  async open() {
    const directory = await mkdtemp(join(tmpdir(), 'skep-blobs-'))
    return {
      blobs: await openFileBlobs({ directory }),
      reopen: () => openFileBlobs({ directory }),
      async damage(digest) {
        const file = await open(join(directory, digest.slice(0, 2), digest.slice(2)), 'r+')
        const { bytesRead, buffer } = await file.read(Buffer.alloc(1), 0, 1, 0)
        assert.equal(bytesRead, 1)
        await file.write(Buffer.from([buffer[0]! ^ 1]), 0, 1, 0)
        await file.close()
      },
      leftovers: async () => (await readdir(join(directory, 'tmp'))).length,
      destroy: () => rm(directory, { recursive: true, force: true }),
    }
  },
})

test('says STORE_FULL on a full disk, keeps nothing, and works again when there is room', async (context) => {
  const disk = mountSmallDisk(1024 * 1024)
  if (disk === undefined) return context.skip('this user may not mount a small disk')
  try {
    const blobs = await openFileBlobs({ directory: join(disk.path, 'blobs') })
    const small = await blobs.put(Readable.from([randomBytes(200_000)]), { bytesMax: 1e7 })
    const large = [randomBytes(400_000), randomBytes(400_000), randomBytes(400_000)]
    await assert.rejects(blobs.put(Readable.from(large), { bytesMax: 1e7 }), { code: 'STORE_FULL' })
    assert.deepEqual(await Array.fromAsync(blobs.list()), [small])
    await blobs.put(Readable.from([randomBytes(500_000)]), { bytesMax: 1e7 })
  } finally {
    disk.unmount()
  }
})
