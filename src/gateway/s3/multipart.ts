/** Operations on multipart uploads. */
import { createHash } from 'node:crypto'
import { PART_NUMBER_MAX } from '#registry/buckets/uploads.ts'
import type { Chosen, Fingerprint, Part, UploadEntity } from '#registry/buckets/objects.ts'
import { openBody, readBody } from './body.ts'
import { attributesOf, isoTime, quoted, refuseUnsupported, sendEmpty, sendXml, wholeNumber } from './call.ts'
import type { S3Call } from './call.ts'
import { isChecksumAlgorithm, startChecksum } from './checksums.ts'
import type { ChecksumAlgorithm } from './checksums.ts'
import { conditionsOf, parseRange, writeCondition } from './conditions.ts'
import { S3Error } from './errors.ts'
import { claimOf, declarationOf, objectChecksum } from './object-checksum.ts'
import { checksumElements, checksumHeaders, copySource, objectChecksumElements } from './objects.ts'
import { parseCopySource } from './target.ts'
import { childrenOf, element, parseXml, textOf } from './xml.ts'
import type { Element } from './xml.ts'

/** S3's: of every part but the last. */
const PART_BYTES_MIN = 5 * 1024 * 1024
const COMPLETE_BYTES_MAX = 8 * 1024 * 1024
const LISTED_MAX = 1000

export async function createUpload(call: S3Call): Promise<void> {
  const { request, response, buckets, identity, address } = call
  const { headers } = request
  refuseUnsupported(headers, identity.namespace)
  const declared = declarationOf(headers)
  await readBody(call, 0)
  const upload = await buckets.uploads.begin(address, { ...attributesOf(headers), ...declared })
  const { checksumAlgorithm, checksumType } = declared
  const about = { ...(checksumAlgorithm !== undefined && { 'x-amz-checksum-algorithm': checksumAlgorithm.toUpperCase() }), ...(checksumType !== undefined && { 'x-amz-checksum-type': checksumType }) }
  sendXml(response, 200, 'InitiateMultipartUploadResult', [element('Bucket', address.bucket), element('Key', address.key), element('UploadId', upload.id)], about)
}

export async function uploadPart(call: S3Call): Promise<void> {
  const { response, buckets, address, query } = call
  const id = query.get('uploadId')!
  const number = partNumber(query)
  const upload = await buckets.uploads.required(address, id)
  const part = await buckets.uploads.putPart(address, id, number, openBody(call, algorithmOf(upload)))
  sendEmpty(response, 200, { etag: quoted(part.etag), ...checksumHeaders(part) })
}

/** Its bytes go through here: a part may be any range of the source. */
export async function uploadPartCopy({ request, response, buckets, address, query }: S3Call): Promise<void> {
  const { headers } = request
  const source = parseCopySource(String(headers['x-amz-copy-source']))
  const id = query.get('uploadId')!
  const number = partNumber(query)
  const algorithm = algorithmOf(await buckets.uploads.required(address, id))
  const entity = copySource(await buckets.head({ namespace: address.namespace, ...source }), source.key, headers)
  const rangeHeader = headers['x-amz-copy-source-range']
  const range = parseRange(rangeHeader === undefined ? undefined : String(rangeHeader), entity.bytes)
  if (rangeHeader !== undefined && range === undefined) throw new S3Error('InvalidArgument', 'x-amz-copy-source-range is bytes=first-last.')
  const { from, until } = range ?? { from: 0, until: entity.bytes }
  const body = buckets.contents.read(entity, { from, until })
  const md5 = createHash('md5')
  const running = algorithm === undefined ? undefined : startChecksum(algorithm)
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const piece of body) {
      md5.update(piece as Uint8Array)
      running?.update(piece as Uint8Array)
      yield piece as Uint8Array
    }
  }
  try {
    const finish = (): Fingerprint => ({ md5: md5.digest('hex'), ...(algorithm !== undefined && { checksum: { algorithm, value: running!.digest() } }) })
    const part = await buckets.uploads.putPart(address, id, number, { source: counted(), bytes: until - from, finish })
    sendXml(response, 200, 'CopyPartResult', [element('LastModified', isoTime(part.modifiedAtMs)), element('ETag', quoted(part.etag)), ...checksumElements(part)])
  } finally {
    body.destroy()
  }
}

export async function completeUpload(call: S3Call): Promise<void> {
  const { request, response, buckets, address, query } = call
  const claim = claimOf(request.headers)
  const document = parseXml(await readBody({ ...call, request: withoutChecksums(request) }, COMPLETE_BYTES_MAX), 'CompleteMultipartUpload')
  const wanted = childrenOf(document, 'Part').map(parsePart)
  const choose = (all: readonly Part[], upload: UploadEntity): Chosen => {
    const parts = chooseParts(all, wanted)
    return { parts, checksum: objectChecksum(upload, parts, claim) }
  }
  const entity = await buckets.uploads.complete(address, query.get('uploadId')!, choose, writeCondition(conditionsOf(request.headers)))
  const location = `http://${request.headers.host ?? ''}${request.url?.split('?', 1)[0] ?? ''}`
  sendXml(response, 200, 'CompleteMultipartUploadResult', [
    element('Location', location),
    element('Bucket', address.bucket),
    element('Key', address.key),
    element('ETag', quoted(entity.etag)),
    ...objectChecksumElements(entity),
  ])
}

export async function abortUpload({ response, buckets, address, query }: S3Call): Promise<void> {
  await buckets.uploads.abort(address, query.get('uploadId')!)
  sendEmpty(response, 204)
}

export async function listParts({ response, buckets, address, query }: S3Call): Promise<void> {
  const id = query.get('uploadId')!
  const after = wholeNumber(query, 'part-number-marker', 0, PART_NUMBER_MAX)
  const limit = wholeNumber(query, 'max-parts', LISTED_MAX, LISTED_MAX)
  const parts = await buckets.uploads.parts(address, id, { after, limit: limit + 1 })
  const shown = parts.slice(0, limit)
  sendXml(response, 200, 'ListPartsResult', [
    element('Bucket', address.bucket),
    element('Key', address.key),
    element('UploadId', id),
    element('PartNumberMarker', after),
    ...(parts.length > limit && limit > 0 ? [element('NextPartNumberMarker', shown.at(-1)!.number)] : []),
    element('MaxParts', limit),
    element('IsTruncated', parts.length > limit),
    ...shown.map((part) =>
      element('Part', [element('PartNumber', part.number), element('LastModified', isoTime(part.modifiedAtMs)), element('ETag', quoted(part.etag)), element('Size', part.bytes), ...checksumElements(part)]),
    ),
  ])
}

export async function listUploads({ response, buckets, address: { namespace, bucket }, query }: S3Call): Promise<void> {
  buckets.required(namespace, bucket)
  const prefix = query.get('prefix') ?? ''
  const limit = wholeNumber(query, 'max-uploads', LISTED_MAX, LISTED_MAX)
  const marker = { key: query.get('key-marker') ?? '', id: query.get('upload-id-marker') ?? '' }
  const isAfter = (key: string, id: string): boolean => key > marker.key || (key === marker.key && marker.id !== '' && id > marker.id)
  const all = (await buckets.uploads.all({ namespace, bucket, prefix })).filter(({ address, upload }) => isAfter(address.key, upload.id))
  const shown = all.slice(0, limit)
  const isTruncated = all.length > limit && limit > 0
  sendXml(response, 200, 'ListMultipartUploadsResult', [
    element('Bucket', bucket),
    element('Prefix', prefix),
    element('KeyMarker', marker.key),
    element('UploadIdMarker', marker.id),
    ...(isTruncated ? [element('NextKeyMarker', shown.at(-1)!.address.key), element('NextUploadIdMarker', shown.at(-1)!.upload.id)] : []),
    element('MaxUploads', limit),
    element('IsTruncated', isTruncated),
    ...shown.map(({ address, upload }) => element('Upload', [element('Key', address.key), element('UploadId', upload.id), element('Initiated', isoTime(upload.startedAtMs)), element('StorageClass', 'STANDARD')])),
  ])
}

interface WantedPart {
  readonly number: number
  readonly etag: string
  /** By algorithm. */
  readonly checksums: ReadonlyMap<string, string>
}

function parsePart(part: Element): WantedPart {
  const number = Number(textOf(part, 'PartNumber') ?? '')
  const etag = textOf(part, 'ETag')
  if (!Number.isInteger(number) || number < 1 || etag === undefined) throw new S3Error('MalformedXML', 'A part needs PartNumber and ETag.')
  const checksums = new Map(part.children.filter(({ name }) => name.startsWith('Checksum')).map(({ name, text }) => [name.slice('Checksum'.length).toLowerCase(), text.trim()]))
  return { number, etag: etag.trim().replace(/^"|"$/g, ''), checksums }
}

/** Those of the upload's parts that are to be the object. @throws S3Error InvalidPart, InvalidPartOrder, EntityTooSmall, MalformedXML. */
export function chooseParts(parts: readonly Part[], wanted: readonly WantedPart[]): readonly Part[] {
  if (wanted.length === 0) throw new S3Error('MalformedXML', 'An upload is completed with at least one part.')
  const byNumber = new Map(parts.map((part) => [part.number, part]))
  return wanted.map(({ number, etag, checksums }, index) => {
    if (index > 0 && wanted[index - 1]!.number >= number) throw new S3Error('InvalidPartOrder', `Part ${number} comes after part ${wanted[index - 1]!.number}; list them by their numbers, each once.`)
    const part = byNumber.get(number)
    if (part === undefined || part.etag !== etag) throw new S3Error('InvalidPart', `Part ${number} with the ETag "${etag.slice(0, 80)}" was not uploaded${part === undefined ? '' : `; it has "${part.etag}"`}.`)
    const claimed = part.checksum === undefined ? undefined : checksums.get(part.checksum.algorithm)
    if (claimed !== undefined && claimed !== part.checksum!.value) throw new S3Error('InvalidPart', `Part ${number} has the ${part.checksum!.algorithm} ${part.checksum!.value}, and not ${claimed.slice(0, 80)}.`)
    if (index < wanted.length - 1 && part.bytes < PART_BYTES_MIN) throw new S3Error('EntityTooSmall', `Part ${number} has ${part.bytes} bytes; every part but the last has at least ${PART_BYTES_MIN}.`)
    return part
  })
}

/** The checksum that its parts are to have, also where the client sends none. */
function algorithmOf({ checksumAlgorithm }: UploadEntity): ChecksumAlgorithm | undefined {
  return checksumAlgorithm !== undefined && isChecksumAlgorithm(checksumAlgorithm) ? checksumAlgorithm : undefined
}

function partNumber(query: ReadonlyMap<string, string>): number {
  const number = wholeNumber(query, 'partNumber', 0, PART_NUMBER_MAX + 1)
  if (number < 1 || number > PART_NUMBER_MAX) throw new S3Error('InvalidArgument', `partNumber is 1 to ${PART_NUMBER_MAX}.`)
  return number
}

/** What a completion carries is the checksum of the object, and says nothing of this body. */
function withoutChecksums(request: S3Call['request']): S3Call['request'] {
  for (const name of Object.keys(request.headers)) if (name.startsWith('x-amz-checksum-')) delete request.headers[name]
  return request
}
