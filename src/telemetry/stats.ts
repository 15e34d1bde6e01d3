/**
 * Figures per function over the last minutes, for `skep stats` and the dashboard: how often, how long, how cold, how dear.
 *
 * Each function has a ring of minutes; a minute has three histograms and a few sums, and exists only if something ended in
 * it. Reading merges the minutes. So `add` costs about 150 ns, and a function that rests costs no memory.
 *
 * Invariants:
 *   Q1. A figure covers the present minute and the `minutes - 1` before it, and nothing older.
 *   Q2. At most `functionsMax` functions are kept; further ones are counted together under the name `_other`.
 */
import { LogLinear } from '#base/log-linear.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { endedAtMs } from './record-codec.ts'

export interface StatsConfig {
  /** Width of the window. */
  readonly minutes: number
  /** Each that is busy in every minute has about 100 KB. */
  readonly functionsMax: number
}

export const statsDefaults: StatsConfig = { minutes: 15, functionsMax: 1000 }

export interface Quantiles {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

export interface FunctionStats {
  readonly namespace: string
  readonly function: string
  /** What the figures cover, ms: shorter than the window while the platform is young. */
  readonly windowMs: number
  readonly invocations: number
  readonly perSecond: number
  readonly errors: number
  /** 0..1. */
  readonly errorShare: number
  readonly cold: number
  readonly snapshot: number
  /** Share of the invocations that waited for an instance to be made, 0..1. */
  readonly coldShare: number
  readonly totalUs: Quantiles
  readonly queueUs: Quantiles
  readonly runUs: Quantiles
  readonly cpuMs: number
  /** GB·s billed. */
  readonly gbSeconds: number
  readonly cost: number
  readonly bytesIn: number
  readonly bytesOut: number
}

const MINUTE_MS = 60_000

class Minute {
  readonly number: number
  readonly totalUs = new LogLinear({ wide: false })
  readonly queueUs = new LogLinear({ wide: false })
  readonly runUs = new LogLinear({ wide: false })
  errors = 0
  cold = 0
  snapshot = 0
  cpuUs = 0
  gbMs = 0
  cost = 0
  bytesIn = 0
  bytesOut = 0

  constructor(number: number) {
    this.number = number
  }

  add(record: InvocationRecord): void {
    this.totalUs.observe(record.totalUs)
    this.queueUs.observe(record.queueUs)
    this.runUs.observe(record.runUs)
    if (record.outcome === 'error') this.errors++
    if (record.start === 'cold') this.cold++
    else if (record.start === 'snapshot') this.snapshot++
    this.cpuUs += record.cpuUs
    this.gbMs += record.gbMs
    this.cost += record.cost
    this.bytesIn += record.bytesIn
    this.bytesOut += record.bytesOut
  }

  merge(other: Minute): void {
    this.totalUs.merge(other.totalUs)
    this.queueUs.merge(other.queueUs)
    this.runUs.merge(other.runUs)
    this.errors += other.errors
    this.cold += other.cold
    this.snapshot += other.snapshot
    this.cpuUs += other.cpuUs
    this.gbMs += other.gbMs
    this.cost += other.cost
    this.bytesIn += other.bytesIn
    this.bytesOut += other.bytesOut
  }
}

interface Rolling {
  readonly namespace: string
  readonly function: string
  /** Oldest first; only those in which something ended. */
  minutes: Minute[]
  present: Minute
}

export class Stats {
  readonly #config: StatsConfig
  readonly #startedAtMs: number
  readonly #namespaces = new Map<string, Map<string, Rolling>>()
  #count = 0
  #prunedMinute = 0

  /** @param nowMs When counting begins. */
  constructor(nowMs: number, config: StatsConfig = statsDefaults) {
    this.#config = config
    this.#startedAtMs = nowMs
  }

  /** Counts an invocation that ended. */
  add(record: InvocationRecord): void {
    const number = Math.floor(endedAtMs(record) / MINUTE_MS)
    const rolling = this.#namespaces.get(record.namespace)?.get(record.function) ?? this.#make(record.namespace, record.function, number)
    // A record that comes a little late counts to the minute in which it comes.
    if (number > rolling.present.number) this.#roll(rolling, number)
    rolling.present.add(record)
  }

  /** Figures of the functions of a namespace (or one of them) in which something ended, by name. */
  read(options: { readonly namespace: string; readonly function?: string; readonly nowMs: number; readonly minutes?: number }): FunctionStats[] {
    const now = Math.floor(options.nowMs / MINUTE_MS)
    const minutes = Math.min(options.minutes ?? this.#config.minutes, this.#config.minutes)
    const fromMs = Math.max(this.#startedAtMs, (now - minutes + 1) * MINUTE_MS)
    const windowMs = Math.max(1, options.nowMs - fromMs)
    const found: FunctionStats[] = []
    for (const rolling of this.#namespaces.get(options.namespace)?.values() ?? []) {
      if (options.function !== undefined && rolling.function !== options.function) continue
      const sum = new Minute(now)
      for (const minute of rolling.minutes) if (minute.number > now - minutes) sum.merge(minute)
      if (sum.totalUs.count > 0) found.push(figures(rolling, sum, windowMs))
    }
    return found.sort((a, b) => (a.function < b.function ? -1 : 1))
  }

  #make(namespace: string, name: string, number: number): Rolling {
    if (this.#count >= this.#config.functionsMax) this.#prune(number)
    // `_other` is made even when there is no room: one for each namespace that exists.
    if (this.#count >= this.#config.functionsMax && name !== OTHER) {
      return this.#namespaces.get(namespace)?.get(OTHER) ?? this.#make(namespace, OTHER, number)
    }
    const present = new Minute(number)
    const rolling: Rolling = { namespace, function: name, minutes: [present], present }
    let functions = this.#namespaces.get(namespace)
    if (functions === undefined) this.#namespaces.set(namespace, (functions = new Map()))
    functions.set(name, rolling)
    this.#count++
    return rolling
  }

  #roll(rolling: Rolling, number: number): void {
    rolling.present = new Minute(number)
    rolling.minutes = rolling.minutes.filter((minute) => minute.number > number - this.#config.minutes)
    rolling.minutes.push(rolling.present)
    if (number > this.#prunedMinute) this.#prune(number)
  }

  /** Forgets functions in which nothing has ended for a window, and minutes that have left it: at most once a minute. */
  #prune(number: number): void {
    if (number <= this.#prunedMinute) return
    this.#prunedMinute = number
    for (const [namespace, functions] of this.#namespaces) {
      for (const [name, rolling] of functions) {
        if (rolling.present.number > number - this.#config.minutes) {
          rolling.minutes = rolling.minutes.filter((minute) => minute.number > number - this.#config.minutes)
          continue
        }
        functions.delete(name)
        this.#count--
      }
      if (functions.size === 0) this.#namespaces.delete(namespace)
    }
  }
}

const OTHER = '_other'

function figures(rolling: Rolling, sum: Minute, windowMs: number): FunctionStats {
  const invocations = sum.totalUs.count
  return {
    namespace: rolling.namespace,
    function: rolling.function,
    windowMs,
    invocations,
    perSecond: (invocations * 1000) / windowMs,
    errors: sum.errors,
    errorShare: sum.errors / invocations,
    cold: sum.cold,
    snapshot: sum.snapshot,
    coldShare: (sum.cold + sum.snapshot) / invocations,
    totalUs: quantiles(sum.totalUs),
    queueUs: quantiles(sum.queueUs),
    runUs: quantiles(sum.runUs),
    cpuMs: sum.cpuUs / 1000,
    gbSeconds: sum.gbMs / 1000,
    cost: sum.cost,
    bytesIn: sum.bytesIn,
    bytesOut: sum.bytesOut,
  }
}

function quantiles(values: LogLinear): Quantiles {
  return { p50: Math.round(values.quantile(0.5)), p99: Math.round(values.quantile(0.99)), max: values.max }
}
