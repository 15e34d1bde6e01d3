/**
 * Where the memory of a new faaslet comes from: from the one that was booted here, or from the snapshot's files.
 *
 *   booted in this host ──▶ template: its memory is kept and copied, until the worker has stored it as a snapshot
 *   files                ──▶ image: mapped, or prefetched from its working set, recorded when that is due
 *   not to be captured   ──▶ none: every faaslet boots
 *
 * Source: thesis 5.2.1 for the image's life: restored lazily and recorded at first, prefetched afterwards; 5.4 for when to record again.
 */
import { read } from 'node:fs'
import { join } from 'node:path'
import { PlatformError } from '../../src/contract/errors.ts'
import type { SnapshotUse } from '../../src/contract/frames.ts'
import type { RestoreMode, StartFigures } from '../../src/contract/start-figures.ts'
import { openSnapshot, snapshotFileNames } from '../../src/pager/open-snapshot.ts'
import type { OpenSnapshot } from '../../src/pager/open-snapshot.ts'
import { record, recordWays } from '../../src/pager/record.ts'
import type { Recording } from '../../src/pager/record.ts'
import { afterPrefetch, isSettled, learningDefaults, nothingLearned } from '../../src/pager/learning.ts'
import type { Learning } from '../../src/pager/learning.ts'
import { afterRecording, afterRestore, decide, recorded, rerecordDefaults } from '../../src/pager/rerecord-decision.ts'
import type { RerecordState } from '../../src/pager/rerecord-decision.ts'
import { isCached, openImage, PREFETCH_MODE } from '../../src/pager/restore.ts'
import type { PagedImage, Restored } from '../../src/pager/restore.ts'
import { PAGE_BYTES, pagesIn } from '../../src/pager/snapshot.ts'
import { unpackWorkingSet } from '../../src/pager/working-set-file.ts'
import { decodeState, fitsModule } from './wasm/state-codec.ts'
import type { SnapshotState } from './wasm/state-codec.ts'
import type { GuestModule } from './guest.ts'
import type { HeldMemory } from './memories.ts'

/** A prefetch of more than this is read on another thread: 1 ms of the disk's time. */
const AT_ONCE_BYTES = 2 * 1024 * 1024

/** The start that found the page cache empty has the disk for itself first. */
const WARM_DELAY_MS = 20
const WARM_BYTES = 1024 * 1024

/** How a memory was filled, and what is to be told of it. */
export interface Filled {
  readonly restored: Restored
  readonly recording: Recording | undefined
  /** Whether the recording becomes the working set, or only counts what of it is unused. */
  readonly isSample: boolean
}

/** The pages that a recorded invocation touched, or those that prefetched ones have missed, and of which image. */
export interface Trace {
  readonly kind: 'recorded' | 'missed'
  readonly faults: Uint32Array
  readonly ordered: boolean
  readonly imageId: string
}

export interface FaasletSource extends Disposable {
  /** What memories are restored from, where there is such a thing. */
  readonly image: PagedImage | undefined
  readonly state: SnapshotState
  /** Of 64 KB, of a memory to fill. */
  readonly pages: number
  /** Fills it. A promise where that reads much: the memory is not to be touched until it is settled. @throws what restores throw. */
  fill(held: HeldMemory): Filled | Promise<Filled>
  /** The invocation on it has ended. @returns what to say of it, and pages for the worker when it was recorded. */
  ended(held: HeldMemory, filled: Filled): { readonly figures: Partial<StartFigures>; readonly trace?: Trace }
  /** A sound invocation on a memory that was not recorded is over. @returns pages for the worker to add to the working set, if it is time for that. */
  learn(held: HeldMemory, filled: Filled): Trace | undefined
  /** What was recorded could not be kept, or was no invocation: the next one is recorded. */
  recordAgain(): void
}

/** A booted memory, copied for every faaslet. */
export class TemplateSource implements FaasletSource {
  readonly image = undefined
  readonly state: SnapshotState
  readonly memory: Uint8Array
  readonly pages: number

  constructor(memory: WebAssembly.Memory, state: SnapshotState) {
    this.memory = new Uint8Array(memory.buffer)
    this.pages = memory.buffer.byteLength / 65_536
    this.state = state
  }

  fill({ memory }: HeldMemory): Filled {
    const startMs = performance.now()
    new Uint8Array(memory.buffer).set(this.memory)
    const us = (performance.now() - startMs) * 1000
    return { restored: { mode: 'copy', restoreUs: us, readUs: 0, installUs: us, bytesRead: 0, pagesPrefetched: 0, zeroPagesPrefetched: 0 }, recording: undefined, isSample: false }
  }

  ended(): { readonly figures: Partial<StartFigures> } {
    return { figures: {} }
  }

  learn(): undefined {}

  recordAgain(): void {}

  [Symbol.dispose](): void {}
}

export class ImageSource implements FaasletSource {
  readonly state: SnapshotState
  readonly pages: number
  readonly #files: OpenSnapshot
  readonly image: PagedImage
  readonly #use: SnapshotUse
  readonly #workingSetPath: string
  /** Of the working set. Shares are of all of it: an invocation that ends while it comes ends it, which says nothing of what it lacks. */
  readonly #setPages: number
  #rerecord: RerecordState = recorded
  #learning: Learning = nothingLearned
  /** One recording at a time: the next faaslets go on as before until the worker has kept it. */
  #recording: 'due' | 'running' | 'no'
  #cachedUntilMs = 0
  #warming = false
  #closed = false

  /** @throws SNAPSHOT_DAMAGED, SNAPSHOT_MISMATCH, STORE_FAILED. */
  /** @param before What it replaces: a newer working set of the same image goes on with what was learned. */
  constructor(root: string, use: SnapshotUse, module: GuestModule, before?: FaasletSource) {
    this.#use = use
    this.#workingSetPath = join(root, use.directory, snapshotFileNames.workingSet)
    this.#files = openSnapshot(join(root, use.directory))
    try {
      this.state = decodeState(new TextDecoder().decode(this.#files.image.state))
      if (!fitsModule(this.state, module)) throw new PlatformError('SNAPSHOT_MISMATCH', 'The snapshot is of another module; it is rebuilt.')
      this.image = openImage(this.#files, this.#files.workingSetHeader)
    } catch (thrown) {
      this.#files[Symbol.dispose]()
      throw thrown
    }
    this.pages = this.#files.imageBytes / 65_536
    this.#setPages = pagesIn(this.#files.workingSetHeader?.runs ?? new Uint32Array(0))
    if (before instanceof ImageSource && before.#files.image.imageId === this.#files.image.imageId) this.#learning = { ...before.#learning, missed: new Set() }
    this.#recording = use.record === 'no' || this.#files.workingSetHeader !== undefined ? 'no' : 'due'
  }

  /** Invocations that the instance had answered of which it is. */
  get answered(): number {
    return this.#files.image.answered
  }

  fill(held: HeldMemory): Filled | Promise<Filled> {
    const { paged } = held
    const decision = decide(this.#rerecord, rerecordDefaults)
    const way = this.#use.record === 'no' ? undefined : recordWays().find((one) => one === this.#use.record) ?? recordWays()[0]
    const isSample = decision.kind === 'sample'
    const isDue = this.#recording === 'due' || (this.#recording === 'no' && (isSample || decision.kind === 'record'))
    if (isDue && way !== undefined) {
      this.#recording = 'running'
      const recording = record(paged, this.image, way)
      return { restored: recording.restored, recording, isSample }
    }
    const modes = paged.modes(this.image)
    const mode = this.#modeOf(modes, decision.kind === 'lazy')
    const filled = (restored: Restored): Filled => ({ restored, recording: undefined, isSample: false })
    if (mode === 'zstd') return this.#unpack(held).then(filled)
    if (mode === 'lazy' || mode === 'copy' || mode === 'concurrent') return filled(paged.restore(this.image, mode))
    return this.#setPages * PAGE_BYTES <= AT_ONCE_BYTES ? filled(paged.restore(this.image, mode)) : paged.restoreSoon(this.image, mode).then(filled)
  }

  ended({ paged }: HeldMemory, { restored, recording, isSample }: Filled): ReturnType<FaasletSource['ended']> {
    const faults = paged.faults()
    const pagesPrefetched = restored.pagesPrefetched + (faults.prefetch?.pagesPrefetched ?? 0)
    const pagesFaulted = faults.pagesFaulted + faults.zeroPagesFaulted
    const bytesRead = restored.bytesRead + (faults.prefetch?.bytesRead ?? 0) + faults.bytesFaulted
    const readUs = restored.readUs + (faults.prefetch?.readUs ?? 0)
    const figures = { pagesPrefetched, pagesFaulted, bytesRead, ...(readUs > 0 && { readUs: Math.round(readUs) }) }
    if (recording === undefined) {
      if (pagesPrefetched > 0) this.#rerecord = afterRestore(this.#rerecord, { prefetched: this.#setPages, missing: pagesFaulted }, rerecordDefaults)
      return { figures }
    }
    const touched = recording.read()
    const known = this.#files.workingSetHeader
    if (isSample && known !== undefined) {
      this.#recording = 'no'
      const { unused, missing, prefetched: pages } = compare(known.runs, touched.faults)
      this.#rerecord = afterRestore(this.#rerecord, { prefetched: pages, missing, unused }, rerecordDefaults)
      return { figures: { ...figures, pagesRecorded: touched.faults.length, pagesUnused: unused } }
    }
    if (known !== undefined) this.#rerecord = afterRecording(this.#rerecord, rerecordDefaults)
    return { figures: { ...figures, pagesRecorded: touched.faults.length }, trace: { ...touched, kind: 'recorded', imageId: this.#files.image.imageId } }
  }

  learn({ paged }: HeldMemory, { restored }: Filled): Trace | undefined {
    if (this.#recording !== 'no' || isSettled(this.#learning, learningDefaults)) return undefined
    if (restored.pagesPrefetched + (paged.faults().prefetch?.pagesPrefetched ?? 0) === 0) return undefined
    const { state, add } = afterPrefetch(this.#learning, { prefetched: this.#setPages, missing: paged.faultOrder() }, learningDefaults)
    this.#learning = state
    return add === undefined ? undefined : { kind: 'missed', faults: Uint32Array.from(add), ordered: false, imageId: this.#files.image.imageId }
  }

  recordAgain(): void {
    if (this.#recording === 'running') this.#recording = 'due'
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.image[Symbol.dispose]()
    this.#files[Symbol.dispose]()
  }

  #modeOf(modes: readonly RestoreMode[], isGivenUp: boolean): RestoreMode {
    const wanted = this.#use.mode
    if (wanted !== 'auto' && modes.includes(wanted)) return wanted
    if (!modes.includes('lazy')) return 'copy'
    // A function that asks for another mode may find a compressed working set, or the other way round, until it is recorded anew.
    const prefetch = modes.find((mode) => mode === PREFETCH_MODE || mode === 'zstd')
    if (isGivenUp || prefetch === undefined || this.#isCached()) return 'lazy'
    this.#warm()
    return prefetch
  }

  async #unpack({ paged }: HeldMemory): Promise<Restored> {
    const header = this.#files.workingSetHeader!
    const startMs = performance.now()
    const pages = await unpackWorkingSet(this.#workingSetPath, header)
    const readUs = (performance.now() - startMs) * 1000
    const restored = paged.restoreFrom(this.image, pages)
    return { ...restored, restoreUs: restored.restoreUs + readUs, readUs, bytesRead: header.chunkBytes.reduce((sum, bytes) => sum + bytes, 0) }
  }

  /** Reads the image into the page cache, in no hurry: a prefetch goes around it, and the next start would be as cold as this one. */
  #warm(): void {
    if (this.#warming) return
    this.#warming = true
    const { imageFd, imageOffset, pagesStored } = this.#files
    const buffer = Buffer.allocUnsafe(WARM_BYTES)
    const next = (run: number, page: number): void => {
      if (run >= pagesStored.length || this.#closed) return void (this.#warming = false)
      const left = pagesStored[run]! + pagesStored[run + 1]! - page
      if (left <= 0) return next(run + 2, pagesStored[run + 2] ?? 0)
      const bytes = Math.min(WARM_BYTES, left * PAGE_BYTES)
      read(imageFd, buffer, 0, bytes, imageOffset + page * PAGE_BYTES, (error) => (error === null ? next(run, page + bytes / PAGE_BYTES) : void (this.#warming = false)))
    }
    setTimeout(() => next(0, pagesStored[0] ?? 0), WARM_DELAY_MS).unref()
  }

  /** Asked at most every 100 ms: the page cache does not forget an image that is in use. */
  #isCached(): boolean {
    const nowMs = performance.now()
    if (nowMs < this.#cachedUntilMs) return true
    if (!isCached(this.image)) return false
    this.#cachedUntilMs = nowMs + 100
    return true
  }
}

function compare(runs: Uint32Array, touched: Uint32Array): { readonly prefetched: number; readonly unused: number; readonly missing: number } {
  const pages = new Set(touched)
  let prefetched = 0
  let used = 0
  for (let at = 0; at < runs.length; at += 2) {
    for (let page = runs[at]!; page < runs[at]! + runs[at + 1]!; page++) {
      prefetched++
      if (pages.has(page)) used++
    }
  }
  return { prefetched, unused: prefetched - used, missing: pages.size - used }
}
