/**
 * Buckets of objects, per namespace: the durable tier, whose door is gateway/s3.
 *
 * An object is one entity of the store, so that putting, replacing and deleting it happen at once or not at all; its bytes come
 * before it and go after it (contents.ts). Two namespaces may have buckets of the same name, and see nothing of each other.
 *
 * Invariants:
 *   B1. What a resolved call did is durable; one that is rejected has changed nothing.
 *   B2. A condition and the change that it allows are one step: of many conditional writes of a key, one wins.
 *   B3. A bucket that is deleted is empty, also of what is being written: writers hold its lock shared, its end exclusively.
 */
import { PlatformError } from '#contract/errors.ts'
import type { Blobs } from '#store/blobs.ts'
import type { Store } from '#store/store.ts'
import { CachedCollection } from '../cached-collection.ts'
import { allDone } from './all-done.ts'
import { Contents, PARTS } from './contents.ts'
import type { Piece } from './contents.ts'
import { KeyedLock } from './keyed-lock.ts'
import { listKeys } from './listing.ts'
import type { ListQuery, Listing } from './listing.ts'
import { BUCKETS, OBJECTS, UPLOADS, always, bucketKey, objectKey } from './objects.ts'
import type { Address, BucketEntity, Condition, Fingerprint, Incoming, ObjectAttributes, ObjectEntity, UploadEntity } from './objects.ts'
import { Uploads } from './uploads.ts'
import { Usage } from './usage.ts'

export interface BucketsOptions {
  readonly store: Store
  /** Of their own: nothing else may be in there. */
  readonly blobs: Blobs
  readonly randomBytes: (length: number) => Buffer
  readonly nowMs: () => number
  /** Quota of a namespace. */
  readonly bytesMaxOf: (namespace: string) => number
  readonly warn: (message: string, error: unknown) => void
}

const PAGE_ROWS = 500
/** Objects deleted at once when a whole namespace goes. */
const DELETED_AT_ONCE = 100

export class Buckets {
  readonly contents: Contents
  readonly uploads: Uploads
  readonly usage: Usage
  readonly #store: Store
  readonly #buckets: CachedCollection<BucketEntity>
  readonly #nowMs: () => number
  readonly #locks = new KeyedLock()

  private constructor(options: BucketsOptions, buckets: CachedCollection<BucketEntity>) {
    const { store, blobs, randomBytes, warn } = options
    this.#store = store
    this.#buckets = buckets
    this.#nowMs = options.nowMs
    const newId = (): string => randomBytes(16).toString('hex')
    this.contents = new Contents({ store, blobs, newId, warn })
    this.usage = new Usage({ count: (namespace) => this.#count(namespace), bytesMaxOf: options.bytesMaxOf })
    this.uploads = new Uploads({ store, buckets: this, newId, nowMs: options.nowMs })
  }

  /** Removes first what a killed platform left. */
  static async open(options: BucketsOptions): Promise<Buckets> {
    const buckets = new Buckets(options, await CachedCollection.open<BucketEntity>(options.store, BUCKETS))
    await buckets.contents.recover()
    return buckets
  }

  close(): void {
    this.#buckets.close()
  }

  get(namespace: string, bucket: string): BucketEntity | undefined {
    return this.#buckets.get(bucketKey({ namespace, bucket }))
  }

  /** @throws ENTITY_NOT_FOUND with `details.bucket`. */
  required(namespace: string, bucket: string): BucketEntity {
    const entity = this.get(namespace, bucket)
    if (entity !== undefined) return entity
    throw new PlatformError('ENTITY_NOT_FOUND', `Namespace ${namespace} has no bucket ${bucket}; create it first.`, { details: { namespace, bucket } })
  }

  /** By name. */
  list(namespace: string): { readonly name: string; readonly createdAtMs: number }[] {
    const prefix = `${namespace}/`
    const own = [...this.#buckets.entries()].filter(([key]) => key.startsWith(prefix))
    return own.map(([key, { createdAtMs }]) => ({ name: key.slice(prefix.length), createdAtMs })).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** @throws CONFLICT when the namespace has it. */
  async create(namespace: string, bucket: string): Promise<void> {
    await this.#buckets.put(bucketKey({ namespace, bucket }), { createdAtMs: this.#nowMs() }, { ifRevision: 0 })
  }

  /** With its unfinished uploads. @returns false when it has objects, and is kept. @throws ENTITY_NOT_FOUND. */
  async delete(namespace: string, bucket: string): Promise<boolean> {
    this.required(namespace, bucket)
    const key = bucketKey({ namespace, bucket })
    for (const { address, upload } of await this.uploads.all({ namespace, bucket })) await this.uploads.abort(address, upload.id)
    return this.#locks.exclusive(key, async () => {
      for (const collection of [OBJECTS, UPLOADS]) {
        if ((await this.#store.list(collection, { prefix: `${key}/`, limit: 1 })).length > 0) return false
      }
      await this.#buckets.delete(key)
      return true
    })
  }

  /** Everything of a namespace that goes. */
  async deleteAll(namespace: string): Promise<void> {
    for (const { name: bucket } of this.list(namespace)) {
      do {
        for (;;) {
          const page = await this.#store.list<ObjectEntity>(OBJECTS, { prefix: `${bucketKey({ namespace, bucket })}/`, limit: DELETED_AT_ONCE })
          if (page.length === 0) break
          await Promise.all(page.map(({ key }) => this.remove({ namespace, bucket, key: key.slice(namespace.length + bucket.length + 2) })))
        }
      } while (!(await this.delete(namespace, bucket)))
    }
    this.usage.forget(namespace)
  }

  /** @throws ENTITY_NOT_FOUND when there is no such bucket. */
  async head(address: Address): Promise<ObjectEntity | undefined> {
    this.required(address.namespace, address.bucket)
    return (await this.#store.get<ObjectEntity>(OBJECTS, objectKey(address)))?.value
  }

  /** The condition is asked before the body is read, and again when it counts (B2). @throws ENTITY_NOT_FOUND, STORAGE_EXCEEDED, STORE_FULL; what the condition and the source throw. */
  async put(address: Address, incoming: Incoming, attributes: ObjectAttributes, condition: Condition = always): Promise<ObjectEntity> {
    condition(await this.head(address))
    using reservation = await this.usage.reserve(address.namespace, incoming.bytes)
    let fingerprint: Fingerprint | undefined
    const place = { collection: OBJECTS, key: objectKey(address) }
    const piece = await this.contents.add(incoming.source, place, {
      bytesMax: incoming.bytes,
      check: ({ digest }) => void (fingerprint = incoming.finish(digest)),
    })
    const { md5, checksum } = fingerprint!
    const entity: ObjectEntity = { ...piece, etag: md5, modifiedAtMs: this.#nowMs(), ...attributes, ...(checksum !== undefined && { checksum }) }
    await this.#commit(address, entity, condition)
    reservation.keep()
    return entity
  }

  /**
   * Another object with the bytes of this one: no byte is copied.
   * @param source As {@link head} gave it in this turn, so that it is still there.
   */
  async copy(source: ObjectEntity, to: Address, attributes: ObjectAttributes, condition: Condition = always): Promise<ObjectEntity> {
    using _lease = this.contents.lease(source)
    this.required(to.namespace, to.bucket)
    using reservation = await this.usage.reserve(to.namespace, source.bytes)
    const place = { collection: OBJECTS, key: objectKey(to) }
    const content = source.digest === undefined ? await this.#copyParts(source, place) : await this.contents.share(source as Piece, place)
    const { etag, bytes, checksum } = source
    const entity: ObjectEntity = { ...content, bytes, etag, modifiedAtMs: this.#nowMs(), ...attributes, ...(checksum !== undefined && { checksum }) }
    await this.#commit(to, entity, condition)
    reservation.keep()
    return entity
  }

  /** @returns false when there was none. */
  async remove(address: Address, condition: Condition = always): Promise<boolean> {
    await this.usage.bytes(address.namespace)
    const key = objectKey(address)
    const old = await this.#locks.exclusive(key, async () => {
      const current = await this.head(address)
      condition(current)
      if (current === undefined) return undefined
      await allDone<unknown>([...this.#noteOf(current, key), this.#store.delete(OBJECTS, key)])
      return current
    })
    if (old !== undefined) await this.#gone(address.namespace, old)
    return old !== undefined
  }

  /** @throws ENTITY_NOT_FOUND. */
  async listObjects(namespace: string, bucket: string, query: ListQuery): Promise<Listing<ObjectEntity>> {
    this.required(namespace, bucket)
    return listKeys<ObjectEntity>(this.#store, OBJECTS, `${bucketKey({ namespace, bucket })}/`, query)
  }

  /** Makes an entity the object at its address, in place of what was there. */
  async replace(address: Address, entity: ObjectEntity, condition: Condition): Promise<void> {
    const key = objectKey(address)
    const old = await this.#locks.shared(bucketKey(address), () =>
      this.#locks.exclusive(key, async () => {
        const current = await this.head(address)
        condition(current)
        // Both in one turn, so usually in one commit; in this order in any case. The object itself decides.
        await allDone<unknown>([...this.#noteOf(current, key), this.#store.put(OBJECTS, key, entity)])
        void this.contents.settle(entity.id)
        return current
      }),
    )
    if (old !== undefined) await this.#gone(address.namespace, old)
  }

  /** Holds the bucket while something is written into it. */
  inBucket<Result>(address: Address, task: () => Promise<Result>): Promise<Result> {
    return this.#locks.shared(bucketKey(address), async () => {
      this.required(address.namespace, address.bucket)
      return task()
    })
  }

  async #commit(address: Address, entity: ObjectEntity, condition: Condition): Promise<void> {
    try {
      await this.replace(address, entity, condition)
    } catch (thrown) {
      await this.contents.remove(entity)
      throw thrown
    }
  }

  #noteOf(current: ObjectEntity | undefined, key: string): Promise<unknown>[] {
    return current === undefined ? [] : [this.contents.note(current, { collection: OBJECTS, key })]
  }

  async #gone(namespace: string, old: ObjectEntity): Promise<void> {
    await this.contents.remove(old)
    await this.usage.free(namespace, old.bytes)
  }

  async #copyParts(source: ObjectEntity, place: { readonly collection: string; readonly key: string }): Promise<{ readonly id: string }> {
    const content = { id: this.uploads.newId() }
    await this.contents.note(content, place)
    try {
      await this.uploads.copyParts(source.id, content.id)
    } catch (thrown) {
      await this.contents.remove(content)
      throw thrown
    }
    return content
  }

  /** What a namespace holds, with the parts of unfinished uploads. */
  async #count(namespace: string): Promise<number> {
    let bytes = 0
    for (let after = `${namespace}/`; ; ) {
      const page = await this.#store.list<ObjectEntity>(OBJECTS, { prefix: `${namespace}/`, after, limit: PAGE_ROWS })
      for (const { value } of page) bytes += value.bytes
      if (page.length < PAGE_ROWS) break
      after = page.at(-1)!.key
      await new Promise((resolve) => setImmediate(resolve))
    }
    for (const { key, value } of await this.#store.list<UploadEntity>(UPLOADS, { prefix: `${namespace}/` })) {
      // A crash may leave an upload behind the object that it has become: its parts are that object's, and counted.
      if ((await this.#store.get<ObjectEntity>(OBJECTS, key.slice(0, -value.id.length - 1)))?.value.id === value.id) continue
      for (const part of await this.#store.list<Piece>(PARTS, { prefix: `${value.id}/` })) bytes += part.value.bytes
    }
    return bytes
  }
}
