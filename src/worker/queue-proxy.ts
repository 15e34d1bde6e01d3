/**
 * The queue proxy of one instance: carries invocations over the instance's channel and back, and knows how deep it is in.
 *
 * One per instance, co-located with it (thesis 2.3). It owns the frame protocol on the platform's side, the deadlines of
 * the invocations it carries, and the flow control in both directions; the activator decides what to hand over, the
 * worker owns the sandbox. Calls that the function makes arrive here too and leave through {@link QueueProxyOwner.called}.
 *
 * Invariants:
 *   Q1. An invocation handed over ends exactly once: by its answer, its failure, its deadline, or the instance's death.
 *   Q2. `computing` counts invocations that were handed over and have neither ended nor said that they wait.
 *   Q3. Bytes held here per stream and direction never exceed CREDIT_BYTES (frames F2).
 *   Q4. An invocation past its deadline that the runtime does not let go of within `resetGraceMs` makes the instance
 *       hung: the owner is told once and kills it.
 */
import { closeSync } from 'node:fs'
import type { Duplex, Readable } from 'node:stream'
import type { Clock, Timer } from '#base/clock.ts'
import type { LoopSpin } from '#base/loop-spin.ts'
import { PlatformError } from '#contract/errors.ts'
import type { PlatformErrorBody } from '#contract/errors.ts'
import {
  CREDIT_BYTES,
  encodeFrame,
  encodeHeadFrame,
  FrameDecoder,
  FrameFlag,
  FrameType,
  PAYLOAD_BYTES_MAX,
  parseJson,
  splitHead,
  USAGE_BYTES,
} from '#contract/frames.ts'
import type { AnswerHead, HelloFrame, InitedFrame, InitFrame, OpenHead, PassedMemory } from '#contract/frames.ts'
import { HeldBody } from '#contract/held-body.ts'
import type { Invocation, InvocationHolder } from '#contract/invocation.ts'
import type { InstanceLoad } from '#contract/instance-load.ts'
import { StreamTable } from '#contract/stream-table.ts'
import type { Sandbox } from './sandbox/sandbox.ts'
import { CallStream } from './call-stream.ts'
import { creditFrame, levelNames, openHeadJson, receiveStart, receiveUsage, takeWhole } from './invocation-frames.ts'
import type { MemoryChannel } from './memory-channel.ts'
import type { LoadObserver, QueueProxyHandover, QueueProxyOwner } from './queue-proxy-owner.ts'
import { RequestBody } from './request-body.ts'

export interface QueueProxyOptions {
  readonly channel: Duplex
  readonly clock: Clock
  readonly owner: QueueProxyOwner
  /** By which bodies are passed as memory; absent where everything is sent as frames. */
  readonly memory?: MemoryChannel
  /** Shared by the queue proxies of one process; absent where nobody measures microseconds. */
  readonly spin?: LoopSpin
  /** Where another queue proxy had the channel before: what that one left. */
  readonly handover?: QueueProxyHandover
  /** How long a runtime may take to confirm that a timed-out invocation has been let go. */
  readonly resetGraceMs?: number
}

/** One invocation on the channel. */
interface CarriedStream {
  readonly id: number
  readonly invocation: Invocation
  computing: boolean
  /** The request's, while it is being sent as a stream. */
  body: RequestBody | undefined
  headSeen: boolean
  /** Bytes of the answer that were passed on and not yet consumed. */
  unconsumedBytes: number
}

/** A head up to this long is remembered to be compared with the next. */
const HEAD_KEPT_BYTES_MAX = 1024

export class QueueProxy implements InvocationHolder {
  readonly #channel: Duplex
  readonly #clock: Clock
  readonly #owner: QueueProxyOwner
  readonly #memory: MemoryChannel | undefined
  /** The runtime has said that it takes memory. */
  #takesMemory = false
  readonly #spin: LoopSpin | undefined
  readonly #resetGraceMs: number
  readonly #decoder: FrameDecoder
  readonly #streams: StreamTable<CarriedStream>
  readonly #calls = new Map<number, CallStream>()
  /** Q2. Changed in place: the balancer reads it for every invocation. */
  readonly load: InstanceLoad = { inFlight: 0, computing: 0, computingSinceUs: 0, lastUsedUs: 0 }
  /** Learns how long invocations compute and run. */
  observer: LoadObserver | undefined
  #out: Buffer[] = []
  #flushScheduled = false
  #lastHeadText = ''
  #lastHead: AnswerHead | undefined
  #deadlineTimer: Timer | undefined
  #deadlineTimerAtMs = Infinity
  #state: 'open' | 'closed' | 'abandoned' = 'open'
  readonly #flush = (): void => this.#writeOut()
  readonly #onData = (chunk: Buffer): void => {
    if (this.#state !== 'open') return
    try {
      this.#decoder.push(chunk)
    } catch (thrown) {
      this.#lose(PlatformError.from(thrown))
    }
  }
  readonly #onClosed = (): void => this.#lose(undefined)

  readonly hello = Promise.withResolvers<HelloFrame>()
  readonly #inited = Promise.withResolvers<InitedFrame>()

  constructor(options: QueueProxyOptions) {
    this.#channel = options.channel
    this.#streams = new StreamTable<CarriedStream>(options.handover?.firstStream ?? 2)
    this.#clock = options.clock
    this.#owner = options.owner
    this.#memory = options.memory
    this.#takesMemory = options.handover?.takesMemory ?? false
    this.#spin = options.spin
    this.#resetGraceMs = options.resetGraceMs ?? 250
    this.#decoder = new FrameDecoder((type, flags, stream, payload) => this.#receive(type, flags, stream, payload))
    // Nobody may be waiting for these when the instance dies; the owner hears of it through `lost`.
    this.hello.promise.catch(() => {})
    this.#inited.promise.catch(() => {})
    this.#channel.on('data', this.#onData)
    this.#channel.on('error', this.#onClosed)
    this.#channel.on('close', this.#onClosed)
  }

  /** What the next queue proxy of this channel begins with. */
  handover(): QueueProxyHandover {
    return { firstStream: this.#streams.nextNumber(), takesMemory: this.#takesMemory }
  }

  /** Lets go of a sandbox that can outlive its instance, when nothing is on it or half received. */
  release(sandbox: Sandbox, reason: string): boolean {
    if (this.#calls.size > 0 || this.#out.length > 0 || !this.#decoder.isEmpty || sandbox.detach?.(reason) !== true) return false
    this.#state = 'closed'
    this.#channel.off('data', this.#onData)
    this.#channel.off('error', this.#onClosed)
    this.#channel.off('close', this.#onClosed)
    return true
  }

  /** Makes the generic runtime an instance. @throws what the runtime says (CODE_INVALID, HANDLER_NOT_FOUND, INIT_FAILED), or INSTANCE_LOST. */
  init(frame: InitFrame): Promise<InitedFrame> {
    this.#send(encodeFrame(FrameType.init, 0, 0, JSON.stringify(frame)))
    return this.#inited.promise
  }

  /** Hands an invocation over. It must have room: the caller has asked `load`. One that cannot be handed over fails (Q1) and has no `handedUs`. */
  open(invocation: Invocation): void {
    const id = this.#streams.nextNumber()
    const { request } = invocation
    const nowUs = this.#clock.monotonicUs()
    if (this.#state === 'abandoned') return invocation.fail(new PlatformError('INSTANCE_LOST', 'The instance had ended before this invocation came to it; send it again.'), nowUs)

    const deadlineMs = Math.min(invocation.deadlineMs, this.#clock.epochMs() + invocation.revision.config.timeoutMs)
    const { body } = request
    let inline: Buffer | undefined
    let streamed: Readable | undefined
    let passed: PassedMemory | undefined
    if (body === undefined || body instanceof Uint8Array) inline = body
    else if (!(body instanceof HeldBody)) streamed = body
    else {
      passed = this.#takesMemory ? this.#memory?.pass(body) : undefined
      if (passed === undefined) streamed = body.retain().stream()
      else {
        invocation.bytesIn = passed.b
        invocation.moved().bytesShared += passed.b
      }
    }
    let frame: Buffer
    try {
      frame = encodeHeadFrame(FrameType.open, streamed === undefined ? FrameFlag.end : 0, id, openHeadJson(invocation, deadlineMs, passed), inline)
    } catch (cause) {
      // Only a call can be so large: what comes over HTTP was bounded at the door.
      const message = `The headers and the body of this invocation do not fit one frame of ${PAYLOAD_BYTES_MAX} bytes; send the body as a stream.`
      if (body instanceof HeldBody) streamed?.destroy()
      return invocation.fail(new PlatformError('BODY_TOO_LARGE', message, { cause }), nowUs)
    }

    invocation.state = 'running'
    invocation.handedUs = nowUs
    invocation.deadlineMs = deadlineMs
    const stream: CarriedStream = {
      id,
      invocation,
      computing: true,
      body: undefined,
      headSeen: false,
      unconsumedBytes: 0,
    }
    this.#streams.add(stream)
    const { load } = this
    load.inFlight++
    if (load.computing++ === 0) load.computingSinceUs = nowUs
    load.lastUsedUs = nowUs
    invocation.holder = this
    invocation.stream = id

    this.#send(frame)
    if (streamed !== undefined) this.#sendBody(stream, streamed, body instanceof HeldBody)
    this.#watchDeadline(deadlineMs)
  }

  cancelInvocation(invocation: Invocation, reason: PlatformError): void {
    const stream = this.#streams.get(invocation.stream)
    if (stream !== undefined) this.#cancel(stream, reason)
  }

  /** No more invocations will come: the runtime ends the open ones and exits. */
  stop(): void {
    this.#send(encodeFrame(FrameType.stop, 0, 0))
  }

  /** The instance is gone. Every invocation still open fails with what `why` says of it. */
  abandon(why: (invocation: Invocation) => PlatformError): void {
    this.#state = 'abandoned'
    this.#deadlineTimer?.cancel()
    const lost = new PlatformError('INSTANCE_LOST', 'The instance ended before it was ready.')
    this.hello.reject(lost)
    this.#inited.reject(lost)
    const nowUs = this.#clock.monotonicUs()
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    this.load.inFlight = 0
    this.load.computing = 0
    for (const stream of streams) {
      this.#dropBody(stream)
      stream.invocation.fail(why(stream.invocation), nowUs)
    }
    for (const call of this.#calls.values()) call.cancel(lost)
    this.#calls.clear()
  }

  #receive(type: number, flags: number, id: number, payload: Buffer): void {
    if ((id & 1) === 1) return this.#receiveCall(type, flags, id, payload)
    switch (type) {
      case FrameType.head: {
        const stream = this.#streams.get(id)
        if (stream !== undefined) this.#receiveHead(stream, flags, payload)
        return
      }
      case FrameType.usage: {
        const stream = this.#streams.get(id)
        if (stream !== undefined) receiveUsage(stream.invocation, payload)
        return
      }
      case FrameType.started: {
        const stream = this.#streams.get(id)
        if (stream !== undefined) receiveStart(stream.invocation, payload)
        return
      }
      case FrameType.waiting: {
        const stream = this.#streams.get(id)
        if (stream?.computing !== true) return
        this.#computed(stream, this.#clock.monotonicUs())
        return this.#owner.changed()
      }
      case FrameType.data: {
        const stream = this.#streams.get(id)
        if (stream !== undefined) this.#receiveData(stream, flags, payload)
        return
      }
      case FrameType.reset: {
        const stream = this.#streams.get(id)
        if (stream === undefined) return
        // An empty reset confirms ours (F4); a body is the function's own failure.
        const error =
          payload.length === 0
            ? new PlatformError('CANCELLED', 'The invocation was cancelled.')
            : PlatformError.fromBody(parseJson<PlatformErrorBody>(payload.toString()))
        return this.#end(stream, error)
      }
      case FrameType.credit: {
        const stream = this.#streams.get(id)
        if (stream === undefined || payload.length < 4) return
        return stream.body?.addCredit(payload.readUInt32LE(0))
      }
      case FrameType.log: {
        const level = levelNames[payload[0] ?? -1] ?? 'stdout'
        return this.#owner.logged(this.#streams.get(id)?.invocation, level, payload.toString('utf8', 1))
      }
      case FrameType.hello: {
        const hello = parseJson<HelloFrame>(payload.toString())
        this.#takesMemory = hello.memory === true
        return this.hello.resolve(hello)
      }
      case FrameType.inited:
        return this.#inited.resolve(parseJson<InitedFrame>(payload.toString()))
      case FrameType.initFailed:
        return this.#inited.reject(PlatformError.fromBody(parseJson<PlatformErrorBody>(payload.toString())))
      default:
        throw new PlatformError('PROTOCOL_BROKEN', `The runtime sent a frame of type ${type} on stream ${id}.`)
    }
  }

  #receiveHead(stream: CarriedStream, flags: number, payload: Buffer): void {
    const { invocation } = stream
    if (stream.headSeen) throw new PlatformError('PROTOCOL_BROKEN', 'The runtime answered an invocation twice.')
    stream.headSeen = true
    const withUsage = (flags & FrameFlag.usage) !== 0
    if (withUsage) receiveUsage(invocation, payload)
    const { head, body } = this.#splitAnswer(payload, withUsage ? USAGE_BYTES : 0)
    const last = (flags & FrameFlag.end) !== 0
    if (head.p !== undefined) return this.#receiveHeld(stream, head, takeWhole(this.#memory, head.p, last && body.length === 0))
    if (invocation.state === 'ended') return last ? this.#end(stream, undefined) : undefined
    invocation.status = head.s
    if (!this.#countAnswer(stream, body.length)) return last ? this.#end(stream, undefined) : undefined
    invocation.sink.head(head.s, head.h, body.length === 0 ? undefined : body, last)
    if (last) this.#end(stream, undefined)
  }

  /** An answer whose body was passed as memory: it goes on as it is. */
  #receiveHeld(stream: CarriedStream, head: AnswerHead, { fd, bytes }: { readonly fd: number; readonly bytes: number }): void {
    const { invocation } = stream
    let held: HeldBody | undefined
    let refusal: PlatformError | undefined
    try {
      if (invocation.state !== 'ended' && this.#countAnswer(stream, bytes)) held = this.#owner.held(invocation, fd, bytes)
    } catch (thrown) {
      refusal = PlatformError.from(thrown)
    }
    if (held === undefined) {
      closeSync(fd)
      this.#send(creditFrame(stream.id, bytes))
      return this.#end(stream, refusal)
    }
    held.onReleased(() => this.#send(creditFrame(stream.id, bytes)))
    invocation.status = head.s
    invocation.moved().bytesShared += bytes
    invocation.sink.head(head.s, head.h, held, true)
    this.#end(stream, undefined)
  }

  /** Answers of one function mostly have the same head: comparing its text is cheaper than parsing it again. */
  #splitAnswer(payload: Buffer, offset: number): { readonly head: AnswerHead; readonly body: Buffer } {
    const headAt = offset + 4
    if (payload.length < headAt) throw new PlatformError('PROTOCOL_BROKEN', `The runtime sent a head frame of ${payload.length} bytes.`)
    const headEnd = headAt + payload.readUInt32LE(offset)
    if (headEnd > payload.length || headEnd > HEAD_KEPT_BYTES_MAX) return splitHead<AnswerHead>(offset === 0 ? payload : payload.subarray(offset))
    const text = payload.toString('latin1', headAt, headEnd)
    if (text !== this.#lastHeadText || this.#lastHead === undefined) {
      this.#lastHead = parseJson<AnswerHead>(payload.toString('utf8', headAt, headEnd))
      this.#lastHeadText = text
    }
    return { head: this.#lastHead, body: payload.subarray(headEnd) }
  }

  #receiveData(stream: CarriedStream, flags: number, payload: Buffer): void {
    const { invocation } = stream
    if (!stream.headSeen) throw new PlatformError('PROTOCOL_BROKEN', 'The runtime sent an answer body before its head.')
    const last = (flags & FrameFlag.end) !== 0
    if (invocation.state === 'ended') return last ? this.#end(stream, undefined) : undefined
    stream.unconsumedBytes += payload.length
    if (stream.unconsumedBytes > CREDIT_BYTES) throw new PlatformError('PROTOCOL_BROKEN', `The runtime sent ${stream.unconsumedBytes} bytes with a credit of ${CREDIT_BYTES}.`)
    if (!this.#countAnswer(stream, payload.length)) return last ? this.#end(stream, undefined) : undefined
    invocation.sink.data(payload, last, () => {
      stream.unconsumedBytes -= payload.length
      if (last || invocation.state === 'ended') return
      this.#send(creditFrame(stream.id, payload.length))
    })
    if (last) this.#end(stream, undefined)
  }

  /** Counts, and cuts off an answer that is over the function's limit. @returns whether to go on. */
  #countAnswer(stream: CarriedStream, bytes: number): boolean {
    const { invocation } = stream
    invocation.bytesOut += bytes
    const bytesMax = invocation.revision.config.answerBytesMax
    if (invocation.bytesOut <= bytesMax) return true
    this.#cancel(
      stream,
      new PlatformError('ANSWER_TOO_LARGE', `The answer is longer than the function's limit of ${bytesMax} bytes; raise answerBytesMax.`),
    )
    return false
  }

  #end(stream: CarriedStream, error: PlatformError | undefined): void {
    this.#streams.delete(stream)
    this.#dropBody(stream)
    const nowUs = this.#clock.monotonicUs()
    if (stream.computing) this.#computed(stream, nowUs)
    this.load.inFlight--
    this.observer?.observeRun(nowUs - stream.invocation.handedUs)
    if (error === undefined) stream.invocation.complete(nowUs)
    else stream.invocation.fail(error, nowUs)
    this.#owner.changed()
  }

  /** It has been answered or waits: what it computed is known, without the time it spent behind others of the instance. */
  #computed(stream: CarriedStream, nowUs: number): void {
    const { load } = this
    this.observer?.observeCompute(nowUs - Math.max(stream.invocation.handedUs, load.computingSinceUs))
    stream.computing = false
    load.computing--
    load.computingSinceUs = nowUs
  }

  /** Fails the invocation at once; the stream stays until the runtime has let go (F4, Q4). */
  #cancel(stream: CarriedStream, reason: PlatformError): void {
    if (stream.invocation.state === 'ended') return
    this.#dropBody(stream)
    this.#send(encodeFrame(FrameType.reset, 0, stream.id, JSON.stringify(reason.toBody())))
    stream.invocation.fail(reason, this.#clock.monotonicUs())
  }

  #dropBody(stream: CarriedStream): void {
    stream.body?.drop()
    stream.body = undefined
  }

  #sendBody(stream: CarriedStream, source: Readable, owned: boolean): void {
    stream.body = new RequestBody({
      stream: stream.id,
      source,
      owned,
      send: (frame) => this.#send(frame),
      counted: (bytes) => {
        stream.invocation.bytesIn += bytes
      },
      failed: (cause) => this.#cancel(stream, cause instanceof PlatformError ? cause : new PlatformError('CANCELLED', 'The request body broke off.', { cause })),
    })
  }

  #receiveCall(type: number, flags: number, id: number, payload: Buffer): void {
    if (type === FrameType.open) {
      const { head, body } = splitHead<OpenHead>(payload)
      if (this.#calls.has(id)) throw new PlatformError('PROTOCOL_BROKEN', `The runtime opened stream ${id} twice.`)
      const call = new CallStream({
        id,
        send: (frame) => this.#send(frame),
        closed: () => this.#calls.delete(id),
        memory: this.#memory,
        takesMemory: this.#takesMemory,
      })
      this.#calls.set(id, call)
      return call.begin(this.#owner, this.#streams.get(head.c ?? 0)?.invocation, head, body, (flags & FrameFlag.end) !== 0)
    }
    this.#calls.get(id)?.receive(type, flags, payload)
  }

  #watchDeadline(deadlineMs: number): void {
    if (deadlineMs >= this.#deadlineTimerAtMs) return
    this.#deadlineTimer?.cancel()
    this.#deadlineTimerAtMs = deadlineMs
    this.#deadlineTimer = this.#clock.after(Math.min(deadlineMs - this.#clock.epochMs(), 2 ** 31 - 1), () => this.#checkDeadlines())
  }

  #checkDeadlines(): void {
    this.#deadlineTimerAtMs = Infinity
    const nowMs = this.#clock.epochMs()
    let nextMs = Infinity
    for (const stream of this.#streams.values()) {
      const { invocation } = stream
      if (invocation.state !== 'ended' && invocation.deadlineMs <= nowMs) {
        const limitMs = invocation.revision.config.timeoutMs
        this.#cancel(
          stream,
          new PlatformError('FUNCTION_TIMEOUT', `The function did not answer within ${limitMs} ms; raise its timeout (--timeout) or make it faster.`),
        )
      }
      if (invocation.state === 'ended') {
        if (invocation.deadlineMs + this.#resetGraceMs <= nowMs) return this.#owner.hung(invocation)
        nextMs = Math.min(nextMs, invocation.deadlineMs + this.#resetGraceMs)
      } else {
        nextMs = Math.min(nextMs, invocation.deadlineMs)
      }
    }
    if (nextMs < Infinity) this.#watchDeadline(Math.max(nextMs, nowMs + 1))
  }

  /** Frames of one turn of the event loop leave in one write: a system call costs more than all of them. */
  #send(frame: Buffer): void {
    if (this.#state !== 'open') return
    this.#out.push(frame)
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    setImmediate(this.#flush)
  }

  #writeOut(): void {
    this.#flushScheduled = false
    const out = this.#out
    if (out.length === 0 || this.#state !== 'open') return
    this.#out = []
    if (this.load.inFlight > 0) this.#spin?.expect()
    this.#channel.write(out.length === 1 ? out[0]! : Buffer.concat(out))
  }

  #lose(error: PlatformError | undefined): void {
    if (this.#state !== 'open') return
    this.#state = 'closed'
    this.#owner.lost(error)
  }
}
