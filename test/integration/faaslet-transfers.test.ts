/**
 * Goal: faaslets put, get and pass bodies of any length as other kinds do; what is mapped into one is its own, stays within the room that it
 * named, and nothing of it is there for the next (pager T1).
 *
 * Method: functions in C (test/functions/wasm/objects.c), JavaScript in kind js (test/functions/node/js-objects.ts) and Node on real platforms,
 * with and without memory that is passed; every body is compared by its checksum, in kind js by a sample of each page.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { crc32 } from 'node:zlib'
import { restoreModes } from '#contract/start-figures.ts'
import { sharedMemory } from '#transfer/shared-memory.ts'
import { deployWasm, snapshotOf, wasmFixture } from '../kit/faaslets.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { DeployConfig, TestPlatform } from '../kit/platform.ts'

const KB = 1024
const MB = 1024 * KB
const SIZES = [1, 64 * KB - 1, 64 * KB, 64 * KB + 1, 10 * MB]
const BLOCK = Buffer.from(Array.from({ length: 65_521 }, (_, index) => (index * 2_654_435_761) >>> 24))
const scripts = (name: string): string => readFileSync(join(import.meta.dirname, '../functions/node', name), 'utf8')

const content = (bytes: number): Buffer => Buffer.alloc(bytes, BLOCK)
const shaOf = (bytes: number): string => createHash('sha256').update(content(bytes)).digest('hex')

function crcOf(bytes: number): number {
  let crc = 0
  for (let at = 0; at < bytes; at += BLOCK.length) crc = crc32(BLOCK.subarray(0, Math.min(BLOCK.length, bytes - at)), crc)
  return crc
}

/** What js-objects.ts says of it. */
function sampleOf(bytes: number): string {
  const all = content(bytes)
  let sum = 0
  for (let at = 0; at < bytes; at += 4096) sum = (sum * 31 + all[at]! + all[Math.min(bytes, at + 4096) - 1]! * 256) >>> 0
  return `${bytes} ${sum}`
}

const native = sharedMemory() === undefined ? 'the addon is not built: node scripts/build-native.ts' : false

for (const memory of [true, false]) {
  describe(memory ? 'with memory that is passed' : 'without it, as frames', { skip: memory ? native : false, timeout: 300_000 }, () => {
    let platform: TestPlatform

    const ask = async (address: string, body: string | Buffer = ''): Promise<string> => {
      const answer = await platform.fn(address, { method: 'POST', body })
      assert.equal(answer.status, 200, `${address}: ${answer.text}`)
      return answer.text.trimEnd()
    }
    const askNode = async (event: { readonly do: string } & Record<string, unknown>): Promise<any> => (await platform.invoke('node', event)).json()
    const deployC = (name: string, config: DeployConfig = {}): Promise<void> => deployWasm(platform, name, wasmFixture('objects'), { timeoutMs: 60_000, ...config })
    const deployJs = (name: string, config: DeployConfig = {}): Promise<number> => platform.deployText(name, 'index.ts', scripts('js-objects.ts'), { kind: 'js', ...config })
    const figures = ['skep_object_bytes{place="memory"}', 'skep_object_bytes{place="file"}', 'skep_objects{state="kept"}', 'skep_objects{state="leased"}']
    const nothingIsHeld = (): Promise<unknown> =>
      until(async () => {
        const lines = (await platform.send('/metrics')).text.split('\n')
        return figures.every((name) => lines.includes(`${name} 0`))
      }, 'nothing of any body is held')

    before(async () => {
      platform = await startTestPlatform(memory ? {} : { environment: { SKEP_SHARED_MEMORY: 'off' } })
      await Promise.all([deployC('c'), deployJs('js'), platform.deployText('node', 'objects.ts', scripts('objects.ts'))])
      await Promise.all([deployC('c-to-js', { environment: { NEXT: 'js-to-node' } }), deployJs('js-to-node', { environment: { NEXT: 'node' } })])
    })
    after(() => platform[Symbol.asyncDispose]())

    /** Reads it once by each kind and way. */
    async function check(reference: string, bytes: number, what: string): Promise<void> {
      assert.equal(await ask('c/get', reference), `${bytes} ${crcOf(bytes)} 0`, `${what}, mapped in C`)
      assert.equal(await ask('c/stream', reference), `${bytes} ${crcOf(bytes)}`, `${what}, streamed in C`)
      assert.equal(await ask('js/get', reference), sampleOf(bytes), `${what}, in JavaScript`)
      assert.equal(await ask('js/stream', reference), String(bytes), `${what}, streamed in JavaScript`)
      assert.deepEqual(await askNode({ do: 'get', reference }), { bytes, sum: shaOf(bytes) }, `${what}, in Node`)
    }

    test('what one kind puts every kind gets, whatever its length', async () => {
      for (const bytes of SIZES) {
        for (const how of ['c/put', 'c/put-stream', 'js/put']) await check(await ask(`${how}?bytes=${bytes}&retrievals=5`), bytes, `${bytes} bytes by ${how}`)
        const { reference } = await askNode({ do: 'put', bytes, how: 'allocated', retrievals: 5 })
        await check(reference, bytes, `${bytes} bytes by Node`)
        assert.equal(await ask('c/get', await ask(`js/put-stream?bytes=${bytes}`)), `${bytes} ${crcOf(bytes)} 0`)
        assert.equal(await ask('c/get', await ask(`js/put?bytes=${bytes}&allocated=1`)), `${bytes} ${crcOf(bytes)} 0`)
      }
      await nothingIsHeld()
    })

    test('100 MB, too', async () => {
      await check(await ask(`c/put?bytes=${100 * MB}&retrievals=5`), 100 * MB, '100 MB by C')
      await nothingIsHeld()
    })

    test('bodies go by value through C, JavaScript and Node, and back', async () => {
      for (const bytes of [...SIZES, 20 * MB]) {
        const answer = await platform.fn('c-to-js', { method: 'POST', body: content(bytes) })
        assert.deepEqual([answer.status, answer.headers['content-type']], [200, 'application/octet-stream'])
        assert.ok(answer.body.equals(content(bytes)), `${bytes} bytes`)
      }
      await deployWasm(platform, 'command', wasmFixture('command'))
      for (const bytes of SIZES) {
        assert.ok((await platform.fn('c/through', { method: 'POST', body: content(bytes) })).body.equals(content(bytes)), `${bytes} bytes through a command`)
        assert.ok((await platform.fn('c/pieces', { method: 'POST', body: content(bytes) })).body.equals(Buffer.concat([content(bytes), Buffer.from('end')])), `${bytes} bytes and more`)
      }
      for (const kind of ['c', 'js']) assert.equal(await ask(`js/all?name=${kind}`), Array(8).fill('true').join())
      await nothingIsHeld()
    })

    test('what a faaslet maps is gone before the next, however its memory is restored (T1)', async () => {
      const bytes = 1_000_000
      for (const restore of ['auto', ...restoreModes] as const) {
        await deployC(`c-${restore}`, { restore })
        const put = (): Promise<string> => ask(`c/put?bytes=${bytes}`)
        let mode: string | undefined
        const window = async (when: string): Promise<void> => {
          const { headers, text } = await platform.fn(`c-${restore}/window`, { method: 'POST', body: await put() })
          assert.equal(text.trimEnd(), `0 0 ${crcOf(bytes)}`, `${restore}, ${when}`)
          mode = (await platform.record(String(headers['x-skep-invocation-id']))).snapshot?.mode
        }
        // The invocation that is recorded comes some turns after the snapshot was taken.
        const recording = await until(async () => {
          await window('before it is recorded')
          return (await snapshotOf(platform, `c-${restore}`))?.recording
        }, `the snapshot of ${restore} was recorded`)
        // Without memory to pass it is copied, and the pages are written as any others.
        if (memory) assert.ok((recording as { readonly pagesRecorded: number }).pagesRecorded < 100, `of the object's 245 pages none is the snapshot's: ${JSON.stringify(recording)}`)
        await until(async () => {
          await window('until it is restored in this way')
          return restore === 'auto' || mode === restore
        }, `it is restored by ${restore}`)
        for (let time = 0; time < 8; time++) {
          await window(`time ${time}, ${mode}`)
          assert.equal(await ask(`c-${restore}/get`, await put()), `${bytes} ${crcOf(bytes)} 0`)
        }
      }
    })

    test('rooms that begin at no page, are too small or reach beyond the memory are refused, and spoil nothing (OB1, OB2)', async () => {
      assert.equal(await ask('c/misused'), '5000 -1 -1 -1 -2 -2 -7 -2 -1 -2 -2 -1 -1 -7 -1 -2 0 1')
    })

    test('an object that is begun and not ended is none, and nothing of it is held', async () => {
      assert.equal(await ask('c/abandon'), '0 0 0 0 0 0 0 0 0 -7 -7')
      await nothingIsHeld()
    })

    test('references that were forged, used up or cut are refused, each with its code', async () => {
      const reference = await ask('c/put?bytes=100000')
      const at = reference.length - 10
      const forged = reference.slice(0, at) + (reference[at] === 'A' ? 'B' : 'A') + reference.slice(at + 1)
      for (const wrong of [forged, 'skep:1:x', 'x'.repeat(1000), reference.slice(0, -4)]) {
        for (const how of ['c/get', 'c/stream']) assert.match(await ask(how, wrong), /^error -6 .*"REFERENCE_INVALID"/)
        assert.equal(await ask('js/refused', wrong), 'SkepError REFERENCE_INVALID')
      }
      assert.equal(await ask('c/get', reference), `100000 ${crcOf(100_000)} 0`)
      assert.match(await ask('c/get', reference), /^error -6 .*"OBJECT_USED_UP"/)
      assert.equal(await ask('js/refused', reference), 'SkepError OBJECT_USED_UP')
      for (const how of ['put?bytes=10', 'put?bytes=1000000', 'put-stream?bytes=10000000']) assert.match(await ask(`c/${how}&retrievals=-1`), /^error -6 .*"INPUT_INVALID"/, how)
      await nothingIsHeld()
    })

    test('1 GB streams through three functions of 256 MB', { skip: !memory && 'with frames it is the same', timeout: 300_000 }, async () => {
      const bytes = 1024 * MB
      const crc = crcOf(bytes)
      const first = await ask(`c/put-stream?bytes=${bytes}`)
      const [size, sum, reference] = (await ask('c/pass-on', first)).split(' ')
      assert.deepEqual([size, sum], [String(bytes), String(crc)])
      assert.equal(await ask('c/stream', reference!), `${bytes} ${crc}`)
      await nothingIsHeld()
    })

    test('an instance that is used again maps and gives back as often as it is asked', async () => {
      await deployC('c-again', { reuse: true })
      await deployJs('js-again', { reuse: true })
      const reference = await ask(`c/put?bytes=${10 * MB}&retrievals=100`)
      for (let time = 0; time < 10; time++) assert.equal(await ask('js-again/get', reference), sampleOf(10 * MB))
      // More than its memory, had any of them stayed.
      assert.equal(await ask('js-again/many?times=40', reference), sampleOf(10 * MB))
      assert.equal(await ask('js/many?times=48', reference), sampleOf(10 * MB))
      const small = await ask('c/put?bytes=1000000&retrievals=2')
      assert.equal(await ask('c-again/window', small), `0 0 ${crcOf(1_000_000)}`)
      // Its own writes, and what it had mapped, are still there.
      assert.notEqual((await ask('c-again/window', small)).split(' ')[0], '0')
    })

    test('an object without room in the function is an error of that call, and the host goes on', async () => {
      await deployC('c-small', { memoryMb: 32 })
      await deployJs('js-small', { memoryMb: 32 })
      const reference = await ask(`c/put?bytes=${40 * MB}&retrievals=4`)
      assert.match(await ask('c-small/get', reference), /^error -99/)
      assert.equal(await ask('js-small/refused', reference), 'SkepError FUNCTION_OUT_OF_MEMORY')
      assert.equal(await ask('c-small/stream', reference), `${40 * MB} ${crcOf(40 * MB)}`)
      assert.equal(await ask('js/touch', await ask('c-small/put?bytes=20000000')), '20000000')
    })
  })
}
