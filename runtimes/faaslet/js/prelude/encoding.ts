/**
 * TextEncoder and TextDecoder, and their streams. UTF-8 only: the host does the work on the guest's own memory.
 *
 * Source: Encoding standard, sections 7.2 to 7.6.
 */
import { HostOp } from '../ops.ts'
import { concat } from './bytes.ts'
import { decodeUtf8, encodeUtf8, host, plain } from './host.ts'
import { TransformStream } from './transform.ts'

const LABELS = new Set(['utf-8', 'utf8', 'unicode-1-1-utf-8', 'unicode11utf8', 'unicode20utf8', 'x-unicode20utf8'])

export class TextEncoder {
  get encoding(): string {
    return 'utf-8'
  }

  encode(text: unknown = ''): Uint8Array<ArrayBuffer> {
    return encodeUtf8(String(text))
  }

  encodeInto(text: unknown, into: Uint8Array): { read: number; written: number } {
    let read = 0
    let written = 0
    for (const character of String(text)) {
      const bytes = encodeUtf8(character)
      if (written + bytes.length > into.length) break
      into.set(bytes, written)
      written += bytes.length
      read += character.length
    }
    return { read, written }
  }
}

export class TextDecoder {
  readonly encoding = 'utf-8'
  readonly fatal: boolean
  readonly ignoreBOM: boolean
  /** The beginning of a character whose rest comes with the next chunk. */
  #rest: Uint8Array<ArrayBuffer> | undefined
  #isBegun = false

  constructor(label: unknown = 'utf-8', options: TextDecoderOptions = {}) {
    if (!LABELS.has(String(label).trim().toLowerCase())) {
      throw new RangeError(`The "${String(label)}" encoding is not supported: kind js decodes UTF-8. Deploy with kind node for others.`)
    }
    this.fatal = options.fatal === true
    this.ignoreBOM = options.ignoreBOM === true
  }

  decode(input?: ArrayBuffer | ArrayBufferView, { stream = false }: TextDecodeOptions = {}): string {
    let bytes = input === undefined ? new Uint8Array(0) : ArrayBuffer.isView(input) ? plain(input) : new Uint8Array(input)
    if (this.#rest !== undefined) bytes = concat([this.#rest, bytes])
    this.#rest = undefined
    if (stream) {
      const complete = bytes.length - unfinished(bytes)
      if (complete < bytes.length) this.#rest = bytes.slice(complete)
      bytes = bytes.subarray(0, complete)
    }
    if (this.fatal && bytes.length > 0 && host(HostOp.isUtf8, bytes) === 0) {
      this.#isBegun = false
      throw Object.assign(new TypeError('The encoded data was not valid for encoding utf-8'), { code: 'ERR_ENCODING_INVALID_ENCODED_DATA' })
    }
    const text = decodeUtf8(bytes)
    const hasMark = !this.#isBegun && !this.ignoreBOM && text.charCodeAt(0) === 0xfeff
    this.#isBegun = stream && (this.#isBegun || text !== '')
    return hasMark ? text.slice(1) : text
  }
}

/** How many bytes at the end begin a character that may still become complete. */
function unfinished(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!
    if (byte < 0x80) return 0
    if (byte < 0xc0) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
    return back < length ? back : 0
  }
  return 0
}

export class TextEncoderStream extends TransformStream<string, Uint8Array> {
  readonly encoding = 'utf-8'

  constructor() {
    super({ transform: (text, controller) => controller.enqueue(encodeUtf8(String(text))) })
  }
}

export class TextDecoderStream extends TransformStream<Uint8Array, string> {
  readonly encoding = 'utf-8'

  constructor(label?: string, options?: TextDecoderOptions) {
    const decoder = new TextDecoder(label, options)
    super({
      transform(bytes, controller) {
        const text = decoder.decode(bytes, { stream: true })
        if (text !== '') controller.enqueue(text)
      },
      flush(controller) {
        const text = decoder.decode()
        if (text !== '') controller.enqueue(text)
      },
    })
  }
}
