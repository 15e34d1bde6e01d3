/**
 * Goal: each revision with traffic has one pool for as long as it has something to do, and costs nothing afterwards (T1).
 *
 * Method: an activator over instances whose starts and answers the test decides, and a clock that it moves.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { testInvocation, testRevision, turns } from '#contract/invocation.fake.ts'
import type { TestInvocation } from '#contract/invocation.fake.ts'
import type { Revision } from '#contract/function-config.ts'
import { Activator, poolDefaults } from './activator.ts'
import { FakeHost } from './instance-host.fake.ts'

const TICK_MS = 2_000

function ground() {
  const clock = new ManualClock()
  const host = new FakeHost(clock)
  const activator = new Activator({ host, clock, random: () => 0, config: poolDefaults, called() {}, logged() {}, warn() {} })
  activator.start()
  const submit = (revision: Revision): TestInvocation => {
    const one = testInvocation(clock, { revision, ended: (ended) => activator.ended(ended) })
    activator.submit(one.invocation)
    return one
  }
  return { clock, host, activator, submit, pools: () => [...activator.pools()] }
}

/** The smallest windows and keep-alive: an idle function is forgotten within some ticks. */
const brief = { keepAliveMs: 0 } as const

describe('a pool', () => {
  test('is made for the first invocation of a revision, and shared by the next, also by an equal revision read again', () => {
    const { submit, pools, host } = ground()
    const revision = testRevision()
    submit(revision)
    submit(revision)
    submit({ ...revision })
    submit(testRevision({}, { number: 2 }))
    assert.deepEqual(pools().map(({ queueLength }) => queueLength), [3, 1])
    assert.equal(host.starts.length, 2)
  })

  test('is dropped when it has no instance, no start and nothing that waits, and made anew when needed (T1)', async () => {
    const { submit, pools, host, clock } = ground()
    const revision = testRevision(brief)
    const first = submit(revision)
    clock.advance(TICK_MS)
    assert.equal(pools().length, 1, 'something waits')
    await host.starts[0]!.succeed()
    await host.starts[0]!.answer()
    assert.equal(first.sink.isComplete, true)
    clock.advance(5 * TICK_MS)
    assert.equal(pools().length, 0)
    assert.equal(host.starts[0]!.instance.state.phase, 'stopping')
    const second = submit(revision)
    assert.deepEqual([pools().length, host.starts.length, second.invocation.state], [1, 2, 'queued'])
    await host.starts[1]!.succeed()
    assert.equal(second.invocation.state, 'running')
  })

  test('of a revision prepared without traffic has an instance until it is dropped, and none of its minimum after (T1)', async () => {
    const { activator, pools, host, clock } = ground()
    const revision = testRevision({ instancesMin: 1 })
    const prepared = activator.prepare(revision)
    await host.starts[0]!.succeed()
    await prepared
    assert.equal(pools()[0]!.readyCount, 1)
    activator.dropped(revision)
    clock.advance(2 * TICK_MS)
    assert.deepEqual([pools().length, host.starts.length, host.starts[0]!.instance.state.phase], [0, 1, 'stopping'])
  })

  test('whose first start failed is dropped as well (T1)', async () => {
    const { submit, pools, host, clock } = ground()
    submit(testRevision())
    await host.starts[0]!.fail(new PlatformError('INIT_FAILED', 'it throws at import'))
    clock.advance(TICK_MS)
    assert.equal(pools().length, 0)
  })

  test('of a revision with a minimum stays, and its instances are started when it gets traffic (T1)', async () => {
    const { activator, pools, host, clock } = ground()
    const revision = testRevision({ instancesMin: 2, keepAliveMs: 0 })
    activator.routed(revision)
    activator.routed(revision)
    assert.equal(host.starts.length, 2)
    for (const start of [...host.starts]) await start.succeed()
    clock.advance(100 * TICK_MS)
    assert.deepEqual([pools().length, pools()[0]!.readyCount, host.starts.length], [1, 2, 2])
    host.starts[0]!.sandbox.exit({ cause: 'exited', code: 1 })
    await turns()
    clock.advance(TICK_MS)
    assert.equal(host.starts.length, 3, 'one that died is replaced')
    activator.routed(testRevision({}, { number: 9 }))
    assert.equal(pools().length, 1, 'no minimum, no pool')
  })

  test('of a revision without traffic ends its instances and is gone, with a minimum too (T1)', async () => {
    const { activator, pools, host, clock } = ground()
    const revision = testRevision({ instancesMin: 1 })
    activator.routed(revision)
    await host.starts[0]!.succeed()
    activator.dropped(revision)
    activator.dropped(testRevision({}, { number: 7 }))
    assert.deepEqual([pools().length, host.starts[0]!.instance.state.phase], [0, 'stopping'])
    clock.advance(TICK_MS)
    assert.equal(host.starts.length, 1)
  })

  test('that was retired while it ran something does not confuse the one that follows it', async () => {
    const { activator, submit, pools, host, clock } = ground()
    const revision = testRevision({ timeoutMs: 600_000 })
    const long = submit(revision)
    await host.starts[0]!.succeed()
    activator.dropped(revision)
    const next = submit(revision)
    await host.starts[1]!.succeed()
    assert.deepEqual([long.invocation.state, next.invocation.state, host.starts.length], ['running', 'running', 2])
    await host.starts[0]!.answer()
    assert.equal(long.sink.isComplete, true)
    // One goes on running for minutes: the function's concurrency is one, and an instance is wanted.
    for (let tick = 0; tick < 40; tick++) clock.advance(TICK_MS)
    assert.equal(pools()[0]!.scaler.desiredCount(clock.monotonicUs() / 1000, 1, 1), 1)
    await host.starts[1]!.answer()
    assert.equal(next.sink.isComplete, true)
  })
})

describe('the activator', () => {
  test('ends idle instances, the longest idle first, and only as many as use what is needed', async () => {
    const { activator, submit, host, clock } = ground()
    for (const number of [1, 2, 3, 4]) {
      submit(testRevision({}, { number }))
      await host.starts.at(-1)!.succeed()
      if (number !== 2) await host.starts.at(-1)!.answer()
      clock.advance(100)
    }
    // Each uses 2 bytes (sandbox.fake.ts), and still does after it was told to end.
    for (const { sandbox } of host.starts) sandbox.diesSlowly = true
    activator.evictIdle(3)
    assert.deepEqual(host.starts.map(({ instance }) => instance.state.phase), ['stopping', 'ready', 'stopping', 'ready'], 'the second is busy')
    assert.deepEqual([...activator.instances()].map(({ id }) => id), [host.starts[1]!.instance.id, host.starts[3]!.instance.id])
  })

  test('replaces the instances of the revisions that a change concerns', async () => {
    const { activator, submit, host } = ground()
    for (const number of [1, 2]) {
      submit(testRevision({}, { number }))
      await host.starts.at(-1)!.succeed()
      await host.starts.at(-1)!.answer()
    }
    activator.replaceInstances(({ number }) => number === 2, 'a secret has changed')
    assert.deepEqual(host.starts.map(({ instance }) => instance.state.phase), ['ready', 'stopping'])
  })

  test('says whether something waits or starts', async () => {
    const { activator, submit, host } = ground()
    assert.equal(activator.isBusy, false)
    submit(testRevision())
    assert.equal(activator.isBusy, true)
    await host.starts[0]!.succeed()
    assert.equal(activator.isBusy, false)
  })

  test('does nothing more by itself when it is closed', async () => {
    const { activator, submit, host, clock } = ground()
    submit(testRevision(brief))
    await host.starts[0]!.succeed()
    await host.starts[0]!.answer()
    activator.close()
    clock.advance(100 * TICK_MS)
    assert.equal(host.starts[0]!.instance.state.phase, 'ready')
  })
})
