/**
 * Runs functions of an ordinary program on a Skep platform: one, one per item, or map and reduce.
 *
 * Source: Jonas, Pu, Venkataraman, Stoica, Recht, "Occupy the Cloud: Distributed Computing for the 99%" (SoCC 2017), PyWren, and the interface of
 * lithops, its descendant. Where we differ: no code is pickled (the module is bundled and deployed under the hash of its code), functions and results
 * do not go through an object store (an invocation has them as its body), and what reducers need stays in memory where mappers made it.
 *
 * Invariants:
 *   E1. Futures of a map are in the order of its items.
 *   E2. Results of mappers never come here: mapReduce sees references only.
 *   E3. In the cloud an Executor does nothing, and says so when it is used: a module that makes one can be loaded there.
 */
import { PlatformError } from '../../src/contract/errors.ts'
import { Buckets } from './buckets.ts'
import { Calls } from './calls.ts'
import type { Chunk } from './calls.ts'
import { removeFunction } from './deployment.ts'
import type { FunctionSettings } from './deployment.ts'
import { makeFuture, wait } from './future.ts'
import type { Future, Settler, WaitFor } from './future.ts'
import { locateFunction } from './locate-function.ts'
import type { FunctionOf } from './locate-function.ts'
import { partsOf } from './object-part.ts'
import type { Objects } from './object-part.ts'
import { Platform } from './platform.ts'
import { drawOn, PROGRESS_EVERY_MS } from './progress.ts'
import type { Progress } from './progress.ts'
import { Group, TaskPool } from './task-pool.ts'

export interface ExecutorOptions extends Omit<FunctionSettings, 'concurrency'> {
  /** Of the platform. Default: SKEP_URL, else the platform of this machine. */
  readonly url?: string
  /** Default: SKEP_KEY, else that of the platform of this machine. */
  readonly key?: string
  readonly namespace?: string
  /** Invocations at a time. Default 64. */
  readonly concurrency?: number
  /** Invocations that one instance holds at a time. Default: the platform's; 1 gives each an instance to itself. */
  readonly instanceConcurrency?: number
  /** How often work that was lost is done again (a killed instance, a broken connection). What the function throws is its result. Default 3. */
  readonly retries?: number
  /** Whether the last few that take more than twice the median get a second copy. The function may then run twice. Default false. */
  readonly speculate?: boolean
  /** true: a line on standard error. Default: when that is a terminal. */
  readonly progress?: boolean | ((progress: Progress) => void)
}

export interface MapOptions {
  /** Items per invocation. Default 1. */
  readonly chunk?: number
}

export interface MapReduceOptions extends MapOptions {
  /** With this many, what is mapped must be a Map or a plain object; each reducer gets a share of the keys, and the result is one value for each. */
  readonly reducers?: number
}

/** What a function is told about stored bytes, as its second argument. */
export interface About {
  readonly bucket: string
  readonly key: string
  /** Where the part begins and ends, before its lines are made whole. */
  readonly from: number
  readonly to: number
}

type Reduce<Mapped, Reduced> = FunctionOf<[Mapped[]], Reduced>

export class Executor {
  readonly #options: ExecutorOptions
  readonly #pool: TaskPool
  readonly #live = new Set<Future<unknown>>()
  #session: { readonly platform: Platform; readonly buckets: Buckets; readonly calls: Calls } | undefined

  constructor(options: ExecutorOptions = {}) {
    this.#options = options
    const { concurrency = 64, retries = 3 } = options
    if (!(concurrency >= 1)) throw new PlatformError('INPUT_INVALID', `concurrency is ${concurrency}; at least one invocation has to run at a time.`)
    this.#pool = new TaskPool({ concurrency, retries })
  }

  /** Runs an exported function with one argument. */
  callAsync<Argument, Result>(fn: FunctionOf<[Argument], Result>, argument: Argument): Future<Result> {
    return this.map(fn, [argument])[0]!
  }

  /** Runs it once for each item. */
  map<Item, Result>(fn: FunctionOf<[Item], Result>, items: Iterable<Item>, options: MapOptions = {}): Future<Result>[] {
    return this.#mapChunks<Result>(fn, inChunks(items, options.chunk))
  }

  /** Runs it once for each stored object, or part of one: `fn(bytes, about)`. */
  async mapObjects<Result>(fn: FunctionOf<[never, About], Result>, objects: Objects, options: MapOptions = {}): Promise<Future<Result>[]> {
    return this.#mapChunks<Result>(fn as FunctionOf<never, unknown>, await this.#chunksOf(objects, options))
  }

  /** Runs `fn` for each item or object, and `reduce` with the list of what came of them; that list stays in the cloud. */
  mapReduce<Item, Mapped, Reduced>(fn: FunctionOf<[Item], Mapped>, items: Iterable<Item>, reduce: Reduce<Mapped, Reduced>, options: MapReduceOptions & { readonly reducers: number }): Future<Reduced[]>
  mapReduce<Item, Mapped, Reduced>(fn: FunctionOf<[Item], Mapped>, items: Iterable<Item>, reduce: Reduce<Mapped, Reduced>, options?: MapOptions): Future<Reduced>
  mapReduce<Mapped, Reduced>(fn: FunctionOf<[never, About], Mapped>, objects: Objects, reduce: Reduce<Mapped, Reduced>, options: MapReduceOptions & { readonly reducers: number }): Future<Reduced[]>
  mapReduce<Mapped, Reduced>(fn: FunctionOf<[never, About], Mapped>, objects: Objects, reduce: Reduce<Mapped, Reduced>, options?: MapOptions): Future<Reduced>
  mapReduce(fn: FunctionOf<never, unknown>, input: Iterable<unknown> | Objects, reduce: FunctionOf<never, unknown>, options: MapReduceOptions = {}): Future<unknown> {
    const { reducers = 1 } = options
    if (!(Number.isInteger(reducers) && reducers >= 1)) throw new PlatformError('INPUT_INVALID', `reducers is ${reducers}; it is a whole number, 1 or more.`)
    const { calls } = this.#use()
    const mapper = locateFunction(fn)
    const reducer = locateFunction(reduce)
    const settler = this.#make<unknown>()
    const cancelled = new AbortController()
    settler.onCancel(() => cancelled.abort())
    const asked = askedBy(this.mapReduce)
    const work = async (): Promise<unknown> => {
      const chunks = Symbol.iterator in input ? inChunks(input, options.chunk) : await this.#chunksOf(input, options)
      settler.started()
      const keep = { partitions: reducers }
      const kept = await this.#runAll(`${mapper.name} (map)`, chunks, cancelled, (chunk, signal) => calls.keep(mapper, chunk, keep, signal, asked))
      const parts = Array.from({ length: reducers }, (_, at) => kept.map((references) => references[at]!))
      const reduced = await this.#runAll(`${reducer.name} (reduce)`, parts, cancelled, (references, signal, at) =>
        calls.reduce(reducer, references, (lost) => calls.keep(mapper, chunks[lost]!, { ...keep, only: at }, signal, asked).then(([again]) => again!), signal, asked))
      return options.reducers === undefined ? reduced[0] : reduced
    }
    work().then(settler.resolve, (error: unknown) => {
      cancelled.abort()
      settler.reject(error)
    })
    return settler.future
  }

  /** Waits until one or all have ended ('any', 'all'), or not at all ('always'), or the timeout has passed. Says nothing of how they ended. */
  wait<Value>(futures: readonly Future<Value>[], until: WaitFor = 'all', timeoutMs?: number): Promise<[done: Future<Value>[], pending: Future<Value>[]]> {
    return wait(futures, until, timeoutMs)
  }

  /** The results of all, in order. @throws the first error, as soon as there is one. */
  results<Value>(futures: readonly Future<Value>[]): Promise<Value[]> {
    return Promise.all(futures.map((future) => future.result()))
  }

  /** Cancels what has not ended, and closes the connections. `remove`: removes the functions that this Executor used, too. */
  async close({ remove = false }: { readonly remove?: boolean } = {}): Promise<void> {
    for (const future of this.#live) future.cancel()
    const session = this.#session
    if (session === undefined) return
    this.#session = undefined
    if (remove) for (const name of await session.calls.deployed()) await removeFunction(session.platform.api, name)
    await session.buckets.close()
    session.platform.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #use(): { readonly platform: Platform; readonly buckets: Buckets; readonly calls: Calls } {
    if ((globalThis as Record<symbol, unknown>)[Symbol.for('skep.map.remote')] === true) {
      throw new PlatformError(
        'INPUT_INVALID',
        'An Executor was used in the cloud, by the module that was sent there: put what your program does into "if (import.meta.main) { … }". Functions call functions with invokeAll of \'skep\'.',
      )
    }
    if (this.#session === undefined) {
      const { instanceConcurrency, memoryMb, cpu, timeoutMs = 600_000, network, environment, secrets } = this.#options
      const platform = new Platform(this.#options)
      const buckets = new Buckets(platform)
      const settings = { memoryMb, cpu, timeoutMs, network, environment, secrets, concurrency: instanceConcurrency }
      const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as FunctionSettings
      this.#session = { platform, buckets, calls: new Calls(platform, buckets, given) }
    }
    return this.#session
  }

  #mapChunks<Result>(fn: FunctionOf<never, unknown>, chunks: readonly Chunk[]): Future<Result>[] {
    const { calls } = this.#use()
    const target = locateFunction(fn)
    const asked = askedBy(this.map)
    const group = new Group(chunks.length, this.#options.speculate ?? false)
    const settlers = chunks.map((chunk) => Array.from({ length: sizeOf(chunk) }, () => this.#make<Result>()))
    const progress = this.#progress(target.name, settlers.flat().map((settler) => settler.future))
    chunks.forEach((chunk, at) => {
      const own = settlers[at]!
      const cancelled = new AbortController()
      let left = own.length
      for (const settler of own) settler.onCancel(() => { if (--left === 0) cancelled.abort() })
      this.#pool.submit({
        group,
        cancelled: cancelled.signal,
        started: () => {
          for (const settler of own) settler.started()
          progress()
        },
        attempt: async (signal) => {
          const outcomes = await calls.outcomes(target, chunk, signal, asked)
          own.forEach((settler, item) => {
            const outcome = outcomes[item]!
            if (outcome.ok) settler.resolve(outcome.value as Result)
            else settler.reject(outcome.error)
          })
        },
        failed: (error) => { for (const settler of own) settler.reject(error) },
      })
    })
    return settlers.flat().map((settler) => settler.future)
  }

  /** One task per input; the first failure ends all. */
  async #runAll<Input, Value>(what: string, inputs: readonly Input[], cancelled: AbortController, run: (input: Input, signal: AbortSignal, at: number) => Promise<Value>): Promise<Value[]> {
    const group = new Group(inputs.length, this.#options.speculate ?? false)
    const settlers = inputs.map(() => makeFuture<Value>())
    const progress = this.#progress(what, settlers.map((settler) => settler.future))
    inputs.forEach((input, at) => {
      const settler = settlers[at]!
      this.#pool.submit({
        group,
        cancelled: cancelled.signal,
        started: () => {
          settler.started()
          progress()
        },
        attempt: async (signal) => settler.resolve(await run(input, signal, at)),
        failed: (error) => settler.reject(error),
      })
    })
    return Promise.all(settlers.map((settler) => settler.future.result()))
  }

  #make<Value>(): Settler<Value> {
    const settler = makeFuture<Value>()
    this.#live.add(settler.future)
    const gone = (): void => void this.#live.delete(settler.future)
    settler.future.result().then(gone, gone)
    return settler
  }

  async #chunksOf(objects: Objects, { chunk }: MapOptions): Promise<Chunk[]> {
    const stream = objects.as === 'stream'
    if ('references' in objects) return inChunks(objects.references, chunk).map(({ items }) => ({ kind: 'references', references: items, stream }))
    const { bucket, prefix, chunkBytes } = objects
    const listed = await this.#use().buckets.list(bucket, prefix)
    return partsOf(bucket, listed, chunkBytes).map((parts) => ({ kind: 'parts', parts, stream }))
  }

  #progress(what: string, futures: readonly Future<unknown>[]): () => void {
    const { progress = process.stderr.isTTY === true } = this.#options
    if (progress === false) return () => {}
    const draw = progress === true ? drawOn(process.stderr) : progress
    const startedMs = performance.now()
    const counts = { done: 0, failed: 0 }
    let toldMs = -Infinity
    const tell = (): void => {
      const nowMs = performance.now()
      if (counts.done < futures.length && nowMs - toldMs < PROGRESS_EVERY_MS) return
      toldMs = nowMs
      const running = futures.reduce((count, { state }) => count + (state === 'running' ? 1 : 0), 0)
      draw({ what, total: futures.length, running, ...counts, elapsedMs: nowMs - startedMs })
    }
    for (const future of futures) {
      future.result().catch(() => { counts.failed++ }).then(() => {
        counts.done++
        tell()
      })
    }
    return tell
  }
}

function inChunks<Item>(items: Iterable<Item>, chunk = 1): { readonly kind: 'items'; readonly items: Item[] }[] {
  if (!(Number.isInteger(chunk) && chunk >= 1)) throw new PlatformError('INPUT_INVALID', `chunk is ${chunk}; it is a whole number of items per invocation, 1 or more.`)
  const chunks: { readonly kind: 'items'; readonly items: Item[] }[] = []
  for (const item of items) {
    const last = chunks.at(-1)
    if (last !== undefined && last.items.length < chunk) last.items.push(item)
    else chunks.push({ kind: 'items', items: [item] })
  }
  return chunks
}

function sizeOf(chunk: Chunk): number {
  return chunk.kind === 'items' ? chunk.items.length : chunk.kind === 'parts' ? chunk.parts.length : chunk.references.length
}

/** The frames of the program that called `method`. */
function askedBy(method: unknown): string {
  const place: { stack?: string } = {}
  Error.captureStackTrace(place, method as () => void)
  return (place.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line) && !line.includes('/clients/map/') && !line.includes('node:internal')).join('\n')
}
