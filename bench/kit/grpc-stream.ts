/** An object over gRPC's server streaming in messages of 64 KB, as the thesis's comparison has it (6.6.1.1). The client is installed by bench/baselines (types: what is used of it). */
import { once } from 'node:events'
import { createRequire } from 'node:module'

const CHUNK_BYTES = 64 * 1024

interface Call extends NodeJS.EventEmitter {
  readonly request: Buffer
  write(chunk: Buffer): boolean
  end(): void
}
interface Client {
  fetch(request: Buffer): AsyncIterable<Buffer>
  close(): void
}
interface Server {
  addService(service: object, handlers: { fetch(call: Call): void }): void
  bindAsync(address: string, credentials: object, done: (error: Error | null, port: number) => void): void
  forceShutdown(): void
}
interface Grpc {
  readonly Server: new () => Server
  readonly ServerCredentials: { createInsecure(): object }
  readonly credentials: { createInsecure(): object }
  makeGenericClientConstructor(service: object, name: string): new (address: string, credentials: object) => Client
}

const bytes = (value: Buffer): Buffer => value
const service = { fetch: { path: '/bench.Objects/Fetch', requestStream: false, responseStream: true, requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes } }

/** Serves an object, as much of it as is asked for. @returns The port. */
export async function serveGrpc(object: Buffer): Promise<number> {
  const grpc = load()
  const server = new grpc.Server()
  server.addService(service, { fetch: (call) => void send(call, object.subarray(0, call.request.readUInt32LE())) })
  return await new Promise((resolve, reject) => server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => (error === null ? resolve(port) : reject(error))))
}

async function send(call: Call, object: Buffer): Promise<void> {
  for (let at = 0; at < object.length; at += CHUNK_BYTES) if (!call.write(object.subarray(at, at + CHUNK_BYTES))) await once(call, 'drain')
  call.end()
}

export class GrpcClient {
  readonly #client: Client

  constructor(port: number) {
    const grpc = load()
    this.#client = new (grpc.makeGenericClientConstructor(service, 'Objects'))(`127.0.0.1:${port}`, grpc.credentials.createInsecure())
  }

  /** Takes so many bytes, and keeps them in one buffer. */
  async get(count: number): Promise<Buffer> {
    const request = Buffer.alloc(4)
    request.writeUInt32LE(count)
    const object = Buffer.allocUnsafe(count)
    let at = 0
    for await (const chunk of this.#client.fetch(request)) at += chunk.copy(object, at)
    if (at !== count) throw new Error(`gRPC gave ${at} bytes of ${count}.`)
    return object
  }

  close(): void {
    this.#client.close()
  }
}

function load(): Grpc {
  return createRequire(new URL('../baselines/package.json', import.meta.url))('@grpc/grpc-js') as Grpc
}
