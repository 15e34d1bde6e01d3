/**
 * Sends requests to endpoints of either transport, and hands over what has become of them.
 *
 * Hand-over is one function for all, not a promise per request: at 10,000 a second promises and closures are what the collector would stop
 * the driver for. It is called while the event loop reads, so it must be short: who reads answers puts them aside, and gives them back (`release`) when it has.
 *
 *   S1. What was sent ends exactly once, at the latest `timeoutMs` and a sweep later; or the sender is disposed of.
 *   S2. `inFlight` is what was sent and has not ended.
 */
import type { Clock, Timer } from '#base/clock.ts'
import type { Endpoint, RequestMessage } from '../provider.ts'
import { Exchange } from './exchange.ts'
import type { SendFailure } from './exchange.ts'
import { HttpOrigin } from './http-origin.ts'
import type { ParserLimits } from './response-parser.ts'

export interface SenderSettings {
  /** How long an answer may take, ms. */
  readonly timeoutMs: number
  readonly limits: ParserLimits
  /** Certificates to trust instead of Node's own, PEM. */
  readonly ca: string | undefined
}

export const senderDefaults: SenderSettings = {
  // As STeLLAR: the longest that a function of AWS Lambda may run.
  timeoutMs: 15 * 60_000,
  limits: { bodyKeptMax: 1024 * 1024, bodyMax: 8 * 2 ** 30 },
  ca: undefined,
}

export class Sender<Tag> implements Disposable {
  readonly #settings: SenderSettings
  readonly #clock: Clock
  readonly #onEnd: (exchange: Exchange<Tag>) => void
  readonly #origins = new Map<string, HttpOrigin<Tag>>()
  /** So that an endpoint's origin is found by identity; endpoints stay. */
  readonly #byEndpoint = new Map<Endpoint, HttpOrigin<Tag> | undefined>()
  readonly #calls = new Set<AbortController>()
  readonly #free: Exchange<Tag>[] = []
  readonly #endedOfOrigin = (exchange: Exchange<Tag>): void => this.#end(exchange)
  #sweep: Timer | undefined
  #disposed = false
  inFlight = 0

  constructor(settings: SenderSettings, clock: Clock, onEnd: (exchange: Exchange<Tag>) => void) {
    this.#settings = settings
    this.#clock = clock
    this.#onEnd = onEnd
    this.#scheduleSweep()
  }

  get connectionsOpened(): number {
    return this.#origins.values().reduce((sum, origin) => sum + origin.connectionsOpened, 0)
  }

  /**
   * @param dueMs Monotonic ms. @returns When it was sent, monotonic ms.
   * @throws INPUT_INVALID for an address or a message that cannot be sent: nothing was.
   */
  send(endpoint: Endpoint, message: RequestMessage, tag: Tag, dueMs: number): number {
    const origin = this.#byEndpoint.get(endpoint) ?? this.#originOf(endpoint)
    const exchange = this.#free.pop() ?? new Exchange<Tag>()
    const sentMs = this.#clock.monotonicUs() / 1000
    exchange.begin(tag, endpoint, message, dueMs, sentMs)
    // An origin refuses what cannot be sent before it counts; a call may end at once.
    origin?.send(exchange)
    this.inFlight++
    if (origin === undefined) void this.#call(exchange)
    return sentMs
  }

  /** Has connections to the server of the endpoint opened ahead, at most so many. A `call` has none. */
  open(endpoint: Endpoint, connections: number): void {
    ;(this.#byEndpoint.get(endpoint) ?? this.#originOf(endpoint))?.open(connections)
  }

  /** The record may be used for another request. */
  release(exchange: Exchange<Tag>): void {
    this.#free.push(exchange)
  }

  /** Nothing that is under way ends any more, and all connections are closed. */
  [Symbol.dispose](): void {
    this.#disposed = true
    this.#sweep?.cancel()
    for (const origin of this.#origins.values()) origin[Symbol.dispose]()
    for (const call of this.#calls) call.abort()
    this.#calls.clear()
  }

  #end(exchange: Exchange<Tag>): void {
    this.inFlight--
    this.#onEnd(exchange)
  }

  #originOf(endpoint: Endpoint): HttpOrigin<Tag> | undefined {
    const { transport } = endpoint
    if (transport.kind === 'call') return undefined
    const { ca, limits } = this.#settings
    let origin = this.#origins.get(transport.origin)
    if (origin === undefined) {
      origin = new HttpOrigin<Tag>({ origin: transport.origin, ca, clock: this.#clock, limits, ended: this.#endedOfOrigin })
      this.#origins.set(transport.origin, origin)
    }
    this.#byEndpoint.set(endpoint, origin)
    return origin
  }

  async #call(exchange: Exchange<Tag>): Promise<void> {
    const { transport } = exchange.endpoint
    if (transport.kind !== 'call') return
    const controller = new AbortController()
    this.#calls.add(controller)
    // A library that does not listen to the signal must not hold the driver up.
    const { promise: timedOut, resolve } = Promise.withResolvers<SendFailure>()
    const timer = this.#clock.after(this.#settings.timeoutMs, () => resolve(this.#timeout()))
    exchange.connectedMs = exchange.sentMs
    try {
      const answer = await Promise.race([transport.call(exchange.message, controller.signal), timedOut])
      if ('code' in answer) exchange.failure = answer
      else {
        exchange.status = answer.status
        exchange.headers = answer.headers
        exchange.body = answer.body
        exchange.bodyBytes = answer.body.length
      }
    } catch (error) {
      exchange.failure = failureOf(error)
    }
    timer.cancel()
    if (exchange.failure !== undefined) controller.abort()
    this.#calls.delete(controller)
    if (this.#disposed) return
    exchange.firstByteMs = exchange.endMs = this.#clock.monotonicUs() / 1000
    this.#end(exchange)
  }

  /** One timer for all: one per request would cost as much as writing it. */
  #scheduleSweep(): void {
    const { timeoutMs } = this.#settings
    this.#sweep = this.#clock.after(Math.min(1000, Math.max(5, timeoutMs / 20)), () => {
      const sentBefore = this.#clock.monotonicUs() / 1000 - timeoutMs
      for (const origin of this.#origins.values()) origin.giveUpSentBefore(sentBefore, this.#timeout())
      this.#scheduleSweep()
    })
  }

  #timeout(): SendFailure {
    return { code: 'ETIMEDOUT', message: `no whole answer within ${this.#settings.timeoutMs / 1000} s` }
  }
}

/** Of what a library or a socket has thrown: its code, or its name where it has none. */
export function failureOf(error: unknown): SendFailure {
  if (!(error instanceof Error)) return { code: 'INTERNAL', message: String(error) }
  const { code } = error as { readonly code?: unknown }
  return { code: typeof code === 'string' ? code : error.name, message: error.message }
}
