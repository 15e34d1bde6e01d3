/**
 * The host functions of module `skep` for objects and for bodies in one piece: put and get by reference, and bodies mapped into the
 * guest's memory instead of copied (thesis 6.3; src/transfer/README.md).
 *
 * What is mapped is copy-on-write: pages that the function writes become its own, those that it only reads are shared with whoever made them.
 *
 * Invariants:
 *   OB1. Nothing is mapped or written outside of the room that the function names, and that lies within its memory.
 *   OB2. No body is lost because its room was too small: that is said before anything of it is taken.
 */
import { INLINE_BYTES_MAX, type ObjectTerms, type OpenHead } from '../../../src/contract/frames.ts'
import { PlatformError } from '../../../src/contract/errors.ts'
import { PAGE_BYTES } from '../../../src/pager/snapshot.ts'
import { SkepError } from './abi.ts'
import { PutSource } from './put-source.ts'
import { callResult, statedBytes, type Result } from './results.ts'
import { pageBytes, type Run } from './run.ts'
import { failed, writeText } from './skep-imports.ts'

/** Flag of `get`: as a stream, for what is larger than the function's memory. */
const STREAM = 1
/** Room that a reference needs, more than twice what it has today. skep.h has the same number. */
const REFERENCE_BYTES_MAX = 1024
const REFERENCE_TEXT_MAX = 4096
const PIECE_BYTES = 64 * 1024

export const objectImports = {
  input_map(run: Run, address: number, room: number): number | Promise<number> {
    if (run.invocation === undefined) return SkepError.notNow
    const at = roomAt(run, address, room)
    const bytes = run.input.bytes ?? statedBytes(run.invocation.head.h ?? [])
    if (at === undefined || (bytes !== undefined && pageBytes(bytes) > room >>> 0)) return SkepError.invalid
    return run.wait(async () => {
      const whole = run.input.takeWhole()
      if (whole !== undefined) {
        run.place(at, whole)
        return 0
      }
      return fill(run, at, room >>> 0, async () => {
        await run.input.wait()
        return run.input.hasFailed ? undefined : run.input.take(PIECE_BYTES)
      }, () => SkepError.closed)
    })
  },

  put(run: Run, from: number, size: number, retrievals: number, ttlMs: number, to: number, room: number): number | Promise<number> {
    if (run.invocation === undefined) return SkepError.notNow
    run.memory.bytes(from, size)
    run.memory.bytes(to, room)
    if (room >>> 0 < REFERENCE_BYTES_MAX) return SkepError.invalid
    const handle = begin(run, { k: 'put', o: termsOf(retrievals, ttlMs) }, () => bodyOf(run, from >>> 0, size >>> 0))
    if (handle < 0) return handle
    return run.wait(async () => reference(run, run.results.get(handle)!, handle, to, room))
  },

  put_open(run: Run, retrievals: number, ttlMs: number): number {
    if (run.invocation === undefined) return SkepError.notNow
    const sink = new PutSource()
    return begin(run, { k: 'put', o: termsOf(retrievals, ttlMs) }, () => sink, sink)
  },

  put_write(run: Run, handle: number, from: number, size: number): number | Promise<number> {
    const result = run.results.get(handle)
    if (result?.sink === undefined) return SkepError.badHandle
    const { sink } = result
    run.memory.bytes(from, size)
    return run.wait(async () => {
      for (let done = 0; done < size >>> 0; done += PIECE_BYTES) {
        // The code waits: what it has given does not change meanwhile, but once it has been abandoned it may.
        if (await sink.write(run.memory.copy((from >>> 0) + done, Math.min(PIECE_BYTES, (size >>> 0) - done)))) continue
        return (await result.waitHead()) ? SkepError.closed : failed(run, result)
      }
      return 0
    })
  },

  put_close(run: Run, handle: number, to: number, room: number): number | Promise<number> {
    const result = run.results.get(handle)
    if (result?.sink === undefined) return SkepError.badHandle
    run.memory.bytes(to, room)
    if (room >>> 0 < REFERENCE_BYTES_MAX) return SkepError.invalid
    const { sink } = result
    return run.wait(async () => {
      sink.end()
      return reference(run, result, handle, to, room)
    })
  },

  get(run: Run, address: number, length: number, flags: number): number {
    if (run.invocation === undefined) return SkepError.notNow
    const bytes = run.memory.bytes(address, length)
    if (length === 0 || bytes.length > REFERENCE_TEXT_MAX || (flags & ~STREAM) !== 0) return SkepError.invalid
    return begin(run, { k: 'get', r: run.memory.text(address, length), ...(flags === STREAM && { s: true }) }, () => undefined)
  },

  result_size(run: Run, handle: number): bigint | Promise<bigint> {
    const result = run.results.get(handle)
    if (result === undefined) return BigInt(SkepError.badHandle)
    // An error is told from a size that is not known, which is -1, by being less.
    const size = (): bigint => BigInt(result.bytes ?? -1)
    if (result.head !== undefined) return size()
    return run.wait(async () => ((await result.waitHead()) ? size() : BigInt(failed(run, result))))
  },

  result_map(run: Run, handle: number, address: number, room: number): number | Promise<number> {
    const result = run.results.get(handle)
    if (result === undefined) return SkepError.badHandle
    const at = roomAt(run, address, room)
    if (at === undefined) return SkepError.invalid
    return run.wait(async () => {
      if (!(await result.waitHead())) return failed(run, result)
      if (result.bytes !== undefined && pageBytes(result.bytes) > room >>> 0) return SkepError.invalid
      const whole = result.takeWhole()
      if (whole !== undefined) {
        run.place(at, whole)
        return 0
      }
      return fill(run, at, room >>> 0, async () => ((await result.waitBody()) ? (result.take(PIECE_BYTES) as Buffer) : undefined), () => failed(run, result))
    })
  },
}

/** Undefined when it begins at no page. @throws MemoryFault */
function roomAt(run: Run, address: number, room: number): number | undefined {
  run.memory.bytes(address, room)
  return (address >>> 0) % PAGE_BYTES === 0 ? address >>> 0 : undefined
}

/** Copies what has no length yet, as far as there is room. @param next The next bytes, none at the end; undefined when it broke off. */
async function fill(run: Run, at: number, room: number, next: () => Promise<Buffer | undefined>, broken: () => number): Promise<number> {
  let filled = 0
  for (;;) {
    const bytes = await next()
    if (bytes === undefined) return broken()
    if (bytes.length === 0) break
    if (filled + bytes.length > room) return SkepError.invalid
    run.memory.bytes(at + filled, bytes.length).set(bytes)
    filled += bytes.length
  }
  run.memory.bytes(at, Math.min(room, pageBytes(filled))).fill(0, filled)
  return 0
}

/** What is put in one piece: in memory that is passed where it may be, otherwise piece by piece while the code waits. */
function bodyOf(run: Run, from: number, size: number): Uint8Array | AsyncIterator<Uint8Array> {
  const bytes = run.memory.bytes(from, size)
  if (size <= INLINE_BYTES_MAX) return Buffer.from(bytes)
  return run.host.memory?.copy(bytes) ?? pieces(run, from, size)
}

async function* pieces(run: Run, from: number, size: number): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < size; done += PIECE_BYTES) yield run.memory.copy(from + done, Math.min(PIECE_BYTES, size - done))
}

function begin(run: Run, head: OpenHead, body: () => Uint8Array | AsyncIterator<Uint8Array> | undefined, sink?: PutSource): number {
  const open = run.host.call
  if (open === undefined) {
    run.lastError = new PlatformError('FORBIDDEN', 'Objects are not possible here.')
    return SkepError.failed
  }
  const { stream } = run.invocation!
  return run.results.add(() => callResult(open, { ...head, c: stream }, body, undefined, (work) => run.putAside(work), (whole) => run.host.memory?.release(whole), sink))
}

/** 0: the platform's own. Others are checked there. */
function termsOf(retrievals: number, ttlMs: number): ObjectTerms {
  return { ...(retrievals !== 0 && { n: retrievals }), ...(ttlMs !== 0 && { t: ttlMs }) }
}

async function reference(run: Run, result: Result, handle: number, to: number, room: number): Promise<number> {
  try {
    if (!(await result.waitBody())) return failed(run, result)
    const { reference: text } = JSON.parse(Buffer.from(result.take(REFERENCE_TEXT_MAX)!).toString()) as { reference: string }
    return writeText(run, to, room, text)
  } finally {
    run.results.take(handle)?.close()
  }
}
