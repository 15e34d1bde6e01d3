/**
 * Who waits for room, and in which order it is given: the ledger's decisions, carried out.
 *
 * Producers wait in the order in which they came. One that waits for a namespace's or an instance's bytes holds up only others of the same; one
 * that waits for the worker's memory or files holds up all who come later and want the same. Nobody waits for longer than `waitMs`: producers
 * that wait for each other's consumers, in a cycle, are told so instead of standing still.
 *
 * Invariants:
 *   Q1. Everybody who enters gets a charge or an error, once; a charge is never given to somebody who has gone.
 *   Q2. A later one does not overtake an earlier one that waits for the same thing: large objects do not starve.
 *   Q3. At a time, bodies are moved to files for one producer: two that chose at once would move twice what is needed.
 */
import type { Clock, Timer } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { cancelled } from './cancelled.ts'
import type { Ask, Charge, Ledger, Shortage, Spillable } from './ledger.ts'

export interface RoomOptions {
  readonly ledger: Ledger
  readonly clock: Clock
  readonly waitMs: number
  /** Moves them to files. Bodies that could not be moved stay where they are. @throws STORE_FULL, STORE_FAILED for the first that could not. */
  readonly spill: (bodies: readonly Spillable[]) => Promise<void>
}

/** How long a disk that was full is not tried again, unless something of ours leaves it, ms. */
const DISK_PAUSE_MS = 1000

interface Waiting {
  readonly ask: Ask
  readonly resolve: (charge: Charge) => void
  readonly reject: (error: PlatformError) => void
  shortage: Shortage
  gone: boolean
  timer: Timer | undefined
  stopListening: () => void
}

export class Room {
  readonly ledger: Ledger
  readonly #clock: Clock
  readonly #waitMs: number
  readonly #spill: RoomOptions['spill']
  #waiting: Waiting[] = []
  #spilling = false
  #serving: 'no' | 'once' | 'again' = 'no'
  #diskPause: Timer | undefined
  #closed: PlatformError | undefined

  constructor(options: RoomOptions) {
    this.ledger = options.ledger
    this.#clock = options.clock
    this.#waitMs = options.waitMs
    this.#spill = options.spill
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /**
   * Charges for more bytes as soon as there is room: `ask.own` grows, or a new charge is made. The charge says where the body's place is.
   * @throws OBJECT_QUOTA_EXCEEDED, STORE_FULL, CANCELLED, STOPPING.
   */
  enter(ask: Ask, signal?: AbortSignal): Charge | Promise<Charge> {
    if (this.#closed !== undefined) throw this.#closed
    if (signal?.aborted === true) throw cancelled(signal)
    const decision = this.ledger.decide(ask)
    if (decision.do === 'refuse') throw tooLarge(ask, decision.shortage)
    if (decision.do === 'accept' && this.#waiting.length === 0) return this.#charge(ask, decision.place)
    return new Promise((resolve, reject) => {
      const shortage = decision.do === 'wait' ? decision.shortage : { of: 'memory' as const, used: this.ledger.memoryBytes, max: this.ledger.limits.memoryBytesMax }
      const one: Waiting = { ask, resolve, reject, shortage, gone: false, timer: undefined, stopListening: () => {} }
      one.timer = this.#clock.after(this.#waitMs, () => this.#leave(one, noRoom(one, this.#waitMs)))
      if (signal !== undefined) {
        const onAbort = (): void => this.#leave(one, cancelled(signal))
        signal.addEventListener('abort', onAbort, { once: true })
        one.stopListening = () => signal.removeEventListener('abort', onAbort)
      }
      this.#waiting.push(one)
      this.#serve()
    })
  }

  /** As `enter`, of who does not wait. @returns Undefined where it takes `enter`, or that says why not. */
  enterNow(ask: Ask): Charge | undefined {
    if (this.#closed !== undefined || this.#waiting.length > 0) return undefined
    const decision = this.ledger.decide(ask)
    return decision.do === 'accept' ? this.#charge(ask, decision.place) : undefined
  }

  /** Its bytes are gone. */
  release(charge: Charge): void {
    if (charge.place === 'file') this.#diskHasRoom()
    this.refund(charge)
  }

  /** Its bytes never came. */
  refund(charge: Charge): void {
    this.ledger.release(charge)
    this.changed()
  }

  /** Something fits now that may not have before. */
  changed(): void {
    if (this.#waiting.length > 0) this.#serve()
  }

  /** The disk refused. For a moment, nothing is moved there. */
  diskIsFull(): void {
    this.ledger.diskIsFull = true
    this.#diskPause?.cancel()
    this.#diskPause = this.#clock.after(DISK_PAUSE_MS, () => {
      this.#diskHasRoom()
      this.changed()
    })
  }

  close(error: PlatformError): void {
    this.#closed = error
    this.#diskPause?.cancel()
    for (const one of [...this.#waiting]) this.#leave(one, error)
  }

  /** Goes over all who wait, and again if somebody left or let something go on the way. */
  #serve(): void {
    if (this.#serving !== 'no') {
      this.#serving = 'again'
      return
    }
    do {
      this.#serving = 'once'
      this.#serveOnce()
    } while ((this.#serving as string) === 'again')
    this.#serving = 'no'
  }

  #serveOnce(): void {
    const held = new Set<unknown>()
    for (const one of [...this.#waiting]) {
      const { account, preferred } = one.ask
      if (one.gone || held.has('all') || (held.has('memory') && preferred === 'memory') || held.has(account) || held.has(account.namespace)) continue
      const decision = this.ledger.decide(one.ask)
      if (this.#spilling && preferred === 'memory' && !(decision.do === 'accept' && decision.place === 'memory')) {
        // Memory is about to be free.
        held.add('memory')
      } else if (decision.do === 'accept') {
        this.#remove(one)
        one.resolve(this.#charge(one.ask, decision.place))
      } else if (decision.do === 'refuse') {
        // The quota has become smaller.
        this.#leave(one, tooLarge(one.ask, decision.shortage))
      } else if (decision.do === 'spill') {
        held.add('memory')
        if (!this.#spilling) void this.#makeRoom(decision.bodies)
      } else {
        one.shortage = decision.shortage
        const { of } = decision.shortage
        held.add(of === 'namespace' ? account.namespace : of === 'instance' ? account : of === 'memory' ? 'memory' : 'all')
      }
    }
  }

  async #makeRoom(bodies: readonly Spillable[]): Promise<void> {
    this.#spilling = true
    try {
      await this.#spill(bodies)
    } catch {
      // What it could not move is still in memory. Whoever waits now waits for something to be let go, and is told why at the end.
      this.diskIsFull()
    }
    this.#spilling = false
    this.changed()
  }

  #charge(ask: Ask, place: Charge['place']): Charge {
    const { own } = ask
    if (own === undefined) return this.ledger.charge(ask.account, place, ask.bytes, ask.descriptors)
    this.ledger.resize(own, own.bytes + ask.bytes)
    if (own.place !== place) this.ledger.move(own, place)
    return own
  }

  #leave(one: Waiting, error: PlatformError): void {
    if (one.gone) return
    this.#remove(one)
    one.reject(error)
    this.changed()
  }

  #remove(one: Waiting): void {
    one.gone = true
    one.timer?.cancel()
    one.stopListening()
    this.#waiting = this.#waiting.filter((other) => other !== one)
  }

  #diskHasRoom(): void {
    this.ledger.diskIsFull = false
    this.#diskPause?.cancel()
    this.#diskPause = undefined
  }
}

const names: Record<Shortage['of'], string> = {
  namespace: 'bytes of objects of its namespace',
  instance: 'bytes of objects in the memory of its instance',
  memory: 'bytes of objects in memory of this worker',
  files: 'bytes of objects in files of this worker',
  disk: 'bytes of objects in files; the disk is full',
  bodies: 'objects on this worker',
  descriptors: 'descriptors for objects of this worker',
}

function tooLarge(ask: Ask, { of, max }: Shortage): PlatformError {
  const bytes = (ask.own?.bytes ?? 0) + ask.bytes
  return new PlatformError(
    'OBJECT_QUOTA_EXCEEDED',
    `An object of ${bytes} bytes is larger than may be kept at all: at most ${max} ${names[of]}. Put it in parts, or have an admin raise the quota.`,
    { details: { limit: of, bytes, max } },
  )
}

function noRoom({ ask, shortage: { of, used, max } }: Waiting, waitMs: number): PlatformError {
  const text = `No room for an object of ${(ask.own?.bytes ?? 0) + ask.bytes} bytes within ${waitMs} ms: ${used} of at most ${max} ${names[of]}.`
  if (of === 'disk') return new PlatformError('STORE_FULL', `${text} Free space on the disk of the data directory, or get the objects that wait.`, { details: { limit: of, used, max } })
  return new PlatformError('OBJECT_QUOTA_EXCEEDED', `${text} Get the objects that wait, put them with fewer retrievals or a shorter ttlMs, or have an admin raise the quota.`, { details: { limit: of, used, max } })
}
