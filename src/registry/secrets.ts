/**
 * Secrets of a namespace: written through the API, read only when an instance starts, encrypted at rest.
 *
 * AES-256-GCM under one key in a file beside the data (mode 0600): a copy of the store alone, say a backup, reveals
 * nothing. The namespace and the name are authenticated with the value, so that an entry can't be passed off as another.
 *
 * Invariants:
 *   X1. No method but `environment` gives a value, and no value is in an error, a log or a listing.
 *   X2. A nonce is never used twice under the key: 96 random bits each, for far fewer than 2^32 writes.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { link, open, readFile, unlink } from 'node:fs/promises'
import { PlatformError } from '#contract/errors.ts'
import type { Store } from '#store/store.ts'

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

interface SecretEntity {
  readonly version: 1
  /** Base64. */
  readonly nonce: string
  /** Base64: ciphertext, then the 16 bytes of the tag. */
  readonly sealed: string
  readonly updatedAtMs: number
}

export class SecretStore {
  readonly #store: Store
  readonly #key: Buffer
  readonly #randomBytes: (length: number) => Buffer
  readonly #nowMs: () => number
  readonly #listeners = new Set<SecretListener>()

  private constructor(options: SecretStoreOptions, key: Buffer) {
    this.#store = options.store
    this.#key = key
    this.#randomBytes = options.randomBytes
    this.#nowMs = options.nowMs
  }

  /** @throws STORE_FAILED when the key file is there but no key. */
  static async open(options: SecretStoreOptions): Promise<SecretStore> {
    return new SecretStore(options, await readOrMakeKey(options.keyFile, options.randomBytes))
  }

  onChange(listener: SecretListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Sets or replaces a value. Instances that start from now on get it; running ones keep what they have, and the activator, which listens, replaces them. */
  async put(namespace: string, name: string, value: string): Promise<SecretListing> {
    const nonce = this.#randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(place(namespace, name))
    const sealed = Buffer.concat([cipher.update(value, 'utf8'), cipher.final(), cipher.getAuthTag()])
    const updatedAtMs = this.#nowMs()
    const entity: SecretEntity = { version: 1, nonce: nonce.toString('base64'), sealed: sealed.toString('base64'), updatedAtMs }
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
      const sealed = Buffer.from(entity.sealed, 'base64')
      const decipher = createDecipheriv('aes-256-gcm', this.#key, Buffer.from(entity.nonce, 'base64'), { authTagLength: 16 })
      decipher.setAAD(place(namespace, name)).setAuthTag(sealed.subarray(-16))
      return decipher.update(sealed.subarray(0, -16), undefined, 'utf8') + decipher.final('utf8')
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

function place(namespace: string, name: string): Buffer {
  return Buffer.from(`skep secret 1\0${namespace}\0${name}`)
}

async function readOrMakeKey(path: string, randomBytes: (length: number) => Buffer): Promise<Buffer> {
  const text = (await readIfThere(path)) ?? (await makeKey(path, randomBytes))
  if (/^[0-9a-f]{64}$/.test(text)) return Buffer.from(text, 'hex')
  throw new PlatformError(
    'STORE_FAILED',
    `${path} must hold a key of 64 hex digits and does not. Bring it back from a backup; or move it away, and put all secrets again.`,
  )
}

/** The file appears whole or not at all; of two processes that start at once, one makes the key and both use it. */
async function makeKey(path: string, randomBytes: (length: number) => Buffer): Promise<string> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(`${randomBytes(32).toString('hex')}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await link(temporary, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await unlink(temporary)
  return (await readIfThere(path)) ?? ''
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
