/**
 * Decodes `aws-chunked`: how S3 clients send a body whose checksum, or whose signature, they know only at its end.
 *
 *   10000;chunk-signature=<hex>⏎      size in hex; the signature only where the body is signed chunk by chunk
 *   <65536 bytes>⏎
 *   0;chunk-signature=<hex>⏎
 *   x-amz-checksum-crc32:<base64>⏎    trailers, if any
 *   x-amz-trailer-signature:<hex>⏎    where it is signed
 *   ⏎
 *
 * Each signature covers the one before and its chunk (AWS, "Signature calculations for streaming"). Bytes are handed on before
 * their chunk's signature is known to be right: who takes them keeps nothing before the end, and it throws when one is wrong.
 *
 * Invariants:
 *   D1. It ends without an error exactly when `bytes` bytes have come, whole, with every signature right.
 *   D2. It holds no more than a line: LINE_BYTES_MAX.
 */
import { createHash } from 'node:crypto'
import type { Hash } from 'node:crypto'
import { S3Error } from './errors.ts'
import { EMPTY_SHA256, sameSignature, scopeText, sha256, sign } from './signature.ts'
import type { Scope } from './signature.ts'

export interface ChunkSigning {
  readonly key: Buffer
  readonly scope: Scope
  readonly time: string
  /** Of the request itself: the first link of the chain. */
  readonly signature: string
}

export interface ChunkOptions {
  /** Of the decoded body. */
  readonly bytes: number
  /** Absent: chunks are not signed. */
  readonly signing?: ChunkSigning
  /** Whether the signature of the trailers must come. */
  readonly signedTrailer: boolean
  readonly trailer: (name: string, value: string) => void
}

const LINE_BYTES_MAX = 4096
const TRAILERS_MAX = 16

type State = { readonly at: 'size' } | { readonly at: 'data'; left: number } | { readonly at: 'data-end' } | { readonly at: 'trailer' } | { readonly at: 'end' }

/** @throws S3Error IncompleteBody, InvalidRequest, SignatureDoesNotMatch; what the source throws. */
export async function* decodeChunks(source: AsyncIterable<Uint8Array>, options: ChunkOptions): AsyncGenerator<Buffer> {
  const chain = options.signing === undefined ? undefined : new Chain(options.signing)
  const now: { state: State } = { state: { at: 'size' } }
  let line = ''
  let decoded = 0
  const trailers: string[] = []
  let trailerSignature: string | undefined

  const endOfLine = (text: string): void => {
    if (now.state.at === 'size') {
      const { size, signature } = parseChunkHeader(text)
      if (decoded + size > options.bytes) throw new S3Error('IncompleteBody', `The body has more than the ${options.bytes} bytes that x-amz-decoded-content-length says.`)
      decoded += size
      chain?.begin(signature)
      if (size > 0) now.state = { at: 'data', left: size }
      else {
        chain?.end()
        now.state = { at: 'trailer' }
      }
    } else if (now.state.at === 'data-end') {
      if (text !== '') throw malformed('bytes stand between a chunk and the end of its line')
      now.state = { at: 'size' }
    } else if (text === '') {
      now.state = { at: 'end' }
    } else {
      const colon = text.indexOf(':')
      if (colon < 1 || trailers.length === TRAILERS_MAX) throw malformed(`a trailer is "name:value", and there are at most ${TRAILERS_MAX}`)
      const name = text.slice(0, colon).trim().toLowerCase()
      const value = text.slice(colon + 1).trim()
      if (name === 'x-amz-trailer-signature') trailerSignature = value
      else {
        trailers.push(`${name}:${value}\n`)
        options.trailer(name, value)
      }
    }
  }

  for await (const piece of source) {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    for (let at = 0; at < bytes.length; ) {
      if (now.state.at === 'end') throw malformed('bytes follow its end')
      const { state } = now
      if (state.at === 'data') {
        const data = bytes.subarray(at, at + state.left)
        at += data.length
        state.left -= data.length
        chain?.update(data)
        if (state.left === 0) {
          chain?.end()
          now.state = { at: 'data-end' }
        }
        yield data
        continue
      }
      const feed = bytes.indexOf(0x0a, at)
      const until = feed === -1 ? bytes.length : feed
      if (line.length + until - at > LINE_BYTES_MAX) throw malformed(`a line has more than ${LINE_BYTES_MAX} bytes`)
      line += bytes.toString('latin1', at, until)
      at = until + 1
      if (feed === -1) break
      if (!line.endsWith('\r')) throw malformed('a line does not end with CR LF')
      const text = line.slice(0, -1)
      line = ''
      endOfLine(text)
    }
  }
  // Some clients leave the last empty line out.
  const isWhole = now.state.at === 'end' || (now.state.at === 'trailer' && line === '')
  if (!isWhole || decoded !== options.bytes) throw new S3Error('IncompleteBody', `The body ended after ${decoded} of ${options.bytes} bytes (x-amz-decoded-content-length).`)
  if (options.signedTrailer) chain?.endTrailer(trailers.join(''), trailerSignature)
}

function parseChunkHeader(text: string): { readonly size: number; readonly signature: string | undefined } {
  const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(text)
  if (match === null) throw malformed('a chunk begins with its size in hex, and its signature')
  return { size: Number.parseInt(match[1]!, 16), signature: match[2] }
}

/** The chain of signatures. */
class Chain {
  readonly #signing: ChunkSigning
  #previous: string
  #expected: string | undefined
  #hash: Hash | undefined

  constructor(signing: ChunkSigning) {
    this.#signing = signing
    this.#previous = signing.signature
  }

  begin(signature: string | undefined): void {
    if (signature === undefined) throw malformed('a chunk has no signature')
    this.#expected = signature
    this.#hash = createHash('sha256')
  }

  update(data: Buffer): void {
    this.#hash!.update(data)
  }

  end(): void {
    const { key, time, scope } = this.#signing
    const text = `AWS4-HMAC-SHA256-PAYLOAD\n${time}\n${scopeText(scope)}\n${this.#previous}\n${EMPTY_SHA256}\n${this.#hash!.digest('hex')}`
    this.#next(sign(key, text), this.#expected!)
  }

  endTrailer(trailers: string, signature: string | undefined): void {
    const { key, time, scope } = this.#signing
    this.#next(sign(key, `AWS4-HMAC-SHA256-TRAILER\n${time}\n${scopeText(scope)}\n${this.#previous}\n${sha256(trailers)}`), signature ?? '')
  }

  #next(right: string, sent: string): void {
    if (!sameSignature(right, sent)) throw new S3Error('SignatureDoesNotMatch', 'The signature of a chunk does not fit its bytes. Nothing was kept; send it again.')
    this.#previous = right
  }
}

function malformed(why: string): S3Error {
  return new S3Error('InvalidRequest', `The aws-chunked body is malformed: ${why}.`)
}
