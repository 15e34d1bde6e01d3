/**
 * Goal: a run ends once and leaves nothing behind, whichever way it ends (RN1 to RN3), and touches the host only when the
 * function's code has stopped running.
 * Method: real guests and invocations in this process; a channel that keeps what is sent, and an Enter that can be made to fail.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { PlatformError } from '../../../src/contract/errors.ts'
import type { OpenHead } from '../../../src/contract/frames.ts'
import { Invocation, type InvocationOwner } from '../../node/invocation.ts'
import { boot, capture, newMemory, restore } from '../faaslets.ts'
import type { Enter, Faaslet, Running } from '../guest.ts'
import { buildModule, i32 } from '../wasm/build-module.fixture.ts'
import { givenFiles } from './app-files.ts'
import { makeWasiGuest, type WasiGuest } from './guest.ts'

const runMicrotasks = (process as unknown as { _tickCallback(): void })._tickCallback

class TestHost {
  readonly running: Running = { faaslet: undefined }
  readonly sent: string[] = []
  readonly logs: string[] = []
  /** Thrown by the next Enter, after its code has run. */
  stopWith: PlatformError | undefined
  readonly enter: Enter = (faaslet, run) => {
    this.running.faaslet = faaslet
    try {
      const result = run()
      runMicrotasks()
      if (this.stopWith !== undefined) throw this.stopWith
      return result
    } finally {
      this.running.faaslet = undefined
    }
  }

  guest(bytes: Uint8Array): Promise<WasiGuest> {
    const frame = { namespace: 'test', function: 'f', revision: 1, entry: 'main.wasm', environment: {} }
    return makeWasiGuest({
      bytes,
      frame,
      memoryBytesMax: 2 ** 20,
      files: givenFiles({}),
      running: this.running,
      enter: this.enter,
      log: (level, text) => {
        assert.equal(this.running.faaslet, undefined, 'the host was touched while code ran')
        this.logs.push(`${level} ${text}`)
      },
    })
  }

  /** The real invocation, on a channel that keeps the bodies of what is sent. */
  invocation(head: Partial<OpenHead>, body?: string, isWhole = true): Invocation {
    const keep = (text: unknown): void => {
      assert.equal(this.running.faaslet, undefined, 'the host was touched while code ran')
      this.sent.push(String(text))
    }
    const channel = { send: (_type: number, _flags: number, _stream: number, payload: unknown) => keep(payload), sendHead: (_type: number, _flags: number, _stream: number, _head: string, payload: unknown) => keep(payload) }
    const owner = { channel, usageOf: () => ({ cpuUs: 0, peakKb: 0 }), beforeEnd() {}, afterEnd() {} } as unknown as InvocationOwner
    return new Invocation(owner, 2, { k: 'http', i: 'inv', m: 'GET', u: '/', h: [], ...head }, body === undefined ? undefined : Buffer.from(body), isWhole)
  }
}

/** Out of the microtask queue, as Enter demands. */
const outside = <Value>(run: () => Promise<Value>): Promise<Value> => new Promise((resolve, reject) => setImmediate(() => void run().then(resolve, reject)))
const command = readFileSync(join(import.meta.dirname, '../../../test/functions/wasm/command.wasm'))

async function ready(host: TestHost, bytes: Uint8Array): Promise<{ guest: WasiGuest; make: () => Faaslet }> {
  const guest = await host.guest(bytes)
  const captured = capture(guest, await outside(() => boot(guest)))
  assert.equal(captured.kind, 'snapshot')
  const image = Buffer.from(Buffer.from(captured.memory.buffer))
  return {
    guest,
    make: () => {
      const memory = newMemory(guest)
      memory.grow((image.length - memory.buffer.byteLength) / 65_536)
      Buffer.from(memory.buffer).set(image)
      return restore(guest, memory, (captured as { state: Parameters<typeof restore>[2] }).state)
    },
  }
}

test('an abandoned run unwinds, and its memory is let go of (RN3)', async () => {
  const host = new TestHost()
  const { guest, make } = await ready(host, command)
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const memories: WeakRef<WebAssembly.Memory>[] = []
  await Promise.all(
    Array.from({ length: 20 }, () => {
      const faaslet = make()
      memories.push(new WeakRef(faaslet.memory))
      const invocation = host.invocation({ u: '/echo' }, undefined, false)
      const run = outside(() => guest.invoke(faaslet, invocation))
      setImmediate(() => invocation.cancel())
      return assert.rejects(run, { code: 'CANCELLED' })
    }),
  )
  for (let at = 0; at < 5; at++) {
    await new Promise((resolve) => setImmediate(resolve))
    collect()
  }
  assert.ok(memories.filter((one) => one.deref() !== undefined).length <= 1)
})

test('what Enter throws is the end, also after a wait; what was printed is in the log', async () => {
  const host = new TestHost()
  const { guest, make } = await ready(host, command)
  const stop = new PlatformError('FUNCTION_TIMEOUT', 'stopped at its deadline')
  host.stopWith = stop
  await assert.rejects(outside(() => guest.invoke(make(), host.invocation({ u: '/exit', h: [] }))), { code: 'FUNCTION_TIMEOUT' })
  assert.deepEqual(host.logs, ['stderr first line', 'stderr last words'])
  host.stopWith = undefined
  const invocation = host.invocation({ u: '/echo' }, 'a', false)
  const run = outside(() => guest.invoke(make(), invocation))
  await outside(async () => {
    host.stopWith = stop
    invocation.body.push(Buffer.from('b'), true)
  })
  await assert.rejects(run, { code: 'FUNCTION_TIMEOUT' })
  assert.equal(invocation.isOpen, false)
})

test('a stop during initialisation is INIT_TIMEOUT, an exit code INIT_FAILED', async () => {
  const host = new TestHost()
  const spinning = await host.guest(buildModule({ types: [[[], []]], functions: [0, 0], exports: [['skep_init', 0, 0], ['handle', 0, 1]], code: [[], []] }))
  host.stopWith = new PlatformError('FUNCTION_TIMEOUT', 'stopped')
  await assert.rejects(outside(() => boot(spinning)), { code: 'INIT_TIMEOUT' })
  host.stopWith = undefined
  const exiting = await host.guest(
    buildModule({ types: [[[], []], [[i32], []]], imports: [['wasi_snapshot_preview1', 'proc_exit', 0, 1]], functions: [0, 0], exports: [['skep_init', 0, 1], ['handle', 0, 2]], code: [[0x41, 3, 0x10, 0], []] }),
  )
  await assert.rejects(outside(() => boot(exiting)), { code: 'INIT_FAILED', message: 'While it was initialised, "main.wasm" ended with exit code 3.' })
})

test('a module that imports nothing which waits is called without a stack of its own', async () => {
  const host = new TestHost()
  // skep.status(204); skep.random(0, 16); returns what status returned.
  const bytes = buildModule({
    types: [[[], [i32]], [[i32], [i32]], [[i32, i32], [i32]]],
    imports: [['skep', 'status', 0, 1], ['skep', 'random', 0, 2]],
    functions: [0],
    memories: [[0, 1]],
    exports: [['handle', 0, 2]],
    code: [[0x41, 0, 0x41, 16, 0x10, 1, 0x1a, 0x41, 0xcc, 1, 0x10, 0]],
  })
  const { guest, make } = await ready(host, bytes)
  const faaslet = make()
  await outside(() => guest.invoke(faaslet, host.invocation({})))
  assert.deepEqual([host.sent, guest.isReusable(faaslet)], [['undefined'], true])
  assert.ok(Buffer.from(faaslet.memory.buffer).subarray(0, 16).some((byte) => byte !== 0))
})

test('AssemblyScript\'s abort says message, file and place', async () => {
  const text = (value: string): number[] => [...Buffer.from(value, 'utf16le')]
  const host = new TestHost()
  const bytes = buildModule({
    types: [[[], []], [[i32, i32, i32, i32], []]],
    imports: [['env', 'abort', 0, 1]],
    functions: [0],
    memories: [[0, 1]],
    exports: [['handle', 0, 1]],
    code: [[0x41, 4, 0x41, 16, 0x41, 3, 0x41, 7, 0x10, 0]],
    data: [
      [0, 0x41, 0, 0x0b, 8, 4, 0, 0, 0, ...text('no')],
      [0, 0x41, 12, 0x0b, 12, 8, 0, 0, 0, ...text('a.ts')],
    ],
  })
  const { guest, make } = await ready(host, bytes)
  await assert.rejects(outside(() => guest.invoke(make(), host.invocation({}))), { code: 'FUNCTION_THREW', message: '"main.wasm" stopped: abort: no in a.ts:3:7.' })
})

test('polling waits for the body or the time, whichever is first', async () => {
  const host = new TestHost()
  // poll_oneoff(0, 256, 2, 512): standard input, and a clock at the nanoseconds in memory[72]; result: the first event's type.
  const subscriptions = Buffer.alloc(96)
  subscriptions[8] = 1
  subscriptions.writeUInt8(0, 48 + 8)
  subscriptions.writeUInt32LE(1, 48 + 16)
  const module = (waitMs: number): Uint8Array => {
    subscriptions.writeBigUInt64LE(BigInt(waitMs) * 1_000_000n, 48 + 24)
    return buildModule({
      types: [[[], [i32]], [[i32, i32, i32, i32], [i32]]],
      imports: [['wasi_snapshot_preview1', 'poll_oneoff', 0, 1]],
      functions: [0],
      memories: [[0, 1]],
      exports: [['handle', 0, 1]],
      // 10 * events + type of the first + errno
      code: [[0x41, 0, 0x41, 0x80, 2, 0x41, 2, 0x41, 0x80, 4, 0x10, 0, 0x41, 0x80, 4, 0x28, 2, 0, 0x41, 10, 0x6c, 0x6a, 0x41, 0x8a, 2, 0x2d, 0, 0, 0x6a]],
      data: [[0, 0x41, 0, 0x0b, 96, ...subscriptions]],
    })
  }
  const results: unknown[] = []
  for (const waitMs of [1, 20_000]) {
    const { guest, make } = await ready(host, module(waitMs))
    const invocation = host.invocation({}, undefined, false)
    const run = outside(() => guest.invoke(make(), invocation))
    if (waitMs > 1) await outside(async () => invocation.body.push(Buffer.from('x'), true))
    await run.catch((error: PlatformError) => results.push(error.details?.['exitCode']))
  }
  assert.deepEqual(results, [10, 11])
})
