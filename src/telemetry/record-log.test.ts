/**
 * Goal: every record that was added is found, once, in order; pages continue where they ended; writing is bounded.
 *
 * Method: journals in memory and a manual clock; a model (an array that is filtered) for listings of random records.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '#base/clock.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { exampleRecord } from './example-record.fake.ts'
import { FakeJournals } from './journals.fake.ts'
import { BLOCK_CHARS_MAX, BLOCK_RECORDS_MAX, decodeBlock } from './record-codec.ts'
import { formatCursor, parseCursor } from './record-cursor.ts'
import { RecordLog } from './record-log.ts'
import type { RecordLogConfig, RecordQuery } from './record-log.ts'

function make(config: Partial<RecordLogConfig> = {}) {
  const store = new FakeJournals()
  const clock = new ManualClock()
  return { store, clock, log: new RecordLog({ store, clock, config }) }
}

/** All pages of a query. */
async function all(log: RecordLog, query: Omit<RecordQuery, 'limit' | 'cursor'>, limit = 7): Promise<InvocationRecord[]> {
  const records: InvocationRecord[] = []
  for (let cursor: string | undefined; ; ) {
    const page = await log.list({ ...query, limit, ...(cursor !== undefined && { cursor }) })
    records.push(...page.records)
    cursor = page.cursor
    if (cursor === undefined) return records
  }
}

describe('RecordLog', () => {
  test('finds a record at once, before and after it is written (G1)', async () => {
    const { store, clock, log } = make()
    const records = Array.from({ length: 2 * BLOCK_RECORDS_MAX + 44 }, () => exampleRecord())
    for (const record of records) log.add(record)
    assert.equal(store.journals.get('records/guest')?.length, 2)
    assert.deepEqual(await log.get('guest', records[7]!.id), records[7])
    clock.advance(60)
    assert.equal(store.journals.get('records/guest')?.length, 3)
    assert.deepEqual(await log.get('guest', records[7]!.id), records[7])
    assert.equal(await log.get('other', records[7]!.id), undefined)
    assert.equal(await log.get('guest', 'f'.repeat(32)), undefined)
  })

  test('finds it in another process, by the time in its id', async () => {
    const { store, clock, log } = make()
    const early = exampleRecord({ startedAtMs: clock.epochMs() })
    log.add(early)
    clock.advance(3_600_000)
    for (let count = 0; count < 1000; count++) log.add(exampleRecord({ startedAtMs: clock.epochMs() }))
    await log.close()
    const other = new RecordLog({ store, clock })
    assert.deepEqual(await other.get('guest', early.id), early)
    assert(store.rowsRead < 3)
  })

  test('gives the last attempt of an asynchronous invocation', async () => {
    const { store, clock, log } = make()
    const first = exampleRecord({ origin: 'async', outcome: 'error', status: 500, error: { code: 'FUNCTION_THREW', message: 'boom' } })
    log.add(first)
    clock.advance(10_000)
    const second = { ...first, attempt: 2, outcome: 'ok' as const, status: 200 }
    log.add(second)
    await log.close()
    assert.deepEqual(await new RecordLog({ store, clock }).get('guest', first.id), second)
  })

  test('pages give each record once, newest first, while more are added (G3)', async () => {
    const { clock, log } = make()
    const records: InvocationRecord[] = []
    for (let count = 0; count < 500; count++) {
      records.unshift(exampleRecord())
      log.add(records[0]!)
      if (count % 90 === 0) clock.advance(50)
    }
    const seen: InvocationRecord[] = []
    for (let cursor: string | undefined, first = true; first || cursor !== undefined; first = false) {
      const page = await log.list({ namespace: 'guest', limit: 33, ...(cursor !== undefined && { cursor }) })
      seen.push(...page.records)
      cursor = page.cursor
      log.add(exampleRecord())
    }
    assert.deepEqual(seen, records)
  })

  test('a listing is the filtered array, newest first, whatever is asked', async () => {
    const arbitrary = fc.record({
      function: fc.constantFrom('f', 'g'),
      outcome: fc.constantFrom('ok' as const, 'error' as const),
      start: fc.constantFrom('cold' as const, 'warm' as const),
      totalUs: fc.nat(3).map((ms) => ms * 1000),
      waitMs: fc.integer({ min: 0, max: 40 }),
    })
    const asked = fc.record(
      {
        function: fc.constantFrom('f', 'g'), outcome: fc.constantFrom('ok' as const, 'error' as const), start: fc.constantFrom('cold' as const, 'warm' as const),
        minUs: fc.integer({ min: 0, max: 3000 }), search: fc.constantFrom('BOOM', '1', 'nowhere'), sinceMs: fc.nat(1000), untilMs: fc.nat(1000),
      },
      { requiredKeys: [] },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(arbitrary, { maxLength: 60 }), asked, fc.integer({ min: 1, max: 9 }), async (made, query, limit) => {
        const { clock, log } = make({ scanBlocksMax: 2 })
        const from = clock.epochMs()
        const model: InvocationRecord[] = []
        for (const [index, { waitMs, ...over }] of made.entries()) {
          clock.advance(waitMs)
          const error = over.outcome === 'error' ? { error: { code: 'FUNCTION_THREW' as const, message: `boom ${index}` } } : {}
          // Added when it ends, as the platform does: so the order of adding is the order of ending.
          model.unshift(exampleRecord({ ...over, ...error, startedAtMs: clock.epochMs() - over.totalUs / 1000 }))
          log.add(model[0]!)
        }
        const { sinceMs, untilMs, ...rest } = query
        const times = { ...(sinceMs !== undefined && { sinceMs: from + sinceMs }), ...(untilMs !== undefined && { untilMs: from + untilMs }) }
        const expected = model.filter((record) => {
          const endMs = record.startedAtMs + record.totalUs / 1000
          return (rest.function === undefined || record.function === rest.function) && (rest.outcome === undefined || record.outcome === rest.outcome) &&
            (rest.start === undefined || record.start === rest.start) && record.totalUs >= (rest.minUs ?? 0) && endMs >= (times.sinceMs ?? 0) &&
            endMs < (times.untilMs ?? Infinity) && (rest.search === undefined || (record.error?.message.includes(rest.search.toLowerCase()) ?? false))
        })
        assert.deepEqual(await all(log, { namespace: 'guest', ...rest, ...times }, limit), expected)
      }),
      { numRuns: 150 },
    )
  })

  test('one function among many records of others costs its own blocks only', async () => {
    const { store, log } = make()
    for (let count = 0; count < 10_000; count++) log.add(exampleRecord(count % 5000 === 0 ? { function: 'rare' } : {}))
    const page = await log.list({ namespace: 'guest', function: 'rare', limit: 10 })
    assert.equal(page.records.length, 2)
    assert.equal(store.rowsRead, 2)
  })

  test('stops a hopeless search early, with a cursor to go on (G4)', async () => {
    const { store, log } = make({ scanBlocksMax: 10 })
    for (let count = 0; count < 50 * BLOCK_RECORDS_MAX; count++) log.add(exampleRecord())
    const page = await log.list({ namespace: 'guest', outcome: 'error', limit: 10 })
    assert.equal(page.records.length, 0)
    assert(page.cursor !== undefined && store.rowsRead === 11)
    assert.deepEqual(await all(log, { namespace: 'guest', outcome: 'error' }), [])
  })

  test('writes a block early when long errors have filled it, and loses none', async () => {
    const { store, log } = make()
    const error = { code: 'FUNCTION_THREW' as const, message: 'm'.repeat(4000), stack: 's'.repeat(4000) }
    const records = Array.from({ length: 20 }, () => exampleRecord({ outcome: 'error', status: 500, error }))
    for (const record of records) log.add(record)
    const rows = store.journals.get('records/guest/resize')!
    assert(rows.length >= 2 && rows.every(({ row }) => row.length < BLOCK_CHARS_MAX + 16 * 1024))
    assert.deepEqual(await all(log, { namespace: 'guest' }), records.reverse())
  })

  test('drops and counts what the store refuses (G2)', async () => {
    const { store, log } = make()
    for (let count = 0; count < 15; count++) log.add(exampleRecord())
    store.failure = new Error('full')
    assert.equal((await log.list({ namespace: 'guest', limit: 10 })).records.length, 0)
    assert.equal(log.dropped, 15)
  })

  test('cuts long error texts, and says by how much', async () => {
    const { log } = make()
    log.add(exampleRecord({ outcome: 'error', error: { code: 'FUNCTION_THREW', message: 'x'.repeat(10_000), details: { big: 'y'.repeat(10_000) } } }))
    const [record] = (await log.list({ namespace: 'guest', limit: 1 })).records
    assert.match(record!.error!.message, /^x{4096}… \(5904 characters more\)$/)
    assert.equal(record!.error!.details, undefined)
  })

  test('trims what is too old after a restart too, and what is too much', async () => {
    const { store, clock, log } = make({ daysMax: 1, bytesMax: 1_000_000 })
    log.add(exampleRecord())
    await log.close()
    clock.advance(25 * 3_600_000)
    const next = new RecordLog({ store, clock, config: { daysMax: 1, bytesMax: 5000 } })
    await next.start()
    assert.equal(await next.trim(), 2)
    for (let count = 0; count < 100; count++) next.add(exampleRecord())
    clock.advance(3_600_000)
    for (let count = 0; count < 10; count++) next.add(exampleRecord())
    clock.advance(100)
    await next.trim()
    assert.equal((await all(next, { namespace: 'guest' })).length, 10)
    await next.close()
  })

  test('skips a damaged row', async () => {
    const { store, clock, log } = make()
    log.add(exampleRecord())
    clock.advance(50)
    for (const row of ['', 'null', '{"v":2,\n', '{"v":2,"n":1,"c":1}\n', '{"v":3,"n":1}\n', '[{"v":1,"n":1}', '[{"v":1,\n', '[{"v":1,"n":3,"c":1,"e":0,"s":[],"x":0,"lo":0,"hi":0,"a":1},\n[}]']) store.append('records/guest', [{ atMs: clock.epochMs(), row }])
    assert.equal((await all(log, { namespace: 'guest' })).length, 1)
    for (const row of ['', 'null', '{}']) assert.deepEqual(decodeBlock(row, 'x'), [])
  })
})

describe('cursor', () => {
  test('comes back as it was', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31), fc.nat(2 ** 31), fc.nat(128), (atMs, number, seen) => {
        assert.deepEqual(parseCursor(formatCursor({ atMs, number, seen })), { atMs, number, seen })
      }),
    )
  })

  test('anything else is refused, never misread', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-z-]{0,30}$/)), (text) => {
        try {
          assert.equal(formatCursor(parseCursor(text)).length <= text.length, true)
        } catch (thrown) {
          assert.equal((thrown as { code?: string }).code, 'INPUT_INVALID')
        }
      }),
    )
  })
})
