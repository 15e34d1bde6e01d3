/**
 * Which entries a code tar may have, decided entry by entry, before anything is written.
 *
 * Code comes from outside and is unpacked by the platform, on the host: an entry must not be able to write, or point,
 * outside of the directory it is unpacked into.
 *
 * Invariants:
 *   E1. Accepted paths are relative, normal (no `.`, `..`, empty parts) and distinct, and pass through no link: so where an
 *       entry lands can be read off its name.
 *   E2. A symbolic link is relative, and has `..` only at its beginning and no more than its directory is deep. With E1 it
 *       resolves inside, also through other links. A hard link names a file that came before.
 *   E3. At most `filesMax` paths, counting directories that are only implied, and `bytesMax` bytes.
 */
import { PlatformError } from '#contract/errors.ts'

export interface ArchiveLimits {
  /** Most paths in one tar. Raising it costs inodes on every host that unpacks it, and time. */
  readonly filesMax: number
  /** Most unpacked bytes. */
  readonly bytesMax: number
}

export const archiveLimits: ArchiveLimits = { filesMax: 20_000, bytesMax: 1024 ** 3 }

/** What a tar header says; its shape is that of tar-stream. */
export interface RawEntry {
  readonly name: string
  readonly type?: string | null | undefined
  readonly size?: number | undefined
  readonly mode?: number | undefined
  readonly linkname?: string | null | undefined
}

export type CheckedEntry =
  | { readonly kind: 'directory'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly executable: boolean }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string }
  /** `target` is the path of an accepted file. */
  | { readonly kind: 'hardlink'; readonly path: string; readonly target: string }
  /** The root itself. */
  | { readonly kind: 'nothing' }

/** A path has to fit, together with the directory it is unpacked into, the 4096 bytes that Linux allows. */
const PATH_BYTES_MAX = 1024
const PART_BYTES_MAX = 255

export class ArchiveEntries {
  readonly #limits: ArchiveLimits
  readonly #kinds = new Map<string, 'directory' | 'file' | 'symlink'>()
  #bytes = 0

  constructor(limits: ArchiveLimits = archiveLimits) {
    this.#limits = limits
  }

  get bytes(): number {
    return this.#bytes
  }

  get paths(): number {
    return this.#kinds.size
  }

  kindOf(path: string): 'directory' | 'file' | 'symlink' | undefined {
    return this.#kinds.get(path)
  }

  /** @throws CODE_INVALID, naming the entry. */
  accept(entry: RawEntry): CheckedEntry {
    const parts = pathParts(entry.name)
    const path = parts.join('/')
    if (path === '') {
      if (entry.type === 'directory') return { kind: 'nothing' }
      throw refused(entry.name, 'has no name')
    }
    this.#addAncestors(entry.name, parts)
    const checked = this.#check(entry, path, parts.length - 1)
    const before = this.#kinds.get(path)
    const kind = checked.kind === 'directory' || checked.kind === 'symlink' ? checked.kind : 'file'
    if (before !== undefined && !(before === 'directory' && kind === 'directory')) throw refused(entry.name, 'is there twice')
    this.#add(path, kind)
    return checked
  }

  #check(entry: RawEntry, path: string, depth: number): CheckedEntry {
    switch (entry.type) {
      case 'directory':
        return { kind: 'directory', path }
      case 'file':
      case 'contiguous-file':
        this.#bytes += entry.size ?? 0
        if (this.#bytes > this.#limits.bytesMax) {
          throw refused(
            entry.name,
            `brings the unpacked code to ${this.#bytes} bytes; at most ${this.#limits.bytesMax} are allowed: leave out what the function does not need`,
          )
        }
        return { kind: 'file', path, executable: ((entry.mode ?? 0) & 0o111) !== 0 }
      case 'symlink':
        return { kind: 'symlink', path, target: checkSymlink(entry, depth) }
      case 'link': {
        const target = pathParts(entry.linkname ?? '').join('/')
        if (this.#kinds.get(target) !== 'file') {
          throw refused(entry.name, `is a hard link to ${quoted(target)}, which is no earlier file of the tar`)
        }
        return { kind: 'hardlink', path, target }
      }
      default:
        throw refused(entry.name, `is of type ${entry.type ?? 'unknown'}; only files, directories and links are allowed`)
    }
  }

  #addAncestors(name: string, parts: readonly string[]): void {
    let ancestor = ''
    for (const part of parts.slice(0, -1)) {
      ancestor = ancestor === '' ? part : `${ancestor}/${part}`
      const kind = this.#kinds.get(ancestor)
      if (kind === undefined) this.#add(ancestor, 'directory')
      else if (kind !== 'directory') throw refused(name, `lies below ${quoted(ancestor)}, which is a ${kind}`)
    }
  }

  #add(path: string, kind: 'directory' | 'file' | 'symlink'): void {
    this.#kinds.set(path, kind)
    if (this.#kinds.size > this.#limits.filesMax) {
      throw refused(
        path,
        `is one file too many: at most ${this.#limits.filesMax} are allowed; bundle the code, or leave out what the function does not need`,
      )
    }
  }
}

export function refused(name: string, why: string): PlatformError {
  return new PlatformError('CODE_INVALID', `The code's tar is refused: entry ${quoted(name)} ${why}.`, { details: { entry: clipped(name) } })
}

/** The parts of a relative path, without `.` and empty ones. Empty for the root. */
function pathParts(name: string): string[] {
  if (name.startsWith('/')) throw refused(name, 'has an absolute path; make it relative to the root of the code')
  if (name.includes('\0')) throw refused(name, 'has a NUL character in its name')
  if (Buffer.byteLength(name) > PATH_BYTES_MAX) {
    throw refused(name, `has a path of ${Buffer.byteLength(name)} bytes; at most ${PATH_BYTES_MAX} are allowed`)
  }
  const parts = name.split('/').filter((part) => part !== '' && part !== '.')
  for (const part of parts) {
    if (part === '..') throw refused(name, 'leads out of the code with ".."')
    if (Buffer.byteLength(part) > PART_BYTES_MAX) {
      throw refused(name, `has a name of ${Buffer.byteLength(part)} bytes; at most ${PART_BYTES_MAX} are allowed`)
    }
  }
  return parts
}

/** E2. */
function checkSymlink(entry: RawEntry, depth: number): string {
  const target = entry.linkname ?? ''
  if (target === '' || target.includes('\0')) throw refused(entry.name, 'is a link to nothing')
  if (target.startsWith('/')) throw refused(entry.name, `is a link to ${quoted(target)}, outside of the code`)
  if (Buffer.byteLength(target) > PATH_BYTES_MAX) {
    throw refused(entry.name, `is a link of ${Buffer.byteLength(target)} bytes; at most ${PATH_BYTES_MAX} are allowed`)
  }
  const parts = target.split('/').filter((part) => part !== '' && part !== '.')
  const ups = parts.findIndex((part) => part !== '..')
  if (parts.indexOf('..', ups === -1 ? parts.length : ups) !== -1) {
    throw refused(entry.name, `is a link to ${quoted(target)}; ".." may stand only at its beginning`)
  }
  if ((ups === -1 ? parts.length : ups) > depth) throw refused(entry.name, `is a link to ${quoted(target)}, outside of the code`)
  return target
}

function quoted(text: string): string {
  return JSON.stringify(clipped(text))
}

function clipped(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
