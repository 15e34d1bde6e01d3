/**
 * An HTTP client that hides nothing: raw headers both ways, bodies as streams, and a connection that can be dropped.
 *
 * `fetch` adds and removes headers, and decides itself when to read; tests of a gateway have to see what was on the wire.
 */
import assert from 'node:assert/strict'
import { Agent, request as httpRequest } from 'node:http'
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import type { Readable } from 'node:stream'
import { platformErrors } from '#contract/errors.ts'
import type { PlatformErrorBody, PlatformErrorCode } from '#contract/errors.ts'

export interface SendOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Uint8Array | Readable
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  readonly text: string
  /** The body as JSON. @throws when it is none. */
  json<Value = any>(): Value // eslint-disable-line -- the tests know what they asked for
  /** Of the invocation; empty when there was none. */
  readonly id: string
}

export interface OpenAnswer {
  readonly request: ClientRequest
  readonly response: IncomingMessage
  readonly id: string
}

/** Sends a request, and resolves when the head of the answer is here; the body is the caller's to read. */
export async function open(url: string, options: SendOptions = {}, agent?: Agent): Promise<OpenAnswer> {
  const { body } = options
  const isWhole = typeof body === 'string' || body instanceof Uint8Array
  const headers = { ...(isWhole && { 'content-length': String(Buffer.byteLength(body)) }), ...options.headers }
  const request = httpRequest(url, { method: options.method ?? 'GET', headers: headers as Record<string, string | string[]>, ...(agent && { agent }) })
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve)
    request.on('error', reject)
  })
  if (body === undefined || isWhole) request.end(body)
  // A server that answers before it has read all may close the rest; the answer is what counts.
  else pipeline(body, request).catch(() => {})
  const response = await answered
  response.on('error', () => {})
  return { request, response, id: String(response.headers['x-skep-invocation-id'] ?? '') }
}

/** Sends a request and reads the whole answer. @throws when the answer breaks off. */
export async function send(url: string, options: SendOptions = {}, agent?: Agent): Promise<Answer> {
  const { response, id } = await open(url, options, agent)
  const body = await buffer(response)
  if (!response.complete) throw new Error('the answer broke off')
  return {
    status: response.statusCode!,
    headers: response.headers,
    rawHeaders: response.rawHeaders,
    body,
    text: body.toString(),
    json: () => JSON.parse(body.toString()),
    id,
  }
}

/** Asserts that this is the error `code`, whole: status of the table, body, header, and a message that matches. */
export function assertError(answer: Answer, code: PlatformErrorCode, says?: RegExp): PlatformErrorBody {
  assert.equal(answer.headers['x-skep-error'], code, `status ${answer.status}: ${answer.text.slice(0, 500)}`)
  assert.equal(answer.status, platformErrors[code].status)
  const { error } = answer.json<{ error: PlatformErrorBody }>()
  assert.equal(error.code, code)
  if (says !== undefined) assert.match(error.message, says)
  return error
}
