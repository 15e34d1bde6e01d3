/**
 * The functions that a provider has deployed: made a few at a time, each asked once, and all removed again, also after a failure half-way (V2).
 *
 * What is the same for every platform that deploys is here; a platform says how one function is made, removed and spoken to.
 *
 *   D1. A name is noted before it is made, and forgotten when it is removed: whatever fails in between, `release` knows it.
 *   D2. A `release` that can't remove some removes the others, and then says which are left.
 */
import { randomBytes } from 'node:crypto'
import { PlatformError } from '#contract/errors.ts'
import type { SubExperiment } from '../experiment.ts'
import type { Endpoint, PrepareOptions } from '../provider.ts'
import { sendTo } from './send.ts'

export interface Platform {
  /** Is not told to end half-way: nobody would know whether the function is there, and it may appear after its removal. */
  deploy(name: string, one: SubExperiment): Promise<void>
  /** Succeeds when there is none. */
  remove(name: string): Promise<void>
  /** @param chain Names of the functions after the first. */
  endpoint(name: string, chain: readonly string[], one: SubExperiment): Endpoint
}

/** Steps under way at once: a platform's API is not what is measured. */
const AT_ONCE = 8

export class Deployments {
  readonly #platform: Platform
  /** In all names, so that two runs on one account don't meet. */
  readonly #run = randomBytes(4).toString('hex')
  readonly #names = new Map<number, Set<string>>()

  constructor(platform: Platform) {
    this.#platform = platform
  }

  async prepare(one: SubExperiment, { progress, signal }: PrepareOptions): Promise<readonly Endpoint[]> {
    const chains = Array.from({ length: one.Parallelism }, (_, endpoint) => Array.from({ length: one.DataTransferChainLength }, (_, place) => this.nameOf(one, `${endpoint}-${place}`)))
    const names = chains.flat()
    const made = new Set<string>()
    this.#names.set(one.index, made)
    try {
      await each(names, signal, async (name, done) => {
        made.add(name)
        await this.#platform.deploy(name, one)
        progress(`deploying ${done} of ${names.length}`)
      })
      const endpoints = chains.map(([first, ...rest]) => this.#platform.endpoint(first!, rest, one))
      await askEachOnce(endpoints, one, { progress, signal })
      return endpoints
    } catch (error) {
      await this.release(one).catch((left: unknown) => progress(String(left instanceof Error ? left.message : left)))
      throw error
    }
  }

  /** D2. */
  async release(one: Pick<SubExperiment, 'index'>): Promise<void> {
    const made = this.#names.get(one.index) ?? new Set()
    const failures: string[] = []
    await each([...made], new AbortController().signal, async (name) => {
      try {
        await this.#platform.remove(name)
        made.delete(name)
      } catch (error) {
        failures.push(`${name} (${error instanceof Error ? error.message : String(error)})`)
      }
    })
    if (failures.length > 0) throw new PlatformError('SERVER_UNREACHABLE', `${failures.length} functions could not be removed; remove them by hand where they are: ${failures.slice(0, 5).join(', ')}`)
    this.#names.delete(one.index)
  }

  async releaseAll(): Promise<void> {
    for (const index of this.#names.keys()) await this.release({ index })
  }

  nameOf(one: Pick<SubExperiment, 'index'>, what: string): string {
    return `measure-${this.#run}-${one.index}-${what}`
  }
}

/** V2: with the very first parameters of the sub-experiment, but without its service time. */
export async function askEachOnce(endpoints: readonly Endpoint[], one: SubExperiment, { progress, signal }: PrepareOptions): Promise<void> {
  await each(endpoints, signal, async (endpoint, done) => {
    const raw = await sendTo(endpoint, endpoint.request({ serviceTimeMs: 0, payloadBytes: one.PayloadLengthBytes }), signal)
    endpoint.readAnswer(raw)
    progress(`first answer of ${done} of ${endpoints.length}`)
  })
}

/** Some at a time; no new one after a failure or the signal. @param work Is told how many there are with it. */
export async function each<Item>(items: readonly Item[], signal: AbortSignal, work: (item: Item, done: number) => Promise<void>): Promise<void> {
  let next = 0
  let failed = false
  const worker = async (): Promise<void> => {
    while (next < items.length && !failed) {
      if (signal.aborted) throw new PlatformError('CANCELLED', 'Preparing was ended; what had been made is removed.')
      const index = next++
      await work(items[index]!, index + 1).catch((error: unknown) => {
        failed = true
        throw error
      })
    }
  }
  // All have to have ended before anybody cleans up behind them.
  const ended = await Promise.allSettled(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker))
  for (const one of ended) if (one.status === 'rejected') throw one.reason
}
