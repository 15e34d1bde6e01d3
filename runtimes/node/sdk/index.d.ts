/** What a function running on Skep imports: `import { invoke, put, get, context, log } from 'skep'`. */

export interface InvokeOptions {
  /** Lets go of the call when aborted; the called function is cancelled. */
  readonly signal?: AbortSignal | undefined
  /** Longest time until the answer has ended, ms. The caller's own deadline holds in any case. */
  readonly timeoutMs?: number | undefined
  /**
   * A short text for what the called invocation shares data with: a user's id, a digest, a partition. Invocations of one colour go to the same instance, and new
   * instances to the same worker, where there is room. A hint: nothing waits for it. At most 128 characters.
   */
  readonly color?: string | undefined
}

/**
 * A JSON value, which the called function gets as its event. Or bytes (Uint8Array, ArrayBuffer), of any length: `main` and `handler` get a Buffer,
 * `fetch` a request with that body. Or a stream of bytes that already are JSON. What is large is passed as memory, not copied.
 */
export type Payload = unknown

/**
 * Runs another function with an event, and gives its result.
 * @param name `name` in the caller's namespace, or `namespace/name`.
 * @throws SkepError with the platform's code: FUNCTION_NOT_FOUND, FUNCTION_THREW, FUNCTION_TIMEOUT, …
 */
export function invoke<Result = unknown>(name: string, payload?: Payload, options?: InvokeOptions): Promise<Result>

export interface InvokeAllOptions extends InvokeOptions {
  /** Calls that run at a time. Default: 64. */
  readonly concurrency?: number | undefined
}

/** Runs a function once for each payload, and gives the results in the same order. The first failure lets go of the others. */
export function invokeAll<Result = unknown>(name: string, payloads: Iterable<Payload>, options?: InvokeAllOptions): Promise<Result[]>

/** What `put` takes: text is UTF-8; streams yield bytes or text. */
export type ObjectSource = string | Uint8Array | ArrayBuffer | Blob | ReadableStream | AsyncIterable<string | Uint8Array>

export interface PutOptions extends Omit<InvokeOptions, 'color'> {
  /** Complete retrievals, after which the object is let go. Default: 1. */
  readonly retrievals?: number | undefined
  /** How long it is kept, ms. */
  readonly ttlMs?: number | undefined
  /** Keeps it in a bucket of this namespace, `s3://<bucket>/<key>`: durably, until it is deleted there. Its reference is this text. */
  readonly key?: string | undefined
}

/**
 * Keeps an object of any length where it is, and gives a reference: a short text to be handed to other functions of this namespace, in a payload
 * or an answer. Later writes into the given bytes are not seen. An object outlives the instance that has put it, but not its machine.
 * @throws SkepError OBJECT_QUOTA_EXCEEDED, INPUT_INVALID (retrievals, ttlMs).
 */
export function put(object: ObjectSource, options?: PutOptions): Promise<string>

/**
 * The object of a reference, or of a bucket (`s3://<bucket>/<key>`): its memory, mapped and not copied, where it is on this machine. Writes into it are this function's own.
 * @throws SkepError REFERENCE_INVALID, OBJECT_EXPIRED, OBJECT_USED_UP; OBJECT_LOST, whose details name the producer, so that it can be run again.
 */
export function get(reference: string, options?: Omit<InvokeOptions, 'color'>): Promise<Buffer>

/** The same as a stream, for what is larger than this function's memory. One that is not read to its end has not retrieved the object. */
export function getStream(reference: string, options?: Omit<InvokeOptions, 'color'>): ReadableStream<Uint8Array>

/**
 * Memory to fill, which put, invoke and answers pass on without a copy when they are given all of it. From then on this function writes into a copy of its own.
 * @param bytes At most half of the function's memory. @throws SkepError INPUT_INVALID.
 */
export function allocate(bytes: number): Buffer

/** Queues an invocation durably and returns at once, with its id; the platform runs and retries it. */
export function invokeAsync(name: string, payload?: Payload, options?: InvokeOptions): Promise<{ readonly id: string }>

/**
 * Sends an HTTP request to another function without leaving the platform. Bodies stream both ways.
 * @param input A path from the function's root such as `/users?page=2`, a URL whose host is ignored, or a Request.
 */
export function fetchFunction(name: string, input?: string | URL | Request, init?: RequestInit & Pick<InvokeOptions, 'timeoutMs' | 'color'>): Promise<Response>

export interface InvocationContext {
  readonly invocationId: string
  readonly namespace: string
  readonly function: string
  readonly revision: number
  readonly instance: string
  /** When the invocation must have ended, epoch ms. */
  readonly deadlineMs: number | undefined
  /** W3C traceparent. */
  readonly traceparent: string | undefined
  /** Attempt of an asynchronous invocation, from 1. */
  readonly attempt: number
  /** Aborted when the caller goes away or the deadline passes. */
  readonly signal: AbortSignal
  /** ms until the deadline; Infinity without one. */
  remainingMs(): number
}

/** The invocation that is running. @throws Error outside of one. */
export function context(): InvocationContext

export interface Log {
  debug(message: string, fields?: object): void
  info(message: string, fields?: object): void
  warn(message: string, fields?: object): void
  error(message: string, fields?: object): void
}

/** Entries of the invocation's log; `fields` are appended as JSON. */
export const log: Log

export class SkepError extends Error {
  readonly name: 'SkepError'
  /** A code of the platform's table of errors. */
  readonly code: string
  readonly details: Readonly<Record<string, unknown>> | undefined
  /** The stack of the called function's code. */
  readonly functionStack: string | undefined
  constructor(code: string, message: string, options?: { details?: Readonly<Record<string, unknown>>; stack?: string; cause?: unknown })
}

/** The third argument of `fetch(request, env, ctx)`. */
export interface FetchContext {
  readonly invocationId: string | undefined
  readonly deadlineMs: number | undefined
  readonly traceparent: string | undefined
  readonly attempt: number
  readonly signal: AbortSignal
  readonly log: Log
  remainingMs(): number
  /** Keeps the instance until the work has settled; the answer does not wait for it. */
  waitUntil(work: PromiseLike<unknown>): void
  passThroughOnException(): void
  invoke<Result = unknown>(name: string, payload?: Payload, options?: InvokeOptions): Promise<Result>
}

export interface FetchHandler {
  fetch(request: Request, env: Readonly<Record<string, string>>, ctx: FetchContext): Response | Promise<Response>
}
