/**
 * Goal: what a function prints is found and followed, in order; nothing a function prints can grow without bound (K1 to K4).
 *
 * Method: journals in memory, a manual clock; followers are real loops.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '#base/clock.ts'
import type { LogLine } from '#contract/invocation-record.ts'
import { FakeJournals } from './journals.fake.ts'
import { decodeLines, encodeLines } from './log-codec.ts'
import { LogStore } from './log-store.ts'
import type { LogStoreConfig } from './log-store.ts'

const f = { namespace: 'guest', function: 'f' }
const idOf = (atMs: number, tail: number): string => atMs.toString(16).padStart(12, '0') + tail.toString(16).padStart(20, '0')

function make(config: Partial<LogStoreConfig> = {}) {
  const store = new FakeJournals()
  const clock = new ManualClock()
  const logs = new LogStore({ store, clock, config })
  const print = (text: string, invocation = idOf(clock.epochMs(), 1)): void => logs.add('guest', 'f', { atMs: clock.epochMs(), invocation, level: 'stdout', text })
  return { store, clock, logs, print }
}

const texts = (lines: readonly LogLine[]): string[] => lines.map((line) => line.text)

describe('LogStore', () => {
  test('finds lines at once, and in another process once they are written (K4)', async () => {
    const { store, clock, logs, print } = make()
    print('a')
    assert.deepEqual(texts((await logs.read({ ...f, limit: 10 })).lines), ['a'])
    print('b')
    clock.advance(50)
    assert.deepEqual(texts((await new LogStore({ store, clock }).read({ ...f, limit: 10 })).lines), ['a', 'b'])
  })

  test('gives the newest lines, oldest first, and says whether there are older ones', async () => {
    const { clock, logs, print } = make()
    for (let count = 0; count < 10; count++) {
      print(String(count))
      clock.advance(30)
    }
    assert.deepEqual(await logs.read({ ...f, limit: 3 }).then(({ lines, more }) => [texts(lines), more]), [['7', '8', '9'], true])
    assert.deepEqual(await logs.read({ ...f, limit: 10 }).then(({ lines, more }) => [lines.length, more]), [10, false])
  })

  test('finds the lines of one invocation among those of others, by time and by text', async () => {
    const { clock, logs, print } = make()
    const start = clock.epochMs()
    const mine = idOf(start, 7)
    for (let count = 0; count < 100; count++) {
      print(`line ${count}`, count % 10 === 0 ? mine : idOf(start, 8))
      clock.advance(10)
    }
    assert.equal((await logs.read({ ...f, invocation: mine, limit: 100 })).lines.length, 10)
    assert.deepEqual(texts((await logs.read({ ...f, search: 'LINE 33', limit: 100 })).lines), ['line 33'])
    assert.deepEqual(texts((await logs.read({ ...f, sinceMs: start + 970, limit: 100 })).lines), ['line 97', 'line 98', 'line 99'])
    assert.deepEqual(texts((await logs.read({ ...f, untilMs: start + 20, limit: 100 })).lines), ['line 0', 'line 1'])
  })

  test('keeps at most the limit of one invocation, without holes, and says what was dropped (K1)', async () => {
    const { clock, logs } = make()
    const log = logs.invocation({ ...f, invocation: idOf(clock.epochMs(), 1), bytesMax: 10 })
    log.add('info', 'müsli', clock.epochMs())
    log.add('info', 'äöüß', clock.epochMs())
    log.add('info', 'x', clock.epochMs())
    assert.deepEqual(log.end(), { lines: 2, bytes: 10 })
    assert.deepEqual(texts((await logs.read({ ...f, limit: 10 })).lines), ['müsli', 'äö', '[5 more bytes were dropped: the limit is 10 bytes of one invocation (logBytesMax)]'])
  })

  test('whatever is printed, what is kept is a beginning of it and within the limit (K1)', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: 'grapheme' })), fc.nat(60), async (printed, bytesMax) => {
        const { clock, logs } = make()
        const log = logs.invocation({ ...f, invocation: idOf(clock.epochMs(), 1), bytesMax })
        for (const text of printed) log.add('stdout', text, clock.epochMs())
        const { lines, bytes } = log.end()
        const read = texts((await logs.read({ ...f, limit: 1000 })).lines)
        const kept = read.slice(0, lines)
        assert.equal(Buffer.byteLength(kept.join('')), bytes)
        assert(bytes <= bytesMax)
        assert(printed.join('').startsWith(kept.join('')))
        assert.equal(read.length > lines, Buffer.byteLength(printed.join('')) > bytes)
      }),
      { numRuns: 100 },
    )
  })

  test('gives lines of no invocation a budget per minute (K2)', async () => {
    const { clock, logs, print } = make({ unownedBytesPerMinute: 5 })
    for (const text of ['1234', '56', '789']) print(text, '')
    clock.advance(60_000)
    print('next', '')
    assert.deepEqual(texts((await logs.read({ ...f, limit: 10 })).lines), ['1234', '5', '[4 more bytes were dropped: the limit is 5 bytes a minute outside of invocations]', 'next'])
  })

  test('writes at once when much waits', () => {
    const { store, print } = make({ batchCharsMax: 1000 })
    for (let count = 0; count < 20; count++) print('x'.repeat(100))
    assert.equal(store.journals.get('logs/guest/f')?.length, 2)
  })

  test('counts lines that the store refuses', async () => {
    const { store, clock, logs, print } = make()
    store.failure = new Error('full')
    print('a')
    clock.advance(50)
    assert.equal(logs.dropped, 1)
  })
})

describe('following', () => {
  test('gives the past and then the present, each line once, with what is printed meanwhile', async () => {
    const { clock, logs, print } = make()
    for (const text of ['a', 'b', 'c']) print(text)
    const lines = logs.follow({ ...f, tail: 2 })
    print('d')
    clock.advance(50)
    const seen: string[] = []
    for await (const line of lines) {
      seen.push(line.text)
      if (line.text === 'd') print('e')
      if (line.text === 'e') break
    }
    assert.deepEqual(seen, ['b', 'c', 'd', 'e'])
  })

  test('waits for lines, and ends when told', async () => {
    const { logs, print } = make()
    const stop = new AbortController()
    const lines = logs.follow({ ...f, signal: stop.signal })
    const first = lines.next()
    print('a')
    assert.equal((await first).value?.text, 'a')
    const second = lines.next()
    stop.abort()
    assert.equal((await second).done, true)
  })

  test('tells a slow follower how many lines it missed, in their place (K3)', async () => {
    const { logs, print } = make({ followerLinesMax: 3 })
    const lines = logs.follow(f)
    for (let count = 0; count < 10; count++) print(String(count))
    const seen: string[] = []
    for await (const line of lines) {
      seen.push(line.text)
      if (seen.length === 4) print('later')
      if (line.text === 'later') break
    }
    assert.deepEqual(seen, ['0', '1', '2', '[7 lines were skipped here: the reader was too slow. `skep logs` without -f has them]', 'later'])
  })

  test('of a namespace gives the lines of all its functions, and of no other', async () => {
    const { clock, logs } = make()
    const lines = logs.follow({ namespace: 'guest' })
    const line: LogLine = { atMs: clock.epochMs(), invocation: idOf(clock.epochMs(), 1), level: 'info', text: 'x' }
    logs.add('other', 'f', line)
    logs.add('guest', 'g', line)
    logs.add('guest', 'h', line)
    assert.deepEqual([(await lines.next()).value?.function, (await lines.next()).value?.function], ['g', 'h'])
  })

  test('ends with the store', async () => {
    const { logs } = make()
    const next = logs.follow(f).next()
    await logs.close()
    assert.equal((await next).done, true)
  })
})

test('lines come back from a row as they were, and a damaged row is none', () => {
  const fields = {
    atMs: fc.nat(), invocation: fc.constantFrom('', idOf(1_700_000_000_000, 1)),
    level: fc.constantFrom('debug' as const, 'info' as const, 'warn' as const, 'error' as const, 'stdout' as const, 'stderr' as const), text: fc.string({ unit: 'binary' }),
  }
  const line = fc.record(fields, { noNullPrototype: true })
  fc.assert(fc.property(fc.array(line), (lines) => assert.deepEqual(decodeLines(encodeLines({ v: 1, w: 'w', n: 2 }, lines))?.lines, lines)))
  fc.assert(fc.property(fc.string(), (text) => assert.equal(decodeLines(`[{"v":1,${text}`), undefined)))
})
