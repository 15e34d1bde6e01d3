/** What a queue proxy tells its owner and the function's history, and how a call of the code inside reaches the platform. */
import type { Readable } from 'node:stream'
import type { PlatformError } from '#contract/errors.ts'
import type { LogLevelName, ObjectTerms } from '#contract/frames.ts'
import type { HeldBody } from '#contract/held-body.ts'
import type { AnswerSink, Invocation, InvocationRequest } from '#contract/invocation.ts'

/** A call that the code inside makes. */
export interface FunctionCall {
  readonly parent: Invocation
  /** `name` or `namespace/name`. */
  readonly target: string
  readonly request: InvocationRequest
  /** Accept durably and answer with the id; run later. */
  readonly async: boolean
  readonly sink: AnswerSink
  /** To be set by whoever carries the call: stops it when the caller lets go. */
  onCancel: (reason: PlatformError) => void
}

/** An object that the code inside puts or gets (transfer/README.md). The sink gets the answer of the table there. */
export interface ObjectTransfer {
  readonly parent: Invocation
  readonly what: ObjectPut | ObjectGet
  readonly sink: AnswerSink
  /** As of {@link FunctionCall}. */
  onCancel: (reason: PlatformError) => void
}

export interface ObjectPut {
  readonly kind: 'put'
  /** A held one is taken over. */
  readonly body: Buffer | HeldBody | Readable
  readonly terms: ObjectTerms
}

export interface ObjectGet {
  readonly kind: 'get'
  readonly reference: string
  readonly asStream: boolean
  /** The sink passes memory on as it is. */
  readonly takesMemory: boolean
}

export interface QueueProxyOwner {
  /** Room may have appeared: an invocation ended, or now waits instead of computing. */
  changed(): void
  called(call: FunctionCall): void
  transferred(transfer: ObjectTransfer): void
  /** Memory that the code of this invocation passes by value, as a body. @throws OBJECT_QUOTA_EXCEEDED; the descriptor is then still the caller's. */
  held(invocation: Invocation, fd: number, bytes: number): HeldBody
  logged(invocation: Invocation | undefined, level: LogLevelName, text: string): void
  /** The channel ended or the protocol was broken. Invocations are still open: the owner knows why and calls `abandon`. */
  lost(error: PlatformError | undefined): void
  /** Q4. */
  hung(invocation: Invocation): void
}

/** The function's history, as far as a queue proxy feeds it (activator/burst-decision.ts). */
export interface LoadObserver {
  observeCompute(us: number): void
  observeRun(us: number): void
}

/** From one queue proxy of a channel to the next. */
export interface QueueProxyHandover {
  /** Above those before, so that late frames are never taken for new ones. */
  readonly firstStream: number
  /** The runtime has said that it takes memory: it says so once. */
  readonly takesMemory: boolean
}
