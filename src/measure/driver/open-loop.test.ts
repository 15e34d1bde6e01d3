/**
 * Goal: what is due is sent, whatever the server does, and what it costs the server's slowness is in the latency.
 *
 * Method: a real server that holds answers back until the test lets them go; due times that lie in the past or a few milliseconds ahead.
 */
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { describe, test } from 'node:test'
import { driveArrivals } from './open-loop.ts'
import { byteServer, endpointAt, httpServer, messageTo } from './test-server.fake.ts'

const never = new AbortController().signal
const at = (count: number, everyMs = 0): { readonly dueMs: number; readonly id: number }[] => Array.from({ length: count }, (_, id) => ({ dueMs: id * everyMs, id }))

describe('arrivals', () => {
  test('are sent while nothing is answered, and each is handed over once (O1, O2)', async () => {
    const held: ServerResponse[] = []
    await using server = await httpServer((_request, response) => {
      held.push(response)
      // A closed loop would wait for the first for ever.
      if (held.length === 200) for (const one of held) one.end('{}')
    })
    const endpoint = endpointAt(server.origin)
    const answered: number[] = []
    const result = await driveArrivals({
      arrivals: at(200, 0.05), inFlightMax: 1000, signal: never,
      endpointOf: () => endpoint, messageOf: ({ id }) => messageTo(`/${id}`),
      onAnswer: ({ id }, { status }) => {
        assert.equal(status, 200)
        answered.push(id)
        return 'go-on'
      },
    })
    assert.deepEqual(answered.toSorted((a, b) => a - b), at(200).map(({ id }) => id))
    assert.deepEqual([result.end, result.sent, result.notSent, result.lateness.count], ['all', 200, 0, 200])
  })

  test('latency counts from when they were due: a stall is in all of them, not in one', async () => {
    let stalledUntilMs: number | undefined
    await using server = await httpServer((_request, response) => {
      if (stalledUntilMs === undefined) {
        // The server's thread is also the driver's: this makes the driver late, which has to count, too.
        stalledUntilMs = performance.now() + 50
        while (performance.now() < stalledUntilMs);
      }
      response.end('{}')
    })
    const endpoint = endpointAt(server.origin)
    const latencies: number[] = []
    const result = await driveArrivals({
      arrivals: at(40, 1), inFlightMax: 1000, signal: never, endpointOf: () => endpoint, messageOf: () => messageTo(),
      onAnswer: (_arrival, { firstByteMs, dueMs }) => {
        latencies.push(firstByteMs - dueMs)
        return 'go-on'
      },
    })
    // Due during the first 40 of 50 ms, so each waited for 10 ms at least.
    assert.equal(latencies.filter((ms) => ms > 9).length, 40, latencies.map(Math.round).join(' '))
    assert(result.lateness.percentile(0.5) > 9000)
  })

  test('above inFlightMax are not sent, and are said (O1)', async () => {
    const held: ServerResponse[] = []
    await using server = await httpServer((_request, response) => held.push(response))
    const endpoint = endpointAt(server.origin)
    const notSent: number[] = []
    const result = await driveArrivals({
      arrivals: at(10), inFlightMax: 4, signal: never, endpointOf: () => endpoint, messageOf: () => messageTo(),
      onAnswer: () => 'go-on',
      onNotSent: ({ id }) => {
        notSent.push(id)
        if (notSent.length < 6) return
        void (async () => {
          while (held.length < 4) await new Promise((resolve) => setImmediate(resolve))
          for (const one of held) one.end('{}')
        })()
      },
    })
    assert.deepEqual([result.sent, result.notSent, notSent], [4, 6, [4, 5, 6, 7, 8, 9]])
  })

  test('are asked for as they come, and not after the end (O3)', async () => {
    await using server = await httpServer((_request, response) => response.end('{}'))
    const endpoint = endpointAt(server.origin)
    let [made, returned] = [0, false]
    function* endless(): Generator<{ readonly dueMs: number }, void> {
      try {
        for (;;) yield { dueMs: 5 * made++ }
      } finally {
        returned = true
      }
    }
    const result = await driveArrivals({
      arrivals: endless(), inFlightMax: 10, signal: never, endpointOf: () => endpoint, messageOf: () => messageTo(),
      onAnswer: ({ dueMs }) => (dueMs >= 20 ? 'stop' : 'go-on'),
    })
    assert.deepEqual([result.end, returned], ['stopped', true])
    assert(made <= result.sent + 1, `${made} made for ${result.sent} sent`)
  })

  test('end at once by abort and by the signal, whatever is under way', async () => {
    let answers = 0
    await using server = await httpServer((_request, response) => {
      if (answers++ === 0) response.end('{}')
    })
    const endpoint = endpointAt(server.origin)
    const common = { arrivals: at(5), inFlightMax: 10, endpointOf: () => endpoint, messageOf: () => messageTo() }
    const aborted = await driveArrivals({ ...common, signal: never, onAnswer: () => 'abort' })
    assert.equal(aborted.end, 'aborted')
    const controller = new AbortController()
    await using silent = await byteServer((socket) => socket.on('data', () => controller.abort()))
    const silentEndpoint = endpointAt(silent.origin)
    const interrupted = await driveArrivals({ ...common, endpointOf: () => silentEndpoint, signal: controller.signal, onAnswer: () => assert.fail('nothing was answered') })
    assert.equal(interrupted.end, 'interrupted')
    assert.equal((await driveArrivals({ ...common, signal: AbortSignal.abort(), onAnswer: () => 'go-on' })).sent, 0)
  })

  test('none at all is an end, and what the caller throws is thrown', async () => {
    const nothing = await driveArrivals({ arrivals: [], inFlightMax: 1, signal: never, endpointOf: () => assert.fail(), messageOf: () => messageTo(), onAnswer: () => 'go-on' })
    assert.deepEqual([nothing.end, nothing.sent], ['all', 0])
    await using server = await httpServer((_request, response) => response.end('{}'))
    const endpoint = endpointAt(server.origin)
    const driving = driveArrivals({ arrivals: at(1), inFlightMax: 1, signal: never, endpointOf: () => endpoint, messageOf: () => messageTo(), onAnswer: () => { throw new Error('disk full') } })
    await assert.rejects(driving, /disk full/)
  })
})
