/**
 * The runtime's side of the frame protocol: what comes in is given to the instance, what it used is accounted.
 *
 * The same host serves JavaScript functions, commands and HTTP servers; they differ in the {@link Instance} behind it.
 *
 * Accounting: the process's cpu time is divided equally among the invocations that are open at the same moment
 * (processor sharing in virtual time: a counter grows by delta / open, an invocation used the counter's growth over its
 * life). The clock is read once per turn of the event loop, so invocations of one turn share its cost equally. That is
 * exact for one invocation at a time, and an approximation for many.
 *
 * Invariants:
 *   H1. Anything that breaks the protocol ends the process with {@link EXIT_BROKEN}; it never hangs.
 *   H2. `waiting` is sent at most once per invocation, in a later turn than the one that handed it to the code: the loop
 *       has turned, so the code does not compute.
 *   H3. After `stop`, the process ends with 0 as soon as no invocation and no late work is left.
 */
import { FrameFlag, FRAMES_VERSION, FrameType, USAGE_BYTES, parseJson, splitHead, type AnswerHead, type HelloFrame, type InitedFrame, type InitFrame, type OpenHead, type PassedMemory } from '../../src/contract/frames.ts'
import { PlatformError } from '../../src/contract/errors.ts'
import type { Call } from './calls.ts'
import { Channel } from './channel.ts'
import type { ChannelOptions } from './channel.ts'
import { errorPayload, Invocation, type InvocationOwner } from './invocation.ts'
import type { Memory } from './memory.ts'

/** Exit code after a broken protocol (EX_PROTOCOL). */
export const EXIT_BROKEN = 76
/** Exit code after `initFailed`. */
export const EXIT_INIT_FAILED = 1

export interface Instance {
  /** Loads the code. @throws PlatformError CODE_INVALID, HANDLER_NOT_FOUND or INIT_FAILED. */
  init(frame: InitFrame): Promise<InitedFrame['shape']>
  /** Runs the code; the answer goes to the invocation. Never throws. */
  invoke(invocation: Invocation): void
  /** The channel has room again. */
  onDrain?(): void
  /** The last moment: whatever is held back is sent now. */
  beforeExit?(): void
  /** What an invocation used, where the instance knows better than a share of the process's cpu time. */
  usageOf?(invocation: Invocation): { readonly cpuUs: number; readonly peakKb: number }
}

export interface HostOptions {
  readonly to: ChannelOptions['to']
  /** Ends what this host serves, once everything is sent: the process, where it serves one function. */
  readonly exit: (code: number) => void
  /** By which large bodies come and go; absent: all are streamed. */
  readonly memory?: Memory | undefined
}

export const wholeProcess: HostOptions = { to: { fd: 3 }, exit: (code) => process.exit(code) }

export class Host implements InvocationOwner {
  readonly channel: Channel
  readonly memory: Memory | undefined
  /** Calls that the function makes, by their odd stream. */
  readonly calls = new Map<number, Call>()
  #instance: Instance | undefined
  #state: 'new' | 'loading' | 'ready' | 'stopping' = 'new'
  readonly #exit: (code: number) => void
  readonly #invocations = new Map<number, Invocation>()
  readonly #late = new Set<Invocation>()
  #begun: Invocation[] = []
  #cpuVirtualUs = 0
  #cpuUs = 0
  #peakKb = 0
  #sampleIsFresh = false
  readonly #reportWaiting = (): void => {
    const begun = this.#begun
    this.#begun = []
    this.#sampleIsFresh = false
    for (const invocation of begun) if (invocation.isOpen) this.channel.send(FrameType.waiting, 0, invocation.stream)
  }

  constructor(options: HostOptions = wholeProcess) {
    this.#exit = options.exit
    this.memory = options.memory
    this.channel = new Channel({
      to: options.to,
      onFrame: (type, flags, stream, payload) => this.#receive(type, flags, stream, payload),
      onTurn: () => {
        this.#sampleIsFresh = false
      },
      onEnd: (error) => {
        if (error instanceof Error) process.stderr.write(`skep runtime: the channel ended: ${error.message}\n`)
        this.#exit(error === undefined ? 0 : EXIT_BROKEN)
      },
      onDrain: () => this.#instance?.onDrain?.(),
    })
    if (options.exit === wholeProcess.exit) {
      process.on('exit', () => {
        this.#instance?.beforeExit?.()
        this.channel.flush()
      })
    }
  }

  hello(runtime: HelloFrame['runtime']): void {
    const hello: HelloFrame = { protocol: FRAMES_VERSION, runtime, version: process.version, pid: process.pid, ...(this.memory !== undefined && { memory: true }) }
    this.channel.send(FrameType.hello, 0, 0, JSON.stringify(hello))
    this.channel.flush()
  }

  serve(instance: Instance): void {
    this.#instance = instance
  }

  usageOf(invocation: Invocation): { readonly cpuUs: number; readonly peakKb: number } {
    const known = this.#instance?.usageOf?.(invocation)
    if (known !== undefined) return known
    this.#sample()
    return {
      cpuUs: Math.min(0xffffffff, Math.max(0, Math.round(this.#cpuVirtualUs - invocation.cpuMark))),
      peakKb: Math.min(0xffffffff, this.#peakKb),
    }
  }

  /** A body that was passed as memory. @throws PROTOCOL_BROKEN */
  takeMemory(passed: PassedMemory): Buffer {
    if (this.memory === undefined) throw broken('memory, which this runtime has not said that it takes')
    return this.memory.take(passed)
  }

  beforeEnd(invocation: Invocation): void {
    const { cpuUs, peakKb } = this.usageOf(invocation)
    const payload = Buffer.allocUnsafe(USAGE_BYTES)
    payload.writeUInt32LE(cpuUs, 0)
    payload.writeUInt32LE(peakKb, 4)
    this.channel.send(FrameType.usage, 0, invocation.stream, payload)
  }

  afterEnd(invocation: Invocation): void {
    this.#invocations.delete(invocation.stream)
    if (this.#invocations.size === 0) this.memory?.becomesIdle()
    if (invocation.hasLateWork) this.#late.add(invocation)
    else this.#late.delete(invocation)
    this.#exitWhenDone()
  }

  #receive(type: number, flags: number, stream: number, payload: Buffer): void {
    const isLast = (flags & FrameFlag.end) !== 0
    switch (type) {
      case FrameType.open:
        return this.#open(stream, payload, isLast)
      case FrameType.data:
        ;(this.#invocations.get(stream) ?? this.calls.get(stream))?.body.push(payload, isLast)
        return
      case FrameType.credit:
        if (payload.length !== 4) throw broken(`a credit frame of ${payload.length} bytes`)
        ;(this.#invocations.get(stream) ?? this.calls.get(stream))?.addCredit(payload.readUInt32LE(0))
        // Of memory, it comes when the stream has ended, mostly.
        this.memory?.released(stream)
        return
      case FrameType.reset:
        return this.#reset(stream, payload)
      case FrameType.head: {
        const { head, body } = splitHead<AnswerHead>(payload)
        if (typeof head?.s !== 'number' || !Array.isArray(head.h)) throw broken('an answer without status and headers')
        // Taken also when nobody waits for it any more.
        const whole = head.p === undefined ? undefined : this.takeMemory(head.p)
        this.calls.get(stream)?.begin(head, whole ?? Buffer.from(body), isLast)
        return
      }
      case FrameType.init:
        return this.#init(parseJson<InitFrame>(payload.toString()))
      case FrameType.stop:
        if (this.#state === 'new' || this.#state === 'loading') return this.#exit(0)
        this.#state = 'stopping'
        return this.#exitWhenDone()
      default:
        throw broken(`a frame of type ${type}`)
    }
  }

  #init(frame: InitFrame): void {
    if (this.#state !== 'new') throw broken('a second init')
    if (typeof frame?.entry !== 'string' || typeof frame.environment !== 'object' || frame.environment === null) throw broken('an init without entry and environment')
    this.#state = 'loading'
    // Not `performance.now`: Node loads that at its first use, 0.4 ms.
    const startNs = process.hrtime.bigint()
    this.#instance!.init(frame).then(
      (shape) => {
        this.#state = 'ready'
        // What starting and loading used is not the first invocation's.
        this.#sample()
        const inited: InitedFrame = { shape, initUs: Number((process.hrtime.bigint() - startNs) / 1000n) }
        this.channel.send(FrameType.inited, 0, 0, JSON.stringify(inited))
        this.channel.flush()
      },
      async (error: unknown) => {
        this.#instance?.beforeExit?.()
        this.channel.send(FrameType.initFailed, 0, 0, errorPayload(PlatformError.from(error)))
        await this.channel.drained()
        this.#exit(EXIT_INIT_FAILED)
      },
    )
  }

  #open(stream: number, payload: Buffer, isLast: boolean): void {
    if (this.#state !== 'ready' && this.#state !== 'stopping') throw broken(`an invocation in state ${this.#state}`)
    if (stream === 0 || stream % 2 !== 0 || this.#invocations.has(stream)) throw broken(`an invocation on stream ${stream}`)
    const { head, body } = splitHead<OpenHead>(payload)
    if (head?.k !== 'http' && head?.k !== 'event') throw broken('an invocation of an unknown kind')
    const first = head.p !== undefined ? this.takeMemory(head.p) : body.length === 0 ? undefined : Buffer.from(body)
    const invocation = new Invocation(this, stream, head, first, isLast)
    // With none open, what the process used since the last sample belongs to this one: parsing it, mostly.
    if (this.#invocations.size > 0) this.#sample()
    invocation.cpuMark = this.#cpuVirtualUs
    this.memory?.becomesBusy()
    this.#invocations.set(stream, invocation)
    this.#instance!.invoke(invocation)
    if (invocation.isOpen) {
      if (this.#begun.length === 0) setImmediate(this.#reportWaiting)
      this.#begun.push(invocation)
    }
  }

  #reset(stream: number, payload: Buffer): void {
    if (stream % 2 === 1) {
      const call = this.calls.get(stream)
      if (call === undefined) return
      call.fail(payload.length === 0 ? new PlatformError('CANCELLED', 'The call was cancelled.') : PlatformError.fromBody(parseJson(payload.toString())))
      return
    }
    const invocation = this.#invocations.get(stream)
    // One that has just ended is confirmed too: the platform may have sent its reset before it saw the end.
    if (invocation === undefined) this.channel.send(FrameType.reset, 0, stream)
    else {
      for (const call of this.calls.values()) if (call.caller === stream) call.cancel()
      invocation.cancel()
    }
  }

  #sample(): void {
    if (this.#sampleIsFresh) return
    this.#sampleIsFresh = true
    const usage = process.resourceUsage()
    const cpuUs = usage.userCPUTime + usage.systemCPUTime
    this.#cpuVirtualUs += (cpuUs - this.#cpuUs) / Math.max(1, this.#invocations.size)
    this.#cpuUs = cpuUs
    this.#peakKb = usage.maxRSS
  }

  #exitWhenDone(): void {
    if (this.#state !== 'stopping' || this.#invocations.size > 0 || this.#late.size > 0) return
    this.#instance?.beforeExit?.()
    void this.channel.drained().then(() => this.#exit(0))
  }
}

function broken(what: string): PlatformError {
  return new PlatformError('PROTOCOL_BROKEN', `The frame protocol was broken: ${what}.`)
}
