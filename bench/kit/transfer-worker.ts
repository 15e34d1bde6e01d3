/**
 * One host of the scenario `transfer-remote`: a worker's transfers, and beside them the baselines, in a process of its own that does what the scenario says.
 *
 * Commands come as messages, `[command, ...arguments]`, and are answered by `{ value }` or `{ error }`. Times are taken here, where things happen: messages
 * between the processes are in none of them.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, createServer } from 'node:net'
import type { AddressInfo, OnReadOpts, Socket } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#base/clock.ts'
import { HeldBody } from '#contract/held-body.ts'
import { transferDefaults } from '#transfer/config.ts'
import { ReferenceKeys } from '#transfer/reference.ts'
import { sharedMemory } from '#transfer/shared-memory.ts'
import { fileBodies, memoryBodies } from '#transfer/spill.ts'
import { Transfers } from '#transfer/transfers.ts'
import { makeCredentials } from '#transfer/remote/certificates.ts'
import { remoteDefaults } from '#transfer/remote/config.ts'
import type { PeerAddress } from '#transfer/remote/peer-connection.ts'
import { recycle } from '#transfer/remote/pieces.ts'
import { TransferClient } from '#transfer/remote/transfer-client.ts'
import { TransferServer } from '#transfer/remote/transfer-server.ts'
import { S3Storage } from '../../examples/transports/s3.ts'
import { RedisConnection } from './redis.ts'

const NAMESPACE = 'bench'
const GROUP_KEY = Buffer.alloc(32, 1)
/** What is sent: enough of it that no cache holds it all. */
const SOURCE = randomBytes(100_000_000)

interface Platform {
  readonly url: string
  readonly key: string
}

interface Plane {
  readonly transfers: Transfers
  readonly server: TransferServer
}

const directory = mkdtempSync(join(tmpdir(), 'skep-transfer-bench-'))
const peers = new Map<string, PeerAddress>()
const planes = new Map<number, Plane>()
const raw = new Map<string, Socket>()
const redis = new Map<string, RedisConnection>()
const s3 = new Map<string, S3Storage>()
let worker = ''
let ownAddress = ''

const commands = {
  /** @returns The port of the raw TCP server. */
  async start(name: string, address: string): Promise<number> {
    worker = name
    ownAddress = address
    const server = createServer({ noDelay: true }, sendRaw).listen(0, address)
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  },
  /** Transfers with this window. @returns The port. */
  async plane(windowBytes: number): Promise<number> {
    const memory = sharedMemory()
    const config = { ...remoteDefaults, windowBytes }
    const credentials = makeCredentials(`${worker}-${windowBytes}`, [GROUP_KEY])
    const client = new TransferClient({ config, clock: systemClock, credentials, directory: { find: (peer) => peers.get(peer) } })
    const transfers = new Transfers({
      worker: `${worker}-${windowBytes}`,
      config: { ...transferDefaults, instanceShare: 1 },
      keys: new ReferenceKeys({ id: 1, key: GROUP_KEY }, { nowMs: () => systemClock.epochMs(), randomBytes, objectLifeMs: transferDefaults.ttlMsMax }),
      clock: systemClock,
      randomBytes,
      places: { memory: memory === undefined ? undefined : memoryBodies(memory), files: fileBodies(join(directory, String(windowBytes))) },
      peers: client,
    })
    const server = await TransferServer.listen({ address: { host: ownAddress, port: 0 }, credentials, objects: transfers, memory, config })
    planes.set(windowBytes, { transfers, server })
    return server.address.port
  },
  know(peer: string, address: PeerAddress): void {
    peers.set(peer, address)
  },
  /** `copied` from an ordinary buffer, or made in memory that was allocated for it: making the bytes is in no way's time. @returns The reference, and how long putting took, ms. */
  async put(windowBytes: number, bytes: number, how: 'copied' | 'in place'): Promise<{ readonly reference: string; readonly ms: number }> {
    const memory = sharedMemory()
    if (memory === undefined) throw new Error('There is no shared memory here, which objects are put from: build the addon (node scripts/build-native.ts)')
    const allocated = how === 'in place' ? memory.allocate(bytes) : undefined
    if (allocated !== undefined) Buffer.from(allocated).set(SOURCE.subarray(0, bytes))
    const startedMs = performance.now()
    const fd = allocated === undefined ? memory.copy(SOURCE.subarray(0, bytes)) : memory.seal(allocated)
    const body = new HeldBody(fd, bytes)
    const reference = await planes.get(windowBytes)!.transfers.put({ namespace: NAMESPACE, function: 'f', revision: 1, instance: 'i', invocation: '0'.repeat(32), memoryMb: 1024 }, body, { ordinal: 0 })
    const ms = performance.now() - startedMs
    // On a platform it is the instance that has it, and not the worker, whose process this is.
    allocated?.transfer(0)
    return { reference, ms }
  },
  /** Cut-through: ms until the consumer has had the last byte. */
  async getStream(windowBytes: number, reference: string): Promise<number> {
    const startedMs = performance.now()
    const retrieval = await planes.get(windowBytes)!.transfers.get(NAMESPACE, reference, { asStream: true })
    const bytes = await count(retrieval.body)
    const ms = performance.now() - startedMs
    if (bytes !== retrieval.bytes) throw new Error(`${bytes} bytes came of ${retrieval.bytes}`)
    retrieval.done()
    return ms
  },
  /** Store-and-forward: ms until all of it is here, in sealed memory that the consumer maps. */
  async getHeld(windowBytes: number, reference: string): Promise<number> {
    const startedMs = performance.now()
    const retrieval = await planes.get(windowBytes)!.transfers.get(NAMESPACE, reference)
    const ms = performance.now() - startedMs
    retrieval.done()
    return ms
  },
  /** Bytes over a TCP connection that is open already, in writes of so many; `owned`: the receiver gets buffers that it may keep, as `data` events give them. */
  async getRaw(address: PeerAddress, bytes: number, writeBytes: number, owned: boolean): Promise<number> {
    const key = JSON.stringify([address, writeBytes, owned])
    const socket = raw.get(key) ?? await connectRaw(address, writeBytes, owned)
    raw.set(key, socket)
    const startedMs = performance.now()
    const whole = new Promise<void>((resolve) => {
      let left = bytes
      received = (count) => {
        left -= count
        if (left === 0) resolve()
      }
    })
    socket.write(number(bytes))
    await whole
    return performance.now() - startedMs
  },
  /** An object of S3's kind: PUT, of a new name each time. */
  async putBlob(address: PeerAddress, bytes: number): Promise<{ readonly path: string; readonly ms: number }> {
    const startedMs = performance.now()
    const path = await http('PUT', address, '/', SOURCE.subarray(0, bytes))
    return { path: String(path), ms: performance.now() - startedMs }
  },
  async getBlob(address: PeerAddress, path: string): Promise<number> {
    const startedMs = performance.now()
    await http('GET', address, path)
    return performance.now() - startedMs
  },
  /** By the S3 endpoint of a platform, over an open connection. */
  async putS3(platform: Platform, key: string, bytes: number): Promise<number> {
    const storage = await s3Of(platform)
    const startedMs = performance.now()
    await storage.put(key, SOURCE.subarray(0, bytes))
    return performance.now() - startedMs
  },
  async getS3(platform: Platform, key: string): Promise<number> {
    const storage = await s3Of(platform)
    const startedMs = performance.now()
    await storage.get(key)
    return performance.now() - startedMs
  },
  async putRedis(address: PeerAddress, key: string, bytes: number): Promise<number> {
    return await timed(address, (connection) => connection.set(key, SOURCE.subarray(0, bytes)))
  },
  async getRedis(address: PeerAddress, key: string): Promise<number> {
    return await timed(address, (connection) => connection.get(key))
  },
  /** Of this process so far, ms. */
  cpu(): number {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
  async close(): Promise<void> {
    for (const { transfers, server } of planes.values()) {
      transfers.close()
      await server.close()
    }
    setImmediate(() => process.exit(0))
  },
}

export type Commands = typeof commands

process.on('message', (message: readonly [keyof Commands, ...unknown[]]) => {
  const [command, ...args] = message
  const run = commands[command] as (...args: readonly unknown[]) => unknown
  Promise.resolve().then(() => run(...args)).then(
    (value) => process.send!({ value }),
    (thrown: unknown) => process.send!({ error: thrown instanceof Error ? String(thrown.stack) : String(thrown) }),
  )
})
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
// The scenario is gone: nothing is left to do.
process.on('disconnect', () => process.exit(1))

let received: (count: number) => void = () => {}

async function connectRaw(address: PeerAddress, writeBytes: number, owned: boolean): Promise<Socket> {
  const onread: OnReadOpts = { buffer: Buffer.allocUnsafeSlow(256 * 1024), callback: (count) => { received(count); return true } }
  const socket = connect({ ...address, noDelay: true, ...(!owned && { onread }) })
  if (owned) socket.on('data', (data) => received(data.length))
  await once(socket, 'connect')
  socket.write(number(writeBytes))
  return socket
}

/** The raw TCP server: the first number is the length of its writes, each further one asks for so many bytes. */
function sendRaw(socket: Socket): void {
  let writeBytes = 0
  socket.on('error', () => {})
  socket.on('data', (data: Buffer) => {
    for (let offset = 0; offset < data.length; offset += 4) {
      const value = data.readUInt32LE(offset)
      if (writeBytes === 0) writeBytes = value
      else send(value)
    }
  })
  const send = (bytes: number): void => {
    let sent = 0
    const more = (): void => {
      while (sent < bytes) {
        const chunk = SOURCE.subarray(sent, Math.min(bytes, sent + writeBytes))
        sent += chunk.length
        if (!socket.write(chunk)) return void (sent < bytes && socket.once('drain', more))
      }
    }
    more()
  }
}

async function http(method: string, { host, port }: PeerAddress, path: string, body?: Buffer): Promise<string | number> {
  const sent = request({ method, host, port, path, ...(body !== undefined && { headers: { 'content-length': body.length } }) })
  sent.end(body)
  const [response] = await once(sent, 'response')
  if (response.statusCode !== 200) throw new Error(`${method} ${path} answered ${response.statusCode}`)
  if (method === 'GET') return await count(response)
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return text
}

/** Whoever comes first makes the bucket. */
async function s3Of({ url, key }: Platform): Promise<S3Storage> {
  const open = s3.get(url)
  if (open !== undefined) return open
  const response = await fetch(`${url}/v1/s3/credentials`, { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body: JSON.stringify({ name: worker }) })
  if (!response.ok) throw new Error(`no credentials for S3: ${response.status} ${await response.text()}`)
  const { accessKeyId, secretAccessKey } = (await response.json()) as { accessKeyId: string; secretAccessKey: string }
  const storage = new S3Storage({ url: `${url}/s3`, bucket: 'transfers', accessKeyId, secretAccessKey, region: 'us-east-1' })
  await storage.createBucket()
  s3.set(url, storage)
  return storage
}

async function timed(address: PeerAddress, run: (connection: RedisConnection) => Promise<unknown>): Promise<number> {
  const key = JSON.stringify(address)
  const connection = redis.get(key) ?? await RedisConnection.open(address)
  redis.set(key, connection)
  const startedMs = performance.now()
  await run(connection)
  return performance.now() - startedMs
}

/** Takes all of a stream and keeps nothing of it: as `data` events, like the raw socket's. */
function count(stream: NodeJS.ReadableStream): Promise<number> {
  return new Promise((resolve, reject) => {
    let bytes = 0
    stream.on('data', (data: Buffer) => {
      bytes += data.length
      recycle(data)
    })
    stream.on('end', () => resolve(bytes))
    stream.on('error', reject)
  })
}

function number(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32LE(value)
  return buffer
}
