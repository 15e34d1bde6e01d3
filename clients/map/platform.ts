/**
 * The platform as the map client uses it: the API for deployments, and invocations over connections that are kept.
 *
 * Which platform and key: options, then SKEP_URL and SKEP_KEY, then what a platform on this machine has written (src/cli/connection.ts).
 */
import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { ApiClient, errorOf, readBytes } from '../../src/cli/api-client.ts'
import { findConnection } from '../../src/cli/connection.ts'
import { PlatformError } from '../../src/contract/errors.ts'

export interface PlatformOptions {
  readonly url?: string | undefined
  readonly key?: string | undefined
  readonly namespace?: string | undefined
}

export interface Answer {
  readonly body: Buffer
  readonly invocationId: string | undefined
}

export class Platform {
  readonly api: ApiClient
  readonly #agent: HttpAgent

  constructor({ url, key, namespace }: PlatformOptions) {
    const connection = findConnection({ ...(url !== undefined && { url }), ...(key !== undefined && { key }), ...(namespace !== undefined && { namespace }) }, process.env)
    this.api = new ApiClient(connection)
    this.#agent = connection.url.startsWith('https:') ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true })
  }

  get url(): string {
    return this.api.connection.url
  }

  /** Calls a function at its address, and reads the whole answer. @throws what the platform says, SERVER_UNREACHABLE, CANCELLED when aborted. */
  invoke(address: string, body: Buffer | string, type: string, signal: AbortSignal): Promise<Answer> {
    const url = new URL(this.url + address)
    const request = url.protocol === 'https:' ? httpsRequest : httpRequest
    const headers = { 'content-type': type, 'content-length': Buffer.byteLength(body), authorization: `Bearer ${this.api.connection.key}` }
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const failed = (cause: unknown): void => reject(signal.aborted ? cancelled() : cause instanceof PlatformError ? cause : unreachable(this.url, cause))
    const sent = request(url, { method: 'POST', headers, agent: this.#agent, signal }, (response) => {
      readBytes(response).then((bytes) => {
        if (response.headers['x-skep-error'] !== undefined || response.headers['x-skep-invocation-id'] === undefined) throw errorOf(response, bytes.toString('utf8'))
        resolve({ body: bytes, invocationId: String(response.headers['x-skep-invocation-id']) })
      }).catch(failed)
    })
    sent.on('error', failed)
    sent.end(body)
    return promise
  }

  close(): void {
    this.#agent.destroy()
  }
}

function cancelled(): PlatformError {
  return new PlatformError('CANCELLED', 'This work was cancelled; start it again to have its result.')
}

function unreachable(url: string, cause: unknown): PlatformError {
  const why = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message
  return new PlatformError('SERVER_UNREACHABLE', `The platform at ${url} does not answer (${why}). Is it running, and is SKEP_URL right?`, { cause })
}
