/**
 * Goal: the provider OpenWhisk keeps to OpenWhisk's API, tells cold from warm by what it says, and takes no failure for an answer.
 *
 * Method: the conformance suite and single cases against a server that is written to the contract and runs the actions; activations by fast-check.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { sendTo } from './send.ts'
import { OpenWhiskProvider, readActivation } from './openwhisk.ts'
import { AUTH, startOpenWhisk } from './openwhisk-server.fake.ts'
import { ask, runProviderConformance, subExperiment } from './provider.conformance.ts'

const quiet = { progress: () => {}, signal: AbortSignal.timeout(60_000) }

for (const [name, settings] of [['OpenWhisk, Node', { Function: 'busy-spin', Runtime: 'node' }], ['OpenWhisk, Python', { Function: 'hellopy', Runtime: 'python' }]] as const) {
  runProviderConformance({
    name,
    settings,
    async open() {
      const server = await startOpenWhisk()
      const provider = await OpenWhiskProvider.open({ apiHost: server.url, auth: AUTH })
      return {
        provider,
        functions: async () => server.actions.size,
        async [Symbol.asyncDispose]() {
          await provider[Symbol.asyncDispose]()
          const left = server.actions.size
          await server[Symbol.asyncDispose]()
          assert.deepEqual(server.surprises, [])
          assert.equal(left, 0)
        },
      }
    },
  })
}

describe('the provider OpenWhisk', () => {
  test('tells the start and the phases by the annotations', async () => {
    await using server = await startOpenWhisk()
    await using provider = await OpenWhiskProvider.open({ apiHost: server.url, auth: AUTH })
    const one = subExperiment({ Function: 'hellonode', FunctionMemoryMB: 256, FunctionImageSizeMB: 1 })
    const [endpoint] = await provider.prepare(one, quiet)
    assert.deepEqual([...server.actions.values()].map(({ limits }) => limits), [{ memory: 256, timeout: 300_000 }])
    const warm = await ask(endpoint!)
    assert.equal(warm.start, 'warm')
    assert.deepEqual(Object.keys(warm.phases!), ['wait', 'run'])
    // The first one's process is busy, so another is started.
    const both = await Promise.all([ask(endpoint!, 100), ask(endpoint!, 100)])
    const cold = both.find(({ start }) => start === 'cold')!
    assert.deepEqual(Object.keys(cold.phases!), ['wait', 'init', 'run'])
    assert.match(cold.requestId, /^[0-9a-f]{32}$/)
  })

  test('says what OpenWhisk does not allow, and deploys what it does', async () => {
    await using server = await startOpenWhisk()
    await using provider = await OpenWhiskProvider.open({ apiHost: server.url, auth: AUTH })
    const one = subExperiment({ Function: 'producer-consumer', Runtime: 'node', FunctionMemoryMB: 2048, DataTransferChainLength: 2, PayloadLengthBytes: 2_000_000 })
    assert.deepEqual(provider.cannot(one).map(({ field }) => field), ['PayloadLengthBytes', 'FunctionMemoryMB'])
    await assert.rejects(provider.prepare(one, quiet), { code: 'ANSWER_INVALID', message: /413|502/ })
    assert.equal(server.actions.size, 0)
  })

  test('takes no throttling, no fault and no late end for an answer', async () => {
    await using server = await startOpenWhisk()
    await using provider = await OpenWhiskProvider.open({ apiHost: server.url, auth: AUTH })
    const [endpoint] = await provider.prepare(subExperiment({ Function: 'hellonode' }), quiet)
    for (const [status, message] of [[429, /429/], [500, /500/], [202, /had not ended/], [503, /503/]] as const) {
      server.fail = { status, body: { error: 'Too many requests in the last minute (count: 61, allowed: 60).', code: 'x' } }
      await assert.rejects(ask(endpoint!), { code: 'ANSWER_INVALID', message })
    }
    server.fail = undefined
    const message = endpoint!.request({ serviceTimeMs: 0, payloadBytes: 0 })
    const raw = await sendTo(endpoint!, { ...message, body: Buffer.from('{"PayloadLengthBytes":"-1","ServiceTimeMs":"x"}') }, quiet.signal)
    assert.throws(() => endpoint!.readAnswer(raw), { code: 'ANSWER_INVALID', message: /502/ })
    assert.equal((await ask(endpoint!)).timestamps.length, 1)
  })

  test('says that the key is none, or nobody is there, before anything is deployed', async () => {
    await using server = await startOpenWhisk()
    await assert.rejects(OpenWhiskProvider.open({ apiHost: server.url, auth: 'a:b' }), { code: 'KEY_INVALID' })
    await assert.rejects(OpenWhiskProvider.open({ apiHost: 'http://127.0.0.1:1', auth: AUTH }), { code: 'SERVER_UNREACHABLE' })
    await assert.rejects(OpenWhiskProvider.open({ apiHost: 'openwhisk', auth: AUTH }), { code: 'INPUT_INVALID' })
  })

  test('reads any bytes as an activation or as ANSWER_INVALID (Q1, fuzz)', () => {
    const record = fc.record({ activationId: fc.string(), duration: fc.double(), annotations: fc.array(fc.record({ key: fc.constantFrom('initTime', 'waitTime', 'x'), value: fc.jsonValue() })), response: fc.record({ success: fc.boolean(), result: fc.oneof(fc.jsonValue(), fc.constant({ RequestID: 'a', TimestampChain: ['1.5'] })) }) }, { requiredKeys: [] })
    const body = fc.oneof(record.map((value) => Buffer.from(JSON.stringify(value))), fc.uint8Array().map((bytes) => Buffer.from(bytes)))
    fc.assert(fc.property(body, fc.constantFrom(200, 202, 404, 502), (bytes, status) => {
      try {
        const { timestamps, start, phases } = readActivation({ status, headers: {}, body: bytes }, 1)
        assert(status === 200 && timestamps.every((one) => Number.isFinite(Number(one))) && (start === 'cold') === ('init' in phases!))
        assert(Object.values(phases!).every((ms) => ms >= 0))
      } catch (error) {
        assert(error instanceof PlatformError && error.code === 'ANSWER_INVALID', String(error))
      }
    }), { numRuns: 1000 })
  })
})
