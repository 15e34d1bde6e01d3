/**
 * Goal: what a snapshot holds besides memory comes back exactly, and damage is a typed error.
 * Method: generated states there and back; generated texts.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '../../../src/contract/errors.ts'
import { decodeState, encodeState, fitsModule } from './state-codec.ts'

const index = fc.nat(0xffff)
const plain = { noNullPrototype: true }
const place = fc.record({ table: index, at: index }, plain)
const patch = fc.record({ table: index, length: fc.constant(0x10000), entries: fc.array(fc.record({ at: index, from: fc.option(place) }, plain)) }, plain)
const state = fc.record({ globals: fc.array(fc.oneof(fc.double(), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.constant(null))), tables: fc.array(patch) }, plain)

test('a state comes back as it was, with NaN, -0 and 64 bits', () => {
  fc.assert(fc.property(state, (one) => assert.deepEqual(decodeState(encodeState(one)), one)))
  assert.deepEqual(decodeState(encodeState({ globals: [-0, NaN, 2n ** 63n - 1n], tables: [] })).globals, [-0, NaN, 2n ** 63n - 1n])
})

test('anything else is SNAPSHOT_DAMAGED (fuzz)', () => {
  const damaged = (text: string): boolean => {
    try {
      decodeState(text)
      return false
    } catch (error) {
      assert.equal((error as PlatformError).code, 'SNAPSHOT_DAMAGED')
      return true
    }
  }
  for (const text of ['', 'null', '{}', '{"globals":[1],"tables":[]}', '{"globals":["i00"],"tables":[]}', '{"globals":[],"tables":[[0,1,[[1,0,0]]]]}', '{"globals":[],"tables":[[0,1,[[0,0]]]]}']) assert.ok(damaged(text), text)
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void damaged(text)))
})

test('a state fits a module that has its globals and tables', () => {
  const entries = [{ at: 0, from: { table: 1, at: 0 } }]
  const one = { globals: [1, 2], tables: [{ table: 0, length: 1, entries }] }
  assert.equal(fitsModule(one, { globals: ['a', 'b'], tables: ['t', 'u'] }), true)
  assert.equal(fitsModule(one, { globals: ['a'], tables: ['t', 'u'] }), false)
  assert.equal(fitsModule(one, { globals: ['a', 'b'], tables: ['t'] }), false)
})
