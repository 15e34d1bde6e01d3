/**
 * Goal: a result gets to where its caller asked for it, and nobody can make the platform speak to what it should not.
 *
 * Method: a real HTTP server on loopback, and a clock that the test moves between the attempts.
 */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import fc from 'fast-check'
import type { AcceptOptions, AsyncResult } from '#activator/async-queue.ts'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { turns } from '#contract/invocation.fake.ts'
import { callBackTo, checkCallback } from './callback.ts'

const result: AsyncResult = { id: 'a'.repeat(32), namespace: 'n', status: 200, headers: [], body: 'eA==' }

interface Receiver {
  readonly url: string
  readonly received: { readonly body: string; readonly type: string | undefined; readonly id: string | string[] | undefined }[]
}

/** Answers with these statuses, the last one from then on. */
async function receiver(context: Pick<TestContext, 'after'>, statuses: readonly number[]): Promise<Receiver> {
  const received: Receiver['received'] = []
  const server = createServer(async (request, response) => {
    const status = statuses[Math.min(received.length, statuses.length - 1)]!
    received.push({ body: await text(request), type: request.headers['content-type'], id: request.headers['x-skep-invocation-id'] })
    response.writeHead(status, status === 302 ? { location: 'http://127.0.0.1:1/' } : {}).end('ignored')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  context.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/done`, received }
}

/** Calls back, letting time pass until it has ended. @returns how long that took, ms. */
async function callBack(target: string): Promise<number> {
  const clock = new ManualClock()
  const startMs = clock.epochMs()
  let isEnded = false
  const ended = callBackTo({ accept: async () => assert.fail('not a function'), clock })(target, result).finally(() => (isEnded = true))
  ended.catch(() => {})
  for (; !isEnded; clock.advance(1)) await turns(1)
  await ended
  return clock.epochMs() - startMs
}

describe('a callback to an address', () => {
  test('is a POST of the result, with the invocation\'s id', async (context) => {
    const { url, received } = await receiver(context, [204])
    await callBack(url)
    assert.deepEqual(received, [{ body: JSON.stringify(result), type: 'application/json', id: result.id }])
  })

  test('is tried again when the receiver fails, not when it refuses', async (context) => {
    const failing = await receiver(context, [500, 503, 200])
    assert(await callBack(failing.url) >= 3000, 'a second, and then two')
    assert.equal(failing.received.length, 3)
    const refusing = await receiver(context, [404])
    await callBack(refusing.url)
    assert.equal(refusing.received.length, 1)
  })

  test('is given up after three attempts, saying why', async (context) => {
    const { url, received } = await receiver(context, [500])
    await assert.rejects(callBack(url), /it answered 500/)
    assert.equal(received.length, 3)
  })

  test('does not follow a redirection to where it may not go', async (context) => {
    const { url } = await receiver(context, [302])
    await assert.rejects(callBack(url))
  })
})

test('a callback to a function is accepted as durably as the work was, once per result', async () => {
  const accepted: AcceptOptions[] = []
  await callBackTo({
    async accept(options) {
      accepted.push(options)
      return 'id'
    },
  })('function:g', result)
  const { request, ...rest } = accepted[0]!
  assert.deepEqual(rest, { namespace: 'n', function: 'g', idempotencyKey: `callback:${result.id}` })
  assert.deepEqual([request.kind, JSON.parse(String(request.body)), request.headers.at(-1)], ['event', result, result.id])
  await assert.rejects(callBackTo({ accept: () => Promise.reject(new PlatformError('STORE_FULL', 'no room')) })('function:g', result), { code: 'STORE_FULL' })
})

describe('checkCallback', () => {
  test('allows functions, loopback addresses, and hosts that the operator named', () => {
    for (const target of ['function:g', 'http://127.0.0.1:8080/x', 'https://localhost/', 'http://[::1]:1/', 'http://LOCALHOST/', 'http://127.1/']) checkCallback(target)
    checkCallback('https://hooks.example/x', new Set(['hooks.example']))
  })

  test('refuses everything else, in words', () => {
    for (const target of [
      '', 'g', 'function:', 'function:a/b', 'function:../x', 'ftp://127.0.0.1/', 'file:///etc/passwd', 'javascript:1', 'http://example.com/', 'http://127.0.0.1.example.com/', 'http://user:password@127.0.0.1/',
      'http://127.0.0.1@example.com/', 'http://169.254.169.254/latest', 'http://[::ffff:10.0.0.1]/', 'http://0.0.0.0/', '//127.0.0.1/',
    ]) {
      assert.throws(() => checkCallback(target), { code: 'INPUT_INVALID' }, target)
    }
  })

  test('of any text allows loopback and functions only (fuzz)', () => {
    const part = fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom('http://', 'https://', 'function:', '127.0.0.1', 'localhost', '@', '/', ':', '.', '%2e', '\t', 'é'))
    fc.assert(fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const target = parts.join('')
      try {
        checkCallback(target)
      } catch (error) {
        assert(error instanceof PlatformError && error.code === 'INPUT_INVALID', String(error))
        return
      }
      if (!target.startsWith('function:')) assert(['127.0.0.1', 'localhost', '[::1]'].includes(new URL(target).hostname))
    }), { numRuns: 1000 })
  })
})
