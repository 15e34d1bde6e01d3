/**
 * Goal: keys lie evenly over places, and only the keys of a place that goes, or towards one that comes, move.
 *
 * Method: names as the platform makes them, alike but for their last digits: what a weak hash would put side by side.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { hash32, weightOf } from './rendezvous.ts'

const names = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${prefix}${index}`)

function placeOf(key: number, places: readonly number[]): number {
  return places.reduce((best, place) => (weightOf(key, place) > weightOf(key, best) ? place : best))
}

const places = names('worker-', 16).map(hash32)
const keys = names('user-', 16_000).map(hash32)

describe('rendezvous hashing', () => {
  test('gives each of 16 places its sixteenth of the keys, within an eighth, and of each subset likewise', () => {
    for (const some of [places, places.slice(0, 2), places.slice(5, 12)]) {
      const counts = new Map(some.map((place) => [place, 0]))
      for (const key of keys) counts.set(placeOf(key, some), counts.get(placeOf(key, some))! + 1)
      const fair = keys.length / some.length
      for (const count of counts.values()) assert(Math.abs(count - fair) < fair / 8, `${count} of ${fair}`)
    }
  })

  test('moves no key but those of the place that goes, and spreads them over the others', () => {
    const gone = places[3]!
    const left = places.filter((place) => place !== gone)
    const moved = keys.filter((key) => placeOf(key, places) === gone)
    for (const key of keys) if (!moved.includes(key)) assert.equal(placeOf(key, left), placeOf(key, places))
    assert.equal(new Set(moved.map((key) => placeOf(key, left))).size, left.length)
  })

  test('gives 32-bit signed numbers, for any text', () => {
    for (const text of ['', 'a', '\0', 'ü€😀', 'x'.repeat(100_000), ...names('w', 100)]) {
      assert.equal(hash32(text), hash32(text) | 0)
      assert.equal(weightOf(hash32(text), places[0]!), weightOf(hash32(text), places[0]!) | 0)
    }
  })
})
