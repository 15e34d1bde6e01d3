/**
 * One faaslet's life with its JavaScript: what the host calls inside, what the guest asks of the host, and what is still open.
 *
 * It is made when a faaslet boots or takes its first invocation, and most of it only when it is needed: a handler that answers
 * at once costs one entry and one host call.
 *
 * Invariants:
 *   K1. Guest code is entered only while none of it runs, and never from a microtask (G2 of ../guest.ts): what comes up while it
 *       runs waits in `#queue` until the jobs of the running entry are done; what a promise brings waits there for the next turn of the
 *       event loop.
 *   K2. An invocation ends once for the guest too: when the answer is sent or broken off and no late work is left. Then every
 *       timer and call that is still open is let go.
 *   K3. After a trap of the engine nothing is entered any more.
 */
import { PAGE_BYTES } from '../../../src/pager/snapshot.ts'
import { PlatformError, type PlatformErrorBody } from '../../../src/contract/errors.ts'
import { INLINE_BYTES_MAX, type LogLevelName } from '../../../src/contract/frames.ts'
import type { Call } from '../../node/calls.ts'
import { Invocation } from '../../node/invocation.ts'
import type { Faaslet } from '../guest.ts'
import type { Engine } from './engine.ts'
import type { JavaScriptGuest } from './guest.ts'
import { hostCall } from './host-calls.ts'
import { Entry, InvokeFlag } from './ops.ts'
import { GuestSource, type Incoming, wireError } from './transfers.ts'
import { trapped } from './traps.ts'

type QueuedEntry = readonly [entry: number, id: number, text: string | undefined, more: Uint8Array | number | undefined]

/** One call of another function, or one fetch. */
export interface OpenCall {
  call?: Call
  abort?: AbortController
  body?: Incoming
}

export class Life {
  readonly guest: JavaScriptGuest
  readonly faaslet: Faaslet
  readonly engine: Engine
  invocation: Invocation | undefined
  /** Made at the first call, timer, source. */
  readonly calls: (OpenCall | undefined)[] = []
  readonly sources: (GuestSource | undefined)[] = []
  timers: Map<number, NodeJS.Timeout> | undefined
  #inside = false
  #isDead = false
  #isCancelled = false
  #queue: QueuedEntry[] | undefined
  #isScheduled = false
  /** In the first entry of an invocation. */
  #isBeginning = false
  /** Rejected promises that nobody has handled yet: boxes of promise and reason. */
  #rejections: { readonly promise: number; readonly reason: number }[] | undefined
  #lateWork = 0
  /** Since cycles were looked for. */
  #mappedBytes = 0
  #endLateWork: (() => void) | undefined
  #isAnswered = false
  #cutOff: string | undefined
  #settle: { readonly resolve: () => void; readonly reject: (error: PlatformError) => void } | undefined

  constructor(guest: JavaScriptGuest, faaslet: Faaslet, engine: Engine) {
    this.guest = guest
    this.faaslet = faaslet
    this.engine = engine
  }

  /** Runs the handler. Resolves when nothing of the invocation is left. @throws PlatformError when the faaslet is of no further use. */
  async invoke(invocation: Invocation): Promise<void> {
    if (this.#isDead) throw new PlatformError('INSTANCE_LOST', 'The faaslet has stopped in an earlier invocation.')
    this.invocation = invocation
    this.#isAnswered = false
    invocation.onCancel(() => this.#cancel(invocation))
    const { body, head } = invocation
    const bytes = body.isComplete && body.hasBytes ? body.takeAll() : undefined
    const flags = (head.k === 'event' ? InvokeFlag.event : 0) | (body.isComplete ? 0 : InvokeFlag.bodyFollows)
    this.#isBeginning = true
    try {
      this.enter(Entry.invoke, flags, JSON.stringify(head), bytes)
    } finally {
      this.#isBeginning = false
    }
    if (!this.#isOver) await new Promise<void>((resolve, reject) => (this.#settle = { resolve, reject }))
    this.#letGo()
    if (this.#isDead) throw new PlatformError('INSTANCE_LOST', 'The faaslet has stopped.')
  }

  /** Enters guest code as soon as that may be: for what a promise brings, and for what comes up inside. */
  later(entry: number, id: number, text?: string, more?: Uint8Array | number): void {
    if (this.#isDead) return
    ;(this.#queue ??= []).push([entry, id, text, more])
    if (!this.#inside && !this.#isScheduled) {
      this.#isScheduled = true
      setImmediate(enterQueued, this)
    }
  }

  enterQueued(): void {
    this.#isScheduled = false
    const next = this.#queue?.shift()
    if (next !== undefined) this.enter(...next)
  }

  /** Enters guest code now: not from a microtask, nor while it runs. @throws PlatformError when the first entry of an invocation fails. */
  enter(entry: number, id: number, text?: string, more?: Uint8Array | number): void {
    if (this.#isDead) return
    let error: PlatformError | undefined
    try {
      error = this.guest.enter(this.faaslet, () => this.#run(entry, id, text, more))
    } catch (thrown) {
      this.#isDead = true
      error = PlatformError.from(thrown)
    }
    if (error !== undefined) this.#break(error)
  }

  /** Runs what has come up, and reports what nobody handled. Used by boot, inside its own `Enter`. @throws PlatformError */
  settleJobs(): void {
    const { engine } = this
    for (;;) {
      if (!engine.drain()) this.#report(engine.exports.qjs_get_exception(), 1)
      const rejections = this.#rejections
      this.#rejections = undefined
      for (const { promise, reason } of rejections ?? []) {
        engine.exports.qjs_free_value(promise)
        this.#report(reason, 0)
      }
      const next = this.#queue?.shift()
      if (next === undefined) {
        if (this.#rejections === undefined) return
      } else this.#call(...next)
    }
  }

  /** What the guest asked for. @returns A box, or 0 when the guest is to throw. */
  hostCall(count: number, argv: number): number {
    return hostCall(this, count, argv)
  }

  rejected(promise: number, reason: number, isHandled: boolean): void {
    const { exports } = this.engine
    if (!isHandled) {
      ;(this.#rejections ??= []).push({ promise, reason })
      return
    }
    const at = this.#rejections?.findIndex((one) => exports.qjs_get_value_ptr(one.promise) === exports.qjs_get_value_ptr(promise)) ?? -1
    exports.qjs_free_value(promise)
    exports.qjs_free_value(reason)
    if (at === -1) return
    const [one] = this.#rejections!.splice(at, 1)
    exports.qjs_free_value(one!.promise)
    exports.qjs_free_value(one!.reason)
  }

  answered(): void {
    this.#isAnswered = true
    this.#endIfOver()
  }

  fail(body: PlatformErrorBody): void {
    this.invocation?.fail(this.guest.errorOf(body))
    this.answered()
  }

  answerStream(status: number, headers: readonly string[]): void {
    const { invocation } = this
    if (invocation === undefined) return
    const source = this.source(0, () => this.answered())
    invocation.answerStream(status, headers, source)
    // A head that cannot be sent, or a body that is not wanted, has ended it.
    if (!invocation.isOpen) this.answered()
  }

  source(id: number, onEnd?: () => void): GuestSource {
    return (this.sources[id] = new GuestSource((entry) => this.later(entry, id), onEnd))
  }

  /** Bytes that the guest sends: the engine's own, copied when they do not leave at once. */
  answer(status: number, headers: readonly string[], body: Buffer | undefined): void {
    this.invocation?.answer(status, headers, body !== undefined && body.length > INLINE_BYTES_MAX ? this.copyOf(body) : body)
    // A large body goes on being sent, from the copy, without the guest.
    this.answered()
  }

  /** What the guest gives, as it goes on: in memory that is passed without another copy, where it is large. */
  copyOf(bytes: Buffer): Buffer {
    return this.guest.memory?.copy(bytes) ?? Buffer.from(bytes)
  }

  incoming(id: number): Incoming | undefined {
    return id === 0 ? this.invocation?.body : this.calls[id]?.body
  }

  read(id: number): void {
    const from = this.incoming(id)
    if (from === undefined) return
    const invocation = this.invocation
    from.read().then(
      (bytes) => {
        if (invocation !== this.invocation) return
        if (bytes === undefined) this.done(Entry.end, id)
        else this.later(Entry.chunk, id, undefined, bytes)
      },
      (error: unknown) => {
        if (invocation === this.invocation) this.done(Entry.broke, id, JSON.stringify(wireError(error)))
      },
    )
  }

  /** The last that the guest hears of a call. */
  done(entry: number, id: number, text?: string, bytes?: Uint8Array): void {
    if (id !== 0) this.calls[id] = undefined
    this.later(entry, id, text, bytes)
  }

  lateWork(step: number): void {
    this.#lateWork += step
    if (this.#lateWork === 1 && step > 0) {
      const done = new Promise<void>((resolve) => (this.#endLateWork = resolve))
      this.invocation?.addLateWork(done)
    }
    if (this.#lateWork > 0) return
    this.#endLateWork?.()
    this.#endIfOver()
  }

  log(level: LogLevelName, text: string): void {
    this.guest.log(this.invocation?.stream ?? 0, level, text)
  }

  /** Whether it may take another invocation. */
  get isReusable(): boolean {
    return !this.#isDead && !this.#isCancelled
  }

  /** What the end of an invocation has let go of although it was not done: whoever waits for it inside waits for ever. */
  get cutOff(): string | undefined {
    return this.#cutOff
  }

  get #isOver(): boolean {
    return this.#isDead || (this.#isAnswered && this.#lateWork === 0)
  }

  #run(entry: number, id: number, text: string | undefined, more: Uint8Array | number | undefined): PlatformError | undefined {
    this.#inside = true
    try {
      this.#call(entry, id, text, more)
      this.settleJobs()
    } catch (thrown) {
      // What the engine cannot survive; a deadline's end is not catchable here.
      this.#isDead = true
      return trapped(thrown)
    }
    this.#inside = false
    return undefined
  }

  #call(entry: number, id: number, text: string | undefined, more: Uint8Array | number | undefined): void {
    const { engine } = this
    const { exports } = engine
    let box: number | undefined
    try {
      box = more instanceof Uint8Array ? this.#boxOf(more) : undefined
    } catch (thrown) {
      // An answer for which there is no room is one that failed; a request has nobody to tell.
      if (!(thrown instanceof PlatformError) || (entry !== Entry.answered && entry !== Entry.chunk)) throw thrown
      return this.#call(Entry.broke, id, JSON.stringify(wireError(thrown)), undefined)
    }
    const result = engine.enter(entry, id, text, box ?? more)
    if (engine.isException(result)) this.#report(exports.qjs_get_exception(), 1)
    exports.qjs_free_value(result)
    if (box !== undefined) exports.qjs_free_value(box)
  }

  /** Bytes for the guest: mapped, where they were passed as memory and are worth it. */
  #boxOf(bytes: Uint8Array): number {
    const { engine, guest, faaslet } = this
    const { memory, running } = guest
    if (bytes.length < MAPPED_BYTES_MIN || memory === undefined) return engine.newBytes(bytes)
    this.#mappedBytes += bytes.length
    if (this.#mappedBytes > guest.memoryLimit >> 2) {
      // What is mapped is no growth of the heap that would make the engine look for garbage cycles.
      this.#mappedBytes = bytes.length
      engine.exports.qjs_run_gc()
      if (!engine.drain()) this.#report(engine.exports.qjs_get_exception(), 1)
    }
    const { box, place } = engine.newMapped(bytes.length, (at) => {
      running.hold?.()
      try {
        if (memory.mapInto(faaslet.memory, at, bytes)) (faaslet.mapped ??= []).push({ page: at / PAGE_BYTES, pages: Math.ceil(bytes.length / PAGE_BYTES) })
        else engine.bytes.set(bytes, at)
        memory.release(bytes)
      } finally {
        running.release?.()
      }
    })
    engine.exports.qjs_free_value(engine.enter(Entry.adopt, place, undefined, box))
    return box
  }

  /** An error that nobody caught fails the invocation; the guest describes it, when it still can. Takes the box over. */
  #report(reason: number, wasThrown: 0 | 1): void {
    const { engine, guest } = this
    // Some room to say so, should memory be what is missing.
    engine.exports.qjs_set_memory_limit(guest.memoryLimit + REPORT_BYTES)
    const result = engine.enter(Entry.unhandled, wasThrown, undefined, reason)
    if (engine.isException(result)) {
      const text = engine.toText(engine.exports.qjs_get_exception())
      this.fail({ code: 'FUNCTION_THREW', message: text === '' ? 'InternalError: out of memory' : text })
    }
    engine.exports.qjs_free_value(result)
    engine.exports.qjs_free_value(reason)
    engine.exports.qjs_set_memory_limit(guest.memoryLimit)
  }

  #cancel(invocation: Invocation): void {
    if (invocation !== this.invocation || this.#isAnswered) return
    this.#isCancelled = true
    this.later(Entry.cancel, 0)
    // In the turn after the code was told.
    setImmediate(() => setImmediate(() => invocation === this.invocation && this.answered()))
  }

  #break(error: PlatformError): void {
    this.#isDead = true
    if (this.#isBeginning) {
      this.#letGo()
      throw error
    }
    // Without one, the invocation ended within this very entry, before the deadline that stopped the rest of it: nobody is to be told.
    this.#settle?.reject(error)
  }

  #endIfOver(): void {
    if (this.#isOver) this.#settle?.resolve()
  }

  #letGo(): void {
    this.#settle = undefined
    this.invocation = undefined
    this.#lateWork = 0
    this.#endLateWork?.()
    this.#endLateWork = undefined
    if ((this.timers?.size ?? 0) > 0) this.#cutOff ??= 'a timer'
    if ((this.#queue?.length ?? 0) > 0 || this.calls.some((call) => call !== undefined)) this.#cutOff ??= 'a call or its body'
    for (const timer of this.timers?.values() ?? []) clearTimeout(timer)
    this.timers = undefined
    for (const call of this.calls) {
      call?.call?.cancel()
      call?.abort?.abort()
    }
    this.#queue = undefined
    this.calls.length = 0
    this.sources.length = 0
  }
}

/** Fewer are copied sooner than their pages are mapped and found. */
const MAPPED_BYTES_MIN = 256 * 1024
const REPORT_BYTES = 1024 * 1024

function enterQueued(life: Life): void {
  life.enterQueued()
}
