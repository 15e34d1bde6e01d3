/** Writes answers: JSON, streams of JSON lines, and errors in the one shape that all of HTTP uses. */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { PlatformError } from '#contract/errors.ts'

/** What a refused request may still send before its connection is cut: enough that most clients read the answer. */
const DISCARDED_BYTES_MAX = 64 * 1024 * 1024

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value))
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'content-length': body.length, 'cache-control': 'no-store' })
  response.end(body)
}

export function sendNothing(response: ServerResponse): void {
  response.writeHead(204, { 'cache-control': 'no-store' })
  response.end()
}

/**
 * Answers with an error: its status, its body, its code in `x-skep-error`, and `retry-after` where it is known (in
 * `details.retryAfterMs`). After the head has gone, the connection is cut instead, so that nobody takes half for whole.
 */
export function sendError(response: ServerResponse, error: PlatformError, headers: Readonly<Record<string, string>> = {}): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const body = Buffer.from(JSON.stringify({ error: error.toBody() }))
  const retryAfterMs = error.details?.['retryAfterMs']
  response.writeHead(error.kind.status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
    'cache-control': 'no-store',
    'x-skep-error': error.code,
    ...(typeof retryAfterMs === 'number' && { 'retry-after': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }),
    ...(error.code === 'KEY_MISSING' && { 'www-authenticate': 'Bearer, Basic realm="skep"' }),
    ...headers,
  })
  response.end(body)
}

/**
 * Reads away what a client still sends after its request was refused: closing at once would reset the connection, and the
 * client would see that instead of the answer. Only up to a bound.
 */
export function discardBody(request: IncomingMessage): void {
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > DISCARDED_BYTES_MAX) request.destroy()
  })
  request.on('error', () => {})
  request.resume()
}

/** One JSON value per line, at the pace of the reader. Resolves when all are sent or the reader has gone. */
export async function sendLines(response: ServerResponse, lines: AsyncIterable<unknown>, gone: AbortSignal): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-ndjson; charset=utf-8', 'cache-control': 'no-store' })
  // The head at once: who follows a quiet log must see that it has begun.
  response.flushHeaders()
  for await (const line of lines) {
    if (gone.aborted) return
    if (!response.write(`${JSON.stringify(line)}\n`)) await once(response, 'drain', { signal: gone }).catch(() => {})
  }
  response.end()
}
