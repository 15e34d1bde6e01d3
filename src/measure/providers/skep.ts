/**
 * Skep itself: deployed through its native API, and measured at the functions' own addresses, as any client would.
 *
 * Every function of a sub-experiment is a function of Skep, without network; a chain goes through the SDK. Transfer by storage puts objects into a bucket that
 * lives as long as the sub-experiment, and by reference is `put` and `get` of the SDK (thesis chapter 6).
 */
import type { SubExperiment } from '../experiment.ts'
import { functionPackage } from '../functions/package.ts'
import type { Capabilities, Endpoint, Limitation, PrepareOptions, Provider } from '../provider.ts'
import { Deployments } from './deployments.ts'
import { functionFor, imageMbFor, keepAliveFor, limitationsOf, memoryFor, refuseImpossible } from './limitations.ts'
import type { Offer } from './limitations.ts'
import { PHASES, SkepClient } from './skep-client.ts'
import type { Bucket, SkepConnection } from './skep-client.ts'
import { fieldsFor, readReply, transferOf, withQuery } from './stellar-protocol.ts'

const MB = 1024 * 1024
/** As long as STeLLAR waits for an answer. */
const TIMEOUT_MS = 15 * 60 * 1000

const offered = {
  name: 'Skep',
  capabilities: {
    deploys: true,
    coldStarts: 'keep-alive-set',
    transfers: ['none', 'inline', 'storage', 'reference'],
    runtimes: ['node', 'python'],
    imageSize: true,
    memory: true,
    phases: PHASES,
  },
  memoryMb: { min: 16, max: 65_536 },
  // The autoscaler looks back 6 s, whatever the keep-alive is (autoscaler/scale-decision.ts).
  keepAliveSeconds: { min: 6, max: 24 * 3600 },
  versions: { node: 'the Node that it comes with', python: 'the Python 3 of its host' },
} as const satisfies Offer

export class SkepProvider implements Provider {
  readonly name = 'skep'
  readonly capabilities: Capabilities = offered.capabilities
  readonly about: Readonly<Record<string, string>>
  readonly #client: SkepClient
  readonly #key: string
  readonly #deployments: Deployments
  readonly #buckets = new Map<number, Bucket>()
  /** Digests of code by sub-experiment; all its functions have the same. */
  readonly #uploads = new Map<number, Promise<string>>()
  readonly #namespace: string
  readonly #offer: Offer

  private constructor(connection: SkepConnection, client: SkepClient, me: Awaited<ReturnType<SkepClient['whoAmI']>>) {
    this.#client = client
    this.#key = connection.key
    this.#namespace = connection.namespace ?? me.namespace
    this.about = { address: client.url, namespace: this.#namespace, version: me.version }
    // Some room for what a tar has beside the filler.
    this.#offer = { ...offered, memoryMb: { ...offered.memoryMb, max: Math.min(offered.memoryMb.max, me.quotas.memoryMb) }, imageMbMax: Math.floor(me.quotas.codeBytes / MB) - 1 }
    this.#deployments = new Deployments({
      deploy: (name, one) => this.#deploy(name, one),
      remove: (name) => this.#client.remove(name),
      endpoint: (name, chain, one) => this.#endpoint(name, chain, one),
    })
  }

  /** @throws SERVER_UNREACHABLE, KEY_INVALID: before anything else is done. */
  static async open(connection: SkepConnection): Promise<SkepProvider> {
    const client = new SkepClient(connection)
    return new SkepProvider(connection, client, await client.whoAmI())
  }

  cannot(one: SubExperiment): readonly Limitation[] {
    return limitationsOf(one, this.#offer)
  }

  async prepare(one: SubExperiment, options: PrepareOptions): Promise<readonly Endpoint[]> {
    refuseImpossible(one, this.#offer)
    if (transferOf(one) === 'storage') this.#buckets.set(one.index, await this.#client.makeBucket(this.#deployments.nameOf(one, 'objects')))
    try {
      return await this.#deployments.prepare(one, options)
    } catch (error) {
      this.#uploads.delete(one.index)
      await this.#removeBucket(one.index)
      throw error
    }
  }

  phasesOf(requestIds: readonly string[], signal: AbortSignal): Promise<readonly Readonly<Record<string, number>>[]> {
    return this.#client.phasesOf(requestIds, signal)
  }

  async release(one: SubExperiment): Promise<void> {
    this.#uploads.delete(one.index)
    await this.#deployments.release(one)
    await this.#removeBucket(one.index)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#deployments.releaseAll()
    for (const index of this.#buckets.keys()) await this.#removeBucket(index)
  }

  async #removeBucket(index: number): Promise<void> {
    await this.#buckets.get(index)?.remove()
    this.#buckets.delete(index)
  }

  async #deploy(name: string, one: SubExperiment): Promise<void> {
    const { name: functionName, language } = functionFor(one, this.#offer)
    const imageBytes = imageMbFor(one, this.#offer) * MB
    const keepAliveSeconds = keepAliveFor(one, this.#offer)
    const { files, ...code } = functionPackage({ name: functionName, language, target: 'skep', imageBytes })
    // Code of this sub-experiment only: what another one removes, or an earlier run has left in caches, is not this.
    const own = new Map([...files, ['measured.txt', this.#deployments.nameOf(one, 'code')]])
    const uploaded = this.#uploads.get(one.index) ?? this.#client.upload({ ...code, files: own })
    this.#uploads.set(one.index, uploaded)
    await this.#client.deploy(name, {
      kind: language,
      entry: code.entry,
      code: await uploaded,
      memoryMb: memoryFor(one, this.#offer),
      timeoutMs: TIMEOUT_MS,
      ...(keepAliveSeconds !== undefined && { keepAliveMs: keepAliveSeconds * 1000 }),
    })
  }

  #endpoint(name: string, chain: readonly string[], one: SubExperiment): Endpoint {
    const { origin, pathname, host } = new URL(this.#client.url)
    const path = `${pathname.replace(/\/$/, '')}/fn/${this.#namespace}/${name}`
    const options = { chain, transfer: transferOf(one), bucket: this.#buckets.get(one.index)?.name }
    const headers = { authorization: `Bearer ${this.#key}` }
    return {
      host: `${host}/${name}`,
      transport: { kind: 'http', origin },
      request: (parameters) => ({ method: 'GET', path: withQuery(path, fieldsFor(parameters, options)), headers, body: undefined }),
      readAnswer: (raw) => ({ ...readReply(raw, chain.length + 1), start: startOf(raw.headers['x-skep-start']), phases: undefined }),
    }
  }
}

/** An instance that came from a snapshot did not serve before either. */
function startOf(header: string | undefined): 'cold' | 'warm' | 'unknown' {
  return header === 'cold' || header === 'snapshot' ? 'cold' : header === 'warm' ? 'warm' : 'unknown'
}
