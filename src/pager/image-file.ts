/**
 * The image of a snapshot as a file: header, then the memory, page n at `imageOffset + n * PAGE_BYTES`, zero pages as holes.
 *
 * The paper's guest memory file is the whole memory of a virtual machine, 256 MB of it (thesis 5.2.1, Figure 5.1a). This one is
 * as addressable (one private mapping restores it; any page is at a computed place) and as short as what is in it, because a hole
 * takes no block of the disk and no read. What an instance has beside its memory (mutable globals and changed table entries; of a
 * virtual machine it would be registers and devices) stands in the header as bytes that only the kind of sandbox understands.
 * FORMAT.md has the drawing.
 *
 * The writer takes chunks as they come from a host process, which is not believed: it checks their order and bounds, and leaves
 * out zero pages itself. Room for the longest possible header lies before the image, so that one pass is enough; what of it
 * is not used is a hole, too.
 *
 * Invariants:
 *   I1. The file is exactly `imageOffset + imageBytes` long, so that no page of a mapping is beyond its end (no SIGBUS).
 *   I2. A page outside of `pagesStored` is a hole when written and reads as zeros; `verifyImage` says whether it still does.
 *   I3. Each chunk of CHUNK_BYTES of the image that has a stored page has a checksum, over all of its bytes.
 */
import type { FileHandle } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { PlatformError } from '#contract/errors.ts'
import { FileKind, HeaderReader, HeaderWriter, requireIdentity } from './header-codec.ts'
import type { FileIdentity } from './header-codec.ts'
import { checkRange, readRawHeader, readRawHeaderSync, writeExactly, writeWhole } from './snapshot-io.ts'
import type { RawHeader } from './snapshot-io.ts'
import { PAGE_BYTES } from './snapshot.ts'
import type { PageRuns } from './snapshot.ts'
import { nonZeroRuns } from './zero-pages.ts'
import type { PageChunk } from './zero-pages.ts'

/** What one checksum is over: 16 pages. */
export const CHUNK_BYTES = 65_536
/** As much as an engine gives a memory with 64-bit addresses. */
export const IMAGE_BYTES_MAX = 16 * 1024 ** 3
/** An instance has a handful of globals; a table of 50,000 changed entries fits as well. */
export const STATE_BYTES_MAX = 1024 * 1024

const CHUNK_PAGES = CHUNK_BYTES / PAGE_BYTES
const zeroChunk = Buffer.alloc(CHUNK_BYTES)

export interface ImageDescription extends FileIdentity {
  /** Of the memory: a multiple of PAGE_BYTES, at most IMAGE_BYTES_MAX. */
  readonly imageBytes: number
  /** What is to be restored beside the memory, in the form of its kind of sandbox; at most STATE_BYTES_MAX. */
  readonly state: Uint8Array
  /** Epoch ms. */
  readonly takenAtMs: number
  /** How many invocations its instance had answered; 0: it was taken after initialisation. */
  readonly answered: number
}

export interface ImageHeader extends ImageDescription {
  readonly imageOffset: number
  /** R1 to R3 of snapshot.ts. */
  readonly pagesStored: PageRuns
  /** One per chunk that has a stored page, ascending (I3). */
  readonly chunkChecksums: Uint32Array
}

/**
 * Writes an image (W1 of snapshot-io.ts).
 * @param chunks Ascending, not overlapping, whole pages; zero pages may be among them.
 * @throws PROTOCOL_BROKEN when a chunk breaks these rules; STORE_FULL, STORE_FAILED; what `chunks` throws. Nothing is left then.
 */
export async function writeImage(path: string, image: ImageDescription, chunks: AsyncIterable<PageChunk> | Iterable<PageChunk>): Promise<ImageHeader> {
  if (image.imageBytes % PAGE_BYTES !== 0 || image.imageBytes <= 0 || image.imageBytes > IMAGE_BYTES_MAX) {
    throw new PlatformError('PROTOCOL_BROKEN', `An image of ${image.imageBytes} bytes was announced; a multiple of ${PAGE_BYTES} up to ${IMAGE_BYTES_MAX} is possible.`)
  }
  if (image.state.byteLength > STATE_BYTES_MAX) {
    throw new PlatformError('PROTOCOL_BROKEN', `An instance has ${image.state.byteLength} bytes of state beside its memory; at most ${STATE_BYTES_MAX} can be kept.`)
  }
  return await writeWhole(path, async (file) => {
    const imageOffset = imageOffsetOf(image)
    const body = new ImageBody(file, imageOffset, image.imageBytes)
    for await (const chunk of chunks) await body.add(chunk)
    const { pagesStored, chunkChecksums } = body.finish()
    const header: ImageHeader = { ...image, imageOffset, pagesStored, chunkChecksums }
    const fileBytes = imageOffset + image.imageBytes
    const written = encodeImageHeader(header).seal(fileBytes)
    await writeExactly(file, written, 0)
    await file.truncate(fileBytes)
    return header
  })
}

/** @throws SNAPSHOT_DAMAGED, SNAPSHOT_MISMATCH (also when it is not of whom `wanted` names), STORE_FAILED. */
export async function readImageHeader(path: string, wanted: Partial<FileIdentity> = {}): Promise<ImageHeader> {
  return parseImageHeader(await readRawHeader(path), path, wanted)
}

/** The same of an open descriptor, without waiting. */
export function readImageHeaderSync(fd: number, path: string, wanted: Partial<FileIdentity> = {}): ImageHeader {
  return parseImageHeader(readRawHeaderSync(fd, path), path, wanted)
}

/** Compares the whole image with its checksums, and its holes with zero. @throws SNAPSHOT_DAMAGED, STORE_FAILED. */
export async function verifyImage(path: string, header: ImageHeader): Promise<void> {
  const checksums = new Map<number, number>()
  let index = 0
  for (const chunk of storedChunks(header.pagesStored)) checksums.set(chunk, header.chunkChecksums[index++]!)
  await checkRange(path, { start: header.imageOffset, end: header.imageOffset + header.imageBytes, chunkBytes: CHUNK_BYTES, expected: (chunk) => checksums.get(chunk) })
}

export function parseImageHeader(raw: RawHeader, path: string, wanted: Partial<FileIdentity> = {}): ImageHeader {
  const reader = new HeaderReader(raw.header, FileKind.image, raw.fileBytes, path)
  const { revision, moduleDigest, imageId } = reader.preamble
  requireIdentity(path, reader.preamble, wanted)
  const imageOffset = reader.u64()
  const imageBytes = reader.u64()
  if (imageBytes === 0 || imageBytes % PAGE_BYTES !== 0 || imageBytes > IMAGE_BYTES_MAX) throw reader.damaged(`an image of ${imageBytes} bytes is not possible`)
  if (imageOffset % PAGE_BYTES !== 0 || imageOffset < raw.header.byteLength) throw reader.damaged(`its image begins at ${imageOffset}, within its header or within a page`)
  if (imageOffset + imageBytes !== raw.fileBytes) throw reader.damaged(`it has ${raw.fileBytes} bytes, and its image of ${imageBytes} begins at ${imageOffset}`)
  const takenAtMs = reader.u64()
  const answered = reader.u32()
  const stateBytes = reader.u32()
  if (stateBytes > STATE_BYTES_MAX) throw reader.damaged(`it has ${stateBytes} bytes of state, at most ${STATE_BYTES_MAX} are possible`)
  // Copied, so that the header it stands in can go.
  const state = Uint8Array.from(reader.bytes(stateBytes))
  const pagesStored = reader.runs(imageBytes / PAGE_BYTES, true)
  const chunkChecksums = reader.u32s(storedChunks(pagesStored).length)
  reader.end()
  return { revision, moduleDigest, imageId, imageOffset, imageBytes, takenAtMs, answered, state, pagesStored, chunkChecksums }
}

function encodeImageHeader(header: ImageHeader): HeaderWriter {
  return new HeaderWriter(FileKind.image, header)
    .u64(header.imageOffset)
    .u64(header.imageBytes)
    .u64(header.takenAtMs)
    .u32(header.answered)
    .u32(header.state.byteLength)
    .bytes(header.state)
    .u32(header.pagesStored.length / 2)
    .u32s(header.pagesStored)
    .u32s(header.chunkChecksums)
}

/** Behind the longest header that this image can get; at a multiple of a chunk, which is also one of any block of a disk. */
function imageOffsetOf(image: ImageDescription): number {
  const empty = encodeImageHeader({ ...image, imageOffset: 0, pagesStored: new Uint32Array(0), chunkChecksums: new Uint32Array(0) }).length
  const pages = image.imageBytes / PAGE_BYTES
  const longest = empty + Math.ceil(pages / 2) * 8 + Math.ceil(pages / CHUNK_PAGES) * 4
  return Math.ceil(longest / CHUNK_BYTES) * CHUNK_BYTES
}

/** Which chunks have a stored page, ascending. */
function storedChunks(pagesStored: PageRuns): number[] {
  const chunks: number[] = []
  let next = 0
  for (let index = 0; index < pagesStored.length; index += 2) {
    const first = Math.floor(pagesStored[index]! / CHUNK_PAGES)
    const last = Math.floor((pagesStored[index]! + pagesStored[index + 1]! - 1) / CHUNK_PAGES)
    for (let chunk = Math.max(first, next); chunk <= last; chunk++) chunks.push(chunk)
    next = Math.max(next, last + 1)
  }
  return chunks
}

/** The pages on their way into the file: where they go, what was stored, and the checksum of the chunk that is being filled. */
class ImageBody {
  readonly #file: FileHandle
  readonly #imageOffset: number
  readonly #pages: number
  readonly #runs: number[] = []
  readonly #checksums: number[] = []
  /** Pages below have been given or left out. */
  #nextPage = 0
  /** Of the chunk in which the last stored page lies: its checksum up to byte #chunkAt of the image. */
  #checksum = 0
  #chunkAt = 0

  constructor(file: FileHandle, imageOffset: number, imageBytes: number) {
    this.#file = file
    this.#imageOffset = imageOffset
    this.#pages = imageBytes / PAGE_BYTES
  }

  async add({ firstPage, bytes }: PageChunk): Promise<void> {
    const count = bytes.byteLength / PAGE_BYTES
    if (!Number.isInteger(count) || !Number.isInteger(firstPage) || firstPage < this.#nextPage || firstPage + count > this.#pages) {
      throw new PlatformError(
        'PROTOCOL_BROKEN',
        `A chunk of ${bytes.byteLength} bytes for page ${firstPage} came for an image; whole pages of ${PAGE_BYTES} from page ${this.#nextPage} up to ${this.#pages} are possible.`,
      )
    }
    this.#nextPage = firstPage + count
    const runs = nonZeroRuns(bytes)
    const writes: Promise<void>[] = []
    for (let index = 0; index < runs.length; index += 2) {
      const part = bytes.subarray(runs[index]! * PAGE_BYTES, (runs[index]! + runs[index + 1]!) * PAGE_BYTES)
      const page = firstPage + runs[index]!
      this.#note(page, runs[index + 1]!, part)
      writes.push(writeExactly(this.#file, part, this.#imageOffset + page * PAGE_BYTES))
    }
    // All of them, also when one fails: the file must not be closed under a write.
    const failed = (await Promise.allSettled(writes)).find((one) => one.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  finish(): { readonly pagesStored: PageRuns; readonly chunkChecksums: Uint32Array } {
    if (this.#runs.length > 0) this.#closeChunk()
    return { pagesStored: Uint32Array.from(this.#runs), chunkChecksums: Uint32Array.from(this.#checksums) }
  }

  #note(page: number, count: number, bytes: Uint8Array): void {
    const last = this.#runs.length - 2
    if (last >= 0 && this.#runs[last]! + this.#runs[last + 1]! === page) this.#runs[last + 1]! += count
    else this.#runs.push(page, count)
    let at = page * PAGE_BYTES
    for (let rest = bytes; rest.byteLength > 0; ) {
      const chunkStart = at - (at % CHUNK_BYTES)
      if (this.#chunkAt <= chunkStart) {
        if (this.#chunkAt > 0) this.#closeChunk()
        this.#chunkAt = chunkStart
        this.#checksum = 0
      }
      const part = rest.subarray(0, chunkStart + CHUNK_BYTES - at)
      this.#checksum = crc32(part, crc32(zeroChunk.subarray(0, at - this.#chunkAt), this.#checksum))
      at += part.byteLength
      this.#chunkAt = at
      rest = rest.subarray(part.byteLength)
    }
  }

  /** Zeros up to the end of the chunk, or of the image where that is shorter. */
  #closeChunk(): void {
    const end = Math.min(Math.ceil(this.#chunkAt / CHUNK_BYTES) * CHUNK_BYTES, this.#pages * PAGE_BYTES)
    this.#checksums.push(crc32(zeroChunk.subarray(0, end - this.#chunkAt), this.#checksum))
  }
}
