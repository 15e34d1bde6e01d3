/**
 * Addresses of buckets and objects that open without a header, for a while: Amazon's Signature Version 4 in the query.
 *
 * Source: AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)". Own code because the bucket of a run is made, listed and removed, and no more:
 * the S3 client would be the largest dependency for it.
 */
import { createHash, createHmac } from 'node:crypto'

export interface Signing {
  readonly method: 'GET' | 'PUT' | 'DELETE'
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
  /** Of the S3 API, with its path: `http://127.0.0.1:7070/s3`. */
  readonly endpoint: string
  /** Bucket, or bucket/key; letters, digits, `-` and `/`, which nobody has to escape. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly now: Date
}

const REGION = 'us-east-1'
const EXPIRES_S = 600

export function presign({ method, credentials, endpoint, path, query = {}, now }: Signing): string {
  const base = new URL(endpoint)
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const day = time.slice(0, 8)
  const scope = `${day}/${REGION}/s3/aws4_request`
  const fullPath = `${base.pathname.replace(/\/+$/, '')}/${path}`
  const parameters = Object.entries({
    ...query,
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `${credentials.accessKeyId}/${scope}`,
    'X-Amz-Date': time,
    'X-Amz-Expires': String(EXPIRES_S),
    'X-Amz-SignedHeaders': 'host',
  })
  const canonicalQuery = parameters.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).sort().join('&')
  const canonical = [method, fullPath, canonicalQuery, `host:${base.host}\n`, 'host', 'UNSIGNED-PAYLOAD'].join('\n')
  const toSign = ['AWS4-HMAC-SHA256', time, scope, createHash('sha256').update(canonical).digest('hex')].join('\n')
  const key = [day, REGION, 's3', 'aws4_request'].reduce<string | Buffer>((secret, part) => hmac(secret, part), `AWS4${credentials.secretAccessKey}`)
  return `${base.origin}${fullPath}?${canonicalQuery}&X-Amz-Signature=${hmac(key, toSign).toString('hex')}`
}

function hmac(secret: string | Buffer, text: string): Buffer {
  return createHmac('sha256', secret).update(text).digest()
}
