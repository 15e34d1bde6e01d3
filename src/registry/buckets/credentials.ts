/**
 * Credentials for S3 clients: an access key id that names a namespace, and a secret that signs.
 *
 * AWS's Signature V4 is a MAC, so who checks it needs the secret itself; of Skep's own keys only hashes are kept. So these are
 * credentials of their own, sealed like the secrets of functions (decision 18), which open the buckets of their namespace and nothing else.
 *
 * Invariants:
 *   C1. A secret is given out once, when it is made; no listing, error or log has it.
 *   C2. Revoked means refused from the next request on: an opened secret is forgotten when any credential changes.
 */
import { PlatformError } from '#contract/errors.ts'
import type { Store } from '#store/store.ts'
import { CachedCollection } from '../cached-collection.ts'
import { Sealing } from '../sealing.ts'
import type { Sealed, SealingOptions } from '../sealing.ts'

export interface S3CredentialView {
  /** `SKEP` and 16 capital hex digits: as long as AWS's, which some clients check. */
  readonly accessKeyId: string
  readonly namespace: string
  /** What a person calls it. */
  readonly name: string
  readonly createdAtMs: number
}

export interface S3Signer {
  readonly accessKeyId: string
  readonly namespace: string
  readonly secret: string
}

type S3CredentialEntity = S3CredentialView & Sealed

export interface S3CredentialsOptions extends SealingOptions {
  readonly store: Store
  readonly nowMs: () => number
}

export class S3Credentials {
  readonly #entities: CachedCollection<S3CredentialEntity>
  readonly #sealing: Sealing
  readonly #randomBytes: (length: number) => Buffer
  readonly #nowMs: () => number
  /** Those in use, opened. */
  readonly #signers = new Map<string, S3Signer>()

  private constructor(options: S3CredentialsOptions, entities: CachedCollection<S3CredentialEntity>, sealing: Sealing) {
    this.#entities = entities
    this.#sealing = sealing
    this.#randomBytes = options.randomBytes
    this.#nowMs = options.nowMs
    entities.onChange(() => this.#signers.clear())
  }

  static async open(options: S3CredentialsOptions): Promise<S3Credentials> {
    const [entities, sealing] = await Promise.all([CachedCollection.open<S3CredentialEntity>(options.store, 's3-credentials'), Sealing.open(options)])
    return new S3Credentials(options, entities, sealing)
  }

  close(): void {
    this.#entities.close()
  }

  async create(namespace: string, name: string): Promise<S3CredentialView & { readonly secretAccessKey: string }> {
    const accessKeyId = `SKEP${this.#randomBytes(8).toString('hex').toUpperCase()}`
    const secretAccessKey = this.#randomBytes(20).toString('hex')
    const view: S3CredentialView = { accessKeyId, namespace, name, createdAtMs: this.#nowMs() }
    await this.#entities.put(accessKeyId, { ...view, ...this.#sealing.seal(place(view), secretAccessKey) }, { ifRevision: 0 })
    return { ...view, secretAccessKey }
  }

  /** Oldest first. */
  list(namespace: string): S3CredentialView[] {
    const own = [...this.#entities.entries()].map(([, entity]) => entity).filter((entity) => entity.namespace === namespace)
    return own.map(viewOf).sort((a, b) => a.createdAtMs - b.createdAtMs || (a.accessKeyId < b.accessKeyId ? -1 : 1))
  }

  /** @throws ENTITY_NOT_FOUND. */
  async revoke(namespace: string, accessKeyId: string): Promise<void> {
    if (this.#entities.get(accessKeyId)?.namespace !== namespace) {
      throw new PlatformError('ENTITY_NOT_FOUND', `Namespace ${namespace} has no S3 credentials ${accessKeyId}; list them to see which there are.`, { details: { namespace, accessKeyId } })
    }
    await this.#entities.delete(accessKeyId)
  }

  async deleteAll(namespace: string): Promise<void> {
    for (const { accessKeyId } of this.list(namespace)) await this.#entities.delete(accessKeyId)
  }

  /** Without waiting: every request asks. @throws STORE_FAILED when the secret can't be opened. */
  signer(accessKeyId: string): S3Signer | undefined {
    const known = this.#signers.get(accessKeyId)
    if (known !== undefined) return known
    const entity = this.#entities.get(accessKeyId)
    if (entity === undefined) return undefined
    const signer: S3Signer = { accessKeyId, namespace: entity.namespace, secret: this.#open(entity) }
    this.#signers.set(accessKeyId, signer)
    return signer
  }

  #open(entity: S3CredentialEntity): string {
    try {
      return this.#sealing.open(place(entity), entity)
    } catch (cause) {
      throw new PlatformError(
        'STORE_FAILED',
        `The secret of the S3 credentials ${entity.accessKeyId} can't be decrypted: it is damaged, or was written under another master.key. Bring that file back, or make others.`,
        { cause },
      )
    }
  }
}

function viewOf({ accessKeyId, namespace, name, createdAtMs }: S3CredentialEntity): S3CredentialView {
  return { accessKeyId, namespace, name, createdAtMs }
}

function place({ namespace, accessKeyId }: S3CredentialView): string {
  return `skep s3 credentials 1\0${namespace}\0${accessKeyId}`
}
