/**
 * What the `skep` module (sdk/) finds behind `Symbol.for('skep.runtime')`: calls of functions, context and log.
 *
 * The SDK is a package of its own that user code may bundle; so it holds no logic, and this is the one place that does.
 */
import type { AsyncLocalStorage } from 'node:async_hooks'
import { PlatformError, type PlatformErrorBody } from '../../src/contract/errors.ts'
import type { InitFrame, LogLevelName, OpenHead } from '../../src/contract/frames.ts'
import { Call, type CallAnswer } from './calls.ts'
import type { Host } from './host.ts'
import type { Invocation } from './invocation.ts'
import type { Output } from './output.ts'
import { sourceOf } from './web-action.ts'
import { LightRequest } from './web/light-request.ts'
import { LightResponse } from './web/light-response.ts'

export interface InvokeOptions {
  readonly signal?: AbortSignal
  /** Longest time until the answer has ended, ms; the caller's own deadline holds in any case. */
  readonly timeoutMs?: number
}

export const SDK_SYMBOL = Symbol.for('skep.runtime')

export function installSdk(host: Host, output: Output, store: AsyncLocalStorage<Invocation>, frame: InitFrame): void {
  const open = (name: string, kind: OpenHead['k'], body: unknown, options: InvokeOptions | undefined, more: Partial<OpenHead>): Promise<CallAnswer> => {
    if (typeof name !== 'string' || name === '') throw new PlatformError('NAME_INVALID', `A function is called by its name, "name" or "namespace/name"; this is ${typeof name}.`)
    const caller = store.getStore()
    const head: OpenHead = {
      k: kind,
      f: name,
      ...(caller?.isOpen === true && { c: caller.stream }),
      ...(options?.timeoutMs !== undefined && { d: Date.now() + options.timeoutMs }),
      ...more,
    }
    return new Call(host, { head, body: body as string, signal: options?.signal, timeoutMs: options?.timeoutMs }).answer
  }

  const runtime = {
    async invoke(name: string, payload?: unknown, options?: InvokeOptions): Promise<unknown> {
      return valueOf(name, await open(name, 'event', ...eventBody(payload), options, {}))
    },

    async invokeAsync(name: string, payload?: unknown, options?: InvokeOptions): Promise<{ readonly id: string }> {
      const answer = await open(name, 'event', ...eventBody(payload), options, { a: true })
      const value = (await valueOf(name, answer)) as { id?: string; invocation?: string; invocationId?: string } | null
      return { id: value?.id ?? value?.invocationId ?? value?.invocation ?? '' }
    },

    async fetchFunction(name: string, input?: RequestInfo | URL, init?: RequestInit & InvokeOptions): Promise<Response> {
      const target = typeof input === 'string' && input.startsWith('/') ? `http://localhost${input}` : (input ?? 'http://localhost/')
      const request = input instanceof LightRequest && init === undefined ? (input as unknown as Request) : (new LightRequest(target, init) as unknown as Request)
      const url = new URL(request.url)
      const headers = [...request.headers].flat()
      const body = request.body === null ? undefined : sourceOf(request.body)
      const answer = await open(name, 'http', body, { signal: init?.signal ?? request.signal, ...(init?.timeoutMs !== undefined && { timeoutMs: init.timeoutMs }) }, { m: request.method, u: url.pathname + url.search, h: headers })
      return responseOf(answer)
    },

    context(): object {
      const invocation = store.getStore()
      if (invocation === undefined) throw new Error('context() was called outside of an invocation, for instance while the code was loading. Call it inside the handler.')
      const { head } = invocation
      return {
        invocationId: head.i ?? '',
        namespace: frame.namespace,
        function: frame.function,
        revision: frame.revision,
        instance: frame.instance,
        deadlineMs: head.d,
        traceparent: head.t,
        attempt: head.n ?? 1,
        signal: invocation.signal,
        remainingMs: () => invocation.remainingMs(),
      }
    },

    log: Object.fromEntries(
      (['debug', 'info', 'warn', 'error'] as const).map((level) => [level, (message: unknown, fields?: object) => output.entry(level, entryText(message, fields))]),
    ) as Record<Extract<LogLevelName, 'debug' | 'info' | 'warn' | 'error'>, (message: unknown, fields?: object) => void>,
  }
  Object.defineProperty(globalThis, SDK_SYMBOL, { value: Object.freeze(runtime), configurable: true })
}

/** The frame's body of an event: JSON; bytes and streams of bytes are taken to be JSON already. */
function eventBody(payload: unknown): [body: unknown] {
  if (payload === undefined) return ['null']
  if (payload instanceof Uint8Array) return [payload]
  const source = sourceOf(payload)
  if (source !== undefined) return [source]
  const json = JSON.stringify(payload) as string | undefined
  if (json === undefined) throw new PlatformError('INPUT_INVALID', `A payload is a JSON value, bytes or a stream; a ${typeof payload} is none.`)
  return [json]
}

/** The answer of an event: JSON as a value, text as text, anything else as bytes. @throws FUNCTION_THREW for a status that is not 2xx. */
async function valueOf(name: string, { status, headers, body }: CallAnswer): Promise<unknown> {
  const bytes = body.isComplete ? body.takeAll() : await body.readAll()
  const at = headers.indexOf('content-type')
  const type = at === -1 ? '' : headers[at + 1]!
  if (status < 200 || status > 299) throw failed(name, status, type, bytes)
  if (bytes.length === 0) return null
  if (type === '' || /^application\/(.*\+)?json/.test(type)) return JSON.parse(bytes.toString()) as unknown
  return type.startsWith('text/') ? bytes.toString() : new Uint8Array(bytes)
}

function failed(name: string, status: number, type: string, bytes: Buffer): PlatformError {
  const text = bytes.toString('utf8', 0, 4096)
  if (type.startsWith('application/json')) {
    try {
      const { error } = JSON.parse(text) as { error?: PlatformErrorBody }
      if (typeof error?.code === 'string') return PlatformError.fromBody(error)
    } catch {
      // Not the platform's error, then it is the function's own answer.
    }
  }
  return new PlatformError('FUNCTION_THREW', `The function "${name}" answered with status ${status}: ${text.slice(0, 200)}`, { details: { status, body: text } })
}

function responseOf({ status, headers, body }: CallAnswer): Response {
  const pairs: [string, string][] = []
  for (let at = 0; at < headers.length; at += 2) pairs.push([headers[at]!, headers[at + 1]!])
  const init = { status, headers: pairs }
  if (status === 204 || status === 205 || status === 304) return new LightResponse(null, init) as unknown as Response
  const content = body.isComplete ? new Uint8Array(body.takeAll()) : body.stream()
  return new LightResponse(content, init) as unknown as Response
}

function entryText(message: unknown, fields: object | undefined): string {
  const text = typeof message === 'string' ? message : JSON.stringify(message)
  return fields === undefined ? text : `${text} ${JSON.stringify(fields)}`
}
