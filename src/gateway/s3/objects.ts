/** Operations on objects: put, get, head, copy, delete. */
import { pipeline } from 'node:stream/promises'
import type { ObjectEntity } from '#registry/buckets/objects.ts'
import { openBody, readBody } from './body.ts'
import { attributesOf, isoTime, objectHeaders, quoted, refuseUnsupported, sendEmpty, sendXml } from './call.ts'
import type { S3Call } from './call.ts'
import { conditionsOf, judgeRead, parseRange, writeCondition } from './conditions.ts'
import { S3Error } from './errors.ts'
import { checksumTypeOf } from './object-checksum.ts'
import { checkKey, parseCopySource } from './target.ts'
import { childrenOf, element, parseXml, textOf } from './xml.ts'

const DELETE_BYTES_MAX = 8 * 1024 * 1024
const DELETE_KEYS_MAX = 1000
/** Deletions of one request under way at once. */
const DELETED_AT_ONCE = 50

export async function putObject(call: S3Call): Promise<void> {
  const { request, response, buckets, identity, address } = call
  const { headers } = request
  refuseUnsupported(headers, identity.namespace)
  const entity = await buckets.put(address, openBody(call), attributesOf(headers), writeCondition(conditionsOf(headers)))
  sendEmpty(response, 200, { etag: quoted(entity.etag), ...checksumHeaders(entity) })
}

/** HEAD is a GET without its body. */
export async function getObject({ request, response, buckets, address, query, traffic }: S3Call): Promise<void> {
  const { headers } = request
  const entity = found(await buckets.head(address), address.key)
  const answer = objectHeaders(entity, query)
  const judged = judgeRead(conditionsOf(headers), entity)
  if (judged === 'not modified') return sendEmpty(response, 304, { etag: answer['etag']!, 'last-modified': answer['last-modified']! })
  if (judged === 'failed') throw new S3Error('PreconditionFailed', `The object has the ETag "${entity.etag}" and is of ${answer['last-modified']}: not what the condition wants.`)
  const ifRange = headers['if-range']
  const range = ifRange === undefined || ifRange === answer['etag'] ? parseRange(headers.range, entity.bytes) : undefined
  const { from, until } = range ?? { from: 0, until: entity.bytes }
  answer['content-length'] = String(until - from)
  if (range !== undefined) answer['content-range'] = `bytes ${from}-${until - 1}/${entity.bytes}`
  else if (headers['x-amz-checksum-mode'] === 'ENABLED') Object.assign(answer, checksumHeaders(entity))
  if (request.method === 'HEAD') {
    response.writeHead(range === undefined ? 200 : 206, answer)
    response.end()
    return
  }
  response.writeHead(range === undefined ? 200 : 206, answer)
  // The lease begins in the turn in which the entity was read: nothing can have removed its bytes.
  const body = buckets.contents.read(entity, { from, until }).on('data', (piece: Buffer) => void (traffic.bytesOut += piece.length))
  await pipeline(body, response)
}

export async function copyObject({ request, response, buckets, identity, address }: S3Call): Promise<void> {
  const { headers } = request
  refuseUnsupported(headers, identity.namespace)
  const source = parseCopySource(String(headers['x-amz-copy-source']))
  const from = { namespace: address.namespace, ...source }
  const isReplaced = headers['x-amz-metadata-directive'] === 'REPLACE'
  if (!isReplaced && from.bucket === address.bucket && from.key === address.key) {
    throw new S3Error('InvalidRequest', 'This copies an object to itself and changes nothing; with x-amz-metadata-directive: REPLACE it changes its metadata.')
  }
  const entity = copySource(await buckets.head(from), from.key, headers)
  const { contentType, headers: kept, metadata } = entity
  const attributes = isReplaced ? attributesOf(headers) : { ...(contentType !== undefined && { contentType }), ...(kept !== undefined && { headers: kept }), ...(metadata !== undefined && { metadata }) }
  const copy = await buckets.copy(entity, address, attributes, writeCondition(conditionsOf(headers)))
  sendXml(response, 200, 'CopyObjectResult', [element('LastModified', isoTime(copy.modifiedAtMs)), element('ETag', quoted(copy.etag)), ...objectChecksumElements(copy)])
}

/** Deleting what is not there is done: S3 says so. */
export async function deleteObject({ request, response, buckets, address }: S3Call): Promise<void> {
  const condition = conditionsOf(request.headers)
  await buckets.remove(address, condition.ifMatch === undefined ? undefined : writeCondition({ ifMatch: condition.ifMatch }))
  sendEmpty(response, 204)
}

export async function deleteObjects(call: S3Call): Promise<void> {
  const { response, buckets, address } = call
  const { namespace, bucket } = address
  buckets.required(namespace, bucket)
  const document = parseXml(await readBody(call, DELETE_BYTES_MAX), 'Delete')
  const wanted = childrenOf(document, 'Object')
  if (wanted.length === 0 || wanted.length > DELETE_KEYS_MAX) throw new S3Error('MalformedXML', `Delete has ${wanted.length} objects; 1 to ${DELETE_KEYS_MAX} are possible.`)
  const isQuiet = textOf(document, 'Quiet') === 'true'
  const results: string[] = []
  for (let begin = 0; begin < wanted.length; begin += DELETED_AT_ONCE) {
    const some = wanted.slice(begin, begin + DELETED_AT_ONCE).map(async (one) => {
      const key = textOf(one, 'Key') ?? ''
      const etag = textOf(one, 'ETag')
      try {
        if (key === '') throw new S3Error('InvalidArgument', 'An object to delete has no key.')
        if (textOf(one, 'VersionId') !== undefined) throw new S3Error('NotImplemented', 'Objects have no versions here: leave VersionId out.')
        await buckets.remove({ namespace, bucket, key: checkKey(key) }, etag === undefined ? undefined : writeCondition({ ifMatch: etag }))
        return isQuiet ? '' : element('Deleted', [element('Key', key)])
      } catch (thrown) {
        const error = S3Error.from(thrown)
        return element('Error', [element('Key', key), element('Code', error.code), element('Message', error.message)])
      }
    })
    results.push(...(await Promise.all(some)))
  }
  sendXml(response, 200, 'DeleteResult', results)
}

/** The source of a copy, if its conditions hold. @throws S3Error NoSuchKey, PreconditionFailed. */
export function copySource(entity: ObjectEntity | undefined, key: string, headers: S3Call['request']['headers']): ObjectEntity {
  const source = found(entity, key)
  if (judgeRead(conditionsOf(headers, 'x-amz-copy-source-'), source) !== 'send') throw new S3Error('PreconditionFailed', `The source has the ETag "${source.etag}", and is not what the condition wants.`)
  return source
}

function found(entity: ObjectEntity | undefined, key: string): ObjectEntity {
  if (entity === undefined) throw new S3Error('NoSuchKey', `There is no object ${JSON.stringify(key.slice(0, 200))} in the bucket.`)
  return entity
}

export function checksumHeaders({ checksum }: Pick<ObjectEntity, 'checksum'>): Record<string, string> {
  if (checksum === undefined) return {}
  return { [`x-amz-checksum-${checksum.algorithm}`]: checksum.value, 'x-amz-checksum-type': checksumTypeOf(checksum) }
}

export function checksumElements({ checksum }: Pick<ObjectEntity, 'checksum'>): string[] {
  return checksum === undefined ? [] : [element(`Checksum${checksum.algorithm.toUpperCase()}`, checksum.value)]
}

/** Of an object: with the type, which a part has not. */
export function objectChecksumElements(entity: Pick<ObjectEntity, 'checksum'>): string[] {
  return entity.checksum === undefined ? [] : [...checksumElements(entity), element('ChecksumType', checksumTypeOf(entity.checksum))]
}
