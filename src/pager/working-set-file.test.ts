/**
 * Goal: a working set has every recorded page that is not zero, with the bytes of the image, in the order that was asked for; zero
 * pages are only named; damage is found; a compressed one unpacks to the same.
 * Method: real images and traces, random ones among them; the file is read back and put into an empty memory.
 */
import { strict as assert } from 'node:assert'
import { readdirSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { damage, exampleIdentity, exampleImage, exampleMemory } from './example-snapshot.fake.ts'
import { PageSet, pagesOfRuns } from './page-runs.ts'
import { PAGE_BYTES, pagesIn } from './snapshot.ts'
import { traceOf } from './trace-file.ts'
import { planWorkingSet, readWorkingSetHeader, unpackWorkingSet, verifyWorkingSet, workingSetDefaults, writeWorkingSet } from './working-set-file.ts'
import type { WorkingSetHeader, WorkingSetShape } from './working-set-file.ts'

const PAGES = 600
const shapes = fc.record<WorkingSetShape>({ order: fc.constantFrom('page', 'fault'), gapPages: fc.nat(8), encoding: fc.constantFrom('stored', 'zstd') })

test('installs into an empty memory what the invocation touched, for every shape (V1, V2, R2)', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.nat(PAGES - 1)), fc.uniqueArray(fc.nat(PAGES - 1)), shapes, async (stored, touched, shape) => {
      const memory = exampleMemory(PAGES, stored)
      using image = await exampleImage(memory)
      const path = join(image.directory, 'working-set')
      const trace = traceOf(image.header, { faults: Uint32Array.from(touched), ordered: true, recordedAtMs: 1 })
      const written = await writeWorkingSet(path, image, trace, shape)
      const header = await readWorkingSetHeader(path, image.header)
      assert.deepEqual(header, written)
      await verifyWorkingSet(path, header)
      const empty = new Uint8Array(memory.byteLength)
      const pages = await unpackWorkingSet(path, header)
      if (shape.encoding === 'stored') assert.ok(Buffer.from(pages).equals(readFileSync(path).subarray(header.offset)))
      pagesOfRuns(header.runs).forEach((page, at) => empty.set(pages.subarray(at * PAGE_BYTES, (at + 1) * PAGE_BYTES), page * PAGE_BYTES))
      const zero = PageSet.of(header.zeroRuns, PAGES)
      const read = PageSet.of(header.runs, PAGES)
      for (const page of touched) {
        const range = [page * PAGE_BYTES, (page + 1) * PAGE_BYTES] as const
        assert.deepEqual(empty.subarray(...range), memory.subarray(...range))
        assert.notEqual(zero.has(page), read.has(page))
      }
      if (shape.gapPages === 0) assert.equal(read.size, touched.filter((page) => stored.includes(page)).length)
    }),
    { numRuns: 40 },
  )
})

test('lays runs by their first fault when asked to, and neither reads nor names a page twice', () => {
  const image = { ...exampleIdentity, imageBytes: PAGES * PAGE_BYTES, pagesStored: Uint32Array.of(0, 300) }
  const trace = traceOf(image, { faults: Uint32Array.of(200, 10, 201, 12, 400, 11, 14, 100), ordered: true, recordedAtMs: 1 })
  const plan = (order: 'page' | 'fault', gapPages: number): readonly number[][] => {
    const { runs, zeroRuns } = planWorkingSet(image, trace, { order, gapPages })
    return [[...runs], [...zeroRuns]]
  }
  assert.deepEqual(plan('page', 0), [[10, 3, 14, 1, 100, 1, 200, 2], [400, 1]])
  assert.deepEqual(plan('page', 1), [[10, 5, 100, 1, 200, 2], [400, 1]])
  assert.deepEqual(plan('fault', 1), [[200, 2, 10, 5, 100, 1], [400, 1]])
  const unordered = { ...trace, ordered: false }
  assert.deepEqual([...planWorkingSet(image, unordered, { order: 'fault', gapPages: 1 }).runs], [10, 5, 100, 1, 200, 2], 'by page, where nobody knows the order')
})

test('begins its pages at a whole page and ends with them, as a read past the page cache needs it (V1)', async () => {
  const all = Array.from(Array(PAGES).keys())
  using image = await exampleImage(exampleMemory(PAGES, all))
  const path = join(image.directory, 'working-set')
  for (const faults of [[], [5], all]) {
    const trace = traceOf(image.header, { faults: Uint32Array.from(faults), ordered: true, recordedAtMs: 1 })
    const { offset, runs } = await writeWorkingSet(path, image, trace, workingSetDefaults)
    assert.equal(offset % PAGE_BYTES, 0)
    assert.equal(statSync(path).size, offset + pagesIn(runs) * PAGE_BYTES)
    await readWorkingSetHeader(path)
  }
  assert.deepEqual(readdirSync(image.directory).sort(), ['image', 'working-set'])
})

test('is smaller when compressed, and a damaged chunk is found without filling more memory than it may', async () => {
  const all = Array.from(Array(PAGES).keys())
  using image = await exampleImage(exampleMemory(PAGES, all))
  const path = join(image.directory, 'working-set')
  const trace = traceOf(image.header, { faults: Uint32Array.from(all), ordered: true, recordedAtMs: 1 })
  const header = await writeWorkingSet(path, image, trace, { ...workingSetDefaults, encoding: 'zstd' })
  assert.equal(header.chunkBytes.length, 3)
  assert.ok(statSync(path).size < (PAGES * PAGE_BYTES) / 2)
  damage(path, (bytes) => void (bytes[header.offset + header.chunkBytes[0]! + 100]! ^= 4))
  await assert.rejects(verifyWorkingSet(path, header), { code: 'SNAPSHOT_DAMAGED' })
})

test('one changed bit anywhere is found, and so is another length', async () => {
  for (const encoding of ['stored', 'zstd'] as const) {
    using image = await exampleImage(exampleMemory(64, [1, 2, 3, 9, 40]))
    const path = join(image.directory, 'working-set')
    const trace = traceOf(image.header, { faults: Uint32Array.of(9, 2, 3, 1, 50), ordered: true, recordedAtMs: 1 })
    const header = await writeWorkingSet(path, image, trace, { order: 'fault', gapPages: 0, encoding })
    const whole = readFileSync(path)
    const headerBytes = whole.readUInt32LE(16)
    const check = async (): Promise<void> => await verifyWorkingSet(path, await readWorkingSetHeader(path))
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.nat(headerBytes - 1), fc.integer({ min: header.offset, max: whole.length - 1 })), fc.nat(7), async (at, bit) => {
        damage(path, (bytes) => void (bytes[at]! ^= 1 << bit))
        await assert.rejects(check(), { code: at >= 8 && at < 12 ? 'SNAPSHOT_MISMATCH' : 'SNAPSHOT_DAMAGED' }, `${encoding}, byte ${at}`)
        damage(path, () => whole)
      }),
      { numRuns: 60 },
    )
    await check()
    for (const length of [whole.length - 1, header.offset, headerBytes, 96, 10, 0]) {
      truncateSync(path, length)
      await assert.rejects(check(), { code: 'SNAPSHOT_DAMAGED' })
      damage(path, () => whole)
    }
  }
})

test('a trace of another image makes no working set', async () => {
  using image = await exampleImage(exampleMemory(64, [1]))
  const other: Pick<WorkingSetHeader, 'revision' | 'moduleDigest' | 'imageId' | 'imageBytes'> = { ...image.header, imageId: 'ee'.repeat(16) }
  const trace = traceOf(other, { faults: Uint32Array.of(1), ordered: true, recordedAtMs: 1 })
  await assert.rejects(writeWorkingSet(join(image.directory, 'working-set'), image, trace, workingSetDefaults), { code: 'SNAPSHOT_MISMATCH' })
})
