/**
 * Runs the handler for an invocation: what runtimes/node/node-instance.ts does, for one invocation at a time.
 */
import { PlatformError } from '../../../../src/contract/errors.ts'
import { eventOf, paramsOf, sendResult, sourceOf, urlEventOf } from '../../../node/web-action.ts'
import type { Invocation as NodeInvocation } from '../../../node/invocation.ts'
import { HostOp } from '../ops.ts'
import type { AbortSignal } from './abort.ts'
import { currentInvocation, frameInfo, setCurrent } from './current.ts'
import type { Handler } from './handler.ts'
import { host, wireError } from './host.ts'
import { answerInvalid, describe, threw, type Invocation } from './invocation.ts'
import { flushOutput } from './process.ts'
import { Request } from './request.ts'
import { Response } from './response.ts'
import { runtime } from './sdk.ts'

let handler: Handler
let environment: Readonly<Record<string, string>> = {}

export function setHandler(found: Handler, variables: Readonly<Record<string, string>>): void {
  handler = found
  environment = variables
}

export function run(invocation: Invocation): void {
  setCurrent(invocation)
  try {
    const result = handler.shape === 'fetch' ? handler.run(Request.fromInvocation(invocation), environment, new FetchContext(invocation)) : convert(invocation)
    if (result instanceof Promise || typeof (result as PromiseLike<unknown> | undefined)?.then === 'function') {
      ;(result as PromiseLike<unknown>).then(
        (value) => send(invocation, value),
        (error: unknown) => invocation.fail(threw(error)),
      )
    } else send(invocation, result)
  } catch (error) {
    invocation.fail(threw(error))
  }
}

/** An error that nobody caught fails the invocation, and is logged. */
export function uncaught(what: string, error: unknown): void {
  host(HostOp.uncaught, what, JSON.stringify(wireError(error)))
  currentInvocation()?.fail(threw(error))
}

async function convert(invocation: Invocation): Promise<unknown> {
  let input: unknown
  try {
    input = await inputOf(invocation as unknown as NodeInvocation, invocation.isEvent)
  } catch (error) {
    // The request is at fault, not the code, which has not run.
    invocation.fail(PlatformError.from(error))
    return SENT
  }
  if (handler.shape === 'main') return handler.run(input)
  const context = lambdaContext(invocation)
  if (handler.parameters < 3) return handler.run(input, context)
  return new Promise((resolve, reject) => {
    const callback = (error: unknown, result: unknown): void => (error === null || error === undefined ? resolve(result) : reject(error as Error))
    const returned = handler.run(input, context, callback) as PromiseLike<unknown> | undefined
    if (typeof returned?.then === 'function') returned.then(resolve, reject)
  })
}

const SENT = Symbol('sent')

function inputOf(invocation: NodeInvocation, isEvent: boolean): Promise<unknown> {
  if (isEvent) return eventOf(invocation)
  return handler.shape === 'main' ? paramsOf(invocation) : urlEventOf(invocation, frameInfo().function)
}

function lambdaContext(invocation: Invocation): object {
  const { namespace, function: name, revision, instance, memoryMb } = frameInfo()
  return {
    awsRequestId: invocation.head.i ?? '',
    functionName: name,
    functionVersion: String(revision),
    invokedFunctionArn: `arn:skep:function:${namespace}:${name}:${revision}`,
    memoryLimitInMB: String(memoryMb),
    logGroupName: `${namespace}/${name}`,
    logStreamName: instance,
    callbackWaitsForEmptyEventLoop: false,
    getRemainingTimeInMillis: () => invocation.remainingMs(),
  }
}

function send(invocation: Invocation, value: unknown): void {
  flushOutput()
  if (value === SENT) return
  const text = Response.plainTextOf(value)
  if (text !== undefined) return invocation.answerText(text)
  try {
    const parts = Response.partsOf(value) ?? foreignParts(value)
    if (parts !== undefined) {
      const { status, headers, body } = parts
      if (body === null || typeof body === 'string' || body instanceof Uint8Array) invocation.answer(status, headers, body ?? undefined)
      else invocation.answerStream(status, headers, sourceOf(body)!)
    } else if (handler.shape === 'fetch') {
      const thing = value === undefined ? 'nothing' : describe(value)
      invocation.fail(answerInvalid(`fetch must return a Response, and returned ${thing}`))
    } else sendResult(invocation as unknown as NodeInvocation, handler.shape, value)
  } catch (error) {
    invocation.fail(answerInvalid(error instanceof Error ? error.message : describe(error)))
  }
}

/** What a fetch handler gets as its third argument. */
class FetchContext {
  readonly #invocation: Invocation

  constructor(invocation: Invocation) {
    this.#invocation = invocation
  }

  get invocationId(): string | undefined {
    return this.#invocation.head.i
  }

  get deadlineMs(): number | undefined {
    return this.#invocation.head.d
  }

  get traceparent(): string | undefined {
    return this.#invocation.head.t
  }

  get attempt(): number {
    return this.#invocation.head.n ?? 1
  }

  get signal(): AbortSignal {
    return this.#invocation.signal
  }

  remainingMs(): number {
    return this.#invocation.remainingMs()
  }

  waitUntil(work: PromiseLike<unknown>): void {
    this.#invocation.addLateWork(Promise.resolve(work))
  }

  passThroughOnException(): void {}

  async invoke(name: string, payload?: unknown, options?: object): Promise<unknown> {
    return runtime().invoke(name, payload, options)
  }

  get log(): unknown {
    return runtime().log
  }
}

/** A Response of another implementation, bundled with the user's code: known by its members. */
function foreignParts(value: unknown): { status: number; headers: string[]; body: unknown } | undefined {
  if (typeof value !== 'object' || value === null || value.constructor?.name !== 'Response') return undefined
  const { status, headers, body } = value as { status?: unknown; headers?: Iterable<[string, string]>; body?: unknown }
  if (typeof status !== 'number' || typeof headers?.[Symbol.iterator] !== 'function') return undefined
  if (body !== null && body !== undefined && sourceOf(body) === undefined) throw new PlatformError('ANSWER_INVALID', 'The Response has a body that cannot be read.')
  return { status, headers: [...headers].flatMap(([name, text]) => [name.toLowerCase(), text]), body: body ?? null }
}
