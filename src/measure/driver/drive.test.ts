/**
 * Goal: a sub-experiment becomes samples, failures and an outcome as its settings say.
 *
 * Method: experiment files through the real parser, sent to a real server that counts and misbehaves on demand.
 */
import assert from 'node:assert/strict'
import type { RequestListener } from 'node:http'
import { describe, test } from 'node:test'
import { seededRandom } from '#base/seeded-random.ts'
import { PlatformError } from '#contract/errors.ts'
import { parseExperiment } from '../experiment.ts'
import type { SubExperiment } from '../experiment.ts'
import type { Endpoint } from '../provider.ts'
import { driveSubExperiment } from './drive.ts'
import type { DriveOptions, DriveResult, MeasuredSample } from './drive.ts'
import { endpointAt, httpServer } from './test-server.fake.ts'

function settingsOf(fields: object): SubExperiment {
  return parseExperiment(JSON.stringify({ SubExperiments: [{ Bursts: 6, BurstSizes: [1], DesiredServiceTimes: ['0ms'], ...fields }] }), 'test.json').SubExperiments[0]!
}

interface Driven {
  readonly result: DriveResult
  readonly samples: readonly MeasuredSample[]
  readonly urls: readonly string[]
}

async function drive(fields: object, listener: RequestListener, options: Partial<DriveOptions> & { readonly count?: number } = {}): Promise<Driven> {
  const urls: string[] = []
  await using server = await httpServer((request, response) => {
    urls.push(request.url!)
    listener(request, response)
  })
  const samples: MeasuredSample[] = []
  const endpoints: Endpoint[] = Array.from({ length: options.count ?? 1 }, (_, index) => endpointAt(server.origin, `/${index}`))
  const settings = settingsOf(fields)
  const result = await driveSubExperiment({ settings, endpoints, random: seededRandom(1), signal: new AbortController().signal, onSample: (sample) => samples.push(sample), ...options })
  return { result, samples, urls }
}

const hello: RequestListener = (_request, response) => response.end('{"requestId":"r","start":"warm","timestamps":["1"]}')

for (const [loop, fields] of [['closed', {}], ['open', { openLoop: { arrivalsPerSecond: 5000 } }]] as const) {
  describe(`a ${loop} loop`, () => {
    test('sends bursts to endpoints in turn with their service times, and writes no warm-up (D1)', async () => {
      const { result, samples, urls } = await drive({ ...fields, BurstSizes: [1, 2], DesiredServiceTimes: ['0ms', '3ms'], PayloadLengthBytes: 7, warmUp: 1 }, hello, { count: 2 })
      // Of one burst the connections may overtake one another; all are alike.
      const expected = ['/0?ms=0', '/1?ms=0', '/0?ms=0', '/1?ms=0', '/0?ms=3', '/0?ms=3', '/1?ms=3', '/1?ms=3', '/0?ms=3', '/1?ms=3'].map((url) => `${url}&bytes=7`)
      assert.deepEqual(urls.toSorted(), expected.toSorted())
      assert.deepEqual(samples.map(({ burstId }) => burstId).toSorted(), [0, 1, 2, 2, 3, 3, 4, 5])
      assert.deepEqual([result.outcome, result.samples, result.sent, result.failures, result.latencyOf], [{ kind: 'done' }, 8, 10, [], 'first-byte'])
      assert.equal(result.latenessHistogram.count, 8)
    })

    test('a sample has the answer, and times that fit together', async () => {
      const [fromMs, { samples }] = [Date.now(), await drive(fields, hello)]
      for (const { requestId, start, timestamps, host, sentAtMs, latencyMs, wholeMs, connectMs, lateMs, bodyBytes } of samples) {
        assert.deepEqual([requestId, start, timestamps, bodyBytes], ['r', 'warm', ['1'], 51])
        assert.match(host, /^127\.0\.0\.1:\d+$/)
        assert(sentAtMs > fromMs - 5 && sentAtMs + wholeMs < Date.now() + 5, `${sentAtMs} in ${fromMs}…${Date.now()}`)
        assert(0 <= connectMs && connectMs + (loop === 'open' ? lateMs : 0) < latencyMs && latencyMs <= wholeMs && lateMs >= 0)
      }
    })

    test('gives up above a tenth of failures, says which, and keeps the samples (as the original)', async () => {
      let count = 0
      const { result, samples } = await drive({ ...fields, Bursts: 40 }, (request, response) => {
        count++
        if (count <= 10) return hello(request, response)
        response.statusCode = 503
        response.end('no instance')
      })
      assert.deepEqual(result.failures.map(({ code, message, count: failed }) => [code, message, failed]), [['503', 'status 503', 5]])
      assert(result.outcome.kind === 'given-up')
      assert.match(result.outcome.reason, /^5 requests failed, at most 4 may .*: 5 × 503 \(status 503\)$/)
      // In an open loop the fifth failure may overtake an answer.
      assert(loop === 'closed' ? samples.length === 10 : samples.length <= 10, `${samples.length}`)
    })

    test('a tenth of failures is no reason to give up', async () => {
      let count = 0
      const { result } = await drive({ ...fields, Bursts: 40 }, (request, response) => {
        if (count++ % 10 === 5) response.statusCode = 500
        hello(request, response)
      })
      assert.deepEqual([result.outcome, result.samples, result.failures], [{ kind: 'done' }, 36, [{ code: '500', message: 'status 500', count: 4 }]])
    })

    test('ends by the stop rule with the samples that it needed', async () => {
      const rule = { percentile: 0.5, confidence: 0.95, relativeError: 0.9 }
      const { result, samples } = await drive({ ...fields, Bursts: 2000, stopRule: rule }, hello)
      assert.deepEqual(result.outcome, { kind: 'stopped', afterSamples: samples.length })
      assert(samples.length >= 6 && samples.length < 2000, `${samples.length}`)
    })

    test('is interrupted by its signal, and keeps what it has (D1)', async () => {
      const controller = new AbortController()
      let count = 0
      const { result, samples } = await drive({ ...fields, Bursts: 100 }, (request, response) => {
        if (++count === 20) controller.abort()
        hello(request, response)
      }, { signal: controller.signal })
      assert.deepEqual(result.outcome, { kind: 'interrupted' })
      assert(loop === 'closed' ? samples.length === 19 : samples.length < 100, `${samples.length}`)
      assert.equal(result.samples, samples.length)
    })

    test('tells its progress, at the end at the latest', async () => {
      const told: unknown[] = []
      await drive(fields, hello, { onProgress: ({ samples, samplesMax, failed, leftMs }) => told.push([samples, samplesMax, failed, leftMs]) })
      assert.deepEqual(told.at(-1), [6, 6, 0, 0])
    })
  })
}

describe('answers', () => {
  test('of a chain with too few timestamps are failures that say so', async () => {
    const { result } = await drive({ Bursts: 40, DataTransferChainLength: 2 }, hello)
    assert.equal(result.failures[0]?.code, 'ANSWER_INVALID')
    assert.match(result.failures[0]!.message, /1 timestamps, its chain has 2 functions/)
  })

  test('that were cut are told from those that are wrong', async () => {
    const { result } = await drive({ Bursts: 40 }, (_request, response) => response.end('x'.repeat(2000)), { sender: { limits: { bodyKeptMax: 1000, bodyMax: 10_000 } } })
    assert.equal(result.failures[0]?.code, 'ANSWER_TOO_LARGE')
    assert.match(result.failures[0]!.message, /has 2000 bytes, of which 1000 are kept/)
  })

  test('by call are said to be whole answers', async () => {
    const called: Endpoint = { ...endpointAt('http://127.0.0.1:1'), transport: { kind: 'call', call: async () => ({ status: 200, headers: {}, body: Buffer.from('{}') }) } }
    const { result, samples } = await drive({}, hello, { endpoints: [called] })
    assert.deepEqual([result.latencyOf, samples.length, result.connectionsOpened], ['whole-answer', 6, 0])
  })
})

test('without an endpoint there is nothing to drive', async () => {
  await assert.rejects(drive({}, hello, { endpoints: [] }), (error) => error instanceof PlatformError && error.code === 'INPUT_INVALID')
})
