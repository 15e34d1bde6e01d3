/**
 * Goal: what is recorded is what was touched, no more and no less, and both ways of recording agree.
 *
 * Method: WebAssembly code reads and writes chosen pages of a restored memory; both ways record the same code from the same snapshot.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { loadNative } from './native.ts'
import { record, recordWays } from './record.ts'
import { CopiedMemory } from './restore-copy.ts'
import { dirtyMemory, makeSnapshot, runsOf } from './restore.fake.ts'
import { MappedMemory } from './restore-native.ts'
import { PAGE_BYTES } from './snapshot.ts'

const native = loadNative()
const skip = native === undefined ? 'the addon is not built: node scripts/build-native.ts' : native.faultsMissing !== undefined ? `there is no userfaultfd: ${native.faultsMissing}` : false

const PAGES = 1024
const stored = (page: number): boolean => page % 7 < 4
/** Out of order, in runs and alone, stored pages and holes; the last page too. */
const touched = [900, 3, 4, 5, 6, 1023, 70, 71, 500, 0, 512, 513, 514]
const ascending = touched.toSorted((a, b) => a - b)

/** Reads most pages twice, writes every third. */
function touch(memory: WebAssembly.Memory): void {
  const bytes = new Uint8Array(memory.buffer)
  let sum = 0
  for (const [index, page] of touched.entries()) {
    if (index % 3 === 0) bytes[page * PAGE_BYTES + 17] = 1
    else sum += bytes[page * PAGE_BYTES + 4095]!
  }
  for (const page of touched) sum += bytes[page * PAGE_BYTES]!
  assert(sum >= 0)
}

describe('recording', { skip }, () => {
  test('gives the touched pages, by userfaultfd in the order of their first touch, by the page map ascending: the same', () => {
    using snapshot = makeSnapshot({ pages: PAGES, stored })
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(PAGES)
    using paged = new MappedMemory(native!, memory)
    assert.deepEqual(recordWays(), ['userfaultfd', 'pagemap'])
    for (let round = 0; round < 2; round++) {
      const faults = record(paged, image, 'userfaultfd')
      touch(memory)
      assert.deepEqual(faults.read(), { faults: Uint32Array.from(touched), ordered: true })
      const { pagesFaulted, zeroPagesFaulted } = paged.faults()
      assert.equal(pagesFaulted, touched.filter(stored).length)
      assert.equal(pagesFaulted + zeroPagesFaulted, touched.length)
      const map = record(paged, image, 'pagemap')
      touch(memory)
      assert.deepEqual(map.read(), { faults: Uint32Array.from(ascending), ordered: false })
    }
  })

  test('leads to a restore without faults: what was recorded is prefetched', () => {
    using recorded = makeSnapshot({ pages: PAGES, stored })
    using image = MappedMemory.open(recorded)
    const memory = dirtyMemory(PAGES)
    using paged = new MappedMemory(native!, memory)
    const recording = record(paged, image, 'userfaultfd')
    touch(memory)
    using snapshot = makeSnapshot({ pages: PAGES, stored, set: [...recording.read().faults] })
    using prefetched = MappedMemory.open(snapshot)
    assert.deepEqual(snapshot.workingSet!.runs, runsOf(touched.filter(stored)))
    for (const mode of ['working-set', 'reap', 'direct', 'pipelined'] as const) {
      paged.restore(prefetched, mode)
      touch(memory)
      const { pagesFaulted, zeroPagesFaulted } = paged.faults()
      assert.deepEqual([mode, pagesFaulted, zeroPagesFaulted], [mode, 0, 0])
    }
  })

  test('does not count pages of the memory behind the image', () => {
    using snapshot = makeSnapshot({ pages: 16, stored })
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(64)
    using paged = new MappedMemory(native!, memory)
    for (const way of recordWays()) {
      const recording = record(paged, image, way)
      for (const page of [2, 15, 16, 63]) new Uint8Array(memory.buffer)[page * PAGE_BYTES] = 1
      assert.deepEqual([...recording.read().faults], [2, 15], way)
    }
  })
})

test('recording without the addon is an error that says so', () => {
  using snapshot = makeSnapshot({ pages: 16, stored })
  using image = CopiedMemory.open(snapshot)
  using paged = new CopiedMemory(dirtyMemory(16))
  assert.throws(() => record(paged, image, 'userfaultfd'), { code: 'NATIVE_MISSING' })
})
