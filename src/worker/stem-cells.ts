/**
 * Stem cells: sandboxes whose runtime has started and has no function yet, so that a cold start costs the code's own import.
 *
 * Source: the design, section 4; OpenWhisk's prewarmed "stem cell" containers and SOCK's zygotes had the idea. One pool
 * per runtime. A cell that is taken is replaced after a pause: a replacement that started at once would compete with
 * the very cold start it was taken for.
 *
 * Invariants:
 *   L1. A cell is given out at most once, and only after its `hello`.
 *   L2. A runtime whose cells keep dying at start is not retried without end: the pause doubles up to a minute.
 */
import type { Clock, Timer } from '#base/clock.ts'
import { Instance } from './instance.ts'

export interface StemCellOptions {
  readonly size: number
  /** Quiet time before a taken cell is replaced, ms. */
  readonly refillDelayMs: number
  readonly clock: Clock
  /** Starts one sandbox of this runtime, resolved after its `hello`. */
  readonly start: () => Promise<Instance>
  readonly failed?: (error: unknown) => void
}

const REFILL_DELAY_MS_MAX = 60_000

export class StemCells {
  readonly #options: StemCellOptions
  readonly #cells: Instance[] = []
  #starting = 0
  #delayMs: number
  #timer: Timer | undefined
  #settled: PromiseWithResolvers<void> | undefined
  #state: 'open' | 'closed' = 'open'

  constructor(options: StemCellOptions) {
    this.#options = options
    this.#delayMs = options.refillDelayMs
    if (options.size > 0) this.#refill()
  }

  get readyCount(): number {
    return this.#cells.length
  }

  /** A live cell, or undefined when none is ready. */
  take(): Instance | undefined {
    for (;;) {
      const cell = this.#cells.shift()
      if (cell === undefined) return undefined
      this.#refillLater()
      if (cell.state.phase === 'starting') return cell
    }
  }

  cells(): readonly Instance[] {
    return this.#cells
  }

  /** Resolves when the pool is full, or the next try to fill it is put off. */
  settled(): Promise<void> {
    if (this.#starting === 0 && (this.#cells.length >= this.#options.size || this.#state === 'closed')) return Promise.resolve()
    this.#settled ??= Promise.withResolvers()
    return this.#settled.promise
  }

  close(): void {
    this.#state = 'closed'
    this.#timer?.cancel()
    for (const cell of this.#cells.splice(0)) cell.kill('the platform stops')
    this.#settle()
  }

  /** Each further take puts the refill off: during a burst, the instances come first. */
  #refillLater(): void {
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(this.#delayMs, () => this.#refill())
  }

  /** One at a time: two starting runtimes on a small machine only slow each other and the work down. */
  #refill(): void {
    if (this.#state === 'closed' || this.#starting > 0 || this.#cells.length >= this.#options.size) return
    this.#starting++
    this.#options.start().then(
      (cell) => {
        this.#starting--
        if (this.#state === 'closed') return cell.kill('the platform stops')
        this.#delayMs = this.#options.refillDelayMs
        this.#cells.push(cell)
        void cell.sandbox.exited.then(() => this.#forget(cell))
        this.#refill()
        if (this.#starting === 0) this.#settle()
      },
      (error: unknown) => {
        this.#starting--
        this.#delayMs = Math.min(REFILL_DELAY_MS_MAX, Math.max(1000, this.#delayMs * 2))
        // One that was starting when the platform stopped did not fail: it was ended.
        if (this.#state === 'open') {
          this.#options.failed?.(error)
          this.#refillLater()
        }
        this.#settle()
      },
    )
  }

  #settle(): void {
    this.#settled?.resolve()
    this.#settled = undefined
  }

  #forget(cell: Instance): void {
    const index = this.#cells.indexOf(cell)
    if (index < 0) return
    this.#cells.splice(index, 1)
    if (this.#state === 'open') this.#refillLater()
  }
}
