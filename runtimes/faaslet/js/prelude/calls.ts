/**
 * Calls that the function makes: of other functions (as runtimes/node/calls.ts looks to the SDK's runtime), and the web's fetch.
 *
 * Invariants:
 *   L1. A call settles once: with the answer's head, or with an error; after that an error goes to the answer's body.
 */
import { PlatformError } from '../../../../src/contract/errors.ts'
import type { OpenHead } from '../../../../src/contract/frames.ts'
import { HostOp, type CallHead, type FetchHead, type WireError } from '../ops.ts'
import type { AbortSignal } from './abort.ts'
import { encodeUtf8, errorOfWire, host } from './host.ts'
import { IncomingBody } from './incoming.ts'
import { offer } from './outgoing.ts'

export interface CallOptions {
  readonly head: OpenHead
  readonly body: string | Uint8Array | AsyncIterator<unknown> | undefined
  readonly signal?: AbortSignal | undefined
  readonly timeoutMs?: number | undefined
}

export interface CallAnswer {
  readonly status: number
  readonly headers: readonly string[]
  readonly body: IncomingBody
  /** Of a fetch. */
  readonly head: CallHead
}

interface OpenCall {
  settle(answer: CallAnswer): void
  fail(error: Error): void
}

const calls: (OpenCall | undefined)[] = []
let nextId = 1
let isLoaded = false

/** From now on there are invocations, which calls can belong to. */
export function allowCalls(): void {
  isLoaded = true
}

export class Call {
  readonly answer: Promise<CallAnswer>

  constructor(_host: unknown, { head, body, signal, timeoutMs }: CallOptions) {
    this.answer = begin(HostOp.call, JSON.stringify(head), body, signal, timeoutMs === undefined ? undefined : { ms: timeoutMs, error: new PlatformError('FUNCTION_TIMEOUT', `The call of "${head.f}" did not end within ${timeoutMs} ms.`) })
  }
}

export function fetchOutside(head: FetchHead, body: string | Uint8Array | AsyncIterator<unknown> | undefined, signal: AbortSignal | undefined): Promise<CallAnswer> {
  return begin(HostOp.fetch, JSON.stringify(head), body, signal, undefined)
}

function begin(op: number, head: string, body: string | Uint8Array | AsyncIterator<unknown> | undefined, signal: AbortSignal | undefined, limit: { readonly ms: number; readonly error: Error } | undefined): Promise<CallAnswer> {
  if (!isLoaded) throw new Error('fetch and calls of functions are not possible while the code loads: it is loaded once, before any invocation. Make them inside the handler.')
  if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
  const id = nextId++
  return new Promise((resolve, reject) => {
    let answered: IncomingBody | undefined
    const abort = (reason: Error): void => {
      if (calls[id] === undefined && answered === undefined) return
      calls[id] = undefined
      host(HostOp.abort, id)
      reject(reason)
      answered?.fail(reason)
    }
    const onAbort = (): void => abort(signal!.reason as Error)
    const timer = limit === undefined ? undefined : setTimeout(() => abort(limit.error), limit.ms)
    signal?.addEventListener('abort', onAbort)
    calls[id] = {
      settle(answer) {
        calls[id] = undefined
        answered = answer.body
        resolve(answer)
        if (!answer.body.isComplete) return
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      },
      fail(error) {
        calls[id] = undefined
        clearTimeout(timer)
        reject(error)
      },
    }
    const given = typeof body === 'string' && !body.isWellFormed() ? encodeUtf8(body) : body
    if (given === undefined || typeof given === 'string' || given instanceof Uint8Array) host(op, id, head, given)
    else {
      offer(id, given)
      host(op, id, head, null)
    }
  })
}

/** From the host. */
export function answered(id: number, text: string, bytes: Uint8Array | undefined): void {
  const head = JSON.parse(text) as CallHead
  const body = new IncomingBody(id, bytes === undefined || bytes.length === 0 ? undefined : bytes, head.b !== true)
  calls[id]?.settle({ status: head.s, headers: head.h, body, head })
}

/** A call has failed, or a body that comes in. */
export function broke(id: number, text: string): void {
  const error = errorOfWire(JSON.parse(text) as WireError)
  const call = calls[id]
  if (call !== undefined) call.fail(error)
  else IncomingBody.of(id)?.fail(error)
}
