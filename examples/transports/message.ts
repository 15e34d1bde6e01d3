/**
 * What one function sends another: fields, and objects or handles of objects.
 *
 *   0        4        8              8 + header, padded to 8
 *   ├────────┼────────┼──────────────┼───────────────┬───────────────┬──
 *   │ "SKM1" │ header │ JSON, spaces │ object 0      │ object 1      │ …   each padded to a multiple of 8
 *   └────────┴────────┴──────────────┴───────────────┴───────────────┴──
 *     header: length of the JSON with its padding, little-endian. JSON: {"f": fields, "o": [handle or length, …]}
 *
 * A handle (a reference, a key of a storage) is text and stands in the JSON; an object that travels inline is its bytes. Both sides read the same
 * message, so a function does not know which it was.
 *
 * Invariants:
 *   M1. Objects begin at multiples of 8 of the message, so that numbers in them are read where they are.
 *   M2. Bytes that are no message are refused, and nothing outside of them is read.
 */

/** Names an object that is elsewhere, or is the object. */
export type Handle = string | Uint8Array

export interface Message<Fields = unknown> {
  readonly fields: Fields
  readonly objects: readonly Handle[]
}

export class MessageError extends Error {}

const MAGIC = Buffer.from('SKM1')

/** @param allocate Where the message is made, when it is to be put: memory of the transport. */
export function encodeMessage({ fields, objects }: Message, allocate: (bytes: number) => Buffer = Buffer.allocUnsafe): Buffer<ArrayBuffer> {
  const text = JSON.stringify({ f: fields, o: objects.map((one) => (typeof one === 'string' ? one : one.length)) })
  const headerBytes = padded(Buffer.byteLength(text))
  const message = allocate(objects.reduce((sum, one) => sum + (typeof one === 'string' ? 0 : padded(one.length)), 8 + headerBytes)) as Buffer<ArrayBuffer>
  message.set(MAGIC, 0)
  message.writeUInt32LE(headerBytes, 4)
  message.fill(' ', 8, 8 + headerBytes)
  message.write(text, 8)
  let at = 8 + headerBytes
  for (const one of objects) {
    if (typeof one === 'string') continue
    message.set(one, at)
    message.fill(0, at + one.length, at + padded(one.length))
    at += padded(one.length)
  }
  return message
}

/** The objects are views of `bytes`. @throws MessageError */
export function decodeMessage<Fields = unknown>(bytes: Uint8Array): Message<Fields> {
  const message = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (message.length < 8 || !message.subarray(0, 4).equals(MAGIC)) throw new MessageError(`These ${message.length} bytes are no message: they do not begin with SKM1.`)
  const headerBytes = message.readUInt32LE(4)
  if (headerBytes % 8 !== 0 || 8 + headerBytes > message.length) throw new MessageError(`A message of ${message.length} bytes cannot have a header of ${headerBytes}.`)
  const { f, o } = parseHeader(message.toString('utf8', 8, 8 + headerBytes))
  const objects: Handle[] = []
  let at = 8 + headerBytes
  for (const one of o) {
    if (typeof one === 'number') {
      if (at + padded(one) > message.length) throw new MessageError(`An object of ${one} bytes at ${at} is not within the ${message.length} of its message.`)
      objects.push(message.subarray(at, at + one))
      at += padded(one)
    } else objects.push(one)
  }
  return { fields: f as Fields, objects }
}

function parseHeader(text: string): { f: unknown; o: readonly (string | number)[] } {
  let header: unknown
  try {
    header = JSON.parse(text)
  } catch (cause) {
    throw new MessageError(`The header of a message is no JSON: ${(cause as Error).message}.`, { cause })
  }
  const { f, o } = (header ?? {}) as { f?: unknown; o?: unknown }
  if (!Array.isArray(o) || !o.every((one) => typeof one === 'string' || (Number.isSafeInteger(one) && one >= 0))) throw new MessageError('The header of a message does not list its objects.')
  return { f, o: o as (string | number)[] }
}

function padded(bytes: number): number {
  return Math.ceil(bytes / 8) * 8
}

/** Numbers where they are, or a copy of them when they do not lie at a multiple of 8 of their memory. @throws MessageError */
export function float64s(bytes: Uint8Array): Float64Array {
  if (bytes.byteLength % 8 !== 0) throw new MessageError(`${bytes.byteLength} bytes are no array of 64-bit numbers.`)
  const from = bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes)
  return new Float64Array(from.buffer, from.byteOffset, from.byteLength / 8)
}

export function bytesOf(numbers: Float64Array): Buffer {
  return Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength)
}
