/**
 * From an HTTP request to what a function is asked: which one, with what headers, with a body that is whole or streams.
 *
 * `/fn/<namespace>/<name>/rest?query`: the function sees `/rest?query`, as if it had the server to itself.
 */
import type { IncomingMessage } from 'node:http'
import { PlatformError } from '#contract/errors.ts'
import { INLINE_BYTES_MAX } from '#contract/frames.ts'
import { NAME_PATTERN } from '#contract/function-config.ts'
import { isHopByHop } from './http-sink.ts'

export interface FunctionPath {
  readonly namespace: string
  readonly name: string
  /** `/fn/<namespace>/<name>`: the part that the function does not see. */
  readonly prefix: string
  /** Begins with `/`. */
  readonly path: string
}

/**
 * Functions that were addressed before, by a hash of their prefix; a later one takes the place of an earlier one. So the names
 * of most requests need neither checking nor slicing, and are the same strings each time: whoever looks them up is quick.
 */
const knownFunctions: (Omit<FunctionPath, 'path'> | undefined)[] = new Array(256).fill(undefined)

/** @throws NAME_INVALID. */
export function parseFunctionPath(url: string): FunctionPath {
  let hash = 0
  let slashes = 0
  let end = FN.length
  for (; end < url.length; end++) {
    const code = url.charCodeAt(end)
    if (code === QUESTION || (code === SLASH && ++slashes === 2)) break
    hash = (hash * 31 + code) | 0
  }
  const place = hash & (knownFunctions.length - 1)
  let known = knownFunctions[place]
  if (known === undefined || known.prefix.length !== end || !url.startsWith(known.prefix)) knownFunctions[place] = known = splitPrefix(url.slice(0, end))
  const rest = end === url.length ? '/' : url.slice(end)
  return { namespace: known.namespace, name: known.name, prefix: known.prefix, path: rest.charCodeAt(0) === SLASH ? rest : `/${rest}` }
}

function splitPrefix(text: string): Omit<FunctionPath, 'path'> {
  const namespaceEnd = text.indexOf('/', FN.length)
  const namespace = text.slice(FN.length, namespaceEnd < 0 ? undefined : namespaceEnd)
  if (namespaceEnd < 0) throw new PlatformError('NAME_INVALID', `A function's address is /fn/<namespace>/<name>; this one ends after "${clip(namespace)}".`)
  const name = text.slice(namespaceEnd + 1)
  if (!NAME_PATTERN.test(namespace) || !NAME_PATTERN.test(name)) {
    throw new PlatformError(
      'NAME_INVALID',
      `"${clip(namespace)}/${clip(name)}" is no function's name: a name has 1 to 64 letters, digits, "_", "-" or ".", and begins with a letter or digit.`,
    )
  }
  // A string of its own: a slice would keep the whole address it was cut from.
  const prefix = Buffer.from(text, 'latin1').toString('latin1')
  return { namespace: prefix.slice(FN.length, namespaceEnd), name: prefix.slice(namespaceEnd + 1), prefix }
}

/** Lower-case name by name as sent; undefined for those that are not passed on. Names repeat: looking up beats lowering. */
const passedNames = new Map<string, string | undefined>()

/** Headers as the function gets them: as a list, and as the JSON of that list, made once for requests that are alike. */
export interface FunctionHeaders {
  readonly list: readonly string[]
  readonly json: string
}

interface KnownHeaders extends FunctionHeaders {
  readonly sent: readonly string[]
  readonly withoutAuthorization: boolean
  readonly address: string
  readonly prefix: string
}

/** The last few sets of headers. A client sends the same ones again and again: comparing them beats building and encoding. */
const known: KnownHeaders[] = []
const KNOWN_MAX = 8
let nextKnown = 0

/**
 * @param withoutAuthorization The key was for the platform, and the function must not see it.
 * @param prefix The part of the path that the function does not see.
 */
export function functionHeaders(request: IncomingMessage, withoutAuthorization: boolean, prefix: string): FunctionHeaders {
  const sent = request.rawHeaders
  const address = request.socket.remoteAddress ?? ''
  for (const one of known) {
    if (one.withoutAuthorization === withoutAuthorization && one.prefix === prefix && one.address === address && isSame(one.sent, sent)) return one
  }
  const list: string[] = []
  const ownOfConnection = namedByConnection(request.headers.connection)
  for (let index = 0; index < sent.length; index += 2) {
    const asSent = sent[index]!
    let name = passedNames.get(asSent)
    if (name === undefined) {
      if (passedNames.has(asSent)) continue
      name = passedName(asSent)
      if (name === undefined) continue
    }
    if (withoutAuthorization && name === 'authorization') continue
    if (ownOfConnection?.has(name) === true) continue
    list.push(name, sent[index + 1]!)
  }
  list.push('x-forwarded-for', address, 'x-forwarded-prefix', prefix)
  const made: KnownHeaders = { sent, withoutAuthorization, address, prefix, list, json: JSON.stringify(list) }
  known[nextKnown] = made
  nextKnown = (nextKnown + 1) % KNOWN_MAX
  return made
}

/** Headers that the client's Connection header declares to be of this connection only (RFC 9110, 7.6.1). Hardly ever any. */
function namedByConnection(connection: string | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return new Set(connection.split(',').map((name) => name.trim().toLowerCase()))
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  if (one.length !== other.length) return false
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false
  return true
}

function passedName(sent: string): string | undefined {
  const lower = sent.toLowerCase()
  // A client cannot say for itself where it comes from.
  const passed = isHopByHop(lower) || lower === 'x-forwarded-for' || lower === 'x-forwarded-prefix' ? undefined : lower
  // Names are the client's to choose: remember a few hundred, not any number.
  if (passedNames.size < 512) passedNames.set(sent, passed)
  return passed
}

/** How a request's body arrives. `small` ones are collected before the invocation starts, so that one frame carries all. */
export function bodyKind(request: IncomingMessage): 'none' | 'small' | 'stream' {
  const { headers } = request
  const length = headers['content-length']
  if (length === undefined) return headers['transfer-encoding'] === undefined ? 'none' : 'stream'
  if (length === '0') return 'none'
  return Number(length) <= INLINE_BYTES_MAX ? 'small' : 'stream'
}

/**
 * Goes on with the body: none, whole when it is small, or the request itself as a stream.
 * @param gone The client went away before a small body was whole.
 */
export function withBody(request: IncomingMessage, goOn: (body: Buffer | IncomingMessage | undefined) => void, gone: () => void): void {
  const kind = bodyKind(request)
  if (kind !== 'small') return goOn(kind === 'none' ? undefined : request)
  let isWhole = false
  collectBody(request, (body) => {
    isWhole = true
    goOn(body)
  })
  request.on('close', () => {
    if (!isWhole) gone()
  })
}

/** Calls back with the whole body; not at all when the client goes away before. */
export function collectBody(request: IncomingMessage, done: (body: Buffer) => void): void {
  let first: Buffer | undefined
  let more: Buffer[] | undefined
  request.on('data', (chunk: Buffer) => {
    if (first === undefined) first = chunk
    else (more ??= [first]).push(chunk)
  })
  request.on('end', () => done(more === undefined ? (first ?? Buffer.alloc(0)) : Buffer.concat(more)))
}

function clip(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 80)}… (${text.length} characters)`
}

const FN = '/fn/'
const SLASH = 47
const QUESTION = 63
