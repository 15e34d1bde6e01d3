/** Goal: /metrics says what S3 requests did. Method: a few that have ended, the text that follows from them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Metrics } from '#base/metrics.ts'
import { S3Metrics } from './s3-metrics.ts'

test('counts S3 requests by operation and status, their bytes, and time in seconds', () => {
  const metrics = new Metrics()
  const { add } = new S3Metrics(metrics)
  add({ operation: 'PutObject', status: '2xx', us: 1000, bytesIn: 100, bytesOut: 0 })
  add({ operation: 'PutObject', status: '2xx', us: 500_000, bytesIn: 20, bytesOut: 0 })
  add({ operation: 'PutObject', status: '5xx', us: 100, bytesIn: 0, bytesOut: 300 })
  add({ operation: 'GetObject', status: 'cut', us: 250_000, bytesIn: 0, bytesOut: 7 })
  const lines = metrics.expose().split('\n')
  for (const line of [
    'skep_s3_requests_total{operation="PutObject",status="2xx"} 2',
    'skep_s3_requests_total{operation="PutObject",status="5xx"} 1',
    'skep_s3_requests_total{operation="GetObject",status="cut"} 1',
    'skep_s3_request_bytes_total{operation="PutObject"} 120',
    'skep_s3_answer_bytes_total{operation="PutObject"} 300',
    'skep_s3_answer_bytes_total{operation="GetObject"} 7',
    'skep_s3_request_duration_seconds_bucket{operation="PutObject",le="0.001024"} 2',
    'skep_s3_request_duration_seconds_count{operation="PutObject"} 3',
    'skep_s3_request_duration_seconds_sum{operation="GetObject"} 0.25',
  ]) assert(lines.includes(line), line)
})
