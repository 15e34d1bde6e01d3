/**
 * Goal: what comes out of an aws-chunked body is exactly what went in, and anything else is an S3Error (D1, D2).
 *
 * Method: random bodies in random chunks, cut anywhere on their way; then the same damaged; checksums by their published check values.
 * Signed chunks are in signature.test.ts, by AWS's example.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { decodeChunks } from './aws-chunked.ts'
import { checksumAlgorithms, startChecksum } from './checksums.ts'
import { S3Error } from './errors.ts'

async function* cut(body: Buffer, every: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < body.length; at += every) yield body.subarray(at, at + every)
}

async function decode(source: AsyncIterable<Buffer>, bytes: number): Promise<{ readonly whole: Buffer; readonly trailers: Record<string, string> }> {
  const trailers: Record<string, string> = {}
  const pieces: Buffer[] = []
  for await (const piece of decodeChunks(source, { bytes, signedTrailer: false, trailer: (name, value) => void (trailers[name] = value) })) pieces.push(Buffer.from(piece))
  return { whole: Buffer.concat(pieces), trailers }
}

function encode(chunks: readonly Uint8Array[], trailers = ''): Buffer {
  const parts = chunks.filter((chunk) => chunk.length > 0).flatMap((chunk) => [Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')])
  return Buffer.concat([...parts, Buffer.from(`0\r\n${trailers}\r\n`)])
}

const chunks = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 })

describe('decodeChunks', () => {
  test('gives the bytes and the trailers, wherever the body is cut (D1)', async () => {
    await fc.assert(
      fc.asyncProperty(chunks, fc.integer({ min: 1, max: 50 }), async (parts, every) => {
        const whole = Buffer.concat(parts)
        const found = await decode(cut(encode(parts, 'x-amz-checksum-crc32: AAAAAA==\r\n'), every), whole.length)
        assert.deepEqual(found, { whole, trailers: { 'x-amz-checksum-crc32': 'AAAAAA==' } })
      }),
    )
  })

  test('never takes a part, or a damaged framing, for a whole (D1)', async () => {
    await fc.assert(
      fc.asyncProperty(chunks, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.boolean(), async (parts, where, byte, isCut) => {
        const whole = Buffer.concat(parts)
        const body = encode(parts)
        const at = where % body.length
        const damaged = isCut ? body.subarray(0, at) : Buffer.from(body)
        if (!isCut) damaged[at] = byte
        try {
          const found = await decode(cut(damaged, 7), whole.length)
          // A changed byte of the data is the checksum's affair; the length is not.
          assert.equal(found.whole.length, whole.length)
        } catch (thrown) {
          assert.ok(thrown instanceof S3Error, String(thrown))
        }
      }),
    )
  })

  test('refuses more bytes than announced, lines without end, and what follows the end (D2)', async () => {
    await assert.rejects(decode(cut(encode([Buffer.alloc(11)]), 100), 10), { code: 'IncompleteBody' })
    await assert.rejects(decode(cut(encode([Buffer.alloc(9)]), 100), 10), { code: 'IncompleteBody' })
    await assert.rejects(decode(cut(Buffer.alloc(10_000, 0x61), 1000), 10), { code: 'InvalidRequest', message: /4096/ })
    await assert.rejects(decode(cut(Buffer.concat([encode([]), Buffer.from('more')]), 100), 0), { code: 'InvalidRequest' })
    await assert.rejects(decode(cut(encode([], 'a:b\r\n'.repeat(17)), 100), 0), { code: 'InvalidRequest' })
  })

  test('passes an error of the source on', async () => {
    const gone = new Error('gone')
    async function* breaking(): AsyncGenerator<Buffer> {
      yield Buffer.from('5\r\nab')
      throw gone
    }
    await assert.rejects(decode(breaking(), 5), gone)
  })
})

test('checksums have their published check values, whole and in pieces', () => {
  const text = Buffer.from('123456789')
  const expected: Record<string, string> = { crc32: 'cbf43926', crc32c: 'e3069283', crc64nvme: 'ae8b14860a799888', sha1: createHash('sha1').update(text).digest('hex'), sha256: createHash('sha256').update(text).digest('hex') }
  for (const algorithm of checksumAlgorithms) {
    for (const at of [0, 1, 5, 9]) {
      const running = startChecksum(algorithm)
      running.update(text.subarray(0, at))
      running.update(text.subarray(at))
      assert.equal(Buffer.from(running.digest(), 'base64').toString('hex'), expected[algorithm], algorithm)
    }
  }
})
