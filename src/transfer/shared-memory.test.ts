/**
 * Goal: what `check` accepts is never seen to change, by anybody; a wrong message or argument is refused; nothing leaks.
 *
 * Method: real memory, passed between real processes. The adversary is a program in Python, which can do to a memfd what our own
 * interface cannot: leave out seals, keep a mapping, send anything. Leaks are counted in /proc/self.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, copyFileSync, constants, fstatSync, ftruncateSync, mkdtempSync, openSync, readFileSync, readSync, readdirSync, rmSync, unlinkSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import fc from 'fast-check'
import { nativeFile } from '#pager/native-file.ts'
import { loadNative } from '#pager/native.ts'
import { sharedMemory } from './shared-memory.ts'
import type { SharedMemory } from './shared-memory.ts'

const MB = 1024 * 1024
const memory = sharedMemory() as SharedMemory
const skip = memory === undefined ? 'the addon is not built: node scripts/build-native.ts' : false
const python = spawnSync('python3', ['--version']).status === 0 ? false : 'there is no python3 to send from'

describe('memory of this process', { skip }, () => {
  test('becomes a private view when it is sealed: what its producer writes then, nobody else sees (M2)', () => {
    for (const bytes of [1, 4096, 100_000, 2 * MB, 5 * MB + 13]) {
      const buffer = memory.allocate(bytes)
      const view = new Uint8Array(buffer)
      assert.equal(buffer.byteLength, bytes)
      assert(view.every((byte) => byte === 0))
      for (let at = 0; at < bytes; at++) view[at] = at % 251
      assert.equal(memory.isAllocated(buffer), true)
      const fd = memory.seal(buffer)
      assert.equal(memory.isAllocated(buffer), false)
      assert.deepEqual(memory.check(fd), { bytes })
      const mapped = new Uint8Array(memory.map(fd, bytes))
      assert(Buffer.from(mapped).equals(view), `${bytes} bytes are as they were written`)
      view.fill(255)
      assert.equal(mapped[bytes - 1], (bytes - 1) % 251)
      // A consumer's own writes are its own, too.
      mapped.fill(254)
      assert.equal(new Uint8Array(memory.map(fd, bytes))[0], 0)
      assert.equal(readFirst(fd), 0)
      closeSync(fd)
      // Both views outlive the descriptor.
      assert.equal(view[0], 255)
      assert.equal(mapped[bytes - 1], 254)
    }
  })

  test('is copied whole, whatever its length, also from a part of a buffer', () => {
    for (const bytes of [0, 1, 4097, 2 * MB - 1, 2 * MB, 7 * MB + 4095]) {
      const source = Buffer.alloc(bytes + 3)
      for (let at = 0; at < source.length; at++) source[at] = at % 253
      const fd = memory.copy(source.subarray(3))
      assert.deepEqual(memory.check(fd), { bytes })
      assert(Buffer.from(memory.map(fd, bytes)).equals(source.subarray(3)))
      closeSync(fd)
    }
  })

  test('cannot be written, truncated or grown once it is sealed, nor sealed otherwise (M1)', () => {
    const fd = memory.create()
    assert.deepEqual(memory.check(fd), { reason: 'it is not sealed against every change' })
    writeSync(fd, 'abc')
    memory.sealFd(fd)
    assert.deepEqual(memory.check(fd), { bytes: 3 })
    assert.throws(() => writeSync(fd, 'x', 0), { code: 'EPERM' })
    assert.throws(() => writeSync(fd, 'x', 100), { code: 'EPERM' })
    assert.throws(() => ftruncateSync(fd, 1), { code: 'EPERM' })
    assert.throws(() => ftruncateSync(fd, 5), { code: 'EPERM' })
    assert.throws(() => memory.sealFd(fd), { errno: 1 })
    assert.throws(() => writeSync(openSync(`/proc/self/fd/${fd}`, 'r+'), 'x'), { code: 'EPERM' })
    closeSync(fd)
  })

  test('can be transferred to another thread, and is sealed there or here', () => {
    const { port1, port2 } = new MessageChannel()
    const buffer = memory.allocate(3 * MB)
    new Uint8Array(buffer)[0] = 7
    port1.postMessage(buffer, [buffer])
    assert.equal(memory.isAllocated(buffer), false)
    const moved = receiveMessageOnPort(port2)!.message as ArrayBuffer
    const fd = memory.seal(moved)
    assert.equal(readFirst(fd), 7)
    closeSync(fd)
    port1.close()
  })

  test('outlives the thread that made it, also when no other has loaded the addon (M3)', () => {
    const ended = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', `
      import { once } from 'node:events'
      import { Worker } from 'node:worker_threads'
      const worker = new Worker(\`import(${JSON.stringify(join(import.meta.dirname, 'shared-memory.ts'))}).then(async ({ sharedMemory }) => {
        const { parentPort } = await import('node:worker_threads')
        const memory = sharedMemory()
        const buffer = memory.allocate(${3 * MB})
        memory.map(memory.copy(new Uint8Array(buffer).fill(6)), ${3 * MB})
        parentPort.postMessage(buffer, [buffer])
      })\`, { eval: true })
      let [buffer] = await once(worker, 'message')
      await once(worker, 'exit')
      process.stdout.write(String(new Uint8Array(buffer)[${3 * MB - 1}]))
      buffer = undefined
      gc()
    `], { encoding: 'utf8' })
    assert.deepEqual([ended.stdout, ended.stderr, ended.signal, ended.status], ['6', '', null, 0])
  })

  test('is none of files, sockets, closed descriptors, or memory of another make', () => {
    const { ours, theirs } = memory.socketPair()
    const file = unlinkedFile('content')
    for (const fd of [ours, file, 1 << 29]) assert.deepEqual(memory.check(fd), { reason: 'it is no memory' })
    for (const fd of [ours, theirs, file]) closeSync(fd)
  })

  test('a file that was unlinked is mapped, too, and is not changed by that', () => {
    const fd = unlinkedFile('content')
    const view = new Uint8Array(memory.map(fd, 7))
    assert.equal(Buffer.from(view).toString(), 'content')
    view.fill(65)
    assert.equal(readFirst(fd), 'c'.charCodeAt(0))
    closeSync(fd)
  })

  test('is passed on as it is while nobody has written into what shows it, and not afterwards', () => {
    for (const bytes of [1, 4096, 70_000, 5 * MB]) {
      const fd = memory.copy(Buffer.alloc(bytes, 'as it came'))
      const buffer = memory.map(fd, bytes, true)
      const isSame = (again: number | undefined): boolean => {
        if (again === undefined) return false
        const [one, other] = [fstatSync(fd).ino, fstatSync(again).ino]
        closeSync(again)
        return one === other
      }
      assert(isSame(memory.shown(buffer)), `${bytes} bytes that nobody has touched`)
      assert.equal(new Uint8Array(buffer).reduce((sum, byte) => sum ^ byte), Buffer.alloc(bytes, 'as it came').reduce((sum, byte) => sum ^ byte))
      assert(isSame(memory.shown(buffer)), `${bytes} bytes that were read`)
      new Uint8Array(buffer)[bytes - 1] = 0
      assert.equal(memory.shown(buffer), undefined, `${bytes} bytes with another last one`)
      const made = memory.allocate(bytes)
      new Uint8Array(made).fill(7)
      assert.equal(memory.shown(made), undefined, 'not sealed yet')
      const sealed = memory.seal(made, true)
      const again = memory.shown(made)!
      assert.equal(fstatSync(again).ino, fstatSync(sealed).ino)
      new Uint8Array(made)[0] = 8
      assert.equal(memory.shown(made), undefined)
      for (const one of [fd, sealed, again]) closeSync(one)
    }
    // What nobody asked for, a part of an object, or a file that somebody could change, is nothing that can be passed on.
    const fd = memory.copy(Buffer.alloc(8192, 1))
    const file = unlinkedFile('content')
    for (const buffer of [memory.map(fd, 8192), memory.map(fd, 4096, true), memory.mapPart(fd, 4096, 4096), memory.map(file, 7, true), new ArrayBuffer(8)]) assert.equal(memory.shown(buffer), undefined)
    for (const one of [fd, file]) closeSync(one)
  })

  test('a part of it is mapped from a whole page on, and not any more once the buffer is transferred away', () => {
    const source = Buffer.from(Array.from({ length: 20_000 }, (_, at) => at % 251))
    const fd = memory.copy(source)
    const part = memory.mapPart(fd, 12_288, 20_000 - 12_288)
    // Nobody else here maps from this page on.
    const maps = (): string[] => readFileSync('/proc/self/maps', 'utf8').split('\n').filter((line) => line.includes('/memfd:') && line.includes(' 00003000 '))
    assert(Buffer.from(part).equals(source.subarray(12_288)))
    assert.equal(maps().length, 1)
    part.transfer(0)
    assert.equal(maps().length, 0)
    for (const [offset, bytes] of [[4095, 1], [4096, 20_000], [20_480, 1], [-4096, 1]] as const) assert.throws(() => memory.mapPart(fd, offset, bytes), TypeError)
    assert.equal(memory.mapPart(fd, 8192, 0).byteLength, 0)
    closeSync(fd)
  })

  test('is not taken for what it is not: other buffers are not sealed, and nothing is mapped beyond an end', () => {
    const buffer = memory.allocate(8192)
    const fd = memory.copy(new Uint8Array(5))
    for (const wrong of [new ArrayBuffer(8192), new WebAssembly.Memory({ initial: 1 }).buffer, memory.map(fd, 5)]) {
      assert.equal(memory.isAllocated(wrong), false)
      assert.throws(() => memory.seal(wrong), TypeError)
    }
    closeSync(memory.seal(buffer))
    assert.throws(() => memory.seal(buffer), TypeError)
    assert.throws(() => memory.map(fd, 6), TypeError)
    assert.throws(() => memory.allocate(0), TypeError)
    assert.throws(() => memory.allocate(2 ** 40), { errno: 12 })
    closeSync(fd)
  })

  test('refuses arguments of the wrong kind, whatever they are', () => {
    const anything = fc.oneof(fc.anything(), fc.double(), fc.integer({ min: -2, max: 0 }), fc.constant(new ArrayBuffer(4096)), fc.constant(new Uint8Array(8)))
    // Not with descriptors that are open: those would be sealed, or sent to.
    const functions = ['isAllocated', 'seal', 'sealFd', 'check', 'map', 'mapInto', 'pass', 'receive'] as const
    fc.assert(fc.property(fc.constantFrom(...functions), fc.array(anything, { maxLength: 5 }), (name, values) => {
      try {
        ;(memory[name] as (...values: unknown[]) => unknown)(...values)
      } catch (thrown) {
        assert(thrown instanceof Error)
      }
    }))
  })
})

describe('mapping into a WebAssembly.Memory', { skip }, () => {
  const content = Buffer.alloc(3 * 4096 + 5, 9)

  test('gives a part of it the content, and that alone', () => {
    const fd = memory.copy(content)
    const { buffer } = new WebAssembly.Memory({ initial: 4, maximum: 4 })
    const bytes = new Uint8Array(buffer).fill(1)
    memory.mapInto(buffer, 8192, fd, content.length)
    closeSync(fd)
    assert.deepEqual([bytes[8191], bytes[8192], bytes[8192 + content.length - 1], bytes[8192 + content.length], bytes[8192 + 4 * 4096]], [1, 9, 9, 0, 1])
    bytes[8192] = 2
    assert.equal(bytes[8192], 2)
  })

  test('refuses other places with a TypeError, and changes nothing', () => {
    const fd = memory.copy(content)
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1 })
    const bytes = new Uint8Array(buffer).fill(1)
    for (const offset of [1, 4095, -4096, 0.5, NaN, 65536 - 3 * 4096, 65536, 2 ** 52]) assert.throws(() => memory.mapInto(buffer, offset, fd, content.length), TypeError, `offset ${offset}`)
    assert.throws(() => memory.mapInto(buffer, 0, fd, content.length + 1), TypeError)
    assert.throws(() => memory.mapInto(new ArrayBuffer(65536), 0, fd, 1), TypeError)
    assert.throws(() => memory.mapInto(memory.allocate(65536), 0, fd, 1), TypeError)
    assert(bytes.every((byte) => byte === 1))
    closeSync(fd)
  })

  test('ends with the next restore or reset: nobody who gets the memory then sees it', () => {
    const native = loadNative()!
    const image = unlinkedFile(Buffer.alloc(65536, 3))
    const fd = memory.copy(content)
    const wasm = new WebAssembly.Memory({ initial: 4, maximum: 4 })
    const range = native.adopt(wasm)
    const handle = native.openImage(image, image, 0, 65536, new Uint32Array([0, 16]), 0, -1, -1, 0, new Uint32Array(0), new Uint32Array(0))
    const expected = Buffer.alloc(4 * 65536).fill(3, 0, 65536)
    const overlay = (): void => { for (const offset of [0, 65536, 3 * 65536]) memory.mapInto(wasm.buffer, offset, fd, content.length) }
    overlay()
    native.restore(range, handle, 0)
    assert(Buffer.from(wasm.buffer).equals(expected), 'restored')
    overlay()
    native.reset(range)
    assert(Buffer.from(wasm.buffer).equals(expected), 'reset')
    overlay()
    native.zero(range)
    assert(new Uint8Array(wasm.buffer).every((byte) => byte === 0), 'zeroed')
    native.closeImage(handle)
    native.drop(range)
    closeSync(fd)
    closeSync(image)
  })
})

describe('passing', { skip }, () => {
  test('goes from process to process, with the addon at an explicit path, and neither sees the other write', async (context) => {
    const directory = mkdtempSync(join(tmpdir(), 'skep-shared-memory-'))
    context.after(() => rmSync(directory, { recursive: true }))
    const addon = join(directory, 'addon.node')
    copyFileSync(nativeFile(), addon)
    const { ours, theirs } = memory.socketPair()
    const child = spawn(process.execPath, ['--input-type=module', '-e', `
      const memory = (await import(${JSON.stringify(join(import.meta.dirname, 'shared-memory.ts'))})).sharedMemory(${JSON.stringify(addon)})
      process.stdin.once('data', () => {
        const { number, fd } = memory.receive(5)
        const view = new Uint8Array(memory.map(fd, memory.check(fd).bytes))
        const sum = view.reduce((sum, byte) => sum + byte, 0)
        view.fill(0)
        const made = memory.allocate(${5 * MB})
        new Uint8Array(made).fill(4)
        const sealed = memory.seal(made)
        memory.pass(5, number + 1, sealed)
        new Uint8Array(made).fill(5)
        process.stdout.write(String(sum))
        process.stdin.unref()
      })`], { stdio: ['pipe', 'pipe', 'inherit', 'ignore', 'ignore', theirs] })
    closeSync(theirs)
    const exited = new Promise((resolve) => child.once('exit', resolve))
    const fd = memory.copy(new Uint8Array(3 * MB).fill(1))
    assert.equal(memory.pass(ours, 2 ** 32 - 2, fd), true)
    assert.equal(memory.receive(ours), undefined)
    child.stdin!.write('go')
    const [answer] = await Promise.all([child.stdout!.setEncoding('utf8').toArray(), exited])
    assert.equal(answer.join(''), String(3 * MB))
    assert.equal(readFirst(fd), 1)
    const back = memory.receive(ours)!
    assert.equal(back.number, 2 ** 32 - 1)
    assert.deepEqual(memory.check(back.fd), { bytes: 5 * MB })
    assert(new Uint8Array(memory.map(back.fd, 5 * MB)).every((byte) => byte === 4), 'after its producer has gone')
    // Closed, and everything was read.
    assert.equal(memory.receive(ours), undefined)
    assert.throws(() => memory.pass(ours, 0, fd), { errno: 32 })
    for (const one of [fd, back.fd, ours]) closeSync(one)
  })

  test('says when the socket is full, and goes on when there is room', () => {
    const { ours, theirs } = memory.socketPair()
    const fd = memory.copy(new Uint8Array(1))
    let sent = 0
    while (memory.pass(ours, sent, fd)) sent++
    assert(sent >= 64, `${sent} fit`)
    const received = memory.receive(theirs)!
    assert.equal(received.number, 0)
    closeSync(received.fd)
    assert.equal(memory.pass(ours, sent, fd), true)
    // The rest goes with the socket.
    for (const one of [fd, ours, theirs]) closeSync(one)
  })

  test('what comes before its sender has gone is still received, also when ours was not read', () => {
    const { ours, theirs } = memory.socketPair()
    const fd = memory.copy(new Uint8Array(1))
    memory.pass(ours, 1, fd)
    memory.pass(theirs, 2, fd)
    closeSync(theirs)
    const received = memory.receive(ours)!
    assert.equal(received.number, 2)
    for (const one of [fd, received.fd, ours]) closeSync(one)
  })

  test('takes only messages of one number and one descriptor; the others are dropped, with all that came in them', { skip: python }, () => {
    const before = descriptors()
    const { ours, theirs } = memory.socketPair()
    adversary(theirs, `
      fd = os.memfd_create('x')
      send(b'', [fd]); send(b'abc', [fd]); send(b'abcde', [fd]); send(b'a' * 60000, [fd]); send(b'abcd', [])
      send(b'abcd', [fd, fd]); send(b'abcd', [fd] * 200); send(b'a', []); send(number(7), [fd])`)
    for (let at = 0; at < 8; at++) assert.throws(() => memory.receive(ours), { errno: 74 })
    const { number, fd } = memory.receive(ours)!
    assert.equal(number, 7)
    assert.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /^flags:\t02\d{6}$/m, 'close-on-exec')
    closeSync(fd)
    adversary(theirs, `send(b'', [])`)
    assert.equal(memory.receive(ours), undefined)
    closeSync(ours)
    closeSync(theirs)
    assert.equal(descriptors(), before)
  })

  test('memory that its sender can still change is told from sealed memory (M1)', { skip: python }, () => {
    const { ours, theirs } = memory.socketPair()
    adversary(theirs, `
      import fcntl, mmap
      ADD, SEAL, SHRINK, GROW, WRITE, FUTURE_WRITE = 1033, 1, 2, 4, 8, 16
      def memory(flags=2):
        fd = os.memfd_create('x', flags); os.ftruncate(fd, 8192); return fd
      for seals in [0, WRITE, WRITE | SHRINK | GROW, SHRINK | GROW | SEAL, FUTURE_WRITE | SHRINK | GROW | SEAL, WRITE | SHRINK | SEAL, WRITE | GROW | SEAL]:
        fd = memory(); fcntl.fcntl(fd, ADD, seals); send(number(0), [fd])
      send(number(0), [memory(0)])
      try:
        huge = os.memfd_create('x', 2 | 4); os.ftruncate(huge, 1 << 21); fcntl.fcntl(huge, ADD, WRITE | SHRINK | GROW | SEAL)
      except OSError: huge = memory(0) # A kernel without hugetlbfs.
      send(number(0), [huge])
      kept = memory(); view = mmap.mmap(kept, 8192)
      try:
        fcntl.fcntl(kept, ADD, WRITE | SHRINK | GROW | SEAL); send(number(1), [kept])
      except OSError as error:
        assert error.errno == 16
      send(number(0), [kept])
      sealed = memory(); view = mmap.mmap(sealed, 8192); view.close()
      fcntl.fcntl(sealed, ADD, WRITE | SHRINK | GROW | SEAL); send(number(2), [sealed])
      try:
        mmap.mmap(sealed, 8192); send(number(3), [sealed])
      except PermissionError: pass`)
    for (let at = 0; at < 10; at++) {
      const { number, fd } = memory.receive(ours)!
      assert.equal(number, 0)
      assert('reason' in memory.check(fd), `message ${at}`)
      closeSync(fd)
    }
    const { number, fd } = memory.receive(ours)!
    assert.equal(number, 2)
    assert.deepEqual(memory.check(fd), { bytes: 8192 })
    assert.equal(memory.receive(ours), undefined)
    for (const one of [fd, ours, theirs]) closeSync(one)
  })
})

test('10,000 buffers leave neither mappings nor descriptors, and most go without being asked for (M3)', { skip }, async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const collectAll = async (): Promise<void> => {
    for (let at = 0; at < 100 && mappings() > 0; at++) {
      collect()
      await turn()
    }
    assert.equal(mappings(), 0)
  }
  // What the tests before have left to the collector.
  await collectAll()
  const before = descriptors()
  const fd = memory.copy(new Uint8Array(256 * 1024).fill(3))
  let sum = 0
  let most = 0
  for (let at = 0; at < 10_000; at++) {
    const view = new Uint8Array(at % 10 === 0 ? memory.allocate(64 * 1024) : memory.map(fd, 256 * 1024))
    if (at % 10 === 5) view[1] = 1
    sum += view[0]!
    if (at % 1000 === 999) {
      most = Math.max(most, mappings())
      await turn()
    }
  }
  assert.equal(sum, 9000 * 3)
  assert(most < 9000, `${most} mapped at once`)
  closeSync(fd)
  await collectAll()
  assert.equal(descriptors(), before)
})

function readFirst(fd: number): number {
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, 0)
  return byte[0]!
}

/** Opened read-only, and gone from its directory. */
function unlinkedFile(content: string | Buffer): number {
  const directory = mkdtempSync(join(tmpdir(), 'skep-shared-memory-'))
  const path = join(directory, 'file')
  writeFileSync(path, content)
  const fd = openSync(path, constants.O_RDONLY)
  unlinkSync(path)
  rmSync(directory, { recursive: true })
  assert.equal(fstatSync(fd).nlink, 0)
  return fd
}

/** Runs a program that holds the socket as its descriptor 3. */
function adversary(socket: number, program: string): void {
  const helpers = `
import os, socket
s = socket.socket(fileno=3)
def number(n): return n.to_bytes(4, 'little')
def send(data, fds): socket.send_fds(s, [data], fds) if fds else s.send(data)
`
  const indent = /\n( +)\S/.exec(program)?.[1] ?? ''
  const ended = spawnSync('python3', ['-c', helpers + program.replaceAll(`\n${indent}`, '\n')], { stdio: ['ignore', 'inherit', 'pipe', socket], encoding: 'utf8' })
  assert.equal(ended.status, 0, ended.stderr)
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length
}

function mappings(): number {
  return readFileSync('/proc/self/maps', 'utf8').split('memfd:skep-object').length - 1
}
