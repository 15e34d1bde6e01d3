/**
 * Goal: an object is there whole or not at all; its bytes are there as long as something uses them, and not longer; also after a
 * crash between any two writes (contents O1 to O3, buckets B1 to B3, uploads U1, U2, usage, listing L1, L2).
 *
 * Method: a real store and real blobs. A crash between two writes is a store whose writes fail from the nth on, and everything opened
 * again on the same data: whatever n is, nothing may be lost that was acknowledged, and no blob be left that nothing uses.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { testGround, withCode } from '../registry.fake.ts'
import { at, ground, incoming, text } from './buckets.fake.ts'
import type { Buckets } from './buckets.ts'
import { KeyedLock } from './keyed-lock.ts'
import { listKeys } from './listing.ts'
import type { Chosen, ObjectEntity, Part } from './objects.ts'

const read = async (buckets: Buckets, entity: ObjectEntity | undefined): Promise<string> => (await buffer(buckets.contents.read(entity!))).toString()
const all = (parts: readonly Part[]): Chosen => ({ parts })

describe('Buckets', () => {
  test('keeps a blob as long as one object uses it, and frees its disk space then (O1)', async (context) => {
    const { buckets, digests } = await ground(context)
    await Promise.all([buckets.put(at('a'), text('same'), {}), buckets.put(at('b'), text('same'), {}), buckets.put(at('c'), text('other'), {})])
    assert.equal((await digests()).length, 2)
    await buckets.copy((await buckets.head(at('b')))!, at('d'), {})
    await buckets.remove(at('a'))
    await buckets.put(at('b'), text('new'), {})
    assert.equal(await read(buckets, await buckets.head(at('d'))), 'same')
    await buckets.remove(at('d'))
    assert.equal((await digests()).length, 2)
    for (const key of ['b', 'c', 'never']) await buckets.remove(at(key))
    assert.deepEqual(await digests(), [])
    assert.equal(await buckets.usage.bytes('n'), 0)
  })

  test('never loses a blob to a deletion at the same time as an upload of the same bytes (O1)', async (context) => {
    const { buckets, digests } = await ground(context)
    for (let round = 0; round < 20; round++) {
      await buckets.put(at('old'), text(`round ${round}`), {})
      const [, entity] = await Promise.all([buckets.remove(at('old')), buckets.put(at('new'), text(`round ${round}`), {})])
      assert.equal(await read(buckets, entity), `round ${round}`)
    }
    assert.equal((await digests()).length, 1)
  })

  test('an object that is read when it is deleted is read to its end, and goes then (O3)', async (context) => {
    const { buckets, digests } = await ground(context)
    const bytes = randomBytes(3_000_000)
    const entity = await buckets.put(at('k'), incoming(bytes), {})
    const stream = buckets.contents.read(entity)
    await buckets.remove(at('k'))
    assert.equal((await digests()).length, 1)
    assert.ok((await buffer(stream)).equals(bytes))
    while ((await digests()).length > 0) await new Promise((resolve) => setImmediate(resolve))
  })

  test('one of many conditional writes wins, and what lost leaves nothing (B2)', async (context) => {
    const { buckets, digests } = await ground(context)
    const taken = new Error('taken')
    const tries = Array.from({ length: 10 }, (_, index) => buckets.put(at('k'), text(`${index}`), {}, (current) => {
      if (current !== undefined) throw taken
    }))
    const settled = await Promise.allSettled(tries)
    assert.equal(settled.filter((one) => one.status === 'fulfilled').length, 1)
    for (const one of settled) if (one.status === 'rejected') assert.equal(one.reason, taken)
    assert.equal((await digests()).length, 1)
    assert.equal(await buckets.usage.bytes('n'), 1)
  })

  test('a bucket is deleted when it is empty, also of what is on its way (B3)', async (context) => {
    const { buckets, digests } = await ground(context)
    const puts = Array.from({ length: 10 }, (_, index) => buckets.put(at(`k${index}`), text(`${index}`), {}).then(() => true, () => false))
    let isGone = await buckets.delete('n', 'bee')
    const written = (await Promise.all(puts)).filter(Boolean).length
    for (let index = 0; index < 10 && !isGone; index++) await buckets.remove(at(`k${index}`))
    if (isGone) assert.equal(written, 0)
    else isGone = await buckets.delete('n', 'bee')
    assert.ok(isGone)
    assert.deepEqual(await digests(), [])
    await assert.rejects(buckets.put(at('k'), text('x'), {}), withCode('ENTITY_NOT_FOUND'))
  })

  test('refuses what is over the quota, counts what is on its way, and counts anew when opened', async (context) => {
    const { buckets, reopen, digests } = await ground(context, { bytesMax: 100 })
    await buckets.put(at('a'), incoming(Buffer.alloc(60)), {})
    await assert.rejects(buckets.put(at('b'), incoming(Buffer.alloc(41)), {}), withCode('STORAGE_EXCEEDED'))
    const both = await Promise.allSettled([buckets.put(at('b'), incoming(Buffer.alloc(30)), {}), buckets.put(at('c'), incoming(Buffer.alloc(30)), {})])
    assert.deepEqual(both.map((one) => one.status).sort(), ['fulfilled', 'rejected'])
    const upload = await buckets.uploads.begin(at('m'), {})
    await buckets.uploads.putPart(at('m'), upload.id, 1, incoming(Buffer.alloc(10)))
    await assert.rejects(buckets.uploads.putPart(at('m'), upload.id, 2, text('x')), withCode('STORAGE_EXCEEDED'))
    const again = await reopen()
    assert.equal(await again.usage.bytes('n'), 100)
    assert.equal(await again.usage.bytes('other'), 0)
    await again.deleteAll('n')
    assert.deepEqual([again.list('n'), await digests(), await again.usage.bytes('n')], [[], [], 0])
  })

  test('an upload becomes an object at once, with the parts chosen; the others go (U1, U2)', async (context) => {
    const { buckets, digests } = await ground(context)
    const { id } = await buckets.uploads.begin(at('m'), { contentType: 'x/y' })
    await Promise.all([2, 1, 3].map((number) => buckets.uploads.putPart(at('m'), id, number, text(`part ${number} `))))
    await buckets.uploads.putPart(at('m'), id, 2, text('PART 2 '))
    assert.equal(await buckets.head(at('m')), undefined)
    assert.deepEqual((await buckets.uploads.parts(at('m'), id, { after: 1 })).map((part) => part.number), [2, 3])
    assert.deepEqual((await buckets.uploads.all({ namespace: 'n', bucket: 'bee' })).map((one) => [one.address.key, one.upload.id]), [['m', id]])
    const entity = await buckets.uploads.complete(at('m'), id, (parts) => ({ parts: parts.slice(0, 2) }))
    assert.equal(await read(buckets, entity), 'part 1 PART 2 ')
    assert.equal((await buffer(buckets.contents.read(entity, { from: 5, until: 9 }))).toString(), '1 PA')
    assert.deepEqual([entity.bytes, entity.contentType, (await digests()).length, await buckets.usage.bytes('n')], [14, 'x/y', 2, 14])
    assert.equal(entity.etag, `${createHash('md5').update(['part 1 ', 'PART 2 '].map((part) => createHash('md5').update(part).digest('hex')).join(''), 'hex').digest('hex')}-2`)
    assert.deepEqual(await buckets.uploads.complete(at('m'), id, all), entity)
    await assert.rejects(buckets.uploads.putPart(at('m'), id, 1, text('late')), withCode('ENTITY_NOT_FOUND'))
    await assert.rejects(buckets.uploads.abort(at('m'), id), withCode('ENTITY_NOT_FOUND'))
    const copy = await buckets.copy(entity, at('copy'), {})
    await buckets.remove(at('m'))
    assert.equal(await read(buckets, copy), 'part 1 PART 2 ')
    await buckets.remove(at('copy'))
    const second = await buckets.uploads.begin(at('m'), {})
    await buckets.uploads.putPart(at('m'), second.id, 1, text('x'))
    await buckets.uploads.abort(at('m'), second.id)
    assert.deepEqual([await digests(), await buckets.usage.bytes('n')], [[], 0])
  })
})

test('an upload that a crash left behind its object counts once', async (context) => {
  const { buckets, store, reopen } = await ground(context)
  const upload = await buckets.uploads.begin(at('m'), {})
  await buckets.uploads.putPart(at('m'), upload.id, 1, text('12345'))
  await buckets.uploads.complete(at('m'), upload.id, all)
  await store.put('s3-uploads', `n/bee/m/${upload.id}`, upload)
  assert.equal(await (await reopen()).usage.bytes('n'), 5)
})

describe('a crash after any write', () => {
  const value = (name: string): string => `the bytes of ${name}`
  const scenarios: Record<string, (buckets: Buckets) => Promise<unknown>> = {
    'of a put': (buckets) => buckets.put(at('new'), text(value('new')), {}),
    'of a replacement': (buckets) => buckets.put(at('kept'), text(value('new')), {}),
    'of a deletion': (buckets) => buckets.remove(at('kept')),
    'of a copy of parts': async (buckets) => buckets.copy((await buckets.head(at('multi')))!, at('copy'), {}),
    'of a replaced object of parts': (buckets) => buckets.put(at('multi'), text(value('new')), {}),
    'of an upload': async (buckets) => {
      const { id } = await buckets.uploads.begin(at('kept'), {})
      for (const number of [1, 2, 2]) await buckets.uploads.putPart(at('kept'), id, number, text(value(`part ${number}`)))
      return buckets.uploads.complete(at('kept'), id, (parts) => ({ parts: parts.slice(1) }))
    },
    'of an abort': async (buckets) => {
      const { id } = await buckets.uploads.begin(at('new'), {})
      await buckets.uploads.putPart(at('new'), id, 1, text(value('part')))
      await buckets.uploads.abort(at('new'), id)
    },
  }
  for (const [what, act] of Object.entries(scenarios)) {
    test(`${what} loses no object and leaves no bytes (O2)`, async (context) => {
      for (let writes = 0, isDone = false; !isDone; writes++) {
        const { buckets, store, failFrom, reopen, digests } = await ground(context)
        await buckets.put(at('kept'), text(value('kept')), {})
        const { id } = await buckets.uploads.begin(at('multi'), {})
        for (const number of [1, 2]) await buckets.uploads.putPart(at('multi'), id, number, text(value(`multi ${number}`)))
        await buckets.uploads.complete(at('multi'), id, all)
        failFrom(writes)
        isDone = await act(buckets).then(() => true, () => false)
        assert.ok(writes < 60, 'it ends')
        const again = await reopen()
        // Every object that is there can be read; what was not acknowledged is as before or as wanted.
        const listing = await again.listObjects('n', 'bee', { prefix: '', delimiter: '', after: '', limit: 100 })
        const contents = new Map<string, string>()
        for (const entry of listing.entries) if (entry.kind === 'entry') contents.set(entry.key, await read(again, entry.value))
        if (!isDone) {
          const multi = value('multi 1') + value('multi 2')
          for (const [key, possible] of Object.entries({ kept: [value('kept'), value('new'), value('part 2'), undefined], multi: [multi, value('new')], new: [undefined, value('new')], copy: [undefined, multi] })) {
            assert.ok((possible as (string | undefined)[]).includes(contents.get(key)), `${key} after ${writes} writes: ${contents.get(key)}`)
          }
        }
        await again.deleteAll('n')
        assert.deepEqual(await digests(), [], `blobs left after ${writes} writes`)
        for (const collection of ['s3-references', 's3-notes', 's3-parts', 's3-objects', 's3-uploads']) assert.deepEqual(await store.list(collection), [], `${collection} after ${writes} writes`)
      }
    })
  }
})

describe('listing', () => {
  test('gives every key and common prefix once, in pages of any size (L1, L2)', async (context) => {
    const { store } = await testGround(context)
    const part = fc.constantFrom('a', 'b', 'ab', 'ü', '\u{1F41D}', '/', '//', 'z', '\uffff')
    const key = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(''))
    let round = 0
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(key, { maxLength: 30 }), fc.constantFrom('', 'a', '/', 'ab/'), fc.constantFrom('', '/', 'b'), fc.integer({ min: 1, max: 7 }), async (keys, prefix, delimiter, limit) => {
        const base = `n/b${round++}/`
        await Promise.all([store.put('listed', `n/b${round}x`, 0), ...keys.map((one) => store.put('listed', base + one, one))])
        const expected = new Set<string>()
        for (const one of keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
          if (!one.startsWith(prefix)) continue
          const end = delimiter === '' ? -1 : one.indexOf(delimiter, prefix.length)
          expected.add(end === -1 ? one : one.slice(0, end + delimiter.length))
        }
        const found: string[] = []
        for (let after: string | undefined = ''; after !== undefined; ) {
          const { entries, next }: Awaited<ReturnType<typeof listKeys>> = await listKeys(store, 'listed', base, { prefix, delimiter, after, limit })
          assert.ok(entries.length === limit || next === undefined)
          found.push(...entries.map((entry) => entry.key))
          after = next
        }
        assert.deepEqual(found, [...expected])
      }),
      { numRuns: 150 },
    )
  })
})

describe('KeyedLock', () => {
  test('lets in many that share, one that does not, and nobody past one who waits', async () => {
    const lock = new KeyedLock()
    const log: string[] = []
    const task = (name: string) => async (): Promise<void> => {
      log.push(`+${name}`)
      await new Promise((resolve) => setImmediate(resolve))
      log.push(`-${name}`)
    }
    const failed = lock.exclusive('k', async () => Promise.reject(new Error('no')))
    await Promise.all([assert.rejects(failed), lock.shared('k', task('a')), lock.shared('k', task('b')), lock.exclusive('k', task('c')), lock.shared('k', task('d')), lock.exclusive('other', task('x'))])
    assert.deepEqual(log.filter((entry) => !entry.endsWith('x')), ['+a', '+b', '-a', '-b', '+c', '-c', '+d', '-d'])
  })
})
