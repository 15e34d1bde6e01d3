/** Goal: the figures are those of the last minutes and of nothing older (Q1), in bounded memory (Q2). Method: records with given times. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exampleRecord } from './example-record.fake.ts'
import { Stats } from './stats.ts'

const start = 1_700_000_040_000 - (1_700_000_040_000 % 60_000)
const at = (minutes: number, over: Parameters<typeof exampleRecord>[0] = {}) => exampleRecord({ startedAtMs: start + minutes * 60_000, ...over })

describe('Stats', () => {
  test('adds up what ended', () => {
    const stats = new Stats(start)
    for (let count = 0; count < 98; count++) stats.add(at(0, { totalUs: 1000, cpuUs: 500, gbMs: 10, cost: 1 }))
    stats.add(at(0, { totalUs: 50_000, start: 'cold', cpuUs: 500, gbMs: 10, cost: 1 }))
    stats.add(at(0, { totalUs: 1000, start: 'snapshot', outcome: 'error', cpuUs: 500, gbMs: 10, cost: 1 }))
    const [figures] = stats.read({ namespace: 'guest', nowMs: start + 10_000 })
    assert.equal(figures!.invocations, 100)
    assert.equal(figures!.perSecond, 10)
    assert.deepEqual([figures!.errors, figures!.errorShare, figures!.cold, figures!.snapshot, figures!.coldShare], [1, 0.01, 1, 1, 0.02])
    assert(Math.abs(figures!.totalUs.p50 - 1000) < 125)
    assert.equal(figures!.totalUs.max, 50_000)
    assert.deepEqual([figures!.cpuMs, figures!.gbSeconds, figures!.cost], [50, 1, 100])
  })

  test('forgets what is older than the window, also when nothing more comes (Q1)', () => {
    const stats = new Stats(start, { minutes: 3, functionsMax: 10 })
    for (const minute of [0, 1, 2, 3]) stats.add(at(minute))
    const count = (minute: number, minutes?: number) => stats.read({ namespace: 'guest', nowMs: start + minute * 60_000 + 1, ...(minutes !== undefined && { minutes }) })[0]?.invocations
    assert.deepEqual([count(3), count(3, 1), count(4), count(5), count(6)], [3, 1, 2, 1, undefined])
  })

  test('counts functions beyond the bound together, and makes room when others rest (Q2)', () => {
    const stats = new Stats(start, { minutes: 2, functionsMax: 2 })
    for (const name of ['a', 'b', 'c', 'd']) stats.add(at(0, { function: name }))
    const names = (minute: number) => stats.read({ namespace: 'guest', nowMs: start + minute * 60_000 }).map((one) => [one.function, one.invocations])
    assert.deepEqual(names(0), [['_other', 2], ['a', 1], ['b', 1]])
    stats.add(at(5, { function: 'e' }))
    assert.deepEqual(names(5), [['e', 1]])
  })

  test('a record that comes late counts to the present minute', () => {
    const stats = new Stats(start)
    stats.add(at(2))
    stats.add(at(1))
    assert.equal(stats.read({ namespace: 'guest', nowMs: start + 2 * 60_000, minutes: 1 })[0]!.invocations, 2)
  })

  test('keeps namespaces apart', () => {
    const stats = new Stats(start)
    stats.add(at(0, { namespace: 'a' }))
    assert.deepEqual(stats.read({ namespace: 'b', nowMs: start }), [])
    assert.deepEqual(stats.read({ namespace: 'a', function: 'other', nowMs: start }), [])
  })
})
