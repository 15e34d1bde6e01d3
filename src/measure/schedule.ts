/**
 * When which burst goes to which endpoint.
 *
 * Closed loop is STeLLAR's (src/benchmarking/run.go and trigger.go at 6e25342): a round waits its gap, then sends one burst to each endpoint in
 * turn, the next when the one before is answered. So the inter-arrival time is per round and endpoint, not per burst. What its settings do and what
 * they say differ in places; `strict` does what they say:
 *
 *   | IATType T     | the original                                          | strict                                                           |
 *   |---------------|-------------------------------------------------------|------------------------------------------------------------------|
 *   | stochastic    | T + Exp(1) ln T, below 1 s less than T, often nothing | T + Exp(1) ln(1 + T): never less than T; the same at 600 s       |
 *   | deterministic | T cut to whole seconds                                | T                                                                |
 *   | step          | T cut to whole seconds, each time                     | 1 s, 2 s, 3 s, … up to T                                         |
 *   | counted from  | the last answer of the round before                   | the start of the round before, as an inter-arrival time is       |
 *
 * Open loop is not in STeLLAR: bursts are due at times that do not depend on answers, so a slow platform cannot slow down its own load
 * (Schroeder et al., Open Versus Closed, NSDI'06). Latency counts from when a burst was due.
 *
 *   P1. Burst i goes to endpoint i mod n, in round floor(i / n), with BurstSizes[round mod length] requests and the service time of the round; the
 *       last service time repeats.
 *   P2. Bursts that count have the ids 0 … Bursts - 1. Those of the warm-up come before, with ids below 0, and are like round 0.
 *   P3. The same random numbers give the same schedule. Nothing is held in memory that has not come yet.
 */
import type { IatType, OpenLoop, ServiceTime, SubExperiment } from './experiment.ts'

export interface Burst {
  readonly id: number
  readonly round: number
  readonly endpoint: number
  readonly size: number
  readonly serviceTime: ServiceTime
}

export interface Round {
  /** Below 0 in the warm-up. */
  readonly number: number
  readonly gapMs: number
  readonly gapFrom: 'last-answer' | 'last-start'
  readonly bursts: readonly Burst[]
}

export interface Arrival extends Burst {
  /** Since the start. */
  readonly dueMs: number
}

type Settings = Pick<SubExperiment, 'Bursts' | 'BurstSizes' | 'DesiredServiceTimes' | 'IATSeconds' | 'IATType' | 'warmUp' | 'strict'>

/** @param endpoints How many there are, at least 1. @param random In [0, 1). */
export function* planRounds(settings: Settings, endpoints: number, random: () => number): Generator<Round, void> {
  const { Bursts, IATSeconds, IATType, warmUp, strict } = settings
  const gap = strict ? strictGapMs : originalGapMs
  for (let round = 0 - warmUp; round * endpoints < Bursts; round++) {
    const first = round * endpoints
    const size = Math.min(endpoints, round < 0 ? endpoints : Bursts - first)
    yield {
      number: round,
      gapMs: gap(IATType, IATSeconds, Math.max(0, round), random),
      gapFrom: strict ? 'last-start' : 'last-answer',
      bursts: Array.from({ length: size }, (_, endpoint) => burstOf(settings, endpoints, first + endpoint)),
    }
  }
}

/** @param random In [0, 1). The first burst of an equidistant schedule is due at 0. */
export function* planArrivals(settings: Settings, openLoop: OpenLoop, endpoints: number, random: () => number): Generator<Arrival, void> {
  const { arrivalsPerSecond, distribution } = openLoop
  const first = 0 - settings.warmUp * endpoints
  let dueMs = 0
  for (let id = first; id < settings.Bursts; id++) {
    // Equidistant times are multiplied, not added up: a sum of thirds drifts.
    dueMs = distribution === 'poisson' ? dueMs + (exponential(random) * 1000) / arrivalsPerSecond : ((id - first) * 1000) / arrivalsPerSecond
    yield { ...burstOf(settings, endpoints, id), dueMs }
  }
}

/** The gap before a round as the original sleeps it: to whole milliseconds, and not at all where its formula is negative or no number. */
export function originalGapMs(type: IatType, seconds: number, _round: number, random: () => number): number {
  // Its step begins at its own upper limit, so it never steps.
  if (type !== 'stochastic') return Math.trunc(seconds) * 1000
  const gap = Math.trunc((seconds + exponential(random) * Math.log(seconds)) * 1000)
  return Number.isFinite(gap) ? Math.max(0, gap) : 0
}

export function strictGapMs(type: IatType, seconds: number, round: number, random: () => number): number {
  switch (type) {
    case 'stochastic': return (seconds + exponential(random) * Math.log1p(seconds)) * 1000
    case 'deterministic': return seconds * 1000
    case 'step': return Math.min(seconds, round + 1) * 1000
  }
}

function burstOf({ BurstSizes, DesiredServiceTimes }: Settings, endpoints: number, id: number): Burst {
  const round = Math.floor(id / endpoints)
  const counted = Math.max(0, round)
  return {
    id, round,
    endpoint: id - round * endpoints,
    size: BurstSizes[counted % BurstSizes.length]!,
    serviceTime: DesiredServiceTimes[Math.min(counted, DesiredServiceTimes.length - 1)]!,
  }
}

/** Exp(1). */
function exponential(random: () => number): number {
  return -Math.log1p(-random())
}
