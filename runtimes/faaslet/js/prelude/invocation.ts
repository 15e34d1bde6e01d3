/**
 * One invocation, as the adapters of the handler shapes know it from runtimes/node/invocation.ts. The real one is the host's; this one
 * reads the head when it is asked for, and passes on.
 */
import { PlatformError } from '../../../../src/contract/errors.ts'
import type { OpenHead } from '../../../../src/contract/frames.ts'
import { HostOp } from '../ops.ts'
import { AbortController, type AbortSignal } from './abort.ts'
import type { Bytes } from './bytes.ts'
import { encodeUtf8, host, wireError } from './host.ts'
import { IncomingBody } from './incoming.ts'
import { offer } from './outgoing.ts'

export { answerInvalid, describe } from '../../../node/invocation.ts'

export class Invocation {
  readonly body: IncomingBody
  readonly isEvent: boolean
  /** Of no meaning here: the host knows whose call it is. */
  readonly stream = 0
  readonly #headText: string
  #head: OpenHead | undefined
  #controller: AbortController | undefined
  #isOpen = true

  constructor(headText: string, isEvent: boolean, bytes: Uint8Array | undefined, bodyFollows: boolean) {
    this.#headText = headText
    this.isEvent = isEvent
    this.body = new IncomingBody(0, bytes, !bodyFollows)
  }

  get head(): OpenHead {
    return (this.#head ??= JSON.parse(this.#headText) as OpenHead)
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  get signal(): AbortSignal {
    return (this.#controller ??= new AbortController()).signal
  }

  /** The whole body of a call. */
  readBytes(): Promise<Bytes> {
    return this.body.readAll()
  }

  remainingMs(): number {
    const { d } = this.head
    return d === undefined ? Infinity : Math.max(0, d - Date.now())
  }

  addLateWork(work: PromiseLike<unknown>): void {
    host(HostOp.lateWork, 1)
    const done = (): void => {
      host(HostOp.lateWork, -1)
    }
    work.then(done, (error: unknown) => {
      done()
      throw error
    })
  }

  answerText(text: string): void {
    if (!this.#end()) return
    host(HostOp.answerText, text.isWellFormed() ? text : text.toWellFormed())
  }

  answer(status: number, headers: readonly string[], body: string | Uint8Array | undefined): void {
    if (!this.#end()) return
    const bytes = typeof body === 'string' && !body.isWellFormed() ? encodeUtf8(body) : body
    host(HostOp.answer, status, JSON.stringify(headers), bytes)
  }

  answerStream(status: number, headers: readonly string[], source: AsyncIterator<unknown>): void {
    if (!this.#end()) return
    offer(0, source)
    host(HostOp.answerStream, status, JSON.stringify(headers))
  }

  fail(error: PlatformError): void {
    this.#isOpen = false
    host(HostOp.fail, JSON.stringify(error.toBody()))
  }

  /** The platform no longer wants it. */
  cancel(): void {
    this.#isOpen = false
    const reason = new DOMException('The invocation was cancelled.', 'AbortError')
    this.body.fail(reason)
    this.#controller ??= new AbortController()
    this.#controller.abort(reason)
  }

  #end(): boolean {
    const wasOpen = this.#isOpen
    this.#isOpen = false
    return wasOpen
  }
}

/** What user code threw, as the platform's error. */
export function threw(error: unknown): PlatformError {
  const { name, message, stack } = wireError(error)
  const text = name === '' ? message : `${name}: ${message}`
  return new PlatformError('FUNCTION_THREW', text, { cause: error, ...(stack !== undefined && { functionStack: `${text}\n${stack}` }) })
}
