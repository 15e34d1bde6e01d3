/**
 * The whole replay as one sequence in order of time: every function's arrivals, merged as they are asked for.
 *
 * A binary heap holds the next arrival of each function, so memory is one arrival per function whatever the rates, and the
 * replay can begin at once. In-Vitro (pkg/driver) makes all arrivals first and runs a driver per function; here one driver
 * follows one list, which a dry run can print.
 *
 * Invariants:
 *   S1. Times do not fall; at the same time the function that stands first in the trace comes first.
 *   S2. Every arrival of every function is there once, and the totals are theirs.
 */
import { arrivalsOf } from './arrivals.ts'
import type { Arrival, ArrivalOptions } from './arrivals.ts'
import type { Trace } from './load.ts'
import { PlatformError } from '#contract/errors.ts'

export interface ScheduleOptions extends ArrivalOptions {
  /** Units at the start that warm up and are not measured. Default 0. */
  readonly warmupUnits?: number
}

export interface ScheduledInvocation extends Arrival {
  readonly functionName: string
  /** The function's place in the trace. */
  readonly functionIndex: number
  /** 1 warms up, 2 is measured: the numbers are In-Vitro's. */
  readonly phase: 1 | 2
}

export interface Totals {
  readonly functions: number
  readonly functionsInvoked: number
  readonly invocations: number
  readonly invocationsMeasured: number
  readonly durationUs: number
  /** Over the whole replay. */
  readonly averagePerSecond: number
  /** Of the fullest unit. */
  readonly peakPerSecond: number
  /** How many run at once on average when nothing waits: arrival rate times average duration (Little's law). */
  readonly averageBusy: number
}

interface Head {
  arrival: Arrival
  readonly functionIndex: number
  readonly next: Iterator<Arrival>
}

/** In order of time; lazily. */
export function schedule(trace: Trace, options: ScheduleOptions): Generator<ScheduledInvocation> {
  checkOptions(options)
  return merge(trace, options)
}

function* merge(trace: Trace, options: ScheduleOptions): Generator<ScheduledInvocation> {
  const { warmupUnits = 0 } = options
  const heap: Head[] = []
  for (const [functionIndex, one] of trace.functions.entries()) {
    const next = arrivalsOf(one, trace, options)
    const first = next.next()
    if (first.done !== true) heap.push({ arrival: first.value, functionIndex, next })
  }
  for (let index = (heap.length >> 1) - 1; index >= 0; index--) sink(heap, index)
  while (heap.length > 0) {
    const { arrival, functionIndex, next } = heap[0]!
    yield { ...arrival, functionName: trace.functions[functionIndex]!.name, functionIndex, phase: arrival.unit < warmupUnits ? 1 : 2 }
    const following = next.next()
    if (following.done !== true) heap[0]!.arrival = following.value
    else {
      const last = heap.pop()!
      if (heap.length > 0) heap[0] = last
    }
    sink(heap, 0)
  }
}

/** From the counts alone: nothing is drawn. */
export function totalsOf(trace: Trace, options: ScheduleOptions): Totals {
  checkOptions(options)
  const { speedUp = 1, warmupUnits = 0 } = options
  const perUnit = new Float64Array(trace.unitCount)
  let functionsInvoked = 0
  let busyUs = 0
  for (const { counts, averageMs } of trace.functions) {
    let invocations = 0
    for (let unit = 0; unit < counts.length; unit++) {
      perUnit[unit]! += counts[unit]!
      invocations += counts[unit]!
    }
    if (invocations > 0) functionsInvoked++
    busyUs += invocations * averageMs * 1000
  }
  const invocations = perUnit.reduce((sum, count) => sum + count, 0)
  const invocationsMeasured = perUnit.slice(warmupUnits).reduce((sum, count) => sum + count, 0)
  const durationUs = (trace.unitCount * trace.unitUs) / speedUp
  const perSecond = (count: number, overUs: number): number => (overUs === 0 ? 0 : (count * 1e6) / overUs)
  return {
    functions: trace.functions.length,
    functionsInvoked,
    invocations,
    invocationsMeasured,
    durationUs,
    averagePerSecond: perSecond(invocations, durationUs),
    peakPerSecond: perSecond(perUnit.reduce((most, count) => Math.max(most, count), 0), trace.unitUs / speedUp),
    averageBusy: durationUs === 0 ? 0 : busyUs / durationUs,
  }
}

export const DRY_RUN_HEADER = 'phase,function,invocationID,startTimeUs,runtimeMs,memoryMb'

/** What would be invoked when, as CSV, the totals in the comments of its first lines. */
export function* dryRun(trace: Trace, options: ScheduleOptions): Generator<string> {
  for (const [name, value] of Object.entries(totalsOf(trace, options))) yield `# ${name} ${Math.round(value * 1000) / 1000}`
  yield DRY_RUN_HEADER
  for (const one of schedule(trace, options)) yield `${one.phase},${one.functionName},${invocationId(trace, one)},${one.atUs},${one.runtimeMs},${one.memoryMb}`
}

/** In-Vitro's name of an invocation, unique within its function. */
export function invocationId(trace: Pick<Trace, 'unitUs'>, { unit, index }: Pick<Arrival, 'unit' | 'index'>): string {
  return `${trace.unitUs === 1_000_000 ? 'sec' : 'min'}${unit}.inv${index}`
}

function checkOptions({ speedUp = 1, warmupUnits = 0 }: ScheduleOptions): void {
  if (!(speedUp > 0 && Number.isFinite(speedUp))) throw new PlatformError('INPUT_INVALID', `speed-up is ${speedUp}, and must be above 0: 1 replays as recorded, 10 ten times faster`)
  if (Number.isInteger(warmupUnits) && warmupUnits >= 0) return
  throw new PlatformError('INPUT_INVALID', `warm-up is ${warmupUnits}, and must be a whole number of the trace's minutes or seconds from 0`)
}

function sink(heap: Head[], from: number): void {
  let parent = from
  for (;;) {
    let least = parent
    for (const child of [2 * parent + 1, 2 * parent + 2]) if (child < heap.length && isBefore(heap[child]!, heap[least]!)) least = child
    if (least === parent) return
    const head = heap[parent]!
    heap[parent] = heap[least]!
    heap[least] = head
    parent = least
  }
}

function isBefore(a: Head, b: Head): boolean {
  return a.arrival.atUs < b.arrival.atUs || (a.arrival.atUs === b.arrival.atUs && a.functionIndex < b.functionIndex)
}
