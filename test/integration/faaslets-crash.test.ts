/**
 * Goal: what is killed, damaged or missing costs faaslets time and nothing else: invocations that were running get a typed error, the
 * next ones work, and no answer ever comes from a damaged memory.
 *
 * Method: `kill -9` of the host process and of the platform under load; bytes of the snapshots' files are changed while the platform is
 * stopped; the addon is taken away from the prepared runtime. Which boot a memory comes from, the function says.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { deployJs, deployWasm, faasletHosts, snapshotFiles, snapshotOf, wasmFixture } from '../kit/faaslets.ts'
import { sandboxProcesses } from '../kit/host.ts'
import { isAlive, startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

const BORN = `
  const bornMs = Date.now()
  const table = Array.from({ length: 20000 }, (_, at) => 'entry ' + at)
  let count = 0
  export async function main({ wait = 0 } = {}) {
    if (wait) await new Promise((resolve) => setTimeout(resolve, wait))
    return { bornMs, count: ++count, last: table[19999] }
  }`

async function born(platform: TestPlatform, name = 'born'): Promise<number> {
  const answer = await platform.invoke(name)
  assert.equal(answer.status, 200, answer.text)
  const { bornMs, count, last } = answer.json()
  assert.deepEqual([count, last], [1, 'entry 19999'])
  return bornMs
}

/** Two functions of each kind with image, trace and working set. */
async function prepare(platform: TestPlatform): Promise<void> {
  await deployJs(platform, 'born', BORN)
  await deployWasm(platform, 'well', wasmFixture('reactor'))
  for (const name of ['born', 'well']) {
    await until(async () => {
      await platform.fn(`${name}/state`)
      return (await snapshotOf(platform, name))?.recording !== undefined
    }, `${name} is recorded`)
  }
}

describe('faaslets that die', { timeout: 60_000 }, () => {
  test('kill -9 of the host process under load: typed errors, and the next call works', async () => {
    await using platform = await startTestPlatform()
    await prepare(platform)
    const codes = new Map<string, number>()
    let isOver = false
    const clients = Promise.all(Array.from({ length: 8 }, async () => {
      while (!isOver) {
        const answer = await platform.invoke('born', { wait: 5 })
        const code = String(answer.headers['x-skep-error'] ?? answer.status)
        codes.set(code, (codes.get(code) ?? 0) + 1)
      }
    }))
    for (let round = 0; round < 3; round++) {
      await until(() => (codes.get('200') ?? 0) > 30 * (round + 1), 'there is load')
      for (const pid of faasletHosts(platform.data)) process.kill(pid, 'SIGKILL')
    }
    await until(() => (codes.get('200') ?? 0) > 150, 'it goes on')
    isOver = true
    await clients
    assert.deepEqual([...codes.keys()].filter((code) => !['200', 'INSTANCE_LOST', 'START_FAILED'].includes(code)), [])
    await born(platform)
    assert.equal((await platform.fn('well/state')).text, '2997 14 101')
  })

  test('kill -9 of the platform: no host is left, and snapshots are found again', async () => {
    const data = mkdtempSync(join(tmpdir(), 'skep-test-'))
    try {
      const first = await startTestPlatform({ data })
      await prepare(first)
      const bornMs = await born(first)
      const before = sandboxProcesses(data)
      const load = Promise.allSettled(Array.from({ length: 8 }, () => first.invoke('born', { wait: 2000 })))
      await first.kill()
      await load
      await first[Symbol.asyncDispose]()
      await using second = await startTestPlatform({ data })
      assert.equal(await born(second), bornMs)
      await until(() => before.every((pid) => !isAlive(pid)), 'the hosts are gone')
      await until(() => readdirSync(join(data, 'snapshots')).every((name) => !name.startsWith('.')), 'nothing unfinished is left')
    } finally {
      rmSync(data, { recursive: true, force: true })
    }
  })

  test('files that are damaged, cut off, of another revision or version are made anew; and without the addon everything works', async () => {
    const data = mkdtempSync(join(tmpdir(), 'skep-test-'))
    try {
      await using first = await startTestPlatform({ data })
      await prepare(first)
      let bornMs = await born(first)
      await first[Symbol.asyncDispose]()

      const each = (file: string, damage: (path: string) => void): void => snapshotFiles(data, file).forEach(damage)
      const damages: readonly (readonly [string, boolean, () => void])[] = [
        ['what was recorded is cut off, and empty', false, () => {
          each('working-set', (path) => truncateSync(path, 5000))
          each('trace', (path) => truncateSync(path, 0))
        }],
        ['images are cut off', true, () => each('image', (path) => truncateSync(path, statSync(path).size - 65_536))],
        ['headers of images are damaged', true, () => each('image', (path) => change(path, (bytes) => (bytes[100]! ^= 1)))],
        ['images are of another version', true, () => each('image', (path) => change(path, (bytes) => (bytes[8]! += 1)))],
        ['images are each other\'s', true, () => {
          const [one, other] = snapshotFiles(data, 'image') as [string, string]
          const [first, second] = [readFileSync(one), readFileSync(other)]
          writeFileSync(one, second)
          writeFileSync(other, first)
        }],
        ['the addon is not there', false, () => {
          for (const name of readdirSync(join(data, 'runtimes')).filter((one) => one.startsWith('faaslet-'))) rmSync(join(data, 'runtimes', name, 'skep.node'), { force: true })
        }],
      ]
      for (const [what, boots, damage] of damages) {
        damage()
        await using platform = await startTestPlatform({ data })
        const now = await born(platform)
        assert.equal(now !== bornMs, boots, what)
        bornMs = now
        assert.equal((await platform.fn('well/state')).text, '2997 14 101', what)
        const isWhole = async (name: string): Promise<boolean> => (await snapshotOf(platform, name)) !== undefined
        await until(async () => (await isWhole('born')) && (await isWhole('well')), `after this, there is a snapshot again: ${what}`)
      }
    } finally {
      rmSync(data, { recursive: true, force: true })
    }
  })
})

function change(path: string, how: (bytes: Buffer) => void): void {
  const bytes = readFileSync(path)
  how(bytes)
  writeFileSync(path, bytes)
}
