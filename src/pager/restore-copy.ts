/**
 * Restores by reading: the portable way, for machines without the addon (and the mode `copy`, for comparing).
 *
 * Every stored page is read, whether it will be touched or not; that is what the other modes are there to avoid. A memory that has been
 * used is zeroed where the image has holes, which costs as much as its size.
 */
import { readSync } from 'node:fs'
import { PlatformError } from '#contract/errors.ts'
import type { RestoreMode } from '#contract/start-figures.ts'
import type { PagedImage, PagedMemory, PageFaults, Restored } from './restore.ts'
import { PAGE_BYTES, pagesIn } from './snapshot.ts'
import type { SnapshotSource } from './snapshot.ts'

export class CopiedMemory implements PagedMemory {
  readonly #memory: WebAssembly.Memory

  constructor(memory: WebAssembly.Memory) {
    this.#memory = memory
  }

  static open(source: SnapshotSource): PagedImage {
    return { source, dropCache: () => {}, [Symbol.dispose]: () => {} }
  }

  modes(): readonly RestoreMode[] {
    return ['copy']
  }

  restore({ source }: PagedImage, mode: RestoreMode): Restored {
    if (mode !== 'copy') throw new PlatformError('NATIVE_MISSING', `Restoring a snapshot by ${mode} needs the native addon, which is not there. Use the mode copy, or build it: node scripts/build-native.ts.`)
    const bytes = new Uint8Array(this.#memory.buffer)
    return copyPages(source, bytes, (start, end) => bytes.fill(0, start, end))
  }

  restoreSoon(image: PagedImage, mode: RestoreMode): Promise<Restored> {
    return Promise.try(() => this.restore(image, mode))
  }

  restoreFrom(image: PagedImage): Restored {
    return this.restore(image, 'zstd')
  }

  faultOrder(): Uint32Array {
    return new Uint32Array()
  }

  faults(): PageFaults {
    return noFaults
  }

  [Symbol.dispose](): void {}
}

export const noFaults: PageFaults = { pagesFaulted: 0, zeroPagesFaulted: 0, bytesFaulted: 0, servedUs: 0, lost: false, prefetch: undefined }

/** Reads the stored pages of an image into a memory. @param zero Makes a part zero; not called for parts that are read. */
export function copyPages(source: SnapshotSource, memory: Uint8Array, zero: (start: number, end: number) => void): Restored {
  const startedMs = performance.now()
  const { imageFd, imageOffset, imageBytes, pagesStored } = source
  if (memory.byteLength < imageBytes) throw new TypeError(`the image has ${imageBytes} bytes, the memory ${memory.byteLength}`)
  let behind = 0
  for (let index = 0; index < pagesStored.length; index += 2) {
    const start = pagesStored[index]! * PAGE_BYTES
    const end = start + pagesStored[index + 1]! * PAGE_BYTES
    if (start > behind) zero(behind, start)
    readFully(imageFd, memory.subarray(start, end), imageOffset + start)
    behind = end
  }
  if (behind < memory.byteLength) zero(behind, memory.byteLength)
  const restoreUs = (performance.now() - startedMs) * 1000
  return { mode: 'copy', restoreUs, readUs: restoreUs, installUs: 0, bytesRead: pagesIn(pagesStored) * PAGE_BYTES, pagesPrefetched: pagesIn(pagesStored), zeroPagesPrefetched: 0 }
}

function readFully(fd: number, into: Uint8Array, position: number): void {
  for (let done = 0; done < into.byteLength;) {
    const got = read(fd, into, done, position)
    if (got === 0) throw new PlatformError('SNAPSHOT_DAMAGED', `The snapshot image ends at byte ${position + done}, before ${position + into.byteLength}. It is rebuilt at the next start.`)
    done += got
  }
}

function read(fd: number, into: Uint8Array, done: number, position: number): number {
  try {
    return readSync(fd, into, done, into.byteLength - done, position + done)
  } catch (cause) {
    throw new PlatformError('SNAPSHOT_DAMAGED', `The snapshot image could not be read at byte ${position + done}: ${(cause as Error).message}.`, { cause })
  }
}
