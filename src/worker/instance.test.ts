/**
 * Goal: an instance has one life with one end, and what was on it when it ended learns why.
 *
 * Method: instances over a sandbox without a process, whose death and runtime the test plays; a clock that the test moves.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { testInvocation, testRevision, turns } from '#contract/invocation.fake.ts'
import type { TestInvocation } from '#contract/invocation.fake.ts'
import { Instance, startError } from './instance.ts'
import type { InstanceOwner } from './instance.ts'
import { FakeSandbox } from './sandbox.fake.ts'
import type { SandboxExit } from './sandbox/sandbox.ts'

const revision = testRevision({ timeoutMs: 1000, memoryMb: 128 })

function ground(): { clock: ManualClock; sandbox: FakeSandbox; instance: Instance; told: string[]; open: () => TestInvocation } {
  const clock = new ManualClock()
  const sandbox = new FakeSandbox()
  const instance = new Instance({ sandbox, clock, resetGraceMs: 250 })
  const told: string[] = []
  const owner: InstanceOwner = {
    changed: () => told.push('changed'),
    gone: (one) => told.push(`gone ${one.state.phase}`),
    called: (_one, call) => told.push(`called ${call.target}`),
    logged: (_one, invocation, level, text) => told.push(`logged ${invocation === undefined ? 'none' : 'its'} ${level} ${text}`),
  }
  instance.assign(revision, owner)
  const open = (): TestInvocation => {
    const one = testInvocation(clock, { revision })
    instance.proxy.open(one.invocation)
    return one
  }
  return { clock, sandbox, instance, told, open }
}

const ready = { kind: 'cold', sandboxUs: 1, initUs: 2 } as const

describe('the life of an instance', () => {
  test('is starting, ready, stopping, gone', async () => {
    const { instance, sandbox, clock, told } = ground()
    assert.equal(instance.state.phase, 'starting')
    clock.advance(7)
    instance.ready(ready)
    assert.deepEqual([instance.state.phase, instance.idleSinceUs, instance.times], ['ready', clock.monotonicUs(), ready])
    instance.stop('it was idle')
    assert.deepEqual(instance.state, { phase: 'stopping', reason: 'it was idle' })
    await sandbox.runtime.take(6)
    assert.deepEqual(sandbox.destroyed, [], 'the runtime ends by itself')
    sandbox.exit({ cause: 'exited', code: 0 })
    await turns()
    assert.deepEqual([instance.state, told.at(-1)], [{ phase: 'gone', reason: 'it was idle' }, 'gone gone'])
  })

  test('ends in `gone`, told once, after the sandbox is dead and its invocations have ended (I1)', async () => {
    const { instance, sandbox, told, open } = ground()
    instance.ready(ready)
    const { ends } = open()
    sandbox.diesSlowly = true
    instance.kill('a reason')
    instance.kill('another')
    await turns()
    assert.deepEqual([told.filter((what) => what.startsWith('gone')), ends()], [[], 0])
    sandbox.exit({ cause: 'destroyed', reason: 'a reason' })
    await turns()
    assert.deepEqual([told.filter((what) => what.startsWith('gone')), ends(), instance.state.phase], [['gone gone'], 1, 'gone'])
    instance.kill('too late')
    instance.stop('too late')
    instance.ready(ready)
    await turns()
    assert.equal(told.filter((what) => what.startsWith('gone')).length, 1)
  })

  test('has the first reason, whatever follows (I2)', async () => {
    const { instance, sandbox, open } = ground()
    instance.ready(ready)
    const { sink } = open()
    sandbox.diesSlowly = true
    instance.kill('first')
    instance.stop('second')
    sandbox.exit({ cause: 'destroyed', reason: 'second' })
    await turns()
    assert.equal(instance.state.phase === 'gone' && instance.state.reason, 'first')
    assert.match(sink.error!.message, /\(first\)/)
  })

  test('that stops lets its invocations end, and no longer than their limit', async () => {
    const { instance, sandbox, clock, open } = ground()
    instance.ready(ready)
    const { sink } = open()
    instance.stop('it was idle')
    const { stream } = await sandbox.runtime.opened()
    clock.advance(900)
    sandbox.runtime.head(stream, 200, 'done', true)
    await sink.ended
    assert.equal(sink.isComplete, true)
    clock.advance(5_099)
    assert.deepEqual(sandbox.destroyed, [])
    clock.advance(1)
    assert.deepEqual(sandbox.destroyed, ['it was idle'])
  })

  test('that is told to stop twice goes on to the end of its invocations', () => {
    const { instance, sandbox, open } = ground()
    instance.ready(ready)
    open()
    instance.stop('it was idle')
    instance.stop('its revision gets no more traffic')
    assert.deepEqual([sandbox.destroyed, instance.state], [[], { phase: 'stopping', reason: 'it was idle' }])
  })

  test('that stops before it is ready is killed', () => {
    const { instance, sandbox } = ground()
    instance.stop('not needed')
    assert.deepEqual(sandbox.destroyed, ['not needed'])
  })
})

describe('a death of its own', () => {
  const deaths: readonly (readonly [SandboxExit, string, RegExp])[] = [
    [{ cause: 'exited', code: 3 }, 'FUNCTION_EXITED', /code 3/],
    [{ cause: 'signalled', signal: 'SIGSEGV' }, 'FUNCTION_EXITED', /SIGSEGV/],
    [{ cause: 'out-of-memory' }, 'FUNCTION_OUT_OF_MEMORY', /128 MB.*peak before was 3 MB/],
    [{ cause: 'destroyed', reason: 'its memory is needed' }, 'INSTANCE_LOST', /its memory is needed/],
  ]
  for (const [exit, code, says] of deaths) {
    test(`by ${exit.cause} tells what was on it ${code}`, async () => {
      const { instance, sandbox, open } = ground()
      instance.ready(ready)
      const one = open()
      one.invocation.memoryPeakKb = 2_500
      sandbox.exit(exit)
      await one.sink.ended
      assert.equal(one.sink.error!.code, code)
      assert.match(one.sink.error!.message, says)
      assert.equal(one.ends(), 1)
    })
  }

  test('before it was ready is the function\'s or the platform\'s fault', () => {
    assert.deepEqual(deaths.map(([exit]) => startError(exit, revision).code), ['INIT_FAILED', 'INIT_FAILED', 'FUNCTION_OUT_OF_MEMORY', 'START_FAILED'])
  })

  test('first seen as a closed channel is waited for, because the exit knows the cause', async () => {
    const { instance, sandbox, clock, open } = ground()
    instance.ready(ready)
    const { sink } = open()
    sandbox.runtime.close()
    await turns()
    clock.advance(249)
    assert.deepEqual([sandbox.destroyed, sink.isEnded], [[], false])
    sandbox.exit({ cause: 'exited', code: 1 })
    await sink.ended
    assert.equal(sink.error!.code, 'FUNCTION_EXITED')
    assert.equal(instance.state.phase === 'gone' && instance.state.reason, 'its process exited with code 1')
    clock.advance(1000)
    assert.deepEqual(sandbox.destroyed, [])
  })

  test('that does not come after the channel was closed is brought about', async () => {
    const { instance, sandbox, clock } = ground()
    instance.ready(ready)
    sandbox.runtime.close()
    await turns()
    clock.advance(250)
    assert.deepEqual(sandbox.destroyed, ['the runtime closed its channel'])
  })
})

describe('a runtime that misbehaves', () => {
  test('by breaking the protocol is ended with what it did as the reason', async () => {
    const { instance, sandbox, open } = ground()
    instance.ready(ready)
    const { sink } = open()
    sandbox.runtime.raw(Buffer.alloc(12, 0xff))
    await sink.ended
    assert.match(sandbox.destroyed[0]!, /protocol was broken/)
    assert.deepEqual([sink.error!.code, instance.state.phase], ['INSTANCE_LOST', 'gone'])
  })

  test('by not letting go is ended, and the others on it are told how to keep apart', async () => {
    const { instance, sandbox, clock, open } = ground()
    instance.ready(ready)
    const hanging = open()
    clock.advance(900)
    const other = open()
    clock.advance(100)
    assert.equal(hanging.sink.error?.code, 'FUNCTION_TIMEOUT')
    clock.advance(250)
    await other.sink.ended
    assert.match(sandbox.destroyed[0]!, new RegExp(`${hanging.invocation.id} did not stop at its time limit`))
    assert.equal(other.sink.error?.code, 'INSTANCE_LOST')
    assert.match(other.sink.error!.message, /Lower the function's concurrency/)
    assert.deepEqual([hanging.ends(), other.ends()], [1, 1])
  })
})

test('what the runtime tells goes to the owner, who is told at once when it takes no more (I3)', async () => {
  const { instance, sandbox, told, clock, open } = ground()
  instance.ready(ready)
  open()
  const { stream } = await sandbox.runtime.opened()
  clock.advance(5)
  sandbox.runtime.log(stream, 1, 'hi')
  sandbox.runtime.call(1, { f: 'other', c: stream }, undefined, true)
  sandbox.runtime.waiting(stream)
  await turns()
  assert.deepEqual(told, ['logged its info hi', 'called other', 'changed'])
  sandbox.diesSlowly = true
  sandbox.runtime.close()
  await turns()
  assert.deepEqual([told.at(-1), told.length, instance.state.phase], ['changed', 4, 'stopping'])
})
