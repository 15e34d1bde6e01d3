/**
 * Goal: a record comes back from its block as it was (R1), heads say what is inside (R2), and whatever lies in a journal,
 * reading it neither throws nor takes long (R3). Blocks of version 1 are still read.
 *
 * Method: records of any values, changed and cut rows (fast-check); rows as version 1 wrote them, literally.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { restoreModes, snapshotFigureNames } from '#contract/start-figures.ts'
import type { SnapshotFigures } from '#contract/start-figures.ts'
import { exampleRecord } from './example-record.fake.ts'
import { BLOCK_CHARS_MAX, BLOCK_RECORDS_MAX, BlockWriter, decodeBlock, decodeMatching, endedAtMs } from './record-codec.ts'
import { decodeHead, indexRow } from './record-head.ts'
import { spanIdOf } from './trace-context.ts'

const hex = (length: number): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length })
const us = fc.oneof(fc.nat(5000), fc.constant(0), fc.nat(2 ** 31 - 1), fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }))
const anyNumber = fc.oneof(us, fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0))
const anyText = fc.string({ unit: 'binary', maxLength: 30 })

const anySnapshot: fc.Arbitrary<SnapshotFigures> = fc
  .record({ mode: fc.constantFrom(...restoreModes), restoreUs: us, ...Object.fromEntries(snapshotFigureNames.map((name) => [name, us])) }, { requiredKeys: ['restoreUs'], noNullPrototype: true })

type Arbitraries = { readonly [Field in keyof Required<InvocationRecord>]: fc.Arbitrary<InvocationRecord[Field]> }

/** A field that is added to the record and forgotten here is a type error; one that is forgotten by the codec fails below. */
const fields: Arbitraries = {
  id: hex(32),
  namespace: fc.constant('guest'),
  function: fc.constant('resize'),
  revision: us,
  origin: fc.constantFrom('http', 'api', 'call', 'async'),
  parent: fc.option(hex(32), { nil: undefined }),
  traceparent: fc.oneof(anyText, fc.tuple(hex(32), hex(16), hex(2)).map((parts) => `00-${parts.join('-')}`)),
  attempt: fc.nat(5),
  startedAtMs: fc.oneof(fc.integer({ min: 1_700_000_000_000, max: 2_000_000_000_000 }), fc.double({ min: 0, max: 2e12, noNaN: true })),
  outcome: fc.constantFrom('ok', 'error'),
  status: fc.integer({ min: 0, max: 999 }),
  error: fc.option(fc.record({ code: fc.constant('FUNCTION_THREW' as const), message: anyText, stack: anyText }, { noNullPrototype: true }), { nil: undefined }),
  start: fc.constantFrom('cold', 'snapshot', 'warm', 'none'),
  snapshot: fc.option(anySnapshot, { nil: undefined }),
  transfer: fc.option(fc.record({ objectsPut: us, bytesPut: us, bytesGot: us, bytesShared: us }, { noNullPrototype: true }), { nil: undefined }),
  instance: fc.oneof(fc.constantFrom('', 'p1-1', 'p1-2'), anyText),
  totalUs: fc.oneof(us, fc.double({ min: 0, max: 1e12, noNaN: true })),
  queueUs: us,
  placementUs: us,
  sandboxUs: us,
  initUs: us,
  runUs: us,
  cpuUs: us,
  memoryPeakMb: fc.oneof(fc.nat(100_000).map((tenths) => tenths / 10), anyNumber),
  memoryLimitMb: us,
  gbMs: fc.oneof(fc.nat(10_000_000).map((thousandths) => thousandths / 1000), anyNumber),
  cost: anyNumber,
  bytesIn: us,
  bytesOut: us,
  logLines: us,
}

const anyRecord: fc.Arbitrary<InvocationRecord> = fc.record(fields).chain((made) => {
  const { parent, error, snapshot, transfer, ...record } = made
  const whole: InvocationRecord = { ...record, ...(transfer !== undefined && { transfer }), ...(snapshot !== undefined && { snapshot }), ...(parent !== undefined && { parent }), ...(error !== undefined && { error }) }
  // Half of them with a trace of their own, and with one that is nearly so.
  const own = `00-${whole.id}-${spanIdOf(whole.id, 1)}-00`
  const near = fc.nat(54).map((at) => own.slice(0, at) + 'x' + own.slice(at + 1))
  return fc.oneof(fc.constant(whole.traceparent), fc.constant(own), near).map((traceparent) => ({ ...whole, traceparent }))
})

function blockOf(records: readonly InvocationRecord[], number = 7): string {
  const writer = new BlockWriter('resize')
  for (const record of records) writer.add(record)
  return writer.finish(number)
}

describe('a block', () => {
  test('gives its records as they were (R1)', () => {
    fc.assert(
      fc.property(fc.array(anyRecord, { minLength: 1, maxLength: 20 }), (records) => {
        const row = blockOf(records)
        assert.deepEqual(decodeBlock(row, 'guest'), records)
        const { id } = records[0]!
        assert.deepEqual(decodeMatching(row, 'guest', id), records.filter((record) => record.id === id))
      }),
      { numRuns: 500 },
    )
  })

  test('says in its head what is inside, and so does the index (R2)', () => {
    fc.assert(
      fc.property(fc.array(anyRecord, { minLength: 1, maxLength: 20 }), (records) => {
        const head = decodeHead(blockOf(records, 9))!
        assert.equal(head.n, 9)
        assert.equal(head.c, records.length)
        assert.equal(head.e, records.filter((record) => record.outcome === 'error').length)
        for (const record of records) assert(head.s.includes(record.start) && head.x >= record.totalUs && head.lo <= endedAtMs(record) && head.hi >= endedAtMs(record) && head.a >= record.attempt)
        assert.deepEqual(decodeHead(indexRow([{ function: 'resize', head }])), { ...head, f: ['resize'] })
      }),
    )
  })

  test('is written by a writer that is empty again afterwards', () => {
    const writer = new BlockWriter('resize')
    const records = Array.from({ length: BLOCK_RECORDS_MAX }, (_, count) => exampleRecord({ instance: `p1-${count % 3}` }))
    for (let round = 0; round < 3; round++) {
      for (const record of records) writer.add(record)
      assert.equal(writer.count, BLOCK_RECORDS_MAX)
      assert.deepEqual(decodeBlock(writer.finish(round), 'guest'), records)
      assert.deepEqual([writer.count, writer.isFull], [0, false])
    }
  })

  test('of usual records is ASCII, far from full, with each instance once', () => {
    const row = blockOf(Array.from({ length: BLOCK_RECORDS_MAX }, (_, count) => exampleRecord({ instance: `p1-${count % 5}` })))
    // eslint-disable-next-line no-control-regex
    assert.match(row, /^[\x00-\x7f]*$/)
    assert(row.length < BLOCK_CHARS_MAX / 2, `${row.length} characters`)
    assert.equal(row.split('p1-4').length, 2)
  })

  test('that is damaged, or anything else, gives no records and throws nothing (R3)', () => {
    const good = blockOf([exampleRecord(), exampleRecord({ outcome: 'error', error: { code: 'FUNCTION_THREW', message: 'boom' } }), exampleRecord({ parent: 'f'.repeat(32) })])
    const changed = fc.tuple(fc.nat(good.length), fc.nat(8), fc.string({ unit: 'binary', maxLength: 8 })).map(([at, removed, put]) => good.slice(0, at) + put + good.slice(at + removed))
    fc.assert(
      fc.property(fc.oneof(changed, fc.string(), fc.json(), fc.string().map((text) => `{"v":2,${text}`), fc.string().map((text) => `[{"v":1,${text}`)), (row) => {
        decodeHead(row)
        for (const record of decodeBlock(row, 'guest')) assert(typeof record.instance === 'string' && typeof record.totalUs === 'number' && record.traceparent !== undefined)
        decodeMatching(row, 'guest', 'f'.repeat(32))
      }),
      { numRuns: 3000 },
    )
    for (let end = 0; end < good.length; end++) assert.deepEqual(decodeBlock(good.slice(0, end), 'guest'), [], `cut after ${end}`)
  })
})

describe('version 1', () => {
  const first = exampleRecord({ id: '018bcfe5680000000000000000000001', traceparent: '00-018bcfe5680000000000000000000001-0000000000000001-00' })
  const second: InvocationRecord = {
    ...first, id: '018bcfe5680000000000000000000002', parent: first.id, traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    outcome: 'error', status: 500, error: { code: 'FUNCTION_THREW', message: 'böse\nline' },
  }
  const head = '{"v":1,"n":7,"c":2,"e":1,"s":["warm"],"x":1800,"lo":1700000000001.8,"hi":1700000000001.8,"a":1'
  const row = `[${head}},
["018bcfe5680000000000000000000001","resize",3,"http",null,null,1,1700000000000,"ok",200,null,"warm","resize-3-17",1800,20,0,0,0,1700,900,41,256,0.425,2.07e-7,120,4096,1],
["018bcfe5680000000000000000000002","resize",3,"http","018bcfe5680000000000000000000001","00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",1,1700000000000,"error",500,{"code":"FUNCTION_THREW","message":"böse\\nline"},"warm","resize-3-17",1800,20,0,0,0,1700,900,41,256,0.425,2.07e-7,120,4096,1]]`

  test('is read: its head, its records, one by its id, and the rows of an index', () => {
    assert.deepEqual(decodeHead(row), { v: 1, n: 7, c: 2, e: 1, s: ['warm'], x: 1800, lo: 1700000000001.8, hi: 1700000000001.8, a: 1 })
    assert.deepEqual(decodeBlock(row, 'guest'), [first, second])
    assert.deepEqual(decodeMatching(row, 'guest', first.id), [first])
    assert.deepEqual(decodeHead(`[${head},"f":["resize"]},\n]`)?.f, ['resize'])
  })
})
