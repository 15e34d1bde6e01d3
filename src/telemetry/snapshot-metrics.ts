/**
 * The metrics of snapshot starts: how long a restore takes in each mode, and where its pages came from (thesis 5.2, 5.3).
 *
 * The share of faults that a prefetch removes is prefetched pages by prefetched and faulted ones; what it reaches of the disk's
 * bandwidth is `skep_snapshot_pages_prefetched_total` × 4096 by `skep_snapshot_read_seconds_total`.
 */
import type { Counter, Histogram, Metrics } from '#base/metrics.ts'
import type { SnapshotFigures } from '#contract/start-figures.ts'

/** Of one function. */
export interface SnapshotSeries {
  add(figures: SnapshotFigures): void
  remove(): void
}

type FunctionLabels = Readonly<Record<'namespace' | 'function', string>>

/** 8 µs to 4 s by powers of two: a restore from the page cache takes tens of µs, one from a slow disk seconds. */
const exposed = Array.from({ length: 20 }, (_, index) => index + 3)
/** Where the host told none, or one that is not known here. */
const NO_MODE = 'unknown'

export class SnapshotMetrics {
  /** The series of a function; none is exposed before. */
  readonly of: (labels: FunctionLabels) => SnapshotSeries

  /** @param setsMax Most functions with series of their own. */
  constructor(metrics: Metrics, setsMax: number) {
    const labels = ['namespace', 'function'] as const
    const restore = metrics.histogram({
      name: 'skep_snapshot_restore_seconds', help: 'From wanting an instance until its code could be called, by restore mode.', labels: [...labels, 'mode'], setsMax: setsMax * 2, scale: 1e-6, exposed,
    })
    const counters = {
      pagesPrefetched: metrics.counter({ name: 'skep_snapshot_pages_prefetched_total', help: 'Pages read before they were touched.', labels, setsMax }),
      pagesFaulted: metrics.counter({ name: 'skep_snapshot_pages_faulted_total', help: 'Pages that were missing at the first touch.', labels, setsMax }),
      pagesRecorded: metrics.counter({ name: 'skep_snapshot_pages_recorded_total', help: 'Pages touched by invocations that were recorded.', labels, setsMax }),
      pagesUnused: metrics.counter({ name: 'skep_snapshot_pages_unused_total', help: 'Pages prefetched and not touched, of invocations that were recorded.', labels, setsMax }),
      bytesRead: metrics.counter({ name: 'skep_snapshot_read_bytes_total', help: 'Bytes read from files of snapshots.', labels, setsMax }),
    }
    const readSeconds = metrics.counter({ name: 'skep_snapshot_read_seconds_total', help: 'Time that prefetches waited for the disk.', labels, setsMax })
    const names = Object.keys(counters) as (keyof typeof counters)[]
    this.of = (of) => {
      const resolved: readonly (readonly [keyof typeof counters, Counter])[] = names.map((name) => [name, counters[name].with(of)])
      const read = readSeconds.with(of)
      const byMode = new Map<string, Histogram>()
      return {
        add(figures) {
          const mode = figures.mode ?? NO_MODE
          let histogram = byMode.get(mode)
          if (histogram === undefined) byMode.set(mode, (histogram = restore.with({ ...of, mode })))
          histogram.observe(figures.restoreUs)
          for (const [name, counter] of resolved) counter.add(figures[name] ?? 0)
          read.add((figures.readUs ?? 0) / 1e6)
        },
        remove() {
          for (const name of names) counters[name].remove(of)
          readSeconds.remove(of)
          for (const mode of byMode.keys()) restore.remove({ ...of, mode })
        },
      }
    }
  }
}
