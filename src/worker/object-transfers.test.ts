/**
 * Goal: what code puts is an object or nothing, what it gets is all of one, and a retrieval that breaks off is given back.
 *
 * Method: real Transfers with memory and files; the test plays the call on the channel and decides when it consumes.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { Readable } from 'node:stream'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { HeldBody } from '#contract/held-body.ts'
import { RecordingSink, testInvocation, testRevision, turns } from '#contract/invocation.fake.ts'
import { content, readAll, testGround, until } from '#transfer/transfer.fake.ts'
import { ObjectTransfers } from './object-transfers.ts'
import type { ObjectGet, ObjectPut, ObjectTransfer } from './queue-proxy-owner.ts'

class CallSink extends RecordingSink {
  whole: HeldBody | undefined

  override head(status: number, headers: readonly string[], body: Buffer | HeldBody | undefined, last: boolean): void {
    if (body instanceof HeldBody) this.whole = body
    super.head(status, headers, body instanceof HeldBody ? undefined : body, last)
  }
}

function ground(context: TestContext, placesWithoutMemory = false) {
  const all = testGround(context)
  const transfers = all.transfers({}, placesWithoutMemory ? { places: { memory: undefined, files: all.files } } : {})
  const objects = new ObjectTransfers(transfers)
  const begin = (what: ObjectPut | ObjectGet, namespace = 'n'): { sink: CallSink; transfer: ObjectTransfer } => {
    const { invocation } = testInvocation(new ManualClock(), { revision: testRevision({}, { namespace }) })
    invocation.instance = 'i1'
    const sink = new CallSink()
    const transfer: ObjectTransfer = { parent: invocation, what, sink, onCancel: () => {} }
    objects.begin(transfer)
    return { sink, transfer }
  }
  return {
    ...all, transfers, objects, begin,
    async put(body: Buffer | HeldBody | Readable, terms = {}): Promise<string> {
      const { sink } = begin({ kind: 'put', body, terms })
      await sink.ended
      assert.deepEqual([sink.status, sink.error], [201, undefined])
      return JSON.parse(sink.body.toString()).reference
    },
    get: (reference: string, over: Partial<ObjectGet> = {}, namespace?: string) => begin({ kind: 'get', reference, asStream: false, takesMemory: true, ...over }, namespace),
    nothingKept: () => until(() => transfers.usage().objects === 0 && transfers.usage().memoryBytes + transfers.usage().fileBytes === 0 && transfers.usage().leases === 0),
  }
}

const LARGE = content(400_000)

describe('an object', () => {
  test('is put from bytes, from memory and from a stream, and got in one frame, as memory or as a stream', async (context) => {
    const { put, get, body, nothingKept } = ground(context)
    for (const make of [() => content(1000), () => body(content(1000)), () => Readable.from([content(1000)])]) {
      const { sink } = get(await put(make()))
      await sink.ended
      assert.ok(sink.body.equals(content(1000)))
      assert.deepEqual([sink.status, sink.headers], [200, ['content-type', 'application/octet-stream', 'content-length', '1000']])
    }
    for (const make of [() => body(LARGE), () => Readable.from([LARGE.subarray(0, 150_000), LARGE.subarray(150_000)])]) {
      for (const over of [{}, { takesMemory: false }, { asStream: true }]) {
        const { sink } = get(await put(make()), over)
        await sink.ended
        const seen = sink.whole === undefined ? sink.body : readAll(sink.whole)
        sink.whole?.release()
        assert.ok(seen.equals(LARGE))
        assert.equal(sink.whole !== undefined, Object.keys(over).length === 0)
      }
    }
    const empty = get(await put(Buffer.alloc(0)))
    await empty.sink.ended
    assert.deepEqual([empty.sink.status, empty.sink.bytes], [200, 0])
    await nothingKept()
  })

  test('in a file is never handed to code as a descriptor', async (context) => {
    const { put, get, nothingKept } = ground(context, true)
    const { sink } = get(await put(Readable.from([LARGE])))
    await sink.ended
    assert.deepEqual([sink.whole, sink.body.equals(LARGE)], [undefined, true])
    await nothingKept()
  })

  test('of another namespace, and terms that are none, are errors of the call', async (context) => {
    const { put, get, begin, body, nothingKept } = ground(context)
    const reference = await put(Buffer.from('x'))
    const foreign = get(reference, {}, 'other')
    await foreign.sink.ended
    assert.equal(foreign.sink.error?.code, 'REFERENCE_INVALID')
    const { sink } = begin({ kind: 'put', body: body(LARGE), terms: { n: 0 } })
    await sink.ended
    assert.equal(sink.error?.code, 'INPUT_INVALID')
    await get(reference).sink.ended
    await nothingKept()
  })

  test('whose source breaks, or whose put is let go, is none', async (context) => {
    const { begin, nothingKept, descriptors } = ground(context)
    const source = new Readable({ read() {} })
    source.push(LARGE)
    const broken = begin({ kind: 'put', body: source, terms: {} })
    await turns()
    source.destroy()
    await broken.sink.ended
    const waiting = new Readable({ read() {} })
    const cancelled = begin({ kind: 'put', body: waiting, terms: {} })
    waiting.push(LARGE)
    await turns()
    cancelled.transfer.onCancel(new PlatformError('CANCELLED', 'gone'))
    waiting.destroy()
    await cancelled.sink.ended
    assert.ok(broken.sink.error !== undefined && cancelled.sink.error !== undefined)
    await nothingKept()
    assert.equal(descriptors(), 0)
  })

  test('that a consumer reads as slowly as it likes is retrieved when it has all of it, and given back when it stops', async (context) => {
    const { put, get, transfers, nothingKept } = ground(context)
    const reference = await put(Readable.from([LARGE]))
    for (const stops of [true, false]) {
      const { sink, transfer } = get(reference, { asStream: true })
      sink.holdsChunks = true
      await until(() => sink.held.length > 0)
      await turns(50)
      assert.equal(sink.held.length, 1)
      assert.equal(transfers.usage().leases, 1)
      if (stops) {
        transfer.onCancel(new PlatformError('CANCELLED', 'enough'))
        await until(() => transfers.usage().leases === 0)
        assert.equal(transfers.usage().objects, 1)
      } else {
        sink.holdsChunks = false
        sink.held.shift()!()
        await sink.ended
        assert.ok(sink.body.equals(LARGE))
      }
    }
    await nothingKept()
  })

  test('can be neither put nor got where nobody keeps any, and what travels by value still travels', async (context) => {
    const { body } = testGround(context)
    const objects = new ObjectTransfers(undefined)
    const { invocation } = testInvocation(new ManualClock())
    for (const what of [{ kind: 'put', body: body(LARGE), terms: {} }, { kind: 'get', reference: 'r', asStream: false, takesMemory: true }] as const) {
      const sink = new CallSink()
      objects.begin({ parent: invocation, what, sink, onCancel: () => {} })
      await sink.ended
      assert.equal(sink.error?.code, 'INTERNAL')
    }
    const { fd } = body(LARGE)
    objects.hold(invocation, fd, LARGE.length).release()
  })
})
