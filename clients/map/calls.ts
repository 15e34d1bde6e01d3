/**
 * One attempt of one piece of work: deploys what is needed, brings stored bytes to where they are wanted, calls, and reads the report.
 *
 * Invariants:
 *   C1. An attempt begins from what is durable (the items, the bucket): nothing that an earlier attempt has used up is needed again. Only references
 *       that the user gave can be used up.
 *   C2. A function that was removed meanwhile is deployed again.
 */
import { PlatformError } from '../../src/contract/errors.ts'
import type { Buckets } from './buckets.ts'
import { deployModule, deployReader } from './deployment.ts'
import type { Deployment, FunctionSettings } from './deployment.ts'
import { decodeReport, encode } from './envelope.ts'
import type { Keep, Order, Outcome, Report } from './envelope.ts'
import type { FunctionPlace } from './locate-function.ts'
import type { ObjectPart } from './object-part.ts'
import type { Platform } from './platform.ts'
import { RemoteError } from './remote-error.ts'

export type Chunk =
  | { readonly kind: 'items'; readonly items: readonly unknown[] }
  | { readonly kind: 'parts'; readonly parts: readonly ObjectPart[]; readonly stream: boolean }
  | { readonly kind: 'references'; readonly references: readonly string[]; readonly stream: boolean }

export type Settled = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: RemoteError }

const REMOTE_TYPE = 'application/x-skep-map'
/** Mappers that are run again for one reducer, at a time. */
const AGAIN_AT_ONCE = 8
const ROUNDS_MAX = 3
const READER = ''

export class Calls {
  readonly #platform: Platform
  readonly #buckets: Buckets
  readonly #settings: FunctionSettings
  /** By file; the reader has none. */
  readonly #deployments = new Map<string, Promise<Deployment>>()

  constructor(platform: Platform, buckets: Buckets, settings: FunctionSettings) {
    this.#platform = platform
    this.#buckets = buckets
    this.#settings = settings
  }

  /** Names of the functions that were used. */
  async deployed(): Promise<string[]> {
    const settled = await Promise.allSettled(this.#deployments.values())
    return settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value.name] : []))
  }

  /** What came of each item. */
  async outcomes(target: FunctionPlace, chunk: Chunk, signal: AbortSignal, askedBy: string): Promise<Settled[]> {
    const { report, invocationId } = await this.#order(target, { run: target.name, work: await this.#work(chunk, signal) }, signal)
    return outcomesOf(report).map((outcome) => settledOf(outcome, invocationId, askedBy))
  }

  /** References of what came of the chunk, one for each partition that is wanted. @throws RemoteError. */
  async keep(target: FunctionPlace, chunk: Chunk, keep: Keep, signal: AbortSignal, askedBy: string): Promise<readonly string[]> {
    const { report, invocationId } = await this.#order(target, { run: target.name, work: await this.#work(chunk, signal), keep }, signal)
    if (report.kind === 'kept') return report.references
    throw thrownBy(outcomesOf(report), invocationId, askedBy)
  }

  /** @param again Makes what is lost anew: the new reference. @throws RemoteError, OBJECT_LOST. */
  async reduce(target: FunctionPlace, given: readonly string[], again: (at: number) => Promise<string>, signal: AbortSignal, askedBy: string): Promise<unknown> {
    const references = [...given]
    for (let round = 1; round <= ROUNDS_MAX; round++) {
      const { report, invocationId } = await this.#order(target, { run: target.name, work: { kind: 'reduce', references } }, signal)
      if (report.kind === 'outcomes') {
        const [outcome] = report.outcomes
        if (outcome?.ok === true) return outcome.value
        throw thrownBy(report.outcomes, invocationId, askedBy)
      }
      if (report.kind !== 'lost') break
      const { which } = report
      for (let from = 0; from < which.length; from += AGAIN_AT_ONCE) {
        await Promise.all(which.slice(from, from + AGAIN_AT_ONCE).map(async (at) => { references[at] = await again(at) }))
      }
    }
    const advice = 'Does the platform have memory for what mappers make? Try more reducers or smaller results.'
    throw new PlatformError('OBJECT_LOST', `What ${target.name} needed was lost ${ROUNDS_MAX} times in a row. ${advice}`)
  }

  async #work(chunk: Chunk, signal: AbortSignal): Promise<Order['work']> {
    if (chunk.kind === 'items') return chunk
    const { stream } = chunk
    if (chunk.kind === 'references') {
      const parts = chunk.references.map((reference) => ({ reference, about: { reference } }))
      return { kind: 'parts', stream, parts }
    }
    const parts = await Promise.all(chunk.parts.map(async (part) => {
      const { bucket, key, from, to, size } = part
      const body = JSON.stringify({ url: await this.#buckets.address(part), from, to, size })
      const answer = await this.#invoke(READER, () => deployReader(this.#platform.api), body, 'application/json', signal)
      return { reference: (JSON.parse(answer.body.toString('utf8')) as { reference: string }).reference, about: { bucket, key, from, to } }
    }))
    return { kind: 'parts', stream, parts }
  }

  async #order(target: FunctionPlace, order: Order, signal: AbortSignal): Promise<{ readonly report: Report; readonly invocationId: string | undefined }> {
    const body = encodeOrder(order)
    const answer = await this.#invoke(target.file, () => deployModule(this.#platform.api, target.file, this.#settings), body, REMOTE_TYPE, signal)
    return { report: decodeReport(answer.body), invocationId: answer.invocationId }
  }

  async #invoke(key: string, deploy: () => Promise<Deployment>, body: Buffer | string, type: string, signal: AbortSignal) {
    for (let again = false; ; again = true) {
      let deployment = this.#deployments.get(key)
      if (deployment === undefined) {
        deployment = deploy()
        this.#deployments.set(key, deployment)
      }
      try {
        const { address } = await deployment
        return await this.#platform.invoke(address, body, type, signal)
      } catch (thrown) {
        const isGone = PlatformError.from(thrown).code === 'FUNCTION_NOT_FOUND'
        if (!isGone || again) throw thrown
        if (this.#deployments.get(key) === deployment) this.#deployments.delete(key)
      }
    }
  }
}

/** @throws INPUT_INVALID when an item cannot be sent. */
function encodeOrder(order: Order): Buffer {
  try {
    return encode(order)
  } catch (cause) {
    throw new PlatformError('INPUT_INVALID', `An item for ${order.run} cannot be sent (${(cause as Error).message}). Give data: no functions, and no instances whose class matters.`, { cause })
  }
}

function outcomesOf(report: Report): readonly Outcome[] {
  if (report.kind === 'outcomes') return report.outcomes
  throw new PlatformError('PROTOCOL_BROKEN', `A map expected outcomes, and got a report of kind ${report.kind}. Run the program again.`)
}

function settledOf(outcome: Outcome, invocationId: string | undefined, askedBy: string): Settled {
  return outcome.ok ? outcome : { ok: false, error: new RemoteError(outcome.error, { invocationId, askedBy }) }
}

function thrownBy(outcomes: readonly Outcome[], invocationId: string | undefined, askedBy: string): unknown {
  const failed = outcomes.find((outcome) => !outcome.ok)
  if (failed === undefined) return new PlatformError('PROTOCOL_BROKEN', 'A report of a failure has no failure. Run the program again.')
  return new RemoteError(failed.error, { invocationId, askedBy })
}
