/** A memory with known content, its identity, and a directory to write it to: for the tests of the snapshot files. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeImage } from './image-file.ts'
import type { ImageDescription, ImageHeader } from './image-file.ts'
import { snapshotFileNames } from './open-snapshot.ts'
import { PAGE_BYTES } from './snapshot.ts'
import { nonZeroChunks } from './zero-pages.ts'

export const exampleIdentity = { revision: 'default/hello@3', moduleDigest: 'ab'.repeat(32), imageId: '0123456789abcdef'.repeat(2) }

/** @param pages Which pages are not zero; each has content of its own. */
export function exampleMemory(pageCount: number, pages: Iterable<number>): Uint8Array {
  const memory = new Uint8Array(pageCount * PAGE_BYTES)
  for (const page of pages) {
    const view = new DataView(memory.buffer, page * PAGE_BYTES, PAGE_BYTES)
    for (let at = 0; at < PAGE_BYTES; at += 64) view.setUint32(at, Math.imul(page + 1, 2_654_435_761) + at)
    // A page that is zero up to its last byte is not zero.
    if (page % 3 === 0) memory.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES - 1)
    memory[(page + 1) * PAGE_BYTES - 1] = 1
  }
  return memory
}

export function exampleDescription(memory: Uint8Array): ImageDescription {
  return { ...exampleIdentity, imageBytes: memory.byteLength, state: new TextEncoder().encode('{"globals":[]}'), takenAtMs: 1_700_000_000_000, answered: 3 }
}

/** A temporary directory with an image in it. */
export async function exampleImage(memory: Uint8Array): Promise<{ readonly directory: string; readonly path: string; readonly header: ImageHeader } & Disposable> {
  const directory = temporaryDirectory()
  const path = join(directory.path, snapshotFileNames.image)
  const header = await writeImage(path, exampleDescription(memory), nonZeroChunks(memory))
  return { directory: directory.path, path, header, [Symbol.dispose]: () => directory[Symbol.dispose]() }
}

export function temporaryDirectory(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'skep-snapshot-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** Changes bytes of a file in place. */
export function damage(path: string, change: (bytes: Buffer) => Buffer | void): void {
  const bytes = readFileSync(path)
  writeFileSync(path, change(bytes) ?? bytes)
}
