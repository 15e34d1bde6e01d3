/**
 * One request and its answer, with its times: a record that is used again, so that a driver of 10,000 a second leaves nothing to collect.
 *
 * Times are of the monotonic clock, ms:
 *
 *   dueMs ≤ sentMs ≤ connectedMs ≤ firstByteMs ≤ endMs
 *     │       │         │            │            └ last byte
 *     │       │         │            └ first byte of the final answer
 *     │       │         └ written to an open connection; sentMs itself when one was open
 *     │       └ the driver turned to it; what lies between is the driver's own lateness
 *     └ the schedule
 */
import type { Endpoint, RawAnswer, RequestMessage } from '../provider.ts'
import { headersOf } from './response-parser.ts'

/** Why there is no answer: a code of contract/errors.ts, or the operating system's (ECONNREFUSED). */
export interface SendFailure {
  readonly code: string
  readonly message: string
}

/** What is seen of an exchange that has ended. Valid only while it is handed over: afterwards the record is another request's. */
export interface EndedExchange {
  readonly dueMs: number
  readonly sentMs: number
  readonly connectedMs: number
  readonly firstByteMs: number
  readonly endMs: number
  /** 0 when there is no answer. */
  readonly status: number
  /** Of the answer, also what was not kept. */
  readonly bodyBytes: number
  readonly failure: SendFailure | undefined
  /** Made anew by each call: headers are taken apart only where they are needed. */
  rawAnswer(): RawAnswer
}

export class Exchange<Tag> implements EndedExchange {
  tag!: Tag
  endpoint!: Endpoint
  message!: RequestMessage
  dueMs = 0
  sentMs = 0
  connectedMs = 0
  firstByteMs = 0
  endMs = 0
  status = 0
  head = ''
  headers: Readonly<Record<string, string>> | undefined
  body: Uint8Array = NO_BODY
  bodyBytes = 0
  failure: SendFailure | undefined
  retried = false

  begin(tag: Tag, endpoint: Endpoint, message: RequestMessage, dueMs: number, sentMs: number): void {
    this.tag = tag
    this.endpoint = endpoint
    this.message = message
    this.dueMs = dueMs
    this.sentMs = sentMs
    this.connectedMs = this.firstByteMs = this.endMs = this.status = this.bodyBytes = 0
    this.head = ''
    this.headers = this.failure = undefined
    this.body = NO_BODY
    this.retried = false
  }

  rawAnswer(): RawAnswer {
    return { status: this.status, headers: this.headers ?? headersOf(this.head), body: this.body }
  }
}

const NO_BODY = new Uint8Array(0)
