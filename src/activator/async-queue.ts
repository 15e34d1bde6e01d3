/**
 * Asynchronous invocations: accepted only when durably queued, then run until they succeed or are given up.
 *
 * Source: OpenWhisk's non-blocking invocations and OpenFaaS's queue worker, and what their users miss: retries with
 * backoff, dead letters with redrive, idempotency keys, callbacks. The store's queue holds the work; this holds none
 * that a crash could lose.
 *
 * Invariants:
 *   A1. `accept` resolves only after the store has made the item durable.
 *   A2. An item leaves the queue only after its result is durable (at least once; `attempt` tells the function).
 *   A3. At most `inFlightMax` run at a time, so that waiting work stays in the store and not in memory.
 *   A4. A body's blob goes when its item has left the queue for good; that of a dead letter stays, to be run again.
 *   A5. Work that was accepted, or became possible, during a look at the store is looked for again at once.
 */
import { Readable } from 'node:stream'
import type { Clock, Timer } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import { HeldBody } from '#contract/held-body.ts'
import type { InvocationIds } from '#contract/ids.ts'
import type { Invocation, InvocationRequest } from '#contract/invocation.ts'
import type { Blobs } from '#store/blobs.ts'
import type { ClaimedItem, Store } from '#store/store.ts'
import { AsyncResults } from './async-results.ts'
import type { AsyncResult } from './async-results.ts'
import { CollectingSink } from './collecting-sink.ts'
import type { CollectedAnswer } from './collecting-sink.ts'
import { IdempotencyKeys } from './idempotency-keys.ts'
import { OwnBlobs } from './own-blobs.ts'
import { afterFailure } from './retry-decision.ts'

export type { AsyncResult } from './async-results.ts'

export const ASYNC_QUEUE = 'async'

/** Larger bodies lie in the blobs and only their digest in the queue: an item is at most 64 KB. */
const ITEM_BODY_BYTES_MAX = 32 * 1024

export interface AsyncQueueConfig {
  /** Most asynchronous invocations running at once. */
  readonly inFlightMax: number
  /** How long a claim holds without being renewed, ms: after a crash the work runs again when it ends. */
  readonly leaseMs: number
  /** How often the queue is looked at when nothing tells of new work, ms. */
  readonly pollMs: number
}

export const asyncQueueDefaults: AsyncQueueConfig = { inFlightMax: 256, leaseMs: 5_000, pollMs: 200 }

/** An accepted invocation as it lies in the queue. */
interface QueuedInvocation {
  readonly namespace: string
  readonly function: string
  readonly kind: 'http' | 'event'
  readonly binary?: true
  readonly method: string
  readonly path: string
  readonly headers: readonly string[]
  readonly color?: string
  /** Base64. */
  readonly body?: string
  /** Digest of a body too large for the queue. */
  readonly blob?: string
  readonly traceparent?: string
  readonly callback?: string
}

export interface AcceptOptions {
  readonly namespace: string
  readonly function: string
  readonly request: InvocationRequest
  /** W3C context that came in, if any. */
  readonly traceparent?: string | undefined
  /** The same key gives the same invocation while its result is kept: it runs once however often it is sent. */
  readonly idempotencyKey?: string
  /** URL that gets the result as a POST, or `function:<name>`. */
  readonly callback?: string
}

export interface AsyncQueueOptions {
  readonly store: Store
  readonly blobs: Blobs
  readonly clock: Clock
  readonly ids: InvocationIds
  readonly random: () => number
  readonly config: AsyncQueueConfig
  readonly resolve: (namespace: string, name: string) => Revision | undefined
  /** Runs one invocation; `ended` is called exactly once. */
  readonly run: (options: {
    readonly id: string
    readonly revision: Revision
    readonly request: InvocationRequest
    readonly sink: CollectingSink
    readonly traceparent: string | undefined
    readonly attempt: number
    readonly ended: (invocation: Invocation) => void
  }) => void
  readonly callBack: (target: string, result: AsyncResult) => Promise<void>
  /** Appends to the store what else must be durable when an item leaves the queue. */
  readonly beforeComplete?: () => void
  readonly warn: (message: string, error: unknown) => void
}

/** Ended with a result, and not yet out of the queue. */
interface CompletedItem {
  readonly id: string
  readonly blob: string | undefined
}

export class AsyncQueue {
  readonly #options: AsyncQueueOptions
  readonly #blobs: OwnBlobs
  readonly #results: AsyncResults
  readonly #keys: IdempotencyKeys
  readonly #running = new Map<string, ClaimedItem>()
  #completed: CompletedItem[] = []
  /** `again`: something happened during the look at the store that it may not have seen (A5). */
  #claiming: 'no' | 'once' | 'again' = 'no'
  #completing: Promise<void> | undefined
  #timer: Timer | undefined
  #renewTimer: Timer | undefined
  #state: 'open' | 'draining' | 'closed' = 'open'

  constructor(options: AsyncQueueOptions) {
    this.#options = options
    const { store, clock, ids, warn } = options
    this.#blobs = new OwnBlobs(options.blobs)
    this.#results = new AsyncResults({ store, blobs: this.#blobs, clock, warn })
    this.#keys = new IdempotencyKeys({ store, ids, clock, warn })
  }

  /** Begins to run what is queued, from before a restart too. */
  start(): void {
    this.#renewLater()
    this.#results.start()
    this.#keys.start()
    this.#wake()
  }

  get runningCount(): number {
    return this.#running.size
  }

  /** @returns the invocation's id. @throws STORE_FULL, STORE_FAILED; then nothing was accepted. */
  async accept(options: AcceptOptions): Promise<string> {
    const { store, ids, clock } = this.#options
    const { namespace, function: name, idempotencyKey: key } = options
    const { id, isKnown } = key === undefined ? { id: ids.next(), isKnown: false } : await this.#keys.idFor({ namespace, function: name, key })
    if (isKnown && (await this.#wasQueued(id))) return id
    const { request } = options
    const body = await this.#bodyOf(request.body, id)
    const item: QueuedInvocation = {
      namespace,
      function: name,
      kind: request.kind,
      ...(request.binary === true && { binary: true }),
      method: request.method,
      path: request.path,
      headers: request.headers,
      ...(request.color !== undefined && { color: request.color }),
      ...body,
      ...(options.traceparent !== undefined && { traceparent: options.traceparent }),
      ...(options.callback !== undefined && { callback: options.callback }),
    }
    try {
      await store.enqueue(ASYNC_QUEUE, [{ id, payload: JSON.stringify(item), dueAtMs: clock.epochMs() }])
    } catch (thrown) {
      // Another request with the same key may have the same body, in the same blob: then it is not ours alone.
      if (!isKnown && body.blob !== undefined) await this.#deleteBlob(body.blob)
      throw thrown
    }
    this.#wake()
    return id
  }

  /** The result of a finished invocation, for a day after it was accepted. */
  result(id: string): Promise<AsyncResult | undefined> {
    return this.#results.find(id)
  }

  /** The body of a result's answer. @throws ENTITY_NOT_FOUND when it was removed meanwhile. */
  resultBody(result: AsyncResult): ReturnType<AsyncResults['bodyOf']> {
    return this.#results.bodyOf(result)
  }

  /** Begins nothing more; what runs goes on. The platform stops, and what is not begun waits for the next start. */
  drain(): void {
    this.#state = 'draining'
    this.#timer?.cancel()
  }

  async close(): Promise<void> {
    this.#state = 'closed'
    this.#timer?.cancel()
    this.#renewTimer?.cancel()
    this.#results.close()
    this.#keys.close()
    await this.#completing
    await this.#completeBatch()
  }

  /** Whether the request that was first with its key came as far as the queue: then its body is there, and another is not needed. */
  async #wasQueued(id: string): Promise<boolean> {
    const { store } = this.#options
    if ((await store.find(ASYNC_QUEUE, id)) !== undefined || (await this.result(id)) !== undefined) return true
    return (await store.dead(ASYNC_QUEUE, { prefix: id, limit: 1 })).length > 0
  }

  async #bodyOf(body: InvocationRequest['body'], id: string): Promise<{ readonly body?: string; readonly blob?: string }> {
    if (body === undefined) return {}
    if (body instanceof HeldBody) {
      const held = body.retain().stream()
      try {
        return { blob: await this.#blobs.put(`body of ${id}`, held) }
      } finally {
        held.destroy()
      }
    }
    if (!(body instanceof Uint8Array)) {
      // Whoever brings the body still has to answer on the connection it comes over, also when it is refused half-way.
      const chunks = body.iterator({ destroyOnReturn: false })
      return { blob: await this.#blobs.put(`body of ${id}`, chunks) }
    }
    if (body.length <= ITEM_BODY_BYTES_MAX) return { body: body.toString('base64') }
    return { blob: await this.#blobs.put(`body of ${id}`, Readable.from([body])) }
  }

  #wake(): void {
    if (this.#state !== 'open') return
    if (this.#claiming !== 'no') {
      this.#claiming = 'again'
      return
    }
    this.#timer?.cancel()
    this.#timer = undefined
    this.#claiming = 'once'
    void this.#claim()
  }

  async #claim(): Promise<void> {
    const { store, config, clock, warn } = this.#options
    let claimed: ClaimedItem[] = []
    const room = config.inFlightMax - this.#running.size
    try {
      if (room > 0) claimed = await store.claim(ASYNC_QUEUE, { limit: room, leaseMs: config.leaseMs, nowMs: clock.epochMs() })
    } catch (error) {
      warn('the queue of asynchronous invocations could not be read', error)
    }
    const again = this.#claiming === 'again'
    this.#claiming = 'no'
    if (this.#state !== 'open') return
    for (const item of claimed) {
      // Its lease ran out while this process stood still (a machine that slept): it runs already, and has a lease again.
      if (this.#running.has(item.id)) continue
      this.#running.set(item.id, item)
      void this.#runItem(item)
    }
    // A full claim means that there may be more; otherwise look again when told, or later for what comes due.
    if (again || (claimed.length === room && room > 0)) return this.#wake()
    this.#timer = clock.after(config.pollMs, () => this.#wake())
  }

  async #runItem(item: ClaimedItem): Promise<void> {
    const { resolve, run } = this.#options
    const queued = JSON.parse(item.payload) as QueuedInvocation
    const revision = resolve(queued.namespace, queued.function)
    if (revision === undefined) {
      const error = new PlatformError('FUNCTION_NOT_FOUND', `The function ${queued.namespace}/${queued.function} does not exist any more.`)
      return this.#failForGood(item, queued, error)
    }
    let body: InvocationRequest['body']
    try {
      if (queued.blob !== undefined) body = (await this.#blobs.get(queued.blob)).body
      else if (queued.body !== undefined) body = Buffer.from(queued.body, 'base64')
    } catch (thrown) {
      const { message } = PlatformError.from(thrown)
      return this.#failForGood(item, queued, new PlatformError('STORE_FAILED', `The body of the invocation is lost: ${message}`, { cause: thrown }))
    }
    const sink = new CollectingSink({ inlineBytesMax: ITEM_BODY_BYTES_MAX, blobs: this.#blobs, owner: `result of ${item.id}` })
    run({
      id: item.id,
      revision,
      request: { kind: queued.kind, ...(queued.binary === true && { binary: true }), method: queued.method, path: queued.path, headers: queued.headers, body, color: queued.color },
      sink,
      traceparent: queued.traceparent,
      attempt: item.attempt,
      ended: (invocation) => {
        sink.answer().then(
          (answer) => this.#ended(item, queued, revision, answer, invocation.error),
          // It broke off, or could not be stored.
          (thrown: unknown) => {
            const error = invocation.error ?? PlatformError.from(thrown)
            this.#ended(item, queued, revision, { status: error.kind.status, headers: [] }, error)
          },
        )
      },
    })
  }

  #ended(item: ClaimedItem, queued: QueuedInvocation, revision: Revision, answer: CollectedAnswer, error: PlatformError | undefined): void {
    const failed = error !== undefined || answer.status >= 500
    if (failed) {
      const { clock, random } = this.#options
      // The platform stops: that is no failure of the work, which goes on with the next start.
      if (error?.code === 'STOPPING') return void this.#retry(item, clock.epochMs())
      const next = afterFailure({ attempt: item.attempt, nowMs: clock.epochMs(), random: random() }, revision.config)
      if (next.kind === 'retry') {
        if (answer.blob !== undefined) void this.#deleteBlob(answer.blob)
        return void this.#retry(item, next.dueAtMs)
      }
    }
    const { id } = item
    const answered = {
      status: answer.status,
      headers: answer.headers,
      ...(answer.body !== undefined && { body: answer.body.toString('base64') }),
      ...(answer.blob !== undefined && { blob: answer.blob }),
    }
    this.#keep(queued, { id, namespace: queued.namespace, ...answered, ...(error !== undefined && { error: error.toBody() }) })
    if (failed) return void this.#bury(item, error?.message ?? `The function answered ${answer.status}.`)
    this.#completed.push({ id, blob: queued.blob })
    void this.#completeBatch()
  }

  /** What another attempt cannot mend. */
  #failForGood(item: ClaimedItem, queued: QueuedInvocation, error: PlatformError): Promise<void> {
    this.#keep(queued, { id: item.id, namespace: queued.namespace, status: error.kind.status, headers: [], error: error.toBody() })
    return this.#bury(item, error.message)
  }

  /** Appends the result, and tells who asked to be told. */
  #keep(queued: QueuedInvocation, result: AsyncResult): void {
    this.#results.append(result)
    if (queued.callback === undefined) return
    this.#options.callBack(queued.callback, result).catch((error: unknown) => this.#options.warn(`the callback of invocation ${result.id} failed`, error))
  }

  /** Results first, then the items (A2); whatever ends while one batch is written goes into the next. */
  #completeBatch(): Promise<void> {
    if (this.#completed.length > 0) this.#completing ??= this.#completeAll()
    return this.#completing ?? Promise.resolve()
  }

  async #completeAll(): Promise<void> {
    while (this.#completed.length > 0) {
      const items = this.#completed
      const ids = items.map((item) => item.id)
      this.#completed = []
      try {
        // The invocation's record too: what has ended is known as ended after a crash.
        this.#options.beforeComplete?.()
        await this.#options.store.flush()
        await this.#options.store.complete(ASYNC_QUEUE, ids)
        for (const { blob } of items) if (blob !== undefined) void this.#deleteBlob(blob)
      } catch (error) {
        // Their leases end and they run again: at least once.
        this.#options.warn(`${ids.length} finished asynchronous invocations could not be marked as done`, error)
      }
      for (const id of ids) this.#running.delete(id)
      this.#wake()
    }
    // In the same step as the last look: whatever ends from now on begins the next batch itself.
    this.#completing = undefined
  }

  async #retry(item: ClaimedItem, dueAtMs: number): Promise<void> {
    try {
      await this.#options.store.retry(ASYNC_QUEUE, item.id, dueAtMs)
    } catch (error) {
      this.#options.warn(`invocation ${item.id} could not be put back into the queue`, error)
    }
    this.#running.delete(item.id)
    this.#wakeAt(dueAtMs)
  }

  async #bury(item: ClaimedItem, reason: string): Promise<void> {
    try {
      this.#options.beforeComplete?.()
      await this.#options.store.flush()
      await this.#options.store.bury(ASYNC_QUEUE, item.id, reason)
    } catch (error) {
      this.#options.warn(`invocation ${item.id} could not be put among the dead letters`, error)
    }
    this.#running.delete(item.id)
    this.#wake()
  }

  /** One that stays is lost space and nothing worse. */
  async #deleteBlob(digest: string): Promise<void> {
    await this.#blobs.delete(digest).catch((error: unknown) => this.#options.warn('a body that is not needed any more could not be removed', error))
  }

  #wakeAt(dueAtMs: number): void {
    const delayMs = dueAtMs - this.#options.clock.epochMs()
    if (delayMs > this.#options.config.pollMs) return this.#wake()
    // A timer counts whole ms and may be one early: a claim before the time finds nothing, and waits for the next poll.
    this.#options.clock.after(Math.ceil(delayMs) + 1, () => this.#wake())
  }

  /** Work that runs longer than a lease keeps it (T3: otherwise it would run twice at once). */
  #renewLater(): void {
    this.#renewTimer = this.#options.clock.after(this.#options.config.leaseMs / 3, () => {
      const ids = [...this.#running.keys()]
      if (ids.length > 0) {
        this.#options.store
          .renew(ASYNC_QUEUE, ids, { leaseMs: this.#options.config.leaseMs, nowMs: this.#options.clock.epochMs() })
          .catch((error: unknown) => this.#options.warn('the leases of running asynchronous invocations could not be renewed', error))
      }
      if (this.#state === 'open') this.#renewLater()
    })
  }
}
