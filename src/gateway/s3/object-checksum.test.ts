/**
 * Goal: the checksum of an object in parts is that of its bytes, computed without them; what a client says of it is believed only when it is so.
 *
 * Method: CRCs combined against CRCs of the concatenation, for random pieces and for lengths beyond what fits into memory (against the
 * algebra: zero bytes one after the other); a table of completions that S3 accepts or refuses; random headers.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Part, UploadEntity } from '#registry/buckets/objects.ts'
import { startChecksum } from './checksums.ts'
import type { ChecksumAlgorithm, CrcAlgorithm } from './checksums.ts'
import { combineCrcs } from './crc-combine.ts'
import { S3Error } from './errors.ts'
import { claimOf, declarationOf, objectChecksum } from './object-checksum.ts'

const crcs: readonly CrcAlgorithm[] = ['crc32', 'crc32c', 'crc64nvme']

function checksum(algorithm: ChecksumAlgorithm, ...pieces: readonly Uint8Array[]): string {
  const running = startChecksum(algorithm)
  for (const piece of pieces) running.update(piece)
  return running.digest()
}

describe('combineCrcs', () => {
  for (const algorithm of crcs) {
    test(`${algorithm}: of pieces of any number and length, it is that of the concatenation`, () => {
      fc.assert(
        fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 12 }), (pieces) => {
          const combined = combineCrcs(algorithm, pieces.map((piece) => ({ value: checksum(algorithm, piece), bytes: piece.length })))
          assert.equal(combined, checksum(algorithm, ...pieces))
        }),
        { numRuns: 300 },
      )
    })

    test(`${algorithm}: of lengths beyond 32 bits, it does not depend on where the pieces are cut`, () => {
      const zeros = (bytes: number, value: string): { readonly value: string; readonly bytes: number } => ({ value, bytes })
      // 8 GB of zeros, doubled from 1 MB that is computed.
      let doubled = zeros(1 << 20, checksum(algorithm, new Uint8Array(1 << 20)))
      for (let round = 0; round < 13; round++) doubled = zeros(2 * doubled.bytes, combineCrcs(algorithm, [doubled, doubled]))
      assert.equal(doubled.bytes, 2 ** 33)
      const head = { value: checksum(algorithm, Buffer.from('head')), bytes: 4 }
      const tail = { value: checksum(algorithm, Buffer.from('tail')), bytes: 4 }
      const inTwo = { value: combineCrcs(algorithm, [head, doubled]), bytes: doubled.bytes + 4 }
      const behind = { value: combineCrcs(algorithm, [doubled, tail]), bytes: doubled.bytes + 4 }
      assert.equal(combineCrcs(algorithm, [inTwo, tail]), combineCrcs(algorithm, [head, behind]))
      assert.notEqual(combineCrcs(algorithm, [head, doubled]), combineCrcs(algorithm, [head, zeros(2 ** 32, doubled.value)]))
    })
  }

  test('gives the check values of the three for "123456789", in any two pieces', () => {
    const check = { crc32: 'cbf43926', crc32c: 'e3069283', crc64nvme: 'ae8b14860a799888' }
    const bytes = Buffer.from('123456789')
    for (const algorithm of crcs) {
      for (let cut = 0; cut <= bytes.length; cut++) {
        const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)].map((piece) => ({ value: checksum(algorithm, piece), bytes: piece.length }))
        assert.equal(Buffer.from(combineCrcs(algorithm, pieces), 'base64').toString('hex'), check[algorithm])
      }
    }
  })
})

describe('the checksum of an object in parts', () => {
  const texts = ['the first part ', 'the second part ', 'the last']
  const whole = Buffer.from(texts.join(''))
  const parts = (algorithm?: ChecksumAlgorithm): Part[] =>
    texts.map((text, index) => ({
      id: '', digest: '', number: index + 1, bytes: text.length, etag: '', modifiedAtMs: 0, ...(algorithm !== undefined && { checksum: { algorithm, value: checksum(algorithm, Buffer.from(text)) } }),
    }))
  const composite = (algorithm: ChecksumAlgorithm): string => `${checksum(algorithm, ...texts.map((text) => Buffer.from(checksum(algorithm, Buffer.from(text)), 'base64')))}-3`
  const full = (algorithm: ChecksumAlgorithm): string => checksum(algorithm, whole)
  const claim = (algorithm: ChecksumAlgorithm, value: string, type?: string) => claimOf({ [`x-amz-checksum-${algorithm}`]: value, ...(type !== undefined && { 'x-amz-checksum-type': type }) })
  const upload = (algorithm?: string, type?: string) => declarationOf({ 'x-amz-checksum-algorithm': algorithm?.toUpperCase(), 'x-amz-checksum-type': type })

  for (const algorithm of crcs) {
    test(`${algorithm} FULL_OBJECT: is checked and kept, said at the beginning or at the end`, () => {
      const right = { algorithm, value: full(algorithm) }
      for (const begun of [upload(), upload(algorithm), upload(algorithm, 'FULL_OBJECT')] satisfies Partial<UploadEntity>[]) {
        assert.deepEqual(objectChecksum(begun, parts(algorithm), claim(algorithm, right.value, 'FULL_OBJECT')), right)
        assert.deepEqual(objectChecksum(begun, parts(algorithm), claim(algorithm, right.value)), right)
        assert.throws(() => objectChecksum(begun, parts(algorithm), claim(algorithm, checksum(algorithm, Buffer.from('other')), 'FULL_OBJECT')), { code: 'BadDigest' })
        assert.throws(() => objectChecksum(begun, parts(), claim(algorithm, right.value, 'FULL_OBJECT')), { code: 'InvalidRequest', message: /Part 1 was uploaded without a crc/ })
      }
      assert.deepEqual(objectChecksum(upload(algorithm, 'FULL_OBJECT'), parts(algorithm), {}), right, 'also when the completion says nothing')
      assert.throws(() => objectChecksum(upload(algorithm, 'FULL_OBJECT'), parts(algorithm), claim(algorithm, 'AAAA', algorithm === 'crc64nvme' ? undefined : 'COMPOSITE')), { code: 'BadDigest' })
      // The order of the parts counts.
      assert.throws(() => objectChecksum(upload(algorithm), parts(algorithm).toReversed(), claim(algorithm, right.value, 'FULL_OBJECT')), { code: 'BadDigest' })
    })
  }

  for (const algorithm of ['sha1', 'sha256'] as const) {
    test(`${algorithm}: only COMPOSITE, which is kept`, () => {
      const right = { algorithm, value: composite(algorithm) }
      assert.equal(right.value, `${texts.reduce((hash, text) => hash.update(createHash(algorithm).update(text).digest()), createHash(algorithm)).digest('base64')}-3`)
      assert.deepEqual(objectChecksum(upload(algorithm), parts(algorithm), {}), right)
      assert.deepEqual(objectChecksum(upload(algorithm), parts(algorithm), claim(algorithm, right.value)), right)
      assert.throws(() => objectChecksum(upload(algorithm), parts(algorithm), claim(algorithm, full(algorithm))), { code: 'BadDigest' })
      assert.throws(() => claim(algorithm, full(algorithm), 'FULL_OBJECT'), { code: 'InvalidRequest' })
      assert.throws(() => upload(algorithm, 'FULL_OBJECT'), { code: 'InvalidRequest' })
      assert.throws(() => objectChecksum(upload(algorithm), parts(algorithm), claimOf({ 'x-amz-checksum-type': 'FULL_OBJECT' })), { code: 'InvalidRequest' })
    })
  }

  test('a composite CRC is checked when it is sent, and kept only then', () => {
    for (const algorithm of ['crc32', 'crc32c'] as const) {
      assert.deepEqual(objectChecksum(upload(algorithm), parts(algorithm), claim(algorithm, composite(algorithm))), { algorithm, value: composite(algorithm) })
      assert.throws(() => objectChecksum(upload(algorithm), parts(algorithm), claim(algorithm, composite(algorithm).replace('-3', '-4'))), { code: 'BadDigest' })
      assert.throws(() => objectChecksum(upload(algorithm), parts(algorithm), claim(algorithm, full(algorithm), 'COMPOSITE')), { code: 'BadDigest' })
      assert.equal(objectChecksum(upload(algorithm), parts(algorithm), {}), undefined)
    }
  })

  test('what contradicts itself is refused', () => {
    assert.throws(() => claimOf({ 'x-amz-checksum-crc32': 'a', 'x-amz-checksum-sha1': 'b' }), { code: 'InvalidRequest' })
    assert.throws(() => objectChecksum(upload('crc32'), parts('crc32'), claim('crc32c', full('crc32c'))), { code: 'InvalidRequest' })
    assert.throws(() => upload('crc64nvme', 'COMPOSITE'), { code: 'InvalidRequest' })
    assert.throws(() => upload(undefined, 'FULL_OBJECT'), { code: 'InvalidRequest' })
    assert.throws(() => upload('crc16'), { code: 'InvalidRequest' })
    assert.equal(objectChecksum({}, parts('crc32'), {}), undefined)
  })

  test('headers of any text are understood or refused', () => {
    const name = fc.constantFrom('x-amz-checksum-crc32', 'x-amz-checksum-crc64nvme', 'x-amz-checksum-sha256', 'x-amz-checksum-type', 'x-amz-checksum-algorithm')
    const value = fc.oneof(fc.constantFrom('FULL_OBJECT', 'COMPOSITE', 'CRC32', 'crc64nvme', 'SHA256', '', '-', 'AAAAAA=='), fc.string())
    fc.assert(
      fc.property(fc.dictionary(name, value), fc.dictionary(name, value), (begun, completed) => {
        try {
          const kept = objectChecksum(declarationOf(begun), parts('crc32'), claimOf(completed))
          if (kept !== undefined) assert.ok(kept.value === full('crc32') || kept.value === composite('crc32'))
        } catch (thrown) {
          assert.ok(thrown instanceof S3Error, String(thrown))
        }
      }),
      { numRuns: 500 },
    )
  })
})
