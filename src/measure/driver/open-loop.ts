/**
 * Sends what is due when it is due, whether or not anything was answered.
 *
 * A slow platform cannot slow down its own load here, and latency counts from when a request was due: otherwise the requests that a stall held up would
 * be missing from the percentiles (Tene's coordinated omission; Schroeder et al., Open Versus Closed, NSDI'06). What is due while `inFlightMax` are
 * under way is not sent but counted: a driver that collects requests without end would measure its own memory.
 *
 * Answers are taken out of the sockets at once and read later, in the gaps, since reading JSON takes as long as sending does:
 *
 *   turn: send what is due ─▶ hand over some ended ones ─▶ next turn, or sleep
 *            ▲                                                     │
 *            └──────────────── sockets: ended ones ◀───────────────┘
 *
 *   O1. Every arrival is sent or reported as not sent, once, in the order of their times, until it ends by 'stop', 'abort' or the signal.
 *   O2. Every one sent is handed over once, unless ended by 'abort' or the signal.
 *   O3. Of arrivals only the next is held. Exchanges held are those in flight, and at most about UNREAD_MAX that wait to be handed over.
 */
import type { Clock } from '#base/clock.ts'
import { systemClock } from '#base/clock.ts'
import { Histogram } from '../histogram.ts'
import type { Endpoint, RequestMessage } from '../provider.ts'
import type { EndedExchange, Exchange } from './exchange.ts'
import type { DriverLoad } from './lateness.ts'
import { holdProcess, waitFor } from './pacing.ts'
import { Sender, senderDefaults } from './sender.ts'
import type { SenderSettings } from './sender.ts'

/** So that sockets are read also while many are due: after a pause of the driver's own, answers free connections for what would else open new ones. */
const SENT_PER_TURN_MAX = 8
/** So that an answer is not timed late because others are read. */
const READ_PER_TURN_MAX = 4
const UNREAD_MAX = 4096
/** Nothing is read when something is due this soon, ms. */
const READ_BEFORE_MS = 0.03

/** Connections for so long an answer at this rate; more are opened when answers take longer. */
export function connectionsAhead(arrivalsPerSecond: number, inFlightMax: number): number {
  return Math.min(inFlightMax, AHEAD_MAX, Math.max(8, Math.ceil((arrivalsPerSecond * AHEAD_MS) / 1000)))
}
const AHEAD_MS = 10
const AHEAD_MAX = 256

/** `stop` sends nothing more and waits for what is under way; `abort` leaves that, too. */
export type Verdict = 'go-on' | 'stop' | 'abort'

export interface DriveArrivalsOptions<A extends { readonly dueMs: number }> {
  /** In order of time, ms since the start. The same one several times is a burst. Asked for as they come. */
  readonly arrivals: Iterable<A>
  readonly endpointOf: (arrival: A) => Endpoint
  /** The same message for arrivals alike, where that is possible: its bytes are made once per change. */
  readonly messageOf: (arrival: A) => RequestMessage
  /** Not while anything is due. `ended` is valid during the call only. */
  readonly onAnswer: (arrival: A, ended: EndedExchange) => Verdict
  readonly onNotSent?: (arrival: A) => void
  /** Whether lateness of this arrival counts; default: of each. */
  readonly counts?: (arrival: A) => boolean
  readonly inFlightMax: number
  /** Opened before the schedule begins: so many connections to each server of these endpoints. Others are opened when they are needed, and cost time then. */
  readonly ahead?: { readonly endpoints: readonly Endpoint[]; readonly connections: number }
  readonly signal: AbortSignal
  readonly clock?: Clock
  readonly sender?: Partial<SenderSettings>
}

export interface ArrivalsResult extends DriverLoad {
  readonly end: 'all' | 'stopped' | 'aborted' | 'interrupted'
  /** When the schedule began, monotonic ms. */
  readonly startMs: number
  readonly wallMs: number
  readonly sent: number
  readonly connectionsOpened: number
}

/** @throws what `endpointOf`, `messageOf` and `onAnswer` throw, and INPUT_INVALID for a message that cannot be sent. */
export async function driveArrivals<A extends { readonly dueMs: number }>(options: DriveArrivalsOptions<A>): Promise<ArrivalsResult> {
  using _held = holdProcess()
  using loop = new OpenLoop(options)
  return await loop.run()
}

class OpenLoop<A extends { readonly dueMs: number }> implements Disposable {
  readonly #options: DriveArrivalsOptions<A>
  readonly #clock: Clock
  readonly #sender: Sender<A>
  readonly #arrivals: Iterator<A>
  readonly #lateness = new Histogram()
  readonly #result = Promise.withResolvers<ArrivalsResult>()
  /** Ended and not handed over, from `#unreadAt`. */
  #unread: Exchange<A>[] = []
  #unreadAt = 0
  #next: A | undefined
  #end: ArrivalsResult['end'] = 'all'
  #startMs = 0
  #sent = 0
  #notSent = 0
  /** What brings the next turn: the end of this one of the event loop, a timer (or an answer before it), or an answer. */
  #waiting: 'turn' | 'sleep' | 'answer' | 'over' = 'answer'
  #timer: { cancel(): void } | undefined
  readonly #turn = (): void => {
    try {
      this.#step()
    } catch (error) {
      this.#over()
      this.#result.reject(error as Error)
    }
  }

  constructor(options: DriveArrivalsOptions<A>) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#arrivals = options.arrivals[Symbol.iterator]()
    this.#sender = new Sender<A>({ ...senderDefaults, ...options.sender }, this.#clock, (exchange) => this.#ended(exchange))
  }

  async run(): Promise<ArrivalsResult> {
    const { signal } = this.#options
    const interrupt = (): void => this.#finish('interrupted')
    signal.addEventListener('abort', interrupt)
    try {
      const { endpoints, connections } = this.#options.ahead ?? { endpoints: [], connections: 0 }
      for (const endpoint of endpoints) this.#sender.open(endpoint, connections)
      this.#startMs = this.#nowMs()
      if (signal.aborted) interrupt()
      else {
        this.#advance()
        this.#wake()
      }
      return await this.#result.promise
    } finally {
      signal.removeEventListener('abort', interrupt)
    }
  }

  [Symbol.dispose](): void {
    this.#over()
    this.#sender[Symbol.dispose]()
    this.#arrivals.return?.()
  }

  #step(): void {
    if (this.#waiting === 'over') return
    this.#timer?.cancel()
    this.#sendDue()
    // A verdict may have ended it.
    if (!this.#handOverSome()) return
    const unread = this.#unread.length > this.#unreadAt
    if (this.#next === undefined && !unread) {
      if (this.#sender.inFlight === 0) this.#finish(this.#end)
      else this.#waiting = 'answer'
      return
    }
    const wait = unread || this.#next === undefined ? undefined : waitFor(this.#startMs + this.#next.dueMs - this.#nowMs())
    if (wait?.kind !== 'sleep') return this.#wake()
    this.#waiting = 'sleep'
    this.#timer = this.#clock.after(wait.ms, this.#turn)
  }

  #sendDue(): void {
    const { endpointOf, messageOf, counts, inFlightMax, onNotSent } = this.#options
    for (let left = SENT_PER_TURN_MAX; left > 0 && this.#next !== undefined; left--) {
      const arrival = this.#next
      const dueMs = this.#startMs + arrival.dueMs
      if (dueMs > this.#nowMs()) return
      if (this.#sender.inFlight >= inFlightMax) {
        this.#notSent++
        onNotSent?.(arrival)
      } else {
        const sentMs = this.#sender.send(endpointOf(arrival), messageOf(arrival), arrival, dueMs)
        this.#sent++
        if (counts === undefined || counts(arrival)) this.#lateness.record((sentMs - dueMs) * 1000)
      }
      this.#advance()
    }
  }

  #advance(): void {
    const next = this.#arrivals.next()
    this.#next = next.done === true ? undefined : next.value
  }

  /** @returns Whether to go on. */
  #handOverSome(): boolean {
    for (let left = READ_PER_TURN_MAX; left > 0 && this.#unreadAt < this.#unread.length; left--) {
      const dueSoon = this.#next !== undefined && this.#startMs + this.#next.dueMs < this.#nowMs() + READ_BEFORE_MS
      if (dueSoon && this.#unread.length - this.#unreadAt < UNREAD_MAX) break
      const exchange = this.#unread[this.#unreadAt++]!
      const verdict = this.#options.onAnswer(exchange.tag, exchange)
      this.#sender.release(exchange)
      if (verdict === 'abort') {
        this.#finish('aborted')
        return false
      }
      if (verdict === 'stop') {
        this.#end = 'stopped'
        this.#next = undefined
      }
    }
    if (this.#unreadAt === this.#unread.length) {
      this.#unread.length = 0
      this.#unreadAt = 0
    } else if (this.#unreadAt >= UNREAD_MAX) {
      this.#unread = this.#unread.slice(this.#unreadAt)
      this.#unreadAt = 0
    }
    return true
  }

  #ended(exchange: Exchange<A>): void {
    this.#unread.push(exchange)
    if (this.#waiting === 'answer' || this.#waiting === 'sleep') this.#wake()
  }

  #wake(): void {
    this.#waiting = 'turn'
    setImmediate(this.#turn)
  }

  #finish(end: ArrivalsResult['end']): void {
    if (this.#waiting === 'over') return
    this.#over()
    const wallMs = this.#nowMs() - this.#startMs
    this.#result.resolve({
      end, wallMs, startMs: this.#startMs, sent: this.#sent, notSent: this.#notSent, lateness: this.#lateness, busy: undefined,
      connectionsOpened: this.#sender.connectionsOpened,
    })
  }

  #over(): void {
    this.#waiting = 'over'
    this.#timer?.cancel()
  }

  #nowMs(): number {
    return this.#clock.monotonicUs() / 1000
  }
}
