/**
 * Goal: when memory is low, as many idle instances end as free what is missing, the longest idle first, and no more.
 *
 * Method: a real activator over a real local host, whose instances take their time to end and keep their memory until then;
 * what the kernel says of its memory follows from what they use.
 */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { afterEach, describe, mock, test } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { testInvocation, testRevision, turns } from '#contract/invocation.fake.ts'
import { LocalHost } from '#scheduler/local-host.ts'
import type { Worker } from '#worker/worker.ts'
import { Activator, poolDefaults } from './activator.ts'
import { FakeHost } from './instance-host.fake.ts'

const MB = 1024 ** 2
const EACH_MB = 40

afterEach(() => {
  mock.restoreAll()
  syncBuiltinESMExports()
})

function ground(hostMb: number) {
  const clock = new ManualClock()
  const fake = new FakeHost(clock)
  const living = () => fake.starts.map(({ instance }) => instance).filter(({ state }) => state.phase === 'ready' || state.phase === 'stopping')
  mock.method(fs, 'readFileSync', () => `MemAvailable:   ${(hostMb - living().length * EACH_MB) * 1024} kB\n`)
  syncBuiltinESMExports()
  const worker = {
    start: (...asked: Parameters<FakeHost['start']>) => fake.start(...asked),
    stemCellCount: () => 0,
    instances: () => new Set(living()),
  } as unknown as Worker
  const host = new LocalHost({ worker, usage: { cpuIdleShare: 1 }, evictIdle: (bytes) => activator.evictIdle(bytes) })
  const activator: Activator = new Activator({ host, clock, random: () => 0, config: poolDefaults, called() {}, logged() {}, warn() {} })
  let functions = 0
  return {
    fake,
    /** Another function gets its first invocation. */
    async asks(): Promise<void> {
      const revision = testRevision({}, { function: `f${functions++}` })
      activator.submit(testInvocation(clock, { revision, ended: (ended) => activator.ended(ended) }).invocation)
      await turns()
    },
    async answers(): Promise<void> {
      const start = fake.starts.at(-1)!
      start.sandbox.diesSlowly = true
      start.sandbox.usage = () => ({ cpuMs: 0, memoryBytes: EACH_MB * MB, memoryPeakBytes: 0 })
      await start.succeed()
      await start.answer()
      clock.advance(1)
    },
    phases: () => fake.starts.map(({ instance }) => instance.state.phase).join(' '),
  }
}

describe('eviction', () => {
  test('ends only as many idle instances as free what is missing, and counts those that end already', async () => {
    // With five instances 450 MB are left: 62 MB are missing, which two give back.
    const { asks, answers, phases, fake } = ground(650)
    for (let count = 0; count < 5; count++) {
      await asks()
      await answers()
    }
    // The last of these found it low already: at 490 MB one had to go.
    assert.equal(phases(), 'stopping ready ready ready ready')
    await asks()
    assert.equal(phases(), 'stopping stopping ready ready ready starting')
    await asks()
    assert.equal(phases(), 'stopping stopping ready ready ready starting starting', 'nothing more is missing')
    for (const { sandbox } of fake.starts.slice(0, 2)) sandbox.exit({ cause: 'exited', code: 0 })
    await turns()
    await asks()
    assert.equal(phases(), 'gone gone ready ready ready starting starting starting', '530 MB are left')
  })
})
