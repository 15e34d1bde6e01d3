/**
 * What one sub-experiment comes to: counts samples while they come, and sums them up at the end.
 *
 * Every latency is kept, eight bytes each: the percentiles of the summary are those of the samples, and only the histogram rounds.
 */
import type { Sample } from './csv.ts'
import { encodeHistogram, Histogram } from './histogram.ts'
import type { Answer } from './provider.ts'
import type { Latencies, SubExperimentResult } from './run-summary.ts'
import { percentile, percentileInterval, sortSamples, summarize } from './statistics.ts'

/** Of how many invocations the phases are asked at most. */
const ASKED_MAX = 400

export class Tally {
  /** Every `#askedEvery`th. */
  #asked: string[] = []
  #askedEvery = 1
  readonly #latencies = new Numbers()
  readonly #transfers = new Numbers()
  readonly #phases = new Map<string, Numbers>()
  readonly #starts = { cold: 0, warm: 0, unknown: 0 }

  add({ requestId, latencyMs, start, timestamps, phases }: Pick<Sample, 'latencyMs'> & Answer): void {
    if (phases === undefined && requestId !== '' && this.#latencies.count % this.#askedEvery === 0) this.#ask(requestId)
    this.#latencies.add(latencyMs)
    this.#starts[start]++
    if (timestamps.length > 1) this.#transfers.add(Number(timestamps.at(-1)) - Number(timestamps[0]))
    if (phases !== undefined) this.addPhases(phases)
  }

  addPhases(phases: Readonly<Record<string, number>>): void {
    for (const name in phases) {
      let numbers = this.#phases.get(name)
      if (numbers === undefined) this.#phases.set(name, (numbers = new Numbers()))
      numbers.add(phases[name]!)
    }
  }

  /** Ids of invocations whose answers did not tell phases: all, or evenly so many. */
  get requestIds(): readonly string[] {
    return this.#asked
  }

  get latenciesMs(): Float64Array {
    return this.#latencies.values
  }

  #ask(requestId: string): void {
    if (this.#asked.length === ASKED_MAX) {
      this.#asked = this.#asked.filter((_, at) => at % 2 === 0)
      this.#askedEvery *= 2
      if (this.#latencies.count % this.#askedEvery !== 0) return
    }
    this.#asked.push(requestId)
  }

  result(): Pick<SubExperimentResult, 'latencies' | 'transfer' | 'starts' | 'phases'> {
    const phases = [...this.#phases].map(([name, numbers]) => {
      const sorted = sortSamples(numbers.values)
      return [name, { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) }] as const
    })
    return {
      latencies: latenciesOf(this.#latencies.values),
      transfer: latenciesOf(this.#transfers.values),
      starts: { ...this.#starts },
      phases: phases.length === 0 ? undefined : Object.fromEntries(phases),
    }
  }
}

/** @param values Milliseconds. Undefined without one. */
export function latenciesOf(values: Float64Array): Latencies | undefined {
  if (values.length === 0) return undefined
  const sorted = sortSamples(values)
  const intervals = ([['p50', 0.5], ['p99', 0.99], ['p999', 0.999]] as const).flatMap(([name, p]) => {
    const interval = percentileInterval(sorted, p)
    return interval === undefined ? [] : [[name, interval] as const]
  })
  const histogram = new Histogram()
  for (const ms of sorted) histogram.record(ms * 1000)
  return { summary: summarize(sorted), intervals: Object.fromEntries(intervals), histogram: encodeHistogram(histogram) }
}

/** A list of numbers that grows. */
class Numbers {
  #values = new Float64Array(1024)
  #count = 0

  add(value: number): void {
    if (this.#count === this.#values.length) {
      const larger = new Float64Array(this.#count * 2)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[this.#count++] = value
  }

  get count(): number {
    return this.#count
  }

  /** Those so far, not copied. */
  get values(): Float64Array {
    return this.#values.subarray(0, this.#count)
  }
}
