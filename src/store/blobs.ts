/**
 * Blobs: immutable bytes named by their SHA-256.
 *
 * Embedded default: files (store/file-blobs.ts). Later: the NATS object store. One suite: blobs.conformance.ts.
 *
 * Promises:
 *   B1. A blob exists whole or not at all: after a resolved `put` it is durable; a broken upload leaves nothing.
 *   B2. Putting the same bytes again is a no-op with the same digest.
 *   B3. What `get` gives has the digest asked for; damage is found and reported (STORE_FAILED), never handed on. Of a range
 *       only its length is checked: a digest says nothing of a part.
 *   B4. `claim` runs when all bytes have come, and no reader finds them before it has ended. So who writes down there that the blob is
 *       used, and deletes blobs only after finding no such note, under one lock for both, never loses one that is used.
 */
import type { Readable } from 'node:stream'

export interface BlobInfo {
  /** 64 lowercase hex digits. */
  readonly digest: string
  readonly bytes: number
}

/** Bytes `from` until before `until`. */
export interface BlobRange {
  readonly from: number
  readonly until: number
}

export interface BlobPutOptions {
  /** Longer input is refused with BODY_TOO_LARGE, and nothing is kept. */
  readonly bytesMax: number
  /** See B4. What it throws ends the upload, and nothing of it is kept. */
  readonly claim?: (info: BlobInfo) => Promise<void>
}

export interface Blobs {
  put(source: AsyncIterable<Uint8Array>, options: BlobPutOptions): Promise<BlobInfo>
  stat(digest: string): Promise<BlobInfo | undefined>
  /** @param range Inside the blob. @throws ENTITY_NOT_FOUND. */
  get(digest: string, range?: BlobRange): Promise<Readable>
  delete(digest: string): Promise<void>
  list(): AsyncIterable<BlobInfo>
}
