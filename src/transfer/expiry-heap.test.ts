/** Goal: the heap's first is always what ends first, whatever was added and taken out. Method: compared with a sorted list. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ExpiryHeap } from './expiry-heap.ts'

test('the first is always what ends first', () => {
  const step = fc.oneof(fc.record({ add: fc.nat(50) }), fc.record({ removeAt: fc.nat(100) }), fc.constant('removeFirst' as const))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const heap = new ExpiryHeap<{ expiresAtMs: number; heapIndex: number }>()
      const model: { expiresAtMs: number; heapIndex: number }[] = []
      for (const one of steps) {
        if (one === 'removeFirst' || 'removeAt' in one) {
          const item = one === 'removeFirst' ? heap.first : model[one.removeAt % Math.max(1, model.length)]
          if (item === undefined) continue
          heap.remove(item)
          model.splice(model.indexOf(item), 1)
          // Nothing happens when it is in no heap.
          heap.remove(item)
        } else {
          const item = { expiresAtMs: one.add, heapIndex: -1 }
          heap.add(item)
          model.push(item)
        }
        const first = model.reduce((least, item) => Math.min(least, item.expiresAtMs), Infinity)
        assert.equal(heap.first?.expiresAtMs ?? Infinity, first)
      }
    }),
  )
})
