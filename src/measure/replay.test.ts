/**
 * Goal: a replay invokes every function of a trace as often as the schedule says, asks for the work that it says, and leaves results and nothing else.
 *
 * Method: a provider whose functions are routes of a real server of this process, running the very function that is deployed elsewhere (functions/trace-work.ts);
 * the server counts, the results are read back, and the schedule is made again with the same seed. The trace is example-trace.ts, sped up.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import type { SubExperiment } from './experiment.ts'
import { work } from './functions/trace-work.ts'
import type { Endpoint, Limitation, Provider } from './provider.ts'
import { anyFunction } from './replay-result.ts'
import { REPLAY_FILE, replayTrace, SLOWDOWNS_FILE } from './replay.ts'
import type { ReplayOptions } from './replay.ts'
import { exampleSources, plainFunction } from './trace/example-trace.ts'
import { loadInVitro } from './trace/load.ts'
import type { Trace } from './trace/load.ts'
import { RESULT_HEADER } from './trace/results.ts'
import { schedule } from './trace/schedule.ts'

const output = mkdtempSync(join(tmpdir(), 'skep-replay-'))
const counts = new Map<string, number>()
let broken = ''
const server = createServer((request, response) => {
  const url = new URL(request.url!, 'http://here')
  counts.set(url.pathname, (counts.get(url.pathname) ?? 0) + 1)
  if (url.pathname === broken) return void response.writeHead(500).end('{}')
  // A function that computes nothing: where what is looked at is the driver.
  if (url.pathname.startsWith('/quick')) return void response.end('{}')
  const fields = Object.fromEntries(url.searchParams)
  // As the schedule asks, but quick: one machine runs all of it.
  void Promise.resolve(work({ ...fields, runtimeInMilliSec: Math.min(1, Number(fields['runtimeInMilliSec'])), memoryInMebiBytes: 1 }, { requestId: 'r', now: () => 0 })).then((reply) => response.end(JSON.stringify(reply)))
})
before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
after(() => {
  server.close()
  rmSync(output, { recursive: true, force: true })
})

/** Functions are routes: to deploy is to note, and what is noted has to be removed. */
class RouteProvider implements Provider {
  readonly name = 'routes'
  readonly capabilities = { deploys: true, coldStarts: 'never', transfers: ['none'], runtimes: ['node'], imageSize: false, memory: true, phases: [] } as const
  readonly about = {}
  readonly deployed = new Map<string, SubExperiment>()
  readonly failing: string | undefined

  constructor(failing?: string) {
    this.failing = failing
  }

  cannot(): readonly Limitation[] {
    return [{ field: 'Runtime', message: 'is that of this process' }]
  }

  async prepare(one: SubExperiment): Promise<readonly Endpoint[]> {
    if (one.Title === this.failing) throw new PlatformError('STORAGE_EXCEEDED', 'no room')
    this.deployed.set(one.Title, one)
    return [anyFunction(`http://127.0.0.1:${(server.address() as AddressInfo).port}/${one.Title}`, {})]
  }

  async release(one: SubExperiment): Promise<void> {
    this.deployed.delete(one.Title)
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

const said: string[] = []
const quiet = { say: (line: string) => void said.push(line), warn: (line: string) => void said.push(line), progress() {} }

function options(trace: Trace, given: Partial<ReplayOptions> = {}): ReplayOptions {
  return {
    trace, name: 'example', seed: 1, speedUp: 200, target: { kind: 'provider', provider: new RouteProvider(), runtime: 'node' }, directory: mkdtempSync(join(output, 'run-')),
    inFlightMax: 10_000, nowMs: Date.now, signal: new AbortController().signal, events: quiet, ...given,
  }
}

const rowsOf = (directory: string, file: string): string[][] => {
  const [head, ...lines] = readFileSync(join(directory, file), 'utf8').trim().split('\n')
  assert.equal(head, RESULT_HEADER)
  return lines.map((line) => line.split(','))
}

describe('a replay', () => {
  test('invokes each function as often as the schedule says, and writes a line for each', async () => {
    const trace = await loadInVitro(exampleSources())
    const provider = new RouteProvider()
    const given = options(trace, { warmupUnits: 1, target: { kind: 'provider', provider, runtime: 'node' } })
    counts.clear()
    const summary = await replayTrace(given)
    const expected = [...schedule(trace, given)]
    assert.deepEqual([summary.outcome, summary.sent, summary.lateness.notSent, summary.failures], ['done', expected.length, 0, []])
    assert.deepEqual(summary.limitations, ['Runtime: is that of this process'], 'once, not for each function')
    for (const one of trace.functions) assert.equal(counts.get(`/${one.name}`) ?? 0, one.counts.reduce((sum, count) => sum + count, 0), one.name)
    const rows = rowsOf(given.directory, summary.results)
    const asked = expected.map(({ phase, unit, index, runtimeMs }) => `${phase} min${unit}.inv${index} ${runtimeMs * 1000}`)
    assert.deepEqual(rows.map(([phase, , id, , requested]) => `${phase} ${id} ${requested}`).sort(), asked.sort())
    // Only what counts is in the slowdown (phase 2), and only functions that were invoked are deployed.
    assert.equal(summary.slowdown.succeeded, expected.filter(({ phase }) => phase === 2).length)
    const lines = readFileSync(join(given.directory, SLOWDOWNS_FILE), 'utf8').trim().split('\n')
    assert.deepEqual(lines.slice(1).map((line) => line.split(',')[0]).sort(), ['burst', 'rare', 'slow', 'steady', 'timer'])
    assert.equal(provider.deployed.size, 0, 'all is removed (Y3)')
    assert.equal((JSON.parse(readFileSync(join(given.directory, REPLAY_FILE), 'utf8')) as { sent: number }).sent, summary.sent)
  })

  test('deploys functions with memory for their largest invocation, and removes them when one cannot be made', async () => {
    const trace = await loadInVitro(exampleSources())
    const provider = new RouteProvider('burst')
    const memory: Record<string, number> = {}
    const prepare = provider.prepare.bind(provider)
    provider.prepare = (one) => {
      memory[one.Title] = one.FunctionMemoryMB
      return prepare(one)
    }
    await assert.rejects(replayTrace(options(trace, { target: { kind: 'provider', provider, runtime: 'node' } })), { code: 'STORAGE_EXCEEDED' })
    assert.equal(provider.deployed.size, 0)
    assert.deepEqual([memory['steady'], memory['burst']], [128 + 128, 10_240 + 128])
  })

  test('tells failures by their code, counts them, and goes on', async () => {
    const trace = await loadInVitro(exampleSources())
    broken = '/steady'
    try {
      const given = options(trace)
      const summary = await replayTrace(given)
      assert.deepEqual(summary.failures, [{ code: '500', message: 'answered with status 500: {}', count: 300 }])
      assert.deepEqual([summary.slowdown.failed, summary.slowdown.functions], [300, 5])
      assert.equal(rowsOf(given.directory, summary.results).filter((row) => row[9] === 'true').length, 300)
    } finally {
      broken = ''
    }
  })

  test('counts what is due while too much is under way, and says so (Y2)', async () => {
    const trace = await loadInVitro(exampleSources())
    const summary = await replayTrace(options(trace, { inFlightMax: 1, speedUp: 1000 }))
    assert(summary.lateness.notSent > 0)
    assert.equal(summary.sent + summary.lateness.notSent, summary.totals.invocations)
  })

  test('that is interrupted keeps its lines, and removes what it deployed', async () => {
    const trace = await loadInVitro(exampleSources())
    const interrupted = new AbortController()
    const provider = new RouteProvider()
    let told = 0
    const events = { ...quiet, progress: (line: string) => void (/invocation [1-9]/.test(line) && told++ === 0 && interrupted.abort()) }
    const given = options(trace, { speedUp: 10, signal: interrupted.signal, target: { kind: 'provider', provider, runtime: 'node' }, events })
    const summary = await replayTrace(given)
    assert.equal(summary.outcome, 'interrupted')
    const rows = rowsOf(given.directory, summary.results)
    assert(rows.length > 0 && rows.length < summary.totals.invocations)
    assert.equal(provider.deployed.size, 0)
  })

  test('of any function sends all to it', async () => {
    const trace = await loadInVitro(exampleSources())
    counts.clear()
    const endpoint = anyFunction(`http://127.0.0.1:${(server.address() as AddressInfo).port}/any`, {})
    const summary = await replayTrace(options(trace, { target: { kind: 'function', endpoint } }))
    assert.deepEqual([...counts], [['/any', summary.totals.invocations]])
    assert.match(summary.target.name, /^127\.0\.0\.1:\d+\/any$/)
  })

  test('of 500 functions goes on with 2,000 invocations a second', async () => {
    const seconds = 3
    const functions = Array.from({ length: 500 }, (_, index) => plainFunction(`quick${index}`, Array.from({ length: seconds }, () => 4)))
    const trace: Trace = { unitUs: 1_000_000, unitCount: seconds, functions }
    const given = options(trace, { speedUp: 1, shift: true })
    const summary = await replayTrace(given)
    assert.deepEqual([summary.sent, summary.lateness.notSent, summary.failures], [500 * 4 * seconds, 0, []])
    assert.equal(rowsOf(given.directory, summary.results).length, 500 * 4 * seconds)
    // It follows the schedule; how closely depends on what else this machine does.
    assert(summary.wallMs < seconds * 1000 + 2000, `${summary.wallMs} ms`)
  })
})
