/**
 * Goal: the provider AWS Lambda drives the API as the official SDK does, keeps the promises of Provider, and shows throttling and faults as such.
 *
 * Method: the real SDK against a server on loopback that speaks the REST shapes and runs the functions; no cloud is asked. REPORT lines by fast-check.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { AwsLambdaProvider, loadSdk, readInvocation } from './aws-lambda.ts'
import { refusal, startLambda } from './lambda-server.fake.ts'
import type { LambdaServer } from './lambda-server.fake.ts'
import { ask, runProviderConformance, subExperiment } from './provider.conformance.ts'

const credentials = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' }
const role = 'arn:aws:iam::123456789012:role/measure'
const quiet = { progress: () => {}, signal: AbortSignal.timeout(120_000) }

let server: LambdaServer
before(async () => {
  server = await startLambda()
  // As Lambda gives them to the functions.
  Object.assign(process.env, { AWS_REGION: 'us-west-2', AWS_ACCESS_KEY_ID: credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey, AWS_ENDPOINT_URL: server.url })
})
after(() => server[Symbol.asyncDispose]())
const open = (more = {}): Promise<AwsLambdaProvider> => AwsLambdaProvider.open({ region: 'us-west-2', role, endpoint: server.url, credentials, bucket: 'bee', ...more })

runProviderConformance({
  name: 'AWS Lambda',
  settings: { Function: 'busy-spin', Runtime: 'nodejs22.x' },
  async open() {
    const provider = await open()
    return { provider, functions: async () => server.functions.size, [Symbol.asyncDispose]: () => provider[Symbol.asyncDispose]() }
  },
})

describe('the provider AWS Lambda', () => {
  test('creates functions with memory, size, concurrency and SnapStart as asked for, and tells cold from warm by the REPORT line', async () => {
    await using provider = await open({ reservedConcurrency: 7 })
    const one = subExperiment({ Function: 'hellopy', Runtime: 'python3.13', FunctionMemoryMB: 1536, FunctionImageSizeMB: 2, SnapStartEnabled: true })
    assert.deepEqual(provider.cannot(one), [])
    const [endpoint] = await provider.prepare(one, quiet)
    const { configuration, zipBytes, concurrency } = [...server.functions.values()][0]!
    const { MemorySize, Runtime, Handler, SnapStart } = configuration
    assert.deepEqual({ MemorySize, Runtime, Handler, SnapStart, concurrency }, { MemorySize: 1536, Runtime: 'python3.13', Handler: 'main.lambda_handler', SnapStart: { ApplyOn: 'PublishedVersions' }, concurrency: 7 })
    assert(zipBytes > 2 * 1024 * 1024 * 0.99 && zipBytes < 2.1 * 1024 * 1024, String(zipBytes))
    const { start, phases, timestamps } = await ask(endpoint!)
    assert.deepEqual([start, Object.keys(phases!), timestamps.length], ['warm', ['run'], 1])
    await provider.release(one)
    const again = await provider.prepare(subExperiment({ Function: 'hellonode', Parallelism: 2 }), { ...quiet, progress: () => {} })
    assert.equal(again.length, 2)
  })

  test('shows a throttling and a fault half-way as answers with their status, and goes on after them', async () => {
    await using provider = await open()
    const [endpoint] = await provider.prepare(subExperiment({ Function: 'hellonode' }), quiet)
    const cases = [[refusal(429, 'TooManyRequestsException', 'Rate Exceeded.'), /429.*TooManyRequestsException/], [refusal(500, 'ServiceException', 'Service Exception'), /500/], [refusal(502, 'EC2ThrottledException', 'slow'), /502/], [{ status: 503 }, /503/]] as const
    for (const [fail, message] of cases) {
      server.fail = fail
      const before = [...server.functions.values()][0]!.invoked
      await assert.rejects(ask(endpoint!), { code: 'ANSWER_INVALID', message })
      assert.equal([...server.functions.values()][0]!.invoked, before)
    }
    server.fail = { status: 200, body: { errorMessage: 'no' }, headers: { 'x-amz-function-error': 'Unhandled' } }
    await assert.rejects(ask(endpoint!), { code: 'ANSWER_INVALID', message: /failure of the function \(Unhandled\)/ })
    server.fail = undefined
    assert.equal((await ask(endpoint!)).start, 'warm')
  })

  test('sends a burst at once, and gives up what it is told to', async () => {
    await using provider = await open()
    const [endpoint] = await provider.prepare(subExperiment({ Function: 'hellonode' }), quiet)
    const answers = await Promise.all(Array.from({ length: 200 }, () => ask(endpoint!)))
    assert.equal(new Set(answers.map(({ requestId }) => requestId)).size, 200)
    const transport = endpoint!.transport
    assert(transport.kind === 'call')
    await assert.rejects(transport.call(endpoint!.request({ serviceTimeMs: 0, payloadBytes: 0 }), AbortSignal.abort()), { code: 'CANCELLED' })
  })

  test('says what Lambda has not, and what a wrong role and a missing SDK need', async () => {
    await using provider = await open({ bucket: undefined })
    const one = subExperiment({ Function: 'producer-consumer', Runtime: 'nodejs22.x', FunctionMemoryMB: 64, FunctionImageSizeMB: 100, SnapStartEnabled: true, DataTransferChainLength: 2, StorageTransfer: true })
    assert.deepEqual(provider.cannot(one).map(({ field }) => field), ['StorageTransfer', 'FunctionMemoryMB', 'FunctionImageSizeMB', 'SnapStartEnabled'])
    await assert.rejects(open({ role: 'admin' }), { code: 'INPUT_INVALID', message: /arn:aws:iam/ })
    await assert.rejects(loadSdk(() => import('@aws-sdk/client-none' as string)), { code: 'INPUT_INVALID', message: /npm install --no-save @aws-sdk\/client-lambda/ })
    const nowhere = await open({ endpoint: 'http://127.0.0.1:1' })
    await assert.rejects(nowhere.prepare(subExperiment({ Function: 'hellonode' }), quiet), { code: 'SERVER_UNREACHABLE' })
    // Whether the function is there is not known, so it is named.
    await assert.rejects(nowhere[Symbol.asyncDispose](), { code: 'SERVER_UNREACHABLE', message: /1 functions could not be removed.*measure-/ })
  })

  test('reads any answer and any log as an Answer or ANSWER_INVALID (Q1, fuzz)', () => {
    const log = fc.oneof(fc.string(), fc.constantFrom('REPORT RequestId: a Duration: 1.5 ms', 'REPORT RequestId: a Duration: 1 ms Init Duration: 7 ms', 'REPORT RequestId: a Duration: 2 ms\tRestore Duration: 3 ms'))
    const body = fc.oneof(fc.string(), fc.jsonValue().map((value) => JSON.stringify(value)), fc.constant('{"RequestID":"a","TimestampChain":["1"]}'))
    fc.assert(fc.property(log, body, fc.constantFrom(200, 202, 429), (text, answered, status) => {
      try {
        const { start, phases } = readInvocation({ status, headers: { 'x-amz-log-result': Buffer.from(text).toString('base64') }, body: Buffer.from(answered) }, 1)
        assert.equal(phases === undefined, start === 'unknown')
        assert.equal(start === 'cold', phases !== undefined && 'init' in phases)
      } catch (error) {
        assert(error instanceof PlatformError && error.code === 'ANSWER_INVALID', String(error))
      }
    }), { numRuns: 1000 })
  })
})
