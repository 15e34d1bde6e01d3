/** What a queue proxy tells its owner and the function's history, and how a call of the code inside reaches the platform. */
import type { PlatformError } from '#contract/errors.ts'
import type { LogLevelName } from '#contract/frames.ts'
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

export interface QueueProxyOwner {
  /** Room may have appeared: an invocation ended, or now waits instead of computing. */
  changed(): void
  called(call: FunctionCall): void
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
