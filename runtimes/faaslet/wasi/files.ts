/**
 * The files that a WebAssembly function sees: a private tree in memory, without a descriptor of the host anywhere.
 *
 *   /          the function's own files, read-only, and the two below
 *   /app       the same again, as in every other sandbox
 *   /tmp       writable, this faaslet's alone, gone with it
 *
 * Links do not exist. A path is resolved name by name along a trail from the root, so that `..` never leaves it.
 *
 * Invariants:
 *   FS1. What /tmp holds, with {@link NODE_BYTES} for each file and folder, is at most the quota asked at each growth.
 *   FS2. Read-only nodes are shared by all faaslets of a guest, and never change.
 */
import { Errno } from './abi.ts'

/** What an entry of /tmp is charged besides its bytes: its objects on the heap, so that empty files are not free. */
export const NODE_BYTES = 512
const NAME_BYTES_MAX = 255
const PATH_PARTS_MAX = 256

/** An error that WASI has a number for. */
export class WasiError extends Error {
  readonly errno: number

  constructor(errno: number) {
    super(`errno ${errno}`)
    this.errno = errno
  }
}

export interface File {
  readonly kind: 'file'
  readonly isReadOnly: boolean
  readonly size: number
  readonly modifiedMs: number
  /** Its bytes: a view, valid until it is written. */
  bytes(): Uint8Array
}

export interface Directory {
  readonly kind: 'directory'
  readonly isReadOnly: boolean
  readonly modifiedMs: number
  get(name: string): FileNode | undefined
  names(): readonly string[]
}

export type FileNode = File | Directory

/** How many bytes more /tmp may have. */
export interface Quota {
  /** @throws WasiError nospc */
  charge(bytes: number): void
}

export class MemoryFile implements File {
  readonly kind = 'file'
  readonly isReadOnly = false
  size = 0
  modifiedMs = Date.now()
  #bytes = new Uint8Array(0)
  #openCount = 0
  #isUnlinked = false
  readonly #quota: Quota

  constructor(quota: Quota) {
    quota.charge(NODE_BYTES)
    this.#quota = quota
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.size)
  }

  /** Writes at a position, which may lie beyond the end. @throws WasiError nospc */
  write(at: number, bytes: Uint8Array): void {
    this.#reserve(at + bytes.length)
    this.#bytes.set(bytes, at)
    this.size = Math.max(this.size, at + bytes.length)
    this.modifiedMs = Date.now()
  }

  /** @throws WasiError nospc */
  resize(size: number): void {
    this.#reserve(size)
    if (size < this.size) this.#bytes.fill(0, size, this.size)
    this.size = size
    this.modifiedMs = Date.now()
  }

  open(): void {
    this.#openCount++
  }

  close(): void {
    this.#openCount--
    this.#releaseIfGone()
  }

  /** It has no name any more. Its bytes are given back when nobody has it open either: temporary files are used in this way. */
  unlink(): void {
    this.#isUnlinked = true
    this.#releaseIfGone()
  }

  #releaseIfGone(): void {
    if (!this.#isUnlinked || this.#openCount > 0) return
    this.#quota.charge(-NODE_BYTES - this.#bytes.length)
    this.#bytes = new Uint8Array(0)
    this.size = 0
  }

  #reserve(size: number): void {
    if (size <= this.#bytes.length) return
    if (size > 0x7fff_ffff) throw new WasiError(Errno.nospc)
    const capacity = this.#charge(size, Math.max(size, this.#bytes.length * 2, 256))
    const grown = new Uint8Array(capacity)
    grown.set(this.bytes())
    this.#bytes = grown
  }

  /** As much room as there is for, so that many small writes up to the bound are not as many copies. @returns The new capacity. */
  #charge(needed: number, wanted: number): number {
    try {
      this.#quota.charge(wanted - this.#bytes.length)
      return wanted
    } catch (error) {
      if (wanted === needed) throw error
      return this.#charge(needed, needed + ((wanted - needed) >> 1))
    }
  }
}

export class MemoryDirectory implements Directory {
  readonly kind = 'directory'
  readonly isReadOnly = false
  modifiedMs = Date.now()
  readonly #entries = new Map<string, MemoryFile | MemoryDirectory>()
  readonly #quota: Quota

  constructor(quota: Quota) {
    this.#quota = quota
  }

  get size(): number {
    return this.#entries.size
  }

  get(name: string): MemoryFile | MemoryDirectory | undefined {
    return this.#entries.get(name)
  }

  names(): readonly string[] {
    return [...this.#entries.keys()]
  }

  /** @throws WasiError nospc, nametoolong */
  createFile(name: string): MemoryFile {
    return this.#put(name, new MemoryFile(this.#quota))
  }

  /** @throws WasiError nospc, nametoolong */
  createDirectory(name: string): MemoryDirectory {
    this.#quota.charge(NODE_BYTES)
    return this.#put(name, new MemoryDirectory(this.#quota))
  }

  /** Puts a node of this tree at another name. */
  put(name: string, node: MemoryFile | MemoryDirectory): void {
    this.#put(name, node)
  }

  /** Takes an entry out, without giving back what it holds. */
  take(name: string): void {
    this.#entries.delete(name)
    this.modifiedMs = Date.now()
  }

  remove(name: string): void {
    const node = this.#entries.get(name)
    if (node?.kind === 'file') node.unlink()
    else if (node !== undefined) this.#quota.charge(-NODE_BYTES)
    this.take(name)
  }

  #put<Node extends MemoryFile | MemoryDirectory>(name: string, node: Node): Node {
    if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw new WasiError(Errno.nametoolong)
    this.#entries.set(name, node)
    this.modifiedMs = Date.now()
    return node
  }
}

/** `/`: the function's files, with `app` and `tmp`. */
export class RootDirectory implements Directory {
  readonly kind = 'directory'
  readonly isReadOnly = true
  readonly modifiedMs = 0
  readonly tmp: MemoryDirectory
  readonly #app: Directory

  constructor(app: Directory, quota: Quota) {
    this.#app = app
    this.tmp = new MemoryDirectory(quota)
  }

  get(name: string): FileNode | undefined {
    return name === 'tmp' ? this.tmp : name === 'app' ? this.#app : this.#app.get(name)
  }

  names(): readonly string[] {
    return ['app', 'tmp', ...this.#app.names().filter((name) => name !== 'app' && name !== 'tmp')]
  }
}

/** Where a path leads: the folder that has it, the name in it, and what is there. The name is empty for a folder itself. */
export interface Place {
  /** Folders from the root to the one that holds `name`. */
  readonly trail: readonly Directory[]
  readonly name: string
  readonly node: FileNode | undefined
}

/**
 * Follows a path from a folder.
 * @param trail Folders from the root to where it starts.
 * @throws WasiError noent or notdir when a folder on the way is not there; notcapable when it begins with "/".
 */
export function resolve(trail: readonly Directory[], path: string): Place {
  if (path === '') throw new WasiError(Errno.noent)
  if (path.startsWith('/')) throw new WasiError(Errno.notcapable)
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.length > PATH_PARTS_MAX) throw new WasiError(Errno.nametoolong)
  const folders = [...trail]
  const mustBeFolder = path.endsWith('/') || path.endsWith('/.')
  for (const [at, part] of parts.entries()) {
    const here = folders.at(-1)!
    if (part === '..') {
      if (folders.length > 1) folders.pop()
      continue
    }
    const node = here.get(part)
    if (at === parts.length - 1 && node?.kind !== 'directory') {
      if (node !== undefined && mustBeFolder) throw new WasiError(Errno.notdir)
      return { trail: folders, name: part, node }
    }
    if (node === undefined) throw new WasiError(Errno.noent)
    if (node.kind !== 'directory') throw new WasiError(Errno.notdir)
    folders.push(node)
  }
  return { trail: folders, name: '', node: folders.at(-1)! }
}

/** The folder that holds a place, and the name in it, also when the place is a folder. Undefined for the root. */
export function holder(place: Place, path: string): { readonly folder: Directory; readonly name: string } | undefined {
  if (place.name !== '') return { folder: place.trail.at(-1)!, name: place.name }
  const folder = place.trail.at(-2)
  const name = path.split('/').filter((part) => part !== '' && part !== '.').at(-1)
  return folder === undefined || name === undefined || name === '..' ? undefined : { folder, name }
}
