/**
 * Goal: bursts leave as planned: all at once, the next when the one before is answered, gaps from where the round says.
 *
 * Method: a real server that answers when the test lets it, and counts what it holds; time is a clock moved by hand where gaps matter.
 */
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { describe, test } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import type { Burst, Round } from '../schedule.ts'
import { driveRounds } from './closed-loop.ts'
import { byteServer, endpointAt, httpServer, messageTo } from './test-server.fake.ts'

const never = new AbortController().signal

function roundsOf(sizes: readonly number[], options: { readonly gapMs?: number; readonly gapFrom?: Round['gapFrom']; readonly endpoints?: number } = {}): Round[] {
  const { gapMs = 0, gapFrom = 'last-answer', endpoints = 1 } = options
  return sizes.map((size, number) => ({
    number, gapMs, gapFrom,
    bursts: Array.from({ length: endpoints }, (_, endpoint): Burst => ({ id: number * endpoints + endpoint, round: number, endpoint, size, serviceTime: { text: '0ms', ms: 0 } })),
  }))
}

describe('rounds', () => {
  test('a burst is under way as a whole, and nothing else with it (L1, L2)', async () => {
    const seen: string[] = []
    let held: ServerResponse[] = []
    const sizes = [3, 1, 5]
    await using server = await httpServer((request, response) => {
      seen.push(request.url!)
      held.push(response)
      const burst = Math.floor(seen.length > 0 ? Number(request.url!.slice(1)) / 2 : 0)
      // Answers when all of the burst are there: it would hang if they came one after the other.
      if (held.length < sizes[burst]!) return
      for (const one of held) one.end('{}')
      held = []
    })
    const endpoints = [endpointAt(server.origin), endpointAt(server.origin)]
    const answered: number[] = []
    const result = await driveRounds({
      rounds: roundsOf(sizes, { endpoints: 2 }), signal: never,
      endpointOf: ({ endpoint }) => endpoints[endpoint]!,
      messageOf: ({ id }) => messageTo(`/${id}`),
      onAnswer: ({ id }, { status }) => {
        assert.equal(status, 200)
        answered.push(id)
        return 'go-on'
      },
    })
    const expected = [0, 0, 0, 1, 1, 1, 2, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5]
    assert.deepEqual([seen, answered], [expected.map((id) => `/${id}`), expected])
    assert.deepEqual([result.end, result.sent, result.lateness.count, result.connectionsOpened], ['all', 18, 18, 5])
  })

  test('gaps count from the last answer, or from the start of the round before', async () => {
    for (const [gapFrom, expected] of [['last-answer', [100, 240, 380]], ['last-start', [100, 200, 300]]] as const) {
      const clock = new ManualClock()
      const [startMs, arrivals] = [clock.monotonicUs() / 1000, [] as number[]]
      await using server = await httpServer((_request, response) => {
        arrivals.push(clock.monotonicUs() / 1000 - startMs)
        // Each answer takes 40 ms of the clock.
        clock.advance(40)
        response.end('{}')
      })
      const driving = driveRounds({
        rounds: roundsOf([1, 1, 1], { gapMs: 100, gapFrom }), signal: never, clock, sender: { timeoutMs: 1e6 },
        endpointOf: () => endpoint, messageOf: () => messageTo(), onAnswer: () => 'go-on',
      })
      const endpoint = endpointAt(server.origin)
      let over = false
      void driving.then(() => (over = true))
      // The clock moves only while no request is on its way: it would go by for the server, too.
      for (let arrived = 0; !over;) {
        await new Promise((resolve) => setTimeout(resolve, 1))
        if (arrivals.length === arrived) clock.advance(arrived < 3 ? expected[arrived]! - (clock.monotonicUs() / 1000 - startMs) : 0)
        while (arrivals.length === arrived && !over) await new Promise((resolve) => setImmediate(resolve))
        arrived = arrivals.length
      }
      assert.deepEqual(arrivals, expected, gapFrom)
    }
  })

  test('end with a verdict, and with the signal while a burst is under way', async () => {
    await using server = await httpServer((_request, response) => response.end('{}'))
    const endpoint = endpointAt(server.origin)
    const common = { rounds: roundsOf([2, 2, 2]), endpointOf: () => endpoint, messageOf: () => messageTo() }
    const stopped = await driveRounds({ ...common, signal: never, onAnswer: ({ id }) => (id === 1 ? 'stop' : 'go-on') })
    assert.deepEqual([stopped.end, stopped.sent], ['stopped', 4])
    const controller = new AbortController()
    await using silent = await byteServer((socket) => socket.on('data', () => controller.abort()))
    const silentEndpoint = endpointAt(silent.origin)
    const interrupted = await driveRounds({ ...common, endpointOf: () => silentEndpoint, signal: controller.signal, onAnswer: () => assert.fail('nothing was answered') })
    assert.deepEqual([interrupted.end, interrupted.sent], ['interrupted', 2])
    const before = await driveRounds({ ...common, signal: AbortSignal.abort(), onAnswer: () => 'go-on' })
    assert.deepEqual([before.end, before.sent], ['interrupted', 0])
  })

  test('what the caller throws is thrown', async () => {
    await using server = await httpServer((_request, response) => response.end('{}'))
    const endpoint = endpointAt(server.origin)
    const driving = driveRounds({ rounds: roundsOf([1]), signal: never, endpointOf: () => endpoint, messageOf: () => messageTo(), onAnswer: () => { throw new Error('disk full') } })
    await assert.rejects(driving, /disk full/)
  })
})
