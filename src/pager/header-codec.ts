/**
 * What the headers of the three snapshot files have in common, and how they are read without trusting one byte of them.
 *
 *   0       8         12     16            20      24          32             64        80
 *   ├───────┼─────────┼──────┼─────────────┼───────┼───────────┼──────────────┼─────────┼──────────────────┐
 *   │ magic │ version │ kind │ headerBytes │ crc32 │ fileBytes │ moduleDigest │ imageId │ revision, fields │
 *   └───────┴─────────┴──────┴─────────────┴───────┴───────────┴──────────────┴─────────┴──────────────────┘
 *   All numbers are little-endian; the drawing of each file is in FORMAT.md.
 *
 * A header is read in two steps, because its length stands in it: the first PREAMBLE_BYTES, then all of it. The order of the
 * checks decides what an error says: another magic is damage, another version is a mismatch whatever follows, then length,
 * checksum, and only then the content.
 *
 * Invariants:
 *   H1. Nothing is allocated by a number from the file before that number was compared with what the file really holds.
 *   H2. The checksum covers every byte of the header but its own four.
 *   H3. What is parsed was parsed to its last byte: no header has room for something unknown.
 */
import { crc32 } from 'node:zlib'
import { PlatformError } from '#contract/errors.ts'
import type { PageRuns } from './snapshot.ts'

/** Another layout is another version: files of another version are ignored, removed and made anew. */
export const FORMAT_VERSION = 2
export const PREAMBLE_BYTES = 80
/** 16 GB of memory in runs of one page each, with their checksums, are 18 MB. */
export const HEADER_BYTES_MAX = 24 * 1024 * 1024
export const REVISION_BYTES_MAX = 1024

const MAGIC = 'SKEPSNAP'
const CRC_OFFSET = 20

export const FileKind = { image: 1, trace: 2, workingSet: 3 } as const
export type FileKind = (typeof FileKind)[keyof typeof FileKind]
const kindNames: Readonly<Record<number, string>> = { 1: 'image', 2: 'trace', 3: 'working set' }

/** Whose memory it is. A snapshot is of use only to exactly the same program. */
export interface SnapshotIdentity {
  /** The revision, in the platform's words; at most REVISION_BYTES_MAX bytes of UTF-8. */
  readonly revision: string
  /** SHA-256, in hex, of the engine's or function's module and of all else that decides what its memory means. */
  readonly moduleDigest: string
}

export interface FileIdentity extends SnapshotIdentity {
  /** 32 hex digits, random per image: a trace and a working set belong to one image, not to whatever was taken later. */
  readonly imageId: string
}

export interface Preamble extends FileIdentity {
  readonly kind: FileKind
  readonly fileBytes: number
}

/** Builds a header field by field; `seal` puts in the lengths and the checksum. */
export class HeaderWriter {
  readonly #parts: Uint8Array[] = []
  #bytes = 0

  constructor(kind: FileKind, identity: FileIdentity) {
    const preamble = Buffer.alloc(PREAMBLE_BYTES)
    preamble.write(MAGIC, 'latin1')
    preamble.writeUInt32LE(FORMAT_VERSION, 8)
    preamble.writeUInt32LE(kind, 12)
    preamble.set(hex(identity.moduleDigest, 32), 32)
    preamble.set(hex(identity.imageId, 16), 64)
    this.bytes(preamble)
    const revision = Buffer.from(identity.revision)
    if (revision.length === 0 || revision.length > REVISION_BYTES_MAX) throw new RangeError(`a revision of ${revision.length} bytes, 1 to ${REVISION_BYTES_MAX}`)
    this.u32(revision.length).bytes(revision)
  }

  /** Bytes of the header so far. */
  get length(): number {
    return this.#bytes
  }

  u32(value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    return this.bytes(bytes)
  }

  /** @param value A safe integer. */
  u64(value: number): this {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(value))
    return this.bytes(bytes)
  }

  bytes(bytes: Uint8Array): this {
    this.#parts.push(bytes)
    this.#bytes += bytes.byteLength
    return this
  }

  u32s(values: Uint32Array): this {
    return this.bytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  }

  seal(fileBytes: number): Buffer {
    const header = Buffer.concat(this.#parts)
    header.writeUInt32LE(header.length, 16)
    header.writeBigUInt64LE(BigInt(fileBytes), 24)
    header.writeUInt32LE(checksumOf(header), CRC_OFFSET)
    return header
  }
}

/** Reads a header field by field. Each method throws SNAPSHOT_DAMAGED where the header has less than is asked for (H1). */
export class HeaderReader {
  readonly preamble: Preamble
  readonly #header: Buffer
  readonly #path: string
  #offset = PREAMBLE_BYTES

  /**
   * @param header All of it, as long as {@link headerLength} said. @param path For messages.
   * @throws SNAPSHOT_DAMAGED, SNAPSHOT_MISMATCH (a file of another kind or version).
   */
  constructor(header: Uint8Array, kind: FileKind, fileBytes: number, path: string) {
    this.#header = view(header)
    this.#path = path
    const expected = headerLength(header, fileBytes, path)
    if (expected !== header.byteLength) throw this.damaged(`its header has ${expected} bytes, and ${header.byteLength} were read`)
    const found = checksumOf(this.#header)
    const stored = this.#header.readUInt32LE(CRC_OFFSET)
    if (found !== stored) throw this.damaged(`the checksum of its header is ${found}, and should be ${stored}`)
    const foundKind = this.#header.readUInt32LE(12)
    if (foundKind !== kind) throw mismatch(path, 'kind of file', kindNames[foundKind] ?? String(foundKind), kindNames[kind]!)
    const storedBytes = this.#header.readBigUInt64LE(24)
    if (storedBytes !== BigInt(fileBytes)) throw this.damaged(`it has ${fileBytes} bytes, and should have ${storedBytes}`)
    const revisionBytes = this.u32()
    if (revisionBytes === 0 || revisionBytes > REVISION_BYTES_MAX) throw this.damaged(`the name of its revision has ${revisionBytes} bytes, 1 to ${REVISION_BYTES_MAX} are possible`)
    this.preamble = {
      kind,
      fileBytes,
      moduleDigest: this.#header.toString('hex', 32, 64),
      imageId: this.#header.toString('hex', 64, 80),
      revision: Buffer.from(this.bytes(revisionBytes)).toString('utf8'),
    }
  }

  u32(): number {
    const at = this.#advance(4)
    return this.#header.readUInt32LE(at)
  }

  /** @throws SNAPSHOT_DAMAGED also for a number above 2^53 − 1. */
  u64(): number {
    const at = this.#advance(8)
    const value = this.#header.readBigUInt64LE(at)
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.damaged(`it has the number ${value}, which is too large for anything in it`)
    return Number(value)
  }

  /** A view into the header, not a copy. */
  bytes(length: number): Uint8Array {
    const at = this.#advance(length)
    return this.#header.subarray(at, at + length)
  }

  u32s(count: number): Uint32Array {
    const at = this.#advance(count * 4)
    // Copied, because it need not be aligned where it lies.
    const values = new Uint32Array(count)
    new Uint8Array(values.buffer).set(this.#header.subarray(at, at + count * 4))
    return values
  }

  /**
   * A table of runs (R1, R2): u32 count of runs, then pairs.
   * @param pages Of the whole memory. @param ascending Whether the runs have to be in the order of their pages.
   */
  runs(pages: number, ascending: boolean): PageRuns {
    const runs = this.u32s(this.u32() * 2)
    const problem = ascending ? problemOfAscending(runs, pages) : problemOfAnyOrder(runs, pages)
    if (problem !== undefined) throw this.damaged(problem)
    return runs
  }

  /** To be called when everything has been read (H3). */
  end(): void {
    const rest = this.#header.length - this.#offset
    if (rest !== 0) throw this.damaged(`its header has ${rest} bytes more than its fields`)
  }

  damaged(problem: string): PlatformError {
    return damaged(this.#path, problem)
  }

  #advance(length: number): number {
    const at = this.#offset
    if (length > this.#header.length - at) throw this.damaged(`a field of ${length} bytes at ${at} goes beyond its header of ${this.#header.length}`)
    this.#offset = at + length
    return at
  }
}

/** How long a header is, from its first PREAMBLE_BYTES (fewer are damage). Never more than the file or HEADER_BYTES_MAX (H1). */
export function headerLength(preamble: Uint8Array, fileBytes: number, path: string): number {
  if (preamble.byteLength < PREAMBLE_BYTES) throw damaged(path, `it has ${fileBytes} bytes, fewer than the ${PREAMBLE_BYTES} that its header begins with`)
  const header = view(preamble)
  if (header.toString('latin1', 0, 8) !== MAGIC) throw damaged(path, 'it does not begin as a snapshot file does')
  const version = header.readUInt32LE(8)
  if (version !== FORMAT_VERSION) throw mismatch(path, 'version of the format', String(version), String(FORMAT_VERSION))
  const headerBytes = header.readUInt32LE(16)
  if (headerBytes <= PREAMBLE_BYTES || headerBytes > HEADER_BYTES_MAX || headerBytes > fileBytes) {
    throw damaged(path, `its header says that it has ${headerBytes} bytes: more than ${PREAMBLE_BYTES} and at most ${Math.min(HEADER_BYTES_MAX, fileBytes)} are possible`)
  }
  return headerBytes
}

/** Compares who a file is of with who it should be of. Only what `wanted` names is compared. @throws SNAPSHOT_MISMATCH. */
export function requireIdentity(path: string, found: FileIdentity, wanted: Partial<FileIdentity>): void {
  if (wanted.revision !== undefined && wanted.revision !== found.revision) throw mismatch(path, 'revision', found.revision, wanted.revision)
  if (wanted.moduleDigest !== undefined && wanted.moduleDigest !== found.moduleDigest) throw mismatch(path, 'module', found.moduleDigest, wanted.moduleDigest)
  if (wanted.imageId !== undefined && wanted.imageId !== found.imageId) throw mismatch(path, 'image', found.imageId, wanted.imageId)
}

export function damaged(path: string, problem: string, cause?: unknown): PlatformError {
  return new PlatformError('SNAPSHOT_DAMAGED', `The snapshot file ${path} is damaged: ${problem}. Drop the snapshot; the next start makes it anew.`, {
    details: { path },
    ...(cause !== undefined && { cause }),
  })
}

function mismatch(path: string, what: string, found: string, wanted: string): PlatformError {
  return new PlatformError('SNAPSHOT_MISMATCH', `The snapshot file ${path} does not fit: its ${what} is ${found}, and ${wanted} was wanted. Drop the snapshot; the next start makes it anew.`, {
    details: { path, what, found, wanted },
  })
}

function problemOfAscending(runs: PageRuns, pages: number): string | undefined {
  let end = 0
  for (let index = 0; index < runs.length; index += 2) {
    const first = runs[index]!
    const count = runs[index + 1]!
    if (first < end || count === 0 || first + count > pages) return `its run of ${count} pages from page ${first} is not between page ${end} and the end of its memory, page ${pages}`
    end = first + count
  }
  return undefined
}

function problemOfAnyOrder(runs: PageRuns, pages: number): string | undefined {
  return problemOfAscending(sortedRuns(runs), pages)
}

/** The same runs, by page. */
export function sortedRuns(runs: PageRuns): PageRuns {
  const pairs: [number, number][] = []
  for (let index = 0; index < runs.length; index += 2) pairs.push([runs[index]!, runs[index + 1]!])
  return Uint32Array.from(pairs.sort((a, b) => a[0] - b[0]).flat())
}

function checksumOf(header: Buffer): number {
  return crc32(header.subarray(CRC_OFFSET + 4), crc32(header.subarray(0, CRC_OFFSET)))
}

function hex(text: string, bytes: number): Buffer {
  const value = Buffer.from(text, 'hex')
  if (value.length !== bytes || text.length !== bytes * 2) throw new RangeError(`${JSON.stringify(text)} is not ${bytes * 2} hex digits`)
  return value
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
