/** Goal: one call tells everybody. Method: a record, and then each place where it must show. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { exampleRecord } from './example-record.fake.ts'
import { FakeJournals } from './journals.fake.ts'
import { Telemetry } from './main.ts'

test('an invocation that ended shows in records, stats and metrics', async () => {
  const clock = new ManualClock()
  const store = new FakeJournals()
  const telemetry = new Telemetry({ store, clock, random: () => 0, readStat: () => 'cpu  1 2 3 4' })
  await telemetry.start()
  const record = exampleRecord({ startedAtMs: clock.epochMs() })
  telemetry.ended(record)
  clock.advance(60)
  store.failure = new Error('full')
  telemetry.ended(exampleRecord({ startedAtMs: clock.epochMs() }))
  clock.advance(60)
  store.failure = undefined
  assert.deepEqual(await telemetry.records.get('guest', record.id), record)
  assert.equal(telemetry.stats.read({ namespace: 'guest', nowMs: clock.epochMs() })[0]!.invocations, 2)
  const text = telemetry.metrics.expose()
  assert.match(text, /\nskep_invocations_total\{.*outcome="ok"\} 2\n/)
  assert.match(text, /\nskep_telemetry_lost_total\{kind="records"\} 1\n/)
  await telemetry.close()
  assert.equal(store.journals.get('records/guest')?.length, 1)
})
