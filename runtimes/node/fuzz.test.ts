/**
 * Goal: whatever comes over the channel, the runtime neither hangs nor crashes: it answers, or ends cleanly (H1).
 * Method: random sequences of frames, well-formed and not, at the real runtime; then it must still answer an invocation,
 * or have ended with the exit code of a broken protocol (or 0 after a stop).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeFrame, FrameType } from '../../src/contract/frames.ts'
import { startNodeFixture } from '../../test/kit/runtime-peer.ts'

const head = (json: string, body: string): Buffer => {
  const bytes = Buffer.from(json)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length)
  return Buffer.concat([length, bytes, Buffer.from(body)])
}

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.constantFrom(Buffer.from([1, 0, 0, 0]), Buffer.from([255, 255, 255, 255]), Buffer.alloc(0)),
  fc.json({ maxDepth: 2 }).map((json) => Buffer.from(json)),
  fc.tuple(fc.constantFrom('{"k":"event"}', '{"k":"http","m":"POST","u":"/"}', '{"k":"http","h":[1,null]}', '{"k":"http","u":5,"m":{}}', '{"s":200,"h":[]}', 'null', '{'), fc.string({ maxLength: 20 })).map(([json, body]) => head(json, body)),
)
const streamFrame = fc.tuple(
  fc.constantFrom(FrameType.open, FrameType.data, FrameType.data, FrameType.reset, FrameType.credit, FrameType.head),
  fc.integer({ min: 0, max: 3 }),
  fc.constantFrom(2, 2, 4, 6, 1, 3, 0, 0xfffffffe),
  payload,
)
const anyFrame = fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 255 }), fc.nat(), payload)
const bytes = fc.oneof(
  { weight: 12, arbitrary: streamFrame.map(([type, flags, stream, content]) => encodeFrame(type, flags, stream, content)) },
  { weight: 1, arbitrary: anyFrame.map(([type, flags, stream, content]) => encodeFrame(type as FrameType, flags, stream, content)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 30 }).map((raw) => Buffer.from(raw)) },
)

test('random frames end in an answer or a clean exit', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(bytes, { minLength: 1, maxLength: 12 }), async (chunks) => {
      await using peer = await startNodeFixture('echo.ts')
      for (const chunk of chunks) peer.channel.write(chunk)
      const probe = peer.open({ k: 'http', m: 'POST', u: '/', i: 'probe' }, 'x'.repeat(200), true)
      // The probe's stream may be taken by a frame before it, and random bytes may swallow it: then the end of the channel ends it.
      const answered = peer.take((frame) => frame.stream === probe || frame.type === FrameType.head).then(() => 'answered', () => 'ended')
      peer.channel.end()
      const code = await peer.exited
      await answered
      assert.ok(code === 0 || code === 76, `exit ${code}: ${peer.stderr}`)
    }),
    { numRuns: 25 },
  )
})
