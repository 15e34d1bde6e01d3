/**
 * Errors as S3 clients expect them: a code of S3's own, its status, and a document in XML.
 *
 * The codes are part of the protocol, as statuses are of HTTP; what the platform itself raises keeps its code in the header
 * `x-skep-error`, and is translated here. (Amazon S3 API Reference, "Error responses".)
 */
import { PlatformError } from '#contract/errors.ts'

const statuses = {
  AccessDenied: 403,
  AuthorizationHeaderMalformed: 400,
  AuthorizationQueryParametersError: 400,
  BadDigest: 400,
  BucketAlreadyOwnedByYou: 409,
  BucketNotEmpty: 409,
  EntityTooLarge: 400,
  EntityTooSmall: 400,
  IncompleteBody: 400,
  InternalError: 500,
  InvalidAccessKeyId: 403,
  InvalidArgument: 400,
  InvalidBucketName: 400,
  InvalidDigest: 400,
  InvalidPart: 400,
  InvalidPartOrder: 400,
  InvalidRange: 416,
  InvalidRequest: 400,
  InvalidURI: 400,
  KeyTooLongError: 400,
  MalformedTrailerError: 400,
  MalformedXML: 400,
  MetadataTooLarge: 400,
  MethodNotAllowed: 405,
  MissingContentLength: 411,
  NoSuchBucket: 404,
  NoSuchKey: 404,
  NoSuchUpload: 404,
  NotImplemented: 501,
  OperationAborted: 409,
  PreconditionFailed: 412,
  QuotaExceeded: 403,
  RequestTimeTooSkewed: 403,
  ServiceUnavailable: 503,
  SignatureDoesNotMatch: 403,
  SlowDown: 503,
  StorageFull: 507,
  TooManyBuckets: 400,
  XAmzContentSHA256Mismatch: 400,
} as const

export type S3ErrorCode = keyof typeof statuses

export class S3Error extends Error {
  override readonly name = 'S3Error'
  readonly code: S3ErrorCode

  /** @param message As everywhere here: value, limit, next step. */
  constructor(code: S3ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  get status(): number {
    return statuses[this.code]
  }

  /** What was thrown, as S3 says it; what is not foreseen is InternalError, with its cause. */
  static from(thrown: unknown): S3Error {
    if (thrown instanceof S3Error) return thrown
    if (thrown instanceof PlatformError) return new S3Error(codeOf(thrown), thrown.message, { cause: thrown })
    return new S3Error('InternalError', 'Something failed that nobody foresaw; the platform\'s log has the cause.', { cause: thrown })
  }
}

function codeOf(error: PlatformError): S3ErrorCode {
  switch (error.code) {
    case 'ENTITY_NOT_FOUND':
      if (error.details?.['upload'] !== undefined) return 'NoSuchUpload'
      return error.details?.['bucket'] === undefined ? 'NoSuchKey' : 'NoSuchBucket'
    case 'STORAGE_EXCEEDED':
      return 'QuotaExceeded'
    case 'BODY_TOO_LARGE':
      return 'EntityTooLarge'
    case 'RATE_EXCEEDED':
    case 'CONCURRENCY_EXCEEDED':
      return 'SlowDown'
    case 'CONFLICT':
      return 'OperationAborted'
    case 'STORE_FULL':
      return 'StorageFull'
    case 'STORE_FAILED':
    case 'STOPPING':
      return 'ServiceUnavailable'
    default:
      return 'InternalError'
  }
}
