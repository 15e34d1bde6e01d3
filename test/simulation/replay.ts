/** Replays a trace on one simulated worker and sums up what came of it. */
import assert from 'node:assert/strict'
import { Engine } from './engine.ts'
import { functionDefaults, percentile, SimulatedFunction } from './platform.ts'
import type { FunctionOptions } from './platform.ts'
import type { TracedFunction } from './trace.ts'
import type { BurstPolicy } from '#contract/function-config.ts'

export interface ReplayResult {
  readonly invocations: number
  readonly overheadMsP50: number
  readonly overheadMsP99: number
  readonly starts: number
  /** Instances that were started and served nothing. */
  readonly wastedStarts: number
  readonly instancesPeak: number
  readonly instanceHours: number
}

/** Fails if an invocation is lost or an instance stays. All functions share the worker's cores. */
export function replay(
  trace: readonly TracedFunction[],
  policy: BurstPolicy,
  { cores, random, options = {} }: { readonly cores: number; readonly random: () => number; readonly options?: Partial<FunctionOptions> },
): ReplayResult {
  const engine = new Engine(cores)
  const simulated = trace.map(({ arrivals }) => {
    const one = new SimulatedFunction(engine, { ...functionDefaults, ...options, policy }, random)
    arrive(engine, one, arrivals, 0)
    return one
  })
  engine.run()
  const overheadsUs: number[] = []
  let [starts, wastedStarts, instancesPeak, instanceSeconds] = [0, 0, 0, 0]
  simulated.forEach((one, index) => {
    const { name, arrivals } = trace[index]!
    assert.equal(one.result.latenciesUs.length, arrivals.length, `${name} lost an invocation`)
    assert.equal(one.instances.length + one.starting, 0, `${name} did not return to zero`)
    for (const overheadUs of one.result.overheadsUs) overheadsUs.push(overheadUs)
    starts += one.result.startedCount
    wastedStarts += one.result.wastedCount
    instancesPeak += one.result.instancesPeak
    instanceSeconds += one.result.instanceSeconds
  })
  return {
    invocations: overheadsUs.length,
    overheadMsP50: percentile(overheadsUs, 0.5) / 1000,
    overheadMsP99: percentile(overheadsUs, 0.99) / 1000,
    starts,
    wastedStarts,
    instancesPeak,
    instanceHours: instanceSeconds / 3600,
  }
}

/** Each arrival schedules the next, so that the events of one function are never all in the queue. */
function arrive(engine: Engine, one: SimulatedFunction, arrivals: TracedFunction['arrivals'], index: number): void {
  const arrival = arrivals[index]
  if (arrival === undefined) return
  engine.at(arrival.atUs, () => {
    one.invoke(arrival)
    arrive(engine, one, arrivals, index + 1)
  })
}
