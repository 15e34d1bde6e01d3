/**
 * Runs a producer again whose objects were lost, for functions that say `retry: producer` (transfer/lost-producers.ts asks; thesis 6.3.2.2).
 *
 *   get of a lost object ─▶ its producer's input (activator/producer-inputs.ts) ─▶ one more invocation, attempt 2 in its record
 *                                                                                      │ its put of the same ordinal
 *   successor's reference ◀────────────────────────────────────────────────────────────┘
 *
 * Invariants:
 *   R1. All objects of one lost invocation come from one run of it, as long as that run's objects are there to be asked for.
 *   R2. A run that ends without the put that is waited for, or fails, leaves the object lost: with the run's error as the cause.
 */
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import type { InvocationIds } from '#contract/ids.ts'
import type { AnswerSink, Invocation } from '#contract/invocation.ts'
import { HeldBody } from '#contract/held-body.ts'
import type { ProducerInputs } from '#activator/producer-inputs.ts'
import type { BeginOptions } from '#gateway/invoker.ts'
import type { ReferenceContents } from '#transfer/reference.ts'

/** Runs that are remembered: those that were asked for last. */
const RUNS_MAX = 1000

export interface ProducerRerunsOptions {
  readonly inputs: Pick<ProducerInputs, 'keep' | 'find'>
  readonly resolve: (namespace: string, name: string) => Revision | undefined
  readonly begin: (begin: BeginOptions) => Invocation
  readonly ids: InvocationIds
  readonly clock: Clock
  /** One line per run, for whoever wonders why a function ran twice. */
  readonly told: (message: string, fields: Readonly<Record<string, string>>) => void
}

/** One run of a lost producer: what it puts, by ordinal. */
class Run {
  readonly #puts = new Map<number, PromiseWithResolvers<string | undefined>>()
  #ended: { readonly error: PlatformError | undefined } | undefined

  put(ordinal: number): PromiseWithResolvers<string | undefined> {
    const known = this.#puts.get(ordinal)
    if (known !== undefined) return known
    const made = Promise.withResolvers<string | undefined>()
    // Nobody may be waiting for it.
    made.promise.catch(() => {})
    this.#puts.set(ordinal, made)
    if (this.#ended !== undefined) settle(made, this.#ended.error)
    return made
  }

  ended(error: PlatformError | undefined): void {
    this.#ended = { error }
    for (const one of this.#puts.values()) settle(one, error)
  }
}

export class ProducerReruns {
  readonly #options: ProducerRerunsOptions
  /** By the lost invocation. */
  readonly #runs = new Map<string, Promise<Run | undefined>>()
  /** By the id of the invocation that runs it again. */
  readonly #running = new Map<string, Run>()

  constructor(options: ProducerRerunsOptions) {
    this.#options = options
  }

  /** Before an invocation's object is kept. Nothing to wait for, but for functions that want it. */
  before(invocation: Invocation): Promise<void> | undefined {
    return invocation.revision.config.retry === 'producer' ? this.#options.inputs.keep(invocation) : undefined
  }

  /** An invocation has put an object. */
  made(invocation: Invocation, ordinal: number, reference: string): void {
    this.#running.get(invocation.id)?.put(ordinal).resolve(reference)
  }

  /** @returns The successor's reference; undefined when the function does not want it, or its input is not there. @throws the run's error. */
  async rerun(namespace: string, { function: name, invocation, ordinal }: ReferenceContents): Promise<string | undefined> {
    const key = `${namespace}/${invocation}`
    let run = this.#runs.get(key)
    if (run === undefined) {
      run = this.#begin(namespace, name, invocation)
      this.#runs.set(key, run)
      if (this.#runs.size > RUNS_MAX) this.#runs.delete(this.#runs.keys().next().value!)
      // Tried again when it is asked for again.
      run.then((begun) => begun === undefined && this.#runs.delete(key), () => this.#runs.delete(key))
    }
    return await (await run)?.put(ordinal).promise
  }

  async #begin(namespace: string, name: string, lost: string): Promise<Run | undefined> {
    const { inputs, resolve, begin, ids, told } = this.#options
    const revision = resolve(namespace, name)
    if (revision?.config.retry !== 'producer') return undefined
    const request = await inputs.find(namespace, lost)
    if (request === undefined) return undefined
    const run = new Run()
    const id = ids.next()
    this.#running.set(id, run)
    told('an invocation is run again, because an object that it put is lost', { namespace, function: name, invocation: lost, again: id })
    begin({
      id, revision, request, origin: 'async', attempt: 2, sink: new NoSink(),
      ended: ({ error }) => {
        this.#running.delete(id)
        run.ended(error)
        if (error !== undefined) this.#runs.delete(`${namespace}/${lost}`)
      },
    })
    return run
  }
}

/** Its answer was given when it ran first. */
class NoSink implements AnswerSink {
  head(_status: number, _headers: readonly string[], body: Buffer | HeldBody | undefined): void {
    if (body instanceof HeldBody) body.release()
  }

  data(_chunk: Buffer, _last: boolean, consumed: () => void): void {
    consumed()
  }

  fail(): void {}
}

function settle(put: PromiseWithResolvers<string | undefined>, error: PlatformError | undefined): void {
  if (error === undefined) put.resolve(undefined)
  else put.reject(error)
}
