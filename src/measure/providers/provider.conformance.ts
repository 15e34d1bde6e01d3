/**
 * Goal: every provider keeps V1 to V3, and its answers say what they say.
 *
 * Method: against the interface alone, with requests of a client of its own (send.ts), on a platform that really runs.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseExperiment } from '../experiment.ts'
import type { SubExperiment } from '../experiment.ts'
import type { Endpoint, Provider } from '../provider.ts'
import { sendTo } from './send.ts'
import { transferOf } from './stellar-protocol.ts'

export interface ProviderConformance {
  readonly name: string
  /** One for each test. */
  readonly open: () => Promise<ProviderHarness>
  /** Settings for which it has nothing to say; those of the suite stand over them. */
  readonly settings: Readonly<Record<string, unknown>>
  /** Fields of which it always has to say something. */
  readonly says?: readonly string[]
  /** A reason to leave all out. */
  readonly skip?: string | undefined
}

export interface ProviderHarness extends AsyncDisposable {
  readonly provider: Provider
  /** How many functions are there, of whomever: before and after have to be the same. Undefined where none are deployed. */
  functions(): Promise<number | undefined>
}

const signal = AbortSignal.timeout(120_000)
const quiet = { progress: (): void => {}, signal }
let index = 0

/** A sub-experiment as a file has it. */
export function subExperiment(settings: Readonly<Record<string, unknown>>): SubExperiment {
  const file = JSON.stringify({ SubExperiments: [{ Bursts: 2, BurstSizes: [1], DesiredServiceTimes: ['0ms'], ...settings }] })
  return { ...parseExperiment(file, 'suite.json').SubExperiments[0]!, index: index++ }
}

export async function ask(endpoint: Endpoint, serviceTimeMs = 0, payloadBytes = 0) {
  return endpoint.readAnswer(await sendTo(endpoint, endpoint.request({ serviceTimeMs, payloadBytes }), signal))
}

export function runProviderConformance({ name, open, settings, says = [], skip }: ProviderConformance): void {
  describe(`${name} keeps the promises of Provider`, { skip: skip ?? false, timeout: 300_000 }, () => {
    const withProvider = (body: (harness: ProviderHarness) => Promise<void>) => async (): Promise<void> => {
      const harness = await open()
      try {
        await body(harness)
      } finally {
        await harness[Symbol.asyncDispose]()
      }
    }

    test('has nothing to say where it does everything, and names each setting that it does not meet (V1)', withProvider(async ({ provider }) => {
      const { capabilities } = provider
      assert.deepEqual(provider.cannot(subExperiment(settings)).map(({ field }) => field), says)
      const about = (more: object): string[] => provider.cannot(subExperiment({ ...settings, ...more })).map(({ field, message }) => (assert.match(message, /\S/), field))
      const expected = (more: object, field: string, meets: boolean): void => assert.equal(about(more).includes(field), !meets, `${field} ${JSON.stringify(more)}: ${JSON.stringify(about(more))}`)
      const chain = { Function: 'producer-consumer', DataTransferChainLength: 2, PayloadLengthBytes: 10 }
      expected({ ...chain, StorageTransfer: true }, 'StorageTransfer', capabilities.transfers.includes('storage'))
      expected({ ...chain, referenceTransfer: true }, 'referenceTransfer', capabilities.transfers.includes('reference'))
      expected({ keepAliveSeconds: 10 }, 'keepAliveSeconds', capabilities.coldStarts === 'keep-alive-set')
      if (capabilities.deploys) {
        expected({ FunctionImageSizeMB: 3 }, 'FunctionImageSizeMB', capabilities.imageSize)
        expected({ Function: 'rnnserving' }, 'Function', false)
        expected({ CPUBoostEnabled: true }, 'CPUBoostEnabled', false)
        expected({ Function: 'producer-consumer', Runtime: 'go1.x' }, 'Runtime', false)
      }
    }))

    test('gives Parallelism endpoints that answer, and removes what it has made (V2)', withProvider(async ({ provider, functions }) => {
      const before = await functions()
      const one = subExperiment({ ...settings, Parallelism: 3 })
      const endpoints = await provider.prepare(one, quiet)
      assert.equal(endpoints.length, 3)
      if (before !== undefined) assert.equal(await functions(), before + 3)
      const sentAtMs = Date.now()
      for (const endpoint of endpoints) {
        const { requestId, timestamps } = await ask(endpoint)
        assert.notEqual(requestId, '')
        assert.equal(timestamps.length, 1)
        assert(Math.abs(Number(timestamps[0]) - sentAtMs) < 60_000, timestamps.join())
      }
      await provider.release(one)
      assert.equal(await functions(), before)
    }))

    test('leaves nothing behind when it is told to end half-way (V2)', withProvider(async ({ provider, functions }) => {
      const before = await functions()
      const given = new AbortController()
      const lines: string[] = []
      const progress = (line: string): void => {
        lines.push(line)
        given.abort()
      }
      await assert.rejects(provider.prepare(subExperiment({ ...settings, Parallelism: 20 }), { progress, signal: given.signal }), { code: 'CANCELLED' })
      assert(lines.length > 0)
      assert.equal(await functions(), before)
    }))

    test('makes the same message of the same parameters, and another of others (V3)', withProvider(async ({ provider }) => {
      const one = subExperiment(settings)
      const [endpoint] = await provider.prepare(one, quiet)
      const [first, again, other] = [7, 7, 8].map((payloadBytes) => endpoint!.request({ serviceTimeMs: 3, payloadBytes }))
      assert.deepEqual(first, again)
      assert.notDeepEqual(first, other)
      await provider.release(one)
    }))

    test('has functions that compute for as long as they are told', withProvider(async ({ provider }) => {
      const one = subExperiment({ ...settings, DesiredServiceTimes: ['150ms'] })
      const [endpoint] = await provider.prepare(one, quiet)
      const least = { 0: Infinity, 150: Infinity }
      const spunMs = (): number => least[150] - least[0]
      // What else this machine does only adds to it; a service time that is ignored, or of another unit, is far off however often it is tried.
      for (let repeat = 0; repeat < 20 && !(repeat > 2 && spunMs() < 250); repeat++) {
        for (const ms of [0, 150] as const) {
          const startMs = performance.now()
          await ask(endpoint!, ms)
          least[ms] = Math.min(least[ms], performance.now() - startMs)
        }
      }
      assert(spunMs() > 90 && spunMs() < 600, `150 ms took ${spunMs()} ms`)
      await provider.release(one)
    }))

    test('passes on through chains by every transfer that it has, each function after the one before', withProvider(async ({ provider }) => {
      for (const how of [{}, { StorageTransfer: true }, { referenceTransfer: true }]) {
        const chain = { ...settings, ...how, Function: 'producer-consumer', DataTransferChainLength: 3, PayloadLengthBytes: 100_000 }
        const one = subExperiment(chain)
        if (!provider.capabilities.transfers.includes(transferOf(one))) {
          await assert.rejects(provider.prepare(one, quiet), { code: 'INPUT_INVALID' })
          continue
        }
        const [endpoint] = await provider.prepare(one, quiet)
        for (const payloadBytes of [0, 1, 100_000, 1_000_000]) {
          const { timestamps } = await ask(endpoint!, 0, payloadBytes)
          assert.equal(timestamps.length, 3)
          const times = timestamps.map(Number)
          assert(times[0]! <= times[1]! && times[1]! <= times[2]!, `${transferOf(one)} ${payloadBytes}: ${timestamps.join(' ')}`)
        }
        await provider.release(one)
      }
    }))

    test('takes no failure and no stranger for an answer (ANSWER_INVALID)', withProvider(async ({ provider }) => {
      const one = subExperiment(settings)
      const [endpoint] = await provider.prepare(one, quiet)
      const headers = {}
      for (const [status, text] of [[500, '{"RequestID":"a","TimestampChain":["1"]}'], [429, ''], [200, ''], [200, 'hello'], [200, '{"RequestID":7}'], [200, '{"TimestampChain":["no"]}']] as const) {
        assert.throws(() => endpoint!.readAnswer({ status, headers, body: Buffer.from(text) }), { code: 'ANSWER_INVALID' }, `${status} ${text}`)
      }
      await provider.release(one)
    }))
  })
}
