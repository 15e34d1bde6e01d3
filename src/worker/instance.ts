/**
 * One running copy of a revision: a sandbox, the runtime inside it and its queue proxy, with one life.
 *
 *   starting ──▶ ready ──▶ stopping ──▶ gone        (busy: ready with `load.inFlight` > 0)
 *       └───────────┴──────────┴────▶ gone           when it fails, dies or is killed
 *
 * Invariants:
 *   I1. `gone` is told to the owner exactly once, after the sandbox's `exited` and after every invocation on it has ended.
 *   I2. Whatever happened first is the reason that every later error names.
 *   I3. The owner is told (`changed`) the moment it takes no more by itself, so that nothing is handed to the dying.
 */
import type { Clock } from '#base/clock.ts'
import type { LoopSpin } from '#base/loop-spin.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import type { LogLevelName } from '#contract/frames.ts'
import type { HeldBody } from '#contract/held-body.ts'
import type { Invocation } from '#contract/invocation.ts'
import type { StartKind } from '#contract/invocation-record.ts'
import { ObjectTransfers } from './object-transfers.ts'
import { QueueProxy } from './queue-proxy.ts'
import type { FunctionCall, ObjectTransfer, QueueProxyHandover, QueueProxyOwner } from './queue-proxy-owner.ts'
import type { Sandbox, SandboxExit, SandboxUsage } from './sandbox/sandbox.ts'

export type InstanceState =
  | { readonly phase: 'starting' }
  | { readonly phase: 'ready' }
  | { readonly phase: 'stopping'; readonly reason: string }
  | { readonly phase: 'gone'; readonly reason: string }

/** What an instance tells the one that uses it. */
export interface InstanceOwner {
  /** It may have room for more; or, no longer `ready`, it has none any more. */
  changed(instance: Instance): void
  gone(instance: Instance): void
  called(instance: Instance, call: FunctionCall): void
  logged(instance: Instance, invocation: Invocation | undefined, level: LogLevelName, text: string): void
}

export interface StartTimes {
  readonly kind: StartKind
  /** From asking for it until its runtime could be spoken to, µs. */
  readonly sandboxUs: number
  /** From then until the handler was loaded, µs. */
  readonly initUs: number
}

/** How long after its channel an instance's exit may become known, on a busy machine; only then is it killed for having closed it. */
const EXIT_KNOWN_MS = 2_000
/** How long a stopping instance may take to finish what it runs: its function's own time limit, and then it is killed. */
const STOP_GRACE_MS = 5_000

export class Instance implements QueueProxyOwner {
  readonly id: string
  readonly sandbox: Sandbox
  readonly proxy: QueueProxy
  readonly #clock: Clock
  readonly #resetGraceMs: number | undefined
  readonly #objects: ObjectTransfers
  #owner: InstanceOwner | undefined
  #revision: Revision | undefined
  #state: InstanceState = { phase: 'starting' }
  /** Why it was ended, if it was. */
  #endReason: string | undefined
  #hungInvocation: Invocation | undefined
  times: StartTimes = { kind: 'cold', sandboxUs: 0, initUs: 0 }
  /** Since when nothing runs on it, monotonic µs, for keep-alive; meaningful while `load.inFlight` is 0. */
  idleSinceUs = 0
  /** When it became ready, monotonic µs. An invocation that came later did not wait for its start. */
  readyUs = Infinity
  /** Whether an invocation has been handed over: only the first may have waited for the start, and be recorded as cold. */
  startReported = false

  /** @param options.objects What its code puts and gets; absent: it can do neither. */
  constructor(options: { readonly sandbox: Sandbox; readonly clock: Clock; readonly objects?: ObjectTransfers; readonly resetGraceMs?: number; readonly spin?: LoopSpin; readonly handover?: QueueProxyHandover }) {
    this.id = options.sandbox.id
    this.sandbox = options.sandbox
    this.#clock = options.clock
    this.#resetGraceMs = options.resetGraceMs
    this.#objects = options.objects ?? new ObjectTransfers(undefined)
    this.proxy = new QueueProxy({
      channel: options.sandbox.channel,
      clock: options.clock,
      owner: this,
      ...(options.sandbox.memory !== undefined && { memory: options.sandbox.memory }),
      ...(options.handover !== undefined && { handover: options.handover }),
      ...(options.spin !== undefined && { spin: options.spin }),
      ...(options.resetGraceMs !== undefined && { resetGraceMs: options.resetGraceMs }),
    })
    void options.sandbox.exited.then((exit) => this.#exited(exit))
  }

  get state(): InstanceState {
    return this.#state
  }

  /** Whether it is a stem cell still, alive and without a function. */
  get isGeneric(): boolean {
    return this.#state.phase === 'starting' && this.#revision === undefined
  }

  get revision(): Revision {
    if (this.#revision === undefined) throw new Error(`instance ${this.id} has no function yet`)
    return this.#revision
  }

  /** From a stem cell to an instance of a function. */
  assign(revision: Revision, owner: InstanceOwner): void {
    this.#revision = revision
    this.#owner = owner
  }

  ready(times: StartTimes): void {
    if (this.#state.phase !== 'starting') return
    this.times = times
    this.readyUs = this.#clock.monotonicUs()
    this.idleSinceUs = this.readyUs
    this.#state = { phase: 'ready' }
  }

  /** Ends it when its invocations have ended; takes no more from now on. */
  stop(reason: string): void {
    if (this.#state.phase === 'starting') return this.kill(reason)
    if (this.#state.phase !== 'ready') return
    this.#endReason = reason
    this.#state = { phase: 'stopping', reason }
    if (this.proxy.load.inFlight === 0 && this.proxy.release(this.sandbox, reason)) return
    this.proxy.stop()
    const graceMs = this.proxy.load.inFlight === 0 ? STOP_GRACE_MS : STOP_GRACE_MS + this.revision.config.timeoutMs
    const timer = this.#clock.after(graceMs, () => void this.sandbox.destroy(reason))
    void this.sandbox.exited.then(() => timer.cancel())
  }

  /** Ends it now. */
  kill(reason: string): void {
    if (this.#state.phase === 'gone') return
    this.#endReason ??= reason
    this.#takeNoMore(reason)
    void this.sandbox.destroy(reason)
  }

  usage(): SandboxUsage {
    return this.sandbox.usage()
  }

  changed(): void {
    this.idleSinceUs = this.#clock.monotonicUs()
    this.#owner?.changed(this)
  }

  called(call: FunctionCall): void {
    this.#owner?.called(this, call)
  }

  transferred(transfer: ObjectTransfer): void {
    this.#objects.begin(transfer)
  }

  held(invocation: Invocation, fd: number, bytes: number): HeldBody {
    return this.#objects.hold(invocation, fd, bytes)
  }

  logged(invocation: Invocation | undefined, level: LogLevelName, text: string): void {
    this.#owner?.logged(this, invocation, level, text)
  }

  lost(error: PlatformError | undefined): void {
    // A closed channel is the usual first sign of a death whose cause `exited` knows a moment later. A broken protocol,
    // or a runtime that closed its channel and lives on, has to be ended.
    if (error !== undefined) return this.kill(error.message)
    this.#takeNoMore('its channel was closed')
    const timer = this.#clock.after(this.#resetGraceMs ?? EXIT_KNOWN_MS, () => this.kill('the runtime closed its channel'))
    void this.sandbox.exited.then(() => timer.cancel())
  }

  hung(invocation: Invocation): void {
    this.#hungInvocation = invocation
    this.kill(`invocation ${invocation.id} did not stop at its time limit`)
  }

  #takeNoMore(reason: string): void {
    if (this.#state.phase === 'stopping') return
    this.#state = { phase: 'stopping', reason }
    this.#owner?.changed(this)
  }

  #exited(exit: SandboxExit): void {
    const reason = this.#endReason ?? describeExit(exit)
    this.proxy.abandon((invocation) => this.#errorAfter(exit, reason, invocation))
    this.#objects.ended(this.id)
    this.#state = { phase: 'gone', reason }
    this.#owner?.gone(this)
  }

  /** What an invocation that was open when the instance ended is told. */
  #errorAfter(exit: SandboxExit, reason: string, invocation: Invocation): PlatformError {
    switch (exit.cause) {
      case 'out-of-memory':
        return outOfMemory(this.revision, invocation.memoryPeakKb)
      case 'exited':
        return new PlatformError('FUNCTION_EXITED', `The function's process exited with code ${exit.code} during the invocation; return an answer instead of exiting.`)
      case 'signalled':
        return new PlatformError('FUNCTION_EXITED', `The function's process was ended by ${exit.signal} during the invocation.`)
      case 'destroyed': {
        const culprit = this.#hungInvocation === undefined ? '' : ' Lower the function\'s concurrency to keep invocations apart.'
        return new PlatformError('INSTANCE_LOST', `The instance was ended (${reason}) while this invocation was on it; send it again.${culprit}`)
      }
    }
  }
}

/** Why an instance ended before it could be used, as the error its invocations get. */
export function startError(exit: SandboxExit, revision: Revision): PlatformError {
  switch (exit.cause) {
    case 'out-of-memory':
      return outOfMemory(revision, 0)
    case 'exited':
      return new PlatformError('INIT_FAILED', `The function's process exited with code ${exit.code} while its code was loaded.`)
    case 'signalled':
      return new PlatformError('INIT_FAILED', `The function's process was ended by ${exit.signal} while its code was loaded.`)
    case 'destroyed':
      return new PlatformError('START_FAILED', `The instance was ended before it was ready: ${exit.reason}.`)
  }
}

function outOfMemory(revision: Revision, peakKb: number): PlatformError {
  const peak = peakKb > 0 ? ` (its peak before was ${Math.ceil(peakKb / 1024)} MB)` : ''
  return new PlatformError('FUNCTION_OUT_OF_MEMORY', `The function needed more than its ${revision.config.memoryMb} MB of memory${peak}; deploy it with a larger --memory.`)
}

function describeExit(exit: SandboxExit): string {
  switch (exit.cause) {
    case 'destroyed':
      return exit.reason
    case 'exited':
      return `its process exited with code ${exit.code}`
    case 'signalled':
      return `its process was ended by ${exit.signal}`
    case 'out-of-memory':
      return 'it ran out of memory'
  }
}
