/**
 * The function's own files, as its faaslets see them: read-only, shared, read from the host's folder when first asked for.
 *
 * A folder is listed once and a file read once, whole, into memory that all faaslets of the guest share; the host's
 * descriptors are closed before anything is answered. Symbolic links are followed within the folder and otherwise not there.
 */
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'
import { Errno } from './abi.ts'
import { WasiError, type Directory, type File, type FileNode } from './files.ts'

/** The files of a folder of the host. */
export function directoryFiles(path: string): Directory {
  return new HostDirectory(realpathSync(path), realpathSync(path))
}

/** Files that are given: for functions that have none, and tests. */
export function givenFiles(files: Readonly<Record<string, string | Uint8Array>>): Directory {
  const root = new GivenDirectory()
  for (const [path, content] of Object.entries(files)) {
    const parts = path.split('/')
    const name = parts.pop()!
    let folder = root
    for (const part of parts) folder = folder.folder(part)
    folder.nodes.set(name, new GivenFile(typeof content === 'string' ? Buffer.from(content) : content))
  }
  return root
}

class HostDirectory implements Directory {
  readonly kind = 'directory'
  readonly isReadOnly = true
  readonly modifiedMs = 0
  readonly #root: string
  readonly #path: string
  #nodes: Map<string, FileNode> | undefined

  constructor(root: string, path: string) {
    this.#root = root
    this.#path = path
  }

  get(name: string): FileNode | undefined {
    return this.#list().get(name)
  }

  names(): readonly string[] {
    return [...this.#list().keys()]
  }

  #list(): Map<string, FileNode> {
    if (this.#nodes !== undefined) return this.#nodes
    this.#nodes = new Map()
    for (const name of readdirSync(this.#path)) {
      const node = this.#node(name)
      if (node !== undefined) this.#nodes.set(name, node)
    }
    return this.#nodes
  }

  #node(name: string): FileNode | undefined {
    try {
      const path = realpathSync(join(this.#path, name))
      // A link to a folder above would make the tree endless; a link out of it shows what is not the function's.
      if (!path.startsWith(this.#root + sep) || (this.#path + sep).startsWith(path + sep)) return undefined
      const stats = statSync(path)
      if (stats.isDirectory()) return new HostDirectory(this.#root, path)
      return stats.isFile() ? new HostFile(path, stats.size, stats.mtimeMs) : undefined
    } catch {
      return undefined
    }
  }
}

class HostFile implements File {
  readonly kind = 'file'
  readonly isReadOnly = true
  readonly size: number
  readonly modifiedMs: number
  readonly #path: string
  #bytes: Uint8Array | undefined

  constructor(path: string, size: number, modifiedMs: number) {
    this.#path = path
    this.size = size
    this.modifiedMs = modifiedMs
  }

  bytes(): Uint8Array {
    try {
      return (this.#bytes ??= readFileSync(this.#path))
    } catch {
      throw new WasiError(Errno.io)
    }
  }
}

class GivenDirectory implements Directory {
  readonly kind = 'directory'
  readonly isReadOnly = true
  readonly modifiedMs = 0
  readonly nodes = new Map<string, FileNode>()

  get(name: string): FileNode | undefined {
    return this.nodes.get(name)
  }

  names(): readonly string[] {
    return [...this.nodes.keys()]
  }

  folder(name: string): GivenDirectory {
    const found = this.nodes.get(name)
    if (found instanceof GivenDirectory) return found
    const made = new GivenDirectory()
    this.nodes.set(name, made)
    return made
  }
}

class GivenFile implements File {
  readonly kind = 'file'
  readonly isReadOnly = true
  readonly modifiedMs = 0
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get size(): number {
    return this.#bytes.length
  }

  bytes(): Uint8Array {
    return this.#bytes
  }
}
