/**
 * Goal: records and logs survive the process on the real store, and a quiet function's records are found fast among many.
 *
 * Method: the embedded store in a temporary directory; closed and opened again in between.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { systemClock } from '#base/clock.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { openSqliteStore } from '#store/sqlite-store.ts'
import { exampleRecord } from './example-record.fake.ts'
import { LogStore } from './log-store.ts'
import { RecordLog } from './record-log.ts'

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'skep-telemetry-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('records are found after a restart: by id, by function, by error, page by page', async (t) => {
  const path = join(directory(t), 'store.db')
  const startedAtMs = systemClock.epochMs()
  const error = { code: 'FUNCTION_THREW' as const, message: 'no such file: cat.png' }
  const records: InvocationRecord[] = []
  {
    const store = await openSqliteStore({ path })
    const log = new RecordLog({ store, clock: systemClock })
    await log.start()
    for (let count = 0; count < 20_000; count++) {
      const over = count % 5000 === 17 ? { function: 'rare' } : count === 9000 ? { outcome: 'error' as const, error } : {}
      records.push(exampleRecord({ startedAtMs, ...over }))
      log.add(records[count]!)
    }
    await log.close()
    await store.close()
  }
  const store = await openSqliteStore({ path })
  const log = new RecordLog({ store, clock: systemClock })
  await log.start()
  assert.deepEqual(await log.get('guest', records[12_345]!.id), records[12_345])
  const rare = await log.list({ namespace: 'guest', function: 'rare', limit: 10 })
  assert.deepEqual(rare.records, records.filter((record) => record.function === 'rare').reverse())
  const found = await log.list({ namespace: 'guest', search: 'CAT.png', limit: 10 })
  assert.deepEqual(found.records, [records[9000]])
  const seen: InvocationRecord[] = []
  for (let cursor: string | undefined, first = true; first || cursor !== undefined; first = false) {
    const page = await log.list({ namespace: 'guest', limit: 1000, ...(cursor !== undefined && { cursor }) })
    seen.push(...page.records)
    cursor = page.cursor
  }
  assert.deepEqual(seen, records.toReversed())
  await log.close()
  await store.close()
})

test('lines of functions are found after a restart', async (t) => {
  const path = join(directory(t), 'store.db')
  const atMs = systemClock.epochMs()
  const { id } = exampleRecord({ startedAtMs: atMs })
  {
    const store = await openSqliteStore({ path })
    const logs = new LogStore({ store, clock: systemClock })
    await logs.start()
    const log = logs.invocation({ namespace: 'guest', function: 'f', invocation: id, bytesMax: 100_000 })
    for (let count = 0; count < 5000; count++) log.add('stdout', `line ${count}`, atMs)
    assert.equal(log.end().lines, 5000)
    await logs.close()
    await store.close()
  }
  const store = await openSqliteStore({ path })
  const logs = new LogStore({ store, clock: systemClock })
  const page = await logs.read({ namespace: 'guest', function: 'f', invocation: id, limit: 10_000 })
  assert.deepEqual(page.lines.map((line) => line.text), Array.from({ length: 5000 }, (_, count) => `line ${count}`))
  await logs.close()
  await store.close()
})
