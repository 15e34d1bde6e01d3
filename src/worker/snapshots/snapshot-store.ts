/**
 * The snapshots of one worker, on disk: per revision an image, and from its first recording on a trace and a working set
 * (thesis 5.2.2: record when there is no working set, prefetch when there is). They are a cache: whatever is lost is made anew by
 * the next cold start, so that anything doubtful is removed.
 *
 *   put ─▶ .new-<random>/ ─rename─▶ <revision>.<image id>/ ─drop, replaced, evicted, damaged─▶ .gone-<random>/ ─last lease─▶ removed
 *                                        ▲ addRecording: .new-<random>/ ─rename─▶ recording-<n>/
 *
 * A host process gets the files by link (snapshot-files.ts) and holds a lease for as long as it may map them. Snapshots are kept
 * under a budget of allocated blocks; who has to go is decided in eviction-decision.ts. The pages are compared with their
 * checksums once per start of the worker, some time after the first use and not before it: reading all pages is what a snapshot is
 * there to avoid. One platform uses the directory at a time; the store's lock sees to that.
 *
 * Invariants:
 *   D1. A directory with a snapshot's name is complete and durable; so is each `recording-<n>` in it. What a killed worker left
 *       unfinished is removed by the next `open`.
 *   D2. A snapshot with a lease keeps its files, also when it is not found any more.
 *   D3. What is found takes at most `bytesMax` of the disk, together with what is leased or being written, except while a finished
 *       snapshot takes the place of others. A write that cannot fit fails before anything has gone for it.
 *   D4. A failed put or recording leaves everything as it was.
 *   D5. A damaged snapshot is not found any more from the moment that is known, and `onLost` is told.
 */
import { randomBytes } from 'node:crypto'
import { renameSync } from 'node:fs'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock, Timer } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { SnapshotIdentity } from '#pager/header-codec.ts'
import { readImageHeader, verifyImage, writeImage } from '#pager/image-file.ts'
import type { ImageHeader } from '#pager/image-file.ts'
import { snapshotFileNames } from '#pager/open-snapshot.ts'
import { syncDirectory, translatedIo } from '#pager/snapshot-io.ts'
import { PAGE_BYTES, pagesIn } from '#pager/snapshot.ts'
import { joinedFaults, readTrace, traceOf, writeTrace } from '#pager/trace-file.ts'
import type { Recording } from '#pager/trace-file.ts'
import { contiguity, footprint } from '#pager/working-set-facts.ts'
import { planWorkingSet, readWorkingSetHeader, verifyWorkingSet, workingSetDefaults, writeWorkingSet } from '#pager/working-set-file.ts'
import type { WorkingSetShape } from '#pager/working-set-file.ts'
import type { PageChunk } from '#pager/zero-pages.ts'
import { chooseEvictions } from './eviction-decision.ts'
import { Reservation } from './reservation.ts'
import { diskBytesOfEntry, goneWhileRecorded, infoOf, isGone, newEntry, notFound, SnapshotLease } from './snapshot-entry.ts'
import type { Entry, SnapshotDetails, SnapshotInfo } from './snapshot-entry.ts'
import { diskBytesOf, noteUse, readRecording, readSnapshotDirectory, recordingDirectory, SNAPSHOT_NAME, snapshotName } from './snapshot-files.ts'
import type { RecordingInfo } from './snapshot-files.ts'

export interface SnapshotStoreOptions {
  /** Created when missing; all that is in it and no snapshot is removed. */
  readonly directory: string
  /** Disk budget, in bytes of allocated blocks. */
  readonly bytesMax: number
  readonly clock: Clock
  /** From the first use of a snapshot until its pages are checked, so that the check does not compete with that use for the disk. */
  readonly verifyDelayMs?: number
  /** A snapshot, or only what was recorded of it, was damaged or of another version, and is gone: to be made anew when it is needed. */
  readonly onLost?: (lost: { readonly name: string; readonly revision?: string; readonly part: 'snapshot' | 'recording'; readonly error: PlatformError }) => void
}

export interface NewSnapshot extends SnapshotIdentity {
  /** Of the memory; at most `imageBytesMax`. */
  readonly imageBytes: number
  /** The largest memory that this function may have. */
  readonly imageBytesMax: number
  /** What is restored beside the memory (image-file.ts). */
  readonly state: Uint8Array
  /** Invocations that its instance has answered. Default: 0. */
  readonly answered?: number
  /** Ascending, whole pages; not believed. */
  readonly chunks: AsyncIterable<PageChunk> | Iterable<PageChunk>
}

const VERIFY_DELAY_MS = 2_000
/** How exactly the order of use outlives a restart: one system call per snapshot and this time. */
const NOTE_EVERY_MS = 10 * 60_000
/** Files that are opened at once while the directory is read. */
const OPEN_AT_ONCE = 8

export class SnapshotStore implements AsyncDisposable {
  readonly #options: SnapshotStoreOptions
  /** By revision. */
  readonly #entries = new Map<string, Entry>()
  /** Not found any more, and leased. */
  readonly #leaving = new Set<Entry>()
  /** Revisions whose image is being written. */
  readonly #writing = new Set<string>()
  readonly #timers = new Set<Timer>()
  /** For what is being written. */
  readonly #reserved = { bytes: 0 }
  /** Checks happen one after the other: they are in no hurry. */
  #checks: Promise<void> = Promise.resolve()
  /** Removals and checks that are under way. */
  readonly #pending = new Set<Promise<void>>()
  #state: 'open' | 'closed' = 'open'

  private constructor(options: SnapshotStoreOptions) {
    this.#options = options
  }

  /** Reads what is there, and removes what is unfinished, damaged, of another version, or over the budget. @throws STORE_FULL, STORE_FAILED. */
  static async open(options: SnapshotStoreOptions): Promise<SnapshotStore> {
    const store = new SnapshotStore(options)
    await translatedIo(options.directory, async () => {
      await mkdir(options.directory, { recursive: true, mode: 0o700 })
      const names = await readdir(options.directory)
      const take = async (): Promise<void> => {
        for (let name = names.pop(); name !== undefined; name = names.pop()) await store.#load(name)
      }
      await Promise.all(Array.from({ length: OPEN_AT_ONCE }, take))
      await store.#makeRoom(0)
    })
    return store
  }

  /** Whether somebody should take a snapshot of this revision: there is none of this module after so many invocations, and nobody is about to give one. */
  wants({ revision, moduleDigest }: SnapshotIdentity, answered = 0): boolean {
    const image = this.#entries.get(revision)?.image
    return !this.#writing.has(revision) && (image?.moduleDigest !== moduleDigest || image.answered < answered)
  }

  /** The revision's snapshot, for use; undefined when there is none of this module. Does not wait for the disk. */
  acquire({ revision, moduleDigest }: SnapshotIdentity): SnapshotLease | undefined {
    const entry = this.#entries.get(revision)
    if (entry === undefined || entry.image.moduleDigest !== moduleDigest) return undefined
    this.#use(entry)
    return new SnapshotLease(entry, () => this.#release(entry))
  }

  /**
   * Keeps a snapshot of a revision, in place of the one it had.
   * @throws PROTOCOL_BROKEN when the chunks or sizes break the rules; STORE_FULL when the budget or the disk has no room; CONFLICT while
   * another one of this revision is being written; STORE_FAILED; what `chunks` throws.
   */
  async put(snapshot: NewSnapshot): Promise<SnapshotInfo> {
    const { revision, moduleDigest, imageBytes, imageBytesMax, state, answered = 0, chunks } = snapshot
    if (imageBytes > imageBytesMax) throw new PlatformError('PROTOCOL_BROKEN', `A snapshot of ${imageBytes} bytes of memory came for ${revision}, which may have ${imageBytesMax}.`)
    if (this.#writing.has(revision)) throw new PlatformError('CONFLICT', `Another snapshot of ${revision} is being written. Use that one when it is there.`)
    this.#writing.add(revision)
    const reservation = this.#newReservation()
    const takenAtMs = this.#options.clock.epochMs()
    const description = { revision, moduleDigest, imageId: randomBytes(16).toString('hex'), imageBytes, state, takenAtMs, answered }
    try {
      return await this.#build(async (temporary) => {
        const path = join(temporary, snapshotFileNames.image)
        const header = await writeImage(path, description, reservation.counting(chunks))
        await noteUse(path, takenAtMs)
        const diskBytes = await diskBytesOf([path])
        reservation.settle(diskBytes)
        await this.#makeRoom(0)
        const directory = join(this.#options.directory, snapshotName(description))
        await rename(temporary, directory)
        await syncDirectory(this.#options.directory)
        const entry: Entry = { ...newEntry(header, directory, diskBytes), verified: 'yes', lastUsedMs: takenAtMs }
        const replaced = this.#entries.get(revision)
        if (replaced !== undefined) void this.#retire(replaced)
        this.#entries.set(revision, entry)
        // From here on it is counted as a snapshot.
        reservation.settle(0)
        return infoOf(entry)
      })
    } finally {
      reservation.settle(0)
      this.#writing.delete(revision)
    }
  }

  /**
   * Keeps what a recorded invocation touched, in place of what was recorded before, or in addition to it.
   * @param lease Of the very image that it was restored from. @param recording Not believed (traceOf).
   * @throws PROTOCOL_BROKEN; SNAPSHOT_MISMATCH when the snapshot is gone by now; SNAPSHOT_DAMAGED, STORE_FULL, STORE_FAILED.
   */
  async addRecording(lease: SnapshotLease, recording: Recording, shape: WorkingSetShape = workingSetDefaults, how: 'in-place' | 'in-addition' = 'in-place'): Promise<RecordingInfo> {
    const { entry } = lease
    const reservation = this.#newReservation()
    this.#use(entry)
    try {
      const path = join(entry.directory, snapshotFileNames.image)
      const header = await readImageHeader(path, entry.image)
      const trace = traceOf(header, how === 'in-place' || entry.recording === undefined ? recording : await this.#joined(entry, header, recording))
      reservation.add(pagesIn(planWorkingSet(header, trace, shape).runs) * PAGE_BYTES)
      return await this.#build(async (temporary) => {
        await writeTrace(join(temporary, snapshotFileNames.trace), trace)
        await writeWorkingSet(join(temporary, snapshotFileNames.workingSet), { path: join(entry.directory, snapshotFileNames.image), header }, trace, shape)
        const info = await readRecording(temporary, header)
        reservation.settle(info.diskBytes)
        if (isGone(entry)) throw goneWhileRecorded(entry)
        await this.#makeRoom(0)
        if (isGone(entry)) throw goneWhileRecorded(entry)
        const old = entry.recording
        const number = (old?.number ?? 0) + 1
        renameSync(temporary, recordingDirectory(entry.directory, number))
        entry.recording = { number, info }
        reservation.settle(0)
        if (old !== undefined) void this.#remove(recordingDirectory(entry.directory, old.number))
        await syncDirectory(entry.directory)
        return info
      })
    } finally {
      reservation.settle(0)
      this.#release(entry)
    }
  }

  /** A start wants first what it wanted first when it was recorded. */
  async #joined(entry: Entry, header: ImageHeader, recording: Recording): Promise<Recording> {
    const { faults, ordered } = await readTrace(join(recordingDirectory(entry.directory, entry.recording!.number), snapshotFileNames.trace), header)
    return { ...recording, ordered, faults: joinedFaults(faults, recording.faults) }
  }

  /** All that can be found, the most recently used first. */
  list(): SnapshotInfo[] {
    return [...this.#entries.values()].sort((a, b) => b.lastUsedMs - a.lastUsedMs).map(infoOf)
  }

  /** @throws ENTITY_NOT_FOUND; SNAPSHOT_DAMAGED, STORE_FAILED. */
  async show(revision: string): Promise<SnapshotDetails> {
    const entry = this.#entries.get(revision)
    if (entry === undefined) throw notFound(revision)
    const info = infoOf(entry)
    if (entry.recording === undefined) return info
    const header = await readImageHeader(join(entry.directory, snapshotFileNames.image))
    const trace = await readTrace(join(recordingDirectory(entry.directory, entry.recording.number), snapshotFileNames.trace), header)
    return { ...info, contiguity: contiguity(trace.runs), footprint: footprint(header.imageBytes, header.pagesStored, trace.runs) }
  }

  /** Forgets a snapshot; its space is free when nobody uses it any more. @throws ENTITY_NOT_FOUND. */
  drop(revision: string): void {
    const entry = this.#entries.get(revision)
    if (entry === undefined) throw notFound(revision)
    void this.#retire(entry)
  }

  /** What a host process says that it cannot use. Like damage that was found here: gone, and told to `onLost`. */
  discard(revision: string, error: PlatformError): void {
    const entry = this.#entries.get(revision)
    if (entry !== undefined) this.#lose(entry, 'snapshot', error)
  }

  /** Allocated on the disk, with what is leased and what is being written. */
  get diskBytes(): number {
    let bytes = this.#reserved.bytes
    for (const entry of this.#entries.values()) bytes += diskBytesOfEntry(entry)
    for (const entry of this.#leaving) bytes += diskBytesOfEntry(entry)
    return bytes
  }

  /** Resolves when no removal or check is under way. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#state = 'closed'
    for (const timer of this.#timers) timer.cancel()
    await this.settled()
  }

  async #load(name: string): Promise<void> {
    const directory = join(this.#options.directory, name)
    if (!SNAPSHOT_NAME.test(name)) return await rm(directory, { recursive: true, force: true })
    try {
      const { image, imageDiskBytes, lastUsedMs, recording, recordingProblem } = await readSnapshotDirectory(directory, name)
      const entry: Entry = { ...newEntry(image, directory, imageDiskBytes), lastUsedMs, notedMs: lastUsedMs, recording }
      if (recordingProblem !== undefined) this.#options.onLost?.({ name, revision: image.revision, part: 'recording', error: PlatformError.from(recordingProblem) })
      // Two images of a revision: the worker was killed between giving the new one its name and taking the old one's.
      const other = this.#entries.get(image.revision)
      if (other !== undefined && other.image.takenAtMs > image.takenAtMs) return await this.#retire(entry)
      if (other !== undefined) void this.#retire(other)
      this.#entries.set(image.revision, entry)
    } catch (thrown) {
      await rm(directory, { recursive: true, force: true })
      this.#options.onLost?.({ name, part: 'snapshot', error: PlatformError.from(thrown) })
    }
  }

  /** Runs `write` with a new directory, which is removed when it fails (D4). */
  async #build<Result>(write: (temporary: string) => Promise<Result>): Promise<Result> {
    const temporary = this.#aside('new')
    return await translatedIo(this.#options.directory, async () => {
      await mkdir(temporary, { mode: 0o700 })
      try {
        return await write(temporary)
      } catch (thrown) {
        await rm(temporary, { recursive: true, force: true })
        throw thrown
      }
    })
  }

  /** Room for something that is being written. Nothing goes for it yet (D3). */
  #newReservation(): Reservation {
    return new Reservation(this.#reserved, (bytes) => this.#evictable(bytes))
  }

  async #makeRoom(neededBytes: number): Promise<void> {
    await Promise.all(this.#evictable(neededBytes).map((entry) => this.#retire(entry)))
  }

  #evictable(neededBytes: number): Entry[] {
    const candidates = Array.from(this.#entries.values(), (entry) => ({ entry, bytes: diskBytesOfEntry(entry), lastUsedMs: entry.lastUsedMs, inUse: entry.leases > 0 }))
    const { bytesMax, directory } = this.#options
    const usedBytes = this.diskBytes
    const evicted = chooseEvictions(candidates, { usedBytes, neededBytes, bytesMax })
    if (evicted === undefined) {
      const state = `may take ${bytesMax} bytes; ${usedBytes} are taken, ${neededBytes} more are needed, and what is in use cannot go`
      throw new PlatformError('STORE_FULL', `The snapshots in ${directory} ${state}. Raise the budget, or drop snapshots.`, { details: { bytesMax, usedBytes, neededBytes } })
    }
    return evicted.map((one) => one.entry)
  }

  #use(entry: Entry): void {
    const { clock, verifyDelayMs } = this.#options
    entry.leases++
    entry.lastUsedMs = clock.epochMs()
    if (entry.lastUsedMs - entry.notedMs >= NOTE_EVERY_MS) {
      entry.notedMs = entry.lastUsedMs
      void this.#track(noteUse(join(entry.directory, snapshotFileNames.image), entry.lastUsedMs).catch(() => {}))
    }
    if (entry.verified !== 'no') return
    entry.verified = 'soon'
    const timer = clock.after(verifyDelayMs ?? VERIFY_DELAY_MS, () => {
      this.#timers.delete(timer)
      this.#checks = this.#checks.then(() => this.#verify(entry))
      void this.#track(this.#checks)
    })
    this.#timers.add(timer)
  }

  #release(entry: Entry): void {
    entry.leases--
    if (entry.leases === 0 && this.#leaving.delete(entry)) void this.#remove(entry.directory)
  }

  /** Not found from here on; its files go when nobody uses them (D2). The name goes at once, so that no restart finds it again. */
  #retire(entry: Entry): Promise<void> {
    if (entry.state === 'gone') return Promise.resolve()
    entry.state = 'gone'
    if (this.#entries.get(entry.image.revision) === entry) this.#entries.delete(entry.image.revision)
    const aside = this.#aside('gone')
    try {
      renameSync(entry.directory, aside)
      entry.directory = aside
    } catch {
      // Then it goes under its own name, below; or somebody has removed it by hand.
    }
    if (entry.leases === 0) return this.#remove(entry.directory)
    this.#leaving.add(entry)
    return Promise.resolve()
  }

  #lose(entry: Entry, part: 'snapshot' | 'recording', error: PlatformError): void {
    const { revision } = entry.image
    if (part === 'snapshot') {
      void this.#retire(entry)
    } else if (entry.recording !== undefined) {
      void this.#remove(recordingDirectory(entry.directory, entry.recording.number))
      entry.recording = undefined
    }
    this.#options.onLost?.({ name: snapshotName(entry.image), revision, part, error })
  }

  async #verify(entry: Entry): Promise<void> {
    if (this.#state === 'closed' || isGone(entry)) return
    const path = join(entry.directory, snapshotFileNames.image)
    const image = await problemOf(async () => await verifyImage(path, await readImageHeader(path, entry.image)))
    // Meanwhile it may have been dropped, and its files with it.
    if (isGone(entry)) return
    if (image !== undefined) return this.#lose(entry, 'snapshot', image)
    entry.verified = 'yes'
    const { recording } = entry
    if (recording === undefined) return
    const directory = recordingDirectory(entry.directory, recording.number)
    const problem = await problemOf(async () => {
      await readTrace(join(directory, snapshotFileNames.trace), entry.image)
      const set = join(directory, snapshotFileNames.workingSet)
      await verifyWorkingSet(set, await readWorkingSetHeader(set, entry.image))
    })
    if (problem !== undefined && !isGone(entry) && entry.recording === recording) this.#lose(entry, 'recording', problem)
  }

  #remove(path: string): Promise<void> {
    // What cannot be removed now is removed by the next open, or told by it.
    return this.#track(rm(path, { recursive: true, force: true }).catch(() => {}))
  }

  async #track(work: Promise<void>): Promise<void> {
    this.#pending.add(work)
    try {
      await work
    } finally {
      this.#pending.delete(work)
    }
  }

  #aside(why: 'new' | 'gone'): string {
    return join(this.#options.directory, `.${why}-${randomBytes(8).toString('hex')}`)
  }
}

async function problemOf(act: () => Promise<void>): Promise<PlatformError | undefined> {
  try {
    await act()
    return undefined
  } catch (thrown) {
    return PlatformError.from(thrown)
  }
}
