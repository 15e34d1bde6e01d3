/**
 * Who sends an S3 request: checks its signature, and gives what the chunks of a streamed body are checked with.
 *
 * Invariants:
 *   V1. Every header that changes what is done (`x-amz-*` and Host) must be signed, or the request is refused: otherwise
 *       who sees a presigned URL could add some.
 *   V2. A signature is good for {@link SKEW_MS} around its time, or as long as a presigned URL says.
 */
import type { IncomingMessage } from 'node:http'
import type { S3Signer } from '#registry/buckets/credentials.ts'
import { S3Error } from './errors.ts'
import { ALGORITHM, canonicalRequest, parseAuthorization, parsePresigned, parseTime, sameSignature, sign, signingKey, stringToSign, uriEncode } from './signature.ts'
import type { Presented, Scope } from './signature.ts'
import type { Target } from './target.ts'

/** As S3 has it. */
export const SKEW_MS = 15 * 60_000

export interface Identity {
  readonly namespace: string
  /** What `x-amz-content-sha256` says of the body. */
  readonly payload: string
  readonly key: Buffer
  readonly scope: Scope
  readonly time: string
  readonly signature: string
}

export interface IdentifyOptions {
  readonly signer: (accessKeyId: string) => S3Signer | undefined
  readonly nowMs: number
}

/** @throws S3Error: AccessDenied, InvalidAccessKeyId, SignatureDoesNotMatch, RequestTimeTooSkewed and those of a malformed one. */
export function identify(request: Pick<IncomingMessage, 'method' | 'headers' | 'headersDistinct'>, target: Target, options: IdentifyOptions): Identity {
  const presented = presentedBy(request, target)
  checkTime(presented, options.nowMs)
  const signer = options.signer(presented.scope.accessKeyId)
  if (signer === undefined) {
    throw new S3Error('InvalidAccessKeyId', `There are no S3 credentials ${presented.scope.accessKeyId}: they were revoked, or belong to another platform. Make some with: skep s3 credentials create`)
  }
  checkSigned(request, presented)
  const payload = payloadOf(request, target, presented)
  const key = signingKey(signer.secret, presented.scope)
  const expected = (path: string): string => {
    const header = (name: string): readonly string[] => request.headersDistinct[name] ?? []
    const canonical = canonicalRequest({ method: request.method ?? '', path, query: target.pairs, header, signedHeaders: presented.signedHeaders, payload })
    return sign(key, stringToSign(presented.time, presented.scope, canonical))
  }
  // Some clients sign the path as they send it, some in its strictest encoding; both mean the same key.
  const isRight = sameSignature(expected(target.path), presented.signature) || sameSignature(expected(strictPath(target.path)), presented.signature)
  if (!isRight) {
    throw new S3Error('SignatureDoesNotMatch', 'The signature does not fit the request: the secret is wrong, or something between client and platform has changed the request (its Host header, its path).')
  }
  return { namespace: signer.namespace, payload, key, scope: presented.scope, time: presented.time, signature: presented.signature }
}

function presentedBy(request: Pick<IncomingMessage, 'headers'>, target: Target): Presented {
  const { authorization } = request.headers
  const inQuery = target.query.has('X-Amz-Algorithm') || target.query.has('X-Amz-Signature')
  if (authorization !== undefined && inQuery) throw new S3Error('InvalidArgument', 'The request is signed in its header and in its query; sign it once.')
  if (inQuery) return parsePresigned(target.query)
  if (target.query.has('AWSAccessKeyId')) throw new S3Error('InvalidRequest', `The URL is presigned with Signature Version 2; use ${ALGORITHM} (boto3: Config(signature_version='s3v4')).`)
  if (authorization === undefined) throw new S3Error('AccessDenied', `The request is not signed. Sign it with S3 credentials (${ALGORITHM}); make some with: skep s3 credentials create`)
  const dateHeader = request.headers['x-amz-date']
  const date = Date.parse(request.headers.date ?? '')
  const time = typeof dateHeader === 'string' ? dateHeader : Number.isNaN(date) ? '' : new Date(date).toISOString().replace(/[-:]|\.\d+/g, '')
  return parseAuthorization(authorization, time)
}

function checkTime({ time, expiresS }: Presented, nowMs: number): void {
  const atMs = parseTime(time)!
  if (expiresS !== undefined) {
    if (nowMs > atMs + expiresS * 1000) throw new S3Error('AccessDenied', `Request has expired: the URL was good for ${expiresS} s from ${time}. Presign another.`)
    if (atMs > nowMs + SKEW_MS) throw new S3Error('AccessDenied', `Request is not yet valid: it was signed at ${time}, and here it is ${new Date(nowMs).toISOString()}. Set the clock.`)
  } else if (Math.abs(nowMs - atMs) > SKEW_MS) {
    throw new S3Error('RequestTimeTooSkewed', `The request was signed at ${time}, and here it is ${new Date(nowMs).toISOString()}: more than ${SKEW_MS / 60_000} minutes apart. Set the clock.`)
  }
}

/** V1. */
function checkSigned(request: Pick<IncomingMessage, 'headers'>, { signedHeaders }: Presented): void {
  const signed = new Set(signedHeaders)
  const missing = Object.keys(request.headers).filter((name) => (name.startsWith('x-amz-') || name === 'host') && !signed.has(name))
  if (missing.length > 0) throw new S3Error('AccessDenied', `There were headers present in the request which were not signed: ${missing.join(', ').slice(0, 300)}.`)
}

function payloadOf(request: Pick<IncomingMessage, 'headers'>, target: Target, { kind }: Presented): string {
  const header = request.headers['x-amz-content-sha256'] ?? target.query.get('X-Amz-Content-Sha256')
  if (typeof header === 'string') return header
  if (kind === 'query') return 'UNSIGNED-PAYLOAD'
  throw new S3Error('InvalidRequest', 'The header x-amz-content-sha256 is missing: give the SHA-256 of the body, or UNSIGNED-PAYLOAD.')
}

function strictPath(path: string): string {
  return path.split('/').map((part) => uriEncode(decodeURIComponent(part))).join('/')
}
