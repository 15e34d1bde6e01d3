/**
 * The consumer's side of transfers between workers: pulls objects of peers over few connections that many streams share.
 *
 *   pull ─▶ credit from the stock ─▶ a connection: the idlest, or a new one ─▶ request ─▶ answer ─▶ stream
 *
 * Invariants:
 *   T1. Everything taken for a pull that fails is given back: its credit, its request, its lease.
 *   T2. At most `connectionsPerPeer` connections to a peer take new requests.
 */
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { PeerOptions, Peers, RemoteLease, RemotePull, RemotePullOptions } from '../peers.ts'
import type { Credentials } from './certificates.ts'
import type { RemoteConfig } from './config.ts'
import { PeerConnection } from './peer-connection.ts'
import type { PeerAddress } from './peer-connection.ts'
import { ReceiveBuffers } from './receive-buffers.ts'
import type { Grant } from './receive-buffers.ts'

/** Where workers are. */
export interface PeerDirectory {
  /** @returns Nothing when there is no such worker any more. */
  find(worker: string): PeerAddress | undefined
}

/** A connection, and what the client needs to know to choose among them. */
interface Slot {
  readonly connection: PeerConnection
  readonly address: PeerAddress
  readonly bornUs: number
  /** Pulls that were given this connection and have not asked yet. */
  waiting: number
  idle: { cancel(): void } | undefined
}

export class TransferClient implements Peers {
  readonly #config: RemoteConfig
  readonly #clock: Clock
  readonly #credentials: Credentials
  readonly #directory: PeerDirectory
  readonly #buffers: ReceiveBuffers
  readonly #slots = new Map<string, Slot[]>()
  #isClosed = false

  constructor(options: { readonly config: RemoteConfig; readonly clock: Clock; readonly credentials: Credentials; readonly directory: PeerDirectory }) {
    this.#config = options.config
    this.#clock = options.clock
    this.#credentials = options.credentials
    this.#directory = options.directory
    this.#buffers = new ReceiveBuffers(options.config, options.clock)
  }

  /** Bytes that streams to this worker may fill now. */
  get bufferBytes(): number {
    return this.#buffers.outBytes
  }

  get connections(): number {
    return [...this.#slots.values()].flat().length
  }

  async pull(worker: string, objectId: string, options: Partial<RemotePullOptions> = {}): Promise<RemotePull> {
    const grant = await this.#buffers.take(options.namespace ?? '', options.signal)
    try {
      return await this.#ask(worker, objectId, grant, options.signal)
    } catch (thrown) {
      grant.shrink(0)
      throw thrown
    }
  }

  async lease(worker: string, objectId: string, options: PeerOptions = {}): Promise<RemoteLease> {
    return await this.#ask(worker, objectId, undefined, options.signal)
  }

  /** Everything that is going on ends with STOPPING. */
  close(): void {
    this.#isClosed = true
    this.#buffers.refuseWaiting(stopping())
    for (const slot of [...this.#slots.values()].flat()) slot.connection.close(stopping())
  }

  async #ask(worker: string, objectId: string, grant: Grant | undefined, signal: AbortSignal | undefined): Promise<RemotePull> {
    if (this.#isClosed) throw stopping()
    const address = this.#directory.find(worker)
    if (address === undefined) throw new PlatformError('OBJECT_LOST', `Worker ${worker}, which had the object, is not there any more. Run the invocation that made it again.`)
    const slot = this.#choose(worker, address)
    slot.waiting++
    slot.idle?.cancel()
    try {
      await abortable(slot.connection.ready, signal)
    } finally {
      slot.waiting--
      this.#changed(worker, slot.connection)
    }
    slot.idle?.cancel()
    return await slot.connection.ask(objectId, grant, signal)
  }

  #choose(worker: string, address: PeerAddress): Slot {
    const slots = this.#slots.get(worker) ?? []
    const usable = slots.filter((slot) => slot.address.host === address.host && slot.address.port === address.port && !this.#isWornOut(slot))
    const idlest = usable.reduce<Slot | undefined>((best, slot) => (best === undefined || loadOf(slot) < loadOf(best) ? slot : best), undefined)
    if (idlest !== undefined && (loadOf(idlest) === 0 || usable.length >= this.#config.connectionsPerPeer)) return idlest
    const connection = new PeerConnection({ worker, address, credentials: this.#credentials, changed: (changed) => this.#changed(worker, changed) })
    const slot: Slot = { connection, address, bornUs: this.#clock.monotonicUs(), waiting: 0, idle: undefined }
    this.#slots.set(worker, [...slots, slot])
    const { connectMs } = this.#config
    const deadline = this.#clock.after(connectMs, () => connection.close(new PlatformError('TRANSFER_BROKEN', `connecting took longer than ${connectMs} ms`)))
    connection.ready.then(() => deadline.cancel(), () => deadline.cancel())
    return slot
  }

  #isWornOut(slot: Slot): boolean {
    const { connectionLifeMs, connectionBytesMax } = this.#config
    return slot.connection.receivedBytes > connectionBytesMax || this.#clock.monotonicUs() - slot.bornUs > connectionLifeMs * 1000
  }

  /** A request of a connection has ended, or the connection: those that are not needed any more go. */
  #changed(worker: string, connection: PeerConnection): void {
    const slots = this.#slots.get(worker) ?? []
    const slot = slots.find((one) => one.connection === connection)
    if (slot === undefined) return
    slot.idle?.cancel()
    if (connection.isEnded) {
      const others = slots.filter((one) => one !== slot)
      if (others.length === 0) this.#slots.delete(worker)
      else this.#slots.set(worker, others)
    } else if (loadOf(slot) === 0) {
      slot.idle = this.#clock.after(this.#isWornOut(slot) ? 0 : this.#config.idleMs, () => connection.close(stopping()))
    }
  }
}

function loadOf({ connection, waiting }: Slot): number {
  return connection.requests + waiting
}

function stopping(): PlatformError {
  return new PlatformError('STOPPING', 'This worker is stopping. Try again on another one.')
}

/** The same, or CANCELLED as soon as the signal says so. */
function abortable(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new PlatformError('CANCELLED', 'A transfer was given up while it waited for a connection.'))
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort)
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
