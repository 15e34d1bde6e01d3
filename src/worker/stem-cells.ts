/**
 * Stem cells: sandboxes whose runtime has started and has no function yet, so that a cold start costs the code's own import.
 *
 * Source: the design, section 4; OpenWhisk's prewarmed "stem cell" containers and SOCK's zygotes had the idea. One pool
 * per runtime. A cell that is taken is replaced after a pause: a replacement that started at once would compete with
 * the very cold start it was taken for.
 *
 * Invariants:
 *   L1. A cell is given out at most once, and only after its `hello`.
 *   L2. A runtime whose cells do not start, or die in the pool soon after their `hello`, is not retried without end: none
 *       is started during a pause, which doubles up to a minute until a cell has lived.
 */
import type { Clock, Timer } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Sandbox } from './sandbox/sandbox.ts'

/** A started runtime, whatever holds it: an instance to be, or a faaslet host. */
export interface StemCell {
  readonly sandbox: Pick<Sandbox, 'exited'>
  /** Whether it can still become something. */
  readonly isGeneric: boolean
  kill(reason: string): void
}

export interface StemCellOptions<Cell extends StemCell> {
  readonly size: number
  /** Quiet time before a taken cell is replaced, ms. */
  readonly refillDelayMs: number
  readonly clock: Clock
  /** Starts one sandbox of this runtime, resolved after its `hello`. */
  readonly start: () => Promise<Cell>
  readonly failed?: (error: unknown) => void
}

const BACKOFF_MS_MIN = 1_000
const BACKOFF_MS_MAX = 60_000
/** A cell of this age has lived: what becomes of it later says nothing about the next one. */
const LIVED_MS = 10_000

export class StemCells<Cell extends StemCell> {
  readonly #options: StemCellOptions<Cell>
  readonly #cells: Cell[] = []
  #starting = 0
  /** The pause after the last failure; 0 when a cell has lived since. */
  #backoffMs = 0
  #isPaused = false
  #timer: Timer | undefined
  #settled: PromiseWithResolvers<void> | undefined
  #state: 'open' | 'closed' = 'open'

  constructor(options: StemCellOptions<Cell>) {
    this.#options = options
    if (options.size > 0) this.#refill()
  }

  get readyCount(): number {
    return this.#cells.length
  }

  /** A live cell, or undefined when none is ready. */
  take(): Cell | undefined {
    for (;;) {
      const cell = this.#cells.shift()
      if (cell === undefined) return undefined
      this.#refillLater()
      if (cell.isGeneric) return cell
    }
  }

  cells(): readonly Cell[] {
    return this.#cells
  }

  /** Resolves when the pool is full, or the next try to fill it is put off. */
  settled(): Promise<void> {
    if (this.#starting === 0 && (this.#cells.length >= this.#options.size || this.#isPaused || this.#state === 'closed')) return Promise.resolve()
    this.#settled ??= Promise.withResolvers()
    return this.#settled.promise
  }

  close(): void {
    this.#state = 'closed'
    this.#timer?.cancel()
    for (const cell of this.#cells.splice(0)) cell.kill('the platform stops')
    this.#settle()
  }

  /** Each further take puts the refill off: during a burst, the instances come first. A pause after a failure takes its own time. */
  #refillLater(): void {
    if (!this.#isPaused) this.#refillAfter(this.#options.refillDelayMs)
  }

  #refillAfter(delayMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(delayMs, () => {
      this.#isPaused = false
      this.#refill()
    })
  }

  /** Cells that fail during a pause failed for the same reason as the one before, and count as one with it. */
  #failed(error: unknown): void {
    this.#options.failed?.(error)
    if (!this.#isPaused) {
      this.#isPaused = true
      this.#backoffMs = Math.min(BACKOFF_MS_MAX, Math.max(BACKOFF_MS_MIN, this.#options.refillDelayMs, this.#backoffMs * 2))
      this.#refillAfter(this.#backoffMs)
    }
    // While one starts, it is not yet clear whether the pool fills up.
    if (this.#starting === 0) this.#settle()
  }

  /** One at a time: two starting runtimes on a small machine only slow each other and the work down. */
  #refill(): void {
    if (this.#state === 'closed' || this.#isPaused || this.#starting > 0 || this.#cells.length >= this.#options.size) return
    this.#starting++
    this.#options.start().then(
      (cell) => {
        this.#starting--
        if (this.#state === 'closed') return cell.kill('the platform stops')
        this.#cells.push(cell)
        this.#watch(cell)
        this.#refill()
        if (this.#starting === 0) this.#settle()
      },
      (error: unknown) => {
        this.#starting--
        // One that was starting when the platform stopped did not fail: it was ended.
        if (this.#state === 'open') this.#failed(error)
        else this.#settle()
      },
    )
  }

  #settle(): void {
    this.#settled?.resolve()
    this.#settled = undefined
  }

  #watch(cell: Cell): void {
    let hasLived = false
    const timer = this.#options.clock.after(LIVED_MS, () => {
      hasLived = true
      this.#backoffMs = 0
    })
    void cell.sandbox.exited.then((exit) => {
      timer.cancel()
      const index = this.#cells.indexOf(cell)
      if (index < 0) return
      this.#cells.splice(index, 1)
      if (this.#state === 'closed') return
      if (hasLived) return this.#refillLater()
      this.#failed(new PlatformError('START_FAILED', `A stem cell ended within ${LIVED_MS} ms of its start (${JSON.stringify(exit)}); another is started after a pause.`))
    })
  }
}
