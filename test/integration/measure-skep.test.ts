/**
 * Goal: the provider Skep keeps the promises of Provider on the real platform, in Node and Python, and leaves no function, bucket or credential.
 *
 * Method: the conformance suite of providers, and what only this platform promises, seen by its own API.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { ask, runProviderConformance, subExperiment } from '#measure/providers/provider.conformance.ts'
import { SkepProvider } from '#measure/providers/skep.ts'
import { sendTo } from '#measure/providers/send.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

let platform: TestPlatform
before(async () => {
  platform = await startTestPlatform()
})
after(() => platform[Symbol.asyncDispose]())

const quiet = { progress: () => {}, signal: new AbortController().signal }
const functions = async (): Promise<number> => (await platform.json<{ functions: unknown[] }>('/v1/functions')).functions.length

for (const [name, settings] of [['Skep, Node', { Function: 'busy-spin', Runtime: 'node' }], ['Skep, Python', { Function: 'hellopy', Runtime: 'python' }]] as const) {
  runProviderConformance({
    name,
    settings,
    async open() {
      const provider = await SkepProvider.open({ url: platform.url, key: platform.key })
      return { provider, functions, [Symbol.asyncDispose]: () => provider[Symbol.asyncDispose]() }
    },
  })
}

describe('the provider Skep', () => {
  test('deploys with the memory, the size and the keep-alive that a sub-experiment asks for; starts are cold when it says so', async () => {
    await using provider = await SkepProvider.open({ url: platform.url, key: platform.key })
    const one = subExperiment({ Function: 'hellonode', FunctionMemoryMB: 512, FunctionImageSizeMB: 2, keepAliveSeconds: 6 })
    assert.deepEqual(provider.cannot(one).map(({ field }) => field), [])
    const [endpoint] = await provider.prepare(one, quiet)
    const [only] = (await platform.json<{ functions: { name: string }[] }>('/v1/functions')).functions
    const { latest } = await platform.json<{ latest: { codeBytes: number; config: Record<string, unknown> } }>(`/v1/functions/${only!.name}`)
    assert.equal(latest.config['memoryMb'], 512)
    assert.equal(latest.config['keepAliveMs'], 6000)
    assert(latest.codeBytes > 2 * 1024 * 1024 && latest.codeBytes < 2.1 * 1024 * 1024, String(latest.codeBytes))
    const ready = async (): Promise<number> => (await platform.json<{ instances: { ready: number } }>(`/v1/functions/${only!.name}`)).instances.ready
    await until(async () => (await ready()) === 0, 'the idle instance has gone', 60_000)
    assert.equal((await ask(endpoint!)).start, 'cold')
    assert.equal((await Promise.all([ask(endpoint!), ask(endpoint!)])).length, 2)
  })

  test('has functions of a trace that take the time and really have the memory, in Node and Python', async () => {
    await using provider = await SkepProvider.open({ url: platform.url, key: platform.key })
    for (const Runtime of ['node', 'python']) {
      const one = subExperiment({ Function: 'trace-work', Runtime, FunctionMemoryMB: 300 })
      const [endpoint] = await provider.prepare(one, quiet)
      const raw = await sendTo(endpoint!, endpoint!.request({ serviceTimeMs: 120, payloadBytes: 0, memoryMb: 100 }), quiet.signal)
      const { requestId } = endpoint!.readAnswer(raw)
      const reply = JSON.parse(Buffer.from(raw.body).toString()) as { durationInMicroSec: number; memoryUsageInKb: number }
      assert(reply.durationInMicroSec >= 119_000, String(reply.durationInMicroSec))
      assert.equal(reply.memoryUsageInKb, 100 * 1024)
      const { memoryPeakMb, cpuUs } = await platform.record(requestId)
      assert(memoryPeakMb >= 100, `${Runtime}: ${memoryPeakMb} MB at most`)
      assert(cpuUs >= 60_000, `${Runtime}: ${cpuUs} µs of processor time`)
      await provider.release(one)
    }
  })

  test('leaves neither objects nor credentials after chains through a bucket, which its consumers have read', async () => {
    await using provider = await SkepProvider.open({ url: platform.url, key: platform.key })
    const one = subExperiment({ Function: 'producer-consumer', Runtime: 'node', DataTransferChainLength: 2, StorageTransfer: true, PayloadLengthBytes: 50_000 })
    const [endpoint] = await provider.prepare(one, quiet)
    const { requestId } = await ask(endpoint!, 0, 50_000)
    const usage = () => platform.json<{ bytes: number; buckets: number }>('/v1/s3/usage')
    assert.deepEqual([(await usage()).bytes, (await usage()).buckets], [50_000, 1])
    const consumer = await until(async () => {
      const { invocations } = await platform.json<{ invocations: { parent?: string; transfer?: { bytesGot: number } }[] }>('/v1/invocations')
      return invocations.find(({ parent }) => parent === requestId)
    }, 'the consumer is recorded')
    assert.equal(consumer.transfer?.bytesGot, 50_000)
    await Promise.all(Array.from({ length: 5 }, () => ask(endpoint!, 0, 50_000)))
    assert((await usage()).bytes <= 5 * 50_000)
    await provider.release(one)
    assert.deepEqual([(await usage()).bytes, (await usage()).buckets], [0, 0])
    assert.deepEqual((await platform.json<{ credentials: unknown[] }>('/v1/s3/credentials')).credentials, [])
  })

  test('prepares the same sub-experiment again after its release, and two with the same function beside each other', async () => {
    await using provider = await SkepProvider.open({ url: platform.url, key: platform.key })
    const [one, other] = [subExperiment({ Function: 'hellonode' }), subExperiment({ Function: 'hellonode' })]
    await Promise.all([provider.prepare(one, quiet), provider.prepare(other, quiet)])
    await provider.release(other)
    await provider.release(one)
    const [endpoint] = await provider.prepare(one, quiet)
    assert.equal((await ask(endpoint!)).timestamps.length, 1)
  })

  test('says that nobody is there, or that the key is none, before anything is deployed', async () => {
    await assert.rejects(SkepProvider.open({ url: 'http://127.0.0.1:1', key: 'k' }), { code: 'SERVER_UNREACHABLE' })
    await assert.rejects(SkepProvider.open({ url: platform.url, key: 'wrong' }), { code: 'KEY_INVALID' })
  })

  test('says what is left when the platform has died meanwhile (D2)', async () => {
    const other = await startTestPlatform()
    try {
      const provider = await SkepProvider.open({ url: other.url, key: other.key })
      const one = subExperiment({ Function: 'hellonode', Parallelism: 2 })
      await provider.prepare(one, quiet)
      await other.kill()
      await assert.rejects(provider.release(one), (error: { code: string; message: string }) => error.code === 'SERVER_UNREACHABLE' && /2 functions could not be removed.*measure-/.test(error.message))
    } finally {
      await other[Symbol.asyncDispose]()
    }
  })
})
