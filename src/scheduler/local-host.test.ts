/**
 * Goal: instances are started while the host has memory; when it has little, idle ones go first, and at last none is started.
 *
 * Method: what the kernel says of its memory is put in its place for this process; the worker is played by the test, with
 * real instances whose sandboxes end when the test says so.
 */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { availableParallelism } from 'node:os'
import { afterEach, describe, mock, test } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { testInvocation, testRevision, turns } from '#contract/invocation.fake.ts'
import { Instance } from '#worker/instance.ts'
import type { InstanceOwner } from '#worker/instance.ts'
import { FakeSandbox } from '#worker/sandbox.fake.ts'
import type { Worker } from '#worker/worker.ts'
import { LocalHost } from './local-host.ts'

const MB = 1024 ** 2
const clock = new ManualClock()
const instance = {} as Instance
const owner = {} as InstanceOwner
const revision = testRevision()

afterEach(() => {
  mock.restoreAll()
  syncBuiltinESMExports()
})

/** The kernel says that so many MB are available now. */
function memory(availableMb: () => number): void {
  mock.method(fs, 'readFileSync', (path: string) => {
    assert.equal(path, '/proc/meminfo')
    return `MemTotal:       99999999 kB\nMemFree:            1000 kB\nMemAvailable:   ${availableMb() * 1024} kB\n`
  })
  syncBuiltinESMExports()
}

function ground() {
  const started: unknown[] = []
  const asked: number[] = []
  const instances = new Set<Instance>()
  const usage: { cpuIdleShare: number | undefined } = { cpuIdleShare: undefined }
  const worker = {
    async start(...asked: unknown[]) {
      started.push(asked)
      return instance
    },
    stemCellCount: () => 3,
    instances: () => instances,
  } as unknown as Worker
  /** One that is ready, uses so much, and takes its time to end. */
  const runs = (memoryMb: number): { readonly instance: Instance; readonly sandbox: FakeSandbox } => {
    const sandbox = new FakeSandbox()
    sandbox.diesSlowly = true
    sandbox.usage = () => ({ cpuMs: 0, memoryBytes: memoryMb * MB, memoryPeakBytes: 0 })
    const one = new Instance({ sandbox, clock })
    one.assign(revision, { changed() {}, gone: (gone) => instances.delete(gone), called() {}, logged() {} })
    one.ready({ kind: 'cold', sandboxUs: 0, initUs: 0 })
    instances.add(one)
    return { instance: one, sandbox }
  }
  const evicted: { evict: (bytes: number) => void } = { evict: () => {} }
  const host = new LocalHost({ worker, usage, evictIdle: (bytes) => (asked.push(bytes / MB), evicted.evict(bytes)) })
  return { started, asked, usage, host, runs, evicted }
}

describe('LocalHost', () => {
  test('starts on its worker, and says what that and the machine have', async () => {
    memory(() => 4096)
    const { host, started, usage, asked } = ground()
    assert.equal(await host.start(revision, owner), instance)
    assert.deepEqual([started, asked], [[[revision, owner]], []])
    assert.deepEqual([host.stemCellCount(revision), host.cores, host.cpuIdleShare()], [3, availableParallelism(), undefined])
    usage.cpuIdleShare = 0.25
    assert.equal(host.cpuIdleShare(), 0.25)
  })

  test('has as much idle memory come back as is missing when memory is low, and starts without waiting for it', async () => {
    memory(() => 500)
    const { host, started, asked } = ground()
    await host.start(revision, owner)
    assert.deepEqual([asked, started.length], [[12], 1])
  })

  test('counts what comes back already, and asks for no more than is missing beyond it (H1)', async () => {
    memory(() => 400)
    const { host, started, asked, runs, evicted } = ground()
    const idle = [runs(60), runs(60), runs(60)]
    evicted.evict = () => idle[0]!.instance.stop('its memory is needed')
    await host.start(revision, owner)
    evicted.evict = () => idle[1]!.instance.stop('its memory is needed')
    await host.start(revision, owner)
    await host.start(revision, owner)
    assert.deepEqual([asked, started.length], [[112, 52], 3], 'two that end give 120 MB back: enough for the third start')
  })

  test('does not count on one that has to finish what it runs first (H1)', async () => {
    memory(() => 400)
    const { host, asked, runs } = ground()
    const busy = runs(200)
    busy.instance.proxy.open(testInvocation(clock, { revision }).invocation)
    busy.instance.stop('its revision gets no more traffic')
    await host.start(revision, owner)
    assert.deepEqual(asked, [112])
  })

  test('takes the limit of an instance whose memory the system does not tell', async () => {
    memory(() => 400)
    const { host, asked, runs } = ground()
    runs(0).instance.stop('it was idle')
    await host.start(revision, owner)
    assert.deepEqual(asked, [], `${revision.config.memoryMb} MB come back, and 112 are missing`)
  })

  test('starts with little memory too, when nothing can go', async () => {
    memory(() => 200)
    const { host, started } = ground()
    await host.start(revision, owner)
    assert.equal(started.length, 1)
  })

  test('waits for what comes back when the host itself needs what is left (H2)', async () => {
    let availableMb = 100
    memory(() => availableMb)
    const { host, started, runs, evicted } = ground()
    const idle = runs(450)
    evicted.evict = () => idle.instance.stop('its memory is needed')
    const start = host.start(revision, owner)
    await turns()
    assert.equal(started.length, 0)
    availableMb = 550
    idle.sandbox.exit({ cause: 'exited', code: 0 })
    await start
    assert.equal(started.length, 1)
  })

  test('starts none when the host itself needs what is left, and says so (H2)', async () => {
    memory(() => 127)
    const { host, started } = ground()
    await assert.rejects(host.start(revision, owner), (error: { code: string; message: string }) => error.code === 'START_FAILED' && /127 MB of memory left/.test(error.message))
    assert.equal(started.length, 0)
  })

  test('believes the system where there is no such kernel', async () => {
    mock.method(fs, 'readFileSync', () => {
      throw new Error('ENOENT')
    })
    syncBuiltinESMExports()
    const { host } = ground()
    await host.start(revision, owner).catch((error: { code: string }) => assert.equal(error.code, 'START_FAILED'))
  })
})
