/**
 * The faaslet hosts of one worker: which process runs whose faaslets.
 *
 * A host runs the faaslets of one tenant: two tenants never share one, whatever the engine's own walls are worth. A
 * revision that asks for a second place gets it in another process, because one process computes on one core at a time.
 * Generic hosts are started ahead, as stem cells are (stem-cells.ts), with the engine compiled and no code.
 *
 * Source: the design, section 4; Faasm's runtime instances, one per host and tenant group (Shillaker and Pietzuch, 2020).
 *
 * Invariants:
 *   F1. A host has one tenant and one kind of network for its whole life.
 *   F2. No host has two places of one revision.
 *   F3. A host whose places are all parked or gone is ended after {@link FaasletHostsOptions.idleMs}; after `close` none lives.
 */
import type { Clock, Timer } from '#base/clock.ts'
import type { HostEvent } from '#contract/frames.ts'
import { PlatformError } from '#contract/errors.ts'
import { Attachment } from './attachment.ts'
import type { HostProcess } from './host-process.ts'
import { Place } from './place.ts'

export interface FaasletHostsOptions {
  readonly clock: Clock
  /** A generic host started ahead, if there is one. */
  readonly takeStem: () => HostProcess | undefined
  /** Starts one; resolves after its hello. @throws START_FAILED, ISOLATION_MISSING, RUNTIME_MISSING. */
  readonly startHost: (network: 'none' | 'host') => Promise<HostProcess>
  /** How long a host without places stays, ms: its next function then starts in a millisecond instead of some forty. */
  readonly idleMs: number
  readonly onEvent: (host: HostProcess, event: HostEvent) => void
}

export interface PlaceOptions {
  readonly id: string
  readonly tenant: string
  /** The revision, in words: for F2 and for messages. */
  readonly serves: string
  readonly network: 'none' | 'host'
  /** Whether what it was initialised with stays true for the next one. */
  readonly canPark: boolean
}

/** Per host: each has a connection, open files and a compiled module. */
const PARKED_MAX = 200

interface TenantHost {
  readonly network: 'none' | 'host'
  readonly ready: Promise<HostProcess>
  /** Undefined while it starts. */
  host: HostProcess | undefined
  /** Revisions that have a place here, or are about to. */
  readonly serves: Set<string>
  /** Attachments without a place, by revision; the one that was parked last comes last. */
  readonly parked: Map<string, Attachment>
  idle: Timer | undefined
  /** When it last did not answer in time. */
  busyAtMs: number
}

/** Connecting takes a host some 0.3 ms, and 20 ms on a busy machine, unless it computes. */
const BUSY_MS = 250
/** For so long a host that did not answer is not asked again. */
const BUSY_KEPT_MS = 2_000

export class FaasletHosts {
  readonly #options: FaasletHostsOptions
  readonly #tenants = new Map<string, TenantHost[]>()
  #closed = false

  constructor(options: FaasletHostsOptions) {
    this.#options = options
  }

  /** A place for a revision, in a host of its tenant where one has room. @throws START_FAILED and what `startHost` throws. */
  async place(place: PlaceOptions): Promise<{ readonly place: Place; readonly isParked: boolean }> {
    if (this.#closed) throw stopping()
    const known = this.#hostFor(place)
    const found = known ?? this.#newHost(place)
    found.idle?.cancel()
    found.serves.add(place.serves)
    try {
      const parked = found.parked.get(place.serves)
      found.parked.delete(place.serves)
      const attachment = parked ?? (await Attachment.make({ id: place.id, host: await found.ready, serves: place.serves, clock: this.#options.clock, ...(known !== undefined && { timeoutMs: BUSY_MS }) }))
      const made = new Place(attachment, () => this.#park(found, place, attachment))
      void made.exited.then(() => this.#left(found, place.serves))
      return { place: made, isParked: parked !== undefined }
    } catch (thrown) {
      this.#left(found, place.serves)
      if (known?.host?.isAlive !== true || this.#closed) throw thrown
      // It computes for another function, perhaps for a minute: this one is not to wait for that.
      known.busyAtMs = this.#options.clock.epochMs()
      return this.place(place)
    }
  }

  /** Whether the next place of this revision is in a process that already runs. */
  hasRoom(place: Omit<PlaceOptions, 'id'>): boolean {
    return this.#hostFor(place)?.host !== undefined
  }

  hosts(): readonly HostProcess[] {
    return [...this.#tenants.values()].flat().flatMap(({ host }) => host ?? [])
  }

  close(): void {
    this.#closed = true
    for (const { idle } of [...this.#tenants.values()].flat()) idle?.cancel()
    for (const host of this.hosts()) host.kill('the platform stops')
  }

  /** One that has it parked before one that only has room. */
  #hostFor({ tenant, network, serves }: Omit<PlaceOptions, 'id'>): TenantHost | undefined {
    const freeSinceMs = this.#options.clock.epochMs() - BUSY_KEPT_MS
    const hosts = this.#tenants.get(tenant)?.filter((one) => one.network === network && one.host?.isAlive !== false && !one.serves.has(serves) && one.busyAtMs <= freeSinceMs)
    return hosts?.find((one) => one.parked.has(serves)) ?? hosts?.[0]
  }

  #newHost({ tenant, network }: PlaceOptions): TenantHost {
    const hosts = this.#tenants.get(tenant) ?? []
    this.#tenants.set(tenant, hosts)
    const forget = (): void => {
      made.idle?.cancel()
      hosts.splice(hosts.indexOf(made), 1)
      if (hosts.length === 0 && this.#tenants.get(tenant) === hosts) this.#tenants.delete(tenant)
    }
    const start = async (): Promise<HostProcess> => {
      const host = (network === 'none' ? this.#options.takeStem() : undefined) ?? (await this.#options.startHost(network))
      if (this.#closed) {
        host.kill('the platform stops')
        throw stopping()
      }
      host.tenant = tenant
      host.onEvent = (event) => this.#options.onEvent(host, event)
      made.host = host
      void host.sandbox.exited.then(forget)
      return host
    }
    const made: TenantHost = { network, ready: Promise.resolve().then(start), host: undefined, serves: new Set(), parked: new Map(), idle: undefined, busyAtMs: -Infinity }
    made.ready.catch(forget)
    hosts.push(made)
    return made
  }

  #park({ parked }: TenantHost, { serves, canPark }: PlaceOptions, attachment: Attachment): boolean {
    if (this.#closed || !canPark || !attachment.host.isAlive || attachment.channel.destroyed) return false
    parked.set(serves, attachment)
    void attachment.exited.then(() => parked.get(serves) === attachment && parked.delete(serves))
    if (parked.size > PARKED_MAX) {
      const [oldest] = parked
      parked.delete(oldest![0])
      void oldest![1].destroy('others of its tenant were used since')
    }
    return true
  }

  #left(one: TenantHost, revision: string): void {
    one.serves.delete(revision)
    if (this.#closed || one.serves.size > 0) return
    one.idle?.cancel()
    one.idle = this.#options.clock.after(this.#options.idleMs, () => {
      if (one.serves.size === 0) one.host?.kill('it has had no function for a while')
    })
  }
}

function stopping(): PlatformError {
  return new PlatformError('STOPPING', 'The platform is stopping; send the request again later.')
}
