/** For tests of the restore side: a snapshot in a temporary directory, written by hand, whose every page has its own content. */
import { closeSync, constants, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PAGE_BYTES, WASM_PAGE_BYTES } from './snapshot.ts'
import type { SnapshotSource } from './snapshot.ts'

export interface TestSnapshot extends SnapshotSource, Disposable {
  readonly imagePath: string
  /** The whole memory, as it has to be. */
  readonly expected: Uint8Array
}

/** @param pages Of the image. @param stored Which are not zero. @param set Pages of the working set, in the order of its file. */
export function makeSnapshot(options: { readonly pages: number; readonly stored: (page: number) => boolean; readonly set?: readonly number[]; readonly seed?: number }): TestSnapshot {
  const { pages, stored, set, seed = 1 } = options
  const directory = mkdtempSync(join(tmpdir(), 'skep-pager-'))
  const imageOffset = 2 * PAGE_BYTES
  const expected = new Uint8Array(pages * PAGE_BYTES)
  const storedPages: number[] = []
  const imagePath = join(directory, 'image')
  const image = openSync(imagePath, 'w+')
  ftruncateSync(image, imageOffset + pages * PAGE_BYTES)
  for (let page = 0; page < pages; page++) {
    if (!stored(page)) continue
    storedPages.push(page)
    const content = expected.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
    for (let at = 0; at < PAGE_BYTES; at += 4) new DataView(content.buffer, content.byteOffset).setUint32(at, (page + 1) * 4096 * seed + at, true)
    writeSync(image, content, 0, PAGE_BYTES, imageOffset + page * PAGE_BYTES)
  }
  closeSync(image)
  const opened: number[] = []
  const open = (path: string, flags: number): number => {
    const fd = openSync(path, constants.O_RDONLY | flags)
    opened.push(fd)
    return fd
  }
  const openDirect = (path: string, otherwise: number): number => {
    try {
      return open(path, constants.O_DIRECT)
    } catch {
      return otherwise
    }
  }
  const imageFd = open(imagePath, 0)
  const source: SnapshotSource = { imageFd, imageDirectFd: openDirect(imagePath, imageFd), imageOffset, imageBytes: pages * PAGE_BYTES, pagesStored: runsOf(storedPages) }
  const workingSet = set === undefined ? undefined : writeSet(join(directory, 'working-set'), set.filter(stored), set.filter((page) => !stored(page)).sort((a, b) => a - b), expected)
  const opening = workingSet && ((fd: number) => ({ ...workingSet, fd, directFd: openDirect(join(directory, 'working-set'), fd) }))(open(join(directory, 'working-set'), 0))
  return {
    ...source, ...(opening && { workingSet: opening }), imagePath, expected,
    [Symbol.dispose]: () => {
      opened.forEach((fd) => closeSync(fd))
      rmSync(directory, { recursive: true })
    },
  }
}

function writeSet(path: string, pages: readonly number[], zeroPages: readonly number[], expected: Uint8Array): { readonly offset: number; readonly runs: Uint32Array; readonly zeroRuns: Uint32Array } {
  const fd = openSync(path, 'w')
  pages.forEach((page, index) => writeSync(fd, expected, page * PAGE_BYTES, PAGE_BYTES, (index + 1) * PAGE_BYTES))
  closeSync(fd)
  return { offset: PAGE_BYTES, runs: runsOf(pages), zeroRuns: runsOf(zeroPages) }
}

/** Of pages in any order: a run goes on while they follow each other. */
export function runsOf(pages: readonly number[]): Uint32Array {
  const runs: number[] = []
  for (const page of pages) {
    if (runs.length > 0 && runs.at(-2)! + runs.at(-1)! === page) runs[runs.length - 1]!++
    else runs.push(page, 1)
  }
  return Uint32Array.from(runs)
}

/** A memory of so many pages (of 4096 bytes, rounded up to WebAssembly's), full of bytes that no image has. */
export function dirtyMemory(pages: number): WebAssembly.Memory {
  const initial = Math.ceil((pages * PAGE_BYTES) / WASM_PAGE_BYTES)
  const memory = new WebAssembly.Memory({ initial, maximum: initial + 4 })
  new Uint8Array(memory.buffer).fill(0xee)
  return memory
}
