/**
 * Goal: a stream is found by its number for as long as it is open, and a late frame of an ended one never finds another.
 *
 * Method: random openings, endings and looks against a Map, which is slow here but obviously right. The wrap-around of
 * numbers is met by tables that begin shortly before it.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { StreamTable } from './stream-table.ts'

interface TestStream {
  readonly id: number
}

const LAST = 0xffff_ffff

/** A table whose first number is any, as after many streams. */
function tableFrom(first: number, capacity?: number): StreamTable<TestStream> {
  return new StreamTable<TestStream>(first as 2, capacity)
}

type Step = { readonly kind: 'open' } | { readonly kind: 'end'; readonly which: number } | { readonly kind: 'endWhile'; readonly every: number } | { readonly kind: 'clear' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.constant({ kind: 'open' } as const) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('end' as const), which: fc.nat(1000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('endWhile' as const), every: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'clear' } as const) },
)

function walk(table: StreamTable<TestStream>, steps: readonly Step[]): number[] {
  const open = new Map<number, TestStream>()
  const given: number[] = []
  const gone: number[] = []
  for (const one of steps) {
    if (one.kind === 'open') {
      const stream = { id: table.nextNumber() }
      assert(!open.has(stream.id), `${stream.id} is in use`)
      table.add(stream)
      open.set(stream.id, stream)
      given.push(stream.id)
    } else if (one.kind === 'end') {
      const stream = [...open.values()][one.which % Math.max(1, open.size)]
      if (stream === undefined) continue
      table.delete(stream)
      // A second time, and one that never was: no-ops.
      table.delete(stream)
      open.delete(stream.id)
      gone.push(stream.id)
    } else if (one.kind === 'endWhile') {
      let seen = 0
      for (const stream of table.values()) {
        assert.equal(open.get(stream.id), stream)
        if (++seen % one.every !== 0) continue
        table.delete(stream)
        open.delete(stream.id)
        gone.push(stream.id)
      }
    } else {
      table.clear()
      gone.push(...open.keys())
      open.clear()
    }
    assert.equal(table.size, open.size)
    for (const [id, stream] of open) assert.equal(table.get(id), stream)
    for (const id of gone.slice(-20)) if (!open.has(id)) assert.equal(table.get(id), undefined)
  }
  assert.deepEqual(new Set(table.values()), new Set(open.values()))
  return given
}

describe('StreamTable', () => {
  test('finds what is open and nothing else, while it grows and empties', () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 120 }), fc.constantFrom<1 | 2>(1, 2), (steps, first) => {
      const given = walk(new StreamTable<TestStream>(first, 4), steps)
      given.forEach((number, index) => {
        assert.equal(number & 1, first & 1)
        assert(index === 0 || number > given[index - 1]!, 'numbers grow (R1)')
      })
    }), { numRuns: 300 })
  })

  test('goes on with the first number after the last of a u32, passing over those in use (R1)', () => {
    fc.assert(fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), fc.integer({ min: 1, max: 20 }), fc.constantFrom(0, 1), (steps, before, parity) => {
      const given = walk(tableFrom(LAST - 1 + parity - 2 * before, 4), steps)
      let wraps = 0
      given.forEach((number, index) => {
        assert(number >= 1 && number <= LAST && (number & 1) === parity)
        if (index > 0 && number < given[index - 1]!) {
          wraps++
          // Nothing but numbers whose place was taken lies between the one before and the end.
          assert(LAST - given[index - 1]! <= 2 * 256)
        }
      })
      assert(wraps <= 1)
    }), { numRuns: 300 })
  })

  test('wraps to 2 and to 1, and never gives a number that has stayed open for a whole round', () => {
    assert.deepEqual(numbers(tableFrom(LAST - 1), 3), [LAST - 1, 2, 4])
    assert.deepEqual(numbers(tableFrom(LAST), 3), [LAST, 1, 3])
    const afterRound = tableFrom(LAST - 1, 64)
    afterRound.add({ id: 2 })
    assert.deepEqual(numbers(afterRound, 2), [LAST - 1, 4], '2 is in use')
  })

  test('tells an ended stream from a later one in the same slot', () => {
    const table = tableFrom(2, 4)
    const first = { id: table.nextNumber() }
    table.add(first)
    table.delete(first)
    for (let round = 0; round < 4; round++) {
      const stream = { id: table.nextNumber() }
      table.add(stream)
      table.delete(first)
      assert.equal(table.get(first.id), undefined)
      assert.equal(table.get(stream.id), stream)
      table.delete(stream)
    }
    assert.equal(table.size, 0)
  })

  test('shows each stream once when the loop ends some of them, and holds thousands', () => {
    const table = tableFrom(2)
    const open = numbers(table, 5000)
    const seen: number[] = []
    for (const stream of table.values()) {
      seen.push(stream.id)
      table.delete(stream)
    }
    assert.deepEqual(seen.sort((a, b) => a - b), open)
    assert.equal(table.size, 0)
  })
})

function numbers(table: StreamTable<TestStream>, count: number): number[] {
  return Array.from({ length: count }, () => {
    const id = table.nextNumber()
    table.add({ id })
    return id
  })
}
