/**
 * Question: what does an instance cost that is made for one invocation and thrown away?
 *
 * Two views. Inside a process, the platform's own pager and faaslet code: a memory of 32 MB, all of it in the image, restored
 * from the page cache, instantiated, called once. Over HTTP, as a person sees it: functions in C and JavaScript of which no
 * instance is alive when the request comes, as is their rule: each gets a faaslet of its own (`http_*`). And, harder, functions that the
 * platform has scaled to zero: it has no place for them any more, only a parked one, and was idle for 30 ms before (`from_zero`).
 *
 * Baseline: the same memory restored by copying it; a warm call of the same function with `reuse`.
 * Not measured: a cold page cache (reap), the host's own start (it is a stem cell; idle shows its memory).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { openSnapshot } from '#pager/open-snapshot.ts'
import { adoptMemory, openImage } from '#pager/restore.ts'
import { nonZeroChunks } from '#pager/zero-pages.ts'
import { writeImage } from '#pager/image-file.ts'
import { median, percentile, round } from '../kit/figures.ts'
import { RawClient } from '../kit/raw-client.ts'
import { startPlatform } from '../kit/server.ts'
import type { RunningPlatform } from '../kit/server.ts'
import { MEMORY_IMPORT, rewriteModule } from '../../runtimes/faaslet/wasm/rewrite.ts'

const IMAGE_BYTES = 32 * 1024 * 1024
const hello = `export default { fetch(request) { return new Response('hello') } }`

export default async function restore(context: BenchContext): Promise<BenchResult> {
  const samples = context.quick ? 20 : 2000
  context.step('restoring 32 MB inside a process')
  const inside = await restoreInside(context, samples)
  const figures: Record<string, number> = { restore_p50_us: round(median(inside.mapped)), restore_p99_us: round(percentile(inside.mapped, 99)) }
  const baselines: Record<string, number> = { copy_p50_us: round(median(inside.copied)) }
  await using platform = await startPlatform()
  await deploy(platform, context)
  for (const name of ['c', 'js'] as const) {
    context.step(`${name} over HTTP`)
    const none = await each(platform, name, context.quick ? 20 : 1000, async () => {})
    figures[`http_${name}_p50_ms`] = round(median(none))
    figures[`http_${name}_p99_ms`] = round(percentile(none, 99))
    const zero = await each(platform, name, context.quick ? 5 : 200, async (turn) => {
      // Traffic to the other of two revisions: the instances of this one end (scale to zero).
      await platform.json(`/v1/functions/${name}/rollback`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ revision: (turn % 2) + 1 }) })
      await new Promise((resolve) => setTimeout(resolve, 30))
    })
    figures[`http_${name}_from_zero_p50_ms`] = round(median(zero))
    figures[`http_${name}_from_zero_p99_ms`] = round(percentile(zero, 99))
    const warm = await each(platform, `${name}-reused`, context.quick ? 20 : 1000, async () => {})
    baselines[`${name}_warm_p50_ms`] = round(median(warm))
  }
  return { figures, baselines, ratios: { restore_vs_copy: round(median(inside.copied) / median(inside.mapped)) } }
}

/** Instantiate, restore and call once; µs each. */
async function restoreInside(context: BenchContext, samples: number): Promise<{ readonly mapped: number[]; readonly copied: number[] }> {
  const directory = mkdtempSync(join(tmpdir(), 'skep-restore-'))
  try {
    const bytes = readFileSync(join(context.root, 'bench/functions/restore/restore.wasm'))
    const { restore: module } = rewriteModule(bytes, { memoryPagesMax: IMAGE_BYTES / 65_536 })
    const compiled = await WebAssembly.compile(module as BufferSource)
    const pages = IMAGE_BYTES / 65_536
    const image = new Uint8Array(IMAGE_BYTES)
    // No page is zero: an image of this size, and not a sparse one.
    for (let at = 0; at < IMAGE_BYTES; at += 64) image[at] = 1 + (at >>> 12) % 255
    const description = { revision: 'bench/restore@1', moduleDigest: '0'.repeat(64), imageId: '0'.repeat(32), imageBytes: IMAGE_BYTES, state: new Uint8Array(), takenAtMs: Date.now(), answered: 0 }
    await writeImage(join(directory, 'image'), description, nonZeroChunks(image, 1024 * 1024))
    using snapshot = openSnapshot(directory)
    using source = openImage(snapshot)
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    using paged = adoptMemory(memory)
    const imports = { [MEMORY_IMPORT.module]: { [MEMORY_IMPORT.name]: memory } }
    const once = (fill: () => void): number => {
      const startMs = performance.now()
      fill()
      const { exports } = new WebAssembly.Instance(compiled, imports)
      const sum = (exports['handle'] as () => number)()
      const us = (performance.now() - startMs) * 1000
      if (sum !== expected(image)) throw new Error(`a restored instance answered ${sum}, expected ${expected(image)}`)
      return us
    }
    const mapped: number[] = []
    const copied: number[] = []
    for (let sample = -20; sample < samples; sample++) {
      const us = once(() => void paged.restore(source, 'lazy'))
      if (sample >= 0) mapped.push(us)
      if (sample % 20 !== 0) continue
      const copyUs = once(() => new Uint8Array(memory.buffer).set(image))
      if (sample >= 0) copied.push(copyUs)
    }
    return { mapped, copied }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** restore.c adds up one byte of every 16th page of the first 4 MB, and writes what it has into the last page. */
function expected(image: Uint8Array): number {
  let sum = 0
  for (let page = 0; page < 1024; page += 16) sum += image[page * 4096]!
  return sum
}

async function deploy(platform: RunningPlatform, context: BenchContext): Promise<void> {
  const put = (name: string, body: Record<string, unknown>): Promise<unknown> =>
    platform.json(`/v1/functions/${name}`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  const wasm = await upload(platform, 'hello.wasm', readFileSync(join(context.root, 'bench/functions/restore/hello.wasm')))
  const js = { source: { filename: 'hello.js', text: hello }, kind: 'js' }
  for (const turn of ['1', '2']) {
    await put('c', { code: wasm, entry: 'hello.wasm', kind: 'wasm', environment: { TURN: turn } })
    await put('js', { ...js, environment: { TURN: turn } })
  }
  await put('c-reused', { code: wasm, entry: 'hello.wasm', kind: 'wasm', reuse: true, instancesMax: 1 })
  await put('js-reused', { ...js, reuse: true, instancesMax: 1 })
  for (const name of ['c', 'js', 'c-reused', 'js-reused']) {
    for (const revision of name.includes('reused') ? [1] : [1, 2]) {
      if (!name.includes('reused')) await platform.json(`/v1/functions/${name}/rollback`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ revision }) })
      // Booted, captured, recorded; and then used until the engine has compiled what is hot.
      for (let call = 0; call < (context.quick ? 10 : 300); call++) await (await platform.request(`/fn/${platform.namespace}/${name}`)).text()
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
  }
}

async function upload(platform: RunningPlatform, name: string, bytes: Buffer): Promise<string> {
  const { packCode } = await import('#build/build-function.ts')
  const packed = await packCode(new Map([[name, { bytes, executable: false }]]))
  const { digest } = await platform.json<{ digest: string }>('/v1/code', { method: 'POST', headers: { 'content-type': 'application/x-tar' }, body: packed.tar as unknown as BodyInit })
  return digest
}

async function each(platform: RunningPlatform, name: string, samples: number, before: (turn: number) => Promise<void>): Promise<number[]> {
  using client = await RawClient.open(platform.url, platform.key)
  const times: number[] = []
  for (let sample = -5; sample < samples; sample++) {
    await before(sample + 5)
    const { status, head, text, ms } = await client.get(`/fn/${platform.namespace}/${name}`)
    const start = /\r\nx-skep-start: *(\w+)/i.exec(head)?.[1]
    if (text !== 'hello') throw new Error(`${name} answered ${status} ${text}`)
    if (start !== (name.endsWith('reused') ? 'warm' : 'snapshot') && sample >= 0) throw new Error(`invocation ${sample} of ${name} was ${start}`)
    if (sample >= 0) times.push(ms)
  }
  return times
}
