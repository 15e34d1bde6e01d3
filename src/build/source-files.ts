/**
 * The files of a function's code, in memory: what a build reads and what it gives.
 *
 * Code is small next to data, and a build is a short moment of a developer's machine, so files are simply held. The
 * bounds are there to stop a wrong directory (a home, a dataset) before it fills memory, with a message that says so.
 */
import { lstat, open, readFile, readdir, realpath, stat } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import { ignoreFrom, readIgnoreFile } from './ignore-rules.ts'
import type { Ignore } from './ignore-rules.ts'

export interface SourceFile {
  readonly bytes: Buffer
  /** Whether its owner may execute it; no other part of a file's mode is kept. */
  readonly executable: boolean
}

/** By path relative to the root of the code, with "/" between the parts. */
export type SourceFiles = Map<string, SourceFile>

export interface SourceLimits {
  readonly filesMax: number
  readonly bytesMax: number
}

export const sourceLimits: SourceLimits = { filesMax: 50_000, bytesMax: 512 * 1024 * 1024 }

/** Never part of a function: version control, installed packages (they are bundled), caches, and files of secrets. */
const alwaysIgnored = ['node_modules/', '.git/', '.hg/', '.svn/', '.skep/', '.venv/', 'venv/', '__pycache__/', '*.pyc', '.DS_Store', '.env', '.env.*', '.skepignore', '.gitignore']

/** One file. @throws CODE_INVALID when it cannot be read. */
export async function readSourceFile(path: string): Promise<SourceFile> {
  try {
    const info = await stat(path)
    if (info.size > sourceLimits.bytesMax) throw tooLarge(path, sourceLimits)
    return { bytes: await readFile(path), executable: (info.mode & 0o100) !== 0 }
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

/**
 * Every file of a directory that belongs to the code, in sorted order.
 * @param options.everything Also node_modules: for code that is shipped as it lies.
 * @throws CODE_INVALID, BODY_TOO_LARGE.
 */
export async function readSourceDirectory(
  root: string,
  options: { readonly everything?: boolean; readonly limits?: SourceLimits } = {},
): Promise<{ readonly files: SourceFiles; readonly warnings: string[] }> {
  const limits = options.limits ?? sourceLimits
  const rules = options.everything === true ? alwaysIgnored.filter((rule) => rule !== 'node_modules/') : alwaysIgnored
  const ignored = ignoreFrom([...rules, ...((await readIgnoreFile(join(root, '.skepignore'))) ?? (await readIgnoreFile(join(root, '.gitignore'))) ?? [])])
  const walk: Walk = { root: await realpath(root).catch((cause: unknown) => { throw unreadable(root, cause) }), ignored, limits, files: new Map(), warnings: [], bytes: 0 }
  await visit(walk, '')
  return { files: new Map([...walk.files].sort(([a], [b]) => (a < b ? -1 : 1))), warnings: walk.warnings }
}

interface Walk {
  readonly root: string
  readonly ignored: Ignore
  readonly limits: SourceLimits
  readonly files: SourceFiles
  readonly warnings: string[]
  bytes: number
}

async function visit(walk: Walk, directory: string): Promise<void> {
  for (const item of await readdir(join(walk.root, directory), { withFileTypes: true })) {
    const path = directory === '' ? item.name : `${directory}/${item.name}`
    const isDirectory = item.isDirectory()
    // node_modules inside node_modules is always wanted when node_modules is: rules of the user stop at its door.
    const installed = `/${path}/`.includes('/node_modules/')
    if (walk.ignored(path, isDirectory) && !(installed && directory.includes('node_modules'))) continue
    if (isDirectory) await visit(walk, path)
    else await take(walk, path)
  }
}

async function take(walk: Walk, path: string): Promise<void> {
  const full = join(walk.root, path)
  const link = (await lstat(full)).isSymbolicLink()
  if (link) {
    const target = await realpath(full).catch(() => undefined)
    if (target === undefined || !target.startsWith(walk.root + sep) || !(await stat(target)).isFile()) {
      walk.warnings.push(`${path} is a symbolic link to a directory or to something outside the code: left out. Copy it in if the function needs it.`)
      return
    }
  }
  const info = await stat(full)
  if (!info.isFile()) return
  walk.bytes += info.size
  if (walk.files.size + 1 > walk.limits.filesMax || walk.bytes > walk.limits.bytesMax) throw tooLarge(walk.root, walk.limits)
  walk.files.set(path, { bytes: await readFile(full), executable: (info.mode & 0o100) !== 0 })
}

/** The first bytes of a file, to tell what it is. */
export async function readStart(path: string, length = 512): Promise<Buffer> {
  const file = await open(path)
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

export function tooLarge(what: string, limits: SourceLimits): PlatformError {
  return new PlatformError(
    'BODY_TOO_LARGE',
    `The code in ${what} has more than ${limits.filesMax} files or ${Math.round(limits.bytesMax / 1024 / 1024)} MB. ` +
      'Name what does not belong to the function in a .skepignore file beside it.',
    { details: { filesMax: limits.filesMax, bytesMax: limits.bytesMax } },
  )
}

function unreadable(path: string, cause: unknown): PlatformError {
  if (cause instanceof PlatformError) return cause
  const code = (cause as NodeJS.ErrnoException).code ?? ''
  const why = code === 'ENOENT' ? 'there is no such file or directory' : (cause as Error).message
  return new PlatformError('CODE_INVALID', `Cannot read ${path}: ${why}. Give the path of a file, a directory or a zip, or "-" for standard input.`, { cause })
}
