/**
 * Goal: locality moves far fewer bytes between workers than spreading, and never overloads one for it; colours keep an instance's state of use.
 *
 * Method: 32 simulated workers with 8 cores each run chains, scatters, broadcasts and shuffles of objects of 10 KB to 100 MB, the very same ones under each
 * policy, at a sixteenth, a half and more than twice as many invocations at once as there are cores. Then one function's instances, each with a small cache,
 * are asked for states of which a few are asked for often. Placement, hints, references and balancer are the product's. `SEED=…` repeats a failure;
 * `SKEP_FIGURES=1` prints the tables of docs/results.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { pick } from '#activator/balancer.ts'
import { hash32 } from '#contract/rendezvous.ts'
import { seededRandom, seedFromEnvironment } from '#base/seeded-random.ts'
import { colorOf, NO_COLOR } from '#contract/color.ts'
import type { InstanceLoad } from '#contract/instance-load.ts'
import { locality } from '#scheduler/locality.ts'
import { spread } from '#scheduler/policies.ts'
import { Heap } from './engine.ts'
import { runCluster, shapes } from './locality.ts'
import type { ClusterResult } from './locality.ts'

const seed = seedFromEnvironment()
const print = (line: string): void => {
  if (process.env['SKEP_FIGURES'] !== undefined) console.log(line)
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
const moved = ({ movedBytes, inputBytes }: { movedBytes: number; inputBytes: number }): number => movedBytes / inputBytes

describe(`bytes moved between 32 workers (seed ${seed})`, () => {
  for (const { workflowsPerS, most } of [
    { workflowsPerS: 20, most: { references: 0.9, colors: 0.15, both: 0.1 } },
    { workflowsPerS: 300, most: { references: 0.8, colors: 0.65, both: 0.5 } },
    { workflowsPerS: 1_500, most: { references: 0.8, colors: 0.65, both: 0.5 } },
  ]) {
    test(`${workflowsPerS} workflows per second: at most ${JSON.stringify(most)} of what spreading moves, and no worker beyond the bound`, () => {
      const run = (placement = locality(spread()), references = true, colors = true): ClusterResult =>
        runCluster({ workers: 32, coresPerWorker: 8, placement, hints: { references, colors }, seed, workflowsPerS, workflows: Math.min(1_000, 20 * workflowsPerS) })
      const results = { spread: run(spread()), references: run(locality(spread()), true, false), colors: run(locality(spread()), false, true), both: run() }
      for (const [name, result] of Object.entries(results)) {
        assert.deepEqual([result.invocations, result.inputBytes], [results.spread.invocations, results.spread.inputBytes], 'the same work')
        const each = shapes.map((shape) => `${shape} ${percent(moved(result.byShape[shape]))}`).join(', ')
        print(`${workflowsPerS}/s ${name}: ${percent(moved(result))} of ${(result.inputBytes / 1e9).toFixed(0)} GB moved (${each}); instances mean ${result.instancesMean.toFixed(1)}, peak ${result.instancesPeak}`)
        assert.equal(result.beyondBound, 0, `${name}: L2`)
      }
      for (const name of ['references', 'colors', 'both'] as const) {
        const share = results[name].movedBytes / results.spread.movedBytes
        assert(share <= most[name], `${name}: ${percent(share)}`)
      }
      assert(moved(results.references.byShape.chain) < 0.05, 'a chain stays where its data is')
    })
  }
})

const INSTANCES = 16
const STATES = 400
const CACHED = 40
const REQUESTS = 40_000
const BUSY_US = 1_000

/** Share of requests whose instance has the state in memory, and the busiest instance's share of the requests, times the instances. */
function requestStates(isColored: boolean, concurrency: number, meanInFlight: number): { readonly hits: number; readonly busiest: number } {
  const random = seededRandom(seed)
  const loads: InstanceLoad[] = Array.from({ length: INSTANCES }, () => ({ inFlight: 0, computing: 0, computingSinceUs: 0, lastUsedUs: 0 }))
  const seeds = loads.map((_, index) => hash32(`instance-${index}`))
  // Least recently used first: a Set keeps the order of insertion.
  const caches = loads.map(() => new Set<number>())
  const served = loads.map(() => 0)
  const ends = new Heap<number>()
  let hits = 0
  let nowUs = 0
  for (let request = 0; request < REQUESTS; request++) {
    nowUs += -Math.log(1 - random()) * (BUSY_US / meanInFlight)
    const release = (): void => {
      const ended = loads[ends.pop()!]!
      ended.inFlight--
      ended.computing--
    }
    while (ends.firstAt <= nowUs) release()
    // Zipf, exponent about 1.
    const state = Math.floor(STATES ** random()) - 1
    const color = isColored ? colorOf('default', `state-${state}`) : NO_COLOR
    let index = pick(loads, concurrency, concurrency, -Infinity, random, color, seeds)
    for (; index === -1; index = pick(loads, concurrency, concurrency, -Infinity, random, color, seeds)) {
      nowUs = ends.firstAt
      release()
    }
    const load = loads[index]!
    load.inFlight++
    load.computing++
    load.lastUsedUs = nowUs
    served[index]!++
    ends.push(nowUs + BUSY_US, index)
    const cache = caches[index]!
    if (cache.delete(state)) hits++
    else if (cache.size === CACHED) cache.delete(cache.values().next().value!)
    cache.add(state)
  }
  return { hits: hits / REQUESTS, busiest: (Math.max(...served) / REQUESTS) * INSTANCES }
}

describe(`state in the memory of ${INSTANCES} instances, each with room for ${CACHED} of ${STATES} (seed ${seed})`, () => {
  for (const { concurrency, meanInFlight, missesMost } of [
    { concurrency: 16, meanInFlight: 8, missesMost: 0.1 },
    { concurrency: 4, meanInFlight: 24, missesMost: 0.3 },
    { concurrency: 1, meanInFlight: 8, missesMost: 0.75 },
  ]) {
    test(`concurrency ${concurrency}, ${meanInFlight} in flight: with colours at most ${missesMost} of the loads of a state`, () => {
      const without = requestStates(false, concurrency, meanInFlight)
      const colored = requestStates(true, concurrency, meanInFlight)
      print(`concurrency ${concurrency}, ${meanInFlight} in flight: hits ${percent(without.hits)} → ${percent(colored.hits)}, misses × ${((1 - colored.hits) / (1 - without.hits)).toFixed(3)}, busiest instance ${without.busiest.toFixed(2)} → ${colored.busiest.toFixed(2)} of its share`)
      assert(1 - colored.hits <= missesMost * (1 - without.hits), `${percent(colored.hits)} against ${percent(without.hits)}`)
    })
  }
})
