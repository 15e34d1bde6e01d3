/**
 * Goal: the runtime begins and ends when it is told to, and frames that no platform would send never leave it hanging.
 *
 * Method: real processes; their exit is awaited. The fuzz test sends random frames and random bytes: afterwards the runtime
 * has either ended, or still answers.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { encodeFrame, encodeHeadFrame, FRAMES_VERSION, FrameFlag, FrameType } from '#contract/frames.ts'
import { needsPython, python, startFunction, startStemCell } from './start-python.ts'

describe('the life of a runtime', needsPython, () => {
  test('begins with hello, and tells the handler\'s shape when it has become an instance', async () => {
    await using peer = startStemCell()
    const hello = await peer.hello
    assert.deepEqual([hello.protocol, hello.runtime], [FRAMES_VERSION, 'python'])
    assert.match(hello.version, /^3\.\d+\.\d+$/)
    const inited = await peer.init({ entry: 'lambda_handler.py' })
    assert.equal(inited.shape, 'handler')
    assert.ok(inited.initUs > 0 && inited.initUs < 5_000_000)
  })

  test('ends with 0 when told to stop, after what is open', async () => {
    await using peer = await startFunction('behaves.py')
    const answer = peer.event({ what: 'sleep', seconds: 0.05 })
    peer.stop()
    assert.equal((await answer).json, 'slept')
    assert.deepEqual(await peer.exited, { code: 0, signal: null })
  })

  test('ends when the platform is gone, also in the middle of an invocation', async () => {
    await using idle = startStemCell()
    await idle.hello
    idle.closeChannel()
    assert.equal((await idle.exited).code, 0)
    await using busy = await startFunction('behaves.py')
    const stream = busy.open({ head: { k: 'event' }, body: JSON.stringify({ what: 'sleep', seconds: 30 }) })
    await stream.until(() => stream.waitingCount === 1)
    busy.closeChannel()
    assert.equal((await busy.exited).code, 0)
  })

  test('ends with a message when the protocol is broken', async () => {
    await using peer = await startFunction('echo_main.py')
    const header = Buffer.alloc(12)
    header.writeUInt32LE(2 * 1024 * 1024, 0)
    peer.send(header)
    assert.equal((await peer.exited).code, 70)
    assert.match(peer.stderr, /The frame protocol was broken: a frame of 2097152 bytes/)
  })

  test('takes frames in pieces of any size', async () => {
    await using peer = await startFunction('echo_main.py')
    const stream = peer.open({ head: { k: 'event' }, body: '{"a":', ended: false })
    for (const byte of encodeFrame(FrameType.data, FrameFlag.end, stream.id, '1}')) peer.send(Buffer.from([byte]))
    assert.deepEqual((await stream.answer).json, { a: 1 })
  })

  test('uses code that was compiled ahead', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'skep-python-'))
    try {
      await writeFile(join(folder, 'main.py'), 'def main(params):\n    return "source"\n')
      await cp(import.meta.dirname, join(folder, 'runtime'), { recursive: true, filter: (path) => !path.endsWith('.ts') && !path.includes('__pycache__') })
      execFileSync(python!, ['-I', '-S', join(folder, 'runtime/main.py'), '--compile', folder])
      assert.equal((await readdir(join(folder, '__pycache__'))).length, 1)
      // Unchecked on purpose: the compiled form is what counts, so a changed source shows that it was used.
      await writeFile(join(folder, 'main.py'), 'def main(params):\n    return "changed"\n')
      await using peer = await startFunction('main.py', { app: folder })
      assert.equal((await peer.event({})).json, 'source')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('never hangs on frames at random', { timeout: 60_000 }, async () => {
    const stream = fc.integer({ min: 0, max: 9 })
    const payload = fc.oneof(fc.constant(Buffer.alloc(0)), fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)), fc.constant(Buffer.from('{}')))
    const types = fc.constantFrom(...Object.values(FrameType), 0, 99)
    const anyFrame = fc.tuple(types, fc.integer({ min: 0, max: 3 }), stream, payload).map(([type, flags, id, bytes]) => encodeFrame(type as FrameType, flags, id, bytes))
    const likelyFrame = fc.oneof(
      fc.tuple(stream, fc.boolean(), fc.json()).map(([id, end, body]) => encodeHeadFrame(FrameType.open, end ? FrameFlag.end : 0, id * 2 + 20, '{"k":"event"}', body)),
      fc.tuple(fc.constantFrom(FrameType.data, FrameType.reset, FrameType.credit), stream, fc.boolean()).map(([type, id, end]) =>
        encodeFrame(type, end ? FrameFlag.end : 0, id * 2 + 20, Buffer.from([1, 0, 0, 0]))),
    )
    const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array))
    const input = fc.array(fc.oneof({ weight: 12, arbitrary: likelyFrame }, { weight: 1, arbitrary: anyFrame }, { weight: 1, arbitrary: bytes }), { minLength: 1, maxLength: 30 })
    await fc.assert(
      fc.asyncProperty(input, async (chunks) => {
        await using peer = await startFunction('echo_main.py')
        peer.tolerant = true
        for (const chunk of chunks) peer.send(chunk)
        // Random bytes may be the beginning of a frame that never ends: zeros complete it, and break the protocol at the latest then.
        const answered = peer.open({ head: { k: 'event' }, body: '{"alive":1}', id: 1_000_000 }).answer.then(() => 'answers', () => 'ended')
        const ended = peer.exited.then(() => 'ended')
        peer.send(Buffer.alloc(1024 * 1024 + 64))
        assert.ok(['answers', 'ended'].includes(await Promise.race([answered, ended])))
        peer.closeChannel()
        await ended
      }),
      { numRuns: 40 },
    )
  })
})
