/**
 * Goal: the decisions of the map client are right: whom to copy (S1, S2), what to try again, which bytes go where (O1, O2), which line is in which part,
 * which keys go to which reducer, and what a function is called.
 *
 * Method: the pure functions, with time and chance as data; lines and parts are held to a whole that is known, for many seeds.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseListing } from './buckets.ts'
import { candidates, nameOf } from './deployment.ts'
import { partsOf } from './object-part.ts'
import { partitionOf } from './partition.ts'
import { presign } from './presigned-urls.ts'
import { progressLine } from './progress.ts'
import { afterFailure } from './retry.ts'
import { findStragglers } from './stragglers.ts'
import { wholeLines } from './whole-lines.ts'

const times = (count: number, ms: number): number[] => Array.from({ length: count }, () => ms)
const failure = { before: 0, retries: 3, refusedMs: 0, random01: 0.5 }

describe('stragglers', () => {
  test('gets no copy before 95 % are done (S1)', () => {
    assert.deepEqual(findStragglers([{ startedMs: 0, copied: false }], times(94, 100), 100, 10_000), { copy: [] })
    assert.deepEqual(findStragglers([{ startedMs: 0, copied: false }], times(95, 100), 100, 10_000), { copy: [0] })
  })

  test('gets one copy, after more than twice the median (S2)', () => {
    const running = [{ startedMs: 0, copied: true }, { startedMs: 50, copied: false }, { startedMs: 850, copied: false }]
    assert.deepEqual(findStragglers(running, times(97, 100), 100, 1000), { copy: [1], nextMs: 1051 })
    assert.deepEqual(findStragglers(running, times(97, 1000), 100, 1000), { copy: [], nextMs: 2051 })
  })

  test('is not worth a copy when everything is short', () => {
    assert.deepEqual(findStragglers([{ startedMs: 0, copied: false }], times(99, 1), 100, 15), { copy: [], nextMs: 21 })
  })
})

describe('a failed attempt', () => {
  test('is made again when an instance was lost, as often as it may', () => {
    for (const code of ['INSTANCE_LOST', 'FUNCTION_EXITED', 'FUNCTION_OUT_OF_MEMORY', 'SERVER_UNREACHABLE'] as const) {
      assert.deepEqual(afterFailure({ ...failure, code }), { kind: 'again', delayMs: 37.5, counted: true })
      assert.deepEqual(afterFailure({ ...failure, code, before: 3 }), { kind: 'fail' })
    }
  })

  test('is made again with patience when the platform refused before anything ran', () => {
    assert.deepEqual(afterFailure({ ...failure, code: 'QUEUE_FULL', before: 50 }), { kind: 'again', delayMs: 3750, counted: false })
    assert.deepEqual(afterFailure({ ...failure, code: 'RATE_EXCEEDED', refusedMs: 3_600_001 }), { kind: 'fail' })
  })

  test('is final when the same would fail again', () => {
    const final = ['FUNCTION_THREW', 'INIT_FAILED', 'KEY_INVALID', 'FUNCTION_TIMEOUT', 'CANCELLED', 'OBJECT_USED_UP', 'CONFLICT'] as const
    for (const code of final) assert.deepEqual(afterFailure({ ...failure, code }), { kind: 'fail' })
  })
})

describe('parts of objects', () => {
  test('are the bytes of every object, each once, and not too many together (O1, O2)', () => {
    for (const chunkBytes of [1, 3, 10, 1000, undefined]) {
      const objects = [0, 7, 3, 25, 1, 1, 10, 0, 11].map((size, at) => ({ key: `k${at}`, size }))
      const groups = partsOf('b', objects, chunkBytes)
      for (const { key, size } of objects) {
        const parts = groups.flat().filter((part) => part.key === key)
        assert.deepEqual(parts.map(({ from }) => from), parts.map((_, at) => (at === 0 ? 0 : parts[at - 1]!.to)))
        assert.equal(parts.at(-1)!.to, size)
      }
      for (const group of groups) assert.ok(group.length === 1 || group.reduce((sum, { from, to }) => sum + to - from, 0) <= chunkBytes!)
      if (chunkBytes === undefined) assert.equal(groups.length, objects.length)
    }
    assert.throws(() => partsOf('b', [], 0), { code: 'INPUT_INVALID' })
  })

  test('have every line in exactly one of them, however the bytes arrive', async () => {
    async function* arriving(bytes: Buffer, step: number) {
      for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step)
    }
    for (const text of ['a\nbb\nccc\ndddd\n', '\n\n\nx', 'one long line without end', 'a\n\nlast', '\n']) {
      const bytes = Buffer.from(text)
      for (let chunkBytes = 1; chunkBytes <= bytes.length + 1; chunkBytes++) {
        for (const step of [1, 2, 5, 100]) {
          const parts = partsOf('b', [{ key: 'k', size: bytes.length }], chunkBytes).flat()
          const found: string[] = []
          for (const part of parts) {
            const read: Uint8Array[] = []
            for await (const chunk of wholeLines(arriving(bytes.subarray(Math.max(0, part.from - 1)), step), part.from, part.to)) read.push(chunk)
            found.push(Buffer.concat(read).toString())
          }
          assert.equal(found.join(''), text, `chunkBytes ${chunkBytes}, step ${step}: ${JSON.stringify(found)}`)
          assert.ok(found.filter((part) => part !== '').slice(0, -1).every((part) => part.endsWith('\n')), JSON.stringify(found))
        }
      }
    }
  })
})

describe('shares of reducers', () => {
  test('are all keys, each in the same share from every mapper', () => {
    const words = Array.from({ length: 200 }, (_, at) => `w${at}`)
    const [first, second] = [words, words.toReversed()].map((list) => partitionOf(new Map(list.map((word) => [word, 1])), 7) as Map<string, number>[])
    assert.equal(first!.reduce((sum, part) => sum + part.size, 0), 200)
    first!.forEach((part, at) => assert.deepEqual([...part.keys()].sort(), [...second![at]!.keys()].sort()))
    assert.ok(first!.every((part) => part.size > 5), 'shared out evenly enough')
    assert.deepEqual(partitionOf({ a: 1, b: 2 }, 1), [{ a: 1, b: 2 }])
    assert.deepEqual(Object.assign({}, ...partitionOf({ a: 1, b: 2, __proto__: { c: 3 } } as object, 1) as object[]), { a: 1, b: 2 })
    for (const value of [[1], null, 7, new Date()]) assert.throws(() => partitionOf(value, 2), { code: 'INPUT_INVALID' })
  })
})

describe('names of functions', () => {
  const config = { kind: 'node', entry: 'e.mjs' } as const

  test('change with code and settings, and with nothing else (D1)', () => {
    const name = nameOf('my prog.ts', 'd1', config)
    assert.match(name, /^map-my-prog-[0-9a-f]{12}$/)
    assert.equal(nameOf('my prog.ts', 'd1', { entry: 'e.mjs', kind: 'node', memoryMb: undefined as never }), name)
    assert.notEqual(nameOf('my prog.ts', 'd2', config), name)
    assert.notEqual(nameOf('my prog.ts', 'd1', { ...config, memoryMb: 512 }), name)
    assert.ok(nameOf(`${'x'.repeat(300)}.ts`, 'd', config).length <= 64)
  })

  test('tell what may be unused, and nothing that a person deployed (D2)', () => {
    const old = { updatedAtMs: 0 }
    const list = [{ name: 'map-a-0123456789ab', ...old }, { name: 'map-b-0123456789ab', updatedAtMs: 15 * 86_400_000 }, { name: 'map-reduce', ...old }, { name: 'hello', ...old }]
    assert.deepEqual(candidates(list, 20 * 86_400_000), ['map-a-0123456789ab'])
  })
})

test('a presigned address has the signature of the example in Amazon\'s documentation', () => {
  const credentials = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' }
  // Its address has the bucket in the host name; here the whole of it is the host, and the key stands where the bucket does.
  const url = presign({ credentials, endpoint: 'https://examplebucket.s3.amazonaws.com', bucket: 'test.txt', now: new Date('2013-05-24T00:00:00Z'), expiresS: 86_400 })
  assert.equal(new URL(url).searchParams.get('X-Amz-Signature'), 'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404')
})

test('a listing is read as it was written, and anything else is an empty one', () => {
  const xml = '<ListBucketResult><NextContinuationToken>a&amp;b</NextContinuationToken><Contents><Key>a+b%2F%C3%BC</Key><Size>7</Size></Contents></ListBucketResult>'
  assert.deepEqual(parseListing(xml), { objects: [{ key: 'a b/ü', size: 7 }], next: 'a&b' })
  assert.deepEqual(parseListing('<html>'), { objects: [] })
})

test('the line of progress says what there is to say', () => {
  assert.equal(progressLine({ what: 'work', total: 10, done: 4, failed: 1, running: 3, elapsedMs: 1234 }), 'work 4/10, 3 running, 1 failed, 1.2 s')
  assert.equal(progressLine({ what: 'work', total: 10, done: 10, failed: 0, running: 0, elapsedMs: 50 }), 'work 10/10, 0.1 s')
})
