/**
 * `main(params)` and `handler(event, context)`: what they are given for a request, and what their results mean.
 *
 * Sources: OpenWhisk docs/webactions.md for params (`__ow_…`) and results (statusCode, headers, body); AWS Lambda,
 * "Invoking function URLs", payload format 2.0, for events. Where we differ: text is never base64, a JSON body that is
 * not an object is given as its text in `__ow_body`, and Lambda events also carry the members of a JSON object body.
 */
import type { Handler } from './load-handler.ts'
import { answerInvalid, describe, type Invocation } from './invocation.ts'
import { headerOf, methodOf, urlOf } from './web/light-request.ts'
import { PlatformError } from '../../src/contract/errors.ts'

type Json = Record<string, unknown>

/** The JSON value of an event, or its bytes. @throws JSON_INVALID */
export async function eventOf(invocation: Invocation): Promise<unknown> {
  if (invocation.head.b === true) return invocation.readBytes()
  const text = (await invocation.body.readAll()).toString()
  return text === '' ? {} : parse(text)
}

/** OpenWhisk's parameters of a request: query, then body, then `__ow_…`. @throws JSON_INVALID */
export async function paramsOf(invocation: Invocation): Promise<Json> {
  const url = new URL(urlOf(invocation))
  const headers = headersOf(invocation)
  const type = mediaType(headers['content-type'])
  const body = await invocation.body.readAll()
  let members: Json = {}
  let rest: string | undefined
  if (body.length > 0) {
    if (isJson(type)) {
      const value = parse(body.toString())
      if (isObject(value)) members = value
      else rest = body.toString()
    } else if (type === 'application/x-www-form-urlencoded') members = Object.fromEntries(new URLSearchParams(body.toString()))
    else rest = isText(type, body) ? body.toString() : body.toString('base64')
  }
  return {
    ...Object.fromEntries(url.searchParams),
    ...members,
    __ow_method: methodOf(invocation).toLowerCase(),
    __ow_headers: headers,
    __ow_path: url.pathname === '/' ? '' : url.pathname,
    __ow_query: url.search.slice(1),
    ...(rest !== undefined && { __ow_body: rest }),
  }
}

/** Lambda's function-URL event of a request, payload format 2.0. */
export async function urlEventOf(invocation: Invocation, functionName: string): Promise<Json> {
  const url = new URL(urlOf(invocation))
  const headers = headersOf(invocation)
  const body = await invocation.body.readAll()
  const isBinary = body.length > 0 && !isText(mediaType(headers['content-type']), body)
  const query: Record<string, string> = {}
  for (const [name, value] of url.searchParams) query[name] = query[name] === undefined ? value : `${query[name]},${value}`
  const now = new Date()
  const event: Json = {
    version: '2.0',
    routeKey: '$default',
    rawPath: url.pathname,
    rawQueryString: url.search.slice(1),
    headers,
    ...(headers['cookie'] !== undefined && { cookies: headers['cookie'].split(/;\s*/) }),
    ...(url.search !== '' && { queryStringParameters: query }),
    requestContext: {
      accountId: 'anonymous',
      apiId: functionName,
      domainName: url.host,
      domainPrefix: functionName,
      http: { method: methodOf(invocation), path: url.pathname, protocol: 'HTTP/1.1', sourceIp: headers['x-forwarded-for']?.split(',')[0] ?? '', userAgent: headers['user-agent'] ?? '' },
      requestId: invocation.head.i ?? '',
      routeKey: '$default',
      stage: '$default',
      time: now.toUTCString(),
      timeEpoch: now.getTime(),
    },
    ...(body.length > 0 && { body: isBinary ? body.toString('base64') : body.toString() }),
    isBase64Encoded: isBinary,
  }
  if (!isJson(mediaType(headers['content-type'])) || body.length === 0) return event
  const members = tryParse(body.toString())
  return isObject(members) ? { ...members, ...event } : event
}

/** Sends what a `main` or `handler` returned. */
export function sendResult(invocation: Invocation, shape: Handler['shape'], result: unknown): void {
  try {
    if (invocation.head.k === 'event') sendValue(invocation, 200, [], result, true)
    else sendHttp(invocation, shape, result)
  } catch (error) {
    invocation.fail(error instanceof PlatformError ? error : answerInvalid(error instanceof Error ? error.message : String(error)))
  }
}

const HTTP_KEYS = new Set(['statusCode', 'headers', 'multiValueHeaders', 'cookies', 'body', 'isBase64Encoded', 'statusDescription'])

function sendHttp(invocation: Invocation, shape: Handler['shape'], result: unknown): void {
  if (result === undefined) return invocation.answer(204, [], undefined)
  if (!isPlain(result)) return sendValue(invocation, 200, [], result, false)
  const error = shape === 'main' && isObject(result['error']) ? result['error'] : undefined
  if (error !== undefined && isHttp(error)) return sendParts(invocation, shape, error, 500)
  if (isHttp(result)) return sendParts(invocation, shape, result, 200)
  if (shape !== 'main' || result['error'] === undefined) return sendValue(invocation, 200, [], result, false)
  const { statusCode = error?.['statusCode'] ?? 500, ...body } = result
  sendValue(invocation, statusOf(statusCode), [], body, false)
}

/** An object is an answer's parts when it has nothing else, and a status or a body. */
function isHttp(value: Json): boolean {
  return (value['statusCode'] !== undefined || value['body'] !== undefined) && Object.keys(value).every((key) => HTTP_KEYS.has(key))
}

function sendParts(invocation: Invocation, shape: Handler['shape'], parts: Json, status: number): void {
  const { statusCode, body, isBase64Encoded } = parts
  const raw = rawHeaders(parts)
  const code = statusCode === undefined ? status : statusOf(statusCode)
  if (body === undefined || body === null || body === '') return invocation.answer(statusCode === undefined && status === 200 ? 204 : code, raw, undefined)
  if (typeof body === 'string') {
    const type = shape === 'main' ? 'text/html; charset=utf-8' : 'application/json'
    return invocation.answer(code, withType(raw, type), isBase64Encoded === true ? Buffer.from(body, 'base64') : body)
  }
  sendValue(invocation, code, raw, body, false)
}

/** Any value as a body: bytes and streams as they are, text as text (JSON for an event), anything else as JSON. */
function sendValue(invocation: Invocation, status: number, headers: readonly string[], value: unknown, isEvent: boolean): void {
  if (typeof value === 'string' && !isEvent) return invocation.answer(status, withType(headers, 'text/plain; charset=utf-8'), value)
  const bytes = value instanceof ArrayBuffer ? new Uint8Array(value) : value
  if (bytes instanceof Uint8Array) return invocation.answer(status, withType(headers, 'application/octet-stream'), bytes)
  const source = sourceOf(value)
  if (source !== undefined) return invocation.answerStream(status, withType(headers, 'application/octet-stream'), source)
  const json = isEvent && value === undefined ? 'null' : stringify(value)
  invocation.answer(status, withType(headers, 'application/json'), json)
}

/** The chunks of a web stream, a Node stream or an async generator. */
export function sourceOf(value: unknown): AsyncIterator<unknown> | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const iterate = (value as AsyncIterable<unknown>)[Symbol.asyncIterator]
  return typeof iterate === 'function' ? iterate.call(value) : undefined
}

function stringify(value: unknown): string {
  let json: string | undefined
  try {
    json = JSON.stringify(value) as string | undefined
  } catch (error) {
    throw answerInvalid(`${describe(value)} has no JSON form (${(error as Error).message.split('\n')[0]})`)
  }
  if (json === undefined) throw answerInvalid(`the function returned ${describe(value)}, which has no JSON form`)
  return json
}

function statusOf(value: unknown): number {
  const status = typeof value === 'string' && /^\d{3}$/.test(value) ? Number(value) : value
  if (typeof status !== 'number') throw answerInvalid(`statusCode is ${describe(value)}, and must be a number from 200 to 599`)
  return status
}

function rawHeaders({ headers, multiValueHeaders, cookies }: Json): string[] {
  const raw: string[] = []
  for (const group of [headers, multiValueHeaders]) {
    if (group === undefined || group === null) continue
    if (!isObject(group)) throw answerInvalid(`headers are ${describe(group)}, and must be an object of names and values`)
    for (const [name, value] of Object.entries(group)) {
      for (const one of Array.isArray(value) ? value : [value]) {
        if (!['string', 'number', 'boolean'].includes(typeof one)) throw answerInvalid(`header "${name}" is ${describe(one)}, and must be a string, number or boolean`)
        raw.push(name.toLowerCase(), String(one))
      }
    }
  }
  if (Array.isArray(cookies)) for (const cookie of cookies) raw.push('set-cookie', String(cookie))
  return raw
}

function withType(headers: readonly string[], type: string): readonly string[] {
  return headerOf(headers, 'content-type') === undefined ? ['content-type', type, ...headers] : headers
}

function headersOf(invocation: Invocation): Record<string, string> {
  const raw = invocation.head.h ?? []
  const headers: Record<string, string> = {}
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!
    headers[name] = headers[name] === undefined ? raw[at + 1]! : `${headers[name]}${name === 'cookie' ? '; ' : ', '}${raw[at + 1]}`
  }
  return headers
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new PlatformError('JSON_INVALID', `The body is not valid JSON: ${(cause as Error).message}. Send JSON, or another content-type.`, { cause })
  }
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function mediaType(header: string | undefined): string {
  return header?.split(';', 1)[0]!.trim().toLowerCase() ?? ''
}

function isJson(type: string): boolean {
  return type === 'application/json' || type.endsWith('+json')
}

/** By its type, or, without one that says, by being valid UTF-8. */
function isText(type: string, body: Buffer): boolean {
  if (type.startsWith('text/') || isJson(type) || /xml|javascript|x-www-form-urlencoded|graphql|yaml/.test(type)) return true
  if (/^(image|audio|video|font)\/|octet-stream|zip|pdf|wasm|multipart/.test(type)) return false
  return !body.includes(0) && Buffer.from(body.toString()).equals(body)
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An object that stands for data, as against bytes, a stream or an instance of a class with its own JSON form. */
function isPlain(value: unknown): value is Json {
  return isObject(value) && !(value instanceof Uint8Array) && !(value instanceof ArrayBuffer) && sourceOf(value) === undefined
}
