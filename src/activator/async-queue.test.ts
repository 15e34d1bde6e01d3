/**
 * Goal: bodies and results of asynchronous invocations are there as long as somebody may want them, and then are not.
 *
 * Method: a real store and real blobs; functions as callbacks. That work survives and is retried is tested on a whole
 * platform (test/integration/async.test.ts, crash.test.ts).
 */
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import { testBody } from '#contract/held-body.fake.ts'
import { ASYNC_QUEUE } from './async-queue.ts'
import { eventually, queueGround } from './async-queue.fake.ts'
import type { QueueGround } from './async-queue.fake.ts'

const LARGE = Buffer.alloc(100_000, 'large ')

async function bodyOf({ queue }: QueueGround, id: string): Promise<string> {
  const content = (await queue.resultBody((await queue.result(id))!))!
  return content.body instanceof Uint8Array ? content.body.toString() : (await buffer(content.body)).toString()
}

async function ended({ queue, clock, store }: QueueGround, ...ids: string[]): Promise<void> {
  for (const id of ids) await eventually(clock, async () => (await queue.result(id)) !== undefined && (await store.find(ASYNC_QUEUE, id)) === undefined)
}

describe('a large body', () => {
  test('goes when its invocation is done, and not that of another with the same bytes (A4)', async (context) => {
    const ground = await queueGround(context)
    const { functions, accept, digests, clock } = ground
    const release = Promise.withResolvers<void>()
    functions.set('quick', (body) => ({ body: Buffer.from(`${body.length}`) }))
    functions.set('slow', async (body) => {
      await release.promise
      return { body: Buffer.from(`${body.length}`) }
    })
    const slow = await accept('slow', Readable.from([LARGE]))
    const quick = await accept('quick', LARGE)
    await ended(ground, quick)
    await eventually(clock, async () => (await digests()).length === 1)
    release.resolve()
    await ended(ground, slow)
    assert.deepEqual([await bodyOf(ground, quick), await bodyOf(ground, slow)], ['100000', '100000'])
    await eventually(clock, async () => (await digests()).length === 0)
    assert.deepEqual(ground.warnings, [])
  })

  test('that is held is written whole before it is accepted, and stays its caller\'s to let go', async (context) => {
    const ground = await queueGround(context)
    const { body, isReleased } = testBody(LARGE)
    ground.functions.set('f', (text) => ({ body: Buffer.from(`${text === LARGE.toString()}`) }))
    const id = await ground.accept('f', body)
    assert.equal(isReleased(), false)
    body.release()
    assert.equal(isReleased(), true)
    await ended(ground, id)
    assert.equal(await bodyOf(ground, id), 'true')
  })

  test('and an answer with the same bytes are two: the answer stays', async (context) => {
    const ground = await queueGround(context)
    const { functions, accept, digests, clock } = ground
    functions.set('echo', (body) => ({ body: Buffer.from(body) }))
    const [one, other] = await Promise.all([accept('echo', LARGE), accept('echo', LARGE)])
    await ended(ground, one, other)
    await eventually(clock, async () => (await digests()).length === 2)
    assert.equal(await bodyOf(ground, one), LARGE.toString())
    assert.equal(await bodyOf(ground, other), LARGE.toString())
    assert.equal((await ground.queue.resultBody((await ground.queue.result(one))!))!.bytes, LARGE.length)
  })

  test('of a dead letter stays for its redrive, the answers of failed attempts do not (A4)', async (context) => {
    const ground = await queueGround(context, { retriesMax: 2 })
    const { functions, accept, digests, clock, store } = ground
    functions.set('f', (body) => ({ status: 500, body: Buffer.from(`sorry, ${body}`) }))
    const id = await accept('f', LARGE)
    await eventually(clock, async () => (await store.dead(ASYNC_QUEUE, { limit: 1 })).length === 1)
    assert.equal((await ground.queue.result(id))?.status, 500)
    // The body, and the answer of the last attempt.
    await eventually(clock, async () => (await digests()).length === 2)
    functions.set('f', (body) => ({ body: Buffer.from(`${body.length}`) }))
    assert.equal(await store.redrive(ASYNC_QUEUE, [id], clock.epochMs()), 1)
    await eventually(clock, async () => (await ground.queue.result(id))?.status === 200)
    assert.equal(await bodyOf(ground, id), '100000')
  })

  test('of a repeated request is not kept beside the first one\'s', async (context) => {
    const ground = await queueGround(context)
    const { functions, accept, digests, clock } = ground
    functions.set('f', () => ({}))
    const id = await accept('f', LARGE, { idempotencyKey: 'k' })
    await ended(ground, id)
    assert.equal(await accept('f', Buffer.concat([LARGE, LARGE]), { idempotencyKey: 'k' }), id)
    await eventually(clock, async () => (await digests()).length === 0)
  })
})

describe('a result', () => {
  test('tells of work that could not be done, too, and so does the callback', async (context) => {
    const ground = await queueGround(context, { retriesMax: 0 })
    const { functions, accept, queue, told, clock } = ground
    functions.set('broken', () => ({ error: new PlatformError('FUNCTION_THREW', 'sorry') }))
    const broken = await accept('broken', undefined, { callback: 'function:f' })
    const gone = await accept('gone', undefined, { callback: 'function:f' })
    for (const id of [broken, gone]) await eventually(clock, async () => (await queue.result(id)) !== undefined)
    const codes = await Promise.all([broken, gone].map(async (id) => (await queue.result(id))?.error?.code))
    assert.deepEqual(codes, ['FUNCTION_THREW', 'FUNCTION_NOT_FOUND'])
    assert.deepEqual(new Set(told.map((result) => result.id)), new Set([broken, gone]))
  })
})
