/**
 * Goal: an upload that nobody completes gives back its disk and its quota after 7 days, and nothing else goes (E1, E2), also beside a part on
 * its way, a completion under way, and after a crash between any two writes.
 *
 * Method: real buckets, a clock that is told the time. What is at the same time is begun in every order that the turns of the loop allow.
 */
import assert from 'node:assert/strict'
import { buffer } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { describe, test } from 'node:test'
import type { Clock } from '#base/clock.ts'
import { withCode } from '../registry.fake.ts'
import { at, ground, text } from './buckets.fake.ts'
import type { Ground } from './buckets.fake.ts'
import type { Address } from './objects.ts'
import { UPLOAD_KEPT_MS, UploadExpiry } from './upload-expiry.ts'
import type { UploadExpiryOptions } from './upload-expiry.ts'

const HOUR_MS = 3600 * 1000

const expiryOf = ({ store, clock, warnings }: Ground, { uploads }: Pick<UploadExpiryOptions, 'uploads'>, more: { readonly clock?: Clock } = {}): UploadExpiry =>
  new UploadExpiry({ store, uploads, clock, warn: (_message, error) => void warnings.push(error), ...more })

async function begun({ buckets }: Ground, address: Address, ...parts: readonly string[]): Promise<string> {
  const { id } = await buckets.uploads.begin(address, {})
  for (const [index, part] of parts.entries()) await buckets.uploads.putPart(address, id, index + 1, text(part))
  return id
}

const unfinished = async ({ store }: Ground): Promise<string[]> => (await store.list<{ readonly id: string }>('s3-uploads')).map(({ value }) => value.id)

describe('UploadExpiry', () => {
  test('aborts what is older than 7 days, in all namespaces, and gives back disk and quota; nothing younger, no object (E1)', async (context) => {
    const of = await ground(context)
    const { buckets, clock, digests, warnings } = of
    await buckets.create('other', 'wax')
    await begun(of, at('a/key//with/slashes/'), 'one', 'two')
    await begun(of, at('k', 'wax', 'other'), 'three')
    await begun(of, at('without parts'))
    const done = await begun(of, at('done'), 'kept')
    await buckets.uploads.complete(at('done'), done, (parts) => ({ parts }))
    clock.advance(1)
    const young = await begun(of, at('a/key//with/slashes/'), 'young')
    clock.advance(UPLOAD_KEPT_MS - 2)
    assert.equal(await expiryOf(of, buckets).sweep(), 0)
    clock.advance(1)
    // A part that came since makes an upload no younger.
    await buckets.uploads.putPart(at('without parts'), (await buckets.uploads.all({ namespace: 'n', bucket: 'bee', prefix: 'without' }))[0]!.upload.id, 1, text('late'))
    assert.equal(await expiryOf(of, buckets).sweep(), 3)
    assert.deepEqual([await unfinished(of), (await digests()).length, await buckets.usage.bytes('n'), await buckets.usage.bytes('other')], [[young], 2, 9, 0])
    assert.equal((await buffer(buckets.contents.read((await buckets.head(at('done')))!))).toString(), 'kept')
    assert.deepEqual(warnings, [])
  })

  test('more than a page of them', async (context) => {
    const of = await ground(context)
    await Promise.all(Array.from({ length: 450 }, (_, index) => begun(of, at(`k${index}`))))
    of.clock.advance(UPLOAD_KEPT_MS)
    assert.equal(await expiryOf(of, of.buckets).sweep(), 450)
    assert.deepEqual(await unfinished(of), [])
  })

  test('counts from the beginning of the upload, whatever restarts came since (E1)', async (context) => {
    const of = await ground(context)
    await begun(of, at('m'), 'part')
    of.clock.advance(UPLOAD_KEPT_MS)
    const again = await of.reopen()
    assert.equal(await again.usage.bytes('n'), 4)
    assert.equal(await expiryOf(of, again).sweep(), 1)
    assert.deepEqual([await of.digests(), await again.usage.bytes('n')], [[], 0])
  })

  test('sweeps at its start and every hour, until it is closed', async (context) => {
    const of = await ground(context)
    const waiting: { readonly delayMs: number; readonly callback: () => void }[] = []
    const clock: Clock = { ...of.clock, epochMs: () => of.clock.epochMs(), monotonicUs: () => of.clock.monotonicUs(), after: (delayMs, callback) => (waiting.push({ delayMs, callback }), { cancel: () => void waiting.pop() }) }
    const next = async (): Promise<() => void> => {
      while (waiting.length === 0) await setImmediate()
      const { delayMs, callback } = waiting.pop()!
      assert.equal(delayMs, HOUR_MS)
      return callback
    }
    await begun(of, at('m'), 'part')
    const expiry = expiryOf(of, of.buckets, { clock })
    of.clock.advance(UPLOAD_KEPT_MS - HOUR_MS)
    expiry.start()
    const later = await next()
    assert.equal((await unfinished(of)).length, 1)
    of.clock.advance(HOUR_MS)
    later()
    await next()
    assert.deepEqual([await unfinished(of), await of.digests()], [[], []])
    expiry.start()
    await expiry.close()
    assert.deepEqual(waiting, [])
  })

  test('a part that is on its way is refused at its end, and leaves nothing (U1)', async (context) => {
    const of = await ground(context)
    const { buckets, clock, digests } = of
    const id = await begun(of, at('m'), 'first')
    clock.advance(UPLOAD_KEPT_MS)
    const { promise: swept, resolve: goOn } = Promise.withResolvers<void>()
    const { promise: halfway, resolve: isHalfway } = Promise.withResolvers<void>()
    async function* source(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('hal')
      isHalfway()
      await swept
      yield Buffer.from('f')
    }
    const part = buckets.uploads.putPart(at('m'), id, 2, { ...text('half'), source: source() })
    await halfway
    assert.equal(await expiryOf(of, buckets).sweep(), 1)
    goOn()
    await assert.rejects(part, withCode('ENTITY_NOT_FOUND'))
    assert.deepEqual([await digests(), await buckets.usage.bytes('n'), await of.store.list('s3-parts'), await of.store.list('s3-notes')], [[], 0, [], []])
  })

  test('a completion at the same time wins or loses as a whole (U2)', async (context) => {
    const of = await ground(context)
    const { buckets, clock, digests } = of
    const outcomes = new Set<boolean>()
    for (let round = 0; round < 24; round++) {
      const id = await begun(of, at('m'), `part ${round} `, 'end')
      clock.advance(UPLOAD_KEPT_MS)
      const after = async <Result>(turns: number, act: () => Promise<Result>): Promise<Result> => {
        for (let turn = 0; turn < turns; turn++) await setImmediate()
        return act()
      }
      const [swept, isDone] = await Promise.all([
        after(Math.max(0, 12 - round), () => expiryOf(of, buckets).sweep()),
        after(Math.max(0, round - 12), () => buckets.uploads.complete(at('m'), id, (parts) => ({ parts }))).then(() => true, () => false),
      ])
      assert.equal(swept, isDone ? 0 : 1)
      const entity = await buckets.head(at('m'))
      assert.equal(entity?.id === id, isDone)
      if (isDone) {
        assert.equal((await buffer(buckets.contents.read(entity!))).toString(), `part ${round} end`)
        await buckets.remove(at('m'))
      }
      assert.deepEqual([await digests(), await buckets.usage.bytes('n'), await unfinished(of)], [[], 0, []])
      outcomes.add(isDone)
    }
    assert.equal(outcomes.size, 2, 'both happened')
    assert.deepEqual(of.warnings, [])
  })

  test('a crash between any two writes of it: after a start, the next one ends it', async (context) => {
    for (let writes = 0, isDone = false; !isDone; writes++) {
      const of = await ground(context)
      await of.buckets.put(at('kept'), text('kept'), {})
      await begun(of, at('m'), 'one', 'two')
      await begun(of, at('other'), 'three')
      of.clock.advance(UPLOAD_KEPT_MS)
      of.failFrom(writes)
      isDone = (await expiryOf(of, of.buckets).sweep()) === 2 && of.warnings.length === 0
      assert.ok(writes < 60, 'it ends')
      const again = await of.reopen()
      await expiryOf(of, again).sweep()
      assert.deepEqual([await unfinished(of), await again.usage.bytes('n'), (await of.digests()).length], [[], 4, 1], `after ${writes} writes`)
      for (const collection of ['s3-parts', 's3-notes']) assert.deepEqual(await of.store.list(collection), [], `${collection} after ${writes} writes`)
    }
  })

  test('one that can\'t be aborted is told of, does not stand in the way of others, and is tried again (E2)', async (context) => {
    const of = await ground(context)
    const ids = [await begun(of, at('a'), 'a'), await begun(of, at('b'), 'b')]
    of.clock.advance(UPLOAD_KEPT_MS)
    let isBroken = true
    const refuse = new Error('no write')
    const { uploads } = of.buckets
    const expiry = expiryOf(of, { uploads: { abort: (address: Address, id: string) => (isBroken && id === ids[0] ? Promise.reject(refuse) : uploads.abort(address, id)) } })
    assert.equal(await expiry.sweep(), 1)
    assert.deepEqual([await unfinished(of), of.warnings], [[ids[0]], [refuse]])
    isBroken = false
    assert.equal(await expiry.sweep(), 1)
    assert.deepEqual(await of.digests(), [])
  })
})
