/**
 * Question: how much of a cold invocation goes away when the working set is recorded and prefetched?
 *
 * Reproduces the evaluation of REAP (Ustiugov, Data-Centric Serverless Computing, 5.3): the designs on the way to it (Figure 5.2), ten
 * functions (Figure 5.3, Table 5.1), many at once (Figure 5.4), and what recording costs (5.3.4). Beside the four designs of the thesis
 * are three of ours. Methods are at the heads of reap/compare-modes.ts, reap/record-overhead.ts and reap/concurrency.ts.
 *
 * Baseline: mode `lazy`, a mapped image and the kernel's page faults, with the read-ahead that the machine has (`disk_read_ahead_kb`), from the
 * same files in the same run. How it fares depends on the read-ahead, so that it is also measured with the usual 128 KB, and each
 * function also compared with the better one of the two (`speedup_vs_better_lazy_mean`).
 *
 * Not measured: starting a host process, and giving it the function (`connectMs` in the tables says how long that took, and is no part of
 * a cold invocation here, as the process is up); the disk's own cache, or that of a machine which this one is a guest of.
 *
 * Arguments: `functions=a,b`  `iterations=5`  `counts=1,8,64`  `save` (writes docs/results/<date>-reap.json, for the plots)
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { availableParallelism, cpus, totalmem } from 'node:os'
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { requireNative } from '#pager/native.ts'
import { PREFETCH_MODE } from '#pager/restore.ts'
import { buildColdFunction, listFunctions } from '../kit/cold-functions.ts'
import { Disk } from '../kit/disk.ts'
import { FaasletLab } from '../kit/faaslet-lab.ts'
import { round } from '../kit/figures.ts'
import { compareModes, USUAL_READ_AHEAD_KB, variantsFor } from './reap/compare-modes.ts'
import type { FunctionResult } from './reap/compare-modes.ts'
import { measureConcurrency } from './reap/concurrency.ts'
import type { ConcurrencyResult } from './reap/concurrency.ts'
import { measureRecording } from './reap/record-overhead.ts'
import type { RecordResult } from './reap/record-overhead.ts'

/** What a host process takes when it runs one small function, bytes. */
const HOST_BYTES = 100 * 1024 * 1024
const LAZY_USUAL = `lazy-${USUAL_READ_AHEAD_KB}kb`

interface Asked {
  readonly functions: readonly string[]
  readonly iterations: number
  readonly counts: readonly number[]
  readonly isSaved: boolean
}

export default async function reap(context: BenchContext): Promise<BenchResult> {
  const asked = parseArgs(context)
  const { faultsMissing } = requireNative()
  if (faultsMissing !== undefined) throw new Error(`There is no userfaultfd here, which a prefetch needs: ${faultsMissing}`)
  await using lab = await FaasletLab.open()
  const disk = new Disk(lab.directory)
  const variants = variantsFor(disk)
  const functions: FunctionResult[] = []
  const records: RecordResult[] = []
  for (const one of listFunctions(asked.functions, context.quick)) {
    context.step(`${one.name}: building it and its inputs`)
    const fn = await buildColdFunction(one)
    context.step(`${fn.name}: ${variants.length} modes, ${asked.iterations} times`)
    functions.push(await compareModes({ lab, disk, fn, variants, iterations: asked.iterations }))
    context.step(`${fn.name}: recording`)
    records.push(await measureRecording({ lab, disk, fn, rounds: Math.min(asked.iterations, 3) }))
    for (const { revision } of lab.store.list()) if (revision.startsWith(`bench/${fn.name}@`)) lab.store.drop(revision)
  }
  const counts = asked.counts.filter((n) => n * HOST_BYTES < process.availableMemory())
  const many = variants.filter(({ label }) => ['lazy', LAZY_USUAL, 'reap', 'pipelined'].includes(label))
  const hello = await buildColdFunction(listFunctions(['hello'], false)[0]!)
  const concurrency = counts.length === 0 ? [] : await measureConcurrency({ lab, disk, fn: hello, variants: many, counts, rounds: context.quick ? 1 : 2 * asked.iterations + 1, step: context.step })
  const rows = functions.map((one, index) => rowOf(one, records[index]!))
  const together = concurrency.map(togetherOf)
  const designs = Object.fromEntries(Object.entries((functions.find(({ name }) => name === 'hello') ?? functions[0]!).modes).map(([mode, { ms }]) => [mode, ms]))
  const leftOut = asked.counts.filter((n) => !counts.includes(n))
  const setting = { disk_read_ahead_kb: disk.readAheadKb, page_cache_dropped: disk.dropsAll ? 'all' : 'files of snapshots', ...(leftOut.length > 0 && { left_out_for_memory: leftOut }) }
  if (asked.isSaved) {
    const path = join(context.root, 'docs/results', `${new Date().toISOString().slice(0, 10)}-reap.json`)
    writeFileSync(path, `${JSON.stringify({ machine: machine(), iterations: asked.iterations, ...setting, designs, functions: rows, concurrency: together, record: records }, undefined, 1)}\n`)
  }
  return {
    figures: { faults_removed_mean: round(mean(rows.map((row) => row.faultsRemoved)), 3), ...setting, iterations: asked.iterations, designs, functions: rows, concurrency: together, record: records },
    baselines: { direct_read_mb_per_s: round(mean(functions.map(({ bandwidth }) => bandwidth.directMbPerS)), 0), prefetch_mb_per_s: round(mean(functions.map(({ bandwidth }) => bandwidth.prefetchMbPerS)), 0) },
    ratios: {
      // As the platform does it, after a few other callers (`learned`); with one recorded invocation alone, as in the thesis; and the thesis's own design.
      speedup_mean: round(mean(rows.map(({ lazyMs, modes }) => lazyMs / modes['learned']!.ms))),
      speedup_one_recording_mean: round(mean(rows.map(({ lazyMs, modes }) => lazyMs / modes[PREFETCH_MODE]!.ms))),
      speedup_reap_mean: round(mean(rows.map(({ lazyMs, reapMs }) => lazyMs / reapMs))),
      // The samples that were disturbed least: for a machine that others use, too.
      speedup_of_minima_mean: round(mean(rows.map(({ modes }) => modes['lazy']!.minMs / modes['learned']!.minMs))),
      // What a prefetch that takes no time would reach: the rest is the function itself.
      speedup_bound_mean: round(mean(rows.map(({ lazyMs, warmMs }) => lazyMs / warmMs))),
      speedup_geometric_mean: round(geometricMean(rows.map(({ lazyMs, modes }) => lazyMs / modes['learned']!.ms))),
      // Against the better of the two read-aheads, per function.
      speedup_vs_better_lazy_mean: round(mean(rows.map(({ speedupVsBetterLazy }) => speedupVsBetterLazy))),
      ...(rows.every(({ modes }) => LAZY_USUAL in modes) && { [`speedup_vs_${USUAL_READ_AHEAD_KB}kb_read_ahead_mean`]: round(mean(rows.map(({ modes, reapMs }) => modes[LAZY_USUAL]!.ms / reapMs))) }),
      bandwidth_vs_direct_read: round(mean(functions.map(({ bandwidth }) => bandwidth.prefetchMbPerS / bandwidth.directMbPerS))),
      record_over_lazy: round(mean(records.map(({ over }) => over))),
      concurrency_speedup: Object.fromEntries(together.map(({ n, lazyMs, reapMs }) => [n, round(lazyMs / reapMs)])),
    },
  }
}

/** What Figure 5.3 shows of a function, and its table. */
function rowOf({ modes, bandwidth, ...facts }: FunctionResult, { pagesTouched }: RecordResult) {
  // The kernel as it is set on this machine (`disk_read_ahead_kb`); what another read-ahead would do stands beside.
  const baseline = modes['lazy']!
  const reap = modes['reap']!
  const pipelined = modes['pipelined']!
  return {
    ...facts,
    lazyMs: baseline.ms, lazyLoadMs: baseline.loadMs, lazyConnectMs: baseline.connectMs, lazyProcessMs: baseline.processMs,
    reapMs: reap.ms, reapLoadMs: reap.loadMs, reapConnectMs: reap.connectMs, reapProcessMs: reap.processMs,
    pipelinedMs: pipelined.ms, pipelinedLoadMs: pipelined.loadMs, pipelinedConnectMs: pipelined.connectMs, pipelinedProcessMs: pipelined.processMs,
    warmMs: modes['warm']!.ms,
    speedup: round(baseline.ms / reap.ms),
    speedupVsBetterLazy: round(better(baseline, modes[LAZY_USUAL]).ms / reap.ms),
    pagesTouched,
    pagesMissing: reap.pagesFaulted,
    faultsRemoved: round(1 - reap.pagesFaulted / pagesTouched, 3),
    bandwidth,
    modes,
  }
}

function togetherOf({ n, ms }: ConcurrencyResult): { readonly n: number; readonly lazyMs: number; readonly reapMs: number; readonly pipelinedMs: number; readonly ms: Readonly<Record<string, number>> } {
  return { n, lazyMs: ms['lazy']!, reapMs: ms['reap']!, pipelinedMs: ms['pipelined']!, ms }
}

function better<Result extends { readonly ms: number }>(one: Result, other: Result | undefined): Result {
  return other !== undefined && other.ms < one.ms ? other : one
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(mean(values.map(Math.log)))
}

function machine(): Readonly<Record<string, unknown>> {
  return { processor: cpus()[0]?.model, cores: availableParallelism(), memoryGb: round(totalmem() / 2 ** 30, 0), node: process.version }
}

function parseArgs({ args, quick }: BenchContext): Asked {
  const values = new Map(args.map((arg) => arg.replace(/^--/, '').split('=') as [string, string | undefined]))
  const list = (name: string): string[] => values.get(name)?.split(',') ?? []
  for (const name of values.keys()) if (!['functions', 'iterations', 'counts', 'save'].includes(name)) throw new Error(`reap knows functions=a,b iterations=5 counts=1,8,64 save, and not ${name}`)
  const counts = list('counts').map(Number)
  const iterations = Number(values.get('iterations') ?? (quick ? 1 : 5))
  if (!Number.isInteger(iterations) || iterations < 1 || iterations > 50) throw new Error(`iterations is ${values.get('iterations')}, and has to be a whole number from 1 to 50`)
  return {
    functions: list('functions'),
    iterations,
    counts: values.has('counts') ? counts.filter((n) => Number.isInteger(n) && n > 0) : quick ? [1, 8, 64] : [1, 2, 4, 8, 16, 32, 64],
    isSaved: values.has('save'),
  }
}
