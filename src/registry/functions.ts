/**
 * What is deployed: functions, their immutable revisions, and which of them gets the traffic.
 *
 * The store has the truth. In memory is only what an invocation needs: per function its entity, and the revisions that
 * get traffic or are the latest; so start-up costs per function, not per revision, and `resolve` never waits.
 *
 * Neighbours: code-store.ts owns the code's bytes; the gateway checks names and configurations before they come here; the
 * activator listens, and drops the instances of revisions that get no traffic any more.
 *
 * Invariants:
 *   R1. (namespace, function, number) names one revision forever. Numbers grow, also over the deletion of a function, so
 *       that a record, a log line or an instance never means another revision than it says.
 *   R2. A revision is stored before the entity that routes to it, and its code before the revision: whoever sees a route
 *       can run it. A crash between leaves a revision without traffic, never a route without a revision.
 *   R3. A change of a function is one compare-and-set of its entity: two at once, by whatever process, both take effect
 *       in some order, or one fails with CONFLICT.
 *   R4. A function keeps at most `revisionsMax` revisions; the oldest ones without traffic go first, and never the latest.
 */
import { isDeepStrictEqual } from 'node:util'
import { PlatformError } from '#contract/errors.ts'
import type { FunctionConfig, FunctionEntity, Revision, TrafficShare } from '#contract/function-config.ts'
import type { Blobs } from '#store/blobs.ts'
import type { Store } from '#store/store.ts'
import { CachedCollection } from './cached-collection.ts'
import { checkCode } from './code-archive.ts'
import { CodeStore, codeMissing } from './code-store.ts'
import { Serial } from './serial.ts'
import { checkTraffic, makeRoute, pickRevision, routedRevisions } from './traffic.ts'
import type { Route } from './traffic.ts'

export interface FunctionRegistryOptions {
  readonly store: Store
  /** For code only: see code-store.ts. */
  readonly blobs: Blobs
  readonly nowMs: () => number
  /** Most revisions kept of a function (R4). Raising it costs store and blob space, not memory. Default 100. */
  readonly revisionsMax?: number
}

export interface Deployment {
  readonly namespace: string
  readonly name: string
  readonly config: FunctionConfig
  /** Digest of a tar that this namespace has uploaded or already uses. */
  readonly code: string
  /** Whether the revision gets all traffic at once. A function's first one always does. Default true. */
  readonly activate?: boolean
}

export type FunctionChange =
  | {
      readonly kind: 'routed'
      readonly namespace: string
      readonly name: string
      readonly routed: readonly Revision[]
      /** Had traffic until now and have none any more. */
      readonly dropped: readonly Revision[]
    }
  | { readonly kind: 'deleted'; readonly namespace: string; readonly name: string; readonly dropped: readonly Revision[] }
  /** One without traffic is not kept any longer (R4). Told by the process that removed it only. */
  | { readonly kind: 'pruned'; readonly namespace: string; readonly name: string; readonly revision: number }

interface Entry {
  readonly entity: FunctionEntity
  readonly route: Route
  /** Those of the route, and the latest. */
  readonly revisions: ReadonlyMap<number, Revision>
}

const FUNCTIONS = 'functions'
/** Keys `<namespace>/<function>/<number, ten digits>`: so they are listed in order. */
const REVISIONS = 'revisions'
/** Last revision number of deleted functions (R1). */
const NUMBERS = 'revision-numbers'

export class FunctionRegistry {
  readonly code: CodeStore
  readonly #store: Store
  readonly #nowMs: () => number
  readonly #revisionsMax: number
  readonly #entities: CachedCollection<FunctionEntity>
  readonly #namespaces = new Map<string, Map<string, Entry>>()
  readonly #listeners = new Set<(change: FunctionChange) => void>()
  readonly #serial = new Serial()
  /** Revisions just written, for the entity's change that follows at once. */
  readonly #fresh = new Map<string, Revision>()

  private constructor(options: FunctionRegistryOptions, entities: CachedCollection<FunctionEntity>) {
    this.#store = options.store
    this.#nowMs = options.nowMs
    this.#revisionsMax = options.revisionsMax ?? 100
    this.#entities = entities
    this.code = new CodeStore(options)
  }

  static async open(options: FunctionRegistryOptions): Promise<FunctionRegistry> {
    const entities = await CachedCollection.open<FunctionEntity>(options.store, FUNCTIONS)
    const registry = new FunctionRegistry(options, entities)
    entities.onChange((key, entity) => {
      // A read that fails here leaves the route as it was; who made the change reads again and gets the error.
      registry.#follow(key, entity)?.catch(() => {})
    })
    await Promise.all([...entities.entries()].map(([key, entity]) => registry.#follow(key, entity)))
    return registry
  }

  /** The revision that this invocation gets. @param random01 A number of [0, 1). @returns undefined: no such function. */
  resolve(namespace: string, name: string, random01: number): Revision | undefined {
    const entry = this.#namespaces.get(namespace)?.get(name)
    return entry === undefined ? undefined : pickRevision(entry.route, random01)
  }

  get(namespace: string, name: string): FunctionEntity | undefined {
    return this.#namespaces.get(namespace)?.get(name)?.entity
  }

  /** The latest revision, from memory. */
  latest(namespace: string, name: string): Revision | undefined {
    const entry = this.#namespaces.get(namespace)?.get(name)
    return entry?.revisions.get(entry.entity.latest)
  }

  /** The functions of a namespace by name. */
  list(namespace: string): FunctionEntity[] {
    const entries = [...(this.#namespaces.get(namespace)?.values() ?? [])]
    return entries.map((entry) => entry.entity).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Every revision with traffic, of all namespaces: what the activator begins with. */
  *routed(): IterableIterator<Revision> {
    for (const functions of this.#namespaces.values()) {
      for (const entry of functions.values()) yield* routedRevisions(entry.route)
    }
  }

  onChange(listener: (change: FunctionChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Makes a revision of this code and configuration, unless the latest one is exactly that; then that one.
   * @throws CODE_INVALID, ENTITY_NOT_FOUND (no such code), CONFLICT, STORE_FULL.
   */
  async deploy(deployment: Deployment): Promise<{ readonly revision: Revision; readonly created: boolean }> {
    const { namespace, name, code } = deployment
    // The same value that a reader of the store gets, so that the two can be compared.
    const config = JSON.parse(JSON.stringify(deployment.config)) as FunctionConfig
    const blob = await this.code.find(namespace, code)
    if (blob === undefined) throw codeMissing(code)
    const before = this.latest(namespace, name)
    if (before?.code !== code || before.config.entry !== config.entry) await checkCode(await this.code.read(code), { entry: config.entry })

    return this.#serial.run(async () => {
      const latest = this.latest(namespace, name)
      if (latest !== undefined && latest.code === code && isDeepStrictEqual(latest.config, config)) {
        if (deployment.activate !== false) await this.#update(namespace, name, (entity) => allTo(entity, entity.latest))
        return { revision: latest, created: false }
      }
      const revision = await this.#writeRevision({ namespace, function: name, code, codeBytes: blob.bytes, config, createdAtMs: this.#nowMs() })
      const key = `${namespace}/${name}`
      this.#fresh.set(key, revision)
      try {
        if (this.#entities.get(key) === undefined) {
          const atMs = revision.createdAtMs
          const traffic = [{ revision: revision.number, weight: 100 }]
          await this.#entities.put(key, { namespace, name, latest: revision.number, traffic, createdAtMs: atMs, updatedAtMs: atMs }, { ifRevision: 0 })
        } else {
          await this.#update(namespace, name, (entity) => {
            const next = { ...entity, latest: Math.max(entity.latest, revision.number) }
            return deployment.activate === false ? next : allTo(next, revision.number)
          })
        }
        await this.#follow(key, this.#entities.get(key))
      } finally {
        this.#fresh.delete(key)
      }
      await this.#prune(namespace, name)
      return { revision, created: true }
    })
  }

  /** The revisions that are kept, oldest first. @throws FUNCTION_NOT_FOUND. */
  async revisions(namespace: string, name: string): Promise<Revision[]> {
    this.#required(namespace, name)
    const stored = await this.#store.list<Revision>(REVISIONS, { prefix: `${namespace}/${name}/` })
    return stored.map((entity) => entity.value)
  }

  /** One kept revision, with or without traffic. */
  async revision(namespace: string, name: string, number: number): Promise<Revision | undefined> {
    const known = this.#namespaces.get(namespace)?.get(name)?.revisions.get(number)
    return known ?? (await this.#store.get<Revision>(REVISIONS, revisionKey(namespace, name, number)))?.value
  }

  /** Gives all traffic to one revision. @param to Default: the newest one older than all that have traffic now. @throws REVISION_NOT_FOUND. */
  rollback(namespace: string, name: string, to?: number): Promise<FunctionEntity> {
    return this.#serial.run(async () => {
      const number = to ?? (await this.#previous(namespace, name))
      await this.#mustExist(namespace, name, number)
      return this.#update(namespace, name, (entity) => allTo(entity, number))
    })
  }

  /** @throws INPUT_INVALID, FUNCTION_NOT_FOUND, REVISION_NOT_FOUND. */
  setTraffic(namespace: string, name: string, traffic: readonly TrafficShare[]): Promise<FunctionEntity> {
    checkTraffic(traffic)
    const shares = traffic.filter((share) => share.weight > 0).map(({ revision, weight }) => ({ revision, weight }))
    return this.#serial.run(async () => {
      for (const share of shares) await this.#mustExist(namespace, name, share.revision)
      return this.#update(namespace, name, (entity) => ({ ...entity, traffic: shares }))
    })
  }

  /** The function, its revisions and code that nothing else uses. @throws FUNCTION_NOT_FOUND. */
  delete(namespace: string, name: string): Promise<void> {
    return this.#serial.run(async () => {
      const key = `${namespace}/${name}`
      const ifRevision = this.#entities.revisionOf(key)
      const { latest } = this.#required(namespace, name)
      await this.#store.put(NUMBERS, key, { latest })
      await this.#entities.delete(key, { ifRevision })
      for (const { value } of await this.#store.list<Revision>(REVISIONS, { prefix: `${key}/` })) await this.#deleteRevision(value)
    })
  }

  /** Removes what a killed platform left half done. To be called after start, in the background. @returns how many things. */
  async sweep(): Promise<number> {
    let swept = 0
    for (const { value } of await this.#store.list<Revision>(REVISIONS)) {
      if (this.#entities.get(`${value.namespace}/${value.function}`) !== undefined) continue
      // Inside the lock again: a first deployment writes its revision before its entity.
      await this.#serial.run(async () => {
        if (this.#entities.get(`${value.namespace}/${value.function}`) === undefined) await this.#deleteRevision(value)
      })
      swept++
    }
    return swept + (await this.#serial.run(() => this.code.sweep(async (...of) => (await this.revision(...of)) !== undefined)))
  }

  close(): void {
    this.#entities.close()
    this.#listeners.clear()
  }

  async #writeRevision(content: Omit<Revision, 'number'>): Promise<Revision> {
    const { namespace, function: name } = content
    const deleted = (await this.#store.get<{ latest: number }>(NUMBERS, `${namespace}/${name}`))?.value.latest ?? 0
    for (let number = Math.max(this.get(namespace, name)?.latest ?? 0, deleted) + 1; ; number++) {
      const revision: Revision = { ...content, number }
      const key = revisionKey(namespace, name, number)
      // A number may be taken by a deployment that was killed half-way, or runs elsewhere now: then the next one (R1).
      if ((await this.#store.get(REVISIONS, key)) !== undefined) continue
      await this.code.refer(revision)
      try {
        await this.#store.put(REVISIONS, key, revision, { ifRevision: 0 })
        await this.code.settle(namespace, revision.code)
        return revision
      } catch (error) {
        // Who has won the number may use the same code: then the reference is theirs, too.
        const winner = (await this.#store.get<Revision>(REVISIONS, key))?.value
        if (winner?.code !== revision.code) await this.code.release(revision)
        if (winner === undefined || PlatformError.from(error).code !== 'CONFLICT') throw error
      }
    }
  }

  async #deleteRevision(revision: Revision): Promise<void> {
    await this.#store.delete(REVISIONS, revisionKey(revision.namespace, revision.function, revision.number))
    await this.code.release(revision)
  }

  /** R4. */
  async #prune(namespace: string, name: string): Promise<void> {
    const entity = this.get(namespace, name)
    if (entity === undefined || entity.latest <= this.#revisionsMax) return
    const revisions = await this.revisions(namespace, name)
    const spare = revisions.filter((revision) => revision.number !== entity.latest && entity.traffic.every((share) => share.revision !== revision.number))
    for (const revision of spare.slice(0, Math.max(0, revisions.length - this.#revisionsMax))) {
      await this.#deleteRevision(revision)
      this.#tell({ kind: 'pruned', namespace, name, revision: revision.number })
    }
  }

  /** R3: again with the newest entity, should another process have been faster. */
  async #update(namespace: string, name: string, change: (entity: FunctionEntity) => FunctionEntity): Promise<FunctionEntity> {
    const key = `${namespace}/${name}`
    for (let attempt = 1; ; attempt++) {
      const entity = this.#entities.get(key)
      if (entity === undefined) throw functionMissing(namespace, name)
      const changed = change(entity)
      if (isDeepStrictEqual(changed, entity)) return entity
      try {
        const next = { ...changed, updatedAtMs: this.#nowMs() }
        await this.#entities.put(key, next, { ifRevision: this.#entities.revisionOf(key) })
        // When this resolves, `resolve` answers by it: also when a revision had to be read first.
        await this.#follow(key, this.#entities.get(key))
        return next
      } catch (error) {
        if (attempt === 5 || PlatformError.from(error).code !== 'CONFLICT') throw error
        await this.#entities.refresh(key)
      }
    }
  }

  async #previous(namespace: string, name: string): Promise<number> {
    const oldestRouted = Math.min(...this.#required(namespace, name).traffic.map((share) => share.revision))
    const previous = (await this.revisions(namespace, name)).findLast((revision) => revision.number < oldestRouted)
    if (previous !== undefined) return previous.number
    throw new PlatformError(
      'REVISION_NOT_FOUND',
      `Function ${name} has no revision before ${oldestRouted} to roll back to; GET its revisions to see which there are.`,
    )
  }

  async #mustExist(namespace: string, name: string, number: number): Promise<void> {
    this.#required(namespace, name)
    if ((await this.revision(namespace, name, number)) !== undefined) return
    throw new PlatformError(
      'REVISION_NOT_FOUND',
      `Function ${name} has no revision ${number}; GET its revisions to see which there are.`,
      { details: { revision: number } },
    )
  }

  #required(namespace: string, name: string): FunctionEntity {
    const entity = this.get(namespace, name)
    if (entity === undefined) throw functionMissing(namespace, name)
    return entity
  }

  /** Brings the route of a function up to its entity; waits only when a revision has to be read. */
  #follow(key: string, entity: FunctionEntity | undefined): Promise<void> | undefined {
    const [namespace, name] = key.split('/') as [string, string]
    const before = this.#namespaces.get(namespace)?.get(name)
    if (entity === undefined) {
      if (before === undefined) return undefined
      this.#namespaces.get(namespace)!.delete(name)
      this.#tell({ kind: 'deleted', namespace, name, dropped: routedRevisions(before.route) })
      return undefined
    }
    if (before?.entity === entity) return undefined
    const revisions = new Map<number, Revision>()
    const missing: number[] = []
    for (const number of new Set([...entity.traffic.map((share) => share.revision), entity.latest])) {
      const fresh = this.#fresh.get(key)
      const known = fresh?.number === number ? fresh : before?.revisions.get(number)
      if (known === undefined) missing.push(number)
      else revisions.set(number, known)
    }
    if (missing.length > 0) return this.#followLater(key, entity, revisions, missing)
    this.#setEntry(entity, revisions)
    return undefined
  }

  async #followLater(key: string, entity: FunctionEntity, revisions: Map<number, Revision>, missing: readonly number[]): Promise<void> {
    for (const number of missing) {
      const stored = await this.#store.get<Revision>(REVISIONS, revisionKey(entity.namespace, entity.name, number))
      if (stored !== undefined) revisions.set(number, stored.value)
    }
    // Changed again meanwhile: that change makes its own route. A missing revision means deletion: that change follows, too.
    if (this.#entities.get(key) === entity && entity.traffic.every((share) => revisions.has(share.revision))) this.#setEntry(entity, revisions)
  }

  #setEntry(entity: FunctionEntity, revisions: ReadonlyMap<number, Revision>): void {
    const { namespace, name } = entity
    let functions = this.#namespaces.get(namespace)
    if (functions === undefined) this.#namespaces.set(namespace, (functions = new Map()))
    const before = functions.get(name)
    if (before?.entity === entity) return
    const route = makeRoute(entity.traffic, (number) => revisions.get(number)!)
    functions.set(name, { entity, route, revisions })
    const routed = routedRevisions(route)
    const had = before === undefined ? [] : routedRevisions(before.route)
    const dropped = had.filter((revision) => !routed.some((other) => other.number === revision.number))
    this.#tell({ kind: 'routed', namespace, name, routed, dropped })
  }

  #tell(change: FunctionChange): void {
    for (const listener of this.#listeners) listener(change)
  }
}

export function functionMissing(namespace: string, name: string): PlatformError {
  return new PlatformError(
    'FUNCTION_NOT_FOUND',
    `There is no function ${name} in namespace ${namespace}; deploy it, or list the functions there are.`,
    { details: { namespace, function: name } },
  )
}

function allTo(entity: FunctionEntity, revision: number): FunctionEntity {
  return { ...entity, traffic: [{ revision, weight: 100 }] }
}

function revisionKey(namespace: string, name: string, number: number): string {
  return `${namespace}/${name}/${String(number).padStart(10, '0')}`
}
