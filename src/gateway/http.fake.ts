/** A real HTTP server for unit tests, and clients that see exactly what was on the wire. Gone when the test ends. */
import { createServer, request as httpRequest } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Readable } from 'node:stream'
import type { TestContext } from 'node:test'

export interface TestAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** It came to its end: the connection was not cut within the body. */
  readonly complete: boolean
  json(): any // eslint-disable-line -- the tests know what they asked for
}

export interface AskOptions {
  readonly method?: string
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string | Uint8Array | Readable
}

export interface TestServer {
  readonly port: number
  ask(path: string, options?: AskOptions): Promise<TestAnswer>
  /** A connection that the test speaks on by itself. */
  connect(): Socket
  /** Sends this, and gives everything that comes until the connection ends. */
  raw(text: string): Promise<string>
}

export async function serve(context: Pick<TestContext, 'after'>, handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<TestServer> {
  const server = createServer(handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  context.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const open = (): Socket => connect(port, '127.0.0.1').on('error', () => {})
  return {
    port,
    connect: open,
    ask(path, { method = 'GET', headers = {}, body } = {}) {
      const isWhole = typeof body === 'string' || body instanceof Uint8Array
      const length = isWhole ? { 'content-length': Buffer.byteLength(body) } : {}
      const request = httpRequest({ port, host: '127.0.0.1', path, method, headers: { ...length, ...headers }, agent: false })
      return new Promise((resolve, reject) => {
        request.on('error', reject)
        request.on('response', (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('error', () => {})
          response.on('close', () => {
            const text = Buffer.concat(chunks).toString()
            resolve({ status: response.statusCode!, headers: response.headers, text, complete: response.complete, json: () => JSON.parse(text) })
          })
        })
        if (body === undefined || isWhole) request.end(body)
        else body.pipe(request)
      })
    },
    raw(text) {
      const socket = open()
      socket.write(text)
      return new Promise((resolve) => {
        let received = ''
        socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')))
        socket.on('close', () => resolve(received))
      })
    },
  }
}
