/**
 * Goal: a reference opens in its namespace, under its key and in its time, and in no other way; nobody learns anything from one.
 *
 * Method: generated contents go through; generated strings and damage do not. Time is a number.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { openReference, ReferenceKeys, sealReference } from './reference.ts'
import type { ReferenceContents } from './reference.ts'
import { withCode } from './transfer.fake.ts'

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/)
const contents: fc.Arbitrary<ReferenceContents> = fc.record({
  worker: name,
  object: fc.stringMatching(/^[0-9a-f]{16}-[0-9a-z]{1,10}-[0-9a-z]{1,10}-[0-9a-z]{1,10}$/),
  invocation: fc.stringMatching(/^[0-9a-f]{32}$/),
  function: name,
  ordinal: fc.nat(),
})
const some: ReferenceContents = { worker: 'w1', object: `${'0'.repeat(16)}-1-1-1`, invocation: '0'.repeat(32), function: 'f', ordinal: 0 }

function keyRing(nowMs = () => 0): ReferenceKeys {
  return new ReferenceKeys({ id: 1, key: Buffer.alloc(32, 1) }, { nowMs, randomBytes, objectLifeMs: 1000 })
}

describe('references', () => {
  test('open to what was sealed, and are all of one length (N1)', () => {
    const keys = keyRing()
    fc.assert(
      fc.property(name, contents, (namespace, sealed) => {
        const text = sealReference(keys, namespace, sealed)
        assert.deepEqual(openReference(keys, namespace, text), { ...sealed })
        assert.equal(text.length, 'skep:1:'.length + 384)
      }),
    )
  })

  test('of the same object differ each time: nobody sees that they are the same', () => {
    const keys = keyRing()
    assert.notEqual(sealReference(keys, 'n', some), sealReference(keys, 'n', some))
  })

  test('do not open in another namespace, with the message of a forged one (N2)', () => {
    const keys = keyRing()
    const text = sealReference(keys, 'n', some)
    const messageOf = (given: string): string => {
      try {
        openReference(keys, 'm', given)
      } catch (error) {
        assert(error instanceof PlatformError && error.code === 'REFERENCE_INVALID')
        return error.message
      }
      return assert.fail('it opened')
    }
    const messages = [text, `${text.slice(0, -1)}${text.endsWith('A') ? 'B' : 'A'}`, 'skep:1:', text.slice(0, -4)].map(messageOf)
    assert.equal(new Set(messages).size, 1)
    fc.assert(
      fc.property(name, name, contents, (namespace, other, sealed) => {
        fc.pre(namespace !== other)
        assert.throws(() => openReference(keys, other, sealReference(keys, namespace, sealed)), withCode('REFERENCE_INVALID'))
      }),
    )
  })

  test('do not open with any bit flipped (N2)', () => {
    const keys = keyRing()
    const text = Buffer.from(sealReference(keys, 'n', some), 'latin1')
    for (let bit = 0; bit < text.length * 8; bit++) {
      const damaged = Buffer.from(text)
      damaged[bit >>> 3]! ^= 1 << (bit & 7)
      assert.throws(() => openReference(keys, 'n', damaged.toString('latin1')), withCode('REFERENCE_INVALID'), `bit ${bit}`)
    }
  })

  test('do not open cut short, longer, or as any other string (N2)', () => {
    const keys = keyRing()
    const text = sealReference(keys, 'n', some)
    for (let length = 0; length < text.length; length++) assert.throws(() => openReference(keys, 'n', text.slice(0, length)), withCode('REFERENCE_INVALID'))
    for (const given of [`${text}\n`, `${text}A`, ` ${text}`, text.replace('skep:1:', 'skep:2:')]) assert.throws(() => openReference(keys, 'n', given), withCode('REFERENCE_INVALID'))
    const sealedLike = fc.uint8Array({ minLength: 288, maxLength: 288 }).map((bytes) => `skep:1:${Buffer.from(bytes).toString('base64url')}`)
    const underOurKey = fc.uint8Array({ minLength: 284, maxLength: 284 }).map((bytes) => `skep:1:${Buffer.from([1, 0, 0, 0, ...bytes]).toString('base64url')}`)
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.string().map((end) => `skep:1:${end}`), sealedLike, underOurKey), (given) => {
        assert.throws(() => openReference(keys, 'n', given), withCode('REFERENCE_INVALID'))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('ReferenceKeys', () => {
  test('opens what former keys sealed for as long as an object may live, and no longer (N3)', () => {
    let nowMs = 0
    const keys = keyRing(() => nowMs)
    const first = sealReference(keys, 'n', some)
    keys.rotate({ id: 2, key: Buffer.alloc(32, 2) })
    const second = sealReference(keys, 'n', some)
    nowMs = 600
    keys.rotate({ id: 3, key: Buffer.alloc(32, 3) })
    nowMs = 999
    assert.deepEqual(openReference(keys, 'n', first), some)
    nowMs = 1000
    assert.throws(() => openReference(keys, 'n', first), withCode('REFERENCE_INVALID'))
    assert.deepEqual(openReference(keys, 'n', second), some)
    nowMs = 1600
    assert.throws(() => openReference(keys, 'n', second), withCode('REFERENCE_INVALID'))
  })

  test('a key that is announced twice changes nothing', () => {
    const keys = keyRing()
    keys.rotate({ id: 1, key: Buffer.alloc(32, 9) })
    assert.deepEqual(keys.current.key, Buffer.alloc(32, 1))
  })
})
