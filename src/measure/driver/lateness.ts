/**
 * Whether what was measured was the platform or the client.
 *
 * A driver that is late sends another load than it says, and in a closed loop a busy one adds its own queue to every latency. Neither can be seen in the latencies.
 * So a driver counts for each request how long after its due time it turned to it, and which share of the time its thread was computing, and a
 * result in which one is too much says so.
 */
import { Histogram } from '../histogram.ts'
import type { Lateness } from '../run-summary.ts'

/** Of p99, ms. */
export const LATENESS_P99_MS_MAX = 1
/** Share of a closed loop's time, its waiting left out. */
export const BUSY_MAX = 0.9

export interface DriverLoad {
  readonly lateness: Histogram
  readonly notSent: number
  /** Share of the time in which the thread computed; undefined where it turns while it waits, as an open loop does. */
  readonly busy: number | undefined
}

export function latenessOf({ lateness, notSent }: DriverLoad): Lateness {
  const ms = (p: number): number => (lateness.count === 0 ? 0 : lateness.percentile(p) / 1000)
  return { p50: ms(0.5), p99: ms(0.99), max: ms(1), notSent }
}

/** A sentence with the figures and what to do, when the driver was the bottleneck. */
export function bottleneckOf(load: DriverLoad, settings: { readonly openLoop: boolean }): string | undefined {
  const { p99 } = latenessOf(load)
  if (p99 > LATENESS_P99_MS_MAX) {
    const figures = `the driver was the bottleneck: one request in a hundred left ${p99.toFixed(1)} ms or more after it was due, at most ${LATENESS_P99_MS_MAX} ms is good`
    return settings.openLoop ? `${figures}; lower the rate, or divide it among several machines` : `${figures}; requests of a burst left one after the other: take smaller bursts, or divide them among several machines`
  }
  if (load.busy === undefined || load.busy <= BUSY_MAX) return undefined
  return `the driver was the bottleneck: its thread computed ${Math.round(load.busy * 100)} % of the time, at most ${BUSY_MAX * 100} % is good; its own queue is in the latencies: send fewer at once`
}
