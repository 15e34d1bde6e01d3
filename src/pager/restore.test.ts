/**
 * Goal: whatever the mode, and whatever a memory held before, after a restore it holds the image and nothing else (T1).
 *
 * Method: real files and real WebAssembly memories. An image has pages with content of their own, holes of several sizes, and a working
 * set that is neither all of it nor in its order; memories are larger than the image and dirty. Every byte is compared.
 */
import assert from 'node:assert/strict'
import { closeSync, truncateSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { restoreModes } from '#contract/start-figures.ts'
import { loadNative } from './native.ts'
import { CopiedMemory } from './restore-copy.ts'
import { pagesOfRuns } from './page-runs.ts'
import { dirtyMemory, makeSnapshot } from './restore.fake.ts'
import type { TestSnapshot } from './restore.fake.ts'
import { MappedMemory } from './restore-native.ts'
import type { PagedImage, Restored } from './restore.ts'
import { PAGE_BYTES } from './snapshot.ts'

const native = loadNative()
const skip = native === undefined ? 'the addon is not built: node scripts/build-native.ts' : native.faultsMissing !== undefined ? `there is no userfaultfd: ${native.faultsMissing}` : false

/** Those of the contract, and those that only the addon and recording have. */
/** `zstd` is handed its pages: it has a test of its own. */
const ownModes = restoreModes.filter((mode) => mode !== 'zstd')
const modes: readonly Restored['mode'][] = [...ownModes, 'pipelined', 'demand', 'lazy-random', ...(native?.notingSupport() === undefined ? ['write-protect' as const] : [])]

const PAGES = 600
/** Runs of three pages, a hole of 200 pages, and single pages. */
const stored = (page: number): boolean => (page < 300 ? page % 5 < 3 : page >= 500 && page % 2 === 0)
/** Out of order, with stored and zero pages, over some of the runs' borders. */
const set = [501, 500, 502, 10, 11, 12, 13, 0, 1, 250, 251, 252, 400, 401]
const STORED_IN_SET = set.filter(stored).length

const makeTestSnapshot = (seed = 1): TestSnapshot => makeSnapshot({ pages: PAGES, stored, set, seed })

function assertHolds(memory: WebAssembly.Memory, snapshot: TestSnapshot): void {
  const bytes = Buffer.from(memory.buffer)
  for (let page = 0; page < bytes.length / PAGE_BYTES; page++) {
    const found = bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
    const wanted = page < PAGES ? snapshot.expected.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES) : new Uint8Array(PAGE_BYTES)
    assert(found.equals(wanted), `page ${page} begins ${found.readUInt32LE(0).toString(16)}`)
  }
}

describe('a restored memory', { skip }, () => {
  for (const mode of modes) {
    test(`holds the image and zeros behind it, and writing to it changes no file (${mode})`, () => {
      using snapshot = makeTestSnapshot()
      using image = MappedMemory.open(snapshot)
      const memory = dirtyMemory(PAGES)
      using paged = new MappedMemory(native!, memory)
      const restored = paged.restore(image, mode)
      assert.equal(restored.mode, mode)
      assertHolds(memory, snapshot)
      new Uint8Array(memory.buffer).fill(0xdd)
      paged.restore(image, mode)
      assertHolds(memory, snapshot)
    })
  }

  test('can be restored in any mode after any other, from another image, and after it has grown', () => {
    using first = makeTestSnapshot(1)
    using second = makeTestSnapshot(3)
    using firstImage = MappedMemory.open(first)
    using secondImage = MappedMemory.open(second)
    const memory = dirtyMemory(PAGES)
    using paged = new MappedMemory(native!, memory)
    const order: [Restored['mode'], PagedImage, TestSnapshot][] = modes.flatMap((a) => modes.flatMap((b) => [[a, firstImage, first], [b, secondImage, second]] as [Restored['mode'], PagedImage, TestSnapshot][]))
    for (const [index, [mode, image, snapshot]] of order.entries()) {
      if (index === 20) memory.grow(2)
      paged.restore(image, mode)
      if (index % 3 === 0) assertHolds(memory, snapshot)
      new Uint8Array(memory.buffer).subarray((index * 7919) % 2_000_000).fill(index)
    }
    paged.restore(firstImage, 'direct')
    assertHolds(memory, first)
  })

  test('holds the image when its working set is so large that two threads install it', () => {
    const pages = 4096
    const touched = Array.from({ length: pages }, (_, page) => page).filter((page) => page % 11 < 5)
    using snapshot = makeSnapshot({ pages, stored: () => true, set: touched })
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(pages)
    using paged = new MappedMemory(native!, memory)
    for (const mode of ['working-set', 'reap', 'pipelined', 'concurrent'] as const) {
      paged.restore(image, mode)
      const bytes = Buffer.from(memory.buffer)
      const wrong = touched.filter((page) => Buffer.compare(bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), snapshot.expected.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)) !== 0)
      assert.deepEqual(wrong, [], mode)
      if (mode !== 'concurrent') assert.equal(paged.faults().pagesFaulted, 0, mode)
      assert.equal(Buffer.compare(bytes.subarray(0, snapshot.expected.length), snapshot.expected), 0, mode)
    }
  })

  test('is restored on another thread just so, and is nobody else\'s meanwhile', async () => {
    using snapshot = makeTestSnapshot()
    using image = MappedMemory.open(snapshot)
    const memories = ownModes.map(() => dirtyMemory(PAGES))
    using stack = new DisposableStack()
    const paged = memories.map((memory) => stack.use(new MappedMemory(native!, memory)))
    const under = paged.map((one, index) => one.restoreSoon(image, ownModes[index]!))
    assert.throws(() => paged[0]!.restore(image, 'lazy'), /wait for that first/)
    const restored = await Promise.all(under)
    assert.deepEqual(restored.map(({ mode }) => mode), ownModes)
    for (const memory of memories) assertHolds(memory, snapshot)
  })

  test('reads what is missing on demand, and counts it, in modes that prefetch', () => {
    using snapshot = makeTestSnapshot()
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(PAGES)
    using paged = new MappedMemory(native!, memory)
    for (const mode of ['working-set', 'reap', 'direct', 'pipelined'] as const) {
      const restored = paged.restore(image, mode)
      assert.deepEqual([restored.pagesPrefetched, restored.zeroPagesPrefetched, restored.bytesRead], [STORED_IN_SET, set.length - STORED_IN_SET, STORED_IN_SET * PAGE_BYTES], mode)
      const bytes = new Uint8Array(memory.buffer)
      for (const page of set) assert.equal(bytes[page * PAGE_BYTES], snapshot.expected[page * PAGE_BYTES])
      assert.deepEqual([paged.faults().pagesFaulted, paged.faults().zeroPagesFaulted], [0, 0], mode)
      // 20 is stored and not in the set; 3 is a hole, so small that it is served too.
      for (const page of [20, 3, 20, 3]) assert.equal(bytes[page * PAGE_BYTES + 5], snapshot.expected[page * PAGE_BYTES + 5])
      const { pagesFaulted, zeroPagesFaulted, bytesFaulted } = paged.faults()
      assert.deepEqual([pagesFaulted, zeroPagesFaulted, bytesFaulted, [...paged.faultOrder()]], [1, 1, PAGE_BYTES, [20, 3]], mode)
    }
    // Large holes are ordinary memory in the mode direct.
    paged.restore(image, 'direct')
    assert.equal(new Uint8Array(memory.buffer)[450 * PAGE_BYTES], 0)
    assert.equal(paged.faults().zeroPagesFaulted, 0)
  })

  test('can be restored from pages in memory, as those of a compressed working set', () => {
    using snapshot = makeTestSnapshot()
    const { workingSet, ...source } = snapshot
    using image = MappedMemory.open(source, workingSet)
    const memory = dirtyMemory(PAGES)
    using paged = new MappedMemory(native!, memory)
    const pages = Buffer.concat([...pagesOfRuns(workingSet!.runs)].map((page) => snapshot.expected.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)))
    const restored = paged.restoreFrom(image, pages)
    assert.deepEqual([restored.pagesPrefetched, restored.bytesRead], [STORED_IN_SET, 0])
    for (const page of set) assert.equal(new Uint8Array(memory.buffer)[page * PAGE_BYTES + 9], snapshot.expected[page * PAGE_BYTES + 9])
    assert.equal(paged.faults().pagesFaulted, 0)
    assertHolds(memory, snapshot)
    assert.throws(() => paged.restoreFrom(image, pages.subarray(1)), TypeError)
    assert.deepEqual([restored.mode, paged.modes(image)], ['zstd', ['lazy', 'copy', 'zstd']])
    assert.throws(() => paged.restore(image, 'reap'), /none has been recorded/)
    assert.throws(() => paged.restore(image, 'zstd'), /restoreFrom/)
  })

  test('gets its working set while it is used already (concurrent)', async () => {
    using snapshot = makeSnapshot({ pages: 4096, stored: (page) => page % 3 !== 0, set: Array.from({ length: 3000 }, (_, index) => 4095 - index) })
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(4096)
    using paged = new MappedMemory(native!, memory)
    for (let round = 0; round < 5; round++) {
      paged.restore(image, 'concurrent')
      assert(Buffer.from(memory.buffer).equals(snapshot.expected))
      for (let state = paged.faults().prefetch!.state; state === 'running'; state = paged.faults().prefetch!.state) await new Promise((resolve) => { setImmediate(resolve) })
      // Whoever was faster than the prefetch waited for it: only what it does not bring was fetched.
      const { prefetch, pagesFaulted } = paged.faults()
      assert.deepEqual([prefetch!.state, prefetch!.pagesPrefetched, prefetch!.pagesRaced], ['done', 2000, 0])
      assert.equal(pagesFaulted, Array.from({ length: 1096 }, (_, page) => page).filter((page) => page % 3 !== 0).length)
    }
    // One that is restored, or dropped, while the thread is at work.
    for (let round = 0; round < 20; round++) paged.restore(image, 'concurrent')
    paged.restore(image, 'lazy')
    assert(Buffer.from(memory.buffer).equals(snapshot.expected))
    paged.restore(image, 'concurrent')
  })

  test('fetches what a prefetch beside the code could not bring', () => {
    const pages = Array.from({ length: 2000 }, (_, page) => 1999 - page)
    using snapshot = makeSnapshot({ pages: 2048, stored: () => true, set: pages })
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(2048)
    using paged = new MappedMemory(native!, memory)
    truncateSync(join(dirname(snapshot.imagePath), 'working-set'), 800 * PAGE_BYTES)
    paged.restore(image, 'concurrent')
    assert(Buffer.from(memory.buffer).equals(snapshot.expected))
    const { prefetch, pagesFaulted, lost } = paged.faults()
    assert.deepEqual([prefetch!.state, lost], ['failed', false])
    assert(prefetch!.pagesPrefetched < 800, `${prefetch!.pagesPrefetched} pages came out of a file that has fewer than 800`)
    assert.equal(prefetch!.pagesPrefetched + pagesFaulted, 2048)
  })

  test('leaves alone what is mapped over it while a prefetch is at work', async () => {
    using snapshot = makeSnapshot({ pages: 4096, stored: () => true, set: Array.from({ length: 4096 }, (_, page) => page) })
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(4096)
    using paged = new MappedMemory(native!, memory)
    const object = Buffer.alloc(1500 * PAGE_BYTES, 'an object ')
    // What it is called where it is used (transfer/shared-memory.ts), which this folder does not know.
    const { copy, mapInto } = native!.sharedMemory as { copy(bytes: Uint8Array): number; mapInto(memory: ArrayBuffer, offset: number, fd: number, bytes: number): void }
    const fd = copy(object)
    try {
      for (let round = 0; round < 5; round++) {
        paged.restore(image, 'concurrent')
        mapInto(memory.buffer, 2000 * PAGE_BYTES, fd, object.length)
        for (let state = paged.faults().prefetch!.state; state === 'running'; state = paged.faults().prefetch!.state) await new Promise((resolve) => { setImmediate(resolve) })
        const { prefetch } = paged.faults()
        assert.deepEqual([prefetch!.state, prefetch!.pagesPrefetched + prefetch!.pagesRaced], ['done', 4096])
        const expected = Buffer.from(snapshot.expected)
        object.copy(expected, 2000 * PAGE_BYTES)
        assert(Buffer.from(memory.buffer).equals(expected))
      }
    } finally {
      closeSync(fd)
    }
  })

  test('is right for working sets of any size, around those of the chunks in which they are read', async () => {
    const memory = dirtyMemory(1600)
    using paged = new MappedMemory(native!, memory)
    for (const pages of [0, 1, 64, 65, 191, 448, 449, 960, 1000, 1473]) {
      using snapshot = makeSnapshot({ pages: 1600, stored: () => true, set: Array.from({ length: pages }, (_, page) => page) })
      using image = MappedMemory.open(snapshot)
      for (const mode of ['pipelined', 'concurrent'] as const) {
        const restored = await paged.restoreSoon(image, mode)
        // A small one is there before the code runs, in either mode.
        if (mode !== 'concurrent' || pages < 512) assert.deepEqual([mode, restored.pagesPrefetched, paged.faults().pagesFaulted], [mode, pages, 0])
        assert(Buffer.from(memory.buffer).subarray(0, snapshot.expected.length).equals(snapshot.expected), `${mode}, ${pages} pages`)
        assert.equal(paged.faults().pagesFaulted, 1600 - pages)
      }
    }
  })

  test('is reset to its image by one call, when it was mapped', () => {
    using snapshot = makeTestSnapshot()
    const memory = dirtyMemory(PAGES)
    using paged = new MappedMemory(native!, memory)
    {
      using image = MappedMemory.open(snapshot)
      paged.restore(image, 'lazy')
    }
    for (let round = 0; round < 3; round++) {
      new Uint8Array(memory.buffer).fill(round + 1)
      paged.reset()
      assertHolds(memory, snapshot)
    }
    paged.empty()
    assert.throws(() => paged.reset(), TypeError)
  })

  test('is refused when the files end too early, with an error that says so (T2)', async () => {
    for (const mode of ['reap', 'direct', 'working-set', 'pipelined'] as const) {
      using snapshot = makeTestSnapshot()
      const short = { ...snapshot, workingSet: { ...snapshot.workingSet!, offset: 5 * PAGE_BYTES } }
      using image = MappedMemory.open(short)
      const memory = dirtyMemory(PAGES)
      using paged = new MappedMemory(native!, memory)
      assert.throws(() => paged.restore(image, mode), { code: 'SNAPSHOT_DAMAGED' })
      await assert.rejects(paged.restoreSoon(image, mode), { code: 'SNAPSHOT_DAMAGED' })
      paged.restore(image, 'lazy')
      assertHolds(memory, snapshot)
    }
  })

  test('says that a page is lost when the image ends before it, instead of dying', () => {
    using snapshot = makeTestSnapshot()
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(PAGES)
    using paged = new MappedMemory(native!, memory)
    for (const mode of ['direct', 'demand'] as const) {
      paged.restore(image, mode)
      truncateSync(snapshot.imagePath, snapshot.imageOffset + 40 * PAGE_BYTES)
      assert.equal(new Uint8Array(memory.buffer)[20 * PAGE_BYTES + 1], snapshot.expected[20 * PAGE_BYTES + 1])
      assert.equal(paged.faults().lost, false)
      assert.equal(new Uint8Array(memory.buffer)[46 * PAGE_BYTES], 0)
      assert.equal(paged.faults().lost, true)
    }
  })

  test('keeps its descriptors to itself: those of the source may be closed', () => {
    const memory = dirtyMemory(PAGES)
    using paged = new MappedMemory(native!, memory)
    const snapshot = makeTestSnapshot()
    using image = MappedMemory.open(snapshot)
    snapshot[Symbol.dispose]()
    paged.restore(image, 'direct')
    assertHolds(memory, snapshot)
  })
})

describe('a mistake', { skip }, () => {
  test('is refused before it touches memory', () => {
    using snapshot = makeTestSnapshot()
    const { workingSet: _, ...withoutSet } = snapshot
    using image = MappedMemory.open(snapshot)
    using bare = MappedMemory.open(withoutSet)
    const memory = dirtyMemory(PAGES)
    const small = new WebAssembly.Memory({ initial: 1 })
    using paged = new MappedMemory(native!, memory)
    using smallPaged = new MappedMemory(native!, small)
    assert.throws(() => new MappedMemory(native!, memory), /a range already/)
    assert.throws(() => smallPaged.restore(image, 'lazy'), /the memory 65536/)
    assert.throws(() => paged.restore(bare, 'reap'), /needs a working set/)
    assert.deepEqual(paged.modes(bare), ['lazy', 'copy'])
    assert.deepEqual(paged.modes(image), ownModes)
    assert.throws(() => native!.restore(123_456, 0, 0), /no such range/)
    assert.throws(() => native!.adopt({ buffer: new ArrayBuffer(100) }), /page-aligned/)
    for (const broken of [{ pagesStored: Uint32Array.of(599, 2) }, { pagesStored: Uint32Array.of(5, 1, 5, 1) }, { pagesStored: Uint32Array.of(5, 0) }, { pagesStored: Uint32Array.of(9, 1, 5, 1) }, { pagesStored: Uint32Array.of(1) }, { imageOffset: 5 }, { imageBytes: 0 }, { workingSet: { ...snapshot.workingSet!, zeroRuns: Uint32Array.of(0xffff_ffff, 0xffff_ffff) } }, { workingSet: { ...snapshot.workingSet!, zeroRuns: Uint32Array.of(10, 1) } }]) {
      assert.throws(() => MappedMemory.open({ ...snapshot, ...broken }), TypeError, JSON.stringify(Object.keys(broken)))
    }
    const dropped = native!.adopt(dirtyMemory(16))
    native!.drop(dropped)
    assert.throws(() => native!.zero(dropped), /no such range/)
    assert.equal(new Uint8Array(memory.buffer)[0], 0xee)
  })
})

test('the portable way restores the same, and says what it cannot', async () => {
  using snapshot = makeTestSnapshot()
  using image = CopiedMemory.open(snapshot)
  const memory = dirtyMemory(PAGES)
  using paged = new CopiedMemory(memory)
  const restored = paged.restore(image, 'copy')
  assertHolds(memory, snapshot)
  assert.equal(restored.pagesPrefetched, Array.from({ length: PAGES }, (_, page) => page).filter(stored).length)
  new Uint8Array(memory.buffer).fill(7)
  await paged.restoreSoon(image, 'copy')
  assertHolds(memory, snapshot)
  assert.throws(() => paged.restore(image, 'reap'), { code: 'NATIVE_MISSING' })
  truncateSync(snapshot.imagePath, snapshot.imageOffset + 40 * PAGE_BYTES)
  await assert.rejects(paged.restoreSoon(image, 'copy'), { code: 'SNAPSHOT_DAMAGED' })
})
