/**
 * WASI's reading and writing of descriptors. Standard input is the request's body, standard output the answer.
 *
 * Source: WASI preview 1, witx; layouts of iovec (8 bytes), fdstat (24), filestat (64), prestat (8), dirent (24).
 */
import { Errno } from './abi.ts'
import { ROOT_FD, type OpenFile } from './descriptors.ts'
import { MemoryFile, WasiError, type FileNode } from './files.ts'
import type { Run } from './run.ts'

const VECTORS_MAX = 1024
export const FileType = { unknown: 0, directory: 3, regular: 4 } as const
/** fd_fdstat_get: append. */
const APPEND = 1
const RIGHTS_ALL = 0x1fff_ffffn
const RIGHT_READ = 1n << 1n
const RIGHT_SEEK = 1n << 2n
const RIGHT_WRITE = 1n << 6n
const DIRENT_BYTES = 24

interface Vector {
  readonly at: number
  readonly length: number
}

export const ioImports = {
  fd_read(run: Run, fd: number, vectors: number, count: number, out: number): number | Promise<number> {
    const list = vectorsOf(run, vectors, count)
    const descriptor = run.descriptors.get(fd)
    if (descriptor.kind === 'file') {
      const bytes = readFile(run, descriptor, list, descriptor.at)
      descriptor.at += bytes
      run.memory.setU32(out, bytes)
      return Errno.success
    }
    if (descriptor.kind !== 'stdin') throw new WasiError(descriptor.kind === 'directory' ? Errno.isdir : Errno.badf)
    run.memory.setU32(out, 0)
    if (list.every(({ length }) => length === 0)) return Errno.success
    const read = (): number => {
      if (run.input.hasFailed) return Errno.io
      run.memory.setU32(out, readInput(run, list))
      return Errno.success
    }
    return run.input.isReady ? read() : run.wait(async () => {
      await run.input.wait()
      return read()
    })
  },

  fd_write(run: Run, fd: number, vectors: number, count: number, out: number): number | Promise<number> {
    const list = vectorsOf(run, vectors, count)
    const descriptor = run.descriptors.get(fd)
    const total = list.reduce((sum, { length }) => sum + length, 0)
    if (descriptor.kind === 'file') {
      const written = writeFile(run, descriptor, list, descriptor.isAppending ? descriptor.file.size : descriptor.at)
      descriptor.at = written.end
      run.memory.setU32(out, written.bytes)
      return Errno.success
    }
    if (descriptor.kind !== 'stdout' && descriptor.kind !== 'stderr') throw new WasiError(Errno.badf)
    run.memory.setU32(out, total)
    if (descriptor.kind === 'stdout' && run.answer !== undefined) return writeAnswer(run, list, total)
    for (const { at, length } of list) run.log.write(descriptor.kind, run.memory.bytes(at, length))
    return Errno.success
  },

  fd_pread(run: Run, fd: number, vectors: number, count: number, at: bigint, out: number): void {
    run.memory.setU32(out, readFile(run, run.descriptors.file(fd), vectorsOf(run, vectors, count), position(at)))
  },

  fd_pwrite(run: Run, fd: number, vectors: number, count: number, at: bigint, out: number): void {
    run.memory.setU32(out, writeFile(run, run.descriptors.file(fd), vectorsOf(run, vectors, count), position(at)).bytes)
  },

  fd_seek(run: Run, fd: number, offset: bigint, whence: number, out: number): void {
    const file = run.descriptors.file(fd)
    const from = whence === 0 ? 0 : whence === 1 ? file.at : whence === 2 ? file.file.size : undefined
    if (from === undefined) throw new WasiError(Errno.inval)
    file.at = position(BigInt(from) + offset)
    run.memory.setU64(out, BigInt(file.at))
  },

  fd_tell(run: Run, fd: number, out: number): void {
    run.memory.setU64(out, BigInt(run.descriptors.file(fd).at))
  },

  fd_close(run: Run, fd: number): void {
    run.descriptors.close(fd)
  },

  fd_renumber(run: Run, from: number, to: number): void {
    run.descriptors.renumber(from, to)
  },

  fd_fdstat_get(run: Run, fd: number, out: number): void {
    const descriptor = run.descriptors.get(fd)
    const stat = run.memory.bytes(out, 24).fill(0)
    const { kind } = descriptor
    stat[0] = kind === 'file' ? FileType.regular : kind === 'directory' ? FileType.directory : FileType.unknown
    if (kind === 'file' && descriptor.isAppending) stat.writeUInt16LE(APPEND, 2)
    const can = (right: bigint, can: boolean): bigint => (can ? 0n : right)
    // Without the right to seek, a C library knows that these are pipes, and buffers them whole.
    const rights =
      kind === 'file' ? RIGHTS_ALL & ~can(RIGHT_READ, descriptor.canRead) & ~can(RIGHT_WRITE, descriptor.canWrite)
      : kind === 'directory' ? RIGHTS_ALL & ~RIGHT_SEEK
      : kind === 'stdin' ? RIGHT_READ
      : RIGHT_WRITE
    stat.writeBigUInt64LE(rights, 8)
    stat.writeBigUInt64LE(kind === 'directory' ? RIGHTS_ALL : 0n, 16)
  },

  fd_fdstat_set_flags(run: Run, fd: number, flags: number): void {
    const descriptor = run.descriptors.get(fd)
    if (descriptor.kind === 'file') descriptor.isAppending = (flags & APPEND) !== 0
  },

  fd_fdstat_set_rights(run: Run, fd: number): void {
    run.descriptors.get(fd)
  },

  fd_filestat_get(run: Run, fd: number, out: number): void {
    const descriptor = run.descriptors.get(fd)
    writeStat(run, out, descriptor.kind === 'file' ? descriptor.file : descriptor.kind === 'directory' ? descriptor.trail.at(-1) : undefined)
  },

  fd_filestat_set_size(run: Run, fd: number, size: bigint): void {
    writable(run.descriptors.file(fd)).resize(position(size))
  },

  fd_filestat_set_times(run: Run, fd: number): void {
    run.descriptors.get(fd)
  },

  fd_allocate(run: Run, fd: number, at: bigint, length: bigint): void {
    const file = writable(run.descriptors.file(fd))
    const end = position(at + length)
    if (end > file.size) file.resize(end)
  },

  fd_advise(run: Run, fd: number): void {
    run.descriptors.file(fd)
  },

  fd_sync(run: Run, fd: number): void {
    run.descriptors.get(fd)
  },

  fd_datasync(run: Run, fd: number): void {
    run.descriptors.get(fd)
  },

  fd_prestat_get(run: Run, fd: number, out: number): void {
    if (fd !== ROOT_FD) throw new WasiError(Errno.badf)
    run.descriptors.directory(fd)
    run.memory.setU32(out, 0)
    run.memory.setU32(out + 4, 1)
  },

  fd_prestat_dir_name(run: Run, fd: number, path: number, length: number): void {
    if (fd !== ROOT_FD) throw new WasiError(Errno.badf)
    if (length < 1) throw new WasiError(Errno.nametoolong)
    run.memory.setU8(path, 0x2f)
  },

  fd_readdir(run: Run, fd: number, buffer: number, length: number, cookie: bigint, out: number): void {
    const directory = run.descriptors.directory(fd)
    const folder = directory.trail.at(-1)!
    if (cookie === 0n || directory.listing === undefined) directory.listing = ['.', '..', ...folder.names()]
    const target = run.memory.bytes(buffer, length)
    let at = 0
    for (let index = Math.min(Number(cookie), directory.listing.length); index < directory.listing.length && at < target.length; index++) {
      const name = directory.listing[index]!
      const node = name === '.' ? folder : name === '..' ? (directory.trail.at(-2) ?? folder) : folder.get(name)
      if (node === undefined) continue
      const entry = Buffer.alloc(DIRENT_BYTES + Buffer.byteLength(name))
      entry.writeBigUInt64LE(BigInt(index + 1), 0)
      entry.writeBigUInt64LE(numberOf(node), 8)
      entry.writeUInt32LE(entry.length - DIRENT_BYTES, 16)
      entry[20] = node.kind === 'file' ? FileType.regular : FileType.directory
      entry.write(name, DIRENT_BYTES)
      // An entry that does not fit is cut: a full buffer says that more is to come.
      at += entry.copy(target, at)
    }
    run.memory.setU32(out, at)
  },
}

/** Writes a filestat; without a node, that of a stream. */
export function writeStat(run: Run, out: number, node: FileNode | undefined): void {
  const stat = run.memory.bytes(out, 64).fill(0)
  stat.writeBigUInt64LE(1n, 24)
  if (node === undefined) return
  const modified = BigInt(Math.round(node.modifiedMs)) * 1_000_000n
  stat.writeBigUInt64LE(1n, 0)
  stat.writeBigUInt64LE(numberOf(node), 8)
  stat[16] = node.kind === 'file' ? FileType.regular : FileType.directory
  if (node.kind === 'file') stat.writeBigUInt64LE(BigInt(node.size), 32)
  for (const at of [40, 48, 56]) stat.writeBigUInt64LE(modified, at)
}

/** The answer's next bytes: as they come, waiting where the receiver is slow. */
export function writeAnswer(run: Run, list: readonly Vector[], total: number): number | Promise<number> {
  const answer = run.answer!
  for (const { at, length } of list) run.memory.bytes(at, length)
  if (total <= answer.room) {
    for (const { at, length } of list) answer.write(run.memory.bytes(at, length))
    return Errno.success
  }
  const whole = answer.isUntouched ? run.host.memory?.copy(...list.map(({ at, length }) => run.memory.bytes(at, length))) : undefined
  if (whole !== undefined) {
    answer.hold(whole)
    return Errno.success
  }
  return run.wait(async () => {
    for (const { at, length } of list) {
      for (let done = 0; done < length; ) {
        if (answer.room <= 0) await answer.waitForRoom()
        const part = Math.min(length - done, Math.max(1, answer.room))
        answer.write(run.memory.bytes(at + done, part))
        done += part
      }
    }
    return Errno.success
  })
}

/** @throws WasiError rofs, or badf when it is open for reading only. */
function writable(open: OpenFile): MemoryFile {
  if (!(open.file instanceof MemoryFile)) throw new WasiError(Errno.rofs)
  if (!open.canWrite) throw new WasiError(Errno.badf)
  return open.file
}

function vectorsOf(run: Run, vectors: number, count: number): Vector[] {
  if (count >>> 0 > VECTORS_MAX) throw new WasiError(Errno.inval)
  const list = run.memory.bytes(vectors, count * 8)
  return Array.from({ length: count }, (_, index) => ({ at: list.readUInt32LE(index * 8), length: list.readUInt32LE(index * 8 + 4) }))
}

function readInput(run: Run, list: readonly Vector[]): number {
  let bytes = 0
  for (const { at, length } of list) {
    const taken = run.input.take(length)
    run.memory.bytes(at, taken.length).set(taken)
    bytes += taken.length
    if (taken.length < length) break
  }
  return bytes
}

function readFile(run: Run, open: OpenFile, list: readonly Vector[], from: number): number {
  if (!open.canRead) throw new WasiError(Errno.badf)
  const content = open.file.bytes()
  let position = from
  for (const { at, length } of list) {
    const part = content.subarray(position, position + length)
    run.memory.bytes(at, part.length).set(part)
    position += part.length
    if (part.length < length) break
  }
  return position - from
}

function writeFile(run: Run, open: OpenFile, list: readonly Vector[], from: number): { readonly bytes: number; readonly end: number } {
  const file = writable(open)
  let position = from
  for (const { at, length } of list) {
    file.write(position, run.memory.bytes(at, length))
    position += length
  }
  return { bytes: position - from, end: position }
}

/** A position in a file: not negative, and one that a number holds. */
function position(value: bigint): number {
  if (value < 0n) throw new WasiError(Errno.inval)
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new WasiError(Errno.overflow)
  return Number(value)
}

const numbers = new WeakMap<FileNode, bigint>()
let nextNumber = 1n

/** An inode number: programs take two files with the same for one. */
function numberOf(node: FileNode): bigint {
  let number = numbers.get(node)
  if (number === undefined) numbers.set(node, (number = nextNumber++))
  return number
}
