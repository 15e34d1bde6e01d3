/**
 * Goal: the instances of a namespace never have more memory than its quota, what is not used any more is given up for what
 * is needed, and who is refused learns it with a typed error while those that can wait do.
 *
 * Method: a real activator over the quota over a fake host, whose starts and answers the test decides.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Activator, poolDefaults } from '#activator/activator.ts'
import { FakeHost } from '#activator/instance-host.fake.ts'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { FunctionConfigInput, Revision } from '#contract/function-config.ts'
import { testInvocation, testRevision, turns } from '#contract/invocation.fake.ts'
import type { TestInvocation } from '#contract/invocation.fake.ts'
import { MemoryQuotaHost } from './quota-memory.ts'

function ground(limitMb: number) {
  const clock = new ManualClock()
  const host = new FakeHost(clock)
  const limits = new Map([['default', limitMb], ['other', limitMb]])
  const quota: MemoryQuotaHost = new MemoryQuotaHost({ host, limitMbOf: (namespace) => limits.get(namespace)!, pools: () => activator.pools() })
  const activator: Activator = new Activator({ host: quota, clock, random: () => 0, config: poolDefaults, called() {}, logged() {}, warn() {} })
  return {
    clock, host, quota, activator, limits,
    submit(revision: Revision): TestInvocation {
      const one = testInvocation(clock, { revision, ended: (ended) => activator.ended(ended) })
      activator.submit(one.invocation)
      return one
    },
  }
}

const revision = (name: string, config: Partial<FunctionConfigInput> = {}, namespace = 'default'): Revision =>
  testRevision({ memoryMb: 100, concurrency: 1, burst: { policy: 'never-queue' }, ...config }, { function: name, namespace })

describe('the memory quota of a namespace', () => {
  test('bounds the sum of the limits of all its instances, also of those that are being started (M1)', async () => {
    const { host, quota, submit } = ground(250)
    const ends = [submit(revision('a')), submit(revision('b')), submit(revision('c')), submit(revision('a', {}, 'other'))]
    await turns()
    assert.deepEqual([host.starts.length, quota.heldMb('default'), quota.heldMb('other')], [3, 200, 100])
    const refusal = ends[2]!.sink.error!
    assert.deepEqual([refusal.code, refusal.details], ['MEMORY_EXCEEDED', { limit: 250, heldMb: 200, neededMb: 100, retryAfterMs: 1000 }])
    assert.match(refusal.message, /250 MB.*200 MB.*100 MB/)
    assert.ok([0, 1, 3].every((index) => !ends[index]!.sink.isEnded))
  })

  test('lets an invocation wait where its revision has an instance', async () => {
    const { host, submit } = ground(100)
    const busy = revision('a')
    const first = submit(busy)
    await host.starts[0]!.succeed()
    const second = submit(busy)
    await turns()
    assert.deepEqual([host.starts.length, second.sink.isEnded], [1, false])
    await host.starts[0]!.answer()
    await host.starts[0]!.answer()
    assert.deepEqual([first.sink.isComplete, second.sink.isComplete], [true, true])
  })

  test('ends idle instances of the namespace for one that is needed: the longest idle, and no more than it must', async () => {
    const { host, quota, clock, submit } = ground(300)
    for (const [index, name] of ['a', 'b', 'c'].entries()) {
      submit(revision(name))
      await host.starts[index]!.succeed()
      clock.advance(10)
      await host.starts[index]!.answer()
    }
    submit(revision('x', {}, 'other'))
    await host.starts[3]!.succeed()
    await host.starts[3]!.answer()
    submit(revision('d'))
    await turns()
    const phases = (): string[] => host.starts.map((start) => start.instance.state.phase)
    assert.deepEqual(phases(), ['stopping', 'ready', 'ready', 'ready', 'starting'])
    assert.equal(quota.heldMb('default'), 300)
    // The end of what was given up already gives nothing back again (M2).
    await host.starts[0]!.sandbox.destroy('its end')
    await turns()
    assert.deepEqual([phases()[0], quota.heldMb('default')], ['gone', 300])
  })

  test('spares what is busy, and what a function keeps at least', async () => {
    const { host, submit, clock, activator } = ground(200)
    const kept = revision('kept', { instancesMin: 1 })
    activator.routed(kept)
    await host.starts[0]!.succeed()
    submit(revision('busy'))
    await host.starts[1]!.succeed()
    const refused = submit(revision('late'))
    await turns()
    assert.equal(refused.sink.error?.code, 'MEMORY_EXCEEDED')
    await host.starts[1]!.answer()
    clock.advance(1000)
    submit(revision('late'))
    await turns()
    assert.deepEqual(host.starts.map((start) => start.instance.state.phase), ['ready', 'stopping', 'starting'])
  })

  test('gives back what a start held that failed, and what an instance held that died (M2)', async () => {
    const { host, quota, clock, submit } = ground(100)
    const failed = submit(revision('a'))
    assert.equal(quota.heldMb('default'), 100)
    await host.starts[0]!.fail(new PlatformError('INIT_FAILED', 'no'))
    assert.deepEqual([quota.heldMb('default'), failed.sink.error?.code], [0, 'INIT_FAILED'])
    await host.starts[0]!.sandbox.destroy('it could not be initialised')
    await turns()
    assert.equal(quota.heldMb('default'), 0)
    clock.advance(60_000)
    submit(revision('a'))
    await host.starts[1]!.succeed()
    await host.starts[1]!.sandbox.destroy('it crashed')
    await turns()
    assert.equal(quota.heldMb('default'), 0)
  })

  test('follows a quota that is changed', async () => {
    const { limits, submit, host } = ground(100)
    submit(revision('a'))
    limits.set('default', 200)
    submit(revision('b'))
    await turns()
    assert.equal(host.starts.length, 2)
  })
})
