/**
 * Goal: what is changed under a running platform takes effect, and what was running meanwhile is not hurt; what its operator
 * said at the start holds.
 *
 * Method: one platform, started with every option of its own; functions that tell what they were started with.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { assertError } from '../kit/http.ts'
import { pause, startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

/** Tells the secret that it was started with, after as long as it is told to wait. */
const TELLS = `
  const word = process.env.WORD
  const born = process.pid + '/' + performance.timeOrigin
  export async function main({ waitMs = 0 }) {
    await new Promise((resolve) => setTimeout(resolve, waitMs))
    return { word, born }
  }
`
/** A loopback address that is not among those allowed without saying. */
const OTHER_LOOPBACK = '127.0.0.2'

describe('a platform that is changed while it runs', () => {
  let platform: TestPlatform
  const put = (name: string, value: string) => platform.send(`/v1/secrets/${name}`, { method: 'PUT', body: JSON.stringify({ value }) })
  const tell = async (name: string, payload = {}) => (await platform.invoke(name, payload)).json<{ word: string; born: string }>()

  before(async () => {
    platform = await startTestPlatform({ args: ['--stem-cells', '0', '--callback-host', OTHER_LOOPBACK] })
  })
  after(() => platform[Symbol.asyncDispose]())

  test('keeps no stem cells when it was told so, and starts functions all the same', async () => {
    await platform.deployText('plain', 'plain.ts', 'export const main = () => ({ ok: true })')
    assert.equal((await platform.invoke('plain')).status, 200)
    await pause(300)
    assert.equal((await platform.send('/v1/stats')).json().platform.stemCells, 0)
  })

  test('a new value of a secret reaches running functions that name it, and only those; what runs goes on', async () => {
    await put('WORD', 'old')
    await put('UNRELATED', 'x')
    await platform.deployText('tells', 'tells.ts', TELLS, { secrets: ['WORD'] })
    await platform.deployText('other', 'other.ts', TELLS, { secrets: ['UNRELATED'], environment: { WORD: 'plain' } })
    const [before, other] = [await tell('tells'), await tell('other')]
    assert.deepEqual([before.word, other.word], ['old', 'plain'])

    const running = tell('tells', { waitMs: 600 })
    await pause(100)
    await put('WORD', 'new')
    assert.equal((await tell('tells')).word, 'new')
    assert.deepEqual(await running, before)
    const now = await tell('tells')
    assert.notEqual(now.born, before.born)
    assert.deepEqual([await tell('tells'), await tell('other')], [now, other])
  })

  test('without its secret a function says so, and works again as soon as it is back', async () => {
    await platform.send('/v1/secrets/WORD', { method: 'DELETE' })
    for (let time = 0; time < 3; time++) {
      const refused = await platform.invoke('tells')
      assertError(refused, 'INIT_FAILED')
      assert.match(refused.text, /WORD/)
    }
    await put('WORD', 'back')
    assert.equal((await tell('tells')).word, 'back')
  })

  test('the code of a deleted function is gone from the disk, unless another has the same', async () => {
    const source = 'export const main = () => ({ shared: true })'
    const digest = async (name: string): Promise<string> => {
      await platform.deployText(name, 'same.mjs', source)
      await platform.invoke(name)
      return (await platform.send(`/v1/functions/${name}`)).json().latest.code
    }
    const [one, two] = [await digest('one'), await digest('two')]
    assert.equal(one, two)
    const directory = join(platform.data, 'code', one)
    await platform.send('/v1/functions/one', { method: 'DELETE' })
    await pause(50)
    assert.ok(existsSync(join(directory, 'same.mjs')))
    assert.deepEqual((await platform.invoke('two')).json(), { shared: true })
    await platform.send('/v1/functions/two', { method: 'DELETE' })
    await until(() => !existsSync(directory), 'it is gone')
    // And is there again for who deploys it again.
    await digest('one')
    assert.ok(existsSync(join(directory, 'same.mjs')))
    await until(() => !readdirSync(join(platform.data, 'code')).some((name) => name.startsWith('.gone')), 'its space is free')
  })

  test('the code of a function is compiled ahead, once, and instances that start then have it', async () => {
    await platform.deployText('ahead', 'ahead.ts', `
      import { getCompileCacheDir } from 'node:module'
      export const main = () => ({ cache: getCompileCacheDir() ?? 'none' })
    `, { secrets: ['WORD'] })
    assert.equal((await platform.invoke('ahead')).json().cache, 'none')
    const { code } = (await platform.send('/v1/functions/ahead')).json().latest
    await until(() => existsSync(join(platform.data, 'code', code, '.compile-cache')), 'it is compiled')
    await put('WORD', 'anew')
    assert.match((await platform.invoke('ahead')).json().cache, /^\/app\/\.compile-cache/)
  })

  test('callbacks go to the host that the operator named, and to no other', async () => {
    const told = Promise.withResolvers<unknown>()
    const server = createServer((request, response) => {
      void request.toArray().then((chunks) => told.resolve(JSON.parse(Buffer.concat(chunks as Buffer[]).toString())))
      response.end()
    }).listen(0, OTHER_LOOPBACK)
    await once(server, 'listening')
    try {
      const { port } = server.address() as AddressInfo
      const headers = (host: string) => ({ prefer: 'respond-async', 'x-callback-url': `http://${host}:${port}/done` })
      assertError(await platform.invoke('plain', {}, headers('127.0.0.3')), 'INPUT_INVALID')
      const { id } = (await platform.invoke('plain', {}, headers(OTHER_LOOPBACK))).json()
      assert.equal(((await told.promise) as { id: string }).id, id)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })
})
