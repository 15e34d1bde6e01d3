/**
 * Goal: what a host process sends arrives as it was, however the stream is cut; and whatever a hostile one sends ends in PROTOCOL_BROKEN
 * without holding more than a chunk.
 * Method: streams cut at random places, streams of random bytes, streams with lengths that nobody may believe.
 */
import { strict as assert } from 'node:assert'
import test from 'node:test'
import fc from 'fast-check'
import { decodeCapture, decodeRecording, encodeCapture, encodeRecording } from './capture-stream.ts'
import { exampleMemory } from './example-snapshot.fake.ts'
import { PAGE_BYTES } from './snapshot.ts'

const limits = { imageBytesMax: 64 * PAGE_BYTES }
const state = new TextEncoder().encode('{"globals":[]}')

/** The same bytes in pieces of these lengths. */
async function* cut(bytes: Uint8Array, lengths: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0
  for (const length of lengths) yield bytes.subarray(at, (at += length))
  yield bytes.subarray(at)
}

/** Puts a capture into a memory. */
async function received(stream: AsyncIterable<Uint8Array>): Promise<{ readonly memory: Uint8Array; readonly state: Uint8Array }> {
  const capture = await decodeCapture(stream, limits)
  const memory = new Uint8Array(capture.imageBytes)
  for await (const { firstPage, bytes } of capture.chunks) memory.set(bytes, firstPage * PAGE_BYTES)
  return { memory, state: capture.state }
}

test('brings a memory over, cut anywhere, and sends no zero page', async () => {
  const memory = exampleMemory(64, [0, 1, 30, 63])
  const bytes = Buffer.concat([...encodeCapture(memory, state)])
  assert.ok(bytes.length < 4 * PAGE_BYTES + 100)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(5000), { maxLength: 20 }), async (lengths) => {
      assert.deepEqual(await received(cut(bytes, lengths)), { memory, state })
    }),
  )
  assert.deepEqual((await received(cut(bytes, Array(bytes.length).fill(1)))).memory, memory)
})

test('a stream that ends too early is an error and never a smaller snapshot', async () => {
  const bytes = Buffer.concat([...encodeCapture(exampleMemory(64, [0, 1, 30, 63]), state)])
  for (let length = 0; length < bytes.length; length += 97) await assert.rejects(received(cut(bytes.subarray(0, length), [])), { code: 'PROTOCOL_BROKEN' })
  await assert.rejects(received(cut(bytes.subarray(0, -1), [])), { code: 'PROTOCOL_BROKEN' })
})

test('believes no length: of a memory over the limit, of state, of a chunk', async () => {
  const good = Buffer.concat([...encodeCapture(exampleMemory(64, [0]), state)])
  for (const [at, value] of [[0, 0], [8, 65 * PAGE_BYTES], [8, 1], [8, 0], [12, 0xffff_ffff], [16, 0xffff_ffff], [20 + state.length + 4, 0xffff_ffff], [20 + state.length + 4, 257]] as const) {
    const bytes = Buffer.from(good)
    bytes.writeUInt32LE(value, at)
    await assert.rejects(received(cut(bytes, [])), { code: 'PROTOCOL_BROKEN' }, `${value} at ${at}`)
  }
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), (bytes) => assert.rejects(received(cut(bytes, [])), { code: 'PROTOCOL_BROKEN' })))
})

test('lets go of the stream when the chunks are not wanted any more', async () => {
  let closed = false
  const stream = (async function* (): AsyncGenerator<Uint8Array> {
    try {
      yield* encodeCapture(exampleMemory(64, [0, 10, 20]), state)
    } finally {
      closed = true
    }
  })()
  const { chunks } = await decodeCapture(stream, limits)
  for await (const _ of chunks) break
  assert.ok(closed)
})

test('brings a recording over, and believes no count', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(0xffff), { maxLength: 300 }), fc.boolean(), async (faults, ordered) => {
      const bytes = encodeRecording(Uint32Array.from(faults), ordered)
      assert.deepEqual(await decodeRecording(cut(bytes, [3, 20]), { pagesMax: 300 }), { faults: Uint32Array.from(faults), ordered })
      await assert.rejects(decodeRecording(cut(bytes.subarray(0, -1), []), { pagesMax: 300 }), { code: 'PROTOCOL_BROKEN' })
      if (faults.length > 0) await assert.rejects(decodeRecording(cut(bytes, []), { pagesMax: faults.length - 1 }), { code: 'PROTOCOL_BROKEN' })
    }),
  )
})
