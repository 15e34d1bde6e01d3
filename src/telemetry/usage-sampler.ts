/**
 * How busy the host and this process are: for the burst decision (starting an instance needs idle cpu) and for /metrics.
 *
 * Linux counts the ticks of each kind of cpu time in /proc/stat; the idle share is what two readings differ by. The lag of
 * the event loop is how much later than asked the sampler's own timer ran: it costs nothing more.
 *
 * Invariants:
 *   U1. A share is between 0 and 1; before the second reading, and where there is no /proc/stat, it is undefined.
 */
import type { Clock, Timer } from '#base/clock.ts'
import type { Metrics } from '#base/metrics.ts'

export interface CpuTicks {
  readonly idle: number
  readonly total: number
}

/** The first line of /proc/stat: all cpus together. Waiting for a disk is idle. @returns undefined when it is another text. */
export function parseCpuTicks(text: string): CpuTicks | undefined {
  const line = /^cpu +([\d ]+)/.exec(text)
  if (line === null) return undefined
  // user nice system idle iowait irq softirq steal; guest time, which follows, is already in user and nice.
  const ticks = line[1]!.trim().split(/ +/).slice(0, 8).map(Number)
  if (ticks.length < 4) return undefined
  return { idle: ticks[3]! + (ticks[4] ?? 0), total: ticks.reduce((sum, one) => sum + one, 0) }
}

/** @returns 0..1; undefined when no tick has passed. */
export function idleShare(before: CpuTicks, after: CpuTicks): number | undefined {
  const total = after.total - before.total
  if (total <= 0) return undefined
  // iowait may go backwards (proc(5)): what is out of range is a rounding of the kernel's.
  return Math.min(1, Math.max(0, (after.idle - before.idle) / total))
}

export interface UsageSamplerOptions {
  readonly clock: Clock
  /** The text of /proc/stat; throws where there is none. */
  readonly readStat: () => string
  /** Time between samples, ms. Lower follows bursts more closely; a reading costs about 50 µs. Default 250. */
  readonly everyMs?: number
}

export class UsageSampler {
  readonly #clock: Clock
  readonly #readStat: () => string
  readonly #everyMs: number
  #before: CpuTicks | undefined
  #share: number | undefined
  #lagMs = 0
  #lagMaxMs = 0
  #timer: Timer | undefined

  constructor(options: UsageSamplerOptions) {
    this.#clock = options.clock
    this.#readStat = options.readStat
    this.#everyMs = options.everyMs ?? 250
  }

  start(): void {
    this.#before ??= this.#read()
    this.#arm()
  }

  stop(): void {
    this.#timer?.cancel()
  }

  /** Share of the host's cpus that was idle during the last sample (U1). */
  get cpuIdleShare(): number | undefined {
    return this.#share
  }

  /** How much too late the last sample was taken, ms. */
  get eventLoopLagMs(): number {
    return this.#lagMs
  }

  /** Sets the gauges of this process and host just before they are read. */
  expose(metrics: Metrics): void {
    const idle = metrics.gauge({ name: 'skep_host_cpu_idle_ratio', help: 'Share of the host\'s cpus that is idle.' }).with({})
    const rss = metrics.gauge({ name: 'process_resident_memory_bytes', help: 'Resident memory of the platform\'s process.' }).with({})
    const cpu = metrics.counter({ name: 'process_cpu_seconds_total', help: 'Cpu time of the platform\'s process.' }).with({})
    const lag = metrics.gauge({ name: 'skep_event_loop_lag_seconds', help: 'Largest delay of the event loop since the last reading.' }).with({})
    metrics.gauge({ name: 'process_start_time_seconds', help: 'When the process started, seconds since the epoch.' }).with({}).set(this.#clock.epochMs() / 1000 - process.uptime())
    metrics.beforeExpose(() => {
      idle.set(this.#share ?? Number.NaN)
      rss.set(process.memoryUsage.rss())
      const used = process.cpuUsage()
      cpu.add((used.user + used.system) / 1e6 - cpu.value)
      lag.set(this.#lagMaxMs / 1000)
      this.#lagMaxMs = 0
    })
  }

  #arm(): void {
    const dueUs = this.#clock.monotonicUs() + this.#everyMs * 1000
    this.#timer = this.#clock.after(this.#everyMs, () => {
      this.#lagMs = Math.max(0, (this.#clock.monotonicUs() - dueUs) / 1000)
      this.#lagMaxMs = Math.max(this.#lagMaxMs, this.#lagMs)
      const now = this.#read()
      if (now !== undefined && this.#before !== undefined) this.#share = idleShare(this.#before, now) ?? this.#share
      this.#before = now
      this.#arm()
    })
  }

  #read(): CpuTicks | undefined {
    try {
      return parseCpuTicks(this.#readStat())
    } catch {
      return undefined
    }
  }
}
