/**
 * Goal: a revision's code is compiled ahead once, at a moment when nobody waits, and what it sends does no harm.
 *
 * Method: when, with a clock that is told the time; what, with a real worker and code that behaves and misbehaves. A function
 * can tell whether Node has found the compiled form of it.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ManualClock } from '#base/clock.ts'
import { encodeCompileCache } from '#contract/compile-cache.ts'
import { PlatformError } from '#contract/errors.ts'
import { testRevision, turns } from '#contract/invocation.fake.ts'
import { CompileCaches } from './compile-cache.ts'
import { workerGround, workerSkip } from './worker.harness.ts'

const goodMessage = encodeCompileCache(new Map([['tag/one', Buffer.from('1')]]))

function moments() {
  const clock = new ManualClock()
  const claimed = new Set<string>()
  const added: [string, number][] = []
  const made: { readonly code: string; readonly answer: PromiseWithResolvers<Buffer> }[] = []
  const warnings: string[] = []
  const state = { busy: false }
  const caches = new CompileCaches({
    clock,
    code: {
      claimCompileCache: (digest) => !claimed.has(digest) && claimed.add(digest) !== undefined,
      addCompileCache: async (digest, files) => void added.push([digest, files.size]),
    },
    make(revision) {
      const answer = Promise.withResolvers<Buffer>()
      made.push({ code: revision.code, answer })
      return answer.promise
    },
    isBusy: () => state.busy,
    warn: (message) => void warnings.push(message),
  })
  return { clock, added, made, warnings, state, caches }
}

const revisionOf = (code: string) => testRevision({}, { code })

describe('compiling ahead', () => {
  test('waits until nobody waits for an instance, does one at a time, and each code once (U1, U2)', async () => {
    const { clock, added, made, state, caches } = moments()
    caches.started(testRevision({ kind: 'python' }, { code: 'p' }))
    for (const code of ['a', 'b', 'a']) caches.started(revisionOf(code))
    clock.advance(499)
    assert.equal(made.length, 0)
    state.busy = true
    clock.advance(5000)
    assert.equal(made.length, 0)
    state.busy = false
    clock.advance(500)
    assert.deepEqual(made.map((one) => one.code), ['a'])
    clock.advance(60_000)
    assert.equal(made.length, 1, 'the first is not done')
    made[0]!.answer.resolve(goodMessage)
    await turns()
    clock.advance(500)
    assert.deepEqual(made.map((one) => one.code), ['a', 'b'])
    made[1]!.answer.resolve(goodMessage)
    await turns()
    clock.advance(60_000)
    assert.deepEqual([made.length, added], [2, [['a', 1], ['b', 1]]])
  })

  test('marks code that sent something else, and does not when the platform failed (U2, U3)', async () => {
    const { clock, added, made, warnings, caches } = moments()
    for (const [index, message] of [Buffer.alloc(0), Buffer.from('noise'), encodeCompileCache(new Map([['../x', Buffer.from('1')]]))].entries()) {
      caches.started(revisionOf(`bad ${index}`))
      clock.advance(500)
      made[index]!.answer.resolve(message)
      await turns()
    }
    assert.deepEqual(added, [['bad 0', 0], ['bad 1', 0], ['bad 2', 0]])
    caches.started(revisionOf('unlucky'))
    clock.advance(500)
    made[3]!.answer.reject(new PlatformError('START_FAILED', 'no memory'))
    await turns()
    assert.deepEqual([added.length, warnings.length], [3, 1])
  })

  test('ends with the worker, without a word', async () => {
    const { clock, made, warnings, caches } = moments()
    for (const code of ['a', 'b']) caches.started(revisionOf(code))
    clock.advance(500)
    caches.close()
    made[0]!.answer.reject(new Error('the platform stops'))
    await turns()
    clock.advance(60_000)
    caches.started(revisionOf('c'))
    clock.advance(60_000)
    assert.deepEqual([made.length, warnings], [1, []])
  })
})

const TELLS = `
  import { getCompileCacheDir } from 'node:module'
  import { text } from './more.mjs'
  export const main = () => ({ cache: getCompileCacheDir() ?? 'none', text: text(), secret: process.env.SECRET ?? 'none' })
`
const MORE = "export const text = () => 'more'\n"

describe('with real sandboxes', { skip: workerSkip, timeout: 60_000 }, () => {
  async function compiled(directory: string, code: string): Promise<string[]> {
    const path = join(directory, code, '.compile-cache')
    for (let waitedMs = 0; !existsSync(path); waitedMs += 20) {
      assert.ok(waitedMs < 30_000, 'nothing was compiled')
      await sleep(20)
    }
    return readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name)
  }

  test('the second instance finds the compiled form of all its files, whatever the first one had', async (context) => {
    const { worker, codeDirectory, warnings, revision, start, send } = workerGround(context)
    const files = { 'index.mjs': TELLS, 'more.mjs': MORE }
    const one = revision(files, { environment: { SECRET: 'x' } })
    const answer = async () => JSON.parse((await send(await start(one), { body: Buffer.from('{}') })).body.toString()) as { cache: string; text: string; secret: string }
    assert.deepEqual(await answer(), { cache: 'none', text: 'more', secret: 'x' })
    assert.equal((await compiled(codeDirectory, one.code)).length, 2)
    const second = await answer()
    assert.match(second.cache, /^\/app\/\.compile-cache\//)
    assert.deepEqual([second.text, second.secret, warnings], ['more', 'x', []])
    // The sandbox that compiled is gone; the instances live.
    assert.equal(worker.instances().size, 2)
  })

  for (const [what, source, fileCount] of [
    ['needs a variable that it has not there', "if (process.env.SECRET !== 'x') throw new Error('no secret'); export const main = () => ({})", 1],
    ['waits for something that does not come', "if (process.env.SECRET !== 'x') await new Promise((resolve) => setInterval(() => {}, 1e6)); export const main = () => ({})", 1],
    ['ends the process', "if (process.env.SECRET !== 'x') process.exit(0); export const main = () => ({})", 0],
    ['sends a message of its own', `
      import { writeSync } from 'node:fs'
      if (process.env.SECRET !== 'x') { const json = '{"../../evil":"eA=="}'; const head = Buffer.alloc(4); head.writeUInt32LE(json.length); writeSync(3, Buffer.concat([head, Buffer.from(json)])); process.exit(0) }
      export const main = () => ({})`, 0],
  ] as const) {
    test(`code that ${what} gives ${fileCount === 0 ? 'nothing' : 'what was compiled'}, and runs as before`, async (context) => {
      const { codeDirectory, warnings, revision, start, send } = workerGround(context)
      const one = revision({ 'index.mjs': source }, { environment: { SECRET: 'x' } })
      await start(one)
      assert.equal((await compiled(codeDirectory, one.code)).length, fileCount)
      const answer = await send(await start(one), { body: Buffer.from('{}') })
      assert.deepEqual([answer.status, warnings], [200, []])
      assert.deepEqual(readdirSync(codeDirectory).filter((name) => name !== one.code), [])
    })
  }
})
