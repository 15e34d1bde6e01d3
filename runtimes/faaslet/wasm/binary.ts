/**
 * Reads and writes the bytes of the WebAssembly binary format: LEB128 numbers, names, and counted lists.
 *
 * The reader is strict and bounded: it never reads past its end, a number has at most the bytes that its width allows, and
 * a count is never larger than the bytes that are left, so that no input makes it allocate more than the input's own size.
 *
 * Source: WebAssembly Core Specification 2.0, chapter 5 (binary format), 5.2.2 for LEB128, 5.2.4 for names.
 */
import { PlatformError } from '../../../src/contract/errors.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

/** A module that cannot be taken, with the reason and, where it has one, the byte at which it shows. */
export function invalid(what: string, at?: number): PlatformError {
  return new PlatformError('CODE_INVALID', `The WebAssembly module cannot be used: ${what}${at === undefined ? '' : ` (byte ${at})`}.`, at === undefined ? {} : { details: { at } })
}

export class ByteReader {
  readonly bytes: Uint8Array
  readonly end: number
  at: number

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = start
    this.end = end
  }

  get left(): number {
    return this.end - this.at
  }

  get isAtEnd(): boolean {
    return this.at >= this.end
  }

  /** @throws CODE_INVALID at the end. */
  u8(): number {
    if (this.at >= this.end) throw this.invalid('it ends too early')
    return this.bytes[this.at++]!
  }

  /** An unsigned LEB128 of 32 bits: five bytes at most. */
  u32(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8()
      if (shift === 28 && byte > 0x0f) break
      // Not `<<`: the last group would become negative.
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw this.invalid('a number has more than 32 bits')
  }

  /** Skips a signed LEB128 of at most `bits` bits. */
  skipSigned(bits: 32 | 33 | 64): void {
    for (let read = 0; read < Math.ceil(bits / 7); read++) if (this.u8() < 0x80) return
    throw this.invalid(`a number has more than ${bits} bits`)
  }

  /** How many entries follow, each of at least `bytesMin` bytes. */
  count(bytesMin = 1): number {
    const at = this.at
    const count = this.u32()
    if (count * bytesMin > this.left) throw invalid(`it announces ${count} entries in the ${this.left} bytes that are left`, at)
    return count
  }

  skip(bytes: number): void {
    if (bytes > this.left) throw this.invalid(`it announces ${bytes} bytes and has ${this.left}`)
    this.at += bytes
  }

  /** A UTF-8 name. */
  name(): string {
    const length = this.u32()
    const start = this.at
    this.skip(length)
    try {
      return decoder.decode(this.bytes.subarray(start, this.at))
    } catch {
      throw invalid('a name is not UTF-8', start)
    }
  }

  /** A reader of the next `bytes` bytes, which this one skips. */
  part(bytes: number): ByteReader {
    const start = this.at
    this.skip(bytes)
    return new ByteReader(this.bytes, start, this.at)
  }

  invalid(what: string): PlatformError {
    return invalid(what, this.at)
  }
}

/** Collects bytes; parts of the original are kept as views until `toBytes`. */
export class ByteWriter {
  readonly #parts: Uint8Array[] = []
  #loose: number[] = []
  #length = 0

  get length(): number {
    return this.#length + this.#loose.length
  }

  u8(byte: number): this {
    this.#loose.push(byte)
    return this
  }

  u32(value: number): this {
    while (value >= 0x80) {
      this.#loose.push((value % 0x80) | 0x80)
      value = Math.floor(value / 0x80)
    }
    this.#loose.push(value)
    return this
  }

  name(text: string): this {
    const bytes = encoder.encode(text)
    return this.u32(bytes.length).bytes(bytes)
  }

  bytes(bytes: Uint8Array): this {
    this.#settle()
    this.#parts.push(bytes)
    this.#length += bytes.length
    return this
  }

  /** A section: its id, its length, its content. */
  section(id: number, content: ByteWriter): this {
    return this.u8(id).u32(content.length).bytes(content.toBytes())
  }

  toBytes(): Uint8Array<ArrayBuffer> {
    this.#settle()
    const bytes = new Uint8Array(this.#length)
    let at = 0
    for (const part of this.#parts) {
      bytes.set(part, at)
      at += part.length
    }
    return bytes
  }

  #settle(): void {
    if (this.#loose.length === 0) return
    this.#parts.push(Uint8Array.from(this.#loose))
    this.#length += this.#loose.length
    this.#loose = []
  }
}
