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
