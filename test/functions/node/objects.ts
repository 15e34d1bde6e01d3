/** Makes, passes and checks bodies of any length; what it is asked to do is its event's `do`. A binary event is passed on, and its result back. */
import { createHash } from 'node:crypto'
import { Buffer } from 'node:buffer'
import { writeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { allocate, get, getStream, invoke, invokeAll, put, SkepError } from 'skep'

const BLOCK = Buffer.from(Array.from({ length: 65_521 }, (_, index) => (index * 2_654_435_761) >>> 24))

/** The same bytes for the same length, and no two blocks at the same place of a chunk of 64 KB. */
function fill(into: Uint8Array): Uint8Array {
  for (let at = 0; at < into.length; at += BLOCK.length) into.set(BLOCK.subarray(0, Math.min(BLOCK.length, into.length - at)), at)
  return into
}

async function* chunks(bytes: number, fails?: () => void): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes; at += BLOCK.length) {
    if (fails !== undefined && at > bytes / 2) fails()
    yield BLOCK.subarray(0, Math.min(BLOCK.length, bytes - at))
  }
}

const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

async function crcOf(stream: AsyncIterable<Uint8Array>): Promise<{ bytes: number; crc: number }> {
  let [bytes, crc] = [0, 0]
  for await (const chunk of stream) {
    crc = crc32(chunk, crc)
    bytes += chunk.length
  }
  return { bytes, crc }
}

const actions: Record<string, (params: any) => Promise<unknown>> = {
  put: async ({ bytes, how, ...options }) => {
    const made = how === 'allocated' ? fill(allocate(bytes)) : how === 'stream' ? chunks(bytes) : how === 'text' ? 'é'.repeat(bytes / 2) : fill(new Uint8Array(bytes))
    const reference = await put(made as Uint8Array, options)
    // Nobody else may see this.
    if (made instanceof Uint8Array) made.fill(0)
    return { reference }
  },
  get: async ({ reference }) => {
    const bytes = await get(reference)
    const sum = sumOf(bytes)
    if (bytes.length > 0) bytes.fill(7)
    return { bytes: bytes.length, sum }
  },
  stream: async ({ reference }) => {
    const hash = createHash('sha256')
    let bytes = 0
    for await (const chunk of getStream(reference)) {
      hash.update(chunk)
      bytes += chunk.length
    }
    return { bytes, sum: hash.digest('hex') }
  },
  crc: async ({ reference }) => crcOf(getStream(reference)),
  passOn: async ({ reference }) => {
    const { promise, resolve } = Promise.withResolvers<{ bytes: number; crc: number }>()
    async function* seen(): AsyncGenerator<Uint8Array> {
      let [bytes, crc] = [0, 0]
      for await (const chunk of getStream(reference)) {
        crc = crc32(chunk, crc)
        bytes += chunk.length
        yield chunk
      }
      resolve({ bytes, crc })
    }
    return { reference: await put(seen()), ...(await promise) }
  },
  peek: async ({ reference }) => {
    const reader = getStream(reference).getReader()
    const { value } = await reader.read()
    await reader.cancel()
    return { bytes: value!.length }
  },
  stall: async ({ reference }) => {
    await getStream(reference).getReader().read()
    process.exit(5)
  },
  diePutting: async ({ bytes }) => put(chunks(bytes, () => process.exit(3))),
  failPutting: async ({ bytes }) =>
    put(
      chunks(bytes, () => {
        throw new RangeError('the source broke')
      }),
    ),
  exit: async () => process.exit(4),
  allocate: async ({ bytes }) => allocate(bytes).length,
  chain: async ({ name, bytes, how }) => {
    const made = fill(how === 'allocated' ? allocate(bytes) : new Uint8Array(bytes))
    const given = crc32(made)
    const result = await invoke<Uint8Array>(name, made)
    return { given, bytes: result.length, got: crc32(result) }
  },
  json: async ({ name, items }) => {
    const list = Array.from({ length: items }, (_, index) => ({ index, text: 'é'.repeat(20) }))
    return { isSame: JSON.stringify(await invoke(name, { do: 'echo', list })) === JSON.stringify({ do: 'echo', list }) }
  },
  echo: async (params) => params,
  all: async ({ name, payloads }) => invokeAll(name, payloads),
  /** What no runtime does: a body in memory that can still be changed. */
  cheat: async ({ stream, length }) => {
    const module: any = { exports: {} }
    ;(process as any).dlopen(module, '/skep/runtime/skep.node')
    const memory = module.exports.sharedMemory
    const fd = length === undefined ? memory.create() : memory.copy(new Uint8Array(100))
    memory.pass(5, 4_000_000, fd)
    const head = Buffer.from(JSON.stringify({ k: 'put', c: stream, p: { n: 4_000_000, b: length ?? 0 } }))
    const frame = Buffer.alloc(16 + head.length)
    frame.writeUInt32LE(4 + head.length, 0)
    frame[4] = 16
    frame[5] = 1
    frame.writeUInt32LE(999_999, 8)
    frame.writeUInt32LE(head.length, 12)
    head.copy(frame, 16)
    writeSync(3, frame)
    return new Promise(() => {})
  },
}

export async function main(params: any): Promise<unknown> {
  if (params instanceof Uint8Array) {
    const next = process.env['NEXT']
    return next === undefined ? params : invoke<Uint8Array>(next, params)
  }
  try {
    return await actions[params.do]!(params)
  } catch (error) {
    const { code, message, details } = error as SkepError
    return { code, message, details, isSkepError: error instanceof SkepError }
  }
}
