/**
 * Sends bursts in rounds, the next when the one before is answered: STeLLAR's own way (src/benchmarking/run.go at 6e25342; schedule.ts has the plan).
 *
 * A round waits its gap, then each of its bursts goes to its endpoint, all requests at once, and is waited for. Latency counts from when a
 * request was sent, as the original's, connecting included. A burst is due when its gap is over or the one before it is answered; its last
 * request is late by the time that sending the others took. What a timer comes late by is a longer gap, and no lateness.
 *
 *   L1. Nothing is sent while anything of the burst before is under way.
 *   L2. Every request sent is handed over once, when its burst is over, unless ended by 'abort' or the signal.
 *   L3. While requests are under way the thread sleeps, as wrk's does: what waking up takes is in the latency.
 */
import { performance } from 'node:perf_hooks'
import type { Clock } from '#base/clock.ts'
import { systemClock } from '#base/clock.ts'
import { Histogram } from '../histogram.ts'
import type { Endpoint, RequestMessage } from '../provider.ts'
import type { Burst, Round } from '../schedule.ts'
import type { EndedExchange, Exchange } from './exchange.ts'
import type { DriverLoad } from './lateness.ts'
import type { Verdict } from './open-loop.ts'
import { holdProcess, sleepUntil, TIMER_LATE_MS } from './pacing.ts'
import { Sender, senderDefaults } from './sender.ts'
import type { SenderSettings } from './sender.ts'

export interface DriveRoundsOptions {
  /** Asked for as they come. */
  readonly rounds: Iterable<Round>
  readonly endpointOf: (burst: Burst) => Endpoint
  readonly messageOf: (burst: Burst) => RequestMessage
  /** Between bursts. `ended` is valid during the call only. */
  readonly onAnswer: (burst: Burst, ended: EndedExchange) => Verdict
  /** Whether lateness of this burst counts; default: of each. */
  readonly counts?: (burst: Burst) => boolean
  readonly signal: AbortSignal
  readonly clock?: Clock
  readonly sender?: Partial<SenderSettings>
}

export interface RoundsResult extends DriverLoad {
  readonly end: 'all' | 'stopped' | 'aborted' | 'interrupted'
  readonly wallMs: number
  readonly sent: number
  readonly connectionsOpened: number
}

/** @throws what `endpointOf`, `messageOf` and `onAnswer` throw, and INPUT_INVALID for a message that cannot be sent. */
export async function driveRounds(options: DriveRoundsOptions): Promise<RoundsResult> {
  const { rounds, onAnswer, signal, clock = systemClock } = options
  using _held = holdProcess()
  using bursts = new BurstSender(options, clock)
  const nowMs = (): number => clock.monotonicUs() / 1000
  const startMs = nowMs()
  const loopAtStart = performance.eventLoopUtilization()
  let end: RoundsResult['end'] = 'all'
  let [lastStartMs, lastAnswerMs] = [startMs, startMs]
  try {
    driving: for (const round of rounds) {
      let dueMs = (round.gapFrom === 'last-start' ? lastStartMs : lastAnswerMs) + round.gapMs
      // Behind its plan a round starts at once, and the ones after it keep their distance to this one.
      if (dueMs < nowMs()) dueMs = nowMs()
      else await sleepUntil(dueMs, clock, signal)
      lastStartMs = dueMs
      dueMs += Math.min(nowMs() - dueMs, TIMER_LATE_MS)
      for (const burst of round.bursts) {
        signal.throwIfAborted()
        const ended = await bursts.send(burst, dueMs)
        let verdict: Verdict = 'go-on'
        for (const exchange of ended) {
          const one = onAnswer(burst, exchange)
          if (one !== 'go-on' && verdict !== 'abort') verdict = one
        }
        bursts.release()
        lastAnswerMs = dueMs = nowMs()
        if (verdict === 'go-on') continue
        end = verdict === 'stop' ? 'stopped' : 'aborted'
        break driving
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error
    end = 'interrupted'
  }
  const { idle, active } = performance.eventLoopUtilization(loopAtStart)
  const { lateness, sent, connectionsOpened } = bursts
  return { end, wallMs: nowMs() - startMs, sent, notSent: 0, lateness, busy: idle + active === 0 ? 0 : active / (idle + active), connectionsOpened }
}

/** The requests of one burst, and the wait for all of them. */
class BurstSender implements Disposable {
  readonly #options: DriveRoundsOptions
  readonly #sender: Sender<Burst>
  readonly #interrupt = (): void => this.#answered?.reject(this.#options.signal.reason as Error)
  readonly lateness = new Histogram()
  readonly #ended: Exchange<Burst>[] = []
  #answered: PromiseWithResolvers<void> | undefined
  sent = 0

  constructor(options: DriveRoundsOptions, clock: Clock) {
    this.#options = options
    this.#sender = new Sender<Burst>({ ...senderDefaults, ...options.sender }, clock, (exchange) => {
      this.#ended.push(exchange)
      if (this.#sender.inFlight === 0) this.#answered?.resolve()
    })
    options.signal.addEventListener('abort', this.#interrupt)
  }

  get connectionsOpened(): number {
    return this.#sender.connectionsOpened
  }

  /** @returns All of its exchanges, valid until `release`. */
  async send(burst: Burst, dueMs: number): Promise<readonly Exchange<Burst>[]> {
    const endpoint = this.#options.endpointOf(burst)
    const message = this.#options.messageOf(burst)
    const counts = this.#options.counts?.(burst) ?? true
    this.#answered = Promise.withResolvers<void>()
    for (let left = burst.size; left > 0; left--) {
      const sentMs = this.#sender.send(endpoint, message, burst, dueMs)
      this.sent++
      if (counts) this.lateness.record((sentMs - dueMs) * 1000)
    }
    await this.#answered.promise
    return this.#ended
  }

  release(): void {
    for (const exchange of this.#ended) this.#sender.release(exchange)
    this.#ended.length = 0
  }

  [Symbol.dispose](): void {
    this.#options.signal.removeEventListener('abort', this.#interrupt)
    this.#sender[Symbol.dispose]()
  }
}
