/**
 * fetch: the host performs it, with Node's own, when the function has network.
 */
import { LightHeaders } from '../../../node/web/light-headers.ts'
import { fetchOutside } from './calls.ts'
import { IncomingBody } from './incoming.ts'
import { Request } from './request.ts'
import { Response } from './response.ts'

export async function fetch(input: unknown, init?: ConstructorParameters<typeof Request>[1]): Promise<Response> {
  const request = new Request(input, init)
  const { url, method, redirect, signal } = request
  const content = Request.bodyOf(request)
  const body = content === null ? undefined : typeof content === 'string' || content instanceof Uint8Array ? content : content instanceof IncomingBody ? content.stream()[Symbol.asyncIterator]() : content[Symbol.asyncIterator]()
  const { status, headers, head, body: incoming } = await fetchOutside({ url, method, redirect, headers: LightHeaders.rawOf(request.headers)! }, body, signal)
  const from = { url: head.url ?? url, redirected: head.redirected ?? false }
  return Response.received(status, head.text ?? '', LightHeaders.fromRaw(headers), head.b === true ? incoming : null, from)
}
