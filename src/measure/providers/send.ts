/** One request to an endpoint outside of what is measured: the first answer of a new function, calibration, a platform's own API. */
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { PlatformError } from '#contract/errors.ts'
import type { Endpoint, RawAnswer, RequestMessage } from '../provider.ts'

export async function sendTo(endpoint: Endpoint, message: RequestMessage, signal: AbortSignal): Promise<RawAnswer> {
  const { transport } = endpoint
  return transport.kind === 'call' ? transport.call(message, signal) : sendHttp(transport.origin, message, signal)
}

/** @throws SERVER_UNREACHABLE, CANCELLED. */
export async function sendHttp(origin: string, message: RequestMessage, signal: AbortSignal): Promise<RawAnswer> {
  const { method, path, headers, body } = message
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const url = new URL(origin)
      const request = url.protocol === 'https:' ? httpsRequest : httpRequest
      const length = body === undefined ? {} : { 'content-length': String(body.length) }
      // The path as it is: a URL would write the brackets of a list in another way.
      request({ host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port, path, method, headers: { host: url.host, ...headers, ...length }, agent: false, signal }).on('response', resolve).on('error', reject).end(body)
    })
    const chunks: Buffer[] = []
    for await (const chunk of response) chunks.push(chunk as Buffer)
    const named = Object.entries(response.headers).map(([name, value]) => [name, String(value)])
    return { status: response.statusCode!, headers: Object.fromEntries(named) as Record<string, string>, body: Buffer.concat(chunks) }
  } catch (cause) {
    if (signal.aborted) throw new PlatformError('CANCELLED', `The request to ${origin} was given up.`, { cause })
    const why = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message
    throw new PlatformError('SERVER_UNREACHABLE', `Nothing answers at ${origin} (${why}); check that it runs, and its address.`, { cause })
  }
}
