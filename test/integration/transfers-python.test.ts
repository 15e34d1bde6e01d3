/**
 * Goal: Python functions put, get and pass bodies of any length among themselves and with Node functions, whole; 1 GB goes through three of
 * them within their memory limits.
 *
 * Method: test/functions/python/transfers.py and test/functions/node/objects.ts on real platforms, with and without memory that is passed. Both
 * make the same bytes of a length, so every checksum is known; what an instance used is read from the invocation's record.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { freemem } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { crc32 } from 'node:zlib'
import { sharedMemory } from '#transfer/shared-memory.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { DeployConfig, TestPlatform } from '../kit/platform.ts'

const KB = 1024
const MB = 1024 * KB
const GB = 1024 * MB
const SIZES = [1, 64 * KB - 1, 64 * KB, 64 * KB + 1, 10 * MB]
const source = (path: string) => ({ file: basename(path), text: readFileSync(join(import.meta.dirname, '../functions', path), 'utf8') })
const sources = { python: source('python/transfers.py'), node: source('node/objects.ts') }
const BLOCK = Buffer.from(Array.from({ length: 65_521 }, (_, index) => (index * 2_654_435_761) >>> 24))

/** Copies are passed as memory up to a quarter of it. A body that is streamed takes twice its length while it is joined. */
const LARGE_MB = 4352

const sumOf = (bytes: number): string => createHash('sha256').update(Buffer.alloc(bytes, BLOCK)).digest('hex')

function crcOf(bytes: number): number {
  let crc = 0
  for (let at = 0; at < bytes; at += BLOCK.length) crc = crc32(BLOCK.subarray(0, Math.min(BLOCK.length, bytes - at)), crc)
  return crc
}

const native = sharedMemory() === undefined ? 'the addon is not built: node scripts/build-native.ts' : false

for (const memory of [true, false]) {
  describe(memory ? 'with memory that is passed' : 'without it, as frames', { skip: memory ? native : false, timeout: 300_000 }, () => {
    let platform: TestPlatform

    const deploy = (name: string, kind: keyof typeof sources, config: DeployConfig = {}): Promise<number> => platform.deployText(name, sources[kind].file, sources[kind].text, config)
    const invoke = async (name: string, event: { readonly do: string } & Record<string, unknown>): Promise<{ readonly id: string; readonly value: any }> => {
      const answer = await platform.invoke(name, event)
      assert.equal(answer.status, 200, answer.text)
      return { id: answer.id, value: answer.json() }
    }
    const ask = async (...call: Parameters<typeof invoke>): Promise<any> => (await invoke(...call)).value
    const nothingIsHeld = (): Promise<unknown> =>
      until(async () => {
        const lines = (await platform.send('/metrics')).text.split('\n')
        return ['skep_object_bytes{place="memory"}', 'skep_object_bytes{place="file"}', 'skep_objects{state="kept"}', 'skep_objects{state="leased"}'].every((name) => lines.includes(`${name} 0`))
      }, 'nothing of any body is held')

    before(async () => {
      platform = await startTestPlatform(memory ? {} : { environment: { SKEP_SHARED_MEMORY: 'off' } })
      await Promise.all([deploy('python', 'python'), deploy('other', 'python'), deploy('node', 'node')])
    })
    after(() => platform[Symbol.asyncDispose]())

    test('what Python puts Node gets, and the other way round, whatever its length and however it is made and read', async () => {
      for (const bytes of SIZES) {
        const whole = { bytes, sum: sumOf(bytes) }
        for (const how of ['copied', 'allocated', 'stream']) {
          for (const read of ['get', 'stream']) {
            for (const [producer, consumer] of [['python', 'node'], ['node', 'python'], ['python', 'other']] as const) {
              const { reference } = await ask(producer, { do: 'put', bytes, how })
              assert.deepEqual(await ask(consumer, { do: read, reference }), whole, `${bytes} bytes ${how} by ${producer}, in ${consumer} by ${read}`)
            }
          }
        }
      }
      await nothingIsHeld()
    })

    test('every consumer has a view of its own: what Python writes, Node does not see', async () => {
      const { reference } = await ask('python', { do: 'put', bytes: 3 * MB, how: 'allocated', retrievals: 4 })
      for (const name of ['python', 'node', 'other', 'node']) assert.equal((await ask(name, { do: 'get', reference })).sum, sumOf(3 * MB), name)
      await nothingIsHeld()
    })

    test('10 MB go by value through Python, Node and Python, and back', async () => {
      await deploy('last', 'python')
      await deploy('second', 'node', { environment: { NEXT: 'last' } })
      await deploy('first', 'python', { environment: { NEXT: 'second' } })
      for (const [producer, how] of [['python', 'copied'], ['python', 'allocated'], ['node', 'allocated']] as const) {
        const crc = crcOf(10 * MB)
        assert.deepEqual(await ask(producer, { do: 'chain', name: 'first', bytes: 10 * MB, how }), { given: crc, bytes: 10 * MB, got: crc })
      }
      await nothingIsHeld()
    })

    if (!memory) return

    test('1 GB streams through three functions of 256 MB, and none needs so much', async () => {
      const whole = { bytes: GB, crc: crcOf(GB) }
      await deploy('third', 'python')
      const first = await invoke('python', { do: 'put', bytes: GB, how: 'stream' })
      const second = await invoke('other', { do: 'passOn', reference: first.value.reference })
      const { reference, ...seen } = second.value
      assert.deepEqual(seen, whole)
      const third = await invoke('third', { do: 'crc', reference })
      assert.deepEqual(third.value, whole)
      for (const { id } of [first, second, third]) assert.ok((await platform.record(id)).memoryPeakMb < 256, JSON.stringify(await platform.record(id)))
      await nothingIsHeld()
    })

    const lacking = freemem() < 8 * GB ? `it needs 8 GB of free memory, and there are ${Math.round(freemem() / GB)}` : false
    test('1 GB goes by value through three functions', { skip: lacking }, async () => {
      const crc = crcOf(GB)
      for (const name of ['large', 'large-first', 'large-second', 'large-third']) {
        const next = { 'large-first': 'large-second', 'large-second': 'large-third' }[name]
        await deploy(name, 'python', { memoryMb: LARGE_MB, ...(next !== undefined && { environment: { NEXT: next } }) })
      }
      const { id, value } = await invoke('large', { do: 'chain', name: 'large-first', bytes: GB, how: 'allocated' })
      assert.deepEqual(value, { given: crc, bytes: GB, got: crc })
      assert.ok((await platform.record(id)).memoryPeakMb < LARGE_MB)
      await nothingIsHeld()
    })
  })
}
