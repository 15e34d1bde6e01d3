/**
 * The host functions of module `skep`: what a WebAssembly function gets from the platform besides WASI.
 *
 * skep.h and docs/wasm-abi.md are their documentation. All return a size, a handle or 0, or a number of {@link SkepError}.
 * Texts come as (address, bytes); texts that are asked for are written as far as there is room, and their whole size is
 * returned, so that a caller can ask again with more.
 */
import type { LogLevelName, OpenHead } from '../../../src/contract/frames.ts'
import { PlatformError } from '../../../src/contract/errors.ts'
import { SkepError } from './abi.ts'
import { writeAnswer } from './io-imports.ts'
import { fillRandom } from './process-imports.ts'
import { callResult, fetchResult, parseRequest, statedBytes, type Result, type ResultHead } from './results.ts'
import type { Run } from './run.ts'

/** Flags of `invoke`: accept and answer at once, run later; the body is bytes and no JSON. */
const LATER = 1
const BYTES = 2
const LEVELS: readonly LogLevelName[] = ['debug', 'info', 'warn', 'error']
const UNKNOWN_SIZE = -1n

export const skepImports = {
  input_size(run: Run): bigint {
    if (run.invocation === undefined) return BigInt(SkepError.notNow)
    const bytes = run.input.bytes ?? statedBytes(run.invocation.head.h ?? [])
    return bytes === undefined ? UNKNOWN_SIZE : BigInt(bytes)
  },

  input_read(run: Run, address: number, length: number): number | Promise<number> {
    if (run.invocation === undefined) return SkepError.notNow
    run.memory.bytes(address, length)
    const read = (): number => {
      if (run.input.hasFailed) return SkepError.closed
      const taken = run.input.take(Math.min(length >>> 0, 0x7fff_ffff))
      run.memory.bytes(address, taken.length).set(taken)
      return taken.length
    }
    if (length === 0) return 0
    return run.input.isReady ? read() : run.wait(async () => {
      await run.input.wait()
      return read()
    })
  },

  output_write(run: Run, address: number, length: number): number | Promise<number> {
    if (run.answer === undefined) return SkepError.notNow
    return writeAnswer(run, [{ at: address >>> 0, length: length >>> 0 }], length >>> 0)
  },

  status(run: Run, code: number): number {
    if (run.answer === undefined) return SkepError.notNow
    if (code < 200 || code > 599) return SkepError.invalid
    return run.answer.status(code) ? 0 : SkepError.tooLate
  },

  header(run: Run, name: number, nameLength: number, value: number, valueLength: number): number {
    if (run.answer === undefined) return SkepError.notNow
    const [key, text] = [run.memory.text(name, nameLength), run.memory.text(value, valueLength)]
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(key) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(text)) return SkepError.invalid
    return run.answer.header(key, text) ? 0 : SkepError.tooLate
  },

  request_head(run: Run, address: number, length: number): number {
    if (run.invocation === undefined) return SkepError.notNow
    const { k, i, m, u, h = [], d, t, n } = run.invocation.head
    return writeText(run, address, length, JSON.stringify({ kind: k, id: i ?? '', method: m ?? 'POST', url: u ?? '/', headers: pairs(h), deadline: d ?? null, traceparent: t ?? null, attempt: n ?? 1 }))
  },

  invoke(run: Run, name: number, nameLength: number, body: number, bodyLength: number, flags: number, timeoutMs: number): number {
    if (run.invocation === undefined) return SkepError.notNow
    const target = run.memory.text(name, nameLength)
    if (target === '' || (flags & ~(LATER | BYTES)) !== 0) return SkepError.invalid
    const head: OpenHead = { k: 'event', f: target, c: run.invocation.stream, ...((flags & LATER) !== 0 && { a: true }), ...((flags & BYTES) !== 0 && { b: true }) }
    return call(run, head, bodyOf(run, body, bodyLength), timeoutMs)
  },

  fetch(run: Run, head: number, headLength: number, body: number, bodyLength: number, timeoutMs: number): number {
    if (run.invocation === undefined) return SkepError.notNow
    const request = parseRequest(run.memory.text(head, headLength))
    const bytes = bodyOf(run, body, bodyLength) as Buffer<ArrayBuffer>
    if (request === undefined) return SkepError.invalid
    const { function: target, method, url, headers } = request
    if (target !== undefined) {
      const raw = headers.flatMap(([key, value]) => [key.toLowerCase(), value])
      return call(run, { k: 'http', f: target, c: run.invocation.stream, m: method, u: url, h: raw }, bytes, timeoutMs)
    }
    const { fetch } = run.host
    if (fetch === undefined) {
      run.lastError = new PlatformError('FORBIDDEN', `The function may not use the network, so ${url} was not asked. Deploy it with network access.`)
      return SkepError.noNetwork
    }
    return run.results.add(() => fetchResult(fetch, request, bytes, timeout(timeoutMs), (work) => run.putAside(work)))
  },

  result_status(run: Run, handle: number): number | Promise<number> {
    return withHead(run, handle, ({ status }) => status)
  },

  result_head(run: Run, handle: number, address: number, length: number): number | Promise<number> {
    run.memory.bytes(address, length)
    return withHead(run, handle, ({ status, headers }) => writeText(run, address, length, JSON.stringify({ status, headers: pairs(headers) })))
  },

  result_read(run: Run, handle: number, address: number, length: number): number | Promise<number> {
    const result = run.results.get(handle)
    if (result === undefined) return SkepError.badHandle
    run.memory.bytes(address, length)
    if (length === 0) return 0
    const read = (): number | undefined => {
      const taken = result.take(Math.min(length >>> 0, 0x7fff_ffff))
      if (taken !== undefined) run.memory.bytes(address, taken.length).set(taken)
      return taken?.length
    }
    return read() ?? run.wait(async () => ((await result.waitBody()) ? read()! : failed(run, result)))
  },

  result_close(run: Run, handle: number): number {
    const result = run.results.take(handle)
    if (result === undefined) return SkepError.badHandle
    run.putAside(() => result.close())
    return 0
  },

  last_error(run: Run, address: number, length: number): number {
    return run.lastError === undefined ? 0 : writeText(run, address, length, JSON.stringify(run.lastError.toBody()))
  },

  log(run: Run, level: number, address: number, length: number): number {
    const name = LEVELS[level]
    if (name === undefined) return SkepError.invalid
    run.log.entry(name, run.memory.text(address, length))
    return 0
  },

  deadline_ms(run: Run): bigint {
    return run.invocation?.head.d === undefined ? -1n : BigInt(Math.round(run.invocation.head.d))
  },

  invocation_id(run: Run, address: number, length: number): number {
    return run.invocation === undefined ? SkepError.notNow : writeText(run, address, length, run.invocation.head.i ?? '')
  },

  random(run: Run, address: number, length: number): number {
    fillRandom(run, address, length)
    return 0
  },
}

function call(run: Run, head: OpenHead, body: Uint8Array, timeoutMs: number): number {
  const open = run.host.call
  if (open === undefined) {
    run.lastError = new PlatformError('FORBIDDEN', 'Calls of other functions are not possible here.')
    return SkepError.failed
  }
  return run.results.add(() => callResult(open, head, body, timeout(timeoutMs), (work) => run.putAside(work), (whole) => run.host.memory?.release(whole)))
}

/** A copy, as the code goes on: in memory that is passed without another, where it is large. */
function bodyOf(run: Run, address: number, length: number): Buffer {
  const bytes = run.memory.bytes(address, length)
  return run.host.memory?.copy(bytes) ?? Buffer.from(bytes)
}

/** 0 and less: no limit besides the invocation's own. */
function timeout(ms: number): number | undefined {
  return ms > 0 ? ms : undefined
}

function withHead(run: Run, handle: number, use: (head: ResultHead) => number): number | Promise<number> {
  const result = run.results.get(handle)
  if (result === undefined) return SkepError.badHandle
  if (result.head !== undefined) return use(result.head)
  return run.wait(async () => ((await result.waitHead()) ? use(result.head!) : failed(run, result)))
}

export function failed(run: Run, result: Result): number {
  run.lastError = result.error
  return SkepError.failed
}

export function writeText(run: Run, address: number, length: number, text: string): number {
  const bytes = Buffer.from(text)
  const room = run.memory.bytes(address, length)
  bytes.copy(room, 0)
  return bytes.length
}

function pairs(raw: readonly string[]): [string, string][] {
  return Array.from({ length: raw.length / 2 }, (_, index) => [raw[index * 2]!, raw[index * 2 + 1]!])
}
