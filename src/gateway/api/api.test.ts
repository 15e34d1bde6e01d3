/**
 * Goal: whatever is sent, the API answers: with what was asked, or with an error that says what to do next.
 *
 * Method: fetch, and raw sockets where fetch is too polite, against a real server.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, test } from 'node:test'
import { platformErrors } from '#contract/errors.ts'
import type { PlatformErrorCode } from '#contract/errors.ts'
import { apiGround, exampleLine, exampleRecord } from './api.fake.ts'
import type { Answer } from './api.fake.ts'
import { aboutRoutes } from './routes/about.ts'
import { invocationRoutes } from './routes/invocations.ts'
import { namespaceRoutes } from './routes/namespaces.ts'
import { secretRoutes } from './routes/secrets.ts'

const routes = [...aboutRoutes, ...invocationRoutes, ...namespaceRoutes, ...secretRoutes]

function mustMatch(path: string, answer: Answer, method = 'GET'): void {
  const route = routes.find((each) => each.method === method && each.path === path)!
  assert(route.answers[answer.status] !== undefined, `${path} answered ${answer.status}: ${answer.text}`)
  route.answers[answer.status]!.schema!.parse(answer.json)
}

function mustFail(answer: Answer, code: PlatformErrorCode, message?: RegExp): void {
  assert.equal(answer.json?.error?.code, code, answer.text)
  assert.equal(answer.status, platformErrors[code].status)
  assert.equal(answer.headers.get('x-skep-error'), code)
  if (message !== undefined) assert.match(answer.json.error.message, message)
}

describe('requests', () => {
  test('need a key, but for the document', async (context) => {
    const { call } = await apiGround(context)
    mustFail(await call('GET', '/v1/functions', { key: false }), 'KEY_MISSING')
    mustFail(await call('GET', '/v1/functions', { key: 'skep_1_2' }), 'KEY_INVALID')
    mustFail(await call('PUT', '/v1/functions/a%2Fb', { key: false, body: 'no json' }), 'KEY_MISSING')
    assert.equal((await call('GET', '/v1/openapi.json', { key: false })).status, 200)
    const who = await call('GET', '/v1/whoami')
    mustMatch('/v1/whoami', who)
    assert.equal(who.json.role, 'admin')
  })

  test('with an unknown route or method are told what there is', async (context) => {
    const { call } = await apiGround(context)
    mustFail(await call('GET', '/v1/nothing'), 'ROUTE_NOT_FOUND', /openapi/)
    mustFail(await call('GET', '/v1/functions/'), 'NAME_INVALID')
    const wrong = await call('POST', '/v1/functions/f')
    mustFail(wrong, 'METHOD_NOT_ALLOWED', /GET, PUT, DELETE/)
    assert.equal(wrong.headers.get('allow'), 'GET, PUT, DELETE')
  })

  test('with a name that is none are told why', async (context) => {
    const { call } = await apiGround(context)
    const body = { source: { filename: 'a.js', text: '' } }
    for (const name of ['a%2Fb', 'a/b', 'x'.repeat(300), '', '-a', 'a%20b', 'a%00', '%E2%9C%93', '%zz']) {
      mustFail(await call('PUT', `/v1/functions/${name}`, { body }), 'NAME_INVALID')
    }
    mustFail(await call('PUT', '/v1/secrets/1abc', { body: { value: '' } }), 'NAME_INVALID')
    mustFail(await call('GET', '/v1/functions?namespace=a/b'), 'NAME_INVALID', /namespace/)
    mustFail(await call('GET', '/v1/invocations/xyz'), 'INPUT_INVALID', /32 lowercase hex/)
  })

  test('with bad JSON are told where', async (context) => {
    const { call } = await apiGround(context)
    const bad = await call('PUT', '/v1/functions/f', { body: '{\n  "a": 1,\n  b: 2\n}' })
    mustFail(bad, 'JSON_INVALID', /line 3, column 3/)
    assert.deepEqual(bad.json.error.details, { position: 14, line: 3, column: 3 })
    mustFail(await call('PUT', '/v1/functions/f', { body: '{"a":' }), 'JSON_INVALID', /line 1, column 6/)
    mustFail(await call('PUT', '/v1/functions/f', { body: Buffer.from([0x22, 0xff, 0x22]) }), 'JSON_INVALID', /UTF-8/)
    mustFail(await call('PUT', '/v1/functions/f'), 'INPUT_INVALID', /is required/)
  })

  test('with wrong fields are told which, why, and what was given, but never a secret back', async (context) => {
    const { call } = await apiGround(context)
    const source = { filename: 'a.js', text: '' }
    mustFail(await call('PUT', '/v1/functions/f', { body: { source, memory: 5 } }), 'INPUT_INVALID', /memory: there is no such field/)
    mustFail(await call('PUT', '/v1/functions/f', { body: { source, memoryMb: 5 } }), 'INPUT_INVALID', /memoryMb: .*16.*given: 5/)
    mustFail(await call('PUT', '/v1/functions/f', { body: { source, code: '0'.repeat(64) } }), 'INPUT_INVALID', /either code/)
    mustFail(await call('PUT', '/v1/functions/f', { body: { code: '0'.repeat(64) } }), 'INPUT_INVALID', /entry: is required/)
    mustFail(await call('PUT', '/v1/functions/f', { body: { source: { filename: '../a.js', text: '' } } }), 'INPUT_INVALID', /source.filename/)
    mustFail(await call('PUT', '/v1/functions/f', { body: { source, secrets: ['GONE'] } }), 'INPUT_INVALID', /no secret GONE/)
    mustFail(await call('PUT', '/v1/functions/f', { body: { source, kind: 'js', secrets: ['A'], snapshotAfter: 3 } }), 'INPUT_INVALID', /snapshotAfter: 3 .*secrets/)
    mustFail(await call('PUT', '/v1/functions/f', { body: [] }), 'INPUT_INVALID')
    mustFail(await call('GET', '/v1/invocations?limit=0'), 'INPUT_INVALID', /limit/)
    mustFail(await call('GET', '/v1/invocations?limit=5&limit=6'), 'INPUT_INVALID', /limit/)
    mustFail(await call('GET', '/v1/invocations?form=1'), 'INPUT_INVALID', /form/)
    mustFail(await call('GET', '/v1/invocations?since=yesterday'), 'INPUT_INVALID', /since/)
    const secret = await call('PUT', '/v1/secrets/A', { body: { value: ['hunter2'] } })
    mustFail(secret, 'INPUT_INVALID')
    assert.doesNotMatch(secret.text, /hunter2/)
  })

  test('with a body that is too large are answered before it ends, and the connection goes on', async (context) => {
    const { call, url, adminKey } = await apiGround(context)
    mustFail(await call('PUT', '/v1/functions/f', { body: 'x'.repeat(1024 * 1024 + 1) }), 'BODY_TOO_LARGE', /1048576/)
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    const head = `PUT /v1/secrets/A HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${adminKey}\r\ntransfer-encoding: chunked\r\n\r\n`
    socket.write(head)
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
    for (let count = 0; count < 20; count++) socket.write(chunk)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    assert.match(answer.toString(), /^HTTP\/1\.1 413 /)
    socket.write('0\r\n\r\n' + head.replace('transfer-encoding: chunked', 'content-length: 13') + '{"value":"ok"}'.slice(0, 13))
    const [next] = (await once(socket, 'data')) as [Buffer]
    assert.match(next.toString(), /^HTTP\/1\.1 400 /)
    socket.destroy()
  })

  test('that break off, or break something inside, leave the server well', async (context) => {
    const { call, url, adminKey, services, internalErrors } = await apiGround(context)
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write(`POST /v1/code HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${adminKey}\r\ncontent-length: 1000\r\n\r\nabc`)
    await new Promise((resolve) => setImmediate(resolve))
    socket.destroy()
    await once(socket, 'close')
    Object.assign(services, { stats: () => Promise.reject(new TypeError('oops')) })
    mustFail(await call('GET', '/v1/stats'), 'INTERNAL', /oops/)
    assert(internalErrors.some((error) => error instanceof TypeError))
    assert.equal((await call('GET', '/v1/whoami')).status, 200)
  })
})

describe('invocations over HTTP', () => {
  test('are handed on with who, where and how', async (context) => {
    const { call } = await apiGround(context)
    const { by: _, ...rest } = JSON.parse((await call('POST', '/v1/functions/f/invocations?async=true', { body: 'anything' })).text)
    assert.deepEqual(rest, { namespace: 'default', name: 'f', async: true })
    assert.equal(JSON.parse((await call('POST', '/v1/functions/f/invocations', { body: '' })).text).async, false)
  })

  test('are found by query and by id, with their logs; queued ones say where they wait', async (context) => {
    const { call, records, lines, queued, queries } = await apiGround(context)
    const record = exampleRecord()
    records.push(record, exampleRecord({ id: 'f'.repeat(32), namespace: 'other' }))
    lines.push(exampleLine('hello'), exampleLine('of another', 'e'.repeat(32)))
    const list = await call('GET', '/v1/invocations?function=f&status=error&since=2026-11-21T00:00:00Z&until=1800000000000&minUs=5&limit=7&cursor=c')
    mustMatch('/v1/invocations', list)
    assert.deepEqual(list.json, { invocations: [record], cursor: 'next' })
    assert.deepEqual(queries, [{ namespace: 'default', function: 'f', outcome: 'error', sinceMs: Date.parse('2026-11-21T00:00:00Z'), untilMs: 1_800_000_000_000, minUs: 5, limit: 7, cursor: 'c' }])
    const one = await call('GET', `/v1/invocations/${record.id}`)
    mustMatch('/v1/invocations/{id}', one)
    assert.deepEqual(one.json, { ...record, state: 'ended', logs: [lines[0]] })
    mustFail(await call('GET', `/v1/invocations/${'f'.repeat(32)}`), 'INVOCATION_NOT_FOUND')
    queued.push({ id: 'd'.repeat(32), namespace: 'default', function: 'f', attempt: 1, acceptedAtMs: 1, dueAtMs: 2 })
    const waiting = await call('GET', `/v1/invocations/${'d'.repeat(32)}`)
    mustMatch('/v1/invocations/{id}', waiting)
    assert.equal(waiting.json.state, 'queued')
  })

  test('that died are listed and go back', async (context) => {
    const { call, dead } = await apiGround(context)
    dead.push({ id: 'd'.repeat(32), namespace: 'default', function: 'f', attempt: 4, acceptedAtMs: 1, dueAtMs: 2, reason: 'threw', buriedAtMs: 3 })
    mustMatch('/v1/async', await call('GET', '/v1/async'))
    const list = await call('GET', '/v1/async/dead')
    mustMatch('/v1/async/dead', list)
    assert.deepEqual((await call('POST', '/v1/async/redrive', { body: { ids: [list.json.dead[0].id] } })).json, { redriven: 1 })
    mustFail(await call('POST', '/v1/async/redrive', { body: { ids: [] } }), 'INPUT_INVALID')
  })

  test('print lines that are read, and followed until the reader goes', async (context) => {
    const { call, url, adminKey, lines, print, followers } = await apiGround(context)
    await call('PUT', '/v1/functions/f', { body: { source: { filename: 'a.js', text: '' } } })
    lines.push(exampleLine('one'), exampleLine('two'))
    assert.equal((await call('GET', '/v1/functions/f/logs?limit=1')).text, `${JSON.stringify(lines[1])}\n`)
    const stop = new AbortController()
    const response = await fetch(`${url}/v1/functions/f/logs?follow=1`, { headers: { authorization: `Bearer ${adminKey}` }, signal: stop.signal })
    assert.match(response.headers.get('content-type')!, /x-ndjson/)
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('two')) text += (await reader.read()).value
    while (followers() === 0) await new Promise((resolve) => setImmediate(resolve))
    print(exampleLine('three'))
    while (!text.includes('three')) text += (await reader.read()).value
    stop.abort()
    await reader.closed.catch(() => {})
    while (followers() > 0) await new Promise((resolve) => setImmediate(resolve))
  })
})

describe('namespaces, keys and secrets over HTTP', () => {
  test('admins manage namespaces, others see their own', async (context) => {
    const { call } = await apiGround(context)
    const created = await call('POST', '/v1/namespaces', { body: { name: 'team', quotas: { invocationsPerMinute: 10 } } })
    mustMatch('/v1/namespaces', created, 'POST')
    const { key } = created.json
    mustFail(await call('POST', '/v1/namespaces', { body: { name: 'team' } }), 'CONFLICT')
    mustFail(await call('POST', '/v1/namespaces', { key, body: { name: 'mine' } }), 'FORBIDDEN')
    const changed = await call('PUT', '/v1/namespaces/team/quotas', { body: { memoryMb: 64 } })
    mustMatch('/v1/namespaces/{name}/quotas', changed, 'PUT')
    assert.deepEqual([changed.json.quotas.memoryMb, changed.json.quotas.invocationsPerMinute], [64, 10])
    mustFail(await call('PUT', '/v1/namespaces/team/quotas', { key, body: { memoryMb: 640 } }), 'FORBIDDEN')
    assert.deepEqual((await call('GET', '/v1/namespaces', { key })).json.namespaces.map((each: { name: string }) => each.name), ['team'])
    assert.equal((await call('GET', '/v1/namespaces')).json.namespaces.length, 2)
    mustFail(await call('DELETE', '/v1/namespaces/default'), 'FORBIDDEN')
    await call('PUT', '/v1/functions/f?namespace=team', { body: { source: { filename: 'a.js', text: '' }, memoryMb: 64 } })
    await call('PUT', '/v1/secrets/A?namespace=team', { body: { value: 'x' } })
    assert.equal((await call('DELETE', '/v1/namespaces/team')).status, 204)
    mustFail(await call('GET', '/v1/whoami', { key }), 'KEY_INVALID')
    mustFail(await call('DELETE', '/v1/namespaces/team'), 'NAMESPACE_NOT_FOUND')
    await call('POST', '/v1/namespaces', { body: { name: 'team' } })
    assert.deepEqual((await call('GET', '/v1/secrets?namespace=team')).json, { secrets: [] })
    assert.deepEqual((await call('GET', '/v1/functions?namespace=team')).json.functions, [])
  })

  test('keys are created, listed without secrets, and revoked at once', async (context) => {
    const { call } = await apiGround(context)
    const { key } = (await call('POST', '/v1/namespaces', { body: { name: 'team' } })).json
    const made = await call('POST', '/v1/namespaces/team/keys', { key, body: { name: 'ci' } })
    mustMatch('/v1/namespaces/{name}/keys', made, 'POST')
    assert.equal((await call('GET', '/v1/whoami', { key: made.json.key })).json.keyName, 'ci')
    const list = await call('GET', '/v1/namespaces/team/keys', { key })
    mustMatch('/v1/namespaces/{name}/keys', list)
    assert.deepEqual(list.json.keys.map((each: { name: string }) => each.name).sort(), ['ci', 'first'])
    assert.doesNotMatch(list.text, /hash/)
    mustFail(await call('POST', '/v1/namespaces/team/keys', { key, body: { name: 'up', role: 'admin' } }), 'FORBIDDEN')
    mustFail(await call('GET', '/v1/namespaces/default/keys', { key }), 'FORBIDDEN')
    const admin = await call('POST', '/v1/namespaces/team/keys', { body: { name: 'boss', role: 'admin' } })
    mustFail(await call('DELETE', `/v1/namespaces/team/keys/${admin.json.id}`, { key }), 'FORBIDDEN')
    assert.equal((await call('DELETE', `/v1/namespaces/team/keys/${made.json.id}`, { key })).status, 204)
    mustFail(await call('GET', '/v1/whoami', { key: made.json.key }), 'KEY_INVALID')
    mustFail(await call('DELETE', `/v1/namespaces/team/keys/${made.json.id}`), 'ENTITY_NOT_FOUND')
  })

  test('secrets are set, listed and deleted, and never shown', async (context) => {
    const { call, services } = await apiGround(context)
    const put = await call('PUT', '/v1/secrets/TOKEN', { body: { value: 'hunter2' } })
    mustMatch('/v1/secrets/{secret}', put, 'PUT')
    const one = await call('GET', '/v1/secrets/TOKEN')
    const list = await call('GET', '/v1/secrets')
    mustMatch('/v1/secrets', list)
    assert.doesNotMatch(put.text + one.text + list.text, /hunter2/)
    assert.deepEqual(await services.secrets.environment('default', ['TOKEN']), { TOKEN: 'hunter2' })
    assert.equal((await call('DELETE', '/v1/secrets/TOKEN')).status, 204)
    mustFail(await call('GET', '/v1/secrets/TOKEN'), 'ENTITY_NOT_FOUND')
  })

  test('figures are of the whole platform only for an admin', async (context) => {
    const { call } = await apiGround(context)
    const { key } = (await call('POST', '/v1/namespaces', { body: { name: 'team' } })).json
    assert.deepEqual((await call('GET', '/v1/stats')).json, { of: 'all' })
    assert.deepEqual((await call('GET', '/v1/stats?namespace=team')).json, { of: 'team' })
    assert.deepEqual((await call('GET', '/v1/stats', { key })).json, { of: 'team' })
    mustFail(await call('GET', '/v1/stats?namespace=default', { key }), 'FORBIDDEN')
  })
})

describe('the OpenAPI document', () => {
  test('names every route with its parameters, inputs and answers, and nothing hidden', async (context) => {
    const { call, api } = await apiGround(context)
    const { json } = await call('GET', '/v1/openapi.json', { key: false })
    assert.equal(json.openapi, '3.1.0')
    assert.equal(json.info.version, '1.2.3')
    const ids = new Set<string>()
    for (const route of api.routes.filter((each) => each.tag !== 'hidden')) {
      const operation = json.paths[route.path]?.[route.method.toLowerCase()]
      assert(operation !== undefined, `${route.method} ${route.path} is not documented`)
      assert(!ids.has(operation.operationId), operation.operationId)
      ids.add(operation.operationId)
      assert.equal(operation.parameters.filter((each: { in: string }) => each.in === 'path').length, route.path.split('{').length - 1)
    }
    assert.equal('/v1/functions/*' in json.paths, false)
    const deploy = json.paths['/v1/functions/{name}'].put.requestBody.content['application/json'].schema
    assert.equal(deploy.properties.memoryMb.maximum, 65_536)
    assert.equal(deploy.additionalProperties, false)
    assert.equal(json.paths['/v1/functions/{name}/rollback'].post.requestBody.required, false)
    assert.equal(JSON.stringify(json).includes('$schema'), false)
  })
})
