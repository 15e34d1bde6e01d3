/**
 * Objects in a bucket over HTTP, signed by AWS Signature Version 4: enough of S3 to put, get, delete and list.
 *
 * Written out because an example has no packages. The payload is not part of the signature (UNSIGNED-PAYLOAD), as the SDKs do it over TLS: hashing it would
 * cost the storage's side of a comparison what its users do not pay.
 *
 * Source: AWS, Signature Version 4 signing process; Amazon S3 REST API.
 */
import { createHash, createHmac } from 'node:crypto'
import { Agent, request as httpRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { Storage } from './storage.ts'

export interface S3Options {
  /** Of the endpoint; the bucket is a part of the path below it. */
  readonly url: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly region: string
}

export class S3Storage implements Storage {
  readonly #options: S3Options
  readonly #root: URL
  // As many connections as the SDKs open.
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 50 })

  constructor(options: S3Options) {
    this.#options = options
    this.#root = new URL(options.url)
  }

  async put(key: string, object: Uint8Array): Promise<void> {
    await this.#send('PUT', key, { body: object })
  }

  get(key: string): Promise<Uint8Array> {
    return this.#send('GET', key)
  }

  async remove(key: string): Promise<void> {
    await this.#send('DELETE', key)
  }

  /** Keys that begin with this; the first thousand. */
  async list(prefix: string): Promise<string[]> {
    const answer = (await this.#send('GET', undefined, { query: `list-type=2&prefix=${uriEncode(prefix)}` })).toString()
    return [...answer.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) => key!)
  }

  close(): void {
    this.#agent.destroy()
  }

  /** Makes the bucket; one that is there already is fine. */
  async createBucket(): Promise<void> {
    await this.#send('PUT', undefined, { body: new Uint8Array(), accepted: 409 })
  }

  async #send(method: string, key: string | undefined, { body, query = '', accepted }: { body?: Uint8Array; query?: string; accepted?: number } = {}): Promise<Buffer> {
    const { bucket } = this.#options
    const path = `${this.#root.pathname.replace(/\/$/, '')}/${[bucket, ...(key === undefined ? [] : key.split('/'))].map(uriEncode).join('/')}`
    const headers = signedHeaders({ method, path, query, host: this.#root.host, atMs: Date.now(), ...this.#options })
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const { hostname, port } = this.#root
      const target = { host: hostname, port, method, path: query === '' ? path : `${path}?${query}` }
      const request = httpRequest({ agent: this.#agent, ...target, headers: { ...headers, ...(body !== undefined && { 'content-length': body.length }) } }, resolve)
      request.on('error', reject)
      request.end(body)
    })
    const answer = await collect(response)
    const status = response.statusCode!
    if (status >= 300 && status !== accepted) throw new Error(`${method} ${path} answered ${status}: ${answer.toString('utf8', 0, 300)}`)
    return answer
  }
}

async function collect(response: IncomingMessage): Promise<Buffer> {
  const length = Number(response.headers['content-length'] ?? NaN)
  if (!Number.isInteger(length)) return Buffer.concat(await Array.fromAsync(response as AsyncIterable<Buffer>))
  const whole = Buffer.allocUnsafe(length)
  let at = 0
  for await (const chunk of response as AsyncIterable<Buffer>) at += chunk.copy(whole, at)
  if (at !== length) throw new Error(`The storage sent ${at} bytes of ${length}.`)
  return whole
}

export interface SigningInput {
  readonly method: string
  /** Encoded, as is the query; parameters of that in the order of their names. */
  readonly path: string
  readonly query: string
  readonly host: string
  readonly atMs: number
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly region: string
}

/** The headers that sign a request. Pure. */
export function signedHeaders({ method, path, query, host, atMs, accessKeyId, secretAccessKey, region }: SigningInput): Record<string, string> {
  const time = new Date(atMs).toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`
  const names = 'host;x-amz-content-sha256;x-amz-date'
  const canonical = `${method}\n${path}\n${query}\nhost:${host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:${time}\n\n${names}\nUNSIGNED-PAYLOAD`
  const toSign = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${createHash('sha256').update(canonical).digest('hex')}`
  const key = [time.slice(0, 8), region, 's3', 'aws4_request'].reduce<string | Buffer>((from, part) => createHmac('sha256', from).update(part).digest(), `AWS4${secretAccessKey}`)
  const signature = createHmac('sha256', key).update(toSign).digest('hex')
  return {
    host,
    'x-amz-date': time,
    'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
    authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  }
}

/** As S3 wants it: everything but letters, digits and `-._~`. */
function uriEncode(part: string): string {
  return encodeURIComponent(part).replaceAll(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
}
