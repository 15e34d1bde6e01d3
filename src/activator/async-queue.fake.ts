/** A queue of asynchronous work for tests, on a real store and real blobs; the functions are given as callbacks. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ManualClock } from '#base/clock.ts'
import type { PlatformError } from '#contract/errors.ts'
import type { FunctionConfigInput } from '#contract/function-config.ts'
import type { HeldBody } from '#contract/held-body.ts'
import { InvocationIds } from '#contract/ids.ts'
import { testInvocation, testRevision } from '#contract/invocation.fake.ts'
import type { Blobs } from '#store/blobs.ts'
import { openFileBlobs } from '#store/file-blobs.ts'
import { openSqliteStore } from '#store/sqlite-store.ts'
import type { Store } from '#store/store.ts'
import { AsyncQueue, asyncQueueDefaults } from './async-queue.ts'
import type { AsyncQueueOptions, AsyncResult } from './async-queue.ts'

/** What a function makes of its body: an answer, or a failure. */
export type Answer = { readonly status?: number; readonly body?: Buffer } | { readonly error: PlatformError }

export interface QueueGround {
  readonly queue: AsyncQueue
  readonly store: Store
  readonly blobs: Blobs
  readonly clock: ManualClock
  readonly warnings: string[]
  readonly told: AsyncResult[]
  /** Functions by name; one that is missing does not exist. */
  readonly functions: Map<string, (body: string, attempt: number) => Answer | Promise<Answer>>
  readonly accept: (name: string, body: Buffer | HeldBody | Readable | undefined, over?: { readonly idempotencyKey?: string; readonly callback?: string }) => Promise<string>
  readonly digests: () => Promise<string[]>
}

export interface StoreGround {
  readonly store: Store
  readonly blobs: Blobs
  readonly clock: ManualClock
  readonly digests: () => Promise<string[]>
}

/** Gone when the test ends. */
export async function storeGround(context: Pick<TestContext, 'after'>): Promise<StoreGround> {
  const directory = mkdtempSync(join(tmpdir(), 'skep-async-'))
  const store = await openSqliteStore({ path: join(directory, 'store.sqlite') })
  context.after(async () => {
    await store.close()
    rmSync(directory, { recursive: true, force: true })
  })
  const blobs = await openFileBlobs({ directory: join(directory, 'objects') })
  return {
    store,
    blobs,
    clock: new ManualClock(),
    async digests() {
      const digests: string[] = []
      for await (const blob of blobs.list()) digests.push(blob.digest)
      return digests.sort()
    },
  }
}

export async function queueGround(context: Pick<TestContext, 'after'>, config: Partial<FunctionConfigInput> = {}): Promise<QueueGround> {
  const ground = await storeGround(context)
  const { clock } = ground
  const functions: QueueGround['functions'] = new Map()
  const warnings: string[] = []
  const told: AsyncResult[] = []
  const run: AsyncQueueOptions['run'] = ({ revision, request, sink, attempt, ended }) => {
    const { invocation } = testInvocation(clock, { revision, attempt })
    void (async () => {
      const body = request.body === undefined ? '' : request.body instanceof Readable ? await text(request.body) : String(request.body)
      const answer = await functions.get(revision.function)!(body, attempt)
      if ('error' in answer) {
        invocation.error = answer.error
        sink.fail(answer.error)
      } else sink.head(answer.status ?? 200, ['content-type', 'text/plain'], answer.body, true)
      ended(invocation)
    })()
  }
  const queue = new AsyncQueue({
    store: ground.store, blobs: ground.blobs, clock, run,
    ids: new InvocationIds({ randomBytes, nowMs: () => clock.epochMs() }),
    random: () => 0.5,
    config: asyncQueueDefaults,
    resolve: (namespace, name) => (functions.has(name) ? testRevision({ retryBackoffMs: 1, ...config }, { namespace, function: name }) : undefined),
    callBack: async (_target, result) => void told.push(result),
    warn: (message, error) => void warnings.push(`${message}: ${String(error)}`),
  })
  context.after(() => queue.close())
  queue.start()
  return {
    ...ground, queue, functions, warnings, told,
    accept: (name, body, over = {}) => queue.accept({ namespace: 'n', function: name, request: { kind: 'http', method: 'POST', path: '/', headers: [], body }, ...over }),
  }
}

/** Asks until it is so, letting the queue's time pass. */
export async function eventually(clock: ManualClock, ask: () => Promise<boolean>): Promise<void> {
  for (let round = 0; round < 1000; round++) {
    if (await ask()) return
    clock.advance(50)
    await sleep(2)
  }
  throw new Error('it did not come about')
}
