/**
 * Addresses of buckets and objects that open without a header, for a while: Amazon's Signature Version 4 in the query.
 *
 * Source: AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)". A library would be larger than this page.
 */
import { createHash, createHmac } from 'node:crypto'

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export interface Signing {
  readonly credentials: Credentials
  /** Of the S3 API, with its path: `http://127.0.0.1:7070/s3`. */
  readonly endpoint: string
  readonly bucket: string
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly now: Date
  /** How long it opens, s. At most a week. */
  readonly expiresS: number
}

const REGION = 'us-east-1'

export function presign({ credentials, endpoint, bucket, key = '', query = {}, now, expiresS }: Signing): string {
  const base = new URL(endpoint)
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const day = time.slice(0, 8)
  const scope = `${day}/${REGION}/s3/aws4_request`
  const path = `${base.pathname.replace(/\/+$/, '')}/${(key === '' ? bucket : `${bucket}/${key}`).split('/').map(escape).join('/')}`
  const parameters: [string, string][] = Object.entries({
    ...query,
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `${credentials.accessKeyId}/${scope}`,
    'X-Amz-Date': time,
    'X-Amz-Expires': String(expiresS),
    'X-Amz-SignedHeaders': 'host',
  })
  const canonicalQuery = parameters.map(([name, value]) => `${escape(name)}=${escape(value)}`).sort().join('&')
  const canonical = ['GET', path, canonicalQuery, `host:${base.host}\n`, 'host', 'UNSIGNED-PAYLOAD'].join('\n')
  const toSign = ['AWS4-HMAC-SHA256', time, scope, createHash('sha256').update(canonical).digest('hex')].join('\n')
  const signingKey = [day, REGION, 's3', 'aws4_request'].reduce<string | Buffer>((secret, part) => hmac(secret, part), `AWS4${credentials.secretAccessKey}`)
  return `${base.origin}${path}?${canonicalQuery}&X-Amz-Signature=${hmac(signingKey, toSign).toString('hex')}`
}

function hmac(secret: string | Buffer, text: string): Buffer {
  return createHmac('sha256', secret).update(text).digest()
}

/** As the standard says, and encodeURIComponent not quite. */
function escape(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
}
