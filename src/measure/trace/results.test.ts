/**
 * Goal: In-Vitro's scripts can read what a replay writes, and a function's slowdown is that of its measured, successful invocations.
 *
 * Method: the header against the columns as they are published; lines of any numbers split again; slowdowns of known ratios.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { RESULT_HEADER, resultLine, resultsFileName, Slowdowns } from './results.ts'
import type { InvocationResult } from './results.ts'

const published =
  'phase,instance,invocationID,startTime,requestedDuration,grpcConnEstablish,responseTime,actualDuration,connectionTimeout,functionTimeout,actualMemoryUsage,memoryAllocationTimeout,timeToSubmitMs,userCodeExecutionMs,timeToGetResponseMs'

const result: InvocationResult = {
  phase: 2,
  instance: 'f-1',
  invocationID: 'min3.inv17',
  startTime: 1_800_000_000_000_000,
  requestedDuration: 1000,
  grpcConnEstablish: 0,
  responseTime: 2000,
  actualDuration: 1100,
  connectionTimeout: false,
  functionTimeout: false,
  actualMemoryUsage: 64,
  memoryAllocationTimeout: false,
  timeToSubmitMs: 0,
  userCodeExecutionMs: 0,
  timeToGetResponseMs: 0,
}

describe('a line of results', () => {
  test('has the published columns in their order', () => {
    assert.equal(RESULT_HEADER, published)
    assert.equal(resultLine(result), '2,f-1,min3.inv17,1800000000000000,1000,0,2000,1100,false,false,64,false,0,0,0')
    assert.equal(resultsFileName('out/experiment', 30), 'out/experiment_duration_30.csv')
  })

  test('gives back what went in, column by column (R1)', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[\w.-]+$/), fc.double({ min: 0, max: 1e15, noNaN: true }), fc.boolean(), (instance, responseTime, functionTimeout) => {
        const cells = resultLine({ ...result, instance, responseTime, functionTimeout }).split(',')
        const read = Object.fromEntries(published.split(',').map((name, index) => [name, cells[index]]))
        assert.equal(cells.length, 15)
        assert.deepEqual([read['instance'], Number(read['responseTime']), read['functionTimeout']], [instance, Math.round(responseTime), String(functionTimeout)])
      }),
    )
    for (const instance of ['a,b', 'a\nb', '"a"']) assert.throws(() => resultLine({ ...result, instance }), /would break the line/)
  })
})

describe('slowdown', () => {
  test('is the geometric mean of what was measured and succeeded (R2)', () => {
    const slowdowns = new Slowdowns()
    for (const responseTime of [1000, 4000, 16_000]) slowdowns.add('f', { ...result, instance: `f-${responseTime}`, responseTime })
    slowdowns.add('f', { ...result, phase: 1, responseTime: 1e9 })
    slowdowns.add('f', { ...result, functionTimeout: true, responseTime: 1e9 })
    slowdowns.add('dead', { ...result, instance: '', connectionTimeout: true })
    const [one, dead] = slowdowns.perFunction()
    assert.deepEqual({ ...one, geometricMean: Number(one?.geometricMean.toFixed(9)) }, { functionName: 'f', succeeded: 3, failed: 1, geometricMean: 4, p50: 4, p99: 16 })
    assert.deepEqual(dead, { functionName: 'dead', succeeded: 0, failed: 1, geometricMean: Number.NaN, p50: Number.NaN, p99: Number.NaN })
    const summary = slowdowns.summary()
    assert.deepEqual([summary.functions, summary.succeeded, summary.failed, Math.round(summary.p50), Math.round(summary.max)], [2, 3, 2, 4, 4])
  })

  test('over functions counts each once, however often it is called', () => {
    const slowdowns = new Slowdowns()
    for (let index = 0; index < 99; index++) slowdowns.add('often', { ...result, responseTime: 1000 })
    for (const functionName of ['b', 'c']) slowdowns.add(functionName, { ...result, responseTime: 10_000 })
    assert.equal(Math.round(slowdowns.summary().p50), 10)
  })

  test('of nothing is nothing, and a duration of 0 does not make it infinite', () => {
    const slowdowns = new Slowdowns()
    assert.deepEqual(slowdowns.summary(), { functions: 0, succeeded: 0, failed: 0, p50: Number.NaN, p99: Number.NaN, max: Number.NaN })
    slowdowns.add('f', { ...result, requestedDuration: 0, responseTime: 0 })
    assert.equal(slowdowns.summary().max, 1)
  })
})
