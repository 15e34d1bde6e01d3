/**
 * Goal: functions of kinds js and wasm are functions like all others: deployed, asked, streamed through, called by others and calling
 * them; each invocation has an instance of its own, and no two have anything secret in common.
 *
 * Method: one platform, the same questions as to other kinds, over real connections. What a faaslet kept, it says itself.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { PassThrough, Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { deployJs, deployWasm, faasletHosts, snapshotOf, wasmFixture } from '../kit/faaslets.ts'
import { assertError } from '../kit/http.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

const MB = 1024 * 1024

describe('faaslets', { timeout: 60_000 }, () => {
  let platform: TestPlatform

  before(async () => {
    platform = await startTestPlatform()
    await Promise.all([
      deployWasm(platform, 'command', wasmFixture('command'), { timeoutMs: 900 }, { 'data.txt': 'given data' }),
      deployWasm(platform, 'reactor', wasmFixture('reactor'), { environment: { SQUARE: '1' } }),
      deployJs(platform, 'echo', `export default { async fetch(request) {
        return new Response(request.body, { headers: { 'content-type': 'application/octet-stream', 'x-url': new URL(request.url).pathname } })
      } }`),
      // As the wasm functions call it.
      deployJs(platform, 'other', 'export function main(payload) { return { js: payload } }'),
      platform.deployText('native', 'native.ts', `import { invoke } from 'skep'
        export async function main({ name, payload }: any) { return name === undefined ? { node: payload } : { node: await invoke(name, payload) } }`),
    ])
  })
  after(() => platform[Symbol.asyncDispose]())

  test('answer events and requests, of both kinds', async () => {
    assert.deepEqual((await platform.invoke('other', { a: 1 })).json(), { js: { a: 1 } })
    const request = await platform.fn('echo/some/path?x', { method: 'POST', body: 'hello' })
    assert.deepEqual([request.status, request.text, request.headers['x-url']], [200, 'hello', '/some/path'])
    assert.equal((await platform.fn('command', { method: 'POST', body: 'you' })).text, 'hello from C, you')
    const made = await platform.fn('reactor/status')
    assert.deepEqual([made.status, made.headers['x-made-by'], made.json()], [201, 'C', {}])
    assert.match((await platform.fn('command/files')).text, /^given data\nwriting it: 1\nread: file/)
    const record = await platform.record(request.id)
    assert.deepEqual([record.outcome, record.start], ['ok', 'snapshot'])
    assert.ok(record.cpuUs > 0 && record.memoryPeakMb > 0, JSON.stringify(record))
  })

  test('stream both ways: 20 MB through each kind come back whole', async () => {
    for (const address of ['echo', 'command/echo']) {
      const sent = createHash('sha256')
      const { response } = await platform.open(address, {
        method: 'POST',
        body: Readable.from((function* () {
          for (let at = 0; at < 320; at++) {
            const chunk = Buffer.alloc(64 * 1024, at)
            sent.update(chunk)
            yield chunk
          }
        })()),
      })
      const got = createHash('sha256')
      let bytes = 0
      for await (const chunk of response as AsyncIterable<Buffer>) {
        got.update(chunk)
        bytes += chunk.length
      }
      assert.deepEqual([bytes, got.digest('hex')], [20 * MB, sent.digest('hex')], address)
    }
  })

  test('an answer begins while the request is still coming', async () => {
    const body = new PassThrough()
    body.write('first')
    const { response } = await platform.open('echo', { method: 'POST', body })
    const chunks = response[Symbol.asyncIterator]()
    assert.equal(String((await chunks.next()).value), 'first')
    body.end('second')
    assert.equal(String((await chunks.next()).value), 'second')
  })

  test('a call from a C function to a JavaScript one, from Node to both, and from JavaScript on to Node', async () => {
    assert.equal((await platform.fn('reactor/call-http')).status, 200)
    const two = (await platform.fn('reactor/two-calls')).text.split('\n')
    assert.equal(two[0], '200 {"js":1}')
    assert.deepEqual((await platform.invoke('native', { name: 'other', payload: 5 })).json(), { node: { js: 5 } })
    assert.equal((await platform.invoke('native', { name: 'command', payload: 'x' })).status, 200)
    await deployJs(platform, 'chain', `import { invoke, log, context, SkepError } from 'skep'
      export async function main({ depth }) {
        log.info('at', { depth })
        const missing = await invoke('absent', {}).catch((error) => [error instanceof SkepError, error.code])
        return { function: context().function, missing, from: await invoke('native', { payload: depth }) }
      }`)
    const chained = await platform.invoke('chain', { depth: 3 })
    assert.deepEqual(chained.json(), { function: 'chain', missing: [true, 'FUNCTION_NOT_FOUND'], from: { node: 3 } })
    const { logs } = await platform.record(chained.id)
    assert.ok(logs.some(({ text }) => /at/.test(text) && /3/.test(text)), JSON.stringify(logs))
  })

  test('what is printed is in the invocation\'s log, with its level', async () => {
    await deployJs(platform, 'prints', 'console.log("loaded"); export function main() { console.log("one", { two: 2 }); console.error("three"); return 0 }')
    const { logs } = await platform.record((await platform.invoke('prints')).id)
    assert.deepEqual(logs.map(({ level, text }) => [level, text]), [['info', 'one { two: 2 }'], ['error', 'three']])
    const careful = await platform.record((await platform.fn('reactor/log')).id)
    assert.deepEqual(careful.logs.map(({ level, text }) => [level, text]), [['warn', 'careful']])
    const failed = await platform.fn('command/exit?4')
    assertError(failed, 'FUNCTION_THREW', /exit code 4.*last words/s)
  })

  test('sees its variables and secrets; a memory with secrets in it never lies on the disk', async () => {
    await platform.send('/v1/secrets/WORD', { method: 'PUT', body: '{"value":"open sesame"}' })
    const text = 'const early = process.env.WORD; export function main() { return [early, process.env.WORD, process.env.PLAIN] }'
    await deployJs(platform, 'knows', text, { secrets: ['WORD'], environment: { PLAIN: 'p' }, instancesMax: 1 })
    for (let n = 0; n < 3; n++) assert.deepEqual((await platform.invoke('knows')).json(), ['open sesame', 'open sesame', 'p'])
    assert.match((await platform.fn('command/env')).text, /PATH_INFO=\/env/)
    await until(() => snapshotOf(platform, 'other'), 'others have a snapshot')
    assert.equal(await snapshotOf(platform, 'knows'), undefined)
  })

  test('each invocation has a fresh instance, and with reuse the same one again', async () => {
    const text = `
      let count = 0
      export function main({ spoil } = {}) {
        if (spoil) {
          Object.prototype.polluted = 'yes'; Array.prototype.map = () => 'spoilt'; globalThis.left = 'behind'; JSON.stringify = () => '"spoilt"'; Math.random = () => 4
          Response.prototype.text = undefined; delete globalThis.fetch
        }
        return { count: ++count, polluted: {}.polluted, map: [1].map((x) => x + 1), left: globalThis.left, fetch: typeof fetch, random: Math.random() === 4 }
      }`
    await deployJs(platform, 'fresh', text)
    const expected = { count: 1, map: [2], fetch: 'function', random: false }
    for (let n = 0; n < 30; n++) {
      if (n % 3 === 0) await platform.invoke('fresh', { spoil: true })
      assert.deepEqual((await platform.invoke('fresh')).json(), expected)
    }
    for (let n = 0; n < 3; n++) assert.match((await platform.fn('reactor/state')).text, /^2997 49 101$/)
    await deployJs(platform, 'kept', text, { reuse: true, instancesMax: 1 })
    const counts = []
    for (let n = 0; n < 10; n++) counts.push((await platform.invoke('kept')).json().count)
    assert.ok(counts.at(-1)! > 4, `${counts.join()}`)
    assert.equal((await platform.record((await platform.invoke('kept')).id)).start, 'warm')
  })

  test('a function that spins is stopped at its deadline; its neighbours in the same process answer afterwards, and none is lost', async () => {
    await deployJs(platform, 'spins', `export async function main({ spin, wait }) {
      if (wait) await new Promise((resolve) => setTimeout(resolve, wait))
      if (spin) for (;;) ;
      return 'done'
    }`, { timeoutMs: 600, instancesMax: 1 })
    await deployJs(platform, 'beside', 'export async function main({ wait }) { await new Promise((resolve) => setTimeout(resolve, wait)); return 1 }')
    for (const name of ['spins', 'beside']) await platform.invoke(name, { wait: 1 })
    const hosts = faasletHosts(platform.data)
    const others = [platform.invoke('beside', { wait: 50 }), platform.invoke('spins', { wait: 100 }), platform.fn('command/sleep?100'), platform.fn('reactor/state')]
    const spinning = [platform.invoke('spins', { spin: true }), platform.fn('command/spin')]
    for (const answer of await Promise.all(spinning)) assertError(answer, 'FUNCTION_TIMEOUT', /time limit|within 600 ms|within 900 ms/)
    for (const answer of await Promise.all(others)) assert.ok(answer.status === 200 || answer.headers['x-skep-error'] === 'FUNCTION_TIMEOUT', answer.text)
    for (const name of ['spins', 'beside']) assert.equal((await platform.invoke(name, { wait: 1 })).status, 200)
    assert.deepEqual(faasletHosts(platform.data).filter((pid) => hosts.includes(pid)), hosts, 'a host process was lost')
  })

  test('a function that answers and spins on in the same turn is stopped, and its neighbours and its next caller do not notice', async () => {
    const text = `export default { async fetch() {
      const later = new Promise((resolve) => setTimeout(resolve, 1))
      later.then(async () => { for (let jobs = 0; jobs < 1000; jobs++) await 0; for (;;) ; })
      await later
      return new Response('fine')
    } }`
    for (const reuse of [false, true]) {
      await deployJs(platform, 'answers-first', text, { timeoutMs: 300, instancesMax: 1, reuse })
      await platform.invoke('beside', { wait: 1 })
      const hosts = faasletHosts(platform.data)
      for (let n = 0; n < 3; n++) {
        const [answer, other] = await Promise.all([platform.fn('answers-first'), platform.invoke('beside', { wait: 1 })])
        // What it had answered is let go with it where it had not left yet.
        if (answer.status !== 200) assertError(answer, 'FUNCTION_TIMEOUT')
        assert.equal(other.status, 200)
      }
      assert.deepEqual(faasletHosts(platform.data).filter((pid) => hosts.includes(pid)), hosts, 'a host process was lost')
    }
  })

  test('a function that needs more memory than its limit is told so, and its neighbours live', async () => {
    await deployJs(platform, 'hungry', 'export function main() { const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1)) }', { memoryMb: 64 })
    await deployWasm(platform, 'hungry-c', wasmFixture('command'), { memoryMb: 16 })
    const hosts = faasletHosts(platform.data)
    assertError(await platform.fn('hungry'), 'FUNCTION_OUT_OF_MEMORY', /64 MB.*--memory/)
    assertError(await platform.fn('hungry-c/oom'), 'FUNCTION_OUT_OF_MEMORY', /16 MB|memory/)
    assert.equal((await platform.invoke('other', 1)).status, 200)
    assert.deepEqual(faasletHosts(platform.data).filter((pid) => hosts.includes(pid)), hosts)
  })

  test('no two instances of one snapshot draw an equal random value', async () => {
    await deployJs(platform, 'draws', `const early = Math.random()
      export function main() { return [early, Math.random(), crypto.getRandomValues(new BigUint64Array(1))[0].toString(), crypto.randomUUID()] }`)
    const drawn: Set<unknown>[] = [new Set(), new Set(), new Set(), new Set()]
    const fromC = new Set<string>()
    for (let round = 0; round < 25; round++) {
      await Promise.all(Array.from({ length: 16 }, async () => {
        const [inJs, inC] = await Promise.all([platform.invoke('draws'), platform.fn('command/random')])
        inJs.json<unknown[]>().forEach((value, at) => drawn[at]!.add(value))
        fromC.add(inC.text)
      }))
    }
    assert.deepEqual([...drawn.slice(1).map(({ size }) => size), fromC.size], [400, 400, 400, 400])
    // What was drawn while loading is part of the snapshot: so many boots there were.
    assert.ok(drawn[0]!.size <= 3, `${drawn[0]!.size} boots`)
  })

  test('two namespaces never share a process', async () => {
    const { key } = (await platform.send('/v1/namespaces', { method: 'POST', body: '{"name":"other"}' })).json()
    const before = faasletHosts(platform.data)
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    const deployed = await platform.send('/v1/functions/theirs', { method: 'PUT', headers, body: JSON.stringify({ source: { filename: 'index.js', text: 'export function main() { return 7 }' }, kind: 'js' }) })
    assert.equal(deployed.status, 201, deployed.text)
    const answer = await platform.send('/fn/other/theirs', { headers })
    assert.equal(answer.text, '7')
    const instanceOf = async (id: string, with_: object): Promise<string> => (await platform.send(`/v1/invocations/${id}`, { headers: with_ as never })).json().instance
    assert.ok(await instanceOf(answer.id, headers) !== undefined)
    // Every host that was there belongs to the first namespace, but for a generic one, which has become theirs.
    assert.ok(before.length >= 2, `${before.length} hosts`)
    await until(() => faasletHosts(platform.data).length > before.length, 'another generic host was started')
  })
})
