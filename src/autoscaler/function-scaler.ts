/**
 * The autoscaler of one revision: its concurrency window, its decider's state and its keep-alive, behind one `decide`.
 *
 * The activator tells it of every invocation handed over and ended, and asks each tick what to do.
 */
import type { FunctionConfig } from '#contract/function-config.ts'
import { concurrencyDefaults } from '#contract/function-config.ts'
import { ConcurrencyWindow } from './concurrency-window.ts'
import { fixedKeepAlive, idleToStop } from './keep-alive.ts'
import type { IdleInstance, KeepAlive } from './keep-alive.ts'
import { calm, decide, deciderConfigFor } from './scale-decision.ts'
import type { DeciderConfig, DeciderState } from './scale-decision.ts'

export class FunctionScaler {
  readonly #window: ConcurrencyWindow
  readonly #config: DeciderConfig
  readonly #keepAlive: KeepAlive
  #state: DeciderState = calm
  #concurrency = 0

  /** @param options.keepAlive Default: the function's own fixed time. */
  constructor(options: { readonly config: FunctionConfig; readonly nowMs: number; readonly keepAlive?: KeepAlive }) {
    const { config, nowMs } = options
    this.#window = new ConcurrencyWindow(nowMs)
    this.#config = deciderConfigFor({ ...config, concurrency: config.concurrency ?? concurrencyDefaults[config.kind] })
    this.#keepAlive = options.keepAlive ?? fixedKeepAlive(config.keepAliveMs)
  }

  handedOver(atMs: number): void {
    if (this.#concurrency === 0) this.#keepAlive.busy(atMs)
    this.#window.record(atMs, ++this.#concurrency)
  }

  ended(atMs: number): void {
    this.#window.record(atMs, --this.#concurrency)
    if (this.#concurrency === 0) this.#keepAlive.idle(atMs)
  }

  /** @param cpuIdleShare Of the host, 0..1; undefined while unknown. @returns how many instances there should be. */
  desiredCount(nowMs: number, readyCount: number, cpuIdleShare: number | undefined): number {
    const { desiredCount, state } = decide(
      this.#state,
      {
        atMs: nowMs,
        readyCount,
        stableConcurrency: this.#window.average(nowMs, this.#config.stableWindowMs),
        panicConcurrency: this.#window.average(nowMs, this.#config.panicWindowMs),
        ...(cpuIdleShare !== undefined && { cpuIdleShare }),
      },
      this.#config,
    )
    this.#state = state
    return desiredCount
  }

  /** Of these instances, those that may go, the longest idle first. */
  toStop<T extends IdleInstance>(instances: readonly T[], desiredCount: number, nowMs: number): readonly T[] {
    return idleToStop(instances, desiredCount, this.#keepAlive, nowMs)
  }

  /** When to have an instance ready again although none is needed now, monotonic ms. */
  prewarmAtMs(nowMs: number): number | undefined {
    return this.#keepAlive.decide(nowMs, nowMs).prewarmAtMs
  }
}
