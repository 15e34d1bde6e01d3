/**
 * The metrics of invocations, counted from their records: one addition per series once a function's handles are resolved.
 *
 * Labels: function and namespace everywhere; phase, start, outcome and code where they are few. Never an id.
 */
import type { Counter, Histogram, Metrics } from '#base/metrics.ts'
import type { InvocationRecord, StartKind } from '#contract/invocation-record.ts'

interface FunctionLabels {
  readonly namespace: string
  readonly function: string
}

interface Handles {
  /** `_other` twice for functions beyond the bound. */
  readonly labels: FunctionLabels
  readonly byStart: Map<StartKind, { readonly ok: Counter; readonly error: Counter }>
  readonly total: Histogram
  readonly queue: Histogram
  readonly start: Histogram
  readonly run: Histogram
  readonly cpu: Counter
  readonly gbMs: Counter
  readonly cost: Counter
  readonly bytesIn: Counter
  readonly bytesOut: Counter
}

/** Observed in µs. The whole is exposed by powers of two, 64 µs to 67 s; its parts by powers of four: a scrape is long enough. */
const seconds = { scale: 1e-6 }
const finely = Array.from({ length: 21 }, (_, index) => index + 6)

export class InvocationMetrics {
  readonly #namespaces = new Map<string, Map<string, Handles>>()
  readonly #make: (labels: FunctionLabels) => Handles
  readonly #countersOf: (labels: FunctionLabels, start: StartKind) => { readonly ok: Counter; readonly error: Counter }
  readonly #errorOf: (labels: FunctionLabels, code: string) => Counter
  readonly #functionsMax: number
  #functions = 0

  /** @param functionsMax Functions with series of their own; those beyond share the series `_other`. */
  constructor(metrics: Metrics, options: { readonly functionsMax: number } = { functionsMax: 500 }) {
    this.#functionsMax = options.functionsMax
    const labels = ['namespace', 'function'] as const
    const setsMax = options.functionsMax
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
      labels: of, byStart: new Map(), total: total.with(of), queue: queue.with(of), start: start.with(of), run: run.with(of), cpu: cpu.with(of), gbMs: gbMs.with(of),
      cost: cost.with(of), bytesIn: bytesIn.with(of), bytesOut: bytesOut.with(of),
    })
    this.#countersOf = (of, start) => ({ ok: ended.with({ ...of, start, outcome: 'ok' }), error: ended.with({ ...of, start, outcome: 'error' }) })
    this.#errorOf = (of, code) => errors.with({ ...of, code })
  }

  /** Counts an invocation that ended. */
  add(record: InvocationRecord): void {
    const handles = this.#namespaces.get(record.namespace)?.get(record.function) ?? this.#resolve(record)
    let counters = handles.byStart.get(record.start)
    if (counters === undefined) handles.byStart.set(record.start, (counters = this.#countersOf(handles.labels, record.start)))
    if (record.outcome === 'ok') counters.ok.add(1)
    else {
      counters.error.add(1)
      this.#errorOf(handles.labels, record.error?.code ?? 'INTERNAL').add(1)
    }
    handles.total.observe(record.totalUs)
    handles.queue.observe(record.queueUs)
    if (record.start !== 'warm') handles.start.observe(record.placementUs + record.sandboxUs + record.initUs)
    handles.run.observe(record.runUs)
    handles.cpu.add(record.cpuUs / 1e6)
    handles.gbMs.add(record.gbMs / 1000)
    handles.cost.add(record.cost)
    handles.bytesIn.add(record.bytesIn)
    handles.bytesOut.add(record.bytesOut)
  }

  #resolve(record: InvocationRecord): Handles {
    const full = this.#functions >= this.#functionsMax
    const { namespace, function: name } = full ? { namespace: '_other', function: '_other' } : record
    let functions = this.#namespaces.get(namespace)
    if (functions === undefined) this.#namespaces.set(namespace, (functions = new Map()))
    let handles = functions.get(name)
    if (handles === undefined) {
      functions.set(name, (handles = this.#make({ namespace, function: name })))
      this.#functions++
    }
    return handles
  }
}
