/**
 * Goal: every page that is not zero is found, and no other, wherever its one byte is.
 * Method: memories of known content, and random ones compared with a loop over every byte.
 */
import { strict as assert } from 'node:assert'
import test from 'node:test'
import fc from 'fast-check'
import { exampleMemory } from './example-snapshot.fake.ts'
import { pagesOfRuns } from './page-runs.ts'
import { PAGE_BYTES } from './snapshot.ts'
import { nonZeroChunks, nonZeroRuns } from './zero-pages.ts'

test('finds runs across the pieces that it looks at, and pages whose only byte is the last one', () => {
  const pages = [0, 1, 2, 255, 256, 257, 300, 511, 512, 767]
  assert.deepEqual([...nonZeroRuns(exampleMemory(768, pages))], [0, 3, 255, 3, 300, 1, 511, 2, 767, 1])
  assert.deepEqual([...nonZeroRuns(new Uint8Array(600 * PAGE_BYTES))], [])
  assert.deepEqual([...nonZeroRuns(exampleMemory(600, Array(600).keys()))], [0, 600])
})

test('agrees with a loop over all bytes, also in a view that does not begin its buffer', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.record({ page: fc.nat(519), byte: fc.nat(PAGE_BYTES - 1) }), { selector: (one) => one.page, maxLength: 60 }), (marks) => {
      const memory = new Uint8Array(521 * PAGE_BYTES).subarray(PAGE_BYTES)
      for (const { page, byte } of marks) memory[page * PAGE_BYTES + byte] = 7
      const expected = marks.map((one) => one.page).sort((a, b) => a - b)
      assert.deepEqual([...pagesOfRuns(nonZeroRuns(memory))], expected)
    }),
    { numRuns: 50 },
  )
})

test('hands out the pages as views, in bounded chunks', () => {
  const memory = exampleMemory(64, [3, 4, 5, 6, 7, 40])
  const chunks = [...nonZeroChunks(memory, 2 * PAGE_BYTES)]
  assert.deepEqual(chunks.map((one) => [one.firstPage, one.bytes.byteLength / PAGE_BYTES]), [[3, 2], [5, 2], [7, 1], [40, 1]])
  for (const { firstPage, bytes } of chunks) {
    assert.equal(bytes.buffer, memory.buffer)
    assert.deepEqual(bytes, memory.subarray(firstPage * PAGE_BYTES, firstPage * PAGE_BYTES + bytes.byteLength))
  }
  assert.throws(() => nonZeroRuns(new Uint8Array(PAGE_BYTES + 1)), /whole number of pages/)
})
