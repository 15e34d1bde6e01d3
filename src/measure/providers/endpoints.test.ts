/**
 * Goal: endpoints files mean what STeLLAR's mean, every mistake in one has its line, and functions at addresses are measured as others are.
 *
 * Method: the conformance suite and chains over real servers on loopback; files by hand and by fast-check.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Server } from 'node:http'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { serve } from '../functions/on-http.ts'
import { work } from '../functions/producer-consumer.ts'
import { EndpointsProvider, fits, parseEndpoints, servicesOf } from './endpoints.ts'
import { knativeProvider } from './knative.ts'
import { ask, runProviderConformance, subExperiment } from './provider.conformance.ts'

const SERVERS = 20
const quiet = { progress: () => {}, signal: AbortSignal.timeout(60_000) }

interface Servers extends AsyncDisposable {
  readonly ports: readonly number[]
}

async function started(count: number, make?: () => Server): Promise<Servers> {
  const objects = new Map<string, Uint8Array>()
  const storage = { put: async (bucket: string, key: string, bytes: Uint8Array) => objects.set(`${bucket}/${key}`, bytes), get: async (bucket: string, key: string) => objects.get(`${bucket}/${key}`)! }
  make ??= () => serve(work, 0, '127.0.0.1', storage)
  const servers = Array.from({ length: count }, make)
  await Promise.all(servers.map((server) => once(server, 'listening')))
  return {
    ports: servers.map((server) => (server.address() as AddressInfo).port),
    async [Symbol.asyncDispose]() {
      for (const server of servers) server.close().closeAllConnections()
    },
  }
}

const fileOf = (ports: readonly number[]): string => JSON.stringify(ports.map((port) => ({ GatewayID: `127.0.0.1:${port}`, FunctionMemoryMB: 128, ImageSizeMB: 0, PackageType: 'Zip' })))

runProviderConformance({
  name: 'an endpoints file',
  settings: { Runtime: 'node' },
  says: ['Function'],
  async open() {
    const servers = await started(SERVERS)
    const provider = new EndpointsProvider({ name: 'vhive', source: 'vHive.json', services: parseEndpoints(fileOf(servers.ports), 'vHive.json') })
    return { provider, functions: async () => undefined, [Symbol.asyncDispose]: () => servers[Symbol.asyncDispose]() }
  },
})

describe('an endpoints file', () => {
  test('is STeLLAR\'s, with addresses of its providers', () => {
    const text = `[
      {"GatewayID": "10.0.0.1:31080", "FunctionMemoryMB": 256, "ImageSizeMB": 60, "PackageType": "Image"},
      {"GatewayID": "stellar.azurewebsites.net/api/hellopy-19?code=2FXks%2F"},
      {"GatewayID": "http://localhost:8080/a"}]`
    assert.deepEqual(parseEndpoints(text, 'x').map(({ origin, path, like }) => [origin, path, like]), [
      ['http://10.0.0.1:31080', '/', { memoryMb: 256, imageMb: 60, packageType: 'Image' }],
      ['https://stellar.azurewebsites.net', '/api/hellopy-19?code=2FXks%2F', { memoryMb: 128, imageMb: 0, packageType: 'Zip' }],
      ['http://localhost:8080', '/a', { memoryMb: 128, imageMb: 0, packageType: 'Zip' }],
    ])
  })

  test('has every mistake told with file, line and field (E3)', () => {
    const text = '[\n {"GatewayID": "a b"},\n {"GatewayID": "a:1", "Memory": 1,\n  "FunctionMemoryMB": 0},\n {}]'
    assert.throws(() => parseEndpoints(text, 'g/aws.json'), (error: PlatformError) => {
      assert.equal(error.code, 'INPUT_INVALID')
      assert.deepEqual(error.message.split('\n').map((line) => line.split(': ').slice(0, 2).join(' ')).sort(), ['g/aws.json:2 [0].GatewayID', 'g/aws.json:3 [1].Memory', 'g/aws.json:4 [1].FunctionMemoryMB', 'g/aws.json:5 [2].GatewayID'])
      return true
    })
    assert.throws(() => parseEndpoints('[\n{,', 'x'), { code: 'JSON_INVALID', message: /^x:2:/ })
    for (const wrong of ['{}', '[]', '7', 'null']) assert.throws(() => parseEndpoints(wrong, 'x'), { code: 'INPUT_INVALID', message: /^x:1: the file/ }, wrong)
  })

  test('is services or an error of the table, whatever it has (fuzz)', () => {
    const entry = fc.record({ GatewayID: fc.oneof(fc.string(), fc.webUrl(), fc.constant('h:1')), FunctionMemoryMB: fc.oneof(fc.integer(), fc.string()), ImageSizeMB: fc.double(), PackageType: fc.constantFrom('Zip', 'Image', 'zip', null) }, { requiredKeys: [] })
    const text = fc.oneof(fc.array(entry).map((value) => JSON.stringify(value)), fc.jsonValue().map((value) => JSON.stringify(value)), fc.string())
    fc.assert(fc.property(text, (given) => {
      try {
        for (const { origin, path } of parseEndpoints(given, 'x')) {
          assert.match(origin, /^https?:\/\/\S+$/)
          assert.match(path, /^\/[^\s#]*$/)
        }
      } catch (error) {
        assert(error instanceof PlatformError && (error.code === 'INPUT_INVALID' || error.code === 'JSON_INVALID') && error.message.startsWith('x:'), String(error))
      }
    }), { numRuns: 1000 })
  })

  test('matches by package, memory, and for Zip by a size within 5 MB (E1)', () => {
    const like = { memoryMb: 128, imageMb: 60, packageType: 'Zip' }
    const service = { ...servicesOf(['http://a/'])[0]!, like }
    const one = { PackageType: 'Zip', FunctionMemoryMB: 128, FunctionImageSizeMB: 65 } as const
    assert(fits(service, one))
    assert(!fits(service, { ...one, FunctionImageSizeMB: 65.1 }) && !fits(service, { ...one, FunctionMemoryMB: 129 }) && !fits(service, { ...one, PackageType: 'Image' }))
    assert(fits({ ...service, like: { ...like, packageType: 'Image' } }, { ...one, PackageType: 'Image', FunctionImageSizeMB: 500 }))
    assert(fits({ ...service, like: undefined }, one))
  })

  test('gives each endpoint once, until it is released, and L of them to a chain of length L (E1, E2)', async () => {
    await using servers = await started(5)
    await using provider = new EndpointsProvider({ name: 'vhive', source: 'vHive.json', services: parseEndpoints(fileOf(servers.ports), 'vHive.json') })
    const chain = subExperiment({ DataTransferChainLength: 2, Parallelism: 2, PayloadLengthBytes: 100 })
    const endpoints = await provider.prepare(chain, quiet)
    assert.deepEqual(endpoints.map(({ host }) => host), [`127.0.0.1:${servers.ports[0]}`, `127.0.0.1:${servers.ports[2]}`])
    await assert.rejects(provider.prepare(subExperiment({ Parallelism: 2 }), quiet), { code: 'INPUT_INVALID', message: /^vHive\.json: 2 endpoints \(Parallelism 2 × chain 1\) with Zip, 128 MB memory, 0 MB ± 5 MB large are needed, and 1 are free of 5/ })
    const single = subExperiment({ Parallelism: 1 })
    assert.deepEqual((await provider.prepare(single, quiet)).map(({ host }) => host), [`127.0.0.1:${servers.ports[4]}`])
    await provider.release(chain)
    assert.equal((await provider.prepare(subExperiment({ Parallelism: 4 }), quiet)).length, 4)
  })

  test('fails with the address of an endpoint that is down, and gives back what it took', async () => {
    await using servers = await started(2)
    const [port] = servers.ports
    const services = [...servicesOf([`http://127.0.0.1:${port}/`]), ...servicesOf(['http://127.0.0.1:1/'])]
    await using provider = new EndpointsProvider({ name: 'urls', source: 'the addresses', services })
    await assert.rejects(provider.prepare(subExperiment({ Parallelism: 2 }), quiet), { code: 'SERVER_UNREACHABLE', message: /127\.0\.0\.1:1 / })
    assert.equal((await provider.prepare(subExperiment({}), quiet)).length, 1)
  })

  test('fails where a function does not spin, when it has to (C1)', async () => {
    await using servers = await started(1, () => createServer((_, response) => response.end('{"RequestID":"1","TimestampChain":["1"]}')).listen(0, '127.0.0.1'))
    await using provider = new EndpointsProvider({ name: 'urls', source: 'the addresses', services: servicesOf([`http://127.0.0.1:${servers.ports[0]}/`]) })
    await assert.rejects(provider.prepare(subExperiment({ DesiredServiceTimes: ['10ms'] }), quiet), { code: 'ANSWER_INVALID', message: /does not spin/ })
  })
})

describe('Knative', () => {
  test('is asked with the Host of the service, and said not to speak gRPC', async () => {
    const hosts: (string | undefined)[] = []
    await using servers = await started(1, () => createServer((request, response) => {
      hosts.push(request.headers.host)
      response.end('{"RequestID":"1","TimestampChain":["1"]}')
    }).listen(0, '127.0.0.1'))
    const url = `http://127.0.0.1:${servers.ports[0]}`
    await using provider = knativeProvider([{ url, host: 'producer.default.example.com' }])
    const one = subExperiment({})
    assert.match(provider.cannot(one).find(({ field }) => field === 'Function')!.message, /gRPC.*not built/)
    const [endpoint] = await provider.prepare(one, quiet)
    await ask(endpoint!)
    assert.deepEqual(hosts, ['producer.default.example.com', 'producer.default.example.com'])
    assert.equal(endpoint!.host, 'producer.default.example.com')
    for (const wrong of [{ url: 'a:1' }, { url, host: 'a b' }, { url, host: 'a\r\nb: c' }]) assert.throws(() => knativeProvider([wrong]), { code: 'INPUT_INVALID' })
  })
})
