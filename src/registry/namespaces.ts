/**
 * Namespaces, their quotas, and the keys that open them.
 *
 * A namespace is the border between tenants: functions, secrets, records and quotas are each in one. A key belongs to one
 * namespace, and has a role: `namespace` may do everything inside it; `admin` may, besides, act in every namespace and
 * manage them. All of it is in memory, because every request asks for it.
 *
 * Invariants:
 *   N1. `default` always exists, and there is always an admin key: nobody can lock everybody out.
 *   N2. No secret of a key is kept, only its hash (keys.ts).
 */
import { PlatformError } from '#contract/errors.ts'
import type { Store } from '#store/store.ts'
import { CachedCollection } from './cached-collection.ts'
import { generateKey, parseKey, secretMatches } from './keys.ts'

export const DEFAULT_NAMESPACE = 'default'

export interface NamespaceQuotas {
  /** Invocations accepted per minute. */
  readonly invocationsPerMinute: number
  /** Invocations that run or wait at once. */
  readonly concurrentInvocations: number
  /** Sum of the memory limits of all instances, MB; so also the most that one function may ask for. */
  readonly memoryMb: number
  /** Most bytes of one function's code, packed. */
  readonly codeBytes: number
  /** Most bytes of all objects in the buckets of the namespace. */
  readonly storageBytes: number
}

/** Wide enough that a single person on a machine of their own never meets them. */
export const quotaDefaults: NamespaceQuotas = {
  invocationsPerMinute: 60_000_000,
  concurrentInvocations: 10_000,
  memoryMb: 1024 * 1024,
  codeBytes: 256 * 1024 * 1024,
  storageBytes: 1024 ** 4,
}

export interface NamespaceEntity {
  readonly name: string
  readonly quotas: NamespaceQuotas
  readonly createdAtMs: number
}

export type KeyRole = 'admin' | 'namespace'

export interface KeyEntity {
  readonly id: string
  readonly namespace: string
  /** What a person calls it. */
  readonly name: string
  readonly role: KeyRole
  readonly hash: string
  readonly createdAtMs: number
}

export type KeyOptions = Pick<KeyEntity, 'namespace' | 'name' | 'role'>

export interface NamespaceRegistryOptions {
  readonly store: Store
  readonly randomBytes: (length: number) => Buffer
  readonly nowMs: () => number
}

export class NamespaceRegistry {
  readonly #namespaces: CachedCollection<NamespaceEntity>
  readonly #keys: CachedCollection<KeyEntity>
  readonly #randomBytes: (length: number) => Buffer
  readonly #nowMs: () => number

  private constructor(options: NamespaceRegistryOptions, namespaces: CachedCollection<NamespaceEntity>, keys: CachedCollection<KeyEntity>) {
    this.#namespaces = namespaces
    this.#keys = keys
    this.#randomBytes = options.randomBytes
    this.#nowMs = options.nowMs
  }

  /** Makes the namespace `default` at the first run. Its key is made by local-key.ts. */
  static async open(options: NamespaceRegistryOptions): Promise<NamespaceRegistry> {
    const [namespaces, keys] = await Promise.all([
      CachedCollection.open<NamespaceEntity>(options.store, 'namespaces'),
      CachedCollection.open<KeyEntity>(options.store, 'keys'),
    ])
    const registry = new NamespaceRegistry(options, namespaces, keys)
    if (registry.get(DEFAULT_NAMESPACE) === undefined) await registry.create(DEFAULT_NAMESPACE)
    return registry
  }

  get(name: string): NamespaceEntity | undefined {
    return this.#namespaces.get(name)
  }

  /** @throws NAMESPACE_NOT_FOUND. */
  required(name: string): NamespaceEntity {
    const namespace = this.#namespaces.get(name)
    if (namespace !== undefined) return namespace
    throw new PlatformError(
      'NAMESPACE_NOT_FOUND',
      `There is no namespace ${name}; an admin key can create it with POST /v1/namespaces.`,
      { details: { namespace: name } },
    )
  }

  /** By name. */
  list(): NamespaceEntity[] {
    const all = [...this.#namespaces.entries()].map(([, namespace]) => namespace)
    return all.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** @throws CONFLICT when there is one of this name. */
  async create(name: string, quotas: Partial<NamespaceQuotas> = {}): Promise<NamespaceEntity> {
    if (this.get(name) !== undefined) throw new PlatformError('CONFLICT', `There is a namespace ${name} already; choose another name.`)
    const namespace: NamespaceEntity = { name, quotas: { ...quotaDefaults, ...quotas }, createdAtMs: this.#nowMs() }
    await this.#namespaces.put(name, namespace, { ifRevision: 0 })
    return namespace
  }

  /** @throws NAMESPACE_NOT_FOUND, CONFLICT. */
  async setQuotas(name: string, quotas: Partial<NamespaceQuotas>): Promise<NamespaceEntity> {
    const before = this.required(name)
    const namespace: NamespaceEntity = { ...before, quotas: { ...before.quotas, ...quotas } }
    await this.#namespaces.put(name, namespace, { ifRevision: this.#namespaces.revisionOf(name) })
    return namespace
  }

  /** The namespace and its keys. Who calls this has deleted its functions and secrets before. @throws FORBIDDEN for `default` (N1). */
  async delete(name: string): Promise<void> {
    this.required(name)
    if (name === DEFAULT_NAMESPACE) {
      throw new PlatformError('FORBIDDEN', 'The namespace default always exists and can\'t be deleted; delete its functions instead.')
    }
    const keys = this.keys(name)
    if (keys.some((key) => key.role === 'admin') && !this.#otherAdminKey((key) => key.namespace !== name)) throw lastAdminKey()
    for (const key of keys) await this.#keys.delete(key.id)
    await this.#namespaces.delete(name)
  }

  /** The keys of a namespace, oldest first. */
  keys(namespace: string): KeyEntity[] {
    const all = [...this.#keys.entries()].map(([, key]) => key)
    return all.filter((key) => key.namespace === namespace).sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1))
  }

  /** @returns The entry, and the key itself, which can't be had again. @throws NAMESPACE_NOT_FOUND. */
  async createKey(options: KeyOptions): Promise<{ readonly entity: KeyEntity; readonly key: string }> {
    this.required(options.namespace)
    const generated = generateKey(this.#randomBytes)
    return { entity: await this.addKey(options, generated), key: generated.text }
  }

  /** @param generated Made by the caller, when the key has to be somewhere else first. */
  async addKey(options: KeyOptions, generated: { readonly id: string; readonly hash: string }): Promise<KeyEntity> {
    const { namespace, name, role } = options
    const entity: KeyEntity = { id: generated.id, namespace, name, role, hash: generated.hash, createdAtMs: this.#nowMs() }
    await this.#keys.put(entity.id, entity, { ifRevision: 0 })
    return entity
  }

  /** @throws ENTITY_NOT_FOUND, FORBIDDEN for the last admin key (N1). */
  async revokeKey(namespace: string, id: string): Promise<void> {
    const key = this.#keys.get(id)
    if (key === undefined || key.namespace !== namespace) {
      throw new PlatformError(
        'ENTITY_NOT_FOUND',
        `Namespace ${namespace} has no key ${id}; list its keys to see which there are.`,
        { details: { namespace, key: id } },
      )
    }
    if (key.role === 'admin' && !this.#otherAdminKey((other) => other.id !== id)) throw lastAdminKey()
    await this.#keys.delete(id)
  }

  key(id: string): KeyEntity | undefined {
    return this.#keys.get(id)
  }

  /** The entry of a key as a caller sent it, if it is valid. Hashes: ask once and remember. */
  verifyKey(text: string): KeyEntity | undefined {
    const parsed = parseKey(text)
    const entity = parsed === undefined ? undefined : this.#keys.get(parsed.id)
    return entity !== undefined && secretMatches(parsed!.secret, entity.hash) ? entity : undefined
  }

  onKeysChange(listener: () => void): () => void {
    return this.#keys.onChange(listener)
  }

  /** @param listener Gets undefined when the namespace is deleted. */
  onNamespaceChange(listener: (name: string, namespace: NamespaceEntity | undefined) => void): () => void {
    return this.#namespaces.onChange(listener)
  }

  close(): void {
    this.#namespaces.close()
    this.#keys.close()
  }

  #otherAdminKey(other: (key: KeyEntity) => boolean): boolean {
    return [...this.#keys.entries()].some(([, key]) => key.role === 'admin' && other(key))
  }
}

function lastAdminKey(): PlatformError {
  return new PlatformError(
    'FORBIDDEN',
    'This would remove the last admin key, and nobody could manage namespaces any more; create another admin key first.',
  )
}
