/**
 * The checksum of an object that came in parts, and whether it is what the client says (Amazon S3 User Guide, "Checking object integrity").
 *
 *   FULL_OBJECT  the checksum of all bytes. Possible for CRCs, which can be combined from those of the parts.
 *   COMPOSITE    the checksum of the parts' checksums, with `-` and their number. Possible for all but CRC-64/NVME.
 *
 * The type is said when the upload begins or else when it is completed; one that is not said at all follows from the value. S3 takes CRC-32
 * and CRC-32C without a type for COMPOSITE even when the completion says otherwise; we take the completion's word.
 */
import type { Checksum, ChecksumType, Part, UploadEntity } from '#registry/buckets/objects.ts'
import { checksumAlgorithms, isChecksumAlgorithm, isCrc, startChecksum } from './checksums.ts'
import type { ChecksumAlgorithm } from './checksums.ts'
import { combineCrcs } from './crc-combine.ts'
import { S3Error } from './errors.ts'

/** What a client says of the whole. */
export interface ChecksumClaim {
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly value: string }
  readonly type?: ChecksumType
}

type Headers = Readonly<Record<string, string | string[] | undefined>>

/** Of a completion. @throws S3Error InvalidRequest. */
export function claimOf(headers: Headers): ChecksumClaim {
  const sent = checksumAlgorithms.filter((algorithm) => headers[`x-amz-checksum-${algorithm}`] !== undefined)
  if (sent.length > 1) throw new S3Error('InvalidRequest', `One checksum of the object can be sent, and these are ${sent.length}: ${sent.join(', ')}.`)
  const type = typeOf(headers)
  const [algorithm] = sent
  if (algorithm === undefined) return { ...(type !== undefined && { type }) }
  checkType(algorithm, type)
  return { checksum: { algorithm, value: String(headers[`x-amz-checksum-${algorithm}`]).trim() }, ...(type !== undefined && { type }) }
}

/** What an upload begins with. @throws S3Error InvalidRequest. */
export function declarationOf(headers: Headers): Pick<UploadEntity, 'checksumAlgorithm' | 'checksumType'> {
  const algorithm = String(headers['x-amz-checksum-algorithm'] ?? '').toLowerCase()
  const type = typeOf(headers)
  if (algorithm === '') {
    if (type !== undefined) throw new S3Error('InvalidRequest', 'x-amz-checksum-type says nothing without x-amz-checksum-algorithm; send both or none.')
    return {}
  }
  if (!isChecksumAlgorithm(algorithm)) throw new S3Error('InvalidRequest', `There is no checksum algorithm ${algorithm.slice(0, 40)}; there are ${checksumAlgorithms.join(', ')}.`)
  checkType(algorithm, type)
  return { checksumAlgorithm: algorithm, ...(type !== undefined && { checksumType: type }) }
}

/**
 * What the object is to keep; undefined when nothing can be known.
 * @param parts Those that make the object, in order.
 * @throws S3Error BadDigest when it is not what the client says; InvalidRequest when that can't be told, or no such checksum is possible.
 */
export function objectChecksum(upload: Pick<UploadEntity, 'checksumAlgorithm' | 'checksumType'>, parts: readonly Part[], claim: ChecksumClaim): Checksum | undefined {
  const { checksum: wanted } = claim
  if (wanted !== undefined && upload.checksumAlgorithm !== undefined && wanted.algorithm !== upload.checksumAlgorithm) {
    throw new S3Error('InvalidRequest', `The upload was begun with ${upload.checksumAlgorithm} checksums, and its completion has one of ${wanted.algorithm}; send that of the upload.`)
  }
  const algorithm = wanted?.algorithm ?? upload.checksumAlgorithm
  // An upload of an earlier version may name any.
  if (algorithm === undefined || !isChecksumAlgorithm(algorithm)) return undefined
  if (claim.type !== undefined && upload.checksumType !== undefined && claim.type !== upload.checksumType) {
    throw new S3Error('BadDigest', `The upload was begun with a checksum of type ${upload.checksumType}, and its completion says ${claim.type}.`)
  }
  const type = claim.type ?? upload.checksumType ?? typeByValue(algorithm, wanted?.value)
  checkType(algorithm, type)
  const unknown = parts.find((part) => part.checksum?.algorithm !== algorithm)
  if (unknown !== undefined) {
    if (wanted === undefined) return undefined
    throw new S3Error('InvalidRequest', `Part ${unknown.number} was uploaded without a ${algorithm} checksum, so that of the object can't be checked. Begin the upload with x-amz-checksum-algorithm: ${algorithm.toUpperCase()}, or complete it without a checksum.`)
  }
  const value = type === 'FULL_OBJECT' && isCrc(algorithm) ? combineCrcs(algorithm, parts.map((part) => ({ value: part.checksum!.value, bytes: part.bytes }))) : compositeOf(algorithm, parts)
  if (wanted !== undefined && wanted.value !== value) {
    throw new S3Error('BadDigest', `The ${algorithm} (${type}) of the object is ${value}, and ${wanted.value.slice(0, 100)} was sent. Nothing was completed; the upload is still there.`)
  }
  // Of a composite CRC that nobody asked for, the parts' own say more.
  return wanted === undefined && type === 'COMPOSITE' && isCrc(algorithm) ? undefined : { algorithm, value }
}

export function checksumTypeOf({ value }: Pick<Checksum, 'value'>): ChecksumType {
  // Base64 has no `-`.
  return value.includes('-') ? 'COMPOSITE' : 'FULL_OBJECT'
}

function typeByValue(algorithm: ChecksumAlgorithm, value: string | undefined): ChecksumType {
  if (algorithm === 'crc64nvme') return 'FULL_OBJECT'
  return isCrc(algorithm) && value !== undefined ? checksumTypeOf({ value }) : 'COMPOSITE'
}

function compositeOf(algorithm: ChecksumAlgorithm, parts: readonly Part[]): string {
  const running = startChecksum(algorithm)
  for (const part of parts) running.update(Buffer.from(part.checksum!.value, 'base64'))
  return `${running.digest()}-${parts.length}`
}

function checkType(algorithm: ChecksumAlgorithm, type: ChecksumType | undefined): void {
  if (type === 'FULL_OBJECT' && !isCrc(algorithm)) throw new S3Error('InvalidRequest', `The type FULL_OBJECT is not possible with ${algorithm}: it can't be told from those of the parts. Use COMPOSITE, or a CRC.`)
  if (type === 'COMPOSITE' && algorithm === 'crc64nvme') throw new S3Error('InvalidRequest', 'The type COMPOSITE is not possible with crc64nvme; use FULL_OBJECT.')
}

function typeOf(headers: Headers): ChecksumType | undefined {
  const type = headers['x-amz-checksum-type']
  if (type === undefined || type === 'FULL_OBJECT' || type === 'COMPOSITE') return type
  throw new S3Error('InvalidRequest', `x-amz-checksum-type is FULL_OBJECT or COMPOSITE, and not ${JSON.stringify(String(type).slice(0, 40))}.`)
}
