/**
 * Runs tasks, so many at a time: attempts, retries, second copies of stragglers, cancellation.
 *
 * A task is one invocation's worth of work; what an attempt does is handed in. When to retry and whom to copy is decided in retry.ts and stragglers.ts.
 *
 * Invariants:
 *   T1. At most `concurrency` tasks run; the others wait in the order of coming. A copy needs no room: it is the last few that get one.
 *   T2. A task ends once: with the first attempt that answers, or with the failure that is not retried. Its other copy is then let go.
 *   T3. A task that is cancelled while it waits never runs.
 */
import { PlatformError } from '../../src/contract/errors.ts'
import { afterFailure, isRefusal } from './retry.ts'
import { findStragglers } from './stragglers.ts'

export interface Task {
  /** @param attempt From 1. @throws PlatformError, which may be worth a retry; anything else is final. */
  attempt(signal: AbortSignal, attempt: number): Promise<void>
  started(): void
  /** After the last attempt. */
  failed(error: unknown): void
  readonly group: Group
  readonly cancelled: AbortSignal
}

/** Tasks of one map: what stragglers are measured against. */
export class Group {
  readonly total: number
  readonly speculate: boolean
  readonly doneMs: number[] = []
  readonly running = new Map<Task, { startedMs: number; copied: boolean; copy: () => void }>()
  timer: NodeJS.Timeout | undefined

  constructor(total: number, speculate: boolean) {
    this.total = total
    this.speculate = speculate
  }
}

export interface PoolOptions {
  readonly concurrency: number
  readonly retries: number
  readonly nowMs?: () => number
  readonly random01?: () => number
  /** Resolves after so long, or when aborted. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>
}

interface Failed {
  readonly error: unknown
}

export class TaskPool {
  readonly #options: Required<PoolOptions>
  readonly #waiting: Task[] = []
  #running = 0

  constructor(options: PoolOptions) {
    this.#options = { nowMs: () => performance.now(), random01: Math.random, pause, ...options }
  }

  submit(task: Task): void {
    this.#waiting.push(task)
    this.#next()
  }

  #next(): void {
    while (this.#running < this.#options.concurrency && this.#waiting.length > 0) {
      const task = this.#waiting.shift()!
      if (task.cancelled.aborted) continue
      this.#running++
      void this.#run(task).finally(() => {
        this.#running--
        this.#next()
      })
    }
  }

  async #run(task: Task): Promise<void> {
    const { group } = task
    const { nowMs } = this.#options
    const ended = new AbortController()
    const signal = AbortSignal.any([task.cancelled, ended.signal])
    const answer = Promise.withResolvers<Failed | undefined>()
    let open = 0
    const start = (): void => {
      open++
      void this.#untilAnswered(task, signal).then((failed) => {
        open--
        // A failure only when no copy is left that might answer.
        if (failed === undefined || open === 0) answer.resolve(failed)
      })
    }
    const entry = { startedMs: nowMs(), copied: false, copy: start }
    group.running.set(task, entry)
    task.started()
    start()
    const failure = await answer.promise
    ended.abort()
    group.running.delete(task)
    if (failure === undefined) group.doneMs.push(nowMs() - entry.startedMs)
    else if (!task.cancelled.aborted) task.failed(failure.error)
    this.#lookForStragglers(group)
  }

  /** @returns why it is not tried again; undefined when it was answered. */
  async #untilAnswered(task: Task, signal: AbortSignal): Promise<Failed | undefined> {
    const { nowMs, random01, retries, pause } = this.#options
    const before = { lost: 0, refused: 0 }
    let refusedAtMs: number | undefined
    for (let attempt = 1; ; attempt++) {
      try {
        await task.attempt(signal, attempt)
        return undefined
      } catch (thrown) {
        if (signal.aborted || !(thrown instanceof PlatformError)) return { error: thrown }
        const error = thrown
        const kind = isRefusal(error.code) ? 'refused' : 'lost'
        if (kind === 'refused') refusedAtMs ??= nowMs()
        const verdict = afterFailure({ code: error.code, before: before[kind], retries, refusedMs: refusedAtMs === undefined ? 0 : nowMs() - refusedAtMs, random01: random01() })
        if (verdict.kind === 'fail') return { error }
        before[kind]++
        await pause(verdict.delayMs, signal)
        if (signal.aborted) return { error }
      }
    }
  }

  #lookForStragglers(group: Group): void {
    if (!group.speculate) return
    clearTimeout(group.timer)
    const { nowMs } = this.#options
    const running = [...group.running.values()]
    const { copy, nextMs } = findStragglers(running, group.doneMs, group.total, nowMs())
    for (const at of copy) {
      running[at]!.copied = true
      running[at]!.copy()
    }
    if (nextMs !== undefined) group.timer = setTimeout(() => this.#lookForStragglers(group), Math.max(1, nextMs - nowMs()))
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms)
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}
