/**
 * The bytes of objects: blobs, who uses them, and when they may go.
 *
 * A blob is named by its digest and shared by all objects and parts with the same bytes, so each use is written down as a
 * reference. When the last one goes, the blob goes. These blobs are in a directory of their own: code and the payloads of
 * asynchronous invocations are other blobs, whatever their bytes.
 *
 * The store writes one entity at a time, and an object is an entity, a reference and a blob. So before anything comes or goes,
 * a note of it is durable, and the notes that a killed platform left are followed at the next start:
 *
 *   come:  bytes fsynced, note + reference ─▶ blob has its name ─▶ entity names the content, note deleted
 *   go:    note + entity gone or replaced ─▶ reference gone ─▶ blob gone, unless referred to ─▶ note deleted
 *   start: for each note: does the entity at its place name this content? yes: the note goes. no: the content goes.
 *
 * A content is one piece (it has a digest) or many: then its pieces are the parts that are stored under its id.
 *
 * Invariants:
 *   O1. A blob that a content of an entity refers to is there: its reference is written before the blob has its name, and a
 *       blob is deleted only under the lock of its digest, after no reference was found (Blobs, B4).
 *   O2. What is not an entity's content is gone after the next start.
 *   O3. What somebody reads goes when the last reader has ended.
 */
import { Readable } from 'node:stream'
import type { BlobInfo, BlobRange, Blobs } from '#store/blobs.ts'
import type { Store } from '#store/store.ts'
import { allDone } from './all-done.ts'
import { KeyedLock } from './keyed-lock.ts'

/** Keys `<digest>/<content id>`. */
const REFERENCES = 's3-references'
/** Keys: content ids. */
const NOTES = 's3-notes'
/** Keys `<content id>/<part number, five digits>`. */
export const PARTS = 's3-parts'
const PAGE_ROWS = 200

export interface Content {
  readonly id: string
  readonly bytes: number
  /** Absent: its pieces are the parts stored under its id. */
  readonly digest?: string
}

export interface Piece extends Content {
  readonly digest: string
}

/** The entity that names a content: its value's `id` is the content's. */
export interface Place {
  readonly collection: string
  readonly key: string
}

interface Note extends Place {
  readonly digest?: string
}

export class Contents {
  readonly #store: Store
  readonly #blobs: Blobs
  readonly #newId: () => string
  readonly #warn: (message: string, error: unknown) => void
  readonly #locks = new KeyedLock()
  readonly #readers = new Map<string, number>()
  /** To go when their last reader has ended. */
  readonly #doomed = new Map<string, Omit<Content, 'bytes'>>()

  constructor(options: { readonly store: Store; readonly blobs: Blobs; readonly newId: () => string; readonly warn: (message: string, error: unknown) => void }) {
    this.#store = options.store
    this.#blobs = options.blobs
    this.#newId = options.newId
    this.#warn = options.warn
  }

  /**
   * Takes in bytes for an entity that is written next; then {@link settle}.
   * @param check Runs when all bytes are there; what it throws refuses them.
   * @throws BODY_TOO_LARGE, STORE_FULL, STORE_FAILED; what the source throws. Then nothing is kept.
   */
  async add(source: AsyncIterable<Uint8Array>, place: Place, options: { readonly bytesMax: number; readonly check: (info: BlobInfo) => void }): Promise<Piece> {
    const id = this.#newId()
    let claimed: string | undefined
    try {
      const info = await this.#blobs.put(source, {
        bytesMax: options.bytesMax,
        claim: async (info) => {
          options.check(info)
          claimed = info.digest
          await this.#refer(id, info.digest, place)
        },
      })
      return { id, ...info }
    } catch (thrown) {
      if (claimed !== undefined) await this.remove({ id, digest: claimed })
      throw thrown
    }
  }

  /** One more use of a piece that its caller holds a lease of. */
  async share(piece: Piece, place: Place): Promise<Piece> {
    const id = this.#newId()
    await this.#refer(id, piece.digest, place)
    return { id, digest: piece.digest, bytes: piece.bytes }
  }

  /** The entity that names the content is written. Nobody has to wait for it, and what fails is made up for at the next start. */
  settle(id: string): Promise<void> {
    return this.#store.delete(NOTES, id).catch((error: unknown) => this.#warn('a note of a content could not be deleted', error))
  }

  /** Writes down that a content goes, or comes with parts: call it in the turn that changes the entity, and before. Never rejects. */
  note({ id, digest }: Omit<Content, 'bytes'>, { collection, key }: Place): Promise<unknown> {
    const note: Note = { collection, key, ...(digest !== undefined && { digest }) }
    return this.#store.put(NOTES, id, note).catch((error: unknown) => this.#warn('a note of a content could not be written', error))
  }

  /** No entity names it any more. Never rejects: what can't be removed now is removed at the next start (O2). */
  async remove(content: Omit<Content, 'bytes'>): Promise<void> {
    if (this.#readers.has(content.id)) return void this.#doomed.set(content.id, content)
    try {
      if (content.digest === undefined) await this.#removeParts(content.id)
      else await this.#release(content.id, content.digest)
      await this.#store.delete(NOTES, content.id)
    } catch (error) {
      this.#warn('the bytes of a deleted object could not be removed', error)
    }
  }

  /** Keeps a content from going until disposed of. To be called in the turn in which its entity was read. */
  lease(content: Content): Disposable {
    const { id } = content
    this.#readers.set(id, (this.#readers.get(id) ?? 0) + 1)
    let isOver = false
    return {
      [Symbol.dispose]: () => {
        if (isOver) return
        isOver = true
        const left = this.#readers.get(id)! - 1
        if (left > 0) return void this.#readers.set(id, left)
        this.#readers.delete(id)
        const doomed = this.#doomed.get(id)
        this.#doomed.delete(id)
        if (doomed !== undefined) void this.remove(doomed)
      },
    }
  }

  /** The bytes, under a lease of their own. The caller reads to the end or destroys the stream. */
  read(content: Content, range: BlobRange = { from: 0, until: content.bytes }): Readable {
    const lease = this.lease(content)
    return Readable.from(this.#pieces(content, range), { objectMode: false, highWaterMark: 256 * 1024 }).once('close', () => lease[Symbol.dispose]())
  }

  /** Follows the notes of an earlier run (O2); before anything else is done here. @returns How many contents went. */
  async recover(): Promise<number> {
    let gone = 0
    for (const { key: id, value: note } of await this.#store.list<Note>(NOTES)) {
      const entity = await this.#store.get<{ readonly id?: string }>(note.collection, note.key)
      if (entity?.value.id === id) await this.settle(id)
      else {
        await this.remove({ id, ...(note.digest !== undefined && { digest: note.digest }) })
        gone++
      }
    }
    return gone
  }

  #refer(id: string, digest: string, place: Place): Promise<unknown> {
    const note: Note = { collection: place.collection, key: place.key, digest }
    return this.#locks.exclusive(digest, () =>
      allDone<unknown>([this.#store.put(NOTES, id, note), this.#store.put(REFERENCES, `${digest}/${id}`, null)]),
    )
  }

  #release(id: string, digest: string): Promise<void> {
    return this.#locks.exclusive(digest, async () => {
      await this.#store.delete(REFERENCES, `${digest}/${id}`)
      const [other] = await this.#store.list(REFERENCES, { prefix: `${digest}/`, limit: 1 })
      if (other === undefined) await this.#blobs.delete(digest)
    })
  }

  async #removeParts(id: string): Promise<void> {
    for (;;) {
      const parts = await this.#store.list<Piece>(PARTS, { prefix: `${id}/`, limit: PAGE_ROWS })
      await allDone(
        parts.map(async ({ key, value }) => {
          await this.#release(value.id, value.digest)
          await this.#store.delete(PARTS, key)
        }),
      )
      if (parts.length < PAGE_ROWS) return
    }
  }

  async *#pieces(content: Content, { from, until }: BlobRange): AsyncGenerator<Uint8Array> {
    if (content.digest !== undefined) {
      if (from < until) yield* await this.#blobs.get(content.digest, { from, until })
      return
    }
    let position = 0
    for (const { value: part } of await this.#store.list<Piece>(PARTS, { prefix: `${content.id}/` })) {
      const end = position + part.bytes
      const range = { from: Math.max(from, position) - position, until: Math.min(until, end) - position }
      if (range.from < range.until) yield* await this.#blobs.get(part.digest, range)
      position = end
      if (position >= until) return
    }
  }
}
