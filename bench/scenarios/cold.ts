/**
 * Question: how long does a person wait for the first answer of a function that has no instance?
 *
 * Method: as in the thesis (3.4), one invocation at a time, each to a function without an instance. Each sample deploys
 * nothing new: the function is deployed once with a revision per sample's turn (`rollback` between two revisions ends the
 * instances of the other), and the stem cells are full again before the next. Latency is the client's, over HTTP.
 * Without stem cells: the same against a platform that keeps none, compared with starting the runtime itself, in turn.
 *
 * Not measured: cold page cache (reap), large code (see measure's image sizes).
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { median, percentile, round, tmr } from '../kit/figures.ts'
import { startPlatform } from '../kit/server.ts'
import type { RunningPlatform } from '../kit/server.ts'

const sources = {
  node: { filename: 'hello.ts', text: `export default { fetch(request: Request): Response { return new Response('hello') } }` },
  python: { filename: 'hello.py', text: `def main(params):\n    return 'hello'\n` },
} as const
type Kind = keyof typeof sources

export default async function cold(context: BenchContext): Promise<BenchResult> {
  const samples = context.quick ? 5 : 100
  const figures: Record<string, number> = {}
  const baselines: Record<string, number> = {}
  {
    await using platform = await startPlatform()
    for (const kind of ['node', 'python'] as const) {
      const times = await coldTimes(platform, kind, samples, 3, context)
      figures[`${kind}_p50_ms`] = round(median(times))
      figures[`${kind}_p99_ms`] = round(percentile(times, 99))
      figures[`${kind}_tmr`] = tmr(times)
    }
  }
  await using platform = await startPlatform({ args: ['--stem-cells', '0'] })
  const over: number[] = []
  for (const kind of ['node', 'python'] as const) {
    const runtimes: number[] = []
    const times = await coldTimes(platform, kind, Math.ceil(samples / 3), 0, context, async () => runtimes.push(await runtimeMs(kind)))
    figures[`${kind}_nostem_p50_ms`] = round(median(times))
    baselines[`${kind}_runtime_p50_ms`] = round(median(runtimes))
    const overMs = median(times) - median(runtimes)
    figures[`${kind}_nostem_over_runtime_ms`] = round(overMs)
    over.push(overMs)
  }
  figures['nostem_over_runtime_ms'] = round(Math.max(...over))
  return { figures, baselines }
}

async function coldTimes(
  platform: RunningPlatform,
  kind: Kind,
  samples: number,
  stemCells: number,
  context: BenchContext,
  between: () => Promise<unknown> = async () => {},
): Promise<number[]> {
  const name = `cold-${kind}`
  // Two revisions with the same code: giving the traffic to the other one ends the instances of this one.
  await platform.deploy(name, sources[kind], { environment: { TURN: '1' } })
  await platform.deploy(name, sources[kind], { environment: { TURN: '2' } })
  const times: number[] = []
  // The first two see code that is unpacked and compiled for the first time: measured by nobody twice.
  for (let sample = -2; sample < samples; sample++) {
    if (sample % 10 === 0) context.step(`${kind}${stemCells === 0 ? ' without stem cells' : ''}: ${sample} of ${samples}`)
    await platform.json(`/v1/functions/${name}/rollback`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ revision: (Math.abs(sample) % 2) + 1 }) })
    await platform.stemCellsFull(stemCells)
    await between()
    await new Promise((resolve) => setTimeout(resolve, 30))
    const startMs = performance.now()
    const response = await platform.request(`/fn/${platform.namespace}/${name}`)
    await response.text()
    const ms = performance.now() - startMs
    if (response.headers.get('x-skep-start') !== 'cold') throw new Error(`sample ${sample} of ${name} was ${response.headers.get('x-skep-start')}, status ${response.status}`)
    if (sample >= 0) times.push(ms)
  }
  return times
}

/** The interpreter itself: what is first in PATH may be a script that looks for it. */
const python = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim()

/** Starting the runtime with an empty program, and its end. */
async function runtimeMs(kind: Kind): Promise<number> {
  const startMs = performance.now()
  const child = kind === 'node' ? spawn(process.execPath, ['-e', '0']) : spawn(python, ['-I', '-c', 'pass'])
  await once(child, 'exit')
  return performance.now() - startMs
}
