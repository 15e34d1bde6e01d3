/**
 * Goal: a handler written for OpenWhisk, for AWS Lambda or as a web application runs unchanged, and its answers mean the same.
 *
 * Method: the real runtime loads fixtures of test/functions/python; the test is the platform on the other end of the channel.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import { needsPython, startFunction } from './start-python.ts'
import type { RuntimePeer } from './runtime-peer.ts'

const json = { 'content-type': 'application/json' }

describe('main(params)', needsPython, () => {
  test('gets an event as it is, and answers with JSON', async () => {
    await using peer = await startFunction('echo_main.py')
    const answer = await peer.event({ name: 'Ada', list: [1, 2] })
    assert.equal(answer.status, 200)
    assert.deepEqual(answer.headers, json)
    assert.deepEqual(answer.json, { name: 'Ada', list: [1, 2] })
    assert.ok(answer.usage !== undefined && answer.usage.memoryPeakKb > 1000)
    assert.deepEqual((await peer.event({ answer: null })).json, null)
  })

  test('gets query, JSON members and form fields of a request, the body above the query', async () => {
    await using peer = await startFunction('echo_main.py')
    const query = (await peer.http({ path: '/a/b?x=1&y=two%20words', headers: { host: 'h', 'x-many': 'a' } })).json as Record<string, unknown>
    assert.deepEqual(query, { x: '1', y: 'two words', __ow_method: 'get', __ow_headers: { host: 'h', 'x-many': 'a' }, __ow_path: '/a/b', __ow_query: 'x=1&y=two%20words' })

    const posted = (await peer.http({ method: 'POST', path: '/?x=1', headers: json, body: '{"x":2,"__ow_method":"forged"}' })).json as Record<string, unknown>
    assert.equal(posted.x, 2)
    assert.equal(posted.__ow_method, 'post')

    const form = (await peer.http({ method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'a=1&b=%C3%BC&c=' })).json as Record<string, unknown>
    assert.deepEqual([form.a, form.b, form.c], ['1', 'ü', ''])

    const text = (await peer.http({ method: 'PUT', headers: { 'content-type': 'text/plain' }, body: 'as is' })).json as Record<string, unknown>
    assert.equal(text.__ow_body, 'as is')
    const binary = (await peer.http({ method: 'PUT', headers: { 'content-type': 'image/png' }, body: Buffer.from([137, 80]) })).json as Record<string, unknown>
    assert.equal(binary.__ow_body, 'iVA=')
  })

  test('refuses a request body that says it is JSON and is not', async () => {
    await using peer = await startFunction('echo_main.py')
    await assert.rejects(peer.http({ method: 'POST', headers: json, body: '{"x":' }), (error) => error instanceof PlatformError && error.code === 'JSON_INVALID')
    await assert.rejects(peer.http({ method: 'POST', headers: json, body: Buffer.from([0x7b, 0xff]) }), /not UTF-8: byte 1/)
  })

  describe('answers', () => {
    let peer: RuntimePeer
    before(async () => { peer = await startFunction('returns.py') })
    after(async () => { await peer[Symbol.asyncDispose]() })
    const ask = (what: string) => peer.http({ path: `/?what=${what}` })

    test('take their kind from the value', async () => {
      assert.equal((await ask('none')).status, 204)
      const text = await ask('text')
      assert.deepEqual([text.text, text.headers['content-type']], ['grüße', 'text/plain; charset=utf-8'])
      const bytes = await ask('bytes')
      assert.deepEqual([...bytes.body, bytes.headers['content-type']], [0, 255, 'application/octet-stream'])
      assert.deepEqual((await ask('list')).json, [1, 'two', null])
      assert.equal((await ask('number')).text, '42')
    })

    test('are taken apart when they describe an answer', async () => {
      const made = await ask('described')
      assert.equal(made.status, 201)
      assert.deepEqual(made.headers, { 'x-one': '1', 'set-cookie': 'a=1, b=2', 'content-type': 'application/json' })
      assert.deepEqual(made.json, { made: true })
      assert.equal((await ask('html')).headers['content-type'], 'text/html; charset=utf-8')
      assert.deepEqual([...(await ask('image')).body], [137, 80, 78, 71])
    })

    test('with an error get status 500, or the one they name', async () => {
      const failed = await ask('error')
      assert.deepEqual([failed.status, failed.json], [500, { error: 'it does not fit' }])
      const missing = await ask('error404')
      assert.deepEqual([missing.status, missing.json], [404, { error: 'not here' }])
      const closed = await ask('error-inside')
      assert.deepEqual([closed.status, closed.json], [403, { why: 'closed' }])
      assert.equal((await peer.event({ what: 'error' })).status, 500)
    })

    test('of any size arrive whole, within credit', async () => {
      assert.equal(((await ask('large')).json as { text: string }).text.length, 1_000_000)
      assert.equal((await ask('file')).body.length, 200_000)
    })

    for (const [what, expected] of [
      ['date', '$.rows[0].when is of type date'],
      ['set', '$.names is of type set'],
      ['nan', '$[1] is the number nan'],
      ['key', '$ is a dict with a key of type tuple'],
      ['looped', '$[0] is part of itself'],
      ['status', 'statusCode is 99'],
      ['header', 'header x-bad has a character'],
      ['yields-dict', 'yields str or bytes, not dict'],
    ] as const) {
      test(`that cannot be sent say why: ${what}`, async () => {
        await assert.rejects(ask(what), (error) => {
          assert.ok(error instanceof PlatformError)
          assert.equal(error.code, 'ANSWER_INVALID')
          assert.ok(error.message.includes(expected), error.message)
          return true
        })
      })
    }
  })
})

describe('handler(event, context)', needsPython, () => {
  test('gets a function-URL event with the members of a JSON body, and a context', async () => {
    await using peer = await startFunction('lambda_handler.py', { function: 'shop', revision: 7, memoryMb: 128 })
    const event = (await peer.http({
      method: 'POST',
      path: '/orders?a=1&a=2',
      headers: { ...json, host: 'h', cookie: 'x=1; y=2' },
      body: '{"item":"tea","version":"9"}',
    })).json as Record<string, any> // eslint-disable-line
    assert.equal(event.version, '2.0', 'a member of the body never replaces one of the event')
    assert.deepEqual([event.rawPath, event.rawQueryString, event.queryStringParameters, event.cookies], ['/orders', 'a=1&a=2', { a: '1,2' }, ['x=1', 'y=2']])
    assert.deepEqual([event.body, event.isBase64Encoded, event.item], ['{"item":"tea","version":"9"}', false, 'tea'])
    assert.equal(event.requestContext.http.method, 'POST')

    const context = (await peer.event({ want: 'context' }, { d: Date.now() + 5000 })).json as Record<string, unknown>
    assert.deepEqual([context.id, context.name, context.version, context.memory], ['f'.repeat(32), 'shop', '7', 128])
    assert.ok(Number(context.remaining) > 1000 && Number(context.remaining) <= 5000)
  })

  test('answers as Lambda does: by statusCode, otherwise JSON', async () => {
    await using peer = await startFunction('lambda_handler.py')
    const csv = await peer.http({ method: 'POST', headers: json, body: '{"want":"described"}' })
    assert.deepEqual([csv.status, csv.text, csv.headers], [202, 'a,b\n', { 'content-type': 'text/csv', 'set-cookie': 'a=1' }])
    assert.deepEqual((await peer.event({ error: 'is only a member here' })).status, 200)
  })

  test('with binary bodies are given base64', async () => {
    await using peer = await startFunction('lambda_handler.py')
    const event = (await peer.http({ method: 'POST', headers: { 'content-type': 'image/png' }, body: Buffer.from([1, 2]) })).json as Record<string, unknown>
    assert.deepEqual([event.body, event.isBase64Encoded], ['AQI=', true])
  })
})

describe('handlers by name', needsPython, () => {
  test('are found as "func" and as "file.func", and called by what they take', async () => {
    await using first = await startFunction('named.py', { handler: 'convert' })
    assert.deepEqual((await first.event({ a: 1 })).json, { converted: { a: 1 } })
    await using second = await startFunction('echo_main.py', { handler: 'named.on_event' })
    assert.deepEqual((await second.event(5)).json, { id: 'f'.repeat(32), event: 5 })
    await using third = await startFunction('named.py', { handler: 'nothing' })
    assert.deepEqual((await third.event({})).json, 'nothing')
  })
})

describe('the code directory', needsPython, () => {
  test('is where modules and packages are found, also those named like the runtime\'s', async () => {
    await using peer = await startFunction('imports.py')
    assert.deepEqual((await peer.event({})).json, { greeting: 'hello from the library', frames: 'mine' })
  })

  test('may be a package with relative imports', async () => {
    await using peer = await startFunction('packaged/entry.py')
    assert.equal((await peer.event({})).json, 'relative')
  })

  test('is the working directory, with exactly the environment given', async () => {
    await using peer = await startFunction('behaves.py', { environment: { TOKEN: 'secret', PATH: '/mine' } })
    const seen = (await peer.event({ what: 'environment' })).json as { environment: Record<string, string>; folder: string }
    assert.deepEqual(seen.environment, { TOKEN: 'secret', PATH: '/mine', HOME: '/tmp', TMPDIR: '/tmp', LANG: 'C.UTF-8' })
    assert.match(seen.folder, /test\/functions\/python$/)
  })
})

describe('web applications', needsPython, () => {
  test('speak WSGI', async () => {
    await using peer = await startFunction('wsgi_app.py')
    const answer = await peer.http({ method: 'POST', path: '/a%20b?c=d', body: 'text' })
    assert.deepEqual([answer.status, answer.text, answer.headers['x-path'], answer.headers['x-query']], [201, 'POST text', '/a b', 'c=d'])
    assert.equal((await peer.http({ path: '/stream' })).text, '0\n1\n2\n')
  })

  test('speak ASGI, and are told that they start', async () => {
    await using peer = await startFunction('asgi_app.py')
    const answer = await peer.http({ method: 'POST', body: 'text' })
    assert.deepEqual([answer.status, answer.text, answer.headers['x-started']], [200, 'POST text', 'True'])
    assert.equal((await peer.http({ path: '/stream' })).text, '0\n1\n2\n')
  })
})
