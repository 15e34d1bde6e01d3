/**
 * Goal: what one side encodes the other decodes, however the channel cuts it; and no bytes from a sandbox, which may be
 * hostile, hang the platform, make it hold more than one frame, or throw anything but PROTOCOL_BROKEN.
 *
 * Method: fast-check makes frames, cuts and bytes. What the decoder holds is not visible from outside, so the bound is
 * tested by its effect: a length over it is refused before its bytes are there.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from './errors.ts'
import { FrameDecoder, FrameFlag, FrameType, HEADER_BYTES, PAYLOAD_BYTES_MAX, encodeFrame, encodeHeadFrame, parseJson, splitHead } from './frames.ts'

interface Decoded {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

function decodeAll(chunks: Iterable<Buffer>): Decoded[] {
  const frames: Decoded[] = []
  const decoder = new FrameDecoder((type, flags, stream, payload) => frames.push({ type, flags, stream, payload: Buffer.from(payload) }))
  for (const chunk of chunks) decoder.push(chunk)
  return frames
}

function cut(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  let at = 0
  for (let index = 0; at < bytes.length; index++) {
    const length = lengths.length === 0 ? bytes.length : lengths[index % lengths.length]!
    // A copy, as the channel hands out: nothing may depend on chunks lying side by side.
    chunks.push(Buffer.from(bytes.subarray(at, at + length)))
    at += length
  }
  return chunks
}

const isBroken = (error: unknown) => error instanceof PlatformError && error.code === 'PROTOCOL_BROKEN'
const frame = fc.record({
  type: fc.constantFrom(...Object.values(FrameType)),
  flags: fc.constantFrom(0, FrameFlag.end),
  stream: fc.nat(0xffff_ffff),
  payload: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.nat(5000).map((length) => new Uint8Array(length).fill(length & 0xff))).map((array) => Buffer.from(array)),
}, { noNullPrototype: true })
const cuts = fc.array(fc.integer({ min: 1, max: 2000 }), { maxLength: 8 })

describe('frames', () => {
  test('come out as they went in, for any cut of the channel', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), cuts, (frames, lengths) => {
        const bytes = Buffer.concat(frames.map(({ type, flags, stream, payload }) => encodeFrame(type, flags, stream, payload)))
        assert.deepEqual(decodeAll(cut(bytes, lengths)), frames)
      }),
      { numRuns: 300 },
    )
  })

  test('come out whole when the channel reads into one buffer again and again', () => {
    const payload = Buffer.from(Array.from({ length: 5000 }, (_, at) => (at * 7) % 251))
    const bytes = encodeFrame(FrameType.data, 0, 2, payload)
    for (const pieceBytes of [1, 500, 1700, 2600]) {
      const buffer = Buffer.alloc(pieceBytes)
      const frames: Buffer[] = []
      const decoder = new FrameDecoder((_type, _flags, _stream, received) => frames.push(Buffer.from(received)))
      for (let at = 0; at < bytes.length; at += pieceBytes) decoder.push(buffer.subarray(0, bytes.copy(buffer, 0, at, Math.min(bytes.length, at + pieceBytes))))
      assert.equal(frames.length, 1)
      assert(frames[0]!.equals(payload), `pieces of ${pieceBytes} bytes`)
    }
  })

  test('come out byte by byte, up to the largest', () => {
    const small = encodeFrame(FrameType.log, 0, 7, 'ünï')
    assert.equal(decodeAll(cut(small, [1]))[0]!.payload.toString(), 'ünï')
    const payload = Buffer.alloc(PAYLOAD_BYTES_MAX, 3)
    assert.equal(decodeAll(cut(encodeFrame(FrameType.data, FrameFlag.end, 2, payload), [65_536]))[0]!.payload.equals(payload), true)
  })

  test('with heads carry the head and the body, whether text or bytes', () => {
    fc.assert(
      fc.property(fc.json(), fc.option(fc.oneof(fc.string({ unit: 'grapheme' }), fc.uint8Array({ maxLength: 300 })), { nil: undefined }), cuts, (head, body, lengths) => {
        const [decoded] = decodeAll(cut(encodeHeadFrame(FrameType.open, 0, 4, head, body), lengths))
        const parts = splitHead<unknown>(decoded!.payload)
        assert.deepEqual(parts.head, JSON.parse(head))
        assert.deepEqual(parts.body, Buffer.from(body ?? ''))
      }),
      { numRuns: 300 },
    )
  })

  test('over the bound are refused on both sides, before the bytes are there (F1)', () => {
    assert.throws(() => encodeFrame(FrameType.data, 0, 1, Buffer.alloc(PAYLOAD_BYTES_MAX + 1)), isBroken)
    for (const length of [PAYLOAD_BYTES_MAX + 1, 0xffff_ffff]) {
      const header = Buffer.alloc(HEADER_BYTES)
      header.writeUInt32LE(length, 0)
      for (const lengths of [[HEADER_BYTES], [1], [5, 7]]) assert.throws(() => decodeAll(cut(header, lengths)), isBroken)
    }
  })

  test('of any bytes end: each is a frame within the bound, or the channel is broken (fuzz)', () => {
    const length = fc.oneof(fc.nat(60), fc.constantFrom(PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1, 0xffff_ffff))
    const piece = fc.oneof(fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array)), length.map((value) => {
      const header = Buffer.alloc(HEADER_BYTES)
      header.writeUInt32LE(value, 0)
      return header
    }))
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), cuts, (pieces, lengths) => {
        const bytes = Buffer.concat(pieces)
        try {
          let total = 0
          for (const { payload } of decodeAll(cut(bytes, lengths))) {
            assert(payload.length <= PAYLOAD_BYTES_MAX)
            total += HEADER_BYTES + payload.length
          }
          assert(total <= bytes.length)
        } catch (error) {
          assert(isBroken(error), String(error))
        }
      }),
      { numRuns: 500 },
    )
  })

  test('with any payload give a head or PROTOCOL_BROKEN (fuzz)', () => {
    const payload = fc.oneof(fc.uint8Array({ maxLength: 80 }), fc.json().map((text) => {
      const bytes = Buffer.from(`....${text}`)
      bytes.writeUInt32LE(bytes.length - 4, 0)
      return bytes
    }))
    fc.assert(
      fc.property(payload, (bytes) => {
        try {
          const { body } = splitHead<unknown>(Buffer.from(bytes))
          assert(body.length <= bytes.length - 4)
        } catch (error) {
          assert(isBroken(error), String(error))
        }
      }),
      { numRuns: 500 },
    )
    assert.throws(() => parseJson('{'), isBroken)
  })

  test('in tiny chunks take time in proportion to their bytes', () => {
    const bytes = encodeFrame(FrameType.data, 0, 1, Buffer.alloc(PAYLOAD_BYTES_MAX))
    let received = 0
    const decoder = new FrameDecoder((_type, _flags, _stream, payload) => (received += payload.length))
    for (let at = 0; at < bytes.length; at += 16) decoder.push(bytes.subarray(at, at + 16))
    assert.equal(received, PAYLOAD_BYTES_MAX)
  })
})
