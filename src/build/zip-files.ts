/**
 * The files of a zip, from anyone: nothing in it is believed.
 *
 * Invariants:
 *   Z1. Every path stays below the root: absolute paths, "..", drive letters, NUL and backslashes are refused.
 *   Z2. A symbolic link, a device or an encrypted entry is refused, not skipped: the function would lack it.
 *   Z3. What an entry unpacks to is counted while it is unpacked, never taken from its header, so that a bomb stops at the bound.
 *   Z4. Two entries with one path are refused: which one runs must not depend on the unpacker.
 */
import type { Entry, ZipFile } from 'yauzl'
import { PlatformError } from '#contract/errors.ts'
import { sourceLimits, tooLarge } from './source-files.ts'
import type { SourceFiles, SourceLimits } from './source-files.ts'

/** Whether bytes begin like a zip. */
export function isZip(start: Buffer): boolean {
  return start.length >= 4 && start[0] === 0x50 && start[1] === 0x4b && ((start[2] === 3 && start[3] === 4) || (start[2] === 5 && start[3] === 6))
}

/** @throws CODE_INVALID, BODY_TOO_LARGE. */
export async function readZip(bytes: Buffer, limits: SourceLimits = sourceLimits): Promise<SourceFiles> {
  const { fromBufferPromise } = await import('yauzl')
  const files: SourceFiles = new Map()
  let budget = limits.bytesMax
  try {
    const zip = await fromBufferPromise(bytes, { strictFileNames: true, lazyEntries: true })
    for await (const entry of zip.eachEntry()) {
      if (entry.fileName.endsWith('/')) continue
      checkPath(entry.fileName)
      checkType(entry)
      if (files.has(entry.fileName)) throw refuse(`it holds ${entry.fileName} twice`)
      if (files.size + 1 > limits.filesMax) throw tooLarge('the zip', limits)
      const content = await unpack(zip, entry, budget, limits)
      budget -= content.length
      files.set(entry.fileName, { bytes: content, executable: (modeOf(entry) & 0o100) !== 0 })
    }
  } catch (cause) {
    if (cause instanceof PlatformError) throw cause
    throw refuse(cause instanceof Error ? cause.message : String(cause), cause)
  }
  return new Map([...withoutCommonRoot(files)].sort(([a], [b]) => (a < b ? -1 : 1)))
}

async function unpack(zip: ZipFile, entry: Entry, budget: number, limits: SourceLimits): Promise<Buffer> {
  const stream = await zip.openReadStreamPromise(entry)
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > budget) {
      stream.destroy()
      throw tooLarge('the zip', limits)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}

function checkPath(path: string): void {
  const parts = path.split('/')
  const wrong = path.includes('\0') || path.includes('\\') || path.startsWith('/') || /^[A-Za-z]:/.test(path) || parts.some((part) => part === '..' || part === '.' || part === '')
  if (wrong) throw refuse(`${JSON.stringify(path.slice(0, 200))} is not a path below its root`)
}

function checkType(entry: Entry): void {
  const type = modeOf(entry) & 0o170000
  if (type !== 0 && type !== 0o100000) throw refuse(`${entry.fileName} is a link or a device. Put the file itself in`)
  if ((entry.generalPurposeBitFlag & 1) !== 0) throw refuse(`${entry.fileName} is encrypted`)
}

function modeOf(entry: Entry): number {
  // The upper byte of versionMadeBy is the system: only 3 (Unix) and 19 (macOS) keep a mode there.
  const system = entry.versionMadeBy >>> 8
  return system === 3 || system === 19 ? entry.externalFileAttributes >>> 16 : 0
}

/** A zip of one folder is taken as that folder: that is how file managers zip. */
function withoutCommonRoot(files: SourceFiles): SourceFiles {
  const roots = new Set([...files.keys()].map((path) => (path.includes('/') ? path.slice(0, path.indexOf('/') + 1) : '')))
  const [root] = roots
  if (roots.size !== 1 || root === undefined || root === '') return files
  return new Map([...files].map(([path, file]) => [path.slice(root.length), file]))
}

function refuse(why: string, cause?: unknown): PlatformError {
  return new PlatformError('CODE_INVALID', `The zip cannot be used: ${why}.`, { cause })
}
