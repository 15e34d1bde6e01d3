/**
 * Blobs: immutable bytes named by their SHA-256.
 *
 * Embedded default: files (store/file-blobs.ts). Later: the NATS object store. One suite: blobs.conformance.ts.
 *
 * Promises:
 *   B1. A blob exists whole or not at all: after a resolved `put` it is durable; a broken upload leaves nothing.
 *   B2. Putting the same bytes again is a no-op with the same digest.
 *   B3. What `get` gives has the digest asked for; damage is found and reported (STORE_FAILED), never handed on.
 */
import type { Readable } from 'node:stream'

export interface BlobInfo {
  /** 64 lowercase hex digits. */
  readonly digest: string
  readonly bytes: number
}

export interface Blobs {
  /** @param bytesMax Longer input is refused with BODY_TOO_LARGE, and nothing is kept. */
  put(source: AsyncIterable<Uint8Array>, options: { readonly bytesMax: number }): Promise<BlobInfo>
  stat(digest: string): Promise<BlobInfo | undefined>
  /** @throws ENTITY_NOT_FOUND. */
  get(digest: string): Promise<Readable>
  delete(digest: string): Promise<void>
  list(): AsyncIterable<BlobInfo>
}
