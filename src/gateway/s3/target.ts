/**
 * Which bucket and key a request is about: `/s3/<bucket>/<key>?query` (path style).
 *
 * The path stays as it was sent for the signature; the key is its decoded form, with whatever slashes and dots it has.
 */
import { KEY_CHARACTER_LAST } from '#registry/buckets/listing.ts'
import { S3Error } from './errors.ts'
import type { QueryPairs } from './signature.ts'

export interface Target {
  /** As sent, without the query. */
  readonly path: string
  readonly pairs: QueryPairs
  /** The first value of each name. */
  readonly query: ReadonlyMap<string, string>
  readonly bucket: string | undefined
  readonly key: string | undefined
}

export const PREFIX = '/s3'
const KEY_BYTES_MAX = 1024
const PAIRS_MAX = 200
const BUCKET_PATTERN = /^(?=.{3,63}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/

/** @throws S3Error InvalidURI, InvalidArgument, KeyTooLongError. */
export function parseTarget(url: string): Target {
  const question = url.indexOf('?')
  const path = question === -1 ? url : url.slice(0, question)
  const pairs = question === -1 ? [] : parseQuery(url.slice(question + 1))
  const query = new Map<string, string>()
  for (const [name, value] of pairs) if (!query.has(name)) query.set(name, value)
  const rest = path.slice(PREFIX.length + 1)
  const slash = rest.indexOf('/')
  const bucket = decode(slash === -1 ? rest : rest.slice(0, slash))
  const key = slash === -1 ? '' : decode(rest.slice(slash + 1))
  return { path, pairs, query, bucket: bucket === '' ? undefined : bucket, key: key === '' ? undefined : checkKey(key) }
}

/** `x-amz-copy-source`: `/bucket/key` or `bucket/key`, encoded. @throws S3Error. */
export function parseCopySource(header: string): { readonly bucket: string; readonly key: string } {
  const [path, query] = header.replace(/^\//, '').split('?', 2) as [string, string | undefined]
  if (query !== undefined) throw new S3Error('NotImplemented', 'Objects have no versions here: leave ?versionId out of x-amz-copy-source.')
  const slash = path.indexOf('/')
  const bucket = slash === -1 ? '' : decode(path.slice(0, slash))
  const key = decode(path.slice(slash + 1))
  if (bucket === '' || key === '') throw new S3Error('InvalidArgument', 'x-amz-copy-source is <bucket>/<key>, percent-encoded.')
  return { bucket, key: checkKey(key) }
}

/** @throws S3Error InvalidBucketName. */
export function checkBucketName(name: string): string {
  if (BUCKET_PATTERN.test(name)) return name
  throw new S3Error('InvalidBucketName', `${JSON.stringify(name.slice(0, 80))} can't be the name of a bucket: 3 to 63 small letters, digits, "-" and ".", beginning and ending with a letter or digit.`)
}

/** @throws S3Error KeyTooLongError, InvalidArgument. */
export function checkKey(key: string): string {
  const bytes = Buffer.byteLength(key)
  if (bytes > KEY_BYTES_MAX) throw new S3Error('KeyTooLongError', `The key has ${bytes} bytes of UTF-8; ${KEY_BYTES_MAX} are the most.`)
  if (key.includes('\0') || key.includes(KEY_CHARACTER_LAST) || !key.isWellFormed()) throw new S3Error('InvalidArgument', 'A key has no U+0000, no U+10FFFF and no half of a surrogate pair; choose another.')
  return key
}

function parseQuery(text: string): [string, string][] {
  const parts = text.split('&').filter((part) => part !== '')
  if (parts.length > PAIRS_MAX) throw new S3Error('InvalidURI', `The query has ${parts.length} parameters; ${PAIRS_MAX} are the most.`)
  return parts.map((part) => {
    const equals = part.indexOf('=')
    return equals === -1 ? [decode(part), ''] : [decode(part.slice(0, equals)), decode(part.slice(equals + 1))]
  })
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new S3Error('InvalidURI', `The address has a broken percent escape, or one that is not UTF-8: ${JSON.stringify(text.slice(0, 80))}.`)
  }
}
