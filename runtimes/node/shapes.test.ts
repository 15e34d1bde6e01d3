/**
 * Goal: every handler shape is recognised, is given what its original platform gives, and its results become answers.
 * Method: the real runtime as a child process, fixture functions, frames by hand.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startNodeFixture, startNodeFunction } from '../../test/kit/runtime-peer.ts'

test('a fetch handler gets a request and answers with a Response', async () => {
  await using peer = await startNodeFixture('fetch.ts')
  const hello = await peer.http('GET', '/hello')
  assert.deepEqual([hello.status, hello.text, hello.headers['content-type']], [200, 'hello', 'text/plain;charset=UTF-8'])
  assert.ok(hello.usage !== undefined && hello.usage.memoryKb > 10_000)
  const request = JSON.parse((await peer.http('POST', '/request?x=1', { headers: ['x-a', '1', 'x-a', '2'], body: 'body ü' })).text)
  assert.deepEqual(request, { method: 'POST', url: 'http://test.local/request?x=1', headers: { host: 'test.local', 'x-a': '1, 2' }, isRequest: true, body: 'body ü' })
  assert.equal((await peer.http('GET', '/nowhere')).status, 404)
  const cookies = await peer.http('GET', '/cookies')
  assert.deepEqual([cookies.status, cookies.rawHeaders], [201, ['set-cookie', 'a=1', 'set-cookie', 'b=2', 'x-one', '1', 'content-type', 'text/plain;charset=UTF-8']])
})

test('an event reaches a fetch handler as a POST of JSON to /', async () => {
  await using peer = await startNodeFunction('index.ts', 'export default { fetch: async (r: Request) => Response.json([r.method, new URL(r.url).pathname, r.headers.get("content-type"), await r.json()]) }')
  assert.deepEqual(JSON.parse((await peer.event({ a: 1 })).text), ['POST', '/', 'application/json', { a: 1 }])
})

test('requests can be cloned, remade and read as forms', async () => {
  await using peer = await startNodeFixture('fetch.ts')
  assert.deepEqual(JSON.parse((await peer.http('POST', '/clone', { body: 'b' })).text), ['b', 'b', '1', true])
  const form = await peer.http('POST', '/form', { headers: ['content-type', 'application/x-www-form-urlencoded'], body: 'a=1&b=2' })
  assert.deepEqual(JSON.parse(form.text), [['a', '1'], ['b', '2']])
})

test('the environment is exactly what was given, and a few standard variables', async () => {
  await using peer = await startNodeFixture('fetch.ts', { environment: { KEY: 'value', NODE_ENV: 'test' } })
  const { env, process: variables, cwd } = JSON.parse((await peer.http('GET', '/env')).text)
  assert.deepEqual(Object.keys(variables).sort(), ['HOME', 'KEY', 'NODE_ENV', 'PATH', 'TMPDIR'])
  assert.deepEqual([variables.KEY, variables.NODE_ENV, variables.HOME, env.KEY], ['value', 'test', '/tmp', 'value'])
  assert.ok(cwd.endsWith(peer.directory))
})

test('HEAD and 204 have no body', async () => {
  await using peer = await startNodeFixture('fetch.ts')
  const head = await peer.http('HEAD', '/hello')
  assert.deepEqual([head.text, head.headers['content-length']], ['', '5'])
  assert.deepEqual([(await peer.http('GET', '/empty')).status, (await peer.http('HEAD', '/large?bytes=100000')).text], [204, ''])
})

test('a class instance keeps its this', async () => {
  await using peer = await startNodeFixture('fetch-class.ts')
  assert.equal((await peer.http('GET', '/')).text, 'hello from a class')
})

test('main gets query, body and __ow parameters of a request, and an event as it is', async () => {
  await using peer = await startNodeFixture('main.ts')
  const json = { headers: ['content-type', 'application/json'], body: '{"b":2,"__ow_method":"forged","__proto__":{"x":1}}' }
  const { params } = JSON.parse((await peer.http('POST', '/p?a=1&a=2&b=1', json)).text)
  assert.deepEqual([params.a, params.b, params.__ow_method, params.__ow_path, params.__ow_query], ['2', 2, 'post', '/p', 'a=1&a=2&b=1'])
  assert.equal(params.__ow_headers.host, 'test.local')
  assert.ok(!('__ow_body' in params))
  const of = async (type: string, body: string | Uint8Array) => JSON.parse((await peer.http('POST', '/', { headers: ['content-type', type], body })).text).params
  assert.deepEqual((await of('application/x-www-form-urlencoded', 'f=1&g=a+b')).g, 'a b')
  assert.equal((await of('text/plain', 'some text')).__ow_body, 'some text')
  assert.equal((await of('application/json', '[1]')).__ow_body, '[1]')
  assert.equal((await of('image/png', Buffer.from([0, 255]))).__ow_body, 'AP8=')
  assert.deepEqual(JSON.parse((await peer.event({ x: 1 })).text), { params: { x: 1 } })
  assert.deepEqual(JSON.parse((await peer.event()).text), { params: {} })
  await assert.rejects(peer.http('POST', '/', { ...json, body: '{"b":' }), { code: 'JSON_INVALID' })
})

test('results of main become answers', async () => {
  await using peer = await startNodeFixture('main.ts')
  const give = (what: string) => peer.http('GET', `/?give=${what}`)
  assert.deepEqual([(await give('nothing')).status, (await peer.event({ give: 'nothing' })).text], [204, 'null'])
  assert.deepEqual([(await give('text')).text, (await give('text')).headers['content-type']], ['plain', 'text/plain; charset=utf-8'])
  assert.equal((await peer.event({ give: 'text' })).text, '"plain"')
  assert.deepEqual([[...(await give('bytes')).body], (await give('bytes')).headers['content-type']], [[1, 2, 255], 'application/octet-stream'])
  const parts = await give('parts')
  assert.deepEqual([parts.status, parts.text, parts.rawHeaders], [201, '<p>hi</p>', ['content-type', 'text/html; charset=utf-8', 'x-a', '1', 'set-cookie', 'a', 'set-cookie', 'b']])
  assert.equal(JSON.parse((await peer.event({ give: 'parts' })).text).statusCode, 201)
  assert.deepEqual([(await give('json-body')).text, (await give('json-body')).status], ['{"a":[1]}', 200])
  assert.deepEqual([(await give('error')).text, (await give('error')).status], ['{"error":"it went wrong"}', 500])
  assert.deepEqual([(await give('error-status')).text, (await give('error-status')).status], ['{"message":"gone"}', 404])
  assert.equal((await peer.event({ give: 'error' })).status, 200)
  assert.equal((await give('stream')).text, 'one two')
})

test('handler gets an event and Lambda context; a request as payload 2.0 with the members of its JSON body', async () => {
  await using peer = await startNodeFixture('handler.ts', { function: 'lambda', revision: 4, memoryMb: 128 })
  const { event, context, remainingMs } = JSON.parse((await peer.answer(peer.open({ k: 'event', i: 'id-1', d: Date.now() + 5000 }, '{"x":1}'))).text)
  assert.deepEqual([event, context.awsRequestId, context.functionName, context.functionVersion, context.memoryLimitInMB], [{ x: 1 }, 'id-1', 'lambda', '4', '128'])
  assert.ok(remainingMs > 0 && remainingMs <= 5000)
  const http = JSON.parse((await peer.http('PUT', '/a/b?q=1', { headers: ['content-type', 'application/json', 'cookie', 'c=1; d=2'], body: '{"own":true,"version":"forged"}' })).text).event
  assert.deepEqual([http.version, http.own, http.rawPath, http.rawQueryString, http.cookies, http.queryStringParameters], ['2.0', true, '/a/b', 'q=1', ['c=1', 'd=2'], { q: '1' }])
  assert.deepEqual([http.requestContext.http.method, http.body, http.isBase64Encoded], ['PUT', '{"own":true,"version":"forged"}', false])
  const binary = JSON.parse((await peer.http('POST', '/', { body: Buffer.from([0, 255]) })).text).event
  assert.deepEqual([binary.body, binary.isBase64Encoded], ['AP8=', true])
  const parts = await peer.http('POST', '/', { headers: ['content-type', 'application/json'], body: '{"give":"parts"}' })
  assert.deepEqual([parts.status, parts.text, parts.rawHeaders], [202, 'hi', ['content-type', 'text/plain', 'set-cookie', 'a=1']])
})

test('a callback handler of CommonJS answers and fails by its callback', async () => {
  await using peer = await startNodeFixture('handler-callback.cjs')
  assert.deepEqual(JSON.parse((await peer.event({ a: 1 })).text), { got: { a: 1 } })
  await assert.rejects(peer.event({ fail: true }), { code: 'FUNCTION_THREW', message: 'Error: called back with an error' })
})

test('a handler is taken by name, and CommonJS exports count', async () => {
  await using first = await startNodeFixture('main-commonjs.cjs')
  assert.deepEqual(JSON.parse((await first.event({ a: 1 })).text), { got: { a: 1 } })
  await using second = await startNodeFixture('main-commonjs.cjs', { handler: 'other' })
  assert.deepEqual(JSON.parse((await second.event({ a: 1 })).text), { other: { a: 1 } })
})

test('default functions are told apart by name and parameter', async () => {
  const sources = {
    fetch: 'export default (request) => new Response("x")',
    main: 'export default function main(a) { return a }',
    'main ': 'export default async (params) => params',
    handler: 'export default async function (event, context) { return event }',
  }
  for (const [shape, source] of Object.entries(sources)) {
    await using peer = await startNodeFunction('index.mjs', source, {})
    const answer = await peer.event({ a: 1 })
    assert.equal(answer.text, shape === 'fetch' ? 'x' : '{"a":1}')
  }
})

test('a simple function never loads the heavy fetch classes; one that needs them gets them', async () => {
  const source = 'export default { async fetch(r: Request) { const p = new URL(r.url).pathname; if (p === "/heavy") return new Response(r.clone().body); await r.text(); return Response.json({ heavy: process.moduleLoadList.some((m) => m.includes("undici")), h: r.headers.get("host"), flags: process.execArgv }) } }'
  await using peer = await startNodeFunction('index.ts', source)
  assert.deepEqual(JSON.parse((await peer.http('POST', '/', { body: 'x' })).text), { heavy: false, h: 'test.local', flags: [] })
  assert.equal((await peer.http('POST', '/heavy', { body: 'x' })).text, 'x')
  assert.equal(JSON.parse((await peer.http('POST', '/', { body: 'x' })).text).heavy, true)
})
