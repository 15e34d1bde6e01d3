/**
 * Goal: what is recorded is what was touched, no more and no less, and all ways of recording agree.
 *
 * Method: chosen and random pages of a restored memory are read and written; each way records the same touches from the same snapshot.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
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
  test('gives the touched pages, by userfaultfd in the order of their first touch, by the page table ascending: the same', () => {
    using snapshot = makeSnapshot({ pages: PAGES, stored })
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(PAGES)
    using paged = new MappedMemory(native!, memory)
    assert.deepEqual(recordWays(), ['userfaultfd', ...(native!.notingSupport() === undefined ? ['write-protect'] : []), 'pagemap'])
    for (let round = 0; round < 2; round++) {
      const faults = record(paged, image, 'userfaultfd')
      touch(memory)
      assert.deepEqual(faults.read(), { faults: Uint32Array.from(touched), ordered: true })
      const { pagesFaulted, zeroPagesFaulted } = paged.faults()
      assert.equal(pagesFaulted, touched.filter(stored).length)
      assert.equal(pagesFaulted + zeroPagesFaulted, touched.length)
      for (const way of recordWays().filter((one) => one !== 'userfaultfd')) {
        const table = record(paged, image, way)
        touch(memory)
        assert.deepEqual(table.read(), { faults: Uint32Array.from(ascending), ordered: false }, way)
        assert.deepEqual([paged.faults().pagesFaulted, paged.faults().zeroPagesFaulted], [0, 0], 'the kernel serves them')
      }
    }
  })

  test('gives the same pages in every way, whatever is touched', () => {
    using snapshot = makeSnapshot({ pages: PAGES, stored })
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(PAGES)
    using paged = new MappedMemory(native!, memory)
    const touches = fc.array(fc.record({ page: fc.nat(PAGES - 1), count: fc.integer({ min: 1, max: 40 }), write: fc.boolean() }), { maxLength: 60 })
    fc.assert(fc.property(touches, (list) => {
      const wanted = new Set<number>()
      for (const { page, count } of list) for (let one = page; one < Math.min(PAGES, page + count); one++) wanted.add(one)
      for (const way of recordWays()) {
        const recording = record(paged, image, way)
        const bytes = new Uint8Array(memory.buffer)
        // Used below, so that no compiler leaves the reads out.
        let sum = 0
        for (const { page, count, write } of list) {
          for (let at = page * PAGE_BYTES; at < Math.min(PAGES, page + count) * PAGE_BYTES; at += PAGE_BYTES) {
            if (write) bytes[at + 9] = 1
            else sum += bytes[at + 100]!
          }
        }
        assert(sum >= 0)
        assert.deepEqual([...recording.read().faults].sort((a, b) => a - b), [...wanted].sort((a, b) => a - b), way)
      }
    }), { numRuns: 25 })
  })

  test('by write-protection leaves nothing behind: the memory holds the image, and a lazy restore has the pages beside a touched one again', (context) => {
    if (native!.notingSupport() !== undefined) return context.skip(native!.notingSupport())
    using snapshot = makeSnapshot({ pages: PAGES, stored: () => true })
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(PAGES + 32)
    using paged = new MappedMemory(native!, memory)
    const bytes = new Uint8Array(memory.buffer)
    for (const next of ['lazy', 'demand', 'copy', 'released'] as const) {
      const recording = record(paged, image, 'write-protect')
      assert.equal(Buffer.compare(Buffer.from(memory.buffer, 0, PAGES * PAGE_BYTES), snapshot.expected), 0)
      assert(bytes.subarray(PAGES * PAGE_BYTES).every((byte) => byte === 0))
      assert.equal(recording.read().faults.length, PAGES)
      bytes.fill(0xcc)
      if (next === 'released') paged.release(image)
      paged.restore(image, next === 'released' ? 'lazy' : next)
      if (next === 'lazy' || next === 'released') {
        assert.equal(bytes[100 * PAGE_BYTES], snapshot.expected[100 * PAGE_BYTES])
        assert(paged.presentPages().length > 1)
      }
      assert.equal(Buffer.compare(Buffer.from(memory.buffer, 0, PAGES * PAGE_BYTES), snapshot.expected), 0, next)
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
