/**
 * Question: does `skep measure` measure the server, or itself?
 *
 * Method: a bare node:http server on core 1, the driver on core 0. Lateness: 10,000 requests a second open loop (Poisson) to one endpoint, and 2,000 to
 * 500, as a trace has them; the driver says how long after its due time each request left. Agreement: the driver's closed loop and wrk ask in turn, several rounds,
 * over one connection without a pause, and over eight with pauses of some milliseconds, so that neither the server nor a client has a queue. Ratios are driver over wrk,
 * taken within a round, and the median round is reported; `agreement_with_wrk` is the p50's, of the two the one that is farther from 1.
 *
 * Not measured: TLS, large answers, a network between the two. wrk says whole microseconds, and its latency ends at the answer's last byte, which
 * with this answer is in the same packet as the first. Eight connections without a pause are not compared: the two clients then make different queues.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { median, round } from '../kit/figures.ts'
import { firstLine } from '../kit/server.ts'
import { wrk } from '../kit/wrk.ts'

const SERVER = `require('http').createServer((q, s) => { s.writeHead(200, { 'content-type': 'text/plain' }); s.end('hello') })
  .listen(0, '127.0.0.1', function () { console.log(this.address().port) })`
const driverProcess = fileURLToPath(new URL('measure/driver-process.ts', import.meta.url))

/** What driver-process.ts prints. */
interface Driven {
  readonly p50Us: number
  readonly p99Us: number
  readonly sent: number
  readonly failures: readonly unknown[]
  readonly latenessP50Ms: number
  readonly latenessP99Ms: number
  readonly latenessMaxMs: number
  readonly notSent: number
  readonly bottleneck: string | null
  readonly wallMs: number
  readonly residentMb: number
}

const comparisons = [
  { name: 'c1', connections: 1, pauseMs: 0 },
  { name: 'c8', connections: 8, pauseMs: 2 },
] as const

export default async function measure(context: BenchContext): Promise<BenchResult> {
  const rounds = context.quick ? 1 : 5
  const seconds = context.quick ? 1 : 3
  await using server = await startServer()
  const directory = await mkdtemp(join(tmpdir(), 'skep-bench-measure-'))
  try {
    // The driver's pauses are stochastic ones of at least 2 ms; wrk takes whole milliseconds from a script.
    const script = join(directory, 'pause.lua')
    await writeFile(script, 'function delay() return math.random(2, 6) end\n')
    await wrk({ url: server.url, connections: 8, seconds: 1, core: 0 })

    const late: Driven[] = []
    const trace: Driven[] = []
    const ours: Record<string, Driven[]> = {}
    const theirs: Record<string, { readonly p50Us: number; readonly p99Us: number }[]> = {}
    for (let pass = 0; pass < rounds; pass++) {
      if (pass < 3) {
        context.step(`round ${pass + 1} of ${rounds}: 10,000 a second`)
        late.push(await drive('open', server.url, 10_000, context.quick ? 1 : 10, 1))
        context.step(`round ${pass + 1} of ${rounds}: 2,000 a second to 500 endpoints`)
        trace.push(await drive('open', server.url, 2000, seconds, 500))
      }
      for (const { name, connections, pauseMs } of comparisons) {
        context.step(`round ${pass + 1} of ${rounds}: ${name}, driver and wrk`)
        ;(ours[name] ??= []).push(await drive('closed', server.url, connections, seconds, pauseMs))
        const result = await wrk({ url: server.url, connections, seconds, core: 0, ...(pauseMs > 0 && { script }) })
        if (result.errors > 0) throw new Error(`wrk saw ${result.errors} errors`)
        ;(theirs[name] ??= []).push(result)
      }
    }
    const of = <Key extends 'p50Us' | 'p99Us'>(results: readonly Readonly<Record<Key, number>>[], key: Key): number => median(results.map((result) => result[key]))
    const ratio = (name: string, key: 'p50Us' | 'p99Us'): number => round(median(ours[name]!.map((result, pass) => result[key] / theirs[name]![pass]![key])), 3)
    const ofDriver = (results: readonly Driven[], key: 'latenessP50Ms' | 'latenessP99Ms' | 'latenessMaxMs' | 'residentMb'): number => median(results.map((result) => result[key]))
    const agreements = comparisons.map(({ name }) => ratio(name, 'p50Us'))
    return {
      figures: {
        lateness_p99_ms: ofDriver(late, 'latenessP99Ms'),
        lateness_p99_ms_rounds: late.map(({ latenessP99Ms }) => latenessP99Ms),
        lateness_p50_ms: ofDriver(late, 'latenessP50Ms'),
        lateness_max_ms: ofDriver(late, 'latenessMaxMs'),
        sent_per_s: round(median(late.map(({ sent, wallMs }) => (sent * 1000) / wallMs))),
        bottleneck_rounds: [...late, ...trace].filter(({ bottleneck }) => bottleneck !== null).length,
        resident_mb: ofDriver(late, 'residentMb'),
        endpoints500_lateness_p99_ms: ofDriver(trace, 'latenessP99Ms'),
        ...Object.fromEntries(comparisons.flatMap(({ name }) => [[`${name}_p50_us`, of(ours[name]!, 'p50Us')], [`${name}_p99_us`, of(ours[name]!, 'p99Us')]])),
      },
      baselines: Object.fromEntries(comparisons.flatMap(({ name }) => [[`wrk_${name}_p50_us`, of(theirs[name]!, 'p50Us')], [`wrk_${name}_p99_us`, of(theirs[name]!, 'p99Us')]])),
      ratios: {
        agreement_with_wrk: agreements.toSorted((a, b) => Math.abs(Math.log(b)) - Math.abs(Math.log(a)))[0],
        ...Object.fromEntries(comparisons.flatMap(({ name }) => [[`${name}_p50_over_wrk`, ratio(name, 'p50Us')], [`${name}_p99_over_wrk`, ratio(name, 'p99Us')]])),
      },
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function drive(mode: 'open' | 'closed', url: string, amount: number, seconds: number, fifth: number): Promise<Driven> {
  const args = ['-c', '0', process.execPath, driverProcess, mode, url, String(amount), String(seconds), String(fifth)]
  const { stdout } = await promisify(execFile)('taskset', args)
  const driven = JSON.parse(stdout) as Driven
  if (driven.failures.length > 0 || driven.notSent > 0) throw new Error(`requests failed or were not sent: ${stdout}`)
  return driven
}

async function startServer(): Promise<AsyncDisposable & { readonly url: string }> {
  const child = spawn('taskset', ['-c', '1', process.execPath, '-e', SERVER], { stdio: ['ignore', 'pipe', 'inherit'] })
  return {
    url: `http://127.0.0.1:${await firstLine(child)}`,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
  }
}
