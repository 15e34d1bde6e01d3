/**
 * Goal: an asynchronous invocation that was accepted runs, as often as it must and no oftener than it should; its result
 * can be had, its failure is kept, and who asked to be told is told.
 *
 * Method: one platform; functions that fail on purpose on certain attempts and say in their answers which attempt it is.
 * Backoffs are configured to be short. What must survive a crash is in crash.test.ts.
 */
import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { assertError } from '../kit/http.ts'
import type { Answer } from '../kit/http.ts'
import { pause, startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

const prefer = { prefer: 'respond-async' }

/** Fails until attempt params.until; then answers with the attempt. */
const FLAKY = `
  import { context } from 'skep'
  export function main(params: any) {
    const { attempt } = context()
    if (attempt < params.until) throw new Error('not on attempt ' + attempt)
    return { attempt, got: params.got }
  }
`
const FLAKY_PYTHON = `
import skep
def main(params):
    attempt = skep.context().attempt
    if attempt < params['until']:
        raise RuntimeError('not on attempt %d' % attempt)
    return {'attempt': attempt}
`
/** Keeps what it got, in the memory of its one instance, until it is asked for it with GET. */
const KEEPS = `
  const kept: unknown[] = []
  export default {
    async fetch(request: Request) {
      if (request.method === 'GET') return Response.json(kept)
      kept.push(await request.json())
      return new Response()
    },
  }
`
const MEASURES = `
  import { createHash } from 'node:crypto'
  export default {
    async fetch(request: Request) {
      const hash = createHash('sha256')
      let bytes = 0
      for await (const chunk of request.body as never as AsyncIterable<Uint8Array>) { hash.update(chunk); bytes += chunk.length }
      return Response.json({ bytes, sha256: hash.digest('hex') }, { headers: { 'x-kept': 'yes' }, status: 201 })
    },
  }
`

describe('asynchronous invocations', () => {
  let platform: TestPlatform

  const result = (id: string): Promise<Answer> => until(async () => {
    const answer = await platform.send(`/v1/invocations/${id}/result`)
    return answer.status === 202 ? undefined : answer
  }, `invocation ${id} has a result`)

  before(async () => {
    platform = await startTestPlatform()
    await platform.deployText('flaky', 'flaky.ts', FLAKY, { retryBackoffMs: 20, retriesMax: 3 })
    await platform.deployText('flaky-python', 'flaky.py', FLAKY_PYTHON, { retryBackoffMs: 20, retriesMax: 3 })
    await platform.deployText('keeps', 'keeps.ts', KEEPS, { instancesMax: 1 })
    await platform.deployText('measures', 'measures.ts', MEASURES)
    await platform.deployText('slow', 'slow.ts', 'export async function main() { await new Promise((resolve) => setTimeout(resolve, 700)); return { slow: true } }')
  })
  after(() => platform[Symbol.asyncDispose]())

  test('is accepted with 202 and its id, at either address, and then runs', async () => {
    for (const accept of [
      () => platform.invoke('flaky', { until: 1, got: 'x' }, prefer),
      () => platform.send('/v1/functions/flaky/invocations?async=true', { method: 'POST', body: '{"until":1,"got":"x"}' }),
      () => platform.fn('flaky', { method: 'POST', headers: { ...prefer, 'content-type': 'application/json' }, body: '{"until":1,"got":"x"}' }),
    ]) {
      const accepted = await accept()
      assert.equal(accepted.status, 202, accepted.text)
      const { id } = accepted.json<{ id: string }>()
      assert.equal(accepted.id, id)
      assert.equal(accepted.headers.location, `/v1/invocations/${id}`)
      const record = await platform.record(id)
      assert.deepEqual([record.origin, record.outcome, record.attempt, record.function], ['async', 'ok', 1, 'flaky'])
    }
  })

  test('its answer is kept with status, headers and body; 202 while it runs', async () => {
    const { id } = (await platform.invoke('slow', {}, prefer)).json()
    const running = await platform.send(`/v1/invocations/${id}/result`)
    assert.equal(running.status, 202, running.text)
    const answer = await result(id)
    assert.deepEqual([answer.status, answer.headers['content-type'], answer.text], [200, 'application/json', '{"slow":true}'])

    const measured = await result((await platform.fn('measures', { method: 'POST', headers: prefer, body: 'abc' })).json().id)
    assert.deepEqual([measured.status, measured.headers['x-kept'], measured.json().bytes], [201, 'yes', 3])
    assertError(await platform.send(`/v1/invocations/${'0'.repeat(32)}/result`), 'INVOCATION_NOT_FOUND')
  })

  test('while it runs or waits, its view says queued', async () => {
    const { id } = (await platform.invoke('slow', {}, prefer)).json()
    const view = (await platform.send(`/v1/invocations/${id}`)).json()
    assert.deepEqual([view.state, view.function, view.id], ['queued', 'slow', id])
    assert.equal((await platform.record(id)).outcome, 'ok')
  })

  for (const name of ['flaky', 'flaky-python']) {
    test(`${name}: a failure is tried again later, and the function sees which attempt it is`, async () => {
      const startMs = performance.now()
      const { id } = (await platform.invoke(name, { until: 4 }, prefer)).json()
      const record = await platform.record(id)
      assert.deepEqual([record.outcome, record.attempt], ['ok', 4])
      assert.deepEqual((await result(id)).json(), { attempt: 4 })
      // At least the fixed half of 20, 40 and 80 ms.
      assert.ok(performance.now() - startMs >= 70)
    })
  }

  test('what fails for good is among the dead letters with its reason; redriven, it runs with all its attempts', async () => {
    await platform.deployText('dead', 'dead.ts', 'export function main() { throw new Error("always") }', { retryBackoffMs: 5, retriesMax: 2 })
    const { id } = (await platform.invoke('dead', {}, prefer)).json()
    const letter = (letterId: string): Promise<{ reason: string; attempt: number; function: string }> =>
      until(async () => (await platform.send('/v1/async/dead')).json<{ dead: any[] }>().dead.find((one) => one.id === letterId), 'it is dead')
    const dead = await letter(id)
    assert.match(dead.reason, /always/)
    assert.deepEqual([dead.attempt, dead.function], [3, 'dead'])
    const record = await platform.record(id)
    assert.deepEqual([record.outcome, record.error?.code, record.attempt], ['error', 'FUNCTION_THREW', 3])

    await platform.deployText('dead', 'dead.ts', 'export function main() { return "mended" }')
    const redriven = await platform.send('/v1/async/redrive', { method: 'POST', body: JSON.stringify({ ids: [id] }) })
    assert.deepEqual(redriven.json(), { redriven: 1 })
    const mended = await until(async () => {
      const now = await platform.record(id)
      return now.outcome === 'ok' ? now : undefined
    }, 'it has run again')
    assert.equal(mended.attempt, 1)
    assert.ok(!(await platform.send('/v1/async/dead')).json<{ dead: any[] }>().dead.some((one) => one.id === id))
    assert.deepEqual((await platform.send('/v1/async/redrive', { method: 'POST', body: JSON.stringify({ ids: [id] }) })).json(), { redriven: 0 })
  })

  test('retriesMax 0 gives one attempt', async () => {
    await platform.deployText('once', 'once.ts', FLAKY, { retriesMax: 0 })
    const { id } = (await platform.invoke('once', { until: 2 }, prefer)).json()
    const dead = await until(async () => (await platform.send('/v1/async/dead')).json<{ dead: any[] }>().dead.find((one) => one.id === id), 'it is dead')
    assert.equal(dead.attempt, 1)
  })

  test('an idempotency key gives one invocation however often it is sent, also at once', async () => {
    const headers = { ...prefer, 'idempotency-key': randomUUID(), 'content-type': 'application/json' }
    const mark = randomUUID()
    const send = (): Promise<Answer> => platform.fn('keeps', { method: 'POST', headers, body: JSON.stringify({ mark }) })
    const answers = await Promise.all(Array.from({ length: 20 }, send))
    const ids = new Set(answers.map((answer) => answer.json().id))
    assert.equal(ids.size, 1)
    const [id] = ids
    await platform.record(id!)
    assert.equal((await send()).json().id, id)
    await pause(300)
    const kept = (await platform.fn('keeps')).json<any[]>().filter((one) => one.mark === mark)
    assert.equal(kept.length, 1)
    const other = await platform.fn('keeps', { method: 'POST', headers: { ...headers, 'idempotency-key': randomUUID() }, body: '{}' })
    assert.notEqual(other.json().id, id)
  })

  test('a callback to a function brings it the result', async () => {
    const { id } = (await platform.invoke('flaky', { until: 2, got: 'callback' }, { ...prefer, 'x-callback-url': 'function:keeps' })).json()
    const told = await until(async () => (await platform.fn('keeps')).json<any[]>().find((one) => one.id === id), 'the function is told')
    assert.equal(told.status, 200)
    assert.deepEqual(JSON.parse(Buffer.from(told.body, 'base64').toString()), { attempt: 2, got: 'callback' })
  })

  test('a callback to an HTTP server brings it the result, also of a failure, and is tried again', async () => {
    const told: { id: string; status: number; error?: { code: string } }[] = []
    let refusals = 1
    const server = createServer((request, response) => {
      void text(request).then((body) => {
        if (refusals-- > 0) return response.writeHead(503).end()
        told.push(JSON.parse(body))
        response.end()
      })
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/done`
    try {
      const good = (await platform.invoke('flaky', { until: 1 }, { ...prefer, 'x-callback-url': url })).json().id
      await until(() => told.some((one) => one.id === good && one.status === 200), 'the server is told')
      await platform.deployText('hopeless', 'f.ts', FLAKY, { retriesMax: 0 })
      const bad = (await platform.invoke('hopeless', { until: 9 }, { ...prefer, 'x-callback-url': url })).json().id
      const failure = await until(() => told.find((one) => one.id === bad), 'the server is told of the failure')
      assert.deepEqual([failure.status, failure.error?.code], [500, 'FUNCTION_THREW'])
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  test('a body of 5 MB goes by way of the blobs, and comes back as a result of any size', async () => {
    const body = Buffer.alloc(5 * 1024 * 1024, 'large')
    const accepted = await platform.fn('measures', { method: 'POST', headers: prefer, body })
    assert.equal(accepted.status, 202)
    const record = await platform.record(accepted.json().id)
    assert.equal(record.bytesIn, body.length)
    assert.deepEqual((await result(accepted.json().id)).json(), { bytes: body.length, sha256: createHash('sha256').update(body).digest('hex') })

    await platform.deployText('large', 'large.ts', 'export default { fetch() { return new Response(new Uint8Array(3_000_000).fill(7)) } }')
    const { id } = (await platform.fn('large', { headers: prefer })).json()
    const answer = await result(id)
    assert.ok(answer.body.equals(Buffer.alloc(3_000_000, 7)))
  })

  test('a function that is deleted while its work waits leaves dead letters, not silence', async () => {
    await platform.deployText('gone', 'f.ts', FLAKY, { retryBackoffMs: 500 })
    const { id } = (await platform.invoke('gone', { until: 2 }, prefer)).json()
    await until(async () => (await platform.send('/v1/invocations?function=gone&status=error')).json().invocations.length === 1, 'the first attempt has failed')
    assert.equal((await platform.send('/v1/functions/gone', { method: 'DELETE' })).status, 204)
    const dead = await until(async () => (await platform.send('/v1/async/dead')).json<{ dead: any[] }>().dead.find((one) => one.id === id), 'it is dead')
    assert.match(dead.reason, /does not exist any more/)
  })
})
