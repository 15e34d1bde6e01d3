/**
 * Goal: every reference in a payload counts once, wherever it stands; and no payload, which may be hostile, makes it fail or open more than its bound.
 *
 * Method: real references, sealed and opened, inside JSON and inside any bytes.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { heldBytes, REFERENCES_MAX } from './hints.ts'
import type { Located } from './hints.ts'

/** As long as real ones (scheduler may not know transfer; test/simulation/locality.test.ts has real ones). */
const reference = (): string => `skep:1:${randomBytes(288).toString('base64url')}`

function located(places: ReadonlyMap<string, Located>): { readonly locate: (reference: string) => Located | undefined; readonly asked: string[] } {
  const asked: string[] = []
  return { asked, locate: (one) => (asked.push(one), places.get(one)) }
}

describe('the bytes that a payload refers to', () => {
  test('are summed by worker, each reference once, however it is wrapped', () => {
    const [a, b, c] = [reference(), reference(), reference()]
    const { locate, asked } = located(new Map([[a, { worker: 'w1', bytes: 10 }], [b, { worker: 'w2', bytes: 5 }], [c, { worker: 'w1', bytes: 1 }]]))
    const payload = Buffer.from(JSON.stringify({ parts: [a, b, a], note: `{"again":"${c}"}`, not: `skep:1:${'x'.repeat(384)}` }))
    assert.deepEqual(heldBytes(payload, locate), new Map([['w1', 11], ['w2', 5]]))
    assert.equal(asked.length, 4)
  })

  test('are none without a reference of this namespace, and nothing is opened without one', () => {
    const { locate, asked } = located(new Map())
    assert.equal(heldBytes(Buffer.from('{"text":"skep:2:abc and skep"}'), locate), undefined)
    assert.deepEqual(asked, [])
    assert.equal(heldBytes(Buffer.from(reference()), locate), undefined)
  })

  test('of any bytes are found without failing, and at most so many references are opened (H1)', () => {
    const piece = fc.oneof(fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)), fc.constantFrom('skep:1:', 'skep:1', ':', 'skep:1:AAAA', 'é').map((text) => Buffer.from(text)))
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 200 }), (pieces) => {
        const { locate, asked } = located(new Map())
        heldBytes(Buffer.concat(pieces), locate)
        assert(asked.length <= REFERENCES_MAX && new Set(asked).size === asked.length)
        for (const one of asked) assert(/^skep:1:[A-Za-z0-9_-]*$/.test(one) && one.length <= 519)
      }),
    )
    const { locate, asked } = located(new Map())
    heldBytes(Buffer.from(Array.from({ length: 160 }, reference).join(',')), locate)
    assert.equal(asked.length, REFERENCES_MAX)
  })

  test('do not make a payload of nothing but beginnings slow', () => {
    const { locate, asked } = located(new Map())
    heldBytes(Buffer.from('skep:1:'.repeat(9_000)), locate)
    assert.deepEqual(asked, ['skep:1:skep'])
  })
})
