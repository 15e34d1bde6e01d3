/**
 * What the simulation runs on: a queue of events in simulated time, and a CPU whose cores are shared fairly.
 *
 * Time is a number that jumps from event to event, so a day of a thousand functions takes seconds. Events at the same
 * time run in the order in which they were scheduled: a run is a function of its inputs and seed.
 */

/** A binary heap of things ordered by a number, then by insertion. */
export class Heap<T> {
  readonly #entries: { readonly at: number; readonly order: number; readonly item: T }[] = []
  #order = 0

  get size(): number {
    return this.#entries.length
  }

  get firstAt(): number {
    return this.#entries[0]?.at ?? Infinity
  }

  push(at: number, item: T): void {
    const entries = this.#entries
    const entry = { at, order: this.#order++, item }
    let index = entries.push(entry) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!isBefore(entry, entries[parent]!)) break
      entries[index] = entries[parent]!
      index = parent
    }
    entries[index] = entry
  }

  pop(): T | undefined {
    const entries = this.#entries
    const first = entries[0]
    const last = entries.pop()
    if (first === undefined || last === undefined || entries.length === 0) return first?.item
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= entries.length) break
      if (child + 1 < entries.length && isBefore(entries[child + 1]!, entries[child]!)) child++
      if (!isBefore(entries[child]!, last)) break
      entries[index] = entries[child]!
      index = child
    }
    entries[index] = last
    return first.item
  }
}

interface Ordered {
  readonly at: number
  readonly order: number
}

function isBefore(one: Ordered, other: Ordered): boolean {
  return one.at !== other.at ? one.at < other.at : one.order < other.order
}

/**
 * Simulated time in µs, with a CPU.
 *
 * The CPU shares its cores fairly: with n tasks each runs at min(1, cores / n). All run at the same rate, so one number,
 * the work that a task would have got since the beginning, orders their ends.
 */
export class Engine {
  readonly cores: number
  nowUs = 0
  readonly #events = new Heap<() => void>()
  readonly #tasks = new Heap<() => void>()
  #workUs = 0
  /** Core-µs used since the beginning. */
  busyCoreUs = 0

  constructor(cores: number) {
    this.cores = cores
  }

  at(timeUs: number, action: () => void): void {
    this.#events.push(Math.max(timeUs, this.nowUs), action)
  }

  after(delayUs: number, action: () => void): void {
    this.at(this.nowUs + delayUs, action)
  }

  /** Runs `action` when a core, or a share of one, has worked `workUs` on it. */
  compute(workUs: number, action: () => void): void {
    this.#tasks.push(this.#workUs + workUs, action)
  }

  /** Runs until nothing is left to happen. */
  run(): void {
    for (;;) {
      const rate = Math.min(1, this.cores / Math.max(1, this.#tasks.size))
      const taskEndUs = this.nowUs + (this.#tasks.firstAt - this.#workUs) / rate
      const nextUs = Math.min(taskEndUs, this.#events.firstAt)
      if (nextUs === Infinity) return
      const isTask = taskEndUs <= this.#events.firstAt
      this.busyCoreUs += (nextUs - this.nowUs) * Math.min(this.cores, this.#tasks.size)
      this.#workUs = isTask ? this.#tasks.firstAt : this.#workUs + (nextUs - this.nowUs) * rate
      this.nowUs = nextUs
      const action = isTask ? this.#tasks.pop() : this.#events.pop()
      action?.()
    }
  }
}
