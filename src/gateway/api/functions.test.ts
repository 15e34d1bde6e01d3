/**
 * Goal: a person can deploy, look, roll back, split and delete over HTTP, in their own namespace only.
 *
 * Method: fetch against a real server; every answer that succeeds is held to the schema its route documents.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { packFile } from '#registry/code-archive.ts'
import { apiGround } from './api.fake.ts'
import { codeRoutes } from './routes/code.ts'
import { functionRoutes } from './routes/functions.ts'

const source = (text: string) => ({ source: { filename: 'hello.ts', text } })

function mustMatch(method: string, path: string, status: number, value: unknown): void {
  const route = [...functionRoutes, ...codeRoutes].find((each) => each.method === method && each.path === path)!
  route.answers[status]!.schema!.parse(value)
}

describe('functions over HTTP', () => {
  test('deploys one file, with the kind from its name, and again without a new revision', async (context) => {
    const { call, url } = await apiGround(context)
    const first = await call('PUT', '/v1/functions/hello', { body: source('export const a = 1') })
    assert.equal(first.status, 201, first.text)
    mustMatch('PUT', '/v1/functions/{name}', 201, first.json)
    assert.equal(first.json.url, `${url}/fn/default/hello`)
    assert.equal(first.json.kind, 'node')
    assert.equal(first.json.latest.config.entry, 'hello.js')
    const again = await call('PUT', '/v1/functions/hello', { body: source('export const a = 1') })
    assert.deepEqual([again.status, again.json.created, again.json.deployed], [200, false, 1])
    const python = await call('PUT', '/v1/functions/py', { body: { source: { filename: 'main.py', text: 'def main(p): return p' }, memoryMb: 64 } })
    assert.deepEqual([python.json.kind, python.json.latest.config.memoryMb], ['python', 64])
    const script = await call('PUT', '/v1/functions/sh', { body: { source: { filename: 'run.sh', text: '#!/bin/sh' } } })
    assert.equal(script.json.kind, 'command')
  })

  test('deploys uploaded code, known by its digest', async (context) => {
    const { call } = await apiGround(context)
    const tar = await packFile('index.js', 'exports.main = (p) => p', { executable: false })
    const uploaded = await call('POST', '/v1/code', { body: tar })
    assert.equal(uploaded.status, 201)
    mustMatch('POST', '/v1/code', 201, uploaded.json)
    const { digest } = uploaded.json
    assert.equal((await call('HEAD', `/v1/code/${digest}`)).status, 200)
    assert.equal((await call('HEAD', `/v1/code/${'0'.repeat(64)}`)).status, 404)
    const deployed = await call('PUT', '/v1/functions/f', { body: { code: digest, entry: 'index.js' } })
    assert.equal(deployed.status, 201, deployed.text)
    assert.equal(deployed.json.latest.codeBytes, tar.length)
    const missing = await call('PUT', '/v1/functions/f', { body: { code: '0'.repeat(64), entry: 'index.js' } })
    assert.equal(missing.json.error.code, 'ENTITY_NOT_FOUND')
    const wrong = await call('PUT', '/v1/functions/f', { body: { code: digest, entry: 'other.js' } })
    assert.deepEqual([wrong.status, wrong.json.error.code], [422, 'CODE_INVALID'])
  })

  test('refuses to take code that is no tar, and keeps nothing of it', async (context) => {
    const { call } = await apiGround(context)
    const tar = await packFile('index.js', 'exports.main = (p) => p', { executable: false })
    for (const body of [Buffer.alloc(0), 'console.log(1)', Buffer.alloc(300_000, 7), gzipSync(tar), tar.subarray(0, 520)]) {
      const refused = await call('POST', '/v1/code', { body })
      assert.deepEqual([refused.status, refused.json.error.code], [422, 'CODE_INVALID'], refused.text)
      const digest = createHash('sha256').update(body).digest('hex')
      assert.equal((await call('HEAD', `/v1/code/${digest}`)).status, 404)
    }
  })

  test('lists, shows, rolls back, splits and deletes', async (context) => {
    const { call } = await apiGround(context)
    for (const text of ['1', '2']) await call('PUT', '/v1/functions/b', { body: source(text) })
    await call('PUT', '/v1/functions/a', { body: source('1') })
    const list = await call('GET', '/v1/functions')
    mustMatch('GET', '/v1/functions', 200, list.json)
    assert.deepEqual(list.json.functions.map((each: { name: string }) => each.name), ['a', 'b'])
    assert.deepEqual(list.json.functions[1].instances, { starting: 0, ready: 1, busy: 2 })
    const page = await call('GET', '/v1/functions?limit=1')
    assert.equal(page.json.cursor, 'a')
    assert.deepEqual((await call('GET', '/v1/functions?limit=1&cursor=a')).json.functions[0].name, 'b')

    const revisions = await call('GET', '/v1/functions/b/revisions')
    mustMatch('GET', '/v1/functions/{name}/revisions', 200, revisions.json)
    assert.deepEqual(revisions.json.revisions.map((each: { number: number }) => each.number), [2, 1])
    const back = await call('POST', '/v1/functions/b/rollback')
    assert.deepEqual(back.json.traffic, [{ revision: 1, weight: 100 }])
    assert.deepEqual((await call('POST', '/v1/functions/b/rollback', { body: { revision: 2 } })).json.traffic, [{ revision: 2, weight: 100 }])
    const split = await call('PUT', '/v1/functions/b/traffic', { body: [{ revision: 1, weight: 10 }, { revision: 2, weight: 90 }] })
    assert.equal(split.status, 200)
    mustMatch('PUT', '/v1/functions/{name}/traffic', 200, split.json)
    const odd = await call('PUT', '/v1/functions/b/traffic', { body: [{ revision: 1, weight: 10 }] })
    assert.equal(odd.json.error.code, 'INPUT_INVALID')

    assert.equal((await call('DELETE', '/v1/functions/b')).status, 204)
    for (const [method, path] of [['GET', ''], ['DELETE', ''], ['GET', '/revisions'], ['POST', '/rollback'], ['GET', '/logs']] as const) {
      assert.equal((await call(method, `/v1/functions/b${path}`)).json.error.code, 'FUNCTION_NOT_FOUND', path)
    }
  })

  test('keeps namespaces apart; an admin says which it means', async (context) => {
    const { call } = await apiGround(context)
    const { key } = (await call('POST', '/v1/namespaces', { body: { name: 'team', quotas: { memoryMb: 128, codeBytes: 4096 } } })).json
    await call('PUT', '/v1/functions/f', { body: source('"of default"') })
    assert.equal((await call('GET', '/v1/functions/f', { key })).status, 404)
    assert.equal((await call('GET', '/v1/functions/f?namespace=default', { key })).json.error.code, 'FORBIDDEN')
    const deployed = await call('PUT', '/v1/functions/f?namespace=team', { body: { ...source('"of team"'), memoryMb: 100 } })
    assert.equal(deployed.json.namespace, 'team', deployed.text)
    assert.equal((await call('GET', '/v1/functions/f', { key })).status, 200)
    assert.equal((await call('GET', '/v1/functions?namespace=nowhere')).json.error.code, 'NAMESPACE_NOT_FOUND')
    assert.equal((await call('GET', '/v1/functions?namespace=nowhere', { key })).json.error.code, 'FORBIDDEN')
    const greedy = await call('PUT', '/v1/functions/f', { key, body: { ...source('x'), memoryMb: 256 } })
    assert.match(greedy.json.error.message, /256 MB is more than the 128 MB/)
    const large = await call('POST', '/v1/code', { key, body: Buffer.alloc(5000) })
    assert.deepEqual([large.status, large.json.error.code], [413, 'BODY_TOO_LARGE'])
  })
})
