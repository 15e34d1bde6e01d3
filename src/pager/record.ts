/**
 * Records which pages of a memory the code touches, between a restore and the end of an invocation (thesis 5.2.2.1).
 *
 * Two ways, which have to agree:
 *
 *   userfaultfd   every first touch is a fault that the pager serves and notes: so the order is known as well. The pages come through
 *                 a mapping with the kernel's read-ahead, so that recording costs little more than a lazy restore.
 *   pagemap       the image is mapped lazily, its pages dropped from the page cache before; afterwards the page table says what was
 *                 touched. Faults map what is in the page cache beside the page that was wanted (fault-around), and without read-ahead
 *                 only touched pages are there. If others have the image mapped at the time, their pages count as well: more than
 *                 was touched, never less.
 *
 * Where we differ from the paper: pages that are zero in the image are noted, too; the working set has them as memory, not as bytes.
 */
import { PlatformError } from '#contract/errors.ts'
import { loadNative } from './native.ts'
import { MappedMemory } from './restore-native.ts'
import type { PagedImage, PagedMemory, Restored } from './restore.ts'
import { PAGE_BYTES } from './snapshot.ts'

export type RecordWay = 'userfaultfd' | 'pagemap'

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

/** The ways that this machine has, the better one first. */
export function recordWays(): readonly RecordWay[] {
  const native = loadNative()
  if (native === undefined) return []
  return native.faultsMissing === undefined ? ['userfaultfd', 'pagemap'] : ['pagemap']
}

/** Restores the memory in such a way that what is touched from now on is known. @throws NATIVE_MISSING, and what restoring throws. */
export function record(memory: PagedMemory, image: PagedImage, way: RecordWay): Recording {
  if (!(memory instanceof MappedMemory)) throw new PlatformError('NATIVE_MISSING', 'Recording a working set needs the native addon, which is not there. Build it: node scripts/build-native.ts.')
  if (way === 'userfaultfd') {
    const restored = memory.restore(image, 'demand')
    return { restored, read: () => ({ faults: memory.faultOrder(), ordered: true }) }
  }
  // The memory's own mapping of an earlier restore would keep its pages in the page cache.
  memory.empty()
  image.dropCache()
  const restored = memory.restore(image, 'lazy-random')
  const pages = image.source.imageBytes / PAGE_BYTES
  return { restored, read: () => ({ faults: memory.presentPages().filter((page) => page < pages), ordered: false }) }
}
