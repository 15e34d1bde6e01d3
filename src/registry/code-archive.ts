/**
 * Reads, checks and unpacks the tar that a function's code is.
 *
 * A tar is read as a stream: it is never in memory as a whole, and its tail is not read once an entry is refused.
 * The parser is tar-stream; what an entry may be is decided by archive-entries.ts.
 *
 * Invariants:
 *   A1. `unpackCode` makes its directory appear whole or not at all: it writes beside it and renames. Two at once, also of
 *       two processes, end with one directory and both succeed.
 *   A2. Damage of the source (STORE_FAILED of the blobs) stays what it is; only what the tar itself has wrong is CODE_INVALID.
 *   A3. `passingChecked` has ended only when its check has ended too, and it ends well only when the check did.
 */
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { chmod, link, mkdir, mkdtemp, open, rename, rm, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Extract } from 'tar-stream'
import { PlatformError } from '#contract/errors.ts'
import { ArchiveEntries, archiveLimits } from './archive-entries.ts'
import type { ArchiveLimits, CheckedEntry } from './archive-entries.ts'

export interface CodeSummary {
  readonly files: number
  /** Unpacked. */
  readonly bytes: number
}

/** Temporary directories beside the target are named so; what a killed process left of them may be removed at start. */
export const UNPACKING_PREFIX = '.unpacking-'

/** @param entry Path that must be a file of the tar. @throws CODE_INVALID, naming the entry; what the source throws. */
export async function checkCode(
  source: AsyncIterable<Uint8Array>,
  options: { readonly entry?: string; readonly limits?: ArchiveLimits } = {},
): Promise<CodeSummary> {
  const entries = new ArchiveEntries(options.limits ?? archiveLimits)
  await readTar(source, entries, async (_checked, content) => drain(content))
  if (options.entry !== undefined) checkEntryFile(entries, options.entry)
  return { files: entries.paths, bytes: entries.bytes }
}

/**
 * Passes the bytes of a tar on and checks them meanwhile, so that what is refused need never be kept.
 * @throws CODE_INVALID, at the latest after the last byte; what the source throws.
 */
export async function* passingChecked(source: AsyncIterable<Uint8Array>, options: { readonly limits?: ArchiveLimits } = {}): AsyncGenerator<Uint8Array> {
  const copy = new PassThrough()
  let refusal: unknown
  const checked = checkCode(copy, options).catch((error: unknown) => {
    refusal = error
  })
  try {
    for await (const chunk of source) {
      yield chunk
      if (!copy.write(chunk)) await Promise.race([once(copy, 'drain'), checked])
      if (refusal !== undefined) throw refusal
    }
    copy.end()
    await checked
    if (refusal !== undefined) throw refusal
  } finally {
    copy.destroy()
    await checked
  }
}

/**
 * Writes the tar's files into a directory that does not exist yet; its parent does. Files are readable by all, and
 * executable when the tar says so; nothing else of their mode, owner or time is kept.
 * @throws CODE_INVALID, STORE_FULL; what the source throws. Then nothing is left.
 */
export async function unpackCode(
  source: AsyncIterable<Uint8Array>,
  directory: string,
  options: { readonly limits?: ArchiveLimits } = {},
): Promise<CodeSummary> {
  const entries = new ArchiveEntries(options.limits ?? archiveLimits)
  const temporary = await mkdtemp(join(dirname(directory), `${UNPACKING_PREFIX}${basename(directory).slice(0, 64)}-`))
  try {
    await readTar(source, entries, (checked, content) => writeEntry(temporary, checked, content))
    await chmod(temporary, 0o755)
    await rename(temporary, directory)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    const code = (error as NodeJS.ErrnoException).code
    // Someone else has unpacked the same code meanwhile (A1).
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw code === 'ENOSPC' || code === 'EDQUOT' ? diskFull(directory, error) : error
  }
  return { files: entries.paths, bytes: entries.bytes }
}

/**
 * One file of a tar, handed to `use` as it is read; the rest of the tar is checked too.
 * @returns false when there is no such file; also when it is a link: then nobody has read it.
 * @throws CODE_INVALID; what `use` and the source throw.
 */
export async function readCodeFile(
  source: AsyncIterable<Uint8Array>,
  path: string,
  use: (content: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<boolean> {
  const wanted = normalPath(path)
  let found = false
  await readTar(source, new ArchiveEntries(archiveLimits), async (checked, content) => {
    if (checked.kind === 'file' && checked.path === wanted) {
      found = true
      await use(content)
    }
    // The parser waits for what was not read.
    await drain(content)
  })
  return found
}

/** The tar of one file: the same bytes for the same file, so that deploying it again changes nothing. */
export async function packFile(filename: string, text: string, options: { readonly executable: boolean }): Promise<Buffer> {
  const { pack } = await import('tar-stream')
  const tar = pack()
  tar.entry({ name: filename, mode: options.executable ? 0o755 : 0o644, mtime: new Date(0) }, text)
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** The bytes of one entry; the parser waits until they are read. */
type Content = AsyncIterable<Uint8Array>
type OnEntry = (checked: CheckedEntry, content: Content) => Promise<void>

async function readTar(source: AsyncIterable<Uint8Array>, entries: ArchiveEntries, onEntry: OnEntry): Promise<void> {
  // Only now: a platform that starts has nothing to unpack yet.
  const { extract } = await import('tar-stream')
  const tar = extract()
  let sourceError: unknown
  const feeding = feed(source, tar).catch((error: unknown) => {
    sourceError = error
    tar.destroy(error as Error)
  })
  let count = 0
  try {
    for await (const entry of tar) {
      count++
      await onEntry(entries.accept(entry.header), entry as Content)
    }
  } catch (error) {
    tar.destroy(null)
    if (sourceError !== undefined) throw sourceError
    if (error instanceof PlatformError || (error as NodeJS.ErrnoException).syscall !== undefined) throw error
    throw new PlatformError(
      'CODE_INVALID',
      `The code is no readable tar: ${(error as Error).message}. Send a plain (not compressed) tar of its files.`,
      { cause: error },
    )
  } finally {
    await feeding
  }
  if (sourceError !== undefined) throw sourceError
  if (count === 0) throw new PlatformError('CODE_INVALID', 'The code is an empty tar; put at least the entry file into it.')
}

/** Writes the source into the parser, waiting for it, and stops when the parser has ended early. */
async function feed(source: AsyncIterable<Uint8Array>, tar: Extract): Promise<void> {
  const closed = once(tar, 'close').catch(() => {})
  for await (const chunk of source) {
    if (tar.destroyed) return
    if (!tar.write(chunk)) await Promise.race([once(tar, 'drain').catch(() => {}), closed])
  }
  if (!tar.destroyed) tar.end(null)
}

async function writeEntry(root: string, checked: CheckedEntry, content: Content): Promise<void> {
  if (checked.kind === 'file') {
    const path = join(root, checked.path)
    await mkdir(dirname(path), { recursive: true })
    // `wx` follows no link and replaces nothing: the checks have refused that already, this is the second lock.
    const file = await open(path, 'wx')
    try {
      await file.writeFile(content)
      await file.chmod(checked.executable ? 0o755 : 0o644)
    } finally {
      await file.close()
    }
    return
  }
  await drain(content)
  if (checked.kind === 'nothing') return
  const path = join(root, checked.path)
  if (checked.kind === 'directory') {
    await mkdir(path, { recursive: true, mode: 0o755 })
    return
  }
  await mkdir(dirname(path), { recursive: true })
  if (checked.kind === 'symlink') await symlink(checked.target, path)
  else await link(join(root, checked.target), path)
}

async function drain(content: Content): Promise<void> {
  for await (const _ of content);
}

function checkEntryFile(entries: ArchiveEntries, entry: string): void {
  const path = normalPath(entry)
  const kind = entry.startsWith('/') ? undefined : entries.kindOf(path)
  if (kind === 'file' || kind === 'symlink') return
  const what = kind === 'directory' ? 'is a directory' : 'is not there'
  throw new PlatformError(
    'CODE_INVALID',
    `The entry ${JSON.stringify(entry)} ${what} among the ${entries.paths} files of the code; give the path of a file, relative to the root of the tar.`,
    { details: { entry } },
  )
}

function normalPath(entry: string): string {
  return entry
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')
}

function diskFull(directory: string, cause: unknown): PlatformError {
  return new PlatformError(
    'STORE_FULL',
    `The disk is full: the code can't be unpacked into ${directory}. Free space there and try again.`,
    { cause },
  )
}
