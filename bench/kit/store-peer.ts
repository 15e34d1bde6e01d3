/**
 * A producer or consumer of the baselines of `transfer-local`, in a process of its own: through storages, over TCP and over gRPC.
 *
 * Commands come as messages, `[command, ...arguments]`, and are answered by `{ value }` or `{ error }`. Times are taken here, ms. What arrives is in one buffer
 * of the consumer, as it is after `get` of the SDK, and is checked by a stamp at its begin, so that no storage keeps two objects as one.
 */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { RedisStorage } from '../../examples/transports/redis.ts'
import { S3Storage } from '../../examples/transports/s3.ts'
import type { S3Options } from '../../examples/transports/s3.ts'
import type { Storage } from '../../examples/transports/storage.ts'
import { GrpcClient, serveGrpc } from './grpc-stream.ts'
import { NatsObjects } from './nats-objects.ts'

export interface StoreAddresses {
  readonly redis?: string
  readonly s3?: S3Options
  readonly nats?: { readonly host: string; readonly port: number }
}

const source = Buffer.allocUnsafeSlow(100_000_000).fill(0x5a)
const storages = new Map<string, Storage>()
let tcp: Socket | undefined
let grpc: GrpcClient | undefined

const commands = {
  async open({ redis, s3, nats }: StoreAddresses): Promise<void> {
    if (redis !== undefined) storages.set('redis', new RedisStorage(redis))
    if (nats !== undefined) storages.set('nats', await NatsObjects.open(nats))
    if (s3 !== undefined) {
      const storage = new S3Storage(s3)
      await storage.createBucket()
      storages.set('s3', storage)
    }
  },
  async put(store: string, bytes: number, stamp: number): Promise<number> {
    const object = source.subarray(0, bytes)
    object.writeDoubleLE(stamp)
    const beganMs = performance.now()
    await storages.get(store)!.put(`o${stamp}`, object)
    return performance.now() - beganMs
  },
  async get(store: string, bytes: number, stamp: number): Promise<number> {
    const beganMs = performance.now()
    const object = await storages.get(store)!.get(`o${stamp}`)
    const read = new DataView(object.buffer, object.byteOffset).getFloat64(0, true)
    const ms = performance.now() - beganMs
    if (read !== stamp || object.length !== bytes || object.at(-1) !== 0x5a) throw new Error(`${store} gave ${object.length} bytes of ${read}, where ${bytes} of ${stamp} were put`)
    return ms
  },
  async remove(store: string, stamp: number): Promise<void> {
    await storages.get(store)!.remove(`o${stamp}`)
  },
  /** @returns Ports of servers that give as many bytes as they are asked for. */
  async serve(): Promise<{ readonly tcp: number; readonly grpc: number }> {
    const server = createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => {})
      socket.on('data', (request: Buffer) => socket.write(source.subarray(0, request.readUInt32LE())))
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return { tcp: (server.address() as AddressInfo).port, grpc: await serveGrpc(source) }
  },
  async getTcp(port: number, bytes: number): Promise<number> {
    if (tcp === undefined) {
      tcp = connect({ port, host: '127.0.0.1', noDelay: true })
      await once(tcp, 'connect')
    }
    const request = Buffer.alloc(4)
    request.writeUInt32LE(bytes)
    const beganMs = performance.now()
    const object = Buffer.allocUnsafe(bytes)
    let at = 0
    const whole = new Promise<void>((resolve) => tcp!.on('data', function take(this: Socket, chunk: Buffer) {
      at += chunk.copy(object, at)
      if (at === bytes) {
        this.off('data', take)
        resolve()
      }
    }))
    tcp.write(request)
    await whole
    return performance.now() - beganMs
  },
  async getGrpc(port: number, bytes: number): Promise<number> {
    grpc ??= new GrpcClient(port)
    const beganMs = performance.now()
    await grpc.get(bytes)
    return performance.now() - beganMs
  },
}

export type PeerCommands = typeof commands

process.on('message', ([command, ...args]: readonly [keyof PeerCommands, ...unknown[]]) => {
  const run = commands[command] as (...args: readonly unknown[]) => unknown
  Promise.resolve().then(() => run(...args)).then(
    (value) => process.send!({ value }),
    (thrown: unknown) => process.send!({ error: thrown instanceof Error ? String(thrown.stack) : String(thrown) }),
  )
})
// The scenario has ended.
process.on('disconnect', () => process.exit(0))
