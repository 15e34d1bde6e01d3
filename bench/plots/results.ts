/**
 * What the figures are drawn from: plain JSON that a scenario has written. Every part may be absent; then its figure is not drawn.
 *
 *   { "machine": "2 cores, NVMe", "designs": {…}, "functions": […], "concurrency": […] }
 *
 * Fields that are not known here are passed over, so that a scenario may keep more in the same file.
 */
import * as z from 'zod'
import { restoreModes } from '#contract/start-figures.ts'

/** Above zero, because it may come onto a logarithmic axis; far below what a drawing could not place. */
const amount = z.number().positive().max(1e12)
const count = z.number().min(0).max(1e12)
const spread = { lowMs: amount.optional(), highMs: amount.optional() }
const name = z.string().min(1).max(60)

/** Of one cold invocation, as Figure 4.2 has it: making the instance, reaching it, and the function itself. */
export const breakdown = z.object({ loadMs: count, connectMs: count, processMs: count, ...spread })

export const functionResult = z.object({
  /** As in bench/functions. */
  name,
  warmMs: amount.optional(),
  lazy: breakdown.optional(),
  reap: breakdown.optional(),
  /** Of one recorded invocation: Figure 4.3. */
  meanRunPages: count.optional(),
  /** Memory that is not zero after booting, and what an invocation after a restore touches: Figure 4.4. */
  storedBytes: count.optional(),
  touchedBytes: count.optional(),
  /** Pages that invocations with two inputs both touch, and that only one of them does: Figure 4.5. */
  samePages: count.optional(),
  uniquePages: count.optional(),
})

export const plotResults = z.object({
  /** Said below each figure. */
  machine: z.string().max(200).optional(),
  /** Figure 5.2. */
  designs: z.object({ function: name, values: z.array(z.object({ design: z.enum(restoreModes), ms: amount, bandwidthMbPerS: amount.optional(), ...spread })).min(1).max(20) }).optional(),
  /** Figures 4.2 to 4.5 and 5.3. */
  functions: z.array(functionResult).max(40).optional(),
  /** Figure 5.4. */
  concurrency: z.array(z.object({ design: z.enum(restoreModes), points: z.array(z.object({ instances: amount, ms: amount, ...spread })).min(1).max(40) })).max(10).optional(),
})

export type PlotResults = z.output<typeof plotResults>
export type FunctionResult = z.output<typeof functionResult>
export type Breakdown = z.output<typeof breakdown>

/** @throws Error that says where the value is none. */
export function readResults(value: unknown): PlotResults {
  const read = plotResults.safeParse(value)
  if (read.success) return read.data
  const problems = read.error.issues.slice(0, 5).map((issue) => `${issue.path.join('.') || 'the whole'}: ${issue.message}`)
  throw new Error(`These are no results to draw: ${problems.join('; ')}`)
}
