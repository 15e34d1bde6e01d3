/**
 * Question: what does the platform cost a warm invocation, in latency and in throughput?
 *
 * Method: wrk (pinned to core 0) asks in turn, several rounds, a bare node:http server, workerd, and a TypeScript function
 * through the whole path: key checked, quota counted, record and metrics written, sandbox and all. Servers float over
 * both cores. Every round measures all three, ratios are taken within a round, and the median round is reported.
 *
 * Not measured: TLS, bodies (see transfer-*), several functions at once.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { median, round } from '../kit/figures.ts'
import { freePort } from '../kit/free-port.ts'
import { firstLine, startPlatform } from '../kit/server.ts'
import { wrk } from '../kit/wrk.ts'
import type { WrkOptions, WrkResult } from '../kit/wrk.ts'

const HELLO = `export default { fetch(request: Request): Response { return new Response('hello', { headers: { 'content-type': 'text/plain' } }) } }`

export default async function warm(context: BenchContext): Promise<BenchResult> {
  const rounds = context.quick ? 1 : 5
  const seconds = context.quick ? 1 : 3
  await using platform = await startPlatform()
  await platform.deploy('hello', { filename: 'hello.ts', text: HELLO })
  await using bare = await startBare()
  await using workerd = await startWorkerd(context.root)

  const targets = {
    skep: { url: `${platform.url}/fn/${platform.namespace}/hello`, headers: { authorization: `Bearer ${platform.key}` } },
    bare: { url: bare.url },
    ...(workerd !== undefined && { workerd: { url: workerd.url } }),
  }
  for (const target of Object.values(targets)) await wrk({ ...target, connections: 32, seconds: 2 })
  // Between the load generator's connections nothing else should run; stem cells have been refilled by now.
  const one: Record<string, WrkResult[]> = {}
  const many: Record<string, WrkResult[]> = {}
  for (let pass = 0; pass < rounds; pass++) {
    for (const [name, target] of Object.entries(targets) as [string, Pick<WrkOptions, 'url' | 'headers'>][]) {
      context.step(`round ${pass + 1} of ${rounds}: ${name}`)
      const c1 = await wrk({ ...target, connections: 1, seconds, core: 0 })
      const c32 = await wrk({ ...target, connections: 32, seconds, core: 0 })
      if (c1.errors + c32.errors > 0) throw new Error(`${name} answered ${c1.errors + c32.errors} requests with an error`)
      ;(one[name] ??= []).push(c1)
      ;(many[name] ??= []).push(c32)
    }
  }
  const of = (results: WrkResult[] | undefined, key: 'p50Us' | 'p99Us' | 'rps'): number[] => (results ?? []).map((result) => result[key])
  const ratioTo = (name: string): number => round(median(of(many['skep'], 'rps').map((rps, pass) => rps / (many[name]?.[pass]?.rps ?? Number.NaN))))
  const c1P50 = of(one['skep'], 'p50Us')
  return {
    figures: {
      c1_p50_us: median(c1P50),
      c1_p99_us: median(of(one['skep'], 'p99Us')),
      c1_tmr: round(median((one['skep'] ?? []).map((result) => result.p99Us / result.p50Us))),
      c32_rps: Math.round(median(of(many['skep'], 'rps'))),
      c32_p50_us: median(of(many['skep'], 'p50Us')),
      c32_p99_us: median(of(many['skep'], 'p99Us')),
      resident_mb: await platform.residentMb(),
    },
    baselines: {
      bare_c1_p50_us: median(of(one['bare'], 'p50Us')),
      bare_c32_rps: Math.round(median(of(many['bare'], 'rps'))),
      ...(workerd !== undefined && {
        workerd_c1_p50_us: median(of(one['workerd'], 'p50Us')),
        workerd_c32_rps: Math.round(median(of(many['workerd'], 'rps'))),
      }),
    },
    ratios: {
      c1_p50_over_bare_us: round(median(c1P50.map((p50, pass) => p50 - one['bare']![pass]!.p50Us))),
      c32_rps_vs_bare: ratioTo('bare'),
      ...(workerd !== undefined && { c32_rps_vs_workerd: ratioTo('workerd') }),
    },
  }
}

interface Baseline extends AsyncDisposable {
  readonly url: string
}

async function startBare(): Promise<Baseline> {
  const source = `require('http').createServer((q, s) => { s.writeHead(200, { 'content-type': 'text/plain' }); s.end('hello') })
    .listen(0, '127.0.0.1', function () { console.log(this.address().port) })`
  const child = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  return { url: `http://127.0.0.1:${await firstLine(child)}/`, [Symbol.asyncDispose]: () => stop(child) }
}

/** Undefined, said on standard error, where its package is not installed (other processors). */
async function startWorkerd(root: string): Promise<(Baseline & { readonly url: string }) | undefined> {
  const binary = join(root, 'bench/baselines/node_modules/@cloudflare/workerd-linux-64/bin/workerd')
  if (!existsSync(binary)) {
    process.stderr.write('workerd is not installed for this processor: its ratios are left out\n')
    return undefined
  }
  const port = await freePort()
  const directory = await mkdtemp(join(tmpdir(), 'skep-workerd-'))
  const config = join(directory, 'config.capnp')
  await writeFile(config, `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [ (name = "main", worker = .hello) ],
  sockets = [ (name = "http", address = "127.0.0.1:${port}", http = (), service = "main") ]
);

const hello :Workerd.Worker = (
  modules = [ (name = "hello.mjs", esModule = "${HELLO.replace(/: Request|: Response(?= \{)/g, '').replaceAll('"', '\\"')}") ],
  compatibilityDate = "2025-01-01"
);
`)
  const child = spawn(binary, ['serve', config], { stdio: ['ignore', 'inherit', 'inherit'] })
  const url = `http://127.0.0.1:${port}/`
  for (let attempt = 0; ; attempt++) {
    try {
      await (await fetch(url)).text()
      break
    } catch (error) {
      if (attempt === 100) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  return {
    url,
    async [Symbol.asyncDispose]() {
      await stop(child)
      await rm(directory, { recursive: true, force: true })
    },
  }
}

async function stop(child: ReturnType<typeof spawn>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}
