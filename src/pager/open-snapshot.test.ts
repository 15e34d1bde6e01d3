/**
 * Goal: what is opened fits together, a working set that does not is left out with its reason, and no descriptor stays open.
 * Method: real files; the process's own descriptors are counted.
 */
import { strict as assert } from 'node:assert'
import { readdirSync, readSync, rmSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { damage, exampleIdentity, exampleImage, exampleMemory } from './example-snapshot.fake.ts'
import { openSnapshot } from './open-snapshot.ts'
import { alignedBuffer } from './snapshot-io.ts'
import { PAGE_BYTES } from './snapshot.ts'
import { traceOf } from './trace-file.ts'
import { workingSetDefaults, writeWorkingSet } from './working-set-file.ts'

const openDescriptors = (): number => readdirSync('/proc/self/fd').length

test('opens image and working set, each once more past the page cache, and closes all of them', async () => {
  const memory = exampleMemory(64, [1, 2, 40])
  using image = await exampleImage(memory)
  const trace = traceOf(image.header, { faults: Uint32Array.of(2, 1, 7), ordered: true, recordedAtMs: 1 })
  await writeWorkingSet(join(image.directory, 'working-set'), image, trace, workingSetDefaults)
  const before = openDescriptors()
  {
    using snapshot = openSnapshot(image.directory, exampleIdentity)
    assert.deepEqual([...snapshot.pagesStored], [1, 2, 40, 1])
    const set = snapshot.workingSet!
    assert.deepEqual([[...set.runs], [...set.zeroRuns]], [[1, 2], [7, 1]])
    const read = alignedBuffer(2 * PAGE_BYTES)
    for (const [fd, at] of [[set.fd, set.offset], [set.directFd, set.offset], [snapshot.imageFd, snapshot.imageOffset + PAGE_BYTES], [snapshot.imageDirectFd, snapshot.imageOffset + PAGE_BYTES]] as const) {
      read.fill(0)
      readSync(fd, read, 0, read.byteLength, at)
      assert.equal(Buffer.compare(read, memory.subarray(PAGE_BYTES, 3 * PAGE_BYTES)), 0)
    }
  }
  assert.equal(openDescriptors(), before)
})

test('goes without a working set that is not there, is damaged, compressed or of another image', async () => {
  using image = await exampleImage(exampleMemory(64, [1, 2, 40]))
  const path = join(image.directory, 'working-set')
  const before = openDescriptors()
  const look = (): readonly [boolean, boolean, string | undefined] => {
    using snapshot = openSnapshot(image.directory)
    return [snapshot.workingSet !== undefined, snapshot.workingSetHeader !== undefined, snapshot.workingSetProblem?.code]
  }
  assert.deepEqual(look(), [false, false, undefined])
  const trace = traceOf(image.header, { faults: Uint32Array.of(2), ordered: true, recordedAtMs: 1 })
  await writeWorkingSet(path, image, trace, { ...workingSetDefaults, encoding: 'zstd' })
  assert.deepEqual(look(), [false, true, undefined])
  await writeWorkingSet(path, image, trace, workingSetDefaults)
  assert.deepEqual(look(), [true, true, undefined])
  damage(path, (bytes) => void (bytes[110]! ^= 1))
  assert.deepEqual(look(), [false, false, 'SNAPSHOT_DAMAGED'])
  using other = await exampleImage(exampleMemory(64, [1]))
  const otherHeader = { ...other.header, imageId: 'ee'.repeat(16) }
  await writeWorkingSet(path, { path: other.path, header: otherHeader }, { ...trace, imageId: otherHeader.imageId }, workingSetDefaults)
  assert.deepEqual(look(), [false, false, 'SNAPSHOT_MISMATCH'])
  assert.equal(openDescriptors(), before)
})

test('an image that is missing, cut short or of something else is an error, and leaves nothing open', async () => {
  using image = await exampleImage(exampleMemory(64, [1]))
  const before = openDescriptors()
  assert.throws(() => openSnapshot(image.directory, { revision: 'default/other@1' }), { code: 'SNAPSHOT_MISMATCH' })
  truncateSync(image.path, image.header.imageOffset + 5 * PAGE_BYTES)
  assert.throws(() => openSnapshot(image.directory), { code: 'SNAPSHOT_DAMAGED' })
  rmSync(image.path)
  assert.throws(() => openSnapshot(image.directory), { code: 'SNAPSHOT_DAMAGED', message: /not there/ })
  assert.equal(openDescriptors(), before)
})
