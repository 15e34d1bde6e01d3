/**
 * Brings snapshots from the faaslet hosts that take them to the store, and from the store to the hosts that restore from them.
 *
 *   no snapshot: host boots ──booted──▶ captured ──▶ store ──▶ `use` told to every host that serves the revision
 *   snapshotAfter: host answers so many invocations with one faaslet ──ripe──▶ captured ──▶ store, in its place ──▶ `use`; then no recording, as before
 *   no recording: host records one invocation ──recorded──▶ captured ──▶ store ──▶ `use`, with a working set from now on
 *   the first prefetched starts missed pages ──recorded (adds)──▶ captured ──▶ store, in addition ──▶ `use` (pager/learning.ts)
 *
 * When to record again is the host's decision (pager/rerecord-decision.ts): it knows every restore. None of this is on the way
 * of an invocation: until there is a snapshot, a host copies from the memory that it booted.
 *
 * Source: thesis 5.2.1 and 5.2.2 (record on the first invocation, keep trace and working set per function).
 *
 * Invariants:
 *   K1. A place has a lease on the snapshot that it was given, from `use` until it is gone or has been given another.
 *   K2. A capture that fails changes nothing for the function: it is told once, and the next boot is another chance.
 *   K3. No snapshot is kept of a function with secrets: they are encrypted at rest, and the memory of its instances is not.
 *   K4. A snapshot that was taken after invocations is of use only to a function that asks for that (`identityOf`).
 */
import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Socket } from 'node:net'
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { CaptureKind, HostEvent, SnapshotUse } from '#contract/frames.ts'
import type { Revision } from '#contract/function-config.ts'
import { decodeCapture, decodeRecording } from '#pager/capture-stream.ts'
import type { SnapshotIdentity } from '#pager/header-codec.ts'
import { PAGE_BYTES } from '#pager/snapshot.ts'
import { workingSetDefaults } from '#pager/working-set-file.ts'
import type { SnapshotLease } from '../snapshots/snapshot-entry.ts'
import type { SnapshotStore } from '../snapshots/snapshot-store.ts'
import type { Attachment } from './attachment.ts'
import type { HostProcess } from './host-process.ts'
import { acceptOne } from './one-connection.ts'

export interface SnapshotKeeperOptions {
  readonly store: SnapshotStore
  readonly clock: Clock
  /** Changes whenever a memory of another engine or runtime would mean something else. */
  readonly engine: () => string
  readonly warn: (message: string, error: unknown) => void
}

interface Place {
  readonly revision: Revision
  readonly attachment: Attachment
  lease: SnapshotLease | undefined
  /** Whether its ripe faaslet was captured, or never will be: it is told of once more when the image changes. */
  isTaken: boolean
}

/** Below a place's code directory. */
const DIRECTORY = '.snapshot'
const CONNECT_MS_MAX = 5_000

export class SnapshotKeeper {
  readonly #options: SnapshotKeeperOptions
  readonly #places = new Map<string, Place>()
  /** Revisions of which an image is on its way: whoever has another one is told of this one, and says again that it has. */
  readonly #taking = new Set<string>()
  /** Captures under way. */
  readonly #pending = new Set<Promise<void>>()
  #sequence = 0
  #state: 'open' | 'closed' = 'open'

  constructor(options: SnapshotKeeperOptions) {
    this.#options = options
  }

  /** Links the revision's snapshot into the place, if there is one. To be called once the code lies there. */
  use(revision: Revision, attachment: Attachment): SnapshotUse | undefined {
    const place: Place = { revision, attachment, lease: undefined, isTaken: false }
    // Its secrets would lie on the disk, in the clear, as part of the memory.
    if (revision.config.secrets.length > 0) return undefined
    this.#places.set(attachment.id, place)
    void attachment.exited.then(() => {
      this.#places.delete(attachment.id)
      place.lease?.[Symbol.dispose]()
    })
    return this.#give(place)
  }

  /** A host says that something can be captured, or is damaged. */
  told(host: HostProcess, event: HostEvent): void {
    const place = this.#places.get(event.id)
    // Only about a place of its own (host-process.ts H2).
    if (place === undefined || place.attachment.host !== host || this.#state === 'closed') return
    switch (event.event) {
      case 'booted':
        if (event.capturable && this.#wants(place, 0)) this.#begin(place, 'snapshot', () => this.#captureImage(place, 'image'))
        return
      case 'ripe':
        return this.#ripe(place, event.why)
      case 'recorded':
        if (place.lease?.isCurrent === true && place.lease.info.imageId === event.imageId) this.#recorded(place, place.lease, event.adds === true)
        return
      case 'damaged':
        // It has let go of it already, and goes on without; others that have it are ended (`lost`).
        place.lease?.[Symbol.dispose]()
        place.lease = undefined
        this.#options.store.discard(nameOf(place.revision), new PlatformError('SNAPSHOT_DAMAGED', `A faaslet host could not use the snapshot of ${nameOf(place.revision)}: ${String(event.why).slice(0, 500)}`))
    }
  }

  /** The store has found it damaged: whatever was made from it ends, and the next place boots. */
  lost(name: string): void {
    for (const { revision, attachment, lease } of this.#places.values()) {
      if (lease !== undefined && nameOf(revision) === name) void attachment.destroy('its snapshot is damaged')
    }
  }

  identityOf(revision: Revision): SnapshotIdentity {
    const { code, config } = revision
    const { kind, entry, handler, memoryMb, environment, secrets, snapshotAfter } = config
    const parts = [code, this.#options.engine(), kind, entry, handler ?? null, memoryMb, environment, secrets, snapshotAfter]
    return { revision: nameOf(revision), moduleDigest: createHash('sha256').update(JSON.stringify(parts)).digest('hex') }
  }

  /** Resolves when no capture is under way. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending)
  }

  /** Takes no more. */
  close(): void {
    this.#state = 'closed'
  }

  #give(place: Place): SnapshotUse | undefined {
    const { revision, attachment } = place
    const lease = this.#options.store.acquire(this.identityOf(revision))
    if (lease === undefined) return undefined
    const directory = join(attachment.codeDirectory, DIRECTORY)
    try {
      mkdirSync(directory, { recursive: true })
      lease.link(directory)
    } catch (thrown) {
      lease[Symbol.dispose]()
      this.#options.warn(`the snapshot of ${nameOf(revision)} could not be used: its instances start more slowly`, thrown)
      return undefined
    }
    place.lease?.[Symbol.dispose]()
    place.lease = lease
    return { directory: `${attachment.id}/${DIRECTORY}`, mode: revision.config.restore, record: 'auto' }
  }

  /** To every host that serves the revision. */
  #tell(revision: Revision): void {
    const name = nameOf(revision)
    for (const [id, place] of this.#places) {
      if (nameOf(place.revision) !== name) continue
      const snapshot = this.#give(place)
      if (snapshot !== undefined) place.attachment.host.command({ do: 'use', id, snapshot })
    }
  }

  #begin(place: Place, what: string, capture: () => Promise<void>): void {
    const running = capture().catch((error: unknown) => {
      // A host that ended meanwhile takes the reason along; and a second host may have been quicker.
      const isExpected = this.#state === 'closed' || !this.#places.has(place.attachment.id) || (error instanceof PlatformError && error.code === 'CONFLICT')
      if (!isExpected) this.#options.warn(`the ${what} of ${nameOf(place.revision)} could not be kept: its instances start more slowly`, error)
    })
    this.#pending.add(running)
    void running.then(() => this.#pending.delete(running))
  }

  #wants({ revision }: Place, answered: number): boolean {
    return !this.#taking.has(nameOf(revision)) && this.#options.store.wants(this.identityOf(revision), answered)
  }

  #ripe(place: Place, why: string | undefined): void {
    const { revision } = place
    const { snapshotAfter } = revision.config
    if (place.isTaken || snapshotAfter === 0) return
    if (why !== undefined) {
      place.isTaken = true
      return this.#options.warn(`the snapshot of ${nameOf(revision)} could not be taken anew after ${snapshotAfter} invocations: its instances start as before`, new Error(String(why).slice(0, 500)))
    }
    if (!this.#wants(place, snapshotAfter)) return
    place.isTaken = true
    this.#begin(place, `snapshot after ${snapshotAfter} invocations`, () => this.#captureImage(place, 'ripe'))
  }

  #recorded(place: Place, lease: SnapshotLease, adds: boolean): void {
    const capture = async (): Promise<void> => {
      try {
        await this.#captureTrace(place, lease, adds)
      } catch (error) {
        // Otherwise its image has made way for another one, and with it go the host's trace and the files.
        if (lease.isCurrent) throw error
      }
    }
    this.#begin(place, 'recording', capture)
  }

  async #captureImage(place: Place, what: 'image' | 'ripe'): Promise<void> {
    const { revision } = place
    const answered = what === 'ripe' ? revision.config.snapshotAfter : 0
    const imageBytesMax = revision.config.memoryMb * 1024 * 1024
    this.#taking.add(nameOf(revision))
    try {
      using stream = await this.#connect(place, what)
      const { imageBytes, state, chunks } = await decodeCapture(stream.socket, { imageBytesMax })
      await this.#options.store.put({ ...this.identityOf(revision), imageBytes, imageBytesMax, state, answered, chunks })
    } finally {
      this.#taking.delete(nameOf(revision))
    }
    this.#tell(revision)
  }

  async #captureTrace(place: Place, lease: SnapshotLease, adds: boolean): Promise<void> {
    using stream = await this.#connect(place, 'trace', lease.info.imageId)
    const recording = await decodeRecording(stream.socket, { pagesMax: lease.info.imageBytes / PAGE_BYTES })
    const encoding = place.revision.config.restore === 'zstd' ? 'zstd' : workingSetDefaults.encoding
    await this.#options.store.addRecording(lease, { ...recording, recordedAtMs: this.#options.clock.epochMs() }, { ...workingSetDefaults, encoding }, adds ? 'in-addition' : 'in-place')
    this.#tell(place.revision)
  }

  async #connect({ attachment }: Place, what: CaptureKind, imageId?: string): Promise<Disposable & { readonly socket: Socket }> {
    const { id, host } = attachment
    const socket = await acceptOne(host.sandbox.codeDirectory, `${id}.${++this.#sequence}.sock`, {
      clock: this.#options.clock,
      timeoutMs: CONNECT_MS_MAX,
      gone: attachment.exited,
      listening: (name) => host.command({ do: 'capture', id, socket: name, what, ...(imageId !== undefined && { imageId }) }),
    })
    socket.on('error', () => {})
    return { socket, [Symbol.dispose]: () => void socket.destroy() }
  }
}

export function nameOf({ namespace, function: name, number }: Revision): string {
  return `${namespace}/${name}@${number}`
}
