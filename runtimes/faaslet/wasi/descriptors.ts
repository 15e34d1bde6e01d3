/**
 * The descriptors of a faaslet: 0 to 2 are the invocation's, 3 is `/`, the rest are files and folders that it opened.
 *
 * Invariants:
 *   DS1. Nothing in here belongs to the host: a descriptor is an object, and its number an index.
 *   DS2. At most {@link OPEN_MAX} are open.
 */
import { Errno } from './abi.ts'
import { MemoryFile, RootDirectory, WasiError, type Directory, type File, type Quota } from './files.ts'

const OPEN_MAX = 1024
/** The descriptor of `/`, the one folder that is open from the beginning. */
export const ROOT_FD = 3

export interface OpenFile {
  readonly kind: 'file'
  readonly file: File
  readonly canRead: boolean
  readonly canWrite: boolean
  isAppending: boolean
  at: number
}

export interface OpenDirectory {
  readonly kind: 'directory'
  /** From the root to it. */
  readonly trail: readonly Directory[]
  /** Its entries, as they were when reading them began. */
  listing: readonly string[] | undefined
}

export type Descriptor = { readonly kind: 'stdin' } | { readonly kind: 'stdout' } | { readonly kind: 'stderr' } | OpenFile | OpenDirectory

const STDIN: Descriptor = { kind: 'stdin' }
const STDOUT: Descriptor = { kind: 'stdout' }
const STDERR: Descriptor = { kind: 'stderr' }

export class Descriptors {
  readonly root: RootDirectory
  readonly #open: (Descriptor | undefined)[]

  constructor(app: Directory, quota: Quota) {
    this.root = new RootDirectory(app, quota)
    this.#open = [STDIN, STDOUT, STDERR, { kind: 'directory', trail: [this.root], listing: undefined }]
  }

  /** Nothing was opened or written that a snapshot would miss; otherwise, what. */
  get change(): string | undefined {
    if (this.root.tmp.size > 0) return `it left "${this.root.tmp.names()[0]}" in /tmp`
    if (this.#open.length > ROOT_FD + 1) return `it left descriptor ${this.#open.length - 1} open`
    return this.#open.includes(undefined) ? 'it closed one of its descriptors 0 to 3' : undefined
  }

  /** @throws WasiError badf */
  get(fd: number): Descriptor {
    const found = this.#open[fd]
    if (found === undefined) throw new WasiError(Errno.badf)
    return found
  }

  /** @throws WasiError badf, or isdir or spipe when it is no file. */
  file(fd: number): OpenFile {
    const found = this.get(fd)
    if (found.kind === 'file') return found
    throw new WasiError(found.kind === 'directory' ? Errno.isdir : Errno.spipe)
  }

  /** @throws WasiError badf, or notdir when it is no folder. */
  directory(fd: number): OpenDirectory {
    const found = this.get(fd)
    if (found.kind !== 'directory') throw new WasiError(Errno.notdir)
    return found
  }

  /** Its number: the smallest that is free. @throws WasiError nospc when too many are open. */
  add(descriptor: OpenFile | OpenDirectory): number {
    const free = this.#open.indexOf(undefined)
    const fd = free === -1 ? this.#open.length : free
    if (fd >= OPEN_MAX) throw new WasiError(Errno.nospc)
    if (descriptor.kind === 'file' && descriptor.file instanceof MemoryFile) descriptor.file.open()
    this.#open[fd] = descriptor
    return fd
  }

  /** @throws WasiError badf */
  close(fd: number): void {
    const found = this.get(fd)
    if (found.kind === 'file' && found.file instanceof MemoryFile) found.file.close()
    this.#open[fd] = undefined
    while (this.#open.length > 0 && this.#open.at(-1) === undefined) this.#open.pop()
  }

  /** Moves one to another's number, which is closed. @throws WasiError badf */
  renumber(from: number, to: number): void {
    const found = this.get(from)
    this.get(to)
    if (from === to) return
    this.close(to)
    this.#open[to] = found
    this.#open[from] = undefined
    while (this.#open.length > 0 && this.#open.at(-1) === undefined) this.#open.pop()
  }
}
