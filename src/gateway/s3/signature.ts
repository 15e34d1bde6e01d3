/**
 * AWS Signature Version 4, as a server checks it: pure functions from what was sent to what should have been signed.
 *
 *   canonical request ─ SHA-256 ─▶ string to sign ─ HMAC under the signing key ─▶ signature
 *                                   time, scope        secret ▶ date ▶ region ▶ service ▶ "aws4_request"
 *
 * Source: AWS, "Authenticating Requests (AWS Signature Version 4)", with the header, the query (presigned URLs) and the chunks of a
 * streamed body. The path is taken as it was sent: S3 does not normalise it, so `//` and `..` are parts of keys.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { S3Error } from './errors.ts'

export const ALGORITHM = 'AWS4-HMAC-SHA256'
export const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
/** A week, as S3 has it. */
export const EXPIRES_S_MAX = 604_800

export type QueryPairs = readonly (readonly [name: string, value: string])[]

export interface Scope {
  readonly accessKeyId: string
  /** yyyymmdd. */
  readonly date: string
  readonly region: string
}

/** What the client says of its signature; nothing of it is checked yet. */
export interface Presented {
  readonly kind: 'header' | 'query'
  readonly scope: Scope
  /** In small letters, sorted. */
  readonly signedHeaders: readonly string[]
  readonly signature: string
  /** yyyymmddThhmmssZ. */
  readonly time: string
  /** Of a presigned URL: for how long, s. */
  readonly expiresS: number | undefined
}

export interface Canonical {
  readonly method: string
  /** Percent-encoded, as sent. */
  readonly path: string
  /** Decoded. */
  readonly query: QueryPairs
  /** The values of a header, in the order sent. */
  readonly header: (name: string) => readonly string[]
  readonly signedHeaders: readonly string[]
  readonly payload: string
}

/** @throws S3Error AuthorizationHeaderMalformed. */
export function parseAuthorization(header: string, time: string): Presented {
  const fields = new Map<string, string>()
  const rest = header.slice(ALGORITHM.length)
  if (!header.startsWith(ALGORITHM) || !/^\s/.test(rest) || header.length > 4096) {
    throw new S3Error('AuthorizationHeaderMalformed', `Only ${ALGORITHM} (AWS Signature Version 4) is understood here; configure the client for it.`)
  }
  for (const field of rest.split(',')) {
    const equals = field.indexOf('=')
    if (equals !== -1) fields.set(field.slice(0, equals).trim(), field.slice(equals + 1).trim())
  }
  const presented = presentedOf('header', fields.get('Credential'), fields.get('SignedHeaders'), fields.get('Signature'), time, undefined)
  if (presented === undefined) throw new S3Error('AuthorizationHeaderMalformed', 'The Authorization header needs Credential=<id>/<yyyymmdd>/<region>/s3/aws4_request, SignedHeaders and Signature, and x-amz-date its time.')
  return presented
}

/** @throws S3Error AuthorizationQueryParametersError. */
export function parsePresigned(query: ReadonlyMap<string, string>): Presented {
  const expires = query.get('X-Amz-Expires') ?? ''
  const expiresS = /^\d{1,6}$/.test(expires) ? Number(expires) : 0
  const presented =
    query.get('X-Amz-Algorithm') !== ALGORITHM || expiresS < 1 || expiresS > EXPIRES_S_MAX
      ? undefined
      : presentedOf('query', query.get('X-Amz-Credential'), query.get('X-Amz-SignedHeaders'), query.get('X-Amz-Signature'), query.get('X-Amz-Date') ?? '', expiresS)
  if (presented === undefined) {
    throw new S3Error('AuthorizationQueryParametersError', `A presigned URL needs X-Amz-Algorithm=${ALGORITHM}, X-Amz-Credential, X-Amz-Date, X-Amz-Expires (1 to ${EXPIRES_S_MAX} s), X-Amz-SignedHeaders and X-Amz-Signature.`)
  }
  return presented
}

function presentedOf(kind: Presented['kind'], credential: string | undefined, headers: string | undefined, signature: string | undefined, time: string, expiresS: number | undefined): Presented | undefined {
  const match = /^([^/]{1,128})\/(\d{8})\/([a-z0-9-]{1,64})\/s3\/aws4_request$/.exec(credential ?? '')
  if (match === null || headers === undefined || !/^[!-:<-~]+(?:;[!-:<-~]+)*$/.test(headers) || !/^[0-9a-f]{64}$/.test(signature ?? '') || parseTime(time) === undefined) return undefined
  const [, accessKeyId, date, region] = match as unknown as [string, string, string, string]
  if (!time.startsWith(date)) return undefined
  return { kind, scope: { accessKeyId, date, region }, signedHeaders: headers.toLowerCase().split(';').sort(), signature: signature!, time, expiresS }
}

/** yyyymmddThhmmssZ as epoch ms. */
export function parseTime(text: string): number | undefined {
  const match = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/.exec(text)
  if (match === null) return undefined
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [number, number, number, number, number, number]
  const ms = Date.UTC(year, month - 1, day, hour, minute, second)
  // 20260231 would otherwise be some day of March.
  return new Date(ms).toISOString().replace(/[-:]|\.\d+/g, '') === text ? ms : undefined
}

export function canonicalRequest({ method, path, query, header, signedHeaders, payload }: Canonical): string {
  const pairs = query.filter(([name]) => name !== 'X-Amz-Signature').map(([name, value]) => `${uriEncode(name)}=${uriEncode(value)}`)
  const headers = signedHeaders.map((name) => `${name}:${header(name).map((value) => value.trim().replace(/ +/g, ' ')).join(',')}\n`)
  return `${method}\n${path}\n${pairs.sort().join('&')}\n${headers.join('')}\n${signedHeaders.join(';')}\n${payload}`
}

export function scopeText({ date, region }: Scope): string {
  return `${date}/${region}/s3/aws4_request`
}

export function stringToSign(time: string, scope: Scope, canonical: string): string {
  return `${ALGORITHM}\n${time}\n${scopeText(scope)}\n${sha256(canonical)}`
}

export function signingKey(secret: string, { date, region }: Scope): Buffer {
  return hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), 's3'), 'aws4_request')
}

export function sign(key: Buffer, text: string): string {
  return hmac(key, text).toString('hex')
}

export function sha256(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Takes the same time wherever the two differ. */
export function sameSignature(one: string, other: string): boolean {
  return one.length === other.length && timingSafeEqual(Buffer.from(one, 'latin1'), Buffer.from(other, 'latin1'))
}

/** As AWS does it: everything but unreserved characters, each byte of UTF-8 as %XX. */
export function uriEncode(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
