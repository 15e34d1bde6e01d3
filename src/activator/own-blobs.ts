/**
 * Blobs of which each belongs to one invocation, so that it can be deleted with it.
 *
 * Blobs are named by their content, and so two invocations with the same body would share one; neither could tell when
 * nobody needs it any more. So the first 32 bytes of each say whose it is, and are skipped on reading.
 *
 *   │ SHA-256 of the owner's name │ the bytes themselves │
 *
 * Invariants:
 *   O1. Blobs of two owners never have the same digest. Of one owner, the same bytes have the same digest: what a crash
 *       made twice is there once.
 */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Blobs } from '#store/blobs.ts'

const SALT_BYTES = 32
const BYTES_MAX = 1024 ** 4

export class OwnBlobs {
  readonly #blobs: Blobs

  constructor(blobs: Blobs) {
    this.#blobs = blobs
  }

  /** @param owner Any text. @returns the digest. @throws STORE_FULL, STORE_FAILED, BODY_TOO_LARGE (1 TB), and what the source throws. */
  async put(owner: string, source: AsyncIterable<Uint8Array>): Promise<string> {
    return (await this.#blobs.put(salted(owner, source), { bytesMax: BYTES_MAX + SALT_BYTES })).digest
  }

  /** @throws ENTITY_NOT_FOUND. Damage ends the stream with STORE_FAILED. */
  async get(digest: string): Promise<{ readonly bytes: number; readonly body: Readable }> {
    const body = await this.#blobs.get(digest)
    const bytes = (await this.#blobs.stat(digest))?.bytes ?? SALT_BYTES
    return { bytes: Math.max(0, bytes - SALT_BYTES), body: Readable.from(unsalted(body), { objectMode: false }) }
  }

  /** Deleting what is not there is a no-op. */
  delete(digest: string): Promise<void> {
    return this.#blobs.delete(digest)
  }
}

async function* salted(owner: string, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield createHash('sha256').update(owner).digest()
  yield* source
}

async function* unsalted(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let left = SALT_BYTES
  for await (const chunk of source) {
    const skipped = Math.min(left, chunk.length)
    left -= skipped
    if (skipped < chunk.length) yield skipped === 0 ? chunk : chunk.subarray(skipped)
  }
}
