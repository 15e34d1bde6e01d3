/**
 * Reads `summary.json`: what run-summary.ts describes, checked field by field, because a report may be made of a file that came by mail.
 *
 * Numbers that JSON has no word for (a deviation of one sample, an endless ratio) were written as null, and are NaN again. Fields that are not known are
 * passed over: a newer version may have more.
 */
import { isAbsolute, normalize } from 'node:path'
import * as z from 'zod'
import { PlatformError } from '#contract/errors.ts'
import { iatTypes } from '../experiment.ts'
import { SUMMARY_FORMAT } from '../run-summary.ts'
import type { RunSummary } from '../run-summary.ts'

const PROBLEMS_MAX = 20

const figure = z.number().nullable().transform((value) => value ?? Number.NaN)
const amount = z.number().min(0)
const words = z.string().max(10_000)
const interval = z.object({ lower: figure, upper: figure })
const statistics = z.object({
  count: amount, mean: figure, standardDeviation: figure, min: figure, p25: figure, p50: figure, p75: figure, p95: figure, p99: figure, p999: figure, max: figure, tmr: figure,
})
const latencies = z.object({
  summary: statistics,
  intervals: z.object({ p50: interval.optional(), p99: interval.optional(), p999: interval.optional() }),
  histogram: z.string().max(16_000_000),
})

const settings = z.looseObject({
  index: amount, Title: words, Bursts: amount, BurstSizes: z.array(amount).min(1), IATSeconds: amount, IATType: z.enum(iatTypes),
  DesiredServiceTimes: z.array(z.object({ text: words, ms: amount })).min(1),
  PayloadLengthBytes: amount, DataTransferChainLength: z.int().min(1), StorageTransfer: z.boolean(), Parallelism: amount,
  FunctionMemoryMB: amount, FunctionImageSizeMB: amount, PackageType: words, Function: words, Runtime: words,
  warmUp: amount, strict: z.boolean(), keepAliveSeconds: amount.optional(), referenceTransfer: z.boolean(),
  openLoop: z.object({ arrivalsPerSecond: amount, distribution: words, inFlightMax: amount }).optional(),
})

const outcome = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('done') }),
  z.object({ kind: z.literal('stopped'), afterSamples: amount }),
  z.object({ kind: z.literal('given-up'), reason: words }),
  z.object({ kind: z.literal('interrupted') }),
  z.object({ kind: z.literal('not-run'), reason: words }),
])

const inside = z.string().max(4096).refine((path) => !isAbsolute(path) && !/^\.\.(?:[/\\]|$)/.test(normalize(path)), 'must lie below the directory of the summary')

const result = z.object({
  index: amount, title: words, settings, directory: inside.optional(), outcome,
  limitations: z.array(z.object({ field: words, message: words, prevents: z.boolean().optional() })),
  startedAt: words, wallMs: amount, latencies: latencies.optional(),
  starts: z.object({ cold: amount, warm: amount, unknown: amount }),
  transfer: latencies.optional(),
  phases: z.record(words, z.object({ p50: figure, p99: figure })).optional(),
  lateness: z.object({ p50: figure, p99: figure, max: figure, notSent: amount }),
  failures: z.array(z.object({ code: words, message: words, count: amount })),
  latencyOf: z.enum(['first-byte', 'whole-answer']),
})

const runSummary = z.object({
  format: z.literal(SUMMARY_FORMAT),
  experiment: words,
  provider: z.object({
    name: words, about: z.record(words, words),
    capabilities: z.object({
      deploys: z.boolean(), coldStarts: z.enum(['keep-alive-set', 'keep-alive-fixed', 'never']), transfers: z.array(z.enum(['none', 'inline', 'storage', 'reference'])),
      runtimes: z.array(words), imageSize: z.boolean(), memory: z.boolean(), phases: z.array(words),
    }),
  }),
  client: z.object({ skep: words, node: words, cpu: words, cpus: amount }),
  startedAt: words, wallMs: amount, warnings: z.array(words),
  results: z.array(result),
})

/** @param file How messages call the text. Throws JSON_INVALID for what is no JSON, INPUT_INVALID with file and field for what is no summary. */
export function parseSummary(text: string, file: string): RunSummary {
  let plain: unknown
  try {
    plain = JSON.parse(text)
  } catch (error) {
    throw new PlatformError('JSON_INVALID', `${file}: ${(error as Error).message}; a run replaces this file as a whole, so it was changed or cut afterwards`, { cause: error })
  }
  const format = (plain as { readonly format?: unknown } | null)?.format
  if (format !== SUMMARY_FORMAT) throw new PlatformError('INPUT_INVALID', `${file}: format: ${JSON.stringify(format)?.slice(0, 60) ?? 'is missing'}, this version reads ${SUMMARY_FORMAT}`)
  const read = runSummary.safeParse(plain)
  if (!read.success) throw new PlatformError('INPUT_INVALID', read.error.issues.slice(0, PROBLEMS_MAX).map((issue) => `${file}: ${fieldOf(issue.path)}: ${issue.message}`).join('\n'))
  // Absent and undefined are the same here, and what is loose in the settings is what experiment.ts has checked.
  return read.data as unknown as RunSummary
}

function fieldOf(path: readonly PropertyKey[]): string {
  return path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step).slice(0, 60)}`)).join('').replace(/^\./, '') || 'the file'
}
