/**
 * WASI's functions on paths, over the faaslet's private tree (files.ts). Only /tmp can be changed.
 *
 * Source: WASI preview 1, witx.
 */
import { Errno } from './abi.ts'
import { holder, MemoryDirectory, MemoryFile, resolve, WasiError, type Place } from './files.ts'
import { writeStat } from './io-imports.ts'
import type { Run } from './run.ts'

const PATH_BYTES_MAX = 4096
const OpenFlag = { create: 1, directory: 2, exclusive: 4, truncate: 8 } as const
const APPEND = 1
const RIGHT_READ = 1n << 1n
const RIGHT_WRITE = 1n << 6n

export const pathImports = {
  path_open(run: Run, fd: number, _lookup: number, path: number, length: number, flags: number, rights: bigint, _inheriting: bigint, fdFlags: number, out: number): void {
    const text = pathText(run, path, length)
    const place = find(run, fd, text)
    const wantsWrite = (rights & RIGHT_WRITE) !== 0n
    let { node } = place
    run.memory.setU32(out, 0)
    if (node !== undefined && (flags & OpenFlag.create) !== 0 && (flags & OpenFlag.exclusive) !== 0) throw new WasiError(Errno.exist)
    if (node === undefined) {
      if ((flags & OpenFlag.create) === 0) throw new WasiError(Errno.noent)
      node = changeable(place, text).folder.createFile(place.name)
    }
    if (node.kind === 'directory') {
      if ((flags & (OpenFlag.create | OpenFlag.truncate)) !== 0) throw new WasiError(Errno.isdir)
      run.memory.setU32(out, run.descriptors.add({ kind: 'directory', trail: place.trail, listing: undefined }))
      return
    }
    if ((flags & OpenFlag.directory) !== 0) throw new WasiError(Errno.notdir)
    if ((wantsWrite || (flags & OpenFlag.truncate) !== 0) && node.isReadOnly) throw new WasiError(Errno.rofs)
    if ((flags & OpenFlag.truncate) !== 0 && node instanceof MemoryFile) node.resize(0)
    run.memory.setU32(out, run.descriptors.add({ kind: 'file', file: node, canRead: (rights & RIGHT_READ) !== 0n, canWrite: wantsWrite, isAppending: (fdFlags & APPEND) !== 0, at: 0 }))
  },

  path_filestat_get(run: Run, fd: number, _lookup: number, path: number, length: number, out: number): void {
    const { node } = find(run, fd, pathText(run, path, length))
    if (node === undefined) throw new WasiError(Errno.noent)
    writeStat(run, out, node)
  },

  path_filestat_set_times(run: Run, fd: number, _lookup: number, path: number, length: number): void {
    const { node } = find(run, fd, pathText(run, path, length))
    if (node === undefined) throw new WasiError(Errno.noent)
    if (node.isReadOnly) throw new WasiError(Errno.rofs)
  },

  path_create_directory(run: Run, fd: number, path: number, length: number): void {
    const text = pathText(run, path, length)
    const place = find(run, fd, text)
    if (place.node !== undefined) throw new WasiError(Errno.exist)
    changeable(place, text).folder.createDirectory(place.name)
  },

  path_unlink_file(run: Run, fd: number, path: number, length: number): void {
    const text = pathText(run, path, length)
    const place = find(run, fd, text)
    if (place.node === undefined) throw new WasiError(Errno.noent)
    if (place.node.kind === 'directory') throw new WasiError(Errno.isdir)
    changeable(place, text).folder.remove(place.name)
  },

  path_remove_directory(run: Run, fd: number, path: number, length: number): void {
    const text = pathText(run, path, length)
    const place = find(run, fd, text)
    if (place.node === undefined) throw new WasiError(Errno.noent)
    if (place.node.kind !== 'directory') throw new WasiError(Errno.notdir)
    const { folder, name } = changeable(place, text)
    if (place.node.names().length > 0) throw new WasiError(Errno.notempty)
    folder.remove(name)
  },

  path_rename(run: Run, fd: number, path: number, length: number, toFd: number, toPath: number, toLength: number): void {
    const [fromText, toText] = [pathText(run, path, length), pathText(run, toPath, toLength)]
    const [from, to] = [find(run, fd, fromText), find(run, toFd, toText)]
    if (from.node === undefined) throw new WasiError(Errno.noent)
    const source = changeable(from, fromText)
    const target = changeable(to, toText)
    const node = source.folder.get(source.name)!
    if (node === to.node) return
    // A folder must not be put into itself.
    if (node.kind === 'directory' && to.trail.includes(node)) throw new WasiError(Errno.inval)
    if (to.node?.kind === 'directory') {
      if (node.kind !== 'directory') throw new WasiError(Errno.isdir)
      if (to.node.names().length > 0) throw new WasiError(Errno.notempty)
    } else if (to.node !== undefined && node.kind === 'directory') throw new WasiError(Errno.notdir)
    if (to.node !== undefined) target.folder.remove(target.name)
    target.folder.put(target.name, node)
    source.folder.take(source.name)
  },

  path_readlink(run: Run, fd: number, path: number, length: number): void {
    const { node } = find(run, fd, pathText(run, path, length))
    throw new WasiError(node === undefined ? Errno.noent : Errno.inval)
  },

  path_link(): void {
    throw new WasiError(Errno.notsup)
  },

  path_symlink(): void {
    throw new WasiError(Errno.notsup)
  },
}

function pathText(run: Run, path: number, length: number): string {
  if (length >>> 0 > PATH_BYTES_MAX) throw new WasiError(Errno.nametoolong)
  const text = run.memory.text(path, length)
  if (text.includes('\0')) throw new WasiError(Errno.inval)
  return text
}

function find(run: Run, fd: number, path: string): Place {
  return resolve(run.descriptors.directory(fd).trail, path)
}

/** The folder and the name that a change is of. @throws WasiError rofs outside of /tmp */
function changeable(place: Place, path: string): { readonly folder: MemoryDirectory; readonly name: string } {
  const found = holder(place, path)
  if (found === undefined || !(found.folder instanceof MemoryDirectory)) throw new WasiError(Errno.rofs)
  return { folder: found.folder, name: found.name }
}
