/**
 * Question: what do direct transfers make of three real workloads, against handing the same bytes over through a storage?
 *
 * Method: video analytics, stacking ensemble training and a MapReduce aggregation (examples/, after thesis section 6.5.5), each run by all transports in turn, with
 * the same deployed code and instances; the order turns round by round, and the first two rounds are looked at by nobody. Figures are medians of what the workload's
 * first function measured, from its beginning to its result; ratios are medians of the rounds' ratios, in which whoever else is busy on the machine counts less.
 * The results of all transports must be the same bytes.
 *   s3      Skep's own S3 endpoint, over loopback: the baseline of the ratios. In the thesis it was AWS S3, tens of milliseconds away.
 *   redis   Debian's redis-server on loopback, in memory only: the best case of a storage
 *   inline  the bytes in the invocations
 *   *_costs   millionths of a dollar per run at the prices of AWS (thesis table 6.2)
 *   *_phases  ms on the critical path (thesis figure 6.9) of the run whose total is the median; `invoke` has the waiting for an instance or a core, too
 *   *_cpu_ms  processor time of the platform and its sandboxes; Redis's own is not in it
 *   *_moving_share  share of get and put in all phases that are not invocations
 *
 * Not measured: several hosts; a machine with a core for each function (here 16 trainers, or 40 mappers, share what there is, and computing hides more of the
 * communication than on the thesis's 48 cores); cold starts.
 */
import { isDeepStrictEqual } from 'node:util'
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import type { RunReport } from '../../examples/transports/report.ts'
import type { TransportName } from '../../examples/transports/transport.ts'
import { costsOf } from '../kit/costs.ts'
import { median, round } from '../kit/figures.ts'
import { startRedis } from '../kit/redis-server.ts'
import { startPlatform } from '../kit/server.ts'
import { treeCpuMs } from '../kit/workload-cpu.ts'
import { callWorkload, deployWorkload, memoryOf, runWorkload, s3Environment, workloads } from '../kit/workload.ts'

type WorkloadName = keyof typeof workloads
type Run = RunReport<object> & { readonly cpuMs: number }

const WARM_UP_ROUNDS = 2
const ROUNDS = 9
/** No round begins after this. */
const BUDGET_MS = 200_000

export default async function measure(context: BenchContext): Promise<BenchResult> {
  const startedMs = performance.now()
  await using platform = await startPlatform()
  await using redis = await startRedis()
  const s3 = await s3Environment(platform)
  if (s3 === undefined) throw new Error('this platform has no S3 endpoint, which is the baseline')
  const transports: readonly TransportName[] = redis === undefined ? ['xdt', 's3', 'inline'] : ['xdt', 's3', 'redis', 'inline']
  if (redis === undefined) context.step('redis-server is not installed (apt-get install redis-server): measured without the memory tier')
  const sizes = sizesFor(context.quick)
  for (const workload of Object.values(workloads)) {
    context.step(`deploying ${workload.folder}`)
    await deployWorkload(platform, workload, { ...s3, ...(redis !== undefined && { REDIS_URL: redis.url }) })
  }
  const prepared = await callWorkload<{ bytes: number }>(platform, 'map-reduce-driver', { ...sizes.mapreduce, do: 'prepare' })

  const runs = new Map<string, Run[]>()
  const rounds = WARM_UP_ROUNDS + (context.quick ? 1 : ROUNDS)
  for (let pass = 0; pass < rounds; pass++) {
    if (pass > WARM_UP_ROUNDS && performance.now() - startedMs > BUDGET_MS) break
    for (const [name, workload] of Object.entries(workloads)) {
      const results: unknown[] = []
      for (let turn = 0; turn < transports.length; turn++) {
        const transport = transports[(turn + pass) % transports.length]!
        context.step(`round ${pass + 1} of ${rounds}: ${name} by ${transport}`)
        const cpuBeforeMs = treeCpuMs(platform.pid)
        const report = await runWorkload<object>(platform, workload, transport, sizes[name as WorkloadName])
        const run: Run = { ...report, cpuMs: treeCpuMs(platform.pid) - cpuBeforeMs }
        results.push({ ...run.result, outputs: undefined })
        if (!isDeepStrictEqual(results[0], results.at(-1))) throw new Error(`${name} by ${transport} has another result than by ${transports[pass % transports.length]}`)
        if (pass >= WARM_UP_ROUNDS) runs.set(`${name}_${transport}`, [...(runs.get(`${name}_${transport}`) ?? []), run])
      }
    }
  }
  return summary(runs, prepared.bytes)
}

/** Quick: as small as shows that it runs. */
function sizesFor(quick: boolean): Readonly<Record<WorkloadName, object>> {
  if (!quick) return { video: {}, stacking: {}, mapreduce: {} }
  return { video: { width: 384, height: 216, frames: 20 }, stacking: { samples: 60, features: 64 }, mapreduce: { mappers: 4, reducers: 2, rows: 500 } }
}

function summary(runs: ReadonlyMap<string, readonly Run[]>, inputBytes: number): BenchResult {
  const figures: Record<string, unknown> = {}
  const baselines: Record<string, unknown> = {}
  const ratios: Record<string, number> = {}
  const dollars: Record<string, number> = {}
  for (const [key, of] of runs) {
    const [name, transport] = key.split('_') as [WorkloadName, TransportName]
    const middle = of.toSorted((a, b) => a.totalMs - b.totalMs)[Math.floor((of.length - 1) / 2)]!
    const costs = of.map(({ usage }) => costsOf(usage, transport, memoryOf(workloads[name])))
    const into = transport === 's3' || transport === 'redis' ? baselines : figures
    dollars[key] = median(costs.map(({ totalMicroUsd }) => totalMicroUsd))
    into[`${key}_ms`] = round(median(of.map(({ totalMs }) => totalMs)))
    into[`${key}_cpu_ms`] = median(of.map(({ cpuMs }) => cpuMs))
    into[`${key}_moving_share`] = round(median(of.map(({ phases }) => movingShare(phases))))
    into[`${key}_phases`] = Object.fromEntries(Object.entries(middle.phases).map(([phase, ms]) => [phase, round(ms)]))
    into[`${key}_costs`] = {
      compute: round(median(costs.map(({ computeMicroUsd }) => computeMicroUsd))),
      storage: round(median(costs.map(({ storageMicroUsd }) => storageMicroUsd))),
      total: round(dollars[key]),
    }
    figures[`${name}_moved_mb`] = round(middle.usage.movedBytes / 1e6)
    figures[`${name}_runs`] = of.length
  }
  for (const name of Object.keys(workloads)) {
    const direct = runs.get(`${name}_xdt`)!
    const against = (transport: TransportName, of: (run: Run) => number): number => round(median(runs.get(`${name}_${transport}`)!.map((run, pass) => of(run) / of(direct[pass]!))))
    const total = ({ totalMs }: Run): number => totalMs
    ratios[`${name}_vs_storage`] = against('s3', total)
    if (runs.has(`${name}_redis`)) ratios[`${name}_vs_redis`] = against('redis', total)
    ratios[`${name}_vs_inline`] = against('inline', total)
    ratios[`${name}_cpu_vs_storage`] = against('s3', ({ cpuMs }) => cpuMs)
    ratios[`${name}_cost_vs_storage`] = round(dollars[`${name}_s3`]! / dollars[`${name}_xdt`]!)
  }
  return { figures: { ...figures, mapreduce_input_mb: round(inputBytes / 1e6) }, baselines, ratios }
}

function movingShare(phases: Readonly<Record<string, number>>): number {
  const own = Object.entries(phases).filter(([phase]) => !phase.endsWith(' invoke'))
  const sum = (entries: typeof own): number => entries.reduce((total, [, ms]) => total + ms, 0)
  return sum(own.filter(([phase]) => phase.endsWith(' get') || phase.endsWith(' put'))) / sum(own)
}
