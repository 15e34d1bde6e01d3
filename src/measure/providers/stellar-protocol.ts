/**
 * How STeLLAR speaks to its functions over HTTP: a query, and a JSON answer.
 *
 *   GET /path?IncrementLimit=…&PayloadLengthBytes=…&DataTransferChainIDs=[id1 id2](&Bucket=…&StorageTransfer=true)
 *   {"RequestID": "…", "TimestampChain": ["1763731234567.25", …]}
 *
 * Source: src/benchmarking/networking/benchhttp at 6e25342 (thesis 3.4). Its list has a blank, which no URL can have: written as %20 it reaches functions as the same text.
 *
 *   Q1. Whatever bytes an answer has: it is an Answer or the error ANSWER_INVALID, with the status and the beginning of the body.
 */
import * as z from 'zod'
import { PlatformError } from '#contract/errors.ts'
import type { SubExperiment } from '../experiment.ts'
import type { Answer, RawAnswer, RequestParameters, TransferKind } from '../provider.ts'

const SHOWN_BYTES = 300
/** A body of a chain of 1000 functions is 30 KB. */
const BODY_BYTES_MAX = 1024 * 1024

export function transferOf(one: Pick<SubExperiment, 'DataTransferChainLength' | 'StorageTransfer' | 'referenceTransfer'>): TransferKind {
  if (one.DataTransferChainLength < 2) return 'none'
  return one.referenceTransfer ? 'reference' : one.StorageTransfer ? 'storage' : 'inline'
}

export interface FieldOptions {
  /** Who comes after the first function. */
  readonly chain: readonly string[]
  readonly transfer: TransferKind
  readonly bucket?: string | undefined
  /** Where a function can't measure its own time: how many increments a millisecond has. */
  readonly incrementsPerMs?: number | undefined
}

/** What the first function is told. `ServiceTimeMs` is ours, and unknown to functions of others: these need `incrementsPerMs`. */
export function fieldsFor({ serviceTimeMs, payloadBytes, memoryMb }: RequestParameters, { chain, transfer, bucket, incrementsPerMs }: FieldOptions): Readonly<Record<string, string>> {
  const byTime = incrementsPerMs === undefined
  return {
    IncrementLimit: String(byTime ? 0 : Math.round(serviceTimeMs * incrementsPerMs)),
    ...(byTime && serviceTimeMs > 0 && { ServiceTimeMs: String(serviceTimeMs) }),
    PayloadLengthBytes: String(payloadBytes),
    DataTransferChainIDs: `[${chain.join(' ')}]`,
    ...(memoryMb !== undefined && { memoryInMebiBytes: String(memoryMb) }),
    ...(transfer === 'storage' && { StorageTransfer: 'true', ...(bucket !== undefined && { Bucket: bucket }) }),
    ...(transfer === 'reference' && { ReferenceTransfer: 'true' }),
  }
}

/** @param path With or without a query of its own. */
export function withQuery(path: string, fields: Readonly<Record<string, string>>): string {
  const query = Object.entries(fields).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')
  return `${path}${path.includes('?') ? '&' : '?'}${query}`
}

const reply = z.looseObject({
  RequestID: z.string().max(1024).optional(),
  // vHive's is the list as a text.
  TimestampChain: z.union([z.array(z.union([z.string(), z.number()])).max(1000), z.string().max(64 * 1024)]).optional(),
})

export interface ReadReply {
  readonly requestId: string
  readonly timestamps: readonly string[]
}

/** Q1. @param functions How many timestamps there have to be; a chain of one needs none. */
export function readReply(raw: RawAnswer, functions: number): ReadReply {
  if (raw.status < 200 || raw.status > 299) throw answerInvalid(raw, `has status ${raw.status}`)
  if (raw.body.length > BODY_BYTES_MAX) throw answerInvalid(raw, `has ${raw.body.length} bytes, more than ${BODY_BYTES_MAX}`)
  return readReplyValue(raw, parse(raw), functions)
}

export function readReplyValue(raw: RawAnswer, value: unknown, functions: number): ReadReply {
  const parsed = reply.safeParse(value)
  if (!parsed.success) throw answerInvalid(raw, 'has no RequestID and TimestampChain as STeLLAR\'s functions answer them')
  const { RequestID = '', TimestampChain = [] } = parsed.data
  const timestamps = typeof TimestampChain === 'string' ? TimestampChain.replace(/^\[|\]$/g, '').split(' ').filter((one) => one !== '') : TimestampChain.map(String)
  if (functions > 1 && timestamps.length !== functions) throw answerInvalid(raw, `has ${timestamps.length} timestamps for a chain of ${functions} functions`)
  const wrong = timestamps.find((one) => !/^\d{1,16}(?:\.\d{1,9})?$/.test(one))
  if (wrong !== undefined) throw answerInvalid(raw, `has a timestamp ${JSON.stringify(wrong.slice(0, 40))} that is no number of milliseconds`)
  return { requestId: RequestID, timestamps }
}

export function parse(raw: RawAnswer): unknown {
  try {
    return JSON.parse(textOf(raw)) as unknown
  } catch {
    throw answerInvalid(raw, 'is no JSON')
  }
}

export function answerInvalid(raw: RawAnswer, what: string): PlatformError {
  const shown = textOf({ ...raw, body: raw.body.subarray(0, SHOWN_BYTES) })
  const message = `The endpoint's answer ${what}: ${JSON.stringify(shown)}. Ask it once by hand, and correct the function or its address.`
  return new PlatformError('ANSWER_INVALID', message, { details: { status: raw.status, body: shown } })
}

/** Of a platform that tells no more than its function does. */
export function plainAnswer(raw: RawAnswer, functions: number): Answer {
  return { ...readReply(raw, functions), start: 'unknown', phases: undefined }
}

function textOf(raw: RawAnswer): string {
  return Buffer.from(raw.body.buffer, raw.body.byteOffset, raw.body.byteLength).toString('utf8')
}
