/**
 * Goal: what happened can be seen: a record that adds up for every invocation, logs with its id, figures that agree with
 * what was sent, and traces that a collector understands.
 *
 * Method: one platform whose OTLP endpoint is a server in this test; known invocations, and then every view of them.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import type { LogLine } from '#contract/invocation-record.ts'
import { hello } from '../kit/functions.ts'
import { open } from '../kit/http.ts'
import { pause, startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

const WORKS = `
  export async function main({ spinMs = 0, waitMs = 0, prints = [], throws = false, answer = 'x' }: any) {
    for (const text of prints) console.log(text)
    const began = process.cpuUsage()
    const usedMs = () => { const { user, system } = process.cpuUsage(began); return (user + system) / 1000 }
    while (usedMs() < spinMs) continue
    await new Promise((resolve) => setTimeout(resolve, waitMs))
    if (throws) throw new Error('as told')
    return answer
  }
`
const PRINTS_PYTHON = `
import sys
def main(params):
    print('to stdout')
    print('to stderr', file=sys.stderr)
    return {}
`

/** A span as OTLP/JSON has it, as far as it is looked at here. */
interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
}

describe('seeing', () => {
  let platform: TestPlatform
  let collector: Server
  const spans: Span[] = []
  const sinceMs = Date.now()

  before(async () => {
    collector = createServer((request, response) => {
      void text(request).then((body) => {
        const { resourceSpans } = JSON.parse(body)
        for (const resource of resourceSpans) for (const scope of resource.scopeSpans) spans.push(...scope.spans)
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
      })
    }).listen(0, '127.0.0.1')
    await once(collector, 'listening')
    platform = await startTestPlatform({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}` } })
    await platform.deployText('works', 'works.ts', WORKS, { memoryMb: 128 })
    await platform.deployText('prints-python', 'prints.py', PRINTS_PYTHON)
    await platform.deployText('hello', hello.filename, hello.text)
  })
  after(async () => {
    await platform[Symbol.asyncDispose]()
    collector.closeAllConnections()
    collector.close()
  })

  test('a record adds up: its phases to the whole, its cost from memory and time, its bytes from the bodies', async () => {
    const payload = { spinMs: 60, waitMs: 40, answer: 'é'.repeat(100) }
    const cold = await platform.invoke('works', payload)
    const warm = await platform.invoke('works', payload)
    for (const [answer, start] of [[cold, 'cold'], [warm, 'warm']] as const) {
      const record = await platform.record(answer.id)
      assert.equal(record.start, start)
      assert.equal(answer.headers['x-skep-start'], start)
      const phases = record.queueUs + record.placementUs + record.sandboxUs + record.initUs + record.runUs
      assert.ok(Math.abs(phases - record.totalUs) <= 5, `the phases make ${phases} µs, the whole ${record.totalUs} µs`)
      assert.ok(record.runUs >= 98_000 && record.runUs < 2_000_000, `runUs ${record.runUs}`)
      assert.ok(record.cpuUs >= 30_000 && record.cpuUs < record.runUs + 50_000, `cpuUs ${record.cpuUs}`)
      assert.ok(record.memoryPeakMb > 10 && record.memoryPeakMb <= 128, `memoryPeakMb ${record.memoryPeakMb}`)
      assert.equal(record.memoryLimitMb, 128)
      assert.ok(Math.abs(record.gbMs - (record.runUs / 1000) * (128 / 1024)) < record.gbMs * 0.01, `gbMs ${record.gbMs}`)
      assert.ok(record.cost > 0)
      assert.equal(record.bytesIn, Buffer.byteLength(JSON.stringify(payload)))
      assert.equal(record.bytesOut, answer.body.length)
      assert.deepEqual([record.outcome, record.status, record.attempt, record.revision], ['ok', 200, 1, 1])
      if (start === 'cold') assert.ok(record.initUs > 0)
      else assert.deepEqual([record.sandboxUs, record.initUs], [0, 0])
    }
  })

  test('records are listed newest first and found by function, outcome, start, duration, error and time, page by page', async () => {
    const failed = await platform.invoke('works', { throws: true })
    const slow = await platform.invoke('works', { waitMs: 400 })
    const quick = await platform.invoke('hello')
    await platform.record(quick.id)
    const list = async (query: string): Promise<string[]> => (await platform.send(`/v1/invocations?${query}`)).json().invocations.map((one: { id: string }) => one.id)
    assert.equal((await list('limit=1'))[0], quick.id)
    assert.ok(!(await list('function=hello')).includes(slow.id))
    assert.deepEqual(await list('function=works&status=error'), [failed.id])
    assert.deepEqual(await list('function=works&search=as%20told'), [failed.id])
    assert.ok((await list('function=works&start=cold')).length === 1)
    assert.deepEqual(await list('function=works&start=warm&minUs=390000'), [slow.id])
    assert.deepEqual(await list(`since=${Date.now() + 1000}`), [])
    const all: string[] = []
    let cursor: string | undefined
    do {
      const page = (await platform.send(`/v1/invocations?since=${sinceMs}&limit=2${cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`}`)).json()
      all.push(...page.invocations.map((one: { id: string }) => one.id))
      cursor = page.cursor
    } while (cursor !== undefined)
    assert.deepEqual(all, await list(`since=${sinceMs}&limit=1000`))
    assert.equal(new Set(all).size, all.length)
  })

  test('what a function prints carries the id of its invocation, also when several run at once', async () => {
    const texts = ['first', 'second', 'third']
    const answers = await Promise.all(texts.map((word) => platform.invoke('works', { prints: [word, `${word} again`], waitMs: 50 })))
    for (const [index, answer] of answers.entries()) {
      const { logs, logLines } = await platform.record(answer.id)
      assert.deepEqual(logs.map((line) => line.text), [texts[index], `${texts[index]} again`])
      assert.ok(logs.every((line) => line.invocation === answer.id))
      assert.equal(logLines, 2)
    }
    const python = await platform.invoke('prints-python', {})
    const { logs } = await platform.record(python.id)
    assert.deepEqual(logs.map((line) => [line.level, line.text]), [['stdout', 'to stdout'], ['stderr', 'to stderr']])
  })

  test('logs are followed: the last ones, and each new line as it is printed', async () => {
    await platform.invoke('works', { prints: ['before'] })
    const { request, response } = await open(`${platform.url}/v1/functions/works/logs?follow=true&limit=1`, { headers: { authorization: `Bearer ${platform.key}` } })
    assert.match(String(response.headers['content-type']), /ndjson/)
    const lines = createInterface({ input: response })[Symbol.asyncIterator]()
    const next = async (): Promise<LogLine> => JSON.parse((await lines.next()).value!) as LogLine
    assert.equal((await next()).text, 'before')
    const answer = await platform.invoke('works', { prints: ['after'] })
    const line = await next()
    assert.deepEqual([line.text, line.invocation], ['after', answer.id])
    request.destroy()
    // Lines without following end by themselves.
    const all = (await platform.send('/v1/functions/works/logs?limit=2')).text.trim().split('\n').map((one) => JSON.parse(one) as LogLine)
    assert.deepEqual(all.map((one) => one.text), ['before', 'after'])
  })

  test('/metrics is Prometheus text, and its counts agree with what was sent', async () => {
    const parse = (exposition: string): Map<string, number> => {
      const samples = new Map<string, number>()
      for (const line of exposition.split('\n')) {
        if (line === '' || /^# (HELP|TYPE|UNIT|EOF)/.test(line)) continue
        const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*",?)*\})?) (-?[0-9.e+-]+|NaN|[+-]Inf)( \d+)?$/.exec(line)
        assert.ok(match !== null, `not Prometheus: ${line}`)
        assert.ok(!samples.has(match[1]!), `twice: ${match[1]}`)
        samples.set(match[1]!, Number(match[2]!.replace('Inf', 'Infinity')))
      }
      return samples
    }
    const sum = (samples: Map<string, number>, ...parts: string[]): number =>
      [...samples].filter(([name]) => parts.every((part) => name.includes(part))).reduce((total, [, value]) => total + value, 0)
    const before = parse((await platform.send('/metrics')).text)
    for (let n = 0; n < 7; n++) await platform.invoke('hello')
    for (let n = 0; n < 3; n++) await platform.invoke('works', { throws: true })
    const answer = await platform.send('/metrics')
    assert.match(String(answer.headers['content-type']), /text\/plain|openmetrics/)
    const now = parse(answer.text)
    const grown = (...parts: string[]): number => sum(now, ...parts) - sum(before, ...parts)
    assert.equal(grown('skep_invocations_total{', 'function="hello"', 'outcome="ok"'), 7)
    assert.equal(grown('skep_invocations_total{', 'function="works"', 'outcome="error"'), 3)
    assert.equal(grown('skep_invocation_errors_total{', 'code="FUNCTION_THREW"'), 3)
    assert.equal(grown('skep_invocation_duration_seconds_count{', 'function="hello"'), 7)
    assert.ok(sum(now, 'skep_instances{') >= 2)
    // Cumulative buckets never fall, and the last is the count.
    const buckets = [...now].filter(([name]) => name.startsWith('skep_invocation_duration_seconds_bucket') && name.includes('function="hello"')).map(([, value]) => value)
    assert.deepEqual(buckets, buckets.toSorted((a, b) => a - b))
    assert.equal(buckets.at(-1), sum(now, 'skep_invocation_duration_seconds_count{', 'function="hello"'))
  })

  test('a collector gets the spans, in the trace that the caller began', async () => {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    const answer = await platform.invoke('hello', {}, { traceparent: `00-${traceId}-00f067aa0ba902b7-01` })
    const own = await until(() => {
      const found = spans.filter((span) => span.traceId === traceId)
      return found.length > 0 ? found : undefined
    }, 'the collector has the trace')
    assert.ok(own.some((span) => span.parentSpanId === '00f067aa0ba902b7'), JSON.stringify(own))
    assert.ok(own.some((span) => span.name.includes('hello')))
    assert.ok(spans.every((span) => /^[0-9a-f]{32}$/.test(span.traceId) && /^[0-9a-f]{16}$/.test(span.spanId)))
    assert.equal((await platform.record(answer.id)).traceparent.split('-')[1], traceId)
  })

  test('an invocation without a trace begins one, which is its own id', async () => {
    const answer = await platform.invoke('hello')
    assert.equal((await platform.record(answer.id)).traceparent.split('-')[1], answer.id)
  })

  test('stats say how many there were and how long they took', async () => {
    await pause(10)
    const { functions, platform: whole } = (await platform.send('/v1/stats')).json()
    assert.ok(JSON.stringify(functions).includes('hello'))
    assert.equal(whole.pid, platform.pid)
    assert.ok(whole.residentBytes > 1e7)
  })
})
