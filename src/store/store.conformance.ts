/**
 * Goal: every implementation of Store keeps T1 to T5.
 *
 * Method: the suite uses the interface alone. Time is handed in wherever the interface takes it. Where the interface
 * promises no moment, a test looks again until a bounded time has passed. Whether an acknowledged write survives is asked
 * of a child process that is killed with SIGKILL while it writes (store.conformance.child.ts). Random histories against
 * a model are in store.model.conformance.ts, journals in journal.conformance.ts; this suite runs all three.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { runJournalConformance } from './journal.conformance.ts'
import { claimSome, until, withHarness } from './store.harness.ts'
import type { StoreConformance } from './store.harness.ts'
import { runStoreModelConformance } from './store.model.conformance.ts'
import type { EntityChange, QueueItem } from './store.ts'

export type { StoreConformance, StoreHarness } from './store.harness.ts'

const item = (id: string, dueAtMs = 0): QueueItem => ({ id, payload: `{"of":"${id}"}`, dueAtMs })
const ids = (items: readonly { readonly id: string }[]): string[] => items.map((one) => one.id).sort()
const now = { leaseMs: 1000, nowMs: 10 }

export function runStoreConformance(conformance: StoreConformance): void {
  const { name, skip = {} } = conformance
  const withStore = withHarness(conformance)

  describe(`${name} keeps the promises of Store: entities`, () => {
    test('gives back what was put, whatever JSON it is', withStore(async ({ store }) => {
      const values = [null, 0, -1.5, '', 'ü\n\u{1F41D}"\\', [], {}, { a: [{ b: null }], ключ: true }, 'x'.repeat(30_000)]
      for (const [index, value] of values.entries()) {
        const revision = await store.put('values', `key/${index}`, value)
        assert.deepEqual(await store.get('values', `key/${index}`), { key: `key/${index}`, value, revision })
      }
      assert.equal(await store.get('values', 'other'), undefined)
      assert.equal(await store.get('others', 'key/0'), undefined)
    }))

    test('gives every write a higher revision, also after a deletion and a reopening (T2)', withStore(async ({ store, reopen }) => {
      const first = await store.put('c', 'a', 1)
      const second = await store.put('c', 'b', 1)
      const third = await store.put('c', 'a', 1)
      assert(first < second && second < third)
      await store.delete('c', 'a')
      const again = await reopen()
      assert((await again.put('c', 'a', 1)) > third)
    }))

    test('lets exactly one of many writers with the same revision win (T2)', withStore(async ({ store }) => {
      let revision = 0
      for (let round = 0; round < 3; round++) {
        const tries = Array.from({ length: 16 }, (_, index) => store.put('c', 'contended', index, { ifRevision: revision }))
        const settled = await Promise.allSettled(tries)
        const winners = settled.flatMap((one, index) => (one.status === 'fulfilled' ? [{ index, revision: one.value }] : []))
        assert.equal(winners.length, 1)
        for (const one of settled) if (one.status === 'rejected') assert.equal(one.reason.code, 'CONFLICT')
        assert.deepEqual(await store.get('c', 'contended'), { key: 'contended', value: winners[0]!.index, revision: winners[0]!.revision })
        revision = winners[0]!.revision
      }
      await assert.rejects(store.delete('c', 'contended', { ifRevision: revision - 1 }), { code: 'CONFLICT' })
      await store.delete('c', 'contended', { ifRevision: revision })
      await store.delete('c', 'contended')
      assert.equal(await store.get('c', 'contended'), undefined)
      await store.put('c', 'contended', 'new', { ifRevision: 0 })
    }))

    test('lists by key, with prefix, after and limit', withStore(async ({ store }) => {
      const keys = ['fn/a/1', 'fn/a/2', 'fn/a/3', 'fn/ab/1', 'fn/b/1', 'g']
      await Promise.all(keys.toReversed().map((key) => store.put('c', key, key)))
      await store.put('d', 'fn/a/4', 'elsewhere')
      const listed = async (options?: { prefix?: string; after?: string; limit?: number }): Promise<string[]> =>
        (await store.list('c', options)).map((entity) => entity.key)
      assert.deepEqual(await listed(), keys)
      assert.deepEqual(await listed({ prefix: 'fn/a/' }), keys.slice(0, 3))
      assert.deepEqual(await listed({ prefix: 'fn/a/', after: 'fn/a/1' }), keys.slice(1, 3))
      assert.deepEqual(await listed({ after: 'fn/a/3', limit: 2 }), keys.slice(3, 5))
      assert.deepEqual(await listed({ prefix: 'nothing' }), [])
    }))

    test('lists more than a page', withStore(async ({ store }) => {
      const keys = Array.from({ length: 1203 }, (_, index) => `k${String(index).padStart(5, '0')}`)
      await Promise.all(keys.map((key) => store.put('many', key, 1)))
      assert.deepEqual((await store.list('many')).map((entity) => entity.key), keys)
      assert.equal((await store.list('many', { limit: 700 })).length, 700)
    }))

    test('tells listeners of writes in their order, once they are visible (T5)', withStore(async ({ store }) => {
      const changes: EntityChange[] = []
      const stop = store.watch('c', 'fn/', (change) => changes.push(change))
      const first = await store.put('c', 'fn/a', 1)
      await store.put('c', 'other', 1)
      await store.put('d', 'fn/a', 1)
      await store.put('c', 'fn/a', 2, { ifRevision: 0 }).catch(() => {})
      const second = await store.put('c', 'fn/a', 2)
      await store.delete('c', 'fn/a')
      await store.delete('c', 'fn/a')
      const last = await store.put('c', 'fn/last', 3)
      await until(() => changes.length >= 4)
      assert.deepEqual(changes, [
        { key: 'fn/a', entity: { key: 'fn/a', value: 1, revision: first } },
        { key: 'fn/a', entity: { key: 'fn/a', value: 2, revision: second } },
        { key: 'fn/a', entity: undefined },
        { key: 'fn/last', entity: { key: 'fn/last', value: 3, revision: last } },
      ])
      stop()
      await store.put('c', 'fn/a', 4)
      assert.equal(changes.length, 4)
    }))
  })

  describe(`${name} keeps the promises of Store: queues`, () => {
    test('hands out due items once, roughly by their due time (T3)', withStore(async ({ store }) => {
      await store.enqueue('q', [item('c', 3), item('a', 1), item('b', 2), item('later', 11)])
      await store.enqueue('other', [item('x')])
      assert.deepEqual(ids(await claimSome(store, 'q', 2, now)).length, 2)
      const rest = await claimSome(store, 'q', 1, now)
      assert.deepEqual(await store.claim('q', { ...now, limit: 10 }), [])
      assert.equal(rest[0]!.attempt, 1)
      assert.equal(rest[0]!.payload, item(rest[0]!.id).payload)
      assert.deepEqual(ids(await claimSome(store, 'q', 1, { ...now, nowMs: 11 })), ['later'])
    }))

    test('never gives one item to two claimers at a time (T3)', withStore(async ({ store }) => {
      const all = Array.from({ length: 100 }, (_, index) => item(`i${index}`))
      await store.enqueue('q', all)
      const claimed: string[] = []
      await until(async () => {
        const claims = await Promise.all(Array.from({ length: 8 }, () => store.claim('q', { ...now, limit: 7 })))
        for (const one of claims.flat()) claimed.push(one.id)
        return claimed.length >= 100
      })
      assert.deepEqual(claimed.sort(), ids(all))
    }))

    test('claims again what was neither completed nor renewed within its lease (T3)', withStore(async ({ store }) => {
      await store.enqueue('q', [item('lost'), item('done'), item('slow')])
      await claimSome(store, 'q', 3, { leaseMs: 100, nowMs: 0 })
      await store.complete('q', ['done'])
      await store.renew('q', ['slow', 'done', 'unknown'], { leaseMs: 100, nowMs: 60 })
      assert.deepEqual(await store.claim('q', { limit: 9, leaseMs: 100, nowMs: 99 }), [])
      const again = await claimSome(store, 'q', 1, { leaseMs: 100, nowMs: 120 })
      assert.deepEqual(again.map((one) => [one.id, one.attempt]), [['lost', 2]])
      assert.deepEqual(ids(await claimSome(store, 'q', 1, { leaseMs: 100, nowMs: 161 })), ['slow'])
    }))

    test('takes an id once: while it waits, is claimed, is dead, and after it was completed', withStore(async ({ store }) => {
      await store.enqueue('q', [item('a'), item('a'), item('b'), item('c')])
      await store.enqueue('q', [{ ...item('a'), payload: '"other"' }])
      const claimed = await claimSome(store, 'q', 3, now)
      assert.deepEqual(ids(claimed), ['a', 'b', 'c'])
      assert.equal(claimed.find((one) => one.id === 'a')!.payload, item('a').payload)
      await store.bury('q', 'b', 'bad')
      await store.complete('q', ['a'])
      await store.enqueue('q', [item('a'), item('b'), item('c')])
      await until(async () => {
        assert.deepEqual(await store.claim('q', { ...now, limit: 9 }), [])
        const { waiting, claimed, dead } = await store.depth('q')
        return waiting === 0 && claimed === 1 && dead === 1
      })
      assert.equal(await store.find('q', 'a'), undefined)
    }))

    test('puts back for later, buries, lists and redrives', withStore(async ({ store }) => {
      await store.enqueue('q', [item('a'), item('b'), item('c')])
      await claimSome(store, 'q', 3, now)
      await store.retry('q', 'a', 500)
      assert.deepEqual(await store.claim('q', { ...now, limit: 9, nowMs: 499 }), [])
      const [retried] = await claimSome(store, 'q', 1, { ...now, nowMs: 500 })
      assert.deepEqual([retried!.id, retried!.attempt, retried!.dueAtMs], ['a', 2, 500])

      await store.bury('q', 'a', 'threw 5 times')
      await store.bury('q', 'b', 'timed out')
      await until(async () => (await store.dead('q', { limit: 10 })).length === 2)
      const dead = await store.dead('q', { prefix: 'a', limit: 10 })
      assert.deepEqual(dead.map((one) => [one.id, one.attempt, one.reason, one.payload]), [['a', 2, 'threw 5 times', item('a').payload]])
      assert.equal((await store.dead('q', { limit: 1 })).length, 1)
      assert.equal(await store.find('q', 'a'), undefined)
      assert.deepEqual(await store.claim('q', { ...now, limit: 9 }), [])

      assert.equal(await store.redrive('q', ['a', 'unknown'], 600), 1)
      await until(async () => (await store.dead('q', { limit: 10 })).length === 1)
      const [redriven] = await claimSome(store, 'q', 1, { ...now, nowMs: 600 })
      assert.deepEqual([redriven!.id, redriven!.attempt], ['a', 1])
    }))

    test('finds an item wherever it stands, and counts', withStore(async ({ store }) => {
      assert.deepEqual(await store.depth('q'), { waiting: 0, claimed: 0, dead: 0 })
      await store.enqueue('q', [item('a'), item('b', 5)])
      await until(async () => (await store.find('q', 'a'))?.attempt === 0)
      await claimSome(store, 'q', 1, { leaseMs: 10, nowMs: 0 })
      await until(async () => (await store.find('q', 'a'))?.attempt === 1)
      await until(async () => (await store.depth('q')).claimed === 1)
      assert.deepEqual(await store.depth('q'), { waiting: 1, claimed: 1, dead: 0 })
      assert.equal((await store.find('q', 'b'))!.dueAtMs, 5)
      assert.equal(await store.find('q', 'unknown'), undefined)
      for (const unknown of ['unknown', '']) {
        await store.complete('q', [unknown])
        await store.retry('q', unknown, 0)
        await store.bury('q', unknown, 'x')
      }
      assert.equal(await store.redrive('nowhere', ['a'], 0), 0)
      assert.deepEqual(await store.depth('q'), { waiting: 1, claimed: 1, dead: 0 })
    }))

    test('takes payloads of 64 KB, refuses more with BODY_TOO_LARGE, and then none of the call', withStore(async ({ store }) => {
      const largest = { id: 'largest', payload: `"${'x'.repeat(64 * 1024 - 2)}"`, dueAtMs: 0 }
      const tooLarge = { id: 'too-large', payload: `"${'ü'.repeat(32 * 1024)}"`, dueAtMs: 0 }
      await store.enqueue('q', [largest])
      await assert.rejects(store.enqueue('q', [item('with'), tooLarge]), { code: 'BODY_TOO_LARGE' })
      const claimed = await claimSome(store, 'q', 1, now)
      assert.equal(claimed[0]!.payload, largest.payload)
      assert.deepEqual(await store.claim('q', { ...now, limit: 9 }), [])
    }))

    test('keeps items, dead letters and completed ids across a reopening (T1)', withStore(async ({ store, reopen }) => {
      await store.enqueue('q', [item('a'), item('b'), item('c')])
      await claimSome(store, 'q', 3, { leaseMs: 50, nowMs: 0 })
      await Promise.all([store.complete('q', ['a']), store.bury('q', 'b', 'bad')])
      const again = await reopen()
      await again.enqueue('q', [item('a')])
      assert.deepEqual(ids(await claimSome(again, 'q', 1, { leaseMs: 50, nowMs: 50 })), ['c'])
      assert.deepEqual(await again.claim('q', { limit: 9, leaseMs: 50, nowMs: 50 }), [])
      assert.deepEqual(ids(await again.dead('q', { limit: 9 })), ['b'])
    }))

    test('loses nothing acknowledged when its process is killed while it writes (T1, T3)', { skip: skip.kill ?? false }, withStore(async (harness) => {
      await harness.store.close()
      const reported = await killWhileWriting(harness.child, 1500)
      const again = await harness.reopen()
      for (const id of reported.enqueued) {
        const found = await again.find('crash', id)
        if (found === undefined) assert(reported.completing.has(id), `${id} was acknowledged and is gone`)
        else assert(!reported.completed.has(id), `${id} was completed and is back`)
      }
      for (const key of reported.put) assert.notEqual(await again.get('crash', key), undefined, `${key} was acknowledged and is gone`)
      assert(reported.completed.size > 0 && reported.put.size > 0, 'the child did some of everything')

      // All that is left is handed out again, once the leases are over.
      const left = reported.enqueued.filter((id) => !reported.completing.has(id))
      const claimed = new Set<string>()
      await until(async () => {
        for (const one of await again.claim('crash', { limit: 1000, leaseMs: 1000, nowMs: 1e9 })) claimed.add(one.id)
        return left.every((id) => claimed.has(id))
      })
    }))

    test('refuses everything once it is closed, with STOPPING', withStore(async ({ store }) => {
      await store.close()
      await store.close()
      await assert.rejects(store.put('c', 'a', 1), { code: 'STOPPING' })
      await assert.rejects(store.get('c', 'a'), { code: 'STOPPING' })
      await assert.rejects(store.enqueue('q', [item('a')]), { code: 'STOPPING' })
    }))
  })

  runStoreModelConformance(conformance)
  runJournalConformance(conformance)
}

interface Reported {
  readonly enqueued: string[]
  readonly completing: Set<string>
  readonly completed: Set<string>
  readonly put: Set<string>
}

/** Runs the child until it has reported so many acknowledgements, and kills it. */
async function killWhileWriting(child: { readonly module: string; readonly argument: string }, reports: number): Promise<Reported> {
  const program = fileURLToPath(new URL('./store.conformance.child.ts', import.meta.url))
  const running = spawn(process.execPath, [program, child.module, child.argument], { stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = once(running, 'close')
  const reported: Reported = { enqueued: [], completing: new Set(), completed: new Set(), put: new Set() }
  let count = 0
  // What is in the pipe when it dies was acknowledged too: it is read to the end.
  for await (const line of createInterface({ input: running.stdout })) {
    const [kind, id] = line.split(' ') as [string, string]
    if (kind === 'enqueued') reported.enqueued.push(id)
    else if (kind === 'completing') reported.completing.add(id)
    else if (kind === 'completed') reported.completed.add(id)
    else if (kind === 'put') reported.put.add(id)
    if (++count === reports) running.kill('SIGKILL')
  }
  await closed
  assert(count >= reports, `the child ended by itself after ${count} reports`)
  return reported
}
