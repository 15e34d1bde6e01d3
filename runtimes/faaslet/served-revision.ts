/**
 * One revision in a faaslet host: its guest, the source of its faaslets' memories, and the faaslets that run.
 *
 * It is the instance behind a connection (node/host.ts), as a JavaScript function is behind descriptor 3 of a process of its own.
 * Each invocation gets a faaslet of its own, from the pager's memory to the guest's answer; with `reuse`, one that has
 * answered serves the next; with `snapshotAfter`, one of them serves the first ones (ripening.ts).
 *
 *   invoke ─▶ memory ─▶ fill ─▶ instantiate ─▶ guest.invoke ─▶ answer ─▶ memory given back
 *
 * Invariants:
 *   R1. Without `reuse` and `snapshotAfter`, nothing that one invocation wrote is ever seen by another: neither memory, globals nor table.
 *   R2. A faaslet that failed, was stopped or cancelled is never used again.
 *   R3. An old source is disposed only when no memory that it filled is in use.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PlatformError } from '../../src/contract/errors.ts'
import { FrameType } from '../../src/contract/frames.ts'
import type { HostEvent, InitedFrame, InitFrame, SnapshotUse } from '../../src/contract/frames.ts'
import type { StartFigures } from '../../src/contract/start-figures.ts'
import type { Host, Instance } from '../node/host.ts'
import type { Invocation } from '../node/invocation.ts'
import type { Entries } from './enter.ts'
import { ImageSource, TemplateSource } from './faaslet-source.ts'
import type { FaasletSource, Filled, Trace } from './faaslet-source.ts'
import { boot, capture, instantiateAhead, newMemory, restore, restoreInto } from './faaslets.ts'
import type { Faaslet, Guest } from './guest.ts'
import { makeGuest } from './make-guest.ts'
import type { MadeGuest } from './make-guest.ts'
import { drop, holdMemory, Memories } from './memories.ts'
import type { HeldMemory } from './memories.ts'
import type { HostMemory } from './passed-memory.ts'
import { Ripening } from './ripening.ts'
import type { Resting, Ripe } from './ripening.ts'

export interface ServedRevisionOptions {
  readonly id: string
  readonly host: Host
  /** The same that the host has. */
  readonly memory: HostMemory | undefined
  readonly entries: Entries
  /** Where the host sees what the platform gives it: /app. */
  readonly root: string
  readonly tell: (event: HostEvent) => void
}

/** One faaslet at work. */
interface Working {
  readonly invocation: Invocation
  readonly started: Pick<StartFigures, 'start' | 'mode' | 'restoreUs'>
  readonly held: HeldMemory | undefined
  readonly filled: Filled | undefined
  readonly source: Sourced | undefined
  readonly ripens: boolean
  faaslet: Faaslet | undefined
  told: boolean
}

/** A faaslet that waits for another invocation. */
interface Kept extends Resting {
  readonly held: HeldMemory | undefined
  readonly source: Sourced | undefined
}

/** A source with what was filled from it. */
interface Sourced {
  readonly source: FaasletSource
  readonly memories: Memories
  inUse: number
  state: 'current' | 'old'
}

export class ServedRevision implements Instance {
  readonly #options: ServedRevisionOptions
  #made!: MadeGuest
  #frame!: InitFrame
  #sourced: Sourced | undefined
  readonly #working = new Map<Invocation, Working>()
  /** Faaslets that wait for another invocation, with `reuse`. */
  readonly #kept: Kept[] = []
  #ripening: Ripening<Kept> | undefined
  #trace: Trace | undefined

  constructor(options: ServedRevisionOptions) {
    this.#options = options
  }

  async init(frame: InitFrame): Promise<InitedFrame['shape']> {
    const { entries, root, id, host, memory } = this.#options
    if (frame.faaslet === undefined) throw new PlatformError('PROTOCOL_BROKEN', 'The platform gave a faaslet host a function of another kind.')
    this.#frame = frame
    const { snapshotAfter, initTimeoutMs } = frame.faaslet
    if (snapshotAfter !== undefined) this.#ripening = new Ripening({ after: snapshotAfter, initTimeoutMs, tell: (why) => this.#options.tell({ event: 'ripe', id, ...(why !== undefined && { why }) }) })
    if (memory !== undefined) memory.limitBytes = frame.memoryMb * 1024 * 1024
    const directory = join(root, id)
    if (!existsSync(join(directory, frame.entry))) throw new PlatformError('CODE_INVALID', `The code has no file ${frame.entry}.`)
    this.#made = await makeGuest({ frame, init: frame.faaslet, directory, entries, host, memory, bytes: readFileSync(join(directory, frame.entry)) })
    if (frame.faaslet.snapshot !== undefined) this.use(frame.faaslet.snapshot)
    if (this.#sourced === undefined) await this.#boot()
    return this.#made.shape ?? (await this.#shapeOfRestored())
  }

  /** From here on, faaslets are made from these files. Keeps what there is when they cannot be used. */
  use(snapshot: SnapshotUse): void {
    try {
      const source = new ImageSource(this.#options.root, snapshot, this.#made.guest.module, this.#sourced?.source)
      this.#change(source)
      this.#ripening?.imageIs(source.answered)
    } catch (thrown) {
      this.#options.tell({ event: 'damaged', id: this.#options.id, why: PlatformError.from(thrown).message })
    }
  }

  invoke(invocation: Invocation): void {
    // Counted from nothing by `Enter`, and not a share of what the process uses.
    invocation.cpuMark = 0
    try {
      const ripening = this.#ripening?.next()
      const kept = ripening ?? this.#takeKept()
      if (kept !== undefined) return this.#run({ ...kept, invocation, started: { start: 'warm', restoreUs: 0 }, filled: undefined, ripens: ripening !== undefined, told: false })
      const askedMs = performance.now()
      const sourced = this.#sourced
      if (sourced === undefined) {
        void this.#bootFor(invocation, askedMs)
        return
      }
      const held = sourced.memories.take()
      sourced.inUse++
      const filled = this.#fill(sourced, held)
      if (filled instanceof Promise) {
        // Out of the promise's reaction, in which no faaslet may be entered.
        filled.then((done) => setImmediate(() => this.#start(invocation, sourced, held, done, askedMs)), (error: unknown) => this.#notStarted(invocation, sourced, held, error))
        return
      }
      this.#start(invocation, sourced, held, filled, askedMs)
    } catch (thrown) {
      invocation.fail(PlatformError.from(thrown))
    }
  }

  /** Called by the invocation just before its last frame: the moment to say how it was started, too. */
  usageOf(invocation: Invocation): { readonly cpuUs: number; readonly peakKb: number } {
    const working = this.#working.get(invocation)
    if (working !== undefined) this.#tellStart(working)
    const running = this.#options.entries.running.faaslet === working?.faaslet && working?.faaslet !== undefined ? this.#options.entries.sinceEnteredUs() : 0
    const bytes = working?.faaslet?.memory.buffer.byteLength ?? 0
    return { cpuUs: Math.round(invocation.cpuMark + running), peakKb: Math.ceil(bytes / 1024) }
  }

  /** What a capture of the image consists of; undefined when there is nothing to capture. */
  template(): TemplateSource | undefined {
    return this.#sourced?.source instanceof TemplateSource ? this.#sourced.source : undefined
  }

  /** The faaslet that is ripe, for a capture, once. */
  takeRipe(): Ripe | undefined {
    return this.#ripening?.take()
  }

  /** @param imageId Of the image that was recorded: a later recording is not for who asks for an earlier one. */
  takeTrace(imageId: string | undefined): Trace | undefined {
    const trace = this.#trace
    if (trace?.imageId !== imageId) return undefined
    this.#trace = undefined
    return trace
  }

  /** The connection is gone: nothing of it may go on. */
  close(): void {
    for (const { invocation } of this.#working.values()) invocation.cancel()
    for (const kept of this.#kept.splice(0)) kept.letGo()
    this.#ripening?.close()
    if (this.#sourced !== undefined) this.#retire(this.#sourced)
    this.#sourced = undefined
  }

  async #boot(): Promise<void> {
    const { guest } = this.#made
    const { tell, id } = this.#options
    const deadlineMs = performance.now() + this.#frame.faaslet!.initTimeoutMs
    const faaslet = await this.#outside(() => boot(guest, newMemory(guest), deadlineMs))
    this.#made.shape ??= this.#made.shapeOf(faaslet)
    const captured = capture(guest, faaslet)
    if (captured.kind === 'problem') {
      tell({ event: 'booted', id, capturable: false, why: captured.reason })
      return
    }
    this.#change(new TemplateSource(captured.memory, captured.state))
    tell({ event: 'booted', id, capturable: true })
  }

  async #shapeOfRestored(): Promise<InitedFrame['shape']> {
    const sourced = this.#sourced!
    const held = sourced.memories.take()
    sourced.inUse++
    const { recording } = await this.#fill(sourced, held)
    this.#made.shape = this.#made.shapeOf(restore(this.#made.guest, held.memory, sourced.source.state))
    drop(held)
    sourced.inUse--
    // This was no invocation: the first one is to be recorded.
    if (recording !== undefined) sourced.source.recordAgain()
    return this.#made.shape
  }

  async #bootFor(invocation: Invocation, askedMs: number): Promise<void> {
    try {
      const deadlineMs = askedMs + invocation.remainingMs()
      const faaslet = await this.#outside(() => boot(this.#made.guest, newMemory(this.#made.guest), deadlineMs))
      const working: Working = { invocation, started: { start: 'cold', restoreUs: us(askedMs) }, held: undefined, filled: undefined, source: undefined, ripens: false, faaslet, told: false }
      setImmediate(() => this.#run(working))
    } catch (thrown) {
      invocation.fail(PlatformError.from(thrown))
    }
  }

  #fill(sourced: Sourced, held: HeldMemory): Filled | Promise<Filled> {
    try {
      return sourced.source.fill(held)
    } catch (thrown) {
      sourced.inUse--
      drop(held)
      throw this.#lost(sourced, thrown)
    }
  }

  #start(invocation: Invocation, sourced: Sourced, held: HeldMemory, filled: Filled, askedMs: number): void {
    const working: Working = {
      invocation,
      started: { start: 'snapshot', mode: filled.recording === undefined ? (filled.restored.mode as NonNullable<StartFigures['mode']>) : 'lazy', restoreUs: us(askedMs) },
      held,
      filled,
      source: sourced,
      ripens: this.#ripening?.begin() === true,
      faaslet: undefined,
      told: false,
    }
    try {
      const { instance = instantiateAhead(this.#made.guest, held.memory) } = held
      held.instance = undefined
      working.faaslet = restoreInto(this.#made.guest, instance, sourced.source.state, working.ripens)
    } catch (thrown) {
      this.#release(working, false)
      invocation.fail(PlatformError.from(thrown))
      return
    }
    this.#run(working)
  }

  #run(working: Working): void {
    const { invocation } = working
    const faaslet = working.faaslet!
    faaslet.invocation = invocation
    this.#working.set(invocation, working)
    if (!invocation.isOpen) return this.#ended(working, false)
    this.#made.guest.invoke(faaslet, invocation).then(
      () => this.#ended(working, true),
      (error: unknown) => {
        invocation.fail(PlatformError.from(error))
        this.#ended(working, false)
      },
    )
  }

  /** One may have been stopped at its deadline in the very entry in which its invocation ended, when it was kept already. */
  #takeKept(): Kept | undefined {
    for (let kept = this.#kept.pop(); kept !== undefined; kept = this.#kept.pop()) {
      if (this.#made.guest.isReusable?.(kept.faaslet) ?? true) return kept
      kept.letGo()
    }
    return undefined
  }

  #ended(working: Working, isSound: boolean): void {
    this.#working.delete(working.invocation)
    this.#release(working, isSound)
  }

  #release(working: Working, isSound: boolean): void {
    const { held, source, faaslet } = working
    const guest: Guest = this.#made.guest
    if (faaslet !== undefined) faaslet.invocation = undefined
    if (held !== undefined && source !== undefined) this.#finishRecording(working, isSound)
    const isReusable = isSound && faaslet !== undefined && (guest.isReusable?.(faaslet) ?? true)
    if (faaslet?.mapped !== undefined) faaslet.mapped = []
    const kept = faaslet === undefined ? undefined : { faaslet, held, source, letGo: () => this.#giveBack(faaslet, held, source) }
    // One whose invocation failed may be sound; others are not to be made of it.
    if (working.ripens && this.#ripening!.ended(guest, isReusable && !working.invocation.hasFailed ? kept : undefined)) return
    if (isReusable && this.#frame.faaslet!.reuse) this.#kept.push(kept!)
    else this.#giveBack(faaslet, held, source)
  }

  #giveBack(faaslet: Faaslet | undefined, held: HeldMemory | undefined, source: Sourced | undefined): void {
    // One that was booted for this invocation alone: what it has mapped is not to wait for the collector.
    if (held === undefined && faaslet !== undefined && faaslet.memory.buffer.byteLength > 0) drop(holdMemory(faaslet.memory))
    if (held === undefined || source === undefined) return
    source.memories.give(held, source.source.image)
    source.inUse--
    if (source.state === 'old' && source.inUse === 0) this.#dispose(source)
  }

  /** Of an invocation that failed, the pages are those of the failure: the next one is recorded instead. */
  #finishRecording(working: Working, isSound: boolean): void {
    const { filled, held, source } = working
    if (filled === undefined) return
    if (!isSound) return filled.recording === undefined ? undefined : source!.source.recordAgain()
    const trace = filled.recording === undefined ? source!.source.learn(held!, filled) : source!.source.ended(held!, filled).trace
    if (trace === undefined || source !== this.#sourced) return
    // One of the same image that was told and not fetched yet: a newer recording takes its place, and what was missed has to wait for another recording.
    const isTold = this.#trace?.imageId === trace.imageId
    if (isTold && trace.kind === 'missed') return
    this.#trace = { ...trace, faults: withoutMapped(trace.faults, working.faaslet?.mapped) }
    if (!isTold) this.#options.tell({ event: 'recorded', id: this.#options.id, pages: this.#trace.faults.length, imageId: trace.imageId, ...(trace.kind === 'missed' && { adds: true }) })
  }

  #tellStart(working: Working): void {
    if (working.told) return
    working.told = true
    const { held, filled, source, started, invocation } = working
    const more = held === undefined || filled === undefined || source === undefined || filled.recording !== undefined ? {} : source.source.ended(held, filled).figures
    const recorded = filled?.recording === undefined ? {} : { pagesRecorded: withoutMapped(filled.recording.read().faults, working.faaslet?.mapped).length }
    const figures: StartFigures = { ...started, restoreUs: Math.round(started.restoreUs), ...more, ...recorded }
    this.#options.host.channel.send(FrameType.started, 0, invocation.stream, JSON.stringify(figures))
  }

  #notStarted(invocation: Invocation, sourced: Sourced, held: HeldMemory, error: unknown): void {
    sourced.inUse--
    drop(held)
    invocation.fail(PlatformError.from(this.#lost(sourced, error)))
  }

  /** Files that cannot be read are of no use any more: the function boots anew, and what comes of it is the next snapshot. */
  #lost(sourced: Sourced, error: unknown): unknown {
    const isDamage = error instanceof PlatformError && error.code === 'SNAPSHOT_DAMAGED'
    if (isDamage && this.#sourced === sourced) {
      this.#sourced = undefined
      this.#retire(sourced)
      this.#options.tell({ event: 'damaged', id: this.#options.id, why: error.message })
      // Until that is done, and if it fails, every faaslet boots for itself.
      void this.#boot().catch(() => {})
    }
    return error
  }

  #change(source: FaasletSource): void {
    const old = this.#sourced
    const { memoryPagesMax } = this.#made.guest.module
    this.#sourced = { source, memories: new Memories({ initial: source.pages, maximum: Math.max(source.pages, memoryPagesMax ?? 65_536) }, (memory) => instantiateAhead(this.#made.guest, memory)), inUse: 0, state: 'current' }
    if (old !== undefined) this.#retire(old)
  }

  #retire(sourced: Sourced): void {
    sourced.state = 'old'
    if (sourced.inUse === 0) this.#dispose(sourced)
  }

  #dispose({ source, memories }: Sourced): void {
    memories.close()
    source[Symbol.dispose]()
  }

  /** Out of the microtask queue (guest.ts Enter). */
  #outside<Value>(run: () => Promise<Value>): Promise<Value> {
    return new Promise((resolve, reject) => setImmediate(() => void run().then(resolve, reject)))
  }
}

/** Pages over which objects were mapped are none of the snapshot's. */
function withoutMapped(pages: Uint32Array, mapped: Faaslet['mapped']): Uint32Array {
  return mapped === undefined ? pages : pages.filter((page) => !mapped.some((one) => page >= one.page && page < one.page + one.pages))
}

function us(sinceMs: number): number {
  return (performance.now() - sinceMs) * 1000
}
