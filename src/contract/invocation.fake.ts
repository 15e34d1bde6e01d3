/** Invocations for unit tests: a revision, a sink that keeps what it gets and holds its callers to V1, and both put together. */
import assert from 'node:assert/strict'
import type { PlatformError } from './errors.ts'
import { functionConfig } from './function-config.ts'
import type { FunctionConfigInput, Revision } from './function-config.ts'
import { Invocation } from './invocation.ts'
import type { AnswerSink, InvocationOptions, InvocationRequest } from './invocation.ts'
import type { Clock } from '#base/clock.ts'

export function testRevision(config: Partial<FunctionConfigInput> = {}, over: Partial<Revision> = {}): Revision {
  return {
    namespace: 'default', function: 'f', number: 1, code: 'c'.repeat(64), codeBytes: 1, createdAtMs: 0,
    config: functionConfig.parse({ kind: 'node', entry: 'index.js', ...config }), ...over,
  }
}

/** Throws where a caller breaks V1: anything after the end, data before the head, a second head. */
export class RecordingSink implements AnswerSink {
  status = 0
  headers: readonly string[] = []
  readonly chunks: Buffer[] = []
  error: PlatformError | undefined
  isComplete = false
  /** What was not consumed yet, oldest first; only while {@link holdsChunks}. */
  readonly held: (() => void)[] = []
  /** Like a slow client: chunks are consumed only when {@link held} is called. */
  holdsChunks = false
  #heads = 0
  #ended = Promise.withResolvers<void>()

  get body(): Buffer {
    return Buffer.concat(this.chunks)
  }

  get bytes(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  }

  /** Resolves after `last` or `fail`. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  get isEnded(): boolean {
    return this.isComplete || this.error !== undefined
  }

  head(status: number, headers: readonly string[], body: Buffer | undefined, last: boolean): void {
    assert(!this.isEnded && this.#heads++ === 0, 'V1: one head, and nothing after the end')
    this.status = status
    this.headers = headers
    if (body !== undefined) this.chunks.push(body)
    if (last) this.#complete()
  }

  data(chunk: Buffer, last: boolean, consumed: () => void): void {
    assert(!this.isEnded && this.#heads === 1, 'V1: data only after the head and before the end')
    this.chunks.push(chunk)
    if (this.holdsChunks) this.held.push(consumed)
    else consumed()
    if (last) this.#complete()
  }

  fail(error: PlatformError): void {
    assert(!this.isEnded, 'V1: one end')
    this.error = error
    this.#ended.resolve()
  }

  #complete(): void {
    this.isComplete = true
    this.#ended.resolve()
  }
}

export interface TestInvocation {
  readonly invocation: Invocation
  readonly sink: RecordingSink
  /** How often it has ended: once, by V2. */
  readonly ends: () => number
}

let made = 0

export function testInvocation(
  clock: Clock,
  over: Partial<Omit<InvocationOptions, 'request' | 'sink'>> & { readonly request?: Partial<InvocationRequest>; readonly sink?: RecordingSink } = {},
): TestInvocation {
  const sink = over.sink ?? new RecordingSink()
  let ends = 0
  const id = Math.floor(clock.epochMs()).toString(16).padStart(12, '0') + (++made).toString(16).padStart(20, '0')
  const invocation = new Invocation({
    id, revision: testRevision(), origin: 'http', acceptedUs: clock.monotonicUs(), startedAtMs: clock.epochMs(), traceparent: `00-${id}-${id.slice(16)}-00`,
    ...over,
    sink,
    request: { kind: 'event', method: 'POST', path: '/', headers: [], body: undefined, ...over.request },
    ended: (ended) => {
      ends++
      over.ended?.(ended)
    },
  })
  return { invocation, sink, ends: () => ends }
}

/** Lets everything that is under way between streams of this process arrive: some turns of the event loop, no time. */
export async function turns(count = 8): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
