/**
 * Goal: a function's call reaches the function it names, in its own namespace, with its caller's deadline; or fails at once.
 *
 * Method: calls as a queue proxy makes them; the test begins and accepts them.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { AcceptOptions } from '#activator/async-queue.ts'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { RecordingSink, testInvocation, testRevision, turns } from '#contract/invocation.fake.ts'
import type { Invocation } from '#contract/invocation.ts'
import type { BeginOptions } from '#gateway/invoker.ts'
import type { FunctionCall } from '#worker/queue-proxy-owner.ts'
import { FunctionCalls } from './function-calls.ts'

function ground() {
  const clock = new ManualClock()
  const parent = testInvocation(clock, { revision: testRevision({}, { namespace: 'n' }) }).invocation
  const begun: BeginOptions[] = []
  const accepted: AcceptOptions[] = []
  const asked: string[] = []
  const target = testInvocation(clock).invocation
  const cancelled: PlatformError[] = []
  target.holder = { cancelInvocation: (_one: Invocation, reason) => cancelled.push(reason) }
  const hooks = { accept: async (_options: AcceptOptions): Promise<string> => 'a'.repeat(32) }
  const calls = new FunctionCalls({
    resolve(namespace, name) {
      asked.push(`${namespace} ${name}`)
      return name === 'g' ? testRevision({}, { namespace, function: name }) : undefined
    },
    begin(begin, bind) {
      begun.push(begin)
      bind(target)
      return target
    },
    accept(options) {
      accepted.push(options)
      return hooks.accept(options)
    },
  })
  const call = (name: string, async = false): FunctionCall & { readonly sink: RecordingSink } => {
    const made = {
      parent, target: name, async, sink: new RecordingSink(), onCancel: () => {},
      request: { kind: 'event' as const, method: 'POST', path: '/', headers: [], body: Buffer.from('in') },
    }
    calls.called(made)
    return made
  }
  return { parent, begun, accepted, asked, cancelled, hooks, call }
}

describe('a call', () => {
  test('begins an invocation of the caller\'s namespace, whose answer goes back to the caller', () => {
    const { call, begun, parent, asked } = ground()
    for (const name of ['g', 'n/g']) {
      const { sink, request } = call(name)
      const { revision, ...begin } = begun.at(-1)!
      assert.deepEqual([begin, `${revision.namespace}/${revision.function}`], [{ origin: 'call', request, sink, parent }, 'n/g'])
    }
    assert.deepEqual(asked, ['n g', 'n g'])
  })

  test('to another namespace is refused, whether its function exists or not', () => {
    const { call, begun, asked } = ground()
    for (const name of ['m/g', 'm/none', '/g', '../n/g']) assert.equal(call(name).sink.error?.code, 'FORBIDDEN', name)
    assert.equal(call('m/g', true).sink.error?.code, 'FORBIDDEN')
    assert.deepEqual([begun, asked], [[], []])
  })

  test('to a function that does not exist fails with its name', () => {
    const { call, begun } = ground()
    for (const name of ['none', 'n/none', '', 'n/', 'n/g/x']) {
      const { sink } = call(name)
      assert.equal(sink.error?.code, 'FUNCTION_NOT_FOUND', name)
    }
    assert.match(call('none').sink.error!.message, /no function none in namespace n/)
    assert.deepEqual(begun, [])
  })

  test('that its caller lets go of is cancelled', () => {
    const { call, cancelled } = ground()
    const reason = new PlatformError('CANCELLED', 'the caller no longer waits')
    call('g').onCancel(reason)
    assert.deepEqual(cancelled, [reason])
  })
})

describe('an asynchronous call', () => {
  test('is answered with the id when it was accepted, and carries the trace on', async () => {
    const { call, accepted, begun, parent } = ground()
    const { sink, request } = call('g', true)
    assert.equal(sink.isEnded, false, 'not before it is durable')
    await sink.ended
    assert.deepEqual([sink.status, JSON.parse(sink.body.toString())], [202, { id: 'a'.repeat(32) }])
    assert.deepEqual(accepted, [{ namespace: 'n', function: 'g', request, traceparent: parent.traceparent }])
    assert.deepEqual(begun, [])
  })

  test('that cannot be accepted fails with the reason', async () => {
    const { call, hooks } = ground()
    hooks.accept = () => Promise.reject(new PlatformError('STORE_FULL', 'no room'))
    const { sink } = call('g', true)
    await turns(3)
    assert.equal(sink.error?.code, 'STORE_FULL')
  })
})
