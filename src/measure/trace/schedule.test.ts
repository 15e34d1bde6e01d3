/**
 * Goal: a replay is every function's arrivals in one order of time, made as they are needed.
 *
 * Method: against the sorted arrivals of all functions, for any counts; memory measured between the first thousand and two
 * hundred thousand invocations of 500 functions at 2,000 per second; totals against what was counted; the real sample where it is.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { arrivalsOf } from './arrivals.ts'
import { exampleSources, NO_SAMPLE, plainFunction, realSample } from './example-trace.ts'
import { loadInVitro, loadTrace, MINUTE_US } from './load.ts'
import type { Trace } from './load.ts'
import { dryRun, DRY_RUN_HEADER, schedule, totalsOf } from './schedule.ts'
import { PlatformError } from '#contract/errors.ts'

function plainTrace(counts: readonly (readonly number[])[]): Trace {
  return { unitUs: MINUTE_US, unitCount: Math.max(0, ...counts.map((one) => one.length)), functions: counts.map((one, index) => plainFunction(`f${index}`, one)) }
}

describe('the schedule', () => {
  test("is all functions' arrivals, sorted by time, then by function (S1, S2)", () => {
    const anyTrace = fc.integer({ min: 0, max: 5 }).chain((units) => fc.array(fc.array(fc.nat(20), { minLength: units, maxLength: units }), { maxLength: 12 }))
    fc.assert(
      fc.property(anyTrace, fc.nat(), fc.constantFrom('exponential', 'uniform', 'equidistant'), fc.boolean(), (counts, seed, distribution, shift) => {
        const trace = plainTrace(counts)
        const options = { seed, distribution, shift, warmupUnits: 2 } as const
        const found = [...schedule(trace, options)]
        const expected = trace.functions
          .flatMap((one, functionIndex) => [...arrivalsOf(one, trace, options)].map((arrival) => ({ ...arrival, functionName: one.name, functionIndex, phase: arrival.unit < 2 ? 1 : 2 })))
          .sort((a, b) => a.atUs - b.atUs || a.functionIndex - b.functionIndex || a.unit - b.unit || a.index - b.index)
        assert.deepEqual(found, expected)
        const totals = totalsOf(trace, options)
        assert.deepEqual([totals.invocations, totals.invocationsMeasured, totals.functionsInvoked], [found.length, found.filter(({ phase }) => phase === 2).length, new Set(found.map((one) => one.functionIndex)).size])
      }),
    )
  })

  test('begins with a herd: without shift every function of a minute arrives at its start', () => {
    const trace = plainTrace(Array.from({ length: 50 }, () => [3]))
    const atStart = (shift: boolean): number => [...schedule(trace, { seed: 1, shift })].filter(({ atUs }) => atUs === 0).length
    assert.deepEqual([atStart(false), atStart(true)], [50, 0])
  })

  test('of 500 functions at 2,000 per second takes no more memory after 200,000 invocations than after 1,000', (t) => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const trace = plainTrace(Array.from({ length: 500 }, () => [240, 240]))
    const invocations = schedule(trace, { seed: 1 })
    const heapAfter = (count: number): number => {
      for (let taken = 0; taken < count; taken++) assert(invocations.next().done === false)
      collect()
      return process.memoryUsage().heapUsed
    }
    const before = heapAfter(1000)
    const growth = heapAfter(199_000) - before
    t.diagnostic(`heap grew by ${growth} bytes`)
    assert(growth < 4 << 20, `${growth} bytes`)
  })

  test('does not look at a minute before the one before it is over', () => {
    // To draw the second minute's four billion gaps would take minutes.
    const invocations = schedule(plainTrace([[3, 2 ** 32 - 1]]), { seed: 1 })
    assert.deepEqual(Array.from({ length: 3 }, () => invocations.next().value?.index), [0, 1, 2])
  })

  test('refuses a speed-up or a warm-up that is none', () => {
    for (const options of [{ speedUp: 0 }, { speedUp: Number.NaN }, { speedUp: Infinity }, { warmupUnits: -1 }, { warmupUnits: 0.5 }]) {
      assert.throws(() => schedule(plainTrace([[1]]), { seed: 1, ...options }), (error) => error instanceof PlatformError && error.code === 'INPUT_INVALID')
    }
  })
})

describe('a dry run', () => {
  test('prints the totals, then a line per invocation', async () => {
    const trace = await loadInVitro(exampleSources())
    const lines = [...dryRun(trace, { seed: 1, distribution: 'equidistant', warmupUnits: 1, speedUp: 10 })]
    const header = lines.indexOf(DRY_RUN_HEADER)
    assert.deepEqual(lines.slice(0, header), [
      '# functions 6', '# functionsInvoked 5', '# invocations 1015', '# invocationsMeasured 951', '# durationUs 30000000', '# averagePerSecond 33.833', '# peakPerSecond 93.5', '# averageBusy 24.73',
    ])
    assert.equal(lines.length - header - 1, 1015)
    assert.match(lines[header + 1]!, /^1,steady,min0\.inv0,0,\d+,\d+$/)
    assert.match(lines.find((line) => line.includes('rare'))!, /^2,rare,min2\.inv0,12000000,900,\d+$/)
  })

  test('of the sample of Azure 2019 has its counts per minute', async (t) => {
    const directory = realSample()
    if (directory === undefined) return t.skip(NO_SAMPLE)
    const trace = await loadTrace(directory, { take: 10 })
    const options = { seed: 42, shift: true }
    const perUnit = new Array<number>(trace.unitCount).fill(0)
    let previous = 0
    for (const { atUs, unit, runtimeMs, memoryMb } of schedule(trace, options)) {
      assert(atUs >= previous && Math.floor(atUs / MINUTE_US) === unit && runtimeMs >= 1 && runtimeMs <= 60_000 && memoryMb >= 1)
      previous = atUs
      perUnit[unit]!++
    }
    assert.deepEqual(perUnit, perUnit.map((_, unit) => trace.functions.reduce((sum, { counts }) => sum + counts[unit]!, 0)))
    t.diagnostic(JSON.stringify(totalsOf(trace, options)))
  })
})
