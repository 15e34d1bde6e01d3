/**
 * The objects of a bucket, for a program that has a key of the platform: listed here, read by functions (reader.ts).
 *
 * S3 wants credentials of its own. They are made for this program and revoked when it closes; those of programs that ended otherwise, a day later.
 */
import { PlatformError } from '../../src/contract/errors.ts'
import type { ListedObject, ObjectPart } from './object-part.ts'
import type { Platform } from './platform.ts'
import { presign } from './presigned-urls.ts'
import type { Credentials, Signing } from './presigned-urls.ts'

const NAME = 'map client'
const DAY_MS = 86_400_000
/** A part may wait in the queue before it is read. */
const READ_WITHIN_S = 12 * 3600
const LIST_WITHIN_S = 60

export class Buckets {
  readonly #platform: Platform
  #credentials: Promise<Credentials> | undefined
  #state: 'open' | 'closed' = 'open'

  constructor(platform: Platform) {
    this.#platform = platform
  }

  async list(bucket: string, prefix = ''): Promise<ListedObject[]> {
    const found: ListedObject[] = []
    for (let token: string | undefined = ''; token !== undefined; ) {
      const query: Record<string, string> = { 'list-type': '2', 'encoding-type': 'url', prefix, ...(token !== '' && { 'continuation-token': token }) }
      const response = await fetch(await this.#sign({ bucket, query, expiresS: LIST_WITHIN_S }))
      const text = await response.text()
      if (!response.ok) {
        const code = response.status === 404 ? 'ENTITY_NOT_FOUND' : 'INPUT_INVALID'
        throw new PlatformError(code, `Bucket ${bucket} cannot be listed: ${element(text, 'Code')} ${element(text, 'Message')}`)
      }
      const page = parseListing(text)
      found.push(...page.objects)
      token = page.next
    }
    return found
  }

  /** Opens this part's object without a key. */
  address(part: ObjectPart): Promise<string> {
    return this.#sign({ bucket: part.bucket, key: part.key, expiresS: READ_WITHIN_S })
  }

  async close(): Promise<void> {
    this.#state = 'closed'
    const credentials = await this.#credentials?.catch(() => undefined)
    if (credentials !== undefined) await this.#platform.api.json('DELETE', `/v1/s3/credentials/${credentials.accessKeyId}`)
  }

  async #sign(what: Pick<Signing, 'bucket' | 'key' | 'query' | 'expiresS'>): Promise<string> {
    // Credentials that are made now would never be revoked.
    if (this.#state === 'closed') throw new PlatformError('CANCELLED', 'The Executor was closed while this work read a bucket; start the work again to have its result.')
    this.#credentials ??= this.#make()
    return presign({ ...what, credentials: await this.#credentials, endpoint: `${this.#platform.url}/s3`, now: new Date() })
  }

  async #make(): Promise<Credentials> {
    const { api } = this.#platform
    const { credentials } = await api.json<{ credentials: readonly { accessKeyId: string; name: string; createdAtMs: number }[] }>('GET', '/v1/s3/credentials')
    const old = credentials.filter((one) => one.name === NAME && one.createdAtMs < Date.now() - DAY_MS)
    await Promise.all(old.map((one) => api.json('DELETE', `/v1/s3/credentials/${one.accessKeyId}`).catch(() => {})))
    return api.json<Credentials>('POST', '/v1/s3/credentials', { name: NAME })
  }
}

/** A page of ListObjectsV2, with `encoding-type=url`. */
export function parseListing(xml: string): { readonly objects: readonly ListedObject[]; readonly next?: string } {
  const objects = [...xml.matchAll(/<Contents>([^]*?)<\/Contents>/g)].map(([, one]) => ({
    key: decodeURIComponent(element(one!, 'Key').replaceAll('+', ' ')),
    size: Number(element(one!, 'Size')),
  }))
  const next = element(xml, 'NextContinuationToken')
  return next === '' ? { objects } : { objects, next }
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function element(xml: string, name: string): string {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1] ?? ''
  return text.replaceAll(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (all, decimal?: string, hex?: string, named?: string) =>
    decimal !== undefined ? String.fromCodePoint(Number(decimal)) : hex !== undefined ? String.fromCodePoint(Number.parseInt(hex, 16)) : entities[named!] ?? all)
}
