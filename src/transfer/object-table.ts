/**
 * The objects of one worker: how often each may still be retrieved, and until when.
 *
 * The prototype of the thesis lets an object go at its first retrieval, or never. Here a retrieval is a lease: it counts when the consumer has all of
 * it, and is given back when it breaks. While all that remain are leased, a further consumer waits for how they end.
 *
 *   add ─▶ kept: `left` retrievals, `leased` ≤ left of them under way ── left = 0 ─▶ used up
 *            └──────────────────────────────── its time is over ─────────────────▶ expired       (leases under way go on to their end)
 *
 * Invariants:
 *   T1. As many leases end with `done` as the object was put for, at most, however many consumers there are at a time.
 *   T2. `failed` gives back: the longest waiting consumer gets it.
 *   T3. No lease begins after the object's end of life, whether or not the timer has run by then.
 *   T4. One timer for all objects; a slot that is used again does not answer to its former id.
 */
import type { Clock, Timer } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { HeldBody } from '#contract/held-body.ts'
import { cancelled } from './cancelled.ts'
import { ExpiryHeap } from './expiry-heap.ts'
import type { KeptBody, OpenedBody } from './kept-body.ts'
import { formatObjectId, parseObjectId } from './object-id.ts'
import type { Lease, Place } from './peers.ts'

export interface ObjectTableOptions {
  readonly clock: Clock
  /** 16 hex digits, random: no other life of any worker has the same. */
  readonly life: string
}

/** Closing descriptors takes time; more than so many that expire at once are let go in several turns of the event loop. */
const EXPIRE_AT_ONCE = 1000

class StoredObject {
  readonly slot: number
  readonly use: number
  readonly body: KeptBody
  readonly expiresAtMs: number
  heapIndex = -1
  left: number
  leased = 0
  waiting: Waiting[] | undefined

  constructor(slot: number, use: number, body: KeptBody, left: number, expiresAtMs: number) {
    this.slot = slot
    this.use = use
    this.body = body
    this.left = left
    this.expiresAtMs = expiresAtMs
  }
}

interface Waiting {
  readonly resolve: (lease: Lease) => void
  readonly reject: (error: unknown) => void
  readonly stopListening: () => void
}

export class ObjectTable {
  readonly #clock: Clock
  readonly #life: string
  readonly #slots: (StoredObject | undefined)[] = []
  /** How often each slot has been used. */
  readonly #uses: number[] = []
  readonly #free: number[] = []
  readonly #expiry = new ExpiryHeap<StoredObject>()
  #timer: Timer | undefined
  #timerAtMs = Infinity
  #leases = 0

  constructor(options: ObjectTableOptions) {
    this.#clock = options.clock
    this.#life = options.life
  }

  get size(): number {
    return this.#slots.length - this.#free.length
  }

  /** Under way. */
  get leases(): number {
    return this.#leases
  }

  /** @param body Taken over. @returns The object's id. */
  add(body: KeptBody, retrievals: number, expiresAtMs: number): string {
    const slot = this.#free.pop() ?? this.#slots.length
    const use = (this.#uses[slot] ?? 0) + 1
    this.#uses[slot] = use
    const object = new StoredObject(slot, use, body, retrievals, expiresAtMs)
    this.#slots[slot] = object
    this.#expiry.add(object)
    this.#armTimer()
    return formatObjectId({ life: this.#life, slot, use, expiresAtMs })
  }

  /**
   * One retrieval.
   * @throws OBJECT_EXPIRED, OBJECT_USED_UP, OBJECT_LOST; CANCELLED while it waits.
   */
  acquire(id: string, signal?: AbortSignal): Lease | Promise<Lease> {
    const parsed = parseObjectId(id)
    if (parsed === undefined || parsed.life !== this.#life) throw this.#isOver(parsed?.expiresAtMs) ? expired() : lost()
    const object = this.#slots[parsed.slot]
    if (object === undefined || object.use !== parsed.use) throw this.#isOver(parsed.expiresAtMs) ? expired() : usedUp()
    if (this.#isOver(object.expiresAtMs)) {
      this.#end(object, expired)
      throw expired()
    }
    if (object.leased < object.left) return this.#lease(object)
    if (signal?.aborted === true) throw cancelled(signal)
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        object.waiting = object.waiting?.filter((other) => other !== one)
        reject(cancelled(signal!))
      }
      const one: Waiting = { resolve, reject, stopListening: () => signal?.removeEventListener('abort', onAbort) }
      signal?.addEventListener('abort', onAbort, { once: true })
      ;(object.waiting ??= []).push(one)
    })
  }

  /**
   * A whole retrieval at once, of an object in a buffer: what nearly all small ones need, and nothing of it can break.
   * @returns Undefined where it takes a lease, or `acquire` says why there is none. The bytes are to be read, and not to be kept.
   */
  takeNow(id: string): Buffer | undefined {
    const parsed = parseObjectId(id)
    const object = parsed?.life === this.#life ? this.#slots[parsed.slot] : undefined
    if (object === undefined || object.use !== parsed!.use || object.leased >= object.left || this.#isOver(object.expiresAtMs)) return undefined
    const { packed } = object.body
    if (packed !== undefined && --object.left === 0) this.#end(object, usedUp)
    return packed
  }

  /** Lets go of everything; leases under way go on. */
  close(error: PlatformError): void {
    for (const object of this.#slots) if (object !== undefined) this.#end(object, () => error)
    this.#timer?.cancel()
  }

  /** For ObjectLease alone. */
  settle(object: StoredObject, how: 'done' | 'failed'): void {
    this.#leases--
    object.leased--
    if (this.#slots[object.slot] !== object) return
    if (how === 'done' && --object.left === 0) this.#end(object, usedUp)
    else if (how === 'failed') this.#leaseToNext(object)
  }

  #leaseToNext(object: StoredObject): void {
    if (object.waiting === undefined || object.waiting.length === 0) return
    if (this.#isOver(object.expiresAtMs)) return this.#end(object, expired)
    const next = object.waiting.shift()!
    next.stopListening()
    try {
      next.resolve(this.#lease(object))
    } catch (error) {
      next.reject(error)
      this.#leaseToNext(object)
    }
  }

  #lease(object: StoredObject): Lease {
    const opened = object.body.open()
    object.leased++
    this.#leases++
    return new ObjectLease(this, object, opened)
  }

  /** @param why Made only for those who wait: an error costs more than the rest of this. */
  #end(object: StoredObject, why: () => PlatformError): void {
    this.#slots[object.slot] = undefined
    this.#free.push(object.slot)
    this.#expiry.remove(object)
    const waiting = object.waiting ?? []
    object.waiting = undefined
    object.body.drop()
    for (const one of waiting) {
      one.stopListening()
      one.reject(why())
    }
  }

  #isOver(expiresAtMs: number | undefined): boolean {
    return expiresAtMs !== undefined && expiresAtMs <= this.#clock.epochMs()
  }

  /** It may run too early, when what it was set for has left: that is cheaper than setting it for each that leaves. */
  #armTimer(): void {
    const atMs = this.#expiry.first?.expiresAtMs
    if (atMs === undefined || atMs >= this.#timerAtMs) return
    this.#timer?.cancel()
    this.#timerAtMs = atMs
    this.#timer = this.#clock.after(Math.max(0, atMs - this.#clock.epochMs()), () => {
      this.#timerAtMs = Infinity
      for (let count = 0; count < EXPIRE_AT_ONCE && this.#expiry.first !== undefined && this.#isOver(this.#expiry.first.expiresAtMs); count++) this.#end(this.#expiry.first, expired)
      this.#armTimer()
    })
  }
}

class ObjectLease implements Lease {
  readonly #table: ObjectTable
  readonly #object: StoredObject
  readonly #opened: OpenedBody
  #state: 'open' | 'settled' = 'open'

  constructor(table: ObjectTable, object: StoredObject, opened: OpenedBody) {
    this.#table = table
    this.#object = object
    this.#opened = opened
  }

  get body(): HeldBody {
    return this.#opened.body
  }

  get bytes(): number {
    return this.#object.body.bytes
  }

  get place(): Place {
    return this.#opened.place
  }

  done(): void {
    this.#settle('done')
  }

  failed(): void {
    this.#settle('failed')
  }

  #settle(how: 'done' | 'failed'): void {
    if (this.#state === 'settled') return
    this.#state = 'settled'
    this.#table.settle(this.#object, how)
    this.#opened.close()
  }
}

function expired(): PlatformError {
  return new PlatformError('OBJECT_EXPIRED', 'The time to live of this object is over. Get it earlier, or put it with a longer ttlMs.')
}

function usedUp(): PlatformError {
  return new PlatformError('OBJECT_USED_UP', 'This object was retrieved as often as it was put for. Put it with more retrievals: one for each consumer.')
}

function lost(): PlatformError {
  return new PlatformError('OBJECT_LOST', 'The worker that had this object was restarted, and the object is gone. Run again what put it.')
}
