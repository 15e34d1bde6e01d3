/**
 * Brings what runtimes print to the log of the right invocation, and tells the invocation how much it was.
 *
 * Invariants:
 *   L1. A line printed before its invocation's end carries its id and counts against its limit; later ones (work left
 *       over after the answer) are the function's own.
 */
import type { Clock } from '#base/clock.ts'
import type { LogLevelName } from '#contract/frames.ts'
import type { Revision } from '#contract/function-config.ts'
import type { Invocation } from '#contract/invocation.ts'
import type { InvocationLog, LogStore } from './log-store.ts'

export class InvocationLogs {
  readonly #logs: LogStore
  readonly #clock: Clock
  /** Only of invocations that print: most never get an entry. */
  readonly #open = new Map<Invocation, InvocationLog>()

  constructor(options: { readonly logs: LogStore; readonly clock: Clock }) {
    this.#logs = options.logs
    this.#clock = options.clock
  }

  readonly logged = (revision: Revision, invocation: Invocation | undefined, level: LogLevelName, text: string): void => {
    const { namespace, function: name } = revision
    const atMs = this.#clock.epochMs()
    if (invocation === undefined || invocation.state === 'ended') {
      this.#logs.add(namespace, name, { atMs, invocation: '', level, text })
      return
    }
    let log = this.#open.get(invocation)
    if (log === undefined) {
      log = this.#logs.invocation({ namespace, function: name, invocation: invocation.id, bytesMax: revision.config.logBytesMax })
      this.#open.set(invocation, log)
    }
    log.add(level, text, atMs)
  }

  /** Just before the invocation's record is made. */
  readonly ending = (invocation: Invocation): void => {
    if (this.#open.size === 0) return
    const log = this.#open.get(invocation)
    if (log === undefined) return
    this.#open.delete(invocation)
    invocation.logLines = log.end().lines
  }
}
