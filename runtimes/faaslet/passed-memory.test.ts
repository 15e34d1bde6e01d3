/**
 * Goal: every body that comes finds the frame that names it, whatever other revisions pass (HM1); descriptors and views go when they are released (HM2); what
 * is passed is copied once and within bounds (HM3); what is mapped into a guest's memory is that body and no other.
 *
 * Method: real sockets and real memory; the test is the platform. Descriptors are counted in /proc/self/fd.
 */
import assert from 'node:assert/strict'
import { closeSync, readdirSync, readlinkSync } from 'node:fs'
import { before, describe, test, type TestContext } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { sharedMemory, type SharedMemory } from '../../src/transfer/shared-memory.ts'
import { HostMemory, MemorySocket } from './passed-memory.ts'

const native = sharedMemory() as SharedMemory
const skip = native === undefined ? 'the addon is not built: node scripts/build-native.ts' : false
const KB = 1024

/** Descriptors of this process that are memory. */
function descriptors(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).includes('skep-object')
    } catch {
      return false
    }
  }).length
}

function ground(context: TestContext) {
  const { ours, theirs } = native.socketPair()
  context.after(() => [ours, theirs].forEach((fd) => closeSync(fd)))
  const socket = new MemorySocket(native, theirs)
  const send = (number: number, bytes: Uint8Array): void => {
    const fd = native.copy(bytes)
    assert.ok(native.pass(ours, number, fd))
    closeSync(fd)
  }
  const received = (): { readonly number: number; readonly bytes: Buffer } => {
    const { number, fd } = native.receive(ours)!
    const { bytes } = native.check(fd) as { readonly bytes: number }
    const view = Buffer.from(Buffer.from(native.map(fd, bytes)))
    closeSync(fd)
    return { number, bytes: view }
  }
  return { ours, socket, send, received, memory: new HostMemory(socket) }
}

describe('bodies of a faaslet host', { skip }, () => {
  // What looking for the addon has made is not to go while descriptors are counted. Another thread closes what was collected.
  before(async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    for (collect(); descriptors() > 0; collect()) await new Promise((resolve) => setImmediate(resolve))
  })

  test('come over a socket of their revision: what one has passed or not taken is nobody else\'s (HM1)', (context) => {
    const { socket, ours, memory } = ground(context)
    const there = descriptors()
    const revisions = [3, 4].map((n) => {
      const pair = native.socketPair()
      assert.ok(native.pass(ours, n, pair.theirs))
      closeSync(pair.theirs)
      const own = socket.divide(n)
      context.after(() => {
        own.close()
        closeSync(pair.ours)
      })
      const send = (number: number, byte: number): void => {
        const fd = native.copy(Buffer.alloc(10, byte))
        assert.ok(native.pass(pair.ours, number, fd))
        closeSync(fd)
      }
      return { own, memory: new HostMemory(own), send, ours: pair.ours }
    })
    for (let n = 0; n < 100; n++) revisions[0]!.send(n, 1)
    for (let n = 0; n < 100; n++) {
      revisions[1]!.send(n, 2)
      const body = revisions[1]!.memory.take({ n, b: 10 })
      assert.ok(body.equals(Buffer.alloc(10, 2)))
      revisions[1]!.memory.release(body)
    }
    // The last one: what lies before it was given up, and is closed.
    const last = revisions[0]!.memory.take({ n: 99, b: 10 })
    assert.ok(last.equals(Buffer.alloc(10, 1)))
    assert.equal(descriptors(), there + 1)
    revisions[0]!.memory.release(last)
    for (const { memory } of revisions) assert.throws(() => memory.take({ n: 7, b: 1 }), { code: 'PROTOCOL_BROKEN' })
    assert.throws(() => memory.take({ n: 3, b: 1 }), { code: 'PROTOCOL_BROKEN' })
    revisions[0]!.own.close()
    assert.equal(revisions[0]!.memory.pass(Buffer.alloc(10)), undefined)
    assert.throws(() => revisions[0]!.memory.take({ n: 7, b: 1 }), { code: 'PROTOCOL_BROKEN' })
    assert.equal(revisions[1]!.memory.pass(Buffer.alloc(10))!.n, 0)
    assert.equal(descriptors(), there)
  })

  test('are streamed when the platform has gone', (context) => {
    const { ours, theirs } = native.socketPair()
    context.after(() => closeSync(theirs))
    closeSync(ours)
    assert.equal(new HostMemory(new MemorySocket(native, theirs)).pass(Buffer.alloc(10)), undefined)
  })

  test('are released once, and others are left alone (HM2)', (context) => {
    const { memory, send } = ground(context)
    const there = descriptors()
    send(0, Buffer.alloc(100 * KB, 'x'))
    const body = memory.take({ n: 0, b: 100 * KB })
    assert.equal(descriptors(), there + 1)
    for (let time = 0; time < 2; time++) memory.release(body)
    assert.deepEqual([body.length, descriptors()], [0, there])
    const own = Buffer.from('own')
    memory.release(own)
    assert.equal(own.toString(), 'own')
    send(1, Buffer.alloc(0))
    assert.equal(memory.take({ n: 1, b: 0 }).length, 0)
    assert.equal(descriptors(), there)
  })

  test('are passed whole with numbers of their own: what is allocated without a copy, other bytes up to half of the memory (HM3)', (context) => {
    const { socket, received } = ground(context)
    const [one, other] = [new HostMemory(socket), new HostMemory(socket)]
    one.limitBytes = 400 * KB
    const copy = one.copy(Buffer.alloc(60 * KB, 'a'), Buffer.alloc(60 * KB, 'b'))!
    const passed = [one.pass(copy), other.pass('ü'.repeat(50 * KB)), one.pass(Buffer.alloc(200 * KB, 'c'))]
    copy.fill(0)
    assert.deepEqual(passed.map((each) => each!.b), [120 * KB, 100 * KB, 200 * KB])
    const contents = [Buffer.concat([Buffer.alloc(60 * KB, 'a'), Buffer.alloc(60 * KB, 'b')]), Buffer.from('ü'.repeat(50 * KB)), Buffer.alloc(200 * KB, 'c')]
    for (const [at, content] of contents.entries()) {
      const { number, bytes } = received()
      assert.equal(number, passed[at]!.n)
      assert.ok(bytes.equals(content))
    }
    assert.equal(one.pass(Buffer.alloc(200 * KB + 1)), undefined)
    assert.equal(one.copy(Buffer.alloc(200 * KB + 1)), undefined)
    assert.equal(one.copy(Buffer.alloc(64 * KB)), undefined)
    // All of what the guest has allocated already counts.
    assert.equal(one.pass(one.allocate(300 * KB))!.b, 300 * KB)
  })

  test('are streamed when the socket is full', (context) => {
    const { memory, received } = ground(context)
    const there = descriptors()
    let passed = 0
    while (memory.pass(Buffer.alloc(10, 1)) !== undefined) passed++
    assert.ok(passed > 10, `${passed} were passed`)
    assert.equal(descriptors(), there)
    assert.equal(received().number, 0)
    assert.equal(memory.pass(Buffer.alloc(10, 1))!.n, passed)
  })

  test('are mapped at pages of a guest, whose writes are its own; anything else is to be copied', (context) => {
    const { memory, send } = ground(context)
    const guest = new WebAssembly.Memory({ initial: 4, maximum: 4 })
    const bytes = Buffer.from(guest.buffer).fill(5)
    send(0, Buffer.alloc(70_000, 'y'))
    const body = memory.take({ n: 0, b: 70_000 })
    const refused = [[1, body], [4096, body.subarray(1)], [4096, Buffer.alloc(10)], [3 * 65_536, body], [-4096, body]] as const
    for (const [at, part] of refused) assert.equal(memory.mapInto(guest, at, part), false)
    assert.ok(bytes.equals(Buffer.alloc(bytes.length, 5)))
    assert.equal(memory.mapInto(guest, 8192, body), true)
    const end = 8192 + 18 * 4096
    assert.deepEqual([bytes[8191], bytes[8192], bytes[8192 + 69_999], bytes[8192 + 70_000], bytes[end - 1], bytes[end]], [5, 121, 121, 0, 0, 5])
    bytes.fill(9)
    assert.ok(body.equals(Buffer.alloc(70_000, 'y')))
    memory.release(body)
    // The pages stay the guest's.
    assert.equal(bytes[8192], 9)
    assert.equal(memory.mapInto(guest, 8192, body), false)
  })
})
