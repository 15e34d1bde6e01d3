/**
 * The part of Skep's native API that measuring needs: code, functions, and a bucket for a run.
 *
 * The commands have a client of their own (src/cli), which this folder may not know: the tool is to be used without a server's source beside it.
 */
import { Readable } from 'node:stream'
import { pack } from 'tar-stream'
import type { Pack } from 'tar-stream'
import { isPlatformErrorCode, PlatformError } from '#contract/errors.ts'
import type { PlatformErrorBody } from '#contract/errors.ts'
import { FILLER, fillerChunks } from '../functions/package.ts'
import type { FunctionPackage } from '../functions/package.ts'
import { each } from './deployments.ts'
import { presign } from './s3-presign.ts'

export interface SkepConnection {
  /** As `http://127.0.0.1:7070`. */
  readonly url: string
  readonly key: string
  /** Another one than the key's needs an admin key. */
  readonly namespace?: string | undefined
}

export interface Bucket {
  readonly name: string
  remove(): Promise<void>
}

export const PHASES = ['queue', 'placement', 'sandbox', 'init', 'run'] as const

export class SkepClient {
  readonly #connection: SkepConnection
  readonly url: string

  constructor(connection: SkepConnection) {
    this.#connection = connection
    this.url = connection.url.replace(/\/+$/, '')
  }

  whoAmI(): Promise<{ readonly namespace: string; readonly version: string; readonly quotas: { readonly memoryMb: number; readonly codeBytes: number } }> {
    return this.#json('GET', '/v1/whoami', undefined)
  }

  /** As a stream: an image's filler is never in memory. @returns its digest. */
  async upload(code: FunctionPackage): Promise<string> {
    // fetch takes what can be iterated, with `duplex`; its types don't know it.
    const body = tarOf(code) as unknown as ReadableStream<Uint8Array<ArrayBuffer>>
    const init: RequestInit & { readonly duplex: 'half' } = { body, duplex: 'half', headers: { 'content-type': 'application/x-tar' } }
    const { digest } = await this.#send<{ digest: string }>('POST', '/v1/code', init)
    return digest
  }

  async deploy(name: string, config: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#json('PUT', `/v1/functions/${name}`, config)
  }

  async remove(name: string): Promise<void> {
    await this.#json('DELETE', `/v1/functions/${name}`, undefined).catch((error: unknown) => {
      if (!(error instanceof PlatformError && error.code === 'FUNCTION_NOT_FOUND')) throw error
    })
  }

  /** From the records of invocations (docs/observability.md); of those that are written, which takes a moment. */
  async phasesOf(ids: readonly string[], signal: AbortSignal): Promise<readonly Readonly<Record<string, number>>[]> {
    const phases: Record<string, number>[] = []
    await each(ids, signal, async (id) => {
      const record = await this.#json<Partial<Record<`${string}Us`, number>>>('GET', `/v1/invocations/${id}`, undefined).catch((error: unknown) => {
        if (!(error instanceof PlatformError && error.code === 'INVOCATION_NOT_FOUND')) throw error
      })
      if (typeof record?.runUs !== 'number') return
      phases.push(Object.fromEntries(PHASES.map((phase) => [phase, (record[`${phase}Us`] ?? 0) / 1000])))
    })
    return phases
  }

  async makeBucket(name: string): Promise<Bucket> {
    const credentials = await this.#json<{ accessKeyId: string; secretAccessKey: string }>('POST', '/v1/s3/credentials', { name })
    const s3 = async (method: 'GET' | 'PUT' | 'DELETE', path: string, query: Readonly<Record<string, string>> = {}): Promise<string> => {
      const response = await fetch(presign({ method, credentials, endpoint: `${this.url}/s3`, path, query, now: new Date() }), { method })
      const text = await response.text()
      if (!response.ok && response.status !== 404) throw new PlatformError('SERVER_UNREACHABLE', `${method} of bucket ${path} answered ${response.status}: ${text.slice(0, 200)}; does the key open the namespace's buckets?`)
      return text
    }
    const revoke = () => this.#json('DELETE', `/v1/s3/credentials/${credentials.accessKeyId}`, undefined)
    await s3('PUT', name).catch(async (error: unknown) => {
      await revoke()
      throw error
    })
    return {
      name,
      async remove() {
        for (;;) {
          const keys = [...(await s3('GET', name, { 'list-type': '2' })).matchAll(/<Key>([\w/-]+)<\/Key>/g)].map(([, key]) => key!)
          if (keys.length === 0) break
          await each(keys, new AbortController().signal, async (key) => void (await s3('DELETE', `${name}/${key}`)))
        }
        await s3('DELETE', name)
        await revoke()
      },
    }
  }

  #json<Answer>(method: string, path: string, value: unknown): Promise<Answer> {
    return this.#send(method, path, value === undefined ? {} : { body: JSON.stringify(value), headers: { 'content-type': 'application/json' } })
  }

  async #send<Answer>(method: string, path: string, init: RequestInit): Promise<Answer> {
    const { key, namespace } = this.#connection
    const query = namespace === undefined || path === '/v1/whoami' ? '' : `?namespace=${encodeURIComponent(namespace)}`
    const response = await fetch(`${this.url}${path}${query}`, { ...init, method, headers: { ...init.headers, authorization: `Bearer ${key}` } }).catch((cause: unknown) => {
      throw new PlatformError('SERVER_UNREACHABLE', `No platform answers at ${this.url} (${causeOf(cause)}). Start one with: skep up; or set SKEP_URL to where it runs.`, { cause })
    })
    const text = await response.text()
    if (!response.ok) throw errorOf(response.status, text, this.url)
    return (text === '' ? undefined : JSON.parse(text)) as Answer
  }
}

function errorOf(status: number, text: string, url: string): PlatformError {
  try {
    const { error } = JSON.parse(text) as { error?: PlatformErrorBody }
    if (error !== undefined && isPlatformErrorCode(error.code)) return PlatformError.fromBody(error)
  } catch {
    // Another program answered.
  }
  return new PlatformError('SERVER_UNREACHABLE', `The answer ${status} did not come from a Skep platform: ${JSON.stringify(text.slice(0, 200))}. Check the address ${url}.`)
}

function causeOf(error: unknown): string {
  const cause = (error as Error).cause as NodeJS.ErrnoException | undefined
  return cause?.code ?? cause?.message ?? String((error as Error).message)
}

/** Without times and owners, so that the same code has the same digest. */
function tarOf({ files, fillerBytes }: FunctionPackage): Pack {
  const archive = pack()
  const common = { mode: 0o644, mtime: new Date(0), uid: 0, gid: 0, type: 'file' } as const
  for (const [name, text] of files) archive.entry({ ...common, name }, text)
  if (fillerBytes === 0) archive.finalize()
  else {
    const entry = archive.entry({ ...common, name: FILLER, size: fillerBytes }, (error) => (error == null ? archive.finalize() : archive.destroy(error)))
    Readable.from(fillerChunks(fillerBytes)).pipe(entry)
  }
  return archive
}
