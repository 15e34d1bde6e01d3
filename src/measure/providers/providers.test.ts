/**
 * Goal: every provider that STeLLAR's files name can be opened, or says what it needs; the protocol's parts are what they say.
 *
 * Method: the table as it is, with files in a temporary directory; answers, signatures and calibration as pure functions.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { incrementsPerMs } from './calibrate.ts'
import { functionFor, keepAliveFor, limitationsOf, memoryFor } from './limitations.ts'
import type { Offer } from './limitations.ts'
import { subExperiment } from './provider.conformance.ts'
import { openProvider, providers } from './providers.ts'
import { presign } from './s3-presign.ts'
import { fieldsFor, readReply, withQuery } from './stellar-protocol.ts'

describe('the table of providers', () => {
  test('has every name of STeLLAR, and lists them for one that it has not', async () => {
    for (const name of ['aws', 'vhive', 'google', 'gcr', 'azure', 'cloudflare', 'aliyun']) assert(name in providers, name)
    await assert.rejects(openProvider('heroku', { environment: {} }), { code: 'INPUT_INVALID', message: /"heroku" is unknown; known are skep, endpoints, .*aliyun/ })
    await assert.rejects(openProvider('__proto__', { environment: {} }), { code: 'INPUT_INVALID' })
  })

  test('says of each what it needs', async () => {
    const needs = { skep: /--url/, endpoints: /--endpoint/, openwhisk: /--url/, knative: /--endpoint/, workerd: /--workerd/, aws: /--region/, vhive: /vHive\.json/, google: /google\.json/, gcr: /gcr\.json/, azure: /azure\.json/, cloudflare: /-g/, aliyun: /-g/ }
    assert.deepEqual(Object.keys(needs).sort(), Object.keys(providers).sort())
    for (const [name, message] of Object.entries(needs)) await assert.rejects(openProvider(name, { environment: {} }), { code: 'INPUT_INVALID', message }, name)
  })

  test('opens endpoints by a file of the provider\'s name, or by addresses', async (context) => {
    const directory = mkdtempSync(join(tmpdir(), 'skep-test-'))
    context.after(() => rmSync(directory, { recursive: true }))
    writeFileSync(join(directory, 'vHive.json'), '[{"GatewayID": "10.0.0.1:80"}, {"GatewayID": "10.0.0.2:80"}]')
    const options = { environment: {}, endpointsDirectory: directory }
    assert.deepEqual((await openProvider('vHive', options)).about, { endpoints: `2 of ${join(directory, 'vHive.json')}` })
    await assert.rejects(openProvider('azure', options), { code: 'INPUT_INVALID', message: /azure\.json can't be read \(ENOENT\)/ })
    assert.equal((await openProvider('aws', { environment: {}, endpoints: ['https://a.example/b'] })).name, 'aws')
    await assert.rejects(openProvider('knative', { environment: {}, endpoints: ['http://a'], hosts: [] }), { code: 'INPUT_INVALID' })
  })
})

describe('STeLLAR\'s protocol', () => {
  test('is its query, with milliseconds as increments for functions that can\'t tell time', () => {
    const parameters = { serviceTimeMs: 1.5, payloadBytes: 1024 }
    const path = withQuery('/p?code=7', fieldsFor(parameters, { chain: ['a:1', 'b'], transfer: 'storage', bucket: 'bee', incrementsPerMs: 1000 }))
    assert.equal(path, '/p?code=7&IncrementLimit=1500&PayloadLengthBytes=1024&DataTransferChainIDs=%5Ba%3A1%20b%5D&StorageTransfer=true&Bucket=bee')
    assert.equal(new URL(path, 'http://a').searchParams.get('DataTransferChainIDs'), '[a:1 b]')
    assert.deepEqual(fieldsFor({ ...parameters, memoryMb: 64 }, { chain: [], transfer: 'none' }), { IncrementLimit: '0', ServiceTimeMs: '1.5', PayloadLengthBytes: '1024', DataTransferChainIDs: '[]', memoryInMebiBytes: '64' })
  })

  test('reads any bytes as a reply or as ANSWER_INVALID, with status and the beginning of the body (Q1, fuzz)', () => {
    const chain = fc.oneof(fc.array(fc.oneof(fc.constant('1763731234567.25'), fc.string(), fc.double())), fc.constantFrom('[1 2]', '', '[]'), fc.jsonValue())
    const value = fc.oneof(fc.record({ RequestID: fc.oneof(fc.string(), fc.integer()), TimestampChain: chain }, { requiredKeys: [] }).map((one) => Buffer.from(JSON.stringify(one))), fc.uint8Array().map((bytes) => Buffer.from(bytes)))
    fc.assert(fc.property(value, fc.integer({ min: 100, max: 599 }), fc.integer({ min: 1, max: 3 }), (body, status, functions) => {
      try {
        const { timestamps } = readReply({ status, headers: {}, body }, functions)
        assert(status >= 200 && status < 300 && timestamps.every((one) => Number(one) >= 0))
        assert(functions === 1 || timestamps.length === functions)
      } catch (error) {
        assert(error instanceof PlatformError && error.code === 'ANSWER_INVALID' && error.details?.['status'] === status, String(error))
        assert(error.message.length < 3000)
      }
    }), { numRuns: 2000 })
    assert.deepEqual(readReply({ status: 200, headers: {}, body: Buffer.from('{"TimestampChain":"[1 2.5]"}') }, 2), { requestId: '', timestamps: ['1', '2.5'] })
  })
})

test('every setting that a file may have is met or named, by every kind of offer (V1, fuzz)', () => {
  const has = { deploys: true, transfers: ['none', 'inline'], runtimes: ['node'], imageSize: false, memory: true, phases: [] } as const
  const offers: Offer[] = [
    { name: 'a', capabilities: { ...has, coldStarts: 'keep-alive-set' }, memoryMb: { min: 128, max: 512 }, keepAliveSeconds: { min: 6, max: 60 } },
    { name: 'b', capabilities: { ...has, coldStarts: 'never', memory: false } },
    { name: 'c', capabilities: { ...has, coldStarts: 'keep-alive-fixed', deploys: false } },
  ]
  const settings = fc.record({
    Function: fc.constantFrom('hellopy', 'hellonode', 'producer-consumer', 'trace-work', 'rnnserving', ''), Runtime: fc.constantFrom('python3.9', 'nodejs18.x', 'go1.x', 'java11', 'node'), FunctionMemoryMB: fc.integer({ min: 1, max: 20_000 }),
    FunctionImageSizeMB: fc.integer({ min: 0, max: 500 }), PackageType: fc.constantFrom('Zip', 'Image'), SnapStartEnabled: fc.boolean(), keepAliveSeconds: fc.integer({ min: 0, max: 100 }), IATSeconds: fc.integer({ min: 1, max: 900 }), DataTransferChainLength: fc.integer({ min: 1, max: 3 }),
  })
  fc.assert(fc.property(settings, fc.constantFrom(...offers), (given, offer) => {
    const one = subExperiment(given)
    const said = limitationsOf(one, offer)
    for (const { field, message } of said) assert(field in one && message.startsWith(String(one[field])), `${field}: ${message}`)
    assert.equal(new Set(said.map(({ field }) => field)).size, said.length)
    const names = (field: string): boolean => said.some((one) => one.field === field)
    if (offer.capabilities.deploys) {
      // What is deployed is what is asked for, unless it is named.
      const { name, language } = functionFor(one, offer)
      if (!names('FunctionMemoryMB')) assert.equal(memoryFor(one, offer), given.FunctionMemoryMB)
      if (!names('Function')) assert.equal(name, one.Function.startsWith('hello') ? 'busy-spin' : one.Function)
      if (!names('Runtime') && !given.Function.startsWith('hello')) assert(given.Runtime.startsWith(language) || given.Function === '')
    }
    assert.equal(names('keepAliveSeconds'), offer.name !== 'a' || keepAliveFor(one, offer) !== given.keepAliveSeconds)
  }), { numRuns: 1000 })
})

test('a millisecond is found through a network that takes its own time, and its absence is told (C1)', async () => {
  let salt = 0
  const through = (perMs: number) => async (increments: number): Promise<number> => 3 + (salt++ % 3) + increments / perMs
  for (const perMs of [20_000, 1_000_000]) {
    const found = await incrementsPerMs(through(perMs))
    assert(Math.abs(found / perMs - 1) < 0.02, `${found} for ${perMs}`)
  }
  await assert.rejects(incrementsPerMs(async () => 5), { code: 'ANSWER_INVALID' })
})

test('an address is signed as the standard signs it', () => {
  // Amazon's example of the query's signature, for this method and this scope, has other headers; so the form is held here, and the signature by the integration test against the platform.
  const url = new URL(presign({ method: 'PUT', credentials: { accessKeyId: 'A', secretAccessKey: 'b' }, endpoint: 'http://127.0.0.1:7070/s3', path: 'bee/key', query: { 'list-type': '2' }, now: new Date('2026-01-02T03:04:05.678Z') }))
  assert.equal(url.pathname, '/s3/bee/key')
  assert.equal(url.searchParams.get('X-Amz-Date'), '20260102T030405Z')
  assert.equal(url.searchParams.get('X-Amz-Credential'), 'A/20260102/us-east-1/s3/aws4_request')
  assert.match(url.searchParams.get('X-Amz-Signature')!, /^[0-9a-f]{64}$/)
})
