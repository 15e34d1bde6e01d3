/**
 * Conditional requests and ranges, as pure functions (RFC 9110, sections 13 and 14; S3's differences are said where they are).
 */
import type { Condition, ObjectEntity } from '#registry/buckets/objects.ts'
import { S3Error } from './errors.ts'

export interface Conditions {
  readonly ifMatch?: string | undefined
  readonly ifNoneMatch?: string | undefined
  readonly ifModifiedSince?: string | undefined
  readonly ifUnmodifiedSince?: string | undefined
}

type Headers = Readonly<Record<string, string | string[] | undefined>>
type About = Pick<ObjectEntity, 'etag' | 'modifiedAtMs'>

/** @param prefix `x-amz-copy-source-` for those of a copy's source. */
export function conditionsOf(headers: Headers, prefix = ''): Conditions {
  const text = (name: string): string | undefined => (headers[prefix + name] === undefined ? undefined : String(headers[prefix + name]))
  return { ifMatch: text('if-match'), ifNoneMatch: text('if-none-match'), ifModifiedSince: text('if-modified-since'), ifUnmodifiedSince: text('if-unmodified-since') }
}

/** Of a GET or HEAD, in the order that RFC 9110, 13.2.2 gives. */
export function judgeRead(conditions: Conditions, { etag, modifiedAtMs }: About): 'send' | 'not modified' | 'failed' {
  const { ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince } = conditions
  // Times on the wire have whole seconds.
  const modifiedMs = Math.floor(modifiedAtMs / 1000) * 1000
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, etag)) return 'failed'
  } else if (modifiedMs > timeOf(ifUnmodifiedSince, Infinity)) return 'failed'
  if (ifNoneMatch !== undefined) return matches(ifNoneMatch, etag) ? 'not modified' : 'send'
  return modifiedMs <= timeOf(ifModifiedSince, -Infinity) ? 'not modified' : 'send'
}

/** Of a PUT, a DELETE or the end of an upload. @throws S3Error PreconditionFailed, NoSuchKey. */
export function writeCondition({ ifMatch, ifNoneMatch }: Conditions): Condition {
  return (current) => {
    if (ifNoneMatch !== undefined && current !== undefined && matches(ifNoneMatch, current.etag)) {
      throw new S3Error('PreconditionFailed', `There is an object with this key, of ETag "${current.etag}", and If-None-Match forbids that. Nothing was changed.`)
    }
    if (ifMatch === undefined) return
    if (current === undefined) throw new S3Error('NoSuchKey', 'There is no object with this key, and If-Match wants one. Nothing was changed.')
    if (!matches(ifMatch, current.etag)) throw new S3Error('PreconditionFailed', `The object has the ETag "${current.etag}", and If-Match wants another. Nothing was changed.`)
  }
}

function matches(list: string, etag: string): boolean {
  return list.split(',').some((one) => {
    const text = one.trim().replace(/^W\//, '')
    return text === '*' || text === `"${etag}"` || text === etag
  })
}

function timeOf(header: string | undefined, otherwise: number): number {
  const ms = Date.parse(header ?? '')
  return Number.isNaN(ms) ? otherwise : ms
}

/**
 * One range of bytes. Undefined: all of it, as for a header that is none (RFC 9110, 14.2) or asks for several ranges.
 * @throws S3Error InvalidRange when nothing of it is in the object.
 */
export function parseRange(header: string | undefined, bytes: number): { readonly from: number; readonly until: number } | undefined {
  const match = /^bytes=(\d{0,18})-(\d{0,18})$/.exec(header?.trim() ?? '')
  if (match === null || (match[1] === '' && match[2] === '')) return undefined
  const [, first, last] = match as unknown as [string, string, string]
  const from = first === '' ? Math.max(0, bytes - Number(last)) : Number(first)
  const until = first === '' || last === '' ? bytes : Math.min(bytes, Number(last) + 1)
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined
  if (from >= bytes || from >= until) throw new S3Error('InvalidRange', `The range ${header!.slice(0, 60)} has no byte of the object's ${bytes}.`)
  return { from, until }
}
