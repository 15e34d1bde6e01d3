/**
 * The directory of one snapshot: what is in it, what it takes of the disk, and how it gets into the directory of a host process.
 *
 *   <32 hex of the revision>.<image id>/
 *     image                      pager/image-file.ts
 *     recording-<n>/             n grows; the greatest counts, others are remains
 *       trace  working-set       pager/trace-file.ts, pager/working-set-file.ts
 *
 * Files are linked and not copied: the pages of an image are then in the page cache once, for all hosts that map it. A host
 * must see the directory read-only, because a link is the file itself.
 */
import { createHash } from 'node:crypto'
import { closeSync, copyFileSync, ftruncateSync, linkSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs'
import { readdir, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { damaged } from '#pager/header-codec.ts'
import type { FileIdentity } from '#pager/header-codec.ts'
import { readImageHeader, readImageHeaderSync } from '#pager/image-file.ts'
import type { ImageHeader } from '#pager/image-file.ts'
import { snapshotFileNames } from '#pager/open-snapshot.ts'
import { ioError } from '#pager/snapshot-io.ts'
import { PAGE_BYTES, pagesIn } from '#pager/snapshot.ts'
import { readTrace } from '#pager/trace-file.ts'
import { readWorkingSetHeader } from '#pager/working-set-file.ts'
import type { WorkingSetShape } from '#pager/working-set-file.ts'

export const SNAPSHOT_NAME = /^[0-9a-f]{32}\.[0-9a-f]{32}$/
const RECORDING_NAME = /^recording-([0-9]{1,9})$/
const COPY_BYTES = 1024 * 1024

export interface RecordingInfo extends WorkingSetShape {
  /** Epoch ms. */
  readonly recordedAtMs: number
  /** Pages that the recorded invocation touched. */
  readonly pagesTouched: number
  /** Pages that a prefetch reads: touched ones that are not zero, and those of the gaps between merged runs. */
  readonly pagesPrefetched: number
  readonly runs: number
  /** Touched pages that are zero and not in the file. */
  readonly pagesZero: number
  /** Of trace and working set, as the disk has them. */
  readonly diskBytes: number
}

export interface LinkedFiles {
  /** File names, in the directory they were linked into. */
  readonly image: string
  readonly workingSet?: string
}

export function snapshotName(identity: FileIdentity): string {
  return `${createHash('sha256').update(identity.revision).digest('hex').slice(0, 32)}.${identity.imageId}`
}

export interface SnapshotContent {
  readonly image: ImageHeader
  readonly imageDiskBytes: number
  readonly lastUsedMs: number
  readonly recording?: { readonly number: number; readonly info: RecordingInfo }
  /** What was wrong with a recording that is not there any more. */
  readonly recordingProblem?: unknown
}

/** Reads all headers, and removes what is in the directory and of no use. @throws SNAPSHOT_DAMAGED, SNAPSHOT_MISMATCH, STORE_FAILED about the image. */
export async function readSnapshotDirectory(directory: string, name: string): Promise<SnapshotContent> {
  const imagePath = join(directory, snapshotFileNames.image)
  const image = await readImageHeader(imagePath)
  if (snapshotName(image) !== name) throw damaged(imagePath, `it lies in ${name}, and belongs into ${snapshotName(image)}`)
  const { blocks, mtimeMs } = await stat(imagePath)
  const numbers: number[] = []
  for (const entry of await readdir(directory)) {
    const number = RECORDING_NAME.exec(entry)?.[1]
    if (number !== undefined) numbers.push(Number(number))
    else if (entry !== snapshotFileNames.image) await rm(join(directory, entry), { recursive: true, force: true })
  }
  numbers.sort((a, b) => b - a)
  const content = { image, imageDiskBytes: blocks * 512, lastUsedMs: Math.floor(mtimeMs) }
  for (const old of numbers.slice(1)) await rm(recordingDirectory(directory, old), { recursive: true, force: true })
  const number = numbers[0]
  if (number === undefined) return content
  try {
    return { ...content, recording: { number, info: await readRecording(recordingDirectory(directory, number), image) } }
  } catch (recordingProblem) {
    await rm(recordingDirectory(directory, number), { recursive: true, force: true })
    return { ...content, recordingProblem }
  }
}

/** @throws SNAPSHOT_DAMAGED, SNAPSHOT_MISMATCH, STORE_FAILED. */
export async function readRecording(directory: string, image: FileIdentity): Promise<RecordingInfo> {
  const trace = await readTrace(join(directory, snapshotFileNames.trace), image)
  const set = await readWorkingSetHeader(join(directory, snapshotFileNames.workingSet), image)
  return {
    recordedAtMs: trace.recordedAtMs,
    pagesTouched: trace.faults.length,
    pagesPrefetched: pagesIn(set.runs),
    runs: set.runs.length / 2,
    pagesZero: pagesIn(set.zeroRuns),
    order: set.order,
    gapPages: set.gapPages,
    encoding: set.encoding,
    diskBytes: await diskBytesOf([join(directory, snapshotFileNames.trace), join(directory, snapshotFileNames.workingSet)]),
  }
}

export function recordingDirectory(snapshotDirectory: string, number: number): string {
  return join(snapshotDirectory, `recording-${number}`)
}

/** What files take of the disk: their blocks, and not their length, because holes take none. */
export async function diskBytesOf(paths: readonly string[]): Promise<number> {
  const sizes = await Promise.all(paths.map(async (path) => (await stat(path)).blocks * 512))
  return sizes.reduce((total, bytes) => total + bytes, 0)
}

/** When a snapshot was last used: the time of its image file, which nothing else changes. Lost, it costs the order of use after a restart. */
export async function noteUse(imagePath: string, atMs: number): Promise<void> {
  await utimes(imagePath, atMs / 1000, atMs / 1000)
}

/**
 * Makes the image and the newest working set appear in `target` under the names of `snapshotFileNames`; what has these names there
 * is replaced. Without waiting: a link takes some ten microseconds, less than handing it to a thread and back. Where the
 * file system has no links to there, it copies what is not zero, which takes as long as that is large.
 * @throws STORE_FULL, STORE_FAILED; SNAPSHOT_DAMAGED when copying finds the image damaged.
 */
export function linkSnapshot(directory: string, recording: number | undefined, target: string): LinkedFiles {
  const { image, workingSet } = snapshotFileNames
  place(join(directory, image), join(target, image), copyImage)
  if (recording === undefined) {
    rmSync(join(target, workingSet), { force: true })
    return { image }
  }
  place(join(recordingDirectory(directory, recording), workingSet), join(target, workingSet), copyFileSync)
  return { image, workingSet }
}

function place(source: string, target: string, copy: (source: string, target: string) => void): void {
  try {
    rmSync(target, { force: true })
    try {
      linkSync(source, target)
    } catch (thrown) {
      // Another file system, one without links, or more links to one file than it can have (65,000 on ext4).
      if (!['EXDEV', 'EPERM', 'ENOTSUP', 'EMLINK'].includes((thrown as NodeJS.ErrnoException).code ?? '')) throw thrown
      copy(source, target)
    }
  } catch (thrown) {
    rmSync(target, { force: true })
    throw ioError(target, thrown)
  }
}

/** Copies header and stored pages, and leaves the holes. */
export function copyImage(source: string, target: string): void {
  using files = new DisposableStack()
  const from = openSync(source, 'r')
  files.defer(() => closeSync(from))
  const to = openSync(target, 'wx', 0o600)
  files.defer(() => closeSync(to))
  const header = readImageHeaderSync(from, source)
  const buffer = Buffer.allocUnsafe(COPY_BYTES)
  const copyRange = (start: number, end: number): void => {
    for (let at = start; at < end; ) {
      const bytes = readSync(from, buffer, 0, Math.min(buffer.length, end - at), at)
      if (bytes === 0) throw damaged(source, `it ends at ${at}, before ${end}`)
      for (let written = 0; written < bytes; ) written += writeSync(to, buffer, written, bytes - written, at + written)
      at += bytes
    }
  }
  copyRange(0, headerBytesOf(from))
  for (let index = 0; index < header.pagesStored.length; index += 2) {
    const start = header.imageOffset + header.pagesStored[index]! * PAGE_BYTES
    copyRange(start, start + header.pagesStored[index + 1]! * PAGE_BYTES)
  }
  ftruncateSync(to, statSync(source).size)
}

/** As the header, which was read and checked already, says at byte 16. */
function headerBytesOf(fd: number): number {
  const bytes = Buffer.alloc(4)
  readSync(fd, bytes, 0, 4, 16)
  return bytes.readUInt32LE()
}
