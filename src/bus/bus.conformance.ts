/**
 * Goal: every implementation of Bus keeps M1 to M3.
 *
 * Method: two or three connections to the same bus; time passes as the harness lets it. Where the interface promises no
 * moment, the test looks again until a bounded time has passed; in-process implementations never wait.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { PlatformError } from '#contract/errors.ts'
import type { Bus } from './bus.ts'

export interface BusHarness {
  /** One more connection to the same bus. */
  connect(): Promise<Bus>
  /** Ends a connection as a crash of its process does. */
  sever(bus: Bus): Promise<void>
  /** Lets time pass: by moving a manual clock, or by waiting. */
  pass(ms: number): Promise<void>
  /** Returns when subscriptions and messages of before are known everywhere. */
  settle(): Promise<void>
  readonly lossMs: number
  destroy(): Promise<void>
}

export interface BusConformance {
  readonly name: string
  readonly open: () => Promise<BusHarness>
}

const quick = { timeoutMs: 2000 }

export function runBusConformance({ name, open }: BusConformance): void {
  const withBus = (body: (harness: BusHarness) => Promise<void>) => async (): Promise<void> => {
    const harness = await open()
    try {
      await body(harness)
    } finally {
      await harness.destroy()
    }
  }

  describe(`${name} keeps the promises of Bus`, () => {
    test('brings a message to every listener of its subject once, and to no other (M1)', withBus(async (harness) => {
      const [sender, receiver] = [await harness.connect(), await harness.connect()]
      const heard: string[] = []
      for (const pattern of ['load.7', 'load.*', 'load.>', '*.7', '>', 'load', 'load.8', 'load.*.>', 'load.7.>']) {
        receiver.subscribe(pattern, (message, subject) => heard.push(`${pattern} ${subject} ${JSON.stringify(message)}`))
      }
      sender.subscribe('load.7', () => heard.push('own connection'))
      await harness.settle()
      sender.publish('load.7', { cpu: 1 })
      await until(() => heard.length >= 6)
      await harness.settle()
      const hits = ['load.7', 'load.*', 'load.>', '*.7', '>'].map((pattern) => `${pattern} load.7 {"cpu":1}`)
      assert.deepEqual(heard.sort(), [...hits, 'own connection'].sort())
    }))

    test("keeps the publisher's order, over all subjects of one listener (M1)", withBus(async (harness) => {
      const [sender, receiver] = [await harness.connect(), await harness.connect()]
      const heard: unknown[] = []
      receiver.subscribe('order.>', (message) => heard.push(message))
      await harness.settle()
      for (let index = 0; index < 500; index++) sender.publish(`order.${index % 7}`, index)
      await until(() => heard.length === 500)
      assert.deepEqual(heard, Array.from({ length: 500 }, (_, index) => index))
    }))

    test('calls nobody who has unsubscribed, and nobody inside of publish', withBus(async (harness) => {
      const [sender, receiver] = [await harness.connect(), await harness.connect()]
      const heard: unknown[] = []
      const stop = receiver.subscribe('x', (message) => heard.push(['stopped', message]))
      receiver.subscribe('x', (message) => heard.push(['kept', message]))
      await harness.settle()
      stop()
      await harness.settle()
      sender.publish('x', 1)
      assert.deepEqual(heard, [])
      await until(() => heard.length > 0)
      await harness.settle()
      assert.deepEqual(heard, [['kept', 1]])
    }))

    test('hands each listener a value of its own, as JSON carries it', withBus(async (harness) => {
      const bus = await harness.connect()
      const heard: unknown[] = []
      const message = { list: [1], left: undefined }
      bus.subscribe('x', (given) => {
        heard.push(structuredClone(given))
        ;(given as { list: number[] }).list.push(2)
      })
      bus.subscribe('x', (given) => heard.push(given))
      await harness.settle()
      bus.publish('x', message)
      message.list.push(3)
      await until(() => heard.length === 2)
      assert.deepEqual(heard.map((one) => (one as { list: number[] }).list.slice(0, 1)), [[1], [1]])
      assert(heard.some((one) => (one as { list: number[] }).list.length === 1))
      assert.equal(Object.hasOwn(heard[1] as object, 'left'), false)
    }))

    test('refuses a message or an answer over 64 KB with BODY_TOO_LARGE', withBus(async (harness) => {
      const bus = await harness.connect()
      const large = 'x'.repeat(64 * 1024)
      assert.throws(() => bus.publish('x', large), { code: 'BODY_TOO_LARGE' })
      bus.respond('x', async () => large)
      await harness.settle()
      await assert.rejects(bus.request('x', large, quick), { code: 'BODY_TOO_LARGE' })
      await assert.rejects(bus.request('x', 1, quick), { code: 'BODY_TOO_LARGE' })
    }))

    test('has a request answered by exactly one of its responders, all of which get some (M2)', withBus(async (harness) => {
      const buses = [await harness.connect(), await harness.connect(), await harness.connect()]
      const calls = [0, 0]
      for (const index of [0, 1]) {
        buses[index]!.respond('double', async (message) => {
          calls[index]! += 1
          return (message as number) * 2
        })
      }
      await harness.settle()
      const answers = await Promise.all(Array.from({ length: 64 }, (_, index) => buses[2]!.request<number>('double', index, quick)))
      assert.deepEqual(answers, Array.from({ length: 64 }, (_, index) => index * 2))
      assert.equal(calls[0]! + calls[1]!, 64)
      assert(calls[0]! > 0 && calls[1]! > 0, `one of them got nothing: ${calls}`)
    }))

    test('fails a request that nobody responds to at once, with START_FAILED (M2)', withBus(async (harness) => {
      const [asking, answering] = [await harness.connect(), await harness.connect()]
      await assert.rejects(asking.request('nobody', 1, quick), { code: 'START_FAILED' })
      const stop = answering.respond('nobody', async () => 1)
      await harness.settle()
      assert.equal(await asking.request('nobody', 1, quick), 1)
      stop()
      await harness.settle()
      await assert.rejects(asking.request('nobody', 1, quick), { code: 'START_FAILED' })
    }))

    test('fails a request that is not answered in time with QUEUE_TIMEOUT, also when its responder has died (M2)', withBus(async (harness) => {
      const [asking, answering] = [await harness.connect(), await harness.connect()]
      let asked = 0
      answering.respond('silent', () => {
        asked += 1
        return new Promise(() => {})
      })
      await harness.settle()
      const waiting = assert.rejects(asking.request('silent', 1, { timeoutMs: 200 }), { code: 'QUEUE_TIMEOUT' })
      await until(() => asked === 1)
      await harness.sever(answering)
      await harness.pass(250)
      await waiting
    }))

    test("brings a responder's own error back with its code, message and details; any other as INTERNAL (M2)", withBus(async (harness) => {
      const [asking, answering] = [await harness.connect(), await harness.connect()]
      answering.respond('fail.known', async () => {
        throw new PlatformError('CONCURRENCY_EXCEEDED', '9 of 8 in use. Wait.', { details: { limit: 8 } })
      })
      answering.respond('fail.unknown', () => {
        throw new TypeError('x is undefined')
      })
      await harness.settle()
      await assert.rejects(asking.request('fail.known', 1, quick), (thrown: PlatformError) => {
        assert(thrown instanceof PlatformError)
        assert.deepEqual([thrown.code, thrown.message, thrown.details], ['CONCURRENCY_EXCEEDED', '9 of 8 in use. Wait.', { limit: 8 }])
        return true
      })
      await assert.rejects(asking.request('fail.unknown', 1, quick), { code: 'INTERNAL', message: /x is undefined/ })
    }))

    test('tells joining, updating and leaving as they happen (M3)', withBus(async (harness) => {
      const [worker, watcher] = [await harness.connect(), await harness.connect()]
      const changes: unknown[] = []
      watcher.watchMembers('workers', (change) => changes.push([change.kind, change.member.id, change.member.details]))
      await harness.settle()
      const leave = worker.join('workers', { id: 'w1', details: { slots: 4 } })
      worker.join('others', { id: 'w2', details: {} })
      await until(() => watcher.members('workers').length === 1)
      await harness.settle()
      worker.join('workers', { id: 'w1', details: { slots: 3 } })
      await until(() => (watcher.members('workers')[0]?.details as { slots: number }).slots === 3)
      await harness.settle()
      leave()
      await until(() => watcher.members('workers').length === 0 && changes.length === 3)
      assert.deepEqual(changes, [['joined', 'w1', { slots: 4 }], ['updated', 'w1', { slots: 3 }], ['gone', 'w1', { slots: 3 }]])
    }))

    test('tells that the members of a closed connection are gone (M3)', withBus(async (harness) => {
      const [worker, watcher] = [await harness.connect(), await harness.connect()]
      worker.join('workers', { id: 'w1', details: 1 })
      await until(() => watcher.members('workers').length === 1)
      await worker.close()
      await until(() => watcher.members('workers').length === 0)
    }))

    test('misses a member that died only after lossMs, and then tells (M3)', withBus(async (harness) => {
      const [worker, watcher] = [await harness.connect(), await harness.connect()]
      const changes: string[] = []
      watcher.watchMembers('workers', (change) => changes.push(`${change.kind} ${change.member.id}`))
      worker.join('workers', { id: 'w1', details: 1 })
      await until(() => changes.length === 1)
      await harness.sever(worker)
      await harness.pass(harness.lossMs / 4)
      assert.equal(watcher.members('workers').length, 1)
      await harness.pass(harness.lossMs)
      await until(() => changes.length === 2)
      assert.deepEqual(changes, ['joined w1', 'gone w1'])
      assert.deepEqual(watcher.members('workers'), [])
    }))

    test('does not lose a member that came back over a new connection (M3)', withBus(async (harness) => {
      const [worker, watcher] = [await harness.connect(), await harness.connect()]
      worker.join('workers', { id: 'w1', details: 1 })
      await until(() => watcher.members('workers').length === 1)
      await harness.sever(worker)
      const again = await harness.connect()
      again.join('workers', { id: 'w1', details: 2 })
      await until(() => watcher.members('workers')[0]?.details === 2)
      await harness.pass(harness.lossMs * 2)
      assert.deepEqual(watcher.members('workers'), [{ id: 'w1', details: 2 }])
    }))

    test('refuses everything on a closed connection with STOPPING, and fails its pending requests', withBus(async (harness) => {
      const [closing, answering] = [await harness.connect(), await harness.connect()]
      answering.respond('silent', () => new Promise(() => {}))
      await harness.settle()
      const pending = assert.rejects(closing.request('silent', 1, quick), { code: 'STOPPING' })
      await closing.close()
      await pending
      await closing.close()
      assert.throws(() => closing.publish('x', 1), { code: 'STOPPING' })
      await assert.rejects(closing.request('silent', 1, quick), { code: 'STOPPING' })
    }))
  })
}

/** Looks until it holds, at most two seconds. */
async function until(holds: () => boolean): Promise<void> {
  const startMs = performance.now()
  for (let look = 0; !holds(); look++) {
    assert(performance.now() - startMs < 2000, `did not come true within 2 s: ${holds}`)
    await (look < 10 ? new Promise((resolve) => setImmediate(resolve)) : pause(2))
  }
}
