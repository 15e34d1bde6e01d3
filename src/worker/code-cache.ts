/**
 * The code of revisions on this host: each unpacked once, then linked, not copied, into the sandboxes that run it.
 *
 * A sandbox sees its code directory read-only, so that hard links are safe: no code inside can change what others see.
 * Beside the files of a revision lies, from a while after its first start, what compile-cache.ts made of them.
 *
 *   code/<digest>/             a revision's files, and .compile-cache/
 *   code/.made-by              the boot of the machine, and the Node, that all of this is from
 *   code/.anything             not finished, or not wanted any more: removed in passing, or at the next start
 *
 * Invariants:
 *   K1. A directory under `code/` is complete: it was renamed there after everything in it was written. So is its
 *       `.compile-cache`.
 *   K2. Concurrent first uses of a revision unpack it once.
 *   K3. Nothing here is older than the machine's last boot: files are not fsynced, so that a power loss can leave a directory
 *       under its name and its files without their content.
 *   K4. What `known` answers is there until the caller gives the event loop back.
 */
import { linkSync, mkdirSync, readdirSync, copyFileSync, symlinkSync, readlinkSync, existsSync, renameSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { COMPILE_CACHE_DIRECTORY } from '#contract/compile-cache.ts'
import type { Revision } from '#contract/function-config.ts'

export interface CodeCacheOptions {
  readonly directory: string
  /** Writes the files of a code blob into a directory that does not exist yet, atomically (K1). */
  readonly unpack: (digest: string, directory: string) => Promise<void>
  /** See {@link codeMaker}; without one, nothing is kept from one start to the next. */
  readonly madeBy?: string | undefined
}

const MADE_BY = '.made-by'

/** This boot of the machine and this Node, whose compiled code no other can use. Undefined where the system does not tell. */
export async function codeMaker(): Promise<string | undefined> {
  try {
    return `${(await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim()} ${process.version}`
  } catch {
    return undefined
  }
}

export class CodeCache {
  readonly #options: CodeCacheOptions
  readonly #ready = new Map<string, string>()
  readonly #unpacking = new Map<string, Promise<string>>()
  /** Digests whose compiled form somebody has undertaken to make, or that have it. */
  readonly #compiled = new Set<string>()
  #sequence = 0

  constructor(options: CodeCacheOptions) {
    this.#options = options
  }

  /**
   * Makes the directory, and takes everything out of it that cannot be relied on or that nobody needs. To be called before
   * anything else.
   * @param used Digests of the code that gets traffic. @returns the removal of the rest, which nobody has to wait for.
   */
  async prepare(used: ReadonlySet<string>): Promise<{ readonly removal: Promise<void> }> {
    const { directory, madeBy } = this.#options
    await mkdir(directory, { recursive: true })
    const marker = join(directory, MADE_BY)
    const isOurs = madeBy !== undefined && (await readFile(marker, 'utf8').catch(() => '')) === madeBy
    const removals: Promise<void>[] = []
    for (const name of await readdir(directory)) {
      if (isOurs && (name === MADE_BY || used.has(name))) continue
      removals.push(this.#remove(name))
    }
    const removal = Promise.all(removals).then(() => {})
    // Heard by the caller, who gets it only later.
    removal.catch(() => {})
    // Without the marker, the next start only unpacks everything anew.
    if (!isOurs && madeBy !== undefined) await writeFile(marker, madeBy).catch(() => {})
    return { removal }
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

  /** No function uses it any more. It is gone at once; resolves when its space is free, too. */
  async forget(digest: string): Promise<void> {
    this.#ready.delete(digest)
    this.#compiled.delete(digest)
    await this.#remove(digest)
  }

  /** Whether the caller should make the compiled form of this code. Says so once, and never where there is one. */
  claimCompileCache(digest: string): boolean {
    const directory = this.#ready.get(digest)
    if (directory === undefined || this.#compiled.has(digest)) return false
    this.#compiled.add(digest)
    return !existsSync(join(directory, COMPILE_CACHE_DIRECTORY))
  }

  /** @param files By relative path; none marks code of which nothing could be compiled. Nothing happens when the code was forgotten. */
  async addCompileCache(digest: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
    const temporary = await mkdtemp(join(this.#options.directory, '.compiled-'))
    try {
      for (const [path, content] of files) {
        const file = join(temporary, path)
        await mkdir(dirname(file), { recursive: true })
        await writeFile(file, content)
      }
      const directory = this.#ready.get(digest)
      if (directory !== undefined) await rename(temporary, join(directory, COMPILE_CACHE_DIRECTORY))
    } finally {
      await rm(temporary, { recursive: true, force: true })
    }
  }

  async #unpack(digest: string): Promise<string> {
    const directory = join(this.#options.directory, digest)
    // Asked without waiting, and again after the unpacking: it can be forgotten in between (K4).
    while (!existsSync(directory)) await this.#options.unpack(digest, directory)
    this.#ready.set(digest, directory)
    return directory
  }

  /** Out of the way at once, so that nobody meets half of it. */
  #remove(name: string): Promise<void> {
    const { directory } = this.#options
    const aside = join(directory, `.gone-${process.pid}-${++this.#sequence}-${Date.now()}`)
    try {
      renameSync(join(directory, name), aside)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return Promise.resolve()
      return Promise.reject(thrown)
    }
    return rm(aside, { recursive: true, force: true })
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
