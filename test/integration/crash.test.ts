/**
 * Goal: killing the platform at the worst moment loses nothing that was acknowledged, leaves nothing behind, and costs less
 * than a second; killing an instance costs the invocations on it, and those get a typed error.
 *
 * Method: `kill -9` of the platform's process while synchronous and asynchronous invocations are under way, and a start on
 * the same data. What was acknowledged is known to the test alone: every id of a 202 must have a record of a success.
 * Sandboxes are looked for in /proc and in the cgroups, by the data directory and the names they carry.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { computes, hello, waits } from '../kit/functions.ts'
import { sandboxProcesses } from '../kit/host.ts'
import { assertError } from '../kit/http.ts'
import { isAlive, startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

/** The cgroup directories that the platform of this process has written down. */
function cgroups(data: string, pid: number): readonly string[] {
  const owner = readdirSync(join(data, 'sandboxes')).find((name) => name.startsWith(`.owner-${pid}-`))
  assert.ok(owner !== undefined, 'the platform has written down its cgroups')
  return (JSON.parse(readFileSync(join(data, 'sandboxes', owner), 'utf8')) as string[]).filter((directory) => existsSync(directory))
}

/** The processes of a function's instances, seen from the host. */
function instanceProcesses(data: string, platformPid: number): readonly number[] {
  return sandboxProcesses(data).filter((pid) => pid !== platformPid)
}

/** Sends both kinds of invocations until told to stop, or the platform is gone. */
function load(platform: TestPlatform): { readonly accepted: string[]; readonly answered: () => number; stop(): Promise<void> } {
  const accepted: string[] = []
  let answered = 0
  let isOver = false
  const clients = Array.from({ length: 16 }, async (_, client) => {
    for (let n = 0; !isOver; n++) {
      try {
        const isAsync = client % 2 === 0
        const answer = isAsync ? await platform.invoke('job', { n }, { prefer: 'respond-async' }) : await platform.invoke('hello')
        if (answer.status === 202) accepted.push(answer.json().id)
        else answered++
      } catch {
        // The platform is gone: what was not acknowledged is not promised.
        return
      }
    }
  })
  return {
    accepted,
    answered: () => answered,
    async stop() {
      isOver = true
      await Promise.all(clients)
    },
  }
}

describe('kill -9 of the platform', () => {
  test('under load: nothing that was acknowledged is lost, nothing is left behind, ready again in under a second', async (context) => {
    const data = mkdtempSync(join(tmpdir(), 'skep-test-'))
    let first = await startTestPlatform({ data })
    try {
      await first.deployText('hello', hello.filename, hello.text)
      await first.deployText('job', 'job.ts', 'export async function main({ n }: { n: number }) { await new Promise((resolve) => setTimeout(resolve, n % 20)); return { n } }')
      await first.deployText('job-python', 'job.py', 'def main(params):\n    return params')
      await first.send('/v1/secrets/WORD', { method: 'PUT', body: '{"value":"kept"}' })
      assert.equal((await first.invoke('job-python', { a: 1 })).status, 200)
      const acknowledged: string[] = []
      const readyMs: number[] = []

      for (let round = 1; round <= 2; round++) {
        const traffic = load(first)
        await until(() => traffic.accepted.length > 300 * round && traffic.answered() > 100, 'there is load', 30_000)
        const before = instanceProcesses(data, first.pid)
        const groups = cgroups(data, first.pid)
        assert.ok(before.length > 0, 'there are sandboxes to be left behind')
        assert.ok(groups.length > 0 || process.getuid?.() !== 0, 'there are cgroups to be left behind')
        await first.kill()
        await traffic.stop()
        acknowledged.push(...traffic.accepted)
        await first[Symbol.asyncDispose]()

        const second = await startTestPlatform({ data })
        readyMs.push(Math.round(second.readyMs))
        assert.equal(second.key, first.key, 'the key is the same')
        assert.deepEqual((await second.send('/v1/functions')).json().functions.map((one: { name: string }) => one.name), ['hello', 'job', 'job-python'])
        assert.equal((await second.send('/v1/secrets/WORD')).status, 200)
        assert.equal((await second.invoke('hello', { name: 'again' })).json().hello, 'again')

        await until(() => before.every((pid) => !isAlive(pid)), 'the sandboxes of the killed platform are gone')
        await until(() => groups.every((directory) => !existsSync(directory)), 'its cgroups are gone')
        await until(() => readdirSync(join(data, 'sandboxes')).every((name) => !name.includes(`p${first.pid}-`) && !name.startsWith(`.owner-${first.pid}-`)), 'its directories are gone')
        first = second
      }

      await until(async () => {
        const { waiting, claimed } = (await first.send('/v1/async')).json()
        return waiting + claimed === 0
      }, 'everything has been executed', 60_000)
      const executed = new Set<string>()
      let cursor: string | undefined
      do {
        const page = (await first.send(`/v1/invocations?function=job&status=ok&limit=1000${cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`}`)).json()
        for (const { id } of page.invocations) executed.add(id)
        cursor = page.cursor
      } while (cursor !== undefined)
      // A record is written within a batch's time after the end, and the kill may have come before; the result is kept first.
      const lost: string[] = []
      for (const id of acknowledged) {
        if (!executed.has(id) && (await first.send(`/v1/invocations/${id}/result`)).status !== 200) lost.push(id)
      }
      context.diagnostic(`${acknowledged.length} acknowledged, ${lost.length} lost; ready again after ${readyMs.join(' and ')} ms`)
      assert.deepEqual(lost, [])
      assert.equal((await first.send('/v1/async/dead')).json().dead.length, 0)
      assert.ok(Math.max(...readyMs) < 1000, `ready after ${readyMs.join(' and ')} ms`)
      await first[Symbol.asyncDispose]()
      assert.deepEqual(instanceProcesses(data, first.pid), [])
    } finally {
      await first[Symbol.asyncDispose]()
      rmSync(data, { recursive: true, force: true })
    }
  })

  test('while asynchronous work runs: it runs again, after a few seconds at most', async () => {
    const data = mkdtempSync(join(tmpdir(), 'skep-test-'))
    try {
      const first = await startTestPlatform({ data })
      await first.deployText('waits', waits.filename, waits.text)
      const { id } = (await first.fn('waits', { method: 'POST', headers: { prefer: 'respond-async' }, body: '{"ms":500}' })).json()
      await until(async () => (await first.send('/v1/async')).json().claimed === 1, 'it runs')
      await first.kill()
      await first[Symbol.asyncDispose]()
      await using second = await startTestPlatform({ data })
      const startMs = performance.now()
      const record = await until(async () => {
        const answer = await second.send(`/v1/invocations/${id}`)
        return answer.status === 200 && answer.json().state === 'ended' ? answer.json() : undefined
      }, 'it has run again', 45_000)
      assert.equal(record.outcome, 'ok')
      const tookMs = performance.now() - startMs
      assert.ok(tookMs < 8_000, `it took ${Math.round(tookMs)} ms`)
    } finally {
      rmSync(data, { recursive: true, force: true })
    }
  })
})

describe('the end of a platform', () => {
  test('SIGTERM at any moment of its start ends it, and leaves no process', async () => {
    for (const delayMs of [0, 5, 10, 20, 40]) {
      const platform = await startTestPlatform()
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      await platform[Symbol.asyncDispose]()
      assert.deepEqual(sandboxProcesses(platform.data), [])
    }
  })

  test('SIGTERM waits for what runs, and accepts nothing new', async () => {
    const platform = await startTestPlatform()
    await platform.deployText('waits', waits.filename, waits.text)
    assert.equal((await platform.fn('waits', { method: 'POST', body: '{"ms":1}' })).status, 200)
    const running = platform.fn('waits', { method: 'POST', body: '{"ms":600}' })
    await until(async () => /skep_invocations_open(\{\})? 1/.test((await platform.send('/metrics')).text), 'it runs')
    process.kill(platform.pid, 'SIGTERM')
    assert.deepEqual((await running).json(), { waited: 600 })
    await until(() => !isAlive(platform.pid), 'the platform has ended')
    await platform[Symbol.asyncDispose]()
    assert.deepEqual(sandboxProcesses(platform.data), [])
  })
})

describe('kill -9 of an instance', () => {
  for (const [what, filename, text] of [
    ['Node', computes.filename, computes.text],
    ['Python', 'computes.py', 'import time\ndef main(params):\n    time.sleep(params["ms"] / 1000)\n    return {"computed": params["ms"]}'],
  ] as const) {
    test(`${what}: the invocations on it get a typed error, and the next one works`, async () => {
      await using platform = await startTestPlatform()
      await platform.deployText('victim', filename, text, { instancesMax: 1 })
      const warm = await platform.invoke('victim', { ms: 1 })
      assert.deepEqual(warm.json(), { computed: 1 })
      const { instance } = await platform.record(warm.id)
      const running = platform.invoke('victim', { ms: 20_000 })
      await until(async () => (await platform.send('/v1/functions/victim')).json().instances.busy === 1, 'it is busy')
      const victims = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && groupOf(pid).endsWith(`/${instance}`)).map(Number)
      assert.ok(victims.length > 0, 'the instance has processes')
      // The innermost: the runtime itself, the youngest of them.
      process.kill(Math.max(...victims), 'SIGKILL')
      const lost = await running
      const code = String(lost.headers['x-skep-error'])
      assert.ok(code === 'INSTANCE_LOST' || code === 'FUNCTION_EXITED', lost.text)
      assertError(lost, code)
      const next = await platform.invoke('victim', { ms: 1 })
      assert.deepEqual(next.json(), { computed: 1 })
      assert.equal(next.headers['x-skep-start'], 'cold')
      await until(() => victims.every((pid) => !isAlive(pid)), 'nothing of the old instance is left')
    })
  }
})

/** The pids cgroup of a process, v1 or v2; empty when it is gone. */
function groupOf(pid: string): string {
  try {
    return /^(?:\d+:pids|0:):(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))?.[1] ?? ''
  } catch {
    return ''
  }
}
