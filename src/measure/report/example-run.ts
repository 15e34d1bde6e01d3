/**
 * A small run of chapter 3 for the tests, written as a real one is: settings by the experiment parser, lines by csv.ts, histograms by histogram.ts. Only
 * the latencies are made up: log-normal ones of a seed.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { seededRandom } from '#base/seeded-random.ts'
import { dataTransferLine, dataTransfersHeader, directoryName, latenciesHeader, latencyLine } from '../csv.ts'
import { parseExperiment } from '../experiment.ts'
import { encodeHistogram, Histogram } from '../histogram.ts'
import { SUMMARY_FILE, SUMMARY_FORMAT } from '../run-summary.ts'
import type { Latencies, Outcome, RunSummary, SubExperimentResult } from '../run-summary.ts'
import type { Limitation } from '../provider.ts'
import { percentileInterval, sortSamples, summarize } from '../statistics.ts'

export interface ExamplePart {
  /** As in an experiment file. */
  readonly settings: Readonly<Record<string, unknown>>
  /** Of the latency, ms; p99 is about median × exp(2.33 sigma). */
  readonly medianMs: number
  readonly sigma: number
  /** Of the transfer, for chains. */
  readonly transferMs?: number
  /** How alike the requests of a burst are: 1 is all the same. */
  readonly alike?: number
  readonly outcome?: Outcome
  readonly limitations?: readonly Limitation[]
  readonly failures?: SubExperimentResult['failures']
  readonly starts?: SubExperimentResult['starts']
  readonly lateP99Ms?: number
}

const plain = { Bursts: 400, BurstSizes: [1], DesiredServiceTimes: ['0ms'] }
const chain = { ...plain, DataTransferChainLength: 2 }

export const exampleParts: readonly ExamplePart[] = [
  { settings: { ...plain, Title: 'warm', Bursts: 4000, strict: true }, medianMs: 2, sigma: 0.2, starts: { cold: 1, warm: 3999, unknown: 0 } },
  { settings: { ...plain, Title: 'cold', keepAliveSeconds: 1, IATSeconds: 2 }, medianMs: 30, sigma: 0.3, starts: { cold: 400, warm: 0, unknown: 0 } },
  ...[10, 50, 100].map((image): ExamplePart => ({ settings: { ...plain, Title: 'image-size', keepAliveSeconds: 1, IATSeconds: 2, FunctionImageSizeMB: image }, medianMs: 30 + image, sigma: 0.3 })),
  { settings: { ...plain, Title: 'runtime', Runtime: 'nodejs26', keepAliveSeconds: 1, IATSeconds: 2 }, medianMs: 40, sigma: 0.2 },
  { settings: { ...plain, Title: 'runtime', Runtime: 'python3.13', keepAliveSeconds: 1, IATSeconds: 2 }, medianMs: 60, sigma: 0.2 },
  ...[1024, 102_400, 1_048_576, 4_194_304].map((bytes): ExamplePart => ({ settings: { ...chain, Title: 'inline', PayloadLengthBytes: bytes }, medianMs: 6 + bytes / 2e5, sigma: 0.2, transferMs: 2 + bytes / 2e5 })),
  ...[1024, 1_048_576, 104_857_600].map((bytes): ExamplePart => ({ settings: { ...chain, Title: 'storage', StorageTransfer: true, PayloadLengthBytes: bytes }, medianMs: 20 + bytes / 4e5, sigma: 0.4, transferMs: 12 + bytes / 4e5 })),
  { settings: { ...chain, Title: 'reference', referenceTransfer: true, PayloadLengthBytes: 1_048_576 }, medianMs: 5, sigma: 0.2, transferMs: 2.4 },
  ...[10, 100].map((burst): ExamplePart => ({ settings: { ...plain, Title: 'bursty-warm', Bursts: 1000 / burst, BurstSizes: [burst] }, medianMs: 3 + burst / 20, sigma: 0.5, alike: 0.5 })),
  ...[10, 100].map((burst): ExamplePart => ({ settings: { ...plain, Title: 'bursty-cold', Bursts: 1000 / burst, BurstSizes: [burst], keepAliveSeconds: 1, IATSeconds: 2 }, medianMs: 40 + burst, sigma: 0.4, alike: 0.5 })),
  { settings: { ...plain, Title: 'bursty-long', Bursts: 2, BurstSizes: [100], DesiredServiceTimes: ['1s'], keepAliveSeconds: 1, IATSeconds: 2 }, medianMs: 1200, sigma: 0.1, alike: 0.5, outcome: { kind: 'interrupted' } },
]

/** Writes the run and gives its summary. @param directory That does not exist yet. */
export async function writeExampleRun(directory: string, options: { readonly seed?: number; readonly parts?: readonly ExamplePart[]; readonly provider?: string; readonly factor?: number } = {}): Promise<RunSummary> {
  const { seed = 1, parts = exampleParts, provider = 'skep', factor = 1 } = options
  const random = seededRandom(seed)
  const experiment = parseExperiment(JSON.stringify({ Sequential: true, SubExperiments: parts.map(({ settings }) => settings) }), 'example.json')
  await mkdir(directory, { recursive: true })
  const results: SubExperimentResult[] = []
  for (const [index, part] of parts.entries()) {
    const settings = experiment.SubExperiments[index]!
    const name = `${directoryName(settings)}-${index + 2}`
    const { medianMs, sigma, transferMs, alike = 0, outcome = { kind: 'done' }, limitations = [], failures = [], starts = { cold: 0, warm: 0, unknown: 0 }, lateP99Ms = 0.1 } = part
    const samples: { readonly latencyMs: number; readonly burstId: number; readonly transferMs: number }[] = []
    for (let burstId = 0; burstId < settings.Bursts && outcome.kind !== 'not-run'; burstId++) {
      const shared = normal(random)
      for (let request = 0; request < settings.BurstSizes[0]!; request++) {
        const z = Math.sqrt(alike) * shared + Math.sqrt(1 - alike) * normal(random)
        samples.push({ latencyMs: factor * medianMs * Math.exp(sigma * z), burstId, transferMs: factor * (transferMs ?? 0) * Math.exp(sigma * z) })
      }
    }
    if (outcome.kind !== 'not-run') {
      await mkdir(join(directory, name))
      const sample = ({ latencyMs, burstId }: (typeof samples)[number], place: number) => ({ requestId: `r-${place}`, host: 'f, "example"', sentAtMs: 1.8e12 + place * 10, latencyMs, burstId })
      await writeFile(join(directory, name, 'latencies.csv'), latenciesHeader + samples.map((one, place) => latencyLine(sample(one, place), settings.strict)).join(''))
      if (transferMs !== undefined) {
        const lines = samples.map((one, place) => dataTransferLine(sample(one, place), ['1800000000000.000', (1.8e12 + one.transferMs).toFixed(3)], 2))
        await writeFile(join(directory, name, 'data-transfers.csv'), dataTransfersHeader(2) + lines.join(''))
      }
    }
    results.push({
      index, title: settings.Title, settings, directory: outcome.kind === 'not-run' ? undefined : name, outcome, limitations, startedAt: '2026-11-21T10:00:00.000Z', wallMs: 61_000,
      latencies: latenciesOf(samples.map((one) => one.latencyMs)), starts, transfer: transferMs === undefined ? undefined : latenciesOf(samples.map((one) => one.transferMs)),
      phases: index === 1 ? { queue: { p50: 0.2, p99: 1.4 }, restore: { p50: 11, p99: 25 }, run: { p50: 0.8, p99: 2 } } : undefined,
      lateness: { p50: 0.05, p99: lateP99Ms, max: 1.4, notSent: 0 }, failures, latencyOf: 'first-byte',
    })
  }
  const summary: RunSummary = {
    format: SUMMARY_FORMAT, experiment: 'example.json',
    provider: { name: provider, about: { version: '0.1.0', address: 'http://127.0.0.1:8080' }, capabilities: { deploys: true, coldStarts: 'keep-alive-set', transfers: ['none', 'inline', 'storage', 'reference'], runtimes: ['nodejs26'], imageSize: true, memory: true, phases: ['queue', 'restore', 'run'] } },
    client: { skep: '0.1.0', node: 'v26.10.0', cpu: 'Example CPU <4 GHz>', cpus: 2 }, startedAt: '2026-11-21T10:00:00.000Z', wallMs: 480_000, warnings: [], results,
  }
  await writeFile(join(directory, SUMMARY_FILE), JSON.stringify(summary))
  return summary
}

function latenciesOf(values: readonly number[]): Latencies | undefined {
  if (values.length === 0) return undefined
  const sorted = sortSamples(values)
  const histogram = new Histogram()
  for (const value of sorted) histogram.record(value * 1000)
  const intervals = ([['p50', 0.5], ['p99', 0.99], ['p999', 0.999]] as const).flatMap(([name, p]) => {
    const interval = percentileInterval(sorted, p)
    return interval === undefined ? [] : [[name, interval]]
  })
  return { summary: summarize(sorted), intervals: Object.fromEntries(intervals), histogram: encodeHistogram(histogram) }
}

/** Box and Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}
