/** What a function running on Skep imports: `import { invoke, context, log } from 'skep'`. */

export interface InvokeOptions {
  /** Lets go of the call when aborted; the called function is cancelled. */
  readonly signal?: AbortSignal | undefined
  /** Longest time until the answer has ended, ms. The caller's own deadline holds in any case. */
  readonly timeoutMs?: number | undefined
}

/** A JSON value; or bytes or a stream of bytes that already are JSON. */
export type Payload = unknown

/**
 * Runs another function with an event, and gives its result.
 * @param name `name` in the caller's namespace, or `namespace/name`.
 * @throws SkepError with the platform's code: FUNCTION_NOT_FOUND, FUNCTION_THREW, FUNCTION_TIMEOUT, …
 */
export function invoke<Result = unknown>(name: string, payload?: Payload, options?: InvokeOptions): Promise<Result>

/** Queues an invocation durably and returns at once, with its id; the platform runs and retries it. */
export function invokeAsync(name: string, payload?: Payload, options?: InvokeOptions): Promise<{ readonly id: string }>

/**
 * Sends an HTTP request to another function without leaving the platform. Bodies stream both ways.
 * @param input A path from the function's root such as `/users?page=2`, a URL whose host is ignored, or a Request.
 */
export function fetchFunction(name: string, input?: string | URL | Request, init?: RequestInit & { readonly timeoutMs?: number | undefined }): Promise<Response>

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
