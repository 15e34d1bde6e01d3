/** Goal: the list keeps the order of coming, whoever leaves. Method: compared with an array. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AgeList, AgeNode } from './age-list.ts'

test('what is left is in the order in which it came', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant('add' as const), fc.nat(20)), { maxLength: 100 }), (steps) => {
      const list = new AgeList<number>()
      const other = new AgeList<number>()
      const model: AgeNode<number>[] = []
      for (const [index, step] of steps.entries()) {
        if (step === 'add') {
          const node = new AgeNode(index)
          list.add(node)
          model.push(node)
        } else if (model.length > 0) {
          const [node] = model.splice(step % model.length, 1)
          other.remove(node!)
          list.remove(node!)
          list.remove(node!)
        }
        assert.deepEqual([...list], model.map((node) => node.item))
      }
    }),
  )
})
