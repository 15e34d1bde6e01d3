/**
 * Goal: with `snapshotAfter: k`, an instance that has answered k invocations becomes the image of its revision, once and only then: what it
 * had made is there in every new one, which is otherwise as new (random values, clocks). What cannot be captured, and a capture that fails,
 * leave everything as it was (runtimes/faaslet/ripening.ts RP1, snapshot-keeper.ts K2 to K4).
 *
 * Method: a real worker with real hosts and a real store. Functions tell how many invocations their memory remembers.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { after, describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { HeldBody } from '#contract/held-body.ts'
import { fillDisk, mountSmallDisk } from '#store/small-disk.ts'
import { sharedMemory } from '#transfer/shared-memory.ts'
import type { Instance } from '../instance.ts'
import { workerGround, workerSkip } from '../worker.harness.ts'
import type { WorkerGround } from '../worker.harness.ts'
import { eventually, snapshotStore } from './faaslets.harness.ts'

const runtimes = mkdtempSync(join(tmpdir(), 'skep-runtimes-'))
const AFTER = 3
const js = { kind: 'js', snapshotAfter: AFTER } as const

/** Makes a table at its first invocation, and does at an invocation what `do` says. */
const lazy = {
  'index.js': `
    import { invoke } from 'skep'
    let table
    let count = 0
    export async function main({ do: what } = {}) {
      const wasThere = table !== undefined
      table ??= Array.from({ length: 20000 }, (_, at) => ({ at, text: 'entry ' + at }))
      if (what === 'throw') throw new Error('asked to')
      if (what === 'timer') setTimeout(() => {}, 60_000)
      if (what === 'call') void invoke('nobody')
      if (what === 'fetch') await fetch('http://127.0.0.1/').catch(() => {})
      return { wasThere, entry: table[19_999].text, count: ++count, random: Math.random(), id: crypto.randomUUID(), sinceMs: performance.now(), originMs: performance.timeOrigin }
    }
  `,
} as const

interface Answer {
  readonly wasThere: boolean
  readonly count: number
  readonly random: number
  readonly id: string
  readonly sinceMs: number
  readonly originMs: number
}

async function ask({ invoke }: WorkerGround, instance: Instance, what?: string | Readable) {
  const startMs = performance.now()
  const body = what instanceof Readable ? what : Buffer.from(JSON.stringify({ do: what }))
  const { invocation, text, sink } = await invoke(instance, { kind: 'http', method: 'POST', path: '/', headers: ['content-type', 'application/json'], body })
  const ms = performance.now() - startMs
  if (what !== 'throw') assert.equal(sink.error, undefined)
  return { ...(sink.error === undefined ? (JSON.parse(text) as Answer) : ({} as Answer)), error: sink.error?.code, figures: invocation.startFigures!, ms }
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

describe('a snapshot after some invocations', { skip: workerSkip, timeout: 60_000 }, () => {
  after(() => rmSync(runtimes, { recursive: true, force: true }))

  const kinds = {
    js: { files: lazy, config: js },
    wasm: { files: { 'lazy.wasm': readFileSync(join(import.meta.dirname, '../../../test/functions/wasm/lazy.wasm')) }, config: { kind: 'wasm', snapshotAfter: AFTER } },
  } as const
  for (const kind of ['js', 'wasm'] as const) {
    test(`what was made at the first of ${AFTER} invocations is there in every new instance (${kind})`, async (context) => {
      const { store } = await snapshotStore(context)
      const ground = workerGround(context, { snapshots: store, runtimes })
      const { files, config } = kinds[kind]
      const revision = ground.revision(files, config)
      const instance = await ground.start(revision)
      await eventually(() => store.list()[0], 'the snapshot after initialisation was taken')
      for (let n = 1; n <= AFTER; n++) {
        assert.equal(store.list()[0]!.answered, 0)
        const { count, wasThere, figures } = await ask(ground, instance)
        assert.deepEqual([count, wasThere, figures.start], [n, n > 1, n > 1 ? 'warm' : 'snapshot'])
      }
      const image = await eventually(() => store.list().find(({ answered }) => answered === AFTER), 'the snapshot was taken anew')
      const seen: Awaited<ReturnType<typeof ask>>[] = []
      for (let n = 0; n < 20; n++) seen.push(await ask(ground, instance))
      assert.ok(seen.every(({ count, wasThere, figures }) => count === AFTER + 1 && wasThere && figures.start === 'snapshot'), JSON.stringify(seen.map(({ count }) => count)))
      if (kind === 'js') {
        for (const key of ['random', 'id'] as const) assert.equal(new Set(seen.map((one) => one[key])).size, seen.length)
        assert.ok(seen.every(({ sinceMs, originMs }) => sinceMs >= 0 && sinceMs < 5_000 && Math.abs(Date.now() - originMs) < 10_000))
      }
      await eventually(() => store.list()[0]!.recording, 'it was recorded anew')
      assert.equal(store.list()[0]!.imageId, image.imageId)

      const second = await ground.start(revision)
      assert.notEqual(second.sandbox.pid, instance.sandbox.pid)
      assert.equal((await ask(ground, second)).count, AFTER + 1)
      assert.deepEqual(ground.warnings, [])

      const without = await ground.start(ground.revision(files, { ...config, snapshotAfter: 0 }, { number: 2 }))
      await eventually(() => store.list().length === 2, 'the other has a snapshot')
      const plain: number[] = []
      const ripe: number[] = []
      for (let n = 0; n < 15; n++) {
        const one = await ask(ground, without)
        assert.deepEqual([one.count, one.wasThere], [1, false])
        plain.push(one.ms)
        ripe.push((await ask(ground, second)).ms)
      }
      context.diagnostic(`${kind}: an invocation of a new instance takes ${median(plain).toFixed(2)} ms from the snapshot after initialisation, ${median(ripe).toFixed(2)} ms from the one after ${AFTER} invocations`)
      // The least disturbed one of each: others compute on this machine, too.
      assert.ok(Math.min(...ripe) < Math.min(...plain), 'new instances are faster')
    })
  }

  test('after the first invocation already, also while the snapshot before it is still being written', async (context) => {
    const { store } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    for (let round = 1; round <= 5; round++) {
      const instance = await ground.start(ground.revision(lazy, { ...js, snapshotAfter: 1 }, { number: round }))
      assert.equal((await ask(ground, instance)).count, 1)
      await eventually(() => store.list().find(({ revision }) => revision === `default/f@${round}`)?.answered === 1, 'the snapshot was taken anew')
      assert.equal((await ask(ground, instance)).count, 2)
    }
    assert.deepEqual(ground.warnings, [])
  })

  test('an invocation that comes while that instance is busy has one of its own, and is not counted', async (context) => {
    const { store } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const instance = await ground.start(ground.revision(lazy, js))
    await eventually(() => store.list()[0], 'the snapshot was taken')
    const body = new PassThrough()
    const slow = ask(ground, instance, body)
    for (let n = 0; n < 2 * AFTER; n++) assert.equal((await ask(ground, instance)).count, 1)
    body.end('{}')
    assert.equal((await slow).count, 1)
    assert.equal((await ask(ground, instance)).count, 2)
    assert.equal((await ask(ground, instance)).count, 3)
    await eventually(() => store.list()[0]!.answered === AFTER, 'the snapshot was taken anew')
  })

  test('an instance whose invocation failed, or left a timer or a call, is not the one', async (context) => {
    const { store } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const instance = await ground.start(ground.revision(lazy, js))
    for (const what of ['throw', 'timer', 'call']) {
      assert.deepEqual([(await ask(ground, instance)).count, (await ask(ground, instance)).count], [1, 2])
      await ask(ground, instance, what)
    }
    // One that is over when the invocation ends is no reason.
    for (let n = 1; n <= AFTER; n++) assert.equal((await ask(ground, instance, 'fetch')).count, n)
    await eventually(() => store.list()[0]?.answered === AFTER, 'the snapshot was taken anew')
    assert.equal((await ask(ground, instance)).count, AFTER + 1)
    assert.deepEqual(ground.warnings, [])
  })

  test('an instance into which a body was mapped is not the one, and nothing of the body is in any image (RP3)', { skip: sharedMemory() === undefined }, async (context) => {
    const memory = sharedMemory()!
    const { store, directory } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes, memory })
    const instance = await ground.start(ground.revision(lazy, js))
    await eventually(() => store.list()[0], 'the snapshot after initialisation was taken')
    const marks = ['first', 'second'].map((name) => `the ${name} body of them `)
    const invoke = async (text: string): Promise<number> => {
      const body = new HeldBody(memory.copy(Buffer.from(text)), text.length)
      const { invocation, sink } = await ground.invoke(instance, { kind: 'http', method: 'POST', path: '/', headers: ['content-type', 'application/octet-stream'], body })
      body.release()
      assert.equal(sink.error, undefined)
      return invocation.moved().bytesShared
    }
    for (const mark of marks) {
      assert.ok((await invoke(mark.repeat(30_000))) > 100_000)
      for (let n = 1; n < AFTER; n++) assert.equal((await ask(ground, instance)).count, n)
      assert.equal(store.list()[0]!.answered, 0)
    }
    for (let n = 0; n < AFTER; n++) await ask(ground, instance)
    await eventually(() => store.list()[0]!.answered === AFTER, 'the snapshot was taken anew')
    await store.settled()
    for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
      const path = join(directory, name)
      if (!statSync(path).isFile()) continue
      const content = readFileSync(path)
      for (const mark of marks) assert.ok(!content.includes(mark), `${name} has ${mark}`)
    }
    assert.deepEqual(ground.warnings, [])
  })

  test('a function that leaves something open each time is given up, and that is told once', async (context) => {
    const { store } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const instance = await ground.start(ground.revision(lazy, js))
    for (let n = 0; n < 30; n++) assert.equal((await ask(ground, instance, 'timer')).count, 1)
    for (let n = 0; n < 2 * AFTER; n++) assert.equal((await ask(ground, instance)).count, 1)
    await eventually(() => ground.warnings.length > 0, 'it was told')
    assert.equal(ground.warnings.length, 1)
    assert.match(ground.warnings[0]!, /could not be taken anew after 3 invocations.*a timer/)
    assert.equal(store.list()[0]!.answered, 0)
  })

  test('neither with secrets, nor for a function that does not ask for it any more (K3, K4)', async (context) => {
    const { store } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const secret = await ground.start(ground.revision(lazy, { ...js, secrets: ['S'] }, { function: 'secret' }))
    for (let n = 0; n < 3 * AFTER; n++) assert.equal((await ask(ground, secret)).count, 1)
    assert.deepEqual(store.list(), [])
    const first = await ground.start(ground.revision(lazy, js))
    for (let n = 0; n < AFTER; n++) await ask(ground, first)
    await eventually(() => store.list()[0]?.answered === AFTER, 'the snapshot was taken anew')
    first.kill('test')
    await first.sandbox.exited
    const again = await ground.start(ground.revision(lazy, { kind: 'js' }, { createdAtMs: 1 }))
    for (let n = 0; n < 3; n++) assert.equal((await ask(ground, again)).count, 1)
  })

  test('a host that is killed while it gives its snapshot takes nothing along: the next one makes it', async (context) => {
    const { store, directory } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const revision = ground.revision(lazy, js)
    const instance = await ground.start(revision)
    const before = await eventually(() => store.list()[0], 'the snapshot was taken')
    await store.settled()
    const names = (): string[] => readdirSync(directory).filter((name) => name.startsWith('.new-'))
    await eventually(() => names().length === 0, 'nothing is being written')
    await ask(ground, instance)
    await ask(ground, instance)
    await ask(ground, instance)
    while (store.wants({ revision: 'default/f@1', moduleDigest: before.moduleDigest }, AFTER) && store.list()[0]!.answered === 0) await nextTurn()
    process.kill(instance.sandbox.pid, 'SIGKILL')
    await instance.sandbox.exited
    await eventually(() => names().length === 0, 'what was begun is removed')
    const outcome = store.list()[0]!.answered
    const next = await ground.start(revision)
    context.diagnostic(`the capture had ${outcome === AFTER ? 'come in whole' : 'been cut off'}`)
    for (let n = 1; n <= AFTER; n++) assert.equal((await ask(ground, next)).count, outcome === AFTER ? AFTER + 1 : n)
    await eventually(() => store.list()[0]!.answered === AFTER, 'the snapshot was taken anew')
    assert.equal((await ask(ground, next)).count, AFTER + 1)
  })

  test('a disk that is full then is told once, and new instances come from the snapshot that there is (K2)', async (context) => {
    const disk = mountSmallDisk(8 * 1024 * 1024)
    if (disk === undefined) return context.skip('this user may not mount a file system')
    context.after(() => disk.unmount())
    const { store } = await snapshotStore(context, { directory: join(disk.path, 'snapshots') })
    const ground = workerGround(context, { snapshots: store, runtimes })
    const instance = await ground.start(ground.revision(lazy, js))
    const before = await eventually(() => store.list()[0], 'the snapshot was taken')
    await ask(ground, instance)
    await eventually(() => store.list()[0]!.recording, 'the first invocation was recorded')
    fillDisk(join(disk.path, 'filler'))
    for (let n = 1; n < AFTER; n++) assert.equal((await ask(ground, instance)).count, n + 1)
    await eventually(() => ground.warnings.length > 0, 'it was told')
    for (let n = 0; n < 20; n++) assert.equal((await ask(ground, instance)).count, 1)
    assert.equal(ground.warnings.length, 1)
    assert.match(ground.warnings[0]!, /^the snapshot after 3 invocations of default\/f@1 could not be kept.*No room/)
    assert.equal(store.list()[0]!.imageId, before.imageId)
  })
})
