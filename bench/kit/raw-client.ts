/**
 * One request after the other over one open connection, by a raw socket: `fetch` takes half a millisecond of its own, which is
 * as long as what is measured here. Reads answers that have a content-length.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'

export interface RawAnswer {
  readonly status: number
  readonly head: string
  readonly text: string
  /** From writing the request to the answer's last byte. */
  readonly ms: number
}

export class RawClient implements Disposable {
  readonly #socket: Socket
  readonly #host: string
  readonly #key: string

  private constructor(socket: Socket, host: string, key: string) {
    this.#socket = socket
    this.#host = host
    this.#key = key
  }

  static async open(url: string, key: string): Promise<RawClient> {
    const { hostname, port, host } = new URL(url)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    socket.setNoDelay(true)
    return new RawClient(socket, host, key)
  }

  get(path: string): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      let received = ''
      const startMs = performance.now()
      const read = (chunk: Buffer): void => {
        received += chunk.toString('latin1')
        const headEnd = received.indexOf('\r\n\r\n')
        if (headEnd < 0) return
        const head = received.slice(0, headEnd)
        const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? NaN)
        if (Number.isNaN(length)) return done(new Error(`an answer without content-length: ${head}`))
        if (received.length < headEnd + 4 + length) return
        const ms = performance.now() - startMs
        done({ status: Number(head.slice(9, 12)), head, text: received.slice(headEnd + 4), ms })
      }
      const failed = (): void => done(new Error('the connection was closed'))
      const done = (result: RawAnswer | Error): void => {
        this.#socket.off('data', read)
        this.#socket.off('close', failed)
        if (result instanceof Error) reject(result)
        else resolve(result)
      }
      this.#socket.on('data', read)
      this.#socket.once('close', failed)
      this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: ${this.#host}\r\nauthorization: Bearer ${this.#key}\r\n\r\n`)
    })
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }
}
