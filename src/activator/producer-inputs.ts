/**
 * What the invocations of functions with `retry: producer` were asked, for as long as an object that they put may be asked for:
 * so that an object which was lost with its worker can be made again (thesis 6.3.2.2, where the user has to carry that context along).
 *
 * An input is kept before the first reference of its invocation is given out, and durably: after a crash, when objects are lost, it is there.
 *
 * Invariants:
 *   P1. When `keep` resolves, `find` gives the input until `lifeMs` have passed, also after a crash.
 *   P2. An input that came as a stream was consumed and is not kept: `find` gives nothing, and the object stays lost.
 */
import { Readable } from 'node:stream'
import type { Clock, Timer } from '#base/clock.ts'
import { HeldBody } from '#contract/held-body.ts'
import type { Invocation, InvocationRequest } from '#contract/invocation.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Blobs } from '#store/blobs.ts'
import type { Store } from '#store/store.ts'
import { OwnBlobs } from './own-blobs.ts'

const INPUTS = 'producer-inputs'
/** Larger bodies lie in the blobs: an entity is at most 64 KB. */
const ENTITY_BODY_BYTES_MAX = 32 * 1024
const SWEEP_MS = 10 * 60_000
const SWEEP_PAGE = 200

interface KeptInput extends Pick<InvocationRequest, 'kind' | 'method' | 'path' | 'headers'> {
  readonly binary?: true
  /** Base64. */
  readonly body?: string
  readonly blob?: string
  readonly untilMs: number
}

export interface ProducerInputsOptions {
  readonly store: Pick<Store, 'get' | 'put' | 'list' | 'delete'>
  readonly blobs: Blobs
  readonly clock: Clock
  /** The longest time to live that an object may have. */
  readonly lifeMs: number
  readonly warn: (message: string, error: unknown) => void
}

export class ProducerInputs {
  readonly #options: ProducerInputsOptions
  readonly #blobs: OwnBlobs
  /** Invocations that are open, whose input is being kept or is kept. */
  readonly #keeping = new WeakMap<Invocation, Promise<void>>()
  #timer: Timer | undefined
  #state: 'open' | 'closed' = 'open'

  constructor(options: ProducerInputsOptions) {
    this.#options = options
    this.#blobs = new OwnBlobs(options.blobs)
  }

  /** Removes ended ones, now and from time to time. */
  start(): void {
    this.#sweep()
      .catch((error: unknown) => this.#state === 'open' && this.#options.warn('inputs of ended producers could not be removed', error))
      .finally(() => {
        if (this.#state === 'open') this.#timer = this.#options.clock.after(SWEEP_MS, () => this.start())
      })
  }

  close(): void {
    this.#state = 'closed'
    this.#timer?.cancel()
  }

  /** Once per invocation, however often it puts (P1). @throws STORE_FULL, STORE_FAILED. */
  keep(invocation: Invocation): Promise<void> {
    const known = this.#keeping.get(invocation)
    if (known !== undefined) return known
    const kept = this.#keep(invocation)
    this.#keeping.set(invocation, kept)
    return kept
  }

  /** @returns undefined when it is not kept, or not any more. @throws STORE_FAILED. */
  async find(namespace: string, invocation: string): Promise<InvocationRequest | undefined> {
    const found = await this.#options.store.get<KeptInput>(INPUTS, keyOf(namespace, invocation))
    if (found === undefined || found.value.untilMs <= this.#options.clock.epochMs()) return undefined
    const { kind, binary, method, path, headers, body, blob } = found.value
    const content = blob !== undefined ? (await this.#blobs.get(blob)).body : body === undefined ? undefined : Buffer.from(body, 'base64')
    return { kind, ...(binary === true && { binary }), method, path, headers, body: content }
  }

  async #keep({ id, revision, request }: Invocation): Promise<void> {
    const body = await this.#bodyOf(id, request.body)
    if (body === undefined) return
    const { kind, binary, method, path, headers } = request
    const input: KeptInput = { kind, ...(binary === true && { binary }), method, path, headers, ...body, untilMs: this.#options.clock.epochMs() + this.#options.lifeMs }
    await this.#options.store.put(INPUTS, keyOf(revision.namespace, id), input)
  }

  async #bodyOf(id: string, body: InvocationRequest['body']): Promise<Pick<KeptInput, 'body' | 'blob'> | undefined> {
    if (body === undefined) return {}
    if (body instanceof Uint8Array && body.length <= ENTITY_BODY_BYTES_MAX) return { body: body.toString('base64') }
    const source = body instanceof HeldBody ? body.retain().stream() : body instanceof Uint8Array ? Readable.from([body]) : undefined
    if (source === undefined) return undefined
    try {
      return { blob: await this.#blobs.put(`input of ${id}`, source) }
    } finally {
      source.destroy()
    }
  }

  async #sweep(): Promise<void> {
    const { store, clock } = this.#options
    for (let after = ''; this.#state === 'open'; ) {
      const page = await store.list<KeptInput>(INPUTS, { after, limit: SWEEP_PAGE })
      for (const { key, value } of page) {
        if (value.untilMs > clock.epochMs()) continue
        await store.delete(INPUTS, key)
        if (value.blob !== undefined) await this.#blobs.delete(value.blob)
      }
      if (page.length < SWEEP_PAGE) return
      after = page.at(-1)!.key
    }
  }
}

/** @throws INPUT_INVALID for an id that is none: references are sealed, but keys of the store are not to be made of anything else. */
function keyOf(namespace: string, invocation: string): string {
  if (!/^[0-9a-f]{32}$/.test(invocation)) throw new PlatformError('INPUT_INVALID', `"${invocation}" is no invocation.`)
  return `${namespace}/${invocation}`
}
