/**
 * Goal: each request gets to what it names if its sender may go there, at once, and leaves nothing behind when it goes away.
 *
 * Method: a real HTTP server and real requests; the activator is played by the test.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { INLINE_BYTES_MAX } from '#contract/frames.ts'
import { complete, frontGround } from './front.fake.ts'
import type { FrontGround } from './front.fake.ts'
import type { TestAnswer } from './http.fake.ts'

const key = { authorization: 'Bearer key-n' }
const codeOf = (answer: TestAnswer): unknown => [answer.status, answer.headers['x-skep-error']]
const released = ({ running }: FrontGround): boolean => [...running.values()].every((count) => count === 0)

/** Looks each turn until it holds: for what a socket brings. */
async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn++) {
    assert(turn < 100_000, `did not come true: ${holds}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('the address', () => {
  test('decides who answers: a function, the API, or the door itself', async (context) => {
    const { ask, submitted } = await frontGround(context)
    assert.equal((await ask('/fn/n/f/a?b=1', { headers: key })).text, 'answer')
    assert.deepEqual([submitted[0]!.request.path, submitted[0]!.request.kind, submitted[0]!.request.method, submitted[0]!.origin], ['/a?b=1', 'http', 'GET', 'http'])
    assert.equal((await ask('/v1/functions')).text, 'api /v1/functions')
    assert.equal((await ask('/healthz?now')).text, 'ok\n')
    assert.deepEqual(codeOf(await ask('/metrics')), [401, 'KEY_MISSING'])
    assert.equal((await ask('/metrics', { headers: key })).text, 'metric 1\n')
    for (const path of ['/', '/v10', '/fn', '/healthzz']) assert.deepEqual(codeOf(await ask(path)), [404, 'ROUTE_NOT_FOUND'])
    assert.deepEqual(codeOf(await ask('/fn/n')), [400, 'NAME_INVALID'])
  })

  test('of any text gets an answer, and the next request is served (G3, fuzz)', async (context) => {
    const ground = await frontGround(context)
    const target = fc.array(fc.oneof(fc.constantFrom('/', 'fn/', 'n', '/f', '?', '/v1', '%', '..', '//', 'open', '*', 'é'), fc.stringMatching(/^[!-~]{1,6}$/)), { maxLength: 7 }).map((parts) => `/${parts.join('')}`)
    await fc.assert(fc.asyncProperty(target, fc.constantFrom('GET', 'POST', 'OPTIONS', 'DELETE'), async (path, method) => {
      const answer = await ground.raw(`${method} ${Buffer.from(path).toString('latin1')} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`)
      assert.match(answer, /^HTTP\/1\.1 (200|400|401|404) /)
    }), { numRuns: 150 })
    assert.equal((await ground.ask('/healthz')).status, 200)
    assert(released(ground))
  })
})

describe('a function', () => {
  test('is called with a key of its namespace, or with an admin\'s', async (context) => {
    const { ask } = await frontGround(context)
    assert.deepEqual(codeOf(await ask('/fn/n/f')), [401, 'KEY_MISSING'])
    assert.deepEqual(codeOf(await ask('/fn/n/f', { headers: { authorization: 'Bearer wrong' } })), [401, 'KEY_INVALID'])
    assert.deepEqual(codeOf(await ask('/fn/n/f', { headers: { authorization: 'Bearer key-m' } })), [403, 'FORBIDDEN'])
    assert.equal((await ask('/fn/n/f', { headers: { authorization: 'Bearer key-admin' } })).status, 200)
  })

  test('that is not there is told only to those who might call it', async (context) => {
    const { ask } = await frontGround(context)
    assert.deepEqual(codeOf(await ask('/fn/n/none')), [401, 'KEY_MISSING'])
    assert.deepEqual(codeOf(await ask('/fn/n/none', { headers: { authorization: 'Bearer key-m' } })), [403, 'FORBIDDEN'])
    assert.deepEqual(codeOf(await ask('/fn/n/none', { headers: key })), [404, 'FUNCTION_NOT_FOUND'])
  })

  test('that is public needs no key, and gets the caller\'s own authorization', async (context) => {
    const { ask, submitted } = await frontGround(context)
    assert.equal((await ask('/fn/n/open', { headers: { authorization: 'Basic mine' } })).status, 200)
    assert(submitted[0]!.request.headers.includes('Basic mine'))
    await ask('/fn/n/f', { headers: key })
    assert(!submitted[1]!.request.headers.includes('authorization'), 'the platform\'s key stays here')
  })

  test('carries on the trace that a caller sends, if it is one', async (context) => {
    const { ask, submitted } = await frontGround(context)
    const traceparent = `00-${'b'.repeat(32)}-${'c'.repeat(16)}-01`
    await ask('/fn/n/open', { headers: { traceparent } })
    await ask('/fn/n/open', { headers: { traceparent: 'nonsense' } })
    assert.equal(submitted[0]!.traceparent, traceparent)
    assert.equal(submitted[1]!.traceparent.slice(3, 35), submitted[1]!.id)
  })
})

describe('a body', () => {
  test('is handed on whole when it is small, and as a stream when it is not', async (context) => {
    const { ask, submitted, hooks } = await frontGround(context)
    const received: Promise<Buffer>[] = []
    hooks.answer = (invocation) => {
      const { body } = invocation.request
      received.push(body instanceof Readable ? buffer(body) : Promise.resolve((body as Buffer | undefined) ?? Buffer.from('none')))
      void received.at(-1)!.then(() => complete(invocation))
    }
    const large = Buffer.alloc(INLINE_BYTES_MAX + 1, 'x')
    await ask('/fn/n/open')
    await ask('/fn/n/open', { method: 'POST', body: 'small' })
    await ask('/fn/n/open', { method: 'POST', body: large })
    await ask('/fn/n/open', { method: 'POST', body: Readable.from(['in ', 'chunks']) })
    assert.deepEqual(submitted.map(({ request: { body } }) => (body === undefined ? 'none' : body instanceof Readable ? 'stream' : 'whole')), ['none', 'whole', 'stream', 'stream'])
    assert.deepEqual((await Promise.all(received)).map((body) => (body.length > 100 ? body.length : body.toString())), ['none', 'small', large.length, 'in chunks'])
  })

  test('is all that an invocation waits for: without one, it has begun when the request was handled (G1)', async (context) => {
    const { ask, begunAtOnce } = await frontGround(context)
    await ask('/fn/n/f', { headers: key })
    await ask('/fn/n/open', { method: 'POST', body: Buffer.alloc(INLINE_BYTES_MAX + 1) })
    assert.deepEqual(begunAtOnce, [1, 2])
  })
})

describe('a client that goes away', () => {
  test('cancels its invocation, before or within the answer (G2)', async (context) => {
    for (const within of [false, true]) {
      const ground = await frontGround(context)
      ground.hooks.answer = (invocation) => within && invocation.sink.head(200, [], Buffer.from('half'), false)
      const socket = ground.connect()
      socket.write('GET /fn/n/open HTTP/1.1\r\nhost: a\r\n\r\n')
      await until(() => ground.submitted.length === 1)
      assert.equal(ground.records.length, 0)
      socket.destroy()
      await until(() => ground.records.length === 1)
      assert.deepEqual([ground.records[0]!.error?.code, released(ground)], ['CANCELLED', true])
    }
  })

  test('before its small body is complete has begun nothing, and its place is free (G2)', async (context) => {
    const ground = await frontGround(context)
    for (const prefer of ['', 'prefer: respond-async\r\n']) {
      const socket = ground.connect()
      socket.write(`POST /fn/n/open HTTP/1.1\r\nhost: a\r\n${prefer}content-length: 10\r\n\r\nhalf`)
      await until(() => ground.running.get('n') === 1)
      socket.destroy()
      await until(() => released(ground))
    }
    assert.deepEqual([ground.submitted.length, ground.accepted.length], [0, 0])
  })

  test('after the answer cancels nothing', async (context) => {
    const ground = await frontGround(context)
    await ground.ask('/fn/n/open')
    await until(() => released(ground))
    assert.deepEqual(ground.records.map(({ outcome, status }) => [outcome, status]), [['ok', 200]])
  })
})

describe('a quota', () => {
  test('that is used up is answered with when to come again, and nothing has begun', async (context) => {
    const ground = await frontGround(context)
    ground.hooks.admit = () => {
      throw new PlatformError('RATE_EXCEEDED', 'too many', { details: { retryAfterMs: 1_001 } })
    }
    for (const headers of [{}, { prefer: 'respond-async' }]) {
      const answer = await ground.ask('/fn/n/open', { headers, method: 'POST', body: 'x' })
      assert.deepEqual([...codeOf(answer) as unknown[], answer.headers['retry-after']], [429, 'RATE_EXCEEDED', '2'])
    }
    assert.deepEqual([ground.submitted.length, ground.accepted.length, released(ground)], [0, 0, true])
  })

  test('counts an invocation until it has ended, whichever way', async (context) => {
    const ground = await frontGround(context)
    ground.hooks.answer = (invocation) => invocation.fail(new PlatformError('QUEUE_FULL', 'full'), 1)
    assert.deepEqual(codeOf(await ground.ask('/fn/n/open')), [503, 'QUEUE_FULL'])
    assert(released(ground))
    ground.hooks.answer = () => {}
    const waiting = ground.ask('/fn/n/open')
    await until(() => ground.running.get('n') === 1)
    complete(ground.submitted.at(-1)!)
    await waiting
    assert(released(ground))
  })
})

describe('Prefer: respond-async', () => {
  test('is answered with the id when the work was accepted, with its key and callback', async (context) => {
    const ground = await frontGround(context)
    const headers = { prefer: 'respond-async', 'idempotency-key': 'k', 'x-callback-url': 'function:g', ...key }
    const answer = await ground.ask('/fn/n/f/x', { method: 'POST', body: 'work', headers })
    assert.deepEqual([answer.status, answer.json(), answer.headers['location']], [202, { id: 'a'.repeat(32) }, `/v1/invocations/${'a'.repeat(32)}`])
    const { request, ...rest } = ground.accepted[0]!
    assert.deepEqual(rest, { namespace: 'n', function: 'f', traceparent: undefined, idempotencyKey: 'k', callback: 'function:g' })
    assert.deepEqual([request.path, String(request.body), ground.submitted.length, released(ground)], ['/x', 'work', 0, true])
  })

  test('is understood among other preferences and in any case, and not where it is not', async (context) => {
    const { ask } = await frontGround(context)
    for (const prefer of ['respond-async, wait=10', 'return=minimal, Respond-Async', 'respond-async; x=y', 'a,respond-async']) assert.equal((await ask('/fn/n/open', { headers: { prefer } })).status, 202, prefer)
    for (const prefer of ['wait=10', 'respond-asynchronously', 'x-respond-async']) assert.equal((await ask('/fn/n/open', { headers: { prefer } })).status, 200, prefer)
  })

  test('that cannot be accepted says why, and the connection serves the next request', async (context) => {
    const ground = await frontGround(context)
    ground.hooks.accept = async () => {
      throw new PlatformError('STORE_FULL', 'no room')
    }
    const body = 'x'.repeat(INLINE_BYTES_MAX + 1)
    const answers = await ground.raw(
      `POST /fn/n/open HTTP/1.1\r\nhost: a\r\nprefer: respond-async\r\ncontent-length: ${body.length}\r\n\r\n${body}GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`,
    )
    assert.match(answers, /^HTTP\/1\.1 507 [^]*STORE_FULL[^]*HTTP\/1\.1 200 OK[^]*ok\n$/)
    assert(released(ground))
  })
})

test('a bug on the way is an answer INTERNAL, and the next request is served (G3)', async (context) => {
  const { ask, hooks } = await frontGround(context)
  hooks.resolve = () => {
    throw new TypeError('a bug')
  }
  assert.deepEqual(codeOf(await ask('/fn/n/open')), [500, 'INTERNAL'])
  hooks.resolve = undefined
  assert.equal((await ask('/fn/n/open')).status, 200)
})
