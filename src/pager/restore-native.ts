/**
 * Restores by the addon: see restore.ts for the modes. Here are the handles, the checks that need words, and the figures.
 *
 * A memory without userfaultfd knows the modes in which the kernel serves what is missing. One whose image has no working set yet
 * knows only those that need none.
 */
import { getSystemErrorName } from 'node:util'
import { PlatformError } from '#contract/errors.ts'
import { restoreModes } from '#contract/start-figures.ts'
import type { RestoreMode } from '#contract/start-figures.ts'
import { nativeModes, requireNative } from './native.ts'
import type { Native, NativeMode } from './native.ts'
import { copyPages } from './restore-copy.ts'
import type { PagedImage, PagedMemory, PageFaults, Restored } from './restore.ts'
import type { SnapshotSource, WorkingSetSource } from './snapshot.ts'

const needsFaults: ReadonlySet<string> = new Set<NativeMode | 'zstd'>(['working-set', 'reap', 'direct', 'concurrent', 'pipelined', 'demand', 'zstd'])
const needsWorkingSet: ReadonlySet<string> = new Set<NativeMode>(['parallel-faults', 'working-set', 'reap', 'direct', 'concurrent', 'pipelined'])

/** What of a working set is known when its pages are handed in. */
export type WorkingSetTables = Pick<WorkingSetSource, 'runs' | 'zeroRuns'>

const none = new Uint32Array(0)

/** A memory that was released had its restore then, off the way. */
const nothingToDo: Restored = { mode: 'lazy', restoreUs: 0, readUs: 0, installUs: 0, bytesRead: 0, pagesPrefetched: 0, zeroPagesPrefetched: 0 }

class OpenedImage implements PagedImage {
  readonly source: SnapshotSource
  readonly handle: number
  /** The working set is compressed: its pages have to be handed in. */
  readonly isPacked: boolean
  readonly #native: Native

  constructor(native: Native, source: SnapshotSource, unpacked: WorkingSetTables | undefined) {
    const { imageFd, imageDirectFd, imageOffset, imageBytes, pagesStored, workingSet: set } = source
    this.#native = native
    this.source = source
    this.isPacked = set === undefined && unpacked !== undefined
    this.handle = native.openImage(
      imageFd, imageDirectFd, imageOffset, imageBytes, pagesStored,
      set !== undefined ? 1 : unpacked !== undefined ? 2 : 0, set?.fd ?? 0, set?.directFd ?? 0, set?.offset ?? 0,
      (set ?? unpacked)?.runs ?? none, (set ?? unpacked)?.zeroRuns ?? none,
    )
  }

  dropCache(): void {
    this.#native.dropCache(this.handle)
  }

  [Symbol.dispose](): void {
    this.#native.closeImage(this.handle)
  }
}

export class MappedMemory implements PagedMemory {
  readonly #native: Native
  readonly #memory: WebAssembly.Memory
  readonly #range: number
  #mode: Restored['mode'] | undefined
  /** Of the image that it holds untouched, since `release`. */
  #ready: number | undefined

  /** @throws TypeError when the memory is in the pager's care already. */
  constructor(native: Native, memory: WebAssembly.Memory) {
    this.#native = native
    this.#memory = memory
    this.#range = native.adopt(memory)
  }

  static open(source: SnapshotSource, unpacked?: WorkingSetTables): PagedImage {
    return new OpenedImage(requireNative(), source, unpacked)
  }

  modes(image: PagedImage): readonly RestoreMode[] {
    const { source, isPacked } = image as OpenedImage
    return restoreModes.filter((mode) => (this.#native.faultsMissing === undefined || !needsFaults.has(mode)) && (mode === 'zstd' ? isPacked : source.workingSet !== undefined || !needsWorkingSet.has(mode)))
  }

  restore(image: PagedImage, mode: Restored['mode']): Restored {
    const { handle } = image as OpenedImage
    if (mode === 'lazy' && this.#ready === handle) {
      this.#ready = undefined
      return nothingToDo
    }
    this.#ready = undefined
    if (mode === 'copy') return this.#copy(image)
    this.#requireMode(image, mode)
    try {
      this.#native.restore(this.#range, (image as OpenedImage).handle, nativeModes[mode as NativeMode])
    } catch (thrown) {
      throw explained(thrown as Error, mode)
    }
    return this.#restored(mode)
  }

  /** As mode `reap`, without its read. */
  restoreFrom(image: PagedImage, pages: Uint8Array): Restored {
    try {
      this.#native.restoreFrom(this.#range, (image as OpenedImage).handle, pages)
    } catch (thrown) {
      throw explained(thrown as Error, 'zstd')
    }
    return this.#restored('zstd')
  }

  async restoreSoon(image: PagedImage, mode: Restored['mode']): Promise<Restored> {
    this.#ready = undefined
    if (mode === 'copy') return this.#copy(image)
    this.#requireMode(image, mode)
    return await new Promise((resolve, reject) => {
      this.#native.restore(this.#range, (image as OpenedImage).handle, nativeModes[mode as NativeMode], (error) => {
        if (error === undefined) resolve(this.#restored(mode))
        else reject(explained(error, mode))
      })
    })
  }

  /** The content as after the last restore, when that was lazy: one system call and no new mapping. */
  reset(): void {
    if (this.#mode !== 'lazy') throw new TypeError(`only a lazily restored memory can be reset, and this one was restored by ${this.#mode ?? 'nothing'}`)
    this.#native.reset(this.#range)
  }

  /** Its pages are given back. A lazily restored one is then restored already, for the next restore from the same image. */
  release(image: PagedImage | undefined): void {
    if (this.#mode !== 'lazy' || image === undefined) return this.empty()
    this.#native.reset(this.#range)
    this.#ready = (image as OpenedImage).handle
  }

  /** Only zero pages: nothing is mapped, and nothing served. */
  empty(): void {
    this.#native.zero(this.#range)
    this.#mode = undefined
    this.#ready = undefined
  }

  faults(): PageFaults {
    this.#native.faults(this.#range, 0)
    const [pagesFaulted, zeroPagesFaulted, bytesFaulted, servedUs, lost, prefetching, prefetched, raced, bytesRead, readUs, us] = this.#native.figures
    const state = prefetching === 1 ? 'running' : prefetching === 2 ? 'failed' : 'done'
    return {
      pagesFaulted: pagesFaulted!, zeroPagesFaulted: zeroPagesFaulted!, bytesFaulted: bytesFaulted!, servedUs: servedUs!, lost: lost === 1,
      prefetch: this.#mode === 'concurrent' ? { state, pagesPrefetched: prefetched!, pagesRaced: raced!, bytesRead: bytesRead!, readUs: readUs!, us: us! } : undefined,
    }
  }

  faultOrder(): Uint32Array {
    return this.#native.faults(this.#range, 1)!
  }

  /** Pages that are in memory now, ascending: with a lazily mapped image, those that have been touched or mapped beside a touched one. */
  presentPages(): Uint32Array {
    return this.#native.present(this.#range)
  }

  /** Gives the memory back to whoever made it; what it then holds is not defined. */
  [Symbol.dispose](): void {
    this.#native.drop(this.#range)
  }

  #copy({ source }: PagedImage): Restored {
    this.#native.zero(this.#range)
    this.#mode = 'copy'
    return copyPages(source, new Uint8Array(this.#memory.buffer), () => {})
  }

  #requireMode({ source }: PagedImage, mode: Restored['mode']): void {
    if (mode === 'zstd') throw new TypeError('a compressed working set is unpacked first, and handed to restoreFrom')
    if (needsFaults.has(mode) && this.#native.faultsMissing !== undefined) {
      throw new PlatformError('NATIVE_MISSING', `Restoring a snapshot by ${mode} needs userfaultfd: ${this.#native.faultsMissing}. Use lazy, parallel-faults or copy.`)
    }
    if (mode === 'write-protect') {
      const missing = this.#native.notingSupport()
      if (missing !== undefined) throw new PlatformError('NATIVE_MISSING', `Recording by ${mode} is not possible here: ${missing}. Record by userfaultfd or pagemap.`)
    }
    if (needsWorkingSet.has(mode) && source.workingSet === undefined) throw new TypeError(`${mode} needs a working set, and none has been recorded`)
  }

  #restored(mode: NativeMode | 'zstd'): Restored {
    this.#mode = mode
    const [restoreUs, readUs, installUs, bytesRead, pagesPrefetched, zeroPagesPrefetched] = this.#native.figures
    return { mode, restoreUs: restoreUs!, readUs: readUs!, installUs: installUs!, bytesRead: bytesRead!, pagesPrefetched: pagesPrefetched!, zeroPagesPrefetched: zeroPagesPrefetched! }
  }
}

/** What the system refused, as an error of the table. */
function explained(error: Error & { readonly errno?: number }, mode: string): Error {
  const { errno } = error
  if (errno === undefined) return error
  const what = `Restoring a snapshot by ${mode} failed: ${error.message}`
  const name = errno === 0 ? 'EOF' : getSystemErrorName(-errno)
  switch (name) {
    case 'ENOMEM':
      return new PlatformError('START_FAILED', `${what}. The machine is out of memory, or this process has too many mappings (sysctl vm.max_map_count): use more host processes.`, { cause: error })
    case 'ENOSYS':
    case 'EPERM':
      return new PlatformError('NATIVE_MISSING', `${what}. The kernel refuses it: use lazy or copy.`, { cause: error })
    default:
      return new PlatformError('SNAPSHOT_DAMAGED', `${what} (${name}). The snapshot is rebuilt at the next start.`, { cause: error, details: { errno: name } })
  }
}
