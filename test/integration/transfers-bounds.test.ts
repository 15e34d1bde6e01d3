/**
 * Goal: what functions put has bounds, and beyond them a typed refusal comes before anything is full; what one maps stays readable when its producer is dead;
 * and the platform's own death leaves no memory, file or process of any object behind.
 *
 * Method: Node and Python functions on real platforms; where a bound has to be small, on one inside this process, which takes it as an option. Memory
 * is known by its inode, which is looked for in the descriptors and mappings of all processes of the machine.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Log } from '#base/log.ts'
import { startPlatform } from '#local/main.ts'
import type { TransferConfig } from '#transfer/config.ts'
import { sharedMemory } from '#transfer/shared-memory.ts'
import { sandboxProcesses } from '../kit/host.ts'
import { assertError, send } from '../kit/http.ts'
import { peakResidentMb, startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

const MB = 1024 * 1024
const GB = 1024 * MB
const NODE = `import { allocate, get, put } from 'skep'
const all = []
let kept
const refused = (error) => ({ code: error.code, details: error.details, done: all.length })
async function* zeros(bytes) { const chunk = Buffer.alloc(65536); for (let at = 0; at < bytes; at += chunk.length) yield chunk }
const actions = {
  put: async ({ bytes, how }) => ({ reference: await put(how === 'stream' ? zeros(bytes) : allocate(bytes).fill('object'), { retrievals: 10 }) }),
  keep: async ({ reference }) => { kept = await get(reference); return { bytes: kept.length } },
  kept: async () => ({ isWhole: kept.equals(Buffer.alloc(kept.length, 'object')) }),
  many: async ({ count, bytes }) => {
    for (let at = 0; at < count; at += 100) {
      const made = await Promise.allSettled(Array.from({ length: Math.min(100, count - at) }, (_, each) => put(Buffer.alloc(bytes, (at + each) & 255))))
      for (const one of made) if (one.status === 'fulfilled') all.push(one.value)
      const failed = made.find((one) => one.status === 'rejected')
      if (failed !== undefined) throw failed.reason
    }
    return { done: all.length }
  },
  one: async ({ at }) => { const bytes = await get(all[at]); return { bytes: bytes.length, first: bytes[0] } },
  exit: async () => process.exit(4),
}
export async function main(params) { try { return await actions[params.do](params) } catch (error) { return refused(error) } }`
const PYTHON = `import os, signal, skep
kept = None
def main(params):
    global kept
    if params['do'] == 'put':
        view = skep.allocate(params['bytes'])
        view[:] = (b'object' * (params['bytes'] // 6 + 1))[:params['bytes']]
        return {'reference': skep.put(view, retrievals=10)}
    if params['do'] == 'keep':
        kept = skep.get(params['reference'])
        return {'bytes': len(kept)}
    if params['do'] == 'kept':
        return {'isWhole': kept == (b'object' * (len(kept) // 6 + 1))[:len(kept)]}
    os.kill(os.getpid(), signal.SIGKILL)`
const native = sharedMemory() === undefined ? 'the addon is not built: node scripts/build-native.ts' : false

async function ask(platform: Pick<TestPlatform, 'invoke'>, name: string, event: { readonly do: string } & Record<string, unknown>): Promise<any> {
  const answer = await platform.invoke(name, event)
  assert.equal(answer.status, 200, answer.text)
  return answer.json()
}

const numbers = (directory: string): number[] => readdirSync(directory).filter((name) => /^\d+$/.test(name)).map(Number)

/** What `look` finds; nothing for what is gone meanwhile. */
function tried<Found>(look: () => readonly Found[]): readonly Found[] {
  try {
    return look()
  } catch {
    return []
  }
}

/** Inodes of the objects' memory that this process has open. */
const memoryOf = (pid: number): ReadonlySet<number> =>
  new Set(numbers(`/proc/${pid}/fd`).flatMap((fd) => tried(() => (readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('/memfd:skep') ? [statSync(`/proc/${pid}/fd/${fd}`).ino] : []))))

/** Processes that have some of it open or mapped. */
const usersOf = (inodes: ReadonlySet<number>): readonly number[] =>
  numbers('/proc').filter((pid) => tried(() => {
    const opened = [...memoryOf(pid)]
    const mapped = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n').flatMap((line) => (line.includes('/memfd:skep') ? [Number(line.split(/\s+/)[4])] : []))
    return [...opened, ...mapped].filter((inode) => inodes.has(inode))
  }).length > 0)

const quiet: Log = { child: () => quiet, enabled: () => false, debug() {}, info() {}, warn() {}, error() {} }

/** A platform in this process with these bounds, and the function `f` on it. */
async function bounded(context: TestContext, transfers: Partial<TransferConfig>) {
  const data = mkdtempSync(join(tmpdir(), 'skep-bounds-'))
  const platform = await startPlatform({ port: 0, dataDirectory: data, transfers, log: quiet })
  context.after(async () => {
    await platform.close()
    rmSync(data, { recursive: true, force: true })
  })
  const headers = { authorization: `Bearer ${platform.key}`, 'content-type': 'application/json' }
  const made = await send(`${platform.url}/v1/functions/f`, { method: 'PUT', headers, body: JSON.stringify({ source: { filename: 'f.mjs', text: NODE }, timeoutMs: 120_000 }) })
  assert.equal(made.status, 201, made.text)
  return {
    data,
    ask: (event: { readonly do: string } & Record<string, unknown>) => ask({ invoke: (name, body) => send(`${platform.url}/v1/functions/${name}/invocations`, { method: 'POST', headers, body: JSON.stringify(body) }) }, 'f', event),
    async gauge(name: string): Promise<number> {
      const line = (await send(`${platform.url}/metrics`, { headers })).text.split('\n').find((one) => one.startsWith(`${name} `))
      return Number(line!.slice(name.length))
    },
  }
}

describe('bounds of what functions put', { timeout: 180_000 }, () => {
  test('10^5 objects that nobody has got yet cost the platform less than 150 MB, and each can be got', async (context) => {
    await using platform = await startTestPlatform()
    await platform.deployText('f', 'f.mjs', NODE, { timeoutMs: 120_000 })
    assert.deepEqual(await ask(platform, 'f', { do: 'many', count: 1000, bytes: 100 }), { done: 1000 })
    const { beforeMb, peakMb } = await peakResidentMb(platform.pid, async () => {
      assert.deepEqual(await ask(platform, 'f', { do: 'many', count: 100_000, bytes: 100 }), { done: 101_000 })
    })
    context.diagnostic(`the platform went from ${beforeMb} to ${peakMb} MB`)
    assert.ok(peakMb - beforeMb < 150, `from ${beforeMb} to ${peakMb} MB`)
    for (const at of [0, 999, 50_000, 100_999]) assert.equal((await ask(platform, 'f', { do: 'one', at })).bytes, 100)
    assert.equal((await ask(platform, 'f', { do: 'one', at: 0 })).code, 'OBJECT_USED_UP')
  })

  test('one object more than may be kept is refused, and there is room again when one was got', async (context) => {
    const { ask, gauge } = await bounded(context, { objectsMax: 1000, roomWaitMs: 100 })
    const refused = await ask({ do: 'many', count: 1001, bytes: 100 })
    assert.deepEqual([refused.code, refused.details, refused.done], ['OBJECT_QUOTA_EXCEEDED', { limit: 'bodies', used: 1000, max: 1000 }, 1000])
    assert.equal(await gauge('skep_objects{state="kept"}'), 1000)
    assert.equal((await ask({ do: 'one', at: 7 })).bytes, 100)
    assert.deepEqual(await ask({ do: 'many', count: 1, bytes: 100 }), { done: 1001 })
  })

  test('a stream of 10 GB is refused at a quota of 1 GB, and no more than that was ever written', async (context) => {
    const { ask, gauge, data } = await bounded(context, { namespaceBytesMax: GB })
    const file = 'skep_object_bytes{place="file"}'
    let most = 0
    let isOver = false
    const watch = (async () => {
      while (!isOver) most = Math.max(most, await gauge(file))
    })()
    const { code, details } = await ask({ do: 'put', bytes: 10 * GB, how: 'stream' })
    isOver = true
    await watch
    assert.deepEqual([code, details.limit, details.max], ['OBJECT_QUOTA_EXCEEDED', 'namespace', GB])
    assert.ok(most > 256 * MB && most <= GB, `${most} bytes were in files`)
    await until(async () => (await gauge(file)) === 0 && (await gauge('skep_object_bytes{place="memory"}')) === 0, 'nothing of it is kept')
    assert.deepEqual(readdirSync(join(data, 'transfers')), [])
    assert.ok((await ask({ do: 'put', bytes: 100 * MB, how: 'stream' })).reference)
  })
})

describe('the memory of objects', { skip: native, timeout: 120_000 }, () => {
  test('that a consumer has mapped stays whole when its producer is dead and the object has ended', async () => {
    await using platform = await startTestPlatform()
    for (const name of ['node', 'node-other']) await platform.deployText(name, 'f.mjs', NODE)
    for (const name of ['python', 'python-other']) await platform.deployText(name, 'f.py', PYTHON)
    for (const [producer, consumer] of [['node', 'python-other'], ['python', 'node-other'], ['node', 'node-other'], ['python', 'python-other']] as const) {
      const { reference } = await ask(platform, producer, { do: 'put', bytes: 20 * MB })
      assert.deepEqual(await ask(platform, consumer, { do: 'keep', reference }), { bytes: 20 * MB })
      assertError(await platform.invoke(producer, { do: 'exit' }), 'FUNCTION_EXITED')
      assert.deepEqual(await ask(platform, consumer, { do: 'kept' }), { isWhole: true }, `${producer} to ${consumer}`)
    }
  })

  test('goes with a platform that was killed, as do the files and processes', async (context) => {
    const data = mkdtempSync(join(tmpdir(), 'skep-killed-'))
    context.after(() => rmSync(data, { recursive: true, force: true }))
    await using platform = await startTestPlatform({ data })
    const inSharedMemory = (): readonly string[] => readdirSync('/dev/shm').filter((name) => name.includes('skep'))
    const before = inSharedMemory()
    await platform.deployText('node', 'f.mjs', NODE)
    await platform.deployText('python', 'f.py', PYTHON)
    // Longer than a stream may be in memory.
    await ask(platform, 'node', { do: 'put', bytes: 300 * MB, how: 'stream' })
    const { reference } = await ask(platform, 'node', { do: 'put', bytes: 50 * MB })
    await ask(platform, 'python', { do: 'keep', reference })
    const inodes = memoryOf(platform.pid)
    assert.ok(inodes.size > 0, 'the platform has it')
    assert.ok(usersOf(inodes).length >= 2, `a sandbox has it, too: ${usersOf(inodes).join()}`)
    const files = numbers(`/proc/${platform.pid}/fd`).flatMap((fd) => tried(() => [readlinkSync(`/proc/${platform.pid}/fd/${fd}`)])).filter((path) => path.startsWith(join(data, 'transfers/')))
    assert.ok(files.length > 0 && files.every((path) => path.endsWith(' (deleted)')), files.join())
    await platform.kill()
    await until(() => sandboxProcesses(data).length === 0, 'no sandbox is left')
    await until(() => usersOf(inodes).length === 0, 'nobody has the memory any more')
    assert.deepEqual([readdirSync(join(data, 'transfers')), inSharedMemory()], [[], before])
  })
})
