/**
 * Locks by name, shared or exclusive, in the order asked: a task that waits for an exclusive lock is not overtaken.
 *
 * Invariant: a name holds memory only while somebody holds or waits for it.
 */

interface Waiting {
  readonly exclusive: boolean
  readonly go: () => void
}

interface Held {
  /** Holders; -1: one that is exclusive. */
  holders: number
  readonly waiting: Waiting[]
}

export class KeyedLock {
  readonly #held = new Map<string, Held>()

  shared<Result>(name: string, task: () => Promise<Result>): Promise<Result> {
    return this.#run(name, false, task)
  }

  exclusive<Result>(name: string, task: () => Promise<Result>): Promise<Result> {
    return this.#run(name, true, task)
  }

  async #run<Result>(name: string, exclusive: boolean, task: () => Promise<Result>): Promise<Result> {
    let held = this.#held.get(name)
    if (held === undefined) this.#held.set(name, (held = { holders: 0, waiting: [] }))
    if (held.waiting.length > 0 || held.holders < 0 || (exclusive && held.holders > 0)) {
      await new Promise<void>((resolve) => held.waiting.push({ exclusive, go: resolve }))
    } else held.holders = exclusive ? -1 : held.holders + 1
    try {
      return await task()
    } finally {
      held.holders = exclusive ? 0 : held.holders - 1
      this.#next(name, held)
    }
  }

  /** Hands the lock on, so that nobody comes between the one who leaves and the one who waits. */
  #next(name: string, held: Held): void {
    while (held.waiting.length > 0 && held.holders >= 0) {
      const { exclusive, go } = held.waiting[0]!
      if (exclusive && held.holders > 0) return
      held.waiting.shift()
      held.holders = exclusive ? -1 : held.holders + 1
      go()
    }
    if (held.holders === 0 && held.waiting.length === 0) this.#held.delete(name)
  }
}
