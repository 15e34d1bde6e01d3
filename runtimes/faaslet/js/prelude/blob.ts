/**
 * Blob and File: bytes in memory with a type.
 *
 * Source: File API, sections 3 and 4.
 */
import { concat } from './bytes.ts'
import { decodeUtf8, encodeUtf8, plain } from './host.ts'
import { ReadableStream } from './readable.ts'

let bytesOf: (blob: Blob) => Uint8Array<ArrayBuffer>

export class Blob {
  readonly #bytes: Uint8Array<ArrayBuffer>
  readonly #type: string

  static {
    bytesOf = (blob) => blob.#bytes
  }

  constructor(parts: Iterable<unknown> = [], { type = '' }: BlobPropertyBag = {}) {
    if (typeof parts !== 'object' || parts === null || typeof parts[Symbol.iterator] !== 'function') throw new TypeError('The "sources" argument must be a sequence')
    const chunks: Uint8Array<ArrayBuffer>[] = []
    for (const part of parts) {
      if (part instanceof Blob) chunks.push(part.#bytes)
      else if (part instanceof ArrayBuffer) chunks.push(new Uint8Array(part))
      else if (ArrayBuffer.isView(part)) chunks.push(plain(part))
      else chunks.push(encodeUtf8(String(part)))
    }
    // A copy, also of a single part: what it came from may change.
    this.#bytes = concat([new Uint8Array(0), ...chunks])
    const text = String(type)
    this.#type = /[^\x20-\x7e]/.test(text) ? '' : text.toLowerCase()
  }

  get size(): number {
    return this.#bytes.length
  }

  get type(): string {
    return this.#type
  }

  slice(start = 0, end = this.size, type = ''): Blob {
    return new Blob([this.#bytes.slice(start, end)], { type })
  }

  async text(): Promise<string> {
    const text = decodeUtf8(this.#bytes)
    return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return this.#bytes.slice().buffer
  }

  async bytes(): Promise<Uint8Array> {
    return this.#bytes.slice()
  }

  stream(): ReadableStream<Uint8Array> {
    return ReadableStream.from<Uint8Array>(this.#bytes.length === 0 ? [] : [this.#bytes.slice()])
  }

  get [Symbol.toStringTag](): string {
    return 'Blob'
  }
}

export class File extends Blob {
  readonly name: string
  readonly lastModified: number

  constructor(parts: Iterable<unknown>, name: string, options: FilePropertyBag = {}) {
    super(parts, options)
    this.name = String(name)
    this.lastModified = options.lastModified ?? Date.now()
  }

  override get [Symbol.toStringTag](): string {
    return 'File'
  }
}

/** Not a copy. */
export function blobBytes(blob: Blob): Uint8Array<ArrayBuffer> {
  return bytesOf(blob)
}
