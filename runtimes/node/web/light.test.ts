/**
 * Goal: the light Headers, Request and Response behave as Node's own.
 * Method: the same operations on both, fixed and random (fast-check), and every outcome compared, errors by their class.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { OpenHead } from '../../../src/contract/frames.ts'
import { Invocation, type InvocationOwner } from '../invocation.ts'
import { installLightGlobals } from './install.ts'
import { LightHeaders } from './light-headers.ts'
import { LightRequest } from './light-request.ts'
import { LightResponse } from './light-response.ts'
import { realHeaders, realRequest, realResponse } from './real.ts'

installLightGlobals()
const Real = { Headers: realHeaders(), Request: realRequest(), Response: realResponse() }
const RUNS = 300

async function outcome(run: () => unknown): Promise<unknown> {
  try {
    return { value: await run() }
  } catch (error) {
    return { error: (error as Error).constructor.name }
  }
}

const headerName = fc.oneof(fc.constantFrom('a', 'A', 'b', 'Set-Cookie', 'set-cookie', 'cookie', 'content-type', 'bad name', '', 'é'), fc.string({ maxLength: 4 }))
const headerValue = fc.oneof(fc.constantFrom('1', ' trimmed\t', 'x\ny', 'x\0', 'ü', '€', ''), fc.string({ maxLength: 6 }))
const operation = fc.oneof(
  fc.tuple(fc.constantFrom('append' as const, 'set' as const), headerName, headerValue),
  fc.tuple(fc.constantFrom('delete' as const, 'get' as const, 'has' as const), headerName),
)

test('Headers agree with Node on any sequence of operations', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 12 }), async (operations) => {
      const light = new LightHeaders()
      const real = new Real.Headers()
      for (const [verb, ...args] of operations) {
        const call = (headers: object) => () => (headers as Record<string, (...all: string[]) => unknown>)[verb]!(...args)
        assert.deepEqual(await outcome(call(light)), await outcome(call(real)))
      }
      assert.deepEqual([...light], [...real])
      assert.deepEqual([...light.keys()], [...real.keys()])
      assert.deepEqual([...light.values()], [...real.values()])
      assert.deepEqual(light.getSetCookie(), real.getSetCookie())
    }),
    { numRuns: RUNS },
  )
})

test('Headers accept and refuse the same inits as Node', async () => {
  const inits: unknown[] = [undefined, null, 1, 'text', {}, { a: 1 }, { a: undefined }, [['a', 'b']], [['a']], [['a', 'b', 'c']], ['ab'], new Map([['x', 'y']]), new LightHeaders({ q: '1' }), new Real.Headers({ q: '1' }), { [Symbol('s')]: '1' }, [[Symbol('s'), '1']], { [Symbol.iterator]: 1 }]
  for (const init of inits) {
    const light = await outcome(() => [...new LightHeaders(init as HeadersInit)])
    assert.deepEqual(light, await outcome(() => [...new Real.Headers(init as HeadersInit)]), String(JSON.stringify(init)))
  }
})

async function seen(response: Response): Promise<unknown> {
  const { status, ok, statusText, type, url, redirected, bodyUsed } = response
  const copy = response.clone()
  const isNull = response.body === null
  return { status, ok, statusText, type, url, redirected, bodyUsed, isNull, headers: [...response.headers], text: await response.text(), used: response.bodyUsed, bytes: [...new Uint8Array(await copy.arrayBuffer())] }
}

const bodies: readonly (() => unknown)[] = [
  () => undefined,
  () => null,
  () => '',
  () => 'hello ü',
  () => 12,
  () => new Uint8Array([1, 2, 3]),
  () => new Uint8Array([1, 2, 3]).buffer,
  () => new DataView(new ArrayBuffer(3)),
  () => new URLSearchParams({ a: 'b' }),
  () => new Blob(['x'], { type: 'text/x' }),
  () => new Blob(['y']).stream(),
  () => ({}),
]
const inits: readonly (() => unknown)[] = [
  () => undefined,
  () => null,
  () => ({}),
  () => 1,
  () => ({ status: 201, statusText: 'Made' }),
  () => ({ status: 199 }),
  () => ({ status: 600 }),
  () => ({ status: '202' }),
  () => ({ status: 200.7 }),
  () => ({ status: 204 }),
  () => ({ status: 304 }),
  () => ({ statusText: 'a\nb' }),
  () => ({ headers: { 'X-A': ' 1 ' } }),
  () => ({ headers: { 'Content-Type': 'text/html' } }),
  () => ({ headers: [['a', '1'], ['a', '2'], ['set-cookie', 'x'], ['set-cookie', 'y']] }),
  () => ({ headers: new Headers({ q: '1' }) }),
  () => ({ headers: new Real.Headers({ q: '1' }) }),
  () => ({ headers: { 'bad name': '1' } }),
  () => ({ headers: { a: 'x\ny' } }),
  () => ({ headers: null }),
]

test('Response agrees with Node for every body and init', async () => {
  for (const body of bodies) {
    for (const init of inits) {
      const make = (Class: typeof Response) => outcome(async () => seen(new Class(body() as BodyInit, init() as ResponseInit)))
      assert.deepEqual(await make(LightResponse as unknown as typeof Response), await make(Real.Response), `${body} ${init}`)
    }
  }
})

test('Response.json, redirect and error agree with Node', async () => {
  const calls: readonly ((Class: typeof Response) => Response)[] = [
    (Class) => Class.json({ a: 1 }),
    (Class) => Class.json([1], { status: 201, headers: { 'content-type': 'application/problem+json' } }),
    (Class) => Class.json(null, { statusText: 'x' }),
    (Class) => Class.json(undefined),
    (Class) => Class.json(1n),
    (Class) => Class.json({}, { status: 204 }),
    (Class) => Class.redirect('http://a/b'),
    (Class) => Class.redirect('http://a/b', 301),
    (Class) => Class.redirect('http://a/b', 200),
    (Class) => Class.error(),
  ]
  for (const call of calls) {
    const run = (Class: typeof Response) => outcome(async () => seen(call(Class)))
    assert.deepEqual(await run(LightResponse as unknown as typeof Response), await run(Real.Response), String(call))
  }
})

test('instanceof, names and subclasses work for light and real instances', async () => {
  class Mine extends Response {
    extra = 1
  }
  assert.ok(new Response('x') instanceof Response)
  assert.ok(new Real.Response('x') instanceof Response)
  assert.ok(new Mine('x') instanceof Response && new Mine('x') instanceof Mine)
  assert.ok(!(new Response('x') instanceof Mine) && !(new Real.Response('x') instanceof Mine) && !({} instanceof Response))
  assert.ok(new Request('http://a/') instanceof Request && new Real.Request('http://a/') instanceof Request)
  assert.ok(new Headers() instanceof Headers && new Real.Headers() instanceof Headers)
  for (const name of ['Headers', 'Request', 'Response'] as const) {
    assert.equal(globalThis[name].name, name)
    assert.equal(globalThis[name].length, Real[name].length)
    const light = Object.entries(Object.getOwnPropertyDescriptors(globalThis[name].prototype)).filter(([, { enumerable }]) => enumerable)
    const real = Object.entries(Object.getOwnPropertyDescriptors(Real[name].prototype)).filter(([, { enumerable }]) => enumerable)
    assert.deepEqual(light.map(([key]) => key).sort(), real.map(([key]) => key).sort(), name)
  }
  assert.equal(Object.prototype.toString.call(new Response()), '[object Response]')
  assert.equal(await new Mine('mine').text(), 'mine')
  assert.throws(() => (Response as unknown as () => void)(), TypeError)
})

test('headers changed after construction are the ones sent, and the body stays light', () => {
  const response = new Response('x')
  response.headers.set('x-a', '1')
  response.headers.delete('content-type')
  assert.deepEqual(LightResponse.partsOf(response), { status: 200, headers: ['x-a', '1'], body: 'x' })
  assert.equal(LightResponse.plainTextOf(response), undefined)
  assert.equal(LightResponse.plainTextOf(new Response('x')), 'x')
})

test('a clone does not share headers with its original', () => {
  const response = new Response('x')
  const copy = response.clone()
  copy.headers.set('x-a', '1')
  assert.equal(response.headers.get('x-a'), null)
})

test('the bytes of a response are those at construction', () => {
  const bytes = new Uint8Array([1, 2])
  const response = new Response(bytes)
  bytes[0] = 9
  assert.deepEqual(LightResponse.partsOf(response)!.body, new Uint8Array([1, 2]))
})

function incoming(head: Partial<OpenHead>, body = ''): Request {
  const owner = { channel: {}, beforeEnd() {}, afterEnd() {} } as unknown as InvocationOwner
  const full: OpenHead = { k: 'http', m: 'GET', u: '/', h: ['host', 'a.test'], ...head }
  return LightRequest.fromInvocation(new Invocation(owner, 2, full, body === '' ? undefined : Buffer.from(body), true)) as unknown as Request
}

test('a request from a frame reads as the one that Node would make', async () => {
  const head: Partial<OpenHead> = { m: 'POST', u: '/p/q?a=1#f', h: ['host', 'a.test', 'content-type', 'application/json', 'x', '1', 'x', '2'] }
  const real = () => new Real.Request('http://a.test/p/q?a=1#f', { method: 'POST', body: '{"b":2}', headers: [['host', 'a.test'], ['content-type', 'application/json'], ['x', '1'], ['x', '2']] })
  const verbs: readonly ((request: Request) => unknown)[] = [
    (r) => [r.method, r.url, r.cache, r.credentials, r.destination, r.integrity, r.keepalive, r.mode, r.redirect, r.referrer, r.referrerPolicy, (r as { duplex?: string }).duplex],
    (r) => [...r.headers],
    (r) => r.text(),
    (r) => r.json(),
    async (r) => [...(await r.bytes())],
    async (r) => [...new Uint8Array(await r.arrayBuffer())],
    async (r) => [(await r.blob()).type, await (await r.clone().text().catch(() => 'used'))],
    async (r) => [await r.clone().text(), await r.text()],
    async (r) => [r.bodyUsed, await r.text(), r.bodyUsed, await r.text().catch((error: Error) => error.constructor.name)],
    async (r) => [await r.text(), (await outcome(() => r.clone())) as object],
    async (r) => [await r.json(), (await outcome(() => new Request(r))) as object],
    async (r) => new Request(r).text(),
    (r) => [r.body instanceof ReadableStream, r.body?.locked],
    async (r) => new Response(r.body).text(),
    (r) => r.formData(),
  ]
  for (const verb of verbs) assert.deepEqual(await outcome(() => verb(incoming(head, '{"b":2}'))), await outcome(() => verb(real())), String(verb))
})

test('a request without a body has none, and reads as empty as often as wanted', async () => {
  for (const request of [incoming({}), new Real.Request('http://a.test/')]) {
    assert.equal(request.body, null)
    assert.deepEqual([await request.text(), await request.text(), request.bodyUsed], ['', '', false])
  }
})

test('paths that look like hosts stay paths', () => {
  assert.equal(incoming({ u: '//evil.test/x' }).url, 'http://a.test//evil.test/x')
  assert.equal(incoming({ h: ['host', 'bad host'] }).url, 'http://localhost/')
})
