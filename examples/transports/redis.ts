/**
 * Objects in Redis, over one connection on which commands are pipelined: the in-memory tier.
 *
 * Source: RESP 2 (redis.io, protocol specification). Where we differ: replies of arrays are not read, since no command here has one.
 *
 * Invariants:
 *   R1. Replies are given to commands in the order in which those were sent.
 *   R2. When the connection breaks, every command that waits fails with the reason.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import type { Storage } from './storage.ts'

export type RedisReply = string | number | Buffer | undefined

interface Connection {
  readonly socket: Socket
  readonly waiting: { readonly resolve: (reply: RedisReply) => void; readonly reject: (error: Error) => void }[]
}

export class RedisStorage implements Storage {
  readonly #url: URL
  #connection: Connection | undefined

  constructor(url: string) {
    this.#url = new URL(url)
  }

  async put(key: string, object: Uint8Array): Promise<void> {
    await this.#command('SET', key, object)
  }

  async get(key: string): Promise<Uint8Array> {
    const reply = await this.#command('GET', key)
    if (!(reply instanceof Uint8Array)) throw new Error(`Redis has nothing under ${JSON.stringify(key)}.`)
    return reply
  }

  async remove(key: string): Promise<void> {
    await this.#command('DEL', key)
  }

  close(): void {
    this.#connection?.socket.destroy()
  }

  #command(name: string, ...args: readonly (string | Uint8Array)[]): Promise<RedisReply> {
    return new Promise((resolve, reject) => {
      const { socket, waiting } = (this.#connection ??= this.#connect())
      waiting.push({ resolve, reject })
      socket.cork()
      socket.write(`*${args.length + 1}\r\n$${name.length}\r\n${name}\r\n`)
      for (const arg of args) {
        socket.write(`$${Buffer.byteLength(arg)}\r\n`)
        socket.write(arg)
        socket.write('\r\n')
      }
      socket.uncork()
    })
  }

  #connect(): Connection {
    const socket = connect(Number(this.#url.port || 6379), this.#url.hostname)
    socket.setNoDelay(true)
    const connection: Connection = { socket, waiting: [] }
    const fail = (error: Error): void => {
      if (this.#connection === connection) this.#connection = undefined
      for (const one of connection.waiting.splice(0)) one.reject(error)
      socket.destroy()
    }
    const reader = new ReplyReader((reply) => {
      const command = connection.waiting.shift()
      if (reply instanceof Error) command?.reject(reply)
      else command?.resolve(reply)
    })
    socket.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk)
      } catch (error) {
        fail(error as Error)
      }
    })
    socket.on('error', (error) => fail(new Error(`Redis at ${this.#url.host} cannot be used: ${error.message}.`, { cause: error })))
    socket.on('close', () => fail(new Error(`Redis at ${this.#url.host} closed the connection.`)))
    return connection
  }
}

const LINE_BYTES_MAX = 64 * 1024
const BULK_BYTES_MAX = 512 * 1024 * 1024

/** Takes replies out of bytes that arrive in any pieces. @throws Error from `push` when the bytes are no replies. */
export class ReplyReader {
  readonly #give: (reply: RedisReply | Error) => void
  #line = Buffer.alloc(0)
  /** A bulk string that is being filled; its last two bytes are the line end. */
  #bulk: { readonly bytes: Buffer; at: number } | undefined

  constructor(give: (reply: RedisReply | Error) => void) {
    this.#give = give
  }

  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#bulk !== undefined) {
        const { bytes } = this.#bulk
        const copied = chunk.copy(bytes, this.#bulk.at, at)
        this.#bulk.at += copied
        at += copied
        if (this.#bulk.at < bytes.length) return
        this.#bulk = undefined
        if (bytes.toString('latin1', bytes.length - 2) !== '\r\n') throw new Error('A reply of Redis has another length than it says.')
        this.#give(bytes.subarray(0, -2))
        continue
      }
      const end = chunk.indexOf(10, at)
      const rest = chunk.subarray(at, end < 0 ? chunk.length : end + 1)
      const line = this.#line.length === 0 ? rest : Buffer.concat([this.#line, rest])
      if (line.length > LINE_BYTES_MAX) throw new Error(`A line of Redis has more than ${LINE_BYTES_MAX} bytes.`)
      at += rest.length
      if (end < 0) {
        this.#line = Buffer.from(line)
        return
      }
      this.#line = Buffer.alloc(0)
      this.#read(line.toString('latin1'))
    }
  }

  #read(line: string): void {
    if (!line.endsWith('\r\n')) throw new Error('A line of Redis does not end in CR LF.')
    const text = line.slice(1, -2)
    const number = /^-?\d{1,15}$/.test(text) ? Number(text) : NaN
    if (line.startsWith('+')) this.#give(text)
    else if (line.startsWith('-')) this.#give(new Error(`Redis refused: ${text}`))
    else if (line.startsWith(':') && !Number.isNaN(number)) this.#give(number)
    else if (line.startsWith('$') && number === -1) this.#give(undefined)
    else if (line.startsWith('$') && number >= 0 && number <= BULK_BYTES_MAX) this.#bulk = { bytes: Buffer.allocUnsafe(number + 2), at: 0 }
    else throw new Error(`Redis sent ${JSON.stringify(line.slice(0, 40))}, which is no reply to GET, SET or DEL.`)
  }
}
