/**
 * A JavaScript or TypeScript function: its environment, its code, and the three shapes its handler may have.
 *
 * Many invocations run at once on the one event loop; each runs in an asynchronous context of its own, by which output,
 * calls and late errors find the invocation they belong to.
 *
 * Decided: an error that nobody catches (uncaught exception, unhandled rejection) fails the invocation in whose context
 * it was thrown, or, when that has ended or there is none, is logged. It never ends the process, because the other
 * invocations in it have done nothing wrong.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { setSourceMapsSupport } from 'node:module'
import { PlatformError } from '../../src/contract/errors.ts'
import type { InitedFrame, InitFrame } from '../../src/contract/frames.ts'
import type { Host, Instance } from './host.ts'
import { answerInvalid, describe, threw, useStackTrimmer, type Invocation } from './invocation.ts'
import { loadHandler, type Handler } from './load-handler.ts'
import type { Output } from './output.ts'
import { installSdk } from './sdk-runtime.ts'
import { StackTrimmer } from './stack.ts'
import { eventOf, paramsOf, sendResult, sourceOf, urlEventOf } from './web-action.ts'
import { LightRequest } from './web/light-request.ts'
import { LightResponse } from './web/light-response.ts'

export class NodeInstance implements Instance {
  readonly #host: Host
  readonly #output: Output
  readonly #context: AsyncLocalStorage<Invocation>
  readonly #root: string
  #frame!: InitFrame
  #isAssigned = false
  #environment: Readonly<Record<string, string>> = {}
  #handler!: Handler
  readonly #run = (invocation: Invocation): void => {
    try {
      const result = this.#handler.shape === 'fetch' ? this.#fetch(invocation) : this.#convert(invocation)
      if (result instanceof Promise || typeof (result as PromiseLike<unknown> | undefined)?.then === 'function') {
        ;(result as PromiseLike<unknown>).then(
          (value) => this.#send(invocation, value),
          (error: unknown) => invocation.fail(threw(error)),
        )
      } else this.#send(invocation, result)
    } catch (error) {
      invocation.fail(threw(error))
    }
  }

  constructor(host: Host, output: Output, context: AsyncLocalStorage<Invocation>, root: string) {
    this.#host = host
    this.#output = output
    this.#context = context
    this.#root = root
    const stacks = new StackTrimmer(root)
    useStackTrimmer(stacks.trim)
    process.on('uncaughtException', (error) => this.#uncaught('Uncaught', error, stacks))
    process.on('unhandledRejection', (reason) => this.#uncaught('Unhandled rejection', reason, stacks))
  }

  /** It has been told which function it is. */
  get isAssigned(): boolean {
    return this.#isAssigned
  }

  async init(frame: InitFrame): Promise<InitedFrame['shape']> {
    this.#frame = frame
    this.#isAssigned = true
    setEnvironment(frame.environment)
    this.#environment = { ...process.env } as Record<string, string>
    process.chdir(this.#root)
    setSourceMapsSupport(true, { nodeModules: true })
    installSdk(this.#host, this.#output, this.#context, frame)
    this.#handler = await loadHandler(this.#root, frame.entry, frame.handler, new StackTrimmer(this.#root))
    return this.#handler.shape
  }

  invoke(invocation: Invocation): void {
    this.#context.run(invocation, this.#run, invocation)
  }

  onDrain(): void {
    this.#output.sayDropped()
  }

  beforeExit(): void {
    this.#output.flushPartial()
  }

  #fetch(invocation: Invocation): unknown {
    return this.#handler.run(LightRequest.fromInvocation(invocation), this.#environment, new FetchContext(invocation))
  }

  async #convert(invocation: Invocation): Promise<unknown> {
    let input: unknown
    try {
      input = await this.#input(invocation)
    } catch (error) {
      // The request is at fault, not the code, which has not run.
      return invocation.fail(PlatformError.from(error))
    }
    if (this.#handler.shape === 'main') return this.#handler.run(input)
    const context = this.#lambdaContext(invocation)
    if (this.#handler.parameters < 3) return this.#handler.run(input, context)
    return new Promise((resolve, reject) => {
      const callback = (error: unknown, result: unknown): void => (error === null || error === undefined ? resolve(result) : reject(error as Error))
      const returned = this.#handler.run(input, context, callback) as PromiseLike<unknown> | undefined
      if (typeof returned?.then === 'function') returned.then(resolve, reject)
    })
  }

  #input(invocation: Invocation): Promise<unknown> {
    if (invocation.head.k === 'event') return eventOf(invocation)
    return this.#handler.shape === 'main' ? paramsOf(invocation) : urlEventOf(invocation, this.#frame.function)
  }

  /** @see AWS Lambda, "Using the Lambda context object" */
  #lambdaContext(invocation: Invocation): object {
    const { namespace, function: name, revision, instance, memoryMb } = this.#frame
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

  #send(invocation: Invocation, value: unknown): void {
    const text = LightResponse.plainTextOf(value)
    if (text !== undefined) return invocation.answerText(text)
    try {
      const parts = LightResponse.partsOf(value) ?? foreignParts(value)
      if (parts !== undefined) {
        const { status, headers, body } = parts
        if (body === null || typeof body === 'string' || body instanceof Uint8Array) invocation.answer(status, headers, body ?? undefined)
        else invocation.answerStream(status, headers, sourceOf(body)!)
      } else if (this.#handler.shape === 'fetch') {
        const thing = value === undefined ? 'nothing' : describe(value)
        invocation.fail(answerInvalid(`fetch must return a Response, and returned ${thing}`))
      } else sendResult(invocation, this.#handler.shape, value)
    } catch (error) {
      invocation.fail(answerInvalid(error instanceof Error ? error.message : describe(error)))
    }
  }

  #uncaught(what: string, error: unknown, stacks: StackTrimmer): void {
    const invocation = this.#context.getStore()
    const text = error instanceof Error ? stacks.trim(String(error.stack ?? error)) : describe(error)
    this.#output.entry('error', `${what}: ${text}`, invocation?.stream ?? 0)
    invocation?.fail(threw(error))
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

  /** Epoch ms; undefined without a deadline. */
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

  /** The instance stays until this has settled, also when the platform wants it to stop. */
  waitUntil(work: PromiseLike<unknown>): void {
    this.#invocation.addLateWork(Promise.resolve(work))
  }

  /** There is no origin behind a function here to pass to: an exception is the answer. */
  passThroughOnException(): void {}

  async invoke(name: string, payload?: unknown, options?: object): Promise<unknown> {
    return sdk().invoke(name, payload, options)
  }

  get log(): unknown {
    return sdk().log
  }
}

function sdk(): { invoke(name: string, payload?: unknown, options?: object): Promise<unknown>; log: unknown } {
  return (globalThis as Record<symbol, unknown>)[Symbol.for('skep.runtime')] as ReturnType<typeof sdk>
}

/** A Response of another implementation, bundled with the user's code: known by its members. */
function foreignParts(value: unknown): { status: number; headers: string[]; body: unknown } | undefined {
  if (typeof value !== 'object' || value === null || value.constructor?.name !== 'Response') return undefined
  const { status, headers, body } = value as { status?: unknown; headers?: Iterable<[string, string]>; body?: unknown }
  if (typeof status !== 'number' || typeof headers?.[Symbol.iterator] !== 'function') return undefined
  if (body !== null && body !== undefined && sourceOf(body) === undefined) throw new PlatformError('ANSWER_INVALID', 'The Response has a body that cannot be read.')
  return { status, headers: [...headers].flatMap(([name, text]) => [name.toLowerCase(), text]), body: body ?? null }
}

/** Exactly the given variables, and the few that programs rely on. */
export function setEnvironment(given: Readonly<Record<string, string>>): void {
  const path = process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin'
  for (const name of Object.keys(process.env)) if (!(name in given)) delete process.env[name]
  Object.assign(process.env, { PATH: path, HOME: '/tmp', TMPDIR: '/tmp', NODE_ENV: 'production', ...given })
}
