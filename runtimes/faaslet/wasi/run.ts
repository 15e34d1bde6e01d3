/**
 * One run of a WebAssembly faaslet: its initialisation, or one invocation. Everything its imports need of the host.
 *
 * The code runs inside `Enter`, which may stop it at any point, also in an import. So imports touch only what belongs to
 * this run; what belongs to the host (frames, timers, calls, log) is put aside and done when `Enter` has returned.
 *
 *         ┌ enter: code runs ┐ log, calls,          ┌ enter: goes on ┐
 *   begin ┴──────────────────┴ start waiting ─ … ── ┴────────────────┴ … ─ answer, resolve
 *                                the promise settles ─ nextTick: out of the microtask queue
 *
 * Invariants:
 *   RN1. A run ends once: returned, failed, or abandoned (cancelled while it waited).
 *   RN2. No code of the faaslet runs outside of `Enter`, and none after the promise of `begin` has settled.
 *   RN3. No stack stays suspended: V8 takes every suspended stack for alive, with its instance and memory. The wait of an
 *        abandoned run throws, so that its stack unwinds; code that catches everything is thrown at again at its next wait.
 */
import { PlatformError } from '../../../src/contract/errors.ts'
import type { Invocation } from '../../node/invocation.ts'
import type { Enter, Faaslet } from '../guest.ts'
import type { HostMemory } from '../passed-memory.ts'
import { PAGE_BYTES } from '../../../src/pager/snapshot.ts'
import { promising } from '../wasm/jspi.ts'
import { Errno } from './abi.ts'
import { Answer } from './answer.ts'
import { Descriptors } from './descriptors.ts'
import { requestVariables, type FunctionFrame, type StringList } from './environment.ts'
import { Exit, failureOf, resultFailure, type FailureContext } from './failures.ts'
import { WasiError, type Directory, type Quota } from './files.ts'
import { GuestLog, type LogEntry } from './guest-log.ts'
import { GuestMemory } from './guest-memory.ts'
import { Input } from './input.ts'
import { Results, type OpenCall } from './results.ts'

/** What all runs of a guest share. */
export interface RunHost {
  readonly enter: Enter
  readonly log: LogEntry
  /** Undefined: calls of other functions are refused. */
  readonly call: OpenCall | undefined
  /** By which large bodies come and go; undefined: they are copied. */
  readonly memory: HostMemory | undefined
  /** Undefined: the function may not use the network. */
  readonly fetch: typeof globalThis.fetch | undefined
  readonly frame: FunctionFrame
  readonly arguments: StringList
  readonly environment: StringList
  readonly contentType: string | undefined
  readonly files: Directory
  readonly memoryBytesMax: number
  readonly codeShift: { readonly boot: number; readonly restore: number }
  /** Whether the module imports something that may wait. */
  readonly waits: boolean
}

/** What so many bytes take when they are mapped. */
export function pageBytes(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES
}

/** What an abandoned run's wait throws. */
const UNWIND = new Exit(130)

type Outcome = { readonly kind: 'returned'; readonly value: unknown } | { readonly kind: 'threw'; readonly error: unknown }

export class Run {
  readonly host: RunHost
  readonly faaslet: Faaslet
  /** Undefined while it is initialised. */
  readonly invocation: Invocation | undefined
  readonly memory: GuestMemory
  readonly input: Input
  readonly answer: Answer | undefined
  readonly log: GuestLog
  /** Whether its instance is of the boot module: while it is initialised, and afterwards if no snapshot lies between. */
  readonly isBooted: boolean
  /** What the last failed call or request failed with. */
  lastError: PlatformError | undefined
  #descriptors: Descriptors | undefined
  #results: Results | undefined
  #environment: StringList | undefined
  #name = ''
  #outcome: Outcome | undefined
  #state: 'running' | 'ended' = 'running'
  #isInside = false
  #aside: (() => void)[] = []
  #timer: NodeJS.Timeout | undefined
  #onTimer: (() => void) | undefined
  #hasWaited = false
  #hasReturned = false
  /** Throws in the code that waits. */
  #unwind: ((error: unknown) => void) | undefined
  #settle: { readonly resolve: () => void; readonly reject: (error: PlatformError) => void } | undefined

  /** @param before The faaslet's run before this one, whose files it still has. */
  constructor(host: RunHost, faaslet: Faaslet, invocation: Invocation | undefined, before: Run | undefined) {
    this.host = host
    this.faaslet = faaslet
    this.invocation = invocation
    this.memory = new GuestMemory(faaslet.memory)
    this.input = new Input(invocation?.body)
    this.answer = invocation === undefined ? undefined : new Answer(invocation, host.contentType)
    this.log = new GuestLog(host.log, invocation?.stream ?? 0)
    this.isBooted = invocation === undefined || before?.isBooted === true
    if (before !== undefined) this.#descriptors = before.#descriptors
  }

  get descriptors(): Descriptors {
    return (this.#descriptors ??= new Descriptors(this.host.files, new TmpQuota(this.memory, this.host.memoryBytesMax)))
  }

  /** What a snapshot would not hold: files that it made or left open. */
  get fileChange(): string | undefined {
    return this.#descriptors?.change
  }

  /** It ended by returning, so its libraries have not been shut down. */
  get hasReturned(): boolean {
    return this.#hasReturned
  }

  get results(): Results {
    return (this.#results ??= new Results())
  }

  get environment(): StringList {
    return (this.#environment ??= this.invocation === undefined ? this.host.environment : this.host.environment.with(requestVariables(this.invocation, this.input.bytes)))
  }

  /** Calls an export. Resolves when nothing of it is left. @throws PlatformError, also given to the invocation. */
  begin(name: string): Promise<void> {
    this.#name = name
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#enter(() => this.#call(this.faaslet.exports[name] as WebAssembly.ExportValue & (() => unknown)))
    })
  }

  /** Does something that touches the host, when the faaslet's code has stopped running. */
  putAside(work: () => void): void {
    this.#aside.push(work)
  }

  /**
   * Makes the faaslet wait: `work` begins when its code has stopped running, and what it resolves to is the import's result.
   * Only in imports that are `suspending`.
   */
  wait<Value extends number | bigint>(work: () => Promise<Value>): Promise<Value> {
    if (this.#state === 'ended') throw UNWIND
    return new Promise((resolve, reject) => {
      this.#unwind = reject
      this.#aside.push(() => {
        if (!this.#hasWaited) {
          this.#hasWaited = true
          this.invocation?.onCancel(() => this.#abandon())
        }
        this.answer?.pause()
        // Out of the microtask queue, in which Enter cannot run the faaslet's own jobs to their end.
        work().then(
          (value) => process.nextTick(resume, this, resolve, value),
          (error: unknown) => process.nextTick(resume, this, reject, error),
        )
      })
    })
  }

  /**
   * Puts a whole body at a page of the guest's memory: mapped where it was passed as memory, copied otherwise. It is released then.
   * @param at A multiple of 4096, with room for the body's pages. @throws MemoryFault
   */
  place(at: number, body: Buffer): void {
    const room = this.memory.bytes(at, pageBytes(body.length))
    if (this.host.memory?.mapInto(this.faaslet.memory, at, body) === true) {
      ;(this.faaslet.mapped ??= []).push({ page: at / PAGE_BYTES, pages: room.length / PAGE_BYTES })
    } else {
      room.set(body)
      room.fill(0, body.length)
    }
    this.host.memory?.release(body)
  }

  /** Resolves after this time, ms, or when `stopTimer` is called. One at a time. */
  timer(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#onTimer = resolve
      // Beyond 24 days Node's timers fire at once; no invocation lasts that long.
      this.#timer = setTimeout(resolve, Math.min(ms, 0x7fff_ffff))
    })
  }

  stopTimer(): void {
    clearTimeout(this.#timer)
    this.#onTimer?.()
    this.#onTimer = undefined
  }

  /** Goes on with the code after a wait. */
  resume(settle: (value: never) => void, value: unknown): void {
    if (this.#state !== 'running') return
    this.#unwind = undefined
    this.#enter(() => settle(value as never))
  }

  #call(entry: WebAssembly.ExportValue & (() => unknown)): void {
    if (this.host.waits) {
      promising(entry)().then(
        (value) => this.#came({ kind: 'returned', value }),
        (error: unknown) => this.#came({ kind: 'threw', error }),
      )
      return
    }
    try {
      this.#came({ kind: 'returned', value: entry() })
    } catch (error) {
      this.#came({ kind: 'threw', error })
    }
  }

  #came(outcome: Outcome): void {
    this.#outcome ??= outcome
    // Otherwise #enter goes on with it.
    if (!this.#isInside) this.#end()
  }

  #enter(run: () => void): void {
    this.#isInside = true
    try {
      this.host.enter(this.faaslet, run)
    } catch (error) {
      this.#outcome = { kind: 'threw', error }
    }
    this.#isInside = false
    this.log.flush()
    const aside = this.#aside
    this.#aside = []
    for (const work of aside) work()
    if (this.#outcome !== undefined) this.#end()
  }

  #end(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.log.end()
    this.#release()
    const failure = this.#failure()
    if (failure === undefined) {
      this.answer?.end()
      this.#settle!.resolve()
      return
    }
    // In this order: a stream that is closed first would end as if it were complete.
    this.invocation?.fail(failure)
    this.answer?.drop()
    this.#settle!.reject(failure)
  }

  /** The platform no longer wants it while it waits. What it waits for is let go of, and its stack unwinds. */
  #abandon(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.log.end()
    this.#release()
    this.answer?.drop()
    process.nextTick(() => {
      this.#enter(() => this.#unwind?.(UNWIND))
      this.#settle!.reject(new PlatformError('CANCELLED', 'The invocation was cancelled while the function waited.'))
    })
  }

  #release(): void {
    this.stopTimer()
    this.#results?.closeAll()
    this.input.close((body) => this.host.memory?.release(body))
  }

  #failure(): PlatformError | undefined {
    const outcome = this.#outcome!
    if (outcome.kind === 'threw') return outcome.error instanceof Exit && outcome.error.code === 0 ? undefined : failureOf(outcome.error, this.#context())
    this.#hasReturned = true
    return typeof outcome.value === 'number' && outcome.value !== 0 ? resultFailure(this.#name, outcome.value, this.#context()) : undefined
  }

  #context(): FailureContext {
    const { frame, memoryBytesMax, codeShift } = this.host
    return {
      entry: frame.entry,
      lastLines: this.log.lastLines,
      memoryBytes: this.memory.byteLength,
      memoryBytesMax,
      isBooting: this.invocation === undefined,
      codeShift: this.isBooted ? codeShift.boot : codeShift.restore,
    }
  }
}

function resume(run: Run, settle: (value: never) => void, value: unknown): void {
  run.resume(settle, value)
}

/** /tmp and the memory together stay within the function's memory; memory that grows later is not refused for it. */
class TmpQuota implements Quota {
  readonly #memory: GuestMemory
  readonly #bytesMax: number
  #used = 0

  constructor(memory: GuestMemory, bytesMax: number) {
    this.#memory = memory
    this.#bytesMax = bytesMax
  }

  charge(bytes: number): void {
    if (bytes > 0 && this.#used + bytes + this.#memory.byteLength > this.#bytesMax) throw new WasiError(Errno.nospc)
    this.#used += bytes
  }
}
