/**
 * Goal: a client gets the answer as the function gave it, can always tell one that broke off, and slows the function down
 * when it is slow itself.
 *
 * Method: a real HTTP server whose every response has a sink; the test makes the calls that a queue proxy makes.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { testBody } from '#contract/held-body.fake.ts'
import { testInvocation } from '#contract/invocation.fake.ts'
import { serve } from './http.fake.ts'
import type { TestServer } from './http.fake.ts'
import { HttpSink } from './http-sink.ts'

const nothing = (): void => {}

function serveSinks(context: TestContext, answer: (sink: HttpSink) => void): Promise<TestServer> {
  return serve(context, (request, response) => {
    request.resume()
    const sink = new HttpSink(response)
    sink.invocation = testInvocation(new ManualClock()).invocation
    sink.invocation.start = 'warm'
    answer(sink)
  })
}

describe('a held answer', () => {
  const content = Buffer.alloc(700_001, 'held content')

  test('arrives whole with its length, whatever the function says of it, and is let go (H3, H4)', async (context) => {
    const { body, released } = testBody(content)
    const server = await serveSinks(context, (sink) => sink.head(200, ['content-length', '5', 'x-a', '1'], body, true))
    const response = await fetch(`http://127.0.0.1:${server.port}/`)
    assert.deepEqual([response.headers.get('content-length'), response.headers.get('x-a')], [String(content.length), '1'])
    assert.ok(Buffer.from(await response.arrayBuffer()).equals(content))
    await released
  })

  test('has no body where there must be none', async (context) => {
    for (const [method, status, length] of [['HEAD', 200, String(content.length)], ['GET', 204, undefined], ['GET', 304, undefined]] as const) {
      const { body, released } = testBody(content)
      const server = await serveSinks(context, (sink) => sink.head(status, [], body, true))
      const { headers, text } = await server.ask('/', { method })
      assert.deepEqual([headers['content-length'], text], [length, ''])
      await released
    }
  })

  test('is let go when the client goes away (H4)', async (context) => {
    const { body, released } = testBody(Buffer.alloc(50_000_000))
    const server = await serveSinks(context, (sink) => sink.head(200, [], body, true))
    const response = await fetch(`http://127.0.0.1:${server.port}/`)
    const reader = response.body!.getReader()
    await reader.read()
    await reader.cancel()
    await released
  })
})

describe('a whole answer', () => {
  test('arrives with its status, headers and length, and with its invocation\'s id', async (context) => {
    const server = await serveSinks(context, (sink) => sink.head(201, ['x-a', '1', 'set-cookie', 'a', 'set-cookie', 'b'], Buffer.from('whole'), true))
    const { status, headers, text } = await server.ask('/')
    assert.deepEqual([status, text, headers['x-a'], headers['set-cookie'], headers['content-length'], headers['x-skep-start']], [201, 'whole', '1', ['a', 'b'], '5', 'warm'])
    assert.match(headers['x-skep-invocation-id'] as string, /^[0-9a-f]{32}$/)
  })

  test('has its own headers, whether its array of them was seen before or not', async (context) => {
    const arrays = Array.from({ length: 12 }, (_, index) => ['X-Number', String(index), 'Connection', 'close', 'Content-Length', '99'])
    let next = 0
    const server = await serveSinks(context, (sink) => sink.head(200, arrays[next]!, Buffer.from('whole'), true))
    for (const index of [0, 0, 1, 0, ...arrays.keys(), ...arrays.keys(), 3, 3]) {
      next = index
      const { headers } = await server.ask('/')
      assert.deepEqual([headers['x-number'], headers['content-length']], [String(index), '5'])
    }
    assert.deepEqual(arrays[0], ['X-Number', '0', 'Connection', 'close', 'Content-Length', '99'])
  })

  test('of any bytes and size arrives as it is', async (context) => {
    for (const bytes of [1, 4095, 4096, 4097, 65_536]) {
      const body = Buffer.from(Array.from({ length: bytes }, (_, index) => index & 0xff))
      const server = await serveSinks(context, (sink) => sink.head(200, [], body, true))
      const response = await fetch(`http://127.0.0.1:${server.port}/`)
      assert(Buffer.from(await response.arrayBuffer()).equals(body), `${bytes} bytes`)
    }
  })

  test('without a body says so, except where a length must not be said', async (context) => {
    for (const [status, length] of [[200, '0'], [204, undefined], [304, undefined]] as const) {
      const server = await serveSinks(context, (sink) => sink.head(status, [], undefined, true))
      const answer = await server.ask('/')
      assert.deepEqual([answer.status, answer.headers['content-length'], answer.text], [status, length, ''])
    }
  })

  test('to HEAD has the length that the function says', async (context) => {
    const server = await serveSinks(context, (sink) => sink.head(200, ['content-length', '1234'], undefined, true))
    const { headers, text } = await server.ask('/', { method: 'HEAD' })
    assert.deepEqual([headers['content-length'], text], ['1234', ''])
  })

  test('does not pass on what belongs to a connection', async (context) => {
    const server = await serveSinks(context, (sink) => sink.head(200, ['connection', 'upgrade', 'transfer-encoding', 'chunked', 'keep-alive', 'timeout=1', 'upgrade', 'x', 'x-kept', 'y'], Buffer.from('body'), true))
    const { headers, text } = await server.ask('/')
    assert.deepEqual([headers['transfer-encoding'], headers['upgrade'], headers['x-kept'], text], [undefined, undefined, 'y', 'body'])
  })
})

describe('a length that a function states', () => {
  /** The answer, and then another on the same connection: nothing of the first may be taken for the second. */
  async function twoAnswers(context: TestContext, first: (sink: HttpSink) => void): Promise<string[]> {
    let count = 0
    const server = await serveSinks(context, (sink) => (count++ === 0 ? first(sink) : sink.head(200, [], Buffer.from('SECOND'), true)))
    const all = await server.raw('GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
    return all.split('HTTP/1.1 200 OK\r\n').slice(1)
  }

  test('does not contradict a whole body (H3)', async (context) => {
    for (const stated of [['content-length', '2'], ['content-length', '999'], ['content-length', 'x'], ['content-length', '2', 'content-length', '4']]) {
      const [first, second] = await twoAnswers(context, (sink) => sink.head(200, stated, Buffer.from('FIRST'), true))
      assert.match(first!, /content-length: 5\r\n[^]*\r\n\r\nFIRST$/)
      assert.equal(first!.match(/content-length/g)!.length, 1)
      assert.match(second!, /SECOND$/)
    }
  })

  test('that a stream does not keep cuts the connection, and nothing beyond it is sent (H1, H3)', async (context) => {
    for (const [stated, sent] of [['5', 'FIRST'], ['3', 'FIRST'], ['9', 'FIRST']] as const) {
      const answers = await twoAnswers(context, (sink) => {
        sink.head(200, ['content-length', stated], Buffer.from(sent.slice(0, 2)), false)
        sink.data(Buffer.from(sent.slice(2)), false, nothing)
        sink.data(Buffer.alloc(0), true, nothing)
      })
      if (Number(stated) === sent.length) {
        assert.deepEqual(answers.map((one) => one.slice(one.indexOf('\r\n\r\n') + 4).trim()), ['FIRST', 'SECOND'])
      } else {
        const body = answers[0]?.slice(answers[0].indexOf('\r\n\r\n') + 4) ?? ''
        assert(answers.length <= 1 && body.length <= Number(stated) && sent.startsWith(body), `stated ${stated}: ${answers}`)
      }
    }
  })
})

describe('an answer that streams', () => {
  test('sends its head at once, and each piece as it comes', async (context) => {
    const sinks: HttpSink[] = []
    const server = await serveSinks(context, (sink) => sinks.push(sink) && sink.head(200, ['content-type', 'text/event-stream'], undefined, false))
    const response = await fetch(`http://127.0.0.1:${server.port}/`)
    const reader = response.body!.getReader()
    sinks[0]!.data(Buffer.from('one'), false, nothing)
    assert.equal(Buffer.from((await reader.read()).value!).toString(), 'one')
    sinks[0]!.data(Buffer.from('two'), true, nothing)
    assert.equal(Buffer.from((await reader.read()).value!).toString(), 'two')
    assert.equal((await reader.read()).done, true)
  })

  test('that breaks off cuts the connection: it is never taken for whole (H1)', async (context) => {
    const server = await serveSinks(context, (sink) => {
      sink.head(200, [], Buffer.from('half'), false)
      setImmediate(() => sink.fail(new PlatformError('FUNCTION_EXITED', 'it died')))
    })
    const answer = await server.ask('/')
    assert.deepEqual([answer.status, answer.complete], [200, false])
  })

  test('gives credit only for what has left this process (H2)', async (context) => {
    let consumed = 0
    const chunk = Buffer.alloc(64 * 1024)
    const sent = Promise.withResolvers<HttpSink>()
    const server = await serveSinks(context, (sink) => {
      sink.head(200, [], undefined, false)
      sent.resolve(sink)
    })
    const socket = server.connect()
    socket.pause()
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    const sink = await sent.promise
    // More than the kernel's buffers of a connection that nobody reads.
    const chunks = 400
    for (let count = 0; count < chunks; count++) sink.data(chunk, false, () => consumed++)
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert(consumed < chunks, `${consumed} chunks went nowhere`)
    socket.resume()
    await new Promise<void>((resolve) => sink.data(Buffer.from('x'), true, resolve))
    assert.equal(consumed, chunks)
  })

  test('for a client that is gone goes nowhere, and nobody is hurt', async (context) => {
    const gone = Promise.withResolvers<void>()
    const server = await serve(context, (_request, response) => {
      const sink = new HttpSink(response)
      sink.invocation = testInvocation(new ManualClock()).invocation
      sink.head(200, [], Buffer.from('a'), false)
      response.on('close', () => {
        sink.data(Buffer.from('b'), false, nothing)
        sink.data(Buffer.from('c'), true, nothing)
        sink.fail(new PlatformError('CANCELLED', 'gone'))
        gone.resolve()
      })
    })
    const socket = server.connect()
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    socket.once('data', () => socket.destroy())
    await gone.promise
  })
})

test('a failure before the head is a whole answer of the error table, with the invocation\'s id', async (context) => {
  const server = await serveSinks(context, (sink) => sink.fail(new PlatformError('QUEUE_FULL', 'full', { details: { retryAfterMs: 1200 } })))
  const { status, headers, json } = await server.ask('/')
  assert.deepEqual([status, headers['x-skep-error'], headers['retry-after'], json().error.code], [503, 'QUEUE_FULL', '2', 'QUEUE_FULL'])
  assert.match(headers['x-skep-invocation-id'] as string, /^[0-9a-f]{32}$/)
})
