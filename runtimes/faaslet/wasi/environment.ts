/**
 * The arguments and variables of a WebAssembly function, encoded as WASI wants them.
 *
 * The function's own variables are encoded once per guest; those of the invocation, named as CGI names them (RFC 3875, 4.1)
 * and SKEP_ for what CGI does not know, only when the program asks for its environment.
 */
import type { InitFrame } from '../../../src/contract/frames.ts'
import type { Invocation } from '../../node/invocation.ts'

/** Strings, each as UTF-8 with a null byte at its end. */
export class StringList {
  readonly items: readonly Buffer[]
  readonly bytes: number

  constructor(items: readonly Buffer[]) {
    this.items = items
    this.bytes = items.reduce((sum, item) => sum + item.length, 0)
  }

  static of(texts: readonly string[]): StringList {
    return new StringList(texts.map(encode))
  }

  with(texts: readonly string[]): StringList {
    return new StringList([...this.items, ...texts.map(encode)])
  }
}

export type FunctionFrame = Pick<InitFrame, 'namespace' | 'function' | 'revision' | 'entry' | 'args' | 'environment'>

export function argumentsOf(frame: FunctionFrame): StringList {
  return StringList.of([frame.entry, ...(frame.args ?? [])].map(withoutNull))
}

/** What is the same for all invocations. */
export function environmentOf(frame: FunctionFrame): StringList {
  const all = { HOME: '/tmp', TMPDIR: '/tmp', PWD: '/', ...frame.environment, SKEP_NAMESPACE: frame.namespace, SKEP_FUNCTION: frame.function, SKEP_REVISION: String(frame.revision) }
  return StringList.of(Object.entries(all).map(([name, value]) => withoutNull(`${name}=${value}`)))
}

/** What says which request it is. @param bodyBytes Its body's size, when that is known. */
export function requestVariables({ head }: Invocation, bodyBytes: number | undefined): string[] {
  const url = head.u ?? '/'
  const at = url.indexOf('?')
  const [path, query] = at === -1 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)]
  const variables = new Map([
    ['REQUEST_METHOD', head.m ?? 'POST'],
    ['PATH_INFO', path],
    ['QUERY_STRING', query],
    ['SKEP_METHOD', head.m ?? 'POST'],
    ['SKEP_PATH', path],
    ['SKEP_QUERY', query],
    ['SKEP_INVOCATION_ID', head.i ?? ''],
    ['SKEP_EVENT', head.k === 'event' ? '1' : ''],
  ])
  if (head.k === 'event') variables.set('CONTENT_TYPE', 'application/json')
  if (bodyBytes !== undefined) variables.set('CONTENT_LENGTH', String(bodyBytes))
  if (head.d !== undefined) variables.set('SKEP_DEADLINE_MS', String(head.d))
  if (head.t !== undefined) variables.set('TRACEPARENT', head.t)
  if (head.n !== undefined) variables.set('SKEP_ATTEMPT', String(head.n))
  const headers = head.h ?? []
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]!
    // "proxy" would become HTTP_PROXY, which many programs take for their own setting (httpoxy).
    if (name === 'proxy') continue
    const key = name === 'content-type' ? 'CONTENT_TYPE' : name === 'content-length' ? 'CONTENT_LENGTH' : `HTTP_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`
    variables.set(key, headers[index + 1]!)
  }
  return [...variables].map(([name, value]) => withoutNull(`${name}=${value}`))
}

/** A null byte would end the string early. */
function withoutNull(text: string): string {
  return text.replaceAll('\0', '')
}

function encode(text: string): Buffer {
  return Buffer.from(`${text}\0`)
}
