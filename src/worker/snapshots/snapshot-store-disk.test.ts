/**
 * Goal: a disk that is full, a worker that is killed, and a directory without links to it cost no snapshot but the one in the making.
 * Method: a small real file system, and a process that puts snapshots until it is killed.
 */
import { strict as assert } from 'node:assert'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { systemClock } from '#base/clock.ts'
import { mountSmallDisk } from '#store/small-disk.ts'
import { exampleMemory, temporaryDirectory } from '#pager/example-snapshot.fake.ts'
import { openSnapshot } from '#pager/open-snapshot.ts'
import { readImageHeader, verifyImage } from '#pager/image-file.ts'
import { nonZeroChunks } from '#pager/zero-pages.ts'
import { SnapshotStore } from './snapshot-store.ts'
import type { NewSnapshot } from './snapshot-store.ts'

const MB = 1024 * 1024
const moduleDigest = '11'.repeat(32)

function snapshotOf(revision: string, pages: number): NewSnapshot {
  const memory = exampleMemory(1024, Array(pages).keys())
  return { revision, moduleDigest, imageBytes: memory.byteLength, imageBytesMax: 4 * MB, state: new Uint8Array(0), chunks: nonZeroChunks(memory) }
}

test('a full disk is STORE_FULL, for an image and for a recording, and what was there stays', async (t) => {
  const disk = mountSmallDisk(2 * MB)
  if (disk === undefined) return t.skip('this user may not mount a file system')
  try {
    await using store = await SnapshotStore.open({ directory: join(disk.path, 'snapshots'), bytesMax: 100 * MB, clock: systemClock })
    const info = await store.put(snapshotOf('a@1', 300))
    await assert.rejects(store.put(snapshotOf('b@1', 300)), { code: 'STORE_FULL' })
    using lease = store.acquire({ revision: 'a@1', moduleDigest })!
    const faults = Uint32Array.from(Array(300).keys())
    await assert.rejects(store.addRecording(lease, { faults, ordered: true, recordedAtMs: 1 }), { code: 'STORE_FULL' })
    assert.deepEqual(store.list().map(({ revision, diskBytes, recording }) => [revision, diskBytes, recording]), [['a@1', info.diskBytes, undefined]])
    await store.addRecording(lease, { faults: faults.subarray(0, 20), ordered: true, recordedAtMs: 1 })
    await store.put(snapshotOf('c@1', 20))
    await using again = await SnapshotStore.open({ directory: join(disk.path, 'snapshots'), bytesMax: 100 * MB, clock: systemClock })
    assert.equal(again.list().length, 2)
  } finally {
    disk.unmount()
  }
})

test('copies where it cannot link, and leaves the holes out', async (t) => {
  const disk = mountSmallDisk(4 * MB)
  if (disk === undefined) return t.skip('this user may not mount a file system')
  using directory = temporaryDirectory()
  try {
    await using store = await SnapshotStore.open({ directory: join(directory.path, 'snapshots'), bytesMax: 100 * MB, clock: systemClock })
    await store.put(snapshotOf('a@1', 100))
    using lease = store.acquire({ revision: 'a@1', moduleDigest })!
    await store.addRecording(lease, { faults: Uint32Array.of(5, 6), ordered: true, recordedAtMs: 1 })
    lease.link(disk.path)
    lease.link(disk.path)
    const path = join(disk.path, 'image')
    await verifyImage(path, await readImageHeader(path))
    assert.ok(statSync(path).blocks * 512 < MB)
    using opened = openSnapshot(disk.path)
    assert.deepEqual([...opened.workingSet!.runs], [5, 2])
    const full = join(disk.path, 'full')
    mkdirSync(full)
    await store.put(snapshotOf('large@1', 1000))
    using large = store.acquire({ revision: 'large@1', moduleDigest })!
    assert.throws(() => large.link(full), { code: 'STORE_FULL' })
  } finally {
    disk.unmount()
  }
})

test('what a killed worker was writing is gone after the next open, and everything it had finished is whole (D1)', async () => {
  using directory = temporaryDirectory()
  const program = `
    import { SnapshotStore } from '#worker/snapshots/snapshot-store.ts'
    import { systemClock } from '#base/clock.ts'
    import { exampleMemory } from '#pager/example-snapshot.fake.ts'
    import { nonZeroChunks } from '#pager/zero-pages.ts'
    const store = await SnapshotStore.open({ directory: process.argv[1], bytesMax: 1e9, clock: systemClock })
    const moduleDigest = '${moduleDigest}'
    for (let n = 0; ; n++) {
      const revision = 'f' + (n % 5) + '@1'
      const memory = exampleMemory(1024, Array(200).keys())
      await store.put({ revision, moduleDigest, imageBytes: memory.byteLength, imageBytesMax: memory.byteLength, state: new Uint8Array(0), chunks: nonZeroChunks(memory) })
      using lease = store.acquire({ revision, moduleDigest })
      await store.addRecording(lease, { faults: Uint32Array.from(Array(150).keys()), ordered: true, recordedAtMs: n })
      process.stdout.write(n + '\\n')
    }`
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program, directory.path], { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = once(child, 'exit')
    let finished = 0
    for await (const chunk of child.stdout) {
      finished += String(chunk).split('\n').length - 1
      if (finished > round * 3) break
    }
    child.kill('SIGKILL')
    await exited
    const lost: unknown[] = []
    await using store = await SnapshotStore.open({ directory: directory.path, bytesMax: 1e9, clock: systemClock, onLost: (one) => lost.push(one) })
    assert.deepEqual(lost, [])
    const list = store.list()
    assert.ok(list.length >= Math.min(5, finished), `${list.length} of ${finished}`)
    for (const { revision } of list) {
      using lease = store.acquire({ revision, moduleDigest })!
      const path = join(lease.entry.directory, 'image')
      await verifyImage(path, await readImageHeader(path))
      assert.ok(readFileSync(path).length > 0)
    }
  }
})
