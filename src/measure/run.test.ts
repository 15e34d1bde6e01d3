/**
 * Goal: whatever a provider or a disk does to one sub-experiment, its result says so, what it prepared is released, and the others are measured.
 *
 * Method: a provider whose endpoints are a real server of this process, and which notes in what order it is called; it fails where it is told to. What is on the
 * disk is read back as a report reads it. Endings from outside (kill, Ctrl-C) are in test/integration/measure-run.test.ts.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import { seededRandom } from '#base/seeded-random.ts'
import { parseExperiment } from './experiment.ts'
import type { SubExperiment } from './experiment.ts'
import type { Endpoint, Limitation, PrepareOptions, Provider } from './provider.ts'
import { parseSummary } from './report/summary-schema.ts'
import { directoryNames } from './run-files.ts'
import { isComplete, runExperiment } from './run.ts'
import type { RunOptions } from './run.ts'
import type { RunSummary } from './run-summary.ts'

const output = mkdtempSync(join(tmpdir(), 'skep-run-'))
const server = createServer((request, response) => {
  const chain = Number(new URL(request.url!, 'http://here').searchParams.get('chain'))
  response.end(JSON.stringify({ timestamps: Array.from({ length: chain }, (_, place) => String(1000 + place * 2.5)) }))
})
before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
after(() => {
  server.close()
  rmSync(output, { recursive: true, force: true })
})

class NotingProvider implements Provider {
  readonly name = 'noting'
  readonly capabilities = { deploys: true, coldStarts: 'never', transfers: ['none', 'inline'], runtimes: [], imageSize: false, memory: false, phases: ['run'] } as const
  readonly about = { place: 'here' }
  readonly notes: string[]
  onPrepare: (one: SubExperiment, options: PrepareOptions) => void = () => {}
  onRelease: (one: SubExperiment) => void = () => {}
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  constructor(notes: string[]) {
    this.notes = notes
  }

  cannot(one: SubExperiment): readonly Limitation[] {
    return [{ field: 'FunctionMemoryMB', message: `of ${one.Title} is not set here` }]
  }

  async prepare(one: SubExperiment, options: PrepareOptions): Promise<readonly Endpoint[]> {
    this.notes.push(`prepare ${one.Title}`)
    this.onPrepare(one, options)
    return Array.from({ length: one.Parallelism }, (_, index) => ({
      host: `h${index}`,
      transport: { kind: 'http', origin: this.origin },
      request: () => ({ method: 'GET', path: `/?chain=${one.DataTransferChainLength}`, headers: {}, body: undefined }),
      readAnswer: ({ body }) => ({ requestId: 'r', timestamps: (JSON.parse(Buffer.from(body).toString()) as { timestamps: string[] }).timestamps, start: 'warm', phases: { run: 3 } }),
    }))
  }

  async release(one: SubExperiment): Promise<void> {
    this.notes.push(`release ${one.Title}`)
    this.onRelease(one)
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

interface World {
  readonly notes: string[]
  readonly provider: NotingProvider
  readonly directory: string
  readonly options: RunOptions
  stored(): RunSummary
}

function world(titles: readonly string[], given: object = {}): World {
  const SubExperiments = titles.map((Title) => ({ Title, Bursts: 20, BurstSizes: [1], DesiredServiceTimes: ['0ms'], ...given }))
  const experiment = parseExperiment(JSON.stringify({ Sequential: true, strict: true, SubExperiments }), 'x.json')
  const notes: string[] = []
  const provider = new NotingProvider(notes)
  const directory = mkdtempSync(join(output, 'run-'))
  const events = { say() {}, warn: (line: string) => void notes.push(line), progress() {} }
  const options = { experiment, name: 'x.json', provider, directory, only: undefined, resumed: undefined, random: seededRandom(1), nowMs: Date.now, signal: new AbortController().signal, version: '1', events }
  return { notes, provider, directory, options, stored: () => parseSummary(readFileSync(join(directory, 'summary.json'), 'utf8'), 'summary.json') }
}

const outcomes = ({ results }: RunSummary): string[] => results.map(({ outcome }) => outcome.kind)

describe('a run', () => {
  test('tells limitations of all before anything is prepared, and keeps them (U2)', async () => {
    const { notes, options, stored } = world(['a', 'b'])
    const summary = await runExperiment(options)
    assert.deepEqual(notes.filter((note) => !/bottleneck/.test(note)), [
      'SubExperiments[0] (a): FunctionMemoryMB: of a is not set here', 'SubExperiments[1] (b): FunctionMemoryMB: of b is not set here',
      'prepare a', 'release a', 'prepare b', 'release b',
    ])
    assert(isComplete(summary))
    assert.deepEqual(stored().results.map(({ limitations }) => limitations.length), [1, 1])
    assert.deepEqual([stored().provider.name, stored().provider.about, stored().client.node], ['noting', { place: 'here' }, process.version])
  })

  test('has all that was asked for in the summary while it goes on (U1)', async () => {
    const { provider, options, stored } = world(['a', 'b', 'c'])
    const seen: string[][] = []
    provider.onPrepare = () => void seen.push(outcomes(stored()))
    await runExperiment(options)
    assert.deepEqual(seen, [['interrupted', 'interrupted', 'interrupted'], ['done', 'interrupted', 'interrupted'], ['done', 'done', 'interrupted']])
  })

  test('writes a chain\'s timestamps, and sums up transfers, starts and phases', async () => {
    const { options, directory } = world(['chain'], { DataTransferChainLength: 3, PayloadLengthBytes: 1 })
    const [one] = (await runExperiment(options)).results
    assert.deepEqual([one!.transfer!.summary.p50, one!.starts, one!.phases, one!.latencyOf], [5, { cold: 0, warm: 20, unknown: 0 }, { run: { p50: 3, p99: 3 } }, 'first-byte'])
    const lines = readFileSync(join(directory, one!.directory!, 'data-transfers.csv'), 'utf8').trim().split('\n')
    assert.deepEqual([lines.length, lines[1]], [21, 'r,h0,0,1000,1002.5,1005'])
  })

  test('does not run what cannot be prepared, and goes on', async () => {
    const { provider, notes, options } = world(['a', 'b'])
    provider.onPrepare = ({ Title }) => {
      if (Title === 'a') throw new PlatformError('STORAGE_EXCEEDED', 'no room for it')
    }
    const summary = await runExperiment(options)
    assert.deepEqual(summary.results.map(({ outcome }) => outcome), [{ kind: 'not-run', reason: 'STORAGE_EXCEEDED: no room for it' }, { kind: 'done' }])
    assert(!notes.includes('release a'), 'what failed has left nothing (V2)')
  })

  test('releases what was measured, however it ended, and a release that fails costs no result (U4)', async () => {
    const { provider, notes, options, directory } = world(['unwritable', 'unsendable', 'good'])
    writeFileSync(join(directory, directoryNames(options.experiment.SubExperiments)[0]!), 'in the way')
    provider.onPrepare = ({ Title }) => void (provider.origin = Title === 'unsendable' ? 'ftp://nobody' : provider.origin)
    provider.onRelease = ({ Title }) => {
      provider.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      if (Title === 'good') throw new Error('it does not go away')
    }
    const summary = await runExperiment(options)
    assert.deepEqual(outcomes(summary), ['given-up', 'given-up', 'done'])
    assert.deepEqual(notes.filter((note) => note.startsWith('release')), ['release unwritable', 'release unsendable', 'release good'])
    assert(notes.some((note) => /good\): was not removed: it does not go away/.test(note)))
  })

  test('that is interrupted while it prepares begins nothing further (U3)', async () => {
    const { provider, notes, options, stored } = world(['a', 'b'])
    const interrupted = new AbortController()
    provider.onPrepare = (_one, { signal }) => {
      interrupted.abort()
      signal.throwIfAborted()
    }
    await runExperiment({ ...options, signal: interrupted.signal })
    assert.deepEqual([outcomes(stored()), notes.filter((note) => note.startsWith('prepare'))], [['interrupted', 'interrupted'], ['prepare a']])
  })

  test('resumed measures what is missing, and adds up the time', async () => {
    const { options, notes, stored } = world(['a', 'b', 'c'])
    const first = await runExperiment({ ...options, only: [1] })
    assert.deepEqual(first.results.map(({ title }) => title), ['b'])
    notes.length = 0
    const whole = await runExperiment({ ...options, resumed: stored() })
    assert.deepEqual(notes.filter((note) => note.startsWith('prepare')), ['prepare a', 'prepare c'])
    assert.deepEqual(outcomes(whole), ['done', 'done', 'done'])
    assert.equal(whole.startedAt, first.startedAt)
    assert(whole.wallMs >= first.wallMs)
    assert.equal(whole.results[1]!.startedAt, first.results[0]!.startedAt)
  })
})
