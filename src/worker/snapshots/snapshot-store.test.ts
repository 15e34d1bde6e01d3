/**
 * Goal: what was put is found again, whole, until there is a reason that it is not; each such reason is told, and nothing else is lost by it.
 * Method: real files in a temporary directory and a manual clock; the directory is opened again as after a restart; damage by
 * changing real bytes.
 */
import { strict as assert } from 'node:assert'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { ManualClock } from '#base/clock.ts'
import type { PlatformError } from '#contract/errors.ts'
import { damage, exampleMemory, temporaryDirectory } from '#pager/example-snapshot.fake.ts'
import { openSnapshot } from '#pager/open-snapshot.ts'
import { PAGE_BYTES } from '#pager/snapshot.ts'
import { nonZeroChunks } from '#pager/zero-pages.ts'
import type { PageChunk } from '#pager/zero-pages.ts'
import { SnapshotStore } from './snapshot-store.ts'
import type { NewSnapshot, SnapshotStoreOptions } from './snapshot-store.ts'

const MB = 1024 * 1024
const VERIFY_DELAY_MS = 1_000
const identity = (name: string): { readonly revision: string; readonly moduleDigest: string } => ({ revision: `default/${name}@1`, moduleDigest: '11'.repeat(32) })
const memory = exampleMemory(1024, [0, 1, 2, 500, 501, 1023])
const recording = { faults: Uint32Array.of(500, 1, 2, 700), ordered: true, recordedAtMs: 1_700_000_000_500 }

function snapshotOf(name: string, from: Uint8Array = memory): NewSnapshot {
  return { ...identity(name), imageBytes: from.byteLength, imageBytesMax: 4 * MB, state: new Uint8Array(0), chunks: nonZeroChunks(from) }
}

/** A store in a directory of its own, that can be opened again. */
async function harness(settings: Partial<SnapshotStoreOptions> = {}) {
  const directory = temporaryDirectory()
  const path = join(directory.path, 'snapshots')
  const clock = new ManualClock()
  const lost: { readonly part: string; readonly revision?: string; readonly error: PlatformError }[] = []
  const opened: SnapshotStore[] = []
  const open = async (): Promise<SnapshotStore> => {
    const store = await SnapshotStore.open({ directory: path, bytesMax: 64 * MB, clock, verifyDelayMs: VERIFY_DELAY_MS, onLost: (one) => lost.push(one), ...settings })
    opened.push(store)
    return store
  }
  return {
    path,
    clock,
    lost,
    open,
    names: () => readdirSync(path),
    /** The one snapshot's file. */
    file: (...names: string[]) => join(path, readdirSync(path)[0]!, ...names),
    target: (name: string): string => {
      const target = join(directory.path, name)
      mkdirSync(target)
      return target
    },
    async [Symbol.asyncDispose]() {
      for (const store of opened) await store[Symbol.asyncDispose]()
      directory[Symbol.dispose]()
    },
  }
}

test('finds what was put, by revision and module, also after a restart', async () => {
  await using h = await harness()
  const store = await h.open()
  assert.equal(store.acquire(identity('a')), undefined)
  assert.ok(store.wants(identity('a')))
  const info = await store.put(snapshotOf('a'))
  assert.equal(info.storedBytes, 6 * PAGE_BYTES)
  assert.ok(info.diskBytes >= 6 * PAGE_BYTES && info.diskBytes < 100 * 1024, `${info.diskBytes} bytes`)
  for (const each of [store, await h.open()]) {
    assert.ok(!each.wants(identity('a')))
    assert.ok(each.wants({ ...identity('a'), moduleDigest: '22'.repeat(32) }))
    assert.equal(each.acquire({ ...identity('a'), moduleDigest: '22'.repeat(32) }), undefined)
    using lease = each.acquire(identity('a'))!
    assert.equal(lease.info.imageId, info.imageId)
    assert.equal(lease.info.leases, 1)
  }
})

test('links the files into the directory of a host, which opens them: the same blocks, not copies', async () => {
  await using h = await harness()
  const store = await h.open()
  await store.put(snapshotOf('a'))
  using lease = store.acquire(identity('a'))!
  const target = h.target('host')
  assert.deepEqual(lease.link(target), { image: 'image' })
  assert.equal(statSync(join(target, 'image')).ino, statSync(h.file('image')).ino)
  await store.addRecording(lease, recording)
  assert.deepEqual(lease.link(target), { image: 'image', workingSet: 'working-set' })
  using opened = openSnapshot(target, identity('a'))
  assert.deepEqual([...opened.workingSet!.runs], [500, 1, 1, 2], 'in the order of the faults')
  assert.deepEqual([...opened.workingSet!.zeroRuns], [700, 1])
})

test('a new recording takes the place of the old one, and outlives a restart (D1)', async () => {
  await using h = await harness()
  const store = await h.open()
  await store.put(snapshotOf('a'))
  using lease = store.acquire(identity('a'))!
  await store.addRecording(lease, recording)
  const info = await store.addRecording(lease, { ...recording, faults: Uint32Array.of(0, 1023) }, { order: 'fault', gapPages: 0, encoding: 'zstd' })
  await store.settled()
  assert.deepEqual(readdirSync(h.file()).sort(), ['image', 'recording-2'])
  const { pagesTouched, pagesPrefetched, runs, order, encoding } = info
  assert.deepEqual({ pagesTouched, pagesPrefetched, runs, order, encoding }, { pagesTouched: 2, pagesPrefetched: 2, runs: 2, order: 'fault', encoding: 'zstd' })
  const again = await h.open()
  assert.deepEqual(again.list()[0]!.recording, info)
  const details = await again.show('default/a@1')
  assert.equal(details.contiguity!.meanRunPages, 1)
  assert.equal(details.footprint!.touchedBytes, 2 * PAGE_BYTES)
})

test('a new snapshot of a revision takes the place of the old one, whose files stay while somebody holds it (D2)', async () => {
  await using h = await harness()
  const store = await h.open()
  await store.put(snapshotOf('a'))
  const lease = store.acquire(identity('a'))!
  const second = await store.put(snapshotOf('a', exampleMemory(1024, [7])))
  assert.ok(!lease.isCurrent)
  lease.link(h.target('old'))
  using newer = store.acquire(identity('a'))!
  assert.equal(newer.info.imageId, second.imageId)
  assert.equal(h.names().length, 2)
  await assert.rejects(store.addRecording(lease, recording), { code: 'SNAPSHOT_MISMATCH' })
  lease[Symbol.dispose]()
  lease[Symbol.dispose]()
  await store.settled()
  assert.equal(h.names().length, 1)
  assert.equal(store.diskBytes, second.diskBytes)
})

test('drops what it is told to, and says what it does not have', async () => {
  await using h = await harness()
  const store = await h.open()
  await store.put(snapshotOf('a'))
  store.drop('default/a@1')
  await store.settled()
  assert.deepEqual([store.list(), h.names(), store.diskBytes], [[], [], 0])
  assert.throws(() => store.drop('default/a@1'), { code: 'ENTITY_NOT_FOUND' })
  await assert.rejects(store.show('default/a@1'), { code: 'ENTITY_NOT_FOUND' })
  assert.deepEqual(h.lost, [])
})

test('a capture that breaks the rules, fails or is too large leaves everything as it was (D4)', async () => {
  await using h = await harness()
  const store = await h.open()
  const before = await store.put(snapshotOf('a'))
  const page = new Uint8Array(PAGE_BYTES).fill(1)
  await assert.rejects(store.put({ ...snapshotOf('a'), imageBytesMax: MB }), { code: 'PROTOCOL_BROKEN' })
  await assert.rejects(store.put({ ...snapshotOf('a'), chunks: [{ firstPage: 5, bytes: page }, { firstPage: 4, bytes: page }] }), { code: 'PROTOCOL_BROKEN' })
  const dying = (async function* (): AsyncGenerator<PageChunk> {
    yield { firstPage: 0, bytes: page }
    throw new Error('the host died')
  })()
  await assert.rejects(store.put({ ...snapshotOf('a'), chunks: dying }), /the host died/)
  assert.deepEqual(store.list(), [before])
  assert.equal(h.names().length, 1)
  assert.equal(store.diskBytes, before.diskBytes)
  using lease = store.acquire(identity('a'))!
  await assert.rejects(store.addRecording(lease, { ...recording, faults: Uint32Array.of(1024) }), { code: 'PROTOCOL_BROKEN' })
  assert.equal(lease.info.recording, undefined)
  assert.equal(h.names().length, 1)
})

test('one snapshot of a revision is written at a time', async () => {
  await using h = await harness()
  const store = await h.open()
  const first = store.put(snapshotOf('a'))
  assert.ok(!store.wants(identity('a')))
  await assert.rejects(store.put(snapshotOf('a')), { code: 'CONFLICT' })
  await first
  assert.ok(!store.wants(identity('a')))
})

test('keeps to its budget by removing the least recently used, and nothing that is in use (D3)', async () => {
  await using h = await harness({ bytesMax: MB })
  const store = await h.open()
  const quarter = exampleMemory(256, Array(80).keys())
  for (const name of ['a', 'b', 'c']) {
    h.clock.advance(1000)
    await store.put(snapshotOf(name, quarter))
  }
  h.clock.advance(1000)
  store.acquire(identity('a'))![Symbol.dispose]()
  h.clock.advance(1000)
  using held = store.acquire(identity('b'))!
  h.clock.advance(1000)
  await store.put(snapshotOf('d', quarter))
  assert.deepEqual(store.list().map((one) => one.revision), ['default/d@1', 'default/b@1', 'default/a@1'])
  assert.ok(store.diskBytes <= MB)
  // What can never fit removes nothing.
  await assert.rejects(store.put(snapshotOf('huge', exampleMemory(1024, Array(300).keys()))), { code: 'STORE_FULL' })
  assert.equal(store.list().length, 3)
  assert.equal(held.info.leases, 1)
  assert.deepEqual(h.lost, [])
})

test('remembers the order of use over a restart, and keeps to a budget that has become smaller', async () => {
  await using h = await harness()
  const store = await h.open()
  const quarter = exampleMemory(256, Array(80).keys())
  for (const name of ['a', 'b', 'c']) {
    h.clock.advance(1000)
    await store.put(snapshotOf(name, quarter))
  }
  h.clock.advance(3_600_000)
  store.acquire(identity('a'))![Symbol.dispose]()
  await store.settled()
  await using small = await SnapshotStore.open({ directory: h.path, bytesMax: MB / 2, clock: h.clock })
  assert.deepEqual(small.list().map((one) => one.revision), ['default/a@1'])
})

test('checks the pages some time after the first use, not before, and once (D5)', async () => {
  await using h = await harness()
  await (await h.open()).put(snapshotOf('a'))
  const store = await h.open()
  assert.equal(store.list()[0]!.verified, false)
  store.acquire(identity('a'))![Symbol.dispose]()
  await store.settled()
  assert.equal(store.list()[0]!.verified, false)
  h.clock.advance(VERIFY_DELAY_MS)
  await store.settled()
  assert.equal(store.list()[0]!.verified, true)
})

test('damaged pages are found then: the snapshot is gone, told, and can be put again (D5)', async () => {
  await using h = await harness()
  await (await h.open()).put(snapshotOf('a'))
  const store = await h.open()
  damage(h.file('image'), (bytes) => void (bytes[bytes.length - 1]! ^= 1))
  using lease = store.acquire(identity('a'))!
  h.clock.advance(VERIFY_DELAY_MS)
  await store.settled()
  assert.equal(lease.isCurrent, false)
  assert.ok(store.wants(identity('a')))
  assert.deepEqual(h.lost.map(({ part, revision, error }) => [part, revision, error.code]), [['snapshot', 'default/a@1', 'SNAPSHOT_DAMAGED']])
  await store.put(snapshotOf('a'))
  assert.ok(!store.wants(identity('a')))
})

test('a damaged working set is gone alone, and the image stays', async () => {
  await using h = await harness()
  const first = await h.open()
  await first.put(snapshotOf('a'))
  using lease = first.acquire(identity('a'))!
  await first.addRecording(lease, recording)
  const store = await h.open()
  damage(h.file('recording-1', 'working-set'), (bytes) => void (bytes[bytes.length - 1]! ^= 1))
  using again = store.acquire(identity('a'))!
  h.clock.advance(VERIFY_DELAY_MS)
  await store.settled()
  assert.deepEqual(h.lost.map(({ part, error }) => [part, error.code]), [['recording', 'SNAPSHOT_DAMAGED']])
  assert.deepEqual(again.link(h.target('host')), { image: 'image' })
  await store.addRecording(again, recording)
})

test('what a host cannot use is lost, too', async () => {
  await using h = await harness()
  const store = await h.open()
  await store.put(snapshotOf('a'))
  const { PlatformError } = await import('#contract/errors.ts')
  store.discard('default/a@1', new PlatformError('SNAPSHOT_DAMAGED', 'said a host'))
  store.discard('default/a@1', new PlatformError('SNAPSHOT_DAMAGED', 'said a host'))
  assert.equal(h.lost.length, 1)
  assert.ok(store.wants(identity('a')))
})

test('a snapshot that is dropped while its pages are checked is not damaged', async () => {
  await using h = await harness()
  await (await h.open()).put(snapshotOf('a'))
  const store = await h.open()
  store.acquire(identity('a'))![Symbol.dispose]()
  h.clock.advance(VERIFY_DELAY_MS)
  store.drop('default/a@1')
  await store.settled()
  assert.deepEqual(h.lost, [])
})

test('opening removes what is unfinished, damaged, of another version or in the wrong place, tells it, and keeps the rest', async () => {
  await using h = await harness()
  const first = await h.open()
  for (const name of ['good', 'short', 'version', 'moved', 'recorded']) {
    await first.put(snapshotOf(name))
    using lease = first.acquire(identity(name))!
    if (name === 'recorded') await first.addRecording(lease, recording)
  }
  const directoryOf = (name: string): string => {
    const { imageId } = first.list().find((one) => one.revision === `default/${name}@1`)!
    return join(h.path, h.names().find((each) => each.endsWith(imageId))!)
  }
  damage(join(directoryOf('short'), 'image'), (bytes) => bytes.subarray(0, -1))
  damage(join(directoryOf('version'), 'image'), (bytes) => void bytes.writeUInt32LE(1, 8))
  damage(join(directoryOf('recorded'), 'recording-1', 'trace'), (bytes) => bytes.subarray(0, 50))
  const moved = `${'0'.repeat(32)}.${'0'.repeat(32)}`
  writeFileSync(join(directoryOf('good'), 'image.123.new'), 'half')
  mkdirSync(join(h.path, moved))
  writeFileSync(join(h.path, moved, 'image'), readFileSync(join(directoryOf('moved'), 'image')))
  mkdirSync(join(h.path, '.new-1234'))
  writeFileSync(join(h.path, '.gone'), '')
  const store = await h.open()
  assert.deepEqual(store.list().map((one) => one.revision).sort(), ['default/good@1', 'default/moved@1', 'default/recorded@1'])
  assert.deepEqual(h.lost.map(({ part, error }) => `${part} ${error.code}`).sort(), ['recording SNAPSHOT_DAMAGED', 'snapshot SNAPSHOT_DAMAGED', 'snapshot SNAPSHOT_DAMAGED', 'snapshot SNAPSHOT_MISMATCH'])
  assert.equal(h.names().length, 3)
  for (const name of h.names()) assert.deepEqual(readdirSync(join(h.path, name)), ['image'])
})
