/**
 * A request as the bytes that are sent, made once per message.
 *
 * Parts come from experiment files, traces and addresses that somebody typed. What would end a line early would become another request, so it
 * is refused and not repaired.
 */
import { PlatformError } from '#contract/errors.ts'
import type { RequestMessage } from '../provider.ts'

/** @param host As in the header of that name, unless the message has one of its own: a service behind an ingress is found by it. Throws INPUT_INVALID for a path or header that cannot be sent. */
export function requestBytes(message: RequestMessage, host: string): Buffer {
  const { method, path, headers, body } = message
  if (!/^\/[\x21-\x7e]*$/.test(path)) throw unsendable('path', path, 'it must begin with / and have no spaces, control characters or letters beyond ASCII: percent-encode them')
  let head = `${method} ${path} HTTP/1.1\r\n`
  if (headers['host'] === undefined) head += `host: ${host}\r\n`
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw unsendable('header', name, 'it must be a name of letters, digits and -')
    if (/^(?:content-length|transfer-encoding|connection|expect)$/i.test(name)) throw unsendable('header', name, 'the driver sets it: leave it out')
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) throw unsendable(`header ${name}`, value, 'it must be one line of Latin-1')
    head += `${name}: ${value}\r\n`
  }
  if (body !== undefined || method !== 'GET') head += `content-length: ${body?.length ?? 0}\r\n`
  head += '\r\n'
  return body === undefined ? Buffer.from(head, 'latin1') : Buffer.concat([Buffer.from(head, 'latin1'), body])
}

function unsendable(what: string, value: string, rule: string): PlatformError {
  return new PlatformError('INPUT_INVALID', `the request's ${what} is ${JSON.stringify(value.slice(0, 80))}: ${rule}`)
}
