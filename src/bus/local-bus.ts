/**
 * The bus inside one process: calls, with the manners of a network.
 *
 * Messages are encoded when they are sent and decoded for each listener, and delivered in a later microtask: nobody
 * shares an object by accident, nobody is called back inside their own call, and code that works here works over NATS.
 * That costs one or two microseconds for a message of a few hundred bytes.
 *
 * One hub joins any number of connections. The platform on one machine uses one; a simulation gives every simulated
 * host its own and severs it to let that host die.
 *
 * Invariants:
 *   B1. Deliveries happen in the order in which they were sent, over the whole hub (M1).
 *   B2. To whom a message goes is fixed when it is sent; who has unsubscribed before its delivery does not get it.
 *   B3. A request settles exactly once: by its answer, its time, or the end of its connection (M2).
 *   B4. A member belongs to the connection that joined it last: only that one's leaving or loss removes it (M3).
 */
import assert from 'node:assert/strict'
import type { Clock, Timer } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { PlatformErrorBody } from '#contract/errors.ts'
import type { Bus, BusMember } from './bus.ts'
import { LocalMembers } from './local-members.ts'
import type { MemberChange } from './local-members.ts'
import { SubjectTable, assertSubject } from './subject.ts'

export const MESSAGE_BYTES_MAX = 64 * 1024

export interface LocalHubOptions {
  readonly clock: Clock
  /** How long after its connection was severed a member is reported gone, ms (M3). */
  readonly lossMs?: number
  /** A listener threw: a bug. Default: thrown again outside of the bus, which ends the process. */
  readonly onListenerError?: (thrown: unknown) => void
}

export interface LocalBus extends Bus {
  /** Ends the connection as a crash does: nothing more is sent or received, and its members are missed after `lossMs`. */
  sever(): void
}

export interface LocalHub {
  connect(): LocalBus
}

/** A hub with one connection: all that one machine needs. */
export function openLocalBus(options: LocalHubOptions): LocalBus {
  return createLocalHub(options).connect()
}

export function createLocalHub(options: LocalHubOptions): LocalHub {
  const hub = new Hub(options)
  return { connect: () => new Connection(hub) }
}

/** Whether it may still be called; looked at again when a message arrives. */
interface Endpoint<Call> {
  readonly connection: Connection
  readonly call: Call
  active: boolean
}

type Listener = (message: unknown, subject: string) => void
type Responder = (message: unknown) => Promise<unknown>

class Hub {
  readonly clock: Clock
  readonly listeners = new SubjectTable<Endpoint<Listener>>()
  readonly responders = new SubjectTable<Endpoint<Responder>>()
  readonly members: LocalMembers
  readonly onListenerError: (thrown: unknown) => void
  #deliveries: (() => void)[] = []
  #turns = 0

  constructor(options: LocalHubOptions) {
    this.clock = options.clock
    this.onListenerError = options.onListenerError ?? throwOutside
    this.members = new LocalMembers({ clock: options.clock, lossMs: options.lossMs ?? 3000, later: (delivery) => this.later(delivery) })
  }

  /** Runs it after all that was sent before (B1). */
  later(delivery: () => void): void {
    this.#deliveries.push(delivery)
    if (this.#deliveries.length === 1) queueMicrotask(() => this.#deliver())
  }

  /** Responders take turns. */
  pickResponder(subject: string): Endpoint<Responder> | undefined {
    const able = this.responders.find(subject)
    return able[this.#turns++ % Math.max(1, able.length)]
  }

  guard(act: () => void): void {
    try {
      act()
    } catch (thrown) {
      this.onListenerError(thrown)
    }
  }

  #deliver(): void {
    // What is sent during these deliveries joins the end of the same array.
    for (let index = 0; index < this.#deliveries.length; index++) this.guard(this.#deliveries[index]!)
    this.#deliveries = []
  }
}

type ConnectionState = 'open' | 'closed' | 'severed'

interface PendingRequest {
  readonly timer: Timer
  fail(error: PlatformError): void
}

class Connection implements LocalBus {
  readonly #hub: Hub
  readonly #owner = Symbol('connection')
  #state: ConnectionState = 'open'
  #undo = new Set<() => void>()
  #requests = new Set<PendingRequest>()

  constructor(hub: Hub) {
    this.#hub = hub
  }

  publish(subject: string, message: unknown): void {
    this.#assertOpen()
    assertSubject(subject)
    const text = encode(subject, message)
    const endpoints = this.#hub.listeners.find(subject)
    for (const endpoint of endpoints) {
      this.#hub.later(() => {
        if (endpoint.active) endpoint.call(JSON.parse(text), subject)
      })
    }
  }

  subscribe(subject: string, listener: Listener): () => void {
    this.#assertOpen()
    return this.#register(this.#hub.listeners, subject, listener)
  }

  respond(subject: string, responder: Responder): () => void {
    this.#assertOpen()
    return this.#register(this.#hub.responders, subject, responder)
  }

  async request<Answer>(subject: string, message: unknown, options: { readonly timeoutMs: number }): Promise<Answer> {
    this.#assertOpen()
    assertSubject(subject)
    const text = encode(subject, message)
    const responder = this.#hub.pickResponder(subject)
    if (responder === undefined) {
      throw new PlatformError('START_FAILED', `Nobody responds to ${subject}. Check that its component is running, then try again.`, {
        details: { subject },
      })
    }
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const pending: PendingRequest = {
      timer: this.#hub.clock.after(options.timeoutMs, () => {
        const text = `No answer from ${subject} within ${options.timeoutMs} ms. Try again, or allow more time.`
        pending.fail(new PlatformError('QUEUE_TIMEOUT', text, { details: { subject, timeoutMs: options.timeoutMs } }))
      }),
      fail: (error) => {
        if (this.#settle(pending)) reject(error)
      },
    }
    this.#requests.add(pending)
    this.#hub.later(() => {
      if (!responder.active) return
      void answerOf(responder, subject, text).then((reply) => {
        // An answer from beyond the end of a connection does not arrive; the requester's time runs out.
        if (!responder.connection.#delivers() || !this.#settle(pending)) return
        if (reply.kind === 'answer') resolve(JSON.parse(reply.text) as Answer)
        else reject(PlatformError.fromBody(reply.error))
      })
    })
    return promise
  }

  join(group: string, member: BusMember): () => void {
    this.#assertOpen()
    const details: unknown = JSON.parse(encode(group, member.details))
    const leave = this.#hub.members.join(group, { id: member.id, details }, this.#owner)
    return () => {
      // A severed connection can say nothing any more, not even good-bye.
      if (this.#state !== 'severed') leave()
    }
  }

  members(group: string): readonly BusMember[] {
    return this.#hub.members.of(group)
  }

  watchMembers(group: string, listener: (change: MemberChange) => void): () => void {
    this.#assertOpen()
    return this.#undoable(this.#hub.members.watch(group, listener))
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'closed'
    this.#hub.members.leaveAll(this.#owner)
    this.#end()
  }

  sever(): void {
    if (this.#state !== 'open') return
    this.#state = 'severed'
    this.#hub.members.loseAll(this.#owner)
    this.#end()
  }

  #delivers(): boolean {
    return this.#state !== 'severed'
  }

  #end(): void {
    for (const undo of this.#undo) undo()
    this.#undo.clear()
    for (const request of this.#requests) request.fail(stopping())
  }

  #register<Call>(table: SubjectTable<Endpoint<Call>>, subject: string, call: Call): () => void {
    const endpoint: Endpoint<Call> = { connection: this, call, active: true }
    const remove = table.add(subject, endpoint)
    return this.#undoable(() => {
      endpoint.active = false
      remove()
    })
  }

  #undoable(undo: () => void): () => void {
    this.#undo.add(undo)
    return () => {
      this.#undo.delete(undo)
      undo()
    }
  }

  /** @returns Whether this was the first to settle it (B3). */
  #settle(pending: PendingRequest): boolean {
    pending.timer.cancel()
    return this.#requests.delete(pending)
  }

  #assertOpen(): void {
    if (this.#state !== 'open') throw stopping()
  }
}

type Reply = { readonly kind: 'answer'; readonly text: string } | { readonly kind: 'error'; readonly error: PlatformErrorBody }

async function answerOf(responder: Endpoint<Responder>, subject: string, text: string): Promise<Reply> {
  try {
    return { kind: 'answer', text: encode(subject, await responder.call(JSON.parse(text))) }
  } catch (thrown) {
    return { kind: 'error', error: PlatformError.from(thrown).toBody() }
  }
}

/** @throws BODY_TOO_LARGE. */
function encode(subject: string, message: unknown): string {
  const text = (JSON.stringify(message) as string | undefined) ?? 'null'
  if (text.length * 3 <= MESSAGE_BYTES_MAX) return text
  const bytes = Buffer.byteLength(text)
  if (bytes <= MESSAGE_BYTES_MAX) return text
  const what = `A message of ${bytes} bytes for ${subject}; the bus carries ${MESSAGE_BYTES_MAX}.`
  throw new PlatformError('BODY_TOO_LARGE', `${what} Send a reference to the bytes instead.`, { details: { subject, bytes, bytesMax: MESSAGE_BYTES_MAX } })
}

function stopping(): PlatformError {
  return new PlatformError('STOPPING', 'This connection to the bus is closed. Connect again.')
}

function throwOutside(thrown: unknown): void {
  assert(thrown !== undefined)
  setImmediate(() => {
    throw thrown
  })
}
