/**
 * Goal: the life of a snapshot is the one drawn in snapshot-keeper.ts: taken once, recorded once, used by every place, found after a
 * restart; and whatever goes wrong on the way costs time, never an answer (K1, K2).
 *
 * Method: a real worker with real hosts and a real store. What a start was is read from the figures that the host tells. Which boot
 * a faaslet comes from, the function says.
 */
import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { Instance } from '../instance.ts'
import { workerGround, workerSkip } from '../worker.harness.ts'
import type { WorkerGround } from '../worker.harness.ts'
import { learningDefaults } from '#pager/learning.ts'
import { fillDisk, mountSmallDisk } from '#store/small-disk.ts'
import { born, eventually, lacking, snapshotStore } from './faaslets.harness.ts'

const runtimes = mkdtempSync(join(tmpdir(), 'skep-runtimes-'))
const js = { kind: 'js' } as const

describe('the life of a snapshot', { skip: workerSkip, timeout: 60_000 }, () => {
  after(() => rmSync(runtimes, { recursive: true, force: true }))

  async function ask({ invoke }: WorkerGround, instance: Instance) {
    const { invocation, text, sink } = await invoke(instance)
    assert.equal(sink.error, undefined)
    return { ...(JSON.parse(text) as { bornMs: number; entry: string; count: number }), figures: invocation.startFigures! }
  }

  test('taken once, recorded once, prefetched from then on; and a second place has it at once', async (context) => {
    const { store } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const revision = ground.revision(born, { ...js, restore: 'reap' })
    const instance = await ground.start(revision)
    const first = await ask(ground, instance)
    assert.equal(first.count, 1)
    const snapshot = await eventually(() => store.list()[0], 'the snapshot was taken')
    assert.equal(snapshot.revision, 'default/f@1')
    // The invocation that is recorded may come some turns after the snapshot.
    let recorded
    do recorded = await ask(ground, instance)
    while (recorded.figures.pagesRecorded === undefined)
    assert.ok(recorded.figures.pagesRecorded > 10, `${recorded.figures.pagesRecorded} pages`)
    await eventually(() => store.list()[0]!.recording, 'the recording was kept')
    let prefetched
    do prefetched = await ask(ground, instance)
    while (prefetched.figures.mode !== 'reap')
    assert.ok(prefetched.figures.pagesPrefetched! >= recorded.figures.pagesRecorded * 0.9, JSON.stringify(prefetched.figures))
    assert.ok(prefetched.figures.pagesFaulted! < prefetched.figures.pagesPrefetched! / 5, JSON.stringify(prefetched.figures))
    assert.deepEqual([prefetched.bornMs, prefetched.count], [first.bornMs, 1])

    const second = await ground.start(revision)
    assert.notEqual(second.sandbox.pid, instance.sandbox.pid)
    const other = await ask(ground, second)
    assert.deepEqual([other.bornMs, other.figures.mode, store.list()[0]!.leases], [first.bornMs, 'reap', 2])
    assert.equal(store.list()[0]!.imageId, snapshot.imageId)
    second.kill('test')
    instance.kill('test')
    await Promise.all([second.sandbox.exited, instance.sandbox.exited])
    await eventually(() => store.list()[0]!.leases === 0, 'nobody has a lease (K1)')
    assert.deepEqual(ground.warnings, [])
  })

  test('what the first prefetched starts miss is added to what is prefetched, once for all of them', async (context) => {
    const { store } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const files = { 'index.js': 'const table = new Uint8Array(8 << 20).fill(1); export function main({ from, to }) { let sum = 0; for (let page = from; page < to; page++) sum += table[page * 4096]; return sum }' }
    const instance = await ground.start(ground.revision(files, { ...js, restore: 'reap' }))
    const touch = async (from: number, to: number) => {
      const { invocation, text, sink } = await ground.invoke(instance, { kind: 'http', method: 'POST', path: '/', headers: ['content-type', 'application/json'], body: Buffer.from(JSON.stringify({ from, to })) })
      assert.deepEqual([sink.error, text], [undefined, String(to - from)])
      return invocation.startFigures!
    }
    const recording = () => store.list()[0]?.recording
    while (recording() === undefined) await touch(0, 400)
    while ((await touch(0, 400)).mode !== 'reap') continue
    const before = recording()!.pagesTouched
    // One of the prefetched starts is over; those up to the one after which it is told miss something.
    const starts = Array.from({ length: learningDefaults.tellAfter[0]! - 1 }, (_, at) => 1000 + 20 * at)
    for (const from of starts) assert.ok((await touch(from, from + 20)).pagesFaulted! >= 20)
    await eventually(() => recording()!.pagesTouched > before, 'it is added')
    const learned = recording()!.pagesTouched - before
    assert.ok(learned >= 20 * starts.length && learned <= before * learningDefaults.shareMax, `${learned} of ${before}`)
    let last
    do last = await touch(starts[0]!, starts.at(-1)! + 20)
    while (last.pagesPrefetched! <= before)
    assert.ok(last.pagesFaulted! < 10, JSON.stringify(last))
    assert.deepEqual(ground.warnings, [])
  })

  test('outlives the worker: the next one does not boot', async (context) => {
    const { store, directory } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const first = await ask(ground, await ground.start(ground.revision(born, js)))
    await eventually(() => store.list()[0], 'the snapshot was taken')
    await ground.worker.close()
    const again = await snapshotStore(context, { directory })
    const next = workerGround(context, { snapshots: again.store, runtimes })
    const second = await ask(next, await next.start(next.revision(born, js)))
    assert.deepEqual([second.bornMs, second.figures.start], [first.bornMs, 'snapshot'])
    assert.deepEqual(again.lost, [])
  })

  test('a change of anything that the memory depends on is another snapshot', async (context) => {
    const { store } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const seen = new Set<number>()
    for (const config of [js, { ...js, environment: { A: 'b' } }, { ...js, memoryMb: 64 }]) {
      const before = store.list()[0]?.imageId
      const instance = await ground.start(ground.revision(born, config))
      seen.add((await ask(ground, instance)).bornMs)
      await eventually(() => store.list()[0] !== undefined && store.list()[0]!.imageId !== before, 'a snapshot was taken')
      instance.kill('test')
      await instance.sandbox.exited
    }
    assert.equal(seen.size, 3)
  })

  for (const what of ['addon', 'userfaultfd'] as const) {
    test(`without ${what}, everything works`, async (context) => {
      const { store } = await snapshotStore(context)
      const ground = workerGround(context, { snapshots: store, runtimes, sandboxes: lacking(what) })
      const revision = ground.revision(born, { ...js, restore: 'reap' })
      const instance = await ground.start(revision)
      const first = await ask(ground, instance)
      await eventually(() => store.list()[0], 'the snapshot was taken')
      if (what === 'userfaultfd') {
        while ((await ask(ground, instance)).figures.pagesRecorded === undefined) continue
        await eventually(() => store.list()[0]!.recording, 'it was recorded by pagemap')
      }
      const second = await ground.start(revision)
      for (let n = 0; n < 3; n++) {
        const { bornMs, count, figures } = await ask(ground, second)
        assert.deepEqual([bornMs, count, figures.mode], [first.bornMs, 1, what === 'addon' ? 'copy' : 'lazy'])
      }
      assert.deepEqual(ground.warnings, [])
    })
  }

  test('an image whose pages are damaged is found out, whatever runs from it is ended, and the next start boots', async (context) => {
    const { store, directory } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const first = await ask(ground, await ground.start(ground.revision(born, js)))
    await eventually(() => store.list()[0], 'the snapshot was taken')
    await ground.worker.close()
    const [image] = (readdirSync(directory, { recursive: true }) as string[]).filter((path) => basename(path) === 'image')
    const file = openSync(join(directory, image!), 'r+')
    const at = statSync(join(directory, image!)).size - 4096
    writeSync(file, Buffer.from('damaged'), 0, 7, at)
    closeSync(file)

    let lost: string | undefined
    const again = await snapshotStore(context, { directory, verifyDelayMs: 30, onLost: ({ revision, error }) => {
      lost = error.code
      next.worker.snapshotLost(revision!)
    } })
    const next = workerGround(context, { snapshots: again.store, runtimes })
    const instance = await next.start(next.revision(born, js))
    await instance.sandbox.exited
    assert.equal(lost, 'SNAPSHOT_DAMAGED')
    assert.ok(next.worker.faasletHosts().length > 0, 'the host lives on')
    const second = await ask(next, await next.start(next.revision(born, js)))
    assert.notEqual(second.bornMs, first.bornMs)
    await eventually(() => again.store.list()[0], 'there is a snapshot again')
  })

  for (const mode of ['reap', 'zstd'] as const) test(`a working set that cannot be read any more is one typed error, and everything is made anew (${mode})`, async (context) => {
    const { store, directory, lost } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const instance = await ground.start(ground.revision(born, { ...js, restore: mode }))
    while ((await ask(ground, instance)).figures.mode !== mode) continue
    const before = store.list()[0]!.imageId
    const [set] = (readdirSync(directory, { recursive: true }) as string[]).filter((path) => basename(path) === 'working-set')
    truncateSync(join(directory, set!), 4096)
    const { sink } = await ground.invoke(instance)
    assert.equal(sink.error?.code, 'SNAPSHOT_DAMAGED')
    while ((await ask(ground, instance)).figures.mode !== mode) continue
    assert.notEqual(store.list()[0]!.imageId, before)
    assert.deepEqual(lost, ['snapshot: SNAPSHOT_DAMAGED'])
    assert.equal(ground.worker.faasletHosts().length, 1)
  })

  test('a disk that is full when the snapshot comes, or the recording, is told once, and answers go on (K2)', async (context) => {
    for (const what of ['snapshot', 'recording'] as const) {
      const disk = mountSmallDisk(what === 'snapshot' ? 256 * 1024 : 8 * 1024 * 1024)
      if (disk === undefined) return context.skip('this user may not mount a file system')
      context.after(() => disk.unmount())
      const { store } = await snapshotStore(context, { directory: join(disk.path, 'snapshots') })
      const ground = workerGround(context, { snapshots: store, runtimes })
      const instance = await ground.start(ground.revision(born, js))
      if (what === 'recording') {
        await eventually(() => store.list()[0], 'the snapshot was taken')
        fillDisk(join(disk.path, 'filler'))
      }
      while (ground.warnings.length === 0) assert.equal((await ask(ground, instance)).count, 1)
      for (let n = 0; n < 20; n++) assert.equal((await ask(ground, instance)).count, 1)
      assert.equal(ground.warnings.length, 1, ground.warnings.join('\n'))
      assert.match(ground.warnings[0]!, new RegExp(`^the ${what} of default/f@1 could not be kept.*No room`))
      assert.equal(store.list().length, what === 'snapshot' ? 0 : 1)
    }
  })
})
