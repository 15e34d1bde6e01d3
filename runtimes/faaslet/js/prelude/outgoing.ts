/**
 * Bodies that go out: a streamed answer's, a call's, a fetch's. The host pulls; every pull takes one chunk of the source.
 */
import { HostOp } from '../ops.ts'
import { encodeUtf8, host, plain, wireError } from './host.ts'

const sources: (AsyncIterator<unknown> | undefined)[] = []

/** The host may pull from now on. */
export function offer(id: number, source: AsyncIterator<unknown>): void {
  sources[id] = source
}

export async function pull(id: number): Promise<void> {
  try {
    const next = await sources[id]!.next()
    if (next.done !== true) {
      host(HostOp.give, id, chunkBytes(next.value))
      return
    }
    sources[id] = undefined
    host(HostOp.giveEnd, id)
  } catch (error) {
    sources[id] = undefined
    host(HostOp.giveError, id, JSON.stringify(wireError(error)))
  }
}

export function stop(id: number): void {
  const source = sources[id]
  sources[id] = undefined
  Promise.resolve(source?.return?.()).catch(() => {})
}

/** @throws TypeError when a source yields something that is neither bytes nor text. */
function chunkBytes(chunk: unknown): Uint8Array {
  if (typeof chunk === 'string') return encodeUtf8(chunk)
  if (ArrayBuffer.isView(chunk)) return plain(chunk)
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk)
  throw new TypeError(`A streamed body yields text or bytes, not ${chunk === null ? 'null' : typeof chunk}.`)
}
