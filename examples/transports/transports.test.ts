/**
 * Goal: what functions tell each other arrives as it was; what is no message, or no reply of Redis, is refused; and a run's time is
 * divided among its phases without a remainder.
 *
 * Method: messages and replies are cut, changed and joined at random (a failure prints its seed); critical paths are drawn by hand.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MessageError, decodeMessage, encodeMessage, float64s } from './message.ts'
import { ReplyReader } from './redis.ts'
import type { RedisReply } from './redis.ts'
import { signedHeaders } from './s3.ts'
import { seededRandom } from './seeded-random.ts'
import { criticalPath } from './trace.ts'
import type { Span } from './trace.ts'
import { usageOf } from './report.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 32))
const seeded = `SEED=${seed}`

describe('messages', () => {
  test('arrive as they were sent, with objects where 64-bit numbers can be read (M1)', () => {
    const numbers = Float64Array.of(1.5, -2, Math.PI)
    const objects = ['a reference', new Uint8Array(0), Uint8Array.of(1, 2, 3), new Uint8Array(numbers.buffer), '€']
    const message = encodeMessage({ fields: { text: 'ä😀', list: [1, null] }, objects })
    const decoded = decodeMessage(message)
    assert.deepEqual(decoded.fields, { text: 'ä😀', list: [1, null] })
    assert.deepEqual(decoded.objects.map((one) => (typeof one === 'string' ? one : new Uint8Array(one))), objects)
    const [, , , bytes] = decoded.objects as [string, Buffer, Buffer, Buffer]
    assert.equal(bytes.byteOffset - message.byteOffset - 8 * Math.floor((bytes.byteOffset - message.byteOffset) / 8), 0)
    assert.deepEqual(float64s(bytes), numbers)
    assert.throws(() => float64s(new Uint8Array(7)), MessageError)
  })

  test(`that were cut or changed are refused or read within their bounds, and nothing else happens (M2, ${seeded})`, () => {
    const random = seededRandom(seed)
    const whole = encodeMessage({ fields: { n: 1 }, objects: [new Uint8Array(20), 'key', new Uint8Array(5)] })
    let refused = 0
    for (let round = 0; round < 20_000; round++) {
      const bytes = Buffer.from(whole.subarray(0, random() < 0.3 ? Math.floor(random() * whole.length) : whole.length))
      for (let changes = Math.floor(random() * 4); changes > 0 && bytes.length > 0; changes--) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
      try {
        for (const one of decodeMessage(bytes).objects) {
          if (typeof one !== 'string') assert(one.byteOffset >= bytes.byteOffset && one.byteOffset + one.length <= bytes.byteOffset + bytes.length, seeded)
        }
      } catch (error) {
        assert(error instanceof MessageError, `${seeded}: ${String(error)}`)
        refused++
      }
    }
    assert(refused > 1000)
  })
})

describe('replies of Redis', () => {
  test(`are the same wherever the bytes were cut (${seeded})`, () => {
    const random = seededRandom(seed)
    const bytes = Buffer.from('+OK\r\n:12\r\n$-1\r\n$0\r\n\r\n-ERR no\r\n$12\r\nline\r\nbreak!\r\n+PONG\r\n')
    for (let round = 0; round < 500; round++) {
      const replies: (RedisReply | Error)[] = []
      const reader = new ReplyReader((reply) => replies.push(reply))
      for (let at = 0; at < bytes.length; ) {
        const end = Math.min(bytes.length, at + 1 + Math.floor(random() * 12))
        reader.push(bytes.subarray(at, end))
        at = end
      }
      const shown = replies.map((one) => (one instanceof Error ? one.message : one instanceof Uint8Array ? one.toString() : one))
      assert.deepEqual(shown, ['OK', 12, undefined, '', 'Redis refused: ERR no', 'line\r\nbreak!', 'PONG'], seeded)
    }
  })

  test(`of noise are refused or wait for more, and take no memory that they name (${seeded})`, () => {
    const random = seededRandom(seed)
    const alphabet = Buffer.from('+-:$*0123456789\r\nOK ')
    for (let round = 0; round < 5000; round++) {
      const reader = new ReplyReader(() => {})
      try {
        reader.push(Buffer.from(Array.from({ length: 1 + Math.floor(random() * 40) }, () => alphabet[Math.floor(random() * alphabet.length)]!)))
      } catch (error) {
        assert.match((error as Error).message, /Redis/, seeded)
      }
    }
    assert.throws(() => new ReplyReader(() => {}).push(Buffer.from('$999999999999\r\n')), /no reply/)
    assert.throws(() => new ReplyReader(() => {}).push(Buffer.from('$2\r\nabcd')), /another length/)
  })
})

test('a signature is another one for another key, path, method or time, and names what it signs', () => {
  const input = { method: 'PUT', path: '/s3/b/k', query: '', host: 'h:1', atMs: 1_700_000_000_000, accessKeyId: 'A', secretAccessKey: 's', region: 'r' }
  const of = (over: Partial<typeof input>): string => signedHeaders({ ...input, ...over })['authorization']!
  assert.match(of({}), /^AWS4-HMAC-SHA256 Credential=A\/20231114\/r\/s3\/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=[0-9a-f]{64}$/)
  assert.equal(new Set([{}, { method: 'GET' }, { path: '/s3/b/l' }, { host: 'h:2' }, { query: 'prefix=a' }, { atMs: 1_700_000_001_000 }, { secretAccessKey: 't' }, { region: 'q' }].map(of)).size, 8)
})

describe('the critical path', () => {
  const leaf = (kind: Span['kind'], name: string, startMs: number, endMs: number, spans: readonly Span[] = []): Span => ({ kind, name, startMs, endMs, spans })
  // Two mappers of which the second is the longer one, after a put, and a reducer after both.
  const run = leaf('function', 'driver', 0, 100, [
    leaf('put', 'driver', 5, 15),
    leaf('invoke', 'mapper', 15, 40, [leaf('function', 'mapper', 17, 39, [leaf('get', 'mapper', 17, 30)])]),
    leaf('invoke', 'mapper', 15, 60, [leaf('function', 'mapper', 20, 58, [leaf('get', 'mapper', 20, 25), leaf('put', 'mapper', 50, 57), leaf('put', 'mapper', 50, 58)])]),
    leaf('invoke', 'reducer', 60, 95, [leaf('function', 'reducer', 62, 94)]),
  ])

  test('goes through what was waited for, and adds up to the whole (T1)', () => {
    const phases = criticalPath(run)
    assert.deepEqual(phases, { 'driver compute': 10, 'driver put': 10, 'mapper invoke': 7, 'mapper get': 5, 'mapper compute': 25, 'mapper put': 8, 'reducer invoke': 3, 'reducer compute': 32 })
    assert.equal(Object.values(phases).reduce((a, b) => a + b), 100)
  })

  test(`adds up whatever the spans are, also those of clocks that disagree (T1, ${seeded})`, () => {
    const random = seededRandom(seed)
    const grow = (depth: number): Span => {
      const startMs = random() * 100
      return leaf(depth % 2 === 0 ? 'function' : 'invoke', `f${depth}`, startMs, startMs + random() * 100, depth === 4 ? [] : Array.from({ length: Math.floor(random() * 4) }, () => grow(depth + 1)))
    }
    for (let round = 0; round < 2000; round++) {
      const root = grow(0)
      const sum = Object.values(criticalPath(root)).reduce((a, b) => a + b, 0)
      assert(Math.abs(sum - (root.endMs - root.startMs)) < 1e-9, seeded)
    }
  })

  test('is not what was used: that is all functions, and the storage where there was one', () => {
    const { functions, storage } = usageOf(run, 's3')
    assert.deepEqual(functions, { driver: { invocations: 1, ms: 100 }, mapper: { invocations: 2, ms: 60 }, reducer: { invocations: 1, ms: 32 } })
    assert.deepEqual(storage, { puts: 3, gets: 2, bytes: 0 })
    assert.deepEqual(usageOf(run, 'xdt').storage, { puts: 0, gets: 0, bytes: 0 })
  })
})
