/** Goal: /metrics says what the records say. Method: a few records, the text that follows from them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Metrics } from '#base/metrics.ts'
import { exampleRecord } from './example-record.fake.ts'
import { InvocationMetrics } from './invocation-metrics.ts'

test('counts invocations by start and outcome, errors by code, and time in seconds', () => {
  const metrics = new Metrics()
  const counted = new InvocationMetrics(metrics)
  counted.add(exampleRecord({ totalUs: 1_500_000 }))
  counted.add(exampleRecord({ totalUs: 500_000 }))
  counted.add(exampleRecord({ start: 'cold', outcome: 'error', error: { code: 'FUNCTION_THREW', message: 'x' }, sandboxUs: 1000, initUs: 2000 }))
  const text = metrics.expose()
  const of = 'namespace="guest",function="resize"'
  for (const line of [
    `skep_invocations_total{${of},start="warm",outcome="ok"} 2`,
    `skep_invocations_total{${of},start="cold",outcome="error"} 1`,
    `skep_invocation_errors_total{${of},code="FUNCTION_THREW"} 1`,
    `skep_invocation_duration_seconds_bucket{${of},le="1.048576"} 2`,
    `skep_invocation_duration_seconds_count{${of}} 3`,
    `skep_invocation_start_seconds_sum{${of}} 0.003`,
  ]) assert(text.includes(`\n${line}\n`), line)
})

test('functions beyond the bound are counted together', () => {
  const metrics = new Metrics()
  const counted = new InvocationMetrics(metrics, { functionsMax: 2 })
  for (const name of ['a', 'b', 'c', 'd']) counted.add(exampleRecord({ function: name }))
  assert(metrics.expose().includes('skep_invocations_total{namespace="_other",function="_other",start="warm",outcome="ok"} 2'))
  assert(metrics.expose().includes('skep_invocation_run_seconds_count{namespace="_other",function="_other"} 2'))
})

test('a function that was deleted leaves no series, and makes room for another (M1)', () => {
  const metrics = new Metrics()
  const deployed = new Set(['a', 'b'])
  const counted = new InvocationMetrics(metrics, { functionsMax: 2, isDeployed: (_namespace, name) => deployed.has(name) })
  counted.add(exampleRecord({ function: 'gone' }))
  for (const name of ['a', 'b']) {
    counted.add(exampleRecord({ function: name }))
    counted.add(exampleRecord({ function: name, start: 'cold', outcome: 'error', error: { code: 'FUNCTION_THREW', message: 'x' } }))
    counted.add(exampleRecord({ function: name, outcome: 'error', error: { code: 'FUNCTION_TIMEOUT', message: 'x' } }))
  }
  const seriesOf = (name: string): number => metrics.expose().split('\n').filter((line) => line.includes(`function="${name}"`)).length
  const before = seriesOf('b')
  deployed.delete('a')
  counted.remove('guest', 'a')
  counted.remove('guest', 'a')
  counted.remove('nobody', 'a')
  assert.deepEqual([seriesOf('a'), seriesOf('b')], [0, before])
  deployed.add('c')
  counted.add(exampleRecord({ function: 'c' }))
  counted.add(exampleRecord({ function: 'd' }))
  assert(seriesOf('c') > 0 && seriesOf('d') === 0)
  const lines = metrics.expose().split('\n')
  assert.equal(new Set(lines).size, lines.length, 'no series twice')
})

test('what ends after its function was deleted is counted with the others, until there is such a function again (M1)', () => {
  const metrics = new Metrics()
  const deployed = new Set(['a'])
  const counted = new InvocationMetrics(metrics, { isDeployed: (_namespace, name) => deployed.has(name) })
  const ended = (name: string): string | undefined => new RegExp(`skep_invocations_total{.*function="${name}".* (\\d+)`).exec(metrics.expose())?.[1]
  for (let count = 0; count < 3; count++) counted.add(exampleRecord({ function: 'a' }))
  deployed.delete('a')
  counted.remove('guest', 'a')
  for (let count = 0; count < 2; count++) counted.add(exampleRecord({ function: 'a' }))
  assert.deepEqual([ended('a'), ended('_other')], [undefined, '2'])
  deployed.add('a')
  counted.add(exampleRecord({ function: 'a' }))
  assert.deepEqual([ended('a'), ended('_other')], ['1', '2'])
})

test('snapshot starts are counted by restore mode and by where their pages came from, and leave nothing when their function is deleted (M1)', () => {
  const metrics = new Metrics()
  const counted = new InvocationMetrics(metrics)
  counted.add(exampleRecord({ start: 'snapshot', sandboxUs: 40, snapshot: { mode: 'lazy', restoreUs: 40 } }))
  counted.add(exampleRecord({ start: 'snapshot', snapshot: { mode: 'reap', restoreUs: 15_000, pagesPrefetched: 1965, pagesFaulted: 2, bytesRead: 8_056_832, readUs: 14_000 } }))
  counted.add(exampleRecord({ start: 'snapshot', snapshot: { mode: 'reap', restoreUs: 16_000, pagesPrefetched: 1965, pagesFaulted: 3, pagesRecorded: 1960, pagesUnused: 8 } }))
  counted.add(exampleRecord({ function: 'other' }))
  const of = 'namespace="guest",function="resize"'
  const text = metrics.expose()
  for (const line of [
    `skep_snapshot_restore_seconds_count{${of},mode="lazy"} 1`,
    `skep_snapshot_restore_seconds_bucket{${of},mode="lazy",le="0.000064"} 1`,
    `skep_snapshot_restore_seconds_sum{${of},mode="reap"} 0.031`,
    `skep_snapshot_pages_prefetched_total{${of}} 3930`,
    `skep_snapshot_pages_faulted_total{${of}} 5`,
    `skep_snapshot_pages_recorded_total{${of}} 1960`,
    `skep_snapshot_pages_unused_total{${of}} 8`,
    `skep_snapshot_read_bytes_total{${of}} 8056832`,
    `skep_snapshot_read_seconds_total{${of}} 0.014`,
  ]) assert(text.includes(`\n${line}\n`), `${line} is not in\n${text}`)
  assert(!/skep_snapshot_.*other/.test(text))
  counted.remove('guest', 'resize')
  assert(!/skep_snapshot_.*resize/.test(metrics.expose()))
})
