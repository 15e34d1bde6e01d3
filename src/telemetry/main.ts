/**
 * Everything that wants to know of an invocation's end, behind one call. Wiring only.
 *
 *   ended(record) ──▶ records (journal) · stats (last minutes) · metrics (/metrics) · traces (OTLP, if configured)
 */
import { readFileSync } from 'node:fs'
import type { Clock } from '#base/clock.ts'
import { silentLog } from '#base/log.ts'
import type { Log } from '#base/log.ts'
import { Metrics } from '#base/metrics.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { InvocationMetrics } from './invocation-metrics.ts'
import type { JournalStore } from './journal-retention.ts'
import { LogStore } from './log-store.ts'
import type { LogStoreConfig } from './log-store.ts'
import { RecordLog } from './record-log.ts'
import type { RecordLogConfig } from './record-log.ts'
import { S3Metrics } from './s3-metrics.ts'
import { Stats } from './stats.ts'
import { TraceExporter } from './trace-exporter.ts'
import type { TraceExporterConfig } from './trace-exporter.ts'
import { UsageSampler } from './usage-sampler.ts'

export interface TelemetryOptions {
  readonly store: JournalStore
  readonly clock: Clock
  readonly random: () => number
  readonly metrics?: Metrics
  readonly log?: Log
  readonly records?: Partial<RecordLogConfig>
  readonly logs?: Partial<LogStoreConfig>
  /** Absent: no traces. From the environment: traceConfigFromEnvironment. */
  readonly traces?: TraceExporterConfig | undefined
  /** Functions that are deployed have series of their own. Default: every one is. */
  readonly isDeployed?: (namespace: string, name: string) => boolean
  /** The text of /proc/stat; for tests. */
  readonly readStat?: () => string
}

export class Telemetry {
  readonly metrics: Metrics
  readonly s3: S3Metrics
  readonly records: RecordLog
  readonly logs: LogStore
  readonly stats: Stats
  readonly usage: UsageSampler
  readonly traces: TraceExporter | undefined
  readonly #counted: InvocationMetrics

  constructor(options: TelemetryOptions) {
    const { store, clock, random, log = silentLog } = options
    this.metrics = options.metrics ?? new Metrics()
    this.records = new RecordLog({ store, clock, log: log.child({ part: 'records' }), ...(options.records && { config: options.records }) })
    this.logs = new LogStore({ store, clock, log: log.child({ part: 'logs' }), ...(options.logs && { config: options.logs }) })
    this.stats = new Stats(clock.epochMs())
    this.usage = new UsageSampler({ clock, readStat: options.readStat ?? (() => readFileSync('/proc/stat', 'latin1')) })
    this.traces = options.traces && new TraceExporter({ config: options.traces, clock, random, log: log.child({ part: 'traces' }) })
    this.#counted = new InvocationMetrics(this.metrics, { ...(options.isDeployed && { isDeployed: options.isDeployed }) })
    this.s3 = new S3Metrics(this.metrics)
    this.usage.expose(this.metrics)
    this.#exposeLosses()
  }

  async start(): Promise<void> {
    this.usage.start()
    await Promise.all([this.records.start(), this.logs.start()])
  }

  /** An invocation has ended. About 0.5 µs; all the rest happens later, in batches. */
  ended(record: InvocationRecord): void {
    this.records.add(record)
    this.stats.add(record)
    this.#counted.add(record)
    this.traces?.add(record)
  }

  /** Its series go; records and logs stay for their time. */
  functionDeleted(namespace: string, name: string): void {
    this.#counted.remove(namespace, name)
  }

  /** Writes and sends what waits. Close the store afterwards. */
  async close(): Promise<void> {
    this.usage.stop()
    await Promise.all([this.records.close(), this.logs.close(), this.traces?.close()])
  }

  #exposeLosses(): void {
    const lost = this.metrics.counter({ name: 'skep_telemetry_lost_total', help: 'What could not be kept or sent: records, log lines, traces.', labels: ['kind'] })
    const sources: readonly (readonly [kind: string, count: () => number])[] = [
      ['records', () => this.records.dropped],
      ['log_lines', () => this.logs.dropped],
      ['traces', () => this.traces?.dropped ?? 0],
    ]
    const handles = sources.map(([kind, count]) => ({ handle: lost.with({ kind }), count }))
    this.metrics.beforeExpose(() => {
      for (const { handle, count } of handles) handle.add(count() - handle.value)
    })
  }
}
