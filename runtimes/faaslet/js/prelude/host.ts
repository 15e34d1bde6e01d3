/**
 * The one function of the host, and what is said through it that more than one file needs. See ../ops.ts.
 *
 * All files of this folder run inside the guest. They are bundled into one script that is evaluated before the snapshot, so what they
 * make while loading costs nothing later. They may use the language, and none of Node.
 */
import { PlatformError, type PlatformErrorCode } from '../../../../src/contract/errors.ts'
import { HostOp, type WireError } from '../ops.ts'

declare const skepHost: (op: number, first?: unknown, second?: unknown, third?: unknown) => unknown

export const host = skepHost

/** UTF-8 as text; invalid sequences become U+FFFD. A byte order mark stays. */
export function decodeUtf8(bytes: Uint8Array): string {
  return bytes.length === 0 ? '' : (host(HostOp.decode, plain(bytes)) as string)
}

export function encodeUtf8(text: string): Uint8Array<ArrayBuffer> {
  return text === '' ? new Uint8Array(0) : (host(HostOp.encode, text.isWellFormed() ? text : text.toWellFormed()) as Uint8Array<ArrayBuffer>)
}

/** Any view as a Uint8Array of the same bytes. */
export function plain(view: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return view instanceof Uint8Array ? (view as Uint8Array<ArrayBuffer>) : new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength)
}

/** What was thrown, for the host. Never throws. */
export function wireError(thrown: unknown): WireError {
  if (thrown instanceof PlatformError) return { name: 'PlatformError', code: thrown.code, message: thrown.message, ...(thrown.details !== undefined && { details: thrown.details }) }
  if (thrown instanceof Error || (typeof thrown === 'object' && thrown !== null && 'stack' in thrown && 'message' in thrown)) {
    const { name, message, stack } = thrown as Error
    return { name: String(name), message: String(message), ...(typeof stack === 'string' && { stack }) }
  }
  return { name: '', message: `The function threw ${short(thrown)}, which is not an Error.` }
}

/** An error that the host says, as the guest throws it. */
export function errorOfWire({ name, code, message, details, stack, cause }: WireError): Error {
  if (name === 'PlatformError') {
    return new PlatformError(code as PlatformErrorCode, message, { ...(details !== undefined && { details }), ...(stack !== undefined && { functionStack: stack }) })
  }
  if (name === 'AbortError' || name === 'TimeoutError') return new DOMException(message, name)
  const inner = cause === undefined ? undefined : Object.assign(new Error(cause), code !== undefined && { code })
  return name === 'TypeError' ? new TypeError(message, inner && { cause: inner }) : Object.assign(new Error(message, inner && { cause: inner }), name !== 'Error' && { name })
}

function short(value: unknown): string {
  try {
    return typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : typeof value === 'object' && value !== null ? `an object (${value.constructor?.name ?? 'no prototype'})` : String(value)
  } catch {
    return 'an object'
  }
}
