/**
 * Goal: invocations leave in the order they came, each once, whoever cancels in between; and the cancelled are let go.
 *
 * Method: random pushes, takes and cancellations against an array.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { testInvocation, testRevision } from '#contract/invocation.fake.ts'
import type { Invocation } from '#contract/invocation.ts'
import { InvocationQueue } from './invocation-queue.ts'

const clock = new ManualClock()
const revision = testRevision()
const cancelled = new PlatformError('CANCELLED', 'gone')

function queued(): Invocation {
  return testInvocation(clock, { revision }).invocation
}

/** As a pool does it. */
function cancel(queue: InvocationQueue, invocation: Invocation): void {
  queue.forgot()
  invocation.fail(cancelled, 1)
}

describe('InvocationQueue', () => {
  test('gives what an array would, in any order of pushes, takes and cancellations', () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.constant({ kind: 'push' as const, which: 0 }) },
      { weight: 3, arbitrary: fc.constant({ kind: 'shift' as const, which: 0 }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('cancel' as const), which: fc.nat(1000) }) },
      { weight: 2, arbitrary: fc.constant({ kind: 'peek' as const, which: 0 }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('look' as const), which: fc.integer({ min: 1, max: 5 }) }) },
    )
    fc.assert(fc.property(fc.array(step, { maxLength: 400, size: 'max' }), (steps) => {
      const queue = new InvocationQueue()
      const model: Invocation[] = []
      for (const { kind, which } of steps) {
        if (kind === 'push') {
          const invocation = queued()
          queue.push(invocation)
          model.push(invocation)
        } else if (kind === 'shift') {
          assert.equal(queue.shift(), model.shift())
        } else if (kind === 'peek') {
          assert.equal(queue.peek(), model[0])
        } else if (kind === 'look') {
          const isSo = ({ id }: Invocation): boolean => Number.parseInt(id.slice(-6), 16) % which === 0
          assert.deepEqual(queue.waiting(isSo), model.filter(isSo))
        } else if (model.length > 0) {
          cancel(queue, model.splice(which % model.length, 1)[0]!)
        }
        assert.equal(queue.length, model.length)
      }
      while (model.length > 0) assert.equal(queue.shift(), model.shift())
      assert.deepEqual([queue.shift(), queue.peek(), queue.length], [undefined, undefined, 0])
    }), { numRuns: 150 })
  })

  test('takes ten thousand, and gives them in order', () => {
    const queue = new InvocationQueue()
    const all = Array.from({ length: 10_000 }, queued)
    // Begun in the middle of the ring, so that it grows while it is bent.
    for (let count = 0; count < 7; count++) queue.push(queued())
    for (let count = 0; count < 7; count++) queue.shift()
    for (const invocation of all) queue.push(invocation)
    assert.equal(queue.length, all.length)
    for (const invocation of all) assert.equal(queue.shift(), invocation)
  })

  test('lets the cancelled go while the head waits: sending and cancelling does not fill the memory', async () => {
    const queue = new InvocationQueue()
    const head = queued()
    queue.push(head)
    const weak: WeakRef<Invocation>[] = []
    for (let count = 0; count < 5_000; count++) {
      const invocation = queued()
      weak.push(new WeakRef(invocation))
      queue.push(invocation)
      cancel(queue, invocation)
    }
    assert.deepEqual([queue.length, queue.peek()], [1, head])
    await new Promise((resolve) => setImmediate(resolve))
    collectGarbage()
    assert(weak.filter((one) => one.deref() !== undefined).length < 200)
    assert.equal(queue.shift(), head)
  })
})

/** The collector, without a flag on the command line. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
}
