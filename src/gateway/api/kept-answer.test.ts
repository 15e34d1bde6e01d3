/**
 * Goal: the result of an asynchronous invocation is the answer that its caller would have got, to the byte.
 *
 * Method: the API on a real server, with results as the queue would give them.
 */
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import { apiGround } from './api.fake.ts'
import type { InvocationResult } from './services.ts'

const id = '0123456789ab'.padEnd(32, '0')
const path = `/v1/invocations/${id}/result`

function result(over: Partial<InvocationResult> = {}): InvocationResult & { readonly namespace: string; readonly id: string } {
  return { namespace: 'default', id, status: 200, headers: [], body: async () => undefined, ...over }
}

describe('the result of an asynchronous invocation', () => {
  test('is 202 while it waits, also when an earlier one has a result, and not found after that', async (context) => {
    const ground = await apiGround(context)
    ground.queued.push({ id, namespace: 'default', function: 'f', attempt: 1, acceptedAtMs: 1, dueAtMs: 2 })
    ground.results.push(result())
    const queued = await ground.call('GET', path)
    assert.deepEqual([queued.status, queued.headers.get('x-skep-state'), queued.json.function], [202, 'queued', 'f'])
    ground.queued.length = 0
    assert.equal((await ground.call('GET', path)).status, 200)
    ground.results.length = 0
    const missing = await ground.call('GET', path)
    assert.deepEqual([missing.status, missing.json.error.code], [404, 'INVOCATION_NOT_FOUND'])
    assert.equal((await ground.call('GET', path, { key: false })).status, 401)
    assert.equal((await ground.call('GET', '/v1/invocations/short/result')).status, 400)
  })

  test('is of its namespace only', async (context) => {
    const ground = await apiGround(context)
    await ground.call('POST', '/v1/namespaces', { body: { name: 'other' } })
    ground.results.push(result({ status: 204 }))
    assert.equal((await ground.call('GET', `${path}?namespace=other`)).status, 404)
    assert.equal((await ground.call('GET', path)).status, 204)
  })

  test('has status, headers and body of the answer, without what belonged to a connection', async (context) => {
    const ground = await apiGround(context)
    const headers = ['content-type', 'text/x', 'set-cookie', 'a=1', 'set-cookie', 'b=2', 'content-length', '99', 'transfer-encoding', 'chunked', 'connection', 'close']
    ground.results.push(result({ status: 418, headers, body: async () => ({ bytes: 4, body: Buffer.from('tea ') }) }))
    const answer = await ground.call('GET', path)
    assert.deepEqual([answer.status, answer.text, answer.headers.get('x-skep-state'), answer.headers.get('x-skep-invocation-id')], [418, 'tea ', 'ended', id])
    assert.deepEqual([answer.headers.get('content-type'), answer.headers.get('content-length'), answer.headers.getSetCookie()], ['text/x', '4', ['a=1', 'b=2']])
  })

  test('streams a large body, and one that breaks off is not taken for whole', async (context) => {
    const ground = await apiGround(context)
    const chunk = Buffer.alloc(1 << 20, 'x')
    ground.results.push(result({ body: async () => ({ bytes: 8 << 20, body: Readable.from(Array.from({ length: 8 }, () => chunk), { objectMode: false }) }) }))
    assert.equal((await ground.call('GET', path)).text.length, 8 << 20)
    async function* broken() {
      yield chunk
      throw new PlatformError('STORE_FAILED', 'damaged')
    }
    ground.results[0] = result({ body: async () => ({ bytes: 8 << 20, body: Readable.from(broken(), { objectMode: false }) }) })
    await assert.rejects(ground.call('GET', path))
    assert.equal(ground.internalErrors.length, 0)
  })

  test('that is an error is that error', async (context) => {
    const ground = await apiGround(context)
    ground.results.push(result({ status: 500, error: { code: 'FUNCTION_THREW', message: 'sorry', stack: 'at f' } }))
    const answer = await ground.call('GET', path)
    assert.deepEqual([answer.status, answer.headers.get('x-skep-error'), answer.headers.get('x-skep-state')], [500, 'FUNCTION_THREW', 'ended'])
    assert.deepEqual(answer.json, { error: { code: 'FUNCTION_THREW', message: 'sorry', stack: 'at f' } })
  })
})
