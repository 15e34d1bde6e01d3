/**
 * Goal: what cannot work is refused when it is deployed, and a revision that does not start takes no traffic from one that does.
 *
 * Method: the API over a real registry and the real check of code; how instances start is the test's to say.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { pack } from 'tar-stream'
import { PlatformError } from '#contract/errors.ts'
import { apiGround } from './api.fake.ts'
import type { Answer, ApiGround } from './api.fake.ts'

const reactor = readFileSync(join(import.meta.dirname, '../../../test/functions/wasm/reactor.wasm'))
const initFailed = new PlatformError('INIT_FAILED', 'It throws at the top level.')

async function upload({ call }: ApiGround, files: Readonly<Record<string, string | Buffer>>): Promise<string> {
  const tar = pack()
  for (const [name, content] of Object.entries(files)) tar.entry({ name, mtime: new Date(0) }, content)
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar) chunks.push(chunk as Buffer)
  return (await call('POST', '/v1/code', { body: Buffer.concat(chunks) })).json.digest
}

const js = (text: string, over: object = {}) => ({ body: { source: { filename: 'hello.js', text }, kind: 'js', ...over } })
const answered = ({ status, json }: Answer): unknown[] => [status, json.error?.code]
const traffic = async ({ call }: ApiGround, name: string): Promise<number[]> => (await call('GET', `/v1/functions/${name}`)).json.traffic.map((share: { revision: number }) => share.revision)

describe('code of faaslet kinds', () => {
  test('is judged before there is a revision: JavaScript given here', async (context) => {
    const ground = await apiGround(context)
    const refused = await ground.call('PUT', '/v1/functions/f', js('import "node:fs"'))
    assert.deepEqual(answered(refused), [422, 'CODE_INVALID'])
    assert.match(refused.json.error.message, /node:fs/)
    assert.equal((await ground.call('GET', '/v1/functions/f')).status, 404)
    assert.equal((await ground.call('PUT', '/v1/functions/f', js('export default () => "hello"'))).status, 201)
    // As TypeScript it is judged without its types.
    assert.equal((await ground.call('PUT', '/v1/functions/t', { body: { source: { filename: 't.ts', text: 'import type { A } from "a"\nexport default (a: A) => a' }, kind: 'js' } })).status, 201)
    assert.equal((await ground.call('PUT', '/v1/functions/n', { body: { source: { filename: 'n.js', text: 'import "node:fs"' } } })).status, 201, 'kind node may')
  })

  test('is judged before there is a revision: the entry of a tar, with the function\'s own limit and handler', async (context) => {
    const ground = await apiGround(context)
    const code = await upload(ground, { 'readme.txt': 'hello', 'lib/main.wasm': reactor, 'bad.wasm': 'no module', 'index.js': 'import "left-pad"' })
    const deploy = (name: string, over: object): Promise<Answer> => ground.call('PUT', `/v1/functions/${name}`, { body: { code, ...over } })
    assert.equal((await deploy('good', { entry: './lib/main.wasm' })).status, 201)
    assert.deepEqual(answered(await deploy('bad', { entry: 'bad.wasm' })), [422, 'CODE_INVALID'])
    assert.deepEqual(answered(await deploy('bad', { entry: 'lib/main.wasm', handler: 'nobody' })), [422, 'HANDLER_NOT_FOUND'])
    assert.deepEqual(answered(await deploy('bad', { entry: 'index.js', kind: 'js' })), [422, 'CODE_INVALID'])
    assert.deepEqual(answered(await deploy('bad', { entry: 'none.wasm' })), [422, 'CODE_INVALID'])
    assert.deepEqual(answered(await deploy('good', { entry: 'lib/main.wasm', handler: 'nobody' })), [422, 'HANDLER_NOT_FOUND'])
    assert.equal((await ground.call('GET', '/v1/functions/bad')).status, 404)
    assert.deepEqual(ground.prepared, ['prepare good@1'])
  })
})

describe('a deployment', () => {
  test('of a faaslet kind starts an instance that nobody waits for, and says nothing when it fails', async (context) => {
    const ground = await apiGround(context)
    ground.starts.by = () => Promise.reject(initFailed)
    assert.equal((await ground.call('PUT', '/v1/functions/f', js('1'))).status, 201)
    assert.equal((await ground.call('PUT', '/v1/functions/f', js('1'))).status, 200)
    assert.equal((await ground.call('PUT', '/v1/functions/f', js('2', { activate: false }))).status, 201)
    assert.equal((await ground.call('PUT', '/v1/functions/n', { body: { source: { filename: 'n.js', text: '1' } } })).status, 201)
    assert.deepEqual(ground.prepared, ['prepare f@1', 'prepare f@2', 'release f@2'])
  })

  test('with prepare answers when it is ready, and gives it the traffic then', async (context) => {
    const ground = await apiGround(context)
    await ground.call('PUT', '/v1/functions/f', js('1', { prepare: true }))
    let during: number[] = []
    ground.starts.by = async () => void (during = await traffic(ground, 'f'))
    const second = await ground.call('PUT', '/v1/functions/f', js('2', { prepare: true }))
    assert.deepEqual([second.status, second.json.deployed, second.json.traffic, during], [201, 2, [{ revision: 2, weight: 100 }], [1]])
    assert.deepEqual(ground.prepared, ['prepare f@1', 'prepare f@2'])
    const third = await ground.call('PUT', '/v1/functions/f', js('3', { prepare: true, activate: false }))
    assert.deepEqual([third.status, await traffic(ground, 'f')], [201, [2]])
    assert.deepEqual(ground.prepared.slice(2), ['prepare f@3', 'release f@3'])
  })

  test('with prepare leaves the traffic where it is when it does not start, and can be sent again (D1, D3)', async (context) => {
    const ground = await apiGround(context)
    await ground.call('PUT', '/v1/functions/f', js('1'))
    ground.starts.by = () => Promise.reject(initFailed)
    const failed = await ground.call('PUT', '/v1/functions/f', js('2', { prepare: true }))
    assert.deepEqual(answered(failed), [502, 'INIT_FAILED'])
    assert.equal(failed.json.error.message, 'Revision 2 of f does not start: It throws at the top level. It is kept without traffic, which stays with revision 1.')
    assert.deepEqual(failed.json.error.details, { revision: 2, hasTraffic: false })
    assert.deepEqual(await traffic(ground, 'f'), [1])
    assert.deepEqual((await ground.call('GET', '/v1/functions/f/revisions')).json.revisions.map((one: { number: number }) => one.number), [2, 1])
    assert.deepEqual(ground.prepared, ['prepare f@1', 'prepare f@2', 'release f@2'])
    ground.starts.by = async () => {}
    const again = await ground.call('PUT', '/v1/functions/f', js('2', { prepare: true }))
    assert.deepEqual([again.status, again.json.created, await traffic(ground, 'f')], [200, false, [2]])
  })

  test('with prepare of a first revision that does not start says that it has the traffic', async (context) => {
    const ground = await apiGround(context)
    ground.starts.by = () => Promise.reject(initFailed)
    const failed = await ground.call('PUT', '/v1/functions/f', js('1', { prepare: true }))
    assert.deepEqual([...answered(failed), failed.json.error.details], [502, 'INIT_FAILED', { revision: 1, hasTraffic: true }])
    assert.match(failed.json.error.message, /^Revision 1 of f does not start: .* has the traffic/)
    assert.deepEqual([await traffic(ground, 'f'), ground.prepared], [[1], ['prepare f@1']])
  })

  test('with prepare does not take the traffic back from a newer revision (D2, D3)', async (context) => {
    const ground = await apiGround(context)
    await ground.call('PUT', '/v1/functions/f', js('1'))
    ground.starts.by = async ({ number }) => {
      if (number === 2) await ground.call('PUT', '/v1/functions/f', js('3'))
    }
    const slow = await ground.call('PUT', '/v1/functions/f', js('2', { prepare: true }))
    assert.deepEqual([slow.status, slow.json.deployed, await traffic(ground, 'f')], [201, 2, [3]])
    assert.ok(ground.prepared.includes('release f@2'), ground.prepared.join())
  })
})
