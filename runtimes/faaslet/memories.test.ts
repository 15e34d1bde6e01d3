/**
 * Goal: what was mapped over a memory goes when the memory is given back or dropped, wherever in it that was, and not with a collection (M2, M3).
 *
 * Method: real memories and a real object, which /proc/self/maps names by its inode as long as anything of this process shows it. No test collects.
 */
import assert from 'node:assert/strict'
import { closeSync, fstatSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { sharedMemory, type SharedMemory } from '../../src/transfer/shared-memory.ts'
import type { Faaslet } from './guest.ts'
import { drop, holdMemory, Memories } from './memories.ts'
import type { HeldMemory } from './memories.ts'

const native = sharedMemory() as SharedMemory
const skip = native === undefined ? 'the addon is not built: node scripts/build-native.ts' : false
const WASM_PAGE = 65_536
const BYTES = 3 * WASM_PAGE

/** One instance for each time that it is called. */
const instantiate = (memory: WebAssembly.Memory): Faaslet => ({ memory, exports: {}, invocation: undefined, state: undefined })

/** Maps an object of {@link BYTES} there. @returns how many mappings of this process show some of it. */
function mapped({ memory }: Pick<HeldMemory, 'memory'>, at: number): () => number {
  const fd = native.copy(Buffer.alloc(BYTES, 'x'))
  const { ino } = fstatSync(fd)
  native.mapInto(memory.buffer, at, fd, BYTES)
  closeSync(fd)
  const count = (): number => readFileSync('/proc/self/maps', 'utf8').split('\n').filter((line) => line.split(/\s+/)[4] === String(ino)).length
  assert.deepEqual([count(), Buffer.from(memory.buffer)[at + BYTES - 1]], [1, 120])
  return count
}

describe('memories of faaslets', { skip }, () => {
  test('as large as they began are used again, and show nothing of what was mapped over them', () => {
    const memories = new Memories({ initial: 8, maximum: 16 }, instantiate)
    const held = memories.take()
    const count = mapped(held, WASM_PAGE)
    memories.give(held, undefined)
    assert.equal(count(), 0)
    assert.equal(memories.take(), held)
    assert.ok(Buffer.from(held.memory.buffer).equals(Buffer.alloc(8 * WASM_PAGE)))
    memories.give(held, undefined)
    memories.close()
  })

  test('have their next instance ready after the answer, once, and only while they are idle (M4)', async () => {
    const memories = new Memories({ initial: 8, maximum: 16 }, instantiate)
    const held = memories.take()
    assert.equal(held.instance, undefined)
    memories.give(held, undefined)
    assert.equal(held.instance, undefined, 'not before the answer has left')
    await new Promise(setImmediate)
    const instance = held.instance as Faaslet | undefined
    assert.equal(instance?.memory, held.memory)
    assert.equal(memories.take(), held)
    held.instance = undefined
    memories.give(held, undefined)
    assert.equal(memories.take(), held)
    await new Promise(setImmediate)
    assert.equal(held.instance, undefined, 'it is in use')
    memories.give(held, undefined)
    await new Promise(setImmediate)
    assert.ok(held.instance !== undefined && held.instance !== instance)
    memories.close()
  })

  test('that have grown are dropped, with what was mapped over the old part, the new part, and both', () => {
    const memories = new Memories({ initial: 8, maximum: 16 }, instantiate)
    for (const at of [0, 6 * WASM_PAGE, 8 * WASM_PAGE, 13 * WASM_PAGE]) {
      const held = memories.take()
      held.memory.grow(8)
      const count = mapped(held, at)
      memories.give(held, undefined)
      assert.equal(count(), 0, `mapped at ${at}`)
      assert.notEqual(memories.take(), held)
    }
  })

  test('that grow after something was mapped, too', () => {
    const memories = new Memories({ initial: 8, maximum: 16 }, instantiate)
    const held = memories.take()
    const count = mapped(held, 2 * WASM_PAGE)
    held.memory.grow(4)
    const more = mapped(held, 9 * WASM_PAGE)
    held.memory.grow(4)
    memories.give(held, undefined)
    assert.deepEqual([count(), more()], [0, 0])
  })

  test('that were nobody\'s until they are dropped give theirs up as well', () => {
    const memory = new WebAssembly.Memory({ initial: 8, maximum: 16 })
    const count = mapped({ memory }, 4096)
    memory.grow(2)
    const more = mapped({ memory }, 7 * WASM_PAGE)
    drop(holdMemory(memory))
    assert.deepEqual([count(), more()], [0, 0])
    assert.ok(Buffer.from(memory.buffer).equals(Buffer.alloc(10 * WASM_PAGE)))
  })
})
