/**
 * Calls of other functions and requests to the network that a WebAssembly function has under way, by handle.
 *
 * Beginning one never waits, so that a function can begin several and then wait for each; what waits is asking for a
 * result. Whatever is still open when the invocation ends is let go of.
 *
 * Invariants:
 *   RS1. At most {@link OPEN_MAX} are open. A handle is never given twice in an invocation.
 */
import { PlatformError } from '../../../src/contract/errors.ts'
import type { OpenHead } from '../../../src/contract/frames.ts'
import type { CallAnswer, CallOptions } from '../../node/calls.ts'
import { SkepError } from './abi.ts'
import type { PutSource } from './put-source.ts'

const OPEN_MAX = 64
const NO_BYTES = Buffer.alloc(0)

/** Opens a call of another function: `Call` of runtimes/node/calls.ts, with its host. */
export type OpenCall = (options: CallOptions) => { readonly answer: Promise<CallAnswer> }

type PutAside = (work: () => void) => void

export interface ResultHead {
  readonly status: number
  /** name, value, …; names in lower case. */
  readonly headers: readonly string[]
}

interface Source extends ResultHead {
  /** The next bytes of the body; undefined after the last. */
  read(): Promise<Uint8Array | undefined>
  /** All of it, where it came in one piece, or with the head. */
  readonly whole?: Buffer
  /** Of the body, where that is known. */
  readonly bytes?: number | undefined
  /** What came in one piece is of no more use. */
  release?(whole: Buffer): void
}

/** What a function says about a request: `{"url", "method", "headers": [[name, value], …], "function"}`. */
export interface RequestText {
  readonly url: string
  readonly method: string
  readonly headers: readonly (readonly [string, string])[]
  /** Given: the request goes to this function, and `url` is a path from its root. */
  readonly function: string | undefined
}

export class Result {
  readonly #abort = new AbortController()
  readonly #source: Promise<Source>
  #open: Source | undefined
  #chunk: Uint8Array = NO_BYTES
  #state: 'open' | 'ended' = 'open'
  #wasRead = false
  #isClosed = false
  error: PlatformError | undefined
  /** Of an object that the function puts piece by piece. */
  readonly sink: PutSource | undefined

  /** @param putAside When to begin: as soon as the function's code has stopped running. */
  constructor(begin: (signal: AbortSignal) => Promise<Source>, putAside: PutAside, sink?: PutSource) {
    this.sink = sink
    this.#source = new Promise((resolve, reject) => putAside(() => begin(this.#abort.signal).then(resolve, reject)))
    this.#source.then((source) => {
      if (this.#isClosed) this.#release(source)
    }, () => {})
  }

  /** What is known without waiting. */
  get head(): ResultHead | undefined {
    return this.#open
  }

  /** Of the body, when the head has come; undefined when that is not known. */
  get bytes(): number | undefined {
    return this.#open?.bytes
  }

  /** The whole body, where it is here and nothing was taken: it counts as read then. Only when the head has come. */
  takeWhole(): Buffer | undefined {
    const whole = this.#wasRead ? undefined : this.#open!.whole
    if (whole === undefined) return undefined
    this.#wasRead = true
    this.#state = 'ended'
    return whole
  }

  /** Bytes of the body that are here; undefined when they must be waited for (`wait`). */
  take(bytes: number): Uint8Array | undefined {
    if (this.#chunk.length === 0) return this.#state === 'ended' ? NO_BYTES : undefined
    const taken = this.#chunk.subarray(0, bytes)
    this.#chunk = this.#chunk.subarray(taken.length)
    return taken
  }

  /** Resolves to whether the head has come; `error` says why not. */
  async waitHead(): Promise<boolean> {
    try {
      this.#open ??= await this.#source
      return true
    } catch (error) {
      return this.#fail(error)
    }
  }

  /** Resolves to whether there are bytes or the end. */
  async waitBody(): Promise<boolean> {
    if (!(await this.waitHead())) return false
    try {
      while (this.#chunk.length === 0 && this.#state === 'open') {
        const chunk = this.#wasRead ? await this.#open!.read() : (this.#open!.whole ?? (await this.#open!.read()))
        this.#wasRead = true
        if (chunk === undefined) this.#state = 'ended'
        else this.#chunk = chunk
      }
      return true
    } catch (error) {
      return this.#fail(error)
    }
  }

  close(): void {
    this.#isClosed = true
    this.#abort.abort(new PlatformError('CANCELLED', 'The function let go of it.'))
    if (this.#open !== undefined) this.#release(this.#open)
  }

  #release(source: Source): void {
    this.#chunk = NO_BYTES
    if (source.whole !== undefined) source.release?.(source.whole)
  }

  #fail(error: unknown): false {
    this.error = PlatformError.from(error)
    return false
  }
}

export class Results {
  readonly #open: (Result | undefined)[] = []
  #openCount = 0

  /** A handle, from 1, or SkepError.tooMany. */
  add(make: () => Result): number {
    if (this.#openCount >= OPEN_MAX) return SkepError.tooMany
    this.#openCount++
    return this.#open.push(make())
  }

  get(handle: number): Result | undefined {
    return this.#open[handle - 1]
  }

  /** Takes one out: it is to be closed. */
  take(handle: number): Result | undefined {
    const found = this.get(handle)
    if (found === undefined) return undefined
    this.#open[handle - 1] = undefined
    this.#openCount--
    return found
  }

  closeAll(): void {
    for (let handle = 1; handle <= this.#open.length; handle++) this.take(handle)?.close()
  }
}

/** A call of another function, of its handler with an event or of its HTTP side; or for an object. `body` is asked for when the code has stopped running. */
export function callResult(
  open: OpenCall,
  head: OpenHead,
  body: CallBody | (() => CallBody),
  timeoutMs: number | undefined,
  putAside: PutAside,
  release: (whole: Buffer) => void,
  sink?: PutSource,
): Result {
  return new Result(async (signal) => {
    let answer: CallAnswer
    try {
      answer = await open({ head, body: typeof body === 'function' ? body() : body, signal, timeoutMs }).answer
    } catch (thrown) {
      // Whoever writes is not to wait for a reader.
      void sink?.return()
      throw thrown
    }
    const { status, headers, body: content } = answer
    const whole = content.isComplete ? content.takeAll() : undefined
    return { status, headers, read: () => content.read(), bytes: whole?.length ?? statedBytes(headers), ...(whole !== undefined && { whole, release }) }
  }, putAside, sink)
}

type CallBody = Uint8Array | AsyncIterator<Uint8Array> | undefined

/** What a head says of its body's length. */
export function statedBytes(headers: readonly string[]): number | undefined {
  const at = headers.findIndex((text, index) => index % 2 === 0 && text === 'content-length')
  return at !== -1 && /^\d{1,15}$/.test(headers[at + 1]!) ? Number(headers[at + 1]!) : undefined
}

/** A request to the network. */
export function fetchResult(fetch: typeof globalThis.fetch, request: RequestText, body: Uint8Array<ArrayBuffer>, timeoutMs: number | undefined, putAside: PutAside): Result {
  return new Result(async (signal) => {
    const limit = timeoutMs === undefined ? signal : AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
    const hasBody = body.length > 0 && request.method !== 'GET' && request.method !== 'HEAD'
    let response: Response
    try {
      response = await fetch(request.url, { method: request.method, headers: request.headers.map(([name, value]): [string, string] => [name, value]), redirect: 'manual', signal: limit, ...(hasBody && { body }) })
    } catch (cause) {
      throw new PlatformError('SERVER_UNREACHABLE', `The request to ${request.url} failed: ${reason(cause)}.`, { cause })
    }
    const reader = response.body?.getReader()
    const headers = [...response.headers].flat()
    return {
      status: response.status,
      headers,
      // Of an encoded body, its length is not the content's.
      bytes: headers.includes('content-encoding') ? undefined : statedBytes(headers),
      read: async () => (await reader?.read())?.value,
    }
  }, putAside)
}

/** What a function wrote as a request; undefined when it is none. */
export function parseRequest(text: string): RequestText | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { url, method = 'GET', headers = [], function: name } = value as { readonly [key: string]: unknown }
  const isHeader = (pair: unknown): pair is [string, string] => Array.isArray(pair) && pair.length === 2 && pair.every((text) => typeof text === 'string')
  if (typeof url !== 'string' || typeof method !== 'string' || !Array.isArray(headers) || !headers.every(isHeader)) return undefined
  if (name !== undefined && (typeof name !== 'string' || name === '' || !url.startsWith('/'))) return undefined
  if (name === undefined && !/^https?:\/\//.test(url)) return undefined
  return { url, method: method.toUpperCase(), headers, function: name }
}

/** `fetch failed` says nothing; its cause does. */
function reason(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error && cause.message !== '' ? cause.message : message
}
