/**
 * The native addon behind one typed interface; nothing else imports it. native/README.md says what it is made of.
 *
 * It is loaded once per thread. Where it cannot be, or where the kernel lacks something, {@link nativeSupport} says what and why,
 * and the portable ways (restore-copy.ts) take over.
 */
import { closeSync, constants, existsSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import { nativeFile } from './native-file.ts'
import type { PageRuns } from './snapshot.ts'

/** Which restore the addon does; the numbers are those of native/restore.h. */
export const nativeModes = { lazy: 0, 'parallel-faults': 1, 'working-set': 2, reap: 3, direct: 4, concurrent: 5, demand: 6, 'lazy-random': 7, pipelined: 8, 'write-protect': 9 } as const
export type NativeMode = keyof typeof nativeModes

/**
 * The addon's functions, as they are. What they are given is checked (a TypeError for a mistake); what the system refuses is an Error
 * with `errno`, 0 for a file that ended too early. Answers in numbers stand in `figures` until the next call.
 */
export interface NativeAddon {
  /** A handle of the range that this memory is: until `drop` the memory is kept alive. A memory is one range at a time. */
  adopt(memory: { readonly buffer: ArrayBuffer }): number
  drop(range: number): void
  /** All arguments are checked; descriptors are duplicated. hasWorkingSet 2: only its tables, for `restoreFrom`. */
  openImage(fd: number, directFd: number, offset: number, bytes: number, stored: PageRuns, hasWorkingSet: 0 | 1 | 2, setFd: number, setDirectFd: number, setOffset: number, setRuns: PageRuns, setZeroRuns: PageRuns): number
  closeImage(image: number): void
  /** Drops the image's files from the page cache, but for pages that somebody has mapped. */
  dropCache(image: number): void
  /** figures: restoreUs, readUs, installUs, bytesRead, pagesPrefetched, zeroPagesPrefetched. With `done`, on another thread; the range is busy until then. */
  restore(range: number, image: number, mode: number, done?: (error?: Error & { readonly errno: number }) => void): void
  /** Installs pages that are in memory: those of the image's working set, in the order of its runs. figures as of `restore`. */
  restoreFrom(range: number, image: number, pages: Uint8Array): void
  /** The content that it had after its last restore: cheaper than restoring a lazily mapped image again. Zero pages after other modes. */
  reset(range: number): void
  zero(range: number): void
  /** figures: stored pages faulted, zero pages faulted, bytes read, µs, lost, prefetching (1 runs, 2 failed), prefetched, raced, bytes prefetched, µs. */
  faults(range: number, withOrder: 0 | 1): Uint32Array | undefined
  /** Pages that are in memory (or swapped out), ascending. */
  present(range: number): Uint32Array
  guard<Result>(run: () => Result, deadlineMs: number): Result
  stopNow(): void
  share(figures: Float64Array, words: Int32Array): void
  faultSupport(): string | undefined
  /** Why touched pages cannot be recorded by write-protection; undefined when they can. Tried once, at the first question. */
  notingSupport(): string | undefined
  cachedBytes(fd: number, offset: number, bytes: number): number
  readWhole(fd: number, offset: number, bytes: number): number
  trim(): void
  threadFaults(): void
  crc32c(bytes: Uint8Array, crc: number, byTable: 0 | 1): number
  /** A part of another folder, with a typed interface of its own: transfer/shared-memory.ts. */
  readonly sharedMemory: object
}

export interface Native extends NativeAddon {
  readonly figures: Float64Array
  /** Memory that both sides change: see native/watchdog.h for the first, `Ended` for the second. */
  readonly words: Int32Array
  /** Why there is no userfaultfd. */
  readonly faultsMissing: string | undefined
}

type Loaded = { readonly native: Native } | { readonly native: undefined; readonly reason: string }
let loaded: Loaded | undefined

/** @param path Where the addon is, if not where scripts/build-native.ts puts it: for processes that do not see the checkout. The first call decides. */
export function loadNative(path?: string): Native | undefined {
  loaded ??= tryLoad(path)
  return loaded.native
}

/** @throws NATIVE_MISSING. */
export function requireNative(path?: string): Native {
  const native = loadNative(path)
  if (native === undefined) throw new PlatformError('NATIVE_MISSING', `The native addon is not there: ${missingReason()}`)
  return native
}

function missingReason(): string {
  return loaded !== undefined && 'reason' in loaded ? loaded.reason : 'it has not been loaded'
}

function tryLoad(path: string | undefined): Loaded {
  try {
    const file = path ?? nativeFile()
    if (!existsSync(file)) return { native: undefined, reason: 'it has not been built. Build it: node scripts/build-native.ts' }
    const addon = createRequire(import.meta.url)(file) as NativeAddon
    const figures = new Float64Array(16)
    const words = new Int32Array(new SharedArrayBuffer(16))
    addon.share(figures, words)
    const faultsMissing = addon.faultSupport()
    return { native: Object.assign(addon, { figures, words, faultsMissing }) }
  } catch (thrown) {
    return { native: undefined, reason: `it cannot be loaded: ${(thrown as Error).message}` }
  }
}

/** Something that a machine has, or why it has not. */
export type Found = { readonly ok: true; readonly found: string } | { readonly ok: false; readonly reason: string }

export interface NativeSupport {
  readonly addon: Found
  readonly userfaultfd: Found
  /** Recording by asynchronous write-protection (record.ts). */
  readonly writeProtect: Found
  readonly pagemap: Found
  /** Reading around the page cache in the directory that was asked for. */
  readonly directIo: Found
}

/** What this machine has. @param directory Where snapshots will lie; a file is made there for a moment. */
export function nativeSupport(directory: string): NativeSupport {
  const native = loadNative()
  const without: Found = { ok: false, reason: 'it needs the addon' }
  return {
    addon: native === undefined ? { ok: false, reason: missingReason() } : { ok: true, found: 'loaded' },
    userfaultfd: native === undefined ? without : native.faultsMissing !== undefined ? { ok: false, reason: native.faultsMissing } : { ok: true, found: 'for faults of the program itself' },
    writeProtect: native === undefined ? without : writeProtect(native),
    pagemap: native === undefined ? without : pagemap(native),
    directIo: directIo(directory),
  }
}

function writeProtect(native: Native): Found {
  const reason = native.notingSupport()
  return reason === undefined ? { ok: true, found: 'asynchronous, for every mapping' } : { ok: false, reason }
}

function pagemap(native: Native): Found {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 })
  const range = native.adopt(memory)
  try {
    native.zero(range)
    new Uint8Array(memory.buffer)[5 * 4096] = 1
    const present = native.present(range)
    return present.length === 1 && present[0] === 5 ? { ok: true, found: 'tells present pages' } : { ok: false, reason: `/proc/self/pagemap says ${present.length} pages are present where one is` }
  } catch (thrown) {
    return { ok: false, reason: (thrown as Error).message }
  } finally {
    native.drop(range)
  }
}

function directIo(directory: string): Found {
  const path = join(directory, `.direct-io-${process.pid}`)
  try {
    writeFileSync(path, new Uint8Array(8192))
    const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECT)
    try {
      // The memory of WebAssembly is aligned as O_DIRECT wants it.
      const aligned = new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1 }).buffer, 0, 4096)
      return readSync(fd, aligned, 0, 4096, 4096) === 4096 ? { ok: true, found: 'O_DIRECT reads' } : { ok: false, reason: 'an O_DIRECT read came short' }
    } finally {
      closeSync(fd)
    }
  } catch (thrown) {
    return { ok: false, reason: `O_DIRECT in ${directory}: ${(thrown as Error).message}` }
  } finally {
    rmSync(path, { force: true })
  }
}

/** CRC-32C of `bytes`, continuing `crc` (0 to begin). */
export function crc32c(native: Native, bytes: Uint8Array, crc = 0): number {
  return native.crc32c(bytes, crc, 0)
}

/** Page faults that the kernel has answered for this thread since it began: `major` had to read from a disk. */
export function threadFaults(native: Native): { readonly minor: number; readonly major: number } {
  native.threadFaults()
  return { minor: native.figures[0]!, major: native.figures[1]! }
}
