/**
 * What the `skep` module (sdk/) finds behind `Symbol.for('skep.runtime')`: calls of functions, objects, context and log.
 *
 * The SDK is a package of its own that user code may bundle; so it holds no logic, and this is the one place that does.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { PlatformError, type PlatformErrorBody } from '../../src/contract/errors.ts'
import { CREDIT_BYTES, INLINE_BYTES_MAX, type InitFrame, type LogLevelName, type OpenHead } from '../../src/contract/frames.ts'
import { Call, type CallAnswer } from './calls.ts'
import type { Host } from './host.ts'
import { describe, type Invocation } from './invocation.ts'
import { allocate, ownBytes, readWhole, type Memory } from './memory.ts'
import type { Output } from './output.ts'
import { sourceOf } from './web-action.ts'
import { LightRequest } from './web/light-request.ts'
import { LightResponse } from './web/light-response.ts'

export interface InvokeOptions {
  readonly signal?: AbortSignal
  /** Longest time until the answer has ended, ms; the caller's own deadline holds in any case. */
  readonly timeoutMs?: number
  /** What the called invocation shares data with; the platform checks it. */
  readonly color?: string
}

export interface InvokeAllOptions extends InvokeOptions {
  /** Calls that run at a time. */
  readonly concurrency?: number
}

export interface PutOptions extends InvokeOptions {
  readonly retrievals?: number
  readonly ttlMs?: number
  readonly key?: string
}

/** Enough to fill the machine's instances; the rest waits here instead of in the platform. */
const CONCURRENCY = 64

export const SDK_SYMBOL = Symbol.for('skep.runtime')

export function installSdk(host: Host, output: Output, store: AsyncLocalStorage<Invocation>, frame: InitFrame): void {
  if (host.memory !== undefined) host.memory.limitBytes = frame.memoryMb * 1024 * 1024
  const send = (kind: OpenHead['k'], body: unknown, options: InvokeOptions | undefined, more: Partial<OpenHead>): Promise<CallAnswer> => {
    const caller = store.getStore()
    const head: OpenHead = {
      k: kind,
      ...(caller?.isOpen === true && { c: caller.stream }),
      ...(options?.timeoutMs !== undefined && { d: Date.now() + options.timeoutMs }),
      ...more,
    }
    return new Call(host, { head, body: body as string, signal: options?.signal, timeoutMs: options?.timeoutMs }).answer
  }
  const open = (name: string, kind: OpenHead['k'], body: unknown, options: InvokeOptions | undefined, more: Partial<OpenHead>): Promise<CallAnswer> => {
    if (typeof name !== 'string' || name === '') throw new PlatformError('NAME_INVALID', `A function is called by its name, "name" or "namespace/name"; this is ${typeof name}.`)
    return send(kind, body, options, { f: name, ...(options?.color !== undefined && { l: options.color }), ...more })
  }
  const openObject = (reference: string, options: InvokeOptions | undefined, more: Partial<OpenHead>): Promise<CallAnswer> => {
    if (typeof reference !== 'string' || reference === '') throw new PlatformError('REFERENCE_INVALID', `A reference is the text that put has given; this is ${describe(reference)}.`)
    return send('get', undefined, options, { r: reference, ...more })
  }
  const invoke = async (name: string, payload?: unknown, options?: InvokeOptions): Promise<unknown> => {
    const event = eventBody(payload)
    return valueOf(name, await open(name, 'event', event.body, options, event.binary ? { b: true } : {}), host.memory)
  }

  const runtime = {
    invoke,

    async invokeAll(name: string, payloads: Iterable<unknown>, { concurrency = CONCURRENCY, signal, timeoutMs, color }: InvokeAllOptions = {}): Promise<unknown[]> {
      if (!Number.isInteger(concurrency) || concurrency < 1) throw new PlatformError('INPUT_INVALID', `invokeAll: concurrency is ${describe(concurrency)}, and must be a whole number from 1.`)
      const all = [...payloads]
      const results = new Array<unknown>(all.length)
      const stopped = new AbortController()
      const signals = signal === undefined ? stopped.signal : AbortSignal.any([signal, stopped.signal])
      let next = 0
      const work = async (): Promise<void> => {
        for (let at = next++; at < all.length; at = next++) results[at] = await invoke(name, all[at], { signal: signals, ...(timeoutMs !== undefined && { timeoutMs }), ...(color !== undefined && { color }) })
      }
      try {
        await Promise.all(Array.from({ length: Math.min(concurrency, all.length) }, work))
      } catch (error) {
        // The first failure is the answer: what others would still give is not wanted.
        stopped.abort(error)
        throw error
      }
      return results
    },

    async put(object: unknown, { retrievals, ttlMs, key, signal, timeoutMs }: PutOptions = {}): Promise<string> {
      const terms = { ...(retrievals !== undefined && { n: retrievals }), ...(ttlMs !== undefined && { t: ttlMs }), ...(key !== undefined && { k: key }) }
      const answer = await send('put', objectBody(object), { ...(signal !== undefined && { signal }), ...(timeoutMs !== undefined && { timeoutMs }) }, { o: terms })
      const { reference } = (await valueOf('put', answer, host.memory)) as { reference: string }
      return reference
    },

    async get(reference: string, options?: InvokeOptions): Promise<Buffer> {
      const { headers, body } = await openObject(reference, options, {})
      return readWhole(body, headers, host.memory)
    },

    /** @param asError What becomes of an error that the stream ends with. */
    getStream(reference: string, options: InvokeOptions | undefined, asError: (error: unknown) => unknown): ReadableStream<Uint8Array> {
      const cancelled = new AbortController()
      const signal = options?.signal === undefined ? cancelled.signal : AbortSignal.any([options.signal, cancelled.signal])
      // Bound to the invocation that asks, and begun by whoever reads.
      const begin = AsyncLocalStorage.bind(() => openObject(reference, { ...options, signal }, { s: true }))
      let answer: Promise<CallAnswer> | undefined
      return new ReadableStream<Uint8Array>(
        {
          pull: async (controller) => {
            try {
              const { body } = await (answer ??= begin())
              const chunk = await body.read(CREDIT_BYTES)
              if (chunk === undefined) controller.close()
              else controller.enqueue(chunk)
            } catch (error) {
              controller.error(asError(error))
            }
          },
          cancel: (reason) => cancelled.abort(reason),
        },
        { highWaterMark: 0 },
      )
    },

    allocate(bytes: number): Buffer {
      return allocate(host.memory, bytes, frame.memoryMb)
    },

    async invokeAsync(name: string, payload?: unknown, options?: InvokeOptions): Promise<{ readonly id: string }> {
      const event = eventBody(payload)
      const answer = await open(name, 'event', event.body, options, { a: true, ...(event.binary && { b: true }) })
      const value = (await valueOf(name, answer, host.memory)) as { id?: string; invocation?: string; invocationId?: string } | null
      return { id: value?.id ?? value?.invocationId ?? value?.invocation ?? '' }
    },

    async fetchFunction(name: string, input?: RequestInfo | URL, init?: RequestInit & InvokeOptions): Promise<Response> {
      const target = typeof input === 'string' && input.startsWith('/') ? `http://localhost${input}` : (input ?? 'http://localhost/')
      const request = input instanceof LightRequest && init === undefined ? (input as unknown as Request) : (new LightRequest(target, init) as unknown as Request)
      const url = new URL(request.url)
      const headers = [...request.headers].flat()
      const given = init?.body
      // Bytes and text need no stream to be made of them, and can be passed as memory.
      const body = typeof given === 'string' || given instanceof Uint8Array ? given : request.body === null ? undefined : sourceOf(request.body)
      const answer = await open(name, 'http', body, { signal: init?.signal ?? request.signal, ...(init?.timeoutMs !== undefined && { timeoutMs: init.timeoutMs }), ...(init?.color !== undefined && { color: init.color }) }, { m: request.method, u: url.pathname + url.search, h: headers })
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

/** The frame's body of an event: bytes as they are, anything else as JSON; a stream of bytes is taken to be JSON already. */
function eventBody(payload: unknown): { readonly body: unknown; readonly binary: boolean } {
  if (payload === undefined) return { body: 'null', binary: false }
  const bytes = bytesOf(payload)
  if (bytes !== undefined) return { body: bytes, binary: true }
  const source = sourceOf(payload)
  if (source !== undefined) return { body: source, binary: false }
  const json = JSON.stringify(payload) as string | undefined
  if (json === undefined) throw new PlatformError('INPUT_INVALID', `A payload is a JSON value, bytes or a stream; a ${typeof payload} is none.`)
  return { body: json, binary: false }
}

/** What is put: text and bytes whole, everything else as it streams. */
function objectBody(object: unknown): string | Uint8Array | AsyncIterator<unknown> {
  const whole = typeof object === 'string' ? object : bytesOf(object)
  const source = whole ?? sourceOf(object instanceof Blob ? object.stream() : object)
  if (source === undefined) throw new PlatformError('INPUT_INVALID', `put takes bytes, a text, a Blob or a stream, and got ${describe(object)}; put JSON.stringify of a value.`)
  return source
}

function bytesOf(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value
  return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined
}

/** The answer of an event: JSON as a value, text as text, anything else as bytes. @throws FUNCTION_THREW for a status that is not 2xx. */
async function valueOf(name: string, { status, headers, body }: CallAnswer, memory: Memory | undefined): Promise<unknown> {
  const bytes = body.isComplete ? body.takeAll() : await readWhole(body, headers, memory)
  const at = headers.indexOf('content-type')
  const type = at === -1 ? '' : headers[at + 1]!
  if (status < 200 || status > 299) throw failed(name, status, type, bytes)
  if (bytes.length === 0) return null
  if (type === '' || /^application\/(.*\+)?json/.test(type)) return JSON.parse(bytes.toString()) as unknown
  return type.startsWith('text/') ? bytes.toString() : ownBytes(bytes)
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
  const content = body.isComplete && body.bytesHeld <= INLINE_BYTES_MAX ? new Uint8Array(body.takeAll()) : body.stream()
  return new LightResponse(content, init) as unknown as Response
}

function entryText(message: unknown, fields: object | undefined): string {
  const text = typeof message === 'string' ? message : JSON.stringify(message)
  return fields === undefined ? text : `${text} ${JSON.stringify(fields)}`
}
