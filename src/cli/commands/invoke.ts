/**
 * `skep invoke`: runs a function, streams its answer out, and tells where the time went.
 *
 * The record is fetched only for someone who will see it (a terminal, or --json): for a script, an invocation is one request.
 */
import { createReadStream, createWriteStream, statSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { extname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { COLOR_HEADER, parseColor } from '#contract/color.ts'
import { PlatformError } from '#contract/errors.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { errorOf, readBytes } from '../api-client.ts'
import type { ApiClient, ApiRequest } from '../api-client.ts'
import type { CommandOptions, Context } from '../context.ts'
import { exitCodeFor, exitCodes } from '../exit-codes.ts'
import { summary } from '../record-summary.ts'
import { reportError } from '../report-error.ts'

const typesByExtension: Readonly<Record<string, string>> = {
  '.json': 'application/json', '.txt': 'text/plain; charset=utf-8', '.csv': 'text/csv; charset=utf-8', '.html': 'text/html; charset=utf-8', '.xml': 'application/xml',
  '.png': 'image/png', '.jpg': 'image/jpeg', '.jpeg': 'image/jpeg', '.gif': 'image/gif', '.webp': 'image/webp', '.svg': 'image/svg+xml', '.ppm': 'image/x-portable-pixmap',
}

export async function invoke(context: Context, name: string): Promise<number> {
  const { options } = context
  const client = await context.client()
  const query = new URLSearchParams()
  if (options['async'] === true) query.set('async', 'true')
  const request = requestOf(options)
  const response = await client.send(`/v1/functions/${encodeURIComponent(name)}/invocations${query.size > 0 ? `?${query}` : ''}`, request)
  const id = String(response.headers['x-skep-invocation-id'] ?? '')
  if (response.headers['x-skep-error'] !== undefined || (response.statusCode! >= 400 && id === '')) return failed(context, client, response, id, name)
  if (options['async'] === true) return accepted(context, response)
  return context.json ? answerJson(context, client, response, id) : answerText(context, client, response, id)
}

function requestOf(options: CommandOptions): ApiRequest {
  const { data, file } = options as { data?: string; file?: string }
  if (data !== undefined && file !== undefined) throw new PlatformError('INPUT_INVALID', '--data and --file exclude each other: there is one body.')
  const headers: Record<string, string> = {}
  if (options['idempotencyKey'] !== undefined) headers['idempotency-key'] = options['idempotencyKey'] as string
  const color = colorOf(options)
  if (color !== undefined) headers[COLOR_HEADER] = color
  const type = options['type'] as string | undefined
  if (file !== undefined && file !== '-') {
    const info = statSync(file, { throwIfNoEntry: false })
    if (info?.isFile() !== true) throw new PlatformError('INPUT_INVALID', `--file ${file} is not a file.`)
    headers['content-type'] = type ?? typesByExtension[extname(file).toLowerCase()] ?? 'application/octet-stream'
    headers['content-length'] = String(info.size)
    return { method: 'POST', headers, body: createReadStream(file, { highWaterMark: 256 * 1024 }) }
  }
  if (data === '-' || file === '-') {
    headers['content-type'] = type ?? (data === '-' ? 'application/json' : 'application/octet-stream')
    return { method: 'POST', headers, body: process.stdin }
  }
  if (data !== undefined && type === undefined) checkJson(data)
  headers['content-type'] = type ?? 'application/json'
  // Bytes: with a string, Node would write the headers as UTF-8, too, where HTTP has Latin-1.
  return { method: 'POST', headers, body: Buffer.from(data ?? '{}') }
}

/** Checked as the gateway does, and that it fits into a header. */
function colorOf(options: CommandOptions): string | undefined {
  const color = parseColor(options['color'])
  const unfit = /[^\t\x20-\x7e\x80-\xff]/u.exec(color ?? '')?.[0]
  if (unfit !== undefined) throw new PlatformError('INPUT_INVALID', `--color has the character ${JSON.stringify(unfit)}, which no HTTP header can have. Use an id, or a digest of the text.`)
  return color
}

/** A shell eats quotes: better said here than as an answer from the other side. */
function checkJson(text: string): void {
  try {
    JSON.parse(text)
  } catch (cause) {
    throw new PlatformError('JSON_INVALID', `--data is not JSON: ${(cause as Error).message}. Quote it for the shell, like --data '{"name":"you"}', or say what it is with --type.`, { cause })
  }
}

async function answerText(context: Context, client: ApiClient, response: IncomingMessage, id: string): Promise<number> {
  const path = context.options['output'] as string | undefined
  let last = 0
  response.on('data', (chunk: Buffer) => { last = chunk.at(-1) ?? last })
  try {
    await pipeline(response, path === undefined ? process.stdout : createWriteStream(path), { end: path !== undefined })
  } catch (cause) {
    throw new PlatformError('INSTANCE_LOST', `The answer broke off before its end. What came of it is not all. skep get invocation ${id}`, { cause })
  }
  // A prompt on the answer's own line confuses; a file or pipe gets exactly the bytes.
  if (path === undefined && process.stdout.isTTY === true && last !== 10) process.stdout.write('\n')
  if (context.terminal) {
    const record = await findRecord(client, id)
    if (record !== undefined) context.note(`${context.style('dim', summary(record))}\n${context.style('dim', `id ${id}`)}`)
  }
  return response.statusCode! >= 500 ? exitCodes.functionFailed : exitCodes.ok
}

async function answerJson(context: Context, client: ApiClient, response: IncomingMessage, id: string): Promise<number> {
  const body = await readBytes(response).catch((cause: unknown) => { throw new PlatformError('INSTANCE_LOST', 'The answer broke off before its end.', { cause }) })
  const record = await findRecord(client, id)
  context.result({ id, status: response.statusCode, outcome: record?.outcome ?? 'ok', start: record?.start ?? response.headers['x-skep-start'], ...resultOf(body, String(response.headers['content-type'] ?? '')), record }, () => '')
  return response.statusCode! >= 500 ? exitCodes.functionFailed : exitCodes.ok
}

/** JSON as a value, text as a string, anything else in base64: never bytes bent into text. */
export function resultOf(body: Buffer, type: string): { readonly result: unknown } | { readonly resultBase64: string } {
  if (body.length === 0) return { result: null }
  const text = body.toString('utf8')
  if (/\bjson\b/.test(type)) {
    try {
      return { result: JSON.parse(text) as unknown }
    } catch {
      // It only says that it is JSON.
    }
  }
  return Buffer.from(text).equals(body) ? { result: text } : { resultBase64: body.toString('base64') }
}

async function accepted(context: Context, response: IncomingMessage): Promise<number> {
  const answer = JSON.parse((await readBytes(response)).toString('utf8')) as { id: string }
  context.result(answer, () => answer.id)
  context.note(context.style('dim', `queued; see it with: skep get invocation ${answer.id}, its answer with: skep get result ${answer.id}`))
  return exitCodes.ok
}

async function failed(context: Context, client: ApiClient, response: IncomingMessage, id: string, name: string): Promise<number> {
  const error = errorOf(response, (await readBytes(response)).toString('utf8'))
  const record = id === '' ? undefined : await findRecord(client, id)
  if (!context.json) {
    const code = reportError(context, error, name)
    if (record !== undefined && context.terminal) context.note(context.style('dim', `${summary(record)}\nid ${id}`))
    return code
  }
  const exitCode = exitCodeFor(error.code)
  context.result({ id: id === '' ? undefined : id, status: response.statusCode, outcome: 'error', error: { ...error.toBody(), exitCode }, record }, () => '')
  return exitCode
}

/** The record is made when the last byte has left, which the client may notice first: so a few short waits. */
async function findRecord(client: ApiClient, id: string): Promise<InvocationRecord | undefined> {
  if (id === '') return undefined
  for (const waitMs of [0, 5, 20, 100]) {
    if (waitMs > 0) await sleep(waitMs)
    try {
      const { logs: _logs, ...view } = await client.json<InvocationRecord & { state: string; logs?: unknown }>('GET', `/v1/invocations/${id}`)
      if (view.state === 'ended') return view
    } catch {
      // Not there yet; the answer is more important than its record.
    }
  }
  return undefined
}
