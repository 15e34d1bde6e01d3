/**
 * The S3 API under /s3: who sends it, what is wanted, and S3's own errors.
 *
 * The subset that people use, in path style; docs/s3.md lists it. What is not in it is refused with NotImplemented, by the name of the
 * sub-resource: a `PUT ?tagging` that was taken for a PUT of the object would overwrite it.
 *
 * Invariants:
 *   Q1. Every request gets one answer; nothing that a client sends throws out of `handle`.
 *   Q2. Nothing but the signature is looked at before it is checked. A namespace is only ever the signer's own.
 *   Q3. An error after the head has gone cuts the connection: nobody takes half for whole.
 *   Q4. A request that was admitted is released once, when its answer has ended or its connection; each that ends is counted once.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { PlatformError } from '#contract/errors.ts'
import type { Buckets } from '#registry/buckets/buckets.ts'
import type { S3Credentials } from '#registry/buckets/credentials.ts'
import type { S3Ended } from '#telemetry/s3-metrics.ts'
import { discardBody } from '../api/answer.ts'
import type { Admission } from '../front.ts'
import { identify } from './authentication.ts'
import { bucketLocation, bucketVersioning, createBucket, deleteBucket, headBucket, listBuckets, listObjects, listObjectsV2 } from './buckets.ts'
import { HEADER_VALUE } from './call.ts'
import type { S3Call, Traffic } from './call.ts'
import { S3Error } from './errors.ts'
import { abortUpload, completeUpload, createUpload, listParts, listUploads, uploadPart, uploadPartCopy } from './multipart.ts'
import { copyObject, deleteObject, deleteObjects, getObject, putObject } from './objects.ts'
import { parseTarget } from './target.ts'
import type { Target } from './target.ts'
import { element, xmlDocument } from './xml.ts'

export interface S3Services {
  readonly buckets: Buckets
  readonly credentials: Pick<S3Credentials, 'signer'>
  readonly nowMs: () => number
  /** Of any point on, for durations. */
  readonly monotonicUs: () => number
  /** Of the requests that a namespace may send. */
  readonly admission: Admission
  readonly onEnded: (ended: S3Ended) => void
  /** Told of what the platform has to answer for: a bug, a full or damaged disk. */
  readonly onPlatformError: (error: unknown, request: IncomingMessage) => void
}

type Operation = (call: S3Call) => Promise<void>

/** As S3 calls them; HEAD of an object is a GET here. */
const operationNames: ReadonlyMap<Operation, string> = new Map([
  [abortUpload, 'AbortMultipartUpload'], [bucketLocation, 'GetBucketLocation'], [bucketVersioning, 'GetBucketVersioning'], [completeUpload, 'CompleteMultipartUpload'], [copyObject, 'CopyObject'],
  [createBucket, 'CreateBucket'], [createUpload, 'CreateMultipartUpload'], [deleteBucket, 'DeleteBucket'], [deleteObject, 'DeleteObject'], [deleteObjects, 'DeleteObjects'], [getObject, 'GetObject'],
  [headBucket, 'HeadBucket'], [listBuckets, 'ListBuckets'], [listObjects, 'ListObjects'], [listObjectsV2, 'ListObjectsV2'], [listParts, 'ListParts'], [listUploads, 'ListMultipartUploads'],
  [putObject, 'PutObject'], [uploadPart, 'UploadPart'], [uploadPartCopy, 'UploadPartCopy'],
])

/** What is seen of a request while it runs. */
interface Progress extends Traffic {
  operation: string
}

/** Sub-resources of S3 that are not here. */
const MISSING = new Set([
  'abac', 'accelerate', 'acl', 'analytics', 'append', 'attributes', 'cors', 'encryption', 'intelligent-tiering', 'inventory', 'legal-hold', 'lifecycle', 'logging',
  'metadataConfiguration', 'metadataInventoryTable', 'metadataJournalTable', 'metadataTable', 'metrics', 'notification', 'object-lock', 'ownershipControls', 'policy', 'policyStatus',
  'publicAccessBlock', 'renameObject', 'replication', 'requestPayment', 'restore', 'retention', 'select', 'session', 'tagging', 'torrent', 'versionId', 'versions', 'website',
])

/** Answers one request whose path begins with /s3. Never throws. */
export function createS3(services: S3Services): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    response.setHeader('x-amz-request-id', randomBytes(8).toString('hex').toUpperCase())
    const progress: Progress = { operation: 'unknown', bytesIn: 0, bytesOut: 0 }
    const fromUs = services.monotonicUs()
    response.once('close', () => services.onEnded(endedOf(request, response, progress, services.monotonicUs() - fromUs)))
    answer(services, request, response, progress).catch((thrown: unknown) => fail(services, request, response, thrown))
  }
}

function endedOf({ method }: IncomingMessage, response: ServerResponse, { operation, bytesIn, bytesOut }: Progress, us: number): S3Ended {
  const isWhole = response.writableFinished
  const short = isWhole && method !== 'HEAD' ? Number(response.getHeader('content-length') ?? 0) : 0
  return { operation, status: isWhole ? `${Math.floor(response.statusCode / 100)}xx` : 'cut', us, bytesIn, bytesOut: Math.max(bytesOut, short) }
}

async function answer(services: S3Services, request: IncomingMessage, response: ServerResponse, progress: Progress): Promise<void> {
  const target = parseTarget(request.url ?? '')
  const identity = identify(request, target, { signer: (id) => services.credentials.signer(id), nowMs: services.nowMs() })
  takeHeadersFromQuery(request, target)
  const operation = operationOf(request, target)
  progress.operation = operation === getObject && request.method === 'HEAD' ? 'HeadObject' : operationNames.get(operation)!
  services.admission.admit(identity.namespace)
  response.once('close', () => services.admission.release(identity.namespace))
  const address = { namespace: identity.namespace, bucket: target.bucket ?? '', key: target.key ?? '' }
  await operation({ request, response, buckets: services.buckets, identity, address, query: target.query, traffic: progress })
  // An operation that needs no body has not read the one that may have come.
  if (!request.complete) request.resume()
}

/**
 * Who presigns a URL has its `x-amz-` headers in the query, where they are signed; they mean the same there. Checksums don't: clients that presign
 * an upload write that of an empty body.
 */
function takeHeadersFromQuery({ headers }: IncomingMessage, { query }: Target): void {
  if (!query.has('X-Amz-Signature')) return
  for (const [name, value] of query) {
    if (!name.startsWith('x-amz-') || name.includes('checksum')) continue
    // It is kept and sent as a header later, so it must be able to be one.
    if (!/^[a-z0-9_.-]+$/.test(name) || !HEADER_VALUE.test(value)) throw new S3Error('InvalidArgument', `${JSON.stringify(name.slice(0, 80))} of the query is no header: letters, digits and "-" in its name, Latin-1 in its value.`)
    headers[name] ??= value
  }
  headers['x-amz-checksum-mode'] ??= query.get('x-amz-checksum-mode')
}

/** @throws S3Error NotImplemented, MethodNotAllowed. */
export function operationOf({ method, headers }: Pick<IncomingMessage, 'method' | 'headers'>, { bucket, key, query }: Target): Operation {
  for (const name of query.keys()) if (MISSING.has(name)) throw new S3Error('NotImplemented', `The sub-resource ?${name} is not there. What is: docs/s3.md.`)
  const isCopy = headers['x-amz-copy-source'] !== undefined
  const inUpload = query.has('uploadId')
  const found = key !== undefined ? ofObject(method, query, isCopy, inUpload) : bucket !== undefined ? ofBucket(method, query) : method === 'GET' ? listBuckets : undefined
  if (found !== undefined) return found
  throw new S3Error('MethodNotAllowed', `${method} is not possible ${key !== undefined ? 'for an object' : bucket !== undefined ? 'for a bucket' : 'without a bucket'} with this query.`)
}

function ofObject(method: string | undefined, query: ReadonlyMap<string, string>, isCopy: boolean, inUpload: boolean): Operation | undefined {
  if (!inUpload && query.has('partNumber')) throw new S3Error('NotImplemented', 'A single part of an object can\'t be asked for; give a Range.')
  switch (method) {
    case 'GET':
      return inUpload ? listParts : getObject
    case 'HEAD':
      return getObject
    case 'PUT':
      if (inUpload) return isCopy ? uploadPartCopy : uploadPart
      return isCopy ? copyObject : putObject
    case 'DELETE':
      return inUpload ? abortUpload : deleteObject
    case 'POST':
      return query.has('uploads') ? createUpload : inUpload ? completeUpload : undefined
    default:
      return undefined
  }
}

function ofBucket(method: string | undefined, query: ReadonlyMap<string, string>): Operation | undefined {
  switch (method) {
    case 'GET':
      if (query.has('location')) return bucketLocation
      if (query.has('versioning')) return bucketVersioning
      if (query.has('uploads')) return listUploads
      return query.get('list-type') === '2' ? listObjectsV2 : listObjects
    case 'HEAD':
      return headBucket
    case 'PUT':
      if (query.has('versioning')) throw new S3Error('NotImplemented', 'Objects have no versions here.')
      return createBucket
    case 'DELETE':
      return deleteBucket
    case 'POST':
      return query.has('delete') ? deleteObjects : undefined
    default:
      return undefined
  }
}

function fail(services: S3Services, request: IncomingMessage, response: ServerResponse, thrown: unknown): void {
  const error = S3Error.from(thrown)
  // A client that went away in the middle of its answer is no error of ours; bytes that were found damaged in the middle are.
  const isOurs = error.code === 'InternalError' ? !response.destroyed : error.code === 'ServiceUnavailable' || error.code === 'StorageFull'
  if (isOurs) services.onPlatformError(thrown, request)
  if (response.headersSent || response.destroyed) return void response.destroy()
  if (!request.complete && !request.destroyed) discardBody(request)
  const platform = error.cause instanceof PlatformError ? { 'x-skep-error': error.cause.code } : {}
  const retryAfterMs = error.cause instanceof PlatformError ? error.cause.details?.['retryAfterMs'] : undefined
  const retryAfter = typeof retryAfterMs === 'number' ? { 'retry-after': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) } : {}
  const resource = (request.url ?? '').split('?', 1)[0]!.slice(0, 1000)
  const content = [element('Code', error.code), element('Message', error.message), element('Resource', resource), element('RequestId', String(response.getHeader('x-amz-request-id')))]
  const body = Buffer.from(xmlDocument('Error', content, { namespace: false }))
  const allBytes = error.code === 'InvalidRange' ? { 'accept-ranges': 'bytes' } : {}
  response.writeHead(error.status, { 'content-type': 'application/xml', 'content-length': body.length, ...platform, ...retryAfter, ...allBytes })
  response.end(request.method === 'HEAD' ? undefined : body)
}
