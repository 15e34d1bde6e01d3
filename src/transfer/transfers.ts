/**
 * Bytes from a producer to a consumer: put, get, and what happens when an instance ends. The one interface that the worker uses (thesis 6.3.2).
 *
 * Beyond the thesis: an object outlives the instance that put it, for as long as the worker lives, because nothing in it is the instance's; what does
 * not fit into memory goes to files before a producer has to wait; a lost object can be made again.
 *
 * Invariants:
 *   X1. A put gives a reference when all of the object is here, and nothing of a put that failed stays.
 *   X2. A consumer gets all of an object or an error: never an empty one, never a part that looks whole.
 *   X3. When every object has ended and every retrieval is settled, nothing is kept and nothing is charged.
 */
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { ObjectTerms } from '#contract/frames.ts'
import { HeldBody } from '#contract/held-body.ts'
import { unlessAborted } from './cancelled.ts'
import type { TransferConfig } from './config.ts'
import { KeptBody, pack, PACKED_BYTES_MAX } from './kept-body.ts'
import type { Places } from './kept-body.ts'
import { Ledger } from './ledger.ts'
import type { Account, Charge, Spillable } from './ledger.ts'
import { LostProducers, RERUNS_MAX } from './lost-producers.ts'
import type { Rerun } from './lost-producers.ts'
import { ObjectTable } from './object-table.ts'
import type { Lease, ObjectServer, PeerOptions, Peers } from './peers.ts'
import { Pulls } from './pulls.ts'
import { receive } from './receive.ts'
import { openReference, sealReference } from './reference.ts'
import type { ReferenceContents, ReferenceKeys } from './reference.ts'
import { retrievalOf } from './retrieval.ts'
import type { HeldRetrieval, Retrieval, StreamRetrieval } from './retrieval.ts'
import { Room } from './room.ts'
import { copyBody } from './spill.ts'

/** Whose memory it is: the invocation that makes a body, and the instance it runs in. */
export interface Producer {
  readonly namespace: string
  readonly function: string
  readonly revision: number
  readonly instance: string
  readonly invocation: string
  /** Memory limit of the instance. */
  readonly memoryMb: number
}

export interface PutTerms extends ObjectTerms {
  /** Which put of its invocation it is, from 0: when the invocation is run again, the object of the same number takes its place. */
  readonly ordinal: number
}

export interface GetOptions {
  /** As a stream that may begin before all of it is here. */
  readonly asStream?: boolean
  readonly signal?: AbortSignal
}

export interface TransfersOptions {
  /** This worker's name, as peers know it. At most 64 characters. */
  readonly worker: string
  readonly config: TransferConfig
  readonly keys: ReferenceKeys
  readonly clock: Clock
  readonly randomBytes: (length: number) => Buffer
  /** Where bodies may be: {@link memoryBodies} and {@link fileBodies} of spill.ts. */
  readonly places: Places
  /** Absent on a worker that is alone. */
  readonly peers?: Peers
  readonly rerun?: Rerun
  /** A quota of one namespace, instead of the configured one. */
  readonly namespaceBytesMax?: (namespace: string) => number | undefined
}

export interface TransferUsage {
  readonly objects: number
  /** Retrievals under way. */
  readonly leases: number
  readonly memoryBytes: number
  readonly fileBytes: number
  readonly descriptors: number
  /** Producers that wait for room. */
  readonly waiting: number
  /** Objects of other workers on their way here, or held here by consumers. */
  readonly flights: number
  readonly namespaces: readonly { readonly namespace: string; readonly memoryBytes: number; readonly fileBytes: number }[]
}

const MB = 1024 ** 2

export class Transfers implements ObjectServer {
  readonly #options: TransfersOptions
  readonly #ledger: Ledger
  readonly #room: Room
  readonly #table: ObjectTable
  readonly #pulls: Pulls | undefined
  readonly #lost: LostProducers | undefined
  #closed: PlatformError | undefined

  constructor(options: TransfersOptions) {
    this.#options = options
    const { config, places, clock, peers, rerun, namespaceBytesMax } = options
    this.#ledger = new Ledger({
      memoryBytesMax: config.memoryBytesMax,
      fileBytesMax: places.files === undefined ? 0 : config.fileBytesMax,
      bodiesMax: config.objectsMax,
      descriptorsMax: config.descriptorsMax,
      namespaceBytesMax: (namespace) => namespaceBytesMax?.(namespace) ?? config.namespaceBytesMax,
    })
    this.#room = new Room({ ledger: this.#ledger, clock, waitMs: config.roomWaitMs, spill: (bodies) => this.#spill(bodies) })
    this.#table = new ObjectTable({ clock, life: options.randomBytes(8).toString('hex') })
    if (peers !== undefined) {
      this.#pulls = new Pulls({
        peers,
        receive: (namespace, { stream, bytes }, signal) => {
          const account = this.#ledger.namespaceAccount(namespace)
          return receive({ source: stream, bytes, account, room: this.#room, places, memoryBytesMax: config.streamMemoryBytesMax, signal })
        },
      })
    }
    if (rerun !== undefined) this.#lost = new LostProducers(rerun)
  }

  /**
   * Keeps a body as an object. Takes over this holder of it, also when it throws.
   * @param body Sealed memory.
   * @returns The reference.
   * @throws INPUT_INVALID (terms), OBJECT_QUOTA_EXCEEDED, STORE_FULL, STORE_FAILED, STOPPING, CANCELLED.
   */
  async put(producer: Producer, body: HeldBody, terms: PutTerms, options: PeerOptions = {}): Promise<string> {
    let kept: KeptBody
    try {
      this.#check(terms)
      kept = await this.#keep(this.#account(producer), body.retain(), options.signal)
    } finally {
      body.release()
    }
    return this.#add(producer, kept, terms)
  }

  /** As `put`, of few bytes for which there is room at once: they are copied. @returns Undefined where it takes `putStream`, or that says why not. @throws INPUT_INVALID, STOPPING. */
  putNow(producer: Producer, bytes: Uint8Array, terms: PutTerms): string | undefined {
    this.#check(terms)
    if (bytes.length > PACKED_BYTES_MAX) return undefined
    const charge = this.#room.enterNow({ account: this.#account(producer), bytes: bytes.length, own: undefined, descriptors: 0, preferred: 'memory' })
    if (charge === undefined) return undefined
    // Of no pool: one object must not keep the others' memory.
    const content = Buffer.allocUnsafeSlow(bytes.length)
    content.set(bytes)
    return this.#add(producer, new KeptBody(content, charge, this.#room, this.#options.places), terms)
  }

  /** As `put`, of what a source gives. One that breaks leaves nothing. @throws Besides, what the source throws. */
  async putStream(producer: Producer, source: AsyncIterable<Uint8Array>, terms: PutTerms, options: PeerOptions = {}): Promise<string> {
    this.#check(terms)
    const { places, config } = this.#options
    const kept = await receive({ source, account: this.#account(producer), room: this.#room, places, memoryBytesMax: config.streamMemoryBytesMax, ...options })
    return this.#add(producer, kept, terms)
  }

  /**
   * One retrieval of an object, of this worker or another.
   * @throws REFERENCE_INVALID, OBJECT_EXPIRED, OBJECT_USED_UP, OBJECT_LOST (details name function and invocation), TRANSFER_BROKEN, CANCELLED, STOPPING;
   *   for an object of another worker also what receiving it throws: OBJECT_QUOTA_EXCEEDED, STORE_FULL, STORE_FAILED.
   */
  get(namespace: string, reference: string, options: GetOptions & { readonly asStream: true }): Promise<StreamRetrieval>
  get(namespace: string, reference: string, options?: GetOptions & { readonly asStream?: false }): Promise<HeldRetrieval>
  get(namespace: string, reference: string, options?: GetOptions): Promise<Retrieval>
  async get(namespace: string, reference: string, options: GetOptions = {}): Promise<Retrieval> {
    for (let attempt = 0; ; attempt++) {
      if (this.#closed !== undefined) throw this.#closed
      const contents = openReference(this.#options.keys, namespace, reference)
      try {
        return await this.#retrieve(namespace, contents, options)
      } catch (error) {
        if (!(error instanceof PlatformError) || error.code !== 'OBJECT_LOST') throw error
        const successor = attempt < RERUNS_MAX ? await this.#successor(namespace, contents, options.signal) : undefined
        if (successor === undefined) throw lost(contents, error)
        reference = successor
      }
    }
  }

  /**
   * As `get` with `done`, of few bytes that are here. They are to be read, and not to be kept.
   * @returns Undefined where it takes `get`, or that says why not. @throws REFERENCE_INVALID, STOPPING.
   */
  getNow(namespace: string, reference: string): Buffer | undefined {
    if (this.#closed !== undefined) throw this.#closed
    const { worker, object } = openReference(this.#options.keys, namespace, reference)
    return worker === this.#options.worker ? this.#table.takeNow(object) : undefined
  }

  async serve(objectId: string, options: PeerOptions = {}): Promise<Lease> {
    if (this.#closed !== undefined) throw this.#closed
    return this.#table.acquire(objectId, options.signal)
  }

  /**
   * A body that travels by value, accounted for until its last holder lets it go. Its memory has been made already: it is refused only when its namespace
   * has too much, and otherwise makes objects move or wait.
   * @throws OBJECT_QUOTA_EXCEEDED; fd is then still the caller's.
   */
  hold(producer: Producer, fd: number, bytes: number): HeldBody {
    const account = this.#account(producer)
    const { namespace } = account
    const usedBytes = namespace.memoryBytes + namespace.fileBytes
    const max = this.#ledger.limits.namespaceBytesMax(namespace.name)
    if (usedBytes + bytes > max) {
      throw new PlatformError('OBJECT_QUOTA_EXCEEDED', `Namespace ${namespace.name} keeps ${usedBytes} bytes of bodies on this worker; ${bytes} more are over its bound of ${max}. Send less at a time, or have an admin raise the quota.`, {
        details: { limit: 'namespace', used: usedBytes, bytes, max },
      })
    }
    const charge = this.#ledger.charge(account, 'memory', bytes, 1)
    return new HeldBody(fd, bytes, () => this.#room.release(charge))
  }

  /** Its objects stay, on the account of its namespace. Nothing more comes from it. */
  instanceEnded(instance: string): void {
    this.#ledger.instanceEnded(instance)
    this.#room.changed()
  }

  usage(): TransferUsage {
    const { memoryBytes, fileBytes, descriptors } = this.#ledger
    return {
      objects: this.#table.size,
      leases: this.#table.leases,
      memoryBytes,
      fileBytes,
      descriptors,
      waiting: this.#room.waiting,
      flights: this.#pulls?.flights ?? 0,
      namespaces: [...this.#ledger.namespaces()].map(({ name, memoryBytes, fileBytes }) => ({ namespace: name, memoryBytes, fileBytes })),
    }
  }

  /** All objects go; retrievals under way may end. */
  close(): void {
    if (this.#closed !== undefined) return
    this.#closed = new PlatformError('STOPPING', 'This worker stops, and its objects go with it. Run again what put them.')
    this.#room.close(this.#closed)
    this.#table.close(this.#closed)
    this.#pulls?.close(this.#closed)
  }

  #account({ namespace, instance, memoryMb }: Producer): Account {
    return this.#ledger.instanceAccount(namespace, instance, memoryMb * MB * this.#options.config.instanceShare)
  }

  async #keep(account: Account, body: HeldBody, signal: AbortSignal | undefined): Promise<KeptBody> {
    const { bytes } = body
    let charge: Charge | undefined
    try {
      if (bytes <= PACKED_BYTES_MAX) {
        charge = await this.#room.enter({ account, bytes, own: undefined, descriptors: 0, preferred: 'memory' }, signal)
        return new KeptBody(pack(body.retain()), charge, this.#room, this.#options.places)
      }
      for (let attempt = 1; ; attempt++) {
        charge = await this.#room.enter({ account, bytes, own: undefined, descriptors: 1, preferred: 'memory' }, signal)
        if (charge.place === 'memory') return new KeptBody(body.retain(), charge, this.#room, this.#options.places)
        try {
          const copy = (await copyBody(body, this.#options.places.files!)).finish()
          return new KeptBody(copy, charge, this.#room, this.#options.places)
        } catch (error) {
          if (!(error instanceof PlatformError) || error.code !== 'STORE_FULL' || attempt > 1) throw error
          // It is in memory still, and waits for room there.
          this.#room.diskIsFull()
          this.#room.refund(charge)
          charge = undefined
        }
      }
    } catch (error) {
      if (charge !== undefined) this.#room.refund(charge)
      throw error
    } finally {
      body.release()
    }
  }

  #add(producer: Producer, body: KeptBody, terms: PutTerms): string {
    if (this.#closed !== undefined) {
      body.drop()
      throw this.#closed
    }
    const { config, worker, keys, clock } = this.#options
    const object = this.#table.add(body, terms.n ?? config.retrievals, clock.epochMs() + (terms.t ?? config.ttlMs))
    return sealReference(keys, producer.namespace, { worker, object, invocation: producer.invocation, function: producer.function, ordinal: terms.ordinal })
  }

  async #retrieve(namespace: string, { worker, object }: ReferenceContents, { asStream = false, signal }: GetOptions): Promise<Retrieval> {
    if (worker === this.#options.worker) return retrievalOf(await this.#table.acquire(object, signal), asStream)
    if (this.#pulls === undefined) throw new PlatformError('OBJECT_LOST', `Worker ${worker}, which had this object, is not known here. Run again what put it.`)
    return this.#pulls.get(namespace, worker, object, { asStream, signal })
  }

  /** A producer that fails when it is run again leaves its object lost. */
  async #successor(namespace: string, contents: ReferenceContents, signal: AbortSignal | undefined): Promise<string | undefined> {
    if (this.#lost === undefined) return undefined
    try {
      return await unlessAborted(this.#lost.successor(namespace, contents), signal)
    } catch (error) {
      if (signal?.aborted === true) throw error
      throw lost(contents, error)
    }
  }

  /** One after the other, and all of them are tried. */
  async #spill(bodies: readonly Spillable[]): Promise<void> {
    const moves = bodies.map((body) => ({ body, charge: this.#ledger.charge(body.charge.account, 'file', body.charge.bytes, 1) }))
    let failure: unknown
    for (const { body, charge } of moves) {
      // A full disk will not take the next one either.
      if (failure !== undefined) this.#room.refund(charge)
      else await body.spill(charge).catch((error: unknown) => (failure = error))
    }
    if (failure !== undefined) throw failure
  }

  #check({ n, t }: PutTerms): void {
    if (this.#closed !== undefined) throw this.#closed
    const { retrievalsMax, ttlMsMax } = this.#options.config
    if (n !== undefined && !(Number.isInteger(n) && n >= 1 && n <= retrievalsMax)) throw invalid('retrievals', n, retrievalsMax)
    if (t !== undefined && !(Number.isInteger(t) && t >= 1 && t <= ttlMsMax)) throw invalid('ttlMs', t, ttlMsMax)
  }
}

function invalid(key: string, value: unknown, max: number): PlatformError {
  return new PlatformError('INPUT_INVALID', `${key} is ${JSON.stringify(value)}; it must be a whole number from 1 to ${max}.`, { details: { key, value, max } })
}

function lost({ function: name, invocation }: ReferenceContents, cause: unknown): PlatformError {
  return new PlatformError('OBJECT_LOST', `An object of function ${name} is gone with the worker that had it. Run invocation ${invocation} of ${name} again, which put it.`, { cause, details: { function: name, invocation } })
}
