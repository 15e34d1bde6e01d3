/**
 * One invocation on its way through the platform: what was asked, where the answer goes, and what is known so far.
 *
 * The gateway (or an asynchronous queue, or a calling function's queue proxy) makes it; the activator holds it until an
 * instance has room; the queue proxy of that instance runs it and ends it exactly once.
 *
 * Invariants:
 *   V1. The sink gets either `head` and then data until `last`, or one `fail`, before or after the head; nothing follows.
 *   V2. `ended` runs exactly once per invocation, after the sink's last call, even one that throws; its record is made there.
 *   V3. A held request body is there until the invocation has ended: whoever needs it for longer says `retain`.
 */
import type { Readable } from 'node:stream'
import { colorOf, NO_COLOR } from './color.ts'
import type { PlatformError } from './errors.ts'
import type { Revision } from './function-config.ts'
import { HeldBody } from './held-body.ts'
import type { InvocationOrigin, StartKind, TransferFigures } from './invocation-record.ts'
import type { StartFigures } from './start-figures.ts'

/** Where an answer goes. Buffers may be kept: they are never reused. */
export interface AnswerSink {
  /**
   * @param headers Raw: name, value, name, value, … names in lower case.
   * @param body A held one is all of it (`last`), and the sink's to release.
   * @param last No data follows.
   */
  head(status: number, headers: readonly string[], body: Buffer | HeldBody | undefined, last: boolean): void
  /** @param consumed To be called when the chunk has left: this gives the function credit for more (back-pressure). */
  data(chunk: Buffer, last: boolean, consumed: () => void): void
  /** Before `head` the whole answer; after it, the answer breaks off visibly (never a silent truncation). */
  fail(error: PlatformError): void
}

export interface InvocationHolder {
  cancelInvocation(invocation: Invocation, reason: PlatformError): void
}

export interface InvocationRequest {
  /** `event`: the body is the JSON value for the handler, or bytes for it (`binary`). */
  readonly kind: 'http' | 'event'
  readonly binary?: true
  readonly method: string
  /** Path and query, seen from the function's own root. */
  readonly path: string
  readonly headers: readonly string[]
  /** The JSON of `headers`, where it is known already. */
  readonly headersJson?: string
  /** The whole body when it is small or lies behind a descriptor, otherwise a stream. */
  readonly body: Buffer | HeldBody | Readable | undefined
  /** What it shares data with (color.ts). */
  readonly color?: string | undefined
}

export interface InvocationOptions {
  readonly id: string
  readonly revision: Revision
  readonly origin: InvocationOrigin
  readonly request: InvocationRequest
  readonly sink: AnswerSink
  readonly acceptedUs: number
  readonly startedAtMs: number
  readonly traceparent: string
  readonly parent?: Invocation
  readonly attempt?: number
  /** Not later than this, epoch ms; the caller's deadline for a call between functions. Infinity: only the function's own time limit. */
  readonly deadlineMs?: number
  readonly ended: (invocation: Invocation) => void
}

export class Invocation {
  readonly id: string
  readonly revision: Revision
  readonly origin: InvocationOrigin
  readonly request: InvocationRequest
  readonly sink: AnswerSink
  readonly acceptedUs: number
  readonly startedAtMs: number
  readonly traceparent: string
  readonly parent: Invocation | undefined
  readonly attempt: number
  readonly depth: number
  /** NO_COLOR of most. */
  readonly color: number
  readonly #ended: (invocation: Invocation) => void

  state: 'queued' | 'running' | 'ended' = 'queued'
  /** Its place among the open ones; its beginner's to use. */
  slot = -1
  /** Epoch ms. Set when it is handed over: the time limit counts from there. */
  deadlineMs: number
  start: StartKind = 'none'
  /** Told by hosts that make an instance per invocation. */
  startFigures: StartFigures | undefined = undefined
  instance = ''
  /** Phases, µs; see invocation-record.ts. */
  placementUs = 0
  sandboxUs = 0
  initUs = 0
  handedUs = 0
  endedUs = 0
  cpuUs = 0
  memoryPeakKb = 0
  bytesIn = 0
  bytesOut = 0
  /** Most have none: {@link moved} makes it. */
  transfer: { -readonly [Name in keyof TransferFigures]: number } | undefined = undefined
  logLines = 0
  logBytes = 0
  status = 0
  error: PlatformError | undefined = undefined
  /** Who has it now, and can let go of it; `stream` is the holder's to use. An object, not a closure per invocation: those outlive the young generation. */
  holder: InvocationHolder | undefined = undefined
  stream = 0

  constructor(options: InvocationOptions) {
    this.id = options.id
    this.revision = options.revision
    this.origin = options.origin
    this.request = options.request
    this.sink = options.sink
    this.acceptedUs = options.acceptedUs
    this.startedAtMs = options.startedAtMs
    this.traceparent = options.traceparent
    this.parent = options.parent
    this.attempt = options.attempt ?? 1
    this.depth = options.parent === undefined ? 0 : options.parent.depth + 1
    this.deadlineMs = options.deadlineMs ?? Infinity
    this.#ended = options.ended
    const { body, color } = options.request
    this.color = color === undefined ? NO_COLOR : colorOf(options.revision.namespace, color)
    if (body instanceof Uint8Array) this.bytesIn = body.length
    else if (body instanceof HeldBody) body.retain()
  }

  /** Its figures of transfers, to be added to. */
  moved(): NonNullable<Invocation['transfer']> {
    return (this.transfer ??= { objectsPut: 0, bytesPut: 0, bytesGot: 0, bytesShared: 0 })
  }

  /** Stops it wherever it is. */
  cancel(reason: PlatformError): void {
    this.holder?.cancelInvocation(this, reason)
  }

  /** The answer is complete (V1, V2). */
  complete(nowUs: number): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    this.endedUs = nowUs
    this.#end()
  }

  /** It failed, wherever it was (V1, V2). @throws what its sink throws, which is a bug; it has ended all the same. */
  fail(error: PlatformError, nowUs: number): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    this.endedUs = nowUs
    this.error = error
    this.status = error.kind.status
    try {
      this.sink.fail(error)
    } finally {
      this.#end()
    }
  }

  #end(): void {
    const { body } = this.request
    if (body instanceof HeldBody) body.release()
    this.#ended(this)
  }
}
