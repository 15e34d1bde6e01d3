/**
 * Goal: code that spins is stopped at its deadline, whatever kind of code it is, and nothing else is.
 *
 * Method: real WebAssembly and JavaScript spin in guarded calls, with deadlines of some milliseconds; afterwards the same isolate goes
 * on. The WebAssembly is assembled here by hand. Each case runs in a worker thread of its own: the test runner's thread has async hooks,
 * in which stopped jobs would end the process (P2).
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { truncateSync } from 'node:fs'
import { describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { Guard } from './native-guard.ts'
import type { Guarded } from './native-guard.ts'
import { loadNative } from './native.ts'
import { dirtyMemory, makeSnapshot } from './restore.fake.ts'
import { MappedMemory } from './restore-native.ts'
import { PAGE_BYTES } from './snapshot.ts'

const native = loadNative()
const skip = native === undefined ? 'the addon is not built: node scripts/build-native.ts' : false

/** Calls from the event loop, not from a promise's reaction as an async test would (P2). */
function fromEventLoop<Result>(run: () => Result): Promise<Result> {
  return new Promise((resolve, reject) => {
    setImmediate(() => {
      try {
        resolve(run())
      } catch (thrown) {
        reject(thrown as Error)
      }
    })
  })
}

const in20Ms = () => performance.now() + 20

/** `spin()` loops for ever; `spinAfter()` does so after its import `wait` has returned. */
const spinner = new WebAssembly.Module(Uint8Array.of(
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  1, 4, 1, 0x60, 0, 0, // type 0: () → ()
  2, 10, 1, 1, 0x65, 4, 0x77, 0x61, 0x69, 0x74, 0, 0, // import e.wait
  3, 3, 2, 0, 0,
  7, 20, 2, 4, 0x73, 0x70, 0x69, 0x6e, 0, 1, 9, 0x73, 0x70, 0x69, 0x6e, 0x41, 0x66, 0x74, 0x65, 0x72, 0, 2,
  10, 19, 2, 7, 0, 3, 0x40, 0x0c, 0, 0x0b, 0x0b, 9, 0, 0x10, 0, 3, 0x40, 0x0c, 0, 0x0b, 0x0b,
))
type Spinner = { readonly spin: () => void; readonly spinAfter: () => void }
const jspi = WebAssembly as typeof WebAssembly & { Suspending: new (run: () => unknown) => WebAssembly.ImportValue; promising: (run: () => void) => () => Promise<void> }

/** What is tested, by name. */
const cases = (guard: Guard): Readonly<Record<string, () => Promise<void>>> => ({
  'gives the result, and passes on what is thrown': async () => {
    assert.deepEqual(await fromEventLoop(() => guard.run(() => 7, in20Ms())), { ended: 'done', value: 7 })
    assert.deepEqual(await fromEventLoop(() => guard.run(() => 7, Infinity)), { ended: 'done', value: 7 })
    await assert.rejects(fromEventLoop(() => guard.run(() => { throw new RangeError('its own') }, in20Ms())), { name: 'RangeError', message: 'its own' })
  },

  'stops JavaScript that spins, not before its deadline, and the isolate lives on': async () => {
    for (let round = 0; round < 3; round++) {
      const deadlineMs = in20Ms()
      assert.deepEqual(await fromEventLoop(() => guard.run(() => { for (;;); }, deadlineMs)), { ended: 'deadline' })
      assert(performance.now() >= deadlineMs)
      assert.deepEqual(await fromEventLoop(() => guard.run(() => [1, 2].map((n) => n + 1), in20Ms())), { ended: 'done', value: [2, 3] })
    }
  },

  'stops WebAssembly that spins, and other instances of the module live on': async () => {
    const { spin } = new WebAssembly.Instance(spinner, { e: { wait: () => {} } }).exports as Spinner
    assert.deepEqual(await fromEventLoop(() => guard.run(spin, in20Ms())), { ended: 'deadline' })
    const again = new WebAssembly.Instance(spinner, { e: { wait: () => { throw new Error('enough') } } }).exports as Spinner
    await assert.rejects(fromEventLoop(() => guard.run(again.spinAfter, in20Ms())), { message: 'enough' })
  },

  'stops a deadline that has passed already': async () => {
    assert.deepEqual(await fromEventLoop(() => guard.run(() => { for (;;); }, -5)), { ended: 'deadline' })
  },

  'stops jobs of the microtask queue that spin, and drops those behind them (P1)': async () => {
    let later = 0
    const stopped = await fromEventLoop(() => guard.run(() => {
      void Promise.resolve().then(() => { for (;;); })
      void Promise.resolve().then(() => later++)
    }, in20Ms()))
    assert.deepEqual(stopped, { ended: 'deadline' })
    await nextTurn()
    assert.equal(later, 0)
    assert.equal(await Promise.resolve('jobs run again'), 'jobs run again')
  },

  'stops WebAssembly that spins after a wait, when its promise is settled in a guarded call': async () => {
    let settle = () => {}
    const wait = new jspi.Suspending(() => new Promise<void>((resolve) => { settle = resolve }))
    const { spinAfter } = new WebAssembly.Instance(spinner, { e: { wait } }).exports as Spinner
    const started = await fromEventLoop(() => guard.run(jspi.promising(spinAfter), in20Ms()))
    assert.equal(started.ended, 'done')
    assert.deepEqual(await fromEventLoop(() => guard.run(() => settle(), in20Ms())), { ended: 'deadline' })
    assert.deepEqual(await fromEventLoop(() => guard.run(() => 'alive', in20Ms())), { ended: 'done', value: 'alive' })
  },

  'leaves nothing of a stopped call to run unguarded: what it queued before it span gets a little time, then is dropped (P1)': async () => {
    let hostJob = false
    assert.deepEqual(await fromEventLoop(() => guard.run(() => {
      void Promise.resolve().then(() => { hostJob = true })
      void Promise.resolve().then(() => { for (;;); })
      for (;;);
    }, in20Ms())), { ended: 'deadline' })
    assert.equal(hostJob, true)
  },

  'runs jobs that were queued before it unguarded: they are not its fault': async () => {
    const order: string[] = []
    await fromEventLoop(() => {
      void Promise.resolve().then(() => order.push('before'))
      guard.run(() => { order.push('call'); void Promise.resolve().then(() => order.push('its job')) }, in20Ms())
      order.push('after')
    })
    assert.deepEqual(order, ['before', 'call', 'its job', 'after'])
  },

  'is refused inside another one, and inside a job, from where process.nextTick leads out (P2)': async () => {
    await assert.rejects(fromEventLoop(() => guard.run(() => guard.run(() => 1, in20Ms()), in20Ms())), /guard inside guard/)
    await Promise.resolve()
    assert.throws(() => guard.run(() => 1, in20Ms()), /process\.nextTick/)
    const ended = await new Promise<Guarded<string>>((resolve) => { process.nextTick(() => resolve(guard.run(() => 'out', in20Ms()))) })
    assert.deepEqual(ended, { ended: 'done', value: 'out' })
  },

  'is not stopped while it holds, and is when it lets go (P3)': async () => {
    let halves = 0
    const ended = await fromEventLoop(() => guard.run(() => {
      guard.hold()
      halves++
      for (const untilMs = performance.now() + 60; performance.now() < untilMs;);
      halves++
      guard.hold()
      guard.release()
      halves++
      guard.release()
      for (;;) halves = 3
    }, in20Ms()))
    assert.deepEqual([ended, halves], [{ ended: 'deadline' }, 3])
    assert.deepEqual(await fromEventLoop(() => guard.run(() => { guard.hold(); guard.release(); return 1 }, in20Ms())), { ended: 'done', value: 1 })
  },

  'stops code whose memory cannot be read from its image, at once': async () => {
    using snapshot = makeSnapshot({ pages: 64, stored: () => true })
    using image = MappedMemory.open(snapshot)
    const memory = dirtyMemory(64)
    using paged = new MappedMemory(native!, memory)
    paged.restore(image, 'demand')
    truncateSync(snapshot.imagePath, snapshot.imageOffset + 40 * PAGE_BYTES)
    const bytes = new Uint8Array(memory.buffer)
    const ended = await fromEventLoop(() => guard.run(() => {
      for (let page = 0; ; page = (page + 1) % 64) bytes[page * PAGE_BYTES]! += 1
    }, Infinity))
    assert.deepEqual([ended, paged.faults().lost], [{ ended: 'page-lost' }, true])
    assert.deepEqual(await fromEventLoop(() => guard.run(() => 'alive', in20Ms())), { ended: 'done', value: 'alive' })
  },

  'that ends right at its deadline leaves no termination behind': async () => {
    // Each call ends within some µs of its deadline, before or after: the one behind it must not notice (W1 of the watchdog).
    const counts = { done: 0, deadline: 0 }
    await fromEventLoop(() => {
      for (let round = 0; round < 400; round++) {
        const deadlineMs = performance.now() + 0.2 + (round % 20) / 100
        const { ended } = guard.run(() => { while (performance.now() < deadlineMs); }, deadlineMs)
        counts[ended as 'done' | 'deadline']++
        let sum = 0
        for (let index = 0; index < 1000; index++) sum += index
        assert.equal(sum, 499_500)
      }
    })
    assert.equal(counts.done + counts.deadline, 400)
  },
})

const faultsMissing = native?.faultsMissing

if (isMainThread) {
  describe('a guarded call', { skip }, () => {
    for (const name of Object.keys(cases(undefined as unknown as Guard))) {
      const needsFaults = name.includes('cannot be read') && faultsMissing !== undefined
      test(name, { skip: needsFaults ? `there is no userfaultfd: ${faultsMissing}` : false }, async () => {
        const worker = new Worker(import.meta.filename, { workerData: name })
        // A case that never ends exits with 13, one that fails rejects here.
        assert.deepEqual(await once(worker, 'exit'), [0])
      })
    }
  })
} else {
  await cases(new Guard(native!))[workerData as string]!()
}
