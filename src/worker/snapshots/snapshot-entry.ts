/**
 * What the store knows of one snapshot while the worker runs, what it tells about it, and the lease that keeps its files.
 *
 * Tables of pages are not kept here: a thousand snapshots would be tens of megabytes of them, and the worker needs none. Whoever
 * does reads the header again.
 */
import { PlatformError } from '#contract/errors.ts'
import type { FileIdentity } from '#pager/header-codec.ts'
import type { ImageHeader } from '#pager/image-file.ts'
import { PAGE_BYTES, pagesIn } from '#pager/snapshot.ts'
import type { Contiguity, Footprint } from '#pager/working-set-facts.ts'
import { linkSnapshot } from './snapshot-files.ts'
import type { LinkedFiles, RecordingInfo } from './snapshot-files.ts'

export interface SnapshotInfo extends FileIdentity {
  /** Of the memory. */
  readonly imageBytes: number
  /** Of its pages that are not zero. */
  readonly storedBytes: number
  /** Allocated for all of its files. */
  readonly diskBytes: number
  /** Epoch ms; also `lastUsedMs`. */
  readonly takenAtMs: number
  /** Invocations that its instance had answered (config snapshotAfter). */
  readonly answered: number
  readonly lastUsedMs: number
  /** How many hold it now. */
  readonly leases: number
  /** Whether its pages were written or compared with their checksums since the worker started. */
  readonly verified: boolean
  readonly recording?: RecordingInfo
}

export interface SnapshotDetails extends SnapshotInfo {
  /** Of the recorded invocation (thesis, Figures 4.3 and 4.4). */
  readonly contiguity?: Contiguity
  readonly footprint?: Footprint
}

export interface Entry {
  readonly image: FileIdentity & { readonly imageBytes: number; readonly takenAtMs: number; readonly answered: number; readonly storedBytes: number; readonly diskBytes: number }
  directory: string
  state: 'found' | 'gone'
  verified: 'no' | 'soon' | 'yes'
  leases: number
  lastUsedMs: number
  /** When lastUsedMs was last written to the disk. */
  notedMs: number
  recording: { readonly number: number; readonly info: RecordingInfo } | undefined
}

export function newEntry({ revision, moduleDigest, imageId, imageBytes, takenAtMs, answered, pagesStored }: ImageHeader, directory: string, diskBytes: number): Entry {
  const image = { revision, moduleDigest, imageId, imageBytes, takenAtMs, answered, storedBytes: pagesIn(pagesStored) * PAGE_BYTES, diskBytes }
  return { image, directory, state: 'found', verified: 'no', leases: 0, lastUsedMs: takenAtMs, notedMs: takenAtMs, recording: undefined }
}

export function infoOf(entry: Entry): SnapshotInfo {
  const { image, recording, leases, lastUsedMs, verified } = entry
  return { ...image, diskBytes: diskBytesOfEntry(entry), lastUsedMs, leases, verified: verified === 'yes', ...(recording !== undefined && { recording: recording.info }) }
}

/** Asked again after every wait: it may have been dropped meanwhile. */
export function isGone(entry: Entry): boolean {
  return entry.state === 'gone'
}

export function diskBytesOfEntry({ image, recording }: Entry): number {
  return image.diskBytes + (recording?.info.diskBytes ?? 0)
}

/** The right to use a snapshot's files until it is disposed. Disposing twice is harmless. */
export class SnapshotLease implements Disposable {
  /** The store's own. */
  readonly entry: Entry
  readonly #release: () => void
  #state: 'held' | 'released' = 'held'

  constructor(entry: Entry, release: () => void) {
    this.entry = entry
    this.#release = release
  }

  get info(): SnapshotInfo {
    return infoOf(this.entry)
  }

  /** Whether the store still finds it: false after it was replaced, dropped, or found damaged. */
  get isCurrent(): boolean {
    return this.entry.state === 'found'
  }

  /**
   * Links (or copies) the image, and the newest working set when there is one, into a directory, which the host process must see
   * read-only. May be called again, for a newer working set. @throws STORE_FULL, STORE_FAILED.
   */
  link(directory: string): LinkedFiles {
    return linkSnapshot(this.entry.directory, this.entry.recording?.number, directory)
  }

  [Symbol.dispose](): void {
    if (this.#state === 'released') return
    this.#state = 'released'
    this.#release()
  }
}

export function notFound(revision: string): PlatformError {
  return new PlatformError('ENTITY_NOT_FOUND', `There is no snapshot of ${revision}. List the snapshots, or invoke the function once.`, { details: { revision } })
}

export function goneWhileRecorded({ image: { revision, imageId } }: Entry): PlatformError {
  const message = `The image ${imageId} of ${revision} is gone since an invocation was recorded from it. Record again, from the new one.`
  return new PlatformError('SNAPSHOT_MISMATCH', message, { details: { revision, imageId } })
}
