/**
 * Goal: who may do what is decided by the key and nothing else; namespaces see nothing of each other; quotas refuse with a
 * time to come back; a secret is seen by the functions that name it, and by nobody else.
 *
 * Method: two namespaces on one platform, each asking for everything of the other. The data directory is searched for the
 * secret's text.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { hello, waits } from '../kit/functions.ts'
import { assertError, send } from '../kit/http.ts'
import type { Answer, SendOptions } from '../kit/http.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

const SECRET = 'correct-horse-battery-staple'
const SHOWS_ENVIRONMENT = 'export function main() { return { body: process.env } }'

describe('access', () => {
  let platform: TestPlatform
  const keys = { red: '', blue: '' }

  const as = (namespace: 'red' | 'blue', path: string, options: SendOptions = {}): Promise<Answer> =>
    platform.send(path, { ...options, headers: { authorization: `Bearer ${keys[namespace]}`, ...options.headers } })
  const deployAs = async (namespace: 'red' | 'blue', name: string, text: string, config: object = {}): Promise<Answer> => {
    const answer = await as(namespace, `/v1/functions/${name}`, { method: 'PUT', body: JSON.stringify({ source: { filename: 'f.ts', text }, ...config }) })
    assert.ok(answer.status < 300, answer.text)
    return answer
  }
  const makeNamespace = async (name: string, quotas = {}): Promise<string> => {
    const made = await platform.send('/v1/namespaces', { method: 'POST', body: JSON.stringify({ name, quotas }) })
    assert.equal(made.status, 201, made.text)
    return made.json().key
  }

  before(async () => {
    platform = await startTestPlatform()
    keys.red = await makeNamespace('red')
    keys.blue = await makeNamespace('blue')
    await deployAs('red', 'mine', hello.text)
  })
  after(() => platform[Symbol.asyncDispose]())

  test('a namespace sees and reaches nothing of another', async () => {
    const ran = await as('red', '/fn/red/mine')
    assert.equal(ran.status, 200)
    await as('red', '/v1/secrets/WORD', { method: 'PUT', body: '{"value":"x"}' })

    assertError(await as('blue', '/fn/red/mine'), 'FORBIDDEN', /red/)
    assertError(await as('blue', '/fn/red/nobody'), 'FORBIDDEN')
    assertError(await as('blue', '/v1/functions?namespace=red'), 'FORBIDDEN')
    assertError(await as('blue', '/v1/functions/mine'), 'FUNCTION_NOT_FOUND')
    assertError(await as('blue', '/v1/functions/mine/invocations', { method: 'POST' }), 'FUNCTION_NOT_FOUND')
    assertError(await as('blue', '/v1/functions/mine/logs'), 'FUNCTION_NOT_FOUND')
    assertError(await as('blue', `/v1/invocations/${ran.id}`), 'INVOCATION_NOT_FOUND')
    assertError(await as('blue', '/v1/namespaces/red/keys'), 'FORBIDDEN')
    assertError(await as('blue', '/v1/namespaces', { method: 'POST', body: '{"name":"green"}' }), 'FORBIDDEN', /admin/)
    assertError(await as('blue', '/v1/namespaces/blue/keys', { method: 'POST', body: '{"name":"x","role":"admin"}' }), 'FORBIDDEN', /admin/)
    assert.deepEqual((await as('blue', '/v1/functions')).json().functions, [])
    assert.deepEqual((await as('blue', '/v1/invocations')).json().invocations, [])
    assert.deepEqual((await as('blue', '/v1/secrets')).json().secrets, [])
    assert.deepEqual((await as('blue', '/v1/namespaces')).json().namespaces.map((one: { name: string }) => one.name), ['blue'])
    assert.equal((await as('blue', '/v1/stats')).json().platform, undefined)
  })

  test('code of one namespace is not there for another that guesses its digest', async () => {
    const { latest } = (await as('red', '/v1/functions/mine')).json()
    assert.equal((await as('red', `/v1/code/${latest.code}`)).status, 200)
    assertError(await as('blue', `/v1/code/${latest.code}`), 'ENTITY_NOT_FOUND')
    const stolen = await as('blue', '/v1/functions/stolen', { method: 'PUT', body: JSON.stringify({ code: latest.code, kind: 'node', entry: 'f.ts' }) })
    assertError(stolen, 'ENTITY_NOT_FOUND')
  })

  test('the same name in two namespaces is two functions', async () => {
    await deployAs('blue', 'mine', 'export function main() { return { blue: true } }')
    assert.deepEqual((await as('blue', '/fn/blue/mine')).json(), { blue: true })
    assert.ok('hello' in (await as('red', '/fn/red/mine')).json())
  })

  test('an admin key acts in every namespace', async () => {
    assert.equal((await platform.send('/fn/red/mine')).status, 200)
    assert.deepEqual((await platform.send('/v1/functions?namespace=red')).json().functions.map((one: { name: string }) => one.name), ['mine'])
  })

  test('a public function needs no key, is private again when it says so, and keeps the caller\'s own authorization', async () => {
    const shows = 'export function main(params: any) { return { body: { authorization: params.__ow_headers.authorization ?? "none" } } }'
    await deployAs('red', 'open', shows, { public: true })
    const url = `${platform.url}/fn/red/open`
    assert.deepEqual((await send(url)).json(), { authorization: 'none' })
    assert.deepEqual((await send(url, { headers: { authorization: 'Bearer for-the-function' } })).json(), { authorization: 'Bearer for-the-function' })
    assertError(await send(`${platform.url}/v1/functions/open/invocations`, { method: 'POST' }), 'KEY_MISSING')
    await deployAs('red', 'open', shows, { public: false })
    assertError(await send(url), 'KEY_MISSING')
  })

  test('a revoked key is refused at once, also on a connection that used it before', async () => {
    const made = (await platform.send('/v1/namespaces/red/keys', { method: 'POST', body: '{"name":"short-lived"}' })).json()
    const headers = { authorization: `Bearer ${made.key}` }
    assert.equal((await platform.send('/fn/red/mine', { headers })).status, 200)
    assert.equal((await platform.send('/v1/whoami', { headers })).json().keyName, 'short-lived')
    assert.equal((await platform.send(`/v1/namespaces/red/keys/${made.id}`, { method: 'DELETE' })).status, 204)
    assertError(await platform.send('/fn/red/mine', { headers }), 'KEY_INVALID', /revoked/)
    assertError(await platform.send('/v1/whoami', { headers }), 'KEY_INVALID')
    assert.equal((await as('red', '/fn/red/mine')).status, 200)
  })

  test('a rate quota refuses with 429 and a Retry-After that holds', async () => {
    const key = await makeNamespace('slow', { invocationsPerMinute: 60 })
    const headers = { authorization: `Bearer ${key}` }
    await platform.send('/v1/functions/f?namespace=slow', { method: 'PUT', body: JSON.stringify({ source: { filename: 'f.ts', text: hello.text } }) })
    const answers: Answer[] = []
    for (let n = 0; n < 64; n++) answers.push(await platform.send('/fn/slow/f', { headers }))
    const refused = answers.filter((answer) => answer.status === 429)
    // 60 at once, and one each second since then.
    assert.ok(refused.length >= 2 && refused.length <= 4, `${refused.length} were refused`)
    const error = assertError(refused.at(-1)!, 'RATE_EXCEEDED', /60.*quota/)
    const retryAfterS = Number(refused.at(-1)!.headers['retry-after'])
    assert.ok(retryAfterS >= 1 && retryAfterS <= 2, `retry-after: ${retryAfterS}`)
    assert.ok(Number(error.details?.['retryAfterMs']) <= 1000)
    assertError(await platform.send('/v1/functions/f/invocations?async=true', { method: 'POST', headers }), 'RATE_EXCEEDED')
    await new Promise((resolve) => setTimeout(resolve, retryAfterS * 1000))
    assert.equal((await platform.send('/fn/slow/f', { headers })).status, 200)
    assert.equal((await platform.send('/v1/namespaces/slow/quotas', { method: 'PUT', body: '{"invocationsPerMinute":6000}' })).status, 200)
    for (let n = 0; n < 5; n++) assert.equal((await platform.send('/fn/slow/f', { headers })).status, 200)
  })

  test('a concurrency quota refuses what is too much at once, and nothing afterwards', async () => {
    const key = await makeNamespace('narrow', { concurrentInvocations: 2 })
    const headers = { authorization: `Bearer ${key}` }
    await platform.send('/v1/functions/waits?namespace=narrow', { method: 'PUT', body: JSON.stringify({ source: waits }) })
    const answers = await Promise.all(Array.from({ length: 5 }, () => platform.send('/fn/narrow/waits', { method: 'POST', headers, body: '{"ms":300}' })))
    assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 200, 429, 429, 429])
    const refused = answers.find((answer) => answer.status === 429)!
    assertError(refused, 'CONCURRENCY_EXCEEDED', /2 invocations/)
    assert.ok(Number(refused.headers['retry-after']) >= 1)
    assert.equal((await platform.send('/fn/narrow/waits', { method: 'POST', headers, body: '{"ms":1}' })).status, 200)
    assert.equal((await as('red', '/fn/red/mine')).status, 200)
  })

  test('a secret reaches the functions that name it, and nobody else', async () => {
    assert.equal((await as('red', '/v1/secrets/PASSPHRASE', { method: 'PUT', body: JSON.stringify({ value: SECRET }) })).status, 200)
    await deployAs('red', 'trusted', SHOWS_ENVIRONMENT, { secrets: ['PASSPHRASE'] })
    await deployAs('red', 'other', SHOWS_ENVIRONMENT)
    assert.equal((await as('red', '/fn/red/trusted')).json()['PASSPHRASE'], SECRET)
    assert.ok(!(await as('red', '/fn/red/other')).text.includes(SECRET))
    for (const path of ['/v1/secrets', '/v1/secrets/PASSPHRASE', '/v1/functions/trusted', '/v1/functions/trusted/revisions', '/v1/invocations', '/v1/functions/trusted/logs', '/v1/stats']) {
      const answer = await as('red', path)
      assert.equal(answer.status, 200, path)
      assert.ok(!answer.text.includes(SECRET), path)
    }
    // Not on the disk either, nor in what `ps` shows.
    const files = readdirSync(platform.data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    for (const file of files) assert.ok(!readFileSync(join(file.parentPath, file.name)).includes(SECRET), file.name)
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      let shown = ''
      try {
        shown = readFileSync(`/proc/${pid}/cmdline`, 'latin1')
      } catch {
        continue
      }
      assert.ok(!shown.includes(SECRET), `process ${pid}`)
    }
    assert.ok(!platform.log().includes(SECRET))
  })

  test('a changed secret reaches instances that start from then on; a deleted namespace takes all with it', async () => {
    const key = await makeNamespace('brief')
    const headers = { authorization: `Bearer ${key}` }
    await platform.send('/v1/secrets/S', { method: 'PUT', headers, body: '{"value":"one"}' })
    const deploy = (extra: object): Promise<Answer> => platform.send('/v1/functions/f', { method: 'PUT', headers, body: JSON.stringify({ source: { filename: 'f.ts', text: SHOWS_ENVIRONMENT }, secrets: ['S'], ...extra }) })
    await deploy({})
    assert.equal((await platform.send('/fn/brief/f', { headers })).json()['S'], 'one')
    await platform.send('/v1/secrets/S', { method: 'PUT', headers, body: '{"value":"two"}' })
    await deploy({ environment: { ANEW: '1' } })
    assert.equal((await platform.send('/fn/brief/f', { headers })).json()['S'], 'two')
    assert.equal((await platform.send('/v1/namespaces/brief', { method: 'DELETE' })).status, 204)
    assertError(await platform.send('/fn/brief/f', { headers }), 'KEY_INVALID')
    await until(async () => (await platform.send('/fn/brief/f')).status === 404, 'the function is gone')
  })
})
