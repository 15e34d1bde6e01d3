/**
 * Goal: ids are unique, sort by time, tell their time, and are valid trace ids.
 *
 * Method: a counting source of randomness shows that no random bits are used twice; a handed-in clock moves.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { INVOCATION_ID_PATTERN, InvocationIds, acceptedAtMs } from './ids.ts'

describe('InvocationIds', () => {
  test('are 32 hex digits that sort by time and tell it', () => {
    let nowMs = 1_700_000_000_000
    const ids = new InvocationIds({ randomBytes, nowMs: () => nowMs })
    const made: string[] = []
    for (let count = 0; count < 100; count++) {
      nowMs += count % 3
      const id = ids.next()
      assert.match(id, INVOCATION_ID_PATTERN)
      assert.equal(acceptedAtMs(id), nowMs)
      made.push(id.slice(0, 12))
    }
    assert.deepEqual(made, [...made].sort())
  })

  test('use each random byte once, and draw them by the thousand', () => {
    let drawn = 0
    let counter = 0
    const counting = (length: number) => {
      drawn++
      const bytes = Buffer.alloc(length)
      for (let at = 0; at + 10 <= length; at += 10) bytes.writeUIntBE(counter++, at + 4, 6)
      return bytes
    }
    const ids = new InvocationIds({ randomBytes: counting, nowMs: () => 1 })
    for (let count = 0; count < 3000; count++) assert.equal(Number.parseInt(ids.next().slice(12), 16), count)
    assert.equal(drawn, 3)
  })

  test('are never the same twice within one ms', () => {
    const ids = new InvocationIds({ randomBytes, nowMs: () => 5 })
    const made = new Set(Array.from({ length: 20_000 }, () => ids.next()))
    assert.equal(made.size, 20_000)
  })

  test('take clocks with fractions, and those of 1970 and far away', () => {
    for (const nowMs of [0, 1.75, 281_474_976_710_655]) {
      const id = new InvocationIds({ randomBytes, nowMs: () => nowMs }).next()
      assert.match(id, INVOCATION_ID_PATTERN)
      assert.equal(acceptedAtMs(id), Math.floor(nowMs))
    }
  })
})
