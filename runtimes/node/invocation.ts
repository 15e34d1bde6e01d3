/**
 * One invocation inside the runtime: what was asked, and the one answer it may give.
 *
 * The adapters of the handler shapes turn whatever the user's code returns into one call of `answer`, `answerStream` or
 * `fail`. The platform may end it before, by `cancel`.
 *
 * Invariants:
 *   V1. Exactly one end is sent per invocation: END of the answer, or `reset` (F3). Whatever comes later is dropped.
 *   V2. An answer's head is valid HTTP: status 200-599, header names are tokens, values have no control characters.
 *   V3. An answer to HEAD, and one with status 204, 205 or 304, has no body.
 */
import { FrameFlag, FrameType, INLINE_BYTES_MAX, type OpenHead } from '../../src/contract/frames.ts'
import { PlatformError } from '../../src/contract/errors.ts'
import { IncomingBody } from './body-in.ts'
import { OutgoingBody } from './body-out.ts'
import type { Channel } from './channel.ts'
import { readWhole, type Memory } from './memory.ts'

/** Head bytes that fit beside an inline body in any case. */
const HEAD_BYTES_MAX = 64 * 1024
const TEXT_BYTES_MAX = 16 * 1024
/** Beyond, an error goes without its details: a quarter of a frame, as a character has up to three bytes. */
const ERROR_CHARACTERS_MAX = 256 * 1024
const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const PLAIN_TEXT_HEADERS = ['content-type', 'text/plain;charset=UTF-8']
const PLAIN_TEXT_HEAD = `{"s":200,"h":${JSON.stringify(PLAIN_TEXT_HEADERS)}}`

/** What an invocation asks of the runtime that holds it. */
export interface InvocationOwner {
  readonly channel: Channel
  readonly memory?: Memory | undefined
  /** What it used until now. */
  usageOf(invocation: Invocation): { readonly cpuUs: number; readonly peakKb: number }
  /** About to send the last frame, which cannot carry the usage itself. */
  beforeEnd(invocation: Invocation): void
  /** It has ended; the stream may be forgotten. */
  afterEnd(invocation: Invocation): void
}

export class Invocation {
  readonly stream: number
  readonly head: OpenHead
  readonly body: IncomingBody
  readonly #owner: InvocationOwner
  #state: 'open' | 'streaming' | 'ended' = 'open'
  #controller: AbortController | undefined
  #onCancel: (() => void)[] | undefined
  #hasFailed = false
  #outgoing: OutgoingBody | undefined
  /** Work that goes on after the answer (`waitUntil`). */
  #lateWork = 0
  /** The owner's cpu accounting at the start of this invocation. */
  cpuMark = 0

  constructor(owner: InvocationOwner, stream: number, head: OpenHead, first: Buffer | undefined, bodyEnded: boolean) {
    this.#owner = owner
    this.stream = stream
    this.head = head
    this.body = new IncomingBody(first, bodyEnded, (bytes) => this.#sendCredit(bytes))
  }

  get isOpen(): boolean {
    return this.#state !== 'ended'
  }

  /** It ended without a whole answer. */
  get hasFailed(): boolean {
    return this.#hasFailed
  }

  get hasLateWork(): boolean {
    return this.#lateWork > 0
  }

  /** Aborted when the platform cancels. Made at the first use: most handlers never ask. */
  get signal(): AbortSignal {
    return (this.#controller ??= new AbortController()).signal
  }

  /** The whole body of a call. Not of a request from outside: what its sender states of its length is not to be believed. */
  readBytes(): Promise<Buffer> {
    return readWhole(this.body, this.head.h, this.#owner.memory)
  }

  onCancel(callback: () => void): void {
    ;(this.#onCancel ??= []).push(callback)
  }

  /** ms until the deadline; Infinity when there is none. Not below 0. */
  remainingMs(): number {
    return this.head.d === undefined ? Infinity : Math.max(0, this.head.d - Date.now())
  }

  addLateWork(work: PromiseLike<unknown>): void {
    this.#lateWork++
    const done = (): void => {
      this.#lateWork--
      if (this.#lateWork === 0 && this.#state === 'ended') this.#owner.afterEnd(this)
    }
    work.then(done, (error: unknown) => {
      done()
      throw error
    })
  }

  addCredit(bytes: number): void {
    this.#outgoing?.addCredit(bytes)
  }

  /** Answers with a body that is known. @param headers name, value, …; names in lower case. */
  answer(status: number, headers: readonly string[], body: string | Uint8Array | undefined): void {
    if (this.#state !== 'open') return
    const hasBody = !this.#bodyIsForbidden(status)
    const bytes = body === undefined ? 0 : typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
    if (hasBody && bytes > INLINE_BYTES_MAX) {
      if (this.#answerMemory(status, withLength(headers, bytes), body!)) return
      const chunk = typeof body === 'string' ? Buffer.from(body) : body!
      this.answerStream(status, withLength(headers, bytes), [chunk][Symbol.iterator]() as unknown as AsyncIterator<unknown>)
      return
    }
    const head = this.#headOrFail(status, this.head.m === 'HEAD' && body !== undefined ? withLength(headers, bytes) : headers)
    if (head === undefined) return
    this.#owner.channel.sendHead(FrameType.head, FrameFlag.end, this.stream, head, hasBody ? body : undefined, this.#owner.usageOf(this))
    this.#end()
  }

  /** Answers with a body that is passed as memory. @returns false when it has to be streamed. */
  #answerMemory(status: number, headers: readonly string[], body: string | Uint8Array): boolean {
    const head = this.#headOrFail(status, headers)
    if (head === undefined) return true
    const passed = this.#owner.memory?.pass(body, this.stream)
    if (passed === undefined) return false
    this.#owner.channel.sendHead(FrameType.head, FrameFlag.end, this.stream, `${head.slice(0, -1)},"p":${JSON.stringify(passed)}}`, undefined, this.#owner.usageOf(this))
    this.#end()
    return true
  }

  /** The commonest answer: status 200, a short text. */
  answerText(text: string): void {
    if (this.#state !== 'open') return
    if (this.head.m === 'HEAD' || text.length > INLINE_BYTES_MAX / 3) return this.answer(200, PLAIN_TEXT_HEADERS, text)
    this.#owner.channel.sendHead(FrameType.head, FrameFlag.end, this.stream, PLAIN_TEXT_HEAD, text, this.#owner.usageOf(this))
    this.#end()
  }

  /** Answers with the chunks of a source, each sent as it comes. The source's error resets the stream. */
  answerStream(status: number, headers: readonly string[], source: AsyncIterator<unknown>): void {
    if (this.#state !== 'open') return
    const head = this.#headOrFail(status, headers)
    if (head === undefined || this.#bodyIsForbidden(status)) {
      void Promise.resolve(source.return?.()).catch(() => {})
      if (head !== undefined) this.answer(status, headers, undefined)
      return
    }
    this.#state = 'streaming'
    this.#outgoing = new OutgoingBody(this.#owner.channel, this.stream)
    this.#owner.channel.sendHead(FrameType.head, 0, this.stream, head, undefined)
    this.#outgoing.pump(source, () => this.#owner.beforeEnd(this)).then(
      () => this.#end(),
      (error: unknown) => this.fail(threw(error)),
    )
  }

  /** Ends without an answer, or breaks off the one that has begun. */
  fail(error: PlatformError): void {
    if (this.#state === 'ended') return
    this.#hasFailed = true
    this.#owner.beforeEnd(this)
    this.#owner.channel.send(FrameType.reset, 0, this.stream, errorPayload(error))
    this.#outgoing?.close()
    this.#end()
  }

  /** The platform no longer wants it: the code is told, and the end is confirmed (F4). */
  cancel(): void {
    if (this.#state === 'ended') return
    this.#hasFailed = true
    const reason = new DOMException('The invocation was cancelled.', 'AbortError')
    this.#owner.channel.send(FrameType.reset, 0, this.stream)
    this.body.fail(reason)
    this.#end()
    this.#outgoing?.close()
    this.#controller ??= new AbortController()
    this.#controller.abort(reason)
    for (const callback of this.#onCancel ?? []) callback()
  }

  #end(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    if (!this.body.isComplete) this.body.fail(new Error('The invocation has ended; the rest of its request body is gone.'))
    this.#owner.afterEnd(this)
  }

  #sendCredit(bytes: number): void {
    if (this.#state === 'ended') return
    this.#owner.channel.send(FrameType.credit, 0, this.stream, u32(bytes))
  }

  #bodyIsForbidden(status: number): boolean {
    return this.head.m === 'HEAD' || status === 204 || status === 205 || status === 304
  }

  #headOrFail(status: number, headers: readonly string[]): string | undefined {
    const wrong = headProblem(status, headers)
    if (wrong === undefined) {
      const head = `{"s":${status},"h":${JSON.stringify(headers)}}`
      if (head.length <= HEAD_BYTES_MAX / 3 || Buffer.byteLength(head) <= HEAD_BYTES_MAX) return head
      this.fail(answerInvalid(`its headers have ${Buffer.byteLength(head)} bytes, at most ${HEAD_BYTES_MAX} are allowed`))
    } else this.fail(answerInvalid(wrong))
    return undefined
  }
}

export function answerInvalid(what: string): PlatformError {
  return new PlatformError('ANSWER_INVALID', `The function's answer cannot be sent: ${what}.`)
}

/** What user code threw, as the platform's error. */
export function threw(error: unknown): PlatformError {
  if (error instanceof Error || (typeof error === 'object' && error !== null && 'stack' in error && 'message' in error)) {
    const { name, message, stack } = error as Error
    return new PlatformError('FUNCTION_THREW', `${name}: ${message}`, { cause: error, ...(stack !== undefined && { functionStack: trimStack(String(stack)) }) })
  }
  return new PlatformError('FUNCTION_THREW', `The function threw ${describe(error)}, which is not an Error.`, { cause: error })
}

/** A value in a few words, for a message. Never throws. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return value.length > 60 ? `a string of ${value.length} characters` : JSON.stringify(value)
  if (typeof value === 'function') return `a function${value.name === '' ? '' : ` (${value.name})`}`
  if (typeof value !== 'object' || value === null) return String(value)
  try {
    return Array.isArray(value) ? `an array of ${value.length}` : `an object (${value.constructor?.name ?? 'no prototype'})`
  } catch {
    return 'an object'
  }
}

/** An error as the payload of a reset: cut so that it fits a frame whatever the user's message is. */
export function errorPayload(error: PlatformError): string {
  const { code, message, stack, details } = error.toBody()
  const rest = { code, message: cut(message), ...(stack !== undefined && { stack: cut(stack) }) }
  const text = JSON.stringify({ ...rest, details })
  return text.length <= ERROR_CHARACTERS_MAX ? text : JSON.stringify(rest)
}

export function u32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function cut(text: string): string {
  return text.length <= TEXT_BYTES_MAX ? text : `${text.slice(0, TEXT_BYTES_MAX)}… (${text.length} characters)`
}

function headProblem(status: number, headers: readonly string[]): string | undefined {
  if (!Number.isInteger(status) || status < 200 || status > 599) return `its status is ${describe(status)}, and must be a number from 200 to 599`
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]!
    if (!HEADER_NAME.test(name)) return `${describe(name)} is not a header name`
    if (!HEADER_VALUE.test(headers[index + 1]!)) return `the value of header "${name}" has characters that HTTP does not allow: ${describe(headers[index + 1])}`
  }
  return undefined
}

function withLength(headers: readonly string[], bytes: number): readonly string[] {
  for (let index = 0; index < headers.length; index += 2) if (headers[index] === 'content-length') return headers
  return [...headers, 'content-length', String(bytes)]
}

let trimStack: (stack: string) => string = (stack) => stack

/** Hands in how stacks are shortened: that knows where the code lies, which this file does not. */
export function useStackTrimmer(trimmer: (stack: string) => string): void {
  trimStack = trimmer
}
