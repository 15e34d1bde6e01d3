/**
 * How snapshot files are read and written: a header in two reads, a file under its name only when it is whole and on the
 * disk, and the errors of the file system in the platform's words.
 *
 * Invariants:
 *   W1. A file has its final name only after everything in it was written and fsynced. What fails before leaves nothing.
 *   W2. Reading never goes through a mapping, so that a file that became shorter is an error and not a SIGBUS.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { PlatformError } from '#contract/errors.ts'
import { damaged, headerLength } from './header-codec.ts'
import { PAGE_BYTES, WASM_PAGE_BYTES } from './snapshot.ts'

/** Most headers are shorter, and then one read is enough. */
const FIRST_READ_BYTES = 4 * PAGE_BYTES
/** What checking reads at a time. */
const PIECE_BYTES = 1024 * 1024

export interface RawHeader {
  readonly header: Uint8Array
  /** Of the file, as the file system says. */
  readonly fileBytes: number
}

/** The header of a file, not parsed yet. @throws SNAPSHOT_DAMAGED (also when there is no file), SNAPSHOT_MISMATCH, STORE_FAILED. */
export async function readRawHeader(path: string): Promise<RawHeader> {
  return await translatedIo(path, async () => {
    const file = await open(path, constants.O_RDONLY).catch((thrown: unknown) => {
      throw (thrown as NodeJS.ErrnoException).code === 'ENOENT' ? damaged(path, 'it is not there', thrown) : thrown
    })
    try {
      const { size: fileBytes } = await file.stat()
      const first = Buffer.alloc(Math.min(FIRST_READ_BYTES, fileBytes))
      await readExactly(file, first, 0, path)
      const headerBytes = headerLength(first, fileBytes, path)
      if (headerBytes <= first.length) return { header: first.subarray(0, headerBytes), fileBytes }
      const header = Buffer.alloc(headerBytes)
      first.copy(header)
      await readExactly(file, header.subarray(first.length), first.length, path)
      return { header, fileBytes }
    } finally {
      await file.close()
    }
  })
}

/** The same without waiting, for a host process that is about to restore and has nothing else to do. */
export function readRawHeaderSync(fd: number, path: string): RawHeader {
  try {
    const { size: fileBytes } = fstatSync(fd)
    const first = Buffer.alloc(Math.min(FIRST_READ_BYTES, fileBytes))
    readExactlySync(fd, first, 0, path)
    const headerBytes = headerLength(first, fileBytes, path)
    if (headerBytes <= first.length) return { header: first.subarray(0, headerBytes), fileBytes }
    const header = Buffer.alloc(headerBytes)
    first.copy(header)
    readExactlySync(fd, header.subarray(first.length), first.length, path)
    return { header, fileBytes }
  } catch (thrown) {
    throw ioError(path, thrown)
  }
}

/**
 * Writes a file under a temporary name beside `path`, then makes it durable and gives it its name (W1).
 * @throws what `write` throws; STORE_FULL, STORE_FAILED.
 */
export async function writeWhole<Result>(path: string, write: (file: FileHandle) => Promise<Result>): Promise<Result> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`
  return await translatedIo(path, async () => {
    try {
      const file = await open(temporary, 'wx+', 0o600)
      let result: Result
      try {
        result = await write(file)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
      await syncDirectory(dirname(path))
      return result
    } catch (thrown) {
      await rm(temporary, { force: true }).catch(() => {
        // Whoever owns the directory removes it at the next start.
      })
      throw thrown
    }
  })
}

/** All of `bytes` at `position`. One write may take only a part: near a full disk. */
export async function writeExactly(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let written = 0
  while (written < bytes.byteLength) written += (await file.write(bytes, written, bytes.byteLength - written, position + written)).bytesWritten
}

/** @throws SNAPSHOT_DAMAGED when the file ends before. */
export async function readExactly(file: FileHandle, into: Uint8Array, position: number, path: string): Promise<void> {
  let read = 0
  while (read < into.byteLength) {
    const { bytesRead } = await file.read(into, read, into.byteLength - read, position + read)
    if (bytesRead === 0) throw damaged(path, `it ends at ${position + read}, before ${position + into.byteLength}`)
    read += bytesRead
  }
}

function readExactlySync(fd: number, into: Uint8Array, position: number, path: string): void {
  let read = 0
  while (read < into.byteLength) {
    const bytesRead = readSync(fd, into, read, into.byteLength - read, position + read)
    if (bytesRead === 0) throw damaged(path, `it ends at ${position + read}, before ${position + into.byteLength}`)
    read += bytesRead
  }
}

/** @returns A descriptor with O_DIRECT, or undefined where the file system has none (tmpfs of older kernels). */
export function openDirect(path: string): number | undefined {
  let fd: number | undefined
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_DIRECT)
    // Some file systems take the flag and refuse the read.
    readSync(fd, alignedBuffer(PAGE_BYTES), 0, PAGE_BYTES, 0)
    return fd
  } catch {
    if (fd !== undefined) closeSync(fd)
    return undefined
  }
}

/** The memory of WebAssembly is the one that JavaScript can have aligned to pages, as O_DIRECT wants it. */
export function alignedBuffer(bytes: number): Uint8Array {
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES)
  return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer, 0, bytes)
}

export interface CheckedRange {
  /** Where in the file; multiples of PAGE_BYTES. */
  readonly start: number
  readonly end: number
  /** Bytes per checksum, a divisor of 1 MB; the last chunk may be shorter. */
  readonly chunkBytes: number
  /** What chunk n should have, or undefined when it should be zero. */
  readonly expected: (chunk: number) => number | undefined
}

/**
 * Compares a range of a file with its checksums. Read past the page cache where that is possible: what is checked is the disk,
 * and pages that nobody will use push nothing out.
 * @throws SNAPSHOT_DAMAGED, STORE_FAILED.
 */
export async function checkRange(path: string, range: CheckedRange): Promise<void> {
  await translatedIo(path, async () => {
    // O_DIRECT is tried first, by a read as well: see openDirect.
    const directFd = openDirect(path)
    if (directFd !== undefined) closeSync(directFd)
    const file = await open(path, directFd === undefined ? constants.O_RDONLY : constants.O_RDONLY | constants.O_DIRECT)
    try {
      const buffer = alignedBuffer(PIECE_BYTES)
      for (let position = range.start; position < range.end; position += PIECE_BYTES) {
        const piece = buffer.subarray(0, Math.min(PIECE_BYTES, range.end - position))
        await readExactly(file, piece, position, path)
        checkPiece(piece, position, range, path)
      }
    } finally {
      await file.close()
    }
  })
}

const zeroChecksums = new Map<number, number>()

function checkPiece(piece: Uint8Array, position: number, range: CheckedRange, path: string): void {
  for (let at = 0; at < piece.byteLength; at += range.chunkBytes) {
    const bytes = piece.subarray(at, Math.min(at + range.chunkBytes, piece.byteLength))
    const chunk = (position - range.start + at) / range.chunkBytes
    const wanted = range.expected(chunk) ?? zeroChecksum(bytes.byteLength)
    const found = crc32(bytes)
    if (found !== wanted) throw damaged(path, `the checksum of its ${bytes.byteLength} bytes at ${position + at} is ${found}, and should be ${wanted}`)
  }
}

function zeroChecksum(bytes: number): number {
  let checksum = zeroChecksums.get(bytes)
  if (checksum === undefined) zeroChecksums.set(bytes, (checksum = crc32(new Uint8Array(bytes))))
  return checksum
}

export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** Runs `act`, with errors of the file system in the platform's words. */
export async function translatedIo<Value>(path: string, act: () => Promise<Value>): Promise<Value> {
  try {
    return await act()
  } catch (thrown) {
    throw ioError(path, thrown)
  }
}

/** @returns STORE_FULL, STORE_FAILED, or what was thrown when it is not of the file system. */
export function ioError(path: string, thrown: unknown): unknown {
  const code = (thrown as NodeJS.ErrnoException | undefined)?.code
  if (thrown instanceof PlatformError || !(thrown instanceof Error) || typeof code !== 'string' || !('syscall' in thrown)) return thrown
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new PlatformError('STORE_FULL', `No room for the snapshot file ${path}: nothing of it was kept. Free disk space, or lower the budget for snapshots.`, { cause: thrown, details: { path } })
  }
  return new PlatformError('STORE_FAILED', `The snapshot file ${path} failed: ${thrown.message}. Check the disk and the permissions of its directory.`, { cause: thrown, details: { path } })
}
