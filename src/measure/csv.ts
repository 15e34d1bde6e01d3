/**
 * The files of a result, as STeLLAR names and writes them, so that its plotters and others' scripts read ours.
 *
 *   <output>/<unix time>/<Title>-memory<M>MB-img<I>MB-IAT<T>s-burst<B0>-st<ST0>-payload<KB>KB/
 *     latencies.csv, statistics.csv, and data-transfers.csv for chains
 *
 * Numbers and quoting are those of Go's fmt and encoding/csv (src/benchmarking at 6e25342). Where we differ: times are in UTC, the original's in the
 * client's zone; both are RFC 3339 to the second. Latencies are whole milliseconds, cut off; `strict` gives them three digits more, because functions
 * that answer within a millisecond exist by now. statistics.csv keeps its nine columns: p99 and what else statistics.ts knows belongs into the report.
 */
import { PlatformError } from '#contract/errors.ts'
import type { SubExperiment } from './experiment.ts'
import type { Summary } from './statistics.ts'

export interface Sample {
  readonly requestId: string
  readonly host: string
  readonly sentAtMs: number
  /** When the first byte came, milliseconds with a fraction after the request was sent or due. */
  readonly latencyMs: number
  readonly burstId: number
}

export const latenciesHeader = 'Request ID,Host,Sent At,Received At,Client Latency (ms),Burst ID\n'
export const statisticsHeader = 'Count,Mean,Standard Deviation,Min,25%ile,50%ile,75%ile,95%ile,Max\n'

export function dataTransfersHeader(chainLength: number): string {
  return csvLine(['Request ID', 'Host', 'Burst ID', ...Array.from({ length: chainLength }, (_, index) => `Function ${index} Timestamp`)])
}

export function latencyLine(sample: Sample, strict: boolean): string {
  const { requestId, host, sentAtMs, latencyMs, burstId } = sample
  const latency = strict ? latencyMs.toFixed(3) : String(Math.trunc(latencyMs))
  return csvLine([requestId, host, rfc3339(sentAtMs), rfc3339(sentAtMs + latencyMs), latency, String(burstId)])
}

/**
 * @param timestamps Milliseconds, as each function of the chain reported its own, first to last.
 * Throws ANSWER_INVALID when they are not as many as functions: readers would take one column for another.
 */
export function dataTransferLine(sample: Pick<Sample, 'requestId' | 'host' | 'burstId'>, timestamps: readonly string[], chainLength: number): string {
  if (timestamps.length !== chainLength) {
    const counts = `${timestamps.length} timestamps, its chain has ${chainLength} functions`
    throw new PlatformError('ANSWER_INVALID', `${sample.host} answered with ${counts}: check that each adds one to TimestampChain`)
  }
  return csvLine([sample.requestId, sample.host, String(sample.burstId), ...timestamps])
}

export function statisticsCsv(summary: Summary): string {
  const { count, mean, standardDeviation, min, p25, p50, p75, p95, max } = summary
  return statisticsHeader + csvLine([String(count), ...[mean, standardDeviation, min, p25, p50, p75, p95, max].map(twoDigits)])
}

type Named = Pick<SubExperiment, 'Title' | 'FunctionMemoryMB' | 'FunctionImageSizeMB' | 'IATSeconds' | 'BurstSizes' | 'DesiredServiceTimes' | 'PayloadLengthBytes'>

export function directoryName(one: Named): string {
  const kilobytes = Math.floor(one.PayloadLengthBytes / 1024)
  const function_ = `memory${one.FunctionMemoryMB}MB-img${Math.trunc(one.FunctionImageSizeMB)}MB`
  return `${one.Title}-${function_}-IAT${goFloat(one.IATSeconds)}s-burst${one.BurstSizes[0]}-st${one.DesiredServiceTimes[0]!.text}-payload${kilobytes}KB`
}

/** As encoding/csv: quoted only where it must be. */
export function csvLine(fields: readonly string[]): string {
  return `${fields.map((field) => (/[",\r\n]|^\s|^\\\.$/u.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(',')}\n`
}

/** As %v of a float64: the shortest digits; from 1e+06 and below 1e-04 with an exponent, of at least two digits. */
export function goFloat(value: number): string {
  if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e6)) return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2')
  return String(value)
}

/** As %.2f. Halves go to the even digit, while toFixed rounds them up; of binary fractions only odd eighths are such halves. */
export function twoDigits(value: number): string {
  const eighths = Math.abs(value) * 8
  const half = Number.isInteger(eighths) && eighths % 2 === 1
  return half && eighths % 4 === 1 ? (Math.trunc(value * 100) / 100).toFixed(2) : value.toFixed(2)
}

function rfc3339(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z')
}
