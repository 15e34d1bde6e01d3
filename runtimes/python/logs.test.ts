/**
 * Goal: every line stands with the invocation that printed it, in order, and no amount of printing stops a function.
 *
 * Method: many invocations at once print lines that carry their own id; then a platform that does not read at all.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { needsPython, startFunction } from './start-python.ts'

describe('log lines', needsPython, () => {
  test('stand with their invocation while many print at once, in order', async () => {
    await using peer = await startFunction('behaves.py', { concurrency: 8 })
    const streams = Array.from({ length: 8 }, (_, id) => peer.open({ head: { k: 'event' }, body: JSON.stringify({ what: 'print', id, count: 50 }) }))
    await Promise.all(streams.map((stream) => stream.answer))
    for (const [id, stream] of streams.entries()) {
      const lines = peer.logs.filter((log) => log.stream === stream.id).map((log) => log.text)
      assert.deepEqual(lines, [...Array.from({ length: 50 }, (_, number) => `${id} ${number}`), `${id} end`])
    }
  })

  test('of async handlers do too', async () => {
    await using peer = await startFunction('async_main.py')
    const ids = ['a', 'b', 'c']
    const streams = ids.map((id) => peer.open({ head: { k: 'event' }, body: JSON.stringify({ what: 'sleep', id, seconds: 0.02 }) }))
    await Promise.all(streams.map((stream) => stream.answer))
    for (const [index, stream] of streams.entries()) {
      assert.deepEqual(peer.logs.filter((log) => log.stream === stream.id).map((log) => log.text), [`before ${ids[index]}`, `after ${ids[index]}`])
    }
  })

  test('have the level of the logging module, or of the stream', async () => {
    await using peer = await startFunction('behaves.py')
    await peer.event({ what: 'levels' })
    const seen = peer.logs.map((log) => [log.level, log.text.split('\n')[0]])
    assert.deepEqual(seen, [
      ['info', 'an info'],
      ['warn', 'a warning'],
      ['error', 'an error'],
      ['error', 'with a traceback'],
      ['stderr', 'to stderr'],
      ['stdout', 'bytes'],
    ])
    assert.match(peer.logs[3]!.text, /KeyError: 'k'$/)
  })

  test('of a thread that the function started belong to the instance', async () => {
    await using peer = await startFunction('behaves.py')
    await peer.event({ what: 'thread' })
    assert.deepEqual(peer.logs, [{ stream: 0, level: 'stdout', text: 'from a thread' }])
  })

  test('are dropped and counted, and stop nothing, when the platform does not take them', async () => {
    await using peer = await startFunction('behaves.py')
    peer.pause()
    const count = 60_000
    const stream = peer.open({ head: { k: 'event' }, body: JSON.stringify({ what: 'print-all', count }) })
    // Past the channel, which nobody reads: the function has printed everything all the same.
    await new Promise<void>((resolve) => peer.child.stderr!.on('data', () => resolve()))
    peer.resume()
    const answer = await stream.answer
    assert.equal(answer.json, 'printed')
    assert.ok(answer.usage!.memoryPeakKb < 200_000, `${answer.usage!.memoryPeakKb} KB`)
    const dropped = (): number => peer.logs.reduce((sum, { text }) => sum + Number(/^\[skep\] (\d+) log lines were dropped/.exec(text)?.[1] ?? 0), 0)
    const kept = (): number => peer.logs.filter(({ text }) => text.startsWith('line ')).length
    // What was dropped last is said when there is room again, which may be after the answer.
    await peer.until(() => kept() + dropped() >= count)
    assert.equal(kept() + dropped(), count)
    assert.ok(dropped() > 0)
  })
})
