/**
 * Goal: a namespace sees its own snapshots and nobody else's, and drops what it names. Method: fetch against a real server, answers held
 * to their schemas.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { apiGround } from './api.fake.ts'
import type { Answer, ApiGround } from './api.fake.ts'
import { snapshotRoutes } from './routes/snapshots.ts'

type Snapshot = ApiGround['snapshots'][number]

function snapshot(namespace: string, name: string, revision: number, over: Partial<Snapshot> = {}): Snapshot {
  return { namespace, function: name, revision, imageBytes: 1 << 20, storedBytes: 8192, diskBytes: 12_288, takenAtMs: 1, answered: 0, lastUsedMs: 2, inUse: 0, verified: true, ...over }
}

function mustMatch(method: string, path: string, answer: Answer): void {
  const route = snapshotRoutes.find((each) => each.method === method && each.path === path)!
  route.answers[answer.status]!.schema!.parse(answer.json)
}

describe('snapshots over HTTP', () => {
  test('are listed for their own namespace; an admin key may name another', async (context) => {
    const { call, snapshots, services } = await apiGround(context)
    await services.namespaces.create('other')
    const { key } = await services.namespaces.createKey({ namespace: 'other', name: 'k', role: 'namespace' })
    snapshots.push(snapshot('default', 'a', 1), snapshot('other', 'b', 2))
    const own = await call('GET', '/v1/snapshots')
    mustMatch('GET', '/v1/snapshots', own)
    assert.deepEqual(own.json.snapshots.map((one: Snapshot) => one.function), ['a'])
    assert.deepEqual((await call('GET', '/v1/snapshots?namespace=other')).json.snapshots.map((one: Snapshot) => one.function), ['b'])
    assert.deepEqual((await call('GET', '/v1/snapshots', { key })).json.snapshots.map((one: Snapshot) => one.function), ['b'])
    for (const method of ['GET', 'DELETE']) {
      assert.equal((await call(method, '/v1/snapshots/a', { key })).json.error.code, 'ENTITY_NOT_FOUND')
      assert.equal((await call(method, '/v1/snapshots/a?namespace=default', { key })).json.error.code, 'FORBIDDEN')
    }
    assert.equal(snapshots.length, 2)
  })

  test('are shown in full: the newest revision that has one, or the one that is named', async (context) => {
    const { call, snapshots } = await apiGround(context)
    const contiguity = { pages: 5, runs: 2, meanRunPages: 2.5, longestRunPages: 4, runsByPowerOfTwo: [1, 0, 1] }
    const recording = { recordedAtMs: 3, pagesRecorded: 5, pagesZero: 1, pagesPrefetched: 4, runs: 2, order: 'page', encoding: 'stored', diskBytes: 4096 } as const
    snapshots.push(snapshot('default', 'a', 3, { contiguity, recording }), snapshot('default', 'a', 1), snapshot('default', 'b', 9))
    const newest = await call('GET', '/v1/snapshots/a')
    mustMatch('GET', '/v1/snapshots/{name}', newest)
    assert.deepEqual([newest.json.revision, newest.json.contiguity, newest.json.recording], [3, contiguity, recording])
    assert.equal((await call('GET', '/v1/snapshots/a?revision=1')).json.revision, 1)
    const missing = await call('GET', '/v1/snapshots/a?revision=2')
    assert.deepEqual([missing.status, missing.json.error.code], [404, 'ENTITY_NOT_FOUND'])
    assert.match(missing.json.error.message, /a@2.*revision 3, 1/)
    for (const wrong of ['0', 'x', '1e3', '99999999999']) assert.equal((await call('GET', `/v1/snapshots/a?revision=${wrong}`)).json.error.code, 'INPUT_INVALID')
    assert.equal((await call('GET', '/v1/snapshots/a%2Fb')).json.error.code, 'NAME_INVALID')
  })

  test('are dropped one by one, or all of a function', async (context) => {
    const { call, snapshots } = await apiGround(context)
    for (const revision of [1, 2, 3]) snapshots.push(snapshot('default', 'a', revision))
    snapshots.push(snapshot('default', 'b', 1))
    const one = await call('DELETE', '/v1/snapshots/a?revision=2')
    mustMatch('DELETE', '/v1/snapshots/{name}', one)
    assert.deepEqual([one.status, one.json], [200, { dropped: [2] }])
    assert.deepEqual((await call('DELETE', '/v1/snapshots/a')).json, { dropped: [1, 3] })
    assert.deepEqual(snapshots.map((left) => left.function), ['b'])
    assert.equal((await call('DELETE', '/v1/snapshots/a')).json.error.code, 'ENTITY_NOT_FOUND')
  })

  test('are in the document', async (context) => {
    const { call } = await apiGround(context)
    const { paths } = (await call('GET', '/v1/openapi.json')).json
    assert.deepEqual(Object.keys(paths['/v1/snapshots/{name}']), ['get', 'delete'])
    const record = paths['/v1/invocations'].get.responses['200'].content['application/json'].schema.properties.invocations.items
    assert.equal(record.properties.snapshot.properties.restoreUs.type, 'number')
  })
})
