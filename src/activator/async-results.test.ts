/**
 * Goal: results are found while they are kept, and leave nothing behind when they are not any more.
 *
 * Method: a real store and real blobs, and a clock that is told the time.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import fc from 'fast-check'
import { InvocationIds } from '#contract/ids.ts'
import { eventually, storeGround } from './async-queue.fake.ts'
import { AsyncResults, RESULTS_JOURNAL, RESULTS_KEPT_MS } from './async-results.ts'
import { OwnBlobs } from './own-blobs.ts'

test('blobs of two owners are two, of one owner one, and come back as they were (O1)', async (context) => {
  const { blobs, digests } = await storeGround(context)
  const own = new OwnBlobs(blobs)
  const [a, b, again] = [await own.put('a', Readable.from([Buffer.from('same')])), await own.put('b', Readable.from([Buffer.from('same')])), await own.put('a', Readable.from([Buffer.from('same')]))]
  assert.notEqual(a, b)
  assert.equal(a, again)
  await own.delete(a)
  await own.delete(a)
  assert.deepEqual(await digests(), [b])
  await assert.rejects(own.get(a), { code: 'ENTITY_NOT_FOUND' })
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 4 }), async (chunks) => {
      const { bytes, body } = await own.get(await own.put('c', Readable.from(chunks.map((chunk) => Buffer.from(chunk)))))
      const read: Buffer[] = []
      for await (const chunk of body) read.push(chunk as Buffer)
      assert.ok(Buffer.concat(read).equals(Buffer.concat(chunks)))
      assert.equal(bytes, Buffer.concat(read).length)
    }),
    { numRuns: 20 },
  )
})

test('a result is found by its id for a day, and then it and its blob are removed within the hour (E1)', async (context) => {
  const { store, blobs, clock, digests } = await storeGround(context)
  const ids = new InvocationIds({ randomBytes, nowMs: () => clock.epochMs() })
  const own = new OwnBlobs(blobs)
  const warnings: unknown[] = []
  const results = new AsyncResults({ store, blobs: own, clock, warn: (_message, error) => void warnings.push(error) })
  context.after(() => results.close())
  const [small, large, failed] = [ids.next(), ids.next(), ids.next()]
  const common = { namespace: 'n', status: 200, headers: [] }
  results.append({ id: small, ...common, body: Buffer.from('"blob":').toString('base64') })
  results.append({ id: large, ...common, blob: await own.put(large, Readable.from([Buffer.from('much')])) })
  results.append({ id: failed, ...common, status: 500, error: { code: 'FUNCTION_THREW', message: 'it said "blob": "x"' } })
  results.append({ id: failed, ...common, status: 200 })
  await store.flush()
  results.start()

  assert.equal((await results.bodyOf((await results.find(small))!))?.body.toString(), '"blob":')
  const { body } = (await results.bodyOf((await results.find(large))!))!
  assert.equal(await text(body as Readable), 'much')
  assert.equal((await results.find(failed))?.status, 200, 'the newest')
  assert.equal(await results.find(ids.next()), undefined)

  clock.advance(RESULTS_KEPT_MS - 1)
  const young = ids.next()
  results.append({ id: young, ...common, blob: await own.put(young, Readable.from([Buffer.from('young')])) })
  await store.flush()
  await results.trim()
  assert.equal((await digests()).length, 2)
  clock.advance(2)
  assert.equal(await results.find(large), undefined)
  assert.equal((await digests()).length, 2)
  await eventually(clock, async () => {
    clock.advance(3_600_000)
    return (await digests()).length === 1
  })
  const left: string[] = []
  for await (const { row } of store.read(RESULTS_JOURNAL, { order: 'oldest-first' })) left.push((JSON.parse(row) as { id: string }).id)
  assert.ok(left.every((id) => id === young) || left.length === 5, 'whole batches only')
  assert.deepEqual(warnings, [])
})
