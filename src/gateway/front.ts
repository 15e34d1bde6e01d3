/**
 * The front door: every HTTP request arrives here and is sent on its way by the beginning of its path.
 *
 *   /fn/<namespace>/<name>…   an invocation: found, allowed, admitted, begun        (the hot path)
 *   /v1/…                     the native API (gateway/api)
 *   /s3/<bucket>/<key>        objects, for S3 clients (gateway/s3)
 *   /metrics  /healthz        for machines that watch
 *
 * Invariants:
 *   G1. A request to /fn does no asynchronous step before its invocation is begun, except to collect a small body.
 *   G2. A client that goes away cancels its invocation.
 *   G3. What was thrown becomes an answer of the error table; nothing thrown here ends the process.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { COLOR_HEADER, parseColor } from '#contract/color.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import type { Invocation, InvocationRequest } from '#contract/invocation.ts'
import type { AcceptOptions } from '#activator/async-queue.ts'
import { discardBody, sendError } from './api/answer.ts'
import { functionHeaders, parseFunctionPath, withBody } from './function-request.ts'
import { HttpSink } from './http-sink.ts'
import type { Invoker } from './invoker.ts'

/** Who calls. */
export interface Caller {
  readonly namespace: string
  readonly role: 'admin' | 'namespace'
}

export interface FrontOptions {
  readonly invoker: Invoker
  readonly resolve: (namespace: string, name: string) => Revision | undefined
  /** @throws KEY_MISSING, KEY_INVALID. */
  readonly authenticate: (authorization: string | undefined) => Caller
  readonly admission: Admission
  readonly acceptAsync: (options: AcceptOptions) => Promise<string>
  readonly api: (request: IncomingMessage, response: ServerResponse) => void
  readonly s3: (request: IncomingMessage, response: ServerResponse) => void
  readonly metrics: () => { readonly type: string; readonly text: string }
  /** Traceparent of the header when it is valid. */
  readonly traceparent: (header: string | string[] | undefined) => string | undefined
}

/** Quotas of a namespace. */
export interface Admission {
  /** Counts one more. @throws RATE_EXCEEDED, CONCURRENCY_EXCEEDED, with retryAfterMs in the details. */
  admit(namespace: string): void
  /** One of those has ended. */
  release(namespace: string): void
}

export interface InvokeOptions {
  readonly kind: 'http' | 'event'
  /** What the function sees. */
  readonly path: string
  /** The caller's key was checked, and is not passed to the function. */
  readonly keyed: boolean
  /** The part of the address that the function does not see. */
  readonly prefix: string
  readonly async?: boolean
}

export class Front {
  readonly #options: FrontOptions

  constructor(options: FrontOptions) {
    this.#options = options
  }

  readonly handle = (request: IncomingMessage, response: ServerResponse): void => {
    try {
      this.#route(request, response, request.url ?? '/')
    } catch (thrown) {
      sendError(response, PlatformError.from(thrown))
    }
  }

  /**
   * Begins an invocation for an HTTP request. Shared by /fn and the native API's `invocations`.
   * `Prefer: respond-async` (RFC 7240) accepts it durably instead, at every address.
   * @throws What admission does, and INPUT_INVALID for a colour that is none.
   */
  invoke(
    request: IncomingMessage,
    response: ServerResponse,
    revision: Revision,
    what: InvokeOptions,
  ): void {
    const { admission } = this.#options
    const { namespace } = revision
    const color = parseColor(request.headers[COLOR_HEADER])
    if (what.async === true || prefersAsync(request.headers['prefer'])) return this.#acceptAsync(request, response, revision, what, color)
    admission.admit(namespace)
    withBody(request, (body) => this.#begin(request, response, revision, what, body, color), () => admission.release(namespace))
  }

  #begin(request: IncomingMessage, response: ServerResponse, revision: Revision, what: InvokeOptions, body: InvocationRequest['body'], color: string | undefined): void {
    const sink = new HttpSink(response)
    const headers = functionHeaders(request, what.keyed, what.prefix)
    const invocation = this.#options.invoker.begin(
      {
        revision,
        origin: what.kind === 'http' ? 'http' : 'api',
        request: {
          kind: what.kind,
          method: request.method ?? 'GET',
          path: what.path,
          headers: headers.list,
          headersJson: headers.json,
          body,
          color,
        },
        sink,
        traceparent: this.#options.traceparent(request.headers['traceparent']),
        ended: this.#release,
      },
      bindSink,
    )
    if (invocation.state !== 'ended') response.on('close', () => sink.clientGone())
  }

  /** One function for all: a closure per invocation that is kept until its end outlives the young generation. */
  readonly #release = (invocation: Invocation): void => this.#options.admission.release(invocation.revision.namespace)

  #route(request: IncomingMessage, response: ServerResponse, url: string): void {
    if (url.startsWith('/fn/')) return this.#invokeFunction(request, response, url)
    if (url.startsWith('/v1/') || url === '/v1') return this.#options.api(request, response)
    const path = url.split('?', 1)[0]
    if (url.startsWith('/s3/') || path === '/s3') return this.#options.s3(request, response)
    if (path === '/healthz') return sendText(response, 'text/plain', 'ok\n')
    if (path === '/metrics') {
      this.#options.authenticate(request.headers.authorization)
      const { type, text } = this.#options.metrics()
      return sendText(response, type, text)
    }
    throw new PlatformError('ROUTE_NOT_FOUND', `There is nothing at ${clip(url)}; functions are at /fn/<namespace>/<name>, the API at /v1 (see /v1/openapi.json).`)
  }

  #invokeFunction(request: IncomingMessage, response: ServerResponse, url: string): void {
    const { namespace, name, prefix, path } = parseFunctionPath(url)
    const revision = this.#options.resolve(namespace, name)
    // Whether a function exists is told only to those who may call it.
    let keyed = false
    if (revision === undefined || !revision.config.public) {
      const caller = this.#options.authenticate(request.headers.authorization)
      keyed = true
      if (caller.namespace !== namespace && caller.role !== 'admin') {
        throw new PlatformError('FORBIDDEN', `The key is of namespace ${caller.namespace} and the function is in ${namespace}; use a key of that namespace, or deploy the function with --public.`)
      }
    }
    if (revision === undefined) {
      throw new PlatformError('FUNCTION_NOT_FOUND', `There is no function ${name} in namespace ${namespace}; \`skep list\` shows those that exist.`)
    }
    this.invoke(request, response, revision, { kind: 'http', path, keyed, prefix })
  }

  #acceptAsync(
    request: IncomingMessage,
    response: ServerResponse,
    revision: Revision,
    what: InvokeOptions,
    color: string | undefined,
  ): void {
    const { admission } = this.#options
    admission.admit(revision.namespace)
    const done = (): void => admission.release(revision.namespace)
    const accept = (body: InvocationRequest['body']): void => {
      const idempotencyKey = request.headers['idempotency-key']
      const callback = request.headers['x-callback-url']
      this.#options
        .acceptAsync({
          namespace: revision.namespace,
          function: revision.function,
          request: {
            kind: what.kind,
            method: request.method ?? 'POST',
            path: what.path,
            headers: functionHeaders(request, what.keyed, what.prefix).list,
            body,
            color,
          },
          traceparent: this.#options.traceparent(request.headers['traceparent']),
          ...(typeof idempotencyKey === 'string' && { idempotencyKey }),
          ...(typeof callback === 'string' && { callback }),
        })
        .then(
          (id) => {
            done()
            const text = JSON.stringify({ id })
            response.writeHead(202, ['content-type', 'application/json', 'content-length', String(text.length), 'x-skep-invocation-id', id, 'location', `/v1/invocations/${id}`])
            response.end(text)
          },
          (thrown: unknown) => {
            done()
            // Half of the body may have been read: the rest must not stand in the way of the connection's next request.
            if (!request.complete && !request.destroyed) discardBody(request)
            sendError(response, PlatformError.from(thrown))
          },
        )
    }
    withBody(request, accept, done)
  }
}

/** Before anything can be answered. The sink is the one that `#begin` has made. */
function bindSink(invocation: Invocation): void {
  ;(invocation.sink as HttpSink).invocation = invocation
}

/** `respond-async` may come among other preferences, and with parameters (RFC 7240, 2 and 4.1). */
function prefersAsync(prefer: string | string[] | undefined): boolean {
  return prefer !== undefined && RESPOND_ASYNC.test(String(prefer))
}

const RESPOND_ASYNC = /(?:^|,)\s*respond-async\s*(?:[;,]|$)/i

function sendText(response: ServerResponse, type: string, text: string): void {
  response.writeHead(200, { 'content-type': type, 'content-length': String(Buffer.byteLength(text)) })
  response.end(text)
}

function clip(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 80)}… (${text.length} characters)`
}
