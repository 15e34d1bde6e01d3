/**
 * Goal: a collector gets well-formed OTLP once per sampled invocation, and a bad collector costs traces and nothing else.
 *
 * Method: a real HTTP server on the loopback as the collector; a manual clock for batching and backoff. What has no timer
 * (the answer of the server) is waited for as an event of the server.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ManualClock } from '#base/clock.ts'
import { exampleRecord } from './example-record.fake.ts'
import { spansOf } from './otlp.ts'
import type { OtlpTraces } from './otlp.ts'
import { TraceExporter, parsePairs, retryAfterMs, traceConfigFromEnvironment, traceExporterDefaults } from './trace-exporter.ts'
import type { TraceExporterConfig } from './trace-exporter.ts'

interface Received {
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: OtlpTraces
}

/** A collector that answers with these statuses in turn, then 200. */
async function collector(t: TestContext, statuses: number[] = []) {
  const received: Received[] = []
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += String(chunk)
    received.push({ url: request.url!, headers: request.headers, body: JSON.parse(text) as OtlpTraces })
    response.writeHead(statuses.shift() ?? 200, { 'retry-after': '2' }).end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received }
}

function make(url: string, over: Partial<TraceExporterConfig> = {}) {
  const clock = new ManualClock()
  const config = { ...traceExporterDefaults, ...traceConfigFromEnvironment({ OTEL_EXPORTER_OTLP_ENDPOINT: url })!, ...over }
  return { clock, exporter: new TraceExporter({ config, clock, random: () => 1 }) }
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000
  while (!holds()) {
    assert(performance.now() < deadline, 'it did not happen in 5 s')
    await nextTurn()
  }
}

const sampled = () => exampleRecord({ traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', start: 'cold', initUs: 50 })

describe('spansOf', () => {
  test('lays the phases inside the invocation, below it, and the invocation below its caller', () => {
    const record = sampled()
    const [root, ...phases] = spansOf(record)
    assert.equal(root!.parentSpanId, '00f067aa0ba902b7')
    assert.deepEqual(phases.map((span) => span.name), ['queue', 'init', 'run'])
    for (const span of phases) {
      assert.equal(span.traceId, '4bf92f3577b34da6a3ce929d0e0e4736')
      assert.equal(span.parentSpanId, root!.spanId)
      assert(BigInt(span.startTimeUnixNano) >= BigInt(root!.startTimeUnixNano) && BigInt(span.endTimeUnixNano) <= BigInt(root!.endTimeUnixNano))
    }
    assert.equal(BigInt(root!.endTimeUnixNano) - BigInt(root!.startTimeUnixNano), 1_800_000n)
    assert.equal(phases.at(-1)!.endTimeUnixNano, root!.endTimeUnixNano)
    assert.equal(new Set([root!, ...phases].map((span) => span.spanId)).size, 4)
  })

  test('a trace that begins here has a root without a parent, whatever the attempt', () => {
    for (const attempt of [1, 2]) assert.equal(spansOf(exampleRecord({ attempt }))[0]!.parentSpanId, undefined)
  })

  test('an error says its code and message', () => {
    const [root] = spansOf(exampleRecord({ outcome: 'error', status: 500, error: { code: 'FUNCTION_THREW', message: 'boom' } }))
    assert.deepEqual(root!.status, { code: 2, message: 'boom' })
    assert.deepEqual(root!.attributes.find(({ key }) => key === 'error.type')?.value, { stringValue: 'FUNCTION_THREW' })
  })
})

describe('TraceExporter', () => {
  test('posts OTLP JSON in batches, with headers and resource', async (t) => {
    const { url, received } = await collector(t)
    const { clock, exporter } = make(url, { headers: { authorization: 'Bearer x' }, resource: { 'service.name': 'shop', zone: 'a' } })
    const record = sampled()
    exporter.add(record)
    exporter.add(exampleRecord())
    clock.advance(1000)
    await until(() => exporter.sent === 1)
    const [{ url: path, headers, body } = assert.fail()] = received
    assert.deepEqual([path, headers['content-type'], headers.authorization], ['/v1/traces', 'application/json', 'Bearer x'])
    const [{ resource, scopeSpans } = assert.fail()] = body.resourceSpans
    assert.deepEqual(resource.attributes, [{ key: 'service.name', value: { stringValue: 'shop' } }, { key: 'zone', value: { stringValue: 'a' } }])
    assert.deepEqual(scopeSpans[0]!.spans, spansOf(record))
    for (const span of scopeSpans[0]!.spans) {
      assert.match(span.traceId, /^[0-9a-f]{32}$/)
      assert.match(span.spanId, /^[0-9a-f]{16}$/)
      assert.match(span.startTimeUnixNano, /^\d{19}$/)
    }
    await exporter.close()
  })

  test('tries again after what passes, not sooner than it was told (X2)', async (t) => {
    const { url, received } = await collector(t, [503, 429])
    const { clock, exporter } = make(url)
    exporter.add(sampled())
    clock.advance(1000)
    await until(() => received.length === 1)
    await until(() => !exporter.sending)
    clock.advance(1999)
    assert.equal(received.length, 1)
    clock.advance(1)
    await until(() => received.length === 2)
    await until(() => !exporter.sending)
    clock.advance(2000)
    await until(() => exporter.sent === 1)
    assert.deepEqual([received.length, exporter.dropped], [3, 0])
    await exporter.close()
  })

  test('drops what is refused, and what waits too long, and counts it (X1, X2)', async (t) => {
    const { url } = await collector(t, [400])
    const { clock, exporter } = make(url, { queueMax: 3, batchMax: 10 })
    for (let count = 0; count < 5; count++) exporter.add(sampled())
    assert.equal(exporter.dropped, 2)
    clock.advance(1000)
    await until(() => exporter.dropped === 5)
    await exporter.close()
  })

  test('gives up on a collector that is not there, after its attempts (X2)', async (t) => {
    const { url } = await collector(t)
    const { clock, exporter } = make(url.replace(/\d+$/, '1'), { attemptsMax: 2 })
    exporter.add(sampled())
    clock.advance(1000)
    await until(() => {
      if (!exporter.sending) clock.advance(500)
      return exporter.dropped === 1
    })
    await exporter.close()
  })

  test('sends what waits when it closes (X3)', async (t) => {
    const { url, received } = await collector(t)
    const { exporter } = make(url)
    exporter.add(sampled())
    await exporter.close()
    assert.deepEqual([received.length, exporter.sent], [1, 1])
  })
})

describe('traceConfigFromEnvironment', () => {
  test('is off without an endpoint, with a wrong one, and when disabled', () => {
    assert.equal(traceConfigFromEnvironment({}), undefined)
    assert.equal(traceConfigFromEnvironment({ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317' }), undefined)
    assert.equal(traceConfigFromEnvironment({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_SDK_DISABLED: 'true' }), undefined)
  })

  test('reads endpoint, headers, timeout and resource as the specification says', () => {
    const config = traceConfigFromEnvironment({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318/', OTEL_EXPORTER_OTLP_HEADERS: 'api-key=a%20b, x = y,broken', OTEL_EXPORTER_OTLP_TIMEOUT: '300',
      OTEL_RESOURCE_ATTRIBUTES: 'service.name=a,zone=b', OTEL_SERVICE_NAME: 'shop',
    })!
    assert.deepEqual([config.url, config.headers, config.timeoutMs], ['http://c:4318/v1/traces', { 'api-key': 'a b', x: 'y' }, 300])
    assert.deepEqual(config.resource, { 'service.name': 'shop', zone: 'b' })
    assert.equal(traceConfigFromEnvironment({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c/own' })!.url, 'http://c/own')
  })

  test('leaves out what is no pair', () => {
    assert.deepEqual(parsePairs('a=%zz,=b,c=d%0Ae,f=g=h'), { f: 'g=h' })
  })
})

test('Retry-After is seconds or a date, and at most a minute', () => {
  const nowMs = Date.parse('2026-01-01T00:00:00Z')
  assert.deepEqual(
    [undefined, '3', '999', 'soon', 'Thu, 01 Jan 2026 00:00:05 GMT', 'Thu, 01 Jan 2020 00:00:00 GMT'].map((header) => retryAfterMs(header, nowMs)),
    [0, 3000, 60_000, 0, 5000, 0],
  )
})
