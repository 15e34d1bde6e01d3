/**
 * Goal: a peer that breaks the protocol loses its connection and nothing else happens; the server sends nothing without credit (V1, V2, K2, I2).
 * Method: TLS connections with certificates of the group, over which frames are written by hand; fast-check makes sequences of frames and noise.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { makeCredentials } from './certificates.ts'
import { remoteDefaults } from './config.ts'
import { answerFrame, creditFrame, errorFrame, frame, FrameParser, HEADER_BYTES, kinds, requestFrame, writeHeader } from './protocol.ts'
import type { PeerAddress } from './peer-connection.ts'
import { feed } from './read-frames.ts'
import { collect, GROUP_KEY, someBytes, startEnds } from './remote.fake.ts'
import { clientTlsOptions, serverTlsOptions } from './tls-options.ts'
import { TransferClient } from './transfer-client.ts'

const WINDOW = 64 * 1024

describe('a consumer\'s worker that breaks the protocol', () => {
  it('gets no byte beyond its credit, whatever it asks for', async () => {
    await using end = (await startEnds(['producer'], { chunkBytes: 1000 }))[0]!
    const bytes = someBytes(1_000_000)
    end.objects.put('o', bytes)
    const { socket, received, frames } = await handMade(end.server.address)
    socket.write(requestFrame(kinds.pull, 1, 2500, 'o'))
    await received(kinds.data, 3)
    socket.write(creditFrame(1, 10))
    await received(kinds.data, 4)
    // Its answer goes after everything that was ready to be sent.
    socket.write(requestFrame(kinds.lease, 2, 0, 'o'))
    await received(kinds.answer, 2)
    const data = frames.filter(({ kind }) => kind === kinds.data)
    assert.deepEqual(data.map(({ payload }) => payload.length), [1000, 1000, 500, 10])
    assert.ok(Buffer.concat(data.map(({ payload }) => payload)).equals(bytes.subarray(0, 2510)))
    socket.write(frame(kinds.cancel, 1))
    await received(kinds.ended, 1)
    assert.equal(end.objects.open, 2)
    socket.destroy()
    await end.objects.until(() => end.objects.failed === 2)
  })

  it('loses its connection and its leases, and others go on', async () => {
    await using end = (await startEnds(['producer']))[0]!
    end.objects.put('o', someBytes(10))
    const wrongs: readonly Buffer[] = [
      frame(kinds.done, 7),
      requestFrame(kinds.pull, 1, 0, 'o'),
      requestFrame(kinds.pull, 0, 0, 'o'),
      answerFrame(1, 1),
      dataFrame(1, 5),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    ]
    for (const [index, wrong] of wrongs.entries()) {
      const { socket, received } = await handMade(end.server.address)
      socket.write(requestFrame(kinds.pull, 1, 5, 'o'))
      await received(kinds.data, 1)
      socket.write(wrong)
      await once(socket, 'close')
      await end.objects.until(() => end.objects.failed === index + 1)
    }
  })

  it('is let go when it does not read what it asked for', async () => {
    await using end = (await startEnds(['producer'], { stallMs: 100 }))[0]!
    end.objects.put('o', Buffer.alloc(100_000_000))
    const { socket, received } = await handMade(end.server.address)
    socket.write(requestFrame(kinds.pull, 1, 100_000_000, 'o'))
    await received(kinds.data, 1)
    socket.pause()
    await end.objects.until(() => end.objects.failed === 1)
    socket.destroy()
  })

  it('cannot stop the server: fuzz', async () => {
    const [producer, consumer] = await startEnds(['producer', 'consumer'])
    await using first = producer!
    await using second = consumer!
    const bytes = someBytes(300_000)
    first.objects.put('o', bytes)
    const small = fc.integer({ min: 0, max: 6 })
    const anything = fc.oneof(
      fc.tuple(fc.constantFrom(kinds.pull, kinds.lease), small, fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.constantFrom('o', 'x', 'ö'.repeat(99))).map(([kind, request, window, id]) => requestFrame(kind, request, window, id)),
      fc.tuple(fc.constantFrom(kinds.cancel, kinds.done, kinds.failed, kinds.ended), small).map(([kind, request]) => frame(kind, request)),
      fc.tuple(small, fc.integer({ min: 0, max: 2 ** 32 - 1 })).map(([request, credit]) => creditFrame(request, credit)),
      fc.uint8Array({ minLength: 1, maxLength: 30 }).map((noise) => Buffer.from(noise)),
    )
    await fc.assert(fc.asyncProperty(fc.array(anything, { minLength: 1, maxLength: 12 }), async (frames) => {
      const { socket } = await handMade(first.server.address)
      socket.end(Buffer.concat(frames))
      await once(socket, 'close')
      await first.objects.until(() => first.objects.open === 0)
    }), { numRuns: 60 })
    const pull = await second.client.pull('producer', 'o')
    assert.ok((await collect(pull.stream)).equals(bytes))
    pull.done()
  })
})

describe('a producer\'s worker that breaks the protocol', () => {
  const answers: Readonly<Record<string, (request: number) => readonly Buffer[]>> = {
    'more than the object has': (request) => [answerFrame(request, 10), dataFrame(request, 11)],
    'more than it has credit for': (request) => [answerFrame(request, 10_000_000), dataFrame(request, WINDOW + 1)],
    'data before the answer': (request) => [dataFrame(request, 1)],
    'two answers': (request) => [answerFrame(request, 10), answerFrame(request, 10)],
    'data for nobody': (request) => [answerFrame(request, 10), dataFrame(request + 1, 1)],
    'an answer to nobody': (request) => [answerFrame(request + 1, 10)],
    'a frame of the other direction': (request) => [answerFrame(request, 10), creditFrame(request, 1)],
    'an error that is none': (request) => [frame(kinds.error, request, Buffer.from('[]'))],
    noise: () => [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  }
  for (const [what, answer] of Object.entries(answers)) {
    it(`by sending ${what} breaks its transfers, and nothing stays`, async () => {
      await using peer = await startHandMade(answer)
      await assert.rejects(getWith(peer.client), { code: 'TRANSFER_BROKEN' })
      assert.equal(peer.client.bufferBytes, 0)
      assert.equal(peer.client.connections, 0)
    })
  }

  it('but one that ends a transfer by an error keeps its connection', async () => {
    await using peer = await startHandMade((request) => [answerFrame(request, 100), dataFrame(request, 50), errorFrame(request, new PlatformError('STORE_FAILED', 'disk'))])
    for (let round = 0; round < 2; round++) await assert.rejects(getWith(peer.client), { code: 'STORE_FAILED' })
    assert.equal(peer.client.connections, 1)
    assert.equal(peer.client.bufferBytes, 0)
  })

  it('cannot make an object that looks whole and is not: fuzz (I1)', async () => {
    const pieces = fc.array(fc.oneof(
      fc.integer({ min: 1, max: 30 }).map((length) => (request: number) => dataFrame(request, length)),
      fc.constant((request: number) => errorFrame(request, new PlatformError('OBJECT_LOST', 'x'))),
      fc.constant((request: number) => frame(kinds.ended, request)),
      fc.uint8Array({ minLength: 1, maxLength: 20 }).map((noise) => () => Buffer.from(noise)),
    ), { maxLength: 6 })
    await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: 60 }), pieces, async (bytes, rest) => {
      await using peer = await startHandMade((request) => [answerFrame(request, bytes), ...rest.map((make) => make(request))], true)
      try {
        assert.equal((await getWith(peer.client)).length, bytes)
      } catch (thrown) {
        assert.ok(thrown instanceof PlatformError, String(thrown))
      }
      assert.equal(peer.client.bufferBytes, 0)
    }), { numRuns: 60 })
  })
})

async function getWith(client: TransferClient): Promise<Buffer> {
  const pull = await client.pull('producer', 'o')
  try {
    return await collect(pull.stream)
  } finally {
    pull.done()
  }
}

interface SeenFrame {
  readonly kind: number
  readonly request: number
  readonly payload: Buffer
}

/** A connection to a server of ours, of which the frames are noted. */
async function handMade(address: PeerAddress): Promise<{ readonly socket: TLSSocket; readonly frames: readonly SeenFrame[]; received(kind: number, count: number): Promise<void> }> {
  const socket = connect({ ...clientTlsOptions(makeCredentials('hand-made', [GROUP_KEY]), 'producer'), ...address })
  const frames: SeenFrame[] = []
  let payload = Buffer.alloc(0)
  let filled = 0
  let changed = (): void => {}
  const note = (kind: number, request: number, bytes: Buffer): void => {
    frames.push({ kind, request, payload: Buffer.from(bytes) })
    changed()
  }
  const parser = new FrameParser({
    control: note,
    dataBegins: (_request, length) => { payload = Buffer.alloc(length); filled = 0 },
    dataPlace: () => payload.subarray(filled),
    dataCame: (request, count, left) => { filled += count; if (left === 0) note(kinds.data, request, payload) },
  })
  socket.on('data', (data: Buffer) => feed(parser, data))
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  const received = async (kind: number, count: number): Promise<void> => {
    while (frames.filter((one) => one.kind === kind).length < count) await new Promise<void>((resolve) => { changed = resolve })
  }
  return { socket, frames, received }
}

/** A server that answers each request with these frames. @param ends Whether it then closes the connection. */
async function startHandMade(answer: (request: number) => readonly Buffer[], ends = false): Promise<AsyncDisposable & { readonly client: TransferClient }> {
  const sockets = new Set<TLSSocket>()
  const server = createServer(serverTlsOptions(makeCredentials('producer', [GROUP_KEY]), 1000), (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    const parser = new FrameParser({
      control(kind, request) {
        if (kind !== kinds.pull) return
        socket.write(Buffer.concat(answer(request)))
        if (ends) socket.end()
      },
      dataBegins() {},
      dataPlace: () => Buffer.alloc(1),
      dataCame() {},
    })
    socket.on('data', (data: Buffer) => feed(parser, data))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  const client = new TransferClient({ config: { ...remoteDefaults, windowBytes: WINDOW }, clock: systemClock, credentials: makeCredentials('consumer', [GROUP_KEY]), directory: { find: () => address } })
  return {
    client,
    async [Symbol.asyncDispose]() {
      client.close()
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function dataFrame(request: number, length: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + length)
  writeHeader(bytes, 0, kinds.data, request, length)
  return bytes
}
