/**
 * What a replay writes: a line per invocation in In-Vitro's columns, so that its scripts read it, and the slowdown per function.
 *
 * Slowdown is the response time over the duration asked for: 1 is a platform that costs nothing. Per function it is the
 * geometric mean over its invocations, as slowdowns are ratios; the quantiles over functions then count a function that is
 * called once a minute as much as one that is called a hundred times a second. Invocations that failed have no response time
 * worth a mean: they are counted, and leave the mean alone.
 * Source of the columns: In-Vitro pkg/metric (ExecutionRecordBase and ExecutionRecord), file `<prefix>_duration_<minutes>.csv`.
 * Where we differ: a failure of the function itself has no column there; it is written as functionTimeout, as In-Vitro writes
 * every error of the call.
 *
 * Invariants:
 *   R1. A line has exactly the columns of the header, and no field with a comma or line end.
 *   R2. Only measured (phase 2) invocations are in a slowdown; those that succeeded and failed sum to those added.
 */
import assert from 'node:assert/strict'

/** One invocation as it went. Times in microseconds, memory in MiB, `startTime` since 1970. */
export interface InvocationResult {
  readonly phase: 1 | 2
  /** Who answered: the name of an instance, not of a function; empty when nobody did. */
  readonly instance: string
  readonly invocationID: string
  readonly startTime: number
  readonly requestedDuration: number
  /** In-Vitro's name; over HTTP the time to a connection, 0 when it was open. */
  readonly grpcConnEstablish: number
  readonly responseTime: number
  readonly actualDuration: number
  readonly connectionTimeout: boolean
  readonly functionTimeout: boolean
  readonly actualMemoryUsage: number
  readonly memoryAllocationTimeout: boolean
  /** Of asynchronous invocations, in milliseconds; 0 for others. */
  readonly timeToSubmitMs: number
  readonly userCodeExecutionMs: number
  readonly timeToGetResponseMs: number
}

const columns = [
  'phase',
  'instance',
  'invocationID',
  'startTime',
  'requestedDuration',
  'grpcConnEstablish',
  'responseTime',
  'actualDuration',
  'connectionTimeout',
  'functionTimeout',
  'actualMemoryUsage',
  'memoryAllocationTimeout',
  'timeToSubmitMs',
  'userCodeExecutionMs',
  'timeToGetResponseMs',
] as const satisfies readonly (keyof InvocationResult)[]

export const RESULT_HEADER = columns.join(',')

/** Numbers are written whole, as the original's integers. */
export function resultLine(result: InvocationResult): string {
  return columns.map((column) => {
    const value = result[column]
    const text = typeof value === 'number' ? String(Math.round(value)) : String(value)
    assert(!/[,"\r\n]/.test(text), `${column} ${JSON.stringify(text)} would break the line`)
    return text
  }).join(',')
}

export function resultsFileName(prefix: string, minutes: number): string {
  return `${prefix}_duration_${minutes}.csv`
}

/** NaN where nothing succeeded. */
export interface FunctionSlowdown {
  readonly functionName: string
  readonly succeeded: number
  readonly failed: number
  readonly geometricMean: number
  readonly p50: number
  readonly p99: number
}

export interface SlowdownSummary {
  readonly functions: number
  readonly succeeded: number
  readonly failed: number
  /** Over the functions' geometric means, those where nothing succeeded left out. */
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** Keeps eight bytes per measured invocation: the quantiles are exact. */
export class Slowdowns {
  readonly #functions = new Map<string, { readonly ratios: number[]; failed: number }>()

  /** The function is named apart, as its line names only the instance. */
  add(functionName: string, result: InvocationResult): void {
    if (result.phase !== 2) return
    let one = this.#functions.get(functionName)
    if (one === undefined) this.#functions.set(functionName, (one = { ratios: [], failed: 0 }))
    if (result.connectionTimeout || result.functionTimeout || result.memoryAllocationTimeout) one.failed++
    // An answer cannot come before its invocation and a duration is at least 1 ms; a clock with steps may say otherwise.
    else one.ratios.push(Math.max(1, result.responseTime) / Math.max(1, result.requestedDuration))
  }

  /** In the order in which functions first finished. */
  perFunction(): FunctionSlowdown[] {
    return [...this.#functions].map(([functionName, { ratios, failed }]) => {
      const sorted = ratios.toSorted((a, b) => a - b)
      const geometricMean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length)
      return { functionName, succeeded: ratios.length, failed, geometricMean, p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) }
    })
  }

  summary(): SlowdownSummary {
    const all = this.perFunction()
    const means = all.filter((one) => one.succeeded > 0).map((one) => one.geometricMean).sort((a, b) => a - b)
    const sum = (of: 'succeeded' | 'failed'): number => all.reduce((total, one) => total + one[of], 0)
    return { functions: all.length, succeeded: sum('succeeded'), failed: sum('failed'), p50: quantile(means, 0.5), p99: quantile(means, 0.99), max: means.at(-1) ?? Number.NaN }
  }
}

/** The smallest value that at least this share is not above; NaN of nothing. */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}
