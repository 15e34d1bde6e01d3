/**
 * Memory that is filled by one process, sealed, passed, and mapped by others (thesis 6.3: the bytes stay where they were made, and the
 * consumer pulls them). One part of the native addon (native/objects.cc), which checks all arguments: a mistake is a TypeError, what the
 * system refuses an Error with `errno`.
 *
 *   producer   allocate ─▶ fill ─▶ seal ─▶ fd ─▶ pass ─── SCM_RIGHTS ──▶ receive ─▶ check ─▶ map   consumer
 *              copy ──────────────────────▶ fd
 *
 * Invariants:
 *   M1. What `check` accepts never changes again: the kernel seals no memory that anybody could still write to, and takes no seal back.
 *   M2. All buffers are private once the memory is sealed: what their owners write into them, nobody else sees.
 *   M3. A mapping lives as long as its buffer, a descriptor until its owner closes it. A buffer can be transferred to another thread.
 */
import { loadNative } from '#pager/native.ts'

export interface SharedMemory {
  /** A pair of sockets of packets (AF_UNIX SOCK_SEQPACKET), close-on-exec, both non-blocking. `theirs` goes to a child as a stdio number. */
  socketPair(): { readonly ours: number; readonly theirs: number }
  /** Sends number + descriptor (SCM_RIGHTS). false when the socket is full. @throws errno EPIPE or ECONNRESET when it is closed, ETOOMANYREFS when too many descriptors are on their way. */
  pass(socket: number, number: number, fd: number): boolean
  /** The next one that has come, without waiting; undefined when there is none. Its fd is close-on-exec and the caller's to close. @throws errno EBADMSG for anything else that came; it is dropped. */
  receive(socket: number): { readonly number: number; readonly fd: number } | undefined
  /** Memory of the process's own to fill: a memfd, mapped shared and writable; 4 MB and more in huge pages where there are some. From 1 byte. */
  allocate(bytes: number): ArrayBuffer
  /** Whether it is (all of) a buffer from allocate that has not been sealed yet. */
  isAllocated(buffer: ArrayBuffer): boolean
  /** Seals an allocated buffer's memory and gives its descriptor (the caller's). The buffer stays usable: from here on it is a private, copy-on-write view (M2). */
  seal(buffer: ArrayBuffer, isShown?: boolean): number
  /** A sealed memfd with a copy of these bytes. */
  copy(bytes: Uint8Array): number
  /** An empty memfd that can be sealed, to be written to with fs.write and ended with sealFd. */
  create(): number
  /** @throws errno EBUSY while anybody has it mapped shared and writable, EPERM when it cannot be sealed (any more). */
  sealFd(fd: number): void
  /** Its length, when fd is memory sealed with WRITE|SHRINK|GROW|SEAL; a reason otherwise. */
  check(fd: number): { readonly bytes: number } | { readonly reason: string }
  /** A private (copy-on-write) view of the first bytes; for sealed memory, and for files opened read-only that nobody truncates. Unmapped when collected. */
  map(fd: number, bytes: number, isShown?: boolean): ArrayBuffer
  /**
   * The descriptor (the caller's) of the sealed memory that a buffer shows, all of it, while nothing has been written into that buffer: so that it can be passed on without a
   * copy. Undefined when something has, or nobody knows: it is known of 256 buffers at a time for which `map` or `seal` was told so (`isShown`), as each takes a descriptor.
   */
  shown(buffer: ArrayBuffer): number | undefined
  /** As `map`, from an offset on, a multiple of 4096. `transfer(0)` of the buffer unmaps it at once. */
  mapPart(fd: number, offset: number, bytes: number): ArrayBuffer
  /** The same at a 4096-aligned offset of a WebAssembly.Memory's buffer, replacing what is there. The last page's rest is zero. */
  mapInto(buffer: ArrayBuffer, offset: number, fd: number, bytes: number): void
}

let found: { readonly memory: SharedMemory | undefined } | undefined

/** Undefined where the addon or memfd is missing. @param addonPath As of {@link loadNative}: the first call of both decides. */
export function sharedMemory(addonPath?: string): SharedMemory | undefined {
  found ??= { memory: tried(loadNative(addonPath)?.sharedMemory as SharedMemory | undefined) }
  return found.memory
}

/** A sandbox of another make may forbid memfd_create. */
function tried(memory: SharedMemory | undefined): SharedMemory | undefined {
  try {
    // Not `create`: in a worker thread, Node warns of descriptors that it closes and has not opened.
    memory?.allocate(1).transfer(0)
    return memory
  } catch {
    return undefined
  }
}
