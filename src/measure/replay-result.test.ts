/**
 * Goal: each exchange becomes the line that In-Vitro would have written, whatever a function answers.
 *
 * Method: exchanges with known times; answers of functions of all kinds, and arbitrary bytes (SEED=… repeats a run).
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { seedFromEnvironment } from '#base/seeded-random.ts'
import type { EndedExchange } from './driver/exchange.ts'
import { anyFunction, failureOf, messageOf, resultOf, workOf } from './replay-result.ts'
import { RESULT_HEADER, resultLine } from './trace/results.ts'

const arrival = { phase: 2, functionName: 'f', functionIndex: 0, unit: 3, index: 17, atUs: 5000, dueMs: 5, runtimeMs: 20, memoryMb: 64 } as const
const times = { dueMs: 100, sentMs: 101, connectedMs: 103, firstByteMs: 120, endMs: 125 }
const body = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))

function ended(given: Partial<EndedExchange>, answer: Uint8Array = new Uint8Array()): EndedExchange {
  return { ...times, status: 200, bodyBytes: answer.length, failure: undefined, rawAnswer: () => ({ status: 200, headers: {}, body: answer }), ...given }
}

const line = (exchange: EndedExchange): Record<string, string> => {
  const values = resultLine(resultOf(arrival, exchange, { unitUs: 60_000_000 }, { host: '10.0.0.1/f', epochOffsetMs: 1000 })).split(',')
  return Object.fromEntries(RESULT_HEADER.split(',').map((name, index) => [name, values[index]!]))
}

describe('a line', () => {
  test('of an answer has times in microseconds, counted from when it was due, and what the function said', () => {
    assert.deepEqual(line(ended({}, body({ durationInMicroSec: 19_500, memoryUsageInKb: 65_536 }))), {
      phase: '2', instance: '10.0.0.1/f', invocationID: 'min3.inv17', startTime: '1100000', requestedDuration: '20000', grpcConnEstablish: '2000', responseTime: '25000', actualDuration: '19500',
      connectionTimeout: 'false', functionTimeout: 'false', actualMemoryUsage: '64', memoryAllocationTimeout: 'false', timeToSubmitMs: '0', userCodeExecutionMs: '0', timeToGetResponseMs: '0',
    })
  })

  test('of a failure tells one before the connection from one of the function', () => {
    const refused = line(ended({ connectedMs: 0, firstByteMs: 0, status: 0, failure: { code: 'ECONNREFUSED', message: '' } }))
    assert.deepEqual([refused['connectionTimeout'], refused['functionTimeout'], refused['instance'], refused['grpcConnEstablish']], ['true', 'false', '', '0'])
    const threw = line(ended({ status: 500 }, body({ durationInMicroSec: 1 })))
    assert.deepEqual([threw['connectionTimeout'], threw['functionTimeout'], threw['instance'], threw['actualDuration']], ['false', 'true', '10.0.0.1/f', '0'])
  })
})

test('a failure has its code, or its status', () => {
  const answer = (text: string) => () => ({ status: 0, headers: {}, body: Buffer.from(text) })
  assert.equal(failureOf({ failure: undefined, status: 204, rawAnswer: answer('') }), undefined)
  assert.deepEqual(failureOf({ failure: undefined, status: 503, rawAnswer: answer('') }), { code: '503', message: 'answered with status 503' })
  assert.deepEqual(failureOf({ failure: undefined, status: 503, rawAnswer: answer(`full\n${'x'.repeat(900)}`) })!.message, `answered with status 503: full ${'x'.repeat(195)}`)
  assert.equal(failureOf({ failure: { code: 'ETIMEDOUT', message: 'm' }, status: 0, rawAnswer: answer('') })!.code, 'ETIMEDOUT')
})

test('a message asks for runtime and memory, and one for any function keeps its query', () => {
  for (const [url, path] of [
    ['http://127.0.0.1:8080/f', '/f?runtimeInMilliSec=20&memoryInMebiBytes=64'],
    ['http://127.0.0.1:8080/f?a=1', '/f?a=1&runtimeInMilliSec=20&memoryInMebiBytes=64'],
  ] as const) {
    const endpoint = anyFunction(url, { authorization: 'k' })
    assert.deepEqual(messageOf(endpoint, arrival), { method: 'GET', path, headers: { authorization: 'k' }, body: undefined })
    assert.deepEqual(endpoint.transport, { kind: 'http', origin: 'http://127.0.0.1:8080' })
  }
})

describe('what a function says of itself', () => {
  test('is 0 where it says nothing, or nothing that is a number', () => {
    for (const value of [null, 7, 'text', [], {}, { durationInMicroSec: 'many' }, { durationInMicroSec: -1, memoryUsageInKb: 1e300 }]) {
      assert.deepEqual(workOf({ body: body(value) }), { durationUs: 0, memoryMb: 0 })
    }
    assert.deepEqual(workOf({ body: body({ durationInMicroSec: 1, padding: 'x'.repeat(10_000) }) }), { durationUs: 0, memoryMb: 0 })
  })

  test('never throws and never breaks a line, whatever the bytes', () => {
    const any = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map((text) => Buffer.from(text)), fc.record({ durationInMicroSec: fc.jsonValue(), memoryUsageInKb: fc.jsonValue() }).map(body))
    fc.assert(fc.property(any, (bytes) => {
      const fields = line(ended({}, bytes))
      assert.match(fields['actualDuration']!, /^\d+$/)
      assert.match(fields['actualMemoryUsage']!, /^\d+$/)
    }), { seed: seedFromEnvironment() | 0 })
  })
})
