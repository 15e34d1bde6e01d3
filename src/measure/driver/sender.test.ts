/**
 * Goal: what is sent ends exactly once, with the answer or with why there is none, over as few connections as it needs.
 *
 * Method: real servers on the loopback, which also do what good ones don't: close, cut off, stay silent, answer twice. Nothing sleeps: a server answers when the test lets it.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { describe, test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Endpoint, RequestMessage } from '../provider.ts'
import { Exchange } from './exchange.ts'
import { Sender, senderDefaults } from './sender.ts'
import type { SenderSettings } from './sender.ts'
import { byteServer, endpointAt, httpServer, messageTo } from './test-server.fake.ts'

/** A sender whose exchanges are promises. */
class Client implements Disposable {
  readonly sender: Sender<PromiseWithResolvers<Exchange<unknown>>>
  ended = 0

  constructor(settings: Partial<SenderSettings> = {}) {
    this.sender = new Sender({ ...senderDefaults, ...settings }, systemClock, (exchange) => {
      this.ended++
      exchange.tag.resolve(exchange)
    })
  }

  send(endpoint: Endpoint | string, message: RequestMessage = messageTo()): Promise<Exchange<unknown>> {
    const tag = Promise.withResolvers<Exchange<unknown>>()
    this.sender.send(typeof endpoint === 'string' ? this.endpoint(endpoint) : endpoint, message, tag, performance.now())
    return tag.promise
  }

  readonly #endpoints = new Map<string, Endpoint>()
  endpoint(origin: string): Endpoint {
    return this.#endpoints.getOrInsertComputed(origin, endpointAt)
  }

  [Symbol.dispose](): void {
    this.sender[Symbol.dispose]()
  }
}

const textOf = (exchange: Exchange<unknown>): string => Buffer.from(exchange.body).toString()

describe('over HTTP', () => {
  test('one request after the other goes over one connection, and each gets its own answer', async () => {
    const ports = new Set<number | undefined>()
    await using server = await httpServer((request, response) => {
      ports.add(request.socket.remotePort)
      const got: Buffer[] = []
      request.on('data', (chunk: Buffer) => got.push(chunk)).on('end', () => response.end(`${request.method} ${request.url} ${String(request.headers['x-a'])} ${Buffer.concat(got).toString()}`))
    })
    using client = new Client()
    const body = Buffer.from('{"a":1}')
    assert.equal(textOf(await client.send(server.origin, messageTo('/one?x=%20', { headers: { 'X-A': 'b' } }))), 'GET /one?x=%20 b ')
    assert.equal(textOf(await client.send(server.origin, messageTo('/two', { method: 'POST', body }))), 'POST /two undefined {"a":1}')
    const third = await client.send(server.origin, messageTo('/three', { method: 'PUT' }))
    assert.equal(textOf(third), 'PUT /three undefined ')
    assert.deepEqual([ports.size, client.sender.connectionsOpened, client.sender.inFlight], [1, 1, 0])
    assert.deepEqual([third.connectedMs - third.sentMs, third.rawAnswer().headers['connection']], [0, 'keep-alive'])
  })

  test('times are in order, and the first byte is that of the answer, not of an informational one', async () => {
    const release = Promise.withResolvers<void>()
    await using server = await httpServer((_request, response) => {
      response.writeEarlyHints({ link: '</a>; rel=preload' })
      void release.promise.then(() => {
        response.write('a')
        setImmediate(() => response.end('b'))
      })
    })
    using client = new Client()
    const answer = client.send(server.origin)
    const releasedMs = performance.now() + 20
    setTimeout(release.resolve, 21)
    const { dueMs, sentMs, connectedMs, firstByteMs, endMs, failure, bodyBytes } = await answer
    assert.deepEqual([failure, bodyBytes], [undefined, 2])
    assert(dueMs <= sentMs && sentMs < connectedMs && connectedMs < firstByteMs && firstByteMs <= endMs, [dueMs, sentMs, connectedMs, firstByteMs, endMs].join(' '))
    assert(firstByteMs >= releasedMs, `first byte ${releasedMs - firstByteMs} ms before the answer was let go`)
  })

  test('a chunked answer of a megabyte and more is counted, and kept up to the bound', async () => {
    const piece = Buffer.alloc(100_000, 'x')
    await using server = await httpServer((_request, response) => {
      for (let count = 0; count < 20; count++) response.write(piece)
      response.end()
    })
    using client = new Client({ limits: { bodyKeptMax: 150_000, bodyMax: 3_000_000 } })
    const { body, bodyBytes, failure } = await client.send(server.origin)
    assert.deepEqual([body.length, bodyBytes, failure], [150_000, 2_000_000, undefined])
    using strict = new Client({ limits: { bodyKeptMax: 10, bodyMax: 1_000_000 } })
    assert.equal((await strict.send(server.origin)).failure?.code, 'ANSWER_TOO_LARGE')
  })

  test('a connection that the server closed is replaced, and a GET on it is sent again (once)', async () => {
    let connections = 0
    // Answers one request per connection, and closes at the second without a word.
    await using server = await byteServer((socket) => {
      connections++
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
        socket.once('data', () => socket.destroy())
      })
    })
    using client = new Client()
    const statuses: number[] = []
    for (let count = 0; count < 3; count++) statuses.push((await client.send(server.origin)).status)
    assert.deepEqual([statuses, connections], [[200, 200, 200], 3])
    const post = await client.send(server.origin, messageTo('/', { method: 'POST' }))
    assert.deepEqual([post.failure?.code, connections], ['ECONNRESET', 3], 'a POST may have been executed, and is not sent again')
  })

  test('a server that closes every connection is a failure and no endless retry', async () => {
    let connections = 0
    await using server = await byteServer((socket) => {
      connections++
      socket.once('data', () => socket.destroy())
    })
    using client = new Client()
    assert.equal((await client.send(server.origin)).failure?.code, 'ECONNRESET')
    assert.equal(connections, 1)
  })

  test('a keep-alive that is about to end is not used', async () => {
    await using server = await byteServer((socket) => socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nkeep-alive: timeout=0\r\ncontent-length: 0\r\n\r\n')))
    using client = new Client()
    for (let count = 0; count < 3; count++) assert.equal((await client.send(server.origin)).status, 200)
    assert.equal(client.sender.connectionsOpened, 3)
  })

  test('bytes behind an answer end its connection, and are not taken for the next answer', async () => {
    let connections = 0
    await using server = await byteServer((socket) => {
      const number = ++connections
      socket.on('data', () => socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n${number}HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad`))
    })
    using client = new Client()
    for (const expected of ['1', '2']) assert.equal(textOf(await client.send(server.origin)), expected)
  })

  test('an answer that ends with its connection is whole, and one that is cut off is a failure', async () => {
    const answers = ['HTTP/1.1 200 OK\r\n\r\nto the end', 'HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\ncut', 'HTTP/1.1 20', 'no answer at all']
    await using server = await byteServer((socket) => socket.once('data', () => socket.end(answers.shift()!)))
    using client = new Client()
    assert.equal(textOf(await client.send(server.origin)), 'to the end')
    const codes = [await client.send(server.origin), await client.send(server.origin), await client.send(server.origin)].map(({ failure }) => failure?.code)
    assert.deepEqual(codes, ['ECONNRESET', 'ECONNRESET', 'PROTOCOL_BROKEN'])
  })

  test('nobody there is a failure with the system\'s code, for each request', async () => {
    const { origin } = await (async () => {
      await using server = await httpServer(() => {})
      return { origin: server.origin }
    })()
    using client = new Client()
    const ended = await Promise.all([client.send(origin), client.send(origin), client.send(origin)])
    assert.deepEqual(ended.map(({ failure }) => failure?.code), ['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED'])
    assert.deepEqual([client.ended, client.sender.inFlight], [3, 0])
  })

  test('silence ends at the time limit, and the connection is not used again (S1)', async () => {
    let silent = true
    await using server = await byteServer((socket) => socket.on('data', () => silent || socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')))
    using client = new Client({ timeoutMs: 30 })
    const { failure, endMs, sentMs } = await client.send(server.origin)
    assert.deepEqual(failure, { code: 'ETIMEDOUT', message: 'no whole answer within 0.03 s' })
    assert(endMs - sentMs >= 30)
    silent = false
    assert.equal((await client.send(server.origin)).status, 200)
    assert.deepEqual([client.ended, client.sender.connectionsOpened], [2, 2])
  })

  test('disposed of, it says nothing more and leaves no connection', async () => {
    const arrived = Promise.withResolvers<Socket>()
    await using server = await byteServer((socket) => socket.once('data', () => arrived.resolve(socket)))
    const client = new Client()
    void client.send(server.origin)
    const socket = await arrived.promise
    client[Symbol.dispose]()
    await once(socket, 'close')
    assert.equal(client.ended, 0)
  })
})

describe('over TLS', () => {
  // Self-signed, of localhost and 127.0.0.1, for this test alone.
  const key = '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIOAXApIMPjDw293RHFkt/5aGoaOD4Sj2kVKDRmUHi7zw\n-----END PRIVATE KEY-----\n'
  const cert = `-----BEGIN CERTIFICATE-----
MIIBWzCCAQ2gAwIBAgIUQnRGBpMJBKzr81Xoac4rieROf40wBQYDK2VwMBQxEjAQ
BgNVBAMMCWxvY2FsaG9zdDAgFw0yNjExMjExMzQ3MjVaGA8yMTI2MTAyODEzNDcy
NVowFDESMBAGA1UEAwwJbG9jYWxob3N0MCowBQYDK2VwAyEAaviUqCsB/TPGCIch
puptETYXy9XI6wiI3mMccIJk4VejbzBtMB0GA1UdDgQWBBRtBAHwpsCB+KpSzU24
JyA0DwJ1/DAfBgNVHSMEGDAWgBRtBAHwpsCB+KpSzU24JyA0DwJ1/DAPBgNVHRMB
Af8EBTADAQH/MBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAFBgMrZXADQQCA
GlUICqjKppeboILszlviQ7rYntY+f3M7UxM3FaX04jZVxEZ7U/F8HuRpDI+8q2Mk
pmtuAfT1NfuTok79EvEN
-----END CERTIFICATE-----
`

  test('a request that waits for its connection takes one that becomes idle before', async () => {
    const [arrived, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const server = https.createServer({ key, cert }, (_request, response) => {
      arrived.resolve()
      void release.promise.then(() => response.end('{}'))
    })
    // The second connection's handshake never begins.
    let connections = 0
    await using front = await byteServer((socket) => ++connections === 1 && server.emit('connection', socket))
    using client = new Client({ ca: cert })
    const origin = front.origin.replace('http:', 'https:')
    const first = client.send(origin)
    await arrived.promise
    const second = client.send(origin)
    release.resolve()
    assert.deepEqual([(await first).status, (await second).status, client.sender.connectionsOpened], [200, 200, 2])
    assert((await second).connectedMs >= (await first).endMs)
  })

  test('answers come as over plain connections, over one connection; an untrusted server is a failure', async () => {
    const server = https.createServer({ key, cert }, (_request, response) => response.end('x'.repeat(100_000))).listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      const origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
      using client = new Client({ ca: cert })
      for (let count = 0; count < 3; count++) assert.equal((await client.send(origin)).bodyBytes, 100_000)
      assert.equal(client.sender.connectionsOpened, 1)
      using stranger = new Client()
      assert.equal((await stranger.send(origin)).failure?.code, 'DEPTH_ZERO_SELF_SIGNED_CERT')
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })
})

describe('by call', () => {
  const calling = (call: (message: RequestMessage, signal: AbortSignal) => Promise<{ status: number; headers: Record<string, string>; body: Uint8Array }>): Endpoint =>
    ({ ...endpointAt('http://127.0.0.1:1'), transport: { kind: 'call', call } })

  test('the whole answer is the first byte, and what is thrown is a failure with its code', async () => {
    using client = new Client()
    const { status, firstByteMs, endMs, body } = await client.send(calling(async () => ({ status: 200, headers: { a: 'b' }, body: Buffer.from('{}') })))
    assert.deepEqual([status, firstByteMs, Buffer.from(body).toString()], [200, endMs, '{}'])
    const thrown = Object.assign(new Error('too many'), { name: 'TooManyRequestsException' })
    assert.deepEqual((await client.send(calling(() => Promise.reject(thrown)))).failure, { code: 'TooManyRequestsException', message: 'too many' })
    const atOnce = calling(() => { throw new Error('at once') })
    assert.deepEqual((await client.send(atOnce)).failure, { code: 'Error', message: 'at once' })
    assert.equal(client.sender.inFlight, 0)
  })

  test('one that does not end, nor listens to its signal, ends at the time limit (S1)', async () => {
    let signal: AbortSignal | undefined
    using client = new Client({ timeoutMs: 20 })
    const { failure } = await client.send(calling((_message, given) => {
      signal = given
      return new Promise(() => {})
    }))
    assert.deepEqual([failure?.code, signal?.aborted], ['ETIMEDOUT', true])
  })
})

describe('what cannot be sent', () => {
  const refused: Readonly<Record<string, RequestMessage>> = {
    'a path with a space': messageTo('/a b'),
    'a path with a line end': messageTo('/a\r\nx: y'),
    'a path without a slash': messageTo('a'),
    'a header with a line end': messageTo('/', { headers: { a: 'b\r\nc: d' } }),
    'a header of no name': messageTo('/', { headers: { 'a b': 'c' } }),
    'a length of its own': messageTo('/', { headers: { 'Content-Length': '5' } }),
  }
  for (const [name, message] of Object.entries(refused)) {
    test(`${name} is INPUT_INVALID, before a connection is opened`, () => {
      using client = new Client()
      assert.throws(() => client.send('http://127.0.0.1:1', message), (error) => error instanceof PlatformError && error.code === 'INPUT_INVALID')
      assert.deepEqual([client.sender.inFlight, client.sender.connectionsOpened], [0, 0])
    })
  }

  for (const origin of ['127.0.0.1:80', 'ftp://127.0.0.1', 'http://127.0.0.1/path', 'http://127.0.0.1:99999']) {
    test(`${origin} is no address of a server`, () => {
      using client = new Client()
      assert.throws(() => client.send(origin), (error) => error instanceof PlatformError && error.code === 'INPUT_INVALID')
    })
  }
})
