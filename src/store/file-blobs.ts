/**
 * Blobs as files: `ab/cdef…`, named by the SHA-256 of what is in them.
 *
 *   put:  source ─▶ tmp/<random>: write, hash, bound ─▶ fsync and claim ─▶ rename to ab/cdef… ─▶ fsync of the directory
 *   get:  read a piece, hash it, hand on the piece before; the last piece only when the digest is right
 *
 * So a consumer of damaged data never reaches the end: it gets the error instead of the last piece. Up to
 * {@link PIECE_BYTES} (nearly all code) that means: not one byte. Reading twice, to check before the first byte of a
 * large blob, would double its disk time for no more safety: what counts as whole is what ended.
 *
 * Invariants:
 *   F1. A file under its final name was written, fsynced and hashed before it got that name (B1).
 *   F2. What a process that died left in `tmp/` is removed by the next open. One process uses a directory at a time;
 *       the store's lock sees to that.
 *   F3. A put replaces the file of the same digest: deploying again heals a damaged blob.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { PlatformError } from '#contract/errors.ts'
import type { BlobInfo, BlobPutOptions, BlobRange, Blobs } from './blobs.ts'

const PIECE_BYTES = 256 * 1024
const DIGEST = /^[0-9a-f]{64}$/
const SHARD = /^[0-9a-f]{2}$/

/** @param options.directory Created when missing. @throws STORE_FULL, STORE_FAILED. */
export async function openFileBlobs(options: { readonly directory: string }): Promise<Blobs> {
  const blobs = new FileBlobs(options.directory)
  await translated(options.directory, async () => {
    await mkdir(options.directory, { recursive: true, mode: 0o700 })
    await rm(join(options.directory, 'tmp'), { recursive: true, force: true })
    await mkdir(join(options.directory, 'tmp'))
  })
  return blobs
}

class FileBlobs implements Blobs {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  async put(source: AsyncIterable<Uint8Array>, options: BlobPutOptions): Promise<BlobInfo> {
    const temporary = join(this.#directory, 'tmp', randomBytes(12).toString('hex'))
    try {
      const info = await this.#write(temporary, source, options)
      await translated(this.#directory, () => this.#publish(temporary, info.digest))
      return info
    } catch (thrown) {
      await rm(temporary, { force: true }).catch(() => {
        // The next open removes it.
      })
      throw thrown
    }
  }

  async stat(digest: string): Promise<BlobInfo | undefined> {
    if (!DIGEST.test(digest)) return undefined
    const bytes = await translated(this.#directory, () => sizeOf(this.#path(digest)))
    return bytes === undefined ? undefined : { digest, bytes }
  }

  async get(digest: string, range?: BlobRange): Promise<Readable> {
    const info = await this.stat(digest)
    if (info === undefined) throw blobNotFound(digest)
    const isWhole = range === undefined || (range.from === 0 && range.until === info.bytes)
    // Opened by the first read: a stream that nobody reads holds nothing.
    return Readable.from(isWhole ? this.#verified(digest) : this.#range(digest, range), { objectMode: false, highWaterMark: PIECE_BYTES })
  }

  /** Not fsynced: a blob that a power loss brings back is as unused as before, and goes the next time. */
  async delete(digest: string): Promise<void> {
    if (!DIGEST.test(digest)) return
    await translated(this.#directory, () => rm(this.#path(digest), { force: true }))
  }

  async *list(): AsyncIterable<BlobInfo> {
    for (const shard of await this.#names(this.#directory)) {
      if (!SHARD.test(shard)) continue
      for (const rest of await this.#names(join(this.#directory, shard))) {
        const info = await this.stat(shard + rest)
        if (info !== undefined) yield info
      }
    }
  }

  async #write(temporary: string, source: AsyncIterable<Uint8Array>, { bytesMax, claim }: BlobPutOptions): Promise<BlobInfo> {
    const hash = createHash('sha256')
    let bytes = 0
    const file = await translated(this.#directory, () => open(temporary, 'wx', 0o600))
    try {
      // Errors of the source are the caller's own and pass as they are.
      for await (const piece of source) {
        bytes += piece.byteLength
        if (bytes > bytesMax) {
          throw new PlatformError('BODY_TOO_LARGE', `The upload has more than ${bytesMax} bytes, which is the limit here. Send less, or raise the limit.`, {
            details: { bytesMax },
          })
        }
        hash.update(piece)
        await translated(this.#directory, () => writeAll(file, piece))
      }
      const info = { digest: hash.digest('hex'), bytes }
      // Both wait for the disk, at the same time; both have ended before anything is undone.
      const [claimed, synced] = await Promise.allSettled([claim?.(info), translated(this.#directory, () => file.sync())])
      if (claimed.status === 'rejected') throw claimed.reason
      if (synced.status === 'rejected') throw synced.reason
      return info
    } finally {
      await file.close()
    }
  }

  async #publish(temporary: string, digest: string): Promise<void> {
    const shard = join(this.#directory, digest.slice(0, 2))
    const created = await mkdir(shard, { recursive: true, mode: 0o700 })
    await rename(temporary, this.#path(digest))
    await syncDirectory(shard)
    if (created !== undefined) await syncDirectory(this.#directory)
  }

  async *#verified(digest: string): AsyncGenerator<Uint8Array, void, undefined> {
    const path = this.#path(digest)
    const hash = createHash('sha256')
    const file = await this.#openFile(digest)
    try {
      let held: Uint8Array | undefined
      for (;;) {
        const buffer = Buffer.allocUnsafeSlow(PIECE_BYTES)
        const { bytesRead } = await translated(this.#directory, () => file.read(buffer, 0, PIECE_BYTES))
        if (bytesRead === 0) break
        if (held !== undefined) yield held
        held = buffer.subarray(0, bytesRead)
        hash.update(held)
      }
      const found = hash.digest('hex')
      if (found !== digest) {
        throw new PlatformError('STORE_FAILED', `The blob ${digest} is damaged: ${path} has the digest ${found}. Deploy the same code again, which replaces it.`, {
          details: { digest, found, path },
        })
      }
      if (held !== undefined) yield held
    } finally {
      await file.close()
    }
  }

  async *#range(digest: string, { from, until }: BlobRange): AsyncGenerator<Uint8Array, void, undefined> {
    const file = await this.#openFile(digest)
    try {
      for (let position = from; position < until; ) {
        const buffer = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, until - position))
        const { bytesRead } = await translated(this.#directory, () => file.read(buffer, 0, buffer.length, position))
        if (bytesRead === 0) {
          throw new PlatformError('STORE_FAILED', `The blob ${digest} is damaged: it ends at byte ${position}, and bytes up to ${until} were asked for. Upload it again.`, {
            details: { digest, position, until },
          })
        }
        position += bytesRead
        yield buffer.subarray(0, bytesRead)
      }
    } finally {
      await file.close()
    }
  }

  #openFile(digest: string): Promise<FileHandle> {
    return translated(this.#directory, () => open(this.#path(digest), 'r')).catch((thrown: unknown) => {
      throw isMissing((thrown as Error).cause) ? blobNotFound(digest) : thrown
    })
  }

  async #names(directory: string): Promise<string[]> {
    const names = await translated(this.#directory, () => readdir(directory))
    return names.sort()
  }

  #path(digest: string): string {
    return join(this.#directory, digest.slice(0, 2), digest.slice(2))
  }
}

/** A write may take less than it was given, on a nearly full disk. */
async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let written = 0
  while (written < bytes.byteLength) written += (await file.write(bytes, written)).bytesWritten
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch (thrown) {
    if (isMissing(thrown)) return undefined
    throw thrown
  }
}

function isMissing(thrown: unknown): boolean {
  return (thrown as NodeJS.ErrnoException | undefined)?.code === 'ENOENT'
}

function blobNotFound(digest: string): PlatformError {
  return new PlatformError('ENTITY_NOT_FOUND', `No blob has the digest ${digest}. List the blobs, or upload it again.`, { details: { digest } })
}

/** Errors of the file system in the platform's words. */
async function translated<Value>(directory: string, act: () => Promise<Value>): Promise<Value> {
  try {
    return await act()
  } catch (thrown) {
    if (thrown instanceof PlatformError) throw thrown
    const { code, message } = thrown as NodeJS.ErrnoException
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new PlatformError('STORE_FULL', `No room for more blobs in ${directory}: nothing was kept. Free disk space, then try again.`, {
        cause: thrown,
        details: { directory },
      })
    }
    throw new PlatformError('STORE_FAILED', `The blobs in ${directory} failed: ${message}. Check the disk and the permissions of the directory.`, {
      cause: thrown,
      details: { directory },
    })
  }
}
