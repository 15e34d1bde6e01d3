/**
 * Goal: what is submitted is handed over or fails with a reason, and instances are started for what waits, not in vain.
 *
 * Method: a pool over instances whose starts, answers and deaths the test decides; the decisions are the real ones, and the
 * clock moves when told. What the decisions say is burst-decision.test.ts's matter.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { FunctionScaler } from '#autoscaler/function-scaler.ts'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { FunctionConfigInput } from '#contract/function-config.ts'
import { testInvocation, testRevision, turns } from '#contract/invocation.fake.ts'
import type { TestInvocation } from '#contract/invocation.fake.ts'
import { RECHECK_MS } from './burst-decision.ts'
import { FakeHost } from './instance-host.fake.ts'
import { RevisionPool } from './revision-pool.ts'
import type { PoolConfig } from './revision-pool.ts'

function ground(config: Partial<FunctionConfigInput> = {}, limits: Partial<PoolConfig> = {}) {
  const clock = new ManualClock()
  const host = new FakeHost(clock)
  const revision = testRevision(config)
  const warnings: string[] = []
  const told: string[] = []
  const pool: RevisionPool = new RevisionPool({
    revision, host, clock, random: () => 0, config: { queueLengthMax: 5, queueTimeoutMs: 1000, ...limits },
    scaler: new FunctionScaler({ config: revision.config, nowMs: clock.monotonicUs() / 1000 }),
    called: (call) => told.push(`called ${call.target}`),
    logged: (of, _invocation, level, text) => told.push(`${of.function} ${level} ${text}`),
    warn: (message) => warnings.push(message),
  })
  const submit = (over: Parameters<typeof testInvocation>[1] = {}): TestInvocation => {
    const one = testInvocation(clock, { revision, ...over, ended: (ended) => pool.ended(ended) })
    pool.submit(one.invocation)
    return one
  }
  return { clock, host, pool, revision, submit, warnings, told }
}

/** One instance per invocation, no estimates: what starts is easy to say. */
const apart = { concurrency: 1, burst: { policy: 'never-queue' } } as const
const initFailed = new PlatformError('INIT_FAILED', 'it throws at import')

describe('an instance ahead of invocations', () => {
  test('is started once for all who ask, and serves the first invocation warm', async () => {
    const { host, pool, submit, clock } = ground()
    const asked = [pool.prepare(), pool.prepare()]
    assert.deepEqual([host.starts.length, pool.startingCount], [1, 1])
    await host.starts[0]!.succeed()
    await Promise.all(asked)
    await pool.prepare()
    assert.equal(host.starts.length, 1, 'it is there')
    clock.advance(1)
    assert.equal(submit().invocation.start, 'warm')
  })

  test('comes of the start that an invocation asked for', async () => {
    const { host, pool, submit } = ground()
    submit()
    const asked = pool.prepare()
    assert.equal(host.starts.length, 1)
    await host.starts[0]!.succeed()
    await asked
  })

  test('fails with the reason, and at once while that is fresh (P3)', async () => {
    const { host, pool, clock } = ground()
    const refused = assert.rejects(pool.prepare(), initFailed)
    await host.starts[0]!.fail(initFailed)
    await refused
    await assert.rejects(pool.prepare(), initFailed)
    assert.equal(host.starts.length, 1)
    clock.advance(1000)
    const again = pool.prepare()
    await host.starts[1]!.succeed()
    await again
  })

  test('is started again when what it is started with changed meanwhile, whether the first start fails or not', async () => {
    const { host, pool } = ground()
    const asked = pool.prepare()
    pool.replaceInstances('its secret KEY has changed')
    await host.starts[0]!.fail(initFailed)
    assert.equal(host.starts.length, 2)
    pool.replaceInstances('its secret KEY has changed')
    await host.starts[1]!.succeed()
    assert.equal(host.starts.length, 3)
    await host.starts[2]!.succeed()
    await asked
    assert.deepEqual([pool.readyCount, pool.startingCount], [1, 0])
  })
})

describe('a submitted invocation', () => {
  test('waits for the first instance, and is handed over when that is ready: cold, then warm (P1, P2)', async () => {
    const { host, pool, submit, clock } = ground()
    const first = submit()
    assert.deepEqual([first.invocation.state, pool.queueLength, pool.startingCount, host.starts.length], ['queued', 1, 1, 1])
    clock.advance(10)
    await host.starts[0]!.succeed()
    const { invocation } = first
    assert.deepEqual([invocation.state, invocation.start, invocation.instance, invocation.sandboxUs, invocation.initUs], ['running', 'cold', host.starts[0]!.instance.id, 4_000, 6_000])
    await host.starts[0]!.answer()
    assert.equal(first.sink.isComplete, true)
    const second = submit()
    assert.deepEqual([second.invocation.state, second.invocation.start, second.invocation.sandboxUs], ['running', 'warm', 0])
    assert.deepEqual([pool.queueLength, pool.readyCount, pool.startingCount, pool.inFlight], [0, 1, 0, 1])
  })

  test('is warm as the first on an instance that was ready before it came, which is nobody\'s cold start', async () => {
    const { host, pool, submit, clock } = ground({ concurrency: 1, instancesMax: 2, instancesMin: 1 })
    pool.startUpTo(1)
    await host.starts[0]!.succeed()
    clock.advance(10)
    const first = submit()
    const { invocation } = first
    assert.deepEqual([invocation.state, invocation.start, invocation.sandboxUs, invocation.initUs], ['running', 'warm', 0, 0])
    await host.starts[0]!.answer()
    assert.equal(submit().invocation.start, 'warm', 'nor is it the next one\'s')
  })

  test('is warm when it waited for room, and not for the start of the instance that it got', async () => {
    const { host, submit, pool, clock } = ground({ concurrency: 1, instancesMax: 2 })
    const early = submit()
    pool.startUpTo(2)
    await host.starts[1]!.succeed()
    await host.starts[1]!.answer()
    clock.advance(1)
    await host.starts[0]!.succeed()
    clock.advance(1)
    const all = [submit(), submit(), submit()]
    await host.starts[0]!.answer()
    await host.starts[1]!.answer()
    assert.deepEqual([early, ...all].map(({ invocation }) => invocation.start), ['cold', 'warm', 'warm', 'warm'])
  })

  test('comes after those that wait already, and they leave in order', async () => {
    const { host, submit } = ground({ concurrency: 1, instancesMax: 1 })
    const all = [submit(), submit(), submit()]
    await host.starts[0]!.succeed()
    for (let index = 0; index < 3; index++) {
      assert.deepEqual(all.map(({ invocation }) => invocation.state), ['ended', 'ended', 'ended', 'running', 'queued', 'queued'].slice(3 - index, 6 - index))
      await host.starts[0]!.answer()
    }
    assert.equal(host.starts.length, 1)
  })

  test('finds the queue full beyond its length, and is told when to come again (P1)', () => {
    const { submit, pool } = ground()
    const all = Array.from({ length: 6 }, () => submit())
    assert.deepEqual([all[5]!.sink.error?.code, all[5]!.ends(), pool.queueLength], ['QUEUE_FULL', 1, 5])
    assert.equal(all[4]!.sink.isEnded, false)
  })

  test('that finds no room in time fails, and those behind it go on waiting (P1)', async () => {
    const { submit, clock, host, pool } = ground({ concurrency: 1, instancesMax: 1 })
    const first = submit()
    clock.advance(500)
    const second = submit()
    clock.advance(499)
    assert.equal(first.sink.isEnded, false)
    clock.advance(1)
    assert.deepEqual([first.sink.error?.code, first.ends(), second.sink.isEnded, pool.queueLength], ['QUEUE_TIMEOUT', 1, false, 1])
    assert.match(first.sink.error!.message, /within 1000 ms/)
    await host.starts[0]!.succeed()
    assert.equal(second.invocation.state, 'running')
  })

  test('does not wait beyond its caller\'s deadline (P1)', () => {
    const { submit, clock } = ground()
    const { sink } = submit({ deadlineMs: clock.epochMs() + 50 })
    clock.advance(60)
    assert.equal(sink.error?.code, 'QUEUE_TIMEOUT')
  })

  test('is answered at its own deadline wherever it is in the queue, and those around it wait on (P4)', async () => {
    const { submit, clock, host, pool } = ground({ concurrency: 1, instancesMax: 1 })
    const all = [undefined, 300, 40, 41, undefined].map((inMs) => submit(inMs === undefined ? {} : { deadlineMs: clock.epochMs() + inMs }))
    const ended = (): boolean[] => all.map(({ sink }) => sink.isEnded)
    const ofAll = async (afterMs: number, expected: readonly boolean[]): Promise<void> => {
      clock.advance(afterMs)
      assert.deepEqual(ended(), expected)
    }
    await ofAll(39, [false, false, false, false, false])
    await ofAll(1, [false, false, true, false, false])
    await ofAll(1, [false, false, true, true, false])
    const { sink, ends } = all[2]!
    assert.deepEqual([sink.error?.code, ends(), pool.queueLength], ['QUEUE_TIMEOUT', 1, 3])
    assert.match(sink.error!.message, /before its caller's deadline, after 40 ms/)
    await host.starts[0]!.succeed()
    await host.starts[0]!.answer()
    assert.deepEqual(all.map(({ invocation }) => invocation.state), ['ended', 'running', 'ended', 'ended', 'queued'])
  })

  test('that came late, with a nearer deadline than what waits, is not held up by that (P4)', () => {
    const { submit, clock } = ground({ concurrency: 1, instancesMax: 1 })
    submit({ deadlineMs: clock.epochMs() + 200 })
    clock.advance(100)
    const { sink } = submit({ deadlineMs: clock.epochMs() + 7 })
    clock.advance(6)
    assert.equal(sink.isEnded, false)
    clock.advance(1 + RECHECK_MS)
    assert.equal(sink.error?.code, 'QUEUE_TIMEOUT')
  })

  test('is not handed over any more when its deadline has passed, also when room comes first (P4)', async () => {
    const { submit, clock, host } = ground({ concurrency: 1, instancesMax: 1 })
    submit()
    const late = submit({ deadlineMs: clock.epochMs() + 3 })
    const next = submit()
    await host.starts[0]!.succeed()
    // Less than RECHECK_MS: no timer has looked at it yet.
    clock.advance(3)
    await host.starts[0]!.answer()
    assert.deepEqual([late.sink.error?.code, late.invocation.handedUs, next.invocation.state], ['QUEUE_TIMEOUT', 0, 'running'])
  })

  test('can be cancelled while it waits, and takes nobody\'s place (P1)', async () => {
    const { submit, pool, host } = ground({ concurrency: 1, instancesMax: 1 })
    const all = [submit(), submit(), submit()]
    all[1]!.invocation.cancel(new PlatformError('CANCELLED', 'gone'))
    all[1]!.invocation.cancel(new PlatformError('CANCELLED', 'gone'))
    assert.deepEqual([all[1]!.sink.error?.code, all[1]!.ends(), pool.queueLength], ['CANCELLED', 1, 2])
    await host.starts[0]!.succeed()
    await host.starts[0]!.answer()
    assert.deepEqual([all[2]!.invocation.state, pool.queueLength], ['running', 0])
  })
})

describe('starts', () => {
  test('are asked for as predictions say, also without an event, never beyond the limit (P2)', async () => {
    const { submit, host, pool, clock } = ground({ ...apart, instancesMax: 2 })
    for (let count = 0; count < 4; count++) submit()
    assert.equal(host.starts.length, 2)
    await host.starts[0]!.succeed()
    clock.advance(500)
    assert.deepEqual([host.starts.length, pool.queueLength], [2, 3])
  })

  test('come for a queue whose only instance died (P2)', async () => {
    const { submit, host, pool } = ground({ concurrency: 1, instancesMax: 1 })
    const all = [submit(), submit()]
    await host.starts[0]!.succeed()
    host.starts[0]!.sandbox.exit({ cause: 'out-of-memory' })
    await turns()
    assert.deepEqual([all[0]!.sink.error?.code, all[1]!.invocation.state, pool.readyCount, host.starts.length], ['FUNCTION_OUT_OF_MEMORY', 'queued', 0, 2])
    await host.starts[1]!.succeed()
    assert.equal(all[1]!.invocation.state, 'running')
  })

  test('that end in an instance that is dead already count for nothing (P2)', async () => {
    const { submit, host, pool } = ground()
    const { invocation } = submit()
    host.starts[0]!.instance.kill('for a test')
    await host.starts[0]!.succeed()
    assert.deepEqual([pool.readyCount, pool.startingCount, host.starts.length, invocation.state], [0, 1, 2, 'queued'])
  })

  test('that fail fail what waits with the same error, and none is tried before the backoff has passed (P1, P3)', async () => {
    const { submit, host, clock, warnings } = ground()
    const waiting = [submit(), submit()]
    await host.starts[0]!.fail(initFailed)
    assert.deepEqual(waiting.map(({ sink, ends }) => [sink.error, ends()]), [[initFailed, 1], [initFailed, 1]])
    let backoffMs = 250
    for (let failures = 1; failures <= 8; failures++) {
      clock.advance(backoffMs - 1)
      assert.equal(submit().sink.error, initFailed, 'the same error at once')
      assert.equal(host.starts.length, failures)
      clock.advance(1)
      const { sink } = submit()
      assert.deepEqual([sink.isEnded, host.starts.length], [false, failures + 1])
      await host.starts[failures]!.fail(initFailed)
      backoffMs = Math.min(10_000, backoffMs * 2)
    }
    assert.deepEqual(warnings, [], 'the function\'s own fault is not the operator\'s concern')
  })

  test('that succeed again end the backoff', async () => {
    const { submit, host, clock, warnings } = ground(apart)
    submit()
    await host.starts[0]!.fail(new PlatformError('START_FAILED', 'no memory'))
    assert.deepEqual(warnings, ['an instance of default/f could not be started'])
    clock.advance(250)
    submit()
    await host.starts[1]!.succeed()
    submit()
    assert.equal(host.starts.length, 3)
    await host.starts[2]!.fail(initFailed)
    clock.advance(249)
    assert.equal(host.starts.length, 3)
    clock.advance(6)
    assert.equal(host.starts.length, 4, 'back at the first backoff')
  })

  test('that fail beside a ready instance leave what waits to that (P1)', async () => {
    const { submit, host } = ground({ ...apart, instancesMax: 2 })
    const all = [submit(), submit()]
    await host.starts[0]!.succeed()
    await host.starts[1]!.fail(initFailed)
    assert.deepEqual(all.map(({ invocation }) => invocation.state), ['running', 'queued'])
    await host.starts[0]!.answer()
    assert.equal(all[1]!.invocation.state, 'running')
  })
})

describe('an instance that ends', () => {
  test('gets nothing more from the moment its channel closed or it was killed', async () => {
    const { submit, host, pool } = ground()
    submit()
    await host.starts[0]!.succeed()
    host.starts[0]!.sandbox.diesSlowly = true
    await host.starts[0]!.answer()
    host.starts[0]!.runtime.close()
    await turns()
    const { invocation } = submit()
    assert.deepEqual([invocation.state, pool.readyCount, host.starts.length], ['queued', 0, 2])
  })

  test('when its revision has no traffic any more, finishes what it runs and what waits first (P1)', async () => {
    const { submit, host, pool } = ground({ concurrency: 1, instancesMax: 1 })
    const all = [submit(), submit()]
    await host.starts[0]!.succeed()
    pool.retire('its revision gets no more traffic')
    await host.starts[0]!.answer()
    assert.deepEqual([all[0]!.sink.isComplete, all[1]!.invocation.state, host.starts[0]!.instance.state.phase], [true, 'running', 'ready'])
    await host.starts[0]!.answer()
    assert.deepEqual([all[1]!.sink.isComplete, host.starts[0]!.instance.state.phase, pool.isEmpty, pool.isRetired], [true, 'stopping', true, true])
  })

  test('that became ready after its revision was retired is not kept', async () => {
    const { host, pool } = ground()
    pool.startUpTo(1)
    pool.retire('its revision gets no more traffic')
    assert.equal(pool.isEmpty, false)
    await host.starts[0]!.succeed()
    assert.deepEqual([host.starts[0]!.instance.state.phase, pool.isEmpty], ['stopping', true])
    pool.startUpTo(3)
    assert.equal(host.starts.length, 1)
  })

  test('is replaced when what it was started with has changed, whether ready or still starting', async () => {
    const { host, pool, submit } = ground({ ...apart, instancesMin: 0 })
    submit()
    await host.starts[0]!.succeed()
    const waiting = submit()
    pool.replaceInstances('a secret has changed')
    assert.equal(host.starts[0]!.instance.state.phase, 'stopping')
    await host.starts[1]!.succeed()
    assert.deepEqual([host.starts[1]!.instance.state.phase, waiting.invocation.state], ['stopping', 'queued'], 'it was started with the old one')
    assert.equal(host.starts.length, 3)
    await host.starts[2]!.succeed()
    assert.equal(waiting.invocation.state, 'running')
  })
})

describe('the autoscaler\'s tick', () => {
  test('starts the minimum, ends what is idle beyond the keep-alive, and never the busy', async () => {
    const { host, pool, submit, clock } = ground({ ...apart, instancesMin: 1, keepAliveMs: 10_000, timeoutMs: 600_000 })
    const nowMs = (): number => clock.monotonicUs() / 1000
    pool.scale(nowMs())
    assert.equal(host.starts.length, 1)
    await host.starts[0]!.succeed()
    for (let count = 0; count < 3; count++) submit()
    for (const start of host.starts.slice(1)) await start.succeed()
    assert.equal(pool.readyCount, 3)
    await host.starts[1]!.answer()
    await host.starts[2]!.answer()
    for (let passed = 0; passed < 120_000; passed += 2_000) {
      clock.advance(2_000)
      pool.scale(nowMs())
    }
    assert.deepEqual(host.starts.map(({ instance }) => instance.state.phase), ['ready', 'stopping', 'ready'], 'one is busy, one more is room')
    await host.starts[0]!.answer()
    clock.advance(600_000)
    pool.scale(nowMs())
    assert.deepEqual([pool.readyCount, host.starts.length], [1, 3], 'the minimum stays')
  })
})

test('what instances print and call is passed on', async () => {
  const { host, submit, told } = ground()
  submit()
  await host.starts[0]!.succeed()
  const { stream } = await host.starts[0]!.opened()
  host.starts[0]!.runtime.log(stream, 2, 'careful')
  host.starts[0]!.runtime.call(1, { f: 'other', c: stream }, undefined, true)
  await turns()
  assert.deepEqual(told, ['f warn careful', 'called other'])
})

test('whatever happens in whatever order, each invocation ends once and no instance is over the limits (P1, fuzz)', async () => {
  const event = fc.record({ kind: fc.constantFrom('submit', 'submit', 'submit', 'ready', 'ready', 'fail', 'answer', 'answer', 'die', 'cancel', 'time', 'tick'), which: fc.nat(20) })
  const config = fc.record({ concurrency: fc.integer({ min: 1, max: 3 }), instancesMax: fc.integer({ min: 1, max: 3 }), burst: fc.constantFrom({ policy: 'predict' as const }, { policy: 'never-queue' as const }, { policy: 'queue-up-to' as const, depth: 2 }) })
  await fc.assert(fc.asyncProperty(fc.array(event, { maxLength: 40 }), config, async (events, chosen) => {
    const { host, pool, submit, clock } = ground({ ...chosen, timeoutMs: 5_000 })
    const all: TestInvocation[] = []
    for (const { kind, which } of events) {
      const starting = host.starts.filter(({ instance }) => instance.state.phase === 'starting')
      const ready = host.starts.filter(({ instance }) => instance.state.phase === 'ready')
      const start = starting[which % Math.max(1, starting.length)]
      const running = ready[which % Math.max(1, ready.length)]
      if (kind === 'submit') all.push(submit())
      else if (kind === 'ready') await start?.succeed()
      else if (kind === 'fail') (start?.instance.kill('it failed'), await start?.fail(initFailed))
      else if (kind === 'die') (running?.sandbox.exit({ cause: 'exited', code: 1 }), await turns())
      else if (kind === 'cancel') all[which % Math.max(1, all.length)]?.invocation.cancel(new PlatformError('CANCELLED', 'gone'))
      else if (kind === 'time') clock.advance(which * 40)
      else if (kind === 'tick') pool.scale(clock.monotonicUs() / 1000)
      else if (running !== undefined && (await turns(3), running.runtime.frames.some(({ type }) => type === 16))) await running.answer()
      assert(pool.readyCount + pool.startingCount <= chosen.instancesMax && pool.queueLength <= 5)
      for (const { instance } of ready) assert(instance.proxy.load.inFlight <= chosen.concurrency)
    }
    for (const start of host.starts) if (start.instance.state.phase === 'starting') await start.fail(initFailed)
    clock.advance(20_000)
    for (const { sandbox } of host.starts) sandbox.exit({ cause: 'exited', code: 0 })
    for (const start of host.starts) await start.fail(initFailed)
    await turns()
    clock.advance(20_000)
    for (const start of host.starts) await start.fail(initFailed)
    assert.deepEqual(all.map(({ ends }) => ends()), all.map(() => 1))
    assert.equal(pool.queueLength, 0)
  }), { numRuns: 60 })
})

describe('invocations with a colour', () => {
  test('share an instance while it has room, also after another one has gone', async () => {
    const { host, pool, submit } = ground({ concurrency: 1, burst: { policy: 'never-queue' }, instancesMin: 6, instancesMax: 6 })
    pool.startUpTo(6)
    for (const start of host.starts) await start.succeed()
    const colors = Array.from({ length: 16 }, (_, index) => `user-${index}`)
    const placeOf = async (color: string): Promise<string> => {
      const { invocation } = submit({ request: { color } })
      await host.starts.find(({ instance }) => instance.id === invocation.instance)!.answer()
      return invocation.instance
    }
    const places = new Map<string, string>()
    for (const color of colors) places.set(color, await placeOf(color))
    assert(new Set(places.values()).size >= 3)
    // The first in the pool's order, so that the others' indexes change.
    const gone = pool.instances[0]!
    pool.stop(gone, 'the test wants it')
    for (const color of colors) if (places.get(color) !== gone.id) assert.equal(await placeOf(color), places.get(color))
  })
})
