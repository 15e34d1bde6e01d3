/**
 * The metrics of invocations, counted from their records: one addition per series once a function's handles are resolved.
 *
 * Labels: function and namespace everywhere; phase, start, outcome and code where they are few. Never an id.
 *
 * Invariants:
 *   M1. Only functions that are deployed have series of their own, so that a platform whose functions come and go has room
 *       for those that are there. What ends after its function was deleted is counted under `_other`: no sum loses it.
 */
import type { Counter, Histogram, Metrics } from '#base/metrics.ts'
import type { InvocationRecord, StartKind } from '#contract/invocation-record.ts'
import { SnapshotMetrics } from './snapshot-metrics.ts'
import type { SnapshotSeries } from './snapshot-metrics.ts'

interface FunctionLabels {
  readonly namespace: string
  readonly function: string
}

interface Handles {
  /** `_other` twice for functions beyond the bound. */
  readonly labels: FunctionLabels
  readonly byStart: Map<StartKind, { readonly ok: Counter; readonly error: Counter }>
  readonly byCode: Map<string, Counter>
  readonly total: Histogram
  readonly queue: Histogram
  readonly start: Histogram
  readonly run: Histogram
  readonly cpu: Counter
  readonly gbMs: Counter
  readonly cost: Counter
  readonly bytesIn: Counter
  readonly bytesOut: Counter
  /** From its first snapshot start on. */
  snapshots: SnapshotSeries | undefined
}

export interface InvocationMetricsOptions {
  /** Functions with series of their own; those beyond share the series `_other`. Default 500. */
  readonly functionsMax?: number
  /** Asked when a function has no series yet (M1). Default: every one is. */
  readonly isDeployed?: (namespace: string, name: string) => boolean
}

/** Observed in µs. The whole is exposed by powers of two, 64 µs to 67 s; its parts by powers of four: a scrape is long enough. */
const seconds = { scale: 1e-6 }
const OTHER = '_other'
const finely = Array.from({ length: 21 }, (_, index) => index + 6)

export class InvocationMetrics {
  readonly #namespaces = new Map<string, Map<string, Handles>>()
  readonly #make: (labels: FunctionLabels) => Handles
  readonly #countersOf: (labels: FunctionLabels, start: StartKind) => { readonly ok: Counter; readonly error: Counter }
  readonly #errorOf: (labels: FunctionLabels, code: string) => Counter
  readonly #removeSeries: (handles: Handles) => void
  readonly #snapshots: SnapshotMetrics
  readonly #functionsMax: number
  readonly #isDeployed: (namespace: string, name: string) => boolean
  #functions = 0

  constructor(metrics: Metrics, options: InvocationMetricsOptions = {}) {
    this.#functionsMax = options.functionsMax ?? 500
    this.#isDeployed = options.isDeployed ?? (() => true)
    // One more, for the others.
    const setsMax = this.#functionsMax + 1
    const labels = ['namespace', 'function'] as const
    this.#snapshots = new SnapshotMetrics(metrics, setsMax)
    const total = metrics.histogram({ name: 'skep_invocation_duration_seconds', help: 'From accepted to the last byte of the answer.', labels, setsMax, ...seconds, exposed: finely })
    const queue = metrics.histogram({ name: 'skep_invocation_queue_seconds', help: 'Waiting for an instance that has room.', labels, setsMax, ...seconds })
    const start = metrics.histogram({ name: 'skep_invocation_start_seconds', help: 'Placement, sandbox and init, of invocations that waited for them.', labels, setsMax, ...seconds })
    const run = metrics.histogram({ name: 'skep_invocation_run_seconds', help: 'In the handler.', labels, setsMax, ...seconds })
    const cpu = metrics.counter({ name: 'skep_invocation_cpu_seconds_total', help: 'Cpu time used.', labels, setsMax })
    const gbMs = metrics.counter({ name: 'skep_invocation_gb_seconds_total', help: 'Memory limit times run time: what is billed.', labels, setsMax })
    const cost = metrics.counter({ name: 'skep_invocation_cost_total', help: 'In the currency of the configured prices.', labels, setsMax })
    const bytesIn = metrics.counter({ name: 'skep_invocation_request_bytes_total', help: 'Bytes of request bodies.', labels, setsMax })
    const bytesOut = metrics.counter({ name: 'skep_invocation_answer_bytes_total', help: 'Bytes of answers.', labels, setsMax })
    const ended = metrics.counter({ name: 'skep_invocations_total', help: 'Invocations that ended.', labels: [...labels, 'start', 'outcome'], setsMax: setsMax * 8 })
    const errors = metrics.counter({ name: 'skep_invocation_errors_total', help: 'Invocations that ended in an error, by its code.', labels: [...labels, 'code'], setsMax: setsMax * 8 })
    this.#make = (of) => ({
      labels: of, byStart: new Map(), byCode: new Map(), total: total.with(of), queue: queue.with(of), start: start.with(of), run: run.with(of), cpu: cpu.with(of), gbMs: gbMs.with(of),
      cost: cost.with(of), bytesIn: bytesIn.with(of), bytesOut: bytesOut.with(of), snapshots: undefined,
    })
    this.#countersOf = (of, start) => ({ ok: ended.with({ ...of, start, outcome: 'ok' }), error: ended.with({ ...of, start, outcome: 'error' }) })
    this.#errorOf = (of, code) => errors.with({ ...of, code })
    this.#removeSeries = ({ labels: of, byStart, byCode, snapshots }) => {
      snapshots?.remove()
      for (const family of [total, queue, start, run, cpu, gbMs, cost, bytesIn, bytesOut]) family.remove(of)
      for (const start of byStart.keys()) for (const outcome of ['ok', 'error']) ended.remove({ ...of, start, outcome })
      for (const code of byCode.keys()) errors.remove({ ...of, code })
    }
  }

  /** Counts an invocation that ended. */
  add(record: InvocationRecord): void {
    const handles = this.#namespaces.get(record.namespace)?.get(record.function) ?? this.#resolve(record)
    let counters = handles.byStart.get(record.start)
    if (counters === undefined) handles.byStart.set(record.start, (counters = this.#countersOf(handles.labels, record.start)))
    if (record.outcome === 'ok') counters.ok.add(1)
    else {
      counters.error.add(1)
      const code = record.error?.code ?? 'INTERNAL'
      let errors = handles.byCode.get(code)
      if (errors === undefined) handles.byCode.set(code, (errors = this.#errorOf(handles.labels, code)))
      errors.add(1)
    }
    handles.total.observe(record.totalUs)
    handles.queue.observe(record.queueUs)
    if (record.start !== 'warm') handles.start.observe(record.placementUs + record.sandboxUs + record.initUs)
    if (record.snapshot !== undefined) (handles.snapshots ??= this.#snapshots.of(handles.labels)).add(record.snapshot)
    handles.run.observe(record.runUs)
    handles.cpu.add(record.cpuUs / 1e6)
    handles.gbMs.add(record.gbMs / 1000)
    handles.cost.add(record.cost)
    handles.bytesIn.add(record.bytesIn)
    handles.bytesOut.add(record.bytesOut)
  }

  /** Removes the series of a function that was deleted (M1). One of the same name begins at 0 again. */
  remove(namespace: string, name: string): void {
    const functions = this.#namespaces.get(namespace)
    const handles = functions?.get(name)
    if (functions === undefined || handles === undefined) return
    this.#removeSeries(handles)
    functions.delete(name)
    if (functions.size === 0) this.#namespaces.delete(namespace)
    this.#functions--
  }

  #resolve(record: InvocationRecord): Handles {
    const isOther = this.#functions >= this.#functionsMax || !this.#isDeployed(record.namespace, record.function)
    const { namespace, function: name } = isOther ? { namespace: OTHER, function: OTHER } : record
    let functions = this.#namespaces.get(namespace)
    if (functions === undefined) this.#namespaces.set(namespace, (functions = new Map()))
    let handles = functions.get(name)
    if (handles === undefined) {
      functions.set(name, (handles = this.#make({ namespace, function: name })))
      if (name !== OTHER) this.#functions++
    }
    return handles
  }
}
