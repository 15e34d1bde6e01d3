/** Goal: what csv.ts writes is read back, and what it did not write is an error with file, line and column. Method: its own lines, cut and changed ones, any text. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { csvLine, dataTransferLine, dataTransfersHeader, latenciesHeader, latencyLine } from '../csv.ts'
import { readLatencies, readTransfers } from './read-csv.ts'

const line = (latencyMs: number, burstId: number, strict = true, host = 'h') => latencyLine({ requestId: 'r', host, sentAtMs: 0, latencyMs, burstId }, strict)

describe('latencies.csv', () => {
  test('is read back, whatever hosts are called', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.nat(1e6), fc.nat(9)), { maxLength: 20 }), (rows) => {
      const { samples } = readLatencies(latenciesHeader + rows.map(([host, micros, burst]) => line(micros / 1000, burst, true, host)).join(''), 'l.csv')
      assert.deepEqual([...samples.sorted], rows.map(([, micros]) => micros / 1000).sort((a, b) => a - b))
    }))
  })

  test('says to what its values are cut off', () => {
    assert.equal(readLatencies(latenciesHeader + line(3.5, 0, false), 'l.csv').samples.resolutionMs, 1)
    assert.equal(readLatencies(latenciesHeader + line(3.5, 0), 'l.csv').samples.resolutionMs, 0.001)
  })

  test('with another order of columns, or line ends of Windows, is the same', () => {
    const { samples } = readLatencies('Burst ID,Client Latency (ms)\r\n0,7\r\n0,5\r\n1,6\r\n', 'l.csv')
    assert.deepEqual([...samples.sorted], [5, 6, 7])
    assert.deepEqual([samples.burstCount, ...samples.bursts!], [2, 0, 1, 0])
  })

  test('cut in the middle of its last line gives the lines before, and says so', () => {
    const whole = latenciesHeader + line(1, 0) + line(2, 1) + line(3, 2)
    for (let length = latenciesHeader.length; length < whole.length; length++) {
      const { samples, notes } = readLatencies(whole.slice(0, length), 'l.csv')
      assert.equal(samples.sorted.length, whole.slice(0, length).split('\n').length - 2)
      assert.equal(notes.length, whole[length - 1] === '\n' ? 0 : 1)
    }
  })

  test('that is wrong is refused with line and column', () => {
    assert.throws(() => readLatencies(`${latenciesHeader}${line(1, 0)}r,h,a,b,soon,0\n`, 'l.csv'), { code: 'INPUT_INVALID', message: /^l\.csv:3: Client Latency \(ms\): "soon" is no number/ })
    assert.throws(() => readLatencies(`${latenciesHeader}a,b,c\n`, 'l.csv'), /^PlatformError: l\.csv:2: 3 fields, the header has 6/)
    assert.throws(() => readLatencies('a,b\n1,2\n', 'l.csv'), /l\.csv:1: Client Latency \(ms\): the header has no such column/)
    assert.throws(() => readLatencies('', 'l.csv'), /l\.csv:1:/)
    assert.throws(() => readLatencies(`${latenciesHeader}a"b,h,a,b,1,0\n${line(1, 0)}`, 'l.csv'), /l\.csv:2: a quote within a field/)
  })

  test('of any text is samples or INPUT_INVALID', () => {
    const pieces = fc.array(fc.constantFrom(latenciesHeader, line(1, 0), '"', ',', '\n', '\r', '1', 'x', '""', csvLine(['a,b', 'c'])), { maxLength: 30 }).map((all) => all.join(''))
    fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), pieces, pieces.map((text) => latenciesHeader + text)), (text) => {
      for (const read of [readLatencies, readTransfers]) {
        try {
          for (const value of read(text, 'l.csv').samples.sorted) assert(Number.isFinite(value))
        } catch (error) {
          assert(error instanceof PlatformError && error.code === 'INPUT_INVALID' && error.message.startsWith('l.csv:'), String(error))
        }
      }
    }), { numRuns: 500 })
  })
})

describe('data-transfers.csv', () => {
  test('gives the time from the first function to the last', () => {
    const of = (burstId: number, stamps: readonly string[]) => dataTransferLine({ requestId: 'r', host: 'h', burstId }, stamps, 3)
    const { samples, chainLength } = readTransfers(dataTransfersHeader(3) + of(0, ['1700000000000', '1700000000005', '1700000000017']) + of(1, ['1700000000000', '1', '1700000000003']), 'd.csv')
    assert.deepEqual([...samples.sorted], [3, 17])
    assert.equal(chainLength, 3)
  })

  test('tells of clocks that differ', () => {
    const { notes } = readTransfers(dataTransfersHeader(2) + dataTransferLine({ requestId: 'r', host: 'h', burstId: 0 }, ['1700000000009', '1700000000005'], 2), 'd.csv')
    assert.match(notes[0]!, /^d\.csv: 1 of 1 transfers end before they begin/)
  })
})
