/**
 * A provider: a platform that can be measured. What the driver needs to know of one, and nothing else, is here.
 *
 * The thesis's framework separates what is deployed and how it is addressed from what is sent and timed (thesis 3.3: vendor-specific plug-ins
 * below a client that is the same for all). So a provider makes endpoints ready, says what a request to one looks like, and reads its answers;
 * it never sends a measured request by itself, or two providers would be timed by two clocks. The exception is a platform that is reached
 * only through its own library (AWS Lambda): it gives a `call`, and the report says so.
 *
 *   V1. `cannot` names everything a provider would do otherwise than a sub-experiment says, before anything is deployed. Nothing is skipped silently.
 *   V2. `prepare` gives exactly `Parallelism` endpoints, each of which has answered once; or it fails, and leaves nothing behind.
 *   V3. `request` is a function of its parameters: the driver makes a message once and sends it many times.
 */
import type { SubExperiment } from './experiment.ts'

export type TransferKind = 'none' | 'inline' | 'storage' | 'reference'

export interface Capabilities {
  /** Whether it deploys functions itself; otherwise somebody has. */
  readonly deploys: boolean
  /** How an instance comes to its end: when it was idle for as long as was asked for, for as long as the platform likes, or never. */
  readonly coldStarts: 'keep-alive-set' | 'keep-alive-fixed' | 'never'
  readonly transfers: readonly TransferKind[]
  readonly runtimes: readonly string[]
  readonly imageSize: boolean
  readonly memory: boolean
  /** Phases of an invocation that its answers or `phasesOf` tell, in their order; empty when none are. */
  readonly phases: readonly string[]
}

/** One setting that is not met, as a sentence: what was asked for, what is done instead. */
export interface Limitation {
  readonly field: keyof SubExperiment
  readonly message: string
  /** Nothing of the sub-experiment is left without it: it is not run. */
  readonly prevents?: boolean
}

export interface RequestParameters {
  /** What the function shall compute, ms; 0 for nothing. */
  readonly serviceTimeMs: number
  /** What the first function of the chain makes and passes on. */
  readonly payloadBytes: number
  /** What a function of a trace shall touch, MiB. */
  readonly memoryMb?: number
}

export interface RequestMessage {
  readonly method: 'GET' | 'POST' | 'PUT'
  /** Path and query, as they stand in the request line. */
  readonly path: string
  /** Without content-length; host only where it is another than the address's. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | undefined
}

/** What an answer says. */
export interface Answer {
  /** Empty when the platform gives none. */
  readonly requestId: string
  /** Of the functions of a chain, first to last, milliseconds since 1970 as they wrote them. */
  readonly timestamps: readonly string[]
  readonly start: 'cold' | 'warm' | 'unknown'
  /** Milliseconds by the names of `Capabilities.phases`. */
  readonly phases: Readonly<Record<string, number>> | undefined
}

export interface RawAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

export type Transport =
  /** @property origin As `http://127.0.0.1:8080`, without a path. */
  | { readonly kind: 'http'; readonly origin: string }
  /** Resolves with the whole answer; the first byte's time is not known, and the report says so. */
  | { readonly kind: 'call'; readonly call: (message: RequestMessage, signal: AbortSignal) => Promise<RawAnswer> }

export interface Endpoint {
  /** In the column Host. */
  readonly host: string
  readonly transport: Transport
  request(parameters: RequestParameters): RequestMessage
  /** @throws ANSWER_INVALID with status and the beginning of the body, for what is no answer of the function. */
  readAnswer(answer: RawAnswer): Answer
}

export interface PrepareOptions {
  /** Called with a line per step that takes time: deploying 37 of 100. */
  readonly progress: (line: string) => void
  readonly signal: AbortSignal
}

export interface Provider extends AsyncDisposable {
  /** As in the field Provider of an experiment file. */
  readonly name: string
  readonly capabilities: Capabilities
  /** What is told of the place in the report: version, region, address. Never a key. */
  readonly about: Readonly<Record<string, string>>
  cannot(one: SubExperiment): readonly Limitation[]
  /** Phases of these invocations, by their request ids, where answers do not tell them: of those that the platform knows. Asked before `release`. */
  phasesOf?(requestIds: readonly string[], signal: AbortSignal): Promise<readonly Readonly<Record<string, number>>[]>
  prepare(one: SubExperiment, options: PrepareOptions): Promise<readonly Endpoint[]>
  /** Removes what `prepare` has made for the sub-experiment. */
  release(one: SubExperiment): Promise<void>
}
