/** Operations on buckets: list, create, look, delete, and the keys in them. */
import { PlatformError } from '#contract/errors.ts'
import type { Listed, Listing } from '#registry/buckets/listing.ts'
import type { ObjectEntity } from '#registry/buckets/objects.ts'
import { readBody } from './body.ts'
import { isoTime, quoted, sendEmpty, sendXml, wholeNumber } from './call.ts'
import type { S3Call } from './call.ts'
import { S3Error } from './errors.ts'
import { uriEncode } from './signature.ts'
import { checkBucketName } from './target.ts'
import { element, parseXml } from './xml.ts'

const BUCKETS_MAX = 1000
const CONFIGURATION_BYTES_MAX = 64 * 1024
const KEYS_MAX = 1000

export async function listBuckets({ response, buckets, identity, query }: S3Call): Promise<void> {
  const prefix = query.get('prefix') ?? ''
  const own = buckets.list(identity.namespace).filter(({ name }) => name.startsWith(prefix))
  sendXml(response, 200, 'ListAllMyBucketsResult', [
    element('Owner', [element('ID', identity.namespace), element('DisplayName', identity.namespace)]),
    element('Buckets', own.map(({ name, createdAtMs }) => element('Bucket', [element('Name', name), element('CreationDate', isoTime(createdAtMs))]))),
  ])
}

export async function createBucket(call: S3Call): Promise<void> {
  const { response, buckets, address: { namespace, bucket } } = call
  checkBucketName(bucket)
  // It may say a region: there is one.
  const body = await readBody(call, CONFIGURATION_BYTES_MAX)
  if (body !== '') parseXml(body, 'CreateBucketConfiguration')
  if (buckets.list(namespace).length >= BUCKETS_MAX) throw new S3Error('TooManyBuckets', `Namespace ${namespace} has ${BUCKETS_MAX} buckets, which is the limit; delete some.`)
  await buckets.create(namespace, bucket).catch((thrown: unknown) => {
    if (PlatformError.from(thrown).code !== 'CONFLICT') throw thrown
    throw new S3Error('BucketAlreadyOwnedByYou', `Namespace ${namespace} has a bucket ${bucket} already; use it.`)
  })
  sendEmpty(response, 200, { location: `/${bucket}` })
}

export async function headBucket({ response, buckets, address: { namespace, bucket } }: S3Call): Promise<void> {
  buckets.required(namespace, bucket)
  sendEmpty(response, 200, { 'x-amz-bucket-region': 'us-east-1' })
}

export async function deleteBucket({ response, buckets, address: { namespace, bucket } }: S3Call): Promise<void> {
  if (!(await buckets.delete(namespace, bucket))) throw new S3Error('BucketNotEmpty', `The bucket ${bucket} has objects; delete them first.`)
  sendEmpty(response, 204)
}

/** Empty means the first region, by S3's own rule: whatever region a client says is right here. */
export async function bucketLocation({ response, buckets, address: { namespace, bucket } }: S3Call): Promise<void> {
  buckets.required(namespace, bucket)
  sendXml(response, 200, 'LocationConstraint', [])
}

/** Objects have no versions here. */
export async function bucketVersioning({ response, buckets, address: { namespace, bucket } }: S3Call): Promise<void> {
  buckets.required(namespace, bucket)
  sendXml(response, 200, 'VersioningConfiguration', [])
}

export async function listObjectsV2(call: S3Call): Promise<void> {
  const { query } = call
  const token = query.get('continuation-token')
  const after = token === undefined ? (query.get('start-after') ?? '') : parseToken(token)
  const { listing, encode, common } = await page(call, after)
  sendXml(call.response, 200, 'ListBucketResult', [
    ...common,
    element('KeyCount', listing.entries.length),
    ...(token === undefined ? [] : [element('ContinuationToken', token)]),
    ...(listing.next === undefined ? [] : [element('NextContinuationToken', makeToken(listing.next))]),
    ...(query.has('start-after') ? [element('StartAfter', encode(query.get('start-after')!))] : []),
    ...written(listing, encode, query.get('fetch-owner') === 'true' ? call.identity.namespace : undefined),
  ])
}

/** The first version, which older programs use. */
export async function listObjects(call: S3Call): Promise<void> {
  const marker = call.query.get('marker') ?? ''
  const { listing, encode, common } = await page(call, marker)
  sendXml(call.response, 200, 'ListBucketResult', [
    ...common,
    element('Marker', encode(marker)),
    ...(listing.next === undefined ? [] : [element('NextMarker', encode(listing.next))]),
    ...written(listing, encode, call.identity.namespace),
  ])
}

async function page({ buckets, address, query }: S3Call, after: string) {
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const limit = wholeNumber(query, 'max-keys', KEYS_MAX, KEYS_MAX)
  const isEncoded = query.get('encoding-type') === 'url'
  const listing = await buckets.listObjects(address.namespace, address.bucket, { prefix, delimiter, after, limit })
  const encode = (text: string): string => (isEncoded ? uriEncode(text).replaceAll('%2F', '/') : text)
  const common = [
    element('Name', address.bucket),
    element('Prefix', encode(prefix)),
    ...(delimiter === '' ? [] : [element('Delimiter', encode(delimiter))]),
    element('MaxKeys', limit),
    ...(isEncoded ? [element('EncodingType', 'url')] : []),
    element('IsTruncated', listing.next !== undefined),
  ]
  return { listing, encode, common }
}

function written(listing: Listing<ObjectEntity>, encode: (text: string) => string, owner: string | undefined): string[] {
  const one = (entry: Listed<ObjectEntity>): string => {
    if (entry.kind === 'prefix') return element('CommonPrefixes', [element('Prefix', encode(entry.key))])
    const { etag, bytes, modifiedAtMs, checksum } = entry.value
    return element('Contents', [
      element('Key', encode(entry.key)),
      element('LastModified', isoTime(modifiedAtMs)),
      element('ETag', quoted(etag)),
      ...(checksum === undefined ? [] : [element('ChecksumAlgorithm', checksum.algorithm.toUpperCase())]),
      element('Size', bytes),
      element('StorageClass', 'STANDARD'),
      ...(owner === undefined ? [] : [element('Owner', [element('ID', owner), element('DisplayName', owner)])]),
    ])
  }
  return listing.entries.map(one)
}

/** Opaque to clients: the last entry of the page before. */
function makeToken(next: string): string {
  return Buffer.from(next).toString('base64url')
}

function parseToken(token: string): string {
  const text = Buffer.from(token, 'base64url').toString('utf8')
  if (text === '' || makeToken(text) !== token) throw new S3Error('InvalidArgument', 'continuation-token is none that a listing gave; begin again without one.')
  return text
}
