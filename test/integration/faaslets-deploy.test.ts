/**
 * Goal: who deploys a faaslet function hears of what is wrong with it, and nobody who invokes it waits for its first boot. A revision that does not
 * start takes no traffic from the one before.
 *
 * Method: one platform; good, trapping and spinning code, deployed over the API and by the command line. Whether something booted is seen by its snapshot.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { snapshotOf, tryDeployJs, tryDeployWasm, wasmFixture } from '../kit/faaslets.ts'
import { assertError } from '../kit/http.ts'
import type { Answer } from '../kit/http.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { DeployConfig, TestPlatform } from '../kit/platform.ts'

const good = (answer: string): string => `const said = ${JSON.stringify(answer)}\nexport default { fetch: () => new Response(said) }`
const trap = 'throw new Error("the table is missing")\nexport default () => 1'
const spin = 'for (;;) {}\nexport default () => 1'

interface Ended {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

describe('a deployed faaslet function', { timeout: 60_000 }, () => {
  let platform: TestPlatform
  const directory = mkdtempSync(join(tmpdir(), 'skep-deploy-'))

  before(async () => {
    platform = await startTestPlatform()
  })
  after(async () => {
    rmSync(directory, { recursive: true, force: true })
    await platform[Symbol.asyncDispose]()
  })

  const deploy = (name: string, text: string, config: DeployConfig = {}): Promise<Answer> => tryDeployJs(platform, name, text, config)

  /** `skep deploy` of a file with this text. */
  const command = (name: string, text: string, ...args: string[]): Promise<Ended> => {
    const file = join(directory, `${name}.js`)
    writeFileSync(file, text)
    return new Promise((resolve) => {
      const { url, key } = platform
      execFile(join(import.meta.dirname, '../../skep'), ['deploy', file, '--kind', 'js', '--url', url, '--key', key, '--json', ...args], (error, stdout, stderr) =>
        resolve({ exitCode: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }))
    })
  }

  test('has booted and been captured before anybody invokes it', async () => {
    assert.equal((await deploy('ahead', good('hello'))).status, 201)
    await until(async () => (await snapshotOf(platform, 'ahead')) !== undefined, 'the snapshot of a function that nobody invoked')
    const answer = await platform.fn('ahead')
    assert.deepEqual([answer.text, answer.headers['x-skep-start']], ['hello', 'snapshot'])
    const wasm = await tryDeployWasm(platform, 'ahead-wasm', wasmFixture('command'))
    assert.equal(wasm.status, 201, wasm.text)
    await until(async () => (await snapshotOf(platform, 'ahead-wasm')) !== undefined, 'the snapshot of a module that nobody invoked')
  })

  test('is ready when a deployment that asked for it is answered', async () => {
    const answer = await deploy('ready', good('hello'), { prepare: true })
    assert.equal(answer.status, 201, answer.text)
    assert.deepEqual(answer.json<{ instances: object }>().instances, { starting: 0, ready: 1, busy: 0 })
    assert.equal((await platform.fn('ready')).headers['x-skep-start'], 'snapshot')
  })

  test('has no instance while it has no traffic', async () => {
    await deploy('aside', good('first'), { prepare: true })
    const second = await deploy('aside', good('second'), { prepare: true, activate: false, instancesMin: 2 })
    assert.equal(second.status, 201, second.text)
    assert.equal((await platform.fn('aside')).text, 'first')
    const instances = (): Promise<{ instances: { ready: number } }> => platform.json('/v1/functions/aside')
    await until(async () => (await instances()).instances.ready === 1, 'only the revision with traffic has an instance')
    await platform.json('/v1/functions/aside/rollback', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ revision: 2 }) })
    assert.equal((await platform.fn('aside')).text, 'second')
  })

  for (const [what, text, config, code] of [
    ['throws', trap, {}, 'INIT_FAILED'],
    ['spins', spin, { initTimeoutMs: 400 }, 'INIT_TIMEOUT'],
    ['is nested deeper than a parser can follow', `export default ${'['.repeat(300_000)}${']'.repeat(300_000)}`, {}, 'INIT_FAILED'],
  ] as const) {
    test(`that ${what} while it loads is told to who deploys it, and the revision before goes on`, async () => {
      const name = `bad-${code.toLowerCase()}-${text.length}`
      assert.equal((await deploy(name, good('still here'), { prepare: true })).status, 201)
      const neighbour = platform.fn('ready')
      const failed = await deploy(name, text, { prepare: true, ...config })
      assertError(failed, code)
      const { error } = failed.json<{ error: { message: string; details: object } }>()
      assert.match(error.message, new RegExp(`^Revision 2 of ${name} does not start: .*stays with revision 1\\.$`, 's'))
      assert.equal((await neighbour).text, 'hello')
      assert.equal((await platform.fn(name)).text, 'still here')
      const first = await deploy(`${name}-first`, text, { prepare: true, ...config })
      assertError(first, code)
      assertError(await platform.fn(`${name}-first`), code)
    })
  }

  test('is refused for what can be seen without running it', async () => {
    assertError(await deploy('refused', 'import { readFile } from "node:fs"\nexport default readFile'), 'CODE_INVALID')
    assertError(await tryDeployWasm(platform, 'refused', Buffer.from('no module')), 'CODE_INVALID')
    assertError(await tryDeployWasm(platform, 'refused', wasmFixture('reactor'), { handler: 'nobody' }), 'HANDLER_NOT_FOUND')
    assert.equal((await platform.send('/v1/functions/refused')).status, 404)
  })

  test('is waited for by the command line, unless it is told not to', async () => {
    const first = await command('typed', good('typed'))
    assert.equal(first.exitCode, 0, first.stderr)
    assert.equal((await platform.fn('typed')).text, 'typed')
    const failed = await command('typed', trap)
    assert.deepEqual([failed.exitCode, JSON.parse(failed.stdout).error.details.revision], [1, 2], failed.stderr)
    assert.match(failed.stdout, /the table is missing/)
    assert.equal((await platform.fn('typed')).text, 'typed')
    const told = await command('typed', trap, '--no-wait')
    assert.equal(told.exitCode, 0, told.stderr)
    assertError(await platform.fn('typed'), 'INIT_FAILED')
  })

  test('of any kind may be prepared', async () => {
    assert.equal((await deploy('plain', good('node'), { kind: 'node', prepare: true })).status, 201)
    assertError(await deploy('plain', trap, { kind: 'node', prepare: true }), 'INIT_FAILED')
    assert.equal((await platform.fn('plain')).text, 'node')
  })
})
