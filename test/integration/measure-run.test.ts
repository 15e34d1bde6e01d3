/**
 * Goal: a measurement loses nothing of what it has measured, however it ends: killed, interrupted, or left by an endpoint; and it goes on from there. A replay
 * of a trace does from the command line what its own tests say.
 *
 * Method: the real command as a process, against real servers of this process that answer as STeLLAR's functions do. They are told apart by their port: each
 * sub-experiment of the file asks for another memory, and so gets another server (endpoints file). Processes are really killed and servers really close.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { latenciesHeader } from '#measure/csv.ts'
import { exampleFiles } from '#measure/trace/example-trace.ts'
import { RESULT_HEADER } from '#measure/trace/results.ts'
import { parseSummary } from '#measure/report/summary-schema.ts'
import type { RunSummary } from '#measure/run-summary.ts'
import { until } from '../kit/platform.ts'

const home = mkdtempSync(join(tmpdir(), 'skep-measure-'))
after(() => rmSync(home, { recursive: true, force: true }))

interface Endpoint {
  readonly server: Server
  answered: number
  /** Called before each answer; what it returns is the status. */
  status: () => number
  /** Stops listening and cuts every connection, as a machine that is gone. */
  die(): void
}

async function startEndpoint(): Promise<Endpoint> {
  const endpoint: Endpoint = {
    answered: 0,
    status: () => 200,
    die() {
      endpoint.server.close()
      endpoint.server.closeAllConnections()
    },
    server: createServer((_request, response) => {
      const status = endpoint.status()
      if (!endpoint.server.listening) return
      endpoint.answered++
      response.writeHead(status).end(JSON.stringify({ RequestID: String(endpoint.answered), TimestampChain: [] }))
    }),
  }
  endpoint.server.listen(0, '127.0.0.1')
  await once(endpoint.server, 'listening')
  return endpoint
}

interface World extends AsyncDisposable {
  readonly directory: string
  readonly file: string
  readonly output: string
  readonly endpoints: readonly Endpoint[]
  /** Runs `skep measure run` on the file. */
  run(...args: string[]): Running
  readonly summary: () => RunSummary
  readonly runDirectory: () => string
  lines(index: number): string[]
}

/** @param subExperiments Each with an endpoint of its own. */
async function startWorld(subExperiments: readonly object[], top: object = {}): Promise<World> {
  const directory = mkdtempSync(join(home, 'world-'))
  const endpoints = await Promise.all(subExperiments.map(startEndpoint))
  const [file, output] = [join(directory, 'experiment.json'), join(directory, 'out')]
  writeExperiment(file, subExperiments, top)
  const listed = endpoints.map(({ server }, index) => ({ GatewayID: `127.0.0.1:${(server.address() as AddressInfo).port}`, FunctionMemoryMB: 100 + index }))
  writeFileSync(join(directory, 'endpoints.json'), JSON.stringify(listed))
  const runDirectory = (): string => join(output, readdirSync(output)[0]!)
  const summary = (): RunSummary => parseSummary(readFileSync(join(runDirectory(), 'summary.json'), 'utf8'), 'summary.json')
  return {
    directory, file, output, endpoints, runDirectory, summary,
    run: (...args) => run('measure', 'run', file, '-o', output, '--endpoints', directory, ...args),
    lines: (index) => {
      const { settings } = summary().results[index]!
      const name = readdirSync(runDirectory()).find((one) => one.startsWith(`${settings.Title}-`))!
      const [head, ...lines] = readFileSync(join(runDirectory(), name, 'latencies.csv'), 'utf8').split('\n')
      assert.equal(`${head}\n`, latenciesHeader)
      return lines
    },
    async [Symbol.asyncDispose]() {
      for (const one of endpoints) one.die()
    },
  }
}

function writeExperiment(file: string, subExperiments: readonly object[], top: object = {}): void {
  const complete = subExperiments.map((one, index) => ({ BurstSizes: [1], DesiredServiceTimes: ['0ms'], FunctionMemoryMB: 100 + index, ...one }))
  writeFileSync(file, JSON.stringify({ Provider: 'endpoints', Sequential: true, strict: true, SubExperiments: complete, ...top }, undefined, 1))
}

interface Running {
  readonly child: ChildProcessWithoutNullStreams
  readonly ended: Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>
}

function run(...args: string[]): Running {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, '../../src/cli/main.ts'), ...args], {
    env: { PATH: process.env['PATH'] ?? '', HOME: home, NODE_COMPILE_CACHE: join(home, 'cache') },
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  return { child, ended: once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr })) }
}

const outcomes = (summary: RunSummary): string[] => summary.results.map(({ outcome }) => outcome.kind)

describe('skep measure run', () => {
  test('measures every sub-experiment, and leaves the files of STeLLAR and a summary', async () => {
    const paced = { Bursts: 40, IATSeconds: 0.005, IATType: 'deterministic' }
    await using world = await startWorld([{ Title: 'one', ...paced }, { Title: 'two', Bursts: 5, BurstSizes: [8] }])
    const { code, stdout, stderr } = await world.run('--report').ended
    assert.equal(code, 0, stderr)
    assert.match(stdout, /one\s+40\s/)
    assert.match(stderr, /warning SubExperiments\[0\] \(one\): Function: .*nothing is deployed/)
    const summary = world.summary()
    assert.deepEqual(summary.results.map(({ outcome, latencies, failures }) => [outcome.kind, latencies?.summary.count, failures]), [['done', 40, []], ['done', 40, []]])
    for (const [index, one] of summary.results.entries()) {
      assert.equal(world.lines(index).length, 41)
      assert.deepEqual(readdirSync(join(world.runDirectory(), one.directory!)).sort(), ['latencies.csv', 'statistics.csv'])
    }
    assert(existsSync(join(world.runDirectory(), 'report.html')))
    assert.match(readFileSync(join(world.runDirectory(), 'run_logs.txt'), 'utf8'), /SubExperiments\[1\] \(two\): done/)
  })

  test('runs all at once when the file does not say Sequential, and only one with --only', async () => {
    await using world = await startWorld(['a', 'b', 'c'].map((Title) => ({ Title, Bursts: 3, IATSeconds: 0.5, IATType: 'deterministic' })), { Sequential: false })
    const startedMs = performance.now()
    assert.equal((await world.run().ended).code, 0)
    const summary = world.summary()
    assert.deepEqual(outcomes(summary), ['done', 'done', 'done'])
    // Each takes 1.5 s, so that together they take less than one after the other.
    assert(summary.wallMs < 1.5 * summary.results.reduce((most, { wallMs }) => Math.max(most, wallMs), 0), `${summary.wallMs} ms of ${performance.now() - startedMs}`)
    const { stdout } = await world.run('--only', '1', '-o', join(world.directory, 'only'), '--json').ended
    assert.deepEqual((JSON.parse(stdout) as { runs: { summary: RunSummary }[] }).runs.map(({ summary: { results } }) => results.map(({ title }) => title)), [['b']])
  })

  test('killed with -9 loses at most a second, and goes on where it was', async () => {
    const slow = { Bursts: 2000, IATSeconds: 0.002, IATType: 'deterministic' }
    await using world = await startWorld([{ Title: 'first', Bursts: 20 }, { Title: 'second', ...slow }, { Title: 'third', Bursts: 20 }])
    const { child, ended } = world.run()
    const second = world.endpoints[1]!
    await until(() => second.answered > 800, 'the second is under way')
    // The endpoint counts what it answered a second before the kill.
    const answered: { readonly atMs: number; readonly count: number }[] = []
    const counting = setInterval(() => answered.push({ atMs: performance.now(), count: second.answered }), 50)
    await until(() => answered.length >= 30, 'a second has passed')
    clearInterval(counting)
    const killedMs = performance.now()
    child.kill('SIGKILL')
    await ended
    assert.deepEqual(outcomes(world.summary()), ['done', 'interrupted', 'interrupted'])
    const measured = answered.filter(({ atMs }) => atMs < killedMs - 1000).at(-1)!.count - 1
    const kept = world.lines(1).length - 1
    assert(kept >= measured, `${measured} were answered a second before, ${kept} are written`)

    const before = world.endpoints.map((one) => one.answered)
    const firstStarted = world.summary().results[0]!.startedAt
    const resumed = await world.run('--resume', world.runDirectory()).ended
    assert.equal(resumed.code, 0, resumed.stderr)
    const summary = world.summary()
    assert.deepEqual(summary.results.map(({ outcome, latencies }) => [outcome.kind, latencies?.summary.count]), [['done', 20], ['done', 2000], ['done', 20]])
    assert.equal(summary.results[0]!.startedAt, firstStarted)
    assert.equal(world.endpoints[0]!.answered, before[0], 'what was measured is not measured again')
    assert.equal(world.lines(1).length, 2001)
    assert.equal(readdirSync(world.output).length, 1)
  })

  test('is not resumed with other settings, and says which', async () => {
    await using world = await startWorld([{ Title: 'one', Bursts: 5 }])
    assert.equal((await world.run().ended).code, 0)
    writeExperiment(world.file, [{ Title: 'one', Bursts: 6 }])
    const { code, stderr } = await world.run('--resume', world.runDirectory()).ended
    assert.equal(code, 2)
    assert.match(stderr, /INPUT_INVALID: SubExperiments\[0\]\.Bursts is 6 in .* and 5 in /)
    const two = await run('measure', 'run', world.file, world.file, '--resume', world.runDirectory()).ended
    assert.equal(two.code, 2)
    assert.match(two.stderr, /goes on with one run, and 2 are asked for/)
  })

  test('interrupted ends at once with exit code 130, keeps what it has, and says how to go on', async () => {
    await using world = await startWorld([{ Title: 'one', Bursts: 100_000, IATSeconds: 0.002, IATType: 'deterministic' }, { Title: 'two', Bursts: 5 }])
    const { child, ended } = world.run()
    await until(() => world.endpoints[0]!.answered > 100, 'it is under way')
    child.kill('SIGINT')
    const { code, stderr } = await ended
    assert.equal(code, 130)
    assert.match(stderr, /SIGINT: ending what is under way/)
    assert.match(stderr, /skep measure run .*experiment\.json --provider endpoints .*--resume .*out\/\d+/)
    const summary = world.summary()
    assert.deepEqual(outcomes(summary), ['interrupted', 'interrupted'])
    assert(summary.results[0]!.latencies!.summary.count >= 100)
    assert.equal(world.lines(0).length - 1, summary.results[0]!.latencies!.summary.count)
    assert.equal(summary.results[1]!.latencies, undefined)
    assert(existsSync(join(world.runDirectory(), summary.results[0]!.directory!, 'statistics.csv')))
    assert.equal(world.endpoints[1]!.answered, 0)
  })

  test('gives up an endpoint that dies half-way, with the reason and what it had measured, and goes on with the next', async () => {
    await using world = await startWorld([{ Title: 'dies', Bursts: 300 }, { Title: 'lives', Bursts: 10 }])
    const dying = world.endpoints[0]!
    dying.status = () => {
      if (dying.answered >= 150) dying.die()
      return 200
    }
    const { code, stdout, stderr } = await world.run().ended
    assert.equal(code, 1, stderr)
    const [first, next] = world.summary().results
    assert.equal(first!.outcome.kind, 'given-up')
    assert.match((first!.outcome as { reason: string }).reason, /ECONNREFUSED/)
    assert.equal(first!.latencies!.summary.count, 149, 'one of the 150 answers is that of the preparation')
    assert.equal(world.lines(0).length - 1, 149)
    assert(first!.failures.some(({ count, code: reason }) => reason === 'ECONNREFUSED' && count > 10))
    assert.deepEqual([next!.outcome.kind, next!.latencies!.summary.count], ['done', 10])
    assert.match(stdout, /ECONNREFUSED/)
    assert.match(stderr, /To go on with what is missing: skep measure run/)
  })

  test('keeps results when an endpoint answers errors half-way: few are told, too many end it', async () => {
    await using world = await startWorld([{ Title: 'few', Bursts: 200 }, { Title: 'many', Bursts: 200 }])
    const [few, many] = world.endpoints
    few!.status = () => (few!.answered >= 100 && few!.answered < 110 ? 503 : 200)
    many!.status = () => (many!.answered >= 100 ? 503 : 200)
    assert.equal((await world.run().ended).code, 1)
    const [one, two] = world.summary().results
    assert.deepEqual([one!.outcome.kind, one!.latencies!.summary.count, one!.failures.map(({ code, count }) => [code, count])], ['done', 190, [['503', 10]]])
    assert.deepEqual([two!.outcome.kind, two!.latencies!.summary.count], ['given-up', 99])
  })

  test('does not run what cannot be prepared, says why, and runs the others', async () => {
    await using world = await startWorld([{ Title: 'down', Bursts: 5 }, { Title: 'up', Bursts: 5 }, { Title: 'too many', Bursts: 5, Parallelism: 3 }])
    world.endpoints[0]!.die()
    const { code, stdout } = await world.run('--json').ended
    assert.equal(code, 1)
    const { results } = (JSON.parse(stdout) as { runs: { summary: RunSummary }[] }).runs[0]!.summary
    assert.deepEqual(results.map(({ outcome }) => outcome.kind), ['not-run', 'done', 'not-run'])
    assert.match((results[0]!.outcome as { reason: string }).reason, /SERVER_UNREACHABLE: .*ECONNREFUSED/)
  })

  test('measures several providers in turn, with a report of each and a comparison', async () => {
    await using world = await startWorld([{ Title: 'warm', Bursts: 400 }])
    writeFileSync(join(world.directory, 'google.json'), readFileSync(join(world.directory, 'endpoints.json')))
    const { code, stdout, stderr } = await world.run('--provider', 'endpoints,google', '--report', '--json').ended
    assert.equal(code, 0, stderr)
    const { runs, comparisons } = JSON.parse(stdout) as { runs: { directory: string; summary: RunSummary }[]; comparisons: string[][] }
    assert.deepEqual(runs.map(({ summary }) => summary.provider.name), ['endpoints', 'google'])
    for (const { directory } of runs) assert(existsSync(join(directory, 'report.html')))
    assert.deepEqual(comparisons, [[join(runs[1]!.directory, 'comparison.html'), join(runs[1]!.directory, 'comparison.json')]])
    const compared = await run('measure', 'compare', ...runs.map(({ directory }) => directory)).ended
    assert.equal(compared.code, 0, compared.stderr)
    assert.match(compared.stdout, /^warm\s+p50/m)
    const reported = await run('measure', 'report', runs[0]!.directory).ended
    assert.equal(reported.code, 0, reported.stderr)
    assert.match(reported.stdout, /report\.html/)
    assert.equal((await run('measure', 'report', world.directory).ended).code, 2)
  })

  test('says that the second provider cannot be reached before the first is measured', async () => {
    await using world = await startWorld([{ Title: 'warm', Bursts: 20 }])
    const { code, stderr } = await world.run('--provider', 'endpoints,azure').ended
    assert.equal(code, 2)
    assert.match(stderr, /azure\.json can't be read/)
    assert.equal(world.endpoints[0]!.answered, 0)
  })

  test('finds what is wrong in any file before the first is measured', async () => {
    await using world = await startWorld([{ Title: 'one', Bursts: 5 }])
    const wrong = join(world.directory, 'wrong.json')
    writeFileSync(wrong, '{\n "SubExperiments": [\n  {"Burst": 5}\n ]\n}')
    const { code, stderr } = await world.run(wrong).ended
    assert.equal(code, 2)
    assert.match(stderr, /wrong\.json:3: SubExperiments\[0\]\.Burst/)
    assert.equal(world.endpoints[0]!.answered, 0)
    assert.equal((await world.run('--provider', 'nobody').ended).code, 2)
    assert.equal((await world.run('--only', '1').ended).code, 2)
    assert.equal((await run('measure', 'run', join(world.directory, 'missing.json')).ended).code, 2)
  })
})

describe('skep measure replay', () => {
  const trace = mkdtempSync(join(home, 'trace-'))
  for (const [name, text] of Object.entries(exampleFiles)) writeFileSync(join(trace, `${name}.csv`), text)
  const replay = (...args: string[]): Running => run('measure', 'replay', trace, '-o', join(trace, 'out'), ...args)

  test('prints the schedule, the same for the same seed, and invokes nothing', async () => {
    const [one, same, other] = await Promise.all([replay('--dry-run').ended, replay('--dry-run').ended, replay('--dry-run', '--seed', '2').ended])
    assert.equal(one.code, 0, one.stderr)
    assert.equal(one.stdout, same.stdout)
    assert.notEqual(one.stdout, other.stdout)
    const lines = one.stdout.trim().split('\n').filter((line) => !line.startsWith('#'))
    assert.equal(lines.length, 1 + 300 + 5 + 1 + 700 + 9)
    assert(!existsSync(join(trace, 'out')))
  })

  test('of a function that is deployed leaves lines, slowdowns and a summary', async () => {
    await using world = await startWorld([{}])
    const [endpoint] = world.endpoints
    const url = `http://127.0.0.1:${(endpoint!.server.address() as AddressInfo).port}/f`
    const { code, stdout, stderr } = await replay('--function', url, '--minutes', '2', '--functions', '3', '--speed-up', '60', '--json').ended
    assert.equal(code, 0, stderr)
    const result = JSON.parse(stdout) as { directory: string; results: string; sent: number; totals: { functions: number; invocations: number; durationUs: number } }
    assert.deepEqual([result.totals.functions, result.totals.durationUs, result.sent], [3, 2_000_000, result.totals.invocations])
    assert.equal(endpoint!.answered, result.sent)
    assert.deepEqual(readdirSync(result.directory).sort(), ['experiment_duration_1.csv', 'replay.json', 'run_logs.txt', 'slowdowns.csv'])
    const [head, ...lines] = readFileSync(join(result.directory, result.results), 'utf8').trim().split('\n')
    assert.deepEqual([head, lines.length], [RESULT_HEADER, result.sent])
  })

  test('tells failures with exit code 1, and what was typed wrongly before it begins', async () => {
    await using world = await startWorld([{}])
    world.endpoints[0]!.status = () => 503
    const url = `http://127.0.0.1:${(world.endpoints[0]!.server.address() as AddressInfo).port}/f`
    const failed = await replay('--function', url, '--minutes', '1', '--speed-up', '60').ended
    assert.equal(failed.code, 1)
    assert.match(failed.stdout, /\d+ × 503: answered with status 503/)
    for (const [args, words] of [
      [['--speed-up', '0'], /--speed-up/], [['--functions', '99'], /--functions.*from 1 to 6/], [['--distribution', 'none'], /exponential, uniform, equidistant/],
      [['--provider', 'skep,aws'], /a replay has one/], [['--provider', 'nobody'], /no provider "nobody": choose one of skep/], [['--function', 'http://'], /not the URL/],
    ] as const) {
      const { code, stderr } = await replay(...args).ended
      assert.deepEqual([args, code], [args, 2])
      assert.match(stderr, words)
    }
  })
})
