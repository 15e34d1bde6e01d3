/**
 * The working set as a file: the pages of a trace, copied out of the image, without gaps, to be read in one piece.
 *
 * It is the paper's WS file (thesis 5.2.1, Figure 5.1): many small reads all over the guest memory file become one long one, and a
 * disk that gives 32 MB/s for pages one at a time gives 533 to 850 MB/s for that (5.2.2.3). The pages begin at a multiple of
 * PAGE_BYTES, as a read with O_DIRECT wants it. Beyond the paper:
 *   - zero pages are named and not stored (`zeroRuns`);
 *   - runs that are at most `gapPages` apart become one, with what lies between them (page-runs.ts);
 *   - runs lie by page or by their first fault, so that an invocation can begin while the end is still being read (FaaSnap);
 *   - the pages may be compressed with zstd, in chunks, for disks that are slower than its decompression. Such a file is
 *     unpacked by {@link unpackWorkingSet} and never handed to a restore as it is.
 *
 * Invariants:
 *   V1. A stored file is exactly `offset` + its pages long; a compressed one ends with its last chunk.
 *   V2. Page k of the file is page k of `runs`, counted through the runs in their order. The bytes are the image's.
 *   V3. Every chunk of CHUNK_BYTES of pages has a checksum, of its bytes as they are in the file: it is compared before anything is
 *       decompressed.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { promisify } from 'node:util'
import { constants as zlibConstants, crc32, zstdCompress, zstdDecompress } from 'node:zlib'
import { damaged, FileKind, HeaderReader, HeaderWriter, requireIdentity, sortedRuns } from './header-codec.ts'
import type { FileIdentity } from './header-codec.ts'
import type { ImageHeader } from './image-file.ts'
import { mergedRuns, PageSet, pagesOfRuns, runsOfPages } from './page-runs.ts'
import { checkRange, readExactly, readRawHeader, readRawHeaderSync, translatedIo, writeExactly, writeWhole } from './snapshot-io.ts'
import type { RawHeader } from './snapshot-io.ts'
import { PAGE_BYTES, pagesIn } from './snapshot.ts'
import type { PageRuns } from './snapshot.ts'
import type { Trace } from './trace-file.ts'

/** What one checksum is over, and what is compressed as one: large enough for zstd to find its repetitions. */
export const CHUNK_BYTES = 1024 * 1024
/** As of an image. */
const SET_BYTES_MAX = 16 * 1024 ** 3

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)

export const workingSetOrders = ['page', 'fault'] as const
export const workingSetEncodings = ['stored', 'zstd'] as const

export interface WorkingSetShape {
  /** `fault` for an invocation that begins before all is there; `page` where the trace does not know the order, whatever is asked for. */
  readonly order: (typeof workingSetOrders)[number]
  /** Runs with at most this many pages between them become one. Raising it: fewer runs, more bytes. 0 merges only what is adjacent. */
  readonly gapPages: number
  readonly encoding: (typeof workingSetEncodings)[number]
}

/**
 * No gaps: measured with 2,500 runs of 2.5 pages, 4 pages apart (25 MB), reading over gaps of 1, 4 and 16 pages took 16, 23 and 38 ms
 * instead of 15, though it left 1,880, 790 and 29 runs. A run costs less than the 2 µs of one more page. On a disk whose
 * requests cost more, or where installing a run does, that is different: so it stays a setting.
 */
export const workingSetDefaults: WorkingSetShape = { order: 'fault', gapPages: 0, encoding: 'stored' }

export interface WorkingSetHeader extends FileIdentity, WorkingSetShape {
  readonly imageBytes: number
  /** Where the first page, or the first compressed chunk, lies. */
  readonly offset: number
  /** R1 to R3 of snapshot.ts. */
  readonly runs: PageRuns
  readonly zeroRuns: PageRuns
  readonly chunkChecksums: Uint32Array
  /** Bytes of each chunk in the file, when compressed; otherwise empty. */
  readonly chunkBytes: Uint32Array
}

/** Which pages a working set has, and in which order: a pure function of what is in the image, what was touched, and the shape. */
export function planWorkingSet(
  image: Pick<ImageHeader, 'imageBytes' | 'pagesStored'>,
  trace: Trace,
  shape: Pick<WorkingSetShape, 'order' | 'gapPages'>,
): Pick<WorkingSetHeader, 'runs' | 'zeroRuns'> {
  const pages = image.imageBytes / PAGE_BYTES
  const stored = PageSet.of(image.pagesStored, pages)
  const touched = pagesOfRuns(trace.runs)
  const merged = mergedRuns(touched.filter((page) => stored.has(page)), shape.gapPages)
  // A zero page that was merged over is in the file already (R2).
  const covered = PageSet.of(merged, pages)
  const zeroRuns = runsOfPages(touched.filter((page) => !stored.has(page) && !covered.has(page)))
  return { runs: orderOf(trace, shape) === 'fault' ? byFirstFault(merged, trace.faults) : merged, zeroRuns }
}

/**
 * Makes a working set from an image and a trace of it. @throws SNAPSHOT_MISMATCH when they do not belong together; SNAPSHOT_DAMAGED
 * when the image ends too early; STORE_FULL, STORE_FAILED.
 */
export async function writeWorkingSet(path: string, image: { readonly path: string; readonly header: ImageHeader }, trace: Trace, shape: WorkingSetShape): Promise<WorkingSetHeader> {
  requireIdentity(image.path, image.header, trace)
  const plan = planWorkingSet(image.header, trace, shape)
  const { revision, moduleDigest, imageId, imageBytes } = image.header
  const chunkCount = Math.ceil((pagesIn(plan.runs) * PAGE_BYTES) / CHUNK_BYTES)
  const chunkChecksums = new Uint32Array(chunkCount)
  const chunkBytes = new Uint32Array(shape.encoding === 'zstd' ? chunkCount : 0)
  const { gapPages, encoding } = shape
  const order = orderOf(trace, shape)
  const draft: WorkingSetHeader = { revision, moduleDigest, imageId, imageBytes, order, gapPages, encoding, ...plan, offset: 0, chunkChecksums, chunkBytes }
  const header = { ...draft, offset: Math.ceil(encode(draft).length / PAGE_BYTES) * PAGE_BYTES }
  return await writeWhole(path, async (file) => {
    const source = await open(image.path, constants.O_RDONLY)
    try {
      let position = header.offset
      let chunk = 0
      for await (const pages of chunksOf(source, image, plan.runs)) {
        const bytes = encoding === 'zstd' ? await compress(pages, { params: { [zlibConstants.ZSTD_c_compressionLevel]: 3 } }) : pages
        chunkChecksums[chunk] = crc32(bytes)
        if (encoding === 'zstd') chunkBytes[chunk] = bytes.length
        await writeExactly(file, bytes, position)
        position += bytes.length
        chunk++
      }
      await writeExactly(file, encode(header).seal(position), 0)
      // With no page at all, the file still begins its pages at a whole page.
      await file.truncate(position)
    } finally {
      await source.close()
    }
    return header
  })
}

/** @throws SNAPSHOT_DAMAGED, SNAPSHOT_MISMATCH, STORE_FAILED. */
export async function readWorkingSetHeader(path: string, wanted: Partial<FileIdentity> = {}): Promise<WorkingSetHeader> {
  return parseWorkingSetHeader(await readRawHeader(path), path, wanted)
}

/** The same of an open descriptor, without waiting. */
export function readWorkingSetHeaderSync(fd: number, path: string, wanted: Partial<FileIdentity> = {}): WorkingSetHeader {
  return parseWorkingSetHeader(readRawHeaderSync(fd, path), path, wanted)
}

/** Compares all pages with their checksums. @throws SNAPSHOT_DAMAGED, STORE_FAILED. */
export async function verifyWorkingSet(path: string, header: WorkingSetHeader): Promise<void> {
  if (header.encoding === 'zstd') {
    await unpackWorkingSet(path, header)
    return
  }
  const end = header.offset + pagesIn(header.runs) * PAGE_BYTES
  await checkRange(path, { start: header.offset, end, chunkBytes: CHUNK_BYTES, expected: (chunk) => header.chunkChecksums[chunk] })
}

/**
 * The pages of a compressed working set, in the order of `runs`, checked. Chunks are decompressed side by side.
 * @returns As many bytes as `runs` has pages. @throws SNAPSHOT_DAMAGED, STORE_FAILED.
 */
export async function unpackWorkingSet(path: string, header: WorkingSetHeader): Promise<Uint8Array> {
  return await translatedIo(path, async () => {
    const total = pagesIn(header.runs) * PAGE_BYTES
    const packed = Buffer.allocUnsafe(header.encoding === 'zstd' ? sum(header.chunkBytes) : total)
    const file = await open(path, constants.O_RDONLY)
    try {
      await readExactly(file, packed, header.offset, path)
    } finally {
      await file.close()
    }
    if (header.encoding === 'stored') {
      for (let chunk = 0; chunk < header.chunkChecksums.length; chunk++) checkChunk(path, header, chunk, packed.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES))
      return packed
    }
    const pages = Buffer.allocUnsafe(total)
    let at = 0
    await Promise.all(
      Array.from(header.chunkBytes, async (bytes, chunk) => {
        const part = packed.subarray(at, (at += bytes))
        checkChunk(path, header, chunk, part)
        const wanted = Math.min(CHUNK_BYTES, total - chunk * CHUNK_BYTES)
        const unpacked = await decompress(part, { maxOutputLength: wanted }).catch((thrown: unknown) => {
          throw damaged(path, `chunk ${chunk} cannot be decompressed into ${wanted} bytes`, thrown)
        })
        if (unpacked.length !== wanted) throw damaged(path, `chunk ${chunk} has ${unpacked.length} bytes, and should have ${wanted}`)
        unpacked.copy(pages, chunk * CHUNK_BYTES)
      }),
    )
    return pages
  })
}

export function parseWorkingSetHeader(raw: RawHeader, path: string, wanted: Partial<FileIdentity> = {}): WorkingSetHeader {
  const reader = new HeaderReader(raw.header, FileKind.workingSet, raw.fileBytes, path)
  const { revision, moduleDigest, imageId } = reader.preamble
  requireIdentity(path, reader.preamble, wanted)
  const offset = reader.u64()
  const imageBytes = reader.u64()
  if (imageBytes === 0 || imageBytes % PAGE_BYTES !== 0 || imageBytes > SET_BYTES_MAX) throw reader.damaged(`a memory of ${imageBytes} bytes is not possible`)
  if (offset % PAGE_BYTES !== 0 || offset < raw.header.byteLength) throw reader.damaged(`its pages begin at ${offset}, within its header or within a page`)
  const order = workingSetOrders[reader.u32()]
  const encoding = workingSetEncodings[reader.u32()]
  if (order === undefined || encoding === undefined) throw reader.damaged('its order or its encoding is none that there is')
  const gapPages = reader.u32()
  const runs = reader.runs(imageBytes / PAGE_BYTES, order === 'page')
  const zeroRuns = reader.runs(imageBytes / PAGE_BYTES, true)
  if (overlap(sortedRuns(runs), zeroRuns)) throw reader.damaged('a page is stored in it and also named as zero')
  const total = pagesIn(runs) * PAGE_BYTES
  const chunkCount = Math.ceil(total / CHUNK_BYTES)
  const chunkChecksums = reader.u32s(chunkCount)
  const chunkBytes = reader.u32s(encoding === 'zstd' ? chunkCount : 0)
  reader.end()
  const bodyBytes = encoding === 'zstd' ? sum(chunkBytes) : total
  if (offset + bodyBytes !== raw.fileBytes) throw reader.damaged(`it has ${raw.fileBytes} bytes, and ${bodyBytes} bytes of pages from ${offset} on`)
  return { revision, moduleDigest, imageId, imageBytes, offset, order, gapPages, encoding, runs, zeroRuns, chunkChecksums, chunkBytes }
}

function encode(header: WorkingSetHeader): HeaderWriter {
  return new HeaderWriter(FileKind.workingSet, header)
    .u64(header.offset)
    .u64(header.imageBytes)
    .u32(workingSetOrders.indexOf(header.order))
    .u32(workingSetEncodings.indexOf(header.encoding))
    .u32(header.gapPages)
    .u32(header.runs.length / 2)
    .u32s(header.runs)
    .u32(header.zeroRuns.length / 2)
    .u32s(header.zeroRuns)
    .u32s(header.chunkChecksums)
    .u32s(header.chunkBytes)
}

function orderOf({ ordered }: Trace, { order }: Pick<WorkingSetShape, 'order'>): WorkingSetShape['order'] {
  return ordered ? order : 'page'
}

/** A run has its place by the first of its pages that was touched; the gaps of a run were not, and do not count. */
function byFirstFault(runs: PageRuns, faults: Uint32Array): PageRuns {
  const ordered: number[] = []
  const taken = new Set<number>()
  for (const page of faults) {
    const run = runWith(runs, page)
    if (run === undefined || taken.has(run)) continue
    taken.add(run)
    ordered.push(runs[run]!, runs[run + 1]!)
  }
  return Uint32Array.from(ordered)
}

/** Where the run with this page stands in an ascending table. */
function runWith(runs: PageRuns, page: number): number | undefined {
  let low = 0
  let high = runs.length / 2 - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    if (page < runs[middle * 2]!) high = middle - 1
    else if (page >= runs[middle * 2]! + runs[middle * 2 + 1]!) low = middle + 1
    else return middle * 2
  }
  return undefined
}

/** The pages of these runs as chunks of CHUNK_BYTES, the last one shorter. */
async function* chunksOf(source: FileHandle, image: { readonly path: string; readonly header: ImageHeader }, runs: PageRuns): AsyncGenerator<Buffer> {
  let chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  let filled = 0
  for (let index = 0; index < runs.length; index += 2) {
    let at = runs[index]! * PAGE_BYTES
    const end = at + runs[index + 1]! * PAGE_BYTES
    while (at < end) {
      const bytes = Math.min(end - at, CHUNK_BYTES - filled)
      await readExactly(source, chunk.subarray(filled, filled + bytes), image.header.imageOffset + at, image.path)
      at += bytes
      filled += bytes
      if (filled < CHUNK_BYTES) continue
      yield chunk
      chunk = Buffer.allocUnsafe(CHUNK_BYTES)
      filled = 0
    }
  }
  if (filled > 0) yield chunk.subarray(0, filled)
}

function checkChunk(path: string, header: WorkingSetHeader, chunk: number, bytes: Uint8Array): void {
  const found = crc32(bytes)
  const wanted = header.chunkChecksums[chunk]
  if (found !== wanted) throw damaged(path, `the checksum of its chunk ${chunk} is ${found}, and should be ${wanted}`)
}

/** Both ascending. */
function overlap(a: PageRuns, b: PageRuns): boolean {
  let j = 0
  for (let i = 0; i < a.length; i += 2) {
    while (j < b.length && b[j]! + b[j + 1]! <= a[i]!) j += 2
    if (j < b.length && b[j]! < a[i]! + a[i + 1]!) return true
  }
  return false
}

function sum(values: Uint32Array): number {
  let total = 0
  for (const value of values) total += value
  return total
}
