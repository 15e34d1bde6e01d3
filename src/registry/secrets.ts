/**
 * Secrets of a namespace: written through the API, read only when an instance starts, encrypted at rest.
 *
 * How is in sealing.ts; the namespace and the name are authenticated with the value.
 *
 * Invariants:
 *   X1. No method but `environment` gives a value, and no value is in an error, a log or a listing.
 */
import { PlatformError } from '#contract/errors.ts'
import type { Store } from '#store/store.ts'
import { Sealing } from './sealing.ts'
import type { Sealed } from './sealing.ts'

export interface SecretListing {
  readonly name: string
  readonly updatedAtMs: number
}

export interface SecretStoreOptions {
  readonly store: Store
  /** Made at the first run. */
  readonly keyFile: string
  readonly randomBytes: (length: number) => Buffer
  readonly nowMs: () => number
}

/** As long as the longest environment variable that a configuration may have. */
export const SECRET_CHARACTERS_MAX = 32_768

const COLLECTION = 'secrets'

/** Told after a value was set, replaced or deleted, and is so for whoever reads it now. */
export type SecretListener = (namespace: string, name: string) => void

interface SecretEntity extends Sealed {
  readonly version: 1
  readonly updatedAtMs: number
}

export class SecretStore {
  readonly #store: Store
  readonly #sealing: Sealing
  readonly #nowMs: () => number
  readonly #listeners = new Set<SecretListener>()

  private constructor(options: SecretStoreOptions, sealing: Sealing) {
    this.#store = options.store
    this.#sealing = sealing
    this.#nowMs = options.nowMs
  }

  /** @throws STORE_FAILED when the key file is there but no key. */
  static async open(options: SecretStoreOptions): Promise<SecretStore> {
    return new SecretStore(options, await Sealing.open(options))
  }

  onChange(listener: SecretListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Sets or replaces a value. Instances that start from now on get it; running ones keep what they have, and the activator, which listens, replaces them. */
  async put(namespace: string, name: string, value: string): Promise<SecretListing> {
    const updatedAtMs = this.#nowMs()
    const entity: SecretEntity = { version: 1, ...this.#sealing.seal(place(namespace, name), value), updatedAtMs }
    await this.#store.put(COLLECTION, `${namespace}/${name}`, entity)
    this.#tell(namespace, name)
    return { name, updatedAtMs }
  }

  async get(namespace: string, name: string): Promise<SecretListing | undefined> {
    const stored = await this.#store.get<SecretEntity>(COLLECTION, `${namespace}/${name}`)
    return stored === undefined ? undefined : { name, updatedAtMs: stored.value.updatedAtMs }
  }

  /** By name. */
  async list(namespace: string): Promise<SecretListing[]> {
    const stored = await this.#store.list<SecretEntity>(COLLECTION, { prefix: `${namespace}/` })
    return stored.map(({ key, value }) => ({ name: key.slice(namespace.length + 1), updatedAtMs: value.updatedAtMs }))
  }

  /** @throws ENTITY_NOT_FOUND. */
  async delete(namespace: string, name: string): Promise<void> {
    if ((await this.get(namespace, name)) === undefined) throw secretMissing(namespace, name)
    await this.#store.delete(COLLECTION, `${namespace}/${name}`)
    this.#tell(namespace, name)
  }

  async deleteAll(namespace: string): Promise<void> {
    for (const { name } of await this.list(namespace)) {
      await this.#store.delete(COLLECTION, `${namespace}/${name}`)
      this.#tell(namespace, name)
    }
  }

  /**
   * The values, as variables for an instance that starts.
   * @throws INIT_FAILED when one is gone since the deployment; STORE_FAILED when one can't be decrypted.
   */
  async environment(namespace: string, names: readonly string[]): Promise<Record<string, string>> {
    const environment: Record<string, string> = {}
    for (const name of names) {
      const stored = await this.#store.get<SecretEntity>(COLLECTION, `${namespace}/${name}`)
      if (stored === undefined) {
        throw new PlatformError(
          'INIT_FAILED',
          `The function needs the secret ${name}, which namespace ${namespace} has no more; put it again, or deploy without it.`,
        )
      }
      environment[name] = this.#open(namespace, name, stored.value)
    }
    return environment
  }

  #tell(namespace: string, name: string): void {
    for (const listener of this.#listeners) listener(namespace, name)
  }

  #open(namespace: string, name: string, entity: SecretEntity): string {
    try {
      return this.#sealing.open(place(namespace, name), entity)
    } catch (cause) {
      throw new PlatformError(
        'STORE_FAILED',
        `The secret ${name} of namespace ${namespace} can't be decrypted: it is damaged, or was written under another master.key. Bring that file back, or put the secret again.`,
        { cause },
      )
    }
  }
}

export function secretMissing(namespace: string, name: string): PlatformError {
  return new PlatformError(
    'ENTITY_NOT_FOUND',
    `There is no secret ${name} in namespace ${namespace}; put it first.`,
    { details: { namespace, secret: name } },
  )
}

function place(namespace: string, name: string): string {
  return `skep secret 1\0${namespace}\0${name}`
}
