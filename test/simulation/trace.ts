/**
 * Traces for the simulation: who is invoked when, and for how long.
 *
 * `azureTrace` reads a sample of the Azure Functions 2019 trace in the format of the In-Vitro load generator
 * (invocations.csv: counts per minute; durations.csv: percentiles in ms). `syntheticTrace` makes a small one that has what
 * makes real ones hard (Shahrad et al., "Serverless in the Wild", USENIX ATC 2020, section 3): few functions get most of
 * the invocations, many are called by a timer or now and then, some come in bursts; durations are log-normal.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Arrival } from './platform.ts'

export interface TracedFunction {
  readonly name: string
  /** In time order. */
  readonly arrivals: readonly Arrival[]
}

const MINUTE_US = 60_000_000
/** Most of a function's time is waiting for others; the traces do not say how much. */
const COMPUTE_SHARE = 0.1

/** The trace of the first `minutes`, or undefined when the directory has none. */
export function azureTrace(directory: string, minutes: number, random: () => number): TracedFunction[] | undefined {
  const invocationsFile = join(directory, 'invocations.csv')
  const durationsFile = join(directory, 'durations.csv')
  if (!existsSync(invocationsFile) || !existsSync(durationsFile)) return undefined
  const durations = new Map(readCsv(durationsFile).map((row) => [row['HashFunction'], row]))
  return readCsv(invocationsFile).map((row) => {
    const name = row['HashFunction'] ?? ''
    const duration = durations.get(name)
    const quantile = quantiles([0, 25, 50, 75, 99, 100].map((rank) => Number(duration?.[`percentile_Average_${rank}`] ?? 100)))
    const minuteKeys = Object.keys(row).filter((key) => /^\d+$/.test(key)).slice(0, minutes)
    const counts = minuteKeys.map((key) => Number(row[key]))
    // The trace counts by the minute: within one, a timer fires at once, the rest comes evenly.
    const arrivals = counts.flatMap((count, minute) =>
      Array.from({ length: count }, (_, index) =>
        arrivalAt((minute + (row['Trigger'] === 'timer' ? 0 : (index + random()) / count)) * MINUTE_US, quantile(random()) * 1000),
      ),
    )
    return { name: name.slice(0, 8), arrivals }
  })
}

/** `functionCount` functions over `minutes`, the same for the same random source. */
export function syntheticTrace(functionCount: number, minutes: number, random: () => number): TracedFunction[] {
  return Array.from({ length: functionCount }, (_, rank) => {
    const medianUs = Math.exp(normal(random) * 1.8 + Math.log(100_000))
    const nextDurationUs = (): number => Math.min(60e6, medianUs * Math.exp(normal(random) * 0.6))
    const style = (['steady', 'timer', 'bursty', 'rare'] as const)[rank % 4]!
    const arrivals: Arrival[] = []
    const endUs = minutes * MINUTE_US
    if (style === 'steady') {
      const perMinute = 600 / (1 + rank / 4)
      for (let atUs = gap(perMinute); atUs < endUs; atUs += gap(perMinute)) arrivals.push(arrivalAt(atUs, nextDurationUs()))
    } else if (style === 'rare') {
      for (let atUs = gap(0.1); atUs < endUs; atUs += gap(0.1)) arrivals.push(arrivalAt(atUs, nextDurationUs()))
    } else {
      const everyUs = MINUTE_US * (1 + Math.floor(random() * 5))
      const size = style === 'timer' ? 1 : 1 + Math.floor(random() * 100)
      for (let atUs = random() * everyUs; atUs < endUs; atUs += everyUs) {
        for (let index = 0; index < size; index++) arrivals.push(arrivalAt(atUs, nextDurationUs()))
      }
    }
    return { name: `${style}-${rank}`, arrivals }
  })

  function gap(perMinute: number): number {
    return (-Math.log(1 - random()) / perMinute) * MINUTE_US
  }
}

function arrivalAt(atUs: number, durationUs: number): Arrival {
  const computeUs = Math.max(20, durationUs * COMPUTE_SHARE)
  return { atUs, computeUs, waitUs: Math.max(0, durationUs - computeUs) }
}

/** The inverse of a distribution, linear between the values at 0, 25, 50, 75, 99 and 100 percent. */
function quantiles(values: readonly number[]): (share: number) => number {
  const ranks = [0, 0.25, 0.5, 0.75, 0.99, 1]
  return (share) => {
    const upper = Math.max(1, ranks.findIndex((rank) => rank >= share))
    const [low, high] = [ranks[upper - 1]!, ranks[upper]!]
    return values[upper - 1]! + ((values[upper]! - values[upper - 1]!) * (share - low)) / (high - low)
  }
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

/** No field of these files is quoted. */
function readCsv(file: string): Record<string, string>[] {
  const [header = '', ...lines] = readFileSync(file, 'utf8').trim().split(/\r?\n/)
  const names = header.split(',')
  return lines.map((line) => {
    const values = line.split(',')
    return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']))
  })
}
