/**
 * Goal: an image restores the very memory it was taken of, takes no more of the disk than what is not zero, and anything that is
 * wrong with a file, or with what a host process sends, is a typed error before it can do harm.
 * Method: real files in a temporary directory; damage by changing real bytes; random damage to every part.
 */
import { strict as assert } from 'node:assert'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, statSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { damage, exampleDescription, exampleIdentity, exampleImage, exampleMemory, temporaryDirectory } from './example-snapshot.fake.ts'
import { FORMAT_VERSION, PREAMBLE_BYTES } from './header-codec.ts'
import { CHUNK_BYTES, IMAGE_BYTES_MAX, parseImageHeader, readImageHeader, readImageHeaderSync, STATE_BYTES_MAX, verifyImage, writeImage } from './image-file.ts'
import { PAGE_BYTES } from './snapshot.ts'
import type { PageChunk } from './zero-pages.ts'

const MB = 1024 * 1024

test('keeps a memory as it was, page n at imageOffset + n pages, with what is to be restored beside it', async () => {
  const memory = exampleMemory(512, [0, 1, 15, 16, 17, 100, 300, 301, 511])
  using image = await exampleImage(memory)
  const header = await readImageHeader(image.path, exampleIdentity)
  assert.deepEqual(header, image.header)
  assert.deepEqual([...header.pagesStored], [0, 2, 15, 3, 100, 1, 300, 2, 511, 1])
  assert.equal(Buffer.from(header.state).toString(), '{"globals":[]}')
  const bytes = readFileSync(image.path)
  assert.equal(bytes.length, header.imageOffset + memory.byteLength)
  assert.equal(bytes.subarray(header.imageOffset).compare(memory), 0)
  await verifyImage(image.path, header)
  const fd = openSync(image.path, 'r')
  try {
    assert.deepEqual(readImageHeaderSync(fd, image.path), header)
  } finally {
    closeSync(fd)
  }
})

test('takes of the disk what is not zero, of a file as long as the memory (I1, I2)', async () => {
  using image = await exampleImage(exampleMemory(64 * 256, [5, 6000]))
  const { size, blocks } = statSync(image.path)
  assert.equal(size, image.header.imageOffset + 64 * MB)
  // Two pages, the header, and what the file system needs to say where they are.
  assert.ok(blocks * 512 <= 64 * 1024, `${blocks * 512} bytes`)
})

test('an image without any page that is not zero is one, too', async () => {
  using image = await exampleImage(new Uint8Array(16 * PAGE_BYTES))
  const header = await readImageHeader(image.path)
  assert.equal(header.pagesStored.length + header.chunkChecksums.length, 0)
  await verifyImage(image.path, header)
})

test('stores the same, however the pages are cut into chunks and whatever zero pages are among them (I3)', async () => {
  const memory = exampleMemory(100, [0, 1, 2, 14, 15, 16, 31, 32, 50, 64, 99])
  using image = await exampleImage(memory)
  using directory = temporaryDirectory()
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 10 }), async (cuts) => {
      const chunks: PageChunk[] = []
      let page = 0
      for (const count of [...cuts, 100]) {
        const end = Math.min(100, page + count)
        chunks.push({ firstPage: page, bytes: memory.subarray(page * PAGE_BYTES, end * PAGE_BYTES) })
        page = end
      }
      const header = await writeImage(join(directory.path, 'image'), exampleDescription(memory), chunks)
      assert.deepEqual(header, image.header)
      assert.ok(readFileSync(join(directory.path, 'image')).equals(readFileSync(image.path)))
    }),
    { numRuns: 20 },
  )
})

test('refuses chunks that overlap, go backwards, are no whole pages or go beyond the memory, and leaves nothing', async () => {
  using directory = temporaryDirectory()
  const page = new Uint8Array(PAGE_BYTES).fill(1)
  const wrong: PageChunk[][] = [
    [{ firstPage: 1, bytes: page }, { firstPage: 1, bytes: page }],
    [{ firstPage: 3, bytes: page }, { firstPage: 2, bytes: page }],
    [{ firstPage: 0, bytes: page.subarray(1) }],
    [{ firstPage: 16, bytes: page }],
    [{ firstPage: -1, bytes: page }],
    [{ firstPage: 0.5, bytes: page }],
    [{ firstPage: Number.NaN, bytes: page }],
    [{ firstPage: 15, bytes: new Uint8Array(2 * PAGE_BYTES) }],
  ]
  const description = exampleDescription(new Uint8Array(16 * PAGE_BYTES))
  for (const chunks of wrong) await assert.rejects(writeImage(join(directory.path, 'image'), description, chunks), { code: 'PROTOCOL_BROKEN' })
  for (const imageBytes of [0, 1, PAGE_BYTES + 1, IMAGE_BYTES_MAX + PAGE_BYTES, Number.NaN]) {
    await assert.rejects(writeImage(join(directory.path, 'image'), { ...description, imageBytes }, []), { code: 'PROTOCOL_BROKEN' })
  }
  await assert.rejects(writeImage(join(directory.path, 'image'), { ...description, state: new Uint8Array(STATE_BYTES_MAX + 1) }, []), { code: 'PROTOCOL_BROKEN' })
  const failing = (async function* (): AsyncGenerator<PageChunk> {
    yield { firstPage: 0, bytes: page }
    throw new Error('the host died')
  })()
  await assert.rejects(writeImage(join(directory.path, 'image'), description, failing), /the host died/)
  assert.deepEqual(readdirSync(directory.path), [])
})

test('a file that became shorter or longer is damaged before any of it is mapped (I1)', async () => {
  using image = await exampleImage(exampleMemory(64, [1, 2, 60]))
  const { size } = statSync(image.path)
  for (const length of [size - 1, size - PAGE_BYTES, image.header.imageOffset, 100, 50, 0]) {
    truncateSync(image.path, length)
    await assert.rejects(readImageHeader(image.path), { code: 'SNAPSHOT_DAMAGED' }, `${length} bytes`)
  }
  using longer = await exampleImage(exampleMemory(64, [1]))
  truncateSync(longer.path, statSync(longer.path).size + PAGE_BYTES)
  await assert.rejects(readImageHeader(longer.path), { code: 'SNAPSHOT_DAMAGED' })
  await assert.rejects(readImageHeader(join(image.directory, 'nowhere')), { code: 'SNAPSHOT_DAMAGED' })
})

test('one changed bit anywhere is found: in the header by reading it, in pages and holes by checking them', async () => {
  const memory = exampleMemory(64, [0, 17, 18, 63])
  using image = await exampleImage(memory)
  const headerBytes = readFileSync(image.path).readUInt32LE(16)
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.nat(headerBytes - 1), fc.integer({ min: image.header.imageOffset, max: image.header.imageOffset + memory.byteLength - 1 })), fc.nat(7), async (at, bit) => {
      const flip = (): void => damage(image.path, (bytes) => void (bytes[at]! ^= 1 << bit))
      flip()
      try {
        const check = async (): Promise<void> => await verifyImage(image.path, await readImageHeader(image.path))
        // A version is what it says it is: another one is not damage.
        await assert.rejects(check(), { code: at >= 8 && at < 12 ? 'SNAPSHOT_MISMATCH' : 'SNAPSHOT_DAMAGED' }, `byte ${at}, bit ${bit}`)
      } finally {
        flip()
      }
    }),
    { numRuns: 100 },
  )
  await verifyImage(image.path, await readImageHeader(image.path))
})

test('a write into a hole is found', async () => {
  using image = await exampleImage(exampleMemory(64, [0, 63]))
  const fd = openSync(image.path, 'r+')
  writeSync(fd, Buffer.of(1), 0, 1, image.header.imageOffset + 3 * CHUNK_BYTES - 1)
  closeSync(fd)
  await assert.rejects(verifyImage(image.path, image.header), { code: 'SNAPSHOT_DAMAGED' })
})

test('bytes that are no image at all are refused, whatever lengths they claim (H1)', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, begins) => {
      if (begins) Buffer.from(bytes.buffer).write(`SKEPSNAP${String.fromCharCode(FORMAT_VERSION)}\0\0\0\x01\0\0\0`, 'latin1')
      assert.throws(() => parseImageHeader({ header: bytes, fileBytes: bytes.length }, 'any'), /SNAPSHOT|snapshot file/)
    }),
  )
})

test('headers whose checksum fits and whose content does not are refused (R1, H1, H3)', async () => {
  using image = await exampleImage(exampleMemory(64, [1, 2]))
  const good = readFileSync(image.path)
  const header = good.subarray(0, good.readUInt32LE(16))
  const revisionBytes = header.readUInt32LE(PREAMBLE_BYTES)
  // imageOffset, imageBytes, takenAt, answered, state, then the runs (FORMAT.md).
  const fields = PREAMBLE_BYTES + 4 + revisionBytes
  const runs = fields + 32 + header.readUInt32LE(fields + 28)
  const changes: readonly (readonly [at: number, value: number])[] = [
    [PREAMBLE_BYTES, 0],
    [PREAMBLE_BYTES, 0xffff_ffff],
    [fields, 1],
    [fields, 0],
    [fields + 8, 0],
    [fields + 8, 0xffff_f000],
    [fields + 28, 0xffff_ffff],
    [runs, 0],
    [runs, 2],
    [runs, 0xffff_ffff],
    [runs, 0x4000_0000],
    [runs + 4, 63],
    [runs + 4, 0xffff_ffff],
    [runs + 8, 0],
    [runs + 8, 0xffff_ffff],
  ]
  const { crc32 } = await import('node:zlib')
  for (const [at, value] of changes) {
    const changed = Buffer.from(header)
    changed.writeUInt32LE(value, at)
    changed.writeUInt32LE(crc32(changed.subarray(24), crc32(changed.subarray(0, 20))), 20)
    assert.throws(() => parseImageHeader({ header: changed, fileBytes: good.length }, 'changed'), { code: 'SNAPSHOT_DAMAGED' }, `${value} at ${at}`)
  }
  assert.equal(parseImageHeader({ header, fileBytes: good.length }, 'good').pagesStored.length, 2)
})

test('an image of another revision, module or image is a mismatch that says which', async () => {
  using image = await exampleImage(exampleMemory(16, [1]))
  await assert.rejects(readImageHeader(image.path, { revision: 'default/hello@4' }), { code: 'SNAPSHOT_MISMATCH', message: /default\/hello@3, and default\/hello@4/ })
  await assert.rejects(readImageHeader(image.path, { moduleDigest: 'cd'.repeat(32) }), { code: 'SNAPSHOT_MISMATCH' })
  await assert.rejects(readImageHeader(image.path, { imageId: '00'.repeat(16) }), { code: 'SNAPSHOT_MISMATCH' })
})

test('checks a large image without holding it (prints its speed)', async (t) => {
  const memory = exampleMemory(4096, Array.from(Array(4096).keys()).filter((page) => page % 16 < 8))
  using image = await exampleImage(memory)
  const before = process.hrtime.bigint()
  await verifyImage(image.path, image.header)
  t.diagnostic(`16 MB in ${Number(process.hrtime.bigint() - before) / 1e6} ms`)
  assert.ok(existsSync(image.path))
})

