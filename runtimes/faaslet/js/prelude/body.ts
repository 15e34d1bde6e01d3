/**
 * What Request and Response have in common: a body that is read once.
 *
 * Text, JSON and bytes of a body that is here are given without a stream; a stream is made when somebody asks for it.
 *
 * Source: Fetch standard, section 5.3 (Body mixin) and "extract a body".
 *
 * Invariants:
 *   Y1. The content is taken at most once: by a reader of the stream, or by one of the methods.
 */
import { Blob, blobBytes } from './blob.ts'
import { Bytes, concat } from './bytes.ts'
import { encodeMultipart, FormData, parseMultipart } from './form-data.ts'
import { decodeUtf8, encodeUtf8, plain } from './host.ts'
import { IncomingBody } from './incoming.ts'
import { ReadableStream } from './readable.ts'
import { pairsOf, URLSearchParams } from './url-search-params.ts'

export type Content = string | Uint8Array<ArrayBuffer> | IncomingBody | ReadableStream<Uint8Array> | null

export const TEXT_TYPE = 'text/plain;charset=UTF-8'

/** The content of a body that user code gives, and the type that goes with it. */
export function contentOf(body: unknown): { readonly content: Content; readonly type?: string } {
  if (body === null || body === undefined) return { content: null }
  if (typeof body === 'string') return { content: body, type: TEXT_TYPE }
  if (typeof body === 'object') {
    if (body instanceof Uint8Array) return { content: body.slice() as Uint8Array<ArrayBuffer> }
    if (body instanceof ReadableStream) {
      if (body.locked || isDisturbed(body as ReadableStream<Uint8Array>)) throw new TypeError('Response body object should not be disturbed or locked')
      return { content: body as ReadableStream<Uint8Array> }
    }
    if (body instanceof IncomingBody) return { content: body }
    if (body instanceof URLSearchParams) return { content: body.toString(), type: 'application/x-www-form-urlencoded;charset=UTF-8' }
    if (body instanceof Blob) return { content: blobBytes(body), ...(body.type !== '' && { type: body.type }) }
    if (body instanceof ArrayBuffer) return { content: new Uint8Array(body.slice(0)) }
    if (ArrayBuffer.isView(body)) return { content: plain(body).slice() }
    if (body instanceof FormData) {
      const { bytes, type } = encodeMultipart(body)
      return { content: bytes, type }
    }
    if (typeof (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator] === 'function') return { content: ReadableStream.from(body as AsyncIterable<Uint8Array>) }
  }
  return { content: `${body as string}`, type: TEXT_TYPE }
}

export abstract class Body {
  #content: Content
  #stream: ReadableStream<Uint8Array> | undefined
  #wasTaken = false

  constructor(content: Content) {
    this.#content = content
  }

  abstract get headers(): { get(name: string): string | null }

  get body(): ReadableStream<Uint8Array> | null {
    if (this.#stream !== undefined) return this.#stream
    if (this.isNull) return null
    const content = this.#content!
    if (content instanceof ReadableStream) this.#stream = content
    else if (this.#wasTaken) {
      this.#stream = new ReadableStream<Uint8Array>({ start: (controller) => controller.close() })
      void this.#stream.getReader().read()
    } else if (content instanceof IncomingBody) this.#stream = content.stream()
    else this.#stream = oneChunk(typeof content === 'string' ? encodeUtf8(content) : content)
    return this.#stream
  }

  get bodyUsed(): boolean {
    return this.#wasTaken || (this.#stream !== undefined ? isDisturbed(this.#stream) : this.#content instanceof ReadableStream && isDisturbed(this.#content))
  }

  async text(): Promise<string> {
    const content = this.#content
    if (typeof content === 'string' && this.#stream === undefined) {
      this.#take()
      return content.charCodeAt(0) === 0xfeff ? content.slice(1) : content.toWellFormed()
    }
    const text = decodeUtf8(await this.#all())
    return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text()) as unknown
  }

  async bytes(): Promise<Uint8Array> {
    return owned(await this.#all())
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return owned(await this.#all()).buffer
  }

  async blob(): Promise<Blob> {
    return new Blob([await this.#all()], { type: this.headers.get('content-type') ?? '' })
  }

  async formData(): Promise<FormData> {
    const type = this.headers.get('content-type') ?? ''
    const media = type.split(';', 1)[0]!.trim().toLowerCase()
    if (media === 'multipart/form-data') return parseMultipart(plain(await this.#all()), type)
    if (media !== 'application/x-www-form-urlencoded') throw new TypeError('Content-Type was not one of "multipart/form-data" or "application/x-www-form-urlencoded".')
    const form = new FormData()
    for (const [name, value] of pairsOf(new URLSearchParams(await this.text()))) form.append(name, value)
    return form
  }

  /** Whether there is no body at all. A request's of no bytes cannot be told from none. */
  protected get isNull(): boolean {
    const content = this.#content
    return content === null || (content instanceof IncomingBody && content.isComplete && !content.hasBytes && !content.wasRead)
  }

  /** Takes the content over to another Request or to the host. @throws TypeError when it was used. */
  protected release(): Content {
    if (this.isNull) return null
    if (this.bodyUsed || this.#stream?.locked === true) throw new TypeError('Cannot construct a Request with a Request object that has already been used.')
    const content = this.#stream ?? this.#content
    this.#wasTaken = true
    if (content instanceof IncomingBody && content.isComplete) return content.takeAll()
    return content
  }

  /** The content for a copy; both can be read from now on. @throws TypeError when it was used. */
  protected share(): Content {
    if (this.isNull) return null
    if (this.bodyUsed || this.#stream?.locked === true) throw new TypeError('Response.clone: Body has already been consumed.')
    const content = this.#content
    if (this.#stream === undefined) {
      if (typeof content === 'string' || content instanceof Uint8Array) return content
      if (content instanceof IncomingBody && content.isComplete) return (this.#content = content.takeAll())
    }
    const [one, other] = this.body!.tee()
    this.#content = this.#stream = one
    return other
  }

  /** What the host can send as it is, or a stream. Undefined when it was used. */
  protected get sendable(): string | Uint8Array | ReadableStream<Uint8Array> | null | undefined {
    if (this.isNull) return null
    if (this.bodyUsed || this.#stream?.locked === true) return undefined
    return this.#stream ?? (this.#content instanceof IncomingBody ? this.body! : this.#content)
  }

  #take(): void {
    if (this.bodyUsed) throw new TypeError('Body is unusable: Body has already been read')
    this.#wasTaken = true
  }

  async #all(): Promise<Uint8Array> {
    if (this.isNull) return new Uint8Array(0)
    if (this.bodyUsed || this.#stream?.locked === true) throw new TypeError('Body is unusable: Body has already been read')
    const content = this.#stream ?? this.#content!
    this.#wasTaken = true
    if (typeof content === 'string') return encodeUtf8(content)
    if (content instanceof Uint8Array) return content
    if (content instanceof IncomingBody) return content.readAll()
    const chunks: Uint8Array[] = []
    for await (const chunk of content) {
      if (!(chunk instanceof Uint8Array)) throw new TypeError('Received non-Uint8Array chunk')
      chunks.push(chunk)
    }
    return concat(chunks)
  }
}

/** Bytes that are nobody else's, in a buffer of their own. */
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (!(bytes instanceof Bytes)) return bytes.slice() as Uint8Array<ArrayBuffer>
  return bytes.length === bytes.buffer.byteLength ? new Uint8Array(bytes.buffer) : new Uint8Array(bytes)
}

function oneChunk(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    type: 'bytes',
    pull(controller) {
      if (bytes.length > 0) controller.enqueue(bytes)
      controller.close()
    },
  })
}

function isDisturbed(stream: ReadableStream<Uint8Array>): boolean {
  return ReadableStream.isDisturbed(stream as unknown as ReadableStream<never>)
}
