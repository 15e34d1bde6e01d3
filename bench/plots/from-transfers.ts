/** From what the scenarios about transfers have saved (bench/kit/saved-transfers.ts) to what their figures are drawn from. Scenarios may be absent, and have more than is read here. */
import * as z from 'zod'

/** Above zero, because it may come onto a logarithmic axis. */
const amount = z.number().positive().max(1e12)
const byName = z.record(z.string().max(60), amount)
const values = z.record(z.string(), z.unknown())

const saved = z.object({
  machine: z.object({ processor: z.string().optional(), cores: z.number(), memoryGb: z.number() }),
  scenarios: z.object({
    'transfer-local': z.object({ figures: z.object({ p50_ms: z.record(z.string(), byName), p99_ms: z.record(z.string(), byName), mb1_distribution_ms: z.record(z.string(), z.array(amount).min(1).max(1000)), rounds: z.number() }) }).optional(),
    'transfer-remote': z.object({ figures: z.object({ figure_6_3_ms: z.record(z.string(), byName), figure_6_4_ms: z.record(z.string(), byName) }) }).optional(),
    'transfer-patterns': z.object({ figures: values, baselines: values, ratios: values }).optional(),
    workloads: z.object({ figures: values, baselines: values }).optional(),
  }),
})

const sizes = ['kb10', 'kb100', 'mb1', 'mb10', 'mb100'] as const
export type SizeName = (typeof sizes)[number]
export const bytesOf: Readonly<Record<SizeName, number>> = { kb10: 1e4, kb100: 1e5, mb1: 1e6, mb10: 1e7, mb100: 1e8 }
export const patternNames = ['gather', 'scatter', 'broadcast'] as const
export type PatternName = (typeof patternNames)[number]
export const workloadNames = ['video', 'stacking', 'mapreduce'] as const
export type WorkloadName = (typeof workloadNames)[number]

/** y over x, in the order of x. */
export type Sweep = readonly { readonly x: number; readonly y: number }[]

export interface PatternResult {
  /** By the degree. */
  readonly ms: Readonly<Record<'xdt' | 'xdt summed' | 's3' | 'redis', Sweep>>
  readonly timesQuicker: Readonly<Record<'s3' | 'redis', Sweep>>
}

export interface WorkloadRun {
  readonly totalMs: number
  /** `mapper compute` and the like. */
  readonly phasesMs: Readonly<Record<string, number>>
}

export interface TransferResults {
  readonly machine: string
  /** ms by bytes, of each way on one host, and with `other host ` before it between two. */
  readonly bySize: ReadonlyMap<string, { readonly p50: Sweep; readonly p99: Sweep }>
  /** By KB of the buffer, of each size. */
  readonly byDepth: Readonly<Partial<Record<SizeName, Sweep>>>
  readonly distributions: Readonly<Record<string, readonly number[]>>
  readonly patterns: Readonly<Partial<Record<PatternName, Readonly<Record<'kb10' | 'mb10', PatternResult>>>>>
  readonly workloads: Readonly<Partial<Record<WorkloadName, Readonly<Partial<Record<'s3' | 'redis' | 'xdt' | 'inline', WorkloadRun>>>>>>
}

/** @returns undefined when it is something else. */
export function fromTransfers(value: unknown): TransferResults | undefined {
  const read = saved.safeParse(value)
  if (!read.success) return undefined
  const { machine, scenarios } = read.data
  const local = scenarios['transfer-local']?.figures
  const remote = scenarios['transfer-remote']?.figures
  const bySize = new Map<string, { readonly p50: Sweep; readonly p99: Sweep }>()
  for (const way of namesIn(local?.p50_ms)) bySize.set(way, { p50: overSizes(local!.p50_ms, way), p99: overSizes(local!.p99_ms, way) })
  for (const way of namesIn(remote?.figure_6_3_ms)) bySize.set(`other host ${way}`, { p50: overSizes(remote!.figure_6_3_ms, way), p99: [] })
  return {
    machine: [machine.processor, `${machine.cores} cores`, `${machine.memoryGb} GB`].filter((part) => part !== undefined).join(', ').slice(0, 200),
    bySize,
    byDepth: Object.fromEntries(Object.entries(remote?.figure_6_4_ms ?? {}).map(([size, ms]) => [size, sweepOf(Object.fromEntries(Object.entries(ms).map(([depth, y]) => [depth.replace(/kb$/, ''), y])))])),
    distributions: local?.mb1_distribution_ms ?? {},
    patterns: patternsOf(scenarios['transfer-patterns']),
    workloads: workloadsOf(scenarios.workloads),
  }
}

function namesIn(of: Readonly<Record<string, Readonly<Record<string, number>>>> | undefined): Set<string> {
  return new Set(Object.values(of ?? {}).flatMap((ms) => Object.keys(ms)))
}

function overSizes(of: Readonly<Record<string, Readonly<Record<string, number>>>>, way: string): Sweep {
  return sizes.flatMap((size) => {
    const y = of[size]?.[way]
    return y === undefined ? [] : [{ x: bytesOf[size], y }]
  })
}

/** From an object whose keys are the x. What is no such object is empty. */
function sweepOf(value: unknown): Sweep {
  const read = byName.safeParse(value)
  if (!read.success) return []
  return Object.entries(read.data).map(([x, y]) => ({ x: Number(x), y })).filter(({ x }) => x > 0 && Number.isFinite(x)).sort((a, b) => a.x - b.x)
}

function patternsOf(of: { readonly figures: Readonly<Record<string, unknown>>; readonly baselines: Readonly<Record<string, unknown>>; readonly ratios: Readonly<Record<string, unknown>> } | undefined): TransferResults['patterns'] {
  if (of === undefined) return {}
  const { figures, baselines, ratios } = of
  return Object.fromEntries(patternNames.flatMap((pattern) => {
    const result = (name: string): PatternResult => ({
      ms: { xdt: sweepOf(figures[`${name}_xdt_ms`]), 'xdt summed': sweepOf(figures[`${name}_xdt_summed_ms`]), s3: sweepOf(baselines[`${name}_s3_ms`]), redis: sweepOf(baselines[`${name}_redis_ms`]) },
      timesQuicker: { s3: sweepOf(ratios[`${name}_vs_s3`]), redis: sweepOf(ratios[`${name}_vs_redis`]) },
    })
    const both = { kb10: result(`${pattern}_kb10`), mb10: result(`${pattern}_mb10`) }
    return both.kb10.ms.xdt.length + both.mb10.ms.xdt.length === 0 ? [] : [[pattern, both]]
  }))
}

function workloadsOf(of: { readonly figures: Readonly<Record<string, unknown>>; readonly baselines: Readonly<Record<string, unknown>> } | undefined): TransferResults['workloads'] {
  if (of === undefined) return {}
  const all = { ...of.figures, ...of.baselines }
  const phases = z.record(z.string(), z.number().min(0).max(1e12))
  return Object.fromEntries(workloadNames.map((name) => [name, Object.fromEntries((['s3', 'redis', 'xdt', 'inline'] as const).flatMap((transport) => {
    const [totalMs, phasesMs] = [amount.safeParse(all[`${name}_${transport}_ms`]), phases.safeParse(all[`${name}_${transport}_phases`])]
    return totalMs.success && phasesMs.success ? [[transport, { totalMs: totalMs.data, phasesMs: phasesMs.data } satisfies WorkloadRun]] : []
  }))]))
}
