/**
 * The code of functions: tars in the blobs, who may use them, and when they may go.
 *
 * A blob is named by its digest and shared by all revisions with the same code, so each use is written down: an upload
 * (which nothing uses yet) and a reference per revision. When the last of them goes, the blob goes.
 *
 * The blobs given here must hold code only: what else were in there would not be known, but could be deleted when it has
 * the digest of some code.
 *
 * Invariants:
 *   C1. A blob that a revision refers to is there: the reference is written before the blob is looked for, and a blob is
 *       deleted only under the same lock, after no reference was found.
 *   C2. A digest opens nothing by itself: a namespace sees only code that it uploaded or refers to. Otherwise who guesses
 *       or learns a digest could run, or test for, another tenant's code.
 *   C3. An upload that nothing came to use is kept for {@link UPLOAD_KEPT_MS}, and then swept.
 */
import type { Readable } from 'node:stream'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import type { BlobInfo, Blobs } from '#store/blobs.ts'
import type { Store } from '#store/store.ts'
import { passingChecked } from './code-archive.ts'
import { Serial } from './serial.ts'

/** A day: longer than any deployment takes between upload and use. */
export const UPLOAD_KEPT_MS = 24 * 3600 * 1000

/** Keys `<digest>/<namespace>`. */
const UPLOADS = 'code-uploads'
/** Keys `<digest>/<namespace>/<function>/<revision>`. */
const REFERENCES = 'code-references'
const PAGE_ROWS = 1000

interface UploadEntity {
  readonly atMs: number
}

export class CodeStore {
  readonly #store: Store
  readonly #blobs: Blobs
  readonly #nowMs: () => number
  readonly #serial = new Serial()

  constructor(options: { readonly store: Store; readonly blobs: Blobs; readonly nowMs: () => number }) {
    this.#store = options.store
    this.#blobs = options.blobs
    this.#nowMs = options.nowMs
  }

  /**
   * Streams a tar into the blobs, which keep nothing of one that is refused. Whether it has the entry is asked at deploy.
   * @throws BODY_TOO_LARGE, CODE_INVALID, STORE_FULL.
   */
  async upload(namespace: string, source: AsyncIterable<Uint8Array>, options: { readonly bytesMax: number }): Promise<BlobInfo> {
    const blob = await this.#blobs.put(passingChecked(source), options)
    await this.#serial.run(async () => {
      await this.#store.put(UPLOADS, `${blob.digest}/${namespace}`, { atMs: this.#nowMs() } satisfies UploadEntity)
      // The same bytes may have been there already, and their last user may have gone since (C1).
      if ((await this.#blobs.stat(blob.digest)) === undefined) {
        throw new PlatformError('CONFLICT', `The code ${blob.digest} was deleted while it was uploaded; upload it again.`)
      }
    })
    return blob
  }

  /** The blob, if this namespace may use it (C2). */
  async find(namespace: string, digest: string): Promise<BlobInfo | undefined> {
    const mine = (await this.#store.get(UPLOADS, `${digest}/${namespace}`)) !== undefined || (await this.#has(REFERENCES, `${digest}/${namespace}/`))
    return mine ? this.#blobs.stat(digest) : undefined
  }

  /**
   * For who already has the right: a revision's code.
   * @throws FUNCTION_NOT_FOUND when it went with its last revision, which by C1 is the only way it goes; STORE_FAILED.
   */
  async *open(digest: string): AsyncGenerator<Uint8Array> {
    try {
      yield* await this.read(digest)
    } catch (thrown) {
      if (!(thrown instanceof PlatformError) || thrown.code !== 'ENTITY_NOT_FOUND') throw thrown
      throw new PlatformError('FUNCTION_NOT_FOUND', `The function was deleted before its code (${digest.slice(0, 12)}) could be loaded; deploy it again.`, { cause: thrown, details: { digest } })
    }
  }

  /** For a deployment: code that nothing may refer to yet. @throws ENTITY_NOT_FOUND, STORE_FAILED. */
  read(digest: string): Promise<Readable> {
    return this.#blobs.get(digest)
  }

  /** Writes down that a revision uses the code, before the revision is stored. @throws ENTITY_NOT_FOUND when it is gone. */
  refer(revision: Pick<Revision, 'namespace' | 'function' | 'number' | 'code'>): Promise<void> {
    return this.#serial.run(async () => {
      const key = referenceKey(revision)
      await this.#store.put(REFERENCES, key, null)
      if ((await this.#blobs.stat(revision.code)) === undefined) {
        await this.#store.delete(REFERENCES, key)
        throw codeMissing(revision.code)
      }
    })
  }

  /** A revision with this code is stored: its upload is used, and need not be remembered any more. */
  settle(namespace: string, digest: string): Promise<void> {
    return this.#store.delete(UPLOADS, `${digest}/${namespace}`)
  }

  /** The revision is gone; its code goes with it, unless something else uses it. */
  release(revision: Pick<Revision, 'namespace' | 'function' | 'number' | 'code'>): Promise<void> {
    return this.#serial.run(async () => {
      await this.#store.delete(REFERENCES, referenceKey(revision))
      await this.#collect(revision.code)
    })
  }

  /**
   * Removes what a killed platform left: uploads that nothing came to use (C3), references of revisions that are not.
   * @returns How many of both.
   */
  async sweep(revisionExists: (namespace: string, name: string, number: number) => Promise<boolean>): Promise<number> {
    let swept = 0
    const untilMs = this.#nowMs() - UPLOAD_KEPT_MS
    for await (const { key, value } of this.#all<UploadEntity>(UPLOADS)) {
      if (value.atMs > untilMs) continue
      await this.#serial.run(async () => {
        await this.#store.delete(UPLOADS, key)
        await this.#collect(key.slice(0, key.indexOf('/')))
      })
      swept++
    }
    for await (const { key } of this.#all(REFERENCES)) {
      const [digest, namespace, name, number] = key.split('/') as [string, string, string, string]
      if (await revisionExists(namespace, name, Number(number))) continue
      await this.release({ namespace, function: name, number: Number(number), code: digest })
      swept++
    }
    return swept
  }

  /** Only inside the lock (C1). */
  async #collect(digest: string): Promise<void> {
    const used = (await this.#has(REFERENCES, `${digest}/`)) || (await this.#has(UPLOADS, `${digest}/`))
    if (!used) await this.#blobs.delete(digest)
  }

  async #has(collection: string, prefix: string): Promise<boolean> {
    return (await this.#store.list(collection, { prefix, limit: 1 })).length > 0
  }

  async *#all<Value>(collection: string) {
    for (let after: string | undefined; ; ) {
      const page = await this.#store.list<Value>(collection, { limit: PAGE_ROWS, ...(after !== undefined && { after }) })
      yield* page
      if (page.length < PAGE_ROWS) return
      after = page.at(-1)!.key
    }
  }
}

export function codeMissing(digest: string): PlatformError {
  return new PlatformError('ENTITY_NOT_FOUND', `There is no code ${digest} in this namespace; upload its tar with POST /v1/code first.`, {
    details: { digest },
  })
}

function referenceKey(revision: Pick<Revision, 'namespace' | 'function' | 'number' | 'code'>): string {
  return `${revision.code}/${revision.namespace}/${revision.function}/${revision.number}`
}
