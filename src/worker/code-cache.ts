/**
 * The code of revisions on this host: each unpacked once, then linked, not copied, into the sandboxes that run it.
 *
 * A sandbox sees its code directory read-only, so that hard links are safe: no code inside can change what others see.
 *
 * Invariants:
 *   K1. A directory under `code/` is complete: it was renamed there after everything in it was written.
 *   K2. Concurrent first uses of a revision unpack it once.
 */
import { linkSync, mkdirSync, readdirSync, copyFileSync, symlinkSync, readlinkSync } from 'node:fs'
import { access, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Revision } from '#contract/function-config.ts'

export interface CodeCacheOptions {
  readonly directory: string
  /** Writes the files of a code blob into a directory that does not exist yet, atomically (K1). */
  readonly unpack: (digest: string, directory: string) => Promise<void>
}

export class CodeCache {
  readonly #options: CodeCacheOptions
  readonly #ready = new Map<string, string>()
  readonly #unpacking = new Map<string, Promise<string>>()

  constructor(options: CodeCacheOptions) {
    this.#options = options
  }

  /** The unpacked code, if this process has seen it: spares the cold start a turn of the event loop. */
  known(revision: Revision): string | undefined {
    return this.#ready.get(revision.code)
  }

  /** @throws what unpacking throws: CODE_INVALID, STORE_FAILED, STORE_FULL. */
  directoryOf(revision: Revision): Promise<string> {
    const known = this.#ready.get(revision.code)
    if (known !== undefined) return Promise.resolve(known)
    const running = this.#unpacking.get(revision.code)
    if (running !== undefined) return running
    const unpacking = this.#unpack(revision.code).finally(() => this.#unpacking.delete(revision.code))
    this.#unpacking.set(revision.code, unpacking)
    return unpacking
  }

  async forget(digest: string): Promise<void> {
    this.#ready.delete(digest)
    await rm(join(this.#options.directory, digest), { recursive: true, force: true })
  }

  async #unpack(digest: string): Promise<string> {
    const directory = join(this.#options.directory, digest)
    const there = await access(directory).then(
      () => true,
      () => false,
    )
    if (!there) await this.#options.unpack(digest, directory)
    this.#ready.set(digest, directory)
    return directory
  }
}

/** Makes the files of one directory appear in another, by hard link where the file system can. Synchronous: it takes
 * some ten microseconds for the few files of a bundle, less than handing it to a thread and back. */
export function linkTree(from: string, to: string): void {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const source = join(from, entry.name)
    const target = join(to, entry.name)
    if (entry.isDirectory()) {
      mkdirSync(target)
      linkTree(source, target)
    } else if (entry.isSymbolicLink()) {
      symlinkSync(readlinkSync(source), target)
    } else {
      linkOrCopy(source, target)
    }
  }
}

function linkOrCopy(source: string, target: string): void {
  try {
    linkSync(source, target)
  } catch {
    // Another file system, or one without hard links.
    copyFileSync(source, target)
  }
}
