/**
 * One sub-experiment: its schedule, sent to its endpoints, until it is done, known well enough, given up or interrupted.
 *
 * Gives up above the failures that the original gives up above. Those of the warm-up count, too: endpoints that are down
 * should not be warmed up for an hour. The stop rule is asked when the samples have grown by a tenth: the more often one looks, the likelier is a
 * stop by luck, and sorting all of them for each would make the driver late.
 *
 *   D1. Samples are handed over while they come, those of the warm-up never. What was handed over before an early end stays true.
 *   D2. After `stop` every request under way is still waited for: dropping the slow ones would make the tail better than it is.
 */
import type { Clock } from '#base/clock.ts'
import { systemClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { failuresMax, samplesMax } from '../experiment.ts'
import type { SubExperiment } from '../experiment.ts'
import type { Histogram } from '../histogram.ts'
import type { Endpoint, RequestMessage } from '../provider.ts'
import type { Failure, Lateness, Outcome } from '../run-summary.ts'
import { planArrivals, planRounds } from '../schedule.ts'
import type { Arrival, Burst } from '../schedule.ts'
import { samplesNeeded, sortSamples, stopDecision } from '../statistics.ts'
import { driveRounds } from './closed-loop.ts'
import type { RoundsResult } from './closed-loop.ts'
import type { EndedExchange } from './exchange.ts'
import { Failures } from './failures.ts'
import { bottleneckOf, latenessOf } from './lateness.ts'
import { measure } from './measured-sample.ts'
import type { MeasuredSample } from './measured-sample.ts'
import { connectionsAhead, driveArrivals } from './open-loop.ts'
import type { Verdict } from './open-loop.ts'
import type { SenderSettings } from './sender.ts'

export type { MeasuredSample } from './measured-sample.ts'

const PROGRESS_EVERY_MS = 500
/** Growth of the samples between two questions to the stop rule. */
const STOP_RULE_GROWTH = 1.1

export interface DriveProgress {
  readonly samples: number
  /** Without the warm-up, when nothing fails. */
  readonly samplesMax: number
  readonly failed: number
  readonly elapsedMs: number
  /** If it goes on like this; undefined before the first sample. */
  readonly leftMs: number | undefined
}

export interface DriveOptions {
  readonly settings: SubExperiment
  /** At least one; bursts go to them in turn. */
  readonly endpoints: readonly Endpoint[]
  /** In [0, 1). */
  readonly random: () => number
  readonly signal: AbortSignal
  /** In the order in which answers end. */
  readonly onSample: (sample: MeasuredSample) => void
  /** At most twice a second, and at the end. */
  readonly onProgress?: (progress: DriveProgress) => void
  readonly clock?: Clock
  readonly sender?: Partial<SenderSettings>
}

export interface DriveResult {
  readonly outcome: Exclude<Outcome, { readonly kind: 'not-run' }>
  readonly lateness: Lateness
  readonly latenessHistogram: Histogram
  readonly failures: readonly Failure[]
  /** That the driver, and not the platform, made the figures, as a sentence; undefined when it kept up. */
  readonly bottleneck: string | undefined
  readonly latencyOf: 'first-byte' | 'whole-answer'
  readonly samples: number
  /** With the warm-up. */
  readonly sent: number
  readonly connectionsOpened: number
  readonly wallMs: number
}

/** @throws INPUT_INVALID for a message or an address that cannot be sent to. All else is in the outcome. */
export async function driveSubExperiment(options: DriveOptions): Promise<DriveResult> {
  const { settings, endpoints, random, signal, clock, sender } = options
  if (endpoints.length === 0) throw new PlatformError('INPUT_INVALID', 'there is no endpoint to send to; a sub-experiment needs at least one')
  const tally = new DriveTally(options)
  const common = {
    endpointOf: (burst: Burst): Endpoint => endpoints[burst.endpoint]!,
    messageOf: messagesOf(settings, endpoints),
    onAnswer: (burst: Burst, ended: EndedExchange): Verdict => tally.add(burst, ended),
    counts: (burst: Burst): boolean => burst.id >= 0,
    signal,
    ...(clock !== undefined && { clock }),
    ...(sender !== undefined && { sender }),
  }
  const { openLoop } = settings
  const load: RoundsResult = openLoop === undefined
    ? await driveRounds({ ...common, rounds: planRounds(settings, endpoints.length, random) })
    : await driveArrivals({ ...common, arrivals: requestsOf(planArrivals(settings, openLoop, endpoints.length, random)), inFlightMax: openLoop.inFlightMax, ahead: { endpoints, connections: connectionsAhead(openLoop.arrivalsPerSecond, openLoop.inFlightMax) } })
  tally.tell('always')
  return {
    outcome: outcomeOf(load.end, tally),
    lateness: latenessOf(load),
    latenessHistogram: load.lateness,
    failures: tally.failures.list(),
    bottleneck: bottleneckOf(load, { openLoop: openLoop !== undefined }),
    latencyOf: endpoints.some(({ transport }) => transport.kind === 'call') ? 'whole-answer' : 'first-byte',
    samples: tally.samples,
    sent: load.sent,
    connectionsOpened: load.connectionsOpened,
    wallMs: load.wallMs,
  }
}

function outcomeOf(end: RoundsResult['end'], tally: DriveTally): DriveResult['outcome'] {
  switch (end) {
    case 'all': return { kind: 'done' }
    case 'stopped': return { kind: 'stopped', afterSamples: tally.samples }
    case 'interrupted': return { kind: 'interrupted' }
    case 'aborted': {
      const { count } = tally.failures
      return { kind: 'given-up', reason: `${count} requests failed, at most ${tally.failuresMax} may (a tenth of Bursts × BurstSizes[0]): ${String(tally.failures)}` }
    }
  }
}

/** What has been measured so far, and whether to go on. */
class DriveTally {
  readonly #options: DriveOptions
  readonly #clock: Clock
  readonly #startMs: number
  readonly #epochOffsetMs: number
  readonly #samplesMax: number
  /** Kept for the stop rule only. */
  readonly #latencies: number[] = []
  #askAt: number
  #toldMs: number
  #stopped = false
  readonly failures = new Failures()
  readonly failuresMax: number
  samples = 0

  constructor(options: DriveOptions) {
    const { settings, clock = systemClock } = options
    this.#options = options
    this.#clock = clock
    this.#startMs = this.#toldMs = clock.monotonicUs() / 1000
    this.#epochOffsetMs = clock.epochMs() - this.#startMs
    this.#samplesMax = samplesMax({ ...settings, Parallelism: options.endpoints.length })
    this.failuresMax = failuresMax(settings)
    this.#askAt = settings.stopRule === undefined ? Infinity : samplesNeeded(settings.stopRule.percentile, settings.stopRule.confidence)
  }

  add(burst: Burst, ended: EndedExchange): Verdict {
    const { settings, endpoints, onSample } = this.#options
    const measured = measure(ended, {
      endpoint: endpoints[burst.endpoint]!,
      burstId: burst.id,
      chainLength: settings.DataTransferChainLength,
      countedFrom: settings.openLoop === undefined ? 'sent' : 'due',
      epochOffsetMs: this.#epochOffsetMs,
    })
    if (measured.kind === 'failure') {
      this.failures.add(measured.failure)
      return this.failures.count > this.failuresMax ? 'abort' : 'go-on'
    }
    if (burst.id < 0) return 'go-on'
    this.samples++
    onSample(measured.sample)
    if (settings.stopRule !== undefined && !this.#stopped) {
      this.#latencies.push(measured.sample.latencyMs)
      if (this.samples >= this.#askAt) {
        this.#askAt = Math.ceil(this.samples * STOP_RULE_GROWTH)
        this.#stopped = stopDecision(sortSamples(this.#latencies), settings.stopRule).kind === 'stop'
      }
    }
    this.tell('when-due')
    return this.#stopped ? 'stop' : 'go-on'
  }

  tell(when: 'always' | 'when-due'): void {
    const { onProgress } = this.#options
    if (onProgress === undefined) return
    const nowMs = this.#clock.monotonicUs() / 1000
    if (when === 'when-due' && nowMs - this.#toldMs < PROGRESS_EVERY_MS) return
    this.#toldMs = nowMs
    const elapsedMs = nowMs - this.#startMs
    const done = this.samples + this.failures.count
    const leftMs = done === 0 ? undefined : Math.max(0, (elapsedMs * (this.#samplesMax - done)) / done)
    onProgress({ samples: this.samples, samplesMax: this.#samplesMax, failed: this.failures.count, elapsedMs, leftMs })
  }
}

/** An endpoint is asked for its message once per service time, so that the same message is the same object. */
function messagesOf(settings: SubExperiment, endpoints: readonly Endpoint[]): (burst: Burst) => RequestMessage {
  const last: ({ readonly serviceTimeMs: number; readonly message: RequestMessage } | undefined)[] = endpoints.map(() => undefined)
  return ({ endpoint, serviceTime: { ms: serviceTimeMs } }) => {
    let made = last[endpoint]
    if (made?.serviceTimeMs !== serviceTimeMs) {
      made = { serviceTimeMs, message: endpoints[endpoint]!.request({ serviceTimeMs, payloadBytes: settings.PayloadLengthBytes }) }
      last[endpoint] = made
    }
    return made.message
  }
}

/** A burst as its requests, all due at its time. */
function* requestsOf(arrivals: Iterable<Arrival>): Generator<Arrival, void> {
  for (const arrival of arrivals) for (let left = arrival.size; left > 0; left--) yield arrival
}
