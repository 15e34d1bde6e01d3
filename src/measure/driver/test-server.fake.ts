/** Servers on the loopback for the driver's tests: real sockets; what they answer is the test's. */
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import net from 'node:net'
import type { Answer, Endpoint, RequestMessage } from '../provider.ts'

export interface TestServer extends AsyncDisposable {
  readonly origin: string
}

export async function httpServer(listener: RequestListener): Promise<TestServer> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** One that speaks in bytes, for what a good server does not do. */
export async function byteServer(connected: (socket: net.Socket) => unknown): Promise<TestServer> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    connected(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

export function messageTo(path = '/', rest: Partial<RequestMessage> = {}): RequestMessage {
  return { method: 'GET', path, headers: {}, body: undefined, ...rest }
}

export const noAnswer: Answer = { requestId: '', timestamps: [], start: 'unknown', phases: undefined }

/** Reads answers of status 200 with a JSON body, as a provider would. */
export function endpointAt(origin: string, path = '/'): Endpoint {
  return {
    host: origin.replace('http://', ''),
    transport: { kind: 'http', origin },
    request: ({ serviceTimeMs, payloadBytes }) => messageTo(`${path}?ms=${serviceTimeMs}&bytes=${payloadBytes}`),
    readAnswer({ status, body }) {
      if (status !== 200) throw new Error(`status ${status}`)
      return { ...noAnswer, ...(JSON.parse(Buffer.from(body).toString() || '{}') as object) }
    },
  }
}
