/** Gives out the answer that was kept of an asynchronous invocation. */
import type { ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { PlatformError } from '#contract/errors.ts'
import { isHopByHop } from '../http-sink.ts'
import { sendError } from './answer.ts'
import type { InvocationResult } from './services.ts'

/** An answer that was kept, as its caller would have got it; resolves when it is sent or the reader has gone. */
export async function sendKeptAnswer(response: ServerResponse, id: string, result: InvocationResult): Promise<void> {
  const own = { 'x-skep-invocation-id': id, 'x-skep-state': 'ended' }
  if (result.error !== undefined) return sendError(response, PlatformError.fromBody(result.error), own)
  const content = await result.body()
  const headers = Object.entries(own).flat()
  for (let at = 0; at < result.headers.length; at += 2) {
    const name = result.headers[at]!
    // The length is what was kept: an answer to HEAD names one that nobody has.
    if (name !== 'content-length' && !isHopByHop(name)) headers.push(name, result.headers[at + 1]!)
  }
  if (result.status !== 204 && result.status !== 304) headers.push('content-length', String(content?.bytes ?? 0))
  response.writeHead(result.status, headers)
  if (content === undefined || content.body instanceof Uint8Array) response.end(content?.body)
  // One that breaks off closes the connection, so that nobody takes half for whole.
  else await pipeline(content.body, response).catch(() => response.destroy())
}
