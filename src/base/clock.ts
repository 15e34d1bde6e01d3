/** Time, handed in wherever it matters, so that tests and the simulation decide what time it is. */

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Epoch ms, for people and deadlines. */
  epochMs(): number
  /** Monotonic µs since an arbitrary point, for durations. */
  monotonicUs(): number
  /** Calls once after `delayMs`. The timer does not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer
}

export const systemClock: Clock = {
  epochMs: () => Date.now(),
  monotonicUs: () => performance.now() * 1000,
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

/** A clock that moves only when told. */
export class ManualClock implements Clock {
  #nowMs: number
  #timers: { readonly atMs: number; readonly order: number; readonly callback: () => void }[] = []
  #order = 0

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs
  }

  epochMs(): number {
    return this.#nowMs
  }

  monotonicUs(): number {
    return this.#nowMs * 1000
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, callback }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }

  /** Moves on, running each timer that comes due at its own time, also those set on the way. */
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs
    for (;;) {
      const due = this.#timers.filter((timer) => timer.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0]
      if (due === undefined) break
      this.#timers = this.#timers.filter((timer) => timer !== due)
      this.#nowMs = Math.max(this.#nowMs, due.atMs)
      due.callback()
    }
    this.#nowMs = untilMs
  }
}
