/**
 * Goal: only memory that nobody can change comes in, by the number that a frame names, and nothing that was passed stays open (M1 to M3).
 *
 * Method: real memory over a real pair of sockets; the test plays the code, which may pass anything.
 */
import assert from 'node:assert/strict'
import { closeSync, fstatSync, ftruncateSync, openSync, readdirSync, readSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import fc from 'fast-check'
import { PASSED_AHEAD_MAX } from '#contract/frames.ts'
import { HeldBody } from '#contract/held-body.ts'
import { sharedMemory } from '#transfer/shared-memory.ts'
import { MemoryChannel } from './memory-channel.ts'

const native = sharedMemory()
const skip = native === undefined ? 'the addon is not built: node scripts/build-native.ts' : false

function ground(context?: TestContext) {
  const memory = native!
  const { ours, theirs } = memory.socketPair()
  const channel = new MemoryChannel(memory, ours)
  const end = (): void => {
    channel.close()
    closeSync(theirs)
  }
  context?.after(end)
  const send = (number: number, fd: number): void => {
    assert.ok(memory.pass(theirs, number, fd))
    closeSync(fd)
  }
  return { memory, channel, theirs, send, end, give: (number: number, text: string) => send(number, memory.copy(Buffer.from(text))) }
}

function textOf({ fd, bytes }: { readonly fd: number; readonly bytes: number }): string {
  const content = Buffer.alloc(bytes)
  readSync(fd, content, 0, bytes, 0)
  closeSync(fd)
  return content.toString()
}

describe('memory that the code passes', { skip }, () => {
  test('is found by its number, in whatever order the frames come', (context) => {
    const { channel, give } = ground(context)
    for (const [number, text] of [[7, 'seven'], [0, 'zero'], [2 ** 32 - 1, 'last']] as const) give(number, text)
    assert.equal(textOf(channel.take({ n: 2 ** 32 - 1, b: 4 })), 'last')
    assert.equal(textOf(channel.take({ n: 7, b: 5 })), 'seven')
    assert.equal(textOf(channel.take({ n: 0, b: 4 })), 'zero')
    assert.throws(() => channel.take({ n: 7, b: 5 }), { code: 'PROTOCOL_BROKEN', message: /has not passed/ })
  })

  test('is refused, and closed, when it can still change, has another length, or is none (M1)', (context) => {
    const { memory, channel, send, give } = ground(context)
    const before = readdirSync('/proc/self/fd').length
    const writable = memory.create()
    ftruncateSync(writable, 10)
    send(1, writable)
    assert.throws(() => channel.take({ n: 1, b: 10 }), { code: 'PROTOCOL_BROKEN', message: /cannot be accepted/ })
    give(2, 'four')
    assert.throws(() => channel.take({ n: 2, b: 5 }), { code: 'PROTOCOL_BROKEN', message: /4 bytes of memory as 5/ })
    send(3, openSync('/dev/null', 'r'))
    assert.throws(() => channel.take({ n: 3, b: 0 }), { code: 'PROTOCOL_BROKEN' })
    assert.equal(readdirSync('/proc/self/fd').length, before)
  })

  test('may be ahead of its frames by so much, and is all closed in the end (M2, M3)', () => {
    const { channel, give, end } = ground()
    for (let number = 1; number <= PASSED_AHEAD_MAX + 1; number++) give(number, 'x')
    const before = readdirSync('/proc/self/fd').length
    textOf(channel.take({ n: PASSED_AHEAD_MAX + 1, b: 1 }))
    assert.equal(readdirSync('/proc/self/fd').length, before + PASSED_AHEAD_MAX)
    give(1000, 'x')
    assert.throws(() => channel.take({ n: 2000, b: 1 }), { code: 'PROTOCOL_BROKEN', message: /more than 64/ })
    end()
    assert.equal(readdirSync('/proc/self/fd').length, before - 2)
    assert.throws(() => channel.take({ n: 5, b: 1 }), { code: 'PROTOCOL_BROKEN' })
  })

  test('named in any other way is a broken protocol and nothing worse', (context) => {
    const { channel } = ground(context)
    fc.assert(fc.property(fc.oneof(fc.anything(), fc.record({ n: fc.anything(), b: fc.anything() })), (passed) => {
      assert.throws(() => channel.take(passed as never), { code: 'PROTOCOL_BROKEN' })
    }))
  })
})

describe('a body that is passed to the code', { skip }, () => {
  test('arrives under the number that is said, and stays the holder\'s', (context) => {
    const { memory, channel, theirs } = ground(context)
    const body = new HeldBody(memory.copy(Buffer.from('whole')), 5)
    const passed = [channel.pass(body), channel.pass(body)]
    assert.deepEqual(passed, [{ n: 0, b: 5 }, { n: 1, b: 5 }])
    body.release()
    for (const { n } of passed as { n: number }[]) {
      const received = memory.receive(theirs)!
      assert.equal(received.number, n)
      assert.equal(textOf({ fd: received.fd, bytes: 5 }), 'whole')
    }
  })

  test('has to be streamed when it is a file, when the socket is full, and when it is closed (M1, M3)', () => {
    const { memory, channel, theirs } = ground()
    const file = new HeldBody(openSync(import.meta.filename, 'r'), 10)
    assert.equal(channel.pass(file), undefined)
    file.release()
    const body = new HeldBody(memory.copy(Buffer.from('whole')), 5)
    let count = 0
    while (channel.pass(body) !== undefined) assert.ok(++count < 100_000)
    assert.ok(count > PASSED_AHEAD_MAX)
    closeSync(theirs)
    assert.equal(channel.pass(body), undefined)
    channel.close()
    assert.equal(channel.pass(body), undefined)
    assert.ok(fstatSync(body.fd).size === 5)
    body.release()
  })
})
