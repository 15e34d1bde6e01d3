/**
 * Goal: STeLLAR's plotters and others' scripts read our files as its own.
 *
 * Method: headers, names and lines are compared with what the original writes; numbers at the edges of Go's formats; lines of any text are read back.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { csvLine, dataTransferLine, dataTransfersHeader, directoryName, goFloat, latenciesHeader, latencyLine, statisticsCsv, statisticsHeader, twoDigits } from './csv.ts'
import { sortSamples, summarize } from './statistics.ts'

const sample = { requestId: 'a-1', host: 'f.example', sentAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 900), latencyMs: 1234.5678, burstId: 7 }

/** As RFC 4180 has it. */
function readCsvLine(line: string): string[] {
  return [...`,${line.slice(0, -1)}`.matchAll(/,(?:"((?:[^"]|"")*)"|([^",]*))/gy)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain!)
}

describe('latencies.csv', () => {
  test('has the original\'s header, RFC 3339 seconds and whole milliseconds cut off', () => {
    assert.equal(latenciesHeader, 'Request ID,Host,Sent At,Received At,Client Latency (ms),Burst ID\n')
    assert.equal(latencyLine(sample, false), 'a-1,f.example,2026-01-02T03:04:05Z,2026-01-02T03:04:07Z,1234,7\n')
    assert.equal(latencyLine({ ...sample, latencyMs: 0.999 }, false).split(',')[4], '0')
  })

  test('keeps microseconds when strict', () => {
    assert.equal(latencyLine(sample, true).split(',')[4], '1234.568')
  })
})

describe('data-transfers.csv', () => {
  test('has a column for each function of the chain', () => {
    assert.equal(dataTransfersHeader(3), 'Request ID,Host,Burst ID,Function 0 Timestamp,Function 1 Timestamp,Function 2 Timestamp\n')
    assert.equal(dataTransferLine(sample, ['1700000000000', '1700000000017'], 2), 'a-1,f.example,7,1700000000000,1700000000017\n')
  })

  test('refuses an answer with fewer or more timestamps', () => {
    for (const timestamps of [[], ['1'], ['1', '2', '3']]) assert.throws(() => dataTransferLine(sample, timestamps, 2), { code: 'ANSWER_INVALID', message: /with \d timestamps, its chain has 2 functions/ })
  })
})

describe('statistics.csv', () => {
  test('has nine columns with two digits', () => {
    assert.equal(statisticsHeader, 'Count,Mean,Standard Deviation,Min,25%ile,50%ile,75%ile,95%ile,Max\n')
    assert.equal(statisticsCsv(summarize(sortSamples([1, 2, 3, 4]))), `${statisticsHeader}4,2.50,1.29,1.00,1.00,2.00,3.00,4.00,4.00\n`)
  })

  test('says NaN of what one sample does not tell, as Go does', () => {
    assert.equal(statisticsCsv(summarize(sortSamples([5]))), `${statisticsHeader}1,5.00,NaN,5.00,5.00,5.00,5.00,5.00,5.00\n`)
  })

  test('rounds halves to even, and all else as toFixed', () => {
    assert.deepEqual([0.125, 0.375, 0.625, 0.875, 1.125, 17.125, 2.5, 0.005, 1.005, 0].map(twoDigits), ['0.12', '0.38', '0.62', '0.88', '1.12', '17.12', '2.50', '0.01', '1.00', '0.00'])
  })
})

describe('a directory', () => {
  test('is named as the plotters take it apart', () => {
    const one = { Title: 'cold', FunctionMemoryMB: 2048, FunctionImageSizeMB: 60.9, IATSeconds: 600, BurstSizes: [100, 5], DesiredServiceTimes: [{ text: '1.5ms', ms: 1.5 }], PayloadLengthBytes: 4_100_000 }
    assert.equal(directoryName(one), 'cold-memory2048MB-img60MB-IAT600s-burst100-st1.5ms-payload4003KB')
    assert.equal(directoryName({ ...one, Title: '', IATSeconds: 0.5, PayloadLengthBytes: 0 }), '-memory2048MB-img60MB-IAT0.5s-burst100-st1.5ms-payload0KB')
  })

  test('has numbers as Go prints them', () => {
    assert.deepEqual([0, 0.5, 600, 999_999, 1_000_000, 1_234_567, 0.0001, 0.00001, 1e-10, 1e21].map(goFloat), ['0', '0.5', '600', '999999', '1e+06', '1.234567e+06', '0.0001', '1e-05', '1e-10', '1e+21'])
  })
})

describe('a line', () => {
  test('is quoted where Go quotes', () => {
    assert.equal(csvLine(['', 'a b', ' a', 'a ', 'a,b', 'a"b', 'a\nb', '\\.', '\\.x']), ',a b," a",a ,"a,b","a""b","a\nb","\\.",\\.x\n')
  })

  test('of any text is read back as it was (fuzz)', () => {
    const field = fc.oneof(fc.string(), fc.array(fc.constantFrom(',', '"', '\n', '\r', ' ', 'x', '\\.'), { maxLength: 5 }).map((parts) => parts.join('')))
    fc.assert(fc.property(fc.array(field, { minLength: 2, maxLength: 6 }), (fields) => {
      assert.deepEqual(readCsvLine(csvLine(fields)), fields)
    }), { numRuns: 500 })
  })
})
