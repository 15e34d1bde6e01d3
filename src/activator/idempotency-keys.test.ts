/**
 * Goal: a key stands for one invocation exactly as long as that one's result is kept, and leaves nothing behind.
 *
 * Method: a real store, and a clock that is told the time.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { ManualClock } from '#base/clock.ts'
import { InvocationIds } from '#contract/ids.ts'
import type { Store } from '#store/store.ts'
import { eventually, storeGround } from './async-queue.fake.ts'
import { AsyncResults, RESULTS_KEPT_MS } from './async-results.ts'
import { IDEMPOTENCY, IdempotencyKeys } from './idempotency-keys.ts'
import { OwnBlobs } from './own-blobs.ts'

const of = { namespace: 'n', function: 'f', key: 'k' }

interface Ground {
  readonly keys: IdempotencyKeys
  readonly results: AsyncResults
  readonly store: Store
  readonly clock: ManualClock
  readonly warnings: unknown[]
  readonly count: () => Promise<number>
}

async function ground(context: Pick<TestContext, 'after'>): Promise<Ground> {
  const { store, blobs, clock } = await storeGround(context)
  const warnings: unknown[] = []
  const common = { store, clock, warn: (_message: string, error: unknown) => void warnings.push(error) }
  const keys = new IdempotencyKeys({ ...common, ids: new InvocationIds({ randomBytes, nowMs: () => clock.epochMs() }) })
  const results = new AsyncResults({ ...common, blobs: new OwnBlobs(blobs) })
  context.after(() => keys.close())
  return { keys, results, store, clock, warnings, count: async () => (await store.list(IDEMPOTENCY)).length }
}

describe('an idempotency key', () => {
  test('stands for one invocation, new to exactly one of those who ask at once; each function has its own (K1)', async (context) => {
    const { keys } = await ground(context)
    const at = await Promise.all(Array.from({ length: 20 }, () => keys.idFor(of)))
    assert.deepEqual([new Set(at.map(({ id }) => id)).size, at.filter(({ isKnown }) => !isKnown).length], [1, 1])
    assert.deepEqual(await keys.idFor(of), { id: at[0]!.id, isKnown: true })
    const others = await Promise.all([{ ...of, function: 'g' }, { ...of, namespace: 'm' }, { ...of, key: 'l' }].map((other) => keys.idFor(other)))
    assert.deepEqual([new Set([at[0]!.id, ...others.map(({ id }) => id)]).size, others.some(({ isKnown }) => isKnown)], [4, false])
  })

  test('ends in the same millisecond as its result, and stands for a new invocation then (K2)', async (context) => {
    const { keys, results, store, clock } = await ground(context)
    const { id } = await keys.idFor(of)
    results.append({ id, namespace: 'n', status: 200, headers: [] })
    await store.flush()
    clock.advance(RESULTS_KEPT_MS)
    assert.deepEqual([await keys.idFor(of), (await results.find(id))?.id], [{ id, isKnown: true }, id])
    clock.advance(1)
    assert.equal(await results.find(id), undefined)
    const at = await Promise.all(Array.from({ length: 20 }, () => keys.idFor(of)))
    assert.deepEqual([new Set(at.map((next) => next.id)).size, at.filter(({ isKnown }) => !isKnown).length, at[0]!.id === id], [1, 1, false])
  })

  test('that has ended is removed within the hour, page by page, and one that was renewed is not', async (context) => {
    const { keys, clock, count, warnings } = await ground(context)
    await Promise.all(Array.from({ length: 450 }, (_, index) => keys.idFor({ ...of, key: `old ${index}` })))
    keys.start()
    clock.advance(RESULTS_KEPT_MS - 1)
    await Promise.all(Array.from({ length: 5 }, (_, index) => keys.idFor({ ...of, key: `young ${index}` })))
    assert.deepEqual([await keys.sweep(), await count()], [0, 455])
    clock.advance(2)
    const { id } = await keys.idFor({ ...of, key: 'old 7' })
    await eventually(clock, async () => {
      clock.advance(100_000)
      return (await count()) === 6
    })
    assert.deepEqual([await keys.idFor({ ...of, key: 'old 7' }), warnings], [{ id, isKnown: true }, []])
  })

  test('may be renewed while it is swept: one of both gives way', async (context) => {
    const { keys, clock, count } = await ground(context)
    const all = Array.from({ length: 50 }, (_, index) => ({ ...of, key: String(index) }))
    await Promise.all(all.map((one) => keys.idFor(one)))
    clock.advance(RESULTS_KEPT_MS + 1)
    const [renewed] = await Promise.all([Promise.all(all.map((one) => keys.idFor(one))), keys.sweep()])
    assert.deepEqual([renewed.every(({ isKnown }) => !isKnown), await count()], [true, 50])
    assert.deepEqual(await Promise.all(all.map((one) => keys.idFor(one))), renewed.map(({ id }) => ({ id, isKnown: true })))
  })
})
