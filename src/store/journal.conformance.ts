/**
 * Goal: every implementation of Store keeps T4, and gives journals in the order of time.
 *
 * Method: rows written in several flushes and read back in both orders and by range, against a sorted list. Rows of the
 * same time may come in any order: the interface promises none.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { until, withHarness } from './store.harness.ts'
import type { StoreConformance } from './store.harness.ts'
import type { JournalQuery, JournalRow, Store } from './store.ts'

const row = (atMs: number, text = `{"at":${atMs}}`): JournalRow => ({ atMs, row: text })
const newest = { order: 'newest-first' } as const
const oldest = { order: 'oldest-first' } as const

export function runJournalConformance(conformance: StoreConformance): void {
  const withStore = withHarness(conformance)

  describe(`${conformance.name} keeps the promises of Store: journals`, () => {
    test('shows rows at once, before and after they are flushed, in both orders (T4)', withStore(async ({ store }) => {
      store.append('j', [row(1), row(3)])
      assert.deepEqual(await read(store, 'j', newest), [row(3), row(1)])
      await store.flush()
      store.append('j', [row(2)])
      store.append('other', [row(9)])
      assert.deepEqual(await read(store, 'j', newest), [row(3), row(2), row(1)])
      await store.flush()
      assert.deepEqual(await read(store, 'j', oldest), [row(1), row(2), row(3)])
      assert.deepEqual(await read(store, 'nothing', oldest), [])
    }))

    test('keeps flushed rows across a reopening, and closing flushes (T4)', withStore(async ({ store, reopen }) => {
      store.append('j', [row(1)])
      await store.flush()
      store.append('j', [row(2)])
      await store.close()
      const again = await reopen()
      again.append('j', [row(3)])
      assert.deepEqual(await read(again, 'j', oldest), [row(1), row(2), row(3)])
    }))

    test('gives rows back unchanged, whatever their text', withStore(async ({ store }) => {
      const texts = ['', '"a\\nb"', '{\n  "pretty": true\n}', '"\u{1F41D} ü"', `"${'x'.repeat(700_000)}"`, '"last"']
      store.append('j', texts.map((text, index) => row(index, text)))
      await store.flush()
      assert.deepEqual((await read(store, 'j', oldest)).map((one) => one.row), texts)
    }))

    test('agrees with a sorted list over random appends, flushes and ranges', withStore(async ({ store }) => {
      // Times from a second to hours apart, many of them equal, seldom in order.
      const time = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 20 }).map((n) => n * 47_000))
      const step = fc.record({ times: fc.array(time, { maxLength: 12 }), flush: fc.boolean() })
      const bound = fc.option(time, { nil: undefined })
      let run = 0
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 8 }), bound, bound, fc.boolean(), async (steps, fromMs, untilMs, newestFirst) => {
          const journal = `run-${run++}`
          const appended: JournalRow[] = []
          for (const { times, flush } of steps) {
            const rows = times.map((atMs, index) => row(atMs, `[${appended.length + index}]`))
            appended.push(...rows)
            store.append(journal, rows)
            if (flush) await store.flush()
          }
          const query: JournalQuery = {
            order: newestFirst ? 'newest-first' : 'oldest-first',
            ...(fromMs !== undefined && { fromMs }),
            ...(untilMs !== undefined && { untilMs }),
          }
          const expected = appended.filter((one) => one.atMs >= (fromMs ?? -1) && one.atMs < (untilMs ?? Infinity))
          const found = await read(store, journal, query)
          assert.deepEqual(found.map((one) => one.row).sort(), expected.map((one) => one.row).sort())
          const times = found.map((one) => one.atMs)
          assert.deepEqual(times, times.toSorted((a, b) => (newestFirst ? b - a : a - b)))
        }),
        { numRuns: 60 },
      )
    }))

    test('lets a reader stop early, and appends go on while it reads', withStore(async ({ store }) => {
      const rows = Array.from({ length: 5000 }, (_, index) => row(index))
      store.append('j', rows)
      await store.flush()
      let count = 0
      for await (const one of store.read('j', newest)) {
        if (count === 0) store.append('j', [row(10_000)])
        assert.equal(one.atMs, 4999 - count)
        if (++count === 50) break
      }
      assert.equal((await read(store, 'j', newest))[0]!.atMs, 10_000)
    }))

    test('trims what is old in whole batches, and nothing else', withStore(async ({ store }) => {
      for (const base of [0, 1000, 2000]) {
        store.append('j', Array.from({ length: 20 }, (_, index) => row(base + index)))
        store.append('kept', [row(base)])
        await store.flush()
      }
      const trimmed = await store.trim('j', 1010)
      const left = await read(store, 'j', oldest)
      assert.equal(trimmed + left.length, 60)
      assert.deepEqual(left.filter((one) => one.atMs >= 1010).length, 30)
      await until(async () => {
        await store.trim('j', 1e6)
        return (await read(store, 'j', oldest)).length === 0
      })
      assert.equal((await read(store, 'kept', oldest)).length, 3)
      assert.equal(await store.trim('nothing', 1e6), 0)
    }))
  })
}

function read(store: Store, journal: string, query: JournalQuery): Promise<JournalRow[]> {
  return Array.fromAsync(store.read(journal, query))
}
