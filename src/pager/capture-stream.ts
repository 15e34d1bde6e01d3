/**
 * How a host process hands a snapshot, or a recording, to the worker: over a stream of bytes of its own, because the pages of
 * an image are more than should ever lie in memory.
 *
 *   image:   │ "SKEPCAP1" │ u64 imageBytes │ u32 state bytes │ state │ chunk … │ chunk with count 0 │
 *   chunk:   │ u32 first page │ u32 count │ count pages │         ascending; zero pages are left out
 *   trace:   │ "SKEPTRC1" │ u32 ordered (0, 1) │ u32 count │ count × u32 page, in the order of the faults │
 *
 * The host process runs foreign code and is not believed: lengths are compared with bounds of the caller before anything is
 * collected, chunks are at most CHUNK_PAGES_MAX pages, and an end that comes too early is an error and never a shorter
 * snapshot. What the pages are good for is the function's own affair: they are only ever mapped into its own instances.
 */
import { PlatformError } from '#contract/errors.ts'
import { IMAGE_BYTES_MAX, STATE_BYTES_MAX } from './image-file.ts'
import { PAGE_BYTES } from './snapshot.ts'
import { nonZeroChunks } from './zero-pages.ts'
import type { PageChunk } from './zero-pages.ts'

/** 1 MB: as much as is written at once. */
export const CHUNK_PAGES_MAX = 256

const IMAGE_MAGIC = 'SKEPCAP1'
const TRACE_MAGIC = 'SKEPTRC1'

/** An image as the bytes of a capture. Views of `memory`, which must stay as it is until the last one is consumed. */
export function* encodeCapture(memory: Uint8Array, state: Uint8Array): Generator<Uint8Array> {
  const head = Buffer.alloc(20)
  head.write(IMAGE_MAGIC, 'latin1')
  head.writeBigUInt64LE(BigInt(memory.byteLength), 8)
  head.writeUInt32LE(state.byteLength, 16)
  yield head
  yield state
  for (const { firstPage, bytes } of nonZeroChunks(memory, CHUNK_PAGES_MAX * PAGE_BYTES)) {
    yield chunkHead(firstPage, bytes.byteLength / PAGE_BYTES)
    yield bytes
  }
  yield chunkHead(0, 0)
}

export interface Capture {
  readonly imageBytes: number
  readonly state: Uint8Array
  /** To be consumed once. Ends when all chunks have come; throws PROTOCOL_BROKEN when the stream ends before. */
  readonly chunks: AsyncIterable<PageChunk>
}

/**
 * Reads the beginning of a capture.
 * @param limits The largest memory that this function may have. @throws PROTOCOL_BROKEN, what `stream` throws.
 */
export async function decodeCapture(stream: AsyncIterable<Uint8Array>, limits: { readonly imageBytesMax: number }): Promise<Capture> {
  const bytes = new StreamReader(stream)
  const head = await bytes.take(20)
  if (head.toString('latin1', 0, 8) !== IMAGE_MAGIC) throw broken('does not begin as one')
  const imageBytes = head.readBigUInt64LE(8)
  const max = Math.min(limits.imageBytesMax, IMAGE_BYTES_MAX)
  if (imageBytes === 0n || imageBytes % BigInt(PAGE_BYTES) !== 0n || imageBytes > BigInt(max)) throw broken(`announces a memory of ${imageBytes} bytes; whole pages up to ${max} are possible`)
  const stateBytes = head.readUInt32LE(16)
  if (stateBytes > STATE_BYTES_MAX) throw broken(`announces ${stateBytes} bytes of state; at most ${STATE_BYTES_MAX} are possible`)
  const state = Uint8Array.from(await bytes.take(stateBytes))
  return { imageBytes: Number(imageBytes), state, chunks: chunksOf(bytes) }
}

/** A recording as bytes. @param faults Page numbers, in the order of the faults when `ordered`. */
export function encodeRecording(faults: Uint32Array, ordered: boolean): Uint8Array {
  const bytes = Buffer.alloc(16 + faults.byteLength)
  bytes.write(TRACE_MAGIC, 'latin1')
  bytes.writeUInt32LE(ordered ? 1 : 0, 8)
  bytes.writeUInt32LE(faults.length, 12)
  bytes.set(new Uint8Array(faults.buffer, faults.byteOffset, faults.byteLength), 16)
  return bytes
}

/** @param limits The pages of the image: a recording names at most each once. @throws PROTOCOL_BROKEN, what `stream` throws. */
export async function decodeRecording(stream: AsyncIterable<Uint8Array>, limits: { readonly pagesMax: number }): Promise<{ readonly faults: Uint32Array; readonly ordered: boolean }> {
  const bytes = new StreamReader(stream)
  const head = await bytes.take(16)
  if (head.toString('latin1', 0, 8) !== TRACE_MAGIC) throw broken('does not begin as a recording')
  const order = head.readUInt32LE(8)
  const count = head.readUInt32LE(12)
  if (order > 1 || count > limits.pagesMax) throw broken(`announces ${count} touched pages in order ${order}; at most ${limits.pagesMax} are possible, in order 0 or 1`)
  // Taken in pieces, so that a count without pages behind it costs nothing.
  const faults: Uint32Array[] = []
  for (let left = count; left > 0; ) {
    const part = Math.min(left, 16_384)
    const values = new Uint32Array(part)
    new Uint8Array(values.buffer).set(await bytes.take(part * 4))
    faults.push(values)
    left -= part
  }
  const all = new Uint32Array(count)
  let at = 0
  for (const values of faults) {
    all.set(values, at)
    at += values.length
  }
  await bytes.close()
  return { faults: all, ordered: order === 1 }
}

async function* chunksOf(bytes: StreamReader): AsyncGenerator<PageChunk> {
  try {
    for (;;) {
      const head = await bytes.take(8)
      const firstPage = head.readUInt32LE(0)
      const count = head.readUInt32LE(4)
      if (count === 0) return
      if (count > CHUNK_PAGES_MAX) throw broken(`has a chunk of ${count} pages; at most ${CHUNK_PAGES_MAX} are possible`)
      // Where the pages may lie is checked by whoever stores them (image-file.ts).
      yield { firstPage, bytes: await bytes.take(count * PAGE_BYTES) }
    }
  } finally {
    await bytes.close()
  }
}

function chunkHead(firstPage: number, count: number): Uint8Array {
  const head = Buffer.alloc(8)
  head.writeUInt32LE(firstPage)
  head.writeUInt32LE(count, 4)
  return head
}

function broken(problem: string): PlatformError {
  return new PlatformError('PROTOCOL_BROKEN', `A snapshot that a host process sent ${problem}. The function goes on without one.`)
}

/** So many bytes at a time from a stream that comes in pieces of any size. Holds no more than was asked for and one piece. */
class StreamReader {
  readonly #source: AsyncIterator<Uint8Array>
  #rest: Buffer = Buffer.alloc(0)

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#source = stream[Symbol.asyncIterator]()
  }

  /** @param length At most CHUNK_PAGES_MAX pages: the caller has compared it with a bound. */
  async take(length: number): Promise<Buffer> {
    // Filled in place, and not joined from parts: a host process may send one byte at a time.
    const taken = Buffer.allocUnsafe(length)
    let have = 0
    for (;;) {
      const copied = this.#rest.copy(taken, have)
      have += copied
      this.#rest = this.#rest.subarray(copied)
      if (have === length) return taken
      const { value, done } = await this.#source.next()
      if (done === true) throw broken(`ends ${length - have} bytes too early`)
      this.#rest = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    }
  }

  /** Nothing more is wanted. */
  async close(): Promise<void> {
    await this.#source.return?.()
  }
}
