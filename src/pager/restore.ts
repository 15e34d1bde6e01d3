/**
 * Gives a memory the content of a snapshot: the selectable designs of a cold start.
 *
 * A memory is a range of addresses; whose it is, this file does not know: today a WebAssembly.Memory, later another sandbox's. It is
 * restored again and again, each time wholly: whatever it held before is gone.
 *
 * The designs are those that the thesis compares (Ustiugov, Data-Centric Serverless Computing, 5.3.2 and Figure 5.2), and five of ours:
 *
 *   lazy             the image is mapped copy-on-write, and each first touch is the kernel's page fault ("vanilla snapshots"). With the
 *                    image in the page cache it is the fastest: one system call. From a disk, the kernel's read-ahead decides.
 *   parallel-faults  lazy, but the recorded pages are faulted in before, page by page, by 16 threads ("parallel PFs")
 *   working-set      the working-set file in one read through the page cache, then installed run by run ("WS file")
 *   reap             the same with O_DIRECT, which bypasses the page cache (5.2.2.3): the paper's design
 *   pipelined        ours: reap, with one part installed while the next is read
 *   direct           ours: scattered O_DIRECT reads from the working-set file straight into the memory; no buffer and no copy
 *   concurrent       the code runs at once, while a thread installs the working set in the order in which it was wanted when it was recorded
 *                    (FaaSnap, EuroSys 2022); a small set is read before: what the platform does (PREFETCH_MODE)
 *   zstd             ours: as reap, from a compressed working set, for disks that are slower than decompressing is
 *   copy             the stored pages are read into the memory: no addon, no feature of the kernel
 *
 * Pages that a prefetch did not bring are served on demand, by the kernel (lazy, parallel-faults) or by userfaultfd (the others; thesis
 * 5.2.2.2), which counts them.
 *
 * Invariants:
 *   T1. After a restore every byte of the image's size reads as in the image, and every byte behind it as zero, in every mode and whatever
 *       mode the memory was restored in before.
 *   T2. A failed restore throws, and the memory is not to be used until it is restored again.
 */
import type { RestoreMode } from '#contract/start-figures.ts'
import { CopiedMemory } from './restore-copy.ts'
import { MappedMemory } from './restore-native.ts'
import type { WorkingSetTables } from './restore-native.ts'
import { loadNative } from './native.ts'
import type { SnapshotSource } from './snapshot.ts'

/** How a cold start prefetches, unless its function says otherwise: as `reap` below 2 MB, and faster above. */
export const PREFETCH_MODE = 'concurrent' satisfies RestoreMode

/** What a restore cost. */
export interface Restored {
  readonly mode: RestoreMode | 'demand' | 'lazy-random' | 'pipelined' | 'write-protect'
  readonly restoreUs: number
  /** Of these, waiting for the disk, where it can be told apart. */
  readonly readUs: number
  /** Of these, mapping and installing. */
  readonly installUs: number
  readonly bytesRead: number
  readonly pagesPrefetched: number
  /** Memory for recorded pages that are zero in the image. */
  readonly zeroPagesPrefetched: number
}

/** What happened since the restore. */
export interface PageFaults {
  /** Pages of the image that were missing and read on demand. 0 in modes where the kernel serves them. */
  readonly pagesFaulted: number
  /** Pages that were missing and are zero in the image. */
  readonly zeroPagesFaulted: number
  readonly bytesFaulted: number
  /** What the handler was busy for, of what the code waited for. */
  readonly servedUs: number
  /** A page could not be read: the code that ran was stopped. */
  readonly lost: boolean
  /** Of mode `concurrent`. */
  readonly prefetch: { readonly state: 'running' | 'done' | 'failed'; readonly pagesPrefetched: number; readonly pagesRaced: number; readonly bytesRead: number; readonly readUs: number; readonly us: number } | undefined
}

/** A snapshot made ready for restores. Disposing it leaves memories that were restored from it as they are. */
export interface PagedImage extends Disposable {
  readonly source: SnapshotSource
  /** Drops its files from the page cache, but for pages that are mapped somewhere: for recording and for measurements. */
  dropCache(): void
}

export interface PagedMemory extends Disposable {
  /** Which modes it knows here and now. */
  modes(image: PagedImage): readonly RestoreMode[]
  /**
   * Restores at once: for modes that take microseconds.
   * @throws SNAPSHOT_DAMAGED when a file cannot be read, START_FAILED when the system has no memory or mappings left, NATIVE_MISSING when
   * the mode needs what this machine does not have.
   */
  restore(image: PagedImage, mode: RestoreMode): Restored
  /** The same on another thread, for modes that read megabytes. Until it is settled the memory is not to be touched. */
  restoreSoon(image: PagedImage, mode: RestoreMode): Promise<Restored>
  /**
   * Mode `zstd`: restores from pages that were unpacked (working-set-file.ts), in the order of the runs that the image was opened with.
   * @throws as `restore`.
   */
  restoreFrom(image: PagedImage, pages: Uint8Array): Restored
  /** Since the last restore. */
  faults(): PageFaults
  /** Pages that were missing since the restore, in the order of their faults, where userfaultfd serves them; else none. */
  faultOrder(): Uint32Array
}

/**
 * Opens a snapshot for {@link adoptMemory}'s memories; the descriptors may be closed afterwards, except where there is no addon.
 * @param unpacked The tables of a compressed working set, for {@link MappedMemory.restoreFrom}.
 */
export function openImage(source: SnapshotSource, unpacked?: WorkingSetTables): PagedImage {
  return loadNative() === undefined ? CopiedMemory.open(source) : MappedMemory.open(source, unpacked)
}

/**
 * Takes a memory into the pager's care until it is disposed: what it holds is replaced, and it is kept alive.
 * @param memory At least as large as the images that it is restored from.
 */
export function adoptMemory(memory: WebAssembly.Memory): PagedMemory {
  const native = loadNative()
  return native === undefined ? new CopiedMemory(memory) : new MappedMemory(native, memory)
}

/**
 * Whether the page cache holds so much of the image that mapping it is better than reading the working set: what mode `auto` asks.
 * False where the kernel cannot say.
 */
export function isCached(image: PagedImage): boolean {
  const native = loadNative()
  if (native === undefined) return false
  const { imageFd, imageOffset, imageBytes, pagesStored } = image.source
  let stored = 0
  for (let index = 1; index < pagesStored.length; index += 2) stored += pagesStored[index]! * 4096
  return native.cachedBytes(imageFd, imageOffset, imageBytes) >= stored * CACHED_SHARE
}

/** Holes may be in the page cache as well, and count: so this is not a promise, only a good guess. */
const CACHED_SHARE = 0.95
