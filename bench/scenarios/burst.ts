/**
 * Question: what happens to many requests at once for a function that has no instance?
 *
 * Method: the thesis's bursts with a long inter-arrival time (3.5.4.2 and 3.5.4.3): a client in a process of its own opens
 * all connections first, then sends all requests in one turn. A function that answers at once (TMR of the burst), one that
 * waits for a second (does anybody wait for somebody else's second?), one that computes 100 ms (how far from what the
 * cores can do, measured by running the same computation once per core with nothing in between).
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { median, percentile, round, tmr } from '../kit/figures.ts'
import { firstLine, startPlatform } from '../kit/server.ts'
import type { RunningPlatform } from '../kit/server.ts'

/** A fixed amount of work, about 100 ms here when nothing else runs: wall time would hide that cores are shared. */
const WORK = `function work() { let x = 1; for (let i = 0; i < ITERATIONS; i++) x = (x * 48271) % 2147483647; return x }`

const functions = {
  instant: `export default { fetch() { return new Response('done') } }`,
  wait1s: `export default { async fetch() { await new Promise((resolve) => setTimeout(resolve, 1000)); return new Response('done') } }`,
} as const

export default async function burst(context: BenchContext): Promise<BenchResult> {
  const rounds = context.quick ? 1 : 5
  const iterations = await calibrate(100)
  const compute = `${WORK.replace('ITERATIONS', String(iterations))}\nexport default { fetch() { return new Response(String(work())) } }`
  await using platform = await startPlatform()
  const figures: Record<string, number> = {}

  for (const size of [100, 500]) {
    const tmrs: number[] = []
    const p50s: number[] = []
    const p99s: number[] = []
    for (let pass = 0; pass < rounds; pass++) {
      context.step(`${size} at once to a function that answers at once: ${pass + 1} of ${rounds}`)
      const { latencies } = await coldBurst(platform, `instant-${size}-${pass}`, functions.instant, size)
      tmrs.push(tmr(latencies))
      p50s.push(percentile(latencies, 50))
      p99s.push(percentile(latencies, 99))
    }
    figures[`tmr_${size}`] = round(median(tmrs))
    figures[`instant_${size}_p50_ms`] = round(median(p50s))
    figures[`instant_${size}_p99_ms`] = round(median(p99s))
  }

  const waits: number[] = []
  for (let pass = 0; pass < rounds; pass++) {
    context.step(`100 at once to a function that waits 1 s: ${pass + 1} of ${rounds}`)
    waits.push(percentile((await coldBurst(platform, `wait-${pass}`, functions.wait1s, 100)).latencies, 99))
  }
  figures['wait1s_100_p99_ms'] = round(median(waits))

  const ratios: number[] = []
  const idealS: number[] = []
  const tookS: number[] = []
  const count = context.quick ? 20 : 100
  for (let pass = 0; pass < rounds; pass++) {
    context.step(`${count} at once to a function that computes 100 ms: ${pass + 1} of ${rounds}`)
    const ideal = await onAllCores(iterations, count)
    const { totalMs } = await coldBurst(platform, `compute-${pass}`, compute, count)
    idealS.push(ideal / 1000)
    tookS.push(totalMs / 1000)
    ratios.push(totalMs / ideal)
  }
  figures['compute_100_s'] = round(median(tookS))
  return {
    figures,
    baselines: { compute_all_cores_s: round(median(idealS)), compute_iterations: iterations },
    ratios: { compute_over_cores: round(median(ratios)) },
  }
}

async function coldBurst(platform: RunningPlatform, name: string, text: string, size: number): Promise<{ latencies: number[]; totalMs: number }> {
  await platform.deploy(name, { filename: 'index.mjs', text })
  await platform.stemCellsFull(3)
  const client = spawn(process.execPath, [fileURLToPath(new URL('../kit/burst-client.ts', import.meta.url)), `${platform.url}/fn/${platform.namespace}/${name}`, platform.key, String(size)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const result = JSON.parse(await firstLine(client)) as { latencies: number[]; totalMs: number; failed: number }
  if (result.failed > 0) throw new Error(`${result.failed} of ${size} requests to ${name} failed`)
  return result
}

/** Iterations of the work that take about `ms` on one core that is otherwise idle. */
async function calibrate(ms: number): Promise<number> {
  const iterations = 20_000_000
  const times: number[] = []
  for (let run = 0; run < 3; run++) times.push(await inProcesses(1, iterations, 1))
  return Math.round((iterations * ms) / median(times))
}

/** ms that `count` pieces of the work take when each core runs its share in one process. */
function onAllCores(iterations: number, count: number): Promise<number> {
  const cores = availableParallelism()
  return inProcesses(cores, iterations, count / cores)
}

/** Longest time of `processes` that each do the work `times`, without their start. */
async function inProcesses(processes: number, iterations: number, times: number): Promise<number> {
  const program = `${WORK.replace('ITERATIONS', String(iterations))}; const start = performance.now(); for (let i = 0; i < ${times}; i++) work(); console.log(performance.now() - start)`
  const children = Array.from({ length: processes }, () => spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] }))
  const lines = await Promise.all(
    children.map(async (child) => {
      const exited = once(child, 'exit')
      const line = await firstLine(child)
      await exited
      return Number(line)
    }),
  )
  return Math.max(...lines)
}
