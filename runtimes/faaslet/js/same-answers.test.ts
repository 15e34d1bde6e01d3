/**
 * Goal: the same code gives the same answers in kind js as in kind node: shapes, parameters, results, errors.
 * Method: the fixtures of kind node, bundled, run in the real Node runtime and in restored guests; status, headers, text and errors are compared.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { PlatformError } from '../../../src/contract/errors.ts'
import { nodeFixtures, startNodeFixture, startNodeFunction } from '../../../test/kit/runtime-peer.ts'
import { bundleFixture, GuestKit } from './guest-kit.ts'

const frame = { namespace: 'test', function: 'fixture', revision: 1, instance: 'i1' }

interface Asked {
  readonly method?: string
  readonly path?: string
  readonly headers?: readonly string[]
  readonly body?: string | Uint8Array
  /** An event instead of a request. */
  readonly event?: unknown
}

interface Asker {
  http(method: string, path: string, options: { readonly headers?: readonly string[]; readonly body?: string | Uint8Array }): Promise<{ readonly status: number; readonly rawHeaders: readonly string[]; readonly text: string; readonly body: Buffer }>
  event(value?: unknown): Promise<{ readonly status: number; readonly rawHeaders: readonly string[]; readonly text: string; readonly body: Buffer }>
}

async function outcome(asker: Asker, asked: Asked): Promise<unknown> {
  const { method = 'GET', path = '/', headers = [], body } = asked
  try {
    const answer = await ('event' in asked ? asker.event(asked.event) : asker.http(method, path, { headers, ...(body !== undefined && { body }) }))
    const plain = [...answer.rawHeaders]
    return { status: answer.status, headers: plain, body: answer.body.toString('latin1').replaceAll(/inv-\d+/g, 'inv') }
  } catch (error) {
    const { code, message } = error as PlatformError
    return { code, message }
  }
}

async function compare(source: string, peer: Asker, all: readonly Asked[], changed: (text: string) => string = (text) => text): Promise<void> {
  const kit = await GuestKit.boot({ source, frame })
  for (const asked of all) {
    const expected = JSON.stringify(await outcome(peer, asked))
    assert.equal(changed(JSON.stringify(await outcome(kit, asked))), changed(expected), JSON.stringify(asked))
  }
}

async function compareFixture(file: string, all: readonly Asked[], changed?: (text: string) => string): Promise<void> {
  await using peer = await startNodeFixture(file, frame)
  await compare(await bundleFixture(join(nodeFixtures, file)), peer, all, changed)
}

const json = { headers: ['content-type', 'application/json'] }

test('fetch handlers', async () => {
  await compareFixture('fetch.ts', [
    { path: '/hello' },
    { method: 'POST', path: '/request?x=1', headers: ['x-a', '1', 'x-a', '2'], body: 'body ü' },
    { path: '//evil.test/x' },
    { path: '/nowhere' },
    { path: '/cookies' },
    { method: 'POST', path: '/clone', body: 'b' },
    { method: 'POST', path: '/form', headers: ['content-type', 'application/x-www-form-urlencoded'], body: 'a=1&b=2' },
    { method: 'POST', path: '/form', headers: ['content-type', 'multipart/form-data; boundary=xx'], body: '--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--xx\r\nContent-Disposition: form-data; name="b"\r\n\r\nü\r\n--xx--\r\n' },
    { path: '/large?bytes=300000' },
    { method: 'HEAD', path: '/large?bytes=300000' },
    { method: 'HEAD', path: '/hello' },
    { path: '/empty' },
    { path: '/wait?ms=3' },
    { path: '/late' },
    { event: { a: 1 } },
  ])
  await compareFixture('fetch-class.ts', [{}])
})

test('main(params)', async () => {
  const give = (what: string): Asked[] => [{ path: `/?give=${what}` }, { event: { give: what } }]
  await compareFixture('main.ts', [
    { method: 'POST', path: '/p?a=1&a=2&b=1', ...json, body: '{"b":2,"__ow_method":"forged","__proto__":{"x":1}}' },
    { method: 'POST', headers: ['content-type', 'application/x-www-form-urlencoded'], body: 'f=1&g=a+b&h=%C3%BC%FF' },
    { method: 'POST', headers: ['content-type', 'text/plain'], body: 'some text' },
    { method: 'POST', ...json, body: '[1]' },
    { method: 'POST', headers: ['content-type', 'image/png'], body: Buffer.from([0, 255]) },
    { method: 'POST', body: Buffer.from([0xc3, 0x28]) },
    { event: { x: 1 } },
    { event: undefined },
    ...['nothing', 'text', 'bytes', 'parts', 'json-body', 'error', 'error-status', 'stream'].flatMap(give),
  ])
  await compareFixture('bad-results.ts', ['symbol', 'circle', 'big', 'status-99', 'status-text', 'header-name', 'header-value', 'header-object', 'headers-huge'].flatMap(give), (text) =>
    // How the two engines say why JSON does not take a value is theirs.
    text.replace(/has no JSON form \(.*\)/, 'has no JSON form'),
  )
})

test('handler(event, context), with and without a callback', async () => {
  await compareFixture(
    'handler.ts',
    [
      { event: { x: 1 } },
      { method: 'PUT', path: '/a/b?q=1', headers: ['content-type', 'application/json', 'cookie', 'c=1; d=2'], body: '{"own":true,"version":"forged"}' },
      { method: 'POST', body: Buffer.from([0, 255]) },
      { method: 'POST', ...json, body: '{"give":"parts"}' },
      { method: 'POST', ...json, body: '{"give":' },
    ],
    (text) =>
      text
        .replaceAll(/\\"time\\":\\"[^"]*"|\\"timeEpoch\\":\d+|\\"awsRequestId\\":\\"[^"]*"|\\"requestId\\":\\"[^"]*"|\\"memoryLimitInMB\\":\\"\d+\\"/g, '')
        .replace(/not valid JSON: .*\. Send/, 'not valid JSON. Send'),
  )
  await using peer = await startNodeFixture('handler-callback.cjs', frame)
  await compare('export const handler = (event, context, callback) => { setTimeout(() => (event.fail ? callback(new Error("called back with an error")) : callback(null, { got: event })), 1) }', peer, [{ event: { a: 1 } }, { event: { fail: true } }])
})

test('bodies that are streams, both ways', async () => {
  await compareFixture('stream.ts', [{ path: '/events' }, { path: '/fails' }])
  await compareFixture('echo.ts', [{ method: 'POST', path: '/', body: 'x'.repeat(1000) }, { method: 'POST', path: '/count', body: 'x'.repeat(1000) }, { path: '/' }])
})

test('default functions are told apart by name and parameter, named handlers found', async () => {
  const sources: [string, string | undefined][] = [
    ['export default (request) => new Response("x")', undefined],
    ['export default function main(a) { return a }', undefined],
    ['export default async (params) => params', undefined],
    ['export default async function (event, context) { return event }', undefined],
    ['export default { fetch: () => new Response("f") }; export function main() { return 1 }', undefined],
    ['export default { main: () => ({ from: "default" }) }', undefined],
    ['export function fetch() { return new Response("named") }', undefined],
    ['export const api = { main: (p) => ({ p }), run: (a, b) => ({ a, n: typeof b.awsRequestId }) }', 'api.main'],
    ['export const api = { main: (p) => ({ p }), run: (a, b) => ({ a, n: typeof b.awsRequestId }) }', 'api.run'],
    ['export const mian = 1, version = 2', undefined],
    ['export const a = 1', 'nope'],
    ['let x = 1', undefined],
  ]
  for (const [source, handler] of sources) {
    const named = handler === undefined ? frame : { ...frame, handler }
    const node = await startNodeFunction('index.mjs', source, named).catch((error: PlatformError) => error)
    const kit = await GuestKit.boot({ source, frame: { ...named, entry: 'index.mjs' } }).catch((error: PlatformError) => error)
    if (node instanceof PlatformError) {
      assert.ok(kit instanceof PlatformError, source)
      assert.deepEqual([kit.code, kit.message, kit.details], [node.code, node.message, node.details])
      continue
    }
    await using peer = node
    assert.ok(kit instanceof GuestKit, `${source}: ${(kit as Error).message}`)
    assert.deepEqual(await outcome(kit, { event: { a: 1 } }), await outcome(peer, { event: { a: 1 } }), source)
  }
})
