/**
 * Every error the platform raises on purpose, in one table.
 *
 * A code is part of the contract: it crosses the wire, stands in records, metrics and logs, and has a paragraph in
 * docs/errors.md (errors.test.ts compares the two). A bug is not in this table: a broken invariant is an AssertionError.
 */

export const platformErrors = {
  // Who may do what, and how much.
  KEY_MISSING: { fault: 'caller', retry: 'never', status: 401 },
  KEY_INVALID: { fault: 'caller', retry: 'never', status: 401 },
  FORBIDDEN: { fault: 'caller', retry: 'never', status: 403 },
  RATE_EXCEEDED: { fault: 'caller', retry: 'later', status: 429 },
  CONCURRENCY_EXCEEDED: { fault: 'caller', retry: 'later', status: 429 },
  MEMORY_EXCEEDED: { fault: 'caller', retry: 'later', status: 429 },
  // What was asked for.
  ROUTE_NOT_FOUND: { fault: 'caller', retry: 'never', status: 404 },
  METHOD_NOT_ALLOWED: { fault: 'caller', retry: 'never', status: 405 },
  FUNCTION_NOT_FOUND: { fault: 'caller', retry: 'never', status: 404 },
  REVISION_NOT_FOUND: { fault: 'caller', retry: 'never', status: 404 },
  INVOCATION_NOT_FOUND: { fault: 'caller', retry: 'never', status: 404 },
  NAMESPACE_NOT_FOUND: { fault: 'caller', retry: 'never', status: 404 },
  ENTITY_NOT_FOUND: { fault: 'caller', retry: 'never', status: 404 },
  INPUT_INVALID: { fault: 'caller', retry: 'never', status: 400 },
  NAME_INVALID: { fault: 'caller', retry: 'never', status: 400 },
  JSON_INVALID: { fault: 'caller', retry: 'never', status: 400 },
  BODY_TOO_LARGE: { fault: 'caller', retry: 'never', status: 413 },
  REFERENCE_INVALID: { fault: 'caller', retry: 'never', status: 400 },
  OBJECT_EXPIRED: { fault: 'caller', retry: 'never', status: 410 },
  OBJECT_USED_UP: { fault: 'caller', retry: 'never', status: 410 },
  OBJECT_QUOTA_EXCEEDED: { fault: 'caller', retry: 'later', status: 413 },
  STORAGE_EXCEEDED: { fault: 'caller', retry: 'later', status: 413 },
  CONFLICT: { fault: 'caller', retry: 'now', status: 409 },
  CANCELLED: { fault: 'caller', retry: 'never', status: 499 },
  // What the code does.
  CODE_INVALID: { fault: 'function', retry: 'never', status: 422 },
  HANDLER_NOT_FOUND: { fault: 'function', retry: 'never', status: 422 },
  INIT_FAILED: { fault: 'function', retry: 'never', status: 502 },
  INIT_TIMEOUT: { fault: 'function', retry: 'never', status: 504 },
  FUNCTION_THREW: { fault: 'function', retry: 'never', status: 500 },
  FUNCTION_TIMEOUT: { fault: 'function', retry: 'never', status: 504 },
  FUNCTION_EXITED: { fault: 'function', retry: 'never', status: 502 },
  FUNCTION_OUT_OF_MEMORY: { fault: 'function', retry: 'never', status: 502 },
  ANSWER_INVALID: { fault: 'function', retry: 'never', status: 502 },
  ANSWER_TOO_LARGE: { fault: 'function', retry: 'never', status: 502 },
  CALL_DEPTH_EXCEEDED: { fault: 'function', retry: 'never', status: 508 },
  // What the platform lacks or lost.
  RUNTIME_MISSING: { fault: 'platform', retry: 'later', status: 503 },
  ISOLATION_MISSING: { fault: 'platform', retry: 'never', status: 503 },
  NATIVE_MISSING: { fault: 'platform', retry: 'never', status: 503 },
  QUEUE_FULL: { fault: 'platform', retry: 'later', status: 503 },
  QUEUE_TIMEOUT: { fault: 'platform', retry: 'later', status: 503 },
  START_FAILED: { fault: 'platform', retry: 'later', status: 503 },
  OBJECT_LOST: { fault: 'platform', retry: 'never', status: 502 },
  TRANSFER_BROKEN: { fault: 'platform', retry: 'now', status: 502 },
  INSTANCE_LOST: { fault: 'platform', retry: 'now', status: 502 },
  STOPPING: { fault: 'platform', retry: 'later', status: 503 },
  STORE_FULL: { fault: 'platform', retry: 'later', status: 507 },
  STORE_FAILED: { fault: 'platform', retry: 'later', status: 503 },
  SNAPSHOT_DAMAGED: { fault: 'platform', retry: 'now', status: 503 },
  SNAPSHOT_MISMATCH: { fault: 'platform', retry: 'now', status: 503 },
  PROTOCOL_BROKEN: { fault: 'platform', retry: 'now', status: 502 },
  // What an operator or a user of the CLI has to change.
  PORT_IN_USE: { fault: 'caller', retry: 'never', status: 409 },
  DATA_VERSION_NEWER: { fault: 'caller', retry: 'never', status: 409 },
  DATA_LOCKED: { fault: 'caller', retry: 'never', status: 409 },
  SERVER_UNREACHABLE: { fault: 'caller', retry: 'later', status: 503 },
  INTERNAL: { fault: 'platform', retry: 'later', status: 500 },
} as const satisfies Record<string, PlatformErrorKind>

export type PlatformErrorCode = keyof typeof platformErrors

export interface PlatformErrorKind {
  /** Who has to change something. */
  readonly fault: 'caller' | 'function' | 'platform'
  /** Whether sending the same invocation again can help. */
  readonly retry: 'never' | 'now' | 'later'
  /** The HTTP status the gateway answers with. */
  readonly status: number
}

/** How an error looks in JSON: in an HTTP body, on a frame, in a record. */
export interface PlatformErrorBody {
  readonly code: PlatformErrorCode
  readonly message: string
  /** The function's own stack, source-mapped, when its code is at fault. */
  readonly stack?: string
  /** Values a program may want: limits, sizes, ids. */
  readonly details?: Readonly<Record<string, unknown>>
}

export interface PlatformErrorOptions extends ErrorOptions {
  readonly details?: Readonly<Record<string, unknown>>
  /** The stack of the function's code, not of the platform's. */
  readonly functionStack?: string
}

export class PlatformError extends Error {
  override readonly name = 'PlatformError'
  readonly code: PlatformErrorCode
  readonly details: Readonly<Record<string, unknown>> | undefined
  readonly functionStack: string | undefined

  /** @param message What happened, with the values that explain it, and what to do next. */
  constructor(code: PlatformErrorCode, message: string, options?: PlatformErrorOptions) {
    super(message, options)
    this.code = code
    this.details = options?.details
    this.functionStack = options?.functionStack
  }

  get kind(): PlatformErrorKind {
    return platformErrors[this.code]
  }

  toBody(): PlatformErrorBody {
    return {
      code: this.code,
      message: this.message,
      ...(this.functionStack !== undefined && { stack: this.functionStack }),
      ...(this.details !== undefined && { details: this.details }),
    }
  }

  /** The error on the other side of a wire. An unknown code comes from a newer peer, and is INTERNAL here. */
  static fromBody(body: PlatformErrorBody): PlatformError {
    const code = isPlatformErrorCode(body.code) ? body.code : 'INTERNAL'
    return new PlatformError(code, String(body.message), {
      ...(body.details !== undefined && { details: body.details }),
      ...(body.stack !== undefined && { functionStack: body.stack }),
    })
  }

  /** What was thrown, as an error of the table. Anything that is not one already is INTERNAL, with the cause kept. */
  static from(thrown: unknown): PlatformError {
    if (thrown instanceof PlatformError) return thrown
    const text = thrown instanceof Error ? thrown.message : String(thrown)
    return new PlatformError('INTERNAL', text, { cause: thrown })
  }
}

export function isPlatformErrorCode(code: string): code is PlatformErrorCode {
  return Object.hasOwn(platformErrors, code)
}
