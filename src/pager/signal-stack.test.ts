/**
 * Goal: a thread that ends gives back the stack that its faults were handled on.
 *
 * Method: worker threads, one after another, each of which has a page of a watched memory served and ends; then the size of the process, which the first
 * ones bring to where it stays.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { isMainThread, Worker } from 'node:worker_threads'
import { loadNative } from './native.ts'
import { dirtyMemory, makeSnapshot } from './restore.fake.ts'
import { MappedMemory } from './restore-native.ts'
import { PAGE_BYTES } from './snapshot.ts'

const WARM_UP = 16
const THREADS = 50
/** As in native/faults.cc. */
const STACK_KB = 64

async function startAndEnd(count: number): Promise<void> {
  for (let index = 0; index < count; index++) assert.deepEqual(await once(new Worker(import.meta.filename), 'exit'), [0])
}

function sizeKb(): number {
  return Number(/^VmSize:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1])
}

if (isMainThread) {
  const native = loadNative()
  const missing = native === undefined ? 'the addon is not built: node scripts/build-native.ts' : native.faultsMissing !== undefined ? `there is no userfaultfd: ${native.faultsMissing}` : false
  test('the signal stacks of ended threads are given back', { skip: missing }, async () => {
    await startAndEnd(WARM_UP)
    const before = sizeKb()
    await startAndEnd(THREADS)
    const grown = sizeKb() - before
    assert(grown < (THREADS * STACK_KB) / 2, `${THREADS} threads left ${grown} kB behind; their signal stacks are ${THREADS * STACK_KB} kB`)
  })
} else {
  using snapshot = makeSnapshot({ pages: 64, stored: () => true })
  using image = MappedMemory.open(snapshot)
  const memory = dirtyMemory(64)
  using paged = new MappedMemory(loadNative()!, memory)
  paged.restore(image, 'demand')
  const at = 5 * PAGE_BYTES
  assert.deepEqual(new Uint8Array(memory.buffer).subarray(at, at + PAGE_BYTES), snapshot.expected.subarray(at, at + PAGE_BYTES))
}
