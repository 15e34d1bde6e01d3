/**
 * Multipart uploads: parts come in any order, one at a time or together, and become an object at once.
 *
 *   begin ─▶ part, part, part again … ─▶ complete: the object's content is the parts, where they lie
 *                                     └▶ abort: all of it goes
 *
 * The id of an upload becomes the id of the object's content, so completing moves and copies nothing: it is one write.
 *
 * One that is neither completed nor aborted ends by itself: upload-expiry.ts.
 *
 * Invariants:
 *   U1. An upload that has ended takes no more parts: a part is written under the upload's lock, shared; its end is exclusive.
 *   U2. Completing twice is completing once; aborting what was completed does not touch the object.
 */
import { createHash } from 'node:crypto'
import { PlatformError } from '#contract/errors.ts'
import type { Store } from '#store/store.ts'
import { allDone } from './all-done.ts'
import type { Buckets } from './buckets.ts'
import { PARTS } from './contents.ts'
import type { Piece } from './contents.ts'
import { KeyedLock } from './keyed-lock.ts'
import { UPLOADS, always, objectKey } from './objects.ts'
import type { Address, Chosen, Condition, Fingerprint, Incoming, ObjectEntity, Part, UploadEntity } from './objects.ts'

export const PART_NUMBER_MAX = 10_000
/** Parts written at once where many are. */
const AT_ONCE = 100

export interface UploadsOptions {
  readonly store: Store
  readonly buckets: Buckets
  readonly newId: () => string
  readonly nowMs: () => number
}

export class Uploads {
  readonly newId: () => string
  readonly #store: Store
  readonly #buckets: Buckets
  readonly #nowMs: () => number
  readonly #locks = new KeyedLock()

  constructor(options: UploadsOptions) {
    this.#store = options.store
    this.#buckets = options.buckets
    this.newId = options.newId
    this.#nowMs = options.nowMs
  }

  /** @throws ENTITY_NOT_FOUND when there is no such bucket. */
  async begin(address: Address, about: Omit<UploadEntity, 'id' | 'startedAtMs'>): Promise<UploadEntity> {
    const upload: UploadEntity = { ...about, id: this.newId(), startedAtMs: this.#nowMs() }
    await this.#buckets.inBucket(address, () => this.#store.put(UPLOADS, uploadKey(address, upload.id), upload))
    return upload
  }

  /** @throws ENTITY_NOT_FOUND with `details.upload`. */
  async required(address: Address, id: string): Promise<UploadEntity> {
    this.#buckets.required(address.namespace, address.bucket)
    const stored = await this.#store.get<UploadEntity>(UPLOADS, uploadKey(address, id))
    if (stored !== undefined) return stored.value
    throw new PlatformError('ENTITY_NOT_FOUND', `There is no upload ${id.slice(0, 80)} of this key: it was completed or aborted, or never begun.`, { details: { upload: id.slice(0, 80) } })
  }

  /** Unfinished ones, by key. @param prefix Of the keys. */
  async all(where: Omit<Address, 'key'> & { readonly prefix?: string }): Promise<{ readonly address: Address; readonly upload: UploadEntity }[]> {
    const { namespace, bucket, prefix = '' } = where
    const stored = await this.#store.list<UploadEntity>(UPLOADS, { prefix: objectKey({ namespace, bucket, key: prefix }) })
    return stored.map(({ key, value }) => ({
      address: { namespace, bucket, key: key.slice(namespace.length + bucket.length + 2, -value.id.length - 1) },
      upload: value,
    }))
  }

  /** In place of the part of this number. @throws ENTITY_NOT_FOUND, STORAGE_EXCEEDED, STORE_FULL; what the source throws. */
  async putPart(address: Address, id: string, number: number, incoming: Incoming): Promise<Part> {
    await this.required(address, id)
    const { contents, usage } = this.#buckets
    using reservation = await usage.reserve(address.namespace, incoming.bytes)
    const place = { collection: PARTS, key: partKey(id, number) }
    let fingerprint: Fingerprint | undefined
    const piece = await contents.add(incoming.source, place, { bytesMax: incoming.bytes, check: ({ digest }) => void (fingerprint = incoming.finish(digest)) })
    const { md5, checksum } = fingerprint!
    const part: Part = { ...piece, number, etag: md5, modifiedAtMs: this.#nowMs(), ...(checksum !== undefined && { checksum }) }
    const old = await this.#locks
      .shared(id, () =>
        this.#locks.exclusive(place.key, async () => {
          await this.required(address, id)
          const current = (await this.#store.get<Part>(PARTS, place.key))?.value
          const noted = current === undefined ? [] : [contents.note(current, place)]
          await allDone<unknown>([...noted, this.#store.put(PARTS, place.key, part)])
          void contents.settle(part.id)
          return current
        }),
      )
      .catch(async (thrown: unknown) => {
        await contents.remove(piece)
        throw thrown
      })
    reservation.keep()
    if (old !== undefined) await this.#gone(address.namespace, old)
    return part
  }

  /** By number. @throws ENTITY_NOT_FOUND. */
  async parts(address: Address, id: string, options: { readonly after?: number; readonly limit?: number } = {}): Promise<Part[]> {
    await this.required(address, id)
    return this.#parts(id, options)
  }

  /**
   * @param choose Of the parts that are there, those that make the object, and its checksum; throws what refuses that.
   * @throws ENTITY_NOT_FOUND; what `choose` and the condition throw.
   */
  async complete(address: Address, id: string, choose: (parts: readonly Part[], upload: UploadEntity) => Chosen, condition: Condition = always): Promise<ObjectEntity> {
    return this.#locks.exclusive(id, async () => {
      const there = await this.#buckets.head(address)
      if (there?.id === id) {
        await this.#store.delete(UPLOADS, uploadKey(address, id))
        return there
      }
      const upload = await this.required(address, id)
      const all = await this.#parts(id)
      const chosen = choose(all, upload)
      condition(there)
      const entity = assembled(upload, chosen, this.#nowMs())
      const kept = new Set(chosen.parts)
      for (const part of all) if (!kept.has(part)) await this.#removePart(address, id, part)
      await this.#buckets.replace(address, entity, condition)
      // After it, not with it: without the object, the upload must stay. What a crash leaves here, U2 covers.
      await this.#store.delete(UPLOADS, uploadKey(address, id))
      return entity
    })
  }

  /** @throws ENTITY_NOT_FOUND. */
  async abort(address: Address, id: string): Promise<void> {
    await this.#locks.exclusive(id, async () => {
      const upload = await this.required(address, id)
      const key = uploadKey(address, id)
      if ((await this.#buckets.head(address))?.id === id) return this.#store.delete(UPLOADS, key)
      const parts = await this.#parts(id)
      const { contents, usage } = this.#buckets
      await usage.bytes(address.namespace)
      await allDone<unknown>([contents.note(upload, { collection: UPLOADS, key }), this.#store.delete(UPLOADS, key)])
      await contents.remove({ id })
      await usage.free(address.namespace, bytesOf(parts))
    })
  }

  /** The parts of one content become those of another, whose note is written. The caller has a lease of the first. */
  async copyParts(from: string, to: string): Promise<void> {
    const parts = await this.#parts(from)
    for (let begin = 0; begin < parts.length; begin += AT_ONCE) {
      await allDone(
        parts.slice(begin, begin + AT_ONCE).map(async (part) => {
          const place = { collection: PARTS, key: partKey(to, part.number) }
          const piece = await this.#buckets.contents.share(part, place)
          await this.#store.put(PARTS, place.key, { ...part, id: piece.id })
          void this.#buckets.contents.settle(piece.id)
        }),
      )
    }
  }

  async #parts(id: string, { after = 0, limit }: { readonly after?: number; readonly limit?: number } = {}): Promise<Part[]> {
    const stored = await this.#store.list<Part>(PARTS, { prefix: `${id}/`, after: partKey(id, after), ...(limit !== undefined && { limit }) })
    return stored.map(({ value }) => value)
  }

  async #removePart(address: Address, id: string, part: Part): Promise<void> {
    const place = { collection: PARTS, key: partKey(id, part.number) }
    await allDone<unknown>([this.#buckets.contents.note(part, place), this.#store.delete(PARTS, place.key)])
    await this.#gone(address.namespace, part)
  }

  async #gone(namespace: string, piece: Piece): Promise<void> {
    await this.#buckets.contents.remove(piece)
    await this.#buckets.usage.free(namespace, piece.bytes)
  }
}

/** The ETag is the MD5 of the parts' MD5s and their number, as S3's is. */
function assembled(upload: UploadEntity, { parts, checksum }: Chosen, nowMs: number): ObjectEntity {
  const { id, contentType, headers, metadata } = upload
  const md5 = createHash('md5')
  for (const part of parts) md5.update(part.etag, 'hex')
  return {
    id,
    bytes: bytesOf(parts),
    etag: `${md5.digest('hex')}-${parts.length}`,
    modifiedAtMs: nowMs,
    ...(contentType !== undefined && { contentType }),
    ...(headers !== undefined && { headers }),
    ...(metadata !== undefined && { metadata }),
    ...(checksum !== undefined && { checksum }),
  }
}

function bytesOf(pieces: readonly { readonly bytes: number }[]): number {
  return pieces.reduce((sum, piece) => sum + piece.bytes, 0)
}

function uploadKey(address: Address, id: string): string {
  return `${objectKey(address)}/${id}`
}

function partKey(id: string, number: number): string {
  return `${id}/${String(number).padStart(5, '0')}`
}
