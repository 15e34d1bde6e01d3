/**
 * Goal: what was accepted runs until it succeeds or is given up, at least once and not more often than is said.
 *
 * Method: a real store that writes down the order of its calls, and can be held up; functions whose ends the test decides.
 * Bodies and results are async-queue.test.ts's matter, crashes those of test/integration.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { FunctionConfigInput } from '#contract/function-config.ts'
import { InvocationIds } from '#contract/ids.ts'
import { testInvocation, testRevision, turns } from '#contract/invocation.fake.ts'
import type { Store } from '#store/store.ts'
import { ASYNC_QUEUE, AsyncQueue, asyncQueueDefaults } from './async-queue.ts'
import type { AcceptOptions, AsyncQueueConfig, AsyncQueueOptions, AsyncResult } from './async-queue.ts'
import { eventually, storeGround } from './async-queue.fake.ts'

type Run = Parameters<AsyncQueueOptions['run']>[0]

interface Ground {
  readonly store: Store
  readonly clock: ManualClock
  readonly queue: AsyncQueue
  /** Names of the store's writing calls, in the order in which they were done. */
  readonly done: string[]
  /** Called before a call of the store is made: to hold it up, or to fail it. */
  readonly before: { call: ((name: string) => Promise<void> | undefined) | undefined }
  /** Called when it has been done, before it returns: to hold up what it found. */
  readonly after: { call: ((name: string) => Promise<void> | undefined) | undefined }
  readonly runs: Run[]
  readonly told: [string, AsyncResult][]
  readonly warnings: string[]
  accept(over?: Partial<AcceptOptions>): Promise<string>
  /** The run with this index has begun. */
  run(index: number): Promise<Run>
  answers(run: Run, status?: number): void
  fails(run: Run, error: PlatformError): void
}

const failed = new PlatformError('FUNCTION_THREW', 'it threw')

async function ground(context: Pick<TestContext, 'after'>, options: { readonly function?: Partial<FunctionConfigInput>; readonly queue?: Partial<AsyncQueueConfig>; readonly exists?: boolean } = {}): Promise<Ground> {
  const { store, blobs, clock } = await storeGround(context)
  const done: string[] = []
  const before: Ground['before'] = { call: undefined }
  const after: Ground['after'] = { call: undefined }
  const spied = new Proxy(store, {
    get(target, name: keyof Store) {
      const method = (target[name] as (...args: unknown[]) => unknown).bind(target)
      if (name === 'append') return (...args: unknown[]) => (done.push('append'), method(...args))
      if (!['enqueue', 'claim', 'complete', 'retry', 'bury', 'flush', 'renew'].includes(name)) return method
      return async (...args: unknown[]) => {
        await before.call?.(name)
        const result = await method(...args)
        if (name !== 'claim' || (result as unknown[]).length > 0) done.push(name)
        await after.call?.(name)
        return result
      }
    },
  })
  const runs: Run[] = []
  const told: [string, AsyncResult][] = []
  const warnings: string[] = []
  const revision = testRevision({ retriesMax: 2, retryBackoffMs: 1000, ...options.function })
  const queue = new AsyncQueue({
    store: spied, blobs, clock, random: () => 0,
    ids: new InvocationIds({ randomBytes, nowMs: () => clock.epochMs() }),
    config: { ...asyncQueueDefaults, ...options.queue },
    resolve: () => (options.exists === false ? undefined : revision),
    run: (run) => runs.push(run),
    callBack: async (target, result) => void told.push([target, result]),
    warn: (message) => warnings.push(message),
  })
  context.after(() => queue.close())
  queue.start()
  return {
    store, clock, queue, done, before, after, runs, told, warnings,
    accept: (over = {}) => queue.accept({ namespace: 'default', function: 'f', request: { kind: 'event', method: 'POST', path: '/', headers: ['a', 'b'], body: Buffer.from('in') }, ...over }),
    async run(index) {
      await eventually(clock, async () => runs.length > index)
      return runs[index]!
    },
    answers(run, status = 200) {
      const { invocation } = testInvocation(clock, { revision })
      run.sink.head(status, [], Buffer.from('out'), true)
      run.ended(invocation)
    },
    fails(run, error) {
      const { invocation } = testInvocation(clock, { revision, ended: run.ended })
      run.sink.fail(error)
      invocation.fail(error, clock.monotonicUs())
    },
  }
}

const depth = async ({ store }: Ground): Promise<string> => {
  const { waiting, claimed, dead } = await store.depth(ASYNC_QUEUE)
  return `${waiting} waiting, ${claimed} claimed, ${dead} dead`
}

describe('accepted work', () => {
  test('is answered for only when it is durable, and not at all when it cannot be (A1)', async (context) => {
    const one = await ground(context)
    const held = Promise.withResolvers<void>()
    one.before.call = (name) => (name === 'enqueue' ? held.promise : undefined)
    let accepted = false
    const id = one.accept().then((value) => ((accepted = true), value))
    await turns(20)
    assert.equal(accepted, false)
    held.resolve()
    assert.match(await id, /^[0-9a-f]{32}$/)
    one.before.call = (name) => (name === 'enqueue' ? Promise.reject(new PlatformError('STORE_FULL', 'no room')) : undefined)
    await assert.rejects(one.accept(), { code: 'STORE_FULL' })
    one.before.call = undefined
    await one.run(0)
    assert.equal(one.runs.length, 1)
  })

  test('runs as it was sent, and leaves the queue after its result is durable (A2)', async (context) => {
    const one = await ground(context)
    const id = await one.accept({ traceparent: '00-1-2-00' })
    const run = await one.run(0)
    assert.deepEqual([run.id, run.attempt, run.traceparent, run.request.kind, run.request.headers, String(run.request.body)], [id, 1, '00-1-2-00', 'event', ['a', 'b'], 'in'])
    one.answers(run)
    await eventually(one.clock, async () => one.done.includes('complete') && one.queue.runningCount === 0)
    const order = one.done.filter((name) => name !== 'claim' && name !== 'renew')
    assert.deepEqual([order.indexOf('append') < order.lastIndexOf('flush'), order.at(-2), order.at(-1)], [true, 'flush', 'complete'])
    assert.equal(await depth(one), '0 waiting, 0 claimed, 0 dead')
    assert.equal((await one.queue.result(id))!.status, 200)
  })

  test('whose end cannot be written down stays in the queue, to run again (A2)', async (context) => {
    const one = await ground(context, { queue: { leaseMs: 300 } })
    await one.accept()
    one.before.call = (name) => (name === 'complete' ? Promise.reject(new PlatformError('STORE_FAILED', 'disk')) : undefined)
    one.answers(await one.run(0))
    const again = await one.run(1)
    assert.deepEqual([again.attempt, again.id], [2, one.runs[0]!.id])
    assert.match(one.warnings[0]!, /could not be marked as done/)
    one.before.call = undefined
    one.answers(again)
    await eventually(one.clock, async () => (await depth(one)) === '0 waiting, 0 claimed, 0 dead')
  })

  test('runs at once also when it was accepted while the store was looked at (A5)', async (context) => {
    const one = await ground(context)
    await one.store.depth(ASYNC_QUEUE)
    await turns()
    const held = Promise.withResolvers<void>()
    let looks = 0
    one.after.call = (name) => (name === 'claim' && looks++ === 0 ? held.promise : undefined)
    one.clock.advance(asyncQueueDefaults.pollMs)
    await turns()
    assert.equal(looks, 1, 'a look that has found nothing is on its way back')
    await one.accept()
    held.resolve()
    // No time passes: without the second look it would wait for the next poll.
    for (let round = 0; round < 50 && one.runs.length === 0; round++) {
      await turns()
      await one.store.depth(ASYNC_QUEUE)
    }
    assert.deepEqual([one.runs.length, looks >= 2], [1, true])
  })

  test('beyond what may run at once waits in the store (A3)', async (context) => {
    const one = await ground(context, { queue: { inFlightMax: 3 } })
    for (let count = 0; count < 8; count++) await one.accept()
    await one.run(2)
    one.clock.advance(1000)
    await turns(20)
    assert.deepEqual([one.runs.length, one.queue.runningCount, await depth(one)], [3, 3, '5 waiting, 3 claimed, 0 dead'])
    for (let index = 0; index < 8; index++) {
      one.answers(await one.run(index))
      assert(one.queue.runningCount <= 3)
    }
    await eventually(one.clock, async () => (await depth(one)) === '0 waiting, 0 claimed, 0 dead')
    assert.equal(one.runs.length, 8)
  })

  test('that runs longer than a lease keeps it, and does not run twice', async (context) => {
    const one = await ground(context, { queue: { leaseMs: 3000 } })
    await one.accept()
    const run = await one.run(0)
    for (let passed = 0; passed < 20_000; passed += 500) {
      one.clock.advance(500)
      await turns(20)
      await one.store.depth(ASYNC_QUEUE)
    }
    assert.equal(one.runs.length, 1)
    assert(one.done.filter((name) => name === 'renew').length > 10)
    one.answers(run)
    await eventually(one.clock, async () => (await depth(one)) === '0 waiting, 0 claimed, 0 dead')
  })
})

describe('failed work', () => {
  test('runs again after a backoff that doubles, and is a dead letter when it has used up its retries', async (context) => {
    const one = await ground(context)
    const id = await one.accept({ callback: 'function:g' })
    const startedMs: number[] = []
    for (let attempt = 1; attempt <= 3; attempt++) {
      const run = await one.run(attempt - 1)
      startedMs.push(one.clock.epochMs())
      assert.deepEqual([run.attempt, run.id], [attempt, id])
      if (attempt === 2) one.answers(run, 503)
      else one.fails(run, failed)
    }
    await eventually(one.clock, async () => (await depth(one)) === '0 waiting, 0 claimed, 1 dead')
    // Random 0: half of 1 s, half of 2 s; looked for in steps of up to the poll.
    const waits = [startedMs[1]! - startedMs[0]!, startedMs[2]! - startedMs[1]!]
    assert(waits[0]! >= 500 && waits[0]! < 1000 && waits[1]! >= 1000 && waits[1]! < 1500, `waited ${waits}`)
    const [letter] = await one.store.dead(ASYNC_QUEUE, { limit: 1 })
    assert.deepEqual([letter!.id, letter!.reason, letter!.attempt], [id, 'it threw', 3])
    assert.deepEqual(one.told.map(([target, result]) => [target, result.id, result.error?.code]), [['function:g', id, 'FUNCTION_THREW']])
    assert.equal((await one.queue.result(id))!.error?.code, 'FUNCTION_THREW')
  })

  test('that broke off within its answer is retried and given up in the same way', async (context) => {
    const one = await ground(context, { function: { retriesMax: 0 } })
    const id = await one.accept({ callback: 'function:g' })
    const run = await one.run(0)
    run.sink.head(200, [], Buffer.from('half'), false)
    one.fails(run, failed)
    await eventually(one.clock, async () => (await depth(one)) === '0 waiting, 0 claimed, 1 dead')
    assert.equal((await one.queue.result(id))!.error?.code, 'FUNCTION_THREW')
    assert.deepEqual(one.told.length, 1)
  })

  test('an answer of 4xx is an answer', async (context) => {
    const one = await ground(context)
    const id = await one.accept({ callback: 'function:g' })
    one.answers(await one.run(0), 404)
    await eventually(one.clock, async () => (await depth(one)) === '0 waiting, 0 claimed, 0 dead')
    assert.deepEqual([(await one.queue.result(id))!.status, one.told.length, one.runs.length], [404, 1, 1])
  })

  test('of a function that is gone is a dead letter at once', async (context) => {
    const one = await ground(context, { exists: false })
    await one.accept()
    await eventually(one.clock, async () => (await depth(one)) === '0 waiting, 0 claimed, 1 dead')
    assert.match((await one.store.dead(ASYNC_QUEUE, { limit: 1 }))[0]!.reason, /does not exist any more/)
    assert.equal(one.runs.length, 0)
  })
})

describe('the same idempotency key', () => {
  test('is the same invocation, also when sent at the same time; another function\'s is another', async (context) => {
    const one = await ground(context)
    const ids = await Promise.all([1, 2, 3].map(() => one.accept({ idempotencyKey: 'k' })))
    assert.equal(new Set(ids).size, 1)
    one.answers(await one.run(0))
    await eventually(one.clock, async () => (await depth(one)) === '0 waiting, 0 claimed, 0 dead')
    assert.equal(await one.accept({ idempotencyKey: 'k' }), ids[0])
    assert.notEqual(await one.accept({ idempotencyKey: 'k', function: 'g' }), ids[0])
    await one.run(1)
    assert.equal(one.runs.length, 2)
  })

  test('is another invocation when the result of the first is not kept any more', async (context) => {
    const one = await ground(context)
    const id = await one.accept({ idempotencyKey: 'k' })
    one.answers(await one.run(0))
    await eventually(one.clock, async () => (await one.queue.result(id)) !== undefined)
    one.clock.advance(24 * 3600 * 1000)
    assert.equal(await one.queue.result(id), undefined)
    assert.notEqual(await one.accept({ idempotencyKey: 'k' }), id)
    one.answers(await one.run(1))
  })
})

describe('a closed queue', () => {
  test('takes nothing more from the store; what waits runs when there is a queue again', async (context) => {
    const one = await ground(context)
    one.answers((await one.accept(), await one.run(0)))
    await one.queue.close()
    await one.store.enqueue(ASYNC_QUEUE, [{ id: 'f'.repeat(32), payload: '{}', dueAtMs: 0 }])
    one.clock.advance(10_000)
    await turns(20)
    assert.equal(one.runs.length, 1)
  })
})
