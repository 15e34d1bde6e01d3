/** The front door for unit tests: over a real HTTP server, with the real invoker, and the test in the activator's place. */
import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import type { AcceptOptions } from '#activator/async-queue.ts'
import { systemClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import { InvocationIds } from '#contract/ids.ts'
import { testRevision } from '#contract/invocation.fake.ts'
import type { Invocation } from '#contract/invocation.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { priceDefaults } from '#telemetry/price.ts'
import { acceptTraceparent, parseTraceparent } from '#telemetry/trace-context.ts'
import { Front } from './front.ts'
import type { Caller } from './front.ts'
import { serve } from './http.fake.ts'
import type { TestServer } from './http.fake.ts'
import { Invoker } from './invoker.ts'

export interface FrontGround extends TestServer {
  readonly submitted: Invocation[]
  readonly records: InvocationRecord[]
  readonly accepted: AcceptOptions[]
  /** Admitted and not released, by namespace. */
  readonly running: Map<string, number>
  /** Functions by `namespace/name`. `n/f` and the public `n/open` are there. */
  readonly functions: Map<string, Revision>
  /** What the test sets to be asked or to happen instead of the usual. */
  readonly hooks: {
    answer: (invocation: Invocation) => void
    accept: (options: AcceptOptions) => Promise<string>
    admit: (namespace: string) => void
    resolve: (() => never) | undefined
  }
  /** For each request, right after it was handled: how many invocations had begun. */
  readonly begunAtOnce: number[]
}

/** Keys: `key-n` and `key-m` of the namespaces n and m, `key-admin` of m. */
export const callers: Readonly<Record<string, Caller>> = {
  'Bearer key-n': { namespace: 'n', role: 'namespace' },
  'Bearer key-m': { namespace: 'm', role: 'namespace' },
  'Bearer key-admin': { namespace: 'm', role: 'admin' },
}

export function complete(invocation: Invocation, status = 200, text = 'answer'): void {
  invocation.status = status
  invocation.sink.head(status, ['content-type', 'text/plain'], Buffer.from(text), true)
  invocation.complete(systemClock.monotonicUs())
}

export async function frontGround(context: Pick<TestContext, 'after'>): Promise<FrontGround> {
  const submitted: Invocation[] = []
  const records: InvocationRecord[] = []
  const accepted: AcceptOptions[] = []
  const running = new Map<string, number>()
  const begunAtOnce: number[] = []
  const functions = new Map<string, Revision>([
    ['n/f', testRevision({}, { namespace: 'n', function: 'f' })],
    ['n/open', testRevision({ public: true }, { namespace: 'n', function: 'open' })],
  ])
  const hooks: FrontGround['hooks'] = {
    answer: (invocation) => complete(invocation),
    accept: async () => 'a'.repeat(32),
    admit: () => {},
    resolve: undefined,
  }
  const count = (namespace: string, by: number): void => void running.set(namespace, (running.get(namespace) ?? 0) + by)
  const invoker = new Invoker({
    activator: {
      submit(invocation) {
        submitted.push(invocation)
        invocation.holder = { cancelInvocation: (one, reason) => one.fail(reason, systemClock.monotonicUs()) }
        hooks.answer(invocation)
      },
      ended() {},
    },
    ids: new InvocationIds({ randomBytes, nowMs: Date.now }),
    clock: systemClock,
    prices: priceDefaults,
    ending() {},
    recorded: (record) => records.push(record),
    traceparentFor: (id, incoming) => acceptTraceparent(incoming, id, 0),
  })
  const front = new Front({
    invoker,
    resolve: (namespace, name) => (hooks.resolve ?? (() => functions.get(`${namespace}/${name}`)))(),
    authenticate(authorization) {
      if (authorization === undefined) throw new PlatformError('KEY_MISSING', 'no key')
      const caller = callers[authorization]
      if (caller === undefined) throw new PlatformError('KEY_INVALID', 'no such key')
      return caller
    },
    admission: {
      admit(namespace) {
        hooks.admit(namespace)
        count(namespace, 1)
      },
      release: (namespace) => count(namespace, -1),
    },
    acceptAsync(options) {
      accepted.push(options)
      return hooks.accept(options)
    },
    api: (request, response) => response.end(`api ${request.url}`),
    s3: (request, response) => response.end(`s3 ${request.url}`),
    metrics: () => ({ type: 'text/plain', text: 'metric 1\n' }),
    traceparent: (header) => (typeof header === 'string' && parseTraceparent(header) !== undefined ? header : undefined),
  })
  const server = await serve(context, (request, response) => {
    front.handle(request, response)
    begunAtOnce.push(submitted.length)
  })
  return { ...server, submitted, records, accepted, running, functions, hooks, begunAtOnce }
}
