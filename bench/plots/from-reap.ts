/**
 * From what scenario `reap` saves (bench/scenarios/reap.ts, `save`) to what the figures are drawn from.
 *
 * Attaching a function to its host is not on the way of its invocations there, so `connect` is nothing: a faaslet has no connection of
 * its own to restore. Spreads are least and greatest samples; REAP's missing pages are Figure 4.5's unique ones.
 */
import * as z from 'zod'
import { bandwidthMbPerS, restoreModes } from '#contract/start-figures.ts'
import type { PlotResults } from './results.ts'

const MIB = 1024 * 1024

const amount = z.number().positive()
const count = z.number().min(0)
const modeResult = z.object({ ms: amount, minMs: amount, maxMs: amount, loadMs: count, pagesPrefetched: count, readMs: count })
const row = z.object({
  name: z.string(), storedMb: count, workingSetMb: count, runs: count, lazyMs: amount, lazyLoadMs: count, reapMs: amount, reapLoadMs: count, warmMs: amount, pagesTouched: count, pagesMissing: count,
  modes: z.record(z.string(), modeResult),
})
const reapResults = z.object({
  machine: z.object({ processor: z.string().optional(), cores: z.number(), memoryGb: z.number() }),
  iterations: z.number().optional(),
  functions: z.array(row).min(1),
  concurrency: z.array(z.object({ n: amount, lazyMs: amount, reapMs: amount, pipelinedMs: amount.optional() })),
})

type ModeResult = z.output<typeof modeResult>

/** @returns undefined when it is something else. */
export function fromReap(value: unknown): PlotResults | undefined {
  const read = reapResults.safeParse(value)
  if (!read.success) return undefined
  const { machine, iterations, functions, concurrency } = read.data
  const shown = functions.find((one) => one.name === 'hello') ?? functions[0]!
  const designs = restoreModes.flatMap((design) => {
    const mode = shown.modes[design]
    return mode === undefined ? [] : [{ design, ms: mode.ms, lowMs: mode.minMs, highMs: mode.maxMs, ...bandwidthOf(mode) }]
  })
  const points = (msOf: (one: (typeof concurrency)[number]) => number | undefined) => concurrency.flatMap((one) => {
    const ms = msOf(one)
    return ms === undefined ? [] : [{ instances: one.n, ms }]
  })
  const series = [{ design: 'lazy', points: points((one) => one.lazyMs) }, { design: 'reap', points: points((one) => one.reapMs) }, { design: 'pipelined', points: points((one) => one.pipelinedMs) }] as const
  return {
    machine: [machine.processor, `${machine.cores} cores`, `${machine.memoryGb} GB`, ...(iterations === undefined ? [] : [`medians of ${iterations}`])].filter((part) => part !== undefined).join(', ').slice(0, 200),
    ...(designs.length > 0 && { designs: { function: shown.name, values: designs } }),
    functions: functions.map((one) => ({
      name: one.name,
      warmMs: one.warmMs,
      lazy: breakdownOf(one.lazyMs, one.lazyLoadMs, Object.values(one.modes).find((mode) => mode.ms === one.lazyMs)),
      reap: breakdownOf(one.reapMs, one.reapLoadMs, one.modes['reap']),
      ...(one.runs > 0 && one.modes['reap'] !== undefined && { meanRunPages: Math.round((10 * one.modes['reap'].pagesPrefetched) / one.runs) / 10 }),
      storedBytes: one.storedMb * MIB,
      touchedBytes: one.workingSetMb * MIB,
      samePages: Math.max(0, one.pagesTouched - one.pagesMissing),
      uniquePages: Math.min(one.pagesMissing, one.pagesTouched),
    })),
    ...(concurrency.length > 0 && { concurrency: series.filter((one) => one.points.length > 0) }),
  }
}

function breakdownOf(ms: number, loadMs: number, mode: ModeResult | undefined) {
  const load = Math.min(loadMs, ms)
  return { loadMs: load, connectMs: 0, processMs: ms - load, ...(mode !== undefined && { lowMs: mode.minMs, highMs: mode.maxMs }) }
}

function bandwidthOf({ pagesPrefetched, readMs }: ModeResult): { readonly bandwidthMbPerS?: number } {
  const reached = bandwidthMbPerS({ pagesPrefetched, readUs: readMs * 1000 })
  return reached === undefined ? {} : { bandwidthMbPerS: reached }
}
