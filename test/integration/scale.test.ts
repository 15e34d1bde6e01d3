/**
 * Goal: a function has as many instances as its load asks for, within its limits, and none when nobody calls; changing what
 * is deployed never costs a request.
 *
 * Method: one platform, functions with short keep-alives and small limits; which instance ran what is read from the records,
 * how many there are from the API. Shares of traffic are checked against bounds that chance crosses once in a million runs.
 */
import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { after, before, describe, test } from 'node:test'
import { computes, hello, waits } from '../kit/functions.ts'
import type { Answer } from '../kit/http.ts'
import { pause, startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

interface Counts {
  readonly starting: number
  readonly ready: number
  readonly busy: number
}

describe('scaling', () => {
  let platform: TestPlatform

  before(async () => {
    platform = await startTestPlatform()
  })
  after(() => platform[Symbol.asyncDispose]())

  const counts = async (name: string): Promise<Counts> => (await platform.send(`/v1/functions/${name}`)).json().instances
  const living = async (name: string): Promise<number> => {
    const { ready, busy, starting } = await counts(name)
    return ready + busy + starting
  }
  const wait = (name: string, ms: number): Promise<Answer> => platform.fn(name, { method: 'POST', body: JSON.stringify({ ms }) })
  const instancesOf = async (answers: readonly Answer[]): Promise<ReadonlySet<string>> => new Set(await Promise.all(answers.map(async ({ id }) => (await platform.record(id)).instance)))

  test('from zero to one at the first call, one is enough for calls that wait, and back to zero when the keep-alive is over', async () => {
    await platform.deployText('waits', waits.filename, waits.text, { keepAliveMs: 200 })
    assert.equal(await living('waits'), 0)
    const first = await wait('waits', 1)
    assert.equal(first.headers['x-skep-start'], 'cold')
    const answers = await Promise.all(Array.from({ length: 20 }, () => wait('waits', 100)))
    assert.ok(answers.every((answer) => answer.status === 200))
    assert.ok((await instancesOf(answers)).size <= 3, 'waiting calls share instances')
    // The panic window of 6 s has to be empty, and the autoscaler looks every 2 s.
    await until(async () => (await living('waits')) === 0, 'it is at zero again', 20_000)
    assert.equal((await wait('waits', 1)).headers['x-skep-start'], 'cold')
  })

  test('calls that compute get a second instance', { skip: availableParallelism() < 2 && 'one core has no use for a second instance' }, async () => {
    await platform.deployText('computes', computes.filename, computes.text)
    await platform.invoke('computes', { ms: 50 })
    const answers = await Promise.all(Array.from({ length: 12 }, () => platform.invoke('computes', { ms: 150 })))
    assert.ok(answers.every((answer) => answer.status === 200))
    const used = await instancesOf(answers)
    assert.ok(used.size >= 2, `${used.size} instance ran them all`)
  })

  test('one instance carries as many at once as its concurrency says, and no more', async () => {
    await platform.deployText('pairs', waits.filename, waits.text, { concurrency: 2, instancesMax: 1 })
    await wait('pairs', 1)
    const startMs = performance.now()
    const answers = await Promise.all(Array.from({ length: 6 }, () => wait('pairs', 150)))
    const tookMs = performance.now() - startMs
    assert.ok(answers.every((answer) => answer.status === 200))
    assert.equal((await instancesOf(answers)).size, 1)
    assert.ok(tookMs >= 440, `six calls of 150 ms, two at a time, took ${Math.round(tookMs)} ms`)
  })

  test('instancesMin are there before anybody calls, and survive the keep-alive; instancesMax holds', async () => {
    await platform.deployText('kept', waits.filename, waits.text, { instancesMin: 2, instancesMax: 3, keepAliveMs: 100, concurrency: 1, burst: { policy: 'never-queue' } })
    await until(async () => (await counts('kept')).ready === 2, 'two are ready')
    assert.equal((await wait('kept', 1)).status, 200)
    let most = 0
    const watched = Promise.all(Array.from({ length: 12 }, () => wait('kept', 200)))
    let isOver = false
    void watched.finally(() => (isOver = true))
    while (!isOver) most = Math.max(most, await living('kept'))
    const answers = await watched
    assert.ok(answers.every((answer) => answer.status === 200))
    assert.equal(most, 3)
    assert.equal((await instancesOf(answers)).size, 3)
    await until(async () => (await living('kept')) === 2, 'it is at its minimum again', 20_000)
  })

  test('never-queue starts one for each call that finds no room; queue-up-to lets calls wait first', async () => {
    await platform.deployText('never', waits.filename, waits.text, { concurrency: 1, burst: { policy: 'never-queue' } })
    await platform.deployText('patient', waits.filename, waits.text, { concurrency: 1, burst: { policy: 'queue-up-to', depth: 10 } })
    for (const name of ['never', 'patient']) await wait(name, 1)
    const never = await Promise.all(Array.from({ length: 4 }, () => wait('never', 1000)))
    const patient = await Promise.all(Array.from({ length: 4 }, () => wait('patient', 300)))
    assert.equal((await instancesOf(never)).size, 4)
    assert.equal((await instancesOf(patient)).size, 1)
  })

  test('traffic is split by weight; rollback and a deployment without traffic do what they say', async () => {
    const version = (n: number): string => `export function main() { return { version: ${n} } }`
    const one = await platform.deployText('split', 'f.ts', version(1))
    const two = await platform.deployText('split', 'f.ts', version(2), { activate: false })
    const share = async (calls: number): Promise<number> => {
      const answers = await Promise.all(Array.from({ length: calls }, () => platform.invoke('split', {})))
      return answers.filter((answer) => answer.json().version === 2).length / calls
    }
    assert.equal(await share(20), 0)
    await platform.json('/v1/functions/split/traffic', { method: 'PUT', body: JSON.stringify([{ revision: one, weight: 75 }, { revision: two, weight: 25 }]) })
    const quarter = await share(400)
    // Five standard deviations.
    assert.ok(Math.abs(quarter - 0.25) < 0.11, `${quarter} of the calls went to the revision with 25 %`)
    await platform.json('/v1/functions/split/traffic', { method: 'PUT', body: JSON.stringify([{ revision: two, weight: 100 }]) })
    assert.equal(await share(20), 1)
    await platform.json('/v1/functions/split/rollback', { method: 'POST', body: '{}' })
    assert.equal(await share(20), 0)
    await platform.json('/v1/functions/split/rollback', { method: 'POST', body: JSON.stringify({ revision: two }) })
    assert.equal(await share(20), 1)
    const bad = await platform.send('/v1/functions/split/traffic', { method: 'PUT', body: JSON.stringify([{ revision: one, weight: 50 }]) })
    assert.equal(bad.status, 400, bad.text)
    assert.equal(await share(10), 1)
  })

  test('deploying anew under load does not fail a single request, and the new code takes over at once', async () => {
    const version = (n: number): string => `export async function main() { await new Promise((resolve) => setTimeout(resolve, 20)); return { version: ${n} } }`
    await platform.deployText('moving', 'f.ts', version(0))
    let isOver = false
    let answered = 0
    const failed: string[] = []
    const clients = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        const answer = await platform.invoke('moving', {}).catch((error: unknown) => ({ status: 0, text: String(error) }))
        if (answer.status === 200) answered++
        else failed.push(answer.text)
      }
    })
    for (let n = 1; n <= 8; n++) {
      await pause(120)
      await platform.deployText('moving', 'f.ts', version(n))
      assert.deepEqual((await platform.invoke('moving', {})).json(), { version: n })
    }
    isOver = true
    await Promise.all(clients)
    assert.deepEqual(failed, [])
    assert.ok(answered > 50, `only ${answered} requests were answered`)
    await until(async () => (await living('moving')) <= 2, 'the old revisions\' instances are gone')
  })

  test('a deleted function is gone at once, with its instances, and what ran on it may end', async () => {
    await platform.deployText('brief', waits.filename, waits.text)
    await wait('brief', 1)
    const running = wait('brief', 300)
    await until(async () => (await counts('brief')).busy === 1, 'it runs')
    assert.equal((await platform.send('/v1/functions/brief', { method: 'DELETE' })).status, 204)
    assert.equal((await wait('brief', 1)).status, 404)
    assert.equal((await running).status, 200)
    const { text } = await platform.send('/metrics')
    assert.doesNotMatch(text, /function="brief"/)
    assert.match(text, /skep_invocations_total{namespace="_other",function="_other",start="warm",outcome="ok"} 1\n/)
    await platform.deployText('brief', hello.filename, hello.text)
    assert.equal((await platform.invoke('brief', {})).json().answered, 1)
  })
})
