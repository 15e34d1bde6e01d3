/** What the parts of this folder speak of: buckets, objects, uploads. All of it is stored as JSON. */
import type { Content, Piece } from './contents.ts'

export const BUCKETS = 's3-buckets'
/** Keys `<namespace>/<bucket>/<key>`. */
export const OBJECTS = 's3-objects'
/** Keys `<namespace>/<bucket>/<key>/<upload id>`. */
export const UPLOADS = 's3-uploads'

export interface BucketEntity {
  readonly createdAtMs: number
}

/** Which object. Names of namespaces and buckets have no slash, so that the key may have any. */
export interface Address {
  readonly namespace: string
  readonly bucket: string
  readonly key: string
}

/** What a client says of an object; comes back with it. */
export interface ObjectAttributes {
  readonly contentType?: string
  /** Such as content-encoding, by name in small letters. */
  readonly headers?: Readonly<Record<string, string>>
  /** The client's own, by name in small letters without `x-amz-meta-`. */
  readonly metadata?: Readonly<Record<string, string>>
}

export interface Checksum {
  /** In small letters: `crc32`. */
  readonly algorithm: string
  /** Base64; of a composite one with `-` and the number of parts. */
  readonly value: string
}

/** Of all bytes, or of the checksums of the parts. */
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE'

export interface ObjectEntity extends Content, ObjectAttributes {
  /** Without quotes. */
  readonly etag: string
  readonly modifiedAtMs: number
  readonly checksum?: Checksum
}

export interface UploadEntity extends ObjectAttributes {
  readonly id: string
  readonly startedAtMs: number
  readonly checksumAlgorithm?: string
  readonly checksumType?: ChecksumType
}

export interface Part extends Piece {
  readonly number: number
  /** MD5, hex. */
  readonly etag: string
  readonly modifiedAtMs: number
  readonly checksum?: Checksum
}

/** What an upload becomes. */
export interface Chosen {
  /** In order. */
  readonly parts: readonly Part[]
  /** Of the object. */
  readonly checksum?: Checksum | undefined
}

/** What is known of bytes when the last of them has come. */
export interface Fingerprint {
  /** MD5, hex. */
  readonly md5: string
  readonly checksum?: Checksum
}

/** Bytes on their way in. */
export interface Incoming {
  readonly source: AsyncIterable<Uint8Array>
  /** As declared; the source throws when it gives another number. */
  readonly bytes: number
  /** After the last byte. @param digest SHA-256 of all. @throws what refuses them. */
  finish(digest: string): Fingerprint
}

/** Looks at what is there before it is replaced or deleted; throws what refuses that. */
export type Condition = (current: ObjectEntity | undefined) => void

export const always: Condition = () => {}

export function bucketKey({ namespace, bucket }: Omit<Address, 'key'>): string {
  return `${namespace}/${bucket}`
}

export function objectKey({ namespace, bucket, key }: Address): string {
  return `${namespace}/${bucket}/${key}`
}
