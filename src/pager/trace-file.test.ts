/**
 * Goal: a trace says the pages of a recording in their order, refuses pages that the memory does not have, and is read only whole.
 * Method: real files; random recordings; random damage.
 */
import { strict as assert } from 'node:assert'
import { readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { damage, exampleIdentity, temporaryDirectory } from './example-snapshot.fake.ts'
import { pagesOfRuns } from './page-runs.ts'
import { PAGE_BYTES } from './snapshot.ts'
import { joinedFaults, parseTrace, readTrace, traceOf, writeTrace } from './trace-file.ts'

const image = { ...exampleIdentity, imageBytes: 1000 * PAGE_BYTES }
const recordedAtMs = 1_700_000_000_000

test('keeps the order of the faults, and the same pages in runs', async () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'trace')
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(999), { maxLength: 200 }), fc.boolean(), async (faults, ordered) => {
      const trace = traceOf(image, { faults: Uint32Array.from(faults), ordered, recordedAtMs })
      assert.deepEqual([...trace.faults], [...new Set(faults)])
      assert.deepEqual([...pagesOfRuns(trace.runs)], [...new Set(faults)].sort((a, b) => a - b))
      await writeTrace(path, trace)
      assert.deepEqual(await readTrace(path, image), trace)
    }),
    { numRuns: 20 },
  )
})

test('pages that are learned later come first, but for those beside known ones, which come with these', () => {
  assert.deepEqual([...joinedFaults(Uint32Array.of(50, 10, 11, 90), Uint32Array.of(12, 70, 49, 71, 10))], [70, 71, 50, 10, 11, 90, 12, 49])
})

test('refuses a recording of pages that the memory does not have', () => {
  assert.throws(() => traceOf(image, { faults: Uint32Array.of(1, 1000), ordered: true, recordedAtMs }), { code: 'PROTOCOL_BROKEN' })
})

test('a truncated or changed trace is damaged, and one of another image a mismatch', async () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'trace')
  await writeTrace(path, traceOf(image, { faults: Uint32Array.of(7, 3, 4, 900), ordered: true, recordedAtMs }))
  const bytes = readFileSync(path)
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(7), async (at, bit) => {
      damage(path, (damaged) => void (damaged[at]! ^= 1 << bit))
      await assert.rejects(readTrace(path), { code: at >= 8 && at < 12 ? 'SNAPSHOT_MISMATCH' : 'SNAPSHOT_DAMAGED' })
      damage(path, () => bytes)
    }),
    { numRuns: 100 },
  )
  await assert.rejects(readTrace(path, { imageId: 'ff'.repeat(16) }), { code: 'SNAPSHOT_MISMATCH' })
  for (let length = 0; length < bytes.length; length += 13) {
    truncateSync(path, length)
    await assert.rejects(readTrace(path), { code: 'SNAPSHOT_DAMAGED' })
    damage(path, () => bytes)
  }
})

test('faults and runs of different pages are refused even with a checksum that fits', async () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'trace')
  await writeTrace(path, traceOf(image, { faults: Uint32Array.of(7, 3), ordered: true, recordedAtMs }))
  const header = readFileSync(path)
  header.writeUInt32LE(8, header.length - 8)
  header.writeUInt32LE(crc32(header.subarray(24), crc32(header.subarray(0, 20))), 20)
  assert.throws(() => parseTrace({ header, fileBytes: header.length }, path), { code: 'SNAPSHOT_DAMAGED', message: /not of the same pages/ })
})
