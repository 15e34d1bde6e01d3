/**
 * Starts instances of faaslet kinds: a place in a host of the tenant (faaslet-hosts.ts), with the revision's snapshot beside
 * its code (snapshot-keeper.ts).
 *
 * To the activator such an instance is like any other. What differs is that it holds no state between invocations: the host
 * makes a faaslet for each, so that an idle instance costs a few kilobytes, and starting one where the tenant has a host
 * costs a connection and the mapping of a snapshot.
 */
import type { Clock } from '#base/clock.ts'
import type { LoopSpin } from '#base/loop-spin.ts'
import { PlatformError } from '#contract/errors.ts'
import type { FaasletInit } from '#contract/frames.ts'
import { FRAMES_VERSION } from '#contract/frames.ts'
import { isFaaslet } from '#contract/function-config.ts'
import type { Revision } from '#contract/function-config.ts'
import { Instance } from '../instance.ts'
import type { ObjectTransfers } from '../object-transfers.ts'
import type { Runtime } from '../runtimes.ts'
import type { SandboxLimits, SandboxProvider } from '../sandbox/sandbox.ts'
import { StemCells } from '../stem-cells.ts'
import type { WorkerConfig } from '../config.ts'
import { FaasletHosts } from './faaslet-hosts.ts'
import type { PlaceOptions } from './faaslet-hosts.ts'
import { diedBy, HostProcess } from './host-process.ts'
import { nameOf, SnapshotKeeper } from './snapshot-keeper.ts'
import type { SnapshotStore } from '../snapshots/snapshot-store.ts'

export interface FaasletWorkerOptions {
  readonly sandboxes: SandboxProvider
  readonly runtime: () => Promise<Runtime>
  /** Absent: hosts boot. */
  readonly store?: SnapshotStore
  readonly clock: Clock
  readonly config: WorkerConfig
  readonly objects: ObjectTransfers
  readonly nextId: () => string
  readonly warn: (message: string, error: unknown) => void
}

/** Threads of the engine and the pager; foreign code cannot start any. */
const PIDS_MAX = 64

export class FaasletWorker {
  readonly #options: FaasletWorkerOptions
  readonly #hosts: FaasletHosts
  readonly #snapshots: SnapshotKeeper | undefined
  /** Which program the hosts run: a snapshot made by another means nothing to it. */
  #engine = ''
  #stems: StemCells<HostProcess> | undefined
  #state: 'open' | 'closed' = 'open'

  constructor(options: FaasletWorkerOptions) {
    this.#options = options
    const { clock, store, config, warn } = options
    this.#snapshots = store === undefined ? undefined : new SnapshotKeeper({ store, clock, engine: () => this.#engine, warn })
    this.#hosts = new FaasletHosts({
      clock,
      takeStem: () => this.#stems?.take(),
      startHost: (network) => this.#startHost(network),
      idleMs: config.faasletHostIdleMs,
      onEvent: (host, event) => this.#snapshots?.told(host, event),
    })
  }

  /** Begins to keep generic hosts. */
  warmUp(): void {
    const { clock, config, warn } = this.#options
    if (config.faasletHosts === 0) return
    this.#stems = new StemCells<HostProcess>({
      size: config.faasletHosts,
      refillDelayMs: config.stemCellRefillMs,
      clock,
      start: () => this.#startHost('none'),
      failed: (error) => this.#state === 'open' && warn('no faaslet host could be started ahead', error),
    })
  }

  settled(): Promise<void> {
    return this.#stems?.settled() ?? Promise.resolve()
  }

  /** Starts that cost a connection and no process: a host with room, or a generic one. */
  readyCount(revision: Revision): number {
    const generic = revision.config.network === 'none' ? (this.#stems?.readyCount ?? 0) : 0
    return generic + (this.#hosts.hasRoom(placeOf(revision)) ? 1 : 0)
  }

  stems(): readonly HostProcess[] {
    return this.#stems?.cells() ?? []
  }

  hosts(): readonly HostProcess[] {
    return this.#hosts.hosts()
  }

  /** An instance whose host waits for its function. @throws START_FAILED, ISOLATION_MISSING, RUNTIME_MISSING. */
  async place(revision: Revision, spin: LoopSpin): Promise<{ readonly instance: Instance; readonly isInitialised: boolean; readonly faaslet: () => FaasletInit }> {
    const { kind, reuse, network, initTimeoutMs, snapshotAfter, secrets } = revision.config
    if (!isFaaslet(kind)) throw new Error(`a function of kind ${kind} is no faaslet`)
    const { place, isParked } = await this.#hosts.place({ id: this.#options.nextId(), ...placeOf(revision) })
    const { attachment } = place
    const instance = new Instance({ sandbox: place, clock: this.#options.clock, objects: this.#options.objects, spin, handover: attachment.handover })
    const { computing } = attachment.host
    const most = (): number => (instance.proxy.load.inFlight > 0 ? revision.config.timeoutMs : 0)
    computing.add(most)
    void place.exited.then(() => {
      computing.delete(most)
      attachment.handover = instance.proxy.handover()
    })
    return {
      instance,
      isInitialised: isParked,
      faaslet: () => {
        const snapshot = this.#snapshots?.use(revision, attachment)
        return { kind, reuse, network, initTimeoutMs, ...(this.#snapshots !== undefined && snapshotAfter > 0 && secrets.length === 0 && { snapshotAfter }), ...(snapshot !== undefined && { snapshot }) }
      },
    }
  }

  snapshotLost(name: string): void {
    this.#snapshots?.lost(name)
  }

  close(): void {
    this.#state = 'closed'
    this.#snapshots?.close()
    this.#stems?.close()
    this.#hosts.close()
  }

  /** Resolves when no snapshot is being taken in. */
  settledCaptures(): Promise<void> {
    return this.#snapshots?.settled() ?? Promise.resolve()
  }

  async #startHost(network: 'none' | 'host'): Promise<HostProcess> {
    const { sandboxes, config, clock, nextId } = this.#options
    const runtime = await this.#options.runtime()
    this.#engine = runtime.mounts.at(-1)!.from
    // One thread computes; the others wait for a disk.
    const limits: SandboxLimits = { memoryMb: config.faasletHostMemoryMb, cpu: 2, pidsMax: PIDS_MAX }
    const sandbox = await sandboxes.start({ id: nextId(), ...runtime, limits, network, tmpBytesMax: 1024 * 1024, paging: true })
    const host = new HostProcess(sandbox)
    const late = clock.after(config.helloTimeoutMs, () => host.hello.reject(new PlatformError('START_FAILED', `The faaslet host did not start within ${config.helloTimeoutMs} ms.`)))
    try {
      const hello = await host.hello.promise
      if (hello.protocol !== FRAMES_VERSION) throw new PlatformError('START_FAILED', `The faaslet host speaks frames version ${hello.protocol}, the platform ${FRAMES_VERSION}; install one release.`)
      void sandbox.exited.then((exit) => {
        const how = diedBy(exit)
        // With code 0 it was asked to stop.
        if (how !== undefined && !(exit.cause === 'exited' && exit.code === 0) && this.#state === 'open') this.#options.warn(`a faaslet host of ${host.tenant ?? 'nobody yet'} ${how}`, host.printed)
      })
      return host
    } catch (thrown) {
      await sandbox.destroy('it did not start')
      throw new PlatformError('START_FAILED', `The faaslet host did not start: ${(thrown as Error).message}`, { cause: thrown })
    } finally {
      late.cancel()
    }
  }
}

/** With secrets, which may change, an instance is initialised anew each time. */
function placeOf(revision: Revision): Omit<PlaceOptions, 'id'> {
  const { namespace, config, code, createdAtMs } = revision
  // A function that is deleted and made anew begins with revision 1 again.
  return { tenant: namespace, serves: `${nameOf(revision)} ${createdAtMs} ${code}`, network: config.network, canPark: config.secrets.length === 0 }
}
