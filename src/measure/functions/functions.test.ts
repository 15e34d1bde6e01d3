/**
 * Goal: measured functions do what they say: the time, the bytes, the memory, in Node and Python alike.
 *
 * Method: the functions themselves over links of the test, a clock of the test, and Python asked about the same inputs. On platforms they are tested by the providers' suite.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { spin, spinMs } from './busy.ts'
import { serve } from './on-lambda.ts'
import { fillerChunks, functionNames, functionPackage } from './package.ts'
import type { Target } from './package.ts'
import { work as chain } from './producer-consumer.ts'
import { work as traceWork } from './trace-work.ts'
import { listOf, numberOf, preciseNow } from './work.ts'
import type { Fields, Links, Reply } from './work.ts'

/** Functions that call each other in this process. */
function platform(more: Partial<Links> = {}) {
  const messages: Fields[] = []
  const asked: string[] = []
  const objects = new Map<string, Uint8Array>()
  const links: Links = {
    requestId: 'r', now: preciseNow,
    async invoke(id, fields) {
      // As any platform does: what is not JSON does not arrive.
      asked.push(id)
      messages.push(JSON.parse(JSON.stringify(fields)) as Fields)
      return chain(messages.at(-1)!, links)
    },
    put: async (bucket, key, bytes) => objects.set(`${bucket}/${key}`, bytes),
    get: async (bucket, key) => objects.get(`${bucket}/${key}`)!,
    putReference: async (bytes) => (objects.set('reference', bytes), 'reference'),
    getReference: async (reference) => objects.get(reference)!,
    ...more,
  }
  return { links, messages, asked, objects }
}

describe('a chain', () => {
  test('passes on text of the length asked for, and has a timestamp of every function, in order (F1, F2)', async () => {
    const { links, messages, asked } = platform()
    const { TimestampChain, RequestID } = await chain({ PayloadLengthBytes: '200000', DataTransferChainIDs: '[b c]' }, links)
    assert.equal(RequestID, 'r')
    assert.equal(TimestampChain.length, 3)
    assert.deepEqual([...TimestampChain].sort((a, b) => Number(a) - Number(b)), TimestampChain)
    assert.deepEqual([asked, messages.map((message) => message['DataTransferChainIDs'])], [['b', 'c'], ['[c]', '[]']])
    const payload = String(messages[1]!['TransferPayload'])
    assert.match(payload, /^[0-9a-zA-Z]{200000}$/)
    assert.equal(messages[0]!['TransferPayload'], payload)
    const letters = new Set(payload)
    assert.equal(letters.size, 62)
  })

  test('makes another payload each time, so that no store finds two alike', async () => {
    const { links, messages } = platform()
    for (let run = 0; run < 2; run++) await chain({ PayloadLengthBytes: 100, DataTransferChainIDs: '[b]' }, links)
    assert.notEqual(messages[0]!['TransferPayload'], messages[1]!['TransferPayload'])
  })

  test('reads the object that a bucket or a reference has, and fails when it is another (F2)', async () => {
    for (const how of [{ StorageTransfer: 'true', Bucket: 'bee' }, { ReferenceTransfer: 'true' }]) {
      const { links, messages } = platform()
      const { TimestampChain } = await chain({ ...how, PayloadLengthBytes: 5000, DataTransferChainIDs: '[b]' }, links)
      assert.equal(TimestampChain.length, 2)
      assert.equal(messages[0]!['TransferPayload'], undefined)
      for (const wrong of [new Uint8Array(4999).fill(65), new Uint8Array(5000)]) {
        const bad = platform({ get: async () => wrong, getReference: async () => wrong })
        await assert.rejects(async () => chain({ ...how, PayloadLengthBytes: 5000, DataTransferChainIDs: '[b]' }, bad.links), /5000 were to come, and 4999 came|not the text/)
      }
      await assert.rejects(async () => chain({ ...how, PayloadLengthBytes: 1, DataTransferChainIDs: '[b]' }, { requestId: 'r', now: preciseNow, invoke: links.invoke! }), /no put/)
    }
  })

  test('writes an object again only when its chain has ended (F3)', async () => {
    const reading = new Set<string>()
    const { links, objects } = platform()
    const slow: Links = {
      ...links,
      async put(bucket, key, bytes) {
        assert(!reading.has(key), 'written while it is read')
        reading.add(key)
        await links.put!(bucket, key, bytes)
      },
      async get(bucket, key) {
        await new Promise((resolve) => setImmediate(resolve))
        const bytes = await links.get!(bucket, key)
        reading.delete(key)
        return bytes
      },
      invoke: async (_id, fields): Promise<Reply> => chain(fields, slow),
    }
    for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 5 }, () => chain({ StorageTransfer: 'true', Bucket: 'bee', PayloadLengthBytes: 10, DataTransferChainIDs: '[b]' }, slow)))
    assert(objects.size <= 6, `${objects.size} objects for 5 at once`)
  })
})

describe('busy time', () => {
  test('counts what was computed, and not the time in which somebody else had the core', () => {
    for (const interrupted of [false, true]) {
      let [pieces, clockMs] = [0, 0]
      // A piece takes 0.02 ms; every tenth is interrupted for 5 ms.
      spinMs(2, () => (clockMs += pieces++ % 10 === 9 && interrupted ? 5 : 0.02))
      assert(pieces > (interrupted ? 75 : 100) && pieces < 103, `${pieces} pieces`)
    }
  })

  test('is said to be unknown where the clock stands still', () => {
    assert.throws(() => spinMs(1, () => 7), /stands still.*IncrementLimit/)
  })

  test('is at least what was asked for by the clock of this machine', () => {
    const startMs = performance.now()
    spin({ ServiceTimeMs: '30' })
    assert(performance.now() - startMs >= 29.9)
  })

  test('is by increments in either spelling', () => {
    const took = (fields: Fields): number => {
      const startMs = performance.now()
      spin(fields)
      return performance.now() - startMs
    }
    const empty = Math.min(...[1, 2, 3].map(() => took({})))
    for (const name of ['IncrementLimit', 'incrementLimit']) assert(took({ [name]: '50000000' }) > empty + 5, name)
  })
})

test('an invocation of a trace takes its time and says what it touched', async () => {
  const { durationInMicroSec, memoryUsageInKb } = await traceWork({ runtimeInMilliSec: 20, memoryInMebiBytes: '3' }, platform().links)
  assert(durationInMicroSec! >= 19_900)
  assert.equal(memoryUsageInKb, 3 * 1024)
})

test('timestamps have a fraction, and are those of the wall clock (W2)', () => {
  const all = Array.from({ length: 50 }, preciseNow)
  assert(all.every((ms) => Math.abs(ms - Date.now()) <= 50) && all.some((ms) => ms % 1 !== 0))
  assert.deepEqual([...all].sort((a, b) => a - b), all)
})

test('processes agree on the time to half a millisecond, whenever they began, on a busy machine too (W2)', () => {
  // The monotonic clock is the same in all processes of a machine; of many looks at both the one that was disturbed least.
  const program = `import { preciseNow } from ${JSON.stringify(join(import.meta.dirname, 'work.ts'))}\nconst apart = Array.from({ length: 1000 }, () => preciseNow() - Number(process.hrtime.bigint()) / 1e6)\nconsole.log(Math.max(...apart))`
  const apart = Array.from({ length: 4 }, () => Number(execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })))
  assert(Math.max(...apart) - Math.min(...apart) < 0.5, `${apart.join()}`)
})

test('Python reads fields as Node does (fuzz)', () => {
  const value = fc.oneof(fc.constantFrom('', '0', '1.5', '[a b]', '[]', '[ a  b ]', 'a'), fc.integer({ min: -3, max: 1000 }).map(String), fc.integer({ min: -3, max: 1000 }))
  const values = fc.sample(value, 300)
  const program = 'import json, sys, work\ndef number(value):\n    try: return work.number_of({"a": value}, "a")\n    except ValueError: return None\nprint(json.dumps([[number(value), work.list_of(value) if isinstance(value, str) else []] for value in json.load(sys.stdin)]))'
  const theirs = JSON.parse(execFileSync('python3', ['-B', '-c', program], { input: JSON.stringify(values), cwd: import.meta.dirname, encoding: 'utf8' })) as unknown
  const number = (given: unknown): number | null => {
    try {
      return numberOf({ a: given }, 'a')
    } catch {
      return null
    }
  }
  assert.deepEqual(values.map((given) => [number(given), typeof given === 'string' ? listOf(given) : []]), theirs)
})

describe('a package', () => {
  const targets: readonly Target[] = ['skep', 'workerd', 'http', 'lambda', 'openwhisk']

  test('imports nothing but its own files and what the platform has', () => {
    for (const name of functionNames) for (const target of targets) for (const language of ['node', 'python'] as const) {
      if (language === 'python' && (target === 'workerd' || target === 'http')) continue
      const { files, entry } = functionPackage({ name, language, target, imageBytes: 0 })
      assert(files.has(entry))
      for (const [file, text] of files) for (const [, , specifier] of text.matchAll(/(?:from|import\()\s*(['"])([^'"]+)\1/g)) {
        if (specifier!.startsWith('./')) assert(files.has(specifier!.slice(2)), `${target} ${file}: ${specifier}`)
        else assert.match(specifier!, target === 'skep' ? /^skep$/ : target === 'http' ? /^node:/ : target === 'lambda' ? /^@aws-sdk\/client-(?:lambda|s3)$/ : /^$/, `${target} ${file}: ${specifier}`)
      }
    }
  })

  test('has the size asked for, which no archive makes smaller (K1)', () => {
    const size = 3 * 1024 * 1024 + 17
    const { files, fillerBytes } = functionPackage({ name: 'busy-spin', language: 'node', target: 'skep', imageBytes: size })
    const filler = Buffer.concat([...fillerChunks(fillerBytes)])
    assert.equal([...files.values()].reduce((sum, text) => sum + Buffer.byteLength(text), filler.length), size)
    assert(gzipSync(filler, { level: 1 }).length >= filler.length)
    assert.equal(functionPackage({ name: 'busy-spin', language: 'node', target: 'skep', imageBytes: 100 }).fillerBytes, 0)
  })
})

test('a Lambda function answers its URL with a status, and its API with the reply', async () => {
  const handler = serve(chain)
  const url = await handler({ requestContext: {}, queryStringParameters: { PayloadLengthBytes: '5' } }, { awsRequestId: 'a' })
  assert('statusCode' in url && url.statusCode === 200)
  assert.equal((JSON.parse(url.body) as Reply).RequestID, 'a')
  assert.equal(((await handler({ PayloadLengthBytes: '5' }, { awsRequestId: 'b' })) as Reply).RequestID, 'b')
})
