/**
 * Goal: a snapshot is shown to its namespace only, and goes with its function or revision. Method: a real store of snapshots and a real
 * registry in temporary directories.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { exampleMemory } from '#pager/example-snapshot.fake.ts'
import { nonZeroChunks } from '#pager/zero-pages.ts'
import { FunctionRegistry } from '#registry/functions.ts'
import { config, testGround, uploadFile } from '#registry/registry.fake.ts'
import { SnapshotStore } from '#worker/snapshots/snapshot-store.ts'
import { forgetSnapshots, snapshotReader, sweepSnapshots } from './snapshot-services.ts'

const MB = 1024 * 1024
const memory = exampleMemory(256, [0, 1, 2, 200, 255])
const moduleDigest = '11'.repeat(32)

async function ground(context: Pick<TestContext, 'after'>) {
  const { store, blobs, clock, directory } = await testGround(context)
  const snapshots = await SnapshotStore.open({ directory: join(directory, 'snapshots'), bytesMax: 64 * MB, clock })
  context.after(() => snapshots[Symbol.asyncDispose]())
  const put = async (...revisions: string[]): Promise<void> => {
    for (const revision of revisions) await snapshots.put({ revision, moduleDigest, imageBytes: memory.byteLength, imageBytesMax: MB, state: new Uint8Array(0), chunks: nonZeroChunks(memory) })
  }
  const names = (): string[] => snapshots.list().map((info) => info.revision).sort()
  return { store, blobs, snapshots, put, names }
}

test('a namespace sees its own, by function and revision', async (context) => {
  const { snapshots, put } = await ground(context)
  const reader = snapshotReader(snapshots)
  await put('a/f@10', 'a/f@9', 'a/e.x-1@1', 'ab/f@1', 'b/f@9')
  assert.deepEqual(reader.list('a').map((one) => `${one.function}@${one.revision}`), ['e.x-1@1', 'f@9', 'f@10'])
  assert.deepEqual(reader.list('c'), [])
  const [{ inUse, verified, storedBytes, imageBytes }] = reader.list('b') as [ReturnType<typeof reader.list>[number]]
  assert.deepEqual({ inUse, verified, storedBytes, imageBytes }, { inUse: 0, verified: true, storedBytes: 5 * 4096, imageBytes: MB })
  await assert.rejects(reader.show('c', 'f', 9), { code: 'ENTITY_NOT_FOUND' })
  assert.throws(() => reader.drop('a', 'f', 8), { code: 'ENTITY_NOT_FOUND' })
  reader.drop('a', 'f', 9)
  assert.deepEqual(reader.list('a').map((one) => one.revision), [1, 10])
})

test('one that was recorded is shown with its contiguity and footprint', async (context) => {
  const { snapshots, put } = await ground(context)
  await put('a/f@1')
  {
    using lease = snapshots.acquire({ revision: 'a/f@1', moduleDigest })!
    await snapshots.addRecording(lease, { faults: Uint32Array.of(200, 0, 1, 7), ordered: true, recordedAtMs: 5 })
    assert.equal(snapshotReader(snapshots).list('a')[0]!.inUse, 1)
  }
  const { recording, contiguity, footprint } = await snapshotReader(snapshots).show('a', 'f', 1)
  assert.deepEqual([recording!.pagesRecorded, recording!.pagesZero, recording!.pagesPrefetched, recording!.runs, recording!.recordedAtMs], [4, 1, 3, 2, 5])
  assert.deepEqual([contiguity!.pages, contiguity!.runs, footprint!.touchedBytes, footprint!.touchedZeroBytes], [4, 3, 4 * 4096, 4096])
})

test('those of a deleted function go, of all its revisions and of no other function', async (context) => {
  const { snapshots, put, names } = await ground(context)
  await put('a/f@1', 'a/f@2', 'a/ff@1', 'b/f@1')
  forgetSnapshots(snapshots, { namespace: 'a', name: 'f' })
  assert.deepEqual(names(), ['a/ff@1', 'b/f@1'])
})

test('that of a revision which is not kept any longer goes when the registry says so', async (context) => {
  const { snapshots, put, names, store, blobs } = await ground(context)
  const registry = await FunctionRegistry.open({ store, blobs, nowMs: () => 1, revisionsMax: 2 })
  context.after(() => registry.close())
  registry.onChange((change) => change.kind === 'pruned' && forgetSnapshots(snapshots, change))
  await put('a/f@1', 'a/f@2', 'a/f@3')
  for (const text of ['one', 'two', 'three']) await registry.deploy({ namespace: 'a', name: 'f', config: config(), code: await uploadFile(registry, 'a', text) })
  assert.deepEqual(names(), ['a/f@2', 'a/f@3'])
})

test('those that a killed platform has left of what is no more are swept', async (context) => {
  const { snapshots, put, names, store, blobs } = await ground(context)
  const registry = await FunctionRegistry.open({ store, blobs, nowMs: () => 1 })
  context.after(() => registry.close())
  await registry.deploy({ namespace: 'a', name: 'f', config: config(), code: await uploadFile(registry, 'a', 'one') })
  await put('a/f@1', 'a/f@2', 'a/g@1', 'b/f@1', 'no name of a revision')
  assert.equal(await sweepSnapshots(snapshots, registry), 4)
  assert.deepEqual(names(), ['a/f@1'])
})
