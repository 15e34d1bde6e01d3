/**
 * Goal: bodies of any size go both ways unchanged, and never more than CREDIT_BYTES of one are held here or on the way (Q3).
 *
 * Method: random chunks, and a runtime and a client that take them in random portions. After each step all that can move
 * has moved, so that what is outstanding then is the most that there was.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PassThrough, Readable } from 'node:stream'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { CREDIT_BYTES, FrameType, INLINE_BYTES_MAX } from '#contract/frames.ts'
import { turns } from '#contract/invocation.fake.ts'
import { proxyGround } from './queue-proxy.fake.ts'

/** Sizes around every bound that there is. */
const size = fc.oneof(fc.integer({ min: 0, max: 3000 }), fc.constantFrom(1, INLINE_BYTES_MAX - 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, CREDIT_BYTES - 1, CREDIT_BYTES, CREDIT_BYTES + 1))
const sizes = fc.array(size, { maxLength: 8 })
const portions = fc.array(fc.integer({ min: 1, max: CREDIT_BYTES }), { minLength: 1, maxLength: 6 })

/** Bytes that tell their place. */
function pattern(length: number, from: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; at++) bytes[at] = ((from + at) * 31) >>> 3
  return bytes
}

function chunksOf(lengths: readonly number[]): Buffer[] {
  let from = 0
  return lengths.map((length) => pattern(length, (from += length) - length))
}

describe('a request body that streams', () => {
  test('arrives whole in any chunking, never beyond the runtime\'s credit (Q3)', async () => {
    await fc.assert(fc.asyncProperty(sizes, portions, async (lengths, credits) => {
      const { runtime, open } = proxyGround()
      const chunks = chunksOf(lengths)
      const { invocation, opened } = await open({ request: { body: Readable.from(chunks) } })
      assert.equal(opened.ended, false)
      const received: Buffer[] = []
      let outstanding = 0
      for (let round = 0; ; round++) {
        await turns()
        const { bytes, ended } = runtime.takeData(opened.stream)
        received.push(bytes)
        outstanding += bytes.length
        assert(outstanding <= CREDIT_BYTES, `${outstanding} bytes are on the way`)
        if (ended) break
        assert(outstanding > 0, 'it stands still with credit left')
        // Small portions at first; byte by byte to the end would only take long.
        const portion = round > 20 ? outstanding : Math.min(outstanding, credits[round % credits.length]!)
        outstanding -= portion
        runtime.credit(opened.stream, portion)
      }
      assert(Buffer.concat(received).equals(Buffer.concat(chunks)))
      assert.equal(invocation.bytesIn, lengths.reduce((sum, length) => sum + length, 0))
      runtime.close()
    }), { numRuns: 40 })
  })

  test('is taken from its source only as it can be sent: the rest stays there (Q3)', async (context) => {
    const { runtime, open } = proxyGround(context)
    const body = new PassThrough({ highWaterMark: 65_536 })
    const { opened } = await open({ request: { body } })
    let written = 0
    for (; written < 40; written++) if (!body.write(Buffer.alloc(65_536)) && (await turns(4), body.writableNeedDrain)) break
    const { bytes } = runtime.takeData(opened.stream)
    assert.equal(bytes.length, CREDIT_BYTES)
    // What has been written beyond is one chunk that waits for credit, and what the source itself buffers.
    assert(written <= 8, `${written} chunks were taken`)
    runtime.credit(opened.stream, CREDIT_BYTES)
    body.end()
    await turns()
    assert.equal(runtime.takeData(opened.stream).ended, true)
  })

  test('that nobody reads any more is let run out, so that its connection is free', async (context) => {
    const { runtime, open } = proxyGround(context)
    const body = new PassThrough()
    const { opened, sink } = await open({ request: { body } })
    runtime.head(opened.stream, 200, 'early', true)
    await sink.ended
    for (let count = 0; count < 20; count++) body.write(Buffer.alloc(65_536))
    body.end()
    await turns(30)
    assert.equal(body.readableEnded, true)
    assert.equal(runtime.takeData(opened.stream).bytes.length, 0)
  })

  test('that breaks off fails its invocation and tells the runtime', async (context) => {
    const { runtime, open } = proxyGround(context)
    const body = new PassThrough()
    const { opened, sink, ends } = await open({ request: { body } })
    body.write('half')
    await turns()
    body.destroy(new Error('the client went away'))
    await sink.ended
    assert.deepEqual([sink.error?.code, ends()], ['CANCELLED', 1])
    assert.equal(JSON.parse((await runtime.take(FrameType.reset, opened.stream)).payload.toString()).code, 'CANCELLED')
    const own = new PassThrough()
    const other = await open({ request: { body: own } })
    own.destroy(new PlatformError('STORE_FAILED', 'damaged'))
    await other.sink.ended
    assert.equal(other.sink.error?.code, 'STORE_FAILED', 'an error of the platform is told as it is')
  })
})

describe('an answer that streams', () => {
  test('gives the runtime as much credit as the client has consumed, and no more (Q3)', async () => {
    await fc.assert(fc.asyncProperty(fc.array(size.filter((length) => length > 0), { maxLength: 8 }), fc.array(fc.boolean(), { minLength: 1, maxLength: 10 }), async (lengths, takes) => {
      const { runtime, open, owner } = proxyGround()
      const { opened, sink, ends } = await open()
      sink.holdsChunks = true
      runtime.head(opened.stream, 200, undefined, false)
      const whole = Buffer.concat(chunksOf(lengths))
      let credit = CREDIT_BYTES
      let sent = 0
      let consumed = 0
      for (let round = 0; sent < whole.length; round++) {
        const piece = whole.subarray(sent, sent + Math.min(credit, 1 + (round * 7919) % 100_000))
        if (piece.length > 0) runtime.data(opened.stream, piece, false)
        sent += piece.length
        credit -= piece.length
        await turns()
        while (sink.held.length > 0 && (takes[round % takes.length]! || credit === 0)) {
          sink.held.shift()!()
          consumed = sink.bytes - heldBytes(sink)
          if (credit === 0) break
        }
        await turns()
        for (let index = runtime.frames.length - 1; index >= 0; index--) {
          const frame = runtime.frames[index]!
          if (frame.type !== FrameType.credit) continue
          credit += frame.payload.readUInt32LE(0)
          runtime.frames.splice(index, 1)
        }
        assert.equal(credit, CREDIT_BYTES - (sent - consumed), 'credit is what was consumed')
      }
      runtime.data(opened.stream, '', true)
      await sink.ended
      assert(sink.body.equals(whole))
      assert.deepEqual([ends(), owner.losses], [1, []])
      runtime.close()
    }), { numRuns: 40 })
  })

  test('gives no credit for what is consumed after its end', async (context) => {
    const { runtime, open } = proxyGround(context)
    const { opened, sink } = await open()
    sink.holdsChunks = true
    runtime.head(opened.stream, 200, undefined, false)
    runtime.data(opened.stream, 'a', false)
    runtime.data(opened.stream, 'b', true)
    await sink.ended
    for (const consumed of sink.held) consumed()
    await turns()
    assert.deepEqual(runtime.frames.filter(({ type }) => type === FrameType.credit), [])
  })
})

/** How much of the last chunks is held: `held` belongs to the last ones. */
function heldBytes(sink: { readonly held: readonly unknown[]; readonly chunks: readonly Buffer[] }): number {
  return sink.held.length === 0 ? 0 : sink.chunks.slice(-sink.held.length).reduce((sum, chunk) => sum + chunk.length, 0)
}
