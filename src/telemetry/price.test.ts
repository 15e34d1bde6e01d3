/** Goal: the bill is the one that a person works out by hand. Method: worked examples. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { costOf, gbMsOf, priceDefaults } from './price.ts'

test('a second of 1024 MB is 1000 GB·ms and costs the list price of a GB-second and a request', () => {
  assert.equal(gbMsOf(1_000_000, 1024), 1000)
  assert.equal(costOf(1000, 'warm', priceDefaults), 0.0000166667 + 0.0000002)
})

test('three milliseconds of 128 MB are billed as three, not as a hundred', () => {
  assert.equal(gbMsOf(3000, 128), 0.375)
})

test('what never reached an instance costs nothing', () => {
  assert.equal(costOf(gbMsOf(0, 256), 'none', priceDefaults), 0)
})

test('prices of one\'s own are used', () => {
  assert.equal(costOf(2000, 'cold', { perGbSecond: 3, perMillionInvocations: 1_000_000, currency: 'beans' }), 7)
})
