/** Goal: an object's id is read as it was written, and nothing else is read. Method: generated ids and strings. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatObjectId, parseObjectId } from './object-id.ts'

const number = fc.integer({ min: 0, max: 36 ** 10 - 1 })
const id = fc.record({ life: fc.stringMatching(/^[0-9a-f]{16}$/), slot: number, use: number, expiresAtMs: number })

test('an id is read as it was written', () => {
  fc.assert(fc.property(id, (written) => assert.deepEqual(parseObjectId(formatObjectId(written)), { ...written })))
})

test('whatever else a peer sends is undefined, or an id that is written like that', () => {
  const near = fc.tuple(id, fc.nat(50), fc.string({ maxLength: 2 })).map(([of, at, part]) => formatObjectId(of).slice(0, at) + part + formatObjectId(of).slice(at + 1))
  fc.assert(
    fc.property(fc.oneof(fc.string(), near), (text) => {
      const parsed = parseObjectId(text)
      if (parsed !== undefined) assert.deepEqual(parseObjectId(formatObjectId(parsed)), parsed)
    }),
  )
  for (const text of ['', '-', '0123456789abcdef', '0123456789abcdef-1-1', '0123456789abcdef-1-1-1-1', '0123456789ABCDEF-1-1-1', '0123456789abcdef-1-1-1\n', '0123456789abcdef-1-1-']) assert.equal(parseObjectId(text), undefined, text)
})
