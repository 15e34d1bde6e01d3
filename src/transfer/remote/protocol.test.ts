/**
 * Goal: frames are the same however they arrive, and what is not a frame never does more than end its connection (P1, P2).
 * Method: fast-check makes frames, cuts their bytes anywhere, damages them; each counterexample is repeated by its seed.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { answerFrame, CONTROL_BYTES_MAX, creditFrame, DATA_BYTES_MAX, errorFrame, frame, FrameParser, HEADER_BYTES, kinds, parseAnswer, parseError, requestFrame, writeHeader } from './protocol.ts'
import type { FrameSink } from './protocol.ts'
import { feed } from './read-frames.ts'

interface Seen {
  readonly kind: number
  readonly request: number
  readonly payload: string
}

/** Notes whole frames, and holds the parser to its word about places. */
class NotingSink implements FrameSink {
  readonly seen: Seen[] = []
  #data: Buffer = Buffer.alloc(0)
  #filled = 0
  readonly #placeBytes: number

  constructor(placeBytes: number) {
    this.#placeBytes = placeBytes
  }

  control(kind: number, request: number, payload: Buffer): void {
    assert.ok(payload.length <= CONTROL_BYTES_MAX)
    this.seen.push({ kind, request, payload: payload.toString('hex') })
  }

  dataBegins(_request: number, length: number): void {
    // What the streams do: no more than there is credit for, so that nobody reserves what a stranger asks for.
    if (length > 1000) throw new PlatformError('PROTOCOL_BROKEN', 'more than its credit')
    this.#data = Buffer.alloc(length)
    this.#filled = 0
  }

  dataPlace(_request: number, left: number): Buffer {
    assert.equal(left, this.#data.length - this.#filled)
    return this.#data.subarray(this.#filled, this.#filled + this.#placeBytes)
  }

  dataCame(request: number, count: number, left: number): void {
    assert.ok(count > 0 && count <= this.#placeBytes)
    this.#filled += count
    assert.equal(left, this.#data.length - this.#filled)
    if (left === 0) this.seen.push({ kind: kinds.data, request, payload: this.#data.toString('hex') })
  }
}

const requests = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const anyFrame = fc.oneof(
  fc.tuple(fc.constantFrom(kinds.pull, kinds.lease), requests, requests, fc.stringMatching(/^[\w.-]{1,100}$/)).map(([kind, request, window, id]) => requestFrame(kind, request, window, id)),
  fc.tuple(requests, requests).map(([request, bytes]) => creditFrame(request, bytes)),
  fc.tuple(fc.constantFrom(kinds.cancel, kinds.done, kinds.failed, kinds.ended), requests).map(([kind, request]) => frame(kind, request)),
  fc.tuple(requests, fc.maxSafeNat()).map(([request, bytes]) => answerFrame(request, bytes)),
  fc.tuple(requests, fc.string({ maxLength: 200 })).map(([request, message]) => errorFrame(request, new PlatformError('OBJECT_LOST', message))),
  fc.tuple(requests, fc.uint8Array({ minLength: 1, maxLength: 1000 })).map(([request, bytes]) => dataFrame(request, bytes)),
)

describe('frames between workers', () => {
  it('are the same however their bytes arrive (P1)', () => {
    fc.assert(fc.property(fc.array(anyFrame, { maxLength: 12 }), fc.infiniteStream(fc.integer({ min: 1, max: 40 })), fc.integer({ min: 1, max: 1000 }), (frames, cuts, placeBytes) => {
      const sink = new NotingSink(placeBytes)
      const parser = new FrameParser(sink)
      const bytes = Buffer.concat(frames)
      for (let offset = 0; offset < bytes.length; ) {
        const { value } = cuts.next()
        feed(parser, bytes.subarray(offset, offset + value))
        offset += value
      }
      assert.deepEqual(sink.seen, frames.map((one) => ({ kind: one[0], request: one.readUInt32LE(4), payload: one.toString('hex', HEADER_BYTES) })))
    }))
  })

  it('say what was put into them', () => {
    fc.assert(fc.property(requests, fc.maxSafeNat(), (request, bytes) => assert.equal(parseAnswer(answerFrame(request, bytes).subarray(HEADER_BYTES)), bytes)))
    const error = parseError(errorFrame(1, new PlatformError('OBJECT_EXPIRED', 'gone', { details: { ttlMs: 3 } })).subarray(HEADER_BYTES))
    assert.deepEqual([error.code, error.message, error.details], ['OBJECT_EXPIRED', 'gone', { ttlMs: 3 }])
  })

  it('cut the message of an error that is too long, and keep its code (P2)', () => {
    const bytes = errorFrame(1, new PlatformError('OBJECT_LOST', 'ü'.repeat(1e6), { details: { much: 'x'.repeat(1e5) } }))
    assert.ok(bytes.length <= HEADER_BYTES + CONTROL_BYTES_MAX)
    assert.equal(parseError(bytes.subarray(HEADER_BYTES)).code, 'OBJECT_LOST')
  })

  it('that are damaged or made up break the protocol, and nothing else: fuzz (P2)', () => {
    const damaged = fc.tuple(fc.array(anyFrame, { minLength: 1, maxLength: 6 }), fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 })).map(([frames, changes]) => {
      const bytes = Buffer.concat(frames)
      for (const [at, value] of changes) bytes[at % bytes.length] = value
      return bytes
    })
    fc.assert(fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 300 })), (bytes) => {
      const parser = new FrameParser(new NotingSink(100))
      try {
        feed(parser, bytes)
        assert.ok(parser.place().length > 0)
      } catch (thrown) {
        assert.ok(thrown instanceof PlatformError && thrown.code === 'PROTOCOL_BROKEN', String(thrown))
      }
    }), { numRuns: 2000 })
    fc.assert(fc.property(fc.uint8Array({ minLength: 2, maxLength: 100 }), fc.json(), (noise, json) => {
      for (const payload of [Buffer.from(noise), Buffer.from(json)]) {
        try {
          assert.ok(parseError(payload) instanceof PlatformError)
        } catch (thrown) {
          assert.ok(thrown instanceof PlatformError && thrown.code === 'PROTOCOL_BROKEN', String(thrown))
        }
      }
    }))
  })

  it('have bounds for each kind', () => {
    const refused = (kind: number, length: number, spare = 0): void => {
      const head = Buffer.alloc(HEADER_BYTES)
      writeHeader(head, 0, kind as never, 1, length)
      head[2] = spare
      assert.throws(() => feed(new FrameParser(new NotingSink(1)), head), { code: 'PROTOCOL_BROKEN' })
    }
    for (const [kind, length] of [[kinds.pull, 4], [kinds.pull, 1000], [kinds.credit, 3], [kinds.cancel, 1], [kinds.answer, 7], [kinds.data, 0], [kinds.data, DATA_BYTES_MAX + 1], [kinds.error, CONTROL_BYTES_MAX + 1], [0, 0], [99, 0]] as const) refused(kind, length)
    refused(kinds.cancel, 0, 1)
    assert.throws(() => parseAnswer(Buffer.alloc(8, 0xff)), { code: 'PROTOCOL_BROKEN' })
  })
})

function dataFrame(request: number, bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(HEADER_BYTES)
  writeHeader(head, 0, kinds.data, request, bytes.length)
  return Buffer.concat([head, bytes])
}
