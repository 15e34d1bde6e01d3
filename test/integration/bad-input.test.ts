/**
 * Goal: whoever asks for what cannot be, hears at once what is wrong, with which value, and what to do; nothing is lost.
 *
 * Method: one platform is sent wrong requests, as whole HTTP; others are started where they cannot run: on a port or a
 * data directory in use, on data of a newer version, on a disk that is full. After each, the right request must work.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, rmdirSync, statfsSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { once } from 'node:events'
import { DatabaseSync } from 'node:sqlite'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import type { PlatformErrorCode } from '#contract/errors.ts'
import { fillDisk } from '#store/small-disk.ts'
import { hello } from '../kit/functions.ts'
import { assertError, send } from '../kit/http.ts'
import type { SendOptions } from '../kit/http.ts'
import { failedStart, startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

const json = { 'content-type': 'application/json' }
const source = { filename: 'f.ts', text: 'export function main() {}' }
const longName = 'n'.repeat(300)

interface BadRequest {
  readonly is: string
  readonly path: string
  readonly options?: SendOptions
  readonly code: PlatformErrorCode
  readonly says: RegExp
}

const deploy = (name: string, body: unknown): Pick<BadRequest, 'path' | 'options'> => ({
  path: `/v1/functions/${name}`,
  options: { method: 'PUT', headers: json, body: typeof body === 'string' ? body : JSON.stringify(body) },
})

const requests: readonly BadRequest[] = [
  { is: 'an unknown function', path: '/fn/default/nobody', code: 'FUNCTION_NOT_FOUND', says: /nobody.*skep list/ },
  { is: 'an unknown function of the API', path: '/v1/functions/nobody', code: 'FUNCTION_NOT_FOUND', says: /nobody/ },
  { is: 'an invocation of an unknown function', path: '/v1/functions/nobody/invocations', options: { method: 'POST' }, code: 'FUNCTION_NOT_FOUND', says: /nobody/ },
  { is: 'an asynchronous invocation of an unknown function', path: '/v1/functions/nobody/invocations?async=true', options: { method: 'POST' }, code: 'FUNCTION_NOT_FOUND', says: /nobody/ },
  { is: 'logs of an unknown function', path: '/v1/functions/nobody/logs', code: 'FUNCTION_NOT_FOUND', says: /nobody/ },
  { is: 'an unknown namespace', path: '/v1/functions?namespace=nowhere', code: 'NAMESPACE_NOT_FOUND', says: /nowhere/ },
  { is: 'an unknown invocation', path: `/v1/invocations/${'0'.repeat(32)}`, code: 'INVOCATION_NOT_FOUND', says: /00000/ },
  { is: 'an invocation id that is none', path: '/v1/invocations/xyz', code: 'INPUT_INVALID', says: /32 lowercase hex/ },
  { is: 'an unknown revision', path: '/v1/functions/hello/rollback', options: { method: 'POST', headers: json, body: '{"revision":99}' }, code: 'REVISION_NOT_FOUND', says: /99/ },
  { is: 'an unknown route', path: '/v1/nothing', code: 'ROUTE_NOT_FOUND', says: /openapi\.json/ },
  { is: 'an unknown route outside of the API', path: '/nothing', code: 'ROUTE_NOT_FOUND', says: /\/fn\/<namespace>\/<name>/ },
  { is: 'a wrong method', path: '/v1/functions/hello', options: { method: 'POST' }, code: 'METHOD_NOT_ALLOWED', says: /POST.*GET.*PUT.*DELETE/ },
  { is: 'a function address without a name', path: '/fn/default', code: 'NAME_INVALID', says: /\/fn\/<namespace>\/<name>/ },
  { is: 'a name of 300 characters at its address', path: `/fn/default/${longName}`, code: 'NAME_INVALID', says: /300 characters.*64/ },
  { is: 'a name with an escape', path: '/fn/default/a%2Fb', code: 'NAME_INVALID', says: /a%2Fb/ },
  { is: 'a broken percent escape', path: '/v1/functions/%zz', code: 'NAME_INVALID', says: /encodeURIComponent/ },
  { is: 'a deployment of a name with a slash', ...deploy('a/b', { source }), code: 'NAME_INVALID', says: /slash/ },
  { is: 'a deployment of a name with an escaped slash', ...deploy('a%2Fb', { source }), code: 'NAME_INVALID', says: /a\/b/ },
  { is: 'a deployment of a name of 300 characters', ...deploy(longName, { source }), code: 'NAME_INVALID', says: /300 characters/ },
  { is: 'a deployment of a name that is a directory', ...deploy('.hidden', { source }), code: 'NAME_INVALID', says: /begins with a letter or digit/ },
  { is: 'a configuration that is no JSON', ...deploy('bad', '{"source": {,}}'), code: 'JSON_INVALID', says: /line 1, column/ },
  { is: 'a configuration that breaks off', ...deploy('bad', '{"source": '), code: 'JSON_INVALID', says: /line 1/ },
  { is: 'a configuration that is not UTF-8', path: '/v1/functions/bad', options: { method: 'PUT', body: Buffer.from([0x22, 0xff, 0x22]) }, code: 'JSON_INVALID', says: /UTF-8/ },
  { is: 'an empty configuration', ...deploy('bad', ''), code: 'INPUT_INVALID', says: /body/ },
  { is: 'a configuration of another type', ...deploy('bad', [1]), code: 'INPUT_INVALID', says: /object/ },
  { is: 'a misspelt field', ...deploy('bad', { source, memoryMB: 128 }), code: 'INPUT_INVALID', says: /memoryMB/ },
  { is: 'a value out of range', ...deploy('bad', { source, timeoutMs: 0 }), code: 'INPUT_INVALID', says: /timeoutMs.*given: 0/ },
  { is: 'neither code nor source', ...deploy('bad', { memoryMb: 128 }), code: 'INPUT_INVALID', says: /either code .* or source/ },
  { is: 'code that was never uploaded', ...deploy('bad', { code: '0'.repeat(64), entry: 'a.js', kind: 'node' }), code: 'ENTITY_NOT_FOUND', says: /POST \/v1\/code/ },
  { is: 'a secret that is not there', ...deploy('bad', { source, secrets: ['NO_SUCH'] }), code: 'INPUT_INVALID', says: /PUT \/v1\/secrets\/NO_SUCH/ },
  { is: 'a file name with a directory', ...deploy('bad', { source: { filename: '../f.ts', text: '' } }), code: 'INPUT_INVALID', says: /directory/ },
  { is: 'a configuration of 2 MB', ...deploy('bad', { source: { filename: 'f.ts', text: 'x'.repeat(2_000_000) } }), code: 'BODY_TOO_LARGE', says: /1048576.*\/v1\/code/ },
  { is: 'a query that is none', path: '/v1/invocations?limit=many', code: 'INPUT_INVALID', says: /limit.*whole number/ },
  { is: 'a query nobody knows', path: '/v1/invocations?colour=red', code: 'INPUT_INVALID', says: /colour/ },
  { is: 'an event that is no JSON', path: '/v1/functions/hello/invocations', options: { method: 'POST', headers: json, body: '{oops' }, code: 'JSON_INVALID', says: /JSON/ },
  { is: 'a JSON request that is none', path: '/fn/default/hello', options: { method: 'POST', headers: json, body: '{oops' }, code: 'JSON_INVALID', says: /JSON/ },
  { is: 'a callback to somewhere else', path: '/v1/functions/hello/invocations?async=true', options: { method: 'POST', headers: { 'x-callback-url': 'http://192.0.2.1/x' } }, code: 'INPUT_INVALID', says: /192\.0\.2\.1/ },
  { is: 'a callback that is no address', path: '/v1/functions/hello/invocations?async=true', options: { method: 'POST', headers: { 'x-callback-url': 'nowhere' } }, code: 'INPUT_INVALID', says: /nowhere/ },
  { is: 'a key that is none', path: '/fn/default/hello', options: { headers: { authorization: 'Bearer skep_000000000000_x' } }, code: 'KEY_INVALID', says: /revoked|another platform/ },
  { is: 'a header that holds no key', path: '/v1/functions', options: { headers: { authorization: 'Digest x' } }, code: 'KEY_INVALID', says: /Bearer <key>/ },
  { is: 'a key of 10 KB', path: '/v1/functions', options: { headers: { authorization: `Bearer ${'x'.repeat(10_000)}` } }, code: 'KEY_INVALID', says: /skep_<id>_<secret>/ },
]

describe('bad requests', () => {
  let platform: TestPlatform

  before(async () => {
    platform = await startTestPlatform()
    await platform.deployText('hello', hello.filename, hello.text)
  })
  after(() => platform[Symbol.asyncDispose]())
  afterEach(async () => {
    assert.equal((await platform.invoke('hello')).status, 200)
  })

  for (const { is, path, options, code, says } of requests) {
    test(`${is}: ${code}`, async () => {
      assertError(await platform.send(path, options), code, says)
    })
  }

  test('no key: KEY_MISSING, with how to send one, for an existing and for an unknown function alike', async () => {
    for (const path of ['/fn/default/hello', '/fn/default/nobody', '/v1/functions', '/metrics']) {
      const answer = await send(`${platform.url}${path}`)
      assertError(answer, 'KEY_MISSING', /Authorization: Bearer <key>/)
      assert.match(String(answer.headers['www-authenticate']), /Bearer/)
    }
  })

  test('a wrong method names the right ones in `allow`', async () => {
    const answer = await platform.send('/v1/functions/hello', { method: 'POST' })
    assert.equal(answer.headers.allow, 'GET, PUT, DELETE')
  })

  test('code over the namespace\'s quota: BODY_TOO_LARGE, also when the length is not announced', async () => {
    const created = await platform.send('/v1/namespaces', { method: 'POST', headers: json, body: JSON.stringify({ name: 'small', quotas: { codeBytes: 10_000 } }) })
    const headers = { authorization: `Bearer ${created.json().key}`, 'content-type': 'application/x-tar' }
    assertError(await platform.send('/v1/code', { method: 'POST', headers, body: Buffer.alloc(1_000_000) }), 'BODY_TOO_LARGE', /10000/)
    async function* chunks(): AsyncGenerator<Buffer> {
      for (let n = 0; n < 100; n++) yield Buffer.alloc(10_000)
    }
    assertError(await platform.send('/v1/code', { method: 'POST', headers, body: Readable.from(chunks()) }), 'BODY_TOO_LARGE', /10000/)
  })

  test('code that is no tar: CODE_INVALID, at the latest when it is to be run', async () => {
    const uploaded = await platform.send('/v1/code', { method: 'POST', headers: { 'content-type': 'application/x-tar' }, body: 'this is no tar' })
    if (uploaded.status !== 201) return void assertError(uploaded, 'CODE_INVALID', /tar/)
    const deployed = await platform.send('/v1/functions/no-tar', { method: 'PUT', headers: json, body: JSON.stringify({ code: uploaded.json().digest, kind: 'node', entry: 'a.js' }) })
    assertError(deployed.status >= 400 ? deployed : await platform.fn('no-tar'), 'CODE_INVALID', /tar/)
  })

  test('what is no HTTP is refused, and does no harm', async () => {
    const { port } = new URL(platform.url)
    for (const bytes of ['garbage\r\n\r\n', `GET / HTTP/1.1\r\nhost: x\r\n${'a: b\r\n'.repeat(5000)}\r\n`, 'POST /fn/default/hello HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello']) {
      const socket = connect(Number(port), '127.0.0.1')
      socket.end(bytes)
      const answer = await text(socket).catch(() => '')
      assert.match(answer, /^(HTTP\/1\.1 4\d\d |$)/)
    }
  })
})

describe('a platform that cannot start', () => {
  const directories: string[] = []
  const directory = (): string => {
    const made = mkdtempSync(join(tmpdir(), 'skep-test-'))
    directories.push(made)
    return made
  }
  after(() => directories.forEach((one) => rmSync(one, { recursive: true, force: true })))

  const assertFailed = (start: { exitCode: number | null; stdout: string; stderr: string }, code: PlatformErrorCode, says: RegExp): void => {
    assert.equal(start.exitCode, 5, `${start.stdout}${start.stderr}`)
    const { error } = JSON.parse(start.stdout) as { error: { code: string; message: string } }
    assert.equal(error.code, code)
    assert.match(error.message, says)
  }

  test('a port in use: PORT_IN_USE, with the port and --port', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    try {
      const data = directory()
      assertFailed(await failedStart(['--port', String(port), '--data', data, '--json']), 'PORT_IN_USE', new RegExp(`${port}.*--port`))
      const spoken = await failedStart(['--port', String(port), '--data', data])
      assert.match(spoken.stderr, new RegExp(`PORT_IN_USE.*${port}`))
      // It left the directory usable.
      await using platform = await startTestPlatform({ data })
      assert.equal((await platform.send('/healthz')).status, 200)
    } finally {
      server.close()
    }
  })

  test('a port that is none', async () => {
    const start = await failedStart(['--port', '70000', '--data', directory(), '--json'])
    assert.equal(start.exitCode, 2)
    assert.match(start.stdout, /70000/)
  })

  test('a data directory in use: DATA_LOCKED, and the platform that uses it is not disturbed', async () => {
    const data = directory()
    await using platform = await startTestPlatform({ data })
    await platform.deployText('hello', hello.filename, hello.text)
    assert.equal((await platform.invoke('hello')).json().answered, 1)
    assertFailed(await failedStart(['--port', '0', '--data', data, '--json']), 'DATA_LOCKED', new RegExp(`${data}.*--data|--data.*${data}|${data}`))
    assert.equal((await platform.invoke('hello')).json().answered, 2)
  })

  test('data of a newer version: DATA_VERSION_NEWER with both versions, and the data stays as it is', async () => {
    const data = directory()
    await (await startTestPlatform({ data }))[Symbol.asyncDispose]()
    const path = join(data, 'store.sqlite')
    const database = new DatabaseSync(path)
    const before = database.prepare("SELECT value FROM meta WHERE key = 'schema'").get()!['value']
    database.prepare("UPDATE meta SET value = 99 WHERE key = 'schema'").run()
    database.close()
    assertFailed(await failedStart(['--port', '0', '--data', data, '--json']), 'DATA_VERSION_NEWER', new RegExp(`99.*${String(before)}`))
    const again = new DatabaseSync(path)
    assert.equal(again.prepare("SELECT value FROM meta WHERE key = 'schema'").get()!['value'], 99)
    again.prepare("UPDATE meta SET value = ? WHERE key = 'schema'").run(before!)
    again.close()
    await using platform = await startTestPlatform({ data })
    assert.equal((await platform.send('/healthz')).status, 200)
  })

  test('a data directory that cannot be made', async () => {
    const file = join(directory(), 'file')
    closeSync(openSync(file, 'w'))
    const start = await failedStart(['--port', '0', '--data', join(file, 'data'), '--json'])
    assert.notEqual(start.exitCode, 0)
    const { error } = JSON.parse(start.stdout) as { error: { code: string; message: string } }
    assert.equal(error.code, 'STORE_FAILED', error.message)
    assert.ok(error.message.includes(file))
  })
})

describe('a disk that is full', () => {
  const path = mkdtempSync(join(tmpdir(), 'skep-disk-'))
  // Room for a platform with a function, not much more.
  const isMounted = process.getuid?.() === 0 && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', path], { stdio: 'ignore' }).status === 0
  after(() => {
    if (isMounted) spawnSync('umount', ['-l', path])
    rmdirSync(path)
  })

  test('STORE_FULL for what would have to be kept; what runs goes on; and with room again all is well', { skip: !isMounted && 'this user may not mount a small disk' }, async () => {
    const data = join(path, 'data')
    const ballast = join(path, 'ballast')
    await using platform = await startTestPlatform({ data })
    await platform.deployText('hello', hello.filename, hello.text)
    assert.equal((await platform.invoke('hello')).status, 200)
    const kept = (await platform.invoke('hello', {}, { prefer: 'respond-async' })).json().id
    await platform.record(kept)

    fillDisk(ballast)
    assert.equal(statfsSync(path).bavail, 0)

    // Pages that the database has already may take the first few.
    const accepted: string[] = []
    const refused = await until(async () => {
      const answer = await platform.invoke('hello', { padding: 'x'.repeat(20_000) }, { prefer: 'respond-async' })
      if (answer.status !== 202) return answer
      accepted.push(answer.json().id)
      return undefined
    }, 'the disk is full')
    assertError(refused, 'STORE_FULL', /disk|space|full/i)
    assertError(await platform.send('/v1/functions/late', { method: 'PUT', headers: json, body: JSON.stringify({ source }) }), 'STORE_FULL', /disk|space|full/i)
    assertError(await platform.send('/fn/default/hello', { method: 'POST', headers: { prefer: 'respond-async' }, body: Buffer.alloc(200_000) }), 'STORE_FULL', /disk|space|full/i)
    for (let n = 0; n < 20; n++) assert.equal((await platform.invoke('hello')).status, 200)
    assert.equal((await platform.send('/v1/functions/hello')).status, 200)

    rmSync(ballast)
    assert.ok(existsSync(data))
    await platform.deployText('late', source.filename, source.text)
    for (const id of accepted) assert.equal((await platform.record(id)).outcome, 'ok')
    const again = await platform.invoke('hello', {}, { prefer: 'respond-async' })
    assert.equal(again.status, 202)
    await platform.record(again.json().id)
  })
})
