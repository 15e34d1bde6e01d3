/** What every operation gets, and how it answers. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Buckets } from '#registry/buckets/buckets.ts'
import type { Address, ObjectAttributes, ObjectEntity } from '#registry/buckets/objects.ts'
import type { Identity } from './authentication.ts'
import { S3Error } from './errors.ts'
import { xmlDocument } from './xml.ts'

/** Bytes of bodies, as they are on the wire. */
export interface Traffic {
  bytesIn: number
  /** Of an object on its way out; other answers are short, and have their length. */
  bytesOut: number
}

export interface S3Call {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly buckets: Buckets
  readonly identity: Identity
  /** Empty where an operation is not about one. */
  readonly address: Address
  readonly query: ReadonlyMap<string, string>
  readonly traffic: Traffic
}

/** What Node takes as the value of a header. */
export const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** Kept with an object and sent with it, beside its content type. */
const KEPT_HEADERS = ['cache-control', 'content-disposition', 'content-encoding', 'content-language', 'expires'] as const
const METADATA_PREFIX = 'x-amz-meta-'
const METADATA_BYTES_MAX = 2048
/** S3's. */
const CONTENT_TYPE = 'binary/octet-stream'

/** What would be promised by these and is not kept: better refused than ignored. */
const REFUSED_HEADERS = /^x-amz-(?:server-side-encryption|copy-source-server-side-encryption|object-lock-|tagging$|website-redirect-location|grant-|write-offset-bytes|object-ownership|bucket-object-lock)/

/** @throws S3Error MetadataTooLarge. */
export function attributesOf(headers: IncomingMessage['headers']): ObjectAttributes {
  const kept: Record<string, string> = {}
  for (const name of KEPT_HEADERS) {
    const value = headers[name]
    if (value !== undefined) kept[name] = name === 'content-encoding' ? withoutAwsChunked(value) : value
  }
  if (kept['content-encoding'] === '') delete kept['content-encoding']
  const metadata: Record<string, string> = {}
  let bytes = 0
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(METADATA_PREFIX)) continue
    metadata[name.slice(METADATA_PREFIX.length)] = String(value)
    bytes += name.length - METADATA_PREFIX.length + String(value).length
  }
  if (bytes > METADATA_BYTES_MAX) throw new S3Error('MetadataTooLarge', `The metadata have ${bytes} bytes; ${METADATA_BYTES_MAX} are the most.`)
  return {
    contentType: headers['content-type'] ?? CONTENT_TYPE,
    ...(Object.keys(kept).length > 0 && { headers: kept }),
    ...(bytes > 0 && { metadata }),
  }
}

function withoutAwsChunked(value: string): string {
  return value.split(',').map((coding) => coding.trim()).filter((coding) => coding !== 'aws-chunked' && coding !== '').join(', ')
}

/** @throws S3Error NotImplemented, AccessDenied. */
export function refuseUnsupported(headers: IncomingMessage['headers'], namespace: string): void {
  for (const name of Object.keys(headers)) if (REFUSED_HEADERS.test(name)) throw new S3Error('NotImplemented', `The header ${name} asks for something that is not there; leave it out.`)
  const storage = headers['x-amz-storage-class']
  if (storage !== undefined && storage !== 'STANDARD') throw new S3Error('NotImplemented', `There is one storage class, STANDARD, and not ${String(storage).slice(0, 40)}.`)
  const acl = headers['x-amz-acl']
  if (acl !== undefined && acl !== 'private' && acl !== 'bucket-owner-full-control') throw new S3Error('NotImplemented', `Objects are private to their namespace, and can't be ${String(acl).slice(0, 40)}; presign a URL instead.`)
  const owner = headers['x-amz-expected-bucket-owner']
  if (owner !== undefined && owner !== namespace) throw new S3Error('AccessDenied', `The bucket is of namespace ${namespace}, and x-amz-expected-bucket-owner says another.`)
}

/** The head of an answer with an object. @param query May replace some (`response-content-type`). */
export function objectHeaders(entity: ObjectEntity, query: ReadonlyMap<string, string> = new Map()): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': entity.contentType ?? CONTENT_TYPE, ...entity.headers, etag: quoted(entity.etag), 'last-modified': new Date(entity.modifiedAtMs).toUTCString(), 'accept-ranges': 'bytes' }
  for (const [name, value] of Object.entries(entity.metadata ?? {})) headers[METADATA_PREFIX + name] = value
  for (const name of ['content-type', ...KEPT_HEADERS]) {
    const value = query.get(`response-${name}`)
    if (value === undefined) continue
    if (!HEADER_VALUE.test(value)) throw new S3Error('InvalidArgument', `response-${name} is no value of a header.`)
    headers[name] = value
  }
  return headers
}

export function quoted(etag: string): string {
  return `"${etag}"`
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

export function sendXml(response: ServerResponse, status: number, root: string, content: readonly string[], headers: Readonly<Record<string, string>> = {}): void {
  const body = Buffer.from(xmlDocument(root, content))
  response.writeHead(status, { 'content-type': 'application/xml', 'content-length': body.length, ...headers })
  response.end(body)
}

/** @param status 204 has no length. */
export function sendEmpty(response: ServerResponse, status: number, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, { ...(status !== 204 && status !== 304 && { 'content-length': '0' }), ...headers })
  response.end()
}

/** A whole number of the query. @throws S3Error InvalidArgument. */
export function wholeNumber(query: ReadonlyMap<string, string>, name: string, otherwise: number, max: number): number {
  const text = query.get(name)
  if (text === undefined || text === '') return otherwise
  if (!/^\d{1,9}$/.test(text)) throw new S3Error('InvalidArgument', `${name} is a whole number from 0 on; this is ${JSON.stringify(text.slice(0, 40))}.`)
  return Math.min(Number(text), max)
}
