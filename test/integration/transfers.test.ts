/**
 * Goal: a body of any length goes from function to function, by value and by reference, whole or not at all, and nothing of it stays behind.
 *
 * Method: Node functions (test/functions/node/objects.ts) on real platforms, one that passes memory and one that has none; every body is
 * compared by its checksum, and what the platform still holds is read from /metrics.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { freemem, tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { crc32 } from 'node:zlib'
import { sharedMemory } from '#transfer/shared-memory.ts'
import { assertError } from '../kit/http.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { DeployConfig, TestPlatform } from '../kit/platform.ts'

const KB = 1024
const MB = 1024 * KB
const GB = 1024 * MB
const SIZES = [1, 64 * KB - 1, 64 * KB, 64 * KB + 1, 10 * MB]
const SOURCE = readFileSync(join(import.meta.dirname, '../functions/node/objects.ts'), 'utf8')
const BLOCK = Buffer.from(Array.from({ length: 65_521 }, (_, index) => (index * 2_654_435_761) >>> 24))

/** What objects.ts makes of this length. */
function content(bytes: number): Buffer {
  return Buffer.alloc(bytes, BLOCK)
}

function crcOf(bytes: number): number {
  let crc = 0
  for (let at = 0; at < bytes; at += BLOCK.length) crc = crc32(BLOCK.subarray(0, Math.min(BLOCK.length, bytes - at)), crc)
  return crc
}

const sumOf = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')

class Ground {
  readonly platform: TestPlatform

  constructor(platform: TestPlatform) {
    this.platform = platform
  }

  async deploy(name: string, config: DeployConfig = {}): Promise<void> {
    await this.platform.deployText(name, 'objects.ts', SOURCE, config)
  }

  async ask(name: string, event: { readonly do: string } & Record<string, unknown>): Promise<any> {
    const answer = await this.platform.invoke(name, event)
    assert.equal(answer.status, 200, answer.text)
    return answer.json()
  }

  /** What is kept of bodies when nothing is under way. */
  async holds(objects: number, bytes: number): Promise<void> {
    await until(async () => {
      const text = (await this.platform.send('/metrics')).text
      const of = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? NaN)
      const held = of('skep_object_bytes\\{place="memory"\\}') + of('skep_object_bytes\\{place="file"\\}')
      return of('skep_objects\\{state="kept"\\}') === objects && of('skep_objects\\{state="leased"\\}') === 0 && held === bytes
    }, `${objects} objects of ${bytes} bytes are kept, and none is being retrieved`)
  }
}

const native = sharedMemory() === undefined ? 'the addon is not built: node scripts/build-native.ts' : false

test('after a crash of the platform a reference says what is lost, and who made it', async () => {
  const data = mkdtempSync(join(tmpdir(), 'skep-transfers-'))
  try {
    let put: { readonly id: string; readonly reference: string }
    {
      await using platform = await startTestPlatform({ data })
      const ground = new Ground(platform)
      for (const name of ['producer', 'consumer']) await ground.deploy(name)
      const answer = await platform.invoke('producer', { do: 'put', bytes: MB, how: 'copied' })
      put = { id: answer.id, reference: answer.json().reference }
      await platform.kill()
    }
    await using platform = await startTestPlatform({ data })
    const { code, details } = await new Ground(platform).ask('consumer', { do: 'get', reference: put.reference })
    assert.deepEqual([code, details], ['OBJECT_LOST', { function: 'producer', invocation: put.id }])
  } finally {
    rmSync(data, { recursive: true, force: true })
  }
})

for (const memory of [true, false]) {
  describe(memory ? 'with memory that is passed' : 'without it, as frames', { skip: memory ? native : false }, () => {
    let ground: Ground

    before(async () => {
      ground = new Ground(await startTestPlatform(memory ? {} : { environment: { SKEP_SHARED_MEMORY: 'off' } }))
      for (const name of ['producer', 'consumer']) await ground.deploy(name)
      await ground.deploy('third')
      await ground.deploy('second', { environment: { NEXT: 'third' } })
      await ground.deploy('first', { environment: { NEXT: 'second' } })
    })
    after(() => ground.platform[Symbol.asyncDispose]())

    test('what one function puts another gets, whatever its length and however it is made and read', async () => {
      for (const bytes of SIZES) {
        for (const how of ['copied', 'allocated', 'stream']) {
          for (const read of ['get', 'stream']) {
            const { reference } = await ground.ask('producer', { do: 'put', bytes, how })
            assert.deepEqual(await ground.ask('consumer', { do: read, reference }), { bytes, sum: sumOf(content(bytes)) }, `${bytes} bytes ${how}, by ${read}`)
          }
        }
      }
      await ground.holds(0, 0)
    })

    test('text is put as UTF-8, and no bytes are an object too', async () => {
      const { reference } = await ground.ask('producer', { do: 'put', bytes: 2 * MB, how: 'text' })
      assert.deepEqual(await ground.ask('consumer', { do: 'get', reference }), { bytes: 2 * MB, sum: sumOf('é'.repeat(MB)) })
      const empty = await ground.ask('producer', { do: 'put', bytes: 0, how: 'copied' })
      assert.deepEqual(await ground.ask('consumer', { do: 'get', reference: empty.reference }), { bytes: 0, sum: sumOf('') })
    })

    test('every consumer has a view of its own: what one writes, nobody else sees', async () => {
      const { reference } = await ground.ask('producer', { do: 'put', bytes: 3 * MB, how: 'allocated', retrievals: 3 })
      for (let time = 0; time < 3; time++) assert.equal((await ground.ask('consumer', { do: 'get', reference })).sum, sumOf(content(3 * MB)))
      await ground.holds(0, 0)
    })

    test('a record says what was put, got and passed as memory', async () => {
      const { platform } = ground
      const bytes = 3 * MB
      const put = await platform.invoke('producer', { do: 'put', bytes, how: 'copied' })
      const got = await platform.invoke('consumer', { do: 'get', reference: put.json().reference })
      const bytesShared = memory ? bytes : 0
      assert.deepEqual((await platform.record(put.id)).transfer, { objectsPut: 1, bytesPut: bytes, bytesGot: 0, bytesShared })
      assert.deepEqual((await platform.record(got.id)).transfer, { objectsPut: 0, bytesPut: 0, bytesGot: bytes, bytesShared })
      assert.equal((await platform.record((await platform.invoke('consumer', { do: 'echo' })).id)).transfer, undefined)
    })

    test('10 MB go by value through three functions, and back', async () => {
      for (const how of ['copied', 'allocated']) {
        const bytes = 10 * MB
        const crc = crcOf(bytes)
        assert.deepEqual(await ground.ask('producer', { do: 'chain', name: 'first', bytes, how }), { given: crc, bytes, got: crc })
      }
      await ground.holds(0, 0)
    })

    test('large JSON crosses both ways', async () => {
      assert.deepEqual(await ground.ask('producer', { do: 'json', name: 'consumer', items: 30_000 }), { isSame: true })
    })

    test('many are called at once, and the results are in the order of the payloads', async () => {
      const payloads = Array.from({ length: 100 }, (_, index) => ({ do: 'echo', index }))
      assert.deepEqual(await ground.ask('producer', { do: 'all', name: 'consumer', payloads }), payloads)
    })

    test('an answer in memory reaches a client over HTTP whole, with its length', async () => {
      const { platform } = ground
      await platform.deployText('download', 'f.ts', `
        import { allocate } from 'skep'
        export default { fetch() { const bytes = allocate(10e6); bytes.fill('ab'); return new Response(bytes, { headers: { 'content-type': 'x/y' } }) } }`)
      const answer = await platform.fn('download')
      assert.deepEqual([answer.status, answer.headers['content-length'], answer.headers['content-type'], sumOf(answer.body)], [200, '10000000', 'x/y', sumOf(Buffer.alloc(10e6, 'ab'))])
      const head = await platform.fn('download', { method: 'HEAD' })
      assert.deepEqual([head.status, head.headers['content-length'], head.body.length], [200, '10000000', 0])
      await ground.holds(0, 0)
    })

    test('a client that goes away in the middle of it leaves nothing behind', async () => {
      const { request, response } = await ground.platform.open('download')
      await new Promise((resolve) => response.once('data', resolve))
      request.destroy()
      await ground.holds(0, 0)
    })

    test('many slow clients of one large body do not fill its function\'s memory', async () => {
      const { platform } = ground
      await platform.deployText('asset', 'f.ts', `
        const asset = Buffer.alloc(10e6, 'asset')
        export default { fetch() { return new Response(asset) } }`, { memoryMb: 160 })
      const opened = await Promise.all(Array.from({ length: 30 }, () => platform.open('asset')))
      for (const { response } of opened) {
        assert.equal(response.statusCode, 200)
        assert.equal(sumOf(await buffer(response)), sumOf(Buffer.alloc(10e6, 'asset')))
      }
      await ground.holds(0, 0)
    })

    test('an asynchronous answer in memory is kept whole', async () => {
      const { platform } = ground
      const { id } = (await platform.fn('download', { headers: { prefer: 'respond-async' } })).json()
      const result = await until(async () => {
        const answer = await platform.send(`/v1/invocations/${id}/result`)
        return answer.status === 200 ? answer : undefined
      }, 'the result is there')
      assert.equal(sumOf(result.body), sumOf(Buffer.alloc(10e6, 'ab')))
      await ground.holds(0, 0)
    })

    test('an object outlives the instance that put it', async () => {
      const { reference } = await ground.ask('producer', { do: 'put', bytes: 5 * MB, how: 'allocated' })
      assertError(await ground.platform.invoke('producer', { do: 'exit' }), 'FUNCTION_EXITED')
      assert.equal((await ground.ask('consumer', { do: 'get', reference })).sum, sumOf(content(5 * MB)))
      await ground.holds(0, 0)
    })

    test('of a put whose producer dies or fails half-way nothing is left', async () => {
      assertError(await ground.platform.invoke('producer', { do: 'diePutting', bytes: 20 * MB }), 'FUNCTION_EXITED')
      await ground.holds(0, 0)
      assert.match((await ground.ask('producer', { do: 'failPutting', bytes: 20 * MB })).message, /the source broke/)
      await ground.holds(0, 0)
    })

    test('a consumer that stops reading, or dies, has not retrieved the object', async () => {
      const { reference } = await ground.ask('producer', { do: 'put', bytes: 10 * MB, how: 'copied' })
      assert.ok((await ground.ask('consumer', { do: 'peek', reference })).bytes > 0)
      await ground.holds(1, 10 * MB)
      assertError(await ground.platform.invoke('consumer', { do: 'stall', reference }), 'FUNCTION_EXITED')
      await ground.holds(1, 10 * MB)
      assert.equal((await ground.ask('consumer', { do: 'stream', reference })).sum, sumOf(content(10 * MB)))
      await ground.holds(0, 0)
    })

    test('references that were forged, used up, have expired or are of another namespace are refused, each with its code', async () => {
      const { platform } = ground
      const put = async (options: object = {}): Promise<string> => (await ground.ask('producer', { do: 'put', bytes: 100_000, how: 'copied', ...options })).reference
      const code = async (reference: string, read = 'get'): Promise<unknown> => {
        const { code, isSkepError } = await ground.ask('consumer', { do: read, reference })
        return isSkepError ? code : `not a SkepError: ${code}`
      }
      const reference = await put()
      const at = reference.length - 10
      const forged = reference.slice(0, at) + (reference[at] === 'A' ? 'B' : 'A') + reference.slice(at + 1)
      for (const wrong of [forged, 'skep:1:x', 'nothing', reference.slice(0, -4)]) assert.deepEqual([await code(wrong), await code(wrong, 'stream')], ['REFERENCE_INVALID', 'REFERENCE_INVALID'])
      assert.equal((await ground.ask('consumer', { do: 'get', reference })).bytes, 100_000)
      assert.match(String(await code(reference)), /^OBJECT_USED_UP$/)
      const brief = await put({ ttlMs: 1 })
      assert.equal(await until(async () => (await code(brief)) === 'OBJECT_EXPIRED' && 'expired', 'it has expired'), 'expired')
      const foreign = await put()
      const { key } = (await platform.send('/v1/namespaces', { method: 'POST', body: '{"name":"other"}' })).json()
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
      await platform.send('/v1/functions/consumer', { method: 'PUT', headers, body: JSON.stringify({ source: { filename: 'objects.ts', text: SOURCE } }) })
      const asked = await platform.send('/v1/functions/consumer/invocations', { method: 'POST', headers, body: JSON.stringify({ do: 'get', reference: foreign }) })
      assert.equal(asked.json().code, 'REFERENCE_INVALID')
      assert.equal((await ground.ask('consumer', { do: 'get', reference: foreign })).bytes, 100_000)
      for (const options of [{ retrievals: 0 }, { ttlMs: -1 }, { retrievals: 'x' }]) assert.equal((await ground.ask('producer', { do: 'put', bytes: 100, ...options })).code, 'INPUT_INVALID')
      await ground.holds(0, 0)
    })

    test('allocating more than half of the function\'s memory is an error that says how much it has', async () => {
      const { code, details } = await ground.ask('producer', { do: 'allocate', bytes: 129 * MB })
      assert.deepEqual([code, details], ['INPUT_INVALID', { bytes: 129 * MB, bytesMax: 128 * MB, memoryMb: 256 }])
      assert.equal(await ground.ask('producer', { do: 'allocate', bytes: 128 * MB }), 128 * MB)
    })

    test('1 GB streams through three functions of 256 MB', { timeout: 300_000 }, async () => {
      const bytes = GB
      const whole = { bytes, crc: crcOf(bytes) }
      const first = await ground.ask('producer', { do: 'put', bytes, how: 'stream' })
      const { reference, ...seen } = await ground.ask('consumer', { do: 'passOn', reference: first.reference })
      assert.deepEqual(seen, whole)
      assert.deepEqual(await ground.ask('third', { do: 'crc', reference }), whole)
      await ground.holds(0, 0)
    })

    if (!memory) return

    const lacking = freemem() < 8 * GB ? `it needs 8 GB of free memory, and there are ${Math.round(freemem() / GB)}` : false
    test('1 GB goes by value through three functions', { skip: lacking, timeout: 300_000 }, async () => {
      const bytes = GB
      const crc = crcOf(bytes)
      for (const name of ['large-producer', 'large-first', 'large-second', 'large-third']) {
        const next = { 'large-first': 'large-second', 'large-second': 'large-third' }[name]
        await ground.deploy(name, { memoryMb: 3072, ...(next !== undefined && { environment: { NEXT: next } }) })
      }
      assert.deepEqual(await ground.ask('large-producer', { do: 'chain', name: 'large-first', bytes, how: 'allocated' }), { given: crc, bytes, got: crc })
      await ground.holds(0, 0)
    })

    test('a runtime that passes memory which can still change, or lies about its length, is ended, and others go on', async () => {
      await ground.deploy('cheat')
      for (const length of [undefined, 50, 1e9]) {
        const answers = await Promise.all([ground.platform.invoke('cheat', { do: 'cheat', stream: 2, length }), ground.ask('consumer', { do: 'echo', still: 'here' })])
        assertError(answers[0], 'INSTANCE_LOST', /memory/)
        assert.deepEqual(answers[1], { do: 'echo', still: 'here' })
      }
      await ground.holds(0, 0)
    })
  })
}
