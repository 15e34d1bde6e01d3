/**
 * Goal: instances are started while the host has memory; when it has little, idle ones go first, and at last none is started.
 *
 * Method: what the kernel says of its memory is put in its place for this process; the worker is played by the test.
 */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { availableParallelism } from 'node:os'
import { afterEach, describe, mock, test } from 'node:test'
import { testRevision } from '#contract/invocation.fake.ts'
import type { Instance, InstanceOwner } from '#worker/instance.ts'
import type { Worker } from '#worker/worker.ts'
import { LocalHost } from './local-host.ts'

const instance = {} as Instance
const owner = {} as InstanceOwner
const revision = testRevision()

afterEach(() => {
  mock.restoreAll()
  syncBuiltinESMExports()
})

/** The kernel says that so many MB are available: asked once for each, and the last from then on. */
function memoryMb(...availableMb: number[]): void {
  let asked = 0
  mock.method(fs, 'readFileSync', (path: string) => {
    assert.equal(path, '/proc/meminfo')
    const now = availableMb[Math.min(asked++, availableMb.length - 1)]!
    return `MemTotal:       99999999 kB\nMemFree:            1000 kB\nMemAvailable:   ${now * 1024} kB\n`
  })
  syncBuiltinESMExports()
}

function ground(evict: (enough: () => boolean) => void = () => assert.fail('nothing need go')) {
  const started: unknown[] = []
  const usage: { cpuIdleShare: number | undefined } = { cpuIdleShare: undefined }
  const worker = {
    async start(...asked: unknown[]) {
      started.push(asked)
      return instance
    },
    stemCellCount: () => 3,
  } as unknown as Worker
  return { started, usage, host: new LocalHost({ worker, usage, evictIdle: evict }) }
}

describe('LocalHost', () => {
  test('starts on its worker, and says what that and the machine have', async () => {
    memoryMb(4096)
    const { host, started, usage } = ground()
    assert.equal(await host.start(revision, owner), instance)
    assert.deepEqual(started, [[revision, owner]])
    assert.deepEqual([host.stemCellCount(revision), host.cores, host.cpuIdleShare()], [3, availableParallelism(), undefined])
    usage.cpuIdleShare = 0.25
    assert.equal(host.cpuIdleShare(), 0.25)
  })

  test('has idle instances end, until there is enough, when memory is low', async () => {
    memoryMb(500, 510, 511, 512)
    let ended = 0
    const { host, started } = ground((enough) => {
      while (!enough()) ended++
    })
    await host.start(revision, owner)
    assert.deepEqual([ended, started.length], [2, 1])
  })

  test('starts with little memory too, when nothing can go', async () => {
    memoryMb(200)
    const { host, started } = ground(() => {})
    await host.start(revision, owner)
    assert.equal(started.length, 1)
  })

  test('starts none when the host itself needs what is left, and says so', async () => {
    memoryMb(127)
    const { host, started } = ground(() => {})
    await assert.rejects(host.start(revision, owner), (error: { code: string; message: string }) => error.code === 'START_FAILED' && /127 MB of memory left/.test(error.message))
    assert.equal(started.length, 0)
  })

  test('believes the system where there is no such kernel', async () => {
    mock.method(fs, 'readFileSync', () => {
      throw new Error('ENOENT')
    })
    syncBuiltinESMExports()
    const { host } = ground(() => {})
    await host.start(revision, owner).catch((error: { code: string }) => assert.equal(error.code, 'START_FAILED'))
  })
})
