/**
 * Goal: only memory that nobody can change comes in, by the number that a frame names, and nothing that was passed stays open (M1 to M3).
 *
 * Method: real memory over a real pair of sockets; the test plays the code, which may pass anything.
 */
import assert from 'node:assert/strict'
import { closeSync, fstatSync, ftruncateSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs'
import { before, describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
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

/** Of this process. */
function open(): { readonly sockets: number; readonly memories: number } {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return ''
    }
  })
  return { sockets: targets.filter((target) => target.startsWith('socket:')).length, memories: targets.filter((target) => target.includes('skep-object')).length }
}

describe('memory that the code passes', { skip }, () => {
  // What looking for the addon has made is not to go while descriptors are counted.
  before(() => {
    setFlagsFromString('--expose-gc')
    ;(runInNewContext('gc') as () => void)()
  })

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

  test('on a channel of its own is counted there alone: a part that passes and names nothing harms nobody else', (context) => {
    const { memory, channel, theirs } = ground(context)
    const before = open()
    const parts = [0, 1].map((number) => {
      const divided = channel.divide()!
      assert.equal(divided.n, number)
      const received = memory.receive(theirs)!
      assert.equal(received.number, number)
      return { channel: divided.channel, socket: received.fd }
    })
    const give = (part: number, number: number): void => {
      const fd = memory.copy(Buffer.from('x'))
      assert.ok(memory.pass(parts[part]!.socket, number, fd))
      closeSync(fd)
    }
    for (let number = 0; number < 2 * PASSED_AHEAD_MAX; number++) give(0, number)
    for (let number = 0; number < 2 * PASSED_AHEAD_MAX; number++) {
      give(1, number)
      assert.equal(textOf(parts[1]!.channel.take({ n: number, b: 1 })), 'x')
    }
    // The platform has not even taken the others, until a frame comes.
    assert.deepEqual(open(), { sockets: before.sockets + 4, memories: before.memories })
    assert.throws(() => parts[0]!.channel.take({ n: 5000, b: 1 }), { code: 'PROTOCOL_BROKEN', message: /more than 64/ })
    assert.equal(open().memories, before.memories + PASSED_AHEAD_MAX)
    assert.throws(() => channel.take({ n: 0, b: 1 }), { code: 'PROTOCOL_BROKEN' })
    for (const part of parts) {
      part.channel.close()
      closeSync(part.socket)
    }
    assert.deepEqual(open(), before)
  })

  test('is to be streamed by a part for which no channel can be had', () => {
    const { channel, end } = ground()
    const divided: MemoryChannel[] = []
    for (let one = channel.divide(); one !== undefined; one = channel.divide()) assert.ok(divided.push(one.channel) < 10_000)
    assert.ok(divided.length > 2)
    const before = open()
    assert.equal(channel.divide(), undefined)
    assert.deepEqual(open(), before)
    for (const one of divided) one.close()
    end()
    assert.equal(channel.divide(), undefined)
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
