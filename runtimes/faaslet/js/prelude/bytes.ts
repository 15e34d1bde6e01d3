/**
 * What the shared files of runtimes/node need of Node's Buffer, and no more. User code does not see it.
 */
import { decodeUtf8, encodeUtf8, plain } from './host.ts'

export class Bytes extends Uint8Array<ArrayBuffer> {
  /** The same memory. */
  static over(bytes: Uint8Array): Bytes {
    return bytes instanceof Bytes ? bytes : new Bytes(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length)
  }

  static override from(source: unknown, encoding?: unknown): Bytes {
    if (typeof source !== 'string') return Bytes.over(new Uint8Array(source as ArrayLike<number>))
    return Bytes.over(encoding === 'base64' ? fromBase64(source) : encodeUtf8(source))
  }

  override toString(encoding = 'utf8', start = 0, end = this.length): string {
    const bytes = plain(new Uint8Array(this.buffer, this.byteOffset + start, Math.max(0, Math.min(end, this.length) - start)))
    return encoding === 'base64' ? toBase64(bytes) : decodeUtf8(bytes)
  }

  equals(other: Uint8Array): boolean {
    return this.length === other.length && this.every((byte, index) => byte === other[index])
  }
}

export { Bytes as Buffer }

export function concat(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  if (chunks.length === 1) return chunks[0]! as Uint8Array<ArrayBuffer>
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}

/** As lenient as Node's: anything that is no digit of base64 is skipped, and "=" ends it. */
function fromBase64(text: string): Uint8Array {
  const end = text.indexOf('=')
  const digits = (end === -1 ? text : text.slice(0, end)).replace(/[^A-Za-z0-9+/_-]/g, '').replace(/-/g, '+').replace(/_/g, '/')
  return Uint8Array.fromBase64(digits.length % 4 === 1 ? digits.slice(0, -1) : digits)
}

function toBase64(bytes: Uint8Array): string {
  return bytes.toBase64()
}
