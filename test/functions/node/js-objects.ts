/** Objects and large bodies in kind js, with what both kinds of JavaScript have: what it is asked to do is the path of the request. Bytes are passed on, or given back. */
import { allocate, get, getStream, invoke, invokeAll, put } from 'skep'

const BLOCK = Uint8Array.from({ length: 65_521 }, (_, index) => (index * 2_654_435_761) >>> 24)

function fill(into: Uint8Array): Uint8Array {
  for (let at = 0; at < into.length; at += BLOCK.length) into.set(BLOCK.subarray(0, Math.min(BLOCK.length, into.length - at)), at)
  return into
}

async function* chunks(bytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes; at += BLOCK.length) yield BLOCK.subarray(0, Math.min(BLOCK.length, bytes - at))
}

/** Of every page the first and the last byte, and of the whole its length: an interpreter takes seconds to look at all. */
function sample(bytes: Uint8Array): string {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 4096) sum = (sum * 31 + bytes[at]! + bytes[Math.min(bytes.length, at + 4096) - 1]! * 256) >>> 0
  return `${bytes.length} ${sum}`
}

const actions: Record<string, (body: Uint8Array, query: URLSearchParams) => Promise<unknown>> = {
  '/put': async (_body, query) => {
    const made = fill(query.has('allocated') ? allocate(Number(query.get('bytes'))) : new Uint8Array(Number(query.get('bytes'))))
    const reference = put(made, query.has('retrievals') ? { retrievals: Number(query.get('retrievals')) } : {})
    made.fill(0)
    return reference
  },
  '/put-stream': async (_body, query) => put(chunks(Number(query.get('bytes')))),
  '/get': async (body) => {
    const bytes = await get(text(body))
    const seen = sample(bytes)
    bytes.fill(7)
    return seen
  },
  '/touch': async (body) => String((await get(text(body))).length),
  '/pass-on': async (body) => put(getStream(text(body))),
  '/stream': async (body) => {
    let bytes = 0
    for await (const chunk of getStream(text(body)) as unknown as AsyncIterable<Uint8Array>) bytes += chunk.length
    return String(bytes)
  },
  /** Buffers outside of the engine's heap are given back, and may be moved as any other. */
  '/many': async (body, query) => {
    for (let time = Number(query.get('times')); time > 0; time--) {
      const bytes = await get(text(body))
      const moved = time % 2 === 0 ? new Uint8Array((bytes.buffer as ArrayBuffer).transfer()) : bytes
      if (time % 2 === 0 && bytes.length !== 0) throw new Error('it was not detached')
      if (time % 3 === 0) (moved.buffer as ArrayBuffer).transfer(10)
    }
    return sample(await get(text(body)))
  },
  '/refused': async (body) => {
    try {
      return sample(await get(text(body)))
    } catch (error) {
      return `${(error as Error).name} ${(error as { code?: string }).code}`
    }
  },
  '/all': async (_body, query) => {
    const payloads = Array.from({ length: 8 }, (_, index) => new Uint8Array(100_000).fill(index))
    const results = await invokeAll<Uint8Array>(query.get('name')!, payloads)
    return results.map((result, index) => result.length === 100_000 && result.every((byte) => byte === index)).join()
  },
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

export default {
  async fetch(request: Request, env: Readonly<Record<string, string>>): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url)
    const body = new Uint8Array(await request.arrayBuffer())
    const action = actions[pathname]
    if (action !== undefined) return new Response(String(await action(body, searchParams)))
    const next = env['NEXT']
    return new Response((next === undefined ? body : await invoke<Uint8Array>(next, body)) as BodyInit, { headers: { 'content-type': 'application/octet-stream' } })
  },
}
