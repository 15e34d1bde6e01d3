/**
 * The body of a request, decoded and checked against everything the client said of it: length, SHA-256, MD5, checksum.
 *
 * Bytes are handed on as they come; what is wrong with them is known at the end, and then `finish` throws: who takes them
 * makes nothing of them visible before.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Fingerprint, Incoming } from '#registry/buckets/objects.ts'
import type { Identity } from './authentication.ts'
import { decodeChunks } from './aws-chunked.ts'
import type { S3Call, Traffic } from './call.ts'
import { checksumAlgorithms, isChecksumAlgorithm, startChecksum } from './checksums.ts'
import type { ChecksumAlgorithm, RunningChecksum } from './checksums.ts'
import { S3Error } from './errors.ts'
import { sha256 } from './signature.ts'

/** S3's own limit of one PUT. */
export const UPLOAD_BYTES_MAX = 5 * 1024 ** 3
/** Handed on at once. Pieces come from the connection in 64 KB or less, and each write to a file is a trip to another thread. */
const GATHERED_BYTES = 512 * 1024
const PREFIX = 'x-amz-checksum-'

type BodyCall = Pick<S3Call, 'request' | 'identity' | 'traffic'>
type Headers = IncomingMessage['headers']

type Payload =
  | { readonly kind: 'plain'; readonly sha256: string | undefined }
  | { readonly kind: 'chunked'; readonly signed: boolean; readonly trailer: boolean }

/**
 * @param computed The checksum to know also when none was sent.
 * @throws S3Error MissingContentLength, EntityTooLarge, InvalidRequest, InvalidDigest. Nothing is read yet.
 */
export function openBody({ request, identity, traffic }: BodyCall, computed?: ChecksumAlgorithm): Incoming {
  const { headers } = request
  const payload = payloadOf(identity.payload)
  const bytes = lengthOf(headers, payload.kind)
  const md5Wanted = md5Of(headers)
  const wanted = checksumOf(headers, payload)
  const md5 = createHash('md5')
  const algorithm = wanted?.algorithm ?? computed
  const running: RunningChecksum | undefined = algorithm === undefined ? undefined : startChecksum(algorithm)
  let checksumWanted = wanted?.value
  const trailer = (name: string, value: string): void => {
    if (wanted !== undefined && name === PREFIX + wanted.algorithm) checksumWanted = value
  }
  async function* source(): AsyncGenerator<Uint8Array> {
    let read = 0
    let gathered: Uint8Array[] = []
    let begun = 0
    for await (const piece of decoded(unbroken(request, traffic), identity, payload, bytes, trailer)) {
      read += piece.length
      md5.update(piece)
      running?.update(piece)
      gathered.push(piece)
      if (read - begun < GATHERED_BYTES) continue
      yield Buffer.concat(gathered)
      gathered = []
      begun = read
    }
    if (gathered.length > 0) yield gathered.length === 1 ? gathered[0]! : Buffer.concat(gathered)
    if (read !== bytes) throw new S3Error('IncompleteBody', `The body ended after ${read} of ${bytes} bytes.`)
  }
  return {
    source: source(),
    bytes,
    finish(digest): Fingerprint {
      if (payload.kind === 'plain' && payload.sha256 !== undefined && payload.sha256 !== digest) {
        throw new S3Error('XAmzContentSHA256Mismatch', `The body has the SHA-256 ${digest}, and x-amz-content-sha256 says ${payload.sha256}. Nothing was kept; send it again.`)
      }
      const found = md5.digest()
      if (md5Wanted !== undefined && !md5Wanted.equals(found)) throw new S3Error('BadDigest', 'The MD5 of the body is not what Content-MD5 says. Nothing was kept; send it again.')
      if (algorithm === undefined) return { md5: found.toString('hex') }
      const value = running!.digest()
      const fingerprint = { md5: found.toString('hex'), checksum: { algorithm, value } }
      if (wanted === undefined) return fingerprint
      if (checksumWanted === undefined) throw new S3Error('MalformedTrailerError', `x-amz-trailer announces ${PREFIX}${wanted.algorithm}, and it did not come.`)
      if (checksumWanted !== value) throw new S3Error('BadDigest', `The ${wanted.algorithm} of the body is ${value}, and ${checksumWanted.slice(0, 100)} was sent. Nothing was kept; send it again.`)
      return fingerprint
    },
  }
}

/** A whole small body. @throws S3Error EntityTooLarge and what {@link openBody} and its source throw. */
export async function readBody(call: BodyCall, bytesMax: number): Promise<string> {
  const { headers } = call.request
  // A body without a length is none: a DELETE, say, or a POST that begins an upload.
  const isEmpty = headers['content-length'] === undefined && headers['transfer-encoding'] === undefined
  if (isEmpty) return ''
  const body = openBody(call)
  if (body.bytes > bytesMax) throw new S3Error('EntityTooLarge', `This body may have ${bytesMax} bytes, and ${body.bytes} are announced.`)
  const pieces: Uint8Array[] = []
  for await (const piece of body.source) pieces.push(piece)
  const whole = Buffer.concat(pieces)
  body.finish(sha256(whole))
  return whole.toString('utf8')
}

function decoded(source: AsyncIterable<Buffer>, identity: Identity, payload: Payload, bytes: number, trailer: (name: string, value: string) => void): AsyncIterable<Uint8Array> {
  if (payload.kind === 'plain') return source
  const { key, scope, time, signature } = identity
  return decodeChunks(source, { bytes, signedTrailer: payload.signed && payload.trailer, trailer, ...(payload.signed && { signing: { key, scope, time, signature } }) })
}

/** What arrives, until the end or an error of our own when the client has gone. */
async function* unbroken(request: IncomingMessage, traffic: Traffic): AsyncGenerator<Buffer> {
  try {
    for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      traffic.bytesIn += piece.length
      yield piece
    }
  } catch (cause) {
    throw new S3Error('IncompleteBody', 'The connection ended before the body did. Nothing was kept; send it again.', { cause })
  }
}

function payloadOf(text: string): Payload {
  switch (text) {
    case 'UNSIGNED-PAYLOAD':
      return { kind: 'plain', sha256: undefined }
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
      return { kind: 'chunked', signed: true, trailer: false }
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
      return { kind: 'chunked', signed: true, trailer: true }
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
      return { kind: 'chunked', signed: false, trailer: true }
    default:
      if (/^[0-9a-f]{64}$/.test(text)) return { kind: 'plain', sha256: text }
      throw new S3Error('InvalidArgument', `x-amz-content-sha256 is the SHA-256 of the body in hex, UNSIGNED-PAYLOAD, or one of the STREAMING-… forms of HMAC-SHA256; this is ${JSON.stringify(text.slice(0, 80))}.`)
  }
}

function lengthOf(headers: Headers, kind: Payload['kind']): number {
  const name = kind === 'chunked' ? 'x-amz-decoded-content-length' : 'content-length'
  const text = headers[name]
  if (typeof text !== 'string') throw new S3Error('MissingContentLength', `The header ${name} is missing: the length has to be known before the body comes.`)
  const bytes = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(bytes)) throw new S3Error('InvalidArgument', `${name} is no number: ${JSON.stringify(text.slice(0, 40))}.`)
  if (bytes > UPLOAD_BYTES_MAX) throw new S3Error('EntityTooLarge', `${bytes} bytes are announced, and ${UPLOAD_BYTES_MAX} are the most of one upload or part; upload more in parts.`)
  return bytes
}

function md5Of(headers: Headers): Buffer | undefined {
  const text = headers['content-md5']
  if (text === undefined) return undefined
  const md5 = Buffer.from(String(text), 'base64')
  if (md5.length !== 16) throw new S3Error('InvalidDigest', 'Content-MD5 is the base64 of 16 bytes; this is not.')
  return md5
}

/** Which checksum will be known: sent in a header, or announced for the end. */
function checksumOf(headers: Headers, payload: Payload): { readonly algorithm: ChecksumAlgorithm; readonly value: string | undefined } | undefined {
  for (const algorithm of checksumAlgorithms) {
    const value = headers[PREFIX + algorithm]
    if (typeof value === 'string') return { algorithm, value }
  }
  if (payload.kind !== 'chunked' || !payload.trailer) return undefined
  const announced = String(headers['x-amz-trailer'] ?? '').trim().toLowerCase()
  if (announced === '') return undefined
  const algorithm = announced.slice(PREFIX.length)
  if (announced.startsWith(PREFIX) && isChecksumAlgorithm(algorithm)) return { algorithm, value: undefined }
  throw new S3Error('InvalidRequest', `x-amz-trailer announces ${JSON.stringify(announced.slice(0, 80))}; understood are ${checksumAlgorithms.map((name) => PREFIX + name).join(', ')}.`)
}
