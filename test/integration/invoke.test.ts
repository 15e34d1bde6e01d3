/**
 * Goal: a request reaches the function as it was sent, and the answer the client as it was given: every handler shape,
 * path, headers, body of any size in either direction; and what the client does (leaving, reading slowly) is felt by the
 * function.
 *
 * Method: one platform in a process of its own, requests over real connections. Functions that stream wait for the test to
 * tell them to go on, by a second request to the same instance, so that "arrives one by one" is shown without timing.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { assertError } from '../kit/http.ts'
import { peakResidentMb, pause, startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

const MB = 1024 * 1024
const fixture = (path: string): string => readFileSync(join(import.meta.dirname, '../functions', path), 'utf8')

/** Says what it was asked, in each shape. */
const shapes: readonly (readonly [name: string, filename: string, text: string])[] = [
  [
    'node-fetch',
    'f.ts',
    `export default {
      async fetch(request: Request, env: Record<string, string>, ctx: { invocationId: string }) {
        const { pathname, searchParams } = new URL(request.url)
        return Response.json({ method: request.method, path: pathname, q: searchParams.get('q'), body: await request.text(), greeting: env.GREETING, id: ctx.invocationId })
      },
    }`,
  ],
  [
    'node-main',
    'f.ts',
    `import { context } from 'skep'
    export function main(params: any) {
      if (params.__ow_method === undefined) return { params }
      return { body: { method: params.__ow_method.toUpperCase(), path: params.__ow_path, q: params.q, body: params.__ow_body, greeting: process.env.GREETING, id: context().invocationId } }
    }`,
  ],
  [
    'node-handler',
    'f.ts',
    `export const handler = async (event: any, context: any) => {
      if (event.rawPath === undefined) return { params: event }
      const body = { method: event.requestContext.http.method, path: event.rawPath, q: event.queryStringParameters?.q, body: event.body, greeting: process.env.GREETING, id: context.awsRequestId }
      return { statusCode: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    }`,
  ],
  [
    'python-main',
    'f.py',
    `import os, skep
def main(params):
    if '__ow_method' not in params:
        return {'params': params}
    return {'body': {'method': params['__ow_method'].upper(), 'path': params['__ow_path'], 'q': params.get('q'), 'body': params.get('__ow_body'),
                     'greeting': os.environ['GREETING'], 'id': skep.context().invocation_id}}`,
  ],
  [
    'python-handler',
    'f.py',
    `import json, os
def handler(event, context):
    if 'rawPath' not in event:
        return {'params': event}
    body = {'method': event['requestContext']['http']['method'], 'path': event['rawPath'], 'q': event.get('queryStringParameters', {}).get('q'), 'body': event.get('body'),
            'greeting': os.environ['GREETING'], 'id': context.aws_request_id}
    return {'statusCode': 200, 'headers': {'content-type': 'application/json'}, 'body': json.dumps(body)}`,
  ],
]

/** One instance, whose streams go on when the test says so. */
const STREAMS = `
  let go = () => {}
  let produced = 0
  let ended = ''
  const encoder = new TextEncoder()
  export default {
    async fetch(request: Request) {
      const { pathname } = new URL(request.url)
      if (pathname === '/go') { go(); return new Response() }
      if (pathname === '/state') return Response.json({ produced, ended })
      if (pathname === '/events') {
        return new Response((async function* () {
          for (let n = 1; n <= 3; n++) {
            const told = new Promise<void>((resolve) => { go = resolve })
            yield encoder.encode('data: ' + n + '\\n\\n')
            await told
          }
        })() as never, { headers: { 'content-type': 'text/event-stream' } })
      }
      if (pathname === '/endless') {
        produced = 0
        const chunk = new Uint8Array(64 * 1024)
        return new Response(new ReadableStream({ pull(controller) { produced += chunk.length; controller.enqueue(chunk) }, cancel() { ended = 'cancelled' } }))
      }
      if (pathname === '/upload') {
        ended = ''
        for await (const chunk of request.body as never as AsyncIterable<Uint8Array>) {
          const told = new Promise<void>((resolve) => { go = resolve })
          produced = chunk.length
          await told
        }
        return new Response('uploaded')
      }
      request.signal.addEventListener('abort', () => { ended = request.signal.reason?.name ?? 'aborted' })
      ended = 'waiting'
      await new Promise(() => {})
    },
  }
`

describe('invoke', () => {
  let platform: TestPlatform

  before(async () => {
    platform = await startTestPlatform()
    for (const [name, filename, text] of shapes) await platform.deployText(name, filename, text, { environment: { GREETING: 'hi' } })
    await platform.deployText('echo', 'echo.ts', fixture('node/echo.ts'))
    await platform.deployText('web', 'fetch.ts', fixture('node/fetch.ts'))
    await platform.deployText('main', 'main.ts', fixture('node/main.ts'))
    await platform.deployText('streams', 'streams.ts', STREAMS, { instancesMax: 1 })
    await platform.deployText('python-streams', 'streams.py', fixture('python/streams.py'))
    await platform.deployText('asgi', 'asgi_app.py', fixture('python/asgi_app.py'))
  })
  after(() => platform[Symbol.asyncDispose]())

  for (const [name] of shapes) {
    test(`${name} sees method, own path, query, body, environment and id of a request`, async () => {
      const answer = await platform.fn(`${name}/a/b%20c?q=1%262`, { method: 'PUT', headers: { 'content-type': 'text/plain' }, body: 'some text' })
      assert.equal(answer.status, 200, answer.text)
      assert.deepEqual(answer.json(), { method: 'PUT', path: '/a/b%20c', q: '1&2', body: 'some text', greeting: 'hi', id: answer.id })
    })

    test(`${name} takes an event and gives its result`, async () => {
      const answer = await platform.invoke(name, { n: 1, nested: { list: [1, 'é'] } })
      assert.equal(answer.status, 200, answer.text)
      if (name === 'node-fetch') assert.equal(answer.json().body, '{"n":1,"nested":{"list":[1,"é"]}}')
      else assert.deepEqual(answer.json(), { params: { n: 1, nested: { list: [1, 'é'] } } })
      const record = await platform.record(answer.id)
      assert.equal(record.origin, 'api')
      assert.equal(record.function, name)
    })
  }

  test('an ASGI application answers, in one piece and as a stream', async () => {
    const whole = await platform.fn('asgi/x', { method: 'POST', body: 'text' })
    assert.deepEqual([whole.status, whole.text, whole.headers['x-started']], [200, 'POST text', 'True'])
    assert.equal((await platform.fn('asgi/stream')).text, '0\n1\n2\n')
  })

  test('the root of a function is "/", with and without a slash or a query', async () => {
    for (const [address, url] of [['web/request', '/request'], ['web/request?a=b', '/request?a=b']] as const) {
      assert.equal(new URL((await platform.fn(address)).json().url).pathname, '/request')
      assert.ok((await platform.fn(address)).json().url.endsWith(url), url)
    }
    for (const address of ['node-fetch', 'node-fetch/', 'node-fetch?q=7']) assert.equal((await platform.fn(address)).json().path, '/', address)
    assert.equal((await platform.fn('node-fetch?q=7')).json().q, '7')
  })

  test('headers of the connection and the platform\'s key do not reach the function; where it came from does', async () => {
    const answer = await platform.fn('web/request', {
      headers: {
        'X-Own': 'kept',
        accept: ['text/a', 'text/b'],
        'X-Forwarded-For': '6.6.6.6',
        'X-Forwarded-Prefix': '/forged',
        te: 'trailers',
        'proxy-authorization': 'Basic x',
        'keep-alive': 'timeout=5',
        connection: 'keep-alive, X-Hop',
        'x-hop': 'of this connection only',
      },
    })
    const { headers } = answer.json<{ headers: Record<string, string> }>()
    assert.equal(headers['x-own'], 'kept')
    assert.equal(headers['accept'], 'text/a, text/b')
    assert.equal(headers['host'], new URL(platform.url).host)
    assert.match(headers['x-forwarded-for']!, /^(::ffff:)?127\.0\.0\.1$/)
    assert.equal(headers['x-forwarded-prefix'], `/fn/${platform.namespace}/web`)
    for (const name of ['authorization', 'connection', 'keep-alive', 'te', 'proxy-authorization', 'transfer-encoding', 'x-hop']) assert.equal(headers[name], undefined, name)
  })

  test('an answer keeps status and headers, also repeated ones, and names its invocation and how it started', async () => {
    const answer = await platform.fn('web/cookies')
    assert.equal(answer.status, 201)
    assert.deepEqual(answer.headers['set-cookie'], ['a=1', 'b=2'])
    assert.equal(answer.headers['x-one'], '1')
    assert.match(answer.id, /^[0-9a-f]{32}$/)
    assert.match(String(answer.headers['x-skep-start']), /^(cold|warm)$/)
    const parts = await platform.fn('main?give=parts')
    assert.deepEqual([parts.status, parts.text, parts.headers['set-cookie']], [201, '<p>hi</p>', ['a', 'b']])
  })

  test('bodies that are empty stay so: no content, no body, HEAD', async () => {
    const empty = await platform.fn('web/empty')
    assert.deepEqual([empty.status, empty.body.length, empty.headers['content-length']], [204, 0, undefined])
    const none = await platform.fn('main?give=nothing')
    assert.deepEqual([none.status, none.body.length], [204, 0])
    const head = await platform.fn('web/hello', { method: 'HEAD' })
    assert.deepEqual([head.status, head.body.length], [200, 0])
    assert.equal((await platform.fn('web/request', { method: 'POST', body: '' })).json().body, '')
    // The connection is as usable afterwards as before.
    assert.equal((await platform.fn('web/hello')).text, 'hello')
  })

  test('a body of any bytes comes back as it went, in Node and Python', async () => {
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7) % 256))
    assert.deepEqual((await platform.fn('echo', { method: 'POST', body: bytes })).body, bytes)
    assert.deepEqual((await platform.fn('echo', { method: 'POST', body: bytes.subarray(0, 1000) })).body, bytes.subarray(0, 1000))
    assert.deepEqual((await platform.fn('main?give=bytes')).body, Buffer.from([1, 2, 255]))
    const counted = await platform.fn('python-streams', { method: 'POST', body: bytes })
    assert.deepEqual(counted.json(), { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') })
  })

  test('1 MB goes there and back, whole and in chunks', async () => {
    const body = Buffer.alloc(MB, 'skep')
    assert.ok((await platform.fn('echo', { method: 'POST', body })).body.equals(body))
    const chunks = Array.from({ length: 64 }, (_, index) => body.subarray(index * 16_384, (index + 1) * 16_384))
    assert.ok((await platform.fn('echo', { method: 'POST', body: Readable.from(chunks) })).body.equals(body))
    assert.deepEqual((await platform.fn('echo/count', { method: 'POST', body })).json(), { bytes: MB })
  })

  test('300 MB stream through without the platform holding them', async () => {
    const sent = createHash('sha256')
    const received = createHash('sha256')
    let bytes = 0
    // The first large body makes buffers that stay: not what is asked here.
    await platform.fn('echo', { method: 'POST', body: Buffer.alloc(8 * MB) })
    const { beforeMb, peakMb } = await peakResidentMb(platform.pid, async () => {
      const body = Readable.from(
        (function* () {
          for (let index = 0; index < 4800; index++) {
            const chunk = Buffer.alloc(64 * 1024, index)
            sent.update(chunk)
            yield chunk
          }
        })(),
      )
      const { response } = await platform.open('echo', { method: 'POST', body })
      for await (const chunk of response as AsyncIterable<Buffer>) {
        received.update(chunk)
        bytes += chunk.length
      }
    })
    assert.equal(bytes, 300 * MB)
    assert.equal(received.digest('hex'), sent.digest('hex'))
    // Chunks that have left are collected when there are 64 MB of them, or later where the machine is busy.
    assert.ok(peakMb - beforeMb < 180, `the platform grew from ${beforeMb} MB to ${peakMb} MB`)
  })

  test('Python streams 20 MB out', async () => {
    const answer = await platform.fn('python-streams?what=produce&count=320&size=65536')
    assert.equal(answer.body.length, 20 * MB)
  })

  test('server-sent events arrive one by one, each before the next is made', async () => {
    const { response } = await platform.open('streams/events')
    assert.equal(response.headers['content-type'], 'text/event-stream')
    const chunks = (response as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
    for (let n = 1; n <= 3; n++) {
      assert.equal((await chunks.next()).value?.toString(), `data: ${n}\n\n`)
      await platform.fn('streams/go')
    }
    assert.equal((await chunks.next()).done, true)
  })

  test('a request\'s body arrives as it is sent, each chunk before the next is made', async () => {
    const sizes: number[] = []
    const body = Readable.from(
      (async function* () {
        for (const size of [1, 2, 3]) {
          yield Buffer.alloc(size)
          await until(async () => (await platform.fn('streams/state')).json().produced === size, `the function has ${size} bytes`)
          sizes.push(size)
          await platform.fn('streams/go')
        }
      })(),
    )
    assert.equal((await platform.fn('streams/upload', { method: 'POST', body })).text, 'uploaded')
    assert.deepEqual(sizes, [1, 2, 3])
  })

  test('a client that goes away cancels: the stream ends, and the record says CANCELLED', async () => {
    const { request, response, id } = await platform.open('streams/endless')
    response.once('data', () => request.destroy())
    await until(async () => (await platform.fn('streams/state')).json().ended === 'cancelled', 'the stream is cancelled')
    const record = await platform.record(id)
    assert.deepEqual([record.outcome, record.error?.code, record.status], ['error', 'CANCELLED', 499])
  })

  test('a client that goes away before the answer began cancels too: its signal aborts', async () => {
    const { invocations: earlier } = (await platform.send('/v1/invocations?function=streams&status=error')).json()
    const request = httpRequest(`${platform.url}/fn/${platform.namespace}/streams/wait`, { headers: { authorization: `Bearer ${platform.key}` } })
    request.on('error', () => {})
    request.end()
    await until(async () => (await platform.fn('streams/state')).json().ended === 'waiting', 'the function waits')
    request.destroy()
    await until(async () => (await platform.fn('streams/state')).json().ended === 'AbortError', 'the signal is aborted')
    const failed = await until(async () => {
      const { invocations } = (await platform.send('/v1/invocations?function=streams&status=error')).json()
      return invocations.length > earlier.length ? invocations[0] : undefined
    }, 'there is a record')
    assert.equal(failed.error.code, 'CANCELLED')
    assert.equal(failed.status, 499)
  })

  test('a slow reader slows the function down, and the platform keeps nothing for it', async () => {
    const { request, response } = await platform.open('streams/endless')
    response.pause()
    const produced = async (): Promise<number> => (await platform.fn('streams/state')).json().produced
    let before = -1
    const { beforeMb, peakMb } = await peakResidentMb(platform.pid, () =>
      until(async () => {
        const now = await produced()
        await pause(200)
        const isSame = now === before
        before = now
        return isSame
      }, 'the function has stopped producing').then(() => {}),
    )
    const stoppedAt = await produced()
    // What the kernel's socket buffers and the credits hold: far from endless.
    assert.ok(stoppedAt < 16 * MB, `it produced ${stoppedAt} bytes for a reader that reads none`)
    assert.ok(peakMb - beforeMb < 32, `the platform grew from ${beforeMb} MB to ${peakMb} MB`)
    let read = 0
    for await (const chunk of response as AsyncIterable<Buffer>) {
      read += chunk.length
      if (read > stoppedAt + 4 * MB) break
    }
    assert.ok((await produced()) > stoppedAt)
    request.destroy()
  })

  test('an answer that breaks off is never taken for a whole one', async () => {
    const answer = platform.fn('python-streams?what=fail-later')
    await assert.rejects(answer, /broke off|aborted|ECONNRESET|hang up/)
    const first = await platform.fn('python-streams?what=fail-first')
    assertError(first, 'FUNCTION_THREW', /broke off/)
  })
})
