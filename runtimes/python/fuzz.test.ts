/**
 * Goal: whatever a frame says of memory, and whatever is passed, the runtime neither hangs nor crashes: it answers, or ends saying that the protocol was broken.
 *
 * Method: random sequences of frames, of memory and of numbers that never came, at the real runtime; then an invocation that must be answered.
 */
import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { PlatformError } from '#contract/errors.ts'
import { encodeFrame, encodeHeadFrame, FrameFlag, FrameType, PASSED_AHEAD_MAX } from '#contract/frames.ts'
import { memoryHere } from './peer-memory.ts'
import { needsPython, needsPythonAndMemory, startFunction } from './start-python.ts'
import type { RuntimePeer } from './runtime-peer.ts'

const BYTES = 70_000
const PROTOCOL_BROKEN_EXIT = 70

const passed = fc.oneof(
  { weight: 4, arbitrary: fc.record({ n: fc.integer({ min: 1, max: 3 }), b: fc.constantFrom(BYTES, BYTES, BYTES, 0, 1, BYTES + 1, -1, 2 ** 53) }) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) },
)
const head = fc.record(
  {
    k: fc.constantFrom('event', 'http', 'put', 5),
    b: fc.constantFrom(true, true, false, 'yes'),
    p: passed,
    s: fc.constantFrom(200, 'x'),
    h: fc.constant([]),
    m: fc.constant('POST'),
    u: fc.constant('/'),
  },
  { requiredKeys: ['k'] },
)
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      number: fc.integer({ min: 1, max: 4 }),
      what: fc.constantFrom('memory', 'memory', 'memory', 'directory', 'nothing'),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('frame' as const),
      type: fc.constantFrom(FrameType.open, FrameType.open, FrameType.head, FrameType.data, FrameType.reset),
      flags: fc.constantFrom(FrameFlag.end, FrameFlag.end, FrameFlag.end, 0),
      stream: fc.constantFrom(2, 4, 6, 1, 3),
      head,
      body: fc.constantFrom('', '', '', '{}'),
    }),
  },
)

/** Answers one more invocation, or has ended as it should. */
async function isSound(peer: RuntimePeer): Promise<void> {
  const probe = peer.open({ id: 1000, head: { k: 'event' }, body: '{"what":"held"}' })
  const answered = await probe.answer.then(() => true, (error: PlatformError) => error.code !== 'INSTANCE_LOST')
  if (answered) return
  const { code } = await peer.exited
  assert.equal(code, PROTOCOL_BROKEN_EXIT, peer.stderr)
  assert.match(peer.stderr, /The frame protocol was broken: /)
}

describe('random frames and memory', needsPythonAndMemory, () => {
  test('end in an answer, or in the exit of a broken protocol', async () => {
    const sealed = memoryHere!.copy(Buffer.alloc(BYTES, 'f'))
    const directory = openSync('/', 'r')
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 10 }), async (steps) => {
          await using peer = await startFunction('objects.py', { memory: true })
          peer.tolerant = true
          for (const next of steps) {
            if (next.do === 'pass') {
              if (next.what !== 'nothing') peer.memory!.passAs(next.number, next.what === 'memory' ? sealed : directory)
            } else if (next.type === FrameType.open || next.type === FrameType.head) {
              peer.send(encodeHeadFrame(next.type, next.flags, next.stream, JSON.stringify(next.head), next.body))
            } else peer.send(encodeFrame(next.type, next.flags, next.stream, next.type === FrameType.data ? next.body : ''))
          }
          await isSound(peer)
        }),
        { numRuns: 40 },
      )
    } finally {
      closeSync(sealed)
      closeSync(directory)
    }
  })
})

describe('memory that a frame names', needsPythonAndMemory, () => {
  const open = (p: object, flags: number = FrameFlag.end, body = ''): Buffer => encodeHeadFrame(FrameType.open, flags, 2, JSON.stringify({ k: 'event', b: true, p }), body)
  const cases: Record<string, (peer: RuntimePeer, sealed: number) => void> = {
    'and that never came': (peer) => peer.send(open({ n: 7, b: BYTES })),
    'with another length': (peer, sealed) => {
      peer.memory!.passAs(1, sealed)
      peer.send(open({ n: 1, b: BYTES + 1 }))
    },
    'with a body in the frame': (peer, sealed) => {
      peer.memory!.passAs(1, sealed)
      peer.send(open({ n: 1, b: BYTES }, FrameFlag.end, 'more'))
    },
    'with more to come': (peer, sealed) => {
      peer.memory!.passAs(1, sealed)
      peer.send(open({ n: 1, b: BYTES }, 0))
    },
    'too far behind what was passed': (peer, sealed) => {
      for (let n = 1; n <= PASSED_AHEAD_MAX + 2; n++) peer.memory!.passAs(n, sealed)
      peer.send(open({ n: PASSED_AHEAD_MAX + 2, b: BYTES }))
    },
    'by a number that two have': (peer, sealed) => {
      peer.memory!.passAs(1, sealed)
      peer.memory!.passAs(1, sealed)
      peer.send(open({ n: 2, b: BYTES }))
    },
  }
  for (const [name, cause] of Object.entries(cases)) {
    test(`${name} breaks the protocol (P3)`, async () => {
      const sealed = memoryHere!.copy(Buffer.alloc(BYTES))
      await using peer = await startFunction('objects.py', { memory: true })
      cause(peer, sealed)
      closeSync(sealed)
      assert.equal((await peer.exited).code, PROTOCOL_BROKEN_EXIT)
      assert.match(peer.stderr, /memory/)
    })
  }

  test('is found when it came early, and in any order', async () => {
    const sealed = memoryHere!.copy(Buffer.alloc(BYTES))
    await using peer = await startFunction('objects.py', { memory: true })
    for (let n = 1; n <= PASSED_AHEAD_MAX; n++) peer.memory!.passAs(n, sealed)
    closeSync(sealed)
    for (let n = PASSED_AHEAD_MAX; n >= 1; n--) {
      const answer = await peer.open({ head: { k: 'event', b: true, p: { n, b: BYTES } } }).answer
      assert.equal((answer.json as { size: number }).size, BYTES)
    }
  })
})

describe('without descriptor 5', needsPython, () => {
  test('a frame that names memory breaks the protocol', async () => {
    await using peer = await startFunction('objects.py')
    peer.open({ head: { k: 'event', b: true, p: { n: 1, b: BYTES } } })
    assert.equal((await peer.exited).code, PROTOCOL_BROKEN_EXIT)
  })
})
