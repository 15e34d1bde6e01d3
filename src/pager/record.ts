/**
 * Records which pages of a memory the code touches, between a restore and the end of an invocation (thesis 5.2.2.1).
 *
 * Three ways, which have to agree on the pages; the platform takes the first that the machine has:
 *
 *   userfaultfd    every first touch is a fault that the pager serves and notes: the only way that knows the order, by which a working set is
 *                  installed while the code runs already. Each page costs a signal; a recorded run 1.2 times a lazy one.
 *   write-protect  the image is mapped as lazily, with the kernel's read-ahead, and registered for asynchronous write-protection
 *                  (Linux 6.7), which is never used: but the kernel then maps no page beside the one that was wanted, so that afterwards
 *                  the page table says what was touched. A recorded run costs one minor fault a page more than a lazy one. No order.
 *   pagemap        the image is mapped lazily and without read-ahead, its pages dropped from the page cache before; afterwards the
 *                  page table says what was touched, as nothing else was there to be mapped. Each page is a read of the disk. If others have
 *                  the image mapped at the time, their pages count as well: more than was touched, never less.
 *
 * A page that is zero in the image is noted when it is touched, whether read or written, in each way: it is a hole of the file, which the
 * page table has as any other page. The working set has such pages as memory, not as bytes; there we differ from the paper.
 * By the page table (write-protect, pagemap), a page that the system took back in the meantime, for want of memory, is missing.
 */
import { PlatformError } from '#contract/errors.ts'
import { loadNative } from './native.ts'
import { MappedMemory } from './restore-native.ts'
import type { PagedImage, PagedMemory, Restored } from './restore.ts'
import { PAGE_BYTES } from './snapshot.ts'

export type RecordWay = 'write-protect' | 'userfaultfd' | 'pagemap'

export interface Recording {
  readonly restored: Restored
  /** What has been touched until now. Recording goes on until the memory is restored again. */
  read(): Touched
}

export interface Touched {
  /** Page numbers; in the order of their first touch when `ordered`, otherwise ascending. */
  readonly faults: Uint32Array
  readonly ordered: boolean
}

/** The ways that this machine has, the best one first. */
export function recordWays(): readonly RecordWay[] {
  const native = loadNative()
  if (native === undefined) return []
  return [...(native.faultsMissing === undefined ? ['userfaultfd' as const] : []), ...(native.notingSupport() === undefined ? ['write-protect' as const] : []), 'pagemap']
}

/** Restores the memory in such a way that what is touched from now on is known. @throws NATIVE_MISSING, and what restoring throws. */
export function record(memory: PagedMemory, image: PagedImage, way: RecordWay): Recording {
  if (!(memory instanceof MappedMemory)) throw new PlatformError('NATIVE_MISSING', 'Recording a working set needs the native addon, which is not there. Build it: node scripts/build-native.ts.')
  if (way === 'userfaultfd') {
    const restored = memory.restore(image, 'demand')
    return { restored, read: () => ({ faults: memory.faultOrder(), ordered: true }) }
  }
  if (way === 'pagemap') {
    // The memory's own mapping of an earlier restore would keep its pages in the page cache.
    memory.empty()
    image.dropCache()
  }
  const restored = memory.restore(image, way === 'pagemap' ? 'lazy-random' : way)
  const pages = image.source.imageBytes / PAGE_BYTES
  return { restored, read: () => ({ faults: memory.presentPages().filter((page) => page < pages), ordered: false }) }
}
